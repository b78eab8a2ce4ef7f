"""The writer's thread: takes whatever has queued up, writes it in one transaction, reports after the commit.

A batch that touches several segments is one transaction per segment. When one fails because of the disk, its messages are
refused and its marks kept until they can be written; when it fails because of one operation, the batch is done again one
by one so that only this operation fails.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty
from shutil import disk_usage
from typing import Any

import apsw

from hub.errors import StoreBusy, StoreCorrupt
from hub.i18n import t
from hub.message import CallRecord, Delivery, Message, Outcome
from hub.store.base import Put, PutResult
from hub.store.catalog import Catalog
from hub.store.change import Change, Together
from hub.store.detector import DuplicateDetector
from hub.store.files import ENVIRONMENT, transaction
from hub.store.inbox import Inbox
from hub.store.segment_writer import SegmentWriteError
from hub.store.segments import SegmentSet
from hub.store.unit import (
    APPLY,
    FINISH,
    LOG,
    PUT,
    REPORT,
    STOP,
    Operation,
    Settled,
    UnitWriter,
    rejection,
    settle_call,
)

__all__ = ["Writer", "busy"]

log = logging.getLogger(__name__)

BATCH = 512
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 2.0
_LAST_TRIES = 3
_PROBE_BYTES = 256 << 10
_CALL_ONLY = 1 << 62  # what belongs to no message and no delivery goes to the newest segment


def busy(error: BaseException | None = None) -> StoreBusy:
    """The refusal of a store that can't write."""
    why = f": {error}" if error else ""
    return StoreBusy(
        t(f"the store can't be written{why}", f"存储不可写{why}"),
        code="store.unwritable",
        remedy=t(
            "free disk space or repair the disk; the hub goes on by itself",
            "请释放磁盘空间或修复磁盘；枢纽会自行恢复",
        ),
    )


