"""The sending side of ``amqp1``: unsettled transfers, each successful when the broker has accepted it."""

from __future__ import annotations

import ssl
import time
from typing import Any, cast

from adapters.amqp1.link import connect, context_of
from adapters.amqp1.message import encode
from adapters.amqp1.options import Amqp1Connect
from adapters.amqp1.outbox import Outbox
from adapters.mq.envelope import Filler
from hub.api import Bound, Outgoing, PermanentError, Reply, Sender
from hub.i18n import t

__all__ = ["Amqp1Sender"]

_FAREWELL_S = 2.0


class Amqp1Sender(Sender):
    """One connection, opened with the first call; calls under way share it."""

    def __init__(self, bound: Bound) -> None:
        self._place = bound.place
        self._options = options = cast(Amqp1Connect, bound.options)
        self._address = options.address
        self._content_type = options.content_type or bound.codec.content_type
        texts = {"target": options.target, "subject": options.subject}
        self._filler = Filler(
            bound.place, texts | {f"property {name}": text for name, text in options.properties.items()}
        )
        self._context: ssl.SSLContext | None = None
        self._outbox: Outbox
        self._sent = 0

    async def start(self) -> None:
        """The connection is opened with the first call. Raises :class:`HubError` for TLS files that can't be used."""
        self._context = context_of(self._options)
        self._outbox = Outbox(self._options, self._context, self._place)

    async def stop(self) -> None:
        await self._outbox.close()

    async def send(self, outgoing: Outgoing) -> Reply:
        filled = self._filler.fill(outgoing)
        options = self._options
        body: bytes | str = outgoing.body
        if options.text:
            try:
                body = outgoing.body.decode()
            except UnicodeDecodeError:
                raise PermanentError(
                    t(
                        "a text message must be UTF-8 -> set text: false",
                        "文本消息必须是 UTF-8 编码 -> 请设置 text: false",
                    ),
                    code="mq.text",
                ) from None
        payload = encode(
            body,
            message_id=outgoing.idempotency_key,
            properties={name: filled[f"property {name}"] for name in options.properties},
            content_type="" if options.text else self._content_type,
            subject=filled["subject"],
            to=filled["target"],
            durable=options.durable,
        )
        await self._outbox.publish(filled["target"], payload, outgoing.timeout)
        self._sent += 1
        return Reply(True, code="accepted")

    @property
    def capacity(self) -> int:
        return self._options.pending

    async def probe(self) -> str:
        started = time.perf_counter()
        link = await connect(self._options, self._context)
        await link.close(_FAREWELL_S)
        took = (time.perf_counter() - started) * 1000
        return t(f"logged in to {self._address} in {took:.0f} ms", f"已登录 {self._address}，用时 {took:.0f} 毫秒")

    def status(self) -> dict[str, Any]:
        return {
            "broker": self._address,
            "connected": self._outbox.connected,
            "connections": self._outbox.connections,
            "unconfirmed": self._outbox.unconfirmed,
            "sent": self._sent,
        }
