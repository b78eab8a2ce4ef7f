"""Files derived from a segment (its indexes): they may be missing, stale or damaged at any time, and are then built again.

One process writes them (the indexer), many read them. A reader that meets damage says so with a marker file, and goes on
without the index; the indexer sees the marker and builds the file again.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from hub.store.files import remove_file
from hub.store.sealed_vfs import PAGE, is_sealed
from hub.store.segment import SegmentFile, open_read_only

__all__ = [
    "BROKEN",
    "UNUSABLE",
    "SegmentUnreadable",
    "drop",
    "marker_of",
    "newest",
    "open_for_reading",
    "open_for_writing",
    "read_marks",
    "read_segment",
    "report",
    "transaction",
    "write_marks",
]

#: What SQLite raises for a file that is damaged, was cut off, is something else or lacks a table.
BROKEN = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, apsw.MismatchError, apsw.FormatError)
#: What it raises for a file that can't be used, which need not be the fault of the file.
UNUSABLE = (*BROKEN, apsw.CantOpenError, apsw.IOError, apsw.ReadOnlyError)
_BUSY_MS = 5_000
_KEPT_OPEN = 32  # connections per reading thread
_CHECKPOINT_PAGES = 8_000


class SegmentUnreadable(Exception):
    """The segment itself can't be read: no fault of its index."""


_Identity = tuple[int, int]
_open = threading.local()


def marker_of(path: Path) -> Path:
    """The file whose existence asks the indexer to build ``path`` again."""
    return path.with_suffix(".rebuild")


def report(path: Path, error: Exception) -> None:
    """Ask for ``path`` to be built again when it is broken; in vain where the reader may not write, then another one asks."""
    if isinstance(error, BROKEN):
        with contextlib.suppress(OSError):
            marker_of(path).touch()


def drop(path: Path) -> None:
    """Remove an index file and the wish to have it built again."""
    remove_file(path)
    marker_of(path).unlink(missing_ok=True)


def open_for_writing(path: Path, schema: str, version: int, vfs: str = "") -> apsw.Connection:
    """Open an index for writing; made anew when it is missing, damaged, of another version, or reported as damaged.

    With a ``vfs`` it is a sealed one (:mod:`hub.store.sealed_vfs`), without a plain one; the other kind is made anew. Raises ``apsw.Error`` when the folder can't be written to.
    """
    if is_sealed(path) is bool(vfs) and not marker_of(path).exists():
        try:
            return _open_existing(path, version, vfs)
        except BROKEN:
            pass
    drop(path)
    _create(path, schema, version, vfs)
    return _open_existing(path, version, vfs)


def _create(path: Path, schema: str, version: int, vfs: str) -> None:
    """Make an empty index. Under another name first: a reader must not meet one without tables and call it damaged."""
    making = path.with_suffix(".new")
    remove_file(making)
    connection = apsw.Connection(str(making), vfs=vfs or None)
    try:
        if vfs:
            # No journal, which would not be sealed: what is not finished is made anew.
            connection.execute(f"PRAGMA page_size = {PAGE}")
            connection.execute("PRAGMA journal_mode = OFF")
        connection.execute(schema)
        connection.execute("INSERT INTO meta VALUES ('version', ?)", (version,))
        if vfs:
            connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    making.replace(path)


def _open_existing(path: Path, version: int, vfs: str) -> apsw.Connection:
    connection = apsw.Connection(str(path), statementcachesize=32, vfs=vfs or None)
    try:
        connection.set_busy_timeout(_BUSY_MS)
        connection.execute("PRAGMA journal_mode = WAL")
        # NORMAL: a power cut may lose the last batches, which are indexed again, but not damage the file.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute("PRAGMA cache_size = -16000")
        connection.execute("PRAGMA temp_store = MEMORY")
        if read_marks(connection).get("version") != version:
            raise apsw.NotADBError("an index of another version")
    except apsw.Error:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """All or nothing, with the write lock taken at once."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(apsw.Error):  # SQLite may have rolled back by itself
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def open_for_reading(path: Path, vfs: str = "") -> apsw.Connection | None:
    """The calling thread's read-only connection to an index; None when there is no such file, or one of the other kind.

    A file that was replaced since is opened again. Raises one of :data:`UNUSABLE` when the file is unusable.
    """
    cache: OrderedDict[Path, tuple[_Identity, apsw.Connection]] | None = getattr(_open, "cache", None)
    if cache is None:
        cache = _open.cache = OrderedDict()
    found = cache.get(path)
    identity = _identity(path)
    if found is not None:
        if found[0] == identity:
            cache.move_to_end(path)
            return found[1]
        del cache[path]
    if identity is None or is_sealed(path) is not bool(vfs):
        return None
    try:
        connection = open_read_only(path, vfs)
    except apsw.CantOpenError:
        if path.exists():
            raise
        return None  # removed a moment ago
    cache[path] = (identity, connection)
    if len(cache) > _KEPT_OPEN:
        cache.popitem(last=False)
    return connection


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def read_marks(connection: apsw.Connection) -> dict[str, int]:
    """The ``meta`` table of an index."""
    marks = {str(key): value for key, value in connection.execute("SELECT key, value FROM meta").fetchall()}
    numbers = {key: value for key, value in marks.items() if isinstance(value, int)}
    if len(numbers) < len(marks):
        raise apsw.CorruptError("a mark of an index is no number")
    return numbers


def write_marks(connection: apsw.Connection, **marks: int) -> None:
    """Set entries of the ``meta`` table, in the transaction under way."""
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(marks.items()))


def read_segment(segment: SegmentFile, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
    """Rows of a query on a segment; raises :class:`SegmentUnreadable`."""
    try:
        return segment.connection().execute(sql, parameters).fetchall()
    except apsw.Error as error:
        raise SegmentUnreadable(f"{segment.path.name}: {error}") from error


def newest(segment: SegmentFile) -> tuple[int, int]:
    """Id and number of the newest message of a segment, zeros when it has none; a matter of microseconds."""
    rows = read_segment(segment, "SELECT id, seq FROM message ORDER BY id DESC LIMIT 1")
    return (rows[0][0], rows[0][1]) if rows else (0, 0)
