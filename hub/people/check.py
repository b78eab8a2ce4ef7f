"""What can be known to be wrong with ``security:`` before a hub starts."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hub.errors import HubError, Problem
from hub.i18n import t
from hub.people.rights import ROLES
from hub.secrets import resolve
from hub.validation import did_you_mean
from hub.yaml_source import Document

if TYPE_CHECKING:
    from hub.contract import HubConfig

__all__ = ["people_problems"]


def people_problems(config: HubConfig, document: Document) -> Iterator[Problem]:
    """``document`` is hub.yaml, ``config`` has the systems of all files."""
    security = config.security
    yield from _roles(config, document, security.second_factor.roles, ("second_factor", "roles"))
    for name in ("sms", "mail"):
        place = getattr(security.second_factor, name)
        if place and (place.count("/") != 1 or place.partition("/")[0] not in config.systems):
            text = t(f"{place}: no interface of a system", f"{place}：不是任何系统的接口")
            remedy = t("write system/interface, one that takes messages in", "请写 系统/接口，须为接收接口")
            yield document.problem(text, ("security", "second_factor", name), remedy=remedy)
    portal = security.portal
    for name, way in (("oidc", portal.oidc), ("cas", portal.cas)):
        if way is None:
            continue
        for group, roles in way.roles.items():
            yield from _roles(config, document, roles, ("portal", name, "roles", group))
        if not config.admin.url:
            text = t(
                "admin.url is needed: the portal sends browsers back there", "须设置 admin.url：门户据此返回浏览器"
            )
            remedy = t("write how browsers reach this hub", "请写明浏览器访问本枢纽的地址")
            yield document.problem(text, ("security", "portal", name), remedy=remedy)
    if portal.oidc is not None and portal.oidc.client_secret:
        try:
            resolve(portal.oidc.client_secret, document.path.parent)
        except HubError as error:
            yield document.problem(error.text, ("security", "portal", "oidc", "client_secret"), remedy=error.remedy)
    yield from _admin(config, document)


def _roles(config: HubConfig, document: Document, roles: Iterable[str], path: tuple[str, ...]) -> Iterator[Problem]:
    known = {*ROLES, *config.security.roles}
    for role in roles:
        if role not in known:
            text = t(f"unknown role {role!r}", f"未知的角色 {role!r}")
            yield document.problem(text, ("security", *path), remedy=did_you_mean(role, known))


def _admin(config: HubConfig, document: Document) -> Iterator[Problem]:
    admin = config.admin
    for number, network in enumerate(admin.proxies):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            text = t(f"{network!r} is no network", f"{network!r} 不是网段")
            yield document.problem(text, ("admin", "proxies", number), remedy=t("e.g. 10.0.0.0/8", "例如 10.0.0.0/8"))
    if admin.url and urlsplit(admin.url).scheme not in ("http", "https"):
        text = t("an http or https address", "应为 http 或 https 地址")
        yield document.problem(text, ("admin", "url"), remedy="https://hub.example")
    reached = admin.host not in ("127.0.0.1", "::1", "localhost") or admin.url.startswith("https:")
    if reached and admin.token != "off":  # noqa: S105 - a word of the configuration
        text = t(
            "people reach this hub, and its token can do everything in anybody's name",
            "人员可访问本枢纽，而其自有令牌可以任何人的名义做任何事",
        )
        remedy = t("make users (hub users add), then write token: off", "请建立用户（hub users add），再写 token: off")
        yield document.problem(text, ("admin", "token"), remedy=remedy, severity="warning")
