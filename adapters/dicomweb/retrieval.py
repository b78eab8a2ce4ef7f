"""Objects and metadata on their way to a caller: read from the disk as fast as the caller takes them, never held as a whole."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from adapters.dicom.model import dumps, json_model
from adapters.dicom.object_file import ObjectReader
from adapters.dicom.objects import header_of
from adapters.dicom.references import Reference
from adapters.http.problem import SERVER
from hub.api import HubError
from hub.codecs.dicom_read import read_file
from hub.codecs.dicom_set import DicomTree
from hub.i18n import t

__all__ = ["Fetched", "accepted", "send_metadata", "send_objects"]

_DICOM = "application/dicom"
_TYPE = re.compile(r'type="?([\w.+/-]+)"?')

#: Does blocking work in a thread of the interface.
InThread = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file a sender has fetched."""

    path: Path
    size: int

    @classmethod
    def of_told(cls, told: Any, data: Path) -> Fetched:
        """By what a reply says; raises :class:`HubError` for what no sender of this hub has written, or what is gone."""
        try:
            reference = Reference.of_told(told)
        except (ValueError, KeyError, TypeError):
            raise HubError(t("the reply names no objects", "应答未给出对象"), code="dicom.reply") from None
        return cls(reference.open_in(data), reference.size)


def accepted(header: str, *kinds: str) -> str:
    """The first of these media types an ``Accept`` header lets pass, "" for none; multipart is that of DICOM files."""
    stated = header.lower().split(",") if header.strip() else ["*/*"]
    for kind in kinds:
        for one in stated:
            parts = [part.strip() for part in one.split(";")]
            if "q=0" in parts[1:] or "q=0.0" in parts[1:]:
                continue
            inner = _TYPE.search(one, one.find(";")) if ";" in one else None
            if parts[0] == "multipart/related" and inner is not None and inner[1] not in (_DICOM, "*/*"):
                continue
            if parts[0] in (kind, "*/*", kind.partition("/")[0] + "/*"):
                return kind
    return ""


async def send_objects(
    request: web.BaseRequest, fetched: Sequence[Fetched], in_thread: InThread, silence: float, *, single: bool
) -> web.StreamResponse:
    """The files, in one multipart message, or the first one alone. ``silence``: seconds the caller may take nothing."""
    if single:
        headers = {"Content-Type": _DICOM, "Content-Length": str(fetched[0].size), **SERVER}
        return await _stream(request, headers, _content(fetched[0], in_thread), silence)
    boundary = f"tongqu-{secrets.token_hex(16)}"
    kind = f'multipart/related; type="{_DICOM}"; boundary={boundary}'

    async def parts() -> AsyncIterator[bytes]:
        for one in fetched:
            yield f"--{boundary}\r\nContent-Type: {_DICOM}\r\nContent-Length: {one.size}\r\n\r\n".encode()
            async for piece in _content(one, in_thread):
                yield piece
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    return await _stream(request, {"Content-Type": kind, **SERVER}, parts(), silence)


async def send_metadata(
    request: web.BaseRequest, fetched: Sequence[Fetched], in_thread: InThread, silence: float
) -> web.StreamResponse:
    """What the files hold besides pixel data and values above 64 KB, in the DICOM JSON model."""

    async def parts() -> AsyncIterator[bytes]:
        before = b"["
        for one in fetched:
            yield before + await in_thread(_model, one.path)
            before = b","
        yield b"]"

    return await _stream(request, {"Content-Type": "application/dicom+json", **SERVER}, parts(), silence)


def _model(path: Path) -> bytes:
    raw = header_of(path)
    return dumps(json_model(DicomTree(raw, read_file(raw), "")))


async def _content(one: Fetched, in_thread: InThread) -> AsyncIterator[bytes]:
    pieces: Iterator[bytes] = _pieces(one)
    try:
        while piece := await in_thread(next, pieces, b""):
            yield piece
    finally:
        await in_thread(pieces.close)  # type: ignore[attr-defined]


def _pieces(one: Fetched) -> Iterator[bytes]:
    with ObjectReader(one.path) as file:
        yield from file.pieces(0, one.size)


async def _stream(
    request: web.BaseRequest, headers: dict[str, str], content: AsyncIterator[bytes], silence: float
) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    try:
        async with asyncio.timeout(silence):
            await response.prepare(request)
        async for piece in content:
            async with asyncio.timeout(silence):
                await response.write(piece)
        await response.write_eof()
    except (HubError, OSError, TimeoutError):
        # The answer has begun: all that can be said is that it is not complete.
        if request.transport is not None:
            request.transport.abort()
        response.force_close()
    finally:
        await content.aclose()  # type: ignore[attr-defined]
    return response
