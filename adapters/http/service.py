"""What everything that is served over HTTP and reads whole bodies has in common: who is let in, the body, the way to the intake, stopping."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from adapters.access import AllowList
from adapters.http.auth import Gate, caller_of
from adapters.http.body import BodyReader
from adapters.http.limits import RateLimiter, shown_by
from adapters.http.problem import RETRY_AFTER, Refusal
from adapters.http.server import HttpServer, Route, ServerPool
from adapters.http.server_options import CallOptions
from hub.api import Bound, IntakePort, Receipt, Receiver, StoreBusy
from hub.masking import mask_text

__all__ = ["HttpService", "clean", "logged"]

_LONGEST_KEY = 256
_LONGEST_LOGGED = 200
_MOST_REMEMBERED = 4096


class HttpService(Receiver):
    """One interface on a server. ``methods``: of HTTP; ``content_types``: media types of bodies that are taken, none for any."""

    def __init__(
        self,
        bound: Bound,
        intake: IntakePort,
        servers: ServerPool,
        options: CallOptions,
        methods: Sequence[str],
        content_types: Sequence[str] = (),
    ) -> None:
        self._bound = bound
        self._intake = intake
        self._servers = servers
        self._served = options
        self._limit = bound.contract.max_size or options.max_size
        self._gate = Gate(options.auth, bound)
        self._asks_caller = options.asks_caller
        self._allow = AllowList(options.allow)
        self._rate = RateLimiter(options.rate) if options.rate is not None else None
        self._key_header = options.auth.header if options.auth.type == "api_key" else "Authorization"
        self._peers: dict[str, bool] = {}  # address -> may it call
        self._masked: dict[str, str] = {}  # header value -> how it is logged; most values come again and again
        self._types = frozenset(content_types)
        self._route = Route(bound.place, options.path, tuple(methods), self._handle)
        self._server: HttpServer | None = None
        self._under_way = 0
        self._bodies = BodyReader(self._limit, options.max_buffered, options.body_timeout)
        self._quiet = asyncio.Event()
        self._stopping = False

    async def start(self) -> None:
        self._stopping = False
        self._gate.ready()
        server = self._servers.server(self._served)
        await server.add(self._route, self._served)
        self._server = server

    async def stop(self, grace: float) -> None:
        server = self._server
        if server is None:
            return
        self._stopping = True
        server.stop_listening(self._route)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        if self._under_way:
            self._quiet.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._quiet.wait()
            except TimeoutError:
                pass  # what is stored stays accepted; only these callers don't hear of it
        await server.remove(self._route, max(deadline - loop.time(), 0.5))
        self._server = None

    def status(self) -> dict[str, Any]:
        server = self._server
        options = self._served
        port = server.port if server is not None else options.port
        return {
            "listening": [f"{options.host}:{port}{options.path}"],
            "host": options.host,
            "port": port,
            "path": options.path,
            "methods": list(self._route.methods),
            "tls": options.tls is not None,
            "connections": server.connections if server is not None else 0,
            "refused_connections": server.refused if server is not None else 0,
            "under_way": self._under_way,
            "buffered": self._bodies.buffered,
        }

    # -- one call ------------------------------------------------------------------------------------------------

    @abstractmethod
    async def _handle(self, request: web.BaseRequest, parts: dict[str, str]) -> web.StreamResponse:
        """Answer a call; counts itself in ``_under_way`` and sets ``_quiet`` when it was the last."""

    def _admit(self, request: web.BaseRequest, remote: str) -> None:
        """Everything that can be refused before the body is read."""
        headers = request.headers
        permitted = self._peers.get(remote)
        if permitted is None:
            if len(self._peers) >= _MOST_REMEMBERED:
                self._peers.clear()
            permitted = self._peers[remote] = self._allow.permits(remote)
        if not permitted:
            raise Refusal(
                403,
                "http.address",
                ("this address may not call the interface", "该地址不允许调用此接口"),
                ("have it added to listen.allow", "请将其加入 listen.allow"),
            )
        rate = self._rate
        if rate is not None and rate.per == "address":  # also of calls with wrong credentials
            rate.take(remote, time.monotonic())
        self._gate.admit(request)
        if rate is not None and rate.per != "address":
            caller = shown_by(headers.get(self._key_header, "")) if rate.per == "credentials" else ""
            rate.take(caller, time.monotonic())
        if self._served.concurrency and self._under_way > self._served.concurrency:
            raise Refusal(
                503,
                "http.concurrency",
                ("too many calls at once; nothing was stored", "同时调用过多，未存储任何内容"),
                ("send the same again later", "请稍后重发"),
                {"Retry-After": RETRY_AFTER},
            )
        if self._stopping or not self._intake.ready():
            raise Refusal(
                503,
                StoreBusy.code,
                ("the hub takes nothing in just now; nothing was stored", "枢纽暂时无法接收，未存储任何内容"),
                ("send the same again later", "请稍后重发"),
                {"Retry-After": RETRY_AFTER},
            )
        if self._types:
            kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind not in self._types and kind.partition("/")[0] + "/*" not in self._types and request.can_read_body:
                expected = ", ".join(sorted(self._types))
                raise Refusal(
                    415,
                    "http.content_type",
                    (f"this interface takes {expected}", f"该接口只接受 {expected}"),
                    headers={"Accept": expected},
                )
        length = headers.get("Content-Length")
        if length is not None and int(length) > self._limit:
            raise self._bodies.too_large()
        expect = headers.get("Expect")
        if expect is not None and expect.lower() != "100-continue":
            raise Refusal(417, "http.expect", ("only 100-continue is understood", "仅支持 100-continue"))
        key = headers.get("Idempotency-Key")
        if key is not None and len(key) > _LONGEST_KEY:
            raise Refusal(
                400,
                "http.idempotency_key",
                (
                    f"Idempotency-Key is longer than {_LONGEST_KEY} characters",
                    f"Idempotency-Key 超过 {_LONGEST_KEY} 个字符",
                ),
            )

    def _asked(self, request: web.BaseRequest) -> dict[str, str]:
        """Who calls, as a parameter of the call, where the interface asks for it."""
        return caller_of(request) if self._asks_caller else {}

    def _logged_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Of a call, those that the call log shows."""
        return {name: self._logged_header(headers[name]) for name in self._served.log_headers if name in headers}

    async def _handed_in(self, raw: bytes, remote: str, control_id: str, params: Mapping[str, str]) -> Receipt:
        """Give a message to the intake and wait for what becomes of it."""
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()

        def done(receipt: Receipt) -> None:
            if not future.done():  # cancelled when the server is closed under a call
                future.set_result(receipt)

        if control_id:
            control_id = clean(control_id)
        self._intake.submit(self._bound, raw, done, remote=remote, control_id=control_id, params=params)
        return await future

    def _logged_header(self, value: str) -> str:
        value = value[:_LONGEST_LOGGED]
        known = self._masked.get(value)
        if known is None:
            if len(self._masked) >= _MOST_REMEMBERED:
                self._masked.clear()
            known = self._masked[value] = logged(value)
        return known


def clean(value: str) -> str:
    """Without control characters and the stand-ins of bytes that are not UTF-8."""
    return value if value.isprintable() else "".join(char if char.isprintable() else "?" for char in value)


def logged(value: str) -> str:
    return mask_text(clean(value[:_LONGEST_LOGGED]))
