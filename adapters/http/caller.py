"""What everything that calls over HTTP has in common: connections, tokens, the verdict on a status, the probe."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from adapters.http.answer import decoded, error_text, phrase, retry_after
from adapters.http.client import HttpClient, Target
from adapters.http.client_options import ClientOptions, OutboundAuth
from adapters.http.connection import Response
from adapters.http.protected import client_of
from adapters.http.request import Endpoint, RequestHead, encoded_path, join_path
from adapters.http.token import TokenSource, shared_tokens
from adapters.tls import client_context
from hub.api import Bound, Outgoing, Reply, Sender, TransientError, UnreachableError
from hub.i18n import t

__all__ = ["HttpCaller", "answered", "own_credentials"]

_TRANSIENT = frozenset((408, 425, 429, 500))
_UNAVAILABLE = frozenset((502, 503, 504))
_PERMANENT_5XX = frozenset((501, 505))


class HttpCaller(Sender):
    """A client of one interface of a target."""

    def __init__(self, bound: Bound, options: ClientOptions) -> None:
        self._calls = options
        self._place = bound.place
        self._protection = bound.protection
        self._endpoint = endpoint = Endpoint(options.url)
        self._secure = endpoint.secure
        self._target = endpoint.target
        self._client: HttpClient | None = None
        self._tokens: TokenSource | None = None

    async def start(self) -> None:
        """Read the TLS files; connections are opened when the first calls come. Raises :class:`HubError`."""
        options, endpoint = self._calls, self._endpoint
        self._client = client_of(
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
            ),
            self._protection,
        )
        if options.auth is not None and not isinstance(options.auth, OutboundAuth):
            self._tokens = shared_tokens(
                self._place, options.auth, options.tls, options.proxy, options.connect_timeout, self._protection
            )

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
        return answered(response)

    @abstractmethod
    async def _exchange(
        self, client: HttpClient, outgoing: Outgoing, more: bytes, variables: Mapping[str, Any], within: float
    ) -> Response:
        """One request with ``more`` headers; its reply with the content codings undone."""

    @property
    def capacity(self) -> int:
        return self._calls.connections

    async def ask(self, method: str, target: str, within: float) -> Response:
        """A call without a body to another path of the target; its reply with the content codings undone. Raises :class:`SendError`."""
        client = self._client
        if client is None:
            raise self._not_started()
        head = RequestHead(
            self._place, self._endpoint, method, auth=own_credentials(self._calls), proxy=self._calls.proxy
        ).fill({}, target=target)
        deadline = asyncio.get_running_loop().time() + within
        if self._tokens is not None:
            head += self._tokens.line(await self._tokens.get_by(deadline))
        left = max(deadline - asyncio.get_running_loop().time(), 0.001)
        response = await client.call(head + b"\r\n", b"", left, repeatable=True, without_body=method == "HEAD")
        if response.body and b"content-encoding" in response.headers:
            response.body = await decoded(client, response)
        return response

    async def probe(self) -> str:
        started = time.perf_counter()
        client = self._client
        if client is None:
            raise self._not_started()
        probe = self._calls.probe
        if probe is None:
            await client.check(self._calls.connect_timeout)
            if self._tokens is not None:
                await self._tokens.get()
            took = (time.perf_counter() - started) * 1000
            return t(f"connected to {self._target} in {took:.0f} ms", f"已连接 {self._target}，用时 {took:.0f} 毫秒")
        path = join_path(self._endpoint.path, probe.path)
        status = (await self.ask(probe.method, encoded_path(path), self._calls.connect_timeout * 2)).status
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


def own_credentials(options: ClientOptions) -> OutboundAuth | None:
    """The ``auth`` that needs no call before it is shown."""
    return options.auth if isinstance(options.auth, OutboundAuth) else None


def answered(response: Response) -> Reply:
    """The verdict of HTTP on a reply."""
    status, body = response.status, response.body
    if 200 <= status < 300:
        return Reply(True, body, status, str(status))
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
