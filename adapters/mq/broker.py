"""One connection to a broker through kombu, owned by one thread: opening, topology, waiting, heartbeats, errors."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import amqp
import kombu
from amqp.transport import SSLTransport
from kombu.transport import pyamqp, virtual
from kombu.utils.url import maybe_sanitize_url

from adapters.mq.options import Broker, Exchange, Queue
from adapters.tls import client_context
from hub.api import SendError, UnreachableError
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text

__all__ = ["Link", "Wake", "explain", "tls_context"]

log = get_logger(__name__)

#: What comes out of a driver when a connection can't be opened or ends. AttributeError: py-amqp, when its socket was closed
#: under it.
_EXPECTED = (
    amqp.exceptions.AMQPError,
    kombu.exceptions.KombuError,
    OSError,
    EOFError,
    AttributeError,
)
#: Waiting without a socket to watch (transports other than AMQP), seconds.
_LOOK_S = 0.05
#: Longest wait for the rest of a frame; what has come of it is kept. With TLS there may be none: session tickets wake as well.
_REST_S = 0.05
#: Frames read before somebody looks at what else there is to do; a message has three or more.
_MOST_AT_ONCE = 768


class Wake:
    """Lets the event loop, or another thread, interrupt a thread that waits for its socket."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)
        self._called = False
        self._closed = False
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(self.reader, select.POLLIN)

    def call(self) -> None:
        """From any thread, also after :meth:`close`."""
        if not self._called:
            self._called = True
            with self._lock:
                if not self._closed:
                    with contextlib.suppress(BlockingIOError):
                        os.write(self._writer, b"!")

    def clear(self) -> None:
        """Before looking at what it was called for, never after."""
        self._called = False
        with contextlib.suppress(BlockingIOError):
            os.read(self.reader, 4096)

    def wait(self, seconds: float) -> None:
        self._poll.poll(max(seconds, 0) * 1000)
        self.clear()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self.reader)
            os.close(self._writer)


