"""Looking things up in the business-key index of one segment (:mod:`hub.store.keys`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import orjson

from hub.ids import first_id_at
from hub.store.derived import open_for_reading, read_marks
from hub.store.keys import Wanted, after_prefix
from hub.store.segment import SegmentFile
from hub.store.sql import all_rows, scalar

__all__ = ["KeyReader"]

#: Counting for a plan stops here: both are then many.
_COUNTED = 500


class KeyReader:
    """Looks things up in the index of one segment, up to the message it has been built to.

    Everything raises one of :data:`hub.store.derived.UNUSABLE` when the file turns out to be unusable.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._look()

    def _look(self) -> None:
        marks = read_marks(self._connection)
        self.upto = marks.get("upto", 0)  #: highest message id that is in the index
        self.seq = marks.get("seq", 0)  #: number of that message
        self.extra_upto = marks.get("extra_upto", 0)  #: highest delivery id looked at for :meth:`extras`
        self._early = marks.get("early", 0)
        self._late = marks.get("late", 0)

    @classmethod
    def open(cls, segment: SegmentFile) -> KeyReader | None:
        """None when there is no index yet."""
        connection = open_for_reading(segment.keys_path, segment.values.index_vfs)
        return None if connection is None else cls(connection)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Until its end everything is seen as it was at its beginning. The connection serves one search at a time."""
        self._end()
        self._connection.execute("BEGIN")
        try:
            self._look()
            yield
        finally:
            self._end()

    def _end(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(apsw.Error):  # of a damaged file there is nothing more to read
                self._connection.execute("COMMIT")

    def ids_between(self, since_ms: int, until_ms: int) -> tuple[int, int]:
        """Ids (from, below) of the indexed messages that can have been received in a span of time; 0 = open."""
        low = first_id_at(since_ms + self._early) if since_ms else 0
        high = first_id_at(until_ms + self._late) if until_ms else self.upto + 1
        return low, min(high, self.upto + 1)

    def envelopes(self, where: str, values: Sequence[Any], fits_routed: Callable[[str], bool] | None) -> list[int]:
        """Numbers of the envelopes that meet a condition on ``source``, ``type`` and ``conflict``, and one on ``routed``."""
        rows = all_rows(self._connection, f"SELECT id, routed FROM envelope WHERE {where}", values)  # noqa: S608
        return [row[0] for row in rows if fits_routed is None or fits_routed(row[1])]

    def extras(self, targets: Sequence[int] | None) -> list[int]:
        """Messages of any segment with a delivery in this one that no route made, to one of the targets."""
        if targets is None:
            rows = all_rows(self._connection, "SELECT message_id FROM extra")
        else:
            rows = all_rows(
                self._connection,
                "SELECT message_id FROM extra WHERE target IN (SELECT value FROM json_each(?))",
                (_json(targets),),
            )
        return [row[0] for row in rows]

    def count(self, low: int, high: int, wanted: Sequence[Wanted], envelopes: Sequence[int] | None) -> int:
        """About how many messages with ``low <= id < high`` the rarest condition leaves; counting stops early."""
        total = 0
        conditions = self._conditions(wanted, envelopes)
        for run in self._runs(low, high) if conditions is not None else ():
            total += min(self._size(run, condition, low, high) for condition in conditions or ())
            if total >= _COUNTED:
                break
        return total

    def ids(self, low: int, high: int, wanted: Sequence[Wanted], envelopes: Sequence[int] | None) -> Iterator[int]:
        """Ids with ``low <= id < high`` of messages with one of the envelopes and all wanted values, newest first.

        A few that don't have all the values may be among them; there must be at least one condition.
        """
        conditions = self._conditions(wanted, envelopes)
        if conditions is None:
            return
        for run in self._runs(low, high):
            if len(conditions) == 1:
                yield from self._walk(run, conditions[0], (), low, high)
                continue
            sizes = [self._size(run, condition, low, high) for condition in conditions]
            if min(sizes) == 0:
                continue
            rarest = sizes.index(min(sizes))
            others = [
                condition
                for place, condition in enumerate(conditions)
                # Where few are left, the reader of the rows sorts them out faster than a range is gathered.
                if place != rarest and (not condition.gathered or sizes[rarest] >= _COUNTED)
            ]
            yield from self._walk(run, conditions[rarest], others, low, high)

    def _conditions(self, wanted: Sequence[Wanted], envelopes: Sequence[int] | None) -> list[_Condition] | None:
        """None when nothing can match."""
        conditions = []
        for want in wanted:
            kind = scalar(self._connection, "SELECT id FROM kind WHERE text = ?", (want.kind,))
            if kind is None:
                return None
            conditions.append(_of_value(kind, want))
        if envelopes is not None:
            if not envelopes:
                return None
            conditions.append(_of_envelopes(envelopes))
        return conditions

    def _runs(self, low: int, high: int) -> list[int]:
        rows = all_rows(
            self._connection,
            "SELECT n FROM run WHERE last_id >= ? AND first_id < ? ORDER BY first_id DESC",
            (low, high),
        )
        return [row[0] for row in rows]

    def _size(self, run: int, condition: _Condition, low: int, high: int) -> int:
        sql = (
            f"SELECT count(*) FROM (SELECT 1 FROM {condition.table} e WHERE e.run = ? AND {condition.where} "  # noqa: S608
            f"AND e.id >= ? AND e.id < ? LIMIT {_COUNTED})"
        )
        return int(scalar(self._connection, sql, (run, *condition.values, low, high)))

    def _walk(self, run: int, driver: _Condition, others: Sequence[_Condition], low: int, high: int) -> Iterator[int]:
        clauses = [driver.where, "e.id >= ? AND e.id < ?"]
        values = [run, *driver.values, low, high]
        for other in others:
            clause, extra = other.probe(run, driver)
            clauses.append(clause)
            values += extra
        sql = f"SELECT e.id FROM {driver.table} e WHERE e.run = ? AND {' AND '.join(clauses)} ORDER BY e.id DESC"  # noqa: S608
        last = 0
        row_id: Any
        for (row_id,) in self._connection.execute(sql, values):
            if row_id != last:  # a name may contain the part that is asked for twice
                yield row_id
            last = row_id


@dataclass(frozen=True, slots=True)
class _Condition:
    """Part of a WHERE clause on one of the two tables (alias ``e``), with its parameters."""

    table: str
    where: str
    values: tuple[Any, ...]
    gathered: bool = False  # a probe gathers all its ids first

    def probe(self, run: int, driver: _Condition) -> tuple[str, list[Any]]:
        """The clause that tests an entry ``e`` of another condition for this one."""
        if self.table == "seen" and driver.table == "entry":
            return self.where, list(self.values)  # an entry carries the envelope
        inner = self.where.replace("e.", "x.")
        if self.gathered:
            return f"e.id IN (SELECT x.id FROM {self.table} x WHERE x.run = ? AND {inner})", [run, *self.values]  # noqa: S608
        clause = f"EXISTS (SELECT 1 FROM {self.table} x WHERE x.run = ? AND {inner} AND x.id = e.id)"  # noqa: S608
        return clause, [run, *self.values]


def _of_envelopes(envelopes: Sequence[int]) -> _Condition:
    if len(envelopes) == 1:
        return _Condition("seen", "e.envelope = ?", (envelopes[0],))
    return _Condition("seen", "e.envelope IN (SELECT value FROM json_each(?))", (_json(envelopes),))


def _of_value(kind: int, want: Wanted) -> _Condition:
    if not want.prefix:
        return _Condition("entry", "e.kind = ? AND e.value = ?", (kind, want.value))
    end = after_prefix(want.value)
    if end is None:
        return _Condition("entry", "e.kind = ? AND e.value >= ?", (kind, want.value), True)
    return _Condition("entry", "e.kind = ? AND e.value >= ? AND e.value < ?", (kind, want.value, end), True)


def _json(numbers: Sequence[int]) -> str:
    return orjson.dumps(list(numbers)).decode()
