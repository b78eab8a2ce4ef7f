"""What a receiving interface must remember beyond its messages: instances by study, procedure steps, promised commitments.

A small SQLite file beside the objects. Every change is on the disk (fsync) before the peer is answered; what is remembered is therefore
never more than what was stored, and never less than what was answered with success.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import orjson

__all__ = ["Instance", "Promise", "State"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS instance (
    uid TEXT PRIMARY KEY, class TEXT NOT NULL, series TEXT NOT NULL, study TEXT NOT NULL, modality TEXT NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS instance_of_study ON instance (study);
CREATE TABLE IF NOT EXISTS study (
    uid TEXT PRIMARY KEY, patient TEXT NOT NULL, accession TEXT NOT NULL, at INTEGER NOT NULL, told INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS step (uid TEXT PRIMARY KEY, status TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS promise (
    number INTEGER PRIMARY KEY, title TEXT NOT NULL, uid TEXT NOT NULL, instances BLOB NOT NULL, at INTEGER NOT NULL,
    UNIQUE (title, uid)
);
"""


@dataclass(frozen=True, slots=True)
class Instance:
    """An object that was stored."""

    uid: str
    sop_class: str
    series: str
    study: str
    modality: str


@dataclass(frozen=True, slots=True)
class Promise:
    """A storage commitment that was asked for: by whom, and for which (SOP class, instance)."""

    number: int
    title: str
    uid: str  # of the transaction
    instances: list[tuple[str, str]]
    at: float  # Unix seconds


class State:
    """One connection, used by the threads of all associations; a change takes one commit."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # -- studies -------------------------------------------------------------------------------------------------

    def add(self, instance: Instance, patient: str, accession: str) -> None:
        """Remember an object; one that is known already changes nothing but the time."""
        now = int(time.time())
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            new = self._db.execute(
                "INSERT INTO instance VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (uid) DO NOTHING",
                (instance.uid, instance.sop_class, instance.series, instance.study, instance.modality, now),
            ).rowcount
            if new:
                self._db.execute(
                    "INSERT INTO study VALUES (?, ?, ?, ?, 0) ON CONFLICT (uid) DO UPDATE SET at = excluded.at",
                    (instance.study, patient, accession, now),
                )

    def unfinished(self) -> list[str]:
        """Studies with more objects than the last message about them has told."""
        with self._lock:
            return [
                row[0]
                for row in self._db.execute(
                    "SELECT uid FROM study WHERE told < (SELECT count(*) FROM instance WHERE study = study.uid)"
                )
            ]

    def study(self, uid: str) -> tuple[str, str, int, list[Instance]]:
        """(patient id, accession number, how many objects were told already, the objects in the order of their UIDs)."""
        with self._lock:
            row = self._db.execute("SELECT patient, accession, told FROM study WHERE uid = ?", (uid,)).fetchone()
            rows = self._db.execute(
                "SELECT uid, class, series, study, modality FROM instance WHERE study = ? ORDER BY series, uid", (uid,)
            ).fetchall()
        patient, accession, told = row if row else ("", "", 0)
        return patient, accession, told, [Instance(*one) for one in rows]

    def told(self, uid: str, count: int) -> None:
        with self._lock, self._db:
            self._db.execute("UPDATE study SET told = max(told, ?) WHERE uid = ?", (count, uid))

    # -- procedure steps -----------------------------------------------------------------------------------------

    def step(self, uid: str) -> str | None:
        """The status of a procedure step, None for one that was never created."""
        with self._lock:
            row = self._db.execute("SELECT status FROM step WHERE uid = ?", (uid,)).fetchone()
        return row[0] if row else None

    def set_step(self, uid: str, status: str) -> None:
        with self._lock, self._db:
            self._db.execute(
                "INSERT INTO step VALUES (?, ?, ?) ON CONFLICT (uid) DO UPDATE SET status = excluded.status",
                (uid, status, int(time.time())),
            )

    # -- storage commitment --------------------------------------------------------------------------------------

    def promise(self, title: str, uid: str, instances: Iterable[tuple[str, str]]) -> None:
        with self._lock, self._db:
            self._db.execute(
                "INSERT INTO promise (title, uid, instances, at) VALUES (?, ?, ?, ?) ON CONFLICT (title, uid) DO NOTHING",
                (title, uid, orjson.dumps(list(instances)), int(time.time())),
            )

    def promises(self) -> list[Promise]:
        with self._lock:
            rows = self._db.execute("SELECT number, title, uid, instances, at FROM promise ORDER BY number").fetchall()
        return [
            Promise(number, title, uid, [tuple(one) for one in orjson.loads(raw)], at)
            for number, title, uid, raw, at in rows
        ]

    def kept(self, number: int) -> None:
        with self._lock, self._db:
            self._db.execute("DELETE FROM promise WHERE number = ?", (number,))

    def class_of(self, uid: str) -> str | None:
        """The SOP class of an object that is stored, None for one that isn't."""
        with self._lock:
            row = self._db.execute("SELECT class FROM instance WHERE uid = ?", (uid,)).fetchone()
        return row[0] if row else None

    def clean(self, older_than: float) -> None:
        """Forget what is older than so many seconds."""
        limit = int(time.time() - older_than)
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for table in ("instance", "study", "step", "promise"):
                self._db.execute(f"DELETE FROM {table} WHERE at < ?", (limit,))  # noqa: S608 - names of our own tables
