"""``amqp1`` and ``kafka`` against their bare libraries, in one run: messages per second and processor time of the client.

``python -m benchmarks.queues [--messages N]``. The intake acknowledges at once, so that only the adapter is measured. AMQP 1.0 on RabbitMQ
(Debian package ``rabbitmq-server``), Proton's own blocking and callback clients beside it; Kafka on the mock cluster of librdkafka.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop
from confluent_kafka import Consumer, Producer
from proton import Message
from proton.handlers import MessagingHandler
from proton.reactor import Container

from adapters.amqp1.adapter import Amqp1Adapter
from adapters.kafka.adapter import KafkaAdapter
from benchmarks.mq import measure
from hub.api import Adapter, Outgoing, Receipt
from hub.message import Outcome
from tests.peers.amqp091 import Other
from tests.peers.kafka_peer import KafkaMock
from tests.peers.mq_support import bound
from tests.peers.queues import RabbitMq

_BODY = b'{"n":1,"text":"' + b"x" * 1000 + b'"}'
_PREFETCH = 256
_LANES = 256


class _Intake:
    """Takes and acknowledges at once."""

    def __init__(self, wanted: int) -> None:
        self._left, self.finished = wanted, asyncio.Event()

    def submit(self, bound: Any, raw: bytes, done: Callable[[Any], None], **more: Any) -> None:
        done(Receipt(Outcome.OK, 1))
        self._count(1)

    async def take(self, bound: Any, items: Sequence[Any], **more: Any) -> list[Receipt]:
        self._count(len(items))
        return [Receipt(Outcome.OK, 1) for _ in items]

    async def mark(self, bound: Any, name: str = "") -> str:
        return ""

    def ready(self) -> bool:
        return True

    def _count(self, number: int) -> None:
        self._left -= number
        if self._left <= 0:
            self.finished.set()


class ProtonAlone(MessagingHandler):  # type: ignore[misc]
    """Proton as its examples show it: a container, messages settled when they come or are accepted."""

    def __init__(self, url: str, node: str, count: int, send: bool) -> None:
        super().__init__(prefetch=_PREFETCH)
        self._url, self._node, self._left, self._unsent, self._send = url, node, count, count, send

    def on_start(self, event: Any) -> None:
        connection = event.container.connect(self._url, allowed_mechs="PLAIN", allow_insecure_mechs=True)
        make = event.container.create_sender if self._send else event.container.create_receiver
        make(connection, self._node)

    def on_sendable(self, event: Any) -> None:
        while self._unsent and event.sender.credit and self._left - self._unsent > -_LANES:
            event.sender.send(Message(_BODY, inferred=True, durable=True, id=str(self._unsent)))
            self._unsent -= 1

    def on_accepted(self, event: Any) -> None:
        self._done(event)
        self.on_sendable(event)

    def on_message(self, event: Any) -> None:
        self._done(event)

    def _done(self, event: Any) -> None:
        self._left -= 1
        if not self._left:
            event.connection.close()


async def _receive(adapter: Adapter, count: int, **options: Any) -> None:
    intake = _Intake(count)
    receiver = adapter.receiver(bound(adapter, "in", **options), intake)  # type: ignore[arg-type]
    await receiver.start()
    await intake.finished.wait()
    await receiver.stop(10.0)


async def _send(adapter: Adapter, count: int, **options: Any) -> None:
    sender = adapter.sender(bound(adapter, "out", **options))
    await sender.start()
    numbers = iter(range(count))

    async def lane() -> None:
        for number in numbers:
            await sender.send(Outgoing(_BODY, 1, str(number), "t", "c", 1, 60.0))

    await asyncio.gather(*(lane() for _ in range(_LANES)))
    await sender.stop()


def bare_produce(brokers: str, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": brokers, "acks": "all", "enable.idempotence": True, "log_level": 0})
    confirmed = []
    for number in range(count):
        producer.produce(
            topic, _BODY, headers=[("idempotency-key", str(number))], on_delivery=lambda *a: confirmed.append(a)
        )
        producer.poll(0)
    producer.flush(60)
    assert len(confirmed) == count


def bare_consume(brokers: str, topic: str, count: int) -> None:
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": f"bare-{topic}", "auto.offset.reset": "earliest", "log_level": 0}
    )
    consumer.subscribe([topic])
    left = count
    while left > 0:
        left -= len([message.value() for message in consumer.consume(500, 0.1)])
    consumer.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queues", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    count = parser.parse_args().messages
    few = min(count, 4000)  # a partition of the mock cluster keeps 5 MB
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        rabbitmq, kafka = RabbitMq(Path(folder) / "rabbitmq"), KafkaMock(Path(folder) / "kafka")
        try:
            rabbitmq.start()
            kafka.start()
            other = Other(rabbitmq)
            queue = other.declare("bench")
            kafka.topic("bench")
            brokers, node = f"127.0.0.1:{kafka.broker}", f"/amq/queue/{queue}"
            url = f"amqp://guest:guest@127.0.0.1:{rabbitmq.port}"
            broker = {"host": "127.0.0.1", "port": rabbitmq.port, "user": "guest", "password": "guest"}
            amqp1, adapter = Amqp1Adapter(), KafkaAdapter()
            listen = {"brokers": [brokers], "topics": ["bench"], "group": "hub"}
            for name, number, run in (
                ("amqp1 send, Proton alone", count, lambda: Container(ProtonAlone(url, node, count, True)).run()),
                ("amqp1 receive, Proton alone", count, lambda: Container(ProtonAlone(url, node, count, False)).run()),
                ("amqp1 send, adapter", count, lambda: uvloop.run(_send(amqp1, count, **broker, target=node))),
                (
                    "amqp1 receive, adapter",
                    count,
                    lambda: uvloop.run(_receive(amqp1, count, **broker, source=node, prefetch=_PREFETCH)),
                ),
                ("kafka send, confluent-kafka alone", few, lambda: bare_produce(brokers, "bench", few)),
                ("kafka receive, confluent-kafka alone", few, lambda: bare_consume(brokers, "bench", few)),
                (
                    "kafka receive, adapter",
                    few,
                    lambda: uvloop.run(_receive(adapter, few, **listen)),
                ),
                ("kafka send, adapter", few, lambda: uvloop.run(_send(adapter, few, brokers=[brokers], topic="bench"))),
            ):
                rate, cost = measure(run, number)
                print(f"{name:<40}{rate:>10,.0f} messages/s{cost:>8.0f} us of processor time per message", flush=True)
        finally:
            kafka.stop()
            rabbitmq.stop()


if __name__ == "__main__":
    main()
