"""How calls are signed and encrypted, in words: what the other side has to do, step by step, from the options of a contract."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, SecretStr

from hub.contract import Interface, parse_duration
from hub.handbook.blocks import Block, Bullets, Code, Heading, Inline, Para, code, joined, say
from hub.handbook.subject import Subject
from hub.handbook.words import duration, label, references
from hub.i18n import t
from hub.security.load import scheme_class
from hub.security.scheme import Scheme

__all__ = ["Options", "Words", "encoding", "fresh", "names", "placed", "security_blocks"]


class Options:
    """The options of one scheme as written. ``get`` gives what may be shown, ``key`` names a secret and never shows it."""

    def __init__(self, subject: Subject, given: Mapping[str, Any], model: type[BaseModel] | None) -> None:
        self.subject = subject
        self.given = given
        self.model = model

    def raw(self, name: str) -> Any:
        """The value or the model's default; None for one that is secret."""
        secret, default = _field(self.model, name) if self.model is not None else (False, None)
        if secret:
            return None
        if name in self.given:
            value = self.given[name]
            return None if self.subject.is_secret(value) else value
        return default

    def text(self, name: str) -> str:
        value = self.raw(name)
        return value if isinstance(value, str) else "" if value is None else str(value)

    def shown(self, name: str) -> Inline:
        return references(self.text(name))

    def below(self, name: str) -> Mapping[str, Any]:
        value = self.given.get(name)
        return value if isinstance(value, Mapping) else {}

    def part(self, name: str) -> Options:
        """The options below a name, with the model the field has."""
        field = self.model.model_fields.get(name) if self.model is not None else None
        return Options(self.subject, self.below(name), _model_of(field.annotation) if field is not None else None)

    def key(self, name: str) -> Inline:
        """Which secret it is: the setting that holds it, with what the contract says of it."""
        value = self.given.get(name)
        if value is None or value == "":
            return ()
        if isinstance(value, str) and value.startswith("${") and value.endswith("}"):
            return tuple(label(self.subject.settings, value[2:-1]))
        return (t("as agreed (not shown)", "按双方约定（不公开）"),)

    def window(self, name: str = "window") -> str:
        value = self.raw(name)
        try:
            return duration(parse_duration(value)) if value is not None else ""
        except ValueError:
            return ""


@lru_cache(maxsize=4096)
def _field(model: type[BaseModel], name: str) -> tuple[bool, Any]:
    """Whether an option is secret, and its default."""
    field = model.model_fields.get(name)
    if field is None:
        return False, None
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    return _holds_secret(field.annotation), default


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in typing.get_args(annotation))


def _model_of(annotation: Any) -> type[BaseModel] | None:
    for item in (annotation, *typing.get_args(annotation)):
        if isinstance(item, type) and issubclass(item, BaseModel):
            return item
    return None


def placed(place: Mapping[str, Any] | None) -> Inline:
    """Where something stands: header, query parameter or field of the body."""
    for kind, words in (
        ("header", t("the header {name}", "请求头 {name}")),
        ("query", t("the query parameter {name}", "查询参数 {name}")),
        ("field", t("the field {name} of the body", "报文字段 {name}")),
    ):
        found = (place or {}).get(kind)
        if found:
            return say(words, name=references(str(found)))
    return (t("the place agreed", "约定的位置"),)


_ENCODINGS = {
    "hex": ("hexadecimal, small letters", "十六进制小写"),
    "HEX": ("hexadecimal, capitals", "十六进制大写"),
    "base64": ("Base64", "Base64"),
    "base64url": ("Base64 for URLs", "Base64（URL 安全）"),
    "raw": ("raw bytes", "原始字节"),
}


def encoding(name: str) -> str:
    return t(*_ENCODINGS.get(name, (name, name)))


Words = Callable[[Options, bool], list[Inline]]


