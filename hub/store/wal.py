"""Commits the disk can't deny later: the WAL has its room before they come, so that they only overwrite.

Where a file grows, ``fdatasync`` depends on the file system's own journal noting the new size, and ext4 may say that all is well when it is not:
it looks whether the journal has failed only as the call begins (``ext4_sync_file``), and later takes a transaction that is no longer
under way for one that was committed (``jbd2_complete_transaction``). A file system that finds itself damaged in between loses the bytes of a commit that
was reported as done; with the WAL growing by every commit this was so for every tenth such fault (Linux 6.18). Overwriting needs no
journal, and takes half the time.

So zeros are written ahead of the commits (SQLite takes what follows the last valid frame for the end; SQLite file format 4.3), and whatever has
to grow is *proven*: something that needs the journal is done after the fsync. As a journal that has failed does not come back, one that works
then has worked until then.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import apsw

from hub.i18n import t

__all__ = ["MAKING", "WalRoom", "prove"]

#: What the name of a file begins with while it is being made.
MAKING = "making-"
#: A checkpoint after 32 MB of WAL: more makes the pause it causes longer, less makes it too frequent.
CHECKPOINT_PAGES = 4000
_HEADER, _FRAME_HEADER = 32, 24  # bytes: SQLite file format 4.1
#: The room that is left when more is made, and how much more: as much as there is, within these bounds.
_AHEAD = 128 << 10
_LEAST, _MOST = 256 << 10, 1 << 20


def prove(folder: Path) -> None:
    """Raise ``OSError`` unless the file system still takes changes, so that what was synced before is there to stay."""
    proof = folder / f"{MAKING}{threading.get_ident()}.db"
    os.close(os.open(proof, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    proof.unlink()


class WalRoom:
    """The WAL of one connection that writes; no other may write to the file at the same time."""

    __slots__ = ("_frame", "_path", "_safe")

    def __init__(self, database: Path, page_size: int) -> None:
        self._path = database.with_name(database.name + "-wal")
        self._frame = _FRAME_HEADER + page_size
        self._safe = 0  # bytes that are known to have their place on the disk

    def committed(self, connection: apsw.Connection, _: str, pages: int) -> int:
        """The connection's hook after each commit. The statement fails with ``apsw.IOError`` when the commit may be gone later."""
        end = _HEADER + pages * self._frame
        try:
            # It may have been cut since; the number of pages does not tell. A stat costs a thousandth of the fsync before.
            self._safe = min(self._safe, self._path.stat().st_size)
            if end + _AHEAD > self._safe:
                self._extend(end)
        except OSError as error:
            if end > self._safe:
                raise _doubtful(error) from error
        if pages >= CHECKPOINT_PAGES:
            self._checkpoint(connection)
        return apsw.SQLITE_OK

    def _extend(self, end: int) -> None:
        target = end + min(max(end, _LEAST), _MOST)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            size = max(end, os.fstat(descriptor).st_size)
            while size < target:
                size += os.pwrite(descriptor, bytes(target - size), size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        prove(self._path.parent)
        self._safe = size

    def _checkpoint(self, connection: apsw.Connection) -> None:
        """Bring the WAL into the database. The next commit may overwrite it, so the database must have grown for certain."""
        with suppress(apsw.Error):  # tried again after the next commit, as SQLite itself does
            pages, done = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            if done < pages:
                return
        try:
            prove(self._path.parent)
        except OSError as error:
            raise _doubtful(error) from error


def _doubtful(error: OSError) -> apsw.IOError:
    why = error.strerror
    return apsw.IOError(t(f"what was written may be gone: {why}", f"已写入的内容可能丢失：{why}"))
