"""The file ``traffic.db``: what callers have used and who is restricted. Unlike the registry every worker writes here, in short transactions.

Counts are written in batches (:meth:`Traffic.pending`, :meth:`Traffic.write`). Quotas are not counted afterwards but taken beforehand, in leases: a worker takes some
calls of what is left, durably, and counts them down in memory. So a quota is never exceeded, whatever is killed and however many workers
there are; what a killed worker had not used of its lease is lost to the caller. Losing power may take back the last moments, as the log is
synced when counts are written and not with each lease.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import apsw

from hub.access import AccessError
from hub.i18n import t

__all__ = ["FILE", "PERIODS", "Counts", "Restriction", "Traffic", "period_of", "seconds_left"]

FILE = "traffic.db"
PERIODS = ("day", "month", "year")
_BUSY_MS = 2_000
#: A lease is this share of what is left, so that the last calls are taken one by one; and never more than so many.
_SHARE = 50
_MOST = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS usage (
    day TEXT NOT NULL, caller TEXT NOT NULL, place TEXT NOT NULL, taken INTEGER NOT NULL, refused INTEGER NOT NULL,
    PRIMARY KEY (day, caller, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hit (
    rule INTEGER NOT NULL, day TEXT NOT NULL, calls INTEGER NOT NULL, PRIMARY KEY (rule, day)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (
    caller TEXT NOT NULL, period TEXT NOT NULL, calls INTEGER NOT NULL, PRIMARY KEY (caller, period)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS restriction (
    kind TEXT NOT NULL, subject TEXT NOT NULL, until INTEGER NOT NULL, reason TEXT NOT NULL, made_at INTEGER NOT NULL,
    made_by TEXT NOT NULL, PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS once (
    credential TEXT NOT NULL, token TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (credential, token)
) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Restriction:
    """Calls of a caller, or from an address, are not taken until then (Unix seconds)."""

    kind: str  # caller or address
    subject: str
    until: int
    reason: str
    made_at: int
    made_by: str


class Traffic:
    """The open file; not for two threads at once but for :meth:`write`, which has a connection of its own."""

    def __init__(self, data: Path) -> None:
        self.path = data / FILE
        try:
            data.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = self._connection()
            with self._at_once():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
            self._flushing = self._connection()
        except (apsw.Error, OSError) as error:
            raise self._cant(error) from error
        self._usage: Counter[tuple[str, str, str, bool]] = Counter()  # (day, caller, place, taken)
        self._hits: Counter[tuple[int, str]] = Counter()
        self._leases: dict[str, _Lease] = {}
        self._version: object = None

    def _connection(self) -> apsw.Connection:
        made = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
        made.set_busy_timeout(_BUSY_MS)
        made.pragma("journal_mode", "wal")
        made.pragma("synchronous", "normal")
        return made

    @contextlib.contextmanager
    def _at_once(self, db: apsw.Connection | None = None) -> Iterator[apsw.Connection]:
        """A transaction that writes from its beginning on, so that what it read stays true. Raises :class:`AccessError`."""
        db = db or self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise
        except apsw.Error as error:
            raise self._cant(error) from error

    # -- counting ------------------------------------------------------------------------------------------------

    def count(self, caller: str, place: str, *, taken: bool, now: float) -> None:
        self._usage[period_of("day", now), caller, place, taken] += 1

    def hit(self, rule: int, now: float) -> None:
        """A rule about addresses has decided about a call."""
        self._hits[rule, period_of("day", now)] += 1

    def pending(self, now: float) -> Counts:
        """What was counted since the last time, for :meth:`write`; gives back what nobody uses of leases. Raises :class:`AccessError`."""
        for caller, lease in self._leases.items():
            if not lease.used:
                self._give_back(caller, lease, now)
            lease.used = False
        counts, self._usage, self._hits = Counts(self._usage, self._hits), Counter(), Counter()
        return counts

    def write(self, counts: Counts) -> None:
        """Durably; may run in a thread. Raises :class:`AccessError`: keep them then by :meth:`put_back`."""
        try:
            with self._at_once(self._flushing) as db:
                db.executemany(
                    "INSERT INTO usage VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                    "taken = taken + excluded.taken, refused = refused + excluded.refused",
                    [
                        (day, caller, place, calls if taken else 0, 0 if taken else calls)
                        for (day, caller, place, taken), calls in counts.usage.items()
                    ],
                )
                db.executemany(
                    "INSERT INTO hit VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET calls = calls + excluded.calls",
                    [(rule, day, calls) for (rule, day), calls in counts.hits.items()],
                )
                db.execute("DELETE FROM once WHERE until < ?", (int(time.time()),))
            self._flushing.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:  # of the checkpoint: what was written is written
            raise self._cant(error) from error

    def put_back(self, counts: Counts) -> None:
        self._usage.update(counts.usage)
        self._hits.update(counts.hits)

    def usage(self, since: str, until: str, caller: str = "") -> list[dict[str, Any]]:
        """Calls by day, caller and interface, days as ``2026-11-28``, both included."""
        names = ("day", "caller", "place", "taken", "refused")
        rows = self._db.execute(
            f"SELECT {', '.join(names)} FROM usage WHERE day BETWEEN ? AND ? AND (? = '' OR caller = ?) ORDER BY 1, 2, 3",  # noqa: S608
            (since, until, caller, caller),
        )
        return [dict(zip(names, row, strict=True)) for row in rows]

    def hits(self) -> dict[int, tuple[int, str]]:
        """Of each rule about addresses: calls it decided about, and the last day it did."""
        rows = self._db.execute("SELECT rule, SUM(calls), MAX(day) FROM hit GROUP BY rule")
        return {rule: (calls, day) for rule, calls, day in rows}

    def spent(self, caller: str, now: float) -> dict[str, int]:
        """Calls taken of the quotas of the running periods, leases included."""
        return _spent(self._db, caller, now)

    # -- quotas --------------------------------------------------------------------------------------------------

    def spend(self, caller: str, quotas: Mapping[str, int], now: float) -> str:
        """Take one call of all quotas; the period that is used up, or "". Raises :class:`AccessError`."""
        lease = self._leases.get(caller)
        if lease is not None and lease.left and lease.quotas == quotas and now < lease.until:
            lease.left -= 1
            lease.used = True
            return ""
        if lease is not None:
            self._give_back(caller, lease, now)
        lease = self._leases[caller] = _Lease(dict(quotas), now + min(seconds_left(period, now) for period in quotas))
        with self._at_once() as db:
            spent = _spent(db, caller, now)
            left = {period: most - spent[period] for period, most in quotas.items()}
            used_up = next((period for period in PERIODS if left.get(period, 1) <= 0), "")
            if used_up:
                return used_up
            lease.left = max(1, min(_MOST, min(left.values()) // _SHARE))
            _add(db, caller, lease.left, now)
        lease.left -= 1
        return ""

    def _give_back(self, caller: str, lease: _Lease, now: float) -> None:
        """What was not used, unless its period is over."""
        left, lease.left = lease.left, 0
        if left and now < lease.until:
            with self._at_once() as db:
                _add(db, caller, -left, now)

    # -- restrictions --------------------------------------------------------------------------------------------

    def changed(self) -> bool:
        """Has somebody else written something since this last said so?"""
        version = self._db.pragma("data_version")
        if version == self._version:
            return False
        self._version = version
        return True

    def restrict(self, restriction: Restriction) -> None:
        row = tuple(getattr(restriction, name) for name in Restriction.__slots__)
        with self._at_once() as db:
            db.execute("INSERT OR REPLACE INTO restriction VALUES (?, ?, ?, ?, ?, ?)", row)

    def unrestrict(self, kind: str, subject: str) -> bool:
        with self._at_once() as db:
            db.execute("DELETE FROM restriction WHERE kind = ? AND subject = ?", (kind, subject))
            return db.changes() > 0

    def restrictions(self, now: float) -> list[Restriction]:
        """Those in force."""
        try:
            rows = list(self._db.execute("SELECT * FROM restriction WHERE until > ? ORDER BY made_at", (int(now),)))
        except apsw.Error as error:
            raise self._cant(error) from error
        return [Restriction(*row) for row in rows]

    # -- tokens that count once ----------------------------------------------------------------------------------

    def first(self, credential: str, token: str, until: float) -> bool:
        """True the first time a token is shown, in whatever worker; False from then on until it has expired."""
        with self._at_once() as db:
            db.execute("INSERT OR IGNORE INTO once VALUES (?, ?, ?)", (credential, token, int(until) + 1))
            return db.changes() > 0

    def close(self) -> None:
        """Write the counts down and give back what was not used of leases."""
        now = time.time()
        with contextlib.suppress(AccessError):
            for caller, lease in self._leases.items():
                self._give_back(caller, lease, now)
            self.write(self.pending(now))
        self._flushing.close()
        self._db.close()

    def _cant(self, error: Exception) -> AccessError:
        return AccessError(
            t(f"{self.path} can't be used: {error}", f"无法使用 {self.path}：{error}"),
            code="access.unusable",
            remedy=t("check the disk and the rights of the hub's user there", "请检查磁盘，以及运行用户对该处的权限"),
        )


@dataclass(slots=True)
class _Lease:
    quotas: dict[str, int]  # it was taken under; others mean a new one
    until: float  # end of the shortest period
    left: int = 0
    used: bool = True  # since the counts were written last


@dataclass(frozen=True, slots=True)
class Counts:
    """Calls counted and not written down yet."""

    usage: Counter[tuple[str, str, str, bool]]  # (day, caller, place, taken)
    hits: Counter[tuple[int, str]]  # (rule, day)


def _spent(db: apsw.Connection, caller: str, now: float) -> dict[str, int]:
    periods = {period_of(period, now): period for period in PERIODS}
    rows = db.execute("SELECT period, calls FROM spent WHERE caller = ? AND period IN (?, ?, ?)", (caller, *periods))
    return dict.fromkeys(PERIODS, 0) | {periods[name]: calls for name, calls in rows}


def _add(db: apsw.Connection, caller: str, calls: int, now: float) -> None:
    db.executemany(
        "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET calls = calls + excluded.calls",
        [(caller, period_of(period, now), calls) for period in PERIODS],
    )


_days: tuple[float, str] = (0.0, "")


def period_of(period: str, now: float) -> str:
    """``2026-11-28``, ``2026-11`` or ``2026``, by the clock of this machine."""
    global _days
    if not _days[0] - 86_400 <= now < _days[0]:
        today = datetime.fromtimestamp(now)
        tomorrow = datetime(today.year, today.month, today.day) + timedelta(days=1)
        _days = tomorrow.timestamp(), today.strftime("%Y-%m-%d")
    return _days[1][: {"day": 10, "month": 7, "year": 4}[period]]


def seconds_left(period: str, now: float) -> int:
    """Until the period ends."""
    today = datetime.fromtimestamp(now)
    if period == "day":
        end = datetime(today.year, today.month, today.day) + timedelta(days=1)
    elif period == "month":
        end = datetime(today.year + today.month // 12, today.month % 12 + 1, 1)
    else:
        end = datetime(today.year + 1, 1, 1)
    return max(1, int(end.timestamp() - now))
