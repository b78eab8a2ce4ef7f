"""The hub's own chain, ``audit.db`` in the data folder: everything that does not go into one commit with a change of the store.

Any number of processes append to it: the hub, its workers, the command line. Each entry is one durable transaction.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apsw

from hub.audit.chain import GENESIS, canonical, chain_hash
from hub.audit.entries import Result, entry
from hub.audit.errors import unwritable

__all__ = ["FILE", "Trail"]

FILE = "audit.db"
_BUSY_MS = 10_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, entry TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
"""


class Trail:
    """Appending to the hub's own chain. Safe to be used by several threads."""

    def __init__(self, data: Path) -> None:
        """Nothing is opened, and nothing made, before the first entry."""
        self.path = data / FILE
        self._lock = threading.Lock()
        self._db: apsw.Connection | None = None
        self._number = 0  # inode of the open file

    def record(
        self,
        actor: str,
        action: str,
        subject: str,
        detail: Mapping[str, Any] | str = "",
        reason: str = "",
        *,
        address: str = "",
        result: Result = "",
    ) -> int:
        """Write an entry, see :func:`hub.audit.entry`; it is on the disk when this returns its number.

        Raises :class:`~hub.audit.errors.AuditUnwritable`; then what it would have told of must not be done.
        """
        return self.append(entry(actor, action, subject, detail, reason, address=address, result=result))

    def append(self, made: dict[str, Any]) -> int:
        """The same for an entry that is made already."""
        text = canonical(made)
        with self._lock:
            try:
                return self._append(made["at"], text)
            except (apsw.Error, OSError) as error:
                self._close()
                raise unwritable(self.path, error) from error

    def _append(self, at: int, text: str) -> int:
        db = self._ready()
        db.execute("BEGIN IMMEDIATE")
        try:
            last = db.execute("SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1").fetchone()
            seq, previous = last or (0, GENESIS)
            db.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", (seq + 1, at, text, chain_hash(previous, text)))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return int(seq) + 1

    def trim(self, seq: int) -> int:
        """Forget the entries up to a number, which are archived, but never the last one; returns how many."""
        with self._lock:
            try:
                db = self._ready()
                db.execute("DELETE FROM entry WHERE seq <= ? AND seq < (SELECT max(seq) FROM entry)", (seq,))
                return int(db.changes())
            except (apsw.Error, OSError) as error:
                self._close()
                raise unwritable(self.path, error) from error

    def _ready(self) -> apsw.Connection:
        """The file that has the name now: nobody would find what is written into one that was put aside."""
        if self._db is not None:
            try:
                if self.path.stat().st_ino == self._number:
                    return self._db
            except FileNotFoundError:
                pass
        return self._open()

    def _open(self) -> apsw.Connection:
        self._close()
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Made with its rights before anything is in it; SQLite gives the log beside it the same.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            db.set_busy_timeout(_BUSY_MS)
            for pragma, value in (("journal_mode", "wal"), ("synchronous", "full"), ("trusted_schema", "off")):
                db.pragma(pragma, value)
            db.execute(_SCHEMA)
        except BaseException:
            db.close()
            raise
        self._db, self._number = db, self.path.stat().st_ino
        return db

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def close(self) -> None:
        with self._lock:
            self._close()
