"""Copying the trail elsewhere as it grows: a thread for each place, which remembers durably how far it has come.

A place that can't be reached is tried again for ever and holds up nobody; what it misses meanwhile waits in the trail, later in archives.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import apsw

from hub.audit.chain import chain_hash
from hub.audit.checkpoint import read_checkpoint
from hub.audit.copies import Copy
from hub.audit.errors import unwritable
from hub.audit.sources import HUB, Row, Source
from hub.errors import HubError
from hub.i18n import t
from hub.logs import get_logger

__all__ = ["FILE", "Cursors", "Exporter"]

log = get_logger(__name__)

FILE = "audit-export.db"
EVERY_S = 0.5
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
BATCH = 200
_SCHEMA = """
CREATE TABLE IF NOT EXISTS cursor (
    place TEXT NOT NULL, chain TEXT NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (place, chain)
) STRICT, WITHOUT ROWID;
"""


class Cursors:
    """How far each place has come in each chain, in a file beside the trail; used by several threads."""

    def __init__(self, data: Path) -> None:
        """Raises :class:`~hub.audit.errors.AuditUnwritable`."""
        self._path = data / FILE
        self._lock = threading.Lock()
        try:
            self._db = apsw.Connection(str(self._path))
            self._path.chmod(0o600)
            self._db.set_busy_timeout(5_000)
            self._db.pragma("journal_mode", "wal")
            self._db.pragma("synchronous", "full")
            self._db.execute(_SCHEMA)
        except (apsw.Error, OSError) as error:
            raise unwritable(self._path, error) from error

    def of(self, place: str) -> dict[str, tuple[int, str]]:
        """Chain -> number and hash of the last row the place has."""
        with self._lock:
            found = self._db.execute("SELECT chain, seq, hash FROM cursor WHERE place = ?", (place,)).fetchall()
        return {str(chain): (int(str(seq)), str(digest)) for chain, seq, digest in found}

    def save(self, place: str, reached: dict[str, tuple[int, str]]) -> None:
        """Raises ``apsw.Error``."""
        rows = [(place, chain, seq, digest) for chain, (seq, digest) in reached.items()]
        with self._lock, self._db:
            self._db.executemany("INSERT OR REPLACE INTO cursor VALUES (?, ?, ?, ?)", rows)

    def close(self) -> None:
        with self._lock:
            self._db.close()


class Exporter:
    """Copies to one place."""

    def __init__(
        self, name: str, copy: Copy, chains: Callable[[], Sequence[Source]], cursors: Cursors, *, what: str = "all"
    ) -> None:
        self.name = name
        self.trouble = ""
        self.set_back: set[str] = set()  # chains that are shorter, or others, than what was copied
        self.written_at = 0.0
        self._copy = copy
        self._chains = chains
        self._cursors = cursors
        self._only_checkpoints = what == "checkpoints"
        self._reached = cursors.of(name)
        self._open: dict[Path, tuple[int, apsw.Connection]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"audit export {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Copy what there is, for at most so long, then end."""
        self._stop.set()
        self._thread.join(seconds)

    def status(self) -> dict[str, Any]:
        return {
            "place": self.name,
            "trouble": self.trouble,
            "set_back": sorted(self.set_back),
            "reached": {chain: seq for chain, (seq, _) in sorted(self._reached.items())},
            "written_at": self.written_at,
        }

    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            last = self._stop.is_set()
            try:
                while self._round():
                    pass
                wait, pause, self.trouble = EVERY_S, FIRST_PAUSE_S, ""
            except (OSError, HubError, apsw.Error) as error:
                text = error.text if isinstance(error, HubError) else str(error)
                if not self.trouble:
                    log.error("the audit trail can't be copied to %s, trying again until it can: %s", self.name, text)
                self.trouble = text
                self._forget_open()
                wait, pause = pause, min(pause * 2, LONGEST_PAUSE_S)
            except Exception as error:
                log.exception("copying the audit trail to %s met an unexpected error", self.name)
                self.trouble = type(error).__name__
                wait, pause = pause, min(pause * 2, LONGEST_PAUSE_S)
            if last:
                break
            self._stop.wait(wait)
        self._copy.close()
        self._forget_open()

    def _round(self) -> bool:
        """One batch; True while there may be more."""
        rows: list[tuple[str, Row]] = []
        reached: dict[str, tuple[int, str]] = {}
        for source in self._chains():
            for row in self._next(source, BATCH - len(rows)):
                reached[source.name] = (row["seq"], row["hash"])
                if row["entry"] is not None and self._wanted(source, row):
                    rows.append((source.name, row))
            if len(rows) >= BATCH:
                break
        if not reached:
            return False
        if rows:
            self._copy.write(rows)
            self.written_at = time.time()
        self._cursors.save(self.name, reached)
        self._reached |= reached
        return True

    def _wanted(self, source: Source, row: Row) -> bool:
        return not self._only_checkpoints or (source.name == HUB and read_checkpoint(row["entry"]) is not None)

    def _next(self, source: Source, most: int) -> list[Row]:
        """The rows after those the place has."""
        after, digest = self._reached.get(source.name, (0, ""))
        db = self._connection(source)
        if db is None or most <= 0:
            return []
        page = source.page(db, max(0, after - 1), most + 1)
        first = page[0] if page else None
        if first is not None and first["seq"] > after + 1:  # archived meanwhile
            return list(islice(source.rows(after), most))
        if not after:
            return page[:most]
        if first is not None and first["seq"] == after and first["hash"] == digest:
            return page[1:]
        if first is not None and first["seq"] == after + 1 and first["hash"] == chain_hash(digest, str(first["entry"])):
            return page[:most]
        self._was_set_back(source, after)
        self._reached[source.name] = (0, "")  # all of it once more: other rows have the numbers of earlier ones now
        return []

    def _was_set_back(self, source: Source, after: int) -> None:
        if source.name not in self.set_back:
            self.set_back.add(source.name)
            log.error(
                "%s",
                t(
                    f"audit trail: chain {source.name} is no longer what {self.name} has of it up to {after} -> hub audit verify",
                    f"审计记录：链 {source.name} 与 {self.name} 所存（至 {after}）不一致 -> hub audit verify",
                ),
            )

    def _connection(self, source: Source) -> apsw.Connection | None:
        try:
            number = source.path.stat().st_ino
        except FileNotFoundError:
            return None
        found = self._open.get(source.path)
        if found is not None and found[0] != number:  # another file by now: put back from somewhere
            found[1].close()
            found = None
        if found is None:
            db = source.open()
            if db is None:
                return None
            found = self._open[source.path] = (number, db)
        return found[1]

    def _forget_open(self) -> None:
        for _, db in self._open.values():
            with suppress(apsw.Error):
                db.close()
        self._open.clear()
