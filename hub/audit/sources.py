"""Every chain of a deployment, as it is on the disk: what is live in a file of SQLite, and what was archived before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from hub.access.database import FILE as ACCESS_FILE
from hub.audit import trail
from hub.audit.archives import archives_of
from hub.audit.errors import unreadable
from hub.contract import HubConfig
from hub.keys.model import FILE as KEYS_FILE
from hub.keys.opened import folder_of
from hub.store.segment import CATALOG_NAME

__all__ = ["HUB", "Row", "Source", "archive_folder", "sources", "worker_source"]

#: The hub's own chain.
HUB = "hub"
_PAGE = 500
_BUSY_MS = 5_000

#: ``seq``, ``at``, ``entry`` (its text), ``hash``; of an archive also rows whose ``entry`` is None: their retention is over.
Row = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """One chain. ``table`` has the columns seq, at, entry, hash."""

    name: str
    path: Path
    table: str
    archive: Path

    def open(self) -> apsw.Connection | None:
        """None where there is nothing yet. Raises :class:`~hub.audit.errors.AuditUnreadable`."""
        if not self.path.exists():
            return None
        try:
            db = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
            db.set_busy_timeout(_BUSY_MS)
        except apsw.Error as error:
            raise unreadable(self.path, error) from error
        return db

    def page(self, db: apsw.Connection, after: int, limit: int = _PAGE) -> list[Row]:
        """Live rows with a higher number, in their order."""
        sql = f"SELECT seq, at, entry, hash FROM {self.table} WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608 - constants
        names = ("seq", "at", "entry", "hash")
        try:
            return [dict(zip(names, row, strict=True)) for row in db.execute(sql, (after, limit))]
        except apsw.SQLError:  # the file is just being made and has no tables yet
            return []
        except apsw.Error as error:
            raise unreadable(self.path, error) from error

    def live(self, after: int = 0) -> Iterator[Row]:
        """All live rows with a higher number."""
        db = self.open()
        if db is None:
            return
        try:
            while page := self.page(db, after):
                yield from page
                after = page[-1]["seq"]
        finally:
            db.close()

    def rows(self, after: int = 0) -> Iterator[Row]:
        """All rows with a higher number, those in archives first."""
        for archive in archives_of(self.archive, self.name):
            if archive.last > after:
                for row in archive.rows():
                    if row["seq"] > after:
                        after = row["seq"]
                        yield row
        yield from self.live(after)

    def head(self, db: apsw.Connection | None) -> tuple[int, str]:
        """Number and hash of the last row; (0, "") where there is none."""
        if db is None:
            return 0, ""
        try:
            found = db.execute(f"SELECT seq, hash FROM {self.table} ORDER BY seq DESC LIMIT 1").fetchone()  # noqa: S608
        except apsw.SQLError:
            return 0, ""
        except apsw.Error as error:
            raise unreadable(self.path, error) from error
        return (int(found[0]), str(found[1])) if found else (0, "")


def archive_folder(config: HubConfig, base: Path, data: Path) -> Path:
    """Where archives are; ``base`` is the folder of ``hub.yaml``."""
    return (base / config.audit.archive).resolve() if config.audit.archive else data / "audit"


def worker_source(folder: Path, archive: Path) -> Source:
    """The chain in a worker's folder: what was done to what the worker has stored."""
    return Source(folder.name, folder / CATALOG_NAME, "audit", archive)


def sources(config: HubConfig, base: Path, data: Path) -> list[Source]:
    """All chains there are or can be: the hub's own, each worker's, that of the key store, that of callers and people."""
    archive = archive_folder(config, base, data)
    return [
        Source(HUB, data / trail.FILE, "entry", archive),
        *(worker_source(folder, archive) for folder in sorted(data.glob("worker-*")) if folder.is_dir()),
        Source("keys", folder_of(config.keys, base) / KEYS_FILE, "journal", archive),
        Source("access", data / ACCESS_FILE, "journal", archive),
    ]
