"""What came over one connection and is not settled yet: credit, messages put together from their parts, outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import proton

from adapters.amqp1.link import Amqp1Link
from adapters.amqp1.options import Amqp1Listen
from adapters.mq.envelope import ERROR_CODE, ERROR_TEXT, error_headers
from hub.api import HubError

__all__ = ["Session", "Taken"]

#: Condition of a rejected message; Azure Service Bus shows it as the reason of the dead letter.
_REFUSED = "tongqu:refused"


class Taken:
    """One message that came and has no outcome yet."""

    __slots__ = ("delivery", "size")

    def __init__(self, delivery: proton.Delivery, size: int) -> None:
        self.delivery, self.size = delivery, size


class Session:
    """``on_message`` gets each complete message; its bytes are empty when it is larger than ``max_size``."""

    def __init__(
        self, link: Amqp1Link, options: Amqp1Listen, on_message: Callable[[Session, Taken, bytes], None]
    ) -> None:
        self.link, self._options, self._on_message = link, options, on_message
        self._receiver: proton.Receiver
        self.ended = asyncio.Event()  # lost, something left in the queue, or to be stopped
        self.settled = asyncio.Event()  # nothing is open, or the connection is lost
        self.error: Exception | None = None
        self.leaving = False  # nothing more is taken: what comes is given back
        self.open = 0
        self._held = 0  # bytes of what is open
        self._parts: list[bytes] = []  # of the message on its way
        self._size = 0
        self.given_back = 0
        link.on_delivery = self._delivery
        link.on_detached = self._detached
        link.on_lost = self._lost

    async def begin(self) -> None:
        """Attach the link and give credit."""
        self._receiver = await self.link.receive(self._options.source, self._options.max_size)
        self._grant()

    def leave(self) -> None:
        """Take nothing more."""
        self.leaving = True
        self.ended.set()

    async def wind_up(self) -> None:
        """Wait for what is under way, so that it is accepted."""
        while self.open and self.link.connected:
            self.settled.clear()
            await self.settled.wait()

    # -- outcomes ------------------------------------------------------------------------------------------------

    def accept(self, taken: Taken) -> None:
        self._settle(taken, proton.Delivery.ACCEPTED)

    def reject(self, taken: Taken, error: HubError | None) -> None:
        """Never: the broker's dead-letter rule has the word."""
        if self.link.connected:
            reason = error_headers(error)
            taken.delivery.local.condition = proton.Condition(_REFUSED, f"{reason[ERROR_CODE]}: {reason[ERROR_TEXT]}")
        self._settle(taken, proton.Delivery.REJECTED)

    def give_back(self, taken: Taken) -> None:
        """Not now: the message stays in the queue."""
        self.given_back += 1
        self._settle(taken, proton.Delivery.RELEASED)

    def _settle(self, taken: Taken, outcome: int) -> None:
        self.open -= 1
        self._held -= taken.size
        if not self.open:
            self.settled.set()
        if self.link.connected:
            taken.delivery.update(outcome)
            taken.delivery.settle()
            self.link.poke()
            self._grant()

    # -- from the connection -------------------------------------------------------------------------------------

    def _grant(self) -> None:
        """Credit for as many as may be held; in larger steps, each is a frame."""
        if self.leaving or self._held >= self._options.max_buffered:
            return
        credit = self._receiver.credit
        more = self._options.prefetch - credit - self.open
        if more > 0 and (credit == 0 or more * 2 >= self._options.prefetch):
            self._receiver.flow(more)
            self.link.poke()

    def _delivery(self, delivery: proton.Delivery) -> None:
        if not delivery.readable:
            return
        while pending := delivery.pending:
            part = self._receiver.recv(pending)
            if not part:
                break
            self._size += len(part)
            if self._size <= self._options.max_size:
                self._parts.append(part)
            else:  # the rest is read and dropped
                self._parts.clear()
        if delivery.aborted:
            delivery.settle()
        elif delivery.partial:
            return
        else:
            self._receiver.advance()
            self._whole(delivery)
        self._parts, self._size = [], 0

    def _whole(self, delivery: proton.Delivery) -> None:
        taken = Taken(delivery, self._size)
        self.open += 1
        self._held += taken.size
        if self.leaving:
            self.give_back(taken)
        else:
            self._on_message(self, taken, b"".join(self._parts))

    def _detached(self, link: proton.Link, error: Exception) -> None:
        self.error = self.error or error
        self.link.abort(error)

    def _lost(self, error: Exception) -> None:
        if not self.ended.is_set():
            self.error = self.error or error
        self.ended.set()
        self.settled.set()
