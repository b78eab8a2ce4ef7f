"""MLLP frames in a stream of bytes (HL7 v2.5.1 appendix C, "minimal lower layer protocol", release 1).

A frame is 0x0B, the message, 0x1C 0x0D. What real senders do beyond that, and the rule for it:

* Bytes before 0x0B are skipped and counted.
* 0x1C ends a frame when 0x0D follows, and also when 0x0B follows (a sender that forgets 0x0D and goes on). Followed
  by anything else it belongs to the message.
* 0x1C as the very last byte received leaves both possible. The frame then ends when the stream ends or pauses
  (:meth:`FrameReader.settle`); until then nothing is decided, so the result never depends on how TCP cuts the stream.
* 0x0B inside a frame belongs to the message (word processors write it as a line break) unless a message header
  (``MSH``) follows at once: then the sender broke off and began again, and what came before is no message.
"""

from __future__ import annotations

import re

from adapters.streams.frames import FrameTooLarge

__all__ = ["BREAKS_FRAME", "END_BLOCK", "START_BLOCK", "FrameReader", "FrameTooLarge", "frame", "split_restart"]

START_BLOCK = b"\x0b"
END_BLOCK = b"\x1c"

#: The end of a frame; inside a message it would end its frame early.
BREAKS_FRAME = re.compile(rb"\x1c[\r\x0b]")
_VT = 0x0B
_CR = 0x0D
_FS = 0x1C
_HEAD_KEPT = 4096
_STRAY_KEPT = 256


def frame(message: bytes) -> bytes:
    """The message between its MLLP bytes."""
    return b"\x0b" + message + b"\x1c\r"


def split_restart(message: bytes) -> tuple[bytes, bytes]:
    """``(abandoned, message)``: what came before a sender that broke off began again, and the message itself."""
    at = message.rfind(b"\x0bMSH")
    return (b"", message) if at < 0 else (message[:at], message[at + 1 :])


class FrameReader:
    """Cuts a stream into frames: :meth:`feed` bytes, then call :meth:`next` until it returns None.

    Holds at most ``limit`` bytes and one read. Every byte is looked at once, however small the pieces are. A read that
    holds whole frames only (the usual case) is never copied into a buffer.
    """

    __slots__ = (
        "_buffer",
        "_inside",
        "_position",
        "_scan",
        "_skip_cr",
        "limit",
        "outside",
        "skipped",
        "stray",
        "taken",
    )

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0  # frames
        self.skipped = 0  # bytes outside frames, in all
        self.outside = 0  # the same since the last frame
        self.stray = b""  # the first of them, to show to people
        self._buffer: bytes | bytearray = b""
        self._position = 0  # begin of what is not consumed yet; inside a frame: of the message
        self._scan = 0  # no end of the frame before this
        self._inside = False
        self._skip_cr = False  # the last frame ended with a lone 0x1C: its 0x0D may still come

    @property
    def inside(self) -> bool:
        """Part of a frame has come and its end has not."""
        return self._inside

    @property
    def held(self) -> int:
        """Bytes kept in memory."""
        return len(self._buffer)

    @property
    def undecided(self) -> bool:
        """The last byte received is a 0x1C inside a frame: the end of it if nothing follows."""
        return self._inside and self._scan < len(self._buffer)

    def feed(self, data: bytes) -> None:
        buffer = self._buffer
        if not buffer:
            self._buffer = data
            self._position = self._scan = 0
            return
        if isinstance(buffer, bytes):
            buffer = self._buffer = bytearray(buffer[self._position :])
        elif self._position:
            del buffer[: self._position]
        self._scan -= self._position
        self._position = 0
        buffer += data

    def next(self) -> bytes | None:
        """The next complete message without its MLLP bytes; None when more bytes are needed.

        Raises :class:`FrameTooLarge`; the stream can't be read any further then.
        """
        buffer = self._buffer
        size = len(buffer)
        if not self._inside and not self._enter(buffer, size):
            return None
        start = self._position
        end = buffer.find(END_BLOCK, self._scan)
        if 0 <= end < size - 1 and buffer[end + 1] != _CR:
            # Rare, so the quick search above comes first; a pattern keeps a message full of 0x1C linear.
            found = BREAKS_FRAME.search(buffer, end)
            end = found.start() if found else size - 1 if buffer[size - 1] == _FS else -1
        if 0 <= end < size - 1:
            return self._take(start, end, end + 2 if buffer[end + 1] == _CR else end + 1)
        self._scan = end if end >= 0 else size
        if size - start > self.limit + 1:
            raise FrameTooLarge(self.abandon(), self.limit)
        return None

    def settle(self) -> bytes | None:
        """The stream has ended or paused: the message, when the last byte received may be its end; else None."""
        if not self.undecided:
            return None
        message = self._take(self._position, len(self._buffer) - 1, len(self._buffer))
        self._skip_cr = True
        return message

    def abandon(self) -> bytes:
        """Forget the unfinished frame; returns its beginning, enough to answer it."""
        head = bytes(self._buffer[self._position : self._position + _HEAD_KEPT])
        self._clear()
        self._inside = False
        return head

    def _enter(self, buffer: bytes | bytearray, size: int) -> bool:
        """Find the begin of a frame; False when there is none."""
        position = self._position
        if position == size:
            self._clear()
            return False
        if self._skip_cr:
            self._skip_cr = False
            if buffer[position] == _CR:
                position += 1
        start = position if position < size and buffer[position] == _VT else buffer.find(START_BLOCK, position)
        stop = start if start >= 0 else size
        if stop > position:
            self.skipped += stop - position
            self.outside += stop - position
            if len(self.stray) < _STRAY_KEPT:
                self.stray += bytes(buffer[position : min(stop, position + _STRAY_KEPT - len(self.stray))])
        if start < 0:
            self._clear()
            return False
        self._inside = True
        self._position = self._scan = start + 1
        return True

    def _take(self, start: int, end: int, after: int) -> bytes:
        if end - start > self.limit:
            raise FrameTooLarge(self.abandon(), self.limit)
        buffer = self._buffer
        if isinstance(buffer, bytes):
            message = buffer[start:end]
        else:
            with memoryview(buffer) as view, view[start:end] as part:
                message = bytes(part)
        self._inside = False
        self.taken += 1
        if self.outside:
            self.outside = 0
            self.stray = b""
        if after == len(buffer):
            self._clear()
        else:
            self._position = self._scan = after
        return message

    def _clear(self) -> None:
        self._buffer = b""
        self._position = self._scan = 0
