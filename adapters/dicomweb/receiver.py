"""What every DICOMweb interface has: its part of a server, who may call, and how it says no."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from aiohttp import web

from adapters.access import AllowList
from adapters.dicomweb.options import DicomWebListen
from adapters.http.auth import Gate
from adapters.http.problem import RETRY_AFTER, Refusal, problem_response
from adapters.http.server import HttpServer, Route, ServerPool
from hub.api import Bound, HubError, IntakePort, Receiver, StoreBusy
from hub.i18n import t

__all__ = ["Answer", "DicomWebReceiver", "Resource"]

#: What answers a call; gets the {name} parts of its path.
Answer = Callable[[web.BaseRequest, dict[str, str]], Awaitable[web.StreamResponse]]
#: (method, path behind that of the interface, who answers)
Resource = tuple[str, str, Answer]


class DicomWebReceiver(Receiver):
    """One service; its server may be shared with other interfaces on the same port."""

    #: (codec, style) its contract must have.
    wants: ClassVar[tuple[str, str]]
    threads: ClassVar[int] = 2

    def __init__(self, bound: Bound, intake: IntakePort, servers: ServerPool) -> None:
        options = bound.options
        if not isinstance(options, DicomWebListen):
            raise TypeError("bound.options must be DicomWebListen")
        self._bound = bound
        self._intake = intake
        self._servers = servers
        self._options = options
        self._gate = Gate(options.auth, bound)
        self._allow = AllowList(options.allow)
        self._routes = [
            Route(f"{bound.place}#{number}", options.path + path, (method,), self._answering(answer))
            for number, (method, path, answer) in enumerate(self.resources())
        ]
        self._server: HttpServer | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._under_way = 0
        self._quiet = asyncio.Event()
        self._stopping = False

    @abstractmethod
    def resources(self) -> Sequence[Resource]:
        """What it serves."""

    async def prepare(self) -> None:
        """What is to be done before the first call."""

    async def start(self) -> None:
        codec, style = self.wants
        if self._bound.codec.name != codec or self._bound.contract.style != style:
            raise HubError(
                t(
                    f"{self._bound.place}: these services need codec: {codec} and style: {style}",
                    f"{self._bound.place}：这些服务要求 codec: {codec} 且 style: {style}",
                ),
                code="dicom.contract",
                remedy=t("correct the interface in plugin.yaml", "请更正 plugin.yaml 中的接口"),
            )
        self._gate.ready()
        self._stopping = False
        self._threads = ThreadPoolExecutor(self.threads, thread_name_prefix="dicomweb")
        server = self._servers.server(self._options)
        added: list[Route] = []
        try:
            await self.prepare()
            for route in self._routes:
                await server.add(route, self._options)
                added.append(route)
        except (HubError, OSError):
            for route in added:
                await server.remove(route, 0.0)
            self._threads.shutdown(wait=False)
            raise
        self._server = server

    async def stop(self, grace: float) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        self._stopping = True
        deadline = asyncio.get_running_loop().time() + grace
        if self._under_way:
            self._quiet.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._quiet.wait()
        for route in self._routes:
            await server.remove(route, max(deadline - asyncio.get_running_loop().time(), 0.5))
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.get_running_loop().run_in_executor(None, threads.shutdown)

    def status(self) -> dict[str, Any]:
        server = self._server
        port = server.port if server is not None else self._options.port
        return {
            "listening": [f"{self._options.host}:{port}{self._options.path}/studies"] if server is not None else [],
            "port": port,
            "services": list(self._options.services),
            "tls": self._options.tls is not None,
            "connections": server.connections if server is not None else 0,
            "under_way": self._under_way,
        }

    def _answering(self, answer: Answer) -> Answer:
        async def handle(request: web.BaseRequest, parts: dict[str, str]) -> web.StreamResponse:
            self._under_way += 1
            try:
                self._admit(request)
                return await answer(request, parts)
            except Refusal as refusal:
                self._intake.refuse(self._bound, b"", refusal.as_error(), remote=request.remote or "")
                said = problem_response(
                    request.headers.get("Accept-Language", ""),
                    request.path,
                    refusal.status,
                    refusal.code,
                    refusal.detail,
                    remedy=refusal.remedy,
                    headers={**refusal.headers, "Connection": "close"},
                )
                said.force_close()
                return said
            finally:
                self._under_way -= 1
                if not self._under_way:
                    self._quiet.set()

        return handle

    def _admit(self, request: web.BaseRequest) -> None:
        if not self._allow.permits(request.remote or ""):
            raise Refusal(403, "http.address", ("this address may not call the interface", "该地址不允许调用此接口"))
        self._gate.admit(request)
        if self._stopping or not self._intake.ready():
            raise Refusal(
                503,
                StoreBusy.code,
                ("the hub takes nothing in just now; nothing was stored", "枢纽暂时无法接收，未存储任何内容"),
                headers={"Retry-After": RETRY_AFTER},
            )

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
