"""Logins of the other party, played: OAuth2 client credentials, and login calls of whatever shape."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote_plus, unquote, urlsplit

import orjson
from aiohttp import web

from adapters.http.content import fill_tree
from adapters.http.protected import wire_of
from adapters.http.token_options import LoginAuth, OAuth2Auth
from adapters.template import Template
from hub.api import HubError, Protection
from hub.codecs.json_codec import JsonCodec
from hub.i18n import t
from hub.mapping import Context, compile_expression
from hub.simulator.side import Side, Unfit
from hub.simulator.solve import give, hold, parsed

__all__ = ["PlayedLogin", "played_login"]

_LIFETIME = 7200.0


def played_login(side: Side) -> PlayedLogin | None:
    """None where the interface's ``auth`` asks for no token."""
    auth = getattr(side.bound.options, "auth", None)
    if isinstance(auth, LoginAuth | OAuth2Auth):
        return PlayedLogin(side, auth)
    return None


class PlayedLogin:
    """One login. ``url`` is where it is called."""

    def __init__(self, side: Side, auth: LoginAuth | OAuth2Auth) -> None:
        self._side, self._auth, self._tickets = side, auth, side.tickets
        self.url = auth.url
        self._path = urlsplit(auth.url).path or "/"
        self._codec = JsonCodec()
        self._in_body = side.protection is not None and "token" in side.protection.names
        self._protection: Protection | None = None
        if isinstance(auth, LoginAuth) and auth.security and side.protection is not None:
            self._protection = Protection([one for one in side.protection.schemes if one.name in auth.security])
        if isinstance(auth, LoginAuth):
            self._good_shape()

    def same_as(self, other: PlayedLogin) -> bool:
        return self._auth == other._auth

    def is_for(self, method: str, raw_path: str) -> bool:
        wanted = "POST" if isinstance(self._auth, OAuth2Auth) else self._auth.method
        return method == wanted and self._path in (raw_path, unquote(raw_path))

    # -- calls that show the token -------------------------------------------------------------------------------

    def check(self, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
        """Raises :class:`Unfit` unless the call shows a token that is good. One that goes in the body is its scheme's affair."""
        if self._in_body:
            return
        auth = self._auth
        header, value = (
            ("Authorization", "Bearer {token}") if isinstance(auth, OAuth2Auth) else (auth.header, auth.value)
        )
        shown: list[str] = []
        if header:
            before, _, after = value.partition("{token}")
            given = headers.get(header, "")
            if given.startswith(before) and given.endswith(after):
                shown.append(given[len(before) : len(given) - len(after) or None])
        options = self._side.bound.options
        for name, text in getattr(options, "query", {}).items():
            if text == "{token}":
                shown.append(query.get(name, ""))
        if not any(self._tickets.good(token) for token in shown):
            raise Unfit("http.auth_wrong", t("the token is missing, wrong or expired", "令牌缺失、错误或已过期"), 1)

    # -- the login itself ----------------------------------------------------------------------------------------

    def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        wire = wire_of(request, body)
        try:
            if self._protection is not None:
                self._protection.open_now(wire)
            good = self._proved(request, wire.body, wire.headers)
        except (HubError, ValueError):
            good = False
        if isinstance(self._auth, OAuth2Auth):
            return self._oauth2(good)
        return self._reply(self._tree(self._tickets.issue(_LIFETIME)) if good else self._refusal())

    def _proved(self, request: web.BaseRequest, body: bytes, headers: Mapping[str, str]) -> bool:
        auth = self._auth
        if isinstance(auth, OAuth2Auth):
            return self._client_proved(auth, body, headers)
        known = {"user": auth.user, "secret": auth.secret.get_secret_value()}
        query = dict(request.query)
        if any(not _same(query.get(name, ""), Template(text).fill(known, str)) for name, text in auth.query.items()):
            return False
        if any(
            not _same(headers.get(name.lower(), ""), Template(text).fill(known, str))
            for name, text in auth.headers.items()
        ):
            return False
        if auth.method == "GET" or not auth.body:
            return True
        wanted = fill_tree(auth.body, known)
        form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        given: Any = dict(parse_qsl(body.decode(), keep_blank_values=True)) if form else self._codec.decode(body)
        if not isinstance(given, dict):
            return False
        # What a scheme added to the call (its cid, its signature) stands beside what the login says.
        return all(_same(_text(given.get(name)), _text(value)) for name, value in wanted.items())

    @staticmethod
    def _client_proved(auth: OAuth2Auth, body: bytes, headers: Mapping[str, str]) -> bool:
        form = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=50))
        secret = auth.client_secret.get_secret_value()
        if auth.client_auth == "basic":
            pair = f"{quote_plus(auth.client_id)}:{quote_plus(secret)}"
            given = headers.get("authorization", "").removeprefix("Basic ")
            proved = _same(given, base64.b64encode(pair.encode()).decode())
        else:
            proved = _same(form.get("client_id", ""), auth.client_id) and _same(form.get("client_secret", ""), secret)
        wanted = {
            "grant_type": "client_credentials",
            **({"scope": auth.scope} if auth.scope else {}),
            **auth.parameters,
        }
        return proved and all(form.get(name) == value for name, value in wanted.items())

    def _oauth2(self, good: bool) -> web.StreamResponse:
        """RFC 6749, 5.1 and 5.2."""
        if not good:
            return web.json_response({"error": "invalid_client"}, status=401)
        token = self._tickets.issue(_LIFETIME)
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": int(_LIFETIME)})

    def _tree(self, token: str) -> Any:
        auth = self._auth
        assert isinstance(auth, LoginAuth)  # noqa: S101 - the caller asked
        tree = hold({}, parsed(auth.success, "json"), True)
        tree = give(tree, parsed(auth.token, "json"), token)
        return give(tree, parsed(auth.lifetime, "json"), int(_LIFETIME))

    def _refusal(self) -> Any:
        auth = self._auth
        assert isinstance(auth, LoginAuth)  # noqa: S101
        if not auth.success:
            return None
        return hold({}, parsed(auth.success, "json"), False)

    def _reply(self, tree: Any) -> web.StreamResponse:
        if tree is None:
            return web.json_response({"error": "login refused"}, status=401)
        body = self._codec.encode(tree)
        return web.Response(body=body, content_type="application/json")

    def _good_shape(self) -> None:
        """Raises :class:`HubError` where the answer of the login can't be derived."""
        auth = self._auth
        assert isinstance(auth, LoginAuth)  # noqa: S101
        tree = self._tree("token-1")
        good = not auth.success or compile_expression(auth.success, "json")(tree, Context())
        if not good or compile_expression(auth.token, "json")(tree, Context()) != "token-1":
            raise HubError(
                t(
                    f"{self._side.interface}: the answer of the login can't be derived from auth.success and auth.token",
                    f"{self._side.interface}：无法由 auth.success 与 auth.token 推出登录应答",
                ),
                code="simulate.login",
                remedy=t("write plain paths and equalities there", "请在其中使用简单路径与相等比较"),
            )


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
