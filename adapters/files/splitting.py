"""Batch files cut into records while they are read; never more than a block and a record in memory.

Cutting looks at bytes. That is right for every character set in which a line end and a quotation mark are a byte of their own and no part
of another character: ASCII, UTF-8, GB 18030 with GBK and GB 2312, Big5; not UTF-16.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from hub.api import CodecError
from hub.i18n import t

__all__ = ["HL7", "Cut", "Lines", "Pieces", "Splitter", "Whole"]

_WIDE = (b"\xff\xfe", b"\xfe\xff")
_SEGMENT = re.compile(rb"(?:(?<=[\r\n\x0b])|\A)(?:\xef\xbb\xbf)?(FHS|BHS|MSH|BTS|FTS)(?=[^A-Za-z0-9\s])")
_BLANK = b"\r\n\x0b\x1c\x00 \t"
_LINE_END = re.compile(rb"[\r\n]")
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Cut:
    """One piece of a file."""

    raw: bytes
    end: int  # byte of the file behind it: where the next begins


class Splitter(ABC):
    """Fed with blocks in order. ``at`` is the byte of the file its first block begins at."""

    def __init__(self, limit: int, at: int = 0) -> None:
        self._limit = limit
        self._buffer = b""
        self._start = at  # byte of the file the buffer begins at

    def feed(self, block: bytes) -> Iterator[Cut]:
        """The pieces that are complete now; raises :class:`CodecError` when one is too long."""
        if not self._start and not self._buffer and block[:2] in _WIDE:
            raise CodecError(
                t("UTF-16 can't be split into records", "UTF-16 文件无法拆分为记录"),
                code="file.utf16",
                remedy=t("send it in UTF-8 or GB 18030", "请改用 UTF-8 或 GB 18030"),
            )
        self._buffer += block
        yield from self._cut(last=False)
        if len(self._buffer) > self._limit:
            raise self._too_long()

    def finish(self) -> Iterator[Cut]:
        """What is left at the end of the file."""
        yield from self._cut(last=True)

    @abstractmethod
    def _cut(self, *, last: bool) -> Iterator[Cut]: ...

    def _give(self, size: int) -> Cut:
        """The first bytes of the buffer as a piece."""
        raw, self._buffer = self._buffer[:size], self._buffer[size:]
        self._start += size
        return Cut(raw, self._start)

    def _too_long(self) -> CodecError:
        return CodecError(
            t(f"longer than {self._limit} bytes", f"超过 {self._limit} 字节"),
            place=t(f"byte {self._start}", f"第 {self._start} 字节"),
            code="file.record_size",
            remedy=t("a quotation mark may be missing; else raise the limit", "可能缺少引号；否则请调大上限"),
        )


class Whole(Splitter):
    """A file that is one message."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, block: bytes) -> Iterator[Cut]:
        self._parts.append(block)
        self._size += len(block)
        if self._size > self._limit:
            raise self._too_long()
        return iter(())

    def _cut(self, *, last: bool) -> Iterator[Cut]:
        yield Cut(b"".join(self._parts), self._size)


class Pieces(Splitter):
    """Records of one length without anything between them; line ends at the very end of the file are no record."""

    def __init__(self, length: int, at: int = 0) -> None:
        super().__init__(length, at)
        self._length = length

    def _cut(self, *, last: bool) -> Iterator[Cut]:
        length, buffer, begin = self._length, self._buffer, self._start
        whole = len(buffer) // length * length
        self._buffer, self._start = buffer[whole:], begin + whole
        for at in range(0, whole, length):
            yield Cut(buffer[at : at + length], begin + at + length)
        if last and self._buffer.strip(b"\r\n\x1a\0"):
            left = len(self._buffer)
            raise CodecError(
                t(f"{left} bytes are left, a record has {length}", f"剩余 {left} 字节，而每条记录为 {length} 字节"),
                place=t(f"byte {self._start}", f"第 {self._start} 字节"),
                code="file.record_length",
            )


class Lines(Splitter):
    """Lines; with ``quotes`` a line end between quotation marks is part of the record. Blank lines belong to the record after them."""

    def __init__(self, limit: int, *, quotes: bool, at: int = 0) -> None:
        super().__init__(limit, at)
        self._quotes = quotes
        self._scanned = 0  # bytes of the buffer that were looked at: no end of a record in them
        self._open = False  # whether they end between quotation marks

    def _cut(self, *, last: bool) -> Iterator[Cut]:
        buffer, begin = self._buffer, self._start
        at, scan, quoted = 0, self._scanned, self._open
        while True:
            end = buffer.find(b"\n", scan)
            if end < 0:
                break
            if self._quotes and buffer.count(b'"', scan, end) & 1:
                quoted = not quoted
            scan = end + 1
            if quoted:
                continue
            if scan - at > self._limit:
                break
            if not buffer[at:scan].isspace():
                yield Cut(buffer[at:scan], begin + scan)
                at = scan
        if self._quotes and end < 0:
            quoted ^= bool(buffer.count(b'"', scan) & 1)
        self._buffer, self._start = buffer[at:], begin + at
        self._scanned, self._open = len(self._buffer), quoted
        if len(self._buffer) > self._limit:
            raise self._too_long()
        if last and self._buffer.strip(b" \t\r\n\x1a\0"):
            yield self._give(len(self._buffer))


class HL7(Splitter):
    """The messages of a batch file (HL7 v2.5.1 chapter 2, 2.10.3): headers and trailers are left out."""

    def _cut(self, *, last: bool) -> Iterator[Cut]:
        buffer, begin = self._buffer, self._start
        starts = list(_SEGMENT.finditer(buffer))
        self._refuse_stray(0, starts[0].start() if starts else len(buffer) if last else 0)
        ends = [start.start() for start in starts[1:]]
        if last:
            ends.append(len(buffer))
        at = 0
        for start, end in zip(starts, ends, strict=False):
            if start[1] == b"MSH":
                raw = buffer[start.start(1) : end].rstrip(b"\r\n\x0b\x1c\x00")
                line_end = _LINE_END.search(raw)
                yield Cut(raw + (line_end[0] if line_end else b"\r"), begin + end)
            else:
                line_end = _LINE_END.search(buffer, start.end(), end)
                if line_end:
                    self._refuse_stray(line_end.end(), end)
            at = end
        self._buffer, self._start = buffer[at:], begin + at

    def _refuse_stray(self, start: int, end: int) -> None:
        if self._buffer[start:end].strip(_BLANK).removeprefix(_MARK).strip(_BLANK):
            raise self._stray(start)

    def _stray(self, at: int) -> CodecError:
        return CodecError(
            t("this belongs to no message: MSH must come before it", "此处内容不属于任何消息：其前须有 MSH"),
            place=t(f"byte {self._start + at}", f"第 {self._start + at} 字节"),
            code="hl7.no_msh",
        )
