"""Storage commitments the hub has asked others for, and what they said: on the disk before anybody is answered.

One small SQLite file for all interfaces and workers of a data folder (``objects/commitments.sqlite``), as the result may come to another
interface than the one that asks.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from adapters.dicom.references import FOLDER

__all__ = ["CommitmentRequests", "Failure", "Instance", "Request", "Result"]

#: (SOP class, SOP instance)
Instance = tuple[str, str]
#: (SOP class, SOP instance, reason: 0008,1197)
Failure = tuple[str, str, int]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS request (
    uid TEXT PRIMARY KEY, delivery TEXT NOT NULL, instances BLOB NOT NULL, at REAL NOT NULL, result BLOB, heard REAL, used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS request_of_delivery ON request (delivery);
"""
_BUSY_S = 30.0
#: An instance that was asked about and is in neither list of a result: "processing failure".
_NOT_MENTIONED = 0x0110


@dataclass(frozen=True, slots=True)
class Result:
    """What the other side keeps, and what not."""

    kept: list[Instance]
    failed: list[Failure]


@dataclass(frozen=True, slots=True)
class Request:
    """A request nobody has used the result of. ``at``: Unix seconds; ``result`` None: it has not come."""

    uid: str
    instances: list[Instance]
    at: float
    result: Result | None


class CommitmentRequests:
    """One connection, for several threads; every change is one commit with fsync. Raises ``sqlite3.Error``."""

    def __init__(self, data: Path) -> None:
        path = data / FOLDER / "commitments.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=_BUSY_S)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def ask(self, uid: str, delivery: str, instances: Sequence[Instance]) -> None:
        """Remember a request that is about to be made."""
        with self._lock:
            self._db.execute(
                "INSERT INTO request VALUES (?, ?, ?, ?, NULL, NULL, 0)",
                (uid, delivery, orjson.dumps(list(instances)), time.time()),
            )

    def forget(self, uid: str) -> None:
        """One that was not taken."""
        with self._lock:
            self._db.execute("DELETE FROM request WHERE uid = ?", (uid,))

    def latest(self, delivery: str) -> Request | None:
        """The last request for a delivery whose result was not used."""
        with self._lock:
            row = self._db.execute(
                "SELECT uid, instances, at, result FROM request WHERE delivery = ? AND used = 0 ORDER BY at DESC LIMIT 1",
                (delivery,),
            ).fetchone()
        if row is None:
            return None
        return Request(row[0], _instances(row[1]), row[2], _result(row[3]))

    def hear(self, uid: str, kept: Sequence[Instance], failed: Sequence[Failure]) -> bool:
        """Keep a result; False for a transaction nobody here has asked for. The first result counts."""
        with self._lock:
            row = self._db.execute("SELECT instances FROM request WHERE uid = ?", (uid,)).fetchone()
            if row is None:
                return False
            asked = _instances(row[0])
            told = {instance: (sop_class, instance, reason) for sop_class, instance, reason in failed}
            well = {instance for _, instance in kept} - told.keys()
            bad = [
                told.get(instance, (sop_class, instance, _NOT_MENTIONED))
                for sop_class, instance in asked
                if instance not in well
            ]
            good = [one for one in asked if one[1] in well]
            self._db.execute(
                "UPDATE request SET result = ?, heard = ? WHERE uid = ? AND result IS NULL",
                (orjson.dumps([good, bad]), time.time(), uid),
            )
        return True

    def result(self, uid: str) -> Result | None:
        """The result of a request, None while there is none."""
        with self._lock:
            row = self._db.execute("SELECT result FROM request WHERE uid = ?", (uid,)).fetchone()
        return _result(row[0]) if row is not None else None

    def use(self, uid: str) -> None:
        """The result has become that of a try to deliver; another try asks anew."""
        with self._lock:
            self._db.execute("UPDATE request SET used = 1 WHERE uid = ?", (uid,))

    def clean(self, older_than: float) -> None:
        """Forget what is older than so many seconds."""
        with self._lock:
            self._db.execute("DELETE FROM request WHERE at < ?", (time.time() - older_than,))


def _instances(raw: bytes) -> list[Instance]:
    return [(sop_class, instance) for sop_class, instance in orjson.loads(raw)]


def _result(raw: bytes | None) -> Result | None:
    if raw is None:
        return None
    kept, failed = orjson.loads(raw)
    return Result([(a, b) for a, b in kept], [(a, b, reason) for a, b, reason in failed])
