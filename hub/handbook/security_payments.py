"""The words of the schemes of payment platforms; what they do is in :mod:`hub.security.schemes.payments`."""

from __future__ import annotations

from hub.handbook.blocks import Code, Inline, code, say
from hub.handbook.security_words import Options
from hub.i18n import t

__all__ = ["alipay_words", "unionpay_words", "wechat_pay_words"]


def _lines(*parts: str) -> Code:
    """A text of several lines, each ending in a line feed."""
    return Code("".join(f"{part}\\n" for part in parts))


def wechat_pay_words(options: Options, sends: bool) -> list[Inline]:
    sm2 = options.text("algorithm") == "sm2"
    word = "WECHATPAY2-SM2-WITH-SM3" if sm2 else "WECHATPAY2-SHA256-RSA2048"
    how = t("SM2 with SM3", "SM2（SM3withSM2）") if sm2 else t("RSA with SHA-256", "SHA256withRSA")
    signed = say(
        t(
            "Replies are checked in the same way: headers `Wechatpay-Timestamp`, `Wechatpay-Nonce`, `Wechatpay-Serial`, `Wechatpay-Signature` over {text}, by the platform's certificate or public key of that serial.",
            "应答同样验签：以请求头 `Wechatpay-Serial` 指明的平台证书或公钥，对 {text} 验证 `Wechatpay-Signature`；时间戳与随机串取自 `Wechatpay-Timestamp`、`Wechatpay-Nonce`。",
        ),
        text=_lines("timestamp", "nonce", "body"),
    )
    if sends:
        return [
            say(
                t(
                    "Compose the text {text}: five lines, each ending in a line feed; the URL is path and query.",
                    "拼接待签名串 {text}：共五行，每行以换行符结束；URL 为路径与查询串。",
                ),
                text=_lines("METHOD", "URL", "timestamp", "nonce", "body"),
            ),
            say(
                t("Sign it with {how} and the private key {key}, Base64.", "以私钥 {key} 做 {how} 签名，Base64 编码。"),
                how=how,
                key=options.key("private"),
            ),
            say(
                t("Send it in the header `Authorization`: {value}.", "置于请求头 `Authorization`：{value}。"),
                value=Code(f'{word} mchid="…",nonce_str="…",signature="…",timestamp="…",serial_no="…"'),
            ),
            say(
                t(
                    "Merchant number {mchid}, serial number of our certificate {serial}.",
                    "商户号 {mchid}，商户证书序列号 {serial}。",
                ),
                mchid=options.shown("mchid"),
                serial=options.shown("serial"),
            ),
            signed,
        ]
    return [
        say(
            t("The platform signs the text {text} with {how}.", "平台对 {text} 做 {how} 签名。"),
            text=_lines("timestamp", "nonce", "body"),
            how=how,
        ),
        say(
            t(
                "It sends the headers `Wechatpay-Timestamp`, `Wechatpay-Nonce`, `Wechatpay-Serial` and `Wechatpay-Signature`; the hub checks with the certificate or public key of that serial.",
                "签名置于 `Wechatpay-Signature`，并随附 `Wechatpay-Timestamp`、`Wechatpay-Nonce`、`Wechatpay-Serial`；枢纽以该序列号的平台证书或公钥验签。",
            )
        ),
        say(
            t(
                "The object `resource` is encrypted with {how} under the APIv3 key, {key}: nonce `resource.nonce`, additional data `resource.associated_data`. It becomes plain JSON in its place.",
                "`resource` 对象以 APIv3 密钥（{key}）做 {how} 加密：随机串为 `resource.nonce`，附加数据为 `resource.associated_data`；解密后的 JSON 置于原处。",
            ),
            how=Code("AEAD_SM4_GCM" if sm2 else "AEAD_AES_256_GCM"),
            key=options.key("api_key"),
        ),
        say(
            t(
                "Calls signed more than {window} ago, and repetitions of a nonce, are refused.",
                "签名时间相差超过 {window} 的调用、随机串重复的调用均被拒绝。",
            ),
            window=options.window(),
        ),
    ]


