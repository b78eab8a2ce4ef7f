"""From ``security`` of a contract to schemes ready to use; everything wrong is told with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from hub.errors import HubError, Problem
from hub.i18n import t
from hub.security.protection import Protection
from hub.security.scheme import Scheme
from hub.validation import Origin, did_you_mean, validate
from hub.yaml_source import KeyPath

if TYPE_CHECKING:
    from hub.api import Adapter

__all__ = ["BUILT_IN", "load_protection", "scheme_class"]

#: name -> module below hub.security.schemes and class; imported when an interface names it.
BUILT_IN: dict[str, tuple[str, str]] = {
    "alipay": ("payments", "Alipay"),
    "aliyun_acs3": ("cloud", "AliyunAcs3"),
    "as_form": ("form", "AsForm"),
    "bosssoft": ("health", "Bosssoft"),
    "encryption": ("encryption", "Encryption"),
    "health_card": ("health", "HealthCard"),
    "hunan_insurance": ("health", "HunanInsurance"),
    "login": ("tokens", "Login"),
    "logink": ("freight", "Logink"),
    "mobile_insurance": ("health", "MobileInsurance"),
    "signature": ("signature", "Signature"),
    "sinoiov": ("freight", "Sinoiov"),
    "tencent_health_card": ("health", "TencentHealthCard"),
    "tencent_tc3": ("cloud", "TencentTc3"),
    "token": ("tokens", "BodyToken"),
    "unionpay": ("payments", "UnionPay"),
    "wechat_pay": ("payments", "WechatPay"),
    "x_tif": ("health", "XTif"),
}


def scheme_class(name: str, added: Mapping[str, type[Scheme]]) -> type[Scheme] | None:
    """The class of a scheme that is built in or that a plugin added; None: there is none of that name."""
    if name in BUILT_IN:
        module, member = BUILT_IN[name]
        found: type[Scheme] = getattr(import_module(f"hub.security.schemes.{module}"), member)
        return found
    return added.get(name)


def load_protection(
    entries: Sequence[Any],
    *,
    adapter: Adapter,
    direction: Literal["in", "out"],
    added: Mapping[str, type[Scheme]],
    origin: Origin,
    problems: list[Problem],
) -> Protection | None:
    """``entries`` as written, settings filled in: names of schemes, or ``{name: {options}}``. None, and problems, when wrong."""
    schemes: list[Scheme] = []
    before = len(problems)
    over_http = direction in adapter.protects
    if not over_http and not adapter.opaque:
        text = t(
            f"the adapter {adapter.name} can't sign or encrypt in this direction: what it carries it makes and reads itself",
            f"适配器 {adapter.name} 在此方向上无法签名或加密：其内容由适配器自行生成与解析",
        )
        remedy = t(
            "use TLS with client certificates, and auth where the adapter has it",
            "请使用双向 TLS，以及该适配器自身的认证",
        )
        problems.append(origin.problem(text, ("security",), remedy=remedy))
        return None
    for index, entry in enumerate(entries):
        path: KeyPath = ("security", index)
        name, options = _named(entry)
        if not name:
            problems.append(
                origin.problem(
                    t("a scheme is a name, or one name with its options below it", "应为方案名称，或名称加其下的选项"),
                    path,
                    remedy=t("write e.g. - hmac: {…}", "例如 - hmac: {…}"),
                )
            )
            continue
        kind = scheme_class(name, added)
        if kind is None:
            text = t(f"unknown security scheme {name!r}", f"未知的安全方案 {name!r}")
            problems.append(origin.problem(text, path, remedy=did_you_mean(name, [*BUILT_IN, *added])))
            continue
        if kind.needs_http and not over_http:
            text = t(
                f"security scheme {name!r} needs an adapter over HTTP", f"安全方案 {name!r} 只能用于 HTTP 类适配器"
            )
            remedy = t(
                "use the adapter http, or a scheme that needs the body only", "请改用 http 适配器，或只涉及正文的方案"
            )
            problems.append(origin.problem(text, path, remedy=remedy))
            continue
        where = path if isinstance(entry, str) else (*path, name)
        checked = validate(kind.options, options, _Below(origin, where), problems)
        scheme = _made(kind, checked, origin, where, problems) if checked is not None else None
        if scheme is not None:
            schemes.append(scheme)
    return Protection(schemes) if len(problems) == before else None


def _made(
    kind: type[Scheme], options: BaseModel, origin: Origin, where: KeyPath, problems: list[Problem]
) -> Scheme | None:
    try:
        return kind(options)
    except HubError as error:  # a key that can't be read
        problems.append(origin.problem(error.text, where, remedy=error.remedy))
    except Exception as error:  # a scheme of a plugin: its bug must cost this system only
        text = t(
            f"security scheme {kind.name!r} failed on its options: {type(error).__name__}",
            f"安全方案 {kind.name!r} 处理选项时出错：{type(error).__name__}",
        )
        problems.append(origin.problem(text, where, remedy=t("tell its author", "请联系其作者")))
    return None


def _named(entry: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, options),) = entry.items()
        if isinstance(name, str) and (options is None or isinstance(options, Mapping)):
            return name, options or {}
    return "", {}


class _Below:
    """Problems of one scheme's options, told where they are written."""

    def __init__(self, origin: Origin, path: KeyPath) -> None:
        self._origin = origin
        self._path = path

    def problem(self, text: str, path: KeyPath = (), *, remedy: str = "", severity: str = "error") -> Problem:
        return self._origin.problem(text, (*self._path, *path), remedy=remedy, severity=severity)
