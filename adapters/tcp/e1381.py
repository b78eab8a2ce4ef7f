"""The low-level protocol of laboratory analysers (ASTM E1381, CLSI LIS1-A), one end of a line, without sockets or clocks.

A transmission is ``ENQ``, frames, ``EOT``; each frame is ``STX``, its number modulo 8, text, ``ETB`` or (the last of a record or message) ``ETX``, a
checksum, ``CR LF``, and is answered with ``ACK``, ``NAK`` or ``EOT`` (taken, but stop soon). An acknowledgement has no number. So no frame may ever
be answered twice, and what is damaged is answered with one ``NAK`` or not at all, until the next ``STX``.
"""

from __future__ import annotations

import re

from adapters.tcp.e1381_frames import ACK, BODY, CR_LF, ENQ, EOT, ETX, NAK, STX, checksum, ends_message
from adapters.tcp.e1381_sending import Handler, Sending, State, Timers, Verdict
from hub.i18n import t

__all__ = ["Station"]

#: What ends the search inside a frame, and outside of one.
_IN_FRAME = re.compile(rb"[\x02\x03\x04\x17\n]")
_OUTSIDE = re.compile(rb"[\x02\x04\x05\n]")
#: An ENQ between frames that nothing follows within so many seconds begins a transmission.
_SETTLE = 1.0
#: Largest frame taken; LIS1-A allows 64,000 characters, E1381 240.
_LONGEST_FRAME = 64_000
#: No terminator is longer; characters before the frame that ends it.
_LONGEST_LAST = 4096
#: Bytes that may come while a message is being stored.
_MOST_HELD = 128 << 10


