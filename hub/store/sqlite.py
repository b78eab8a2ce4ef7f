"""The SQLite store of one worker: a folder of files (see :mod:`hub.store.schema`), one writer's thread, some readers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw

from hub.contract import StoreConfig
from hub.errors import HubError, StoreBusy
from hub.i18n import t
from hub.ids import IdGenerator
from hub.message import Binding, CallRecord, CheckRecord, Delivery, Message
from hub.store import queries
from hub.store.base import PruneReport, Put, PutResult, Store
from hub.store.change import Change, Together
from hub.store.lock import FolderLock
from hub.store.marks import marks_key, marks_value
from hub.store.prune import Pruner
from hub.store.reader import SqliteReader
from hub.store.recovery import open_folder
from hub.store.rows import update_row
from hub.store.sealer import Sealer
from hub.store.unit import APPLY, FINISH, LOG, PUT, REPORT, STOP, TASK, TOGETHER, Settled
from hub.store.values import Values
from hub.store.writer import Writer, busy

__all__ = ["SqliteStore"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class SqliteStore(Store):
    """See :class:`hub.store.base.Store`. Every method is called on the event loop that opened the store."""

    def __init__(
        self,
        folder: Path,
        config: StoreConfig,
        *,
        worker: int = 0,
        loop: asyncio.AbstractEventLoop | None = None,
        sealer: Sealer | None = None,
    ) -> None:
        self.folder = folder
        self.ids = IdGenerator(worker)
        self.reader: SqliteReader = SqliteReader(folder, sealer=sealer)
        self.sealer = sealer
        self._values = Values(folder, sealer, config.claim_above)
        # Feeding the queues must not wait behind people's searches.
        self._feeder = SqliteReader(folder, threads=1, sealer=sealer)
        self._config = config
        self._loop = loop
        self._lock: FolderLock | None = None
        self._writer: Writer
        self._queued = 0
        self._queued_bytes = 0
        self._limit = config.queue
        self._limit_bytes = config.queue_bytes
        self._dropped = 0
        self._closed = True
        #: Told after each commit, on the event loop: operations in it, seconds it took with its fsync.
        self.on_commit: Callable[[int, float], None] | None = None

    async def open(self) -> None:
        self._loop = self._loop or asyncio.get_running_loop()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = FolderLock(self.folder)
            try:
                highest = await asyncio.to_thread(self._open)
            except BaseException:
                self._lock.release()
                raise
        except (apsw.Error, OSError) as error:
            raise HubError(
                t(f"the store in {self.folder} can't be opened: {error}", f"无法打开存储 {self.folder}：{error}"),
                code="store.open",
                remedy=t(
                    "check that the disk has room and that the hub may write to the folder",
                    "请检查磁盘空间以及枢纽对该目录的写权限",
                ),
            ) from error
        self.ids.advance(highest)
        self._submit = self._writer.queue.put
        self._closed = False

    def _open(self) -> int:
        catalog, segments, seq, highest = open_folder(self.folder, self._config.segment_messages, self._values)
        try:
            self._writer = Writer(
                self.folder,
                catalog,
                segments,
                next_seq=seq + 1,
                highest_id=highest,
                min_free_disk=self._config.min_free_disk,
                report=self._report,
            )
            self._writer.start()
        except BaseException:
            segments.close()
            catalog.close()
            raise
        return highest

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._submit((STOP,))
        await asyncio.to_thread(self._writer.join)
        self._dropped += self._writer.unit.dropped_calls
        await self._feeder.close()
        await self.reader.close()
        if self._lock is not None:
            self._lock.release()
        if self._writer.unsaved:
            number = self._writer.unsaved
            raise StoreBusy(
                t(
                    f"{number} results of deliveries could not be written before closing; these deliveries will be made again",
                    f"关闭前有 {number} 条投递结果未能写入，这些投递将重新进行",
                ),
                code="store.unwritable",
            )

    # -- hot path ------------------------------------------------------------------------------------------------

    def put(
        self,
        message: Message,
        deliveries: Sequence[Delivery],
        done: Callable[[PutResult], None],
        *,
        duplicate_window_us: int = 0,
        call: CallRecord | None = None,
    ) -> None:
        writer = self._writer
        size = self._queued_bytes + len(message.raw)
        if (
            not writer.writable
            or writer.disk_low
            or self._queued >= self._limit
            or (size > self._limit_bytes and self._queued)
            or self._closed
        ):
            raise self._refusal()
        self._queued += 1
        self._queued_bytes = size
        self._submit((PUT, message, deliveries, done, duplicate_window_us, call))

    def finish(self, delivery: Delivery, call: CallRecord | None, done: Callable[[], None] | None = None) -> None:
        self._check_open()
        if call is not None and not call.message_id:
            call.message_id = delivery.message_id
        row = update_row(delivery)
        self._queued += 1
        self._submit((FINISH, delivery, row, call, done))

    def log(self, call: CallRecord) -> None:
        writer = self._writer
        if self._closed or self._queued >= self._limit or not writer.writable or writer.disk_low:
            # On an almost full disk these are the refusals, and they would fill the rest of it.
            self._dropped += 1
            return
        self._queued += 1
        self._submit((LOG, call))

    def keep_report(self, message_id: int, call_id: int, place: str, check: CheckRecord) -> bool:
        writer = self._writer
        if self._closed or self._queued >= self._limit or not writer.writable or writer.disk_low:
            return False
        self._queued += 1
        self._submit((REPORT, message_id, call_id, place, check))
        return True

    async def put_together(
        self,
        puts: Sequence[Put],
        *,
        calls: Sequence[CallRecord] = (),
        mark: tuple[str, str] | None = None,
        settled: Sequence[Delivery] = (),
    ) -> list[PutResult]:
        writer = self._writer
        if self._closed or not writer.writable or writer.disk_low or self._queued >= self._limit:
            raise self._refusal()
        marks = {} if mark is None else {marks_key(mark[0]): marks_value(self.ids.next(), mark[1])}
        stored: list[PutResult] = await self._in_turn(TOGETHER, Together(puts, calls, marks, settled))
        return stored

    @property
    def writable(self) -> bool:
        return not self._closed and self._writer.writable

    @property
    def disk_low(self) -> bool:
        """Too little of the disk is free (``min_free_disk``): no message is taken, deliveries go on."""
        return not self._closed and self._writer.disk_low

    @property
    def encrypted(self) -> bool:
        """Whether any of it is sealed, or will be."""
        return self._values.encrypted

    @property
    def queued(self) -> int:
        return self._queued

    @property
    def dropped_calls(self) -> int:
        """Calls that are missing in the call log because the store could not take them."""
        return self._dropped + (0 if self._closed else self._writer.unit.dropped_calls)

    def _check_open(self) -> None:
        if self._closed:
            raise HubError(t("the store is closed", "存储已关闭"), code="store.closed")

    def _refusal(self) -> StoreBusy:
        if self._closed:
            return StoreBusy(t("the store is closed", "存储已关闭"))
        if self._writer.disk_low:
            return StoreBusy(
                t("the disk is almost full", "磁盘空间不足"),
                remedy=t(
                    "free disk space (store.min_free_disk says how much must stay free)",
                    "请释放磁盘空间（须保留的空间由 store.min_free_disk 设定）",
                ),
            )
        if not self._writer.writable:
            return busy()
        return StoreBusy(t("too many messages are waiting to be stored", "等待存储的消息过多"))

    # -- reports from the writer ---------------------------------------------------------------------------------

    def _report(self, results: list[Settled], count: int, seconds: float) -> None:
        """Called in the writer's thread after each batch."""
        assert self._loop is not None  # noqa: S101 - set by open()
        try:
            self._loop.call_soon_threadsafe(self._settle, results, count, seconds)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            log.debug("the event loop is closed, %d results are not reported", len(results))

    def _settle(self, results: list[Settled], count: int, seconds: float) -> None:
        self._queued -= count
        if count and self.on_commit is not None:
            self.on_commit(count, seconds)
        size = 0
        for operation, result in results:
            kind = operation[0]
            try:
                if kind == PUT:
                    size += len(operation[1].raw)
                    operation[3](result)
                elif kind == FINISH:
                    operation[4]()
                else:
                    future: asyncio.Future[Any] = operation[2]
                    if future.cancelled():
                        continue
                    if isinstance(result, BaseException):
                        future.set_exception(result)
                    else:
                        future.set_result(result)
            except Exception:
                log.exception("a callback of the store failed")
        self._queued_bytes -= size

    # -- operators -----------------------------------------------------------------------------------------------

    async def apply(
        self,
        *,
        messages: Sequence[Message] = (),
        create: Sequence[Delivery] = (),
        update: Sequence[Delivery] = (),
        calls: Sequence[CallRecord] = (),
        audit: dict[str, Any] | None = None,
        bindings: Sequence[Binding] = (),
    ) -> None:
        if self._closed or not self._writer.writable:
            raise self._refusal()
        await self._in_turn(APPLY, Change.of(messages, create, update, calls, audit, bindings=bindings))

    async def _in_turn(self, kind: int, what: Any) -> Any:
        """Queue something for the writer's thread and wait for what becomes of it."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queued += 1
        self._submit((kind, what, future))
        return await future

    # -- feeding the queues --------------------------------------------------------------------------------------

    async def open_targets(self) -> dict[str, int]:
        return await self._feeder.ask(queries.open_targets)

    async def open_deliveries(self, target: str, after: int, limit: int, max_bytes: int) -> list[Delivery]:
        return await self._feeder.ask(
            lambda segments: queries.open_deliveries(segments, target, None, after, limit, max_bytes)
        )

    async def open_for_key(self, target: str, order_key: str, after: int, limit: int, max_bytes: int) -> list[Delivery]:
        return await self._feeder.ask(
            lambda segments: queries.open_deliveries(segments, target, order_key, after, limit, max_bytes)
        )

    async def open_children(self, target: str) -> list[Delivery]:
        return await self._feeder.ask(lambda segments: queries.open_children(segments, target))

    async def reported(self) -> None:
        if not self._closed:
            # The writer reports in order; a refusal comes through the same queue and proves as much.
            with contextlib.suppress(HubError):
                await self._in_turn(TASK, lambda: None)

    # -- housekeeping --------------------------------------------------------------------------------------------

    async def trim_audit(self, seq: int) -> int:
        """Forget entries of the audit trail up to a number, which are in archives; returns how many."""
        self._check_open()
        trimmed: int = await self._in_turn(TASK, lambda: self._writer.catalog.trim_audit(seq))
        return trimmed

    async def prune(self, before_ms: int, progress: Callable[[int, int], None] | None = None) -> PruneReport:
        self._check_open()
        pruner = Pruner(self._writer, self.reader, before_ms)

        async def run(step: Callable[[], T]) -> T:
            result: T = await self._in_turn(TASK, step)
            return result

        return await pruner.run(run, progress or (lambda done, total: None))
