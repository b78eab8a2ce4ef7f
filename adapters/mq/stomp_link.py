"""One STOMP connection: login, heart-beats, frames in and out. Everything on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping
from typing import cast

from adapters.mq.stomp_frames import BadFrame, Frame, FrameReader, encode
from adapters.mq.stomp_options import StompBroker
from adapters.tls import client_context
from hub.api import SendError, UnreachableError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["Refused", "StompLink", "connect", "context_of", "explain"]

#: A peer is gone when it is silent for so many of the intervals it promised: the network may be slow.
_PATIENCE = 2.0


class StompLink(asyncio.Protocol):
    """An open connection. ``on_frame`` gets every frame after the login, ``on_lost`` the end, once."""

    def __init__(self, limit: int) -> None:
        self._reader = FrameReader(limit)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._login: asyncio.Future[Frame] = self._loop.create_future()
        self._login.add_done_callback(_seen)
        self._beating: asyncio.TimerHandle | None = None
        self._listening: asyncio.TimerHandle | None = None
        self._farewell: asyncio.Future[None] | None = None
        self._heard = self._said = self._loop.time()
        self._sends = self._expects = 0.0
        self._error: Exception | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self.on_frame: Callable[[Frame], None] = lambda frame: None
        self.on_lost: Callable[[Exception], None] = lambda error: None
        self.connected = False

    async def log_in(self, headers: Mapping[str, str], heartbeat: float) -> Frame:
        """CONNECT; returns CONNECTED. Raises ``ConnectionError`` or :class:`Refused`."""
        beat = int(heartbeat * 1000)
        self.write("CONNECT", {**headers, "accept-version": "1.2", "heart-beat": f"{beat},{beat}"})
        frame = await self._login
        theirs = frame.headers.get("heart-beat", "0,0").split(",")
        with contextlib.suppress(ValueError, IndexError):
            sends, wants = int(theirs[0]) / 1000, int(theirs[1]) / 1000
            self._sends = max(heartbeat, wants) if wants else 0.0
            self._expects = max(heartbeat, sends) if sends else 0.0
        if self._sends:
            self._beat()
        if self._expects:
            self._listen()
        self.connected = True
        return frame

    def write(self, command: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._said = self._loop.time()
            self._transport.write(encode(command, headers, body))

    async def writable(self) -> None:
        """Wait until the peer reads again what we write."""
        await self._writable.wait()

    def pause_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()
        self._heard = float("inf")  # while nothing is read, silence is no fault of the peer

    def resume_reading(self) -> None:
        self._heard = self._loop.time()
        if self._transport is not None:
            self._transport.resume_reading()

    async def close(self, seconds: float) -> None:
        """With a word to the broker, so that what was written before has reached it."""
        if self._transport is None:
            return
        self._farewell = self._loop.create_future()
        self.write("DISCONNECT", {"receipt": "bye"})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._farewell
        self.abort(ConnectionError("closed"))
        await self._gone.wait()

    def abort(self, error: Exception) -> None:
        self._error = self._error or error
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._heard != float("inf"):
            self._heard = self._loop.time()
        self._reader.feed(data)
        try:
            while (frame := self._reader.next()) is not None:
                self._take(frame)
        except BadFrame as error:
            self.abort(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.connected = False
        for timer in (self._beating, self._listening):
            if timer is not None:
                timer.cancel()
        self._writable.set()
        self._gone.set()
        error = self._error or exc or ConnectionError("the broker closed the connection")
        if not self._login.done():
            self._login.set_exception(error)
        if self._farewell is not None and not self._farewell.done():
            self._farewell.set_result(None)
        self.on_lost(error)

    # -- parts ---------------------------------------------------------------------------------------------------

    def _take(self, frame: Frame) -> None:
        if not self._login.done():
            if frame.command == "CONNECTED":
                self._login.set_result(frame)
            else:
                self._login.set_exception(Refused(frame))
                self.abort(Refused(frame))
        elif frame.command == "RECEIPT" and frame.headers.get("receipt-id") == "bye":
            if self._farewell is not None and not self._farewell.done():
                self._farewell.set_result(None)
        else:
            self.on_frame(frame)

    def _beat(self) -> None:
        if self._loop.time() - self._said >= self._sends * 0.4 and self._transport is not None:
            self._said = self._loop.time()
            self._transport.write(b"\n")
        self._beating = self._loop.call_later(self._sends / 4, self._beat)

    def _listen(self) -> None:
        if self._loop.time() - self._heard > self._expects * _PATIENCE:
            self.abort(TimeoutError("no heart-beat"))
            return
        self._listening = self._loop.call_later(self._expects / 2, self._listen)


class Refused(Exception):
    """An ERROR frame."""

    def __init__(self, frame: Frame) -> None:
        said = frame.headers.get("message", "") or frame.body[:200].decode("utf-8", "replace")
        text = "".join(char if char.isprintable() else " " for char in said)
        super().__init__(mask_text(" ".join(text.split())[:300]))
        self.frame = frame


def _seen(future: asyncio.Future[Frame]) -> None:
    """A login nobody waited for any more has no exception worth a word."""
    if not future.cancelled():
        future.exception()


def context_of(options: StompBroker) -> ssl.SSLContext | None:
    return client_context(options.tls) if options.tls is not None else None


async def connect(options: StompBroker, context: ssl.SSLContext | None, limit: int) -> StompLink:
    """An open connection, logged in. Raises :class:`UnreachableError`."""
    link: StompLink | None = None
    name = options.tls.server_name if options.tls is not None and options.tls.server_name else None
    try:
        async with asyncio.timeout(options.connect_timeout):
            loop = asyncio.get_running_loop()
            _, link = await loop.create_connection(
                lambda: StompLink(limit),
                options.host,
                options.port,
                ssl=context,
                server_hostname=(name or options.host) if context is not None else None,
            )
            await link.log_in(options.login_headers(), options.heartbeat)
            return link
    except BaseException as error:
        if link is not None:
            link.abort(ConnectionError("login failed"))
        if isinstance(error, Exception):
            raise explain(error, options.address) from None
        raise


def explain(error: Exception, address: str) -> SendError:
    """Why a connection could not be opened or ended; nothing has reached an application."""
    if isinstance(error, SendError):
        return error
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
    if isinstance(error, Refused):
        return UnreachableError(
            t(
                f"{address} refuses: {error} -> check user, password, virtual host and destination",
                f"{address} 拒绝：{error} -> 请检查用户、密码、虚拟主机与目的地",
            ),
            code="mq.login",
        )
    if isinstance(error, TimeoutError):
        return UnreachableError(
            t(f"{address} does not answer in time", f"{address} 未在规定时间内应答"), code="mq.timeout"
        )
    if isinstance(error, BadFrame):
        return UnreachableError(
            t(f"{address} does not speak STOMP 1.2: {error}", f"{address} 不符合 STOMP 1.2：{error}"),
            code="mq.protocol",
        )
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UnreachableError(t(f"{address}: {reason}", f"{address}：{reason}"), code="mq.unreachable")
