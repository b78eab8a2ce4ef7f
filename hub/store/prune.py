"""Removing what is older than the retention time, without stalling the intake and without losing count.

A complete segment that is old as a whole and that nothing needs any more is deleted with its indexes. In others, messages are
deleted row by row, a few at a time between the writer's batches. What was removed is noted with its numbers, so that the
ledger can still be proved.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import apsw

from hub.ids import first_id_at
from hub.store.base import PruneReport
from hub.store.files import remove_file, set_aside
from hub.store.marks import carry_marks
from hub.store.numbers import Run, extend, removed, runs
from hub.store.queries import segment_of
from hub.store.reader import SqliteReader
from hub.store.segment import SegmentFile
from hub.store.segments import Entry
from hub.store.sql import all_rows, scalar
from hub.store.writer import Writer

__all__ = ["Pruner"]

T = TypeVar("T")

#: Messages deleted by one transaction: about 3 ms of the writer's time.
_STEP = 50
#: Pause after a step, as a multiple of the time it took: what comes in keeps most of the writer's time.
_PAUSE = 2.0
_STRIDE = 3_000

#: States that keep a message: everything that moves, may move again, or waits for a person.
_NEEDED = "state IN (0, 1, 2, 4, 5)"
_DELETE = (
    "DELETE FROM body WHERE id IN (SELECT id FROM call WHERE message_id = ?1 AND message_id <> 0)",
    "DELETE FROM report WHERE id IN (SELECT id FROM call WHERE message_id = ?1 AND message_id <> 0)",
    "DELETE FROM call WHERE message_id = ?1 AND message_id <> 0",
    "DELETE FROM awaited WHERE id IN (SELECT id FROM delivery WHERE message_id = ?1)",
    "DELETE FROM answer WHERE id = ?1",
    "DELETE FROM fixed WHERE id IN (SELECT id FROM delivery WHERE message_id = ?1)",
    "DELETE FROM delivery WHERE message_id = ?1",
    "DELETE FROM payload WHERE id = ?1",
    "DELETE FROM message WHERE id = ?1",
)
#: References to body files.
_CLAIMED = (
    "SELECT raw FROM payload WHERE id = ?1 AND form & 2",
    "SELECT payload FROM fixed WHERE form & 2 AND id IN (SELECT id FROM delivery WHERE message_id = ?1)",
    "SELECT request FROM body WHERE forms & 2 AND id IN (SELECT id FROM call WHERE message_id = ?1 AND message_id <> 0)",
    "SELECT response FROM body WHERE forms & 8 AND id IN (SELECT id FROM call WHERE message_id = ?1 AND message_id <> 0)",
)
_CALL_CLAIMED = (
    "SELECT request FROM body WHERE id = ? AND forms & 2",
    "SELECT response FROM body WHERE id = ? AND forms & 8",
)
_OLD = f"""
SELECT id, received_at, EXISTS (SELECT 1 FROM delivery WHERE message_id = message.id AND {_NEEDED})
FROM message WHERE id > ? ORDER BY id LIMIT ?
"""  # noqa: S608


class InTurn(Protocol):
    """Runs a function in the writer's thread, between batches."""

    def __call__(self, step: Callable[[], T], /) -> Awaitable[T]: ...


