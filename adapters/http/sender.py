"""Sending: an outgoing call becomes an HTTP request, the answer a verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, cast

from adapters.http.answer import decoded, error_text, phrase, retry_after
from adapters.http.client import HttpClient, Target
from adapters.http.coding import compress
from adapters.http.connection import Response
from adapters.http.options import HttpConnect, OutboundAuth
from adapters.http.request import Endpoint, RequestHead, encoded_path, header_line, join_path
from adapters.http.token import TokenSource
from adapters.tls import client_context
from hub.api import Bound, Outgoing, Reply, Sender, TransientError, UnreachableError
from hub.i18n import t

__all__ = ["HttpSender"]

_BODILESS = frozenset(("GET", "HEAD", "DELETE"))
_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE"))  # RFC 9110, 9.2.2
_TRANSIENT = frozenset((408, 425, 429, 500))
_UNAVAILABLE = frozenset((502, 503, 504))
_PERMANENT_5XX = frozenset((501, 505))
_GZIP_ABOVE = 1024


class HttpSender(Sender):
    """A client of one HTTP interface."""

    def __init__(self, bound: Bound) -> None:
        self._options = options = cast(HttpConnect, bound.options)
        self._place = bound.place
        self._endpoint = endpoint = Endpoint(options.url)
        self._secure = endpoint.secure
        self._target = endpoint.target
        self._client: HttpClient | None = None
        self._tokens: TokenSource | None = None
        self._bodiless = options.method in _BODILESS
        self._asks_head = options.method == "HEAD"
        self._head = RequestHead(
            bound.place,
            endpoint,
            options.method,
            path=options.path,
            query=options.query,
            headers=options.headers,
            auth=options.auth if isinstance(options.auth, OutboundAuth) else None,
            content_type="" if self._bodiless else options.content_type or bound.codec.content_type,
            proxy=options.proxy,
        )
        self._key_header = options.idempotency_header.lower()
        self._repeatable = bool(options.idempotency_header) or options.method in _IDEMPOTENT
        #: Request line and headers where every call has the same.
        self._start = None if self._head.names else self._head.fill({})

    async def start(self) -> None:
        """Read the TLS files; connections are opened when the first calls come. Raises :class:`HubError`."""
        options, endpoint = self._options, self._endpoint
        self._client = HttpClient(
            Target(
                host=endpoint.host,
                port=endpoint.port,
                ssl=client_context(options.tls) if self._secure else None,
                server_name=options.tls.server_name,
                connections=options.connections,
                connect_timeout=options.connect_timeout,
                idle_timeout=options.idle_timeout,
                reply_limit=options.reply_limit,
                proxy=options.proxy,
            )
        )
        if options.auth is not None and not isinstance(options.auth, OutboundAuth):
            self._tokens = TokenSource(self._place, options.auth, options.tls, options.proxy, options.connect_timeout)

    async def stop(self) -> None:
        if self._tokens is not None:
            await self._tokens.close()
        if self._client is not None:
            await self._client.close()

    async def send(self, outgoing: Outgoing) -> Reply:
        client = self._client
        if client is None:
            raise self._not_started()
        if self._tokens is None:
            response = await self._exchange(client, outgoing, b"", outgoing.variables, outgoing.timeout)
        else:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + outgoing.timeout

            async def once(line: bytes, token: str) -> Response:
                variables = {**outgoing.variables, "token": token}
                return await self._exchange(client, outgoing, line, variables, max(deadline - loop.time(), 0.001))

            response = await self._tokens.shown(deadline, once)
        status, body = response.status, response.body
        if 200 <= status < 300:
            return Reply(True, body, status, str(status))
        return _refusal(response, body)

    async def _exchange(
        self, client: HttpClient, outgoing: Outgoing, more: bytes, variables: Mapping[str, Any], within: float
    ) -> Response:
        """One request with ``more`` headers; its reply with the content codings undone."""
        start = self._start if self._start is not None else self._head.fill(variables)
        if self._key_header:
            more += header_line(self._key_header, outgoing.idempotency_key)
        if self._bodiless:
            body = b""
            head = b"%b%b\r\n" % (start, more)
        else:
            body = outgoing.body
            if self._options.gzip and len(body) > _GZIP_ABOVE:
                body = await compress(body)
                more += b"content-encoding: gzip\r\n"
            head = b"%b%bcontent-length: %d\r\n\r\n" % (start, more, len(body))
        response = await client.call(head, body, within, repeatable=self._repeatable, without_body=self._asks_head)
        if response.body and b"content-encoding" in response.headers:
            response.body = await decoded(client, response)
        return response

    @property
    def capacity(self) -> int:
        return self._options.connections

    async def probe(self) -> str:
        started = time.perf_counter()
        client = self._client
        if client is None:
            raise self._not_started()
        probe = self._options.probe
        if probe is None:
            await client.check(self._options.connect_timeout)
            if self._tokens is not None:
                await self._tokens.get()
            took = (time.perf_counter() - started) * 1000
            return t(f"connected to {self._target} in {took:.0f} ms", f"已连接 {self._target}，用时 {took:.0f} 毫秒")
        path = join_path(self._endpoint.path, probe.path)
        auth = self._options.auth
        head = RequestHead(
            self._place,
            self._endpoint,
            probe.method,
            path=probe.path,
            auth=auth if isinstance(auth, OutboundAuth) else None,
            proxy=self._options.proxy,
        ).fill({}, target=encoded_path(path))
        if self._tokens is not None:
            head += self._tokens.line(await self._tokens.get())
        response = await client.call(
            head + b"\r\n", b"", self._options.connect_timeout * 2, repeatable=True, without_body=probe.method == "HEAD"
        )
        status = response.status
        if status not in probe.expect if probe.expect else not 200 <= status < 300:
            raise TransientError(
                t(
                    f"{probe.method} {path} answered {status} {phrase(status)}",
                    f"{probe.method} {path} 返回 {status} {phrase(status)}",
                ),
                code=str(status),
            )
        took = (time.perf_counter() - started) * 1000
        return t(f"{status} {phrase(status)} in {took:.0f} ms", f"{status} {phrase(status)}，用时 {took:.0f} 毫秒")

    def status(self) -> dict[str, Any]:
        known: dict[str, Any] = {"target": self._target, "tls": self._secure}
        client = self._client
        if self._tokens is not None:
            known["tokens_fetched"] = self._tokens.fetched
        if client is not None:
            known |= {
                "connections": client.open,
                "idle": client.idle,
                "waiting": client.waiting,
                "opened": client.opened,
                "repeated": client.repeated,
            }
        return known

    def _not_started(self) -> UnreachableError:
        return UnreachableError(t(f"{self._place} is not started", f"{self._place} 尚未启动"), code="http.stopped")


# -- reading an answer -------------------------------------------------------------------------------------------------


def _refusal(response: Response, body: bytes) -> Reply:
    status = response.status
    unavailable = status in _UNAVAILABLE
    return Reply(
        ok=False,
        body=body,
        status=status,
        code=str(status),
        error=error_text(response, body),
        transient=unavailable or status in _TRANSIENT or (500 <= status < 600 and status not in _PERMANENT_5XX),
        unavailable=unavailable,
        retry_after=retry_after(response.header(b"retry-after")),
    )
