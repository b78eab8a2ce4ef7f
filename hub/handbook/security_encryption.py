"""The words of ``encryption``, with a key both sides have or in an envelope."""

from __future__ import annotations

from hub.handbook.blocks import Inline, say
from hub.handbook.security_words import Options, encoding, placed
from hub.i18n import t

__all__ = ["encryption_words"]


def encryption_words(options: Options, sends: bool) -> list[Inline]:
    algorithm = options.text("algorithm") or "sm4-gcm"
    name = algorithm.upper().replace("-", "/", 1)
    padding = options.text("padding")
    padded = {"pkcs7": "PKCS7", "zero": t("zero bytes", "补零"), "none": t("none", "无")}.get(padding, padding)
    how: Inline = (name,)
    if algorithm.endswith(("ecb", "cbc")):
        how = (name + t(f", padding {padded}", f"，填充 {padded}"),)
    steps: list[Inline] = []
    what: Inline = (
        say(t("the field {name} of the JSON body", "JSON 报文的字段 {name}"), name=options.shown("what"))
        if options.text("what")
        else (t("the whole body", "整个报文体"),)
    )
    if options.raw("requests") is False:
        steps.append(say(t("Requests go in plain; only replies are encrypted.", "请求为明文，仅应答加密。")))
    else:
        steps.append(say(t("Encrypt {what} with {how}.", "对{what}加密，算法 {how}。"), what=what, how=how))
    envelope = options.below("envelope")
    if envelope:
        steps += _envelope(options.part("envelope"), sends)
    else:
        form = {
            "hex": t("hexadecimal", "十六进制"),
            "base64": "Base64",
            "text": t("text", "文本"),
            "sha1prng": t("a text from which Java's SHA1PRNG makes the key", "文本，由 Java SHA1PRNG 派生密钥"),
        }
        steps.append(
            say(
                t("The key is known to both sides: {key}, given as {form}.", "密钥由双方共享：{key}，形式为{form}。"),
                key=options.key("key"),
                form=form.get(options.text("key_form"), options.text("key_form")),
            )
        )
    if not algorithm.endswith("ecb") and algorithm != "sm2":
        iv = options.part("iv")
        if iv.below("at"):
            told = say(
                t(
                    "The initial vector is new for each call and sent in {place}, {form}.",
                    "初始向量每次随机生成，以{form}置于{place}。",
                ),
                place=placed(iv.below("at")),
                form=encoding(iv.text("encoding") or "hex"),
            )
        elif "const" in iv.given:
            told = say(t("The initial vector is constant: {key}.", "初始向量固定：{key}。"), key=iv.key("const"))
        else:
            length = 12 if algorithm.endswith("gcm") else 16
            told = say(
                t(
                    f"The initial vector, {length} random bytes, stands before the ciphertext.",
                    f"初始向量为 {length} 字节随机数，置于密文之前。",
                )
            )
            if algorithm.endswith("gcm"):
                told = (*told, t(" The tag, 16 bytes, follows it.", " 16 字节认证标签置于密文之后。"))
        steps.append(told)
    if options.text("aad"):
        steps.append(say(t("Additional data of GCM: {aad}.", "GCM 附加数据：{aad}。"), aad=options.shown("aad")))
    target = (
        placed(options.below("at")) if options.below("at") else (t("the place of the plain text", "明文原来的位置"),)
    )
    steps.append(
        say(
            t("Write the ciphertext, {form}, to {place}.", "密文以{form}写入{place}。"),
            form=encoding(options.text("encoding") or "base64"),
            place=target,
        )
    )
    if options.text("limit") not in ("", "0"):
        steps.append(
            say(
                t("The ciphertext has at most {limit} characters.", "密文最长 {limit} 个字符。"),
                limit=options.text("limit"),
            )
        )
    if options.raw("required") is False:
        steps.append(
            say(
                t("What comes in plain, such as an error, is taken as it is.", "未加密的内容（如错误应答）按明文处理。")
            )
        )
    if options.below("reply"):
        reply = options.part("reply")
        place = placed(reply.below("at")) if reply.below("at") else (t("its place", "原位置"),)
        steps.append(
            say(
                t(
                    "Replies are encrypted in the same way; the ciphertext is in {place}.",
                    "应答以同样方式加密，密文位于{place}。",
                ),
                place=place,
            )
        )
    return steps


def _envelope(envelope: Options, sends: bool) -> list[Inline]:
    by = (envelope.text("by") or "sm2").upper()
    key = envelope.key("public") if sends else envelope.key("private")
    kind = t("16 letters and digits", "16 位字母和数字") if envelope.raw("text_key") else t("random bytes", "随机字节")
    steps = [
        say(
            t(
                "The key of the symmetric cipher is made anew for each call: {kind}.",
                "对称密钥每次调用随机生成：{kind}。",
            ),
            kind=kind,
        )
    ]
    form = t("", "")
    if by == "SM2":
        order = {"c1c2c3": "C1C2C3", "c1c3c2": "C1C3C2"}.get(envelope.text("order"), envelope.text("order"))
        form = (
            t(f" (order {order})", f"（顺序 {order}）")
            if envelope.text("form") != "der"
            else t(" (ASN.1 DER)", "（ASN.1 DER）")
        )
    owner = (
        say(t("the receiver's public key, {key}", "接收方公钥 {key}"), key=key)
        if sends
        else say(t("the hub's public key (its private key is {key})", "枢纽公钥（对应私钥为 {key}）"), key=key)
    )
    steps.append(
        say(
            t(
                "This key is encrypted with {by}{form} under {owner}, and written, {encoding}, to {place}.",
                "该密钥以{owner}做 {by} 加密{form}，以{encoding}写入{place}。",
            ),
            by=by,
            form=form,
            owner=owner,
            encoding=encoding(envelope.text("encoding") or "hex"),
            place=placed(envelope.below("at")),
        )
    )
    return steps
