"""One outgoing TCP connection: one message under way at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from adapters.streams.frames import FrameTooLarge
from adapters.streams.link import StreamLink
from adapters.tcp.framing import Reader
from hub.api import TransientError
from hub.i18n import t

__all__ = ["Link"]

_STRAY_LIMIT = 64 << 10


class Link(StreamLink):
    """Protocol of an outgoing connection. A frame that comes while nothing is under way answers nothing and is dropped."""

    def __init__(self, reader: Reader, heartbeats: Mapping[bytes, bytes]) -> None:
        super().__init__()
        self._reader = reader
        self._heartbeats = heartbeats
        self._waiting: asyncio.Future[bytes] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = asyncio.Event()  # the peer has closed its half, or the connection is lost
        self._orderly = False

    async def exchange(self, frame: bytes, *, half_close: bool) -> bytes:
        """Send a frame and wait for what answers it.

        Raises :class:`TransientError` when the connection is lost or what comes back is no frame. The link can't be used again
        after any exception, a cancellation included: a late answer must not meet another message.
        """
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(frame)
            if half_close:
                self._transport.write_eof()
            return await self._waiting
        except BaseException:
            self.close()
            raise
        finally:
            self._waiting = None

    async def tell(self, frame: bytes, *, half_close: bool) -> None:
        """Send a frame that is not answered.

        Done when the system has all of it or, with ``half_close``, when the peer has closed in its turn: then it has read all.
        Raises :class:`TransientError` when the connection is lost before.
        """
        try:
            self._transport.set_write_buffer_limits(high=0)
            self._transport.write(frame)
            if half_close:
                self._transport.write_eof()
                await self._ended.wait()
            else:
                await self._writable.wait()
            if not (self._orderly if half_close else self.alive):
                raise self._lost(None)
        except BaseException:
            self.close()
            raise

    def finish(self) -> None:
        """Close in an orderly way: what was written still arrives."""
        self.alive = False
        self._transport.close()

    # -- transport ---------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        try:
            while self.alive and (reply := reader.next()) is not None:
                self._take(reply)
        except FrameTooLarge as error:
            self._fail(t(f"the reply is larger than {error.limit} bytes", f"应答超过 {error.limit} 字节"))
        if reader.outside > _STRAY_LIMIT:
            self._fail(
                t(f"{reader.outside} bytes came back that are no frame", f"收到 {reader.outside} 字节，但不是帧")
            )

    def eof_received(self) -> bool:
        reply = self._reader.settle()
        if reply is not None:
            self._take(reply)
        self.alive = False
        self._orderly = True
        self._ended.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        self._writable.set()
        self._ended.set()
        waiting = self._waiting
        if waiting is not None and not waiting.done():
            waiting.set_exception(self._lost(exc))

    # -- replies -----------------------------------------------------------------------------------------------

    def _take(self, reply: bytes) -> None:
        if self._heartbeats and reply in self._heartbeats:
            self._transport.write(self._heartbeats[reply])
            return
        if self._reader.damage is not None:
            self._fail(self._reader.damage.error.text)
            return
        waiting = self._waiting
        if waiting is None or waiting.done():
            self.mismatched += 1
            return
        waiting.set_result(reply)

    def _lost(self, exc: Exception | None) -> TransientError:
        if self._reader.outside:
            count = self._reader.outside
            text = t(f"{count} bytes came back that are no frame", f"收到 {count} 字节，但不是帧")
        else:
            reason = f" ({exc.strerror})" if isinstance(exc, OSError) and exc.strerror else ""
            text = t(f"the connection was lost before the answer came{reason}", f"未收到应答，连接已中断{reason}")
        return TransientError(text, code="tcp.no_reply")

    def _fail(self, text: str) -> None:
        waiting = self._waiting
        if waiting is not None and not waiting.done():
            waiting.set_exception(TransientError(text, code="tcp.no_reply"))
        if self.alive:
            self.close()
