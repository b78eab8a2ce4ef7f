"""What is in a file: itself, what gzip packed, or the members of a zip archive; with limits on how much may come out."""

from __future__ import annotations

import asyncio
import io
import zlib
from abc import ABC, abstractmethod

from adapters.files.backend import BLOCK, Backend, Content, Entry
from hub.api import CodecError
from hub.codecs.archive import ALWAYS_ALLOWED, GZIP, MAX_RATIO, MAX_UNPACKED, check_zip, entry_name, read_entry
from hub.i18n import t

__all__ = ["Package", "unpack"]


class Package(ABC):
    """A file as one or more streams of bytes; ``members`` has their names, "" for the file itself."""

    members: list[str]

    @abstractmethod
    async def open(self, index: int, offset: int) -> Content:
        """Read a member from a byte on."""


async def unpack(backend: Backend, entry: Entry, how: str, limit: int) -> Package:
    """``how``: no, gzip, zip or auto; raises :class:`CodecError` for an archive that can't or must not be unpacked."""
    ending = entry.name.lower()
    if how == "gzip" or (how == "auto" and ending.endswith((".gz", ".gzip"))):
        return _Gzip(backend, entry, limit)
    if how == "zip" or (how == "auto" and ending.endswith(".zip")):
        return await _zip(backend, entry)
    return _Plain(backend, entry)


class _Plain(Package):
    def __init__(self, backend: Backend, entry: Entry) -> None:
        self.members = [""]
        self._backend, self._path = backend, entry.path

    async def open(self, index: int, offset: int) -> Content:
        return await self._backend.read(self._path, offset)


class _Gzip(Package):
    def __init__(self, backend: Backend, entry: Entry, limit: int) -> None:
        self.members = [""]
        self._backend, self._path = backend, entry.path
        self._limit = limit

    async def open(self, index: int, offset: int) -> Content:
        content = _Inflated(await self._backend.read(self._path), self._limit)
        while offset:
            # There is no way into the middle of it: what was read before is unpacked once more.
            skipped = await content.read(min(offset, BLOCK))
            if not skipped:
                break
            offset -= len(skipped)
        return content


class _Inflated(Content):
    """Members one after the other are one (RFC 1952, 2.2)."""

    def __init__(self, packed: Content, limit: int) -> None:
        self._packed, self._limit = packed, limit
        self._stream = zlib.decompressobj(GZIP)
        self._input = b""
        self._taken = self._given = 0
        self._begun = False  # in the middle of a member

    async def read(self, size: int) -> bytes:
        while True:
            if not self._input:
                self._input = await self._packed.read(BLOCK)
                self._taken += len(self._input)
                if not self._input:
                    if self._begun or not self._taken:
                        raise _damaged(t("its end is missing", "数据不完整"))
                    return b""
            if not self._begun and self._given and not self._input.strip(b"\0"):
                self._input = b""  # zeros fill the last block of some tools
                continue
            self._begun = True
            try:
                part = self._stream.decompress(self._input, size)
            except zlib.error as error:
                raise _damaged(t("not gzip, or damaged", "不是 gzip，或已损坏")) from error
            self._input = self._stream.unconsumed_tail
            if self._stream.eof:
                self._input = self._stream.unused_data
                self._stream, self._begun = zlib.decompressobj(GZIP), False
            self._given += len(part)
            if self._given > min(self._limit, max(ALWAYS_ALLOWED, self._taken * MAX_RATIO)):
                raise CodecError(
                    t("unpacks to more than is allowed", "解压后超过允许的大小"),
                    code="file.unpacked",
                    remedy=t("send smaller files, or raise max_unpacked", "请减小文件，或调大 max_unpacked"),
                )
            if part:
                return part

    async def close(self) -> None:
        await self._packed.close()


class _Zip(Package):
    def __init__(self, raw: bytes) -> None:
        self._archive = check_zip(raw, "file.zip")
        self._infos = [info for info in self._archive.infolist() if not info.is_dir()]
        self.members = [entry_name(info) for info in self._infos]

    async def open(self, index: int, offset: int) -> Content:
        return _Bytes(await asyncio.to_thread(read_entry, self._archive, self._infos[index], "file.zip"), offset)


class _Bytes(Content):
    def __init__(self, raw: bytes, offset: int) -> None:
        self._stream = io.BytesIO(raw)
        self._stream.seek(offset)

    async def read(self, size: int) -> bytes:
        return self._stream.read(size)

    async def close(self) -> None:
        self._stream.close()


async def _zip(backend: Backend, entry: Entry) -> Package:
    """Its directory stands at the end, so an archive is read as a whole, up to a limit."""
    too_large = CodecError(
        t(f"an archive of more than {MAX_UNPACKED >> 20} MB", f"压缩包超过 {MAX_UNPACKED >> 20} MB"),
        code="file.zip",
        remedy=t("send less in one archive", "请减少单个压缩包的内容"),
    )
    if entry.size > MAX_UNPACKED:
        raise too_large
    parts: list[bytes] = []
    size = 0
    content = await backend.read(entry.path)
    try:
        while part := await content.read(BLOCK):
            size += len(part)
            if size > MAX_UNPACKED:
                raise too_large
            parts.append(part)
    finally:
        await content.close()
    return await asyncio.to_thread(_Zip, b"".join(parts))


def _damaged(text: str) -> CodecError:
    return CodecError(text, code="file.gzip")
