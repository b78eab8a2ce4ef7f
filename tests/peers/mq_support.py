"""What the tests of the queue adapters share: an intake in memory whose verdicts the test decides, interfaces, waiting."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from adapters.mq.stomp_frames import Frame
from adapters.mq.stomp_link import connect
from adapters.mq.stomp_options import StompBroker
from hub.api import (
    Adapter,
    Bound,
    HubError,
    Item,
    Outgoing,
    Receipt,
    Receiver,
    Sender,
    StoreBusy,
    TransientError,
    UnreachableError,
)
from hub.codecs.json_codec import JsonCodec
from hub.contract import Interface
from hub.message import Outcome
from tests.peers.queues import ActiveMq

DEADLINE = 40.0


async def until(condition: Callable[[], Any], seconds: float = DEADLINE) -> None:
    """Wait for a condition; fails at the deadline."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "condition not met in time"
        await asyncio.sleep(0.01)


class MemoryIntake:
    """Takes messages as the hub does: a control id seen before is a duplicate, ``bad`` bodies are refused."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.seen: set[str] = set()
        self.duplicates = 0
        self.control_ids: list[str] = []
        self.params: list[Mapping[str, str]] = []
        self.runs: list[HubError | None] = []
        self.refused: list[HubError] = []
        self.busy = False
        self.at_once = True
        self.gate = asyncio.Event()  # ``take`` does not return before it is set
        self.gate.set()
        self.reply: bytes | None = None
        self.waiting: list[tuple[bytes, Callable[[Receipt], None]]] = []

    def submit(
        self,
        bound: Bound,
        raw: bytes,
        done: Callable[[Receipt], None],
        *,
        remote: str = "",
        control_id: str = "",
        params: Mapping[str, str] | None = None,
    ) -> None:
        if self.busy:
            done(Receipt(Outcome.REFUSED, error=StoreBusy("the store is full")))
            return
        receipt = self._verdict(raw, control_id, params)
        if receipt.outcome is not Outcome.OK:
            done(receipt)
        elif self.at_once:
            asyncio.get_running_loop().call_soon(done, receipt)
        else:
            self.waiting.append((raw, done))

    async def take(
        self, bound: Bound, items: Sequence[Item], *, mark: str | None = None, name: str = "", remote: str = ""
    ) -> list[Receipt]:
        if self.busy:
            raise StoreBusy("the store is full")
        receipts = [self._verdict(item.raw, item.control_id, item.params) for item in items]
        await self.gate.wait()
        return receipts

    def _verdict(self, raw: bytes, control_id: str, params: Mapping[str, str] | None) -> Receipt:
        if raw.startswith(b"bad"):
            return Receipt(Outcome.REFUSED, error=HubError("not JSON at all", code="codec.json"))
        self.control_ids.append(control_id)
        self.params.append(params or {})
        if control_id and control_id in self.seen:
            self.duplicates += 1
            return Receipt(Outcome.DUPLICATE, 1)
        self.seen.add(control_id)
        self.taken.append(raw)
        return Receipt(Outcome.OK, 1, reply=self.reply)

    def finish(self) -> None:
        """Say yes to everything that waits."""
        waiting, self.waiting = self.waiting, []
        for _, done in waiting:
            done(Receipt(Outcome.OK, 1))

    def note_run(self, bound: Bound, *, error: HubError | None = None, **more: Any) -> None:
        self.runs.append(error)

    def refuse(self, bound: Bound, raw: bytes, error: HubError, *, remote: str = "") -> None:
        self.refused.append(error)

    def ready(self) -> bool:
        return not self.busy


def bound(adapter: Adapter, direction: str, style: str = "event", **options: Any) -> Bound:
    interface = Interface.model_validate(
        {"direction": direction, "adapter": adapter.name, "codec": "json", "style": style}
    )
    model = adapter.listen_options if direction == "in" else adapter.connect_options
    assert model is not None
    return Bound("his/queue", "his", "queue", "his@1", interface, JsonCodec(), {}, model.model_validate(options))


@asynccontextmanager
async def receiving(
    adapter: Adapter, intake: MemoryIntake, style: str = "event", **options: Any
) -> AsyncIterator[Receiver]:
    receiver = adapter.receiver(bound(adapter, "in", style, **options), intake)  # type: ignore[arg-type]
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(5.0)


@asynccontextmanager
async def sending(adapter: Adapter, **options: Any) -> AsyncIterator[Sender]:
    sender = adapter.sender(bound(adapter, "out", **options))
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


def outgoing(body: bytes, key: str = "key-1", timeout: float = DEADLINE, **variables: str) -> Outgoing:
    return Outgoing(body, 1, key, "order.created", "C1", 1, timeout, variables)


async def insist(sender: Sender, body: bytes, key: str) -> int:
    """Send as a delivery does, until it is confirmed; how many tries it took."""
    for tries in itertools.count(1):
        try:
            reply = await sender.send(outgoing(body, key, 5.0))
            assert reply.ok
            return tries
        except (TransientError, UnreachableError):
            await asyncio.sleep(0.1)
    raise AssertionError


def stomp_broker(server: ActiveMq, port: int = 0, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port or server.stomp, "user": "hub", "password": "secret", **more}


async def publish(server: ActiveMq, destination: str, *bodies: bytes, **headers: str) -> None:
    link = await connect(StompBroker.model_validate(stomp_broker(server)), None, 1 << 20)
    found: list[Frame] = []
    link.on_frame = found.append
    for body in bodies:
        own = {"destination": destination, "persistent": "true", "receipt": "r", "content-length": str(len(body))}
        link.write("SEND", {**{name.replace("_", "-"): value for name, value in headers.items()}, **own}, body)
    await until(lambda: len(found) == len(bodies))
    assert {frame.command for frame in found} == {"RECEIPT"}
    await link.close(5.0)
