"""The sending side of ``redis``: one command for each message, whose answer is the confirm."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any, cast

import orjson

from adapters.mq.envelope import Filler
from adapters.mq.redis_link import RedisPool
from adapters.mq.redis_options import RedisConnect
from hub.api import Bound, Outgoing, Reply, Sender, TransientError, UnreachableError
from hub.i18n import t

__all__ = ["RedisSender"]


class RedisSender(Sender):
    """Pushes to a list or adds to a stream."""

    def __init__(self, bound: Bound) -> None:
        self._place = bound.place
        self._options = options = cast(RedisConnect, bound.options)
        self._address = options.address
        self._content_type = bound.codec.content_type
        texts = {"key": options.key} | {f"header {name}": text for name, text in options.headers.items()}
        self._filler = Filler(bound.place, texts)
        self._pool: RedisPool | None = None
        self._sent = 0

    async def start(self) -> None:
        self._pool = RedisPool(self._options, self._options.connections)

    async def stop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def send(self, outgoing: Outgoing) -> Reply:
        filled = self._filler.fill(outgoing)
        headers = {name: filled[f"header {name}"] for name in self._options.headers}
        (answer,) = await self._call(self._command(filled["key"], headers, outgoing), outgoing.timeout)
        self._sent += 1
        return Reply(True, code=answer.decode() if isinstance(answer, bytes) else "pushed")

    @property
    def capacity(self) -> int:
        return self._options.connections

    async def probe(self) -> str:
        started = time.perf_counter()
        await self._call(("PING",), self._options.connect_timeout + self._options.answer_timeout)
        took = (time.perf_counter() - started) * 1000
        return t(f"{self._address} answers in {took:.0f} ms", f"{self._address} 应答用时 {took:.0f} 毫秒")

    def status(self) -> dict[str, Any]:
        return {"server": self._address, "key": self._options.key, "sent": self._sent}

    async def _call(self, command: tuple[Any, ...], seconds: float) -> list[Any]:
        if self._pool is None:
            raise UnreachableError(t(f"{self._place} is not started", f"{self._place} 尚未启动"), code="mq.stopped")
        try:
            async with asyncio.timeout(seconds):
                return await self._pool.call(command)
        except TimeoutError:
            raise TransientError(
                t(
                    f"{self._address} did not answer within {seconds:g} s; it may have the message",
                    f"{self._address} 在 {seconds:g} 秒内未应答；消息可能已被接收",
                ),
                code="mq.timeout",
            ) from None

    def _command(self, key: str, headers: dict[str, str], outgoing: Outgoing) -> tuple[Any, ...]:
        options = self._options
        if options.stream:
            length = () if options.max_length is None else ("MAXLEN", "~", options.max_length)
            fields: list[Any] = [options.field, outgoing.body, "idempotency_key", outgoing.idempotency_key]
            for name, value in headers.items():
                fields += [name, value]
            return ("XADD", key, *length, "*", *fields)
        element = outgoing.body
        if options.format == "kombu":
            element = orjson.dumps(
                {
                    "body": base64.b64encode(outgoing.body).decode(),
                    "content-type": self._content_type,
                    "content-encoding": "binary",
                    "headers": headers,
                    "properties": {
                        "body_encoding": "base64",
                        "delivery_mode": 2,
                        "delivery_tag": outgoing.idempotency_key,
                        "message_id": outgoing.idempotency_key,
                        "delivery_info": {"exchange": "", "routing_key": key},
                        "priority": 0,
                    },
                }
            )
        return ("LPUSH" if options.push == "left" else "RPUSH", key, element)
