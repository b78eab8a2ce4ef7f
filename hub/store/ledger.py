"""Invariant 2, proved from the stored rows alone: nothing that was received or routed has vanished.

Every segment is read in one snapshot, and all the snapshots belong together: no change that concerns several files may be under
way while they are taken.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apsw

from hub.errors import StoreBusy
from hub.i18n import t
from hub.ids import id_text
from hub.message import DeliveryState
from hub.store.base import LedgerReport, LedgerRow
from hub.store.numbers import removed, runs
from hub.store.segment import SegmentFile
from hub.store.sql import all_rows, first_row, scalar

__all__ = ["verify"]

Pair = tuple[str, str]  # route, target
Progress = Callable[[int, int], None]

_MOST_PROBLEMS = 1_000
_SNAPSHOT_SECONDS = 30.0
_PAUSE_SECONDS = 0.02

_COLUMN = {
    DeliveryState.PENDING: "moving",
    DeliveryState.IN_FLIGHT: "moving",
    DeliveryState.RETRYING: "moving",
    DeliveryState.DELIVERED: "delivered",
    DeliveryState.DEAD: "dead",
    DeliveryState.HELD: "held",
    DeliveryState.SKIPPED: "skipped",
}

#: Messages whose deliveries in this segment are not exactly those it was routed to.
_UNEQUAL = """
SELECT id, routed FROM message AS m WHERE routed <> coalesce(
    (SELECT group_concat(route || '>' || target) FROM (
        SELECT route, target FROM delivery WHERE message_id = m.id ORDER BY id)), '')
