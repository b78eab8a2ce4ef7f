"""Files outside the database: written as a stream, read in any part, sealed piece by piece where the store is encrypted.

A sealed file is a header and pieces of 64 KB, the last one shorter (or empty), each with its tag. The nonce of a piece is a random
prefix of the file, the number of the piece and whether it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and
Vizár, 2015): pieces can't be left out, repeated, reordered or cut off, not even whole ones at the end. The key is derived from
a data key for this file alone; the header and what the file is for are authenticated with every piece.

Header: magic ``TQF1``, form 1 byte, version of the data key 4, salt 16, nonce prefix 7, numbers big-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hub.errors import StoreCorrupt
from hub.i18n import t
from hub.store.files import sync_folder
from hub.store.sealer import Aead, Sealer, no_keys, not_authentic, tampered

__all__ = ["PIECE", "FileReader", "FileWriter", "sealed_size"]

#: Plain bytes of a piece.
PIECE = 64 << 10
_MAGIC = b"TQF1"
_HEAD = struct.Struct(">4sBI16s7s")
_TAG = 16
_LAST = b"\1"
_MORE = b"\0"
_MOST = 1 << 32


def sealed_size(raw_size: int) -> int:
    """Plain bytes in a sealed file of so many bytes; -1 when none can have this size."""
    pieces, rest = divmod(raw_size - _HEAD.size, PIECE + _TAG)
    if rest == 0 and pieces:  # the last piece is full
        pieces, rest = pieces - 1, PIECE + _TAG
    return pieces * PIECE + rest - _TAG if pieces >= 0 and rest >= _TAG else -1


class FileWriter:
    """A file being written. It appears under its name, complete and on the disk, with :meth:`finish`, or never.

    ``place``: what the file is for; it opens only for that. ``sealer`` None: written as it is. Raises ``OSError``.
    """

    def __init__(self, path: Path, sealer: Sealer | None, place: bytes) -> None:
        self.path = path
        self.size = 0  # plain bytes written
        self._making = path.with_name(f"{path.name}.{os.urandom(4).hex()}.part")
        self._cipher: Aead | None = None
        self._held = bytearray()
        self._number = 0
        head = b""
        if sealer is not None:
            salt, prefix = os.urandom(16), os.urandom(7)
            form, version = sealer.suite.form, sealer.version
            self._cipher, self._prefix = sealer.file_key(form, version, salt), prefix
            head = _HEAD.pack(_MAGIC, form, version, salt, prefix)
            self._context = head + place
        self._file: BinaryIO | None = open(  # noqa: SIM115 - closed by finish or discard
            os.open(self._making, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb", buffering=0
        )
        try:
            self._put(head)
        except BaseException:
            self.discard()
            raise

    def write(self, data: bytes | memoryview) -> int:
        """Append; what does not fill a piece is held back."""
        self.size += len(data)
        if self._cipher is None:
            self._put(data)
            return len(data)
        held = self._held
        held += data
        if len(held) > PIECE:  # one piece at least is held back: the last one must be known as such
            view = memoryview(bytes(held))
            at = 0
            while len(view) - at > PIECE:
                self._seal(view[at : at + PIECE], _MORE)
                at += PIECE
            self._held = bytearray(view[at:])
        return len(data)

    def finish(self, *, sync: bool = True) -> None:
        """Put the complete file in its place; ``sync`` False: the caller makes its name durable (:func:`sync_folder`)."""
        file = self._file
        assert file is not None  # noqa: S101 - finished or discarded before
        try:
            if self._cipher is not None:
                self._seal(memoryview(bytes(self._held)), _LAST)
            os.fsync(file.fileno())
            file.close()
            self._file = None
            os.replace(self._making, self.path)
            if sync:
                sync_folder(self.path.parent)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Leave nothing behind; harmless after :meth:`finish`."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._making.unlink(missing_ok=True)

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, *reason: object) -> None:
        self.discard()

    def _put(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        assert self._file is not None  # noqa: S101 - finished or discarded before
        while view:
            view = view[self._file.write(view) or 0 :]

    def _seal(self, piece: memoryview, last: bytes) -> None:
        assert self._cipher is not None  # noqa: S101 - checked by the callers
        if self._number >= _MOST:
            raise OSError("the file has too many pieces")
        nonce = self._prefix + self._number.to_bytes(4, "big") + last
        self._put(self._cipher.encrypt(nonce, bytes(piece), self._context))
        self._number += 1


class FileReader:
    """A complete file for reading from any place.

    Raises ``FileNotFoundError``, :class:`StoreCorrupt` for what was altered or cut off, and :class:`~hub.errors.HubError` without
    the key. ``sealed`` says what it must be: a sealed file can't be passed off as a plain one, nor the other way round.
    """

    def __init__(self, path: Path, sealer: Sealer | None, place: bytes, *, sealed: bool) -> None:
        self.path = path
        self._at = 0
        self._piece = (-1, b"")
        self._cipher: Aead | None = None
        self._file = path.open("rb", buffering=0)
        try:
            raw_size = os.fstat(self._file.fileno()).st_size
            self.size = self._begin(raw_size, sealer, place) if sealed else raw_size  #: plain bytes
        except BaseException:
            self._file.close()
            raise

    def _begin(self, raw_size: int, sealer: Sealer | None, place: bytes) -> int:
        if sealer is None:
            raise no_keys(self.path.name)
        head = self._file.read(_HEAD.size)
        try:
            magic, form, version, salt, self._prefix = _HEAD.unpack(head)
            if magic != _MAGIC:
                raise KeyError(magic)
            self._cipher = sealer.file_key(form, version, salt)
        except (struct.error, KeyError) as error:
            raise tampered(self.path.name) from error
        self._context = head + place
        size = sealed_size(raw_size)
        if size < 0:
            raise tampered(self.path.name)
        self._last = max(size - 1, 0) // PIECE
        return size

    def seek(self, at: int) -> None:
        """Go on reading at this byte."""
        self._at = max(0, at)

    def read(self, count: int = -1) -> bytes:
        """Up to ``count`` bytes, fewer only at the end; -1: everything that is left."""
        end = self.size if count < 0 else min(self.size, self._at + count)
        if end <= self._at:
            if self._cipher is not None and self._at >= self.size:
                self._open(self._last)  # the end is an end only if it opens as one
            return b""
        if self._cipher is None:
            self._file.seek(self._at)
            data = self._exactly(end - self._at)
        else:
            first, last = self._at // PIECE, (end - 1) // PIECE
            data = b"".join([self._open(number) for number in range(first, last + 1)])
            data = data[self._at - first * PIECE : end - first * PIECE]
        self._at = end
        return data

    def pieces(self, size: int = PIECE) -> Iterator[bytes]:
        """Everything that is left, piece by piece."""
        while piece := self.read(size):
            yield piece

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> FileReader:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def _open(self, number: int) -> bytes:
        if self._piece[0] == number:
            return self._piece[1]
        assert self._cipher is not None  # noqa: S101 - checked by the callers
        last = number == self._last
        self._file.seek(_HEAD.size + number * (PIECE + _TAG))
        length = self.size - number * PIECE + _TAG if last else PIECE + _TAG
        nonce = self._prefix + number.to_bytes(4, "big") + (_LAST if last else _MORE)
        try:
            plain = self._cipher.decrypt(nonce, self._exactly(length), self._context)
        except not_authentic() as error:
            raise tampered(self.path.name) from error
        self._piece = (number, plain)
        return plain

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            part = self._file.read(count)
            if not part:
                raise StoreCorrupt(
                    t(f"{self.path.name}: the file ends too early", f"{self.path.name}：文件提前结束"),
                    remedy=t("restore it from the last backup", "请用最近的备份恢复"),
                )
            parts.append(part)
            count -= len(part)
        return b"".join(parts)
