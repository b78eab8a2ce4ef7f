"""One inbound connection: frames in, messages to the intake, answers out in the order of the frames."""

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from collections import deque
from typing import Protocol, cast

from adapters.streams.frames import Frames, FrameTooLarge
from adapters.streams.listener import STRAY_LIMIT, StreamReceiver
from hub.api import HubError, StoreBusy
from hub.i18n import t

__all__ = ["Answerable", "Answered", "StreamConnection"]

#: What is a whole frame if nothing follows is taken for one after so long, seconds.
_PAUSE = 0.25
#: After an answer that ends the connection, the peer has so long to read it and close, seconds.
_LINGER = 2.0
#: Unfinished frames up to this size are not counted: the number of connections bounds them, bytes.
_SMALL = 64 << 10

_OPEN = 0
_DRAINING = 1  # answers under way are still written, nothing more is read, then the connection closes
_REFUSING = 2  # the same, but what the peer still sends is read and dropped, so that the last answer reaches it
_LINGERING = 3  # the last answer is written


class Answerable(Protocol):
    """What waits in the queue of a connection for its turn to be answered."""

    reply: bytes | None  # framed; None: not known yet; b"": nothing to say


class Answered:
    """An answer that is known from the start."""

    __slots__ = ("reply",)

    def __init__(self, reply: bytes) -> None:
        self.reply: bytes | None = reply


