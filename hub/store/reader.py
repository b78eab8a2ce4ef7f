"""The read side of a worker's folder: read-only connections in a few threads, in the hub or in another process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw

from hub.errors import HubError, StoreBusy
from hub.i18n import t
from hub.message import Answer, Awaited, CallRecord, Delivery, DeliveryState, Message
from hub.store import callbacks, queries, reports
from hub.store.base import (
    AwaitedQuery,
    CallQuery,
    Chain,
    DeliveryQuery,
    LedgerReport,
    MessageQuery,
    PlaceQuality,
    ReportQuery,
    SearchPage,
    StoreReader,
)
from hub.store.derived import SegmentUnreadable
from hub.store.files import corrupt
from hub.store.inspect import check_folder, measure
from hub.store.ledger import verify
from hub.store.marks import find_mark
from hub.store.schema import SCHEMA_VERSION
from hub.store.sealer import Sealer
from hub.store.search import run_search
from hub.store.segment import CATALOG_NAME, Connections, SegmentFile, list_segments
from hub.store.sql import all_rows, scalar
from hub.store.values import Values

__all__ = ["SqliteReader"]

T = TypeVar("T")
Progress = Callable[[int, int], None]

_THREADS = 3
_TRIES = 3


class SqliteReader(StoreReader):
    """Answers from one folder. Nothing is opened before the first question."""

    def __init__(self, folder: Path, *, threads: int = _THREADS, sealer: Sealer | None = None) -> None:
        self.folder = folder
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="store reader")
        self._connections = Connections(values=Values(folder, sealer))
        self._segments: list[SegmentFile] = []
        self._stamp = -1

    async def close(self) -> None:
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
        self._connections.close()

    # -- asking --------------------------------------------------------------------------------------------------

    def segments(self) -> list[SegmentFile]:
        """The segments there are now, oldest first; looks at the folder only when something in it was made or deleted."""
        try:
            stamp = self.folder.stat().st_mtime_ns
        except FileNotFoundError:
            return []
        if stamp != self._stamp:
            known = {segment.path: segment for segment in self._segments}
            segments = list(list_segments(self.folder, self._connections))
            for place, segment in enumerate(segments):
                old = known.get(segment.path)
                if old is not None and old.last_id == segment.last_id:
                    segments[place] = old
            if not self._segments:
                self._check_version()
            self._segments, self._stamp = segments, stamp
        return self._segments

    async def ask(self, question: Callable[[Sequence[SegmentFile]], T]) -> T:
        """Run a question in a reader's thread. A segment pruned meanwhile makes it ask again."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, question)

    def _answer(self, question: Callable[[Sequence[SegmentFile]], T]) -> T:
        for left in range(_TRIES - 1, -1, -1):
            segments = self.segments()
            try:
                return question(segments)
            except apsw.CantOpenError as error:
                self._stamp = -1
                if not left or all(segment.path.exists() for segment in segments):
                    raise _unreadable(self.folder, error) from error
            except (apsw.CorruptError, apsw.NotADBError) as error:
                raise corrupt(self.folder, t(f"damaged: {error}", f"已损坏：{error}")) from error
            except apsw.Error as error:
                raise _unreadable(self.folder, error) from error
        raise AssertionError("unreachable")

    def _check_version(self) -> None:
        catalog = self._catalog()
        if catalog is not None:
            version = scalar(catalog, "SELECT value FROM meta WHERE key = 'schema_version'")
            if version != SCHEMA_VERSION:
                raise HubError(
                    t(
                        f"the store in {self.folder} has schema {version}, this version of the hub reads {SCHEMA_VERSION}",
                        f"存储 {self.folder} 的结构版本为 {version}，当前版本读取 {SCHEMA_VERSION}",
                    ),
                    code="store.version",
                    remedy=t("start the hub once, it converts the store", "请先启动一次枢纽以转换存储"),
                )

    def _progress(self, progress: Progress | None) -> Progress:
        """Reports from a reader's thread reach the caller on the event loop."""
        if progress is None:
            return lambda done, total: None
        loop = asyncio.get_running_loop()
        return lambda done, total: _call_soon(loop, progress, done, total)

    # -- hub.store.base.StoreReader ------------------------------------------------------------------------------

    async def message(self, message_id: int) -> Message | None:
        return await self.ask(lambda segments: queries.load_message(segments, message_id))

    async def envelope(self, message_id: int) -> Message | None:
        return await self.ask(lambda segments: queries.load_envelope(segments, message_id))

    async def raw_part(self, message_id: int, at: int, count: int) -> bytes | None:
        return await self.ask(lambda segments: queries.load_part(segments, message_id, at, count))

    async def delivery(self, delivery_id: int) -> Delivery | None:
        return await self.ask(lambda segments: queries.load_delivery(segments, delivery_id))

    async def deliveries_of(self, message_id: int) -> list[Delivery]:
        return await self.ask(lambda segments: queries.deliveries_of(segments, message_id))

    async def calls_of(self, message_id: int) -> list[CallRecord]:
        return await self.ask(lambda segments: queries.calls_of(segments, message_id))

    async def search(self, query: MessageQuery) -> SearchPage:
        return await self.ask(lambda segments: _search(segments, query))

    async def deliveries(self, query: DeliveryQuery) -> list[Delivery]:
        return await self.ask(lambda segments: queries.find_deliveries(segments, query))

    async def calls(self, query: CallQuery) -> list[CallRecord]:
        return await self.ask(lambda segments: queries.find_calls(segments, query))

    async def reports(self, query: ReportQuery) -> list[CallRecord]:
        return await self.ask(lambda segments: reports.find_reports(segments, query))

    async def quality(self, since_ms: int, until_ms: int = 0, place: str = "") -> list[PlaceQuality]:
        return await self.ask(lambda segments: reports.quality(segments, since_ms, until_ms, place))

    async def awaited(self, places: Sequence[str], key: str) -> Awaited | None:
        return await self.ask(lambda segments: callbacks.find_awaited(segments, places, key))

    async def unanswered(self, query: AwaitedQuery) -> list[Awaited]:
        return await self.ask(lambda segments: callbacks.unanswered(segments, query))

    async def unanswered_counts(self, now_us: int) -> dict[str, tuple[int, int]]:
        return await self.ask(lambda segments: callbacks.unanswered_counts(segments, now_us))

    async def chain(self, message_id: int) -> Chain:
        return await self.ask(lambda segments: callbacks.chain(segments, message_id))

    async def open_answers(self, limit: int) -> list[Answer]:
        return await self.ask(lambda segments: callbacks.open_answers(segments, limit))

    async def counts(self) -> dict[tuple[str, DeliveryState], int]:
        return await self.ask(queries.counts)

    async def verify_ledger(self, progress: Progress | None = None) -> LedgerReport:
        report = self._progress(progress)
        return await self.ask(lambda _: verify(self.segments, self._catalog, report))

    async def check(self, progress: Progress | None = None) -> list[str]:
        report = self._progress(progress)
        return await self.ask(lambda segments: check_folder(self.folder, segments, report))

    async def size(self) -> dict[str, int]:
        return await self.ask(measure)

    async def mark(self, name: str) -> tuple[int, str]:
        return await self.ask(lambda segments: find_mark(segments, name))

    def _catalog(self) -> apsw.Connection | None:
        path = self.folder / CATALOG_NAME
        return self._connections.get(path) if path.exists() else None

    async def audit(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        def question(_: Sequence[SegmentFile]) -> list[dict[str, Any]]:
            catalog = self._catalog()
            if catalog is None:
                return []
            sql = "SELECT seq, at, entry, hash FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"
            rows = all_rows(catalog, sql, (after, max(0, limit)))
            return [{"seq": seq, "at": at, "entry": json.loads(entry), "hash": chain} for seq, at, entry, chain in rows]

        return await self.ask(question)


def _search(segments: Sequence[SegmentFile], query: MessageQuery) -> SearchPage:
    try:
        return run_search(segments, query)
    except SegmentUnreadable as error:
        if isinstance(error.__cause__, apsw.Error):
            raise error.__cause__ from None
        raise


def _call_soon(loop: asyncio.AbstractEventLoop, progress: Progress, done: int, total: int) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(progress, done, total)


def _unreadable(folder: Path, error: apsw.Error) -> StoreBusy:
    return StoreBusy(
        t(f"the store in {folder} can't be read just now: {error}", f"存储 {folder} 暂时无法读取：{error}"),
        code="store.unreadable",
    )
