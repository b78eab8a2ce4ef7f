"""Connections for the mail libraries of Python, which block: each is used in a thread, and can be cut off from outside.

The TCP connection is made on the event loop. A call in a thread that takes too long, or whose caller is cancelled, ends at once
because its socket is shut down under it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from adapters.mail.options import Server
from hub.api import TransientError, UnreachableError
from hub.i18n import t

__all__ = ["Threads", "Wire", "connect", "lost", "overdue", "unreachable"]

T = TypeVar("T")


class Wire:
    """A socket that may become one with TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def secure(self, context: ssl.SSLContext, name: str) -> socket.socket:
        """TLS from here on; raises ``ssl.SSLError`` and ``OSError``."""
        # Known to abort() before the handshake, which may hang.
        secured = context.wrap_socket(self.socket, server_hostname=name, do_handshake_on_connect=False)
        self.socket = secured
        secured.do_handshake()
        return secured

    def abort(self) -> None:
        """From any thread: whatever waits on the socket ends."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def close(self) -> None:
        self.abort()
        self.socket.close()


class Threads:
    """The threads of one adapter instance, as many as it has connections at once."""

    def __init__(self, limit: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix=f"mail {name}")
        self._closed = False

    async def run(self, wire: Wire | None, call: Callable[[], T], seconds: float) -> T:
        """Raises what the call raises, and ``TimeoutError``; the thread is done with the call when this returns.

        Raises ``ConnectionAbortedError`` after :meth:`close`.
        """
        if self._closed:
            raise ConnectionAbortedError(t("the hub is stopping", "平台正在停止"))
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(future)
        except (TimeoutError, asyncio.CancelledError):
            if wire is not None:
                wire.abort()
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()
            raise

    def close(self) -> None:
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)


async def connect(server: Server, port: int) -> Wire:
    """A TCP connection, its time limits those of connecting; raises ``OSError``."""
    loop = asyncio.get_running_loop()
    failure = OSError(t("no address", "没有地址"))
    for family, kind, protocol, _, address in await loop.getaddrinfo(server.host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            sock.settimeout(server.connect_timeout + 5)  # the caller's own limit comes first
            return Wire(sock)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure


def unreachable(address: str, error: Exception | str) -> UnreachableError:
    """For whatever goes wrong before the login is done."""
    code = "mail.unreachable"
    if isinstance(error, ssl.SSLError):
        code = "mail.tls"
        if isinstance(error, ssl.SSLCertVerificationError):
            reason = t(f"certificate refused: {error.verify_message}", f"证书未通过校验：{error.verify_message}")
        else:
            reason = f"TLS: {error.reason or error.strerror or type(error).__name__}"
    elif isinstance(error, OSError):
        reason = error.strerror or str(error)[:200] or type(error).__name__
    else:
        reason = str(error)[:200]
    return UnreachableError(t(f"{address} can't be reached: {reason}", f"无法连接 {address}：{reason}"), code=code)


def lost(address: str) -> TransientError:
    return TransientError(t(f"connection to {address} lost", f"与 {address} 的连接中断"), code="mail.lost")


def overdue(address: str, seconds: float) -> str:
    return t(f"{address}: no answer within {seconds:g} s", f"{address}：{seconds:g} 秒内无响应")
