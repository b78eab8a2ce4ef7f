"""A unit of work: the operations of a batch that fall into one segment, written in one transaction."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import apsw

from hub.errors import HubError
from hub.i18n import t
from hub.ids import id_text
from hub.message import CallRecord, Delivery, Message, Outcome
from hub.store.base import PutResult
from hub.store.change import Change, Part, Together
from hub.store.detector import DuplicateDetector
from hub.store.files import ENVIRONMENT
from hub.store.rows import update_row
from hub.store.salvage import clean_call, clean_delivery
from hub.store.segment_writer import SegmentWriteError, SegmentWriter
from hub.store.segments import SegmentSet

__all__ = [
    "APPLY",
    "FINISH",
    "LOG",
    "PUT",
    "REPORT",
    "STOP",
    "TASK",
    "TOGETHER",
    "Operation",
    "Settled",
    "UnitWriter",
    "rejection",
]

log = logging.getLogger(__name__)

#: Kinds of operation, the first item of each tuple in the writer's queue:
#: ``(PUT, message, deliveries, done, window_us, call)``, ``(FINISH, delivery, row, call, done)``, ``(LOG, call)``,
#: ``(REPORT, message id, call id, place, check)``, ``(TOGETHER, together, future)``, ``(APPLY, change, future)``, ``(TASK, function, future)``, ``(STOP,)``.
PUT, FINISH, LOG, REPORT, TOGETHER, APPLY, TASK, STOP = range(8)

Operation = tuple[Any, ...]
#: An operation and what became of it: ``PutResult`` for PUT, None for FINISH, a value or an exception for those with a future.
Settled = tuple[Operation, Any]


class _StraddlesError(Exception):
    """A message and its deliveries do not fall into the same segment."""


def rejection(error: Exception) -> HubError:
    """What to tell about an operation that itself can't be stored."""
    # The text of a database error names tables and columns; that of a conversion error may quote the value.
    what = str(error) if isinstance(error, apsw.Error | SegmentWriteError) else type(error).__name__
    return HubError(t(f"it can't be stored: {what}", f"无法存储：{what}"), code="store.rejected")