def security_blocks(
    subject: Subject, interface: Interface, added: Mapping[str, type[Scheme]], *, sends: bool
) -> list[Block]:
    """Nothing where the contract has no ``security``. ``sends``: the hub makes the call."""
    entries = [entry for entry in map(_named, interface.security) if entry[0]]
    if not entries:
        return []
    blocks: list[Block] = [Heading(3, (t("Signing and encrypting", "签名与加密"),))]
    if sends:
        told = t(
            "The hub does the following to each call, in this order; the receiver undoes it in reverse order.",
            "枢纽对每次调用按下列顺序处理后发出；接收方按相反顺序验签、解密。",
        )
    else:
        told = t(
            "The caller does the following to each call, in this order; the hub checks and undoes it in reverse order.",
            "调用方对每次调用按下列顺序处理后发出；枢纽按相反顺序验签、解密。",
        )
    blocks.append(Para((told,)))
    for number, (name, given) in enumerate(entries, 1):
        kind = scheme_class(name, added)
        options = Options(subject, given, kind.options if kind is not None else None)
        title = _TITLES.get(name)
        head = t(*title) if title else t("a scheme of the plugin's own", "插件自有的方案")
        prefix = t(f"Step {number}: ", f"第 {number} 步：") if len(entries) > 1 else ""
        blocks.append(Heading(4, (prefix + head + t(" (", "（"), Code(name), t(")", "）"))))
        words = _words(name)
        blocks.append(Bullets(words(options, sends) if words is not None else _unknown(options), ordered=True))
    if not sends:
        blocks.append(
            Para(
                say(
                    t(
                        "What does not check is refused with HTTP 401 (400 where it can't be read) and not stored. The answer does not say which byte was wrong.",
                        "校验不通过的调用以 HTTP 401（无法解析时为 400）拒绝，不予存储；应答不说明具体哪一处有误。",
                    )
                )
            )
        )
    return blocks


_TITLES: dict[str, tuple[str, str]] = {
    "alipay": ("Alipay open platform signature", "支付宝开放平台签名"),
    "aliyun_acs3": ("Aliyun signature V3, ACS3-HMAC-SHA256", "阿里云 V3 签名 ACS3-HMAC-SHA256"),
    "as_form": ("The body as a form", "表单编码"),
    "bosssoft": ("Envelope of medical e-bills", "医疗电子票据报文封装"),
    "encryption": ("Encryption", "加密"),
    "health_card": ("Envelope of resident e-health cards", "居民电子健康卡报文封装"),
    "hunan_insurance": ("Signature of the Hunan insurance gateway", "湖南医保网关签名"),
    "login": ("Login for a token", "登录换取令牌"),
    "logink": ("Signature of the LOGINK gateway", "LOGINK 网关签名"),
    "mobile_insurance": ("Envelope of mobile insurance payment, SM4 and SM2", "医保移动支付报文封装（SM4、SM2）"),
    "signature": ("Signature", "签名"),
    "sinoiov": ("Signature of the national vehicle platform", "全国道路货运车辆公共监管与服务平台签名"),
    "tencent_health_card": ("Signature of the Tencent health card platform", "腾讯健康卡平台签名"),
    "tencent_tc3": ("Tencent Cloud signature V3, TC3-HMAC-SHA256", "腾讯云 V3 签名 TC3-HMAC-SHA256"),
    "token": ("Token in the body", "报文中的令牌"),
    "unionpay": ("UnionPay signature 5.1.0", "银联 5.1.0 签名"),
    "wechat_pay": ("WeChat Pay API v3 signature", "微信支付 APIv3 签名"),
    "x_tif": ("Headers of the medical insurance gateway", "医保网关请求头签名（x-tif）"),
}


def _words(name: str) -> Words | None:
    from hub.handbook.security_all import ALL  # its modules need what is here

    return ALL.get(name)


def _unknown(options: Options) -> list[Inline]:
    """A scheme of a plugin: its options, without what is secret."""
    rows: list[Inline] = []
    for name in sorted(str(key) for key in options.given):
        value = options.raw(name) if options.model is not None else None
        # What is below an option may be secret without its saying so.
        told = options.shown(name) if isinstance(value, str | int | float) else options.key(name)
        rows.append(say(t("{name}: {value}", "{name}：{value}"), name=code(name), value=told))
    return rows or [
        (t("Without options; ask the operator of the hub for its rules.", "没有选项；具体规则请向枢纽运维方索取。"),)
    ]


def _named(entry: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, options),) = entry.items()
        return str(name), options if isinstance(options, Mapping) else {}
    return "", {}


def names(items: Sequence[str]) -> Inline:
    return joined([code(item) for item in items], t(", ", "、"))


def fresh(options: Options, sends: bool) -> list[Inline]:
    """How old a call may be, where the hub checks it."""
    window = options.window()
    if sends or not window:
        return []
    return [
        say(
            t(
                "Calls signed more than {window} ago, and repetitions, are refused.",
                "签名时间相差超过 {window} 的调用以及重复的调用均被拒绝。",
            ),
            window=window,
        )
    ]
