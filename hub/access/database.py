"""The file ``access.db`` in the data folder: SQLite with a write-ahead log, every change durable before it is told.

Each module that keeps something here brings a :class:`Schema`. Every change goes with its entry into the journal, in one transaction: a
chain of hashes as the audit trail has it (:mod:`hub.audit`), so that there is no change without an entry.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from hub.audit import GENESIS, canonical, chain_hash
from hub.audit import verify as verify_chain
from hub.errors import HubError
from hub.i18n import t

__all__ = ["FILE", "AccessDatabase", "AccessError", "AccessReader", "Schema"]

FILE = "access.db"
_BUSY_MS = 5_000

_OWN = """
CREATE TABLE IF NOT EXISTS schema (module TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, entry TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
"""


class AccessError(HubError):
    """The file can't be used, or an order can't be carried out."""

    code = "access.invalid"


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one module: ``steps[n]`` leads from version n to n + 1. Steps that were released never change."""

    module: str
    steps: tuple[str, ...]


class AccessDatabase:
    """The file as its one writer has it. Not for two threads at once."""

    def __init__(self, data: Path, schemas: Sequence[Schema]) -> None:
        """Open it, make it where it is missing, and bring it up to date. Raises :class:`AccessError`."""
        self.path = data / FILE
        try:
            data.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Made with its rights before anything is in it; SQLite gives the log beside it the same.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self.db = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
            self.db.set_busy_timeout(_BUSY_MS)
            # What a change reads first holds until it writes, whoever else writes: the modules have connections of their own.
            self.db.transaction_mode = "IMMEDIATE"
            for pragma, value in (("journal_mode", "wal"), ("synchronous", "full"), ("trusted_schema", "off")):
                self.db.pragma(pragma, value)
            self.db.pragma("foreign_keys", "on")
            self._update(schemas)
        except (apsw.Error, OSError) as error:
            raise _cant(self.path, error) from error

    def _update(self, schemas: Sequence[Schema]) -> None:
        with self.db:
            self.db.execute(_OWN)
            known = dict(self.db.execute("SELECT module, version FROM schema"))
            for schema in schemas:
                version = known.get(schema.module, 0)
                if version > len(schema.steps):
                    raise AccessError(
                        t(f"{self.path} was written by a newer version", f"{self.path} 由更新的版本写入"),
                        code="access.newer",
                        remedy=t("run that version, or restore a backup", "请使用该版本，或恢复备份"),
                    )
                for step in schema.steps[version:]:
                    self.db.execute(step)
                row = (schema.module, len(schema.steps))
                self.db.execute("INSERT OR REPLACE INTO schema VALUES (?, ?)", row)

    @contextlib.contextmanager
    def change(self, entry: dict[str, Any]) -> Iterator[apsw.Connection]:
        """One durable change, with its entry (:func:`hub.audit.entry`) in the journal, or none. Raises :class:`AccessError`."""
        try:
            with self.db:
                yield self.db
                self._write(entry)
        except (apsw.Error, OSError) as error:
            raise _cant(self.path, error) from error

    def _write(self, entry: dict[str, Any]) -> None:
        last = self.db.execute("SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1").fetchone()
        seq, previous = last or (0, GENESIS)
        text = canonical(entry)
        row = (seq + 1, entry["at"], text, chain_hash(previous, text))
        self.db.execute("INSERT INTO journal VALUES (?, ?, ?, ?)", row)

    def journal(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """What was changed by whom, oldest first: ``seq``, ``at`` (Unix µs), ``entry`` (JSON text), ``hash``."""
        query = "SELECT seq, at, entry, hash FROM journal WHERE seq > ? ORDER BY seq LIMIT ?"
        names = ("seq", "at", "entry", "hash")
        return [dict(zip(names, row, strict=True)) for row in self.db.execute(query, (after, limit))]

    def verify_journal(self) -> list[str]:
        """What is wrong with the journal; nothing when it is as it was written."""
        names = ("seq", "at", "entry", "hash")
        rows = self.db.execute("SELECT seq, at, entry, hash FROM journal ORDER BY seq")
        return verify_chain(dict(zip(names, row, strict=True)) for row in rows)

    def close(self) -> None:
        self.db.close()


class AccessReader:
    """The file as a worker has it: read only, and aware of changes."""

    def __init__(self, data: Path) -> None:
        self.path = data / FILE
        self._db: apsw.Connection | None = None
        self._version: object = None

    def changed(self) -> bool:
        """Has another process, or another connection of this one, changed something since this last said so? About 5 µs."""
        if self._db is None and not self._open():
            return False
        assert self._db is not None  # noqa: S101 - just opened
        try:
            version = self._db.pragma("data_version")
        except apsw.BusyError:  # somebody recovers the log; the next call sees what there is
            return False
        except apsw.Error as error:
            raise _cant(self.path, error) from error
        if version == self._version:
            return False
        self._version = version
        return True

    def _open(self) -> bool:
        if not self.path.exists():  # no writer has been here yet
            return False
        try:
            self._db = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
            self._db.set_busy_timeout(_BUSY_MS)
        except apsw.Error as error:
            raise _cant(self.path, error) from error
        return True

    @contextlib.contextmanager
    def view(self) -> Iterator[apsw.Connection | None]:
        """Everything as it is at one moment; None while nobody has written anything. Raises :class:`AccessError`."""
        try:
            if self._db is None and not self._open():
                yield None
                return
            assert self._db is not None  # noqa: S101 - just opened
            with self._db:
                yield self._db
        except apsw.Error as error:
            raise _cant(self.path, error) from error

    def has(self, module: str) -> bool:
        """Are the tables of a module there?"""
        with self.view() as db:
            if db is None or not db.table_exists(None, "schema"):
                return False
            return db.execute("SELECT 1 FROM schema WHERE module = ?", (module,)).fetchone() is not None

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def _cant(path: Path, error: Exception) -> AccessError:
    return AccessError(
        t(f"{path} can't be used: {error}", f"无法使用 {path}：{error}"),
        code="access.unusable",
        remedy=t("check the disk and the rights of the hub's user there", "请检查磁盘，以及运行用户对该处的权限"),
    )
