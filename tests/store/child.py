"""A process that writes to a store until it is killed; run by the tests as ``python child.py MODE FOLDER [ARGUMENT]``.

Every acknowledgement is reported on standard output as a line ``put ID`` or ``done ID``, unbuffered, so that the parent knows
what must not be lost.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from hub.contract import StoreConfig
from hub.message import DeliveryState
from hub.store.base import Put, PutResult
from hub.store.catalog import Catalog
from hub.store.sealer import Sealer
from hub.store.sqlite import SqliteStore
from hub.store.unit import UnitWriter
from tests.store.sealed_support import LocalKeys
from tests.store.store_support import finish, make_call, make_delivery, make_message, put_one

CONFIG = StoreConfig.model_construct(segment_messages=400, min_free_disk=0)


def say(word: str, number: int) -> None:
    os.write(1, f"{word} {number}\n".encode())


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def busy(folder: Path) -> None:
    """Put and finish at full speed."""
    store = SqliteStore(folder, CONFIG)
    await store.open()
    loop = asyncio.get_running_loop()

    async def produce(number: int) -> None:
        while True:
            message = make_message(store, f"{number}", os.urandom(600))
            deliveries = [make_delivery(store, message, target) for target in ("lis/in", "pacs/in")]
            future: asyncio.Future[PutResult] = loop.create_future()
            store.put(message, deliveries, future.set_result, call=make_call(store))
            say("put", (await future).message.id)
            first = deliveries[0]
            first.state = DeliveryState.DELIVERED
            store.finish(first, make_call(store, delivery_id=first.id), lambda d=first.id: say("done", d))  # type: ignore[misc]

    await asyncio.gather(*(produce(number) for number in range(16)))


async def claims(folder: Path) -> None:
    """Put and finish messages whose bodies go to sealed files, and remove old ones meanwhile."""
    config = StoreConfig.model_construct(segment_messages=40, min_free_disk=0, claim_above=4096)
    store = SqliteStore(folder, config, sealer=Sealer(LocalKeys(), "aes-256-gcm"))
    await store.open()

    async def produce(number: int) -> None:
        while True:
            message, delivery = await put_one(store, payload=os.urandom(5000), raw=os.urandom(9000))
            say("put", message.id)
            delivery.state = DeliveryState.DELIVERED
            call = make_call(store, delivery_id=delivery.id, request=os.urandom(6000), response=os.urandom(7000))
            await finish(store, delivery, DeliveryState.DELIVERED, call)
            say("done", delivery.id)

    async def prune() -> None:
        while True:
            await asyncio.sleep(0.1)
            report = await store.prune(time.time_ns() // 1_000_000 - 400)
            say("gone", report.messages)

    await asyncio.gather(prune(), *(produce(number) for number in range(8)))


async def read_along(folder: Path) -> None:
    """Read a source of numbered rows, page by page, from where it was left; every page is reported once it is stored."""
    store = SqliteStore(folder, CONFIG)
    await store.open()
    _, mark = await store.reader.mark("rows")
    row = int(mark or 0)
    while True:
        page = range(row + 1, row + 30)
        puts = []
        for number in page:
            message = make_message(store, f"row {number}", b"row %d" % number)
            puts.append(Put(message, [make_delivery(store, message, target) for target in ("lis/in", "pacs/in")]))
        await store.put_together(puts, mark=("rows", str(page[-1])))
        row = page[-1]
        say("row", row)


async def apply_and_die(folder: Path, stage: str) -> None:
    """Make a change of two segments and the catalog, and die at a certain point of it."""
    store = SqliteStore(folder, StoreConfig.model_construct(segment_messages=3, min_free_disk=0))
    await store.open()
    first, delivery = await put_one(store)
    for _ in range(6):
        await put_one(store)
    parts = 0

    add_intent, write_part, clear_intent = Catalog.add_intent, UnitWriter.write_part, Catalog.clear_intent

    def adding(self: Catalog, *arguments: object) -> int:
        if stage == "before the decision":
            die()
        number = add_intent(self, *arguments)  # type: ignore[arg-type]
        if stage == "after the decision":
            die()
        return number

    def writing(self: UnitWriter, *arguments: object) -> None:
        nonlocal parts
        write_part(self, *arguments)  # type: ignore[arg-type]
        parts += 1
        if stage == f"after part {parts}":
            die()

    def clearing(self: Catalog, number: int) -> None:
        clear_intent(self, number)
        if stage == "after all":
            die()

    Catalog.add_intent = adding  # type: ignore[method-assign,assignment]
    UnitWriter.write_part = writing  # type: ignore[method-assign,assignment]
    Catalog.clear_intent = clearing  # type: ignore[method-assign]
    delivery.state = DeliveryState.SKIPPED
    forwarded = make_delivery(store, first, "emr/in", route="", payload=b"fixed \x00")
    say("old", delivery.id)
    say("new", forwarded.id)
    await store.apply(create=[forwarded], update=[delivery], audit={"actor": "li", "action": "forward"})
    say("applied", 0)


if __name__ == "__main__":
    mode, where = sys.argv[1], Path(sys.argv[2])
    if mode == "apply":
        asyncio.run(apply_and_die(where, sys.argv[3]))
    else:
        asyncio.run({"busy": busy, "read": read_along, "claims": claims}[mode](where))
