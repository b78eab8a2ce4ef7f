"""The files large objects are kept in: written as a stream, read in any part, deleted. Nothing else touches their bytes.

Where the store is encrypted they are too (``….dcm.sealed``, see :mod:`hub.store.sealed_file`). Sizes and places are those of the plain
bytes of an object, whatever the file looks like.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from hub.api import FileReader, FileWriter, HubError, file_sealer, sealed_size
from hub.codecs.dicom_read import Sliced

__all__ = ["SEALED", "ObjectReader", "ObjectWriter", "delete", "made_before", "plain_size", "sync_folder"]

#: How the names of sealed files end.
SEALED = ".sealed"
_CHUNK = 1 << 20
#: What the files are for: one of the store can't be passed off as one of these.
_PLACE = b"dicom object"


class _Window(Sliced):
    """A sealed object, to be looked at by slices as ``bytes`` are; a piece at a time is opened."""

    def __init__(self, file: FileReader) -> None:
        self._file = file

    def __len__(self) -> int:
        return self._file.size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._file.size)
        self._file.seek(start)
        return self._file.read(max(0, stop - start))


class ObjectWriter:
    """A file that is being written. With :meth:`finish` it has its name, complete and on the disk (fsync), or it never has.

    Every method raises ``OSError``, and :class:`HubError` when there is no key to seal it with; not safe for several threads at once.
    """

    def __init__(self, folder: Path) -> None:
        """``folder``: where it stands until it is complete, on the same file system as its place."""
        found = file_sealer(folder)
        self._sealer = found if found is not None and found.sealing else None
        self.suffix = SEALED if self._sealer is not None else ""
        self._path = folder / (os.urandom(12).hex() + self.suffix)
        self._file: FileWriter | None = FileWriter(self._path, self._sealer, _PLACE)
        self.size = 0  # bytes written

    def write(self, piece: bytes | memoryview) -> None:
        if self._file is None:
            raise OSError("the object's file is complete")
        self.size += self._file.write(piece)

    @contextmanager
    def view(self) -> Iterator[bytes]:
        """What was written, to be looked at like ``bytes``; it is not held in memory. Nothing more can be written then."""
        self._complete()
        with ObjectReader(self._path) as file, file.view() as content:
            yield content

    def finish(self, target: Path) -> None:
        """Give it its name; the folder of that is there. Its content must be no other than that of a file with this name."""
        if plain_size(target) == self.size:  # it came before
            os.utime(target)
            return self.discard()
        self._complete()
        os.replace(self._path, target)
        sync_folder(target.parent)

    def discard(self) -> None:
        """Leave nothing behind; harmless after :meth:`finish`."""
        if self._file is not None:
            self._file.discard()
            self._file = None
        self._path.unlink(missing_ok=True)

    def _complete(self) -> None:
        if self._file is not None:
            self._file.finish(sync=False)
            self._file = None


class ObjectReader:
    """A complete file. Raises ``OSError``, also when the file is gone, was altered, or can't be opened without its key."""

    def __init__(self, path: Path) -> None:
        sealed = path.suffix == SEALED
        try:
            self._file = FileReader(path, file_sealer(path) if sealed else None, _PLACE, sealed=sealed)
        except HubError as error:
            raise OSError(error.text) from error
        self._plain = None if sealed else path.open("rb", buffering=0)
        self.size = self._file.size

    def at(self, start: int, count: int) -> bytes:
        """So many bytes from a place on; fewer only where the file ends."""
        if start >= self.size:
            return b""
        self._file.seek(start)
        try:
            return self._file.read(count)
        except HubError as error:
            raise OSError(error.text) from error

    def pieces(self, start: int = 0, count: int | None = None) -> Iterator[bytes]:
        """The same piece by piece; without ``count`` up to the end. ``OSError`` when the file ends too early."""
        left = self.size - start if count is None else count
        while left:
            piece = self.at(start, min(left, _CHUNK))
            if not piece:
                raise OSError("the object's file ends too early")
            start, left = start + len(piece), left - len(piece)
            yield piece

    @contextmanager
    def view(self) -> Iterator[bytes]:
        """All of it, to be looked at like ``bytes``; it is not held in memory. There must be something."""
        if self._plain is None:
            yield cast(bytes, _Window(self._file))
            return
        with mmap.mmap(self._plain.fileno(), self.size, access=mmap.ACCESS_READ) as content:
            yield cast(bytes, content)

    def close(self) -> None:
        self._file.close()
        if self._plain is not None:
            self._plain.close()

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


def plain_size(path: Path) -> int:
    """Bytes of the object in a file; -1 where there is none."""
    try:
        size = path.stat().st_size
    except OSError:
        return -1
    return sealed_size(size) if path.suffix == SEALED else size


def made_before(path: Path, limit: float) -> bool:
    """Whether a file was made, or came again, before this time (Unix seconds)."""
    with suppress(OSError):
        return path.stat().st_mtime < limit
    return False


def delete(path: Path) -> None:
    path.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Make new names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
