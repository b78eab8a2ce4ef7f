"""One AMQP 1.0 connection with one session: Proton's engine for the protocol, asyncio for the bytes and TLS.

Proton's own container would need a thread and its own TLS; the engine alone has neither sockets nor clocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import uuid
from collections.abc import Callable
from typing import Any, cast

import proton

from adapters.amqp1.errors import Refused, explain
from adapters.amqp1.options import Amqp1Broker
from adapters.tls import client_context

__all__ = ["Amqp1Link", "connect", "context_of"]

_FRAME = 64 << 10
_WRITE = 256 << 10
Event = proton.Event


class Amqp1Link(asyncio.Protocol):
    """An open connection. Everything happens on the event loop."""

    def __init__(self, options: Amqp1Broker, window: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket: asyncio.Transport | None = None
        self._error: Exception | None = None
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._gone = asyncio.Event()
        self._parted = asyncio.Event()  # the broker has ended the session too, or the connection is lost
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = False
        self._closing = False
        self._held_back = False
        self._attaching: dict[str, asyncio.Future[None]] = {}
        #: Called with each delivery that has news, with no argument when credit came, with a link the peer took away, at the end.
        self.on_delivery: Callable[[proton.Delivery], None] = lambda delivery: None
        self.on_credit: Callable[[], None] = lambda: None
        self.on_detached: Callable[[proton.Link, Exception], None] = lambda link, error: None
        self.on_lost: Callable[[Exception], None] = lambda error: None
        self.connected = False

        self._collector = proton.Collector()
        self._connection = connection = proton.Connection()
        connection.collect(self._collector)
        connection.container = options.container_id or f"tongqu-{uuid.uuid4().hex[:12]}"
        connection.hostname = options.virtual_host or options.host
        self._transport = transport = proton.Transport()
        transport.max_frame_size = _FRAME
        transport.idle_timeout = options.heartbeat * 2
        sasl = transport.sasl()
        sasl.allow_insecure_mechs = True  # TLS, where there is any, is not Proton's
        if options.external:
            sasl.allowed_mechs("EXTERNAL")
        elif options.user:
            sasl.allowed_mechs("PLAIN")
            connection.user = options.user
            connection.password = options.password.get_secret_value()
        else:
            sasl.allowed_mechs("ANONYMOUS")
        transport.bind(connection)
        connection.open()
        self._session = connection.session()
        self._session.incoming_capacity = max(window, 2 * _FRAME)
        self._session.open()

    # -- for receivers and senders -------------------------------------------------------------------------------

    async def opened(self) -> None:
        """Returns when the broker has accepted the login and the connection; raises what the broker or the network said."""
        await self._opened

    async def receive(self, source: str, max_size: int) -> proton.Receiver:
        """Attach a link that reads; without credit yet. Raises :class:`Refused` or ``ConnectionError``."""
        link = self._session.receiver(f"in-{uuid.uuid4().hex[:12]}")
        link.source.address = source
        link.target.address = link.name
        link.max_message_size = max_size
        await self._attach(link)
        return link

    async def deliver(self, target: str) -> proton.Sender:
        """Attach a link that writes. Raises :class:`Refused` or ``ConnectionError``."""
        link = self._session.sender(f"out-{uuid.uuid4().hex[:12]}")
        link.target.address = target
        link.source.address = link.name
        await self._attach(link)
        return link

    def poke(self) -> None:
        """Write what the engine has ready; soon, and once for everything said until then."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    async def close(self, seconds: float) -> None:
        """With a word to the broker, so that what was settled before has reached it; within ``seconds``, then cut.

        The session ends first and its end is waited for: it comes after the outcomes sent before it. The engine is done once
        its close is written, and RabbitMQ 3 reads a close beside its sessions: outcomes still on their way would be dropped,
        and those messages delivered again.
        """
        if self._socket is None:
            return
        self._closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                self._session.close()
                self.poke()
                await self._parted.wait()
                self._connection.close()
                self.poke()
                await self._gone.wait()
        self.abort(ConnectionError("closed"))
        await self._gone.wait()

    def abort(self, error: Exception) -> None:
        self._error = self._error or error
        if self._socket is not None:
            self._socket.abort()

    # -- asyncio.Protocol ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.Transport, transport)
        self._flush()

    def data_received(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                room = self._transport.capacity()
                if room < 0:  # the engine has closed its side: what comes now is nothing to it
                    break
                part = view[: max(room, 1)]
                self._transport.push(bytes(part))
                view = view[len(part) :]
                self._events()
        except (proton.ProtonException, OverflowError) as error:
            self.abort(ConnectionError(type(error).__name__))
        self._flush()

    def pause_writing(self) -> None:
        self._held_back = True

    def resume_writing(self) -> None:
        self._held_back = False
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._socket = None
        self.connected = False
        if self._timer is not None:
            self._timer.cancel()
        error = self._error = self._error or exc or ConnectionError("the broker closed the connection")
        with contextlib.suppress(proton.ProtonException):
            self._transport.close_tail()
            self._events()
        for future in (self._opened, *self._attaching.values()):
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody may wait for it any more
        self._parted.set()
        self._gone.set()
        self.on_lost(error)
        self._collector.release()

    # -- the engine ----------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._flushing = False
        self._events()
        socket, engine = self._socket, self._transport
        if socket is None or self._held_back:
            return
        while (ready := engine.pending()) > 0:
            out = engine.peek(min(ready, _WRITE))
            if not out:
                break
            socket.write(out)
            engine.pop(len(out))
            if self._held_back:
                return
        if ready < 0:  # the engine will say no more
            self._events()
            self._error = self._error or ConnectionError("closed")
            if self._opened.done():
                socket.close()
            else:  # refused: nothing is left to be written, and TLS would wait for the broker's farewell
                socket.abort()
            return
        self._tick()

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._transport.tick(self._loop.time())
        if deadline:
            self._timer = self._loop.call_at(deadline + 0.002, self._flush)

    def _events(self) -> None:
        while (event := self._collector.peek()) is not None:
            kind = event.type
            context: Any = event.context
            if kind is Event.DELIVERY:
                self.on_delivery(context)
            elif kind is Event.LINK_FLOW:
                self.on_credit()
            elif kind is not Event.TRANSPORT:
                self._event(kind, context)
            self._collector.pop()

    def _event(self, kind: Any, context: Any) -> None:
        if kind is Event.CONNECTION_REMOTE_OPEN:
            if context.remote_condition is None and not self._opened.done():
                self.connected = True
                self._opened.set_result(None)
        elif kind is Event.LINK_REMOTE_OPEN:
            # A refusal is an attach without a node, and then the detach that says why.
            node = context.remote_target if context.is_sender else context.remote_source
            future = self._attaching.get(context.name)
            if node.type != proton.Terminus.UNSPECIFIED and future is not None and not future.done():
                future.set_result(None)
        elif kind in (Event.LINK_REMOTE_CLOSE, Event.LINK_REMOTE_DETACH):
            self._link_closed(context)
        elif kind in (Event.CONNECTION_REMOTE_CLOSE, Event.SESSION_REMOTE_CLOSE):
            self._parted.set()
            if not self._closing:
                self._error = self._error or Refused(context.remote_condition)
                self._connection.close()
                self.poke()
        elif kind is Event.TRANSPORT_ERROR and not self._closing:
            self._error = self._error or Refused(context.condition)

    def _link_closed(self, link: proton.Link) -> None:
        error = Refused(link.remote_condition)
        future = self._attaching.get(link.name)
        if future is not None and not future.done():
            future.set_exception(error)
        elif not self._closing:
            self.on_detached(link, error)
        link.close()
        link.free()  # else the engine keeps every link there ever was
        self.poke()

    async def _attach(self, link: proton.Link) -> None:
        if self._socket is None:
            raise self._error or ConnectionError("not connected")
        link.snd_settle_mode = proton.Link.SND_UNSETTLED
        link.rcv_settle_mode = proton.Link.RCV_FIRST
        future: asyncio.Future[None] = self._loop.create_future()
        self._attaching[link.name] = future
        link.open()
        self.poke()
        try:
            await future
        finally:
            del self._attaching[link.name]


def context_of(options: Amqp1Broker) -> ssl.SSLContext | None:
    return client_context(options.tls) if options.tls is not None else None


async def connect(options: Amqp1Broker, context: ssl.SSLContext | None, window: int = 1 << 20) -> Amqp1Link:
    """An open connection, logged in; ``window``: bytes of messages under way to the hub. Raises :class:`UnreachableError`."""
    link: Amqp1Link | None = None
    name = options.tls.server_name if options.tls is not None and options.tls.server_name else None
    try:
        async with asyncio.timeout(options.connect_timeout):
            loop = asyncio.get_running_loop()
            _, link = await loop.create_connection(
                lambda: Amqp1Link(options, window),
                options.host,
                options.tcp_port,
                ssl=context,
                server_hostname=(name or options.host) if context is not None else None,
            )
            await link.opened()
            if not link.connected:
                raise ConnectionError("the broker closed the connection")
            return link
    except BaseException as error:
        if link is not None:
            link.abort(ConnectionError("login failed"))
        if isinstance(error, Exception):
            raise explain(error, options.address) from None
        raise