class UnitWriter:
    """Turns operations into rows; used by the writer's thread only."""

    def __init__(self, segments: SegmentSet, detector: DuplicateDetector, next_seq: int, highest_id: int) -> None:
        self.segments = segments
        self.detector = detector
        self.next_seq = next_seq
        self.highest_id = highest_id
        self.results: list[Settled] = []
        self.straddling: list[Operation] = []  # for the caller to write in another way
        self.dropped_calls = 0

    def write(self, writer: SegmentWriter, operations: list[Operation]) -> BaseException | None:
        """Write operations and note their results. Returns what the disk said when none of them could be written.

        When one of them is at fault, they are done again one by one, so that only this one fails.
        """
        self.detector.new_batch()
        seq = self.next_seq
        begun = len(self.results)
        try:
            writer.begin()
            self._fill(writer, operations)
            writer.commit()
            return None
        except Exception as error:
            del self.results[begun:]
            self.next_seq = seq
            failed = self.undo(writer)
            if failed is not None or isinstance(error, ENVIRONMENT):
                return error
        self.detector.new_batch()
        try:
            writer.begin()
            for operation in operations:
                self._write_one(writer, operation)
            writer.commit()
        except Exception as error:
            del self.results[begun:]
            self.straddling.clear()
            self.next_seq = seq
            self.undo(writer)
            return error
        return None

    def write_part(self, writer: SegmentWriter, change: Change, part: Part, intent: int) -> None:
        """Make the share of a segment in a decided change; raises what SQLite raises, and nothing is changed then."""
        seq = self.next_seq
        try:
            writer.begin()
            self._fill_part(writer, change, part)
            writer.set_meta("intent", intent)
            writer.commit()
        except BaseException:
            self.next_seq = seq
            self.undo(writer)
            raise

    def rehearse(self, writer: SegmentWriter, change: Change, part: Part) -> None:
        """Make the share of a segment and take it back: a decided change must not turn out to be impossible."""
        seq, highest = self.next_seq, self.highest_id
        try:
            writer.begin()
            self._fill_part(writer, change, part)
        finally:
            writer.rollback()
            self.next_seq, self.highest_id = seq, highest

    @staticmethod
    def undo(writer: SegmentWriter) -> apsw.Error | None:
        """Roll back; returns the error when even that fails."""
        try:
            writer.rollback()
        except apsw.Error as error:
            log.error("%s: rollback failed: %s", writer.path.name, error)
            return error
        return None

    # -- operations to rows --------------------------------------------------------------------------------------

    def judge(self, message: Message, window_us: int) -> tuple[Outcome, int]:
        """Whether the message is new; flags it when it conflicts with an earlier one."""
        if not (window_us and message.control_id):
            return Outcome.OK, 0
        outcome, earlier = self.detector.judge(message, window_us)
        message.conflict = outcome is Outcome.CONFLICT
        return outcome, earlier

    def _fill(self, writer: SegmentWriter, operations: list[Operation]) -> None:
        results = self.results
        end = self.segments.end_of(writer.first_id)
        now = time.time_ns() // 1000
        call: CallRecord | None
        for operation in operations:
            kind = operation[0]
            if kind == PUT:
                _, message, deliveries, _, window, call = operation
                results.append((operation, self._put(writer, end, now, message, deliveries, window, call)))
            elif kind == FINISH:
                _, delivery, row, call, done = operation
                writer.add_update(row, delivery.message_id)
                if call is not None:
                    writer.add_call(call)
                if done is not None:
                    results.append((operation, None))
            elif kind == LOG:
                writer.add_call(operation[1])
            elif kind == REPORT:
                writer.set_report(*operation[1:])
            elif kind == TOGETHER:
                together: Together = operation[1]
                stored = [
                    self._put(writer, end, now, put.message, put.deliveries, put.duplicate_window_us, put.call)
                    for put in together.puts
                ]
                for delivery in together.settled:
                    if not writer.first_id <= delivery.id < end:
                        raise _StraddlesError
                    writer.add_update(update_row(delivery), delivery.message_id)
                for call in together.calls:
                    writer.add_call(call)
                for key, value in together.marks.items():
                    writer.set_mark(key, value)
                results.append((operation, stored))
            else:
                change: Change = operation[1]
                self._fill_part(writer, change, change.parts(self.segments.first_of)[writer.first_id])
                results.append((operation, None))

    def _put(
        self,
        writer: SegmentWriter,
        end: int,
        now: int,
        message: Message,
        deliveries: Sequence[Delivery],
        window: int,
        call: CallRecord | None,
    ) -> PutResult:
        """Collect the rows of one message; ``end``: the first id that no longer falls into this segment."""
        outcome, earlier = self.judge(message, window) if window else (Outcome.OK, 0)
        if outcome is not Outcome.DUPLICATE:
            first_id = writer.first_id
            if message.control_id:
                self.detector.stored(message, first_id)
            highest = message.id
            if highest >= end:
                raise _StraddlesError
            writer.add_message(message, self.next_seq, deliveries)
            self.next_seq += 1
            for delivery in deliveries:
                row_id = delivery.id
                if not first_id <= row_id < end:
                    raise _StraddlesError
                writer.add_delivery(delivery)
                if row_id > highest:
                    highest = row_id
            if highest > self.highest_id:
                self.highest_id = highest
        if call is not None:
            settle_call(call, outcome, earlier if outcome is Outcome.DUPLICATE else message.id, now)
            writer.add_call(call)
        return PutResult(message, outcome, earlier)

    def _fill_part(self, writer: SegmentWriter, change: Change, part: Part) -> None:
        writer.flush()
        for message in part.messages:
            writer.add_message(message, self.next_seq, change.made_for(message))
            self.next_seq += 1
            if message.control_id:
                self.detector.stored(message, writer.first_id)
            self.highest_id = max(self.highest_id, message.id)
        for delivery in part.create:
            writer.add_delivery(delivery)
            self.highest_id = max(self.highest_id, delivery.id)
        writer.flush()
        for delivery in part.noted:
            writer.add_routed(delivery)
        for delivery in part.update:
            writer.add_update(update_row(delivery), delivery.message_id)
            writer.set_payload(delivery)
        for binding in part.bound:
            writer.bind(binding)
        for binding in part.answered:
            writer.set_answered(binding)
        for call in part.calls:
            writer.add_call(call)
        for key, value in part.marks.items():
            writer.set_mark(key, value)
        writer.flush()

    # -- one by one ----------------------------------------------------------------------------------------------

    def _write_one(self, writer: SegmentWriter, operation: Operation) -> None:
        seq = self.next_seq
        begun = len(self.results)
        writer.mark()
        try:
            self._fill(writer, [operation])
            writer.release()
        except ENVIRONMENT:
            raise
        except Exception as error:
            del self.results[begun:]
            self.next_seq = seq
            writer.undo()
            if operation[0] == PUT:
                self.detector.forget(operation[1])
            elif operation[0] == TOGETHER:
                for put in operation[1].puts:
                    self.detector.forget(put.message)
            try:
                self._reject(writer, operation, error)
            except ENVIRONMENT:
                raise
            except Exception:
                # One operation that can be neither written nor refused must not stop all others for ever.
                log.exception("an operation of kind %d is lost", operation[0])

    def _reject(self, writer: SegmentWriter, operation: Operation, error: Exception) -> None:
        kind = operation[0]
        if isinstance(error, _StraddlesError):
            self.straddling.append(operation)
        elif kind == PUT:
            self.results.append((operation, PutResult(operation[1], Outcome.REFUSED, 0, rejection(error))))
        elif kind == LOG:
            self.dropped_calls += 1
        elif kind == REPORT:
            log.error("a report is not kept: %s", rejection(error).text)
        elif kind in (TOGETHER, APPLY):
            self.results.append((operation, rejection(error)))
        else:
            self._salvage(writer, operation, error)

    def _salvage(self, writer: SegmentWriter, operation: Operation, error: Exception) -> None:
        """The state of a delivery must be recorded even when its texts can't be, or when its row is gone."""
        delivery = clean_delivery(operation[1], operation[2])
        log.error("delivery %s: its state is recorded another way: %s", id_text(delivery.id), rejection(error).text)
        if not self._attempt(writer, lambda: writer.update_or_insert(delivery, update_row(delivery))):
            log.error("delivery %s: its state %s can't be recorded", id_text(delivery.id), delivery.state.word)
            return
        call = operation[3]
        if call is not None and not self._attempt(writer, lambda: writer.add_call(clean_call(call))):
            self.dropped_calls += 1
            log.error("delivery %s: an attempt is not in the call log", id_text(delivery.id))
        if operation[4] is not None:
            self.results.append((operation, None))

    @staticmethod
    def _attempt(writer: SegmentWriter, step: Callable[[], None]) -> bool:
        """Do one thing within the unit; False when it can't be done and was taken back."""
        writer.mark()
        try:
            step()
            writer.release()
        except ENVIRONMENT:
            raise
        except Exception as error:
            writer.undo()
            log.error("not stored: %s", rejection(error).text)
            return False
        return True


def settle_call(call: CallRecord, outcome: Outcome, message_id: int, now: int) -> None:
    """Fill in how a receipt ended."""
    call.outcome = outcome
    call.message_id = message_id
    call.took_us = max(0, now - call.at)