class Link:
    """An open connection with one channel. Only the thread that opened it may touch it."""

    def __init__(self, options: Broker, context: ssl.SSLContext | None, wake: Wake) -> None:
        """Connects; raises whatever the driver raises, for :func:`explain`."""
        self._wake = wake
        self.amqp = options.is_amqp
        self.answer_timeout = options.answer_timeout
        # kombu's own connect tries twice, with two seconds between: the pauses are ours to decide.
        self._transport: Any = _kombu_connection(options, context).transport
        self._beat_at = 0.0
        self.driver: Any = self._transport.establish_connection()
        try:
            self.channel: Any = self.new_channel()
        except BaseException:
            self.drop()
            raise
        if self.amqp:
            # py-amqp reads without waiting before each publish to learn of a blocked connection, and spins where it meets half a
            # frame. All reading is ours.
            self.driver.client_properties.get("capabilities", {}).pop("connection.blocked", None)
            # Whatever waits for an answer without a limit of its own waits for so long.
            sock = self.driver.sock
            sock.settimeout(options.answer_timeout)
            self._pending = getattr(sock, "pending", None)  # TLS: bytes decrypted that no poll tells of
            self._socket_poll, self._both_poll = select.poll(), select.poll()
            self._socket = sock.fileno()
            self._socket_poll.register(self._socket, select.POLLIN)
            self._both_poll.register(self._socket, select.POLLIN)
            self._both_poll.register(wake.reader, select.POLLIN)
        #: Seconds between two looks at the heartbeat.
        self.beat_every = (self.driver.heartbeat or 20.0) / 4 if self.amqp else 5.0

    def new_channel(self) -> Any:
        channel = self._transport.create_channel(self.driver)
        if self.amqp:
            channel.auto_decode = False  # bodies stay bytes
        else:
            channel.Message = _PlainMessage
        return channel

    def topology(self, exchanges: list[Exchange], queues: list[Queue]) -> None:
        """Make what is to be made and check that the rest is there; raises where it isn't or is different."""
        channel = self.channel
        for exchange in exchanges:
            if not exchange.name:
                continue
            if exchange.declare or self.amqp:
                channel.exchange_declare(
                    exchange.name,
                    exchange.type,
                    passive=not exchange.declare,
                    durable=True,
                    auto_delete=False,
                    arguments=exchange.arguments or None,
                )
        for queue in queues:
            if not queue.declare and not self.amqp:
                continue  # their brokers say so when the queue is read
            channel.queue_declare(
                queue.name,
                passive=not queue.declare,
                durable=True,
                auto_delete=False,
                exclusive=False,
                arguments=queue.all_arguments() if queue.declare and self.amqp else None,
            )
            for binding in queue.bindings:
                channel.queue_bind(
                    queue.name, binding.exchange, binding.routing_key, arguments=binding.arguments or None
                )

    def wait(self, seconds: float, full: Callable[[], bool] = lambda: False) -> None:
        """Dispatch what has come, until it is ``full``; return after ``seconds`` or when woken."""
        if not self.amqp:
            with contextlib.suppress(socket.timeout, TimeoutError):
                self._transport.drain_events(self.driver, timeout=max(min(seconds, _LOOK_S), 0.001))
            self._wake.clear()
            return
        pending = self._pending
        if pending is None or not pending():
            ready = self._both_poll.poll(max(seconds, 0) * 1000)
            self._wake.clear()
            if not any(descriptor == self._socket for descriptor, _ in ready):
                return
        for _ in range(_MOST_AT_ONCE):
            # Frame by frame: drain_events would wait for a whole message after a heartbeat. Only the rest of a frame that is
            # still on its way is waited for.
            with contextlib.suppress(socket.timeout, TimeoutError):
                self.driver.blocking_read(_REST_S)
            if full() or not ((pending is not None and pending()) or self._socket_poll.poll(0)):
                return

    def beat(self, *, reading: bool = True) -> None:
        """Send a heartbeat when one is due; raises when the broker has been silent for too long.

        ``reading`` False: nothing is read just now, so silence says nothing.
        """
        if not self.amqp:
            return
        now = time.monotonic()
        if now < self._beat_at:
            return
        self._beat_at = now + self.beat_every
        if reading:
            self._transport.heartbeat_check(self.driver, rate=2)
        else:
            self.driver.send_heartbeat()

    def close(self) -> None:
        """In an orderly way, within ``answer_timeout``; what was not acknowledged goes back to its queue."""
        try:
            self._transport.close_connection(self.driver)
        except Exception:
            self.drop()

    def abort(self) -> None:
        """From any thread: end the connection, so that whatever waits for it fails."""
        if self.amqp:
            with contextlib.suppress(Exception):
                self.driver.sock.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """At once, without a word to the broker."""
        with contextlib.suppress(Exception):
            if self.amqp:
                self.driver.collect()
            else:
                self._transport.close_connection(self.driver)


