"""One outgoing connection: one call under way at a time."""

from __future__ import annotations

import asyncio
import select
import socket
from typing import cast

__all__ = ["StreamLink"]


class StreamLink(asyncio.Protocol):
    """What the pool needs of an outgoing connection. It can't be used again once ``alive`` is false."""

    def __init__(self) -> None:
        self.alive = False
        self.mismatched = 0  # replies that answered something else
        self._transport: asyncio.Transport

    async def usable(self) -> bool:
        """False when the peer has closed the idle connection, even if the event loop has not been told yet."""
        if self.alive and _readable(self._transport.get_extra_info("socket")):
            for _ in range(3):  # let the loop read what is there: an end, or bytes nobody asked for
                await asyncio.sleep(0)
        return self.alive

    def close(self) -> None:
        self.alive = False
        self._transport.abort()

    @property
    def tls_version(self) -> str:
        """E.g. ``TLSv1.3``; empty without TLS."""
        secured = self._transport.get_extra_info("ssl_object")
        return secured.version() if secured is not None else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.alive = True

    def keep_alive(self) -> None:
        """Let the system notice a peer that vanished."""
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def eof_received(self) -> bool:
        self.alive = False
        return False


def _readable(sock: socket.socket) -> bool:
    """Whether something, perhaps the end of the connection, is there to read; True where the system can't tell."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))
