"""What is reachable from outside: who may connect, what they have to show, and whether others can listen in."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from hub.api import Bound
from hub.check_security.finding import Clause, Findings, Severity
from hub.i18n import t
from hub.validation import Origin

__all__ = ["is_loopback", "look_at_listener"]

#: Networks with fewer bits than this are half a country.
_BROAD = {4: 16, 6: 48}


def is_loopback(host: str) -> bool:
    """Whether only this machine can be meant; a name other than localhost may be anything."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def look_at_listener(bound: Bound, origin: Origin, findings: Findings) -> None:
    """An interface that listens; one that reads a source is a client: its address and TLS are looked at as those of a target."""
    options: Any = bound.options
    if not hasattr(options, "allow") or not hasattr(options, "host"):
        from hub.check_security.targets import look_at_target

        return look_at_target(bound, origin, findings, part="listen")
    outside = not is_loopback(options.host)
    tls = getattr(options, "tls", None)
    auth = getattr(options, "auth", None)
    if outside:
        _look_at_allow(bound, origin, findings)
        if tls is None:
            credentials = auth is not None and auth.type not in ("none", "digest")
            text = t(
                f"listens on {options.host} without TLS: whoever is in between can read and change everything",
                f"在 {options.host} 上监听而未启用 TLS：途中任何人均可读取和篡改内容",
            )
            if credentials:
                text += t(", also the credentials", "，包括凭据")
            remedy = t(
                "give tls, or put a TLS or 国密 gateway in front and listen on 127.0.0.1",
                "请配置 tls，或在前端部署 TLS／国密网关并仅监听 127.0.0.1",
            )
            problem = origin.problem(text, ("listen", "host"), remedy=remedy)
            findings.add("listener.no_tls", "high" if credentials else "medium", problem, Clause.TRANSPORT, bound.place)
    if tls is not None and getattr(tls, "min_version", "1.3") == "1.2":
        text = t("TLS 1.2 is accepted", "接受 TLS 1.2")
        remedy = t("min_version: '1.3', where all callers can", "所有调用方均支持时设 min_version: '1.3'")
        findings.add(
            "tls.old_version",
            "low",
            origin.problem(text, ("listen", "tls"), remedy=remedy),
            Clause.TRANSPORT,
            bound.place,
        )
    _look_at_auth(bound, origin, findings, outside=outside, shows_certificate=bool(getattr(tls, "client_ca", "")))


def _look_at_allow(bound: Bound, origin: Origin, findings: Findings) -> None:
    options: Any = bound.options
    for number, entry in enumerate(options.allow):
        if entry == "*":
            broad = True
        else:
            try:
                network = ip_network(entry, strict=False)
            except ValueError:
                continue
            broad = network.prefixlen < _BROAD[network.version]
        if broad:
            text = t(f"allow lets in {entry}", f"allow 放行 {entry}")
            remedy = t("name the partners' addresses or networks", "请列出合作方的地址或网段")
            problem = origin.problem(text, ("listen", "allow", number), remedy=remedy)
            findings.add("listener.open_to_all", "medium", problem, Clause.BOUNDARY, bound.place)


def _look_at_auth(bound: Bound, origin: Origin, findings: Findings, *, outside: bool, shows_certificate: bool) -> None:
    options: Any = bound.options
    auth = getattr(options, "auth", None)
    titles = getattr(options, "callers", None) or getattr(options, "calling_titles", None)
    proves = bound.protection is not None or shows_certificate or getattr(options, "security", None) is not None
    if auth is not None and auth.type != "none":
        return
    if auth is None and (titles or not outside):
        return
    if proves:
        return
    where = ("listen", "auth") if auth is not None else ("listen",)
    text = t("callers don't have to prove who they are", "调用方无需证明身份")
    if auth is not None:
        remedy = t(
            "write auth: {type: caller}, or security with a signature, or tls.client_ca",
            "请配置 auth: {type: caller}，或在 security 中配置签名，或 tls.client_ca",
        )
    else:
        remedy = t("give tls.client_ca: the protocol has no passwords", "该协议无口令机制：请配置 tls.client_ca")
    severity: Severity = "high" if outside and auth is not None else "medium" if outside else "low"
    findings.add("listener.no_auth", severity, origin.problem(text, where, remedy=remedy), Clause.IDENTITY, bound.place)
