"""A pooled keep-alive HTTP/1.1 client of one target.

Not built on aiohttp's client because a call through that costs six times as much processor time, which made it
the largest single cost of a delivery.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from adapters.http.coding import TooLong
from adapters.http.connection import BadReply, Connection, Lost, Response, TimedOut
from adapters.http.proxy import Proxy, ProxyRefused, open_tunnel
from hub.api import PermanentError, SendError, TransientError, UnreachableError
from hub.i18n import t

__all__ = ["HttpClient", "Target"]


_PROXY_AUTH = 407


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect and within which limits; times in seconds, sizes in bytes."""

    host: str
    port: int
    ssl: ssl.SSLContext | None = None
    server_name: str = ""
    connections: int = 8
    connect_timeout: float = 5.0
    idle_timeout: float = 30.0
    reply_limit: int = 8 << 20
    proxy: Proxy | None = None
    permits: Callable[[str], bool] | None = None  # whether a connection may be made to an IP address; None: to any

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """For people."""
        if self.proxy is None:
            return self.address
        host, port = self.proxy.address
        return t(f"{self.address} through the proxy {host}:{port}", f"{self.address}（经代理 {host}:{port}）")


class HttpClient:
    """Connections are opened when needed, the one used last is used next, and closed ones are replaced silently.

    Belongs to the event loop it is first used on.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.opened = 0  # connections made since the start
        self.repeated = 0  # calls repeated because an idle connection turned out to be closed
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._slots = target.connections  # connections that may still be opened
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._closed = False
        self._emptied = asyncio.Event()

    @property
    def open(self) -> int:
        return len(self._all)

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection."""
        return sum(not future.done() for future in self._waiting)

    async def call(
        self,
        head: bytes,
        body: bytes,
        within: float,
        *,
        repeatable: bool,
        without_body: bool = False,
        again: Callable[[], Awaitable[tuple[bytes, bytes]]] | None = None,
    ) -> Response:
        """Send a request and return its final reply, within so many seconds all together.

        ``repeatable``: the request may be sent once more when an idle connection breaks before any byte of the reply
        (RFC 9110, 9.2.2); ``without_body``: the reply has no body (HEAD); ``again`` makes head and body of that repetition, where
        it must not be the same bytes.
        Raises :class:`UnreachableError` when nothing was sent, :class:`TransientError`, and :class:`PermanentError`
        for a reply that is too large.
        """
        deadline = asyncio.get_running_loop().time() + within
        idle = self._idle
        connection = idle.pop() if idle and idle[-1].open else await self._acquire(deadline)
        while True:
            try:
                response = await connection.call(head, body, deadline, without_body=without_body)
            except Lost as error:
                if connection.used and not error.started and repeatable and not self._closed:
                    # An idle connection that the target was about to close: its slot passes on to a new one.
                    self.repeated += 1
                    try:
                        connection = await self._open(deadline)
                    except UnreachableError:  # but the first try may have reached it
                        raise self._lost(error) from None
                    if again is not None:
                        head, body = await again()
                    continue
                self._free_slot()
                raise self._lost(error) from None
            except TimedOut:
                self._free_slot()
                raise TransientError(
                    t(f"{self.target} did not answer within {within:g} s", f"{self.target} 在 {within:g} 秒内未应答"),
                    code="http.timeout",
                ) from None
            except TooLong:
                self._free_slot()
                raise self.too_large() from None
            except BadReply as error:
                self._free_slot()
                raise TransientError(
                    t(
                        f"what {self.target} sent is not an HTTP reply: {error}",
                        f"{self.target} 返回的内容不是 HTTP 应答：{error}",
                    ),
                    code="http.bad_reply",
                ) from None
            except BaseException:  # the caller gave up: the reply must not be taken for that of the next call
                connection.close()
                self._free_slot()
                raise
            self._release(connection)
            if response.status == _PROXY_AUTH and self.target.proxy is not None:
                raise self._no_way(_PROXY_AUTH)
            return response

    async def check(self, within: float) -> None:
        """Connect, TLS included, on a connection of its own, and close it; raises :class:`UnreachableError`."""
        connection = await self._connect(asyncio.get_running_loop().time() + within)
        connection.close()

    async def close(self) -> None:
        """Close every connection; calls under way fail. Nothing can be called afterwards."""
        self._closed = True
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        for connection in list(self._all):
            connection.close()
        if self._all:
            await self._emptied.wait()

    def too_large(self) -> PermanentError:
        limit = self.target.reply_limit
        return PermanentError(
            t(
                f"the reply of {self.target} is larger than reply_limit ({limit} bytes); raise connect.reply_limit",
                f"{self.target} 的应答超过 reply_limit（{limit} 字节），请调大 connect.reply_limit",
            ),
            code="http.reply_too_large",
        )

    # -- pool ----------------------------------------------------------------------------------------------------

    async def _acquire(self, deadline: float) -> Connection:
        """A connection for one call alone: the one used last, a new one, or the next that is given back."""
        if self._closed:
            raise self._stopped()
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
            self._slots += 1  # closed by the target, and not yet reported as lost
        if self._slots > 0:
            self._slots -= 1
            return await self._open(deadline)
        given = await self._wait(deadline)
        if self._closed:
            raise self._stopped()
        return given if given is not None and given.open else await self._open(deadline)

    async def _wait(self, deadline: float) -> Connection | None:
        """Wait in line for a connection, or, when one ended, for its slot (``None``)."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Connection | None] = loop.create_future()
        self._waiting.append(future)
        timer = loop.call_at(deadline, _expire, future)
        try:
            return await future
        except TimeoutError:
            raise UnreachableError(
                t(
                    f"all {self.target.connections} connections to {self.target} stayed busy, nothing was sent",
                    f"到 {self.target} 的 {self.target.connections} 个连接一直繁忙，未发送任何内容",
                ),
                code="http.busy",
            ) from None
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                given = future.result()
                if given is not None:
                    self._release(given)
                else:
                    self._free_slot()
            raise
        finally:
            timer.cancel()

    async def _open(self, deadline: float) -> Connection:
        """A new connection in a slot already taken; gives the slot back when it can't be made."""
        try:
            connection = await self._connect(deadline)
        except BaseException:
            self._free_slot()
            raise
        if self._closed:
            connection.close()
            raise self._stopped()
        return connection

    def _release(self, connection: Connection) -> None:
        if self._closed or not connection.reusable or not connection.open:
            connection.close()
            self._free_slot()
            return
        connection.rest(asyncio.get_running_loop().time() + self.target.idle_timeout)
        if not (self._waiting and self._wake(connection)):
            self._idle.append(connection)

    def _free_slot(self) -> None:
        if not (self._waiting and self._wake(None)):
            self._slots += 1

    def _wake(self, connection: Connection | None) -> bool:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(connection)
                return True
        return False

    def _lost_connection(self, connection: Connection) -> None:
        self._all.discard(connection)
        if self._closed and not self._all:
            self._emptied.set()
        if connection in self._idle:
            self._idle.remove(connection)
            self._free_slot()

    # -- connecting ----------------------------------------------------------------------------------------------

    async def _connect(self, deadline: float) -> Connection:
        target = self.target
        loop = asyncio.get_running_loop()
        limit = min(target.connect_timeout, deadline - loop.time())

        def make() -> Connection:
            return Connection(loop, target.reply_limit, self._lost_connection)

        try:
            async with asyncio.timeout(limit):
                if target.proxy is not None:
                    connection = await self._through(target.proxy, make)
                elif target.permits is not None:
                    connection = await self._to_permitted(target.permits, make)
                else:
                    _, connection = await loop.create_connection(
                        make,
                        target.host,
                        target.port,
                        ssl=target.ssl,
                        server_hostname=(target.server_name or target.host) if target.ssl else None,
                    )
        except ProxyRefused as error:
            raise self._no_way(error.status) from None
        except TimeoutError:
            raise UnreachableError(
                t(f"{target} did not accept a connection in time", f"{target} 未在规定时间内接受连接"),
                code="http.connect_timeout",
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise UnreachableError(
                t(
                    f"the certificate of {target} is not trusted: {error.verify_message}; "
                    "give its authority as tls.ca, or its name as tls.server_name",
                    f"{target} 的证书不受信任：{error.verify_message}；请以 tls.ca 指定其签发机构，"
                    "或以 tls.server_name 指定其名称",
                ),
                code="tls.verify",
            ) from None
        except ssl.SSLError as error:
            raise UnreachableError(
                t(
                    f"no TLS connection to {target}: {error.reason or 'the handshake failed'}",
                    f"无法与 {target} 建立 TLS 连接：{error.reason or '握手失败'}",
                ),
                code="tls.handshake",
            ) from None
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UnreachableError(
                t(f"no connection to {target}: {reason}", f"无法连接 {target}：{reason}"), code="http.unreachable"
            ) from None
        if not connection.open:
            raise UnreachableError(
                t(
                    f"{target} closed the connection at once, nothing was sent",
                    f"{target} 立即关闭了连接，未发送任何内容",
                ),
                code="http.unreachable",
            )
        self._all.add(connection)
        self.opened += 1
        return connection

    async def _to_permitted(self, permits: Callable[[str], bool], make: Callable[[], Connection]) -> Connection:
        """The host's addresses are looked at and used: asked for a second time, its name could mean another."""
        loop = asyncio.get_running_loop()
        target = self.target
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        addresses = [str(where[0]) for *_, where in found]
        if not addresses or not all(map(permits, addresses)):
            raise UnreachableError(
                t(f"connections to the address of {target} are not permitted", f"不允许连接 {target} 的地址"),
                code="http.address_refused",
            )
        _, connection = await loop.create_connection(
            make,
            addresses[0],
            target.port,
            ssl=target.ssl,
            server_hostname=(target.server_name or target.host) if target.ssl else None,
        )
        return connection

    async def _through(self, proxy: Proxy, make: Callable[[], Connection]) -> Connection:
        loop = asyncio.get_running_loop()
        target = self.target
        if target.ssl is None:
            _, connection = await loop.create_connection(make, *proxy.address)
            return connection
        tunnel = await open_tunnel(proxy, target.address)
        connection = make()
        try:
            transport = await loop.start_tls(
                tunnel, connection, target.ssl, server_hostname=target.server_name or target.host
            )
        except BaseException:
            tunnel.abort()
            raise
        if transport is None:
            raise ConnectionResetError("the connection ended during the handshake")
        connection.connection_made(transport)
        return connection

    # -- errors --------------------------------------------------------------------------------------------------

    def _no_way(self, status: int) -> UnreachableError:
        target = self.target
        if status == _PROXY_AUTH:
            return UnreachableError(
                t(
                    f"the proxy does not accept the credentials for the way to {target.address}; "
                    "check proxy.user and proxy.password",
                    f"代理不接受访问 {target.address} 的凭据，请检查 proxy.user 与 proxy.password",
                ),
                code="http.proxy_auth",
            )
        said = f"HTTP {status}" if status else t("nothing that is HTTP", "非 HTTP 内容")
        return UnreachableError(
            t(f"the proxy made no connection to {target.address}: {said}", f"代理未能连接 {target.address}：{said}"),
            code="http.proxy",
        )

    def _lost(self, error: Lost) -> SendError:
        if self._closed:
            return TransientError(t("the sender was stopped during the call", "发送端在调用期间被停止"))
        when = t("in the middle of its reply", "应答途中") if error.started else t("before its reply", "应答之前")
        return TransientError(
            t(
                f"{self.target} closed the connection {when}; whether it has taken the message is unknown",
                f"{self.target} 在{when}关闭了连接，对方是否已收下消息未知",
            ),
            code="http.lost",
        )

    def _stopped(self) -> UnreachableError:
        return UnreachableError(t("the sender is stopped, nothing was sent", "发送端已停止，未发送任何内容"))


def _expire(future: asyncio.Future[Connection | None]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
