"""STOW-RS: every part of a call becomes a message, large ones on the disk as they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from adapters.access import AllowList
from adapters.dicom.objects import IncomingFile, ObjectFolder
from adapters.dicom.storage import message_of, status_of
from adapters.dicomweb.answer import Stored, media_type, render, status_of_all
from adapters.dicomweb.options import DicomWebListen
from adapters.http.auth import Gate
from adapters.http.problem import RETRY_AFTER, SERVER, Refusal, problem_response
from adapters.http.server import HttpServer, Route, ServerPool
from hub.api import Bound, HubError, IntakePort, Receipt, Receiver, StoreBusy
from hub.codecs.dicom_set import DicomTree
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["DicomWebReceiver"]

_CHUNK = 256 << 10
#: Small objects of one call that wait for their commit together.
_AT_ONCE = 32
_CLEAN_EVERY_S = 86400.0


class DicomWebReceiver(Receiver):
    """One service; its server may be shared with other interfaces on the same port."""

    def __init__(self, bound: Bound, intake: IntakePort, servers: ServerPool) -> None:
        options = bound.options
        if not isinstance(options, DicomWebListen):
            raise TypeError("bound.options must be DicomWebListen")
        self._bound = bound
        self._intake = intake
        self._servers = servers
        self._options = options
        self._http = options.http
        self._gate = Gate(options.auth)
        self._allow = AllowList(options.allow)
        self._objects = ObjectFolder(bound.data, bound.place, options.inline, options.max_object)
        self._routes = [
            Route(bound.place + suffix, self._http.path + path, ("POST",), self._handle)
            for suffix, path in (("", ""), ("/study", "/{study}"))
        ]
        self._server: HttpServer | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._cleaner: asyncio.Task[None] | None = None
        self._under_way = 0
        self._quiet = asyncio.Event()
        self._stopping = False
        self._stored = self._failed = 0

    async def start(self) -> None:
        if self._bound.codec.name != "dicom" or self._bound.contract.style != "event":
            raise HubError(
                t(
                    f"{self._bound.place} needs codec: dicom and style: event",
                    f"{self._bound.place} 须为 codec: dicom 且 style: event",
                ),
                code="dicom.contract",
            )
        self._stopping = False
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="dicomweb")
        await self._in_thread(self._objects.open)
        server = self._servers.server(self._http)
        added: list[Route] = []
        try:
            for route in self._routes:
                await server.add(route, self._http)
                added.append(route)
        except HubError:
            for route in added:
                await server.remove(route, 0.0)
            self._threads.shutdown(wait=False)
            raise
        self._server = server
        self._cleaner = asyncio.get_running_loop().create_task(self._clean())

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
        if self._cleaner is not None:
            self._cleaner.cancel()
            await asyncio.gather(self._cleaner, return_exceptions=True)
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.get_running_loop().run_in_executor(None, threads.shutdown)

    def status(self) -> dict[str, Any]:
        server = self._server
        port = server.port if server is not None else self._options.port
        return {
            "listening": [f"{self._options.host}:{port}{self._http.path}"] if server is not None else [],
            "port": port,
            "tls": self._options.tls is not None,
            "connections": server.connections if server is not None else 0,
            "under_way": self._under_way,
            "stored": self._stored,
            "failed": self._failed,
        }

    # -- one call ------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest, parts: dict[str, str]) -> web.StreamResponse:
        self._under_way += 1
        try:
            self._admit(request)
            results = await self._take(request, parts.get("study", ""))
        except Refusal as refusal:
            self._intake.refuse(self._bound, b"", refusal.as_error(), remote=request.remote or "")
            answer = problem_response(
                request.headers.get("Accept-Language", ""),
                request.path,
                refusal.status,
                refusal.code,
                refusal.detail,
                remedy=refusal.remedy,
                headers={**refusal.headers, "Connection": "close"},
            )
            answer.force_close()
            return answer
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()
        self._stored += sum(not one.reason for one in results)
        self._failed += sum(bool(one.reason) for one in results)
        kind = media_type(request.headers.get("Accept", ""))
        status = status_of_all(results)
        headers = {"Content-Type": kind, **SERVER}
        if status == 503:
            headers["Retry-After"] = RETRY_AFTER
        return web.Response(status=status, body=render(results, kind), headers=headers)

    def _admit(self, request: web.BaseRequest) -> None:
        if not self._allow.permits(request.remote or ""):
            raise Refusal(403, "http.address", ("this address may not call the interface", "该地址不允许调用此接口"))
        self._gate.check(request.headers)
        if self._stopping or not self._intake.ready():
            raise Refusal(
                503,
                StoreBusy.code,
                ("the hub takes nothing in just now; nothing was stored", "枢纽暂时无法接收，未存储任何内容"),
                headers={"Retry-After": RETRY_AFTER},
            )
        kind = request.headers.get("Content-Type", "").lower()
        if not kind.startswith("multipart/related") or "boundary=" not in kind:
            raise Refusal(
                415,
                "http.content_type",
                (
                    "STOW-RS takes multipart/related; type=application/dicom",
                    "STOW-RS 只接受 multipart/related; type=application/dicom",
                ),
            )

    async def _take(self, request: web.BaseRequest, study: str) -> list[Stored]:
        results: list[Stored | asyncio.Future[Stored]] = []
        waiting: list[asyncio.Future[Stored]] = []
        try:
            reader = MultipartReader(request.headers, request.content)
            while True:
                async with asyncio.timeout(self._options.part_timeout):
                    part = await reader.next()
                if part is None:
                    break
                if len(results) >= self._options.max_parts:
                    raise Refusal(413, "dicom.parts", ("too many objects in one call", "单次调用对象过多"))
                if isinstance(part, MultipartReader):
                    raise ValueError("multipart inside of multipart")
                found = await self._part(request, part, study)
                results.append(found)
                if isinstance(found, asyncio.Future):
                    waiting.append(found)
                    if len(waiting) >= _AT_ONCE:
                        await waiting.pop(0)
        except TimeoutError:
            raise Refusal(
                408, "http.body_timeout", ("nothing more came for too long", "消息体长时间没有后续内容")
            ) from None
        except (ValueError, ConnectionError, HttpProcessingError, web.RequestPayloadError, AssertionError):
            raise Refusal(
                400,
                "http.body_incomplete",
                (
                    "the body is cut short or is not multipart; objects before that are stored",
                    "消息体不完整或不是 multipart；此前的对象已存储",
                ),
            ) from None
        return [await one if isinstance(one, asyncio.Future) else one for one in results]

    async def _part(
        self, request: web.BaseRequest, part: BodyPartReader, study: str
    ) -> Stored | asyncio.Future[Stored]:
        """One object: handed in, its receipt to come; or what is wrong with it."""
        incoming = IncomingFile(self._objects)
        tree: DicomTree | None = None
        try:
            while True:
                async with asyncio.timeout(self._options.part_timeout):
                    piece = await part.read_chunk(_CHUNK)
                if not piece:
                    break
                if incoming.size + len(piece) > self._options.inline:
                    await self._in_thread(incoming.write, piece)
                else:
                    incoming.write(piece)
            raw, tree = await self._in_thread(message_of, incoming)
            if study and tree.get("StudyInstanceUID") != study:
                error = HubError(
                    t("the object belongs to another study than the path says", "对象所属检查与路径不一致"),
                    code="dicom.mismatch",
                )
                raise error
        except (HubError, OSError) as error:
            if isinstance(error, TimeoutError | ConnectionError):
                raise
            if isinstance(error, HubError) and not isinstance(error, StoreBusy):
                self._intake.refuse(self._bound, b"", error, remote=request.remote or "")
            return _named(tree, status_of(error))
        finally:
            await self._in_thread(incoming.close)
        future: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()

        def done(receipt: Receipt) -> None:
            if not future.done():
                error = receipt.error or HubError("refused")
                future.set_result(_named(tree, 0 if receipt.accepted else status_of(error)))

        params = {"service": "STOW-RS", "User-Agent": mask_text(request.headers.get("User-Agent", "")[:200])}
        self._intake.submit(self._bound, raw, done, remote=request.remote or "", params=params)
        return future

    async def _clean(self) -> None:
        while True:
            await self._in_thread(self._objects.clean, self._options.keep)
            await asyncio.sleep(_CLEAN_EVERY_S)

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def _named(tree: DicomTree | None, reason: int) -> Stored:
    if tree is None:
        return Stored("", "", reason)
    return Stored(str(tree.get("SOPClassUID") or ""), str(tree.get("SOPInstanceUID") or ""), reason)
