"""Sending over an open connection: one link for each target, credit awaited, the broker's outcome awaited."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

import proton

from adapters.amqp1.errors import Refused, explain, refusal
from adapters.amqp1.link import Amqp1Link
from hub.api import PermanentError, SendError, TransientError, UnreachableError
from hub.i18n import t

__all__ = ["Publishing"]

#: Targets with an open link; the one used longest ago makes room.
_MOST_LINKS = 32


class _Target:
    """One link that writes; whoever has the turn attaches it where needed, waits for credit and writes."""

    __slots__ = ("sender", "turn", "under_way")

    def __init__(self) -> None:
        self.sender: proton.Sender | None = None
        self.turn = asyncio.Lock()
        self.under_way: set[str] = set()  # tags


class Publishing:
    """The owner passes on what concerns links that write: :meth:`delivery`, :meth:`credit`, :meth:`detached`, :meth:`lost`."""

    def __init__(self, link: Amqp1Link, address: str) -> None:
        self._link, self._address = link, address
        self._targets: OrderedDict[str, _Target] = OrderedDict()
        self._credit = asyncio.Event()
        self._number = 0
        self._error: Exception | None = None
        self.pending: dict[str, asyncio.Future[None]] = {}  # by tag

    async def publish(self, target: str, payload: bytes, seconds: float) -> None:
        """Returns when the broker has accepted the message; raises a :class:`SendError` of the right class otherwise."""
        delivery: proton.Delivery | None = None
        place = self._target(target)
        self._number += 1
        tag = str(self._number)
        place.under_way.add(tag)
        try:
            async with asyncio.timeout(seconds):
                async with place.turn:
                    sender = await self._ready(place, target)
                    self._must_fit(sender, payload)
                    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self.pending[tag] = future
                    delivery = sender.delivery(tag)
                    sender.stream(payload)
                    sender.advance()
                    self._link.poke()
                await future
        except SendError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            if delivery is not None and self._error is None:
                delivery.settle()  # whatever the broker says of it comes too late
                self._link.poke()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise self._ended(error, delivery is not None) from None
        finally:
            self.pending.pop(tag, None)
            place.under_way.discard(tag)

    # -- from the connection -------------------------------------------------------------------------------------

    def delivery(self, delivery: proton.Delivery) -> None:
        """News of a message under way: its outcome."""
        state = delivery.remote_state
        if (not state or state == proton.Delivery.RECEIVED) and not delivery.settled:
            return
        future = self.pending.get(delivery.tag)
        if future is not None and not future.done():
            if state == proton.Delivery.ACCEPTED:
                future.set_result(None)
            elif state == proton.Delivery.REJECTED:
                future.set_exception(refusal(delivery.remote.condition, self._address))
            else:  # released, modified, or settled without a word
                future.set_exception(
                    TransientError(
                        t(
                            f"{self._address} gives the message back: {_name(state)}",
                            f"{self._address} 退回了该消息：{_name(state)}",
                        ),
                        code="mq.nack",
                    )
                )
        delivery.settle()

    def credit(self) -> None:
        self._credit.set()

    def detached(self, link: proton.Link, error: Exception) -> None:
        """A link the broker took away; its messages under way have no outcome."""
        for place in self._targets.values():
            if place.sender is not None and place.sender.name == link.name:
                place.sender = None
                self._fail(place.under_way, error)
        self._credit.set()

    def lost(self, error: Exception) -> None:
        self._error = error
        self._fail(self.pending, error)
        self._credit.set()

    # -- parts ---------------------------------------------------------------------------------------------------

    def _fail(self, tags: Iterable[str], error: Exception) -> None:
        for tag in tags:
            future = self.pending.get(tag)
            if future is not None and not future.done():
                future.set_exception(error)

    def _target(self, target: str) -> _Target:
        place = self._targets.get(target)
        if place is None:
            place = self._targets[target] = _Target()
            for name, idle in list(self._targets.items()):
                if len(self._targets) <= _MOST_LINKS:
                    break
                if not idle.under_way and idle is not place:
                    del self._targets[name]
                    if idle.sender is not None:
                        idle.sender.close()
        self._targets.move_to_end(target)
        return place

    async def _ready(self, place: _Target, target: str) -> proton.Sender:
        """The link of a target, with credit for one message."""
        while True:
            if self._error is not None:
                raise self._error
            if place.sender is None:
                sender = await self._link.deliver(target)
                if sender.state & proton.Endpoint.REMOTE_CLOSED:
                    raise Refused(sender.remote_condition)
                place.sender = sender
            elif place.sender.credit > 0:
                return place.sender
            else:
                self._credit.clear()
                await self._credit.wait()

    def _must_fit(self, sender: proton.Sender, payload: bytes) -> None:
        limit = sender.remote_max_message_size
        if limit and len(payload) > limit:
            raise PermanentError(
                t(
                    f"{self._address} takes messages of at most {limit} bytes",
                    f"{self._address} 只接收不超过 {limit} 字节的消息",
                ),
                code="mq.refused",
            )

    def _ended(self, error: Exception, written: bool) -> SendError:
        said = explain(error, self._address)
        if not written:
            return said if not isinstance(error, TimeoutError) else UnreachableError(said.text, code="mq.timeout")
        return TransientError(
            t(
                f"{said.text}; no outcome came, the broker may have the message",
                f"{said.text}；未收到结果，消息可能已被接收",
            ),
            code="mq.unconfirmed",
        )


def _name(state: object) -> str:
    return str(getattr(state, "name", state)).lower()
