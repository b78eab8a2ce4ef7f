"""Who makes a call of the admin API, whether they may, and what of the hub they see."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from hub.admin.backend import Backend
from hub.admin.requests import PRINCIPAL
from hub.admin.scoped import ScopedBackend
from hub.errors import HubError
from hub.i18n import t
from hub.people.config import networks
from hub.people.errors import NotAllowed, no_right, not_fresh, out_of_reach
from hub.people.rights import EVERYTHING, RIGHTS, Principal
from hub.people.sessions import API_PREFIX, csrf_of

if TYPE_CHECKING:
    from hub.people.people import People

__all__ = ["COOKIE", "Gate", "NoCredentials", "token_of_request"]

#: Of browsers; programs send the token as a bearer token.
COOKIE = "tongqu_session"
CSRF_HEADER = "X-CSRF-Token"
_SAFE = ("GET", "HEAD", "OPTIONS")


class NoCredentials(HubError):
    """401."""

    code = "auth.required"


def token_of_request(request: web.Request) -> str:
    """The bearer token, or that of the cookie. Raises :class:`NotAllowed` when another site may have had a browser send the cookie."""
    given = request.headers.get("Authorization", "")
    if given[:7].lower() == "bearer ":
        return given[7:].strip()
    token = request.cookies.get(COOKIE, "")
    if token and request.method not in _SAFE:
        sent = request.headers.get(CSRF_HEADER, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(sent, csrf_of(token).encode()):
            raise NotAllowed(
                t(f"the header {CSRF_HEADER} is missing or wrong", f"缺少或错误的请求头 {CSRF_HEADER}"),
                code="auth.csrf",
                remedy=t("send what the login answered as csrf", "请发送登录返回的 csrf"),
            )
    return token


class Gate:
    """``token`` is the hub's own, "" when it has none; ``people`` is None in a worker, which its supervisor alone talks to."""

    def __init__(self, token: str, people: People | None = None, proxies: Sequence[str] = ()) -> None:
        self.people = people
        self._token = token.encode()
        self._proxies = networks([*proxies])

    def address(self, request: web.Request) -> str:
        """Of the caller; a proxy that is trusted says whom it speaks for, and of those it names the last that is none itself counts."""
        peer = request.remote or ""
        if not self._is_proxy(peer):
            return peer
        named = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
        for part in reversed(named):
            if _is_address(part) and not self._is_proxy(part):
                return part
            if not _is_address(part):
                break
        return peer

    def _is_proxy(self, address: str) -> bool:
        return _is_address(address) and any(ipaddress.ip_address(address) in network for network in self._proxies)

    async def admit(self, request: web.Request, right: str, *, fresh: bool = False, scoped: bool = False) -> Principal:
        """Raises :class:`NoCredentials`, or :class:`NotAllowed`. An operation without a right is for nobody but the hub's own token,
        one that is not ``scoped`` for nobody with a scope.
        """
        principal = request[PRINCIPAL] = await self._who(request)
        if right not in principal.rights and not (principal.kind == "token" and not right):
            raise no_right(right)
        if right == "self" and principal.kind != "user":
            raise NotAllowed(t("this is for people who are signed in", "此操作仅限已登录人员"), code="auth.person")
        if not scoped and not principal.scope.everything:
            raise out_of_reach()
        if fresh and self.people is not None and not self.people.fresh(principal):
            raise not_fresh()
        return principal

    async def _who(self, request: web.Request) -> Principal:
        token = token_of_request(request)
        address = self.address(request)
        given = token.encode("utf-8", "surrogateescape")
        if self._token and hmac.compare_digest(given, self._token):
            actor = request.headers.get("X-Actor", "admin")[:64]
            return Principal(actor, "token", frozenset(RIGHTS), EVERYTHING, address=address)
        if self.people is not None and token:
            found = await self.people.session(token)
            if found is not None and found[0].state == "full":
                return self.people.principal(*found, address)
            if found is not None:
                raise NoCredentials(
                    t(f"the login is at the step {found[0].state!r}", f"登录处于步骤 {found[0].state!r}"),
                    code="login.step",
                    remedy=t("GET /api/v1/me tells what is next", "GET /api/v1/me 会说明下一步"),
                )
        if token.startswith(API_PREFIX):
            raise NoCredentials(t("the token is not valid, or has lapsed", "令牌无效或已过期"))
        raise NoCredentials(t("a valid bearer token is needed", "需要有效的 Bearer 令牌"))

    def seen_by(self, principal: Principal, backend: Backend) -> Backend:
        """The hub as far as somebody's scope goes."""
        if principal.scope.everything or self.people is None:
            return backend
        systems = self.people.within(principal.scope)
        return backend if systems is None else ScopedBackend(backend, systems)

    def may_see_persons(self, principal: Principal) -> None:
        """Data of persons unmasked; that they were seen is recorded with the answer (:mod:`hub.admin.audit`)."""
        if not principal.may("personal.read"):
            raise no_right("personal.read")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
