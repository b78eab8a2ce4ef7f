"""The words of the schemes of health platforms; what they do is in :mod:`hub.security.schemes.health`."""

from __future__ import annotations

from hub.handbook.blocks import Code, Inline, say
from hub.handbook.security_words import Options, fresh
from hub.i18n import t

__all__ = [
    "bosssoft_words",
    "health_card_words",
    "hunan_insurance_words",
    "mobile_insurance_words",
    "tencent_health_card_words",
    "x_tif_words",
]


def x_tif_words(options: Options, sends: bool) -> list[Inline]:
    case = t("capitals", "大写") if options.text("case") == "upper" else t("small letters", "小写")
    service = options.text("service_id")
    steps = [
        say(
            t(
                "`x-tif-timestamp`: Unix time in seconds. `x-tif-nonce`: random, new for each call. `x-tif-paasid`: {id}.",
                "`x-tif-timestamp`：Unix 时间戳（秒）；`x-tif-nonce`：随机串，每次不同；`x-tif-paasid`：{id}。",
            ),
            id=options.shown("paasid"),
        ),
        say(
            t(
                "`x-tif-signature`: SHA-256 over {text}, hexadecimal, {case}.",
                "`x-tif-signature`：对 {text} 取 SHA-256，十六进制{case}。",
            ),
            text=Code("timestamp + token + nonce + timestamp"),
            case=case,
        ),
        say(t("The token is {key}.", "token 为 {key}。"), key=options.key("token")),
    ]
    if service:
        steps.append(say(t("`x-tif-serviceId`: {id}.", "`x-tif-serviceId`：{id}。"), id=options.shown("service_id")))
    return [*steps, *fresh(options, sends)]


def hunan_insurance_words(options: Options, sends: bool) -> list[Inline]:
    return [
        say(
            t(
                "Headers: `_api_name` ({name}), `_api_version` {version}, `_api_timestamp` (milliseconds), `_api_access_key` {id}.",
                "请求头：`_api_name`（{name}）、`_api_version` {version}、`_api_timestamp`（毫秒）、`_api_access_key` {id}。",
            ),
            name=options.shown("name") or (t("the transaction number", "交易编号"),),
            version=options.shown("version"),
            id=options.shown("access_key"),
        ),
        say(
            t(
                "`_api_signature`: HMAC-SHA1 over {text} with {key}, Base64.",
                "`_api_signature`：以 {key} 对 {text} 做 HMAC-SHA1，Base64。",
            ),
            text=Code("_api_access_key=…&_api_name=…&_api_timestamp=…&_api_version=…"),
            key=options.key("secret"),
        ),
        *fresh(options, sends),
    ]


def mobile_insurance_words(options: Options, sends: bool) -> list[Inline]:
    user = t("the app secret", "appSecret") if options.text("user_id") == "app_secret" else Code("1234567812345678")
    return [
        say(
            t(
                "Members beside the content: `appId` {id}, `encType` SM4, `signType` SM2, `timestamp` (milliseconds), `version` {version}.",
                "公共字段：`appId` {id}、`encType` SM4、`signType` SM2、`timestamp`（毫秒）、`version` {version}。",
            ),
            id=options.shown("app_id"),
            version=options.shown("version"),
        ),
        say(
            t(
                "`signData`: SM2 with SM3 (user id {user}), r and s of 32 bytes each in Base64, over {text}: the members and `data` as JSON, sorted by name, empty ones left out, with the app secret {key} at the end.",
                "`signData`：对 {text}（上述字段与 JSON 文本 `data` 按名称升序拼接、空值不参与，末尾追加 appSecret：{key}）做 SM2 签名（SM3withSM2，用户标识 {user}），r‖s 各 32 字节，Base64。",
            ),
            user=user,
            text=Code("appId=…&data=…&…&version=…&key=<appSecret>"),
            key=options.key("app_secret"),
        ),
        say(
            t(
                "The JSON of `data` has its keys sorted at every level and no blanks.",
                "`data` 的 JSON 文本各层键名按升序排列，不含空白。",
            )
        ),
        *(
            [
                say(
                    t(
                        "In what is signed, numbers of its first level are text, and empty texts, empty lists and null are left out.",
                        "签名串中首层数值转为文本，空文本、空列表与 null 不参与。",
                    )
                )
            ]
            if options.text("data_text") == "national"
            else []
        ),
        *(
            [say(t("`transType`, where a call has one, is not signed.", "`transType`（如有）不参与签名。"))]
            if options.text("trans_type") == "beside"
            else [
                say(
                    t(
                        "`transType`, where a call has one, is signed with the members.",
                        "`transType`（如有）一并参与签名。",
                    )
                )
            ]
        ),
        say(
            t(
                "`encData`: `data` under SM4-ECB, hexadecimal capitals; PKCS7 padding; the key is derived from app id and app secret as the national guide says.",
                "`encData`：`data` 的 JSON 文本以 SM4-ECB（PKCS7 填充）加密，十六进制大写；密钥按国家规范由 appId 与 appSecret 派生。",
            )
        ),
        say(
            t(
                "Our private key {private}; the other side's public key {public}.",
                "我方私钥 {private}；对方公钥 {public}。",
            ),
            private=options.key("private"),
            public=options.key("public"),
        ),
        *fresh(options, sends),
    ]