class Pruner:
    """One run of pruning."""

    def __init__(self, writer: Writer, reader: SqliteReader, before_ms: int) -> None:
        self._writer = writer
        self._reader = reader
        self._before_us = before_ms * 1000
        self._before_id = first_id_at(before_ms)
        self._report = PruneReport(0, 0, 0)
        self._done = 0

    async def run(self, in_turn: InTurn, progress: Callable[[int, int], None]) -> PruneReport:
        segments = self._writer.segments
        entries = await in_turn(lambda: list(segments.entries))
        total = sum(entry.messages for entry in entries)
        for entry in entries:
            newest = entry is entries[-1]
            old = not newest and entry.received_max < self._before_us
            if not (old and await self._remove(entry, in_turn)):
                await self._thin_out(entry, in_turn, lambda: progress(min(self._done, total), total))
                if old and entry.messages == 0:
                    await self._remove(entry, in_turn)
            progress(min(self._done, total), total)
        return self._report

    # -- whole segments ------------------------------------------------------------------------------------------

    async def _remove(self, entry: Entry, in_turn: InTurn) -> bool:
        """Delete a segment; False when something still needs it."""
        first_id = entry.first_id

        def numbers(segments: Sequence[SegmentFile]) -> tuple[list[Run], int]:
            for segment in segments:
                if segment.first_id == first_id:
                    connection = segment.connection()
                    found = removed(connection) + runs(connection)
                    return found, scalar(connection, "SELECT count(*) FROM message")
            return [], 0

        if await in_turn(lambda: self._needed(entry)):
            return False
        gone, messages = await self._reader.ask(numbers)

        def decide() -> Path | None:
            # Something may have come late, or an operator may have made a delivery, since it was looked at.
            if self._needed(entry) or entry.messages != messages:
                return None
            segments = self._writer.segments
            carry_marks(segments.connections.get(entry.path), segments.current.connection)
            self._writer.catalog.begin_removal(first_id, gone)
            self._writer.segments.detach(first_id)
            self._writer.detector.removed([first_id])
            return set_aside(entry.path)

        aside = await in_turn(decide)
        if aside is None:
            return False
        file = SegmentFile(entry.path, first_id, None)
        paths = (file.keys_path, file.text_path, aside)
        # Deleting gigabytes takes the file system a while: not in the writer's thread.
        self._report.bytes += await asyncio.to_thread(lambda: sum(remove_file(path) for path in paths))
        self._report.bytes += await asyncio.to_thread(self._writer.segments.values.bodies.remove_segment, first_id)
        await in_turn(lambda: self._writer.catalog.drop_segment(first_id))
        self._report.messages += messages
        self._done += messages
        return True

    def _needed(self, entry: Entry) -> bool:
        """Whether a delivery of any segment that is not final belongs to a message of this one."""
        segments = self._writer.segments
        last_id = segments.end_of(entry.first_id) - 1
        own = segments.connections.get(entry.path)
        indexes = (("delivery_open", "state IN (0, 2)"), ("delivery_parked", "state IN (4, 5, 6) AND state < 6"))
        for index, where in indexes:
            if scalar(own, f"SELECT 1 FROM delivery INDEXED BY {index} WHERE {where} LIMIT 1") is not None:  # noqa: S608
                return True
        sql = f"SELECT 1 FROM delivery WHERE message_id BETWEEN ? AND ? AND {_NEEDED} LIMIT 1"  # noqa: S608
        newer = [other for other in segments.entries if other.first_id > entry.first_id]
        return any(scalar(segments.connections.get(e.path), sql, (entry.first_id, last_id)) is not None for e in newer)

    # -- row by row ----------------------------------------------------------------------------------------------

    async def _thin_out(self, entry: Entry, in_turn: InTurn, tell: Callable[[], None]) -> None:
        """Delete the old messages of a segment that nothing needs, and old calls that belong to no message."""
        first_id = entry.first_id
        seen = await in_turn(lambda: self._writer.segments.current.first_id)
        elsewhere = await self._reader.ask(lambda segments: _referred(segments, first_id))
        after = -1
        while True:
            rows = await self._reader.ask(partial(_rows, first_id=first_id, sql=_OLD, parameters=(after, _STRIDE)))
            if not rows:
                break
            after = rows[-1][0]
            old = [(row[0], row[2]) for row in rows if row[1] < self._before_us]
            free = [row_id for row_id, needed in old if not needed and row_id not in elsewhere]
            self._report.kept += len(old) - len(free)
            self._done += len(rows)
            for start in range(0, len(free), _STEP):
                ids = free[start : start + _STEP]
                await self._gently(in_turn, partial(self._delete, entry, ids, seen))
            tell()
            if not old and rows[0][0] >= self._before_id:
                break
        await self._thin_out_calls(entry, in_turn)

    @staticmethod
    async def _gently(in_turn: InTurn, step: Callable[[], None]) -> None:
        begun = time.monotonic()
        await in_turn(step)
        await asyncio.sleep((time.monotonic() - begun) * _PAUSE)

    def _delete(self, entry: Entry, ids: list[int], seen: int) -> None:
        """One transaction in the writer's thread."""
        segments = self._writer.segments
        writer = segments.writer(entry.first_id)
        recent = [e.path for e in segments.entries if e.first_id >= seen and e.first_id != entry.first_id]
        connection = writer.connection
        size = 0
        gone: list[tuple[int, int]] = []
        try:
            writer.begin()
            for row_id in ids:
                if self._wanted_again(connection, recent, row_id):
                    self._report.kept += 1
                    continue
                row = all_rows(connection, "SELECT seq, size FROM message WHERE id = ?", (row_id,))
                if not row:
                    continue
                for sql in _CLAIMED:
                    for (reference,) in all_rows(connection, sql, (row_id,)):
                        writer.claims.give_up(reference)
                for sql in _DELETE:
                    connection.execute(sql, (row_id,))
                gone.append((row[0][0], row_id))
                size += row[0][1]
            extend(connection, gone)
            writer.messages -= len(gone)
            writer.commit()
            writer.control.forget(ids)
        except BaseException:
            self._writer.unit.undo(writer)
            raise
        if writer is not segments.current:
            segments.note(writer)
        self._report.messages += len(gone)
        self._report.bytes += size

    def _wanted_again(self, connection: apsw.Connection, recent: list[Any], message_id: int) -> bool:
        """Whether an operator set something going again since the rows were read."""
        sql = f"SELECT 1 FROM delivery WHERE message_id = ? AND {_NEEDED} LIMIT 1"  # noqa: S608
        if scalar(connection, sql, (message_id,)) is not None:
            return True
        sql = "SELECT 1 FROM delivery WHERE message_id = ? LIMIT 1"
        connections = self._writer.segments.connections
        return any(scalar(connections.get(path), sql, (message_id,)) is not None for path in recent)

    async def _thin_out_calls(self, entry: Entry, in_turn: InTurn) -> None:
        """Old calls that belong to no message that is still there: refusals, repeats of what was pruned."""
        sql = "SELECT id, message_id FROM call WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
        after = -1
        while True:
            limits = (after, self._before_id, _STRIDE)
            rows = await self._reader.ask(partial(_rows, first_id=entry.first_id, sql=sql, parameters=limits))
            if not rows:
                return
            after = rows[-1][0]
            gone = await self._reader.ask(partial(_without_message, rows=rows))
            for start in range(0, len(gone), _STEP):
                ids = gone[start : start + _STEP]
                await self._gently(in_turn, partial(self._delete_calls, entry, ids))

    def _delete_calls(self, entry: Entry, ids: list[int]) -> None:
        writer = self._writer.segments.writer(entry.first_id)
        try:
            writer.begin()
            for row_id in ids:
                for sql in _CALL_CLAIMED:
                    for (reference,) in all_rows(writer.connection, sql, (row_id,)):
                        writer.claims.give_up(reference)
                writer.connection.execute("DELETE FROM body WHERE id = ?", (row_id,))
                writer.connection.execute("DELETE FROM report WHERE id = ?", (row_id,))
                writer.connection.execute("DELETE FROM call WHERE id = ?", (row_id,))
            writer.commit()
        except BaseException:
            self._writer.unit.undo(writer)
            raise


def _rows(segments: Sequence[SegmentFile], first_id: int, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    for segment in segments:
        if segment.first_id == first_id:
            return all_rows(segment.connection(), sql, parameters)
    return []


def _referred(segments: Sequence[SegmentFile], first_id: int) -> set[int]:
    """Messages of a segment that have deliveries in newer ones."""
    found: set[int] = set()
    sql = "SELECT DISTINCT message_id FROM delivery WHERE message_id BETWEEN ? AND ?"
    for place, segment in enumerate(segments):
        if segment.first_id == first_id:
            last_id = segment.last_id if segment.last_id is not None else (1 << 63) - 1
            for newer in segments[place + 1 :]:
                found.update(row[0] for row in all_rows(newer.connection(), sql, (first_id, last_id)))
    return found


def _without_message(segments: Sequence[SegmentFile], rows: list[tuple[Any, ...]]) -> list[int]:
    gone: list[int] = []
    for row_id, message_id in rows:
        segment = segment_of(segments, message_id) if message_id else None
        sql = "SELECT 1 FROM message WHERE id = ?"
        if segment is None or scalar(segment.connection(), sql, (message_id,)) is None:
            gone.append(row_id)
    return gone
