"""Bodies too large for a row: each a file of its own that the row refers to (a claim check).

``bodies/<ID of the segment>/<two hex digits>/<name>`` in the folder of the worker. A file is complete and on the disk, and so is its name, before
the commit that refers to it; it is deleted after the commit that removed the row. What a crash leaves in between is a file
nobody refers to: found and deleted when the store is opened next.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import apsw

from hub.errors import StoreCorrupt
from hub.i18n import t
from hub.ids import id_text, parse_id
from hub.store.files import sync_folder
from hub.store.sealed_file import FileReader, FileWriter
from hub.store.sealer import Sealer

__all__ = ["BODIES", "BodyFolder", "BodyMissing", "Claims", "place_of"]

log = logging.getLogger(__name__)

BODIES = "bodies"
_MEASURE_S = 60.0
_reference = re.compile(rb"([0-9A-Z]{13}/[0-9a-f]{2}/[0-9A-Za-z]{13}-[0-9a-f]{16}) ([0-9]{1,15})")
_REFERRED = (
    "SELECT raw FROM payload WHERE id = ?1 AND form & 2",
    "SELECT payload FROM fixed WHERE id = ?1 AND form & 2",
    "SELECT request FROM body WHERE id = ?1 AND forms & 2",
    "SELECT response FROM body WHERE id = ?1 AND forms & 8",
)
_ALL_REFERRED = tuple(sql.replace("id = ?1 AND ", "") for sql in _REFERRED)


class BodyMissing(StoreCorrupt):
    """The file a row refers to is not there."""


def place_of(place: bytes, row_id: int) -> bytes:
    """What a file is for, as it is authenticated."""
    return place + row_id.to_bytes(8, "big")


class BodyFolder:
    """The body files of one worker's folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / BODIES
        self._made: set[Path] = set()
        self._measured = (-_MEASURE_S, 0)

    def of_segment(self, first_id: int) -> Path:
        return self.root / id_text(first_id)

    def new(self, first_id: int, row_id: int) -> Path:
        """A free name in the folder of a segment, which exists then."""
        name = os.urandom(8).hex()
        shard = self.of_segment(first_id) / name[:2]
        if shard not in self._made:
            shard.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (shard.parent, self.root, self.root.parent):
                sync_folder(folder)
            self._made.add(shard)
        return shard / f"{id_text(row_id)}-{name}"

    def reference(self, path: Path, size: int) -> bytes:
        """What the row keeps of a file."""
        return f"{path.relative_to(self.root).as_posix()} {size}".encode()

    def path_of(self, reference: bytes) -> Path:
        """Where the file of a reference is. Raises :class:`StoreCorrupt` for what is no reference."""
        return self._parse(reference)[0]

    def _parse(self, reference: bytes) -> tuple[Path, int]:
        found = _reference.fullmatch(reference)
        if found is None:
            raise StoreCorrupt(
                t("a row refers to a body file by a name that is none", "某行引用的正文文件名无效"),
                remedy=t("restore the folder from the last backup", "请用最近的备份恢复该目录"),
            )
        return self.root / found[1].decode(), int(found[2])

    def open(self, reference: bytes, place: bytes, sealer: Sealer | None, *, sealed: bool) -> FileReader:
        """The file for reading. Raises :class:`BodyMissing` and what :class:`FileReader` raises."""
        path, size = self._parse(reference)
        try:
            file = FileReader(path, sealer, place, sealed=sealed)
        except FileNotFoundError:
            raise BodyMissing(
                t(f"the body file {path.name} is missing ({path})", f"正文文件 {path.name} 缺失（{path}）"),
                remedy=t("restore it from the last backup", "请用最近的备份恢复"),
            ) from None
        if file.size != size:
            file.close()
            raise StoreCorrupt(
                t(
                    f"the body file {path.name} has {file.size} bytes instead of {size} ({path})",
                    f"正文文件 {path.name} 应有 {size} 字节，实为 {file.size} 字节（{path}）",
                ),
                remedy=t("restore it from the last backup", "请用最近的备份恢复"),
            )
        return file

    # -- housekeeping ----------------------------------------------------------------------------------------------

    def remove_segment(self, first_id: int) -> int:
        """Delete the files of a segment that is gone; returns the bytes freed."""
        folder = self.of_segment(first_id)
        size = sum(_size(path) for path in folder.glob("??/*"))
        shutil.rmtree(folder, ignore_errors=True)
        self._made = {shard for shard in self._made if shard.parent != folder}
        return size

    def size(self) -> int:
        """Bytes of all files, looked up once a minute."""
        measured = self._measured
        now = time.monotonic()
        if now - measured[0] >= _MEASURE_S:
            measured = self._measured = (now, sum(_size(path) for path in self.root.glob("*/??/*")))
        return measured[1]

    def missing(self, connection: apsw.Connection) -> Iterator[str]:
        """Names of files the rows of a segment refer to that are not there, or not a file of the hub's."""
        for sql in _ALL_REFERRED:
            for (reference,) in connection.execute(sql):
                try:
                    path = self.path_of(reference)
                except StoreCorrupt as error:
                    yield error.text
                    continue
                if not path.is_file():
                    yield path.name

    def sweep(self, first_id: int, connection: apsw.Connection) -> int:
        """Delete the files of a segment its rows don't refer to; nothing may be written meanwhile. Returns their number."""
        count = 0
        for path in self._files(first_id):
            if not self._referred(path, connection):
                path.unlink(missing_ok=True)
                count += 1
        if count:
            log.warning("%d body files that belong to no row were deleted", count)
        return count

    def known(self) -> list[str]:
        """Names of the segments that have files."""
        with suppress(FileNotFoundError):
            return sorted(path.name for path in self.root.iterdir())
        return []

    def _files(self, first_id: int) -> Iterator[Path]:
        for shard in self.of_segment(first_id).glob("??"):
            yield from shard.iterdir()

    def _referred(self, path: Path, connection: apsw.Connection) -> bool:
        relative = path.relative_to(self.root).as_posix().encode() + b" "
        try:
            row_id = parse_id(path.name.partition("-")[0])
        except ValueError:
            return False
        for sql in _REFERRED:
            for (reference,) in connection.execute(sql, (row_id,)):
                if isinstance(reference, bytes) and reference.startswith(relative):
                    return True
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Claims:
    """The body files one transaction on a segment makes and gives up; used by the writer's thread only."""

    def __init__(self, bodies: BodyFolder, first_id: int) -> None:
        self._bodies = bodies
        self._first_id = first_id
        self._made: list[Path] = []
        self._gone: list[Path] = []
        self.doubtful = False  # whether the files made belong to rows is known only when the segment is opened anew

    def store(self, data: bytes, place: bytes, row_id: int, sealer: Sealer | None) -> bytes:
        """Write a file that is complete and on the disk, though perhaps not its name; returns the reference."""
        path = self._bodies.new(self._first_id, row_id)
        with FileWriter(path, sealer, place_of(place, row_id)) as file:
            file.write(data)
            file.finish(sync=False)
        self._made.append(path)
        return self._bodies.reference(path, len(data))

    def give_up(self, reference: bytes) -> None:
        """Delete a file once the transaction that removes its row is on the disk."""
        self._gone.append(self._bodies.path_of(reference))

    @property
    def state(self) -> tuple[int, int]:
        """How many files the transaction has made and given up, for :meth:`undo`."""
        return len(self._made), len(self._gone)

    def sync(self) -> None:
        """Right before the commit: make the names durable. A commit that fails from here on may have reached the disk."""
        for folder in {path.parent for path in self._made}:
            sync_folder(folder)
        self.doubtful = bool(self._made)

    def committed(self) -> None:
        if self._made:
            self._made.clear()
            self.doubtful = False
        for path in self._gone:
            with suppress(OSError):  # found again when the store is opened next
                path.unlink(missing_ok=True)
        self._gone.clear()

    def undo(self, state: tuple[int, int] = (0, 0)) -> None:
        """Delete what was made since ``state``; what was given up since then stays."""
        made, gone = state
        if not self.doubtful:
            for path in self._made[made:]:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        del self._made[made:]
        del self._gone[gone:]
