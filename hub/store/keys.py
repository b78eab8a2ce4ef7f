"""Business-key index: which messages carry a key, a control id, a correlation id; which came from where and went where.

One file per segment, ``keys-<ID>.db``. Two kinds of entries:

* ``entry``: business keys of a message, and its control id and correlation id (kinds ``@control``, ``@correlation``). A name
  (kind ``name`` or ``*_name``) is entered with every one of its suffixes, so that any part of it is a prefix.
* ``seen``: source, type, conflict mark and routes of a message taken together, as one number. A deployment has few such
  combinations (*envelopes*), so any filter on them is a small set of numbers, and an entry that carries the number answers
  "this patient, from that system" without looking anywhere else.

Both are split into *runs* of :data:`RUN` messages, each a B-tree range of its own. New entries then fall into
a few megabytes that stay in memory, not all over the file, and results come in order of id run by run, so that the newest
fifty of a million need no sort of the million.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import orjson

from hub.ids import first_id_at, millis_of
from hub.store.derived import (
    newest,
    open_for_reading,
    open_for_writing,
    read_marks,
    read_segment,
    transaction,
    write_marks,
)
from hub.store.segment import SegmentFile
from hub.store.sql import all_rows, first_row, scalar

__all__ = [
    "BATCH",
    "CONTROL",
    "CORRELATION",
    "RUN",
    "KeyReader",
    "KeyWriter",
    "Wanted",
    "after_prefix",
    "is_name",
    "normalised",
]

#: Messages per transaction, at most.
BATCH = 5_000
#: Messages per run. Fewer mean less to write for each batch, more mean fewer look-ups for a search.
RUN = 32_768
CONTROL = "@control"
CORRELATION = "@correlation"

_VERSION = 1
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE run (n INTEGER PRIMARY KEY, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL, messages INTEGER NOT NULL);
CREATE TABLE kind (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE envelope (
    id INTEGER PRIMARY KEY,
    source INTEGER NOT NULL,         -- name.id of the segment, like type
    type INTEGER NOT NULL,
    conflict INTEGER NOT NULL,
    routed TEXT NOT NULL,
    UNIQUE (source, type, conflict, routed)
);
CREATE TABLE seen (run INTEGER, envelope INTEGER, id INTEGER, PRIMARY KEY (run, envelope, id)) WITHOUT ROWID;
CREATE TABLE entry (
    run INTEGER, kind INTEGER, value TEXT, id INTEGER, envelope INTEGER NOT NULL, PRIMARY KEY (run, kind, value, id)
) WITHOUT ROWID;
CREATE TABLE extra (target INTEGER, message_id INTEGER, PRIMARY KEY (target, message_id)) WITHOUT ROWID;
"""
# meta: upto, highest message id indexed; seq, its number; early and late, least and greatest lead in ms of an id over the time of
# receipt; extra_upto, highest delivery id looked at for ``extra``, the deliveries that no route made.

_VALUE_LENGTH = 256
_SUFFIX_LENGTH = 32
_ENTRIES_AT_ONCE = 50_000
_CACHED_ENVELOPES = 20_000
_NEVER = 1 << 60
#: An operator's delivery gets its id a moment before it is stored; looking at it only later misses none.
_EXTRA_DELAY_MS = 30_000
#: Counting for a plan stops here: both are then many.
_COUNTED = 500


def is_name(kind: str) -> bool:
    """Whether values of this kind are found by any part of them."""
    return kind == "name" or kind.endswith("_name")


def normalised(value: str) -> str:
    """The form in which key values are compared: Unicode NFKC, case folded, trimmed, at most 256 characters."""
    if value.isascii():
        return value.lower().strip()[:_VALUE_LENGTH]
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold()).strip()[:_VALUE_LENGTH]


def _suffixes(value: str) -> set[str]:
    return {value[at : at + _SUFFIX_LENGTH] for at in range(len(value)) if not value[at].isspace()}


