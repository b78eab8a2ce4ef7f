"""``mq`` against kombu alone: consuming and publishing on one RabbitMQ, in one run, and the processor time of the client.

``python -m benchmarks.mq [--messages N]``. The intake acknowledges at once, so that only the adapter is measured. Needs the
Debian package ``rabbitmq-server``.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import amqp
import kombu
import uvloop

from adapters.mq.adapter import MqAdapter
from hub.api import Outgoing, Receipt
from hub.message import Outcome
from tests.peers.mq_support import bound
from tests.peers.queues import RabbitMq

_ROUNDS = 3
_BODY = b'{"n":1,"text":"' + b"x" * 1000 + b'"}'
_PREFETCH = 256
QUEUE = "bench"


class _Intake:
    """Takes and acknowledges at once."""

    def __init__(self, wanted: int, finished: Callable[[], None]) -> None:
        self._left, self._finished = wanted, finished

    def submit(self, bound: Any, raw: bytes, done: Callable[[Any], None], **more: Any) -> None:
        done(Receipt(Outcome.OK, 1))
        self._left -= 1
        if not self._left:
            self._finished()

    def ready(self) -> bool:
        return True


def fill(server: RabbitMq, count: int) -> None:
    with kombu.Connection(server.url) as connection:
        channel: Any = connection.channel()
        channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments={"x-queue-type": "classic"})
        channel.queue_purge(QUEUE)
        for number in range(count):
            channel.basic_publish(amqp.Message(_BODY, message_id=str(number)), routing_key=QUEUE)
        while channel.queue_declare(QUEUE, passive=True).message_count < count:
            time.sleep(0.01)


def kombu_consume(server: RabbitMq, count: int) -> None:
    """kombu as its documentation shows it: a consumer that acknowledges each message."""
    left = count

    def take(message: Any) -> None:
        nonlocal left
        message.ack()
        left -= 1

    with kombu.Connection(server.url) as connection:
        queue = kombu.Queue(QUEUE, no_declare=True)
        with connection.Consumer([queue], on_message=take, prefetch_count=_PREFETCH, auto_declare=False):
            while left:
                connection.drain_events(timeout=10)


async def adapter_consume(server: RabbitMq, count: int) -> None:
    finished = asyncio.Event()
    options = {"url": f"amqp://127.0.0.1:{server.port}/", "queue": {"name": QUEUE}, "prefetch": _PREFETCH}
    adapter = MqAdapter()
    receiver = adapter.receiver(bound(adapter, "in", **options), _Intake(count, finished.set))  # type: ignore[arg-type]
    await receiver.start()
    await finished.wait()
    await receiver.stop(10.0)


def kombu_publish(server: RabbitMq, count: int) -> None:
    """kombu with its own confirms: one at a time."""
    with kombu.Connection(server.url, transport_options={"confirm_publish": True}) as connection:
        channel: Any = connection.channel()
        for _ in range(count):
            channel.basic_publish(amqp.Message(_BODY, delivery_mode=2), routing_key=QUEUE)


async def adapter_publish(server: RabbitMq, count: int) -> None:
    adapter = MqAdapter()
    sender = adapter.sender(bound(adapter, "out", url=f"amqp://127.0.0.1:{server.port}/", routing_key=QUEUE))
    await sender.start()
    numbers = iter(range(count))

    async def lane() -> None:
        for number in numbers:
            await sender.send(Outgoing(_BODY, 1, str(number), "t", "c", 1, 60.0))

    await asyncio.gather(*(lane() for _ in range(64)))
    await sender.stop()


def measure(run: Callable[[], Any], count: int) -> tuple[float, float]:
    """Messages per second, and microseconds of processor time of this process per message."""
    began, used = time.perf_counter(), time.process_time()
    run()
    took, used = time.perf_counter() - began, time.process_time() - used
    return count / took, used / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mq", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    count = parser.parse_args().messages
    with tempfile.TemporaryDirectory() as folder:
        server = RabbitMq(Path(folder) / "rabbitmq")
        Path(folder).chmod(0o711)
        server.start()
        try:
            rows: dict[str, list[tuple[float, float]]] = {}
            for _ in range(_ROUNDS):
                few = count // 4  # one confirm at a time is slow
                for name, number, run in (
                    ("consume, kombu alone", count, lambda: kombu_consume(server, count)),
                    ("consume, adapter", count, lambda: uvloop.run(adapter_consume(server, count))),
                    ("publish with confirms, kombu alone", few, lambda few=few: kombu_publish(server, few)),
                    (
                        "publish with confirms, adapter, 64 at once",
                        count,
                        lambda: uvloop.run(adapter_publish(server, count)),
                    ),
                ):
                    fill(server, number if name.startswith("consume") else 0)
                    rows.setdefault(name, []).append(measure(run, number))
        finally:
            server.stop()
    for name, figures in rows.items():
        rate, cost = (statistics.median(values) for values in zip(*figures, strict=True))
        print(f"{name:<46}{rate:>10,.0f} messages/s{cost:>8.0f} us of processor time per message")


if __name__ == "__main__":
    main()
