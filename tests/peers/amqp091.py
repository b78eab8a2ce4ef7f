"""A client of another protocol on the same queues: AMQP 0-9-1, to see what AMQP 1.0 made of a message."""

from __future__ import annotations

from typing import Any

import amqp
import kombu

from tests.peers.queues import RabbitMq

__all__ = ["Other"]


class Other:
    """Makes queues, publishes, takes and counts."""

    def __init__(self, server: RabbitMq) -> None:
        self._connection = kombu.Connection(server.url)
        self._channel: Any = self._connection.channel()

    def declare(self, queue: str, **arguments: Any) -> str:
        found = {"x-queue-type": "classic", **{name.replace("_", "-"): value for name, value in arguments.items()}}
        self._channel.queue_declare(queue, durable=True, auto_delete=False, arguments=found)
        return queue

    def put(self, queue: str, *bodies: bytes, **properties: Any) -> None:
        headers = properties.pop("headers", None)
        for body in bodies:
            message = amqp.Message(body, application_headers=headers, delivery_mode=2, **properties)
            self._channel.basic_publish(message, routing_key=queue)

    def get(self, queue: str) -> Any:
        return self._channel.basic_get(queue, no_ack=True)

    def count(self, queue: str) -> int:
        """Messages that wait, without those a consumer holds."""
        return int(self._channel.queue_declare(queue, passive=True).message_count)

    def consumers(self, queue: str) -> int:
        return int(self._channel.queue_declare(queue, passive=True).consumer_count)

    def close(self) -> None:
        self._connection.close()
