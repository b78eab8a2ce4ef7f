"""Segment files of a worker's folder, and read-only connections to them.

Names and contents of the files are described in :mod:`hub.store.schema`.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw

from hub.ids import id_text, parse_id
from hub.store.sealer import no_keys
from hub.store.sql import all_rows, scalar
from hub.store.values import LASTING_KEY, Values

__all__ = ["CATALOG_NAME", "Connections", "SegmentFile", "list_segments", "open_read_only", "segment_path"]

CATALOG_NAME = "catalog.db"
_PREFIX = "segment-"
_BUSY_MS = 5_000
_KEPT_OPEN = 64  # connections per reading thread


def segment_path(folder: Path, first_id: int) -> Path:
    """Where the segment that begins with ``first_id`` is kept."""
    return folder / f"{_PREFIX}{id_text(first_id)}.db"


def open_read_only(path: Path, vfs: str = "") -> apsw.Connection:
    """A read-only connection; raises ``apsw.Error`` when the file is missing or no database.

    A reader that may not write to the folder can't share a WAL file with the hub. When there is none to share (the hub
    was closed in an orderly way), the file is opened as immutable instead. ``vfs``: the one of a sealed file.
    """
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    uri = path.resolve().as_uri()
    connection = apsw.Connection(uri, flags=flags, vfs=vfs or None)
    try:
        connection.set_busy_timeout(_BUSY_MS)
        if vfs:
            connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        connection.close()
        wal = path.with_name(path.name + "-wal")
        if not path.exists() or (wal.exists() and wal.stat().st_size):
            raise
        connection = apsw.Connection(uri + "?immutable=1", flags=flags, vfs=vfs or None)
    except apsw.Error:
        connection.close()
        raise
    return connection


class Connections:
    """Read-only connections, one per thread and file, opened when first asked for.

    A thread keeps the ones it used last; an evicted one is closed when its last user lets go of it.
    """

    def __init__(self, keep: int = _KEPT_OPEN, values: Values | None = None) -> None:
        self._keep = keep
        self._values = values
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()
        self._generation = 0

    def get(self, path: Path) -> apsw.Connection:
        """The calling thread's connection to ``path``; raises ``apsw.Error`` when it can't be opened."""
        cache: OrderedDict[Path, apsw.Connection] | None = getattr(self._local, "cache", None)
        if cache is None or self._local.generation != self._generation:
            cache = self._local.cache = OrderedDict()
            self._local.generation = self._generation
        found = cache.get(path)
        if found is not None:
            cache.move_to_end(path)
            return found
        connection = open_read_only(path)
        connection.create_scalar_function("opened", _opener(weakref.ref(self)), 3, deterministic=True)
        with self._lock:
            self._all.add(connection)
        cache[path] = connection
        if len(cache) > self._keep:
            cache.popitem(last=False)
        return connection

    def values(self, folder: Path) -> Values:
        """How the values of the folder's rows are read."""
        if self._values is None:
            self._values = Values(folder)
        values = self._values
        if values.lasting is None:
            this = weakref.ref(self)  # connections close when the last user lets go, not when the collector comes by

            def lasting() -> bytes | None:
                connections = this()
                return None if connections is None else connections._lasting(folder)

            values.lasting = lasting
        return values

    def _lasting(self, folder: Path) -> bytes | None:
        path = folder / CATALOG_NAME
        if not path.exists():
            return None
        found: bytes | None = scalar(self.get(path), "SELECT value FROM meta WHERE key = ?", (LASTING_KEY,))
        return found

    def text(self, value: Any, place: str, row_id: int) -> str:
        """The text of a value that may be sealed."""
        if self._values is None:
            raise no_keys()
        return self._values.text(value, place.encode(), row_id)

    def close(self) -> None:
        """Close every connection of every thread; none may be in use."""
        with self._lock:
            self._generation += 1
            for connection in list(self._all):
                connection.close()
            self._all = weakref.WeakSet()


def _opener(connections: weakref.ref[Connections]) -> Callable[..., str]:
    """The SQL function ``opened(place, id, value)``. Held by SQLite, so it must not hold what holds the connection."""

    def opened(*arguments: Any) -> str:
        place, row_id, value = arguments
        if isinstance(value, str):
            return value
        owner = connections()
        if owner is None:
            raise no_keys()
        return owner.text(value, place, row_id)

    return opened


class SegmentFile:
    """One segment for reading: its file, the ids it covers, and a connection for the calling thread."""

    __slots__ = ("_connections", "_names", "first_id", "last_id", "path")

    def __init__(self, path: Path, first_id: int, last_id: int | None, connections: Connections | None = None) -> None:
        self.path = path
        self.first_id = first_id
        self.last_id = last_id  #: highest id that may be in it; None for the newest, which is open-ended
        self._connections = connections or Connections()
        self._names: dict[int, str] = {}

    @property
    def keys_path(self) -> Path:
        """The business-key index of this segment; may be missing."""
        return self.path.with_name("keys-" + self.path.name.removeprefix(_PREFIX))

    @property
    def text_path(self) -> Path:
        """The free-text index of this segment; may be missing."""
        return self.path.with_name("text-" + self.path.name.removeprefix(_PREFIX))

    @property
    def values(self) -> Values:
        """How the values of its rows are read."""
        return self._connections.values(self.path.parent)

    def connection(self) -> apsw.Connection:
        """Read-only, for the calling thread only; raises ``apsw.Error`` when the file can't be opened."""
        return self._connections.get(self.path)

    def name(self, number: int) -> str:
        """The text of a name id; names are only ever added."""
        found = self._names.get(number)
        if found is None:
            self._names = dict(all_rows(self.connection(), "SELECT id, text FROM name"))
            found = self._names[number]
        return found

    def number(self, text: str) -> int | None:
        """The id of a name, None when nothing in this segment has it."""
        found: int | None = scalar(self.connection(), "SELECT id FROM name WHERE text = ?", (text,))
        return found

    def places(self, place: str) -> list[int]:
        """Name ids of ``system/interface``, or of every interface of ``system``."""
        if "/" in place:
            number = self.number(place)
            return [] if number is None else [number]
        # "0" follows "/" in ASCII, so this is the range of everything that begins with "<system>/".
        sql = "SELECT id FROM name WHERE text >= ? AND text < ?"
        return [number for (number,) in all_rows(self.connection(), sql, (f"{place}/", f"{place}0"))]

    def __repr__(self) -> str:
        return f"SegmentFile({self.path.name})"


def list_segments(folder: Path, connections: Connections | None = None) -> Sequence[SegmentFile]:
    """The segments of a folder, oldest first. Files with another name are ignored."""
    firsts: list[int] = []
    for path in folder.glob(f"{_PREFIX}*.db"):
        try:
            firsts.append(parse_id(path.stem.removeprefix(_PREFIX)))
        except ValueError:
            continue
    firsts.sort()
    shared = connections or Connections()
    lasts: list[int | None] = [first - 1 for first in firsts[1:]]
    return [
        SegmentFile(segment_path(folder, first), first, last, shared)
        for first, last in zip(firsts, [*lasts, None], strict=False)
    ]