class Station(Sending):
    """One end of a line. Times are seconds of any clock that only goes forward; call :meth:`tick` at :attr:`deadline`."""

    def __init__(self, handler: Handler, timers: Timers, *, analyser: bool, whole: bool, max_size: int) -> None:
        """``analyser``: which side of E1381 we are, for contention. ``whole``: a message ends with the record L, not at each ETX."""
        super().__init__(handler, timers, analyser=analyser)
        self._whole = whole
        self._max_size = max_size
        self._scan = 0  # inside a frame: what is searched already
        self._text = bytearray()
        self._expected = 1
        self._accepted = False  # a frame of this transmission
        self._silenced = False  # what comes is damaged and was answered already
        self._garbage = False
        self._alone = False  # the last that came was an ENQ between frames
        self._token = 0
        self._held = b""  # text of that frame
        self._pending = False  # the verdict on the last frame is not there yet
        self._verdict: Verdict | None = None  # it came after that frame had been answered with NAK
        self._refused = False
        self._waited = False  # something came while the last frame was held
        self._handed = False  # the message was given to the handler, which keeps it

    def receive(self, data: bytes, now: float) -> None:
        self._now = now
        if self._alone:
            self._alone = False
            self._until = now + self._timers.frame
        self._buffer += data
        while self._buffer and self._step():
            pass
        self._ask()

    def verdict(self, token: int, verdict: Verdict, now: float) -> None:
        """What became of a message that was given to :meth:`Handler.take`."""
        if token != self._token or not self._pending:
            return
        self._now = now
        if verdict == "busy":
            self._pending = False  # the same frame again tries again; NAK when the hold ends
            return
        if self._state is State.HOLDING:
            self._decide(verdict)
        else:
            self._pending = False
            self._verdict = verdict

    def lost(self) -> None:
        """The connection is gone."""
        self._leave(t("the connection was lost", "连接中断"))
        self._buffer.clear()
        self._frames = []

    def _step(self) -> bool:
        """Consume something of the buffer; False when more must come first."""
        if self._state is State.NEUTRAL:
            return self._neutral()
        if self._state is State.RECEIVING:
            if not self._buffer.startswith(STX):
                return self._between()
            self._silenced = False
            return self._frame()
        if self._state is State.HOLDING:
            return self._holding()
        return self._answer()

    def _neutral(self) -> bool:
        at = self._buffer.find(ENQ)
        if at < 0:
            self._buffer.clear()
            return False
        del self._buffer[: at + 1]
        if not self._handler.ready():
            self._handler.write(NAK)
            return True
        self._begin()
        return True

    def _begin(self) -> None:
        self._text.clear()
        self._expected = 1
        self._accepted = self._silenced = self._garbage = False
        self._forget()
        self._scan = 0
        self._handed = self._alone = False
        self._not_before = 0.0
        self._wait(State.RECEIVING, self._timers.frame)
        self._handler.write(ACK)

    def _between(self) -> bool:
        """Between two frames."""
        found = _OUTSIDE.search(self._buffer)
        stop = found.start() if found else len(self._buffer)
        char = bytes(self._buffer[stop : stop + 1])
        self._garbage = self._garbage or bool(self._buffer[:stop].strip(b"\r"))
        del self._buffer[:stop]
        if char in (b"", STX):
            return bool(char)
        del self._buffer[:1]
        if char == EOT:
            self._leave(t("it was ended (EOT) before the last record", "在终止记录之前收到 EOT"))
        elif char == ENQ:
            # Either the sender began again and waits for an answer, or this was an STX, and the rest of a frame follows.
            self._alone = not self._buffer
            self._garbage = True
            if self._alone:
                self._until = self._now + _SETTLE
        elif self._garbage:
            self._nak()
        return True

    def _frame(self) -> bool:
        buffer = self._buffer
        found = _IN_FRAME.search(buffer, max(1, self._scan))
        if found is None:
            self._scan = len(buffer)
            if len(buffer) > _LONGEST_FRAME:
                buffer.clear()
                self._nak()
            return False
        at = found.start()
        char = bytes(found[0])
        if char == STX:  # the sender broke off and sends the frame again
            del buffer[:at]
            self._scan = 0
            return True
        if char == EOT:
            return self._broken_off(at)
        if char == b"\n":
            del buffer[: at + 1]
            self._nak()
            return True
        self._scan = at
        tail = bytes(buffer[at + 1 : at + 5])
        if EOT in tail:
            return self._broken_off(at + 1 + tail.index(EOT))
        if STX in tail:
            del buffer[: at + 1 + tail.index(STX)]
            self._scan = 0
            return True
        if len(tail) < 4:
            return False
        body = bytes(buffer[1 : at + 1])
        self._scan = 0
        if tail[2:] != CR_LF or tail[:2].upper() != checksum(body) or not BODY.fullmatch(body):
            del buffer[: at + 1]  # the rest of it is skipped up to the next STX
            self._nak()
            return True
        del buffer[: at + 5]
        self._silenced = self._garbage = False
        self._numbered(body[0] - 0x30, body[1:-1], last=body.endswith(ETX))
        return True

    def _broken_off(self, at: int) -> bool:
        del self._buffer[: at + 1]
        self._scan = 0
        self._leave(t("it was ended (EOT) inside a frame", "在帧内收到 EOT"))
        return True

    def _numbered(self, number: int, text: bytes, *, last: bool) -> None:
        """A frame that is not damaged."""
        self._until = self._now + self._timers.frame
        if number != self._expected:
            if self._accepted and number == (self._expected - 1) % 8:
                self._handler.write(ACK)  # our answer to it was lost
            else:
                self._nak(whole=True)
            return
        waits = self._pending or self._verdict is not None
        if self._refused or (waits and text != self._held):
            self._nak(whole=True)
        elif self._pending:
            self._waited = False
            self._wait(State.HOLDING, self._timers.hold)
        elif self._verdict is not None:
            self._decide(self._verdict)
        elif len(self._text) + len(text) > self._max_size:
            self._too_large(text)
        elif last and (not self._whole or self._complete(text)):
            self._token += 1
            self._held = text
            self._pending = self._handed = True
            self._waited = False
            self._wait(State.HOLDING, self._timers.hold)
            self._handler.take(bytes(self._text) + text, self._token)
        else:
            self._text += text
            self._advance()

    def _complete(self, text: bytes) -> bool:
        """Whether the last record is the terminator. Looks only at the end: a message may have very many frames."""
        recent = bytes(self._text[-_LONGEST_LAST:])
        record = recent.rfind(b"\r", 0, max(0, len(recent) - 1)) + 1
        if not record and len(recent) < len(self._text):
            return False
        return ends_message(recent[record:] + text, bytes(self._text[1:2] or text[1:2]))

    def _too_large(self, text: bytes) -> None:
        reason = t(f"it is larger than {self._max_size} bytes", f"超过 {self._max_size} 字节")
        self._handler.unfinished(bytes(self._text) + text, reason)
        self._text.clear()
        self._refused = True
        self._nak(whole=True)

    def _advance(self) -> None:
        self._expected = (self._expected + 1) % 8
        self._accepted = True
        self._handler.write(ACK)

    def _decide(self, verdict: Verdict) -> None:
        self._forget()
        self._wait(State.RECEIVING, self._timers.frame)
        if self._waited:
            # What came while it was held can only be the same frame again: it gets this answer, and no second one.
            self._buffer.clear()
        self._text.clear()
        if verdict == "accepted":
            self._handed = False
            self._advance()
        else:
            self._refused = True
            self._nak(whole=True)

    def _holding(self) -> bool:
        self._waited = True
        at = self._buffer.find(EOT)
        if at < 0:
            if len(self._buffer) > _MOST_HELD:
                self._buffer.clear()
                self._handler.flooded()
            return False
        del self._buffer[: at + 1]
        self._leave("")
        return True

    def _forget(self) -> None:
        self._pending = self._refused = False
        self._verdict = None

    def _nak(self, *, whole: bool = False) -> None:
        """``whole``: for a frame that came undamaged; otherwise what follows up to the next STX belongs to what is answered now."""
        self._scan = 0
        self._garbage = False
        if not whole:
            if self._silenced:
                return
            self._silenced = True
        self._until = self._now + self._timers.frame
        self._handler.write(NAK)

    def _leave(self, reason: str) -> None:
        """Back to the neutral state."""
        if self._state in (State.RECEIVING, State.HOLDING):
            self._drop(reason)
        self._forget()
        self._state = State.NEUTRAL
        self._scan = 0
        self._alone = False

    def _drop(self, reason: str) -> None:
        if self._text and not self._handed:  # what was handed over is recorded, and recognised when it comes again
            self._handler.unfinished(bytes(self._text), reason)
        self._text.clear()

    def tick(self, now: float) -> None:
        """Time has passed."""
        self._now = now
        if self._state is not State.NEUTRAL and now >= self._until:
            if self._alone:
                self._drop(t("the sender began again", "发送方重新开始"))
                self._begin()
            elif self._state is State.RECEIVING:
                self._buffer.clear()
                self._leave(t(f"nothing came for {self._timers.frame:g} s", f"{self._timers.frame:g} 秒内没有后续数据"))
            elif self._state is State.HOLDING:
                self._wait(State.RECEIVING, self._timers.frame)
                self._buffer.clear()
                self._waited = False
                self._nak(whole=True)
            else:
                self._unanswered()
        self._ask()
