"""The sending side of ``mq``: one thread owns the connection, publishes what the loop hands over and awaits the confirms."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, cast

from adapters.mq.broker import Link, Wake, explain, tls_context
from adapters.mq.envelope import ERROR_CODE, ERROR_TEXT, Filler
from adapters.mq.options import MqConnect
from adapters.mq.publishing import Confirms, basic_message
from hub.api import Bound, Outgoing, Reply, Sender, SendError, TransientError, UnreachableError
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text

__all__ = ["MqSender"]

log = get_logger(__name__)

_LOOK_S = 1.0
#: Longest wait for confirms under way and for the broker's answer to the end of a connection.
_FAREWELL_S = 5.0
_REPLY_TO = "amq.rabbitmq.reply-to"  # RabbitMQ: direct reply-to


@dataclass(slots=True, eq=False)
class _Call:
    """One message to publish, or a look whether the broker is there (``body`` None)."""

    body: bytes | None
    key: str
    routing_key: str
    headers: dict[str, str]
    properties: dict[str, Any]
    mandatory: bool
    future: asyncio.Future[Reply]
    lock: threading.Lock = field(default_factory=threading.Lock)
    begun: bool = False
    given_up: bool = False


class MqSender(Sender):
    """Publishes to one exchange."""

    def __init__(self, bound: Bound) -> None:
        self._place = bound.place
        self._options = options = cast(MqConnect, bound.options)
        self._address = options.address
        self._content_type = options.content_type or bound.codec.content_type
        texts = {f"header {name}": text for name, text in options.headers.items()}
        self._filler = Filler(bound.place, {"routing key": options.routing_key, "type": options.message_type} | texts)
        self._calls: deque[_Call] = deque()
        self._replies: dict[str, _Call] = {}
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Event
        self._wake: Wake
        self._link: Link | None = None
        self._context: ssl.SSLContext | None = None
        self._started = False
        self._stopping = False
        self._connected = False
        self._told: list[tuple[_Call, Reply | SendError]] = []  # outcomes on their way to the loop
        self._sent = self._connections = 0

    # -- hub.api.Sender ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """The connection is opened with the first call. Raises :class:`HubError` for TLS files that can't be used."""
        self._context = tls_context(self._options)
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._wake = Wake()
        self._started = True
        threading.Thread(target=self._run, name=f"mq {self._place}", daemon=True).start()

    async def stop(self) -> None:
        if not self._started:
            return
        self._stopping = True
        self._wake.call()
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await self._ended.wait()
        except TimeoutError:
            if self._link is not None:
                self._link.abort()
            await self._ended.wait()

    async def send(self, outgoing: Outgoing) -> Reply:
        filled = self._filler.fill(outgoing)
        options = self._options
        properties: dict[str, Any] = {
            "message_id": outgoing.idempotency_key[:255],
            "content_type": self._content_type,
            "content_encoding": options.content_encoding or None,
            "type": filled["type"][:255] or None,
            "app_id": "tongqu",
            "timestamp": int(time.time()),
        }
        if options.reply:
            properties |= {"reply_to": _REPLY_TO, "correlation_id": properties["message_id"]}
        headers = {name: filled[f"header {name}"] for name in options.headers}
        call = self._call(outgoing.body, properties["message_id"], filled["routing key"], headers, properties)
        return await self._outcome(call, outgoing.timeout)

    @property
    def capacity(self) -> int:
        return self._options.pending

    async def probe(self) -> str:
        started = time.perf_counter()
        options = self._options
        call = self._call(None, "", "", {}, {})
        await self._outcome(call, options.connect_timeout + options.answer_timeout)
        took = (time.perf_counter() - started) * 1000
        return t(
            f"connected to {self._address}, it answers in {took:.0f} ms",
            f"已连接 {self._address}，应答用时 {took:.0f} 毫秒",
        )

    def status(self) -> dict[str, Any]:
        return {
            "broker": self._address,
            "exchange": self._options.exchange.name,
            "connected": self._connected,
            "connections": self._connections,
            "waiting": len(self._calls),
            "sent": self._sent,
        }

    # -- on the loop ---------------------------------------------------------------------------------------------

    def _call(
        self, body: bytes | None, key: str, routing_key: str, headers: dict[str, str], properties: dict[str, Any]
    ) -> _Call:
        if not self._started or self._stopping:
            raise UnreachableError(t(f"{self._place} is not started", f"{self._place} 尚未启动"), code="mq.stopped")
        future: asyncio.Future[Reply] = self._loop.create_future()
        call = _Call(body, key, routing_key, headers, properties, self._options.mandatory, future)
        self._calls.append(call)
        self._wake.call()
        return call

    async def _outcome(self, call: _Call, seconds: float) -> Reply:
        try:
            async with asyncio.timeout(seconds):
                return await call.future
        except TimeoutError:
            with call.lock:
                call.given_up = True
                begun = call.begun
            if begun:
                raise TransientError(
                    t(
                        f"{self._address} did not confirm within {seconds:g} s; it may have the message",
                        f"{self._address} 在 {seconds:g} 秒内未确认；消息可能已被接收",
                    ),
                    code="mq.timeout",
                ) from None
            raise UnreachableError(
                t(f"{self._address} was not reached within {seconds:g} s", f"{seconds:g} 秒内未能连接 {self._address}"),
                code="mq.timeout",
            ) from None
        except asyncio.CancelledError:
            with call.lock:
                call.given_up = True
            raise
        finally:
            self._replies.pop(call.key, None)

    # -- on the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                if self._calls:
                    self._serve()
                    self._flush()
                else:
                    self._wake.wait(_LOOK_S)
        except BaseException:
            log.exception("the thread of a sender ended by an error of its own")
            raise
        finally:
            stopped = UnreachableError(t(f"{self._place} stops", f"{self._place} 正在停止"), code="mq.stopped")
            self._fail(list(self._calls), stopped)
            self._flush()
            self._wake.close()
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._ended.set)

    def _serve(self) -> None:
        """Open the connection and publish until it ends or the sender stops."""
        link: Link | None = None
        confirms: Confirms | None = None
        waiting: set[_Call] = set()
        try:
            self._link = link = Link(self._options, self._context, self._wake)
            link.topology([*self._options.exchanges, self._options.exchange], self._options.queues)
            confirms = Confirms(link)
            if self._options.reply:
                confirms.channel.basic_consume(_REPLY_TO, no_ack=True, callback=self._replied)
        except Exception as error:
            if link is not None:
                link.drop()
            failed = [self._calls.popleft() for _ in range(len(self._calls))]
            self._fail(failed, explain(error, self._address))
            return
        self._connected = True
        self._connections += 1
        try:
            while not self._stopping or len(confirms):
                while self._calls:
                    self._begin(self._calls.popleft(), link, confirms, waiting)
                self._flush()
                link.wait(min(link.beat_every, _LOOK_S))
                self._flush()
                link.beat()
                if self._stopping and all(call.given_up for call in waiting):
                    break
            link.close()
        except Exception as error:
            log.debug("connection ended", exc_info=True)
            link.drop()
            said = explain(error, self._address)
            unknown = TransientError(
                t(
                    f"{said.text}; the connection ended before the confirm, the broker may have the message",
                    f"{said.text}；连接在确认前中断，消息可能已被接收",
                ),
                code="mq.unconfirmed",
            )
            self._fail([*waiting, *self._replies.values()], unknown)
        finally:
            self._connected = False

    def _begin(self, call: _Call, link: Link, confirms: Confirms, waiting: set[_Call]) -> None:
        with call.lock:
            if call.given_up:
                return
            call.begun = call.body is not None
        waiting.add(call)
        if call.body is None:
            link.new_channel().close()  # there and back
            waiting.discard(call)
            self._finish(call, Reply(True))
            return

        def confirmed(error: SendError | None) -> None:
            waiting.discard(call)
            if error is not None:
                self._replies.pop(call.key, None)
                self._fail([call], error)
            elif not self._options.reply:
                self._sent += 1
                self._finish(call, Reply(True, code="ack"))

        if self._options.reply:
            self._replies[call.key] = call
        properties = call.properties
        message = basic_message(confirms.channel, call.body, call.headers, properties)
        if self._options.expiration is not None:
            message.properties["expiration"] = str(int(self._options.expiration * 1000))
        if self._options.priority is not None:
            message.properties["priority"] = self._options.priority
        if not self._options.persistent:
            message.properties["delivery_mode"] = 1
        confirms.begin(message, call.key, self._options.exchange.name, call.routing_key, call.mandatory, confirmed)

    def _replied(self, message: Any) -> None:
        """The answer to a request; one nobody waits for any more is dropped."""
        call = self._replies.pop(str(message.properties.get("correlation_id") or ""), None)
        if call is None:
            return
        self._sent += 1
        headers = message.headers or {}
        code = headers.get(ERROR_CODE)
        body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
        if code is None:
            self._finish(call, Reply(True, body, code="reply"))
        else:
            text = mask_text(str(headers.get(ERROR_TEXT, ""))[:400])
            self._finish(call, Reply(False, body, code=str(code)[:64], error=text))

    def _finish(self, call: _Call, reply: Reply) -> None:
        self._told.append((call, reply))

    def _fail(self, calls: list[_Call], error: SendError) -> None:
        self._told.extend((call, error) for call in calls)

    def _flush(self) -> None:
        """Tell the loop what became of the calls, all at once."""
        if self._told:
            told, self._told = self._told, []
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_deliver, told)


def _deliver(told: list[tuple[_Call, Reply | SendError]]) -> None:
    for call, outcome in told:
        if call.future.done():
            continue
        if isinstance(outcome, Reply):
            call.future.set_result(outcome)
        else:
            call.future.set_exception(outcome)
