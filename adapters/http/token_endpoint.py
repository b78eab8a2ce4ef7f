"""The token endpoint of OAuth2 for callers: client credentials (RFC 6749, 4.4). What it issues every interface with ``oauth2`` takes."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from adapters.access import AllowList
from adapters.http.body import BodyReader
from adapters.http.problem import SERVER, Refusal
from adapters.http.server import HttpServer, Route
from adapters.http.server_options import CallOptions, TokenEndpoint
from hub.api import Bound, IntakePort, Refused
from hub.callers.door import Door
from hub.callers.shown import basic_pair, scheme_of
from hub.callers.tokens import HubTokens

__all__ = ["TokenService"]

_LARGEST = 16 << 10
_BUFFERED = 1 << 20
_FORM = "application/x-www-form-urlencoded"
#: RFC 6749, 5.1: a token must not be kept on the way.
_HEADERS = {"Cache-Control": "no-store", "Pragma": "no-cache", **SERVER}


class TokenService:
    """Beside one interface, on its port."""

    def __init__(
        self, bound: Bound, intake: IntakePort, options: CallOptions, endpoint: TokenEndpoint, door: Door
    ) -> None:
        self._bound = bound
        self._intake = intake
        self._options = options
        self._endpoint = endpoint
        self._door = door
        self._tokens: HubTokens = door.callers.who.tokens
        self._allow = AllowList(options.allow)
        self._bodies = BodyReader(_LARGEST, _BUFFERED, options.body_timeout)
        self._route = Route(f"{bound.place} token", endpoint.path, ("POST",), self._handle)
        self._server: HttpServer | None = None

    async def start(self, server: HttpServer) -> None:
        """Raises :class:`HubError` where the path is taken."""
        await server.add(self._route, self._options)
        self._server = server

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.remove(self._route, 0.5)

    async def _handle(self, request: web.BaseRequest, parts: dict[str, str]) -> web.StreamResponse:
        remote = request.remote or ""
        try:
            return await self._issued(request, remote)
        except Refused as error:  # the address, or a restriction
            self._intake.refuse(self._bound, b"", error, remote=remote)
            wait = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
            return _error(error.status, "temporarily_unavailable" if wait else "access_denied", error.text, wait)
        except Refusal as refusal:  # the body
            return _error(refusal.status, "invalid_request", refusal.as_error().text)

    async def _issued(self, request: web.BaseRequest, remote: str) -> web.StreamResponse:
        if not self._allow.permits(remote):
            return _error(403, "access_denied", "this address may not call")
        if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != _FORM:
            return _error(400, "invalid_request", f"send {_FORM}")
        body = await self._bodies.read(request)
        if len(body) > _LARGEST:  # a small one arrives whole, before its size is looked at
            raise self._bodies.too_large()
        try:
            pairs = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=20
            )
        except ValueError:
            return _error(400, "invalid_request", "the body is no form")
        form = dict(pairs)
        if len(form) != len(pairs):
            return _error(400, "invalid_request", "a parameter is given twice")
        scheme, shown = scheme_of(request.headers.get("Authorization", ""))
        if scheme and ("client_secret" in form or scheme != "basic"):
            return _error(400, "invalid_request", "the client shows who it is in one way: Basic, or client_secret")
        client, secret = basic_pair(shown) if scheme else (form.get("client_id", ""), form.get("client_secret", ""))
        if "grant_type" not in form:
            return _error(400, "invalid_request", "grant_type is missing")
        if form["grant_type"] != "client_credentials":
            return _error(400, "unsupported_grant_type", "grant_type: client_credentials")
        credential = self._door.token(client, secret, remote)
        if credential is None:
            challenge = {"WWW-Authenticate": 'Basic realm="tongqu"'} if scheme else {}
            return _error(401, "invalid_client", "unknown client, or wrong secret", challenge)
        now = int(time.time())
        until = now + int(self._endpoint.lifetime)
        if credential.valid_until:
            until = min(until, credential.valid_until)
        token = self._tokens.issue(credential, until, self._endpoint.form)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": until - now}
        return web.Response(body=orjson.dumps(answer), content_type="application/json", headers=_HEADERS)


def _error(status: int, code: str, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """RFC 6749, 5.2; ``error_description`` is ASCII."""
    said = text if text.isascii() else code
    body = orjson.dumps({"error": code, "error_description": said})
    return web.Response(
        status=status, body=body, content_type="application/json", headers={**_HEADERS, **(headers or {})}
    )
