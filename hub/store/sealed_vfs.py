"""SQLite files that are sealed as a whole: the search indexes of an encrypted store.

A virtual file system below SQLite (sqlite.org/vfs.html) that seals what SQLite writes, unit by unit, and checks and opens what it reads.
So words, prefixes and parts of names are found as in a plain index, and no word or value is in the file. A unit is a page of the database or,
in the write-ahead log, its header, the header of a frame, or the page of a frame (file format 4.1): always what SQLite writes in one piece. Unit
number and kind of file are authenticated, and the key belongs to one file name; only an earlier state of the same unit would pass, and
what an index says is compared with the rows.

Only files that can be built again are kept this way. Connections use ``locking_mode = NORMAL``, no memory mapping, pages of
:data:`PAGE` bytes, a write-ahead log, and temporary tables in memory.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import apsw

from hub.store.sealer import Aead, Suite, not_authentic

__all__ = ["PAGE", "is_sealed", "vfs_of"]

PAGE = 4096
_NONCE, _TAG = 12, 16
_MORE = _NONCE + _TAG
_WAL_HEAD, _FRAME_HEAD = 32, 24
_FRAME = _FRAME_HEAD + PAGE
_WAL = "-wal"
#: A reader may meet a unit the writer is just writing: it looks again.
_TRIES = 20
_PLAIN = b"SQLite format 3\0"

_registered: dict[bytes, SealedVfs] = {}
_lock = threading.Lock()


def is_sealed(path: Path) -> bool | None:
    """Whether an index file is a sealed one; None when there is none, or an empty one."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_PLAIN))
    except FileNotFoundError:
        return None
    return head != _PLAIN if head else None


def vfs_of(key: bytes, suite: Suite) -> str:
    """The name of the VFS for an index key; made on first use."""
    with _lock:
        mark = suite.derive(key, b"tongqu.vfs")
        found = _registered.get(mark)
        if found is None:
            found = _registered[mark] = SealedVfs(f"tongqu-{mark[:8].hex()}", key, suite)
        return found.name


class SealedVfs(apsw.VFS):
    """All sealed files of one store."""

    def __init__(self, name: str, key: bytes, suite: Suite) -> None:
        self.name = name
        self._key = key
        self._suite = suite
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        if text is None or not flags[0] & (apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL):
            raise apsw.CantOpenError("a sealed index has no journal and no temporary file")
        wal = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        # An index is made under another name (hub.store.derived): the key is that of the name without its ending.
        base = os.path.basename(text.removesuffix(_WAL) if wal else text).rpartition(".")[0]
        cipher = self._suite.aead(self._suite.derive(self._key, b"tongqu.index" + base.encode()))
        return SealedFile(name, flags, cipher, wal)


class SealedFile(apsw.VFSFile):
    """One database or write-ahead log."""

    def __init__(self, name: Any, flags: list[int], cipher: Aead, wal: bool) -> None:
        super().__init__("", name, flags)
        self._cipher = cipher
        self._wal = wal
        self._read_only = bool(flags[0] & apsw.SQLITE_OPEN_READONLY)
        self._kind = b"wal" if wal else b"page"

    # -- units -----------------------------------------------------------------------------------------------------

    def _unit(self, at: int) -> tuple[int, int, int]:
        """(number, first byte, length) of the unit a byte is in."""
        if not self._wal:
            number = at // PAGE
            return number, number * PAGE, PAGE
        if at < _WAL_HEAD:
            return 0, 0, _WAL_HEAD
        frame, within = divmod(at - _WAL_HEAD, _FRAME)
        first = _WAL_HEAD + frame * _FRAME
        if within < _FRAME_HEAD:
            return 1 + 2 * frame, first, _FRAME_HEAD
        return 2 + 2 * frame, first + _FRAME_HEAD, PAGE

    def _read_unit(self, number: int, first: int, length: int) -> bytes | None:
        """The plain bytes; None when the file ends before."""
        place = first + number * _MORE
        for left in range(_TRIES - 1, -1, -1):
            try:
                sealed = super().xRead(length + _MORE, place)
            except apsw.IOError:
                sealed = b""
            if len(sealed) < length + _MORE:
                return None
            try:
                return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], self._kind + number.to_bytes(8, "big"))
            except not_authentic():
                if not left:
                    raise apsw.CorruptError("a sealed index was altered, or its key is another") from None
        return None

    def _write_unit(self, number: int, first: int, data: bytes) -> None:
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, data, self._kind + number.to_bytes(8, "big"))
        super().xWrite(sealed, first + number * _MORE)

    def xLock(self, level: int) -> None:
        """Closing a file that is open for reading SQLite asks for a lock it can't have; the answer is no, not an error."""
        if self._read_only and level > apsw.SQLITE_LOCK_SHARED:
            raise apsw.BusyError("open for reading only")
        super().xLock(level)

    # -- what SQLite calls -----------------------------------------------------------------------------------------

    def xRead(self, amount: int, offset: int) -> bytes:
        parts = []
        end = offset + amount
        while offset < end:
            number, first, length = self._unit(offset)
            plain = self._read_unit(number, first, length)
            if plain is None:
                break
            part = plain[offset - first : end - first]
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def xWrite(self, data: bytes, offset: int) -> None:
        at = 0
        while at < len(data):
            number, first, length = self._unit(offset + at)
            begin = offset + at - first
            part = data[at : at + length - begin]
            if len(part) < length:  # never done by SQLite to a page; a header may be rewritten in part
                old = self._read_unit(number, first, length) or bytes(length)
                unit = old[:begin] + part + old[begin + len(part) :]
            else:
                unit = part
            self._write_unit(number, first, unit)
            at += len(part)

    def xFileSize(self) -> int:
        size = super().xFileSize()
        if not self._wal:
            return size // (PAGE + _MORE) * PAGE
        if size < _WAL_HEAD + _MORE:
            return 0
        frames, rest = divmod(size - _WAL_HEAD - _MORE, _FRAME + 2 * _MORE)
        return _WAL_HEAD + frames * _FRAME + (_FRAME_HEAD if rest >= _FRAME_HEAD + _MORE else 0)

    def xTruncate(self, size: int) -> None:
        if size:
            number, first, length = self._unit(size - 1)
            size = first + length + (number + 1) * _MORE
        super().xTruncate(size)