class StreamConnection(asyncio.Protocol):
    """Protocol of one inbound connection. All limits are the receiver's; what is in the frames is the subclass's matter."""

    __slots__ = (
        "_active",
        "_corked",
        "_counted",
        "_deadline",
        "_exchanges",
        "_flushing",
        "_frame_since",
        "_held",
        "_in_flight",
        "_max_buffered",
        "_reader",
        "_reading",
        "_settling",
        "_state",
        "_stuck",
        "_transport",
        "lost",
        "receiver",
        "remote",
    )

    _transport: asyncio.Transport

    def __init__(self, receiver: StreamReceiver, reader: Frames, max_in_flight: int, max_buffered: int) -> None:
        self.receiver = receiver
        self.remote = ""
        self.lost = False
        self._reader = reader
        self._in_flight = max_in_flight
        self._max_buffered = max_buffered
        self._exchanges: deque[Answerable] = deque()
        self._active = receiver.clock  # time of the last read or write, to the tick
        self._frame_since = 0.0  # time at which the unfinished frame began; 0: there is none
        self._deadline = 0.0
        self._state = _OPEN
        self._reading = True
        self._stuck = False  # the peer does not read our answers
        self._held = False  # the hub could not take a message: read on after the next tick
        self._corked = False  # answers are collected and written together
        self._flushing = False
        self._counted = 0  # bytes of the unfinished frame in the receiver's sum
        self._settling: asyncio.TimerHandle | None = None

    # -- transport ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._active = self.receiver.clock
        peer = transport.get_extra_info("peername")
        address, port = (peer[0], peer[1]) if isinstance(peer, tuple) else ("", 0)
        self.remote = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        if not self.receiver.admit(self, address):
            self._state = _LINGERING
            transport.close()
            return
        if self.receiver.limits.keepalive:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._unsettle()
        self._count(0)
        self._exchanges.clear()
        self.receiver.dismiss(self, self._reader)

    def data_received(self, data: bytes) -> None:
        self._active = self.receiver.clock
        if self._state != _OPEN:
            return
        if self._settling is not None:
            self._unsettle()
        self._reader.feed(data)
        self._pump()

    def eof_received(self) -> bool:
        """The peer will send no more; it still gets its answers (without TLS, which can't be half closed)."""
        if self._state == _OPEN:
            self._settle()
            self._drain()
        return bool(self._exchanges) and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        self._stuck = True

    def resume_writing(self) -> None:
        self._stuck = False
        if not self._reading:
            self._pump()

    # -- frames ------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Take complete frames as long as the limits allow, then write what can be answered."""
        reader = self._reader
        limit = self._in_flight
        self._corked = True
        wanted = True
        try:
            while self._state == _OPEN:
                if len(self._exchanges) >= limit:
                    self._flush()
                if len(self._exchanges) >= limit or self._stuck or self._held:
                    wanted = False
                    break
                message = reader.next()
                if message is None:
                    break
                self._frame_since = 0.0
                self._take(message)
        except FrameTooLarge as error:
            self._too_large(error)
        finally:
            self._corked = False
        if self._counted:
            self._count(0)
        if self._state == _OPEN:
            self._read_on(wanted)
            if wanted:
                self._look_ahead(reader)
        self._flush()

    def _look_ahead(self, reader: Frames) -> None:
        """After all complete frames are taken: watch over the unfinished one and over a peer that sends none."""
        if reader.inside:
            self._frame_since = self._frame_since or self.receiver.clock
            if reader.held > _SMALL and not self._count(reader.held):
                self._no_room()
            elif reader.undecided:
                self._settling = asyncio.get_running_loop().call_later(_PAUSE, self._pause_seen)
        elif reader.outside > STRAY_LIMIT:
            self._state = _LINGERING
            self.abort()

    @abstractmethod
    def _take(self, message: bytes) -> None:
        """Hand a message to the intake, and put what will answer it into ``_exchanges``."""

    @abstractmethod
    def _refusal(self, raw: bytes, error: HubError) -> bytes:
        """The framed answer to a frame that is not handed to the intake; ``raw`` may be only its beginning."""

    def _put_off(self, message: bytes) -> None:
        """Refuse a message for now: the intake takes nothing just now."""
        error = StoreBusy(t("the hub can't take messages just now: send again later", "平台暂时不能接收，请稍后重发"))
        self.receiver.refuse(message, error, self.remote)
        reply = self._refusal(message, error)
        self.not_taken(error, told=bool(reply))
        self._exchanges.append(Answered(reply))

    def _pause_seen(self) -> None:
        self._settling = None
        if self._state == _OPEN:
            self._settle()

    def _settle(self) -> None:
        """Nothing followed the last byte: perhaps that completed a frame."""
        self._unsettle()
        message = self._reader.settle()
        if message is None:
            return
        self._frame_since = 0.0
        self._corked = True
        self._take(message)
        self._corked = False
        self._flush()

    def _unsettle(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None

    # -- answers -----------------------------------------------------------------------------------------------

    def completed(self, exchange: Answerable) -> None:
        """The answer to one of the waiting messages is known."""
        exchanges = self._exchanges
        if self._corked or not exchanges or exchanges[0] is not exchange:
            return
        if len(exchanges) == 1:
            self._flush_and_go_on()
        elif not self._flushing:
            # Commits finish in groups: the answers of the whole group go out in one write.
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush_group)

    def not_taken(self, error: HubError, *, told: bool) -> None:
        """A message was refused. A sender that wanted no answer learns of a passing refusal by losing the connection."""
        self.receiver.refused += 1
        if isinstance(error, StoreBusy):
            self._held = True
            if not told:
                self._drain()

    def _flush_group(self) -> None:
        self._flushing = False
        if not self.lost:
            self._flush_and_go_on()

    def _flush_and_go_on(self) -> None:
        self._flush()
        if not self._reading and self._state == _OPEN:
            self._pump()

    def _flush(self) -> None:
        """Write the answers whose turn has come."""
        exchanges = self._exchanges
        ready: list[bytes] = []
        while exchanges:
            reply = exchanges[0].reply
            if reply is None:
                break
            exchanges.popleft()
            if reply:
                ready.append(reply)
        if ready and not self._transport.is_closing():
            self._active = self.receiver.clock
            self._transport.write(ready[0] if len(ready) == 1 else b"".join(ready))
        if self._state != _OPEN and not exchanges and not self._corked:
            self._finish()

    # -- ending ------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Read nothing more, answer what is under way, then close."""
        if self._state == _OPEN:
            self._drain()
        if not self._exchanges:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def check(self, clock: float) -> None:
        """One tick of the receiver's clock: time limits, and reading again after the hub was busy."""
        options = self.receiver.limits
        if self._state == _LINGERING:
            if clock > self._deadline:
                self.abort()
            return
        if self._held:
            self._held = False
            if self._state == _OPEN:
                self._pump()
            return
        if self._state != _OPEN:
            return
        if self._reading and self._frame_since and clock - self._frame_since > options.frame_timeout:
            self._too_slow()
        elif options.idle_timeout and not self._exchanges and clock - self._active > options.idle_timeout:
            self.receiver.closed_idle += 1
            if self._stuck:
                self.abort()
            else:
                self.drain()

    def _too_large(self, error: FrameTooLarge) -> None:
        self.receiver.too_large += 1
        self._refuse_and_close(
            error.head,
            HubError(
                t(f"message larger than {error.limit} bytes", f"消息超过 {error.limit} 字节"),
                code=f"{self.receiver.protocol}.too_large",
                remedy=t("raise max_size of the interface", "请调大接口的 max_size"),
            ),
        )

    def _count(self, held: int) -> bool:
        """Keep the receiver's sum of unfinished frames; False when it exceeds the limit."""
        receiver = self.receiver
        receiver.buffered += held - self._counted
        self._counted = held
        return receiver.buffered <= self._max_buffered

    def _no_room(self) -> None:
        self._count(0)
        text = t(
            "too many large messages at once: send again later or raise max_buffered of the interface",
            "同时到达的大消息过多：请稍后重发，或调大接口的 max_buffered",
        )
        self._refuse_and_close(self._reader.abandon(), StoreBusy(text, code=f"{self.receiver.protocol}.no_room"))

    def _too_slow(self) -> None:
        self.receiver.too_slow += 1
        seconds = self.receiver.limits.frame_timeout
        self._refuse_and_close(
            self._reader.abandon(),
            HubError(
                t(f"frame not finished within {seconds:g} s", f"帧在 {seconds:g} 秒内没有结束"),
                code=f"{self.receiver.protocol}.too_slow",
            ),
        )

    def _refuse_and_close(self, head: bytes, error: HubError) -> None:
        receiver = self.receiver
        receiver.refused += 1
        receiver.refuse(head, error, self.remote)
        self._exchanges.append(Answered(self._refusal(head, error)))
        self._state = _REFUSING
        self._read_on(False)
        if not self._corked:
            self._flush()

    def _drain(self) -> None:
        self._state = _DRAINING
        self._unsettle()
        self._read_on(False)

    def _finish(self) -> None:
        if self._state == _DRAINING:
            self._transport.close()
        elif self._state == _REFUSING:
            # Closing with unread bytes resets the connection and the answer may be lost; so stop writing and read on.
            self._state = _LINGERING
            self._deadline = self.receiver.clock + _LINGER
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._read_on(True)

    def _read_on(self, wanted: bool) -> None:
        if wanted != self._reading and not self._transport.is_closing():
            self._reading = wanted
            if wanted:
                self._frame_since = 0.0
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
