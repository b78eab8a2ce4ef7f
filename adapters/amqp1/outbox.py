"""A connection for what is sent: opened when it is needed, again after it is lost, shared by everything under way."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import cast

from adapters.amqp1.link import Amqp1Link, connect
from adapters.amqp1.options import Amqp1Broker
from adapters.amqp1.publishing import Publishing
from hub.api import UnreachableError
from hub.i18n import t

__all__ = ["Outbox"]

_FAREWELL_S = 2.0


class Outbox:
    """Messages of a sender, or answers and parked messages of a receiver.

    A receiver has it beside its own connection: some brokers end the whole connection for a target they do not know, and what came
    over it would come again and again.
    """

    def __init__(self, options: Amqp1Broker, context: ssl.SSLContext | None, place: str) -> None:
        self._options, self._context, self._place = options, context, place
        self._link: Amqp1Link | None = None
        self._publishing: Publishing | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        self.connections = 0

    @property
    def connected(self) -> bool:
        return self._link is not None

    @property
    def unconfirmed(self) -> int:
        return len(self._publishing.pending) if self._publishing is not None else 0

    async def publish(self, target: str, payload: bytes, seconds: float) -> None:
        """Returns when the broker has accepted the message; raises a :class:`SendError` of the right class otherwise."""
        began = time.monotonic()
        publishing = self._publishing or await self._open(seconds)
        await publishing.publish(target, payload, seconds - (time.monotonic() - began))

    async def close(self) -> None:
        self._closed = True
        if self._link is not None:
            await self._link.close(_FAREWELL_S)

    async def _open(self, seconds: float) -> Publishing:
        address = self._options.address
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._opening:
                if self._closed:
                    raise UnreachableError(
                        t(f"{self._place} is not started", f"{self._place} 尚未启动"), code="mq.stopped"
                    )
                if self._publishing is None:
                    self._use(await connect(self._options, self._context))
                return cast(Publishing, self._publishing)
        raise UnreachableError(
            t(f"{address} does not answer in time", f"{address} 未在规定时间内应答"), code="mq.timeout"
        )

    def _use(self, link: Amqp1Link) -> None:
        publishing = Publishing(link, self._options.address)
        link.on_delivery = publishing.delivery
        link.on_credit = publishing.credit
        link.on_detached = publishing.detached
        link.on_lost = self._lost
        self._link, self._publishing = link, publishing
        self.connections += 1

    def _lost(self, error: Exception) -> None:
        publishing, self._publishing, self._link = self._publishing, None, None
        if publishing is not None:
            publishing.lost(error)