"""
_STATES = """
SELECT route, target, state, count(*) FROM delivery WHERE message_id BETWEEN ? AND ? GROUP BY route, target, state
"""
_FOREIGN = (
    "SELECT id, message_id, route, target, state FROM delivery WHERE message_id NOT BETWEEN ? AND ? ORDER BY message_id"
)
_ORPHANS = """
SELECT DISTINCT message_id FROM delivery WHERE message_id BETWEEN ? AND ? EXCEPT SELECT id FROM message
"""
_SPLIT = "SELECT id, parts FROM delivery WHERE parts > 0"
_CALLS = "SELECT DISTINCT message_id FROM call WHERE message_id <> 0 EXCEPT SELECT id FROM message"


@dataclass(slots=True)
class _Part:
    """A segment while it is being verified."""

    file: SegmentFile
    connection: apsw.Connection

    @property
    def last_id(self) -> int:
        return (1 << 63) - 1 if self.file.last_id is None else self.file.last_id

    def pair(self, route: int, target: int) -> Pair:
        return self.file.name(route), self.file.name(target)

    def pairs(self, routed: str) -> list[Pair]:
        return [self.pair(int(r), int(g)) for r, _, g in (item.partition(">") for item in routed.split(",") if item)]


@dataclass(slots=True)
class _Ledger:
    parts: list[_Part]
    pruned_seqs: list[tuple[int, int]]
    pruned_ids: list[tuple[int, int]]
    rows: dict[Pair, LedgerRow] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unlisted: int = 0

    def row(self, pair: Pair) -> LedgerRow:
        if pair not in self.rows:
            self.rows[pair] = LedgerRow(*pair, routed=0)
        return self.rows[pair]

    def count(self, pair: Pair, state: int, number: int) -> None:
        row = self.row(pair)
        column = _COLUMN[DeliveryState(state)]
        setattr(row, column, getattr(row, column) + number)

    def tell(self, problem: str) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)
        else:
            self.unlisted += 1

    def part_of(self, row_id: int) -> _Part | None:
        """The segment of an id; None when that segment was pruned."""
        place = bisect_right(self.parts, row_id, key=lambda part: part.file.first_id) - 1
        return self.parts[place] if place >= 0 else None

    def was_pruned(self, message_id: int) -> bool:
        place = bisect_right(self.pruned_ids, message_id, key=lambda ids: ids[0]) - 1
        return place >= 0 and message_id <= self.pruned_ids[place][1]

    def gone(self, message_id: int) -> bool:
        """A message that is missing and was not pruned."""
        if self.was_pruned(message_id):
            return False
        part = self.part_of(message_id)
        return part is None or scalar(part.connection, "SELECT 1 FROM message WHERE id = ?", (message_id,)) is None


def verify(
    segments: Callable[[], Sequence[SegmentFile]], catalog: Callable[[], apsw.Connection | None], progress: Progress
) -> LedgerReport:
    """Check what is stored; ``segments`` and ``catalog`` are asked again when a snapshot has to be taken again."""
    with _snapshot(segments, catalog) as ledger:
        total = sum(scalar(part.connection, "SELECT count(*) FROM message") for part in ledger.parts)
        progress(0, total)
        _check_numbers(ledger)
        messages = filtered = waiting = 0
        for part in ledger.parts:
            found = _count(ledger, part)
            messages += found[0]
            filtered += found[1]
            waiting += found[2]
            _check_deliveries(ledger, part)
            progress(messages, total)
        if ledger.unlisted:
            ledger.problems.append(
                t(f"{ledger.unlisted} further problems are not listed", f"另有 {ledger.unlisted} 个问题未列出")
            )
        rows = sorted(ledger.rows.values(), key=lambda row: (row.route, row.target))
        return LedgerReport(messages, filtered, rows, ledger.problems, waiting)


@contextmanager
def _snapshot(
    segments: Callable[[], Sequence[SegmentFile]], catalog: Callable[[], apsw.Connection | None]
) -> Iterator[_Ledger]:
    """Begin to read in every segment at a moment when no change of several files is under way."""
    deadline = time.monotonic() + _SNAPSHOT_SECONDS
    while True:
        connection = catalog()
        before = _under_way(connection)
        with ExitStack() as stack:
            parts = [_Part(segment, segment.connection()) for segment in segments()]
            for part in parts:
                part.connection.execute("BEGIN")
                stack.callback(part.connection.execute, "ROLLBACK")
                scalar(part.connection, "SELECT 1 FROM meta LIMIT 1")
            if before == _under_way(connection) and not before.changes and not _being_removed(connection, parts):
                sources = [part.connection for part in parts] + ([] if connection is None else [connection])
                ranges = [row for source in sources for row in removed(source)]
                seqs, ids = sorted(row[:2] for row in ranges), sorted(row[2:] for row in ranges)
                lost = (
                    [] if connection is None else all_rows(connection, "SELECT first_id FROM segment WHERE state = 2")
                )
                yield _Ledger(parts, seqs, ids, problems=[_given_up(first_id) for (first_id,) in lost])
                return
        if time.monotonic() > deadline:
            raise StoreBusy(
                t("changes to several files follow each other without a pause", "跨文件变更持续不断，无法取得一致快照"),
                code="store.unreadable",
            )
        time.sleep(_PAUSE_SECONDS)


class _UnderWay(NamedTuple):
    """Changes of several files."""

    last: int  # number of the last one decided
    changes: int  # decided, not yet made everywhere


def _under_way(catalog: apsw.Connection | None) -> _UnderWay:
    if catalog is None:
        return _UnderWay(0, 0)
    last = scalar(catalog, "SELECT seq FROM sqlite_sequence WHERE name = 'intent'")
    return _UnderWay(last or 0, scalar(catalog, "SELECT count(*) FROM intent"))


def _being_removed(catalog: apsw.Connection | None, parts: list[_Part]) -> bool:
    """Whether a segment is about to be taken out of sight: the catalog already says what was in it."""
    if catalog is None:
        return False
    removing = {row[0] for row in all_rows(catalog, "SELECT first_id FROM segment WHERE state = 1")}
    return any(part.file.first_id in removing for part in parts)


def _given_up(first_id: int) -> str:
    return t(
        f"the segment that began at {id_text(first_id)} was lost and given up, with all its messages",
        f"自 {id_text(first_id)} 起的分段已丢失并被放弃，其中的消息全部丢失",
    )


# -- messages ----------------------------------------------------------------------------------------------------


def _check_numbers(ledger: _Ledger) -> None:
    """The numbers 1, 2, 3 … of all messages, present and pruned, must follow each other without a gap."""
    found = list(ledger.pruned_seqs)
    for part in ledger.parts:
        found += [run[:2] for run in runs(part.connection)]
    found.sort()
    expected = 1
    for first, last in found:
        if first > expected:
            ledger.tell(_missing(ledger, expected, first - 1))
        elif first < expected:
            ledger.tell(
                t(
                    f"message number {first} occurs twice or more (up to {min(last, expected - 1)})",
                    f"消息序号 {first} 重复出现（至 {min(last, expected - 1)}）",
                )
            )
        expected = max(expected, last + 1)


def _missing(ledger: _Ledger, first: int, last: int) -> str:
    """Name the gap by the ids of the messages on both sides of it."""
    before = after = 0
    for part in ledger.parts:
        before = scalar(part.connection, "SELECT id FROM message WHERE seq = ?", (first - 1,)) or before
        after = scalar(part.connection, "SELECT id FROM message WHERE seq = ?", (last + 1,)) or after
    numbers = str(first) if first == last else f"{first}–{last}"
    between = f"{id_text(before) if before else '-'} … {id_text(after) if after else '-'}"
    return t(
        f"message number {numbers} is missing, between {between}",
        f"缺少消息序号 {numbers}，位于 {between} 之间",
    )


def _count(ledger: _Ledger, part: _Part) -> tuple[int, int, int]:
    """Add what a segment's messages were routed to and the states of their deliveries; (messages, filtered, waiting)."""
    messages = filtered = 0
    for routed, number in all_rows(part.connection, "SELECT routed, count(*) FROM message GROUP BY routed"):
        messages += number
        if not routed:
            filtered += number
        for pair in part.pairs(routed):
            ledger.row(pair).routed += number
    for route, target, state, number in all_rows(part.connection, _STATES, (part.file.first_id, part.last_id)):
        ledger.count(part.pair(route, target), state, number)
    waiting: int = scalar(part.connection, "SELECT count(*) FROM answer INDEXED BY answer_waiting WHERE waiting = 1")
    return messages, filtered - waiting, waiting


