"""Login through a portal: a browser is sent there and comes back with a proof; what the portal says of a person becomes a user here."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hub.crypto import sm3_hex
from hub.errors import HubError
from hub.i18n import t
from hub.people.book import Person
from hub.people.cas import CasFlow
from hub.people.config import CasConfig, OidcConfig
from hub.people.errors import LoginRefused, PeopleError
from hub.people.login import Login, Step
from hub.people.oidc import OidcFlow
from hub.people.people import People
from hub.people.rights import Scope

__all__ = ["Begun", "Portal"]

#: Logins that are under way at the portal, and how long one may take, seconds.
_MOST = 1000
_LONGEST_S = 600
_ACTOR = "portal"


class Flow(Protocol):
    """One way of asking a portal."""

    async def location(self, back: str, state: str) -> tuple[str, dict[str, str]]:
        """Where to send the browser, and what has to be kept until it comes back."""

    async def claims(self, back: str, kept: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:
        """What the portal says of the person. Raises :class:`LoginRefused`."""


@dataclass(frozen=True, slots=True)
class Begun:
    """``browser`` is a secret for the cookie of the browser the login began in."""

    location: str
    browser: str


class Portal:
    """Both ways. Where a login is under way is kept in memory: a restart of the hub ends it."""

    def __init__(self, people: People, login: Login) -> None:
        self._people = people
        self._login = login
        self._under_way: dict[str, tuple[str, str, float, dict[str, str]]] = {}

    def _config(self, name: str) -> OidcConfig | CasConfig:
        portal = self._people.config.portal
        found = portal.oidc if name == "oidc" else portal.cas if name == "cas" else None
        if found is None:
            raise PeopleError(t("this way of signing in is not configured", "未配置此登录方式"), code="portal.unknown")
        return found

    def _flow(self, config: OidcConfig | CasConfig) -> Flow:
        return OidcFlow(config, self._people.base) if isinstance(config, OidcConfig) else CasFlow(config)

    def _back(self, name: str) -> str:
        if not self._people.url:
            raise PeopleError(
                t("admin.url is not set", "未设置 admin.url"),
                code="portal.url",
                remedy=t("write in hub.yaml how browsers reach this hub", "请在 hub.yaml 中写明浏览器访问本枢纽的地址"),
            )
        return f"{self._people.url}/api/v1/login/{name}/back"

    async def begin(self, name: str) -> Begun:
        """Raises :class:`PeopleError` for a way that is not configured, :class:`LoginRefused` when the portal does not answer."""
        config = self._config(name)
        now = self._people.now()
        self._under_way = {key: row for key, row in self._under_way.items() if row[2] > now}
        if len(self._under_way) >= _MOST:
            raise LoginRefused(t("too many logins at once", "同时登录过多"), code="login.busy", retry_after=30)
        state, browser = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        location, kept = await self._flow(config).location(self._back(name), state)
        self._under_way[state] = (name, browser, now + _LONGEST_S, kept)
        return Begun(location, browser)

    async def back(self, name: str, query: Mapping[str, str], browser: str, address: str, agent: str) -> Step:
        """The browser is back. Each login counts once, and only in the browser it began in."""
        name_begun, secret, ends, kept = self._under_way.pop(query.get("state", ""), ("", "", 0.0, {}))
        sound = name_begun == name and hmac.compare_digest(secret.encode(), browser.encode("utf-8", "surrogateescape"))
        if not secret or not sound or self._people.now() >= ends:
            raise _refused(t("this login was not begun here, or has lapsed", "此登录并非由本机发起或已过期"))
        config = self._config(name)
        try:
            claims = await self._flow(config).claims(self._back(name), kept, query)
        except HubError:
            await self._note("?", name, "refused", address, agent)
            raise
        person = await self._person(config, claims, name, address, agent)
        return await self._login.identified(person, name, address, agent)

    async def _note(self, user: str, name: str, outcome: str, address: str, agent: str) -> None:
        await self._people.run(self._people.records.log.add, user, name, outcome, address, agent)

    async def _person(
        self, config: OidcConfig | CasConfig, claims: Mapping[str, Any], name: str, address: str, agent: str
    ) -> Person:
        given = claims.get(config.user)
        user = given.lower() if isinstance(given, str) else ""
        people, book = self._people, self._people.records.book
        person = await people.run(book.find, user) if user else None
        if person is None and (not config.create or not re.fullmatch(r"[a-z][a-z0-9._-]{1,63}", user)):
            await self._note("?" + sm3_hex(user.encode("utf-8", "replace"))[:16], name, "unknown", address, agent)
            raise _refused(t("the portal's user is not a user of this hub", "门户用户不是本枢纽的用户"))
        wanted: dict[str, Any] = {}
        if config.groups:
            wanted["roles"] = sorted(
                {role for group in _texts(claims.get(config.groups)) for role in config.roles.get(group, [])}
            )
        if config.institution:
            wanted["scope"] = Scope(institutions=tuple(_texts(claims.get(config.institution)))).as_dict()
        said = claims.get(config.name) if config.name else None
        if isinstance(said, str) and said.isprintable() and len(said) <= 200:
            wanted["name"] = said
        roles = people.records.roles
        if person is None:
            return await people.run(lambda: book.add(_ACTOR, {"id": user, **wanted}, roles))
        present = {"roles": [*person.roles], "scope": person.scope.as_dict(), "name": person.name}
        changed = {key: value for key, value in wanted.items() if present[key] != value}
        if changed and person.state == "normal":
            return await people.run(lambda: book.set(_ACTOR, user, changed, roles))
        return person


def _texts(value: Any) -> list[str]:
    """One text or several, as claims and attributes come."""
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str) and each][:1000]


def _refused(text: str) -> LoginRefused:
    return LoginRefused(text, code="portal.refused", remedy=t("sign in again", "请重新登录"))
