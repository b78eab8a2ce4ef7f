"""Bulk intake: NDJSON, each line a resource and a message of its own, stored page by page as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from adapters.fhir.outcome import issue, outcome
from adapters.http.problem import RETRY_AFTER
from hub.api import Bound, HubError, IntakePort, Item, StoreBusy
from hub.i18n import t
from hub.masking import mask_text
from hub.message import Outcome

__all__ = ["NDJSON_TYPES", "Import", "LineTooLong"]

NDJSON_TYPES = frozenset(("application/fhir+ndjson", "application/ndjson", "application/x-ndjson"))
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
#: A page is stored when it has so many bytes, even if it has few lines.
_PAGE_BYTES = 1 << 20
#: Refused lines that are told; all of them are counted and in the call log.
_MOST_TOLD = 1000


class LineTooLong(Exception):
    """A line longer than the interface takes."""


@dataclass(slots=True)
class Import:
    """One import, and what has become of its lines so far."""

    bound: Bound
    intake: IntakePort
    resources: frozenset[str]
    limit: int  # bytes of a line
    page: int  # lines
    key: str  # of the whole; with the number of a line it is that line's control id
    remote: str
    params: dict[str, str]
    stored: int = 0
    duplicates: int = 0
    refused: int = 0
    told: list[dict[str, Any]] = field(default_factory=list)
    _line: int = 0
    _items: list[tuple[int, Item]] = field(default_factory=list)
    _bytes: int = 0

    async def run(
        self, request: web.BaseRequest, within: float
    ) -> tuple[int, dict[str, Any] | None, Mapping[str, str]]:
        """Read the body, ``within`` seconds for each piece; status, why it ended early, and headers of the answer."""
        try:
            await self.read(_pieces(request, within))
        except StoreBusy as error:
            return 503, issue("error", "transient", mask_text(error.text), error.code), {"Retry-After": RETRY_AFTER}
        except LineTooLong:
            text = t(f"a line is longer than {self.limit} bytes", f"有一行超过 {self.limit} 字节")
            return 413, issue("error", "too-long", text, "http.too_large"), {}
        except TimeoutError:
            text = t("nothing more came for too long", "长时间没有后续内容")
            return 408, issue("error", "timeout", text, "http.body_timeout"), {}
        except (ConnectionError, HttpProcessingError, web.RequestPayloadError):
            text = t("the body is cut short", "消息体不完整")
            return 400, issue("error", "incomplete", text, "http.body_incomplete"), {}
        return 200, None, {}

    async def read(self, pieces: AsyncIterator[bytes]) -> None:
        """Raises :class:`~hub.api.StoreBusy` and :class:`LineTooLong`; what is stored then stays stored."""
        parts: list[bytes] = []  # of a line that is not complete
        size = 0
        async for piece in pieces:
            *ends, rest = piece.split(b"\n")
            for end in ends:
                parts.append(end)
                await self._take(b"".join(parts))
                parts.clear()
                size = 0
            parts.append(rest)
            size += len(rest)
            if size > self.limit:
                await self._store()
                raise LineTooLong
        if size:
            await self._take(b"".join(parts))
        await self._store()

    @property
    def lines(self) -> int:
        """Lines that are done with."""
        return self._line - len(self._items)

    async def _take(self, line: bytes) -> None:
        self._line += 1
        line = line.strip(b" \t\r")
        if not line:
            return
        wrong = self._wrong(line)
        if wrong is not None:
            self.intake.refuse(self.bound, line, wrong, remote=self.remote)
            self._note(self._line, wrong)
            return
        control_id = f"{self.key}:{self._line}" if self.key else ""
        self._items.append((self._line, Item(line, control_id, self.params)))
        self._bytes += len(line)
        if len(self._items) >= self.page or self._bytes >= _PAGE_BYTES:
            await self._store()

    def _wrong(self, line: bytes) -> HubError | None:
        """Why a line is not one of ours; the rest is for the intake to say."""
        if len(line) > self.limit:
            text = t(f"longer than {self.limit} bytes", f"超过 {self.limit} 字节")
            return HubError(text, code="intake.too_large")
        if "*" in self.resources:
            return None
        try:
            tree = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        if isinstance(tree, dict) and tree.get("resourceType") in self.resources:
            return None
        return HubError(t("this type of resource is not taken", "不接收该类型的资源"), code="fhir.type")

    async def _store(self) -> None:
        if not self._items:
            return
        receipts = await self.intake.take(self.bound, [item for _, item in self._items], remote=self.remote)
        for (number, _), receipt in zip(self._items, receipts, strict=True):
            if not receipt.accepted:
                self._note(number, receipt.error or HubError(t("the message was refused", "消息被拒绝")))
            elif receipt.outcome is Outcome.DUPLICATE:
                self.duplicates += 1
            else:
                self.stored += 1
        self._items.clear()
        self._bytes = 0

    def _note(self, number: int, error: HubError) -> None:
        self.refused += 1
        if len(self.told) < _MOST_TOLD:
            self.told.append(issue("error", "processing", mask_text(error.text), f"{error.code}: line {number}"))

    def outcome(self, last: dict[str, Any] | None = None) -> dict[str, Any]:
        """What became of it; ``last``: why it ended early."""
        text = t(
            f"{self.stored} lines stored, {self.duplicates} were there before, {self.refused} refused",
            f"已存储 {self.stored} 行，重复 {self.duplicates} 行，拒绝 {self.refused} 行",
        )
        first = issue("information", "informational", text, f"lines read: {self.lines}")
        return outcome([*([last] if last else []), first, *self.told])


async def _pieces(request: web.BaseRequest, within: float) -> AsyncIterator[bytes]:
    if "Expect" in request.headers and request.version >= HttpVersion11:
        await request.writer.write(_CONTINUE)
        request.writer.output_size = 0
    while True:
        async with asyncio.timeout(within):
            piece = await request.content.readany()
        if not piece:
            return
        yield piece
