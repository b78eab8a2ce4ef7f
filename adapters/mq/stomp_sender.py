"""The sending side of ``stomp``: SEND with a receipt, which is the broker's confirm."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any, cast

from adapters.mq.envelope import Filler
from adapters.mq.stomp_frames import Frame
from adapters.mq.stomp_link import Refused, StompLink, connect, context_of, explain
from adapters.mq.stomp_options import StompConnect
from hub.api import Bound, Outgoing, PermanentError, Reply, Sender, SendError, TransientError, UnreachableError
from hub.i18n import t

__all__ = ["StompSender"]

_FAREWELL_S = 2.0
#: The largest frame a broker may answer a sender with.
_ANSWER_LIMIT = 1 << 20


class StompSender(Sender):
    """One connection, opened with the first call; calls under way share it."""

    def __init__(self, bound: Bound) -> None:
        self._place = bound.place
        self._options = options = cast(StompConnect, bound.options)
        self._address = options.address
        self._content_type = options.content_type or bound.codec.content_type
        texts = {"destination": options.destination} | {
            f"header {name}": text for name, text in options.headers.items()
        }
        self._filler = Filler(bound.place, texts)
        self._context: ssl.SSLContext | None = None
        self._link: StompLink | None = None
        self._opening: asyncio.Lock
        self._started = False
        self._number = 0
        self._pending: dict[str, asyncio.Future[None]] = {}
        self._sent = self._connections = 0

    async def start(self) -> None:
        self._context = context_of(self._options)
        self._opening = asyncio.Lock()
        self._started = True

    async def stop(self) -> None:
        self._started = False
        link, self._link = self._link, None
        if link is not None:
            await link.close(_FAREWELL_S)

    async def send(self, outgoing: Outgoing) -> Reply:
        filled = self._filler.fill(outgoing)
        options = self._options
        headers = {name: filled[f"header {name}"] for name in options.headers}
        headers["content-type"] = self._content_type
        if options.persistent:
            headers["persistent"] = "true"
        if options.idempotency_header:
            headers[options.idempotency_header] = outgoing.idempotency_key
        body = outgoing.body
        if not options.text:
            headers["content-length"] = str(len(body))
        elif b"\0" in body:
            raise PermanentError(
                t(
                    "a text message can't have a NUL byte -> set text: false",
                    "文本消息不能含有 NUL 字节 -> 请设置 text: false",
                ),
                code="mq.text",
            )
        await self._exchange(filled["destination"], headers, body, outgoing.timeout)
        self._sent += 1
        return Reply(True, code="receipt")

    @property
    def capacity(self) -> int:
        return self._options.pending

    async def probe(self) -> str:
        started = time.perf_counter()
        link = await connect(self._options, self._context, _ANSWER_LIMIT)
        await link.close(_FAREWELL_S)
        took = (time.perf_counter() - started) * 1000
        return t(f"logged in to {self._address} in {took:.0f} ms", f"已登录 {self._address}，用时 {took:.0f} 毫秒")

    def status(self) -> dict[str, Any]:
        return {
            "broker": self._address,
            "connected": self._link is not None,
            "connections": self._connections,
            "unconfirmed": len(self._pending),
            "sent": self._sent,
        }

    # -- parts ---------------------------------------------------------------------------------------------------

    async def _exchange(self, destination: str, headers: dict[str, str], body: bytes, seconds: float) -> None:
        self._number += 1
        number = str(self._number)
        written = False
        try:
            async with asyncio.timeout(seconds):
                link = await self._open()
                await link.writable()
                if link is not self._link:
                    raise self._ended(ConnectionError("the connection ended"), written)
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._pending[number] = future
                written = True
                link.write("SEND", {"destination": destination, "receipt": number, **headers}, body)
                await future
        except TimeoutError:
            raise self._ended(TimeoutError(), written) from None
        finally:
            self._pending.pop(number, None)

    async def _open(self) -> StompLink:
        async with self._opening:
            if not self._started:
                raise UnreachableError(t(f"{self._place} is not started", f"{self._place} 尚未启动"), code="mq.stopped")
            if self._link is None:
                link = await connect(self._options, self._context, _ANSWER_LIMIT)
                link.on_frame = self._frame
                link.on_lost = self._lost
                self._link = link
                self._connections += 1
            return self._link

    def _frame(self, frame: Frame) -> None:
        number = frame.headers.get("receipt-id", "")
        future = self._pending.get(number)
        if frame.command == "RECEIPT":
            if future is not None and not future.done():
                future.set_result(None)
        elif frame.command == "ERROR" and self._link is not None:
            refused = Refused(frame)
            if future is not None and not future.done():
                future.set_exception(
                    PermanentError(
                        t(f"{self._address} refuses the message: {refused}", f"{self._address} 拒绝该消息：{refused}"),
                        code="mq.refused",
                    )
                )
            self._link.abort(refused)

    def _lost(self, error: Exception) -> None:
        self._link = None
        for future in self._pending.values():
            if not future.done():
                future.set_exception(self._ended(error, True))

    def _ended(self, error: Exception, written: bool) -> SendError:
        said = explain(error, self._address)
        if not written:
            return said
        return TransientError(
            t(
                f"{said.text}; no receipt came, the broker may have the message",
                f"{said.text}；未收到回执，消息可能已被接收",
            ),
            code="mq.unconfirmed",
        )
