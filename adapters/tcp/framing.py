"""Messages into frames and out of a stream of bytes, by the option ``framing``.

A reader keeps at most its limit and one read, and looks at every byte once. A frame whose checksum is wrong, and a stream that can't
be read any further, are told by :attr:`Reader.damage`; no byte of them becomes part of another message.
"""

from __future__ import annotations

from adapters.streams.frames import FrameTooLarge
from adapters.tcp.checksum import Checksum, checksum_bytes, checksum_size
from adapters.tcp.frame_reader import Damage, Framing, Reader
from adapters.tcp.framing_options import Delimited, FixedLength, FramingOptions, LengthPrefixed, Lines
from hub.api import HubError
from hub.i18n import t

__all__ = ["Framing", "Reader", "framing_for"]


def framing_for(options: FramingOptions) -> Framing:
    if isinstance(options, Delimited):
        return _DelimitedFraming(options)
    if isinstance(options, Lines):
        return _LineFraming(options)
    if isinstance(options, LengthPrefixed):
        return _LengthFraming(options)
    return _FixedFraming(options) if isinstance(options, FixedLength) else _WholeFraming()


# -- delimiters ----------------------------------------------------------------------------------------------------------


class _DelimitedFraming(Framing):
    def __init__(self, options: Delimited) -> None:
        self.options = options

    def wrap(self, body: bytes) -> bytes:
        options = self.options
        checksum = options.checksum
        begun = options.start + body
        if checksum is not None and not options.checksum_after_end:
            begun += checksum_bytes(checksum, begun if checksum.covers == "frame" else body)
        frame = begun + options.end
        # Also where the body only together with its surroundings makes a delimiter.
        if frame.find(options.end, len(options.start)) != len(begun) or (
            options.start and frame.find(options.start, 1, len(begun) + len(options.end)) >= 0
        ):
            raise HubError(
                t("the message contains the bytes that end or begin a frame", "消息中含有帧的起始或结束字节"),
                code="tcp.delimiter",
            )
        if checksum is not None and options.checksum_after_end:
            frame += checksum_bytes(checksum, frame if checksum.covers == "frame" else body)
        return frame

    def reader(self, limit: int) -> Reader:
        return _DelimitedReader(limit, self.options)


class _DelimitedReader(Reader):
    def __init__(self, limit: int, options: Delimited) -> None:
        super().__init__(limit)
        self._options = options
        size = checksum_size(options.checksum) if options.checksum else 0
        self._before_end = 0 if options.checksum_after_end else size
        self._after_end = size if options.checksum_after_end else 0

    def next(self) -> bytes | None:
        options = self._options
        start, end = options.start, options.end
        if start:
            if not self._enter(start):
                return None
        elif self._position < len(self._buffer):
            self._inside = True
        buffer = self._buffer
        stop = buffer.find(end, self._scan)
        # A frame that begins again within a frame: the sender broke off, and what came before is no message.
        again = buffer.rfind(start, self._scan, stop if stop >= 0 else None) if start else -1
        if again >= 0:
            error = HubError(
                t("unfinished frame: the sender broke off and began a new one", "帧不完整：发送方中断后重新开始"),
                code="tcp.unfinished",
            )
            abandoned = self._take(self._position, again, again + len(start), Damage(error, False))
            self._inside = True
            return abandoned
        if stop < 0 or len(buffer) < stop + len(end) + self._after_end:
            keep = max(len(start), len(end)) - 1
            self._scan = max(self._position, len(buffer) - keep if stop < 0 else stop)
            if len(buffer) - self._position > self.limit + len(end) + self._before_end + self._after_end:
                raise FrameTooLarge(self.abandon(), self.limit)
            return None
        after = stop + len(end)
        body_end = max(self._position, stop - self._before_end)
        damage = None
        if options.checksum is not None:
            at = after if self._after_end else body_end
            damage = self._check(options.checksum, start, self._position, body_end, at, fatal=False)
        return self._take(self._position, body_end, after + self._after_end, damage)


class _LineFraming(Framing):
    def __init__(self, options: Lines) -> None:
        self._end = b"\n" if options.end == "lf" else b"\r\n"

    def wrap(self, body: bytes) -> bytes:
        if b"\n" in body or body.endswith(b"\r"):
            raise HubError(t("the message has more than one line", "消息不止一行"), code="tcp.delimiter")
        return body + self._end

    def reader(self, limit: int) -> Reader:
        return _LineReader(limit)