def after_prefix(prefix: str) -> str | None:
    """The least text greater than every text with this prefix, in the order of UTF-8 bytes; None when there is none."""
    for at in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[at])
        if point < 0x10FFFF:
            return prefix[:at] + chr(0xE000 if point == 0xD7FF else point + 1)
    return None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A value asked for: exactly this one or, with ``prefix``, every one that begins with it."""

    kind: str
    value: str
    prefix: bool = False

    @classmethod
    def key(cls, kind: str, value: str) -> Wanted:
        """The condition that finds ``value``, normalised, among the business keys of a kind."""
        return cls(kind, value[:_SUFFIX_LENGTH], True) if is_name(kind) else cls(kind, value)


class KeyWriter:
    """Builds the index of one segment. Owned by one thread; the segment is only read.

    Relies on messages being committed in order of their ids, which are drawn in the same call that queues the message.
    """

    def __init__(self, segment: SegmentFile) -> None:
        self._segment = segment
        self._connection = open_for_writing(segment.keys_path, _SCHEMA, _VERSION)
        self._kinds: dict[str, int] = {}
        self._envelopes: dict[tuple[int, int, int, str], int] = {}
        self._upto = self._seq = 0
        self._look()

    def close(self) -> None:
        self._connection.close()

    def waiting(self) -> int:
        """About how many messages are not in the index; a matter of microseconds."""
        row_id, seq = newest(self._segment)
        return max(1, seq - self._seq) if row_id > self._upto else 0

    def _look(self) -> None:
        marks = read_marks(self._connection)
        self._upto, self._seq = marks.get("upto", 0), marks.get("seq", 0)

    def step(self, limit: int = BATCH) -> int:
        """Index up to ``limit`` messages in one transaction; returns their number."""
        try:
            with transaction(self._connection):
                count = self._step(limit)
        except BaseException:
            # What was numbered in the transaction that failed has no number.
            self._kinds.clear()
            self._envelopes.clear()
            raise
        self._look()
        return count

    def _step(self, limit: int) -> int:
        marks = read_marks(self._connection)  # another indexer may have been here
        upto = marks.get("upto", 0)
        rows = read_segment(
            self._segment,
            "SELECT id, seq, received_at, source, type, conflict, routed, control_id, correlation, keys FROM message "
            "WHERE id > ? ORDER BY id LIMIT ?",
            (upto, limit),
        )
        early, late = marks.get("early", _NEVER), marks.get("late", -_NEVER)
        run, used = self._run()
        entries: list[tuple[int, int, str, int, int]] = []
        seen: list[tuple[int, int, int]] = []
        count = seq = 0
        for row_id, number_of, received_at, source, kind, conflict, routed, control_id, correlation, keys in rows:
            if used >= RUN:
                self._flush(entries, seen)
                run, used = run + 1, 0
            lead = millis_of(row_id) - received_at // 1000
            early, late = min(early, lead), max(late, lead)
            envelope = self._envelope(source, kind, conflict, routed)
            seen.append((run, envelope, row_id))
            if control_id:
                entries.append((run, self._kind(CONTROL), control_id, row_id, envelope))
            if correlation:
                entries.append((run, self._kind(CORRELATION), correlation, row_id, envelope))
            if keys:
                for name, text in orjson.loads(keys).items():
                    number = self._kind(name)
                    value = normalised(str(text))
                    parts = _suffixes(value) if is_name(name) else (value,)
                    entries.extend([(run, number, part, row_id, envelope) for part in parts])
            if len(entries) > _ENTRIES_AT_ONCE:
                self._flush(entries, seen)
            if not used:
                self._connection.execute("INSERT INTO run VALUES (?, ?, ?, 0)", (run, row_id, row_id))
            upto, seq = row_id, number_of
            used += 1
            count += 1
            if used == RUN:
                self._close_run(run, upto, used)
        if count:
            self._flush(entries, seen)
            self._close_run(run, upto, used)
            write_marks(self._connection, upto=upto, seq=seq, early=early, late=late)
        return count

    def extras(self) -> bool:
        """Note the deliveries that operators rather than routes made; returns whether there are none left to look at."""
        horizon = first_id_at(time.time_ns() // 1_000_000 - _EXTRA_DELAY_MS)
        after = read_marks(self._connection).get("extra_upto", 0)
        last, upto = read_segment(
            self._segment,
            "SELECT (SELECT max(id) FROM delivery), (SELECT max(id) FROM delivery WHERE id < ?)",
            (horizon,),
        )[0]
        if upto is not None and upto > after:
            made = read_segment(
                self._segment,
                "SELECT target, message_id FROM delivery WHERE id > ? AND id <= ? "
                "AND route = (SELECT id FROM name WHERE text = '')",
                (after, upto),
            )
            with transaction(self._connection):
                self._connection.executemany("INSERT OR IGNORE INTO extra VALUES (?, ?)", made)
                write_marks(self._connection, extra_upto=upto)
        return bool(last == upto)

    def _run(self) -> tuple[int, int]:
        last = first_row(self._connection, "SELECT n, messages FROM run ORDER BY n DESC LIMIT 1")
        if last is None:
            return 1, 0
        number, messages = last
        return (number, messages) if messages < RUN else (number + 1, 0)

    def _close_run(self, run: int, last_id: int, messages: int) -> None:
        self._connection.execute("UPDATE run SET last_id = ?, messages = ? WHERE n = ?", (last_id, messages, run))

    def _flush(self, entries: list[tuple[int, int, str, int, int]], seen: list[tuple[int, int, int]]) -> None:
        entries.sort()
        self._connection.executemany("INSERT OR IGNORE INTO entry VALUES (?, ?, ?, ?, ?)", entries)
        seen.sort()
        self._connection.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", seen)
        entries.clear()
        seen.clear()

    def _kind(self, text: str) -> int:
        number = self._kinds.get(text)
        if number is None:
            self._connection.execute("INSERT OR IGNORE INTO kind (text) VALUES (?)", (text,))
            number = self._kinds[text] = _number(self._connection, "SELECT id FROM kind WHERE text = ?", (text,))
        return number

    def _envelope(self, source: int, kind: int, conflict: int, routed: str) -> int:
        what = (source, kind, conflict, routed)
        number = self._envelopes.get(what)
        if number is None:
            if len(self._envelopes) >= _CACHED_ENVELOPES:
                self._envelopes.clear()
            self._connection.execute(
                "INSERT OR IGNORE INTO envelope (source, type, conflict, routed) VALUES (?, ?, ?, ?)", what
            )
            number = self._envelopes[what] = _number(
                self._connection,
                "SELECT id FROM envelope WHERE source = ? AND type = ? AND conflict = ? AND routed = ?",
                what,
            )
        return number


def _number(connection: apsw.Connection, sql: str, parameters: Sequence[Any]) -> int:
    return int(scalar(connection, sql, parameters))


class KeyReader:
    """Looks things up in the index of one segment, up to the message it has been built to.

    Everything raises one of :data:`hub.store.derived.DAMAGE` when the file turns out to be unusable.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        marks = read_marks(connection)
        self.upto = marks.get("upto", 0)  #: highest message id that is in the index
        self.seq = marks.get("seq", 0)  #: number of that message
        self.extra_upto = marks.get("extra_upto", 0)  #: highest delivery id looked at for :meth:`extras`
        self._early = marks.get("early", 0)
        self._late = marks.get("late", 0)

    @classmethod
    def open(cls, segment: SegmentFile) -> KeyReader | None:
        """None when there is no index yet."""
        connection = open_for_reading(segment.keys_path)
        return None if connection is None else cls(connection)

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
            self._connection, "SELECT n FROM run WHERE last_id >= ? AND first_id < ? ORDER BY n DESC", (low, high)
        )
        return [row[0] for row in rows]

    def _size(self, run: int, condition: _Condition, low: int, high: int) -> int:
        sql = (
            f"SELECT count(*) FROM (SELECT 1 FROM {condition.table} e WHERE e.run = ? AND {condition.where} "  # noqa: S608
            f"AND e.id >= ? AND e.id < ? LIMIT {_COUNTED})"
        )
        return _number(self._connection, sql, (run, *condition.values, low, high))

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
