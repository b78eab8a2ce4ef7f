"""The listening side of the MLLP adapter."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

from adapters.access import AllowList
from adapters.mllp.acknowledge import Acknowledger
from adapters.mllp.connection import STRAY_LIMIT, Connection
from adapters.mllp.framing import FrameReader
from adapters.mllp.options import MllpListen
from adapters.tls import server_context
from hub.api import Bound, HubError, IntakePort, Receiver
from hub.i18n import t

__all__ = ["MllpReceiver"]

_HANDSHAKE = 10.0


class MllpReceiver(Receiver):
    """Listens on one port for one interface. See :mod:`adapters.mllp.connection` for one connection."""

    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        options = bound.options
        if not isinstance(options, MllpListen):
            raise TypeError("bound.options must be MllpListen")
        self.bound = bound
        self.intake = intake
        self.options = options
        self.acknowledger = Acknowledger(options.ack, bound.contract.style == "request")
        self.hl7 = bound.codec.name == "hl7v2"
        self.max_size = bound.contract.max_size or options.max_size
        self.max_in_flight = options.max_in_flight
        self.clock = 0.0  # loop time of the last tick: cheap, and precise enough for time limits
        self.buffered = 0  # bytes of unfinished large frames
        self.frames = self.empty = self.refused = 0
        self.too_large = self.too_slow = self.closed_idle = 0
        self._strangers = self._over_limit = self._skipped = 0
        self._told = 0.0
        self._allow = AllowList(options.allow)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._stopping = False
        self._ticking: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event | None = None
        # Short limits need a finer clock; the usual ones a tick each second.
        limits = [limit for limit in (options.frame_timeout, options.idle_timeout) if limit]
        self._tick_every = max(0.01, min(1.0, min(limits) / 4))

    # -- Receiver ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        options = self.options
        loop = asyncio.get_running_loop()
        context = server_context(options.tls) if options.tls else None
        self.clock = loop.time()
        self._stopping = False
        try:
            self._server = await loop.create_server(
                lambda: Connection(self),
                options.host,
                options.port,
                backlog=options.backlog,
                ssl=context,
                ssl_handshake_timeout=_HANDSHAKE if context else None,
            )
        except OSError as error:
            raise _cannot_listen(options.host, options.port, error) from error
        self._tick()

    async def stop(self, grace: float) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        self._stopping = True
        server.close()
        if self._connections:
            self._emptied = asyncio.Event()
            for connection in list(self._connections):
                connection.drain()
            try:
                async with asyncio.timeout(grace):
                    await self._emptied.wait()
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()
                await self._emptied.wait()
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        await server.wait_closed()

    def status(self) -> dict[str, Any]:
        sockets = self._server.sockets if self._server else ()
        return {
            "listening": [f"{name[0]}:{name[1]}" for name in (sock.getsockname() for sock in sockets)],
            "port": sockets[0].getsockname()[1] if sockets else 0,
            "tls": self.options.tls is not None,
            "connections": len(self._connections),
            "frames": self.frames,
            "buffered": self.buffered,
            "empty_frames": self.empty,
            "refused": self.refused,
            "too_large": self.too_large,
            "too_slow": self.too_slow,
            "closed_idle": self.closed_idle,
            "not_allowed": self._strangers,
            "over_limit": self._over_limit,
            "bytes_outside_frames": self._skipped,
        }

    # -- for connections ---------------------------------------------------------------------------------------

    def admit(self, connection: Connection, address: str) -> bool:
        """Whether a new connection may stay."""
        if not self._allow.permits(address):
            self._strangers += 1
            if self.clock > self._told:  # one row of the call log per tick, not one per attempt of a scanner
                self._told = self.clock
                self.refuse(
                    b"",
                    HubError(
                        t(f"address {address} may not connect", f"地址 {address} 不允许连接"),
                        code="mllp.not_allowed",
                        remedy=t("add it to allow of the interface", "请将其加入接口的 allow"),
                    ),
                    connection.remote,
                )
            return False
        if len(self._connections) >= self.options.max_connections or self._stopping:
            self._over_limit += 1
            return False
        self._connections.add(connection)
        return True

    def dismiss(self, connection: Connection, reader: FrameReader) -> None:
        """The connection is gone."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._skipped += reader.skipped
        if reader.outside > (STRAY_LIMIT if reader.taken else 0):
            self.refuse(reader.stray, _no_frame(reader.outside), connection.remote)
        if self._emptied is not None and not self._connections:
            self._emptied.set()

    def refuse(self, raw: bytes, error: HubError, remote: str) -> None:
        self.intake.refuse(self.bound, raw, error, remote=remote)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self.clock = clock = loop.time()
        self._ticking = loop.call_later(self._tick_every, self._tick)
        for connection in list(self._connections):
            connection.check(clock)


def _no_frame(count: int) -> HubError:
    return HubError(
        t(
            f"{count} bytes outside MLLP frames (no 0x0B before the message)",
            f"{count} 字节不在 MLLP 帧内（缺少 0x0B）",
        ),
        code="mllp.no_frame",
        remedy=t("set the sender to MLLP: 0x0B message 0x1C 0x0D", "请将发送方设为 MLLP：0x0B 消息 0x1C 0x0D"),
    )


def _cannot_listen(host: str, port: int, error: OSError) -> HubError:
    if error.errno == errno.EADDRINUSE:
        remedy = t(
            "another program or interface uses the port: stop it or choose another port",
            "端口已被其他程序或接口占用：请停止它或更换端口",
        )
    elif error.errno == errno.EACCES:
        remedy = t("ports below 1024 need a privilege: choose a higher one", "1024 以下端口需要特权：请使用更大的端口")
    elif isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        remedy = t("host must be an address of this machine, e.g. 0.0.0.0", "host 须为本机地址，例如 0.0.0.0")
    else:
        remedy = t("check host and port", "请检查 host 与 port")
    reason = error.strerror or str(error)
    return HubError(
        t(f"can't listen on {host}:{port}: {reason}", f"无法监听 {host}:{port}：{reason}"),
        code="mllp.listen",
        remedy=remedy,
    )
