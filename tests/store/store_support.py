"""Messages, deliveries and calls for tests of stores, and waiting for callbacks."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

from hub.message import CallRecord, Delivery, DeliveryState, Direction, Message, Outcome
from hub.store.base import PutResult, Store

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def now_us() -> int:
    return time.time_ns() // 1000


def make_message(store: Store, control_id: str = "", raw: bytes = b"MSH|^~\\&|", **values: object) -> Message:
    message = Message(
        id=store.ids.next(),
        received_at=now_us(),
        source="his/adt",
        type="ADT^A01",
        control_id=control_id,
        raw=raw,
        content_hash=blake2b(raw, digest_size=16).digest(),
        codec="hl7v2",
    )
    return replace(message, **values)  # type: ignore[arg-type]


def make_delivery(store: Store, message: Message, target: str = "lis/in", **values: object) -> Delivery:
    delivery = Delivery(store.ids.next(), message.id, "to_lis", target, updated_at=now_us(), message=message)
    return replace(delivery, **values)  # type: ignore[arg-type]


def make_call(store: Store, place: str = "his/adt", outcome: Outcome = Outcome.OK, **values: object) -> CallRecord:
    return replace(CallRecord(store.ids.next(), now_us(), Direction.IN, place, outcome), **values)  # type: ignore[arg-type]


async def put(
    store: Store,
    message: Message,
    deliveries: Sequence[Delivery] = (),
    *,
    window: int = 0,
    call: CallRecord | None = None,
) -> PutResult:
    future: asyncio.Future[PutResult] = asyncio.get_running_loop().create_future()
    store.put(message, deliveries, future.set_result, duplicate_window_us=window, call=call)
    return await asyncio.wait_for(future, 30)


async def put_one(
    store: Store, target: str = "lis/in", *, raw: bytes = b"", **values: object
) -> tuple[Message, Delivery]:
    """A new message with one delivery, which has the values."""
    message = make_message(store, raw=raw or os.urandom(20))
    delivery = make_delivery(store, message, target, **values)
    result = await put(store, message, [delivery])
    assert result.outcome is Outcome.OK
    return message, delivery


async def finish(store: Store, delivery: Delivery, state: DeliveryState, call: CallRecord | None = None) -> None:
    delivery.state = state
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    store.finish(delivery, call, lambda: future.set_result(None))
    await asyncio.wait_for(future, 30)


async def until(condition: object, seconds: float = 20.0) -> None:
    """Wait until a plain function is true."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)


def bare(delivery: Delivery) -> Delivery:
    """As lists of deliveries show it: without message and payload."""
    return replace(delivery, message=None, payload=None)
