"""What all framings share: the buffer of a stream, and how damage is told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from adapters.streams.frames import FrameTooLarge
from adapters.tcp.checksum import Checksum, checksum_bytes
from hub.api import HubError
from hub.i18n import t

__all__ = ["Damage", "Framing", "Reader"]

_HEAD_KEPT = 4096
_STRAY_KEPT = 256


class Damage(NamedTuple):
    """What is wrong with the frame that :meth:`Reader.next` gave last."""

    error: HubError
    fatal: bool  # where the next frame begins is not known


class Framing(ABC):
    """One way to tell messages apart."""

    @abstractmethod
    def wrap(self, body: bytes) -> bytes:
        """The frame of a message; raises :class:`HubError` for one that it can't hold."""

    @abstractmethod
    def reader(self, limit: int) -> Reader:
        """``limit``: bytes of the largest message."""


class Reader(ABC):
    """See :class:`adapters.streams.frames.Frames`. After each :meth:`next` that gave bytes, :attr:`damage` is about these."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = self.skipped = self.outside = 0
        self.stray = b""
        self.damage: Damage | None = None
        self._buffer = bytearray()
        self._position = 0  # begin of what is not consumed yet; inside a frame: of the message
        self._scan = 0  # no end of the frame before this
        self._inside = False

    @property
    def inside(self) -> bool:
        return self._inside

    @property
    def held(self) -> int:
        return len(self._buffer) - self._position

    @property
    def undecided(self) -> bool:
        return False

    def feed(self, data: bytes) -> None:
        if self._position:
            del self._buffer[: self._position]
            self._scan = max(0, self._scan - self._position)
            self._position = 0
        self._buffer += data

    @abstractmethod
    def next(self) -> bytes | None: ...

    def settle(self) -> bytes | None:
        return None

    def abandon(self) -> bytes:
        head = bytes(self._buffer[self._position : self._position + _HEAD_KEPT])
        self._buffer.clear()
        self._position = self._scan = 0
        self._inside = False
        return head

    def _enter(self, mark: bytes) -> bool:
        """Find the mark a frame begins with; what is before it is skipped, and the mark consumed."""
        if self._inside:
            return True
        buffer = self._buffer
        at = buffer.find(mark, self._position)
        # The last bytes may be the begin of a mark.
        stop = at if at >= 0 else max(self._position, len(buffer) - len(mark) + 1)
        if stop > self._position:
            count = stop - self._position
            self.skipped += count
            self.outside += count
            if len(self.stray) < _STRAY_KEPT:
                self.stray += bytes(buffer[self._position : self._position + _STRAY_KEPT - len(self.stray)])[:count]
            self._position = stop
        if at < 0:
            return False
        self._position += len(mark)
        self._scan = self._position
        self._inside = True
        return True

    def _take(self, start: int, stop: int, after: int, damage: Damage | None = None) -> bytes:
        """The message between two places; ``after`` is where the next frame begins."""
        if stop - start > self.limit:
            raise FrameTooLarge(self.abandon(), self.limit)
        with memoryview(self._buffer) as view, view[start:stop] as part:
            message = bytes(part)
        self._position = self._scan = after
        self._inside = False
        self.damage = damage
        self.taken += 1
        self.outside = 0
        self.stray = b""
        return message

    def _check(self, checksum: Checksum, prefix: bytes, body: int, stop: int, at: int, *, fatal: bool) -> Damage | None:
        """Whether the checksum at ``at`` is right. The message is ``body`` to ``stop``; ``prefix`` stood before :attr:`_position`."""
        if checksum.covers == "frame":
            covered = prefix + bytes(self._buffer[self._position : at])
        else:
            covered = bytes(self._buffer[body:stop])
        wanted = checksum_bytes(checksum, covered)
        found = bytes(self._buffer[at : at + len(wanted)])
        if found == wanted or (checksum.form == "hex" and found.upper() == wanted):
            return None
        text = t("the checksum is wrong: the frame was damaged on its way", "校验和错误：帧在传输中损坏")
        return Damage(HubError(text, code="tcp.checksum"), fatal)