def alipay_words(options: Options, sends: bool) -> list[Inline]:
    kind = options.text("sign_type") or "RSA2"
    how = {"RSA2": "SHA256withRSA", "RSA": "SHA1withRSA", "SM2": "SM3withSM2"}.get(kind, kind)
    if not sends:
        return [
            say(
                t(
                    "The notification is a form. All fields except `sign` and `sign_type`, empty ones left out, are sorted by name and joined {text}.",
                    "通知为表单。除 `sign`、`sign_type` 外的非空字段按名称升序、以 {text} 形式拼接。",
                ),
                text=Code("a=1&b=2"),
            ),
            say(
                t(
                    "The platform signs that text with {how}; the hub checks `sign` (Base64) with the platform's public key {key}.",
                    "平台对该文本做 {how} 签名；枢纽以平台公钥 {key} 验证 `sign`（Base64）。",
                ),
                how=how,
                key=options.key("public"),
            ),
            say(t("The form becomes a JSON object of its fields.", "表单各字段转为一个 JSON 对象。")),
        ]
    method = options.shown("method") or (t("the field method of the body", "报文中的 method 字段"),)
    return [
        say(
            t(
                "The JSON body becomes `biz_content` of a form with `app_id` {app}, `method` {method}, `format` JSON, `charset` utf-8, `sign_type` {kind}, `timestamp` (yyyy-MM-dd HH:mm:ss, Beijing time) and `version` 1.0.",
                "JSON 报文作为表单的 `biz_content`，并附公共参数：`app_id` {app}、`method` {method}、`format` JSON、`charset` utf-8、`sign_type` {kind}、`timestamp`（yyyy-MM-dd HH:mm:ss，北京时间）、`version` 1.0。",
            ),
            app=options.shown("app_id"),
            method=method,
            kind=code(kind),
        ),
        say(
            t(
                "All parameters except `sign`, empty ones left out, are sorted by name and joined {text}.",
                "除 `sign` 外的非空参数按名称升序、以 {text} 形式拼接。",
            ),
            text=Code("a=1&b=2"),
        ),
        say(
            t(
                "The text is signed with {how} and our private key {key}; `sign` is Base64. The form is percent-encoded.",
                "以私钥 {key} 做 {how} 签名，`sign` 为 Base64；表单做 URL 编码后以 POST 发送。",
            ),
            how=how,
            key=options.key("private"),
        ),
        say(
            t(
                "Of a reply the `…_response` node is checked byte for byte against `sign` with the platform's key {key}; only that node is used.",
                "应答中的 `…_response` 节点以平台公钥 {key} 对照 `sign` 逐字节验签，仅使用该节点内容。",
            ),
            key=options.key("public"),
        ),
    ]


def unionpay_words(options: Options, sends: bool) -> list[Inline]:
    method = options.text("sign_method") or "01"
    how = {
        "01": t(
            "RSA with SHA-256 over the hexadecimal SHA-256 of the text", "对文本 SHA-256 的十六进制串做 SHA256withRSA"
        ),
        "11": t(
            "SHA-256 over the text, `&` and the hexadecimal SHA-256 of the key",
            "对“文本 + & + 密钥 SHA-256 十六进制串”取 SHA-256",
        ),
        "12": t(
            "SM3 over the text, `&` and the hexadecimal SM3 of the key", "对“文本 + & + 密钥 SM3 十六进制串”取 SM3"
        ),
    }
    return [
        say(
            t(
                "The members go as a form with `signMethod` {method}; all of them but `signature` are sorted by name and joined {text}.",
                "各字段以表单发送，`signMethod` 为 {method}；除 `signature` 外按名称升序、以 {text} 拼接。",
            ),
            method=code(method),
            text=Code("a=1&b=2"),
        ),
        say(
            t("`signature`: {how}. Key: {key}.", "`signature`：{how}。密钥：{key}。"),
            how=say(how.get(method, method)),
            key=options.key("private") or options.key("key"),
        ),
    ]
