"""What the hub calls: whether others can listen in, and whether it knows whom it talks to."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from hub.api import Bound
from hub.check_security.finding import Clause, Findings
from hub.check_security.listeners import is_loopback
from hub.i18n import t
from hub.validation import Origin

__all__ = ["look_at_target"]

_PLAIN = frozenset(("http", "ftp", "amqp", "redis", "stomp", "smtp", "imap", "ldap", "ws"))


def look_at_target(bound: Bound, origin: Origin, findings: Findings, *, part: str = "connect") -> None:
    """``part``: where its options are written."""
    options: Any = bound.options
    tls = getattr(options, "tls", None)
    scheme, host = _address(options)
    if host and not is_loopback(host) and _plain(scheme, options, tls):
        credentials = _shows_credentials(options)
        text = t(f"calls {host} without TLS", f"未经 TLS 调用 {host}")
        if credentials:
            text += t(", and shows its credentials on the way", "，凭据在途中可被读取")
        remedy = t("use https or the protocol's TLS, or a tunnel", "请使用 https 或该协议的 TLS，或专用隧道")
        key = "url" if getattr(options, "url", "") else "host"
        problem = origin.problem(text, (part, key), remedy=remedy)
        findings.add("target.no_tls", "high" if credentials else "medium", problem, Clause.TRANSPORT, bound.place)
    if tls is None or isinstance(tls, bool | str):
        return
    if getattr(tls, "verify", True) is False:
        text = t(
            "the server's certificate is not checked: anybody can play the target",
            "不校验服务器证书：任何人都可冒充目标",
        )
        remedy = t(
            "remove verify: false, and give tls.ca for a private authority",
            "请删除 verify: false，自建 CA 请配置 tls.ca",
        )
        problem = origin.problem(text, (part, "tls", "verify"), remedy=remedy)
        findings.add("tls.not_verified", "high", problem, Clause.TRANSPORT, bound.place)
    if "min_version" in getattr(tls, "model_fields_set", ()) and tls.min_version == "1.2":
        text = t("TLS 1.2 is asked for", "明确允许 TLS 1.2")
        remedy = t("min_version: '1.3', where the target can", "目标支持时设 min_version: '1.3'")
        problem = origin.problem(text, (part, "tls", "min_version"), remedy=remedy)
        findings.add("tls.old_version", "low", problem, Clause.TRANSPORT, bound.place)


def _address(options: Any) -> tuple[str, str]:
    """(scheme, host); the scheme is "" where the options have host and port."""
    url = getattr(options, "url", "")
    if isinstance(url, str) and "://" in url:
        try:
            parts = urlsplit(url)
            return parts.scheme.lower(), parts.hostname or ""
        except ValueError:
            return "", ""
    host = getattr(options, "host", "")
    return "", host if isinstance(host, str) else ""


def _plain(scheme: str, options: Any, tls: Any) -> bool:
    if scheme:
        return scheme in _PLAIN
    # Host and port: TLS is on where an option says so. What has no such option (SSH, a database's own) is not judged here.
    return hasattr(options, "tls") and (tls is None or tls is False or tls in ("off", "none"))


def _shows_credentials(options: Any) -> bool:
    if getattr(options, "auth", None) is not None:
        return True
    password: Any = getattr(options, "password", None)
    if hasattr(password, "get_secret_value"):
        password = password.get_secret_value()
    return bool(password)
