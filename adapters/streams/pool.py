"""A pool of kept connections to one target, each with one call under way at a time."""

from __future__ import annotations

import asyncio
import ssl
from abc import abstractmethod
from collections import deque
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from adapters.streams.link import StreamLink
from adapters.tls import ClientTls, client_context
from hub.api import Sender, TransientError, UnreachableError
from hub.i18n import t

__all__ = ["ConnectOptions", "StreamSender"]

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0

L = TypeVar("L", bound=StreamLink)


class ConnectOptions(Protocol):
    """The options every pool has."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def tls(self) -> ClientTls | None: ...
    @property
    def connections(self) -> int: ...
    @property
    def connect_timeout(self) -> float: ...
    @property
    def keepalive(self) -> bool: ...


class StreamSender(Sender, Generic[L]):
    """Connects, keeps connections, gives turns; a subclass says what a call is.

    After a failed connect the next one waits 0.1 s, doubling up to 2 s; calls in between fail at once.
    """

    protocol: ClassVar[str]  # first part of error codes

    def __init__(self, options: ConnectOptions) -> None:
        self._limits = options
        self._address = f"{options.host}:{options.port}"
        self._context: ssl.SSLContext | None = None
        self._idle: list[L] = []  # the one used last on top
        self._links: set[L] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._busy = 0
        self._stopped = False
        self._pause = 0.0
        self._not_before = 0.0
        self._last_error = ""
        self._connects = self._failed_connects = self._mismatched = self._timeouts = 0

    @abstractmethod
    def _new_link(self) -> L: ...

    # -- Sender ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        if self._limits.tls is not None:
            self._context = client_context(self._limits.tls)
        self._stopped = False

    async def stop(self) -> None:
        self._stopped = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(
                    TransientError(t("the hub is stopping", "平台正在停止"), code=f"{self.protocol}.stopped")
                )
        for link in list(self._links):
            self._discard(link)

    @property
    def capacity(self) -> int:
        return self._limits.connections

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
            "tls": self._limits.tls is not None,
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
            raise TransientError(t("the hub is stopping", "平台正在停止"), code=f"{self.protocol}.stopped")
        if self._busy < self._limits.connections:
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

    async def _connected(self) -> L:
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
                code=f"{self.protocol}.unreachable",
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
            raise UnreachableError(t("the hub is stopping", "平台正在停止"), code=f"{self.protocol}.stopped")
        self._links.add(link)
        return link

    async def _open(self) -> L:
        """A new connection, TLS done; raises :class:`UnreachableError`."""
        options = self._limits
        name = (options.tls.server_name or options.host) if options.tls else None
        try:
            async with asyncio.timeout(options.connect_timeout):
                _, link = await asyncio.get_running_loop().create_connection(
                    self._new_link, options.host, options.port, ssl=self._context, server_hostname=name
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
            code=f"{self.protocol}.unreachable",
        )

    def _discard(self, link: L) -> None:
        if link in self._links:
            self._links.discard(link)
            self._mismatched += link.mismatched
        if link in self._idle:
            self._idle.remove(link)
        link.close()
