"""The calling side of the MLLP adapter: a pool of kept connections to one target."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Any

from adapters.mllp.framing import BREAKS_FRAME, END_BLOCK
from adapters.mllp.header import Header, read_header
from adapters.mllp.link import Acknowledgement, Link, no_frame
from adapters.mllp.options import MllpConnect
from adapters.tls import client_context
from hub.api import Bound, Outgoing, PermanentError, Reply, Sender, SendError, TransientError, UnreachableError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["MllpSender"]

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_ASKING = ("AL", "SU")


class MllpSender(Sender):
    """Sends messages unchanged and waits for their acknowledgement.

    AA and CA mean delivered; AE and CE may succeed later; AR and CR can't. Which of accept and application
    acknowledgement counts is the option ``wait_for``. After a failed connect the next one waits 0.1 s, doubling up to 2 s;
    calls in between fail at once.
    """

    def __init__(self, bound: Bound) -> None:
        options = bound.options
        if not isinstance(options, MllpConnect):
            raise TypeError("bound.options must be MllpConnect")
        self._options = options
        self._address = f"{options.host}:{options.port}"
        self._context: ssl.SSLContext | None = None
        self._idle: list[Link] = []  # the one used last on top
        self._links: set[Link] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._busy = 0
        self._stopped = False
        self._pause = 0.0
        self._not_before = 0.0
        self._last_error = ""
        self._connects = self._failed_connects = self._mismatched = self._timeouts = 0

    # -- Sender ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        if self._options.tls is not None:
            self._context = client_context(self._options.tls)
        self._stopped = False

    async def stop(self) -> None:
        self._stopped = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(TransientError(t("the hub is stopping", "平台正在停止"), code="mllp.stopped"))
        for link in list(self._links):
            self._discard(link)

    async def send(self, outgoing: Outgoing) -> Reply:
        body = outgoing.body
        if END_BLOCK in body and BREAKS_FRAME.search(body):
            raise PermanentError(
                t("the message contains 0x1C where MLLP would end it", "消息中含有会使 MLLP 帧提前结束的 0x1C"),
                code="mllp.end_block",
            )
        link: Link | None = None
        queued = True
        try:
            async with asyncio.timeout(outgoing.timeout):
                await self._turn()
                try:
                    queued = False
                    link = await self._connected()
                    reply = await self._exchange(link, body, read_header(body))
                finally:
                    self._release()
        except TimeoutError:
            self._timeouts += 1
            raise self._too_late(queued, link, outgoing.timeout) from None
        return self._verdict(reply)

    @property
    def capacity(self) -> int:
        return self._options.connections

    async def probe(self) -> str:
        loop = asyncio.get_running_loop()
        started = loop.time()
        link = await self._open()
        version = link.tls_version
        link.close()
        took = (loop.time() - started) * 1000
        secured = f", {version}" if version else ""
        return t(
            f"connected to {self._address} in {took:.0f} ms{secured}",
            f"已连接 {self._address}，用时 {took:.0f} 毫秒{secured}",
        )

    def status(self) -> dict[str, Any]:
        return {
            "target": self._address,
            "tls": self._options.tls is not None,
            "connections": sum(link.alive for link in self._links),
            "busy": self._busy,
            "waiting": len(self._waiting),
            "connects": self._connects,
            "failed_connects": self._failed_connects,
            "last_error": self._last_error,
            "mismatched_replies": self._mismatched + sum(link.mismatched for link in self._links),
            "timeouts": self._timeouts,
        }

    # -- pool --------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        """Wait until fewer messages than connections are under way; first come, first served."""
        if self._stopped:
            raise TransientError(t("the hub is stopping", "平台正在停止"), code="mllp.stopped")
        if self._busy < self._options.connections:
            self._busy += 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release()  # the turn came in the same moment: pass it on
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _release(self) -> None:
        """Give the turn to the next one that waits."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._busy -= 1

    async def _connected(self) -> Link:
        while self._idle:
            link = self._idle.pop()
            usable = False
            try:
                usable = await link.usable()
            finally:
                if not usable:
                    self._discard(link)
            if usable:
                return link
        loop = asyncio.get_running_loop()
        wait = self._not_before - loop.time()
        if wait > 0:
            raise UnreachableError(
                t(
                    f"{self._last_error}; next try to connect in {wait:.1f} s",
                    f"{self._last_error}；{wait:.1f} 秒后再次尝试连接",
                ),
                code="mllp.unreachable",
            )
        try:
            link = await self._open()
        except UnreachableError as error:
            self._failed_connects += 1
            self._last_error = error.text
            self._pause = min(self._pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
            self._not_before = loop.time() + self._pause
            raise
        self._connects += 1
        self._pause = 0.0
        if self._stopped:
            link.close()
            raise UnreachableError(t("the hub is stopping", "平台正在停止"), code="mllp.stopped")
        self._links.add(link)
        return link

    async def _open(self) -> Link:
        """A new connection, TLS done; raises :class:`UnreachableError`."""
        options = self._options
        name = (options.tls.server_name or options.host) if options.tls else None
        try:
            async with asyncio.timeout(options.connect_timeout):
                _, link = await asyncio.get_running_loop().create_connection(
                    Link, options.host, options.port, ssl=self._context, server_hostname=name
                )
        except TimeoutError:
            reason = t(f"no answer within {options.connect_timeout:g} s", f"{options.connect_timeout:g} 秒内无响应")
            raise self._unreachable(reason) from None
        except ssl.SSLCertVerificationError as error:
            raise self._unreachable(f"TLS: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise self._unreachable(f"TLS: {error.reason or error}") from error
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error
        if options.keepalive:
            link.keep_alive()
        return link

    def _unreachable(self, reason: str) -> UnreachableError:
        return UnreachableError(
            t(f"can't connect to {self._address}: {reason}", f"无法连接 {self._address}：{reason}"),
            code="mllp.unreachable",
        )

    async def _exchange(self, link: Link, body: bytes, header: Header) -> Acknowledgement:
        try:
            reply = await link.exchange(body, header, past_accept=self._past_accept(header))
        except BaseException:
            self._discard(link)
            raise
        if link.alive:
            self._idle.append(link)
        else:
            self._discard(link)
        return reply

    def _discard(self, link: Link) -> None:
        if link in self._links:
            self._links.discard(link)
            self._mismatched += link.mismatched
        if link in self._idle:
            self._idle.remove(link)
        link.close()

    # -- replies -----------------------------------------------------------------------------------------------

    def _past_accept(self, header: Header) -> bool:
        """Whether a CA is only a step on the way (HL7 v2.5.1 chapter 2, 2.9.3)."""
        if self._options.wait_for == "auto":
            return header.accept not in _ASKING and header.application in _ASKING
        return self._options.wait_for == "application"

    def _verdict(self, reply: Acknowledgement) -> Reply:
        code = reply.code
        if code in ("AA", "CA"):
            return Reply(ok=True, body=reply.body, code=code)
        return Reply(
            ok=False, body=reply.body, code=code, error=mask_text(reply.text), transient=code not in ("AR", "CR")
        )

    def _too_late(self, queued: bool, link: Link | None, seconds: float) -> SendError:
        if queued:
            text = t(f"no connection became free within {seconds:g} s", f"{seconds:g} 秒内没有空闲连接")
        elif link is None:
            return self._unreachable(t(f"no answer within {seconds:g} s", f"{seconds:g} 秒内无响应"))
        elif link.stray:
            text = no_frame(link.stray)
        else:
            text = t(f"no acknowledgement within {seconds:g} s", f"{seconds:g} 秒内未收到应答")
        return TransientError(text, code="mllp.timeout")
