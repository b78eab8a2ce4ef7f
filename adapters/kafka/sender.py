"""The sending side of ``kafka``: each message successful with its delivery report."""

from __future__ import annotations

import time
from typing import Any, cast

from adapters.kafka.options import KafkaConnect
from adapters.kafka.producing import Producing
from adapters.mq.envelope import Filler
from adapters.tls import client_context
from hub.api import Bound, Outgoing, Reply, Sender
from hub.i18n import t

__all__ = ["KafkaSender"]


class KafkaSender(Sender):
    """One producer; the client is made with the first call."""

    def __init__(self, bound: Bound) -> None:
        self._options = options = cast(KafkaConnect, bound.options)
        content_type = options.content_type or bound.codec.content_type
        self._fixed = [("content-type", content_type.encode())] if content_type else []
        texts = {"topic": options.topic, "key": options.key}
        self._filler = Filler(bound.place, texts | {f"header {name}": text for name, text in options.headers.items()})
        self._producing = Producing(options, bound.place, bound.contract.timeout)
        self._sent = 0

    async def start(self) -> None:
        """The client is made with the first call. Raises :class:`HubError` for TLS files that can't be used."""
        if self._options.tls is not None:
            client_context(self._options.tls)
        self._producing.start()

    async def stop(self) -> None:
        await self._producing.stop()

    async def send(self, outgoing: Outgoing) -> Reply:
        filled = self._filler.fill(outgoing)
        options = self._options
        headers = self._fixed + [(name, filled[f"header {name}"].encode()) for name in options.headers]
        if options.idempotency_header:
            headers.append((options.idempotency_header, outgoing.idempotency_key.encode()))
        key = filled["key"].encode() if options.key else None
        await self._producing.publish(filled["topic"], outgoing.body, key, headers, outgoing.timeout)
        self._sent += 1
        return Reply(True, code="delivered")

    @property
    def capacity(self) -> int:
        return self._options.pending

    async def probe(self) -> str:
        started = time.perf_counter()
        topic = self._options.topic
        brokers = await self._producing.ask(topic if "{" not in topic else None)
        took = (time.perf_counter() - started) * 1000
        return t(
            f"{self._options.address}: {brokers} broker(s), {topic}, {took:.0f} ms",
            f"{self._options.address}：{brokers} 个节点，{topic}，{took:.0f} 毫秒",
        )

    def status(self) -> dict[str, Any]:
        return {
            "broker": self._options.address,
            "connected": self._producing.connected,
            "unconfirmed": self._producing.pending,
            "sent": self._sent,
        }
