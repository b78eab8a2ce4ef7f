"""The files large objects are kept in: written as a stream, read in any part, deleted. Nothing else touches their bytes.

Sizes and places are those of the plain bytes of an object, whatever the file looks like.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

__all__ = ["ObjectReader", "ObjectWriter", "delete", "made_before", "plain_size", "sync_folder"]

_CHUNK = 1 << 20


class ObjectWriter:
    """A file that is being written. With :meth:`finish` it has its name, complete and on the disk (fsync), or it never has.

    Every method raises ``OSError``; not safe for several threads at once.
    """

    def __init__(self, folder: Path) -> None:
        """``folder``: where it stands until it is complete, on the same file system as its place."""
        self._path = folder / os.urandom(12).hex()
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.size = 0  # bytes written

    def write(self, piece: bytes | memoryview) -> None:
        view = memoryview(piece)
        self.size += len(view)
        while view:
            view = view[os.write(self._file, view) :]

    @contextmanager
    def view(self) -> Iterator[bytes]:
        """What was written, to be looked at like ``bytes``; it is not held in memory. There must be something."""
        with mmap.mmap(self._file, self.size, access=mmap.ACCESS_READ) as content:
            yield cast(bytes, content)

    def finish(self, target: Path) -> None:
        """Give it its name; the folder of that is there. Its content must be no other than that of a file with this name."""
        if plain_size(target) == self.size:  # it came before
            os.utime(target)
            return self.discard()
        os.fsync(self._file)
        os.replace(self._path, target)
        sync_folder(target.parent)
        self._close()

    def discard(self) -> None:
        """Leave nothing behind; harmless after :meth:`finish`."""
        if self._file >= 0:
            self._close()
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        os.close(self._file)
        self._file = -1


class ObjectReader:
    """A complete file. Raises ``OSError``, also when the file is gone."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    def at(self, start: int, count: int) -> bytes:
        """So many bytes from a place on; fewer only where the file ends."""
        held: list[bytes] = []
        while count:
            piece = os.pread(self._file.fileno(), count, start)
            if not piece:
                break
            held.append(piece)
            start, count = start + len(piece), count - len(piece)
        return b"".join(held)

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
        """All of it, to be looked at like ``bytes``; it is not held in memory."""
        with mmap.mmap(self._file.fileno(), self.size, access=mmap.ACCESS_READ) as content:
            yield cast(bytes, content)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


def plain_size(path: Path) -> int:
    """Bytes of the object in a file; -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


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
