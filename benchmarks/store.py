"""The SQLite store: what the disk can do by itself, and what the store makes of it.

Run as ``python -m benchmarks.store [messages]``. Producers are coroutines that wait for their own commit, as senders do.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from hashlib import blake2b
from pathlib import Path

import uvloop

from hub.contract import StoreConfig
from hub.message import CallRecord, Delivery, DeliveryState, Direction, Message, Outcome
from hub.store.base import PutResult
from hub.store.sqlite import SqliteStore

__all__ = ["main"]

Row = tuple[str, float, str]

_MESSAGE_BYTES = 1_475
_DAY_US = 86_400_000_000


def raw_sync(folder: Path, size: int, seconds: float = 1.0) -> float:
    """Appends of ``size`` bytes, each followed by fdatasync, per second."""
    data = os.urandom(size)
    descriptor = os.open(folder / "raw", os.O_CREAT | os.O_WRONLY, 0o600)
    count = 0
    begun = time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds:
        os.write(descriptor, data)
        os.fdatasync(descriptor)
        count += 1
    os.close(descriptor)
    (folder / "raw").unlink()
    return count / spent


async def puts(folder: Path, producers: int, messages: int, *, finish: bool) -> tuple[float, float, float]:
    """Messages per second, and median and 99th percentile of the wait for the commit in ms."""
    store = SqliteStore(folder, StoreConfig(min_free_disk=0))
    await store.open()
    loop = asyncio.get_running_loop()
    raw = os.urandom(_MESSAGE_BYTES)
    content = blake2b(raw, digest_size=16).digest()
    numbers = iter(range(messages))
    run = time.time_ns()
    waits: list[float] = []

    async def produce() -> None:
        for number in numbers:
            now = time.time_ns() // 1000
            next_id = store.ids.next
            message = Message(
                next_id(),
                now,
                "his/adt",
                "ADT^A01",
                f"{run}-{number}",
                raw,
                {"patient_id": str(number % 5000)},
                content,
            )
            delivery = Delivery(next_id(), message.id, "to_lis", "lis/in", str(number % 5000), updated_at=now)
            call = CallRecord(next_id(), now, Direction.IN, "his/adt", Outcome.OK, remote="127.0.0.1:2575")
            future: asyncio.Future[PutResult] = loop.create_future()
            begun = time.perf_counter()
            store.put(message, [delivery], future.set_result, duplicate_window_us=_DAY_US, call=call)
            await future
            waits.append(time.perf_counter() - begun)
            if finish:
                delivery.state = DeliveryState.DELIVERED
                attempt = CallRecord(
                    next_id(),
                    now,
                    Direction.OUT,
                    "lis/in",
                    Outcome.OK,
                    message.id,
                    delivery.id,
                    1,
                    "200",
                    plugin="lis@1",
                )
                store.finish(delivery, attempt)

    begun = time.perf_counter()
    await asyncio.gather(*(produce() for _ in range(producers)))
    spent = time.perf_counter() - begun
    await store.close()
    waits.sort()
    return messages / spent, waits[len(waits) // 2] * 1e3, waits[int(len(waits) * 0.99)] * 1e3


def main(messages: int = 20_000) -> list[Row]:
    """Rows of (name, value, unit)."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TONGQU_BENCH_DIR")) as name:
        folder = Path(name)
        rows.append(("fdatasync of 4 KB appended", raw_sync(folder, 4096), "1/s"))
        rows.append(("fdatasync of 64 KB appended", raw_sync(folder, 65536), "1/s"))
        for finish in (False, True):
            for producers in (1, 8, 32, 128):
                count = min(messages, 4_000 * producers)
                rate, median, slow = uvloop.run(puts(folder / "store", producers, count, finish=finish))
                what = f"{'put + finish' if finish else 'put'}, {producers} producers"
                rows += [(what, rate, "messages/s"), (f"{what}, p50", median, "ms"), (f"{what}, p99", slow, "ms")]
    return rows


if __name__ == "__main__":
    for label, value, unit in main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000):
        print(f"{label:40} {value:12,.2f} {unit}")
