"""Tokens of the simulated party: given by its login, asked for with each call, ended on demand."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from hub.crypto.classic import digest
from hub.errors import HubError
from hub.i18n import t
from hub.security import Opening, Refused, Scheme, Wire
from hub.security.places import Place
from hub.security.schemes.tokens import BodyTokenOptions, LoginOptions

__all__ = ["Tickets"]

_MOST = 1000


class Tickets:
    """The tokens that are good, and the token a hub gave to the simulated party."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self.of_hub = ""  #: what a hub's own login answered, for the calls that follow

    def issue(self, lifetime: float) -> str:
        """A new token, good for ``lifetime`` seconds."""
        token = secrets.token_hex(16)
        while len(self._until) >= _MOST:
            self._until.pop(next(iter(self._until)))
        self._until[token] = time.monotonic() + lifetime
        return token

    def good(self, token: str) -> bool:
        return self._until.get(token, 0.0) > time.monotonic()

    def end_all(self) -> None:
        """None of the tokens given so far is good any longer."""
        self._until.clear()

    def known(self) -> list[str]:
        return list(self._until)

    def scheme(self, options: Mapping[str, Any]) -> Scheme:
        return _Shown(BodyTokenOptions.model_validate(options), self)

    def inbound(self, options: Mapping[str, Any]) -> Scheme:
        place = BodyTokenOptions.model_validate(options).at
        if place is None:
            raise HubError(t("there is no place for the token", "未指明令牌位置"), code="simulate.token")
        return _Carried(place, self)

    def login(self, options: Mapping[str, Any]) -> Scheme:
        return _Credentials(LoginOptions.model_validate(options), self)


class _Shown(Scheme):
    """``token`` as the party sees it: it checks the token of its own login and takes it out of the body."""

    name = "token"
    needs_http = True

    def __init__(self, options: BodyTokenOptions, tickets: Tickets) -> None:
        super().__init__(options)
        self._own, self._tickets = options, tickets

    def open_request(self, wire: Wire, opening: Opening) -> None:
        if self._own.at is not None:
            token = self._own.at.read(wire)
            self._own.at.remove(wire)
            if self._tickets.good(token):
                return
        else:
            mark = self._own.mark.encode()
            for token in self._tickets.known():
                if token.encode() in wire.body and self._tickets.good(token):
                    wire.body = wire.body.replace(token.encode(), mark)
                    return
        raise Refused(
            t("the token is missing, wrong or expired", "令牌缺失、错误或已过期"), code="security.token", status=401
        )


class _Carried(Scheme):
    """``token`` of an ``in`` interface: the party shows what the hub's login gave it."""

    name = "token"
    needs_http = True

    def __init__(self, place: Place, tickets: Tickets) -> None:
        super().__init__(None)
        self._place, self._tickets = place, tickets

    def seal_request(self, wire: Wire) -> None:
        self._place.write(wire, self._tickets.of_hub)


class _Credentials(Scheme):
    """``login`` of an ``in`` interface: the party says name and password, and keeps the token of the answer."""

    name = "login"
    needs_http = True

    def __init__(self, options: LoginOptions, tickets: Tickets) -> None:
        super().__init__(options)
        self._own, self._tickets = options, tickets

    def seal_request(self, wire: Wire) -> None:
        own = self._own
        secret = own.secret.get_secret_value()
        own.user_at.write(wire, own.user)
        own.secret_at.write(wire, digest(own.hashed, secret.encode()).hex() if own.hashed else secret)  # type: ignore[arg-type]

    def open_reply(self, wire: Wire) -> None:
        try:
            self._tickets.of_hub = self._own.token_at.read(wire)
        except HubError:
            self._tickets.of_hub = ""
