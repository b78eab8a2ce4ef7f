"""STOW-RS: every part of a call becomes a message, large ones on the disk as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from adapters.dicom.objects import IncomingFile, ObjectFolder
from adapters.dicom.storage import message_of, status_of
from adapters.dicomweb.answer import Stored, media_type, render, status_of_all
from adapters.dicomweb.receiver import DicomWebReceiver, Resource
from adapters.http.auth import caller_of
from adapters.http.problem import RETRY_AFTER, SERVER, Refusal
from adapters.http.server import ServerPool
from hub.api import Bound, HubError, IntakePort, Receipt, StoreBusy
from hub.codecs.dicom_set import DicomTree
from hub.i18n import t
from hub.masking import mask_text
from hub.tasks import again

__all__ = ["StowReceiver"]

_CHUNK = 256 << 10
#: Small objects of one call that wait for their commit together.
_AT_ONCE = 32
_CLEAN_EVERY_S = 86400.0


class StowReceiver(DicomWebReceiver):
    """Takes objects."""

    wants: ClassVar[tuple[str, str]] = ("dicom", "event")

    def __init__(self, bound: Bound, intake: IntakePort, servers: ServerPool) -> None:
        super().__init__(bound, intake, servers)
        options = self._options
        self._objects = ObjectFolder(bound.data, bound.place, options.inline, options.max_object)
        self._cleaner: asyncio.Task[None] | None = None
        self._stored = self._failed = 0

    def resources(self) -> Sequence[Resource]:
        return [("POST", "/studies", self._store), ("POST", "/studies/{study}", self._store)]

    async def prepare(self) -> None:
        await self._in_thread(self._objects.open)

    async def start(self) -> None:
        await super().start()
        self._cleaner = asyncio.get_running_loop().create_task(self._clean())

    async def stop(self, grace: float) -> None:
        cleaner, self._cleaner = self._cleaner, None
        if cleaner is not None:
            cleaner.cancel()
            await asyncio.gather(cleaner, return_exceptions=True)
        await super().stop(grace)

    def status(self) -> dict[str, Any]:
        return {**super().status(), "stored": self._stored, "failed": self._failed}

    # -- one call ------------------------------------------------------------------------------------------------

    async def _store(self, request: web.BaseRequest, parts: dict[str, str]) -> web.StreamResponse:
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
        results = await self._take(request, parts.get("study", ""))
        self._stored += sum(not one.reason for one in results)
        self._failed += sum(bool(one.reason) for one in results)
        kind = media_type(request.headers.get("Accept", ""))
        status = status_of_all(results)
        headers = {"Content-Type": kind, **SERVER}
        if status == 503:
            headers["Retry-After"] = RETRY_AFTER
        return web.Response(status=status, body=render(results, kind), headers=headers)

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
        params |= caller_of(request)
        self._intake.submit(self._bound, raw, done, remote=request.remote or "", params=params)
        return future

    async def _clean(self) -> None:
        await again(self._bound.place, lambda: self._in_thread(self._objects.clean, self._options.keep), _CLEAN_EVERY_S)


def _named(tree: DicomTree | None, reason: int) -> Stored:
    if tree is None:
        return Stored("", "", reason)
    return Stored(str(tree.get("SOPClassUID") or ""), str(tree.get("SOPInstanceUID") or ""), reason)
