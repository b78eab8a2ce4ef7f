"""The mock cluster of librdkafka in a process of its own: see :mod:`tests.peers.kafka_server`."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from hub.api import Bound, Item, Receipt
from tests.peers.mq_support import MemoryIntake
from tests.peers.process import Server

__all__ = ["KafkaMock", "MarkingIntake"]


class MarkingIntake(MemoryIntake):
    """Keeps marks with the pages, as the hub does."""

    def __init__(self, marks: dict[str, str] | None = None) -> None:
        super().__init__()
        self.marks = {} if marks is None else marks

    async def take(
        self, bound: Bound, items: Sequence[Item], *, mark: str | None = None, name: str = "", remote: str = ""
    ) -> list[Receipt]:
        receipts = await super().take(bound, items, mark=mark, name=name, remote=remote)
        if mark is not None:
            self.marks[name] = mark
        return receipts

    async def mark(self, bound: Bound, name: str = "") -> str:
        return self.marks.get(name, "")


class KafkaMock(Server):
    """One broker, without TLS and without a login; a partition keeps its last 5 MB.

    A kill loses everything: ``down`` and ``up`` keep it. A second member of a group is let in after the session timeout.
    """

    package = ""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)  # ``port`` is that of the commands
        self.broker = 0

    def command(self) -> Sequence[str]:
        return [sys.executable, str(Path(__file__).with_name("kafka_server.py")), str(self.port)]

    def start(self) -> None:
        super().start()
        self.broker = int(self.do("bootstrap").rpartition(":")[2])

    def do(self, *words: object) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as peer, peer.makefile("rw") as lines:
            lines.write(" ".join(str(word) for word in words) + "\n")
            lines.flush()
            return lines.readline().strip()

    def topic(self, name: str, partitions: int = 1) -> str:
        assert self.do("topic", name, partitions) == "0"
        return name

    # -- another client ------------------------------------------------------------------------------------------

    def put(self, topic: str, *bodies: bytes | None, partition: int = 0, **more: Any) -> None:
        producer = Producer({"bootstrap.servers": f"127.0.0.1:{self.broker}", "log_level": 0})
        for body in bodies:
            producer.produce(topic, body, partition=partition, **more)
        assert producer.flush(20) == 0

    def committed(self, group: str, topic: str, partitions: int = 1) -> list[int]:
        """Offsets the group knows; negative where there is none."""
        consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{self.broker}", "group.id": group, "log_level": 0})
        found = consumer.committed([TopicPartition(topic, number) for number in range(partitions)], 10)
        consumer.close()
        return [each.offset for each in found]

    def commit(self, group: str, topic: str, offset: int) -> None:
        """As another member of the group would."""
        consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{self.broker}", "group.id": group, "log_level": 0})
        consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
        consumer.close()

    def all(self, topic: str, count: int, *, wait: float = 20.0) -> list[Message]:
        """The first ``count`` messages of partition 0, or those that came until nothing more did for ``wait`` seconds."""
        consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{self.broker}", "group.id": "watch", "log_level": 0})
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        found: list[Message] = []
        while len(found) < count and (message := consumer.poll(wait)) is not None:
            if message.error() is None:
                found.append(message)
        consumer.close()
        return found