class _PlainMessage(virtual.Message):  # type: ignore[misc]
    """A message whose body is what came: kombu would decompress it, without a limit, because a header says so."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **more: Any) -> None:
        headers = payload.get("headers")
        if isinstance(headers, dict):
            headers.pop("compression", None)
        super().__init__(payload, channel=channel, **more)


def _kombu_connection(options: Broker, context: ssl.SSLContext | None) -> kombu.Connection:
    password = options.password.get_secret_value()
    if not options.is_amqp:
        return kombu.Connection(
            options.url,
            userid=options.user or None,
            password=password or None,
            connect_timeout=options.connect_timeout,
            transport_options=dict(options.transport_options),
        )
    plain = options.url.replace("amqps://", "amqp://", 1)
    parts = kombu.utils.url.url_to_parts(plain)
    connection = kombu.Connection(
        hostname=parts.hostname,
        port=parts.port or (5671 if options.scheme == "amqps" else 5672),
        userid=options.user or "guest",
        password=password or "guest",
        virtual_host=options.virtual_host,
        heartbeat=options.heartbeat,
        connect_timeout=options.connect_timeout,
        transport=_Transport,
    )
    connection.transport_options = {
        "client_properties": {"product": "tongqu", "connection_name": "tongqu"},
    }
    if context is not None:
        name = options.tls.server_name or parts.hostname
        connection.ssl = {"own": (context, name, options.connect_timeout)}
    return connection


class _Tls(SSLTransport):  # type: ignore[misc]
    """py-amqp's TLS with a context of ours: it would make one of its own from file names, without a key's password."""

    def __init__(self, host: str, connect_timeout: float | None = None, ssl: Any = None, **more: Any) -> None:
        self._own = ssl["own"]
        super().__init__(host, connect_timeout=connect_timeout, ssl={}, **more)

    def _wrap_socket(self, sock: socket.socket, **more: Any) -> ssl.SSLSocket:
        context, name, timeout = self._own
        sock.settimeout(timeout)
        wrapped: ssl.SSLSocket = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        return wrapped

    def _shutdown_transport(self) -> None:
        """Without a farewell: a broker that hangs would not answer it."""


class _Connection(pyamqp.Connection):  # type: ignore[misc]
    def Transport(self, host: str, connect_timeout: float, ssl: Any = False, *limits: Any, **more: Any) -> Any:
        if isinstance(ssl, dict) and "own" in ssl:
            return _Tls(host, connect_timeout, ssl)
        return super().Transport(host, connect_timeout, ssl, *limits, **more)


class _Transport(pyamqp.Transport):  # type: ignore[misc]
    Connection = _Connection


def tls_context(options: Broker) -> ssl.SSLContext | None:
    """Raises :class:`HubError` naming the file that can't be used."""
    return client_context(options.tls) if options.scheme == "amqps" else None


def explain(error: Exception, address: str) -> SendError:
    """Why a connection could not be opened or ended, in words for people; nothing has reached an application."""
    if not isinstance(error, _EXPECTED):  # nonsense from the broker, or a fault of ours: the log must tell where
        log.error("%s: unexpected", address, exc_info=error)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message
        return UnreachableError(
            t(
                f"{address}: its certificate is not accepted: {why} -> check tls.ca and tls.server_name",
                f"{address}：证书未通过校验：{why} -> 请检查 tls.ca 与 tls.server_name",
            ),
            code="mq.certificate",
        )
    if isinstance(error, ssl.SSLError):
        return UnreachableError(
            t(f"{address}: TLS failed: {error.reason}", f"{address}：TLS 失败：{error.reason}"), code="mq.certificate"
        )
    if isinstance(error, amqp.exceptions.AccessRefused | amqp.exceptions.NotAllowed):
        said = _said(error)
        return UnreachableError(
            t(
                f"{address} refuses access: {said} -> check user, password, virtual host and permissions",
                f"{address} 拒绝访问：{said} -> 请检查用户、密码、虚拟主机与权限",
            ),
            code="mq.login",
        )
    if isinstance(
        error, amqp.exceptions.NotFound | amqp.exceptions.PreconditionFailed | amqp.exceptions.ResourceLocked
    ):
        said = _said(error)
        return UnreachableError(
            t(
                f"{address}: exchange or queue is missing or different: {said} -> declare it, or correct its options",
                f"{address}：交换机或队列不存在或参数不一致：{said} -> 请声明它或更正选项",
            ),
            code="mq.topology",
        )
    if isinstance(error, socket.timeout | TimeoutError):
        return UnreachableError(
            t(f"{address} does not answer in time", f"{address} 未在规定时间内应答"), code="mq.timeout"
        )
    reason = getattr(error, "strerror", None) or _said(error) or type(error).__name__
    return UnreachableError(t(f"{address}: {reason}", f"{address}：{reason}"), code="mq.unreachable")


def _said(error: Exception) -> str:
    """The broker's own words, one masked line."""
    text = getattr(error, "reply_text", None) or str(error)
    return mask_text(" ".join(maybe_sanitize_url(str(text)).split())[:300])
