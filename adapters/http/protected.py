"""``security`` of an interface over HTTP: requests and replies signed and encrypted on the way out, checked on the way in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from multidict import CIMultiDict

from adapters.http.answer import decoded, error_text
from adapters.http.client import HttpClient, Target
from adapters.http.connection import Response
from adapters.http.problem import Refusal
from adapters.http.request import header_line
from hub.api import OpenedParams, Opening, Protection, Refused, TransientError, Wire
from hub.i18n import t

__all__ = ["ProtectedClient", "client_of", "opened_params", "refusal_of", "sealed_answer", "wire_of"]

_BODILESS = frozenset(("GET", "HEAD", "DELETE"))


def client_of(target: Target, protection: Protection | None) -> HttpClient:
    """The client of a target; it signs, encrypts, checks and decrypts where the interface says so."""
    return HttpClient(target) if protection is None else ProtectedClient(target, protection)


class ProtectedClient(HttpClient):
    """Every call of this client is sealed, every reply opened, its content codings undone before that."""

    def __init__(self, target: Target, protection: Protection) -> None:
        super().__init__(target)
        self._protection = protection

    async def call(
        self,
        head: bytes,
        body: bytes,
        within: float,
        *,
        repeatable: bool,
        without_body: bool = False,
        again: Callable[[], Awaitable[tuple[bytes, bytes]]] | None = None,
    ) -> Response:
        wire, prefix = _parsed(head, body)
        method, target, host = wire.method, wire.target, wire.host

        asked: dict[str, str] = {}  # the headers of the last try

        async def sealed(wire: Wire) -> tuple[bytes, bytes]:
            nonlocal asked
            await self._protection.seal_request(wire)
            asked = wire.headers
            return _head(wire, prefix), wire.body

        async def anew() -> tuple[bytes, bytes]:
            """With a time and a nonce of its own: the same twice would be refused as a replay."""
            return await sealed(_parsed(head, body)[0])

        first = await sealed(wire)
        response = await super().call(*first, within, repeatable=repeatable, without_body=without_body, again=anew)
        if response.body and b"content-encoding" in response.headers:
            response.body = await decoded(self, response)
            del response.headers[b"content-encoding"]
        headers = {name.decode("latin-1"): value.decode("latin-1").strip() for name, value in response.headers.items()}
        reply = Wire(response.body, headers, method, target, host, response.status, asked=asked)
        try:
            await self._protection.open_reply(reply)
        except TransientError as error:
            if response.status < 400:
                raise
            # Refusals often are not signed, and may come from somebody in between: told, but not believed.
            text = t(f"{error.text}; it says: ", f"{error.text}；其内容为：") + error_text(response, response.body)
            raise TransientError(text, code=error.code, response=response.body) from error
        response.body = reply.body
        return response


def _parsed(head: bytes, body: bytes) -> tuple[Wire, bytes]:
    """The request as it would go, without Content-Length; and what stands before the path when it goes through a proxy."""
    first, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and name != "content-length":
            headers[name.lower()] = value.strip()
    prefix = ""
    if not target.startswith("/"):  # absolute form, to a proxy
        scheme, _, rest = target.partition("://")
        authority, slash, path = rest.partition("/")
        prefix, target = f"{scheme}://{authority}", slash + path or "/"
    return Wire(body, headers, method, target, headers.get("host", "")), prefix.encode()


def _head(wire: Wire, prefix: bytes) -> bytes:
    """Request line and headers; raises :class:`~hub.api.PermanentError` for a value that could forge a header."""
    lines = b"".join([header_line(name, value) for name, value in wire.headers.items()])
    if wire.body or wire.method not in _BODILESS:
        lines += b"content-length: %d\r\n" % len(wire.body)
    target = wire.target.encode("ascii", "surrogateescape")
    return b"%b %b%b HTTP/1.1\r\n%b\r\n" % (wire.method.encode(), prefix, target, lines)


def wire_of(request: web.BaseRequest, body: bytes) -> Wire:
    """A call as it came, its content codings undone; repeated headers joined by commas (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Wire(body, headers, request.method, request.raw_path, headers.get("host", ""), remote=request.remote or "")


def opened_params(params: dict[str, str], opening: Opening, sealed: bytes, body: bytes) -> dict[str, str]:
    """What the call log gets of an opened call: what the schemes noted, and what came where opening changed it."""
    params = params | opening.notes
    return OpenedParams(params, sealed) if body != sealed else params


def refusal_of(error: Refused) -> Refusal:
    """Why a call was turned away, as an answer."""
    headers: Mapping[str, str] = {}
    if error.status == 401:
        headers = {"WWW-Authenticate": 'Signature realm="tongqu"'}
    elif error.retry_after:
        headers = {"Retry-After": str(error.retry_after)}
    return Refusal(error.status, error.code, (error.text, error.text), (error.remedy, error.remedy), headers)


async def sealed_answer(protection: Protection, call: Wire, answer: web.Response) -> web.Response:
    """The answer to an opened call, signed or encrypted as the interface says."""
    body = answer.body if isinstance(answer.body, bytes) else b""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    wire = Wire(body, headers, call.method, call.target, call.host, answer.status, asked=call.headers)
    await protection.seal_reply(wire)
    if wire.body == body and wire.headers == headers:
        return answer
    wire.headers.pop("content-length", None)
    return web.Response(status=wire.status, body=wire.body, headers=CIMultiDict(wire.headers))
