"""Message queues, beside the client library of each broker; STOMP, which has none here, beside bare streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis as redis_py
import uvloop
from proton.reactor import Container

from adapters.amqp1.adapter import Amqp1Adapter
from adapters.kafka.adapter import KafkaAdapter
from adapters.mq.redis import RedisAdapter
from adapters.mq.stomp import StompAdapter
from benchmarks import mq as kombu_alone
from benchmarks.adapters.measure import BODY, Case, Run, bind, client, expect, lanes, read_all
from benchmarks.queues import ProtonAlone, bare_consume, bare_produce
from tests.peers.amqp091 import Other
from tests.peers.kafka_peer import KafkaMock
from tests.peers.queues import ActiveMq, RabbitMq, Redis

__all__ = ["amqp1", "kafka", "rabbitmq", "redis", "stomp"]

_PREFETCH = 256
_LANES = 64
_PAGE = 100


def _bodies(count: int) -> list[bytes]:
    return [BODY] * count


def rabbitmq(folder: Path, share: float) -> Iterator[Case]:
    count = max(50, int(5_000 * share))
    few = max(20, count // 4)  # one confirm at a time is slow
    server = RabbitMq(folder / "rabbitmq")
    server.start()
    other = Other(server)

    def consume(run: Any) -> Run:
        kombu_alone.fill(server, count)
        found = client(run, count)
        expect(count - other.count(kombu_alone.QUEUE), count, "mq")
        return found

    def publish(run: Any, number: int) -> Run:
        kombu_alone.fill(server, 0)
        found = client(run, number)
        expect(other.count(kombu_alone.QUEUE), number, "mq")
        return found

    try:
        yield Case(
            "mq",
            "in",
            "kombu, a consumer that acknowledges each message",
            lambda: consume(lambda: uvloop.run(kombu_alone.adapter_consume(server, count))),
            lambda: consume(lambda: kombu_alone.kombu_consume(server, count)),
        )
        yield Case(
            "mq",
            "out",
            "kombu with its own confirms, one at a time",
            lambda: publish(lambda: uvloop.run(kombu_alone.adapter_publish(server, count)), count),
            lambda: publish(lambda: kombu_alone.kombu_publish(server, few), few),
        )
    finally:
        other.close()
        server.stop()


def amqp1(folder: Path, share: float) -> Iterator[Case]:
    count = max(50, int(5_000 * share))
    server = RabbitMq(folder / "rabbitmq")
    server.start()
    other = Other(server)
    queue = other.declare("bench")
    node, url = f"/amq/queue/{queue}", f"amqp://guest:guest@127.0.0.1:{server.port}"
    broker = {"host": "127.0.0.1", "port": server.port, "user": "guest", "password": "guest"}
    adapter = Amqp1Adapter()

    def send(run: Any) -> Run:
        while other.get(queue) is not None:
            pass
        found: Run = run()
        expect(_settled(lambda: other.count(queue), count), count, "amqp1")
        return found

    def receive(run: Any) -> Run:
        while other.get(queue) is not None:
            pass
        other.put(queue, *_bodies(count))
        _settled(lambda: other.count(queue), count)
        found: Run = run()
        expect(count - _settled(lambda: other.count(queue), 0), count, "amqp1")
        return found

    def proton(sending: bool) -> Run:
        return client(lambda: Container(ProtonAlone(url, node, count, sending)).run(), count)

    try:
        source = {**broker, "source": node, "prefetch": _PREFETCH}
        yield Case(
            "amqp1",
            "in",
            "Proton's callback client",
            lambda: receive(lambda: read_all(adapter, bind(adapter, "in", source), count)),
            lambda: receive(lambda: proton(False)),
        )
        target = {**broker, "target": node}
        yield Case(
            "amqp1",
            "out",
            "Proton's callback client",
            lambda: send(lambda: lanes(adapter, bind(adapter, "out", target), _bodies(count), _PREFETCH)),
            lambda: send(lambda: proton(True)),
        )
    finally:
        other.close()
        server.stop()


def _settled(count: Any, wanted: int) -> int:
    """What a broker counts, once it says what is wanted or a moment has passed: it counts late."""
    until = time.monotonic() + 5.0
    while (found := int(count())) != wanted and time.monotonic() < until:
        time.sleep(0.02)
    return found


def redis(folder: Path, share: float) -> Iterator[Case]:
    count = max(_PAGE, int(10_000 * share) // _PAGE * _PAGE)
    server = Redis(folder / "redis")
    server.start()
    other = redis_py.Redis.from_url(server.url)
    adapter = RedisAdapter()
    options = {"url": f"redis://127.0.0.1:{server.port}/0", "password": "secret", "stream": "bench"}

    def receive(run: Any) -> Run:
        other.delete("bench")
        pipe = other.pipeline(transaction=False)
        for _ in range(count):
            pipe.xadd("bench", {"body": BODY})
        pipe.execute()
        other.xgroup_create("bench", "hub", id="0")
        found: Run = run()
        expect(int(other.xpending("bench", "hub")["pending"]), 0, "redis: not acknowledged")
        return found

    def read() -> Run:
        def work() -> None:
            left = count
            while left > 0:
                found: Any = other.xreadgroup("hub", "bare", {"bench": ">"}, count=_PAGE)
                for _, entries in found:
                    other.xack("bench", "hub", *(number for number, _ in entries))
                    left -= len(entries)

        return client(work, count)

    def send(run: Any) -> Run:
        other.delete("bench")
        found: Run = run()
        expect(int(other.xlen("bench")), count, "redis")
        return found

    def add() -> Run:
        def work() -> None:
            for _ in range(count):
                other.xadd("bench", {"body": BODY})

        return client(work, count)

    try:
        yield Case(
            "redis",
            "in",
            "redis-py, a group of a stream, a hundred at a time",
            lambda: receive(lambda: read_all(adapter, bind(adapter, "in", options), count)),
            lambda: receive(read),
        )
        yield Case(
            "redis",
            "out",
            "redis-py, XADD one at a time",
            lambda: send(lambda: lanes(adapter, bind(adapter, "out", options), _bodies(count), _LANES)),
            lambda: send(add),
        )
    finally:
        other.close()
        server.stop()


def stomp(folder: Path, share: float) -> Iterator[Case]:
    count = max(50, int(3_000 * share))
    server = ActiveMq(folder / "activemq")
    server.start()
    broker = {
        "host": "127.0.0.1",
        "port": server.stomp,
        "user": "hub",
        "password": "secret",
        "destination": "/queue/bench",
    }
    adapter = StompAdapter()

    def receive(run: Any) -> Run:
        uvloop.run(_stomp_send(server.stomp, count))
        found: Run = run()
        return found

    def send(run: Any) -> Run:
        found: Run = run()
        uvloop.run(_stomp_receive(server.stomp, count))  # it waits until all are there
        return found

    try:
        yield Case(
            "stomp",
            "in",
            "asyncio's streams, which look for the end of a frame alone",
            lambda: receive(lambda: read_all(adapter, bind(adapter, "in", broker), count)),
            lambda: receive(lambda: client(lambda: uvloop.run(_stomp_receive(server.stomp, count)), count)),
        )
        yield Case(
            "stomp",
            "out",
            "asyncio's streams, receipts counted",
            lambda: send(lambda: lanes(adapter, bind(adapter, "out", broker), _bodies(count), _LANES)),
            lambda: send(lambda: client(lambda: uvloop.run(_stomp_send(server.stomp, count)), count)),
        )
    finally:
        server.stop()


async def _stomp(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"CONNECT\naccept-version:1.2\nhost:/\nlogin:hub\npasscode:secret\n\n\0")
    await reader.readuntil(b"\0")
    return reader, writer


async def _stomp_send(port: int, count: int) -> None:
    """Persistent messages, as many at once as the adapter has under way."""
    reader, writer = await _stomp(port)
    frame = b"SEND\ndestination:/queue/bench\npersistent:true\nreceipt:r\ncontent-length:%d\n\n%b\0" % (len(BODY), BODY)
    sent = answered = 0
    while answered < count:
        while sent < count and sent - answered < _LANES:
            writer.write(frame)
            sent += 1
        await reader.readuntil(b"\0")
        answered += 1
    writer.close()


async def _stomp_receive(port: int, count: int) -> None:
    reader, writer = await _stomp(port)
    writer.write(
        b"SUBSCRIBE\nid:0\ndestination:/queue/bench\nack:client-individual\nactivemq.prefetchSize:%d\n\n\0" % _PREFETCH
    )
    for _ in range(count):
        async with asyncio.timeout(30):
            frame = await reader.readuntil(b"\0")
        begin = frame.index(b"\nack:") + 5
        writer.write(b"ACK\nid:%b\n\n\0" % frame[begin : frame.index(b"\n", begin)])
    writer.write(b"DISCONNECT\nreceipt:bye\n\n\0")
    await reader.readuntil(b"\0")
    writer.close()


def kafka(folder: Path, share: float) -> Iterator[Case]:
    count = max(50, int(3_000 * share))  # a partition of the mock cluster keeps 5 MB
    server = KafkaMock(folder / "kafka")
    server.start()
    adapter = KafkaAdapter()
    brokers = f"127.0.0.1:{server.broker}"
    numbers = iter(range(1_000_000))

    def topic(filled: bool) -> str:
        name = f"bench{next(numbers)}"
        server.topic(name)
        if filled:
            bare_produce(brokers, name, count)
        return name

    def receive() -> Run:
        options = {"brokers": [brokers], "topics": [topic(True)], "group": f"hub{next(numbers)}"}
        return read_all(adapter, bind(adapter, "in", options), count)

    def consume() -> Run:
        name = topic(True)
        return client(lambda: bare_consume(brokers, name, count), count)

    def send() -> Run:
        name = topic(False)
        run = lanes(adapter, bind(adapter, "out", {"brokers": [brokers], "topic": name}), _bodies(count), _PREFETCH)
        bare_consume(brokers, name, count)  # it waits until all are there
        return run

    def produce() -> Run:
        name = topic(False)
        return client(lambda: bare_produce(brokers, name, count), count)

    try:
        yield Case("kafka", "in", "confluent-kafka's consumer, 500 at a time", receive, consume)
        yield Case("kafka", "out", "confluent-kafka's producer", send, produce)
    finally:
        server.stop()