# -- deliveries --------------------------------------------------------------------------------------------------


def _check_deliveries(ledger: _Ledger, part: _Part) -> None:
    bounds = (part.file.first_id, part.last_id)
    for (message_id,) in _streamed(part.connection, _ORPHANS, bounds):
        if not ledger.was_pruned(message_id):
            sql = "SELECT id FROM delivery WHERE message_id = ?"
            for (delivery_id,) in all_rows(part.connection, sql, (message_id,)):
                ledger.tell(_orphan(delivery_id, message_id))
    for row in _streamed(part.connection, _FOREIGN, bounds):
        delivery_id, message_id, route, target, state = row
        if ledger.gone(message_id):
            ledger.tell(_orphan(delivery_id, message_id))
        elif not ledger.was_pruned(message_id):
            ledger.count(part.pair(route, target), state, 1)
    for message_id, routed in _streamed(part.connection, _UNEQUAL, ()):
        _compare(ledger, message_id, Counter(part.pairs(routed)))
    for delivery_id, parts in _streamed(part.connection, _SPLIT, ()):
        _check_parts(ledger, delivery_id, parts)
    for (message_id,) in _streamed(part.connection, _CALLS, ()):
        if ledger.gone(message_id):
            sql = "SELECT min(id) FROM call WHERE message_id = ? AND message_id <> 0"
            call_id = scalar(part.connection, sql, (message_id,))
            ledger.tell(
                t(
                    f"call {id_text(call_id)} belongs to message {id_text(message_id)}, which is missing",
                    f"调用 {id_text(call_id)} 所属的消息 {id_text(message_id)} 缺失",
                )
            )


def _streamed(connection: apsw.Connection, sql: str, parameters: Sequence[int]) -> Iterable[tuple[Any, ...]]:
    """Rows without holding them all in memory."""
    yield from connection.execute(sql, parameters)


def _orphan(delivery_id: int, message_id: int) -> str:
    return t(
        f"delivery {id_text(delivery_id)} belongs to message {id_text(message_id)}, which is missing",
        f"投递 {id_text(delivery_id)} 所属的消息 {id_text(message_id)} 缺失",
    )


def _compare(ledger: _Ledger, message_id: int, routed: Counter[Pair]) -> None:
    """Look for the deliveries of a message in its own and all newer segments."""
    found: Counter[Pair] = Counter()
    own = ledger.part_of(message_id)
    first = 0 if own is None else ledger.parts.index(own)
    for part in ledger.parts[first:]:
        sql = "SELECT route, target FROM delivery WHERE message_id = ?"
        found.update(part.pair(*row) for row in all_rows(part.connection, sql, (message_id,)))
    for (route, target), number in (routed - found).items():
        ledger.tell(
            t(
                f"message {id_text(message_id)}: {number} delivery of route {route!r} to {target} is missing",
                f"消息 {id_text(message_id)}：路由 {route!r} 至 {target} 缺少 {number} 个投递",
            )
        )
    for (route, target), number in (found - routed).items():
        ledger.tell(
            t(
                f"message {id_text(message_id)}: {number} delivery of route {route!r} to {target} it was not routed to",
                f"消息 {id_text(message_id)}：路由 {route!r} 至 {target} 多出 {number} 个投递",
            )
        )


def _check_parts(ledger: _Ledger, delivery_id: int, parts: int) -> None:
    own = ledger.part_of(delivery_id)
    if own is None:
        return
    message = first_row(own.connection, "SELECT message_id FROM delivery WHERE id = ?", (delivery_id,))
    found = 0
    first = ledger.parts.index(own)
    for part in ledger.parts[first:]:
        sql = "SELECT count(*) FROM delivery WHERE message_id = ? AND parent = ?"
        found += scalar(part.connection, sql, (message[0] if message else 0, delivery_id))
    if found != parts:
        ledger.tell(
            t(
                f"delivery {id_text(delivery_id)} was split into {parts} parts, {found} are there",
                f"投递 {id_text(delivery_id)} 应拆分为 {parts} 份，实有 {found} 份",
            )
        )