class Writer:
    """Owns every writable file of a folder from ``start`` to the end of the thread."""

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        segments: SegmentSet,
        *,
        next_seq: int,
        highest_id: int,
        min_free_disk: int,
        report: Callable[[list[Settled], int, float], None],
    ) -> None:
        self.queue = Inbox()
        self.writable = True
        self.disk_low = False
        self.unsaved = 0  # marks that could not be written before the end
        self.catalog = catalog
        self.segments = segments
        self.detector = DuplicateDetector(segments)
        self.unit = UnitWriter(segments, self.detector, next_seq, highest_id)
        self._folder = folder
        self._min_free = min_free_disk
        self._report = report
        self._results = self.unit.results
        self._kept: list[Operation] = []
        self._decided: list[tuple[int, Change, Operation, Any]] = []
        self._pause = _FIRST_PAUSE
        self._next_disk_check = 0.0
        self._thread = threading.Thread(target=self._run, name="store writer", daemon=True)

    def start(self) -> None:
        """Finish what was decided before a crash, then begin. Raises ``StoreCorrupt`` or ``apsw.Error``."""
        for number, body in self.catalog.intents(self.segments.values):
            try:
                self._make(number, Change.decode(body))
            except (apsw.ConstraintError, SegmentWriteError, ValueError, KeyError, TypeError) as error:
                raise StoreCorrupt(
                    t(
                        f"{self.catalog.path.name}: a decided change can't be made: {error} ({self.catalog.path})",
                        f"{self.catalog.path.name}：已决定的变更无法执行：{error}（{self.catalog.path}）",
                    ),
                    remedy=t("restore the folder from the last backup", "请用最近的备份恢复该目录"),
                ) from error
        self._check_disk()
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        stopping = False
        while not stopping:
            taken: list[Operation] = []
            begun = time.perf_counter()
            try:
                if self.writable:
                    stopping = self._take(taken)
                    begun = time.perf_counter()
                    self._write(taken)
                else:
                    stopping = self._wait(taken)
                    self._recover()
            except Exception as error:
                log.exception("the store's writer met an unexpected error")
                self._lose(taken, error)
            self._flush_results(len(taken), time.perf_counter() - begun)
        for _ in range(_LAST_TRIES):
            if self.writable:
                break
            time.sleep(self._pause)
            self._recover()
            self._flush_results(0, 0.0)
        self._end()

    def _take(self, taken: list[Operation]) -> bool:
        """Wait for an operation, then take all there are; True at the end."""
        get = self.queue.get
        try:
            operation = get(timeout=1.0) if self.disk_low else get()
        except Empty:
            self._check_disk()
            return False
        now = time.monotonic()
        if now >= self._next_disk_check:
            self._check_disk()
        append = taken.append
        limit = min(BATCH, max(1, self.segments.room))
        try:
            while operation[0] != STOP:
                append(operation)
                if len(taken) >= limit:
                    return False
                operation = get(False)
        except Empty:
            return False
        return True

    def _wait(self, taken: list[Operation]) -> bool:
        """Let a pause go by while the disk fails; what comes in meanwhile is refused or kept."""
        deadline = time.monotonic() + self._pause
        while (left := deadline - time.monotonic()) > 0:
            try:
                operation = self.queue.get(timeout=left)
            except Empty:
                break
            if operation[0] == STOP:
                return True
            taken.append(operation)
            self._fail([operation], None)
            if len(taken) >= BATCH:
                break
        return False

    def _flush_results(self, count: int, seconds: float) -> None:
        if count or self._results:
            results = self._results.copy()
            self._results.clear()
            self._report(results, count, seconds)

    def _lose(self, operations: list[Operation], error: BaseException) -> None:
        """Answer what has no answer yet, so that nobody waits for ever."""
        answered = {id(operation) for operation, _ in self._results} | {id(operation) for operation in self._kept}
        answered |= {id(operation) for _, _, operation, _ in self._decided}
        self._fail([operation for operation in operations if id(operation) not in answered], error)

    def _check_disk(self) -> None:
        self._next_disk_check = time.monotonic() + 1.0
        try:
            free = disk_usage(self._folder).free
        except OSError:
            return
        if not self.disk_low and free < self._min_free:
            self.disk_low = True
            log.warning("only %d MB of disk are free: new messages are refused", free >> 20)
        elif self.disk_low and free > self._min_free + self._min_free // 4:
            self.disk_low = False
            log.warning("enough disk is free again: messages are accepted")

    def _end(self) -> None:
        self.detector.stop()
        self.unsaved = len(self._kept) + len(self._decided)
        try:
            if self.writable:
                self.segments.current.seal()
            self.segments.close()
            if self.writable:
                self.catalog.clean = True
        except ENVIRONMENT as error:
            log.error("the store could not be closed in an orderly way: %s", error)
        finally:
            self.catalog.close()

    # -- batches -------------------------------------------------------------------------------------------------

    def _write(self, operations: list[Operation]) -> None:
        if self.segments.room <= 0 and not self._roll():
            self._fail(operations, None)
            return
        run: list[Operation] = []
        for operation in operations:
            kind = operation[0]
            if kind < APPLY or (kind == APPLY and self._rides(operation[1])):
                run.append(operation)
                continue
            self._write_run(run)
            run = []
            if kind == APPLY:
                self._decide(operation, operation[1], None)
            else:
                self._do_task(operation)
        self._write_run(run)
        if self.segments.room <= 0 and self.writable:
            self._roll()

    def _rides(self, change: Change) -> bool:
        """A change within one segment needs no more than the transaction of the batch."""
        return change.audit is None and len(change.parts(self.segments.first_of)) == 1

    def _write_run(self, operations: list[Operation]) -> None:
        """Write operations, one transaction per segment, and report them in their order."""
        if not operations:
            return
        if not self.writable:
            self._fail(operations, None)
            return
        segments = self.segments
        floor = segments.current.first_id
        older: dict[int, list[Operation]] | None = None
        for operation in operations:
            row_id = self._place(operation)
            if row_id < floor:
                older = {}
                break
        if older is None:
            self._write_unit(segments.current.first_id, operations)
        else:
            begun = len(self._results)
            for operation in operations:
                older.setdefault(segments.first_of(self._place(operation)), []).append(operation)
            for first_id, unit in older.items():
                self._write_unit(first_id, unit)
            order = {id(operation): number for number, operation in enumerate(operations)}
            self._results[begun:] = sorted(self._results[begun:], key=lambda settled: order[id(settled[0])])
        straddling = self.unit.straddling
        while straddling:
            self._put_decided(straddling.pop(0))

    def _place(self, operation: Operation) -> int:
        """The id that says which segment an operation belongs to."""
        kind = operation[0]
        if kind == LOG:
            return operation[1].delivery_id or _CALL_ONLY
        if kind == REPORT:
            message_id: int = operation[1]
            return message_id
        if kind == APPLY:
            change: Change = operation[1]
            return next(iter(change.parts(self.segments.first_of)))
        row_id: int = operation[1].id
        return row_id or _CALL_ONLY

    def _write_unit(self, first_id: int, operations: list[Operation]) -> None:
        try:
            writer = self.segments.writer(first_id)
        except ENVIRONMENT as error:
            self._fail(operations, error)
            return
        failed = self.unit.write(writer, operations)
        if failed is not None:
            self._fail(operations, failed)
        elif writer is not self.segments.current:
            self.segments.note(writer)

    # -- what goes wrong -----------------------------------------------------------------------------------------

    def _fail(self, operations: list[Operation], error: BaseException | None) -> None:
        """The disk does not take these: refuse what is new, keep what already happened."""
        if error is not None and self.writable:
            log.error("the store can't be written, trying again until it can: %s", error)
            self.writable = False
            self._pause = _FIRST_PAUSE
        refusal = busy(error)
        for operation in operations:
            kind = operation[0]
            if kind == PUT:
                self._results.append((operation, PutResult(operation[1], Outcome.REFUSED, 0, refusal)))
            elif kind == FINISH:
                self._kept.append(operation)
            elif kind == LOG:
                self.unit.dropped_calls += 1
            elif kind == REPORT:
                continue  # derived: it can be made again
            else:
                self._results.append((operation, refusal))

    def _recover(self) -> None:
        """See whether the disk is back; write what was kept when it is."""
        try:
            self.catalog.reopen()
            self.segments.reopen()
            self.unit.next_seq = max(self.unit.next_seq, self.segments.current.seq_max + 1)
            self._probe()
            while self._decided:
                number, change, operation, result = self._decided[0]
                self._make(number, change)
                self._decided.pop(0)
                self._results.append((operation, result))
        except ENVIRONMENT as error:
            log.debug("the store still can't be written: %s", error)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            return
        self.writable = True
        kept, self._kept = self._kept, []
        for start in range(0, len(kept), BATCH):
            self._write_run(kept[start : start + BATCH])
        if self.writable:
            log.warning("the store can be written again")

    def _probe(self) -> None:
        connection = self.segments.current.connection
        with transaction(connection):
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('probe', zeroblob(?))", (_PROBE_BYTES,))
            connection.execute("DELETE FROM meta WHERE key = 'probe'")

    # -- several files at once -----------------------------------------------------------------------------------

    def _decide(self, operation: Operation, change: Change, result: Any) -> None:
        """Apply a change that concerns the catalog or several segments: decide first, then make it everywhere."""
        if not self.writable:
            self._fail([operation], None)
            return
        try:
            parts = change.parts(self.segments.first_of)
            for first_id, part in parts.items():
                self.unit.rehearse(self.segments.writer(first_id), change, part)
            if not parts:
                if change.audit is not None:
                    self.catalog.append_audit(change.audit)
                self._results.append((operation, result))
                return
            number = self.catalog.add_intent(change.encode(), change.audit, self.segments.values)
        except ENVIRONMENT as error:
            self._fail([operation], error)
            return
        except Exception as error:
            refusal = rejection(error)
            failed = PutResult(operation[1], Outcome.REFUSED, 0, refusal) if operation[0] == PUT else refusal
            self._results.append((operation, failed))
            return
        self._decided.append((number, change, operation, result))
        try:
            self._make(number, change)
        except Exception as error:
            self._fail([], error)
            return
        self._decided.pop()
        self._results.append((operation, result))

    def _make(self, number: int, change: Change) -> None:
        """Make a decided change in every segment that does not have it yet."""
        for first_id, part in change.parts(self.segments.first_of).items():
            writer = self.segments.writer(first_id)
            if (writer.meta("intent") or 0) < number:
                self.unit.write_part(writer, change, part, number)
                if writer is not self.segments.current:
                    self.segments.note(writer)
        self.catalog.clear_intent(number)

    def _put_decided(self, operation: Operation) -> None:
        """Messages or deliveries that fall into the next segment: their ids were made around the time it began."""
        if operation[0] == PUT:
            _, message, deliveries, _, window, call = operation
            puts: Sequence[Put] = [Put(message, deliveries, window, call)]
            calls: list[CallRecord] = []
            marks: dict[str, str] = {}
            settled: Sequence[Delivery] = ()
        else:
            together: Together = operation[1]
            puts, calls, marks, settled = together.puts, list(together.calls), together.marks, together.settled
        self.detector.new_batch()
        messages: list[Message] = []
        create: list[Delivery] = []
        results: list[PutResult] = []
        now = time.time_ns() // 1000
        for put in puts:
            message = put.message
            outcome, earlier = self.unit.judge(message, put.duplicate_window_us)
            duplicate = outcome is Outcome.DUPLICATE
            if not duplicate:
                messages.append(message)
                create.extend(put.deliveries)
            if put.call is not None:
                settle_call(put.call, outcome, earlier if duplicate else message.id, now)
                calls.append(put.call)
            results.append(PutResult(message, outcome, earlier))
        change = Change.of(messages, create, settled, calls, marks=marks)
        self._decide(operation, change, results[0] if operation[0] == PUT else results)

    def _do_task(self, operation: Operation) -> None:
        if not self.writable:
            self._fail([operation], None)
            return
        try:
            value = operation[1]()
        except ENVIRONMENT as error:
            self._fail([operation], error)
        except Exception as error:
            self._results.append((operation, error))
        else:
            self._results.append((operation, value))

    def _roll(self) -> bool:
        """Begin the next segment. Until that succeeds nothing new is stored, so that trying again gives it the same name."""
        made = self.segments.current.filter
        try:
            done = self.segments.roll(self.unit.highest_id + 1)
        except ENVIRONMENT as error:
            self._fail([], error)
            return False
        self.detector.rolled(self.segments.entry(done.first_id), made)
        return True
