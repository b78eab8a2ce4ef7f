"""Subscriptions and what waits for each subscriber, durable: one SQLite file for each system, ``subscriptions/<system>.db`` in the data folder.

A file of its own, not messages and deliveries of the hub: whom a message goes to is decided by others, at any time, and there may be
hundreds; a delivery to the feed is done when everybody who is to be told has it in the queue of his own, in one commit with fsync. From
there one subscriber that is slow or away holds up nobody, and a crash loses nothing. Several processes may write (the facade's and those that feed);
only the facade's tells.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import apsw
import orjson

from adapters.fhir.subscriptions.database import Database

__all__ = ["Event", "Kept", "SubscriptionStore", "Wanted", "file_of"]

#: {"version": of FHIR, "any": lists of criteria of which all must be met}
Wanted = dict[str, Any]

#: Keys of deliveries are remembered so long, seconds: a delivery that comes again is not told again.
_REMEMBERED = 14 * 86400
#: Subscriptions that are off are shown so long, seconds.
_OFF_KEPT = 30 * 86400
_COLUMNS = "id, version, status, resource, updated, error, failing, events"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS subscription (
    id TEXT PRIMARY KEY, version INTEGER NOT NULL, status TEXT NOT NULL, resource BLOB NOT NULL, updated REAL NOT NULL,
    wanted BLOB NOT NULL, error TEXT NOT NULL DEFAULT '', failing REAL NOT NULL DEFAULT 0, events INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS content (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS event (
    subscription TEXT NOT NULL, number INTEGER NOT NULL, content INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (subscription, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS event_content ON event (content);
CREATE TABLE IF NOT EXISTS fed (key TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS fed_at ON fed (at);
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A subscription as it is stored. ``failing``: Unix time since when it can't be told, 0 when it can; ``events``: counted since it began."""

    id: str
    version: int
    status: str
    resource: dict[str, Any]
    updated: float
    error: str
    failing: float
    events: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something a subscriber is to be told. ``key`` stays the same through all tries."""

    number: int
    key: str
    at: float
    body: bytes


def file_of(data: Path, system: str) -> Path:
    return data / "subscriptions" / f"{quote(system, safe='')}.db"


class SubscriptionStore(Database):
    """What is asked and changed is for :meth:`read` and :meth:`write`, which give the connection."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, _SCHEMA)

    @staticmethod
    def version(db: apsw.Connection) -> int:
        """Changes with every commit of somebody else."""
        return int(cast(tuple[Any, ...], db.execute("PRAGMA data_version").fetchone())[0])

    @staticmethod
    def all(db: apsw.Connection) -> list[Kept]:
        rows = _rows(db, f"SELECT {_COLUMNS} FROM subscription ORDER BY id")  # noqa: S608 - names
        return [_kept(row) for row in rows]

    @staticmethod
    def get(db: apsw.Connection, number: str) -> Kept | None:
        found = db.execute(f"SELECT {_COLUMNS} FROM subscription WHERE id = ?", (number,))  # noqa: S608 - names
        row = found.fetchone()
        return _kept(row) if row is not None else None

    @staticmethod
    def put(db: apsw.Connection, number: str, status: str, resource: dict[str, Any], wanted: Wanted) -> Kept:
        """Store a subscription as its subscriber wants it; what waits for it stays."""
        db.execute(
            "INSERT INTO subscription (id, version, status, resource, updated, wanted) VALUES (?1, 1, ?2, ?3, ?4, ?5) "
            "ON CONFLICT (id) DO UPDATE SET "
            "version = version + 1, status = ?2, resource = ?3, updated = ?4, wanted = ?5, error = '', failing = 0",
            (number, status, orjson.dumps(resource), time.time(), orjson.dumps(wanted)),
        )
        return cast(Kept, SubscriptionStore.get(db, number))

    @staticmethod
    def set_wanted(db: apsw.Connection, number: str, wanted: Wanted) -> None:
        """The contract says something else of its topic by now."""
        told = orjson.dumps(wanted)
        db.execute("UPDATE subscription SET wanted = ?2 WHERE id = ?1 AND wanted <> ?2", (number, told))

    @staticmethod
    def wanted(db: apsw.Connection) -> list[tuple[str, Wanted]]:
        """What those are to be told who are told."""
        rows = _rows(db, "SELECT id, wanted FROM subscription WHERE status IN ('active', 'error') ORDER BY id")
        return [(number, orjson.loads(told)) for number, told in rows]

    @staticmethod
    def queues(db: apsw.Connection) -> list[tuple[str, int, int]]:
        """(id, events since it began, about how many of them wait)."""
        rows = _rows(
            db,
            "SELECT id, events, events + 1 - coalesce((SELECT min(number) FROM event WHERE subscription = id), events + 1) "
            "FROM subscription WHERE status IN ('active', 'error')",
        )
        return [(number, events, waiting) for number, events, waiting in rows]

    @staticmethod
    def set_status(db: apsw.Connection, kept: Kept, status: str, error: str, failing: float) -> bool:
        """Note how it goes; False when the subscription is another by now."""
        db.execute(
            "UPDATE subscription SET status = ?, error = ?, failing = ?, updated = ?, version = version + (status <> ?) "
            "WHERE id = ? AND version = ?",
            (status, error, failing, time.time(), status, kept.id, kept.version),
        )
        changed = db.changes() > 0
        if changed and status == "off":
            SubscriptionStore._drop(db, kept.id)
        return changed

    @staticmethod
    def remove(db: apsw.Connection, number: str) -> bool:
        db.execute("DELETE FROM subscription WHERE id = ?", (number,))
        found = db.changes() > 0
        SubscriptionStore._drop(db, number)
        return found

    @staticmethod
    def _drop(db: apsw.Connection, number: str) -> None:
        contents = _rows(db, "DELETE FROM event WHERE subscription = ? RETURNING content", (number,))
        _forget(db, {content for (content,) in contents})

    @staticmethod
    def waiting(db: apsw.Connection, number: str) -> int:
        return int(
            cast(
                tuple[Any, ...], db.execute("SELECT count(*) FROM event WHERE subscription = ?", (number,)).fetchone()
            )[0]
        )

    @staticmethod
    def feed(db: apsw.Connection, key: str, matches: list[tuple[bytes, list[str]]]) -> int:
        """Put resources into the queues of those who are to be told of them; returns how many. A ``key`` counts once."""
        now = time.time()
        db.execute("INSERT OR IGNORE INTO fed VALUES (?, ?)", (key, now))
        if not db.changes():
            return 0
        told = 0
        for at, (body, numbers) in enumerate(matches):
            content = 0
            for number in numbers:
                row = db.execute(
                    "UPDATE subscription SET events = events + 1 WHERE id = ? AND status IN ('active', 'error') RETURNING events",
                    (number,),
                ).fetchone()
                if row is None:
                    continue
                if not content:
                    db.execute("INSERT INTO content (key, body) VALUES (?, ?)", (f"{key}-{at}" if at else key, body))
                    content = db.last_insert_rowid()
                db.execute("INSERT INTO event VALUES (?, ?, ?, ?)", (number, row[0], content, now))
                told += 1
        return told

    @staticmethod
    def next(db: apsw.Connection, number: str, most: int) -> list[Event]:
        """The oldest that wait for a subscriber."""
        rows = _rows(
            db,
            "SELECT number, key, at, body FROM event JOIN content ON content.id = event.content WHERE subscription = ? ORDER BY number LIMIT ?",
            (number, most),
        )
        return [Event(*row) for row in rows]

    @staticmethod
    def done(db: apsw.Connection, number: str, last: int) -> None:
        """A subscriber has been told everything up to a number."""
        rows = _rows(db, "DELETE FROM event WHERE subscription = ? AND number <= ? RETURNING content", (number, last))
        _forget(db, {content for (content,) in rows})

    @staticmethod
    def clean(db: apsw.Connection) -> None:
        """Forget what is too old to matter."""
        db.execute("DELETE FROM fed WHERE at < ?", (time.time() - _REMEMBERED,))
        db.execute("DELETE FROM subscription WHERE status = 'off' AND updated < ?", (time.time() - _OFF_KEPT,))


def _forget(db: apsw.Connection, contents: set[int]) -> None:
    for content in contents:
        db.execute(
            "DELETE FROM content WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM event WHERE content = ?1)", (content,)
        )


def _rows(db: apsw.Connection, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    return db.execute(sql, parameters).fetchall()


def _kept(row: tuple[Any, ...]) -> Kept:
    number, version, status, resource, updated, error, failing, events = row
    return Kept(number, version, status, orjson.loads(resource), updated, error, failing, events)
