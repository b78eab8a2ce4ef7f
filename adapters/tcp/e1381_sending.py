"""The sending half of a station of ASTM E1381, and what both halves know: states, times, whom they work for."""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple, Protocol

from adapters.tcp.e1381_frames import ACK, CR_LF, ENQ, EOT, NAK

__all__ = ["Handler", "Sending", "Sent", "State", "Timers", "Verdict"]

#: NAKs for one frame after which the sender gives up.
_TRIES = 6


class State(Enum):
    NEUTRAL = "neutral"
    RECEIVING = "receiving"
    HOLDING = "holding"  # the last frame of a message waits for its acknowledgement until the message is stored
    ASKING = "asking"  # our ENQ is not answered yet
    SENDING = "sending"


class Timers(NamedTuple):
    """Seconds."""

    reply: float = 15.0  # for an answer to ENQ or a frame
    frame: float = 30.0  # for the next frame or EOT
    busy: float = 10.0  # before the next ENQ after a NAK
    yielded: float = 20.0  # before the next ENQ after both sides sent one, for the host
    insist: float = 1.0  # the same for the analyser
    hold: float = 10.0  # before NAK for a message that is not stored yet; less than ``reply`` of the other side


#: What became of a message sent. ``unheard``: our ENQ got no answer, nothing was sent. ``silent``: a frame got no answer.
Sent = Literal["ok", "unheard", "silent", "refused"]
Verdict = Literal["accepted", "refused", "busy"]


class Handler(Protocol):
    """What a station is used by."""

    def write(self, data: bytes) -> None: ...

    def ready(self) -> bool:
        """Whether a transmission can be taken in now."""

    def take(self, text: bytes, token: int) -> None:
        """A message is complete; :meth:`Station.verdict` with this token says what became of it, now or later."""

    def unfinished(self, text: bytes, reason: str) -> None:
        """A transmission ended before its message did."""

    def sent(self, outcome: Sent) -> None:
        """What was given to :meth:`Station.send` is done."""

    def flooded(self) -> None:
        """The other side sends without waiting for answers: break the connection off."""


class Sending:
    """See :class:`adapters.tcp.e1381.Station`."""

    def __init__(self, handler: Handler, timers: Timers, *, analyser: bool) -> None:
        self._handler = handler
        self._timers = timers
        self._analyser = analyser
        self._state = State.NEUTRAL
        self._now = 0.0
        self._until = 0.0  # of the present state
        self._buffer = bytearray()
        self._frames: list[bytes] = []  # of the message to send, whether it has begun or not
        self._at = 0
        self._tries = 0
        self._not_before = 0.0

    @property
    def state(self) -> State:
        return self._state

    @property
    def begun(self) -> bool:
        """At least one frame of the message went out."""
        return self._state is State.SENDING

    @property
    def deadline(self) -> float:
        """When :meth:`adapters.tcp.e1381.Station.tick` must be called; 0: never."""
        if self._state is not State.NEUTRAL:
            return self._until
        return self._not_before if self._frames else 0.0

    def send(self, frames: list[bytes], now: float) -> None:
        """Send a message as soon as the line is free; one at a time. :meth:`Handler.sent` tells the end."""
        self._now = now
        self._frames = frames
        self._ask()

    def cancel(self) -> None:
        """Give up what is being sent; :meth:`Handler.sent` is not called."""
        self._frames = []
        if self._state in (State.ASKING, State.SENDING):
            self._handler.write(EOT)
            self._state = State.NEUTRAL

    def _ask(self) -> None:
        if self._frames and self._state is State.NEUTRAL and self._now >= self._not_before:
            self._wait(State.ASKING, self._timers.reply)
            self._handler.write(ENQ)

    def _answer(self) -> bool:
        """One character that answers our ENQ or frame."""
        char = bytes(self._buffer[:1])
        del self._buffer[:1]
        if char in CR_LF:
            return True
        if self._state is State.ASKING:
            self._asked(char)
        elif char in (ACK, EOT):
            if char == EOT:  # taken, and the other side wants to send: give it the time to
                self._not_before = self._now + self._timers.reply
            self._at += 1
            self._tries = 0
            if self._at == len(self._frames):
                self._handler.write(EOT)
                self._done("ok")
            else:
                self._write_frame()
        else:
            self._tries += 1
            if self._tries == _TRIES:
                self._handler.write(EOT)
                self._done("refused")
            else:
                self._write_frame()
        return True

    def _asked(self, char: bytes) -> None:
        if char == ACK:
            self._state = State.SENDING
            self._at = self._tries = 0
            self._write_frame()
        elif char == NAK:
            self._state = State.NEUTRAL
            self._not_before = self._now + self._timers.busy
        elif char == ENQ:  # both want to send: the analyser goes first, with another ENQ
            self._state = State.NEUTRAL
            self._not_before = self._now + (self._timers.insist if self._analyser else self._timers.yielded)

    def _write_frame(self) -> None:
        self._buffer.clear()  # nothing of it can answer a frame that was not written yet
        self._wait(State.SENDING, self._timers.reply)
        self._handler.write(self._frames[self._at])

    def _done(self, outcome: Sent) -> None:
        self._frames = []
        self._state = State.NEUTRAL
        self._handler.sent(outcome)

    def _wait(self, state: State, seconds: float) -> None:
        self._state = state
        self._until = self._now + seconds

    def _unanswered(self) -> None:
        """Time is up for the answer to an ENQ or a frame."""
        self._handler.write(EOT)
        self._done("unheard" if self._state is State.ASKING else "silent")
