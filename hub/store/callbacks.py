"""Deliveries whose target answers later, and the messages that answer them."""

from __future__ import annotations

from collections.abc import Sequence

from hub.message import Answer, Awaited
from hub.store.base import AwaitedQuery, Chain
from hub.store.rows import ANSWER_COLUMNS, AWAITED_COLUMNS, CORRELATION, answer_from, awaited_from
from hub.store.segment import SegmentFile
from hub.store.sql import all_rows, first_row

__all__ = ["chain", "find_awaited", "open_answers", "unanswered", "unanswered_counts"]

Segments = Sequence[SegmentFile]

_HIGHEST = (1 << 63) - 1
_MOST_ROWS = 1_000
_COUNTS = (
    "SELECT place, count(*), sum(due > 0 AND due < ?) FROM awaited INDEXED BY awaited_open "
    "WHERE answered = 0 AND due >= 0 GROUP BY place"
)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def find_awaited(segments: Segments, places: Sequence[str], key: str) -> Awaited | None:
    """See :meth:`hub.store.base.StoreReader.awaited`; newest segment first, since most answers come soon."""
    for segment in reversed(segments):
        numbers = [number for place in places if (number := segment.number(place)) is not None]
        if not numbers:
            continue
        keys = segment.values.tokens(key, CORRELATION)
        sql = (
            f"SELECT {AWAITED_COLUMNS} FROM awaited INDEXED BY awaited_key "  # noqa: S608
            f"WHERE key IN ({_marks(keys)}) AND place IN ({_marks(numbers)}) ORDER BY id DESC LIMIT 1"
        )
        row = first_row(segment.connection(), sql, (*keys, *numbers))
        if row is not None:
            return awaited_from(row, segment)
    return None


def unanswered(segments: Segments, query: AwaitedQuery) -> list[Awaited]:
    """See :meth:`hub.store.base.StoreReader.unanswered`."""
    limit = max(0, min(query.limit, _MOST_ROWS))
    found: list[Awaited] = []
    for segment in reversed(segments):
        conditions, values = ["answered = 0", "due >= 0", "id < ?"], [query.before or _HIGHEST]
        if query.due_before:
            conditions.append("due BETWEEN 1 AND ?")
            values.append(query.due_before - 1)
        if query.target:
            numbers = segment.places(query.target)
            conditions.append(f"place IN ({_marks(numbers)})")
            values += numbers
        sql = (
            f"SELECT {AWAITED_COLUMNS} FROM awaited INDEXED BY awaited_open "  # noqa: S608
            f"WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?"
        )
        rows = all_rows(segment.connection(), sql, (*values, limit - len(found)))
        found += [awaited_from(row, segment) for row in rows]
        if len(found) >= limit:
            break
    return found


def unanswered_counts(segments: Segments, now_us: int) -> dict[str, tuple[int, int]]:
    """See :meth:`hub.store.base.StoreReader.unanswered_counts`."""
    totals: dict[str, tuple[int, int]] = {}
    for segment in segments:
        for place, awaited, overdue in all_rows(segment.connection(), _COUNTS, (now_us,)):
            name = segment.name(place)
            before = totals.get(name, (0, 0))
            totals[name] = (before[0] + awaited, before[1] + overdue)
    return totals


def chain(segments: Segments, message_id: int) -> Chain:
    """See :meth:`hub.store.base.StoreReader.chain`. Answers and deliveries are younger than the message they belong to."""
    found = Chain()
    for segment in segments:
        if segment.last_id is not None and segment.last_id < message_id:
            continue
        connection = segment.connection()
        row = first_row(connection, f"SELECT {ANSWER_COLUMNS} FROM answer WHERE id = ?", (message_id,))  # noqa: S608
        if row is not None:
            found.answer = answer_from(row, segment)
        sql = (
            f"SELECT {AWAITED_COLUMNS} FROM awaited "  # noqa: S608
            "WHERE id IN (SELECT id FROM delivery WHERE message_id = ?) ORDER BY id"
        )
        found.awaited += [awaited_from(row, segment) for row in all_rows(connection, sql, (message_id,))]
        sql = (
            f"SELECT {ANSWER_COLUMNS} FROM answer INDEXED BY answer_request "  # noqa: S608
            "WHERE request = ? AND request <> 0 ORDER BY id"
        )
        found.answered_by += [answer_from(row, segment) for row in all_rows(connection, sql, (message_id,))]
    return found


def open_answers(segments: Segments, limit: int) -> list[Answer]:
    """See :meth:`hub.store.base.StoreReader.open_answers`."""
    found: dict[int, Answer] = {}
    waiting = f"SELECT {ANSWER_COLUMNS} FROM answer INDEXED BY answer_waiting WHERE waiting = 1"  # noqa: S608
    unbound = (
        f"SELECT {ANSWER_COLUMNS} FROM answer INDEXED BY answer_unbound WHERE request = 0 ORDER BY id DESC LIMIT ?"  # noqa: S608
    )
    left = limit
    for segment in reversed(segments):
        rows = all_rows(segment.connection(), waiting)
        if left > 0:
            newest = all_rows(segment.connection(), unbound, (left,))
            left -= len(newest)
            rows += newest
        for row in rows:
            found[row[0]] = answer_from(row, segment)
    return [found[number] for number in sorted(found)]