class _LineReader(Reader):
    def next(self) -> bytes | None:
        buffer = self._buffer
        self._inside = self._position < len(buffer)
        stop = buffer.find(b"\n", self._scan)
        if stop < 0:
            self._scan = len(buffer)
            if len(buffer) - self._position > self.limit + 1:
                raise FrameTooLarge(self.abandon(), self.limit)
            return None
        return_ = stop > self._position and buffer[stop - 1] == 0x0D
        return self._take(self._position, stop - return_, stop + 1)


# -- lengths -------------------------------------------------------------------------------------------------------------


class _LengthFraming(Framing):
    def __init__(self, options: LengthPrefixed) -> None:
        self._options = options
        self.header = options.header
        self.width = options.size or options.digits or 0
        self.trailer = checksum_size(options.checksum) if options.checksum else 0
        #: What the length counts besides the message.
        self.extra = {
            "body": 0,
            "rest": self.trailer,
            "length": self.trailer + self.width,
            "all": self.trailer + self.width + len(self.header),
        }[options.counts]

    @property
    def checksum(self) -> Checksum | None:
        return self._options.checksum

    def wrap(self, body: bytes) -> bytes:
        options = self._options
        length = len(body) + self.extra
        most = 256**options.size if options.size else 10**self.width
        if length >= most:
            raise HubError(
                t("the message is longer than its length field can say", "消息长度超出长度字段的表示范围"),
                code="tcp.too_large",
            )
        field = length.to_bytes(options.size, options.order) if options.size else b"%0*d" % (self.width, length)
        frame = self.header + field + body
        checksum = options.checksum
        return frame + checksum_bytes(checksum, frame if checksum.covers == "frame" else body) if checksum else frame

    def length(self, field: bytes) -> int:
        """Bytes of the message; negative when the field is none."""
        options = self._options
        if options.size:
            return int.from_bytes(field, options.order) - self.extra
        return int(field) - self.extra if field.isdigit() else -1

    def reader(self, limit: int) -> Reader:
        return _LengthReader(limit, self)


class _LengthReader(Reader):
    def __init__(self, limit: int, framing: _LengthFraming) -> None:
        super().__init__(limit)
        self._framing = framing

    def next(self) -> bytes | None:
        framing = self._framing
        if framing.header:
            if not self._enter(framing.header):
                return None
        elif self._position < len(self._buffer):
            self._inside = True
        body = self._position + framing.width
        if len(self._buffer) < body:
            return None
        length = framing.length(bytes(self._buffer[self._position : body]))
        if length < 0:
            error = HubError(
                t("where the length of a frame should be is none", "帧的长度字段无效"),
                code="tcp.length",
                remedy=t("compare framing with what the sender does", "请核对 framing 与发送方的实际格式"),
            )
            head = self.abandon()
            self.damage = Damage(error, True)
            return head
        if length > self.limit:
            raise FrameTooLarge(self.abandon(), self.limit)
        stop = body + length
        after = stop + framing.trailer
        if len(self._buffer) < after:
            return None
        damage = None
        if framing.checksum is not None:
            # The length itself may be what was damaged.
            damage = self._check(framing.checksum, framing.header, body, stop, stop, fatal=True)
        return self._take(body, stop, after, damage)


class _FixedFraming(Framing):
    def __init__(self, options: FixedLength) -> None:
        self._options = options

    def wrap(self, body: bytes) -> bytes:
        size, pad = self._options.size, self._options.pad
        if len(body) > size or (len(body) < size and not pad):
            raise HubError(
                t(
                    f"the message has {len(body)} bytes and must have {size}",
                    f"消息长度为 {len(body)} 字节，应为 {size}",
                ),
                code="tcp.length",
            )
        return body.ljust(size, pad) if pad else body

    def reader(self, limit: int) -> Reader:
        return _FixedReader(limit, self._options.size)


class _FixedReader(Reader):
    def __init__(self, limit: int, size: int) -> None:
        super().__init__(limit)
        self._size = size

    def next(self) -> bytes | None:
        stop = self._position + self._size
        if len(self._buffer) < stop:
            self._inside = self._position < len(self._buffer)
            return None
        return self._take(self._position, stop, stop)


class _WholeFraming(Framing):
    def wrap(self, body: bytes) -> bytes:
        return body

    def reader(self, limit: int) -> Reader:
        return _WholeReader(limit)


class _WholeReader(Reader):
    def next(self) -> bytes | None:
        self._inside = bool(self._buffer)
        if len(self._buffer) > self.limit:
            raise FrameTooLarge(self.abandon(), self.limit)
        return None

    def settle(self) -> bytes | None:
        return self._take(0, len(self._buffer), len(self._buffer)) if self._buffer else None