def bosssoft_words(options: Options, sends: bool) -> list[Inline]:
    return [
        say(
            t(
                "The body goes, Base64, into `data` beside `appid` {id}, `noise` (random) and `version` {version}.",
                "报文体 Base64 编码后置于 `data`，并附 `appid` {id}、`noise`（随机串）、`version` {version}。",
            ),
            id=options.shown("appid"),
            version=options.shown("version"),
        ),
        say(
            t(
                "`sign`: MD5 in capitals over {text}; the key is {key}.",
                "`sign`：对 {text} 取 MD5，大写；密钥为 {key}。",
            ),
            text=Code("appid=…&data=…&noise=…&key=…&version=…"),
            key=options.key("key"),
        ),
        say(
            t(
                "Of a reply `data` is decoded, and `message` in it once more.",
                "应答的 `data` 解码后，其中的 `message` 再次解码。",
            )
        ),
    ]


def health_card_words(options: Options, sends: bool) -> list[Inline]:
    content = options.text("variant") == "content"
    over = (
        t("`biz_content` followed by the app secret", "`biz_content` 之后直接接 app_secret")
        if content
        else t(
            "the members sorted by name as `a=1&b=2`, then `&app_secret=` and the app secret",
            "按名称升序拼接的 `a=1&b=2`，末尾接 `&app_secret=` 与 app_secret",
        )
    )
    steps = [
        say(
            t(
                "Members: `app_id` {id}, `term_id`, `version`, `timestamp` (milliseconds), `digest_type` SM3.",
                "字段：`app_id` {id}、`term_id`、`version`、`timestamp`（毫秒）、`digest_type` SM3。",
            ),
            id=options.shown("app_id"),
        ),
        say(
            t("`digest`: SM3 over {over}; secret {key}.", "`digest`：对{over}取 SM3；密钥 {key}。"),
            over=say(over),
            key=options.key("app_secret"),
        ),
    ]
    if options.raw("encrypt") is not False:
        steps.append(
            say(
                t(
                    "`biz_content` is encrypted with SM4-ECB under the first 16 characters of the app secret.",
                    "`biz_content` 以 app_secret 前 16 个字符为密钥做 SM4-ECB 加密。",
                )
            )
        )
    return [*steps, *fresh(options, sends)]


def tencent_health_card_words(options: Options, sends: bool) -> list[Inline]:
    return [
        say(
            t(
                "The members of `commonIn` and `req`, without `sign` and empty ones, are sorted by name and joined {text}; the app secret {key} follows directly.",
                "`commonIn` 与 `req` 中除 `sign` 外的非空字段按名称升序、以 {text} 拼接，末尾直接追加 appSecret（{key}）。",
            ),
            text=Code("a=1&b=2"),
            key=options.key("app_secret"),
        ),
        say(t("`commonIn.sign`: SHA-256 of that text, Base64.", "`commonIn.sign`：对该文本取 SHA-256，Base64。")),
    ]
