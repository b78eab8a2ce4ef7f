"""Business-key index: which messages carry a key, a control id, a correlation id; which came from where and went where.

One file per segment, ``keys-<ID>.db``. Two kinds of entries:

* ``entry``: business keys of a message, and its control id and correlation id (kinds ``@control``, ``@correlation``). A name
  (kind ``name`` or ``*_name``) is entered with every one of its suffixes, so that any part of it is a prefix.
* ``seen``: source, type, conflict mark and routes of a message taken together, as one number. A deployment has few such
  combinations (*envelopes*), so any filter on them is a small set of numbers, and an entry that carries the number answers
  "this patient, from that system" without looking anywhere else.

Both are split into *runs* of consecutive messages, each a B-tree range of its own. New entries go into a run of at most
:data:`RUN` messages: a few megabytes that stay in memory, not places all over the file. Behind that, full runs
are merged into large ones (:mod:`hub.store.key_runs`), so that a search has few places to look. And results come in order of id, run
by run: the newest fifty of a million need no sort of the million.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import orjson

from hub.ids import first_id_at, millis_of
from hub.store.derived import newest, open_for_writing, read_marks, read_segment, transaction, write_marks
from hub.store.key_runs import merge_step, new_run
from hub.store.rows import CONTROL_ID, KEYS
from hub.store.rows import CORRELATION as CORRELATION_ID
from hub.store.segment import SegmentFile
from hub.store.sql import first_row, scalar

__all__ = [
    "BATCH",
    "CONTROL",
    "CORRELATION",
    "RUN",
    "KeyWriter",
    "Wanted",
    "after_prefix",
    "is_name",
    "normalised",
]

#: Messages per transaction, at most.
BATCH = 5_000
#: Messages of a run before it is merged with others.
RUN = 16_384
CONTROL = "@control"
CORRELATION = "@correlation"

_VERSION = 2
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE run (
    n INTEGER PRIMARY KEY,
    first_id INTEGER NOT NULL,
    last_id INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    merged INTEGER NOT NULL
);
CREATE TABLE merging (target INTEGER, runs TEXT, kind INTEGER, value TEXT);
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
        self._connection = open_for_writing(segment.keys_path, _SCHEMA, _VERSION, segment.values.index_vfs)
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
        values = self._segment.values
        early, late = marks.get("early", _NEVER), marks.get("late", -_NEVER)
        run, used = self._run()
        entries: list[tuple[int, int, str, int, int]] = []
        seen: list[tuple[int, int, int]] = []
        count = seq = 0
        for row_id, number_of, received_at, source, kind, conflict, routed, control_id, correlation, keys in rows:
            if used >= RUN:
                self._flush(entries, seen)
                run, used = new_run(self._connection), 0
            lead = millis_of(row_id) - received_at // 1000
            early, late = min(early, lead), max(late, lead)
            envelope = self._envelope(source, kind, conflict, routed)
            seen.append((run, envelope, row_id))
            if control_id:
                text = values.from_token(control_id, CONTROL_ID)
                entries.append((run, self._kind(CONTROL), text, row_id, envelope))
            if correlation:
                text = values.from_token(correlation, CORRELATION_ID)
                entries.append((run, self._kind(CORRELATION), text, row_id, envelope))
            if keys:
                for name, text in orjson.loads(values.text(keys, KEYS, row_id)).items():
                    number = self._kind(name)
                    value = normalised(str(text))
                    parts = _suffixes(value) if is_name(name) else (value,)
                    entries.extend([(run, number, part, row_id, envelope) for part in parts])
            if len(entries) > _ENTRIES_AT_ONCE:
                self._flush(entries, seen)
            if not used:
                self._connection.execute("INSERT INTO run VALUES (?, ?, ?, 0, 0)", (run, row_id, row_id))
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

    def merge(self, complete: bool) -> bool:
        """Do one short piece of merging full runs, or all when the segment is ``complete``; returns whether there was any."""
        return merge_step(self._connection, RUN, complete)

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
        last = first_row(self._connection, "SELECT n, messages, merged FROM run ORDER BY first_id DESC LIMIT 1")
        if last is None or last[2] or last[1] >= RUN:
            return new_run(self._connection), 0
        return last[0], last[1]

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
