"""Asking a FHIR server that is read: pages whole, files of an export piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from urllib.parse import urljoin

import aiohttp

from adapters.fhir.options import FhirPoll
from adapters.fhir.outcome import severest
from adapters.fhir.reply import outcome_text
from adapters.http.answer import decoded, error_text
from adapters.http.client import HttpClient, Target
from adapters.http.client_options import OutboundAuth
from adapters.http.connection import Response
from adapters.http.proxy import proxy_authorization
from adapters.http.request import Endpoint, RequestHead, auth_line, encoded_path, header_line, join_path
from adapters.http.token import TokenSource
from adapters.tls import client_context
from hub.api import Bound, CodecError, PermanentError, SendError, TransientError, UnreachableError
from hub.i18n import t

__all__ = ["FhirSource"]

#: Above this, bytes, a page is read in a thread: the event loop must not stand still for it.
_THREAD_ABOVE = 64 << 10
_PASSING = frozenset((401, 403, 408, 425, 429))


class FhirSource:
    """The server of one interface. Belongs to the event loop it is first used on."""

    def __init__(self, bound: Bound, options: FhirPoll) -> None:
        self._place = bound.place
        self._codec = bound.codec
        self._options = options
        self.endpoint = endpoint = Endpoint(options.url)
        own = options.auth if isinstance(options.auth, OutboundAuth) else None
        self._heads = {
            method: RequestHead(
                bound.place,
                endpoint,
                method,
                headers={"Accept": bound.codec.content_type, **options.headers},
                auth=own,
                proxy=options.proxy,
            )
            for method in ("GET", "DELETE")
        }
        self._auth = auth_line(own) if own is not None else b""
        self._context = client_context(options.tls) if endpoint.secure else None
        self._client = HttpClient(
            Target(
                host=endpoint.host,
                port=endpoint.port,
                ssl=self._context,
                server_name=options.tls.server_name,
                connections=2,  # one reads, one is for a probe
                connect_timeout=options.connect_timeout,
                reply_limit=options.reply_limit,
                proxy=options.proxy,
            )
        )
        self._tokens: TokenSource | None = None
        if options.auth is not None and not isinstance(options.auth, OutboundAuth):
            self._tokens = TokenSource(bound.place, options.auth, options.tls, options.proxy, options.connect_timeout)

    async def close(self) -> None:
        if self._tokens is not None:
            await self._tokens.close()
        await self._client.close()

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.endpoint.secure else 'http'}://{self.endpoint.authority}"

    def target(self, path: str, query: str = "") -> str:
        """Path and query of something below the base, encoded."""
        return encoded_path(join_path(self.endpoint.path, path)) + (f"?{query}" if query else "")

    def same_server(self, url: str, target: str) -> str:
        """Path and query of an address the server gave in its answer to ``target``.

        Raises :class:`PermanentError` for one on another server: the credentials would go there.
        """
        try:
            there: Endpoint | None = Endpoint(urljoin(self.url + target, url))
        except ValueError:
            there = None
        if there is None or not there.same_place(self.endpoint):
            raise PermanentError(
                t(
                    "an address in the server's answer leads to another server; have the server know its public address",
                    "应答中的地址指向其他服务器，请为该服务器配置其对外地址",
                ),
                code="fhir.next",
            )
        return encoded_path(there.path, there.query)

    async def ask(self, target: str, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> Response:
        """One call; whatever its status. Raises :class:`SendError`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._options.timeout
        more = b"".join(header_line(name, value) for name, value in (headers or {}).items())

        async def once(line: bytes, token: str) -> Response:
            head = self._heads[method].fill({"token": token} if token else {}, target=target) + line + more + b"\r\n"
            left = max(deadline - loop.time(), 0.001)
            response = await self._client.call(head, b"", left, repeatable=True)
            if response.body and b"content-encoding" in response.headers:
                response.body = await decoded(self._client, response)
            return response

        return await (self._tokens.shown(deadline, once) if self._tokens is not None else once(b"", ""))

    async def tree(self, target: str) -> dict[str, Any]:
        """A resource. Raises :class:`SendError`."""
        response = await self.ask(target)
        if not 200 <= response.status < 300:
            raise self.failure(response)
        try:
            if len(response.body) > _THREAD_ABOVE:
                found: dict[str, Any] = await asyncio.to_thread(self._codec.decode, response.body)
            else:
                found = self._codec.decode(response.body)
        except CodecError as error:
            raise TransientError(
                t(f"the page is no FHIR: {error.text}", f"页面不是 FHIR：{error.text}"), code="fhir.page"
            ) from None
        return found

    def failure(self, response: Response) -> SendError:
        """The error of an answer that is none."""
        try:
            tree = self._codec.decode(response.body)
        except CodecError:
            tree = {}
        worst = severest(tree)
        if worst is not None:
            text = f"HTTP {response.status}: {outcome_text(worst)}"
        else:  # of another resource nothing is told: it may be a patient
            text = f"HTTP {response.status}" if tree else error_text(response, response.body)
        return self._failed(response.status, text)

    def _failed(self, status: int, text: str) -> SendError:
        if status in (502, 503, 504):
            return UnreachableError(text, code=str(status))
        passing = status in _PASSING or status >= 500
        return (TransientError if passing else PermanentError)(text, code=str(status))

    async def stream(self, target: str, accept: str) -> AsyncGenerator[bytes, None]:
        """The pieces of a large body. Raises :class:`SendError`.

        On aiohttp's client: the pooled one holds whole bodies.
        """
        options = self._options
        headers = {"Accept": accept, "User-Agent": "tongqu", **options.headers}
        line, token = self._auth, ""
        if self._tokens is not None:
            token = await self._tokens.get()
            line = self._tokens.line(token)
        if line:
            name, _, value = line.decode().strip().partition(": ")
            headers[name] = value
        proxy = options.proxy
        through: dict[str, Any] = {}
        if proxy is not None:
            shown = proxy_authorization(proxy).decode().strip().partition(": ")[2]
            through = {"proxy": proxy.url, "proxy_headers": {"Proxy-Authorization": shown} if shown else None}
        limits = aiohttp.ClientTimeout(total=None, sock_connect=options.connect_timeout, sock_read=options.timeout)
        try:
            async with (
                aiohttp.ClientSession(timeout=limits) as session,
                session.get(
                    self.url + target,
                    headers=headers,
                    allow_redirects=False,
                    ssl=self._context if self._context is not None else True,
                    server_hostname=options.tls.server_name or None,
                    **through,
                ) as response,
            ):
                if response.status == 401 and self._tokens is not None:
                    self._tokens.forget(token)
                if response.status != 200:
                    raise self._failed(response.status, f"HTTP {response.status}")
                async for piece in response.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TransientError(
                t(
                    f"reading from {self._client.target} broke off ({type(error).__name__})",
                    f"从 {self._client.target} 的读取中断（{type(error).__name__}）",
                ),
                code="http.lost",
            ) from None
