"""A transport without a network: the test hands in messages and decides what each target answers.

Options name a channel, and a test has one of its own, so that nothing a test leaves behind is seen by another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from hub.api import Adapter, Bound, IntakePort, Outgoing, Receipt, Receiver, Reply, Sender, hookimpl

__all__ = ["DEADLINE", "Peer", "Wire", "WireAdapter", "hub_adapters", "wire"]

#: Longest wait for anything a test expects, seconds.
DEADLINE = 20.0

Reaction = Callable[[Outgoing], "Reply | Awaitable[Reply]"]


def accept(outgoing: Outgoing) -> Reply:
    return Reply(True, b'{"code":0}', code="200", status=200)


@dataclass
class Peer:
    """One target as the test plays it."""

    react: Reaction = accept
    calls: list[Outgoing] = field(default_factory=list)  # in the order in which they began
    under_way: int = 0
    most_under_way: int = 0
    senders: int = 0  # how many were started
    open: int = 0  # of these, not stopped yet
    fails_to_start: Exception | None = None

    @property
    def bodies(self) -> list[Any]:
        return [orjson.loads(call.body) for call in self.calls]

    def ids(self) -> list[Any]:
        return [body["id"] for body in self.bodies]

    async def take(self, outgoing: Outgoing) -> Reply:
        self.calls.append(outgoing)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            answer = self.react(outgoing)
            return answer if isinstance(answer, Reply) else await answer
        finally:
            self.under_way -= 1


class Wire:
    """All there is on one channel."""

    def __init__(self) -> None:
        self.receivers: dict[str, WireReceiver] = {}
        self.peers: dict[str, Peer] = {}
        self.started: list[str] = []  # places that began to listen, in order

    def peer(self, place: str = "sink/up") -> Peer:
        return self.peers.setdefault(place, Peer())

    def offer(self, place: str, data: Any, *, control_id: str = "") -> asyncio.Future[Receipt]:
        """Hand in one message; the future gets the answer, and a second answer would fail the test."""
        receiver = self.receivers[place]
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        raw = data if isinstance(data, bytes) else orjson.dumps(data)
        receiver.intake.submit(receiver.bound, raw, answer.set_result, remote="test", control_id=control_id)
        return answer

    async def submit(self, place: str, data: Any, *, control_id: str = "") -> Receipt:
        async with asyncio.timeout(DEADLINE):
            return await self.offer(place, data, control_id=control_id)


_channels: dict[str, Wire] = {}


def wire(channel: str) -> Wire:
    return _channels.setdefault(channel, Wire())


class WireListen(BaseModel):
    model_config = ConfigDict(extra="forbid")

    channel: str
    port: int = 0  # anything that makes the options differ


class WireConnect(BaseModel):
    model_config = ConfigDict(extra="forbid")

    channel: str
    address: str = ""
    capacity: int = 0


class WireReceiver(Receiver):
    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        assert isinstance(bound.options, WireListen)
        self.bound = bound
        self.intake = intake
        self._wire = wire(bound.options.channel)

    async def start(self) -> None:
        self._wire.receivers[self.bound.place] = self
        self._wire.started.append(self.bound.place)

    async def stop(self, grace: float) -> None:
        if self._wire.receivers.get(self.bound.place) is self:
            del self._wire.receivers[self.bound.place]


class WireSender(Sender):
    def __init__(self, bound: Bound) -> None:
        assert isinstance(bound.options, WireConnect)
        self._capacity = bound.options.capacity
        self._peer = wire(bound.options.channel).peer(bound.place)

    async def start(self) -> None:
        if self._peer.fails_to_start is not None:
            raise self._peer.fails_to_start
        self._peer.senders += 1
        self._peer.open += 1

    async def stop(self) -> None:
        self._peer.open -= 1

    async def send(self, outgoing: Outgoing) -> Reply:
        return await self._peer.take(outgoing)

    @property
    def capacity(self) -> int:
        return self._capacity

    async def probe(self) -> str:
        return "reachable"


class WireAdapter(Adapter):
    name = "wire"
    listen_options = WireListen
    connect_options = WireConnect

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return WireReceiver(bound, intake)

    def sender(self, bound: Bound) -> Sender:
        return WireSender(bound)


@hookimpl
def hub_adapters() -> list[Adapter]:
    return [WireAdapter()]
