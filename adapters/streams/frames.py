"""What a connection needs of whatever cuts its stream into frames."""

from __future__ import annotations

from typing import Protocol

__all__ = ["FrameTooLarge", "Frames"]


class FrameTooLarge(Exception):
    """A frame exceeds the limit. ``head`` is its beginning, enough to answer it."""

    def __init__(self, head: bytes, limit: int) -> None:
        super().__init__(f"frame larger than {limit} bytes")
        self.head = head
        self.limit = limit


class Frames(Protocol):
    """Cuts a stream into frames: :meth:`feed` bytes, then call :meth:`next` until it returns None."""

    skipped: int  # bytes outside frames, in all
    outside: int  # the same since the last frame
    stray: bytes  # the first of them, to show to people
    taken: int  # frames

    @property
    def inside(self) -> bool:
        """Part of a frame has come and its end has not."""

    @property
    def held(self) -> int:
        """Bytes kept in memory."""

    @property
    def undecided(self) -> bool:
        """What has come is a whole frame if nothing follows within a moment."""

    def feed(self, data: bytes) -> None: ...

    def next(self) -> bytes | None:
        """The next complete message; None when more bytes are needed. Raises :class:`FrameTooLarge`."""

    def settle(self) -> bytes | None:
        """The stream has ended or paused: the message this completes, or None."""

    def abandon(self) -> bytes:
        """Forget the unfinished frame; returns its beginning, enough to answer it."""
