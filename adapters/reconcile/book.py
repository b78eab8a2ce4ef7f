"""The book: entries, which days are complete, reports. One SQLite file below ``books/`` of the data folder.

Several processes may use it: every change is one transaction with fsync. What an entry says is sealed where the store is; its
number and day are not, they are looked up.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from adapters.reconcile.entries import Batch, Entry
from hub.api import file_sealer

__all__ = ["Book", "Kept"]

_FOLDER = "books"
_BUSY_S = 30.0
_SEALED = b"entry"
_REPORT = b"report"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, side TEXT NOT NULL, day TEXT NOT NULL, at TEXT NOT NULL,
    times INTEGER NOT NULL, sealed INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (kind, key, side)
);
CREATE INDEX IF NOT EXISTS entry_of_day ON entry (day, side);
CREATE TABLE IF NOT EXISTS complete (side TEXT NOT NULL, day TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (side, day)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS report (
    id INTEGER PRIMARY KEY, day TEXT NOT NULL, version INTEGER NOT NULL, at REAL NOT NULL, sealed INTEGER NOT NULL, data BLOB NOT NULL,
    UNIQUE (day, version)
);
"""
_TOUCHED = """
SELECT id, kind, key, side, day, at, times, sealed, data FROM entry
WHERE (kind, key) IN (SELECT kind, key FROM entry WHERE day = ?) ORDER BY kind, key, side
"""

_LISTED = """
SELECT id, kind, key, at, times, sealed, data FROM entry WHERE day = ? AND side = ? ORDER BY kind, key
"""


class Kept:
    """An entry as it stands in the book. ``times``: how often the list it is from has it."""

    __slots__ = ("at", "data", "day", "key", "kind", "side", "times")

    def __init__(self, kind: str, key: str, side: str, day: str, at: str, times: int, data: dict[str, Any]) -> None:
        self.kind = kind
        self.key = key
        self.side = side
        self.day = day
        self.at = at
        self.times = times
        self.data = data  # amount, state, details


class Book:
    """One connection, used by one thread at a time. Raises ``sqlite3.Error``; what was sealed and can't be opened :class:`HubError`."""

    def __init__(self, data: Path, name: str) -> None:
        self.path = data / _FOLDER / f"{name}.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sealer = file_sealer(data)
        self._lock = threading.Lock()
        # Made before SQLite does, for the hub's user alone; SQLite gives -wal and -shm the same rights.
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=_BUSY_S)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    # -- entering --------------------------------------------------------------------------------------------------

    def enter(self, batch: Batch) -> int:
        """Keep the entries of a side; returns how many there were. Entering the same again changes nothing.

        A complete list of a day takes the place of what the side had for that day. Otherwise the later state of a thing counts,
        by ``at``, whatever the order in which the states come.
        """
        with self._transaction() as db:
            if batch.complete:
                db.execute("DELETE FROM entry WHERE day = ? AND side = ?", (batch.complete, batch.side))
                db.execute(
                    "INSERT OR REPLACE INTO complete VALUES (?, ?, ?)", (batch.side, batch.complete, time.time())
                )
            seen: dict[tuple[str, str], int] = {}
            for entry in batch.entries:
                name = (entry.kind, entry.key)
                seen[name] = seen.get(name, 0) + 1
                self._put(db, batch.side, entry, seen[name] if batch.complete else 1)
        return len(batch.entries)

    def _put(self, db: sqlite3.Connection, side: str, entry: Entry, times: int) -> None:
        found = db.execute(
            "SELECT id, at FROM entry WHERE kind = ? AND key = ? AND side = ?", (entry.kind, entry.key, side)
        ).fetchone()
        if found is not None:
            if times > 1:  # again in the same list
                db.execute("UPDATE entry SET times = ? WHERE id = ?", (times, found[0]))
                return
            if entry.at and entry.at < found[1]:
                return
            db.execute("DELETE FROM entry WHERE id = ?", (found[0],))
        row = db.execute(
            "INSERT INTO entry (kind, key, side, day, at, times, sealed, data) VALUES (?, ?, ?, ?, ?, ?, 0, x'')",
            (entry.kind, entry.key, side, entry.day, entry.at, times),
        ).lastrowid
        data = orjson.dumps({"amount": entry.amount, "state": entry.state, "details": entry.details})
        self._write(db, "entry", _SEALED, row or 0, data)

    # -- reading ---------------------------------------------------------------------------------------------------

    def complete(self, day: str) -> set[str]:
        """The sides whose entries of a day are all there."""
        with self._lock:
            return {side for (side,) in self._db.execute("SELECT side FROM complete WHERE day = ?", (day,))}

    def touched(self, day: str) -> Iterator[list[Kept]]:
        """What all sides have of each thing that one of them has on this day; in the order of kind and number."""
        group: list[Kept] = []
        with self._lock:
            for row_id, kind, key, side, of, at, times, sealed, data in self._db.execute(_TOUCHED, (day,)):
                if group and (group[0].kind, group[0].key) != (kind, key):
                    yield group
                    group = []
                tree = orjson.loads(self._read(data, sealed, _SEALED, row_id))
                group.append(Kept(kind, key, side, of, at, times, tree))
        if group:
            yield group

    def listed(self, side: str, day: str) -> Iterator[Kept]:
        """What a side has of a day, in the order of kind and number."""
        with self._lock:
            for row_id, kind, key, at, times, sealed, data in self._db.execute(_LISTED, (day, side)):
                tree = orjson.loads(self._read(data, sealed, _SEALED, row_id))
                yield Kept(kind, key, side, day, at, times, tree)

    # -- reports ---------------------------------------------------------------------------------------------------

    def file(self, day: str, content: dict[str, Any]) -> dict[str, Any]:
        """Keep a report, or find the last of the day when it says the same; returns it with ``version`` and ``at``."""
        with self._transaction() as db:
            last = db.execute(
                "SELECT id, version, at, sealed, data FROM report WHERE day = ? ORDER BY version DESC LIMIT 1", (day,)
            ).fetchone()
            body = orjson.dumps(content)
            if last is not None and self._read(last[4], last[3], _REPORT, last[0]) == body:
                return {**content, "version": last[1], "at": _utc(last[2])}
            version, now = (last[1] if last is not None else 0) + 1, time.time()
            row = db.execute("INSERT INTO report VALUES (NULL, ?, ?, ?, 0, x'')", (day, version, now)).lastrowid
            self._write(db, "report", _REPORT, row or 0, body)
        return {**content, "version": version, "at": _utc(now)}

    def prune(self, before: str) -> None:
        """Remove what is of days before this one."""
        with self._transaction() as db:
            for table in ("entry", "report", "complete"):
                db.execute(f"DELETE FROM {table} WHERE day < ?", (before,))  # noqa: S608 - names above

    # -- sealing ---------------------------------------------------------------------------------------------------

    def _write(self, db: sqlite3.Connection, table: str, place: bytes, row: int, data: bytes) -> None:
        sealer = self._sealer if self._sealer is not None and self._sealer.sealing else None
        if sealer is not None:
            sealer.renew()
            data = sealer.seal(data, 0, place, row)
        statement = f"UPDATE {table} SET sealed = ?, data = ? WHERE id = ?"  # noqa: S608 - a name of ours
        db.execute(statement, (int(sealer is not None), data, row))

    def _read(self, data: bytes, sealed: int, place: bytes, row: int) -> bytes:
        if not sealed:
            return data
        if self._sealer is None:
            raise sqlite3.DatabaseError("this book is sealed and the hub has no keys for it; see store.encryption")
        return self._sealer.open(data, place, row)


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
