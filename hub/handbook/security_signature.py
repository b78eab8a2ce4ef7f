"""The words of ``signature``, which is composed by its options."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hub.handbook.blocks import Code, Inline, code, joined, say
from hub.handbook.security_words import Options, encoding, names, placed
from hub.handbook.words import references
from hub.i18n import t

__all__ = ["signature_words"]

_ALGORITHMS = {
    "sm2": ("SM2 with SM3 (GB/T 32918.2)", "SM2（SM3withSM2，GB/T 32918.2）"),
    "sm2-plain-digest": ("SM2 over a plain SM3 digest, without user id", "SM2，e 取 SM3 摘要（不含用户标识 Z 值）"),
    "rsa-sha256": ("RSA with SHA-256 (PKCS #1 v1.5)", "RSA（SHA256withRSA，PKCS #1 v1.5）"),
    "rsa-sha1": ("RSA with SHA-1 (PKCS #1 v1.5)", "RSA（SHA1withRSA，PKCS #1 v1.5）"),
    "rsa-pss-sha256": ("RSA-PSS with SHA-256", "RSA-PSS（SHA-256）"),
}


_PLACES = {
    "method": ("the HTTP method", "HTTP 方法"),
    "host": ("the host", "主机名"),
    "target": ("path and query", "路径与查询串"),
    "path": ("the path", "路径"),
    "query": ("the query", "查询串"),
    "query_sorted": ("the query with its parameters sorted", "按参数名排序的查询串"),
    "status": ("the HTTP status", "HTTP 状态码"),
    "body": ("the body, byte for byte", "报文体原文（逐字节）"),
    "secret": ("the shared secret", "共享密钥"),
    "fields": ("the fields as described below", "按下述规则拼接的字段"),
    "sorted": ("the sorted texts as described below", "按下述规则排序拼接的文本"),
}


_NAME = re.compile(r"\{([a-z_.A-Z0-9-]+)((?:\|\w+)*)\}")


def _algorithm(name: str) -> str:
    return t(*_ALGORITHMS[name]) if name in _ALGORITHMS else name.upper()


def signature_words(options: Options, sends: bool) -> list[Inline]:
    steps = _values(options)
    steps += _text_steps(options)
    algorithm = options.text("algorithm")
    how: Inline = (_algorithm(algorithm),)
    if algorithm.startswith("sm2") and algorithm == "sm2":
        form = t("r and s, 32 bytes each", "r‖s，各 32 字节") if options.text("form") == "raw" else "ASN.1 DER"
        how = say(
            t("{how}, user id {user}, form {form}", "{how}，用户标识 {user}，签名值形式 {form}"),
            how=how,
            user=options.shown("user_id"),
            form=form,
        )
    first = options.raw("first")
    if first:
        steps.append(
            say(
                t("Put the text through {first}.", "对该文本依次做 {first}。"), first=names([str(one) for one in first])
            )
        )
    steps.append(say(t("Sign with {how}.", "签名算法：{how}。"), how=how))
    steps.append(_keys(options, sends))
    prefix = options.text("prefix")
    told = say(
        t("Write the signature, {form}{prefix}, to {place}.", "签名值以{form}{prefix}写入{place}。"),
        form=encoding(options.text("encoding")),
        prefix=say(t(", behind {text}", "（前缀 {text}）"), text=code(prefix)) if prefix else (),
        place=placed(options.below("at")),
    )
    steps.append(told)
    if not sends:
        timed = any(isinstance(value, Mapping) and value.get("now") for value in options.below("values").values())
        if timed:
            steps.append(
                say(
                    t(
                        "A call signed more than {window} ago or ahead is refused, and so is one that was seen before.",
                        "签名时间与枢纽时钟相差超过 {window} 的调用、以及重复的调用均被拒绝。",
                    ),
                    window=options.window(),
                )
            )
    if options.below("reply"):
        reply = options.part("reply")
        if all(reply.given.get(key) == options.given.get(key) for key in ("text", "fields", "sorted", "values", "at")):
            steps.append(say(t("Replies are signed in the same way.", "应答按同样的规则签名。")))
            return steps
        steps.append(
            say(t("Replies are signed with the same algorithm, as follows:", "应答以同样的算法签名，规则如下："))
        )
        steps += _values(reply) + _text_steps(reply)
        steps.append(
            say(
                t("The signature of a reply is in {place}.", "应答的签名值位于{place}。"),
                place=placed(reply.below("at")),
            )
        )
    return steps


def _values(options: Options) -> list[Inline]:
    steps: list[Inline] = []
    for name, value in options.below("values").items():
        if not isinstance(value, Mapping):
            continue
        if value.get("random"):
            what: Inline = (
                t(
                    f"{value['random']} random hexadecimal digits, new for each call",
                    f"{value['random']} 位随机十六进制数，每次调用重新生成",
                ),
            )
        elif value.get("now") in ("s", "ms"):
            what = (
                t("Unix time in seconds", "Unix 时间戳（秒）")
                if value["now"] == "s"
                else t("Unix time in milliseconds", "Unix 时间戳（毫秒）"),
            )
        elif value.get("now"):
            zone = str(value.get("zone", "Asia/Shanghai"))
            what = say(
                t("time as {format}, zone {zone}", "时间，格式 {format}，时区 {zone}"),
                format=code(str(value["now"])),
                zone=code(zone),
            )
        else:
            what = say(
                t("a constant both sides agreed: {key}", "双方约定的常量：{key}"),
                key=Options(options.subject, value, None).key("const"),
            )
        place = value.get("at")
        where: Inline = ()
        if isinstance(place, Mapping):
            where = say(t("; it is sent in {place}", "，置于{place}"), place=placed(place))
        steps.append(
            say(
                t("{name}: {what}{where}.", "{name}：{what}{where}。"),
                name=code("{" + str(name) + "}"),
                what=what,
                where=where,
            )
        )
    return steps


def _text_steps(options: Options) -> list[Inline]:
    fields, ordered = options.below("fields"), options.raw("sorted") or []
    usual = "{fields}" if "fields" in options.given else "{sorted}" if ordered else "{body}"
    text = options.text("text") or usual
    steps = [
        say(
            t(
                "Compose the text {text}, in UTF-8; \\n is a line feed.",
                "拼接待签名文本 {text}（UTF-8，\\n 为换行符）。",
            ),
            text=references(text.replace("\n", "\\n")),
        )
        if "\n" in text
        else say(t("Compose the text {text}, in UTF-8.", "拼接待签名文本 {text}（UTF-8）。"), text=references(text))
    ]
    told: dict[str, Inline] = {}
    for name, filters in _NAME.findall(text):
        words = _PLACES.get(name)
        if words is None and name.partition(".")[0] in ("header", "query", "field"):
            told[name] = placed({name.partition(".")[0]: name.partition(".")[2]})
        elif words is None and name.startswith("asked."):
            header = code(name.partition(".")[2])
            told[name] = say(t("the header {name} of the call it answers", "所应答请求的请求头 {name}"), name=header)
        elif words is not None:
            told[name] = (t(*words),)
        if filters and name in told:
            through = names([one for one in filters.split("|") if one])
            told[name] = (*told[name], *say(t(", put through {through}", "，依次做 {through}"), through=through))
    if told:
        items = [
            say(t("{name} is {what}", "{name} 为{what}"), name=code("{" + name + "}"), what=what)
            for name, what in told.items()
        ]
        steps.append(say(t("In it {items}.", "其中 {items}。"), items=joined(items, t("; ", "；"))))
    if "fields" in options.given:
        steps.append(_fields(options, fields))
    if ordered:
        steps.append(
            say(
                t(
                    "{sorted} are the texts {parts}, sorted and joined without anything between.",
                    "{sorted}：将 {parts} 各文本按字典序排序后直接拼接。",
                ),
                sorted=Code("{sorted}"),
                parts=names([str(one) for one in ordered]),
            )
        )
    return steps


def _fields(options: Options, fields: Mapping[str, object]) -> Inline:
    part = options.part("fields")
    words = {
        "body": t("the members of the body", "报文的顶层字段"),
        "query": t("the query parameters", "查询参数"),
        "values": t("the values above", "上述各值"),
    }
    of = t(" and ", "、").join(words.get(str(one), str(one)) for one in part.raw("of") or ["body"])
    under = part.text("under")
    inside = say(t(" below {under}", "（位于 {under} 之下）"), under=code(under)) if under else ()
    dropped = [str(one) for one in part.raw("drop") or []]
    sorting = (
        t("sorted by name (ASCII)", "按字段名 ASCII 升序排列")
        if part.raw("sort") is not False
        else t("in the order they stand", "按原有顺序")
    )
    empty = (
        t("; empty ones are left out", "；空值不参与签名")
        if part.raw("drop_empty") is not False
        else t("; empty ones are included", "；空值参与签名")
    )
    return say(
        t(
            "{name}: {of}{inside}, {sorting}, each written name{pair}value and joined by {join}; the signature's own field{drop} is left out{empty}{url}.",
            "{name}：取{of}{inside}，{sorting}，以“名{pair}值”形式、用 {join} 连接；签名字段自身{drop}不参与签名{empty}{url}。",
        ),
        name=Code("{fields}"),
        of=of,
        inside=inside,
        sorting=sorting,
        pair=code(part.text("pair") or "="),
        join=code(part.text("join")) or (t("nothing", "空串"),),
        drop=say(t(" and {names}", "及 {names} "), names=names(dropped)) if dropped else (),
        empty=empty,
        url=t("; values are percent-encoded", "；值做 URL 编码") if part.raw("url") else "",
    )


def _keys(options: Options, sends: bool) -> Inline:
    private, public, secret = options.key("private"), options.key("public"), options.key("secret")
    if options.text("keys") == "caller":
        return say(
            t(
                "The key is that of the credential issued to the caller, whose number is sent in {place}.",
                "密钥为签发给调用方的凭据，其编号置于{place}。",
            ),
            place=placed(options.below("key_id")),
        )
    if secret:
        return say(t("Both sides hold the secret: {key}.", "双方持有同一密钥：{key}。"), key=secret)
    if sends:
        return say(
            t(
                "The hub signs with its private key {key}; the receiver checks with the public key it was given.",
                "枢纽以私钥 {key} 签名；接收方以事先取得的对应公钥验签。",
            ),
            key=private or (t("(not given)", "（未配置）"),),
        )
    return say(
        t(
            "The caller signs with its private key; the hub checks with the caller's public key or certificate, {key}.",
            "调用方以自己的私钥签名；枢纽以调用方的公钥或证书（{key}）验签。",
        ),
        key=public or private or (t("(not given)", "（未配置）"),),
    )
