"""HTTP proxies: plain calls are forwarded, TLS goes through a tunnel (CONNECT, RFC 9110, 9.3.6)."""

from __future__ import annotations

import asyncio
import base64
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from adapters.http.option_types import Options, PlainUrl

__all__ = ["Proxy", "ProxyRefused", "open_tunnel", "proxy_authorization"]

_LONGEST_HEAD = 16 << 10


class Proxy(Options):
    """The way to targets that can't be reached directly."""

    url: PlainUrl = Field(description="http:// address of the proxy, with its port")
    user: str = Field("", description="user name, where the proxy wants one (basic)")
    password: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _plain(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme != "http" or parts.path not in ("", "/") or parts.query:
            raise ValueError("the url of a proxy is http://host:port and nothing else")
        if ":" in self.user or not self.user.isprintable() or not self.password.get_secret_value().isprintable():
            raise ValueError("user and password of a proxy are printable, the user without a colon")
        return self

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80


class ProxyRefused(Exception):
    """The proxy made no tunnel. ``status``: what it answered, 0 where that was no HTTP."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def proxy_authorization(proxy: Proxy) -> bytes:
    """The header line, or nothing where the proxy wants none."""
    if not proxy.user:
        return b""
    pair = f"{proxy.user}:{proxy.password.get_secret_value()}".encode()
    return b"proxy-authorization: Basic " + base64.b64encode(pair) + b"\r\n"


async def open_tunnel(proxy: Proxy, target: str) -> asyncio.Transport:
    """A connection to ``target`` (host:port) through the proxy, on which TLS may begin.

    Raises :class:`ProxyRefused`, and ``OSError`` when the proxy can't be reached.
    """
    loop = asyncio.get_running_loop()
    host, port = proxy.address
    transport, waiter = await loop.create_connection(lambda: _Tunnel(loop), host, port)
    try:
        transport.write(
            f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n".encode() + proxy_authorization(proxy) + b"\r\n"
        )
        await waiter.opened
    except BaseException:
        transport.abort()
        raise
    return transport


class _Tunnel(asyncio.Protocol):
    """Waits for the proxy's answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.opened: asyncio.Future[None] = loop.create_future()
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > _LONGEST_HEAD:
                self._end(ProxyRefused(0))
            return
        parts = self._head[: self._head.find(b"\r\n")].split(b" ", 2)
        known = len(parts) >= 2 and parts[0].startswith(b"HTTP/1.") and parts[1].isdigit() and len(parts[1]) == 3
        status = int(parts[1]) if known else 0
        # TLS lets the client speak first: what follows the head came from no target.
        sound = 200 <= status < 300 and end + 4 == len(self._head)
        self._end(None if sound else ProxyRefused(0 if 200 <= status < 300 else status))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(ConnectionResetError("the proxy closed the connection"))

    def _end(self, error: Exception | None) -> None:
        if self.opened.done():
            return
        if error is None:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(error)
