"""A port that many connections come to: who may connect, how many, a clock for their time limits, a graceful end."""

from __future__ import annotations

import asyncio
import errno
import socket
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from adapters.access import AllowList
from adapters.streams.frames import Frames
from adapters.tls import ServerTls, server_context
from hub.api import Bound, HubError, IntakePort, Receiver
from hub.i18n import t

__all__ = ["STRAY_LIMIT", "Inbound", "ListenOptions", "StreamReceiver"]

_HANDSHAKE = 10.0
#: Bytes outside frames after which a peer is taken for one that speaks something else.
STRAY_LIMIT = 64 << 10


class ListenOptions(Protocol):
    """The options every listener has."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def tls(self) -> ServerTls | None: ...
    @property
    def allow(self) -> Sequence[str]: ...
    @property
    def max_connections(self) -> int: ...
    @property
    def idle_timeout(self) -> float: ...
    @property
    def frame_timeout(self) -> float: ...
    @property
    def keepalive(self) -> bool: ...
    @property
    def backlog(self) -> int: ...


class Inbound(Protocol):
    """One inbound connection."""

    remote: str

    def drain(self) -> None:
        """Read nothing more, answer what is under way, then close."""

    def abort(self) -> None: ...

    def check(self, clock: float) -> None:
        """One tick of the receiver's clock, for time limits."""


class StreamReceiver(Receiver):
    """Listens on one port for one interface; a subclass makes the connections."""

    protocol: ClassVar[str]  # first part of error codes

    def __init__(self, bound: Bound, intake: IntakePort, options: ListenOptions) -> None:
        self.bound = bound
        self.intake = intake
        self.limits = options
        self.clock = 0.0  # loop time of the last tick: cheap, and precise enough for time limits
        self.buffered = 0  # bytes of unfinished large frames
        self.frames = self.empty = self.refused = 0
        self.too_large = self.too_slow = self.closed_idle = 0
        self._strangers = self._over_limit = self._skipped = 0
        self._told = 0.0
        self._allow = AllowList(options.allow)
        self._connections: set[Inbound] = set()
        self._server: asyncio.Server | None = None
        self._stopping = False
        self._ticking: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event | None = None
        # Short limits need a finer clock; the usual ones a tick each second.
        limits = [limit for limit in (options.frame_timeout, options.idle_timeout) if limit]
        self._tick_every = max(0.01, min(1.0, min(limits) / 4))

    @abstractmethod
    def connection(self) -> asyncio.Protocol:
        """The protocol of a new connection."""

    # -- Receiver ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        options = self.limits
        loop = asyncio.get_running_loop()
        context = server_context(options.tls) if options.tls else None
        self.clock = loop.time()
        self._stopping = False
        try:
            self._server = await loop.create_server(
                self.connection,
                options.host,
                options.port,
                backlog=options.backlog,
                ssl=context,
                ssl_handshake_timeout=_HANDSHAKE if context else None,
            )
        except OSError as error:
            raise self._cannot_listen(error) from error
        self._tick()

    async def stop(self, grace: float) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        self._stopping = True
        server.close()
        await self._end(grace)
        await server.wait_closed()

    async def _end(self, grace: float) -> None:
        """Let the connections finish within ``grace`` seconds, then break them off."""
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

    def status(self) -> dict[str, Any]:
        sockets = self._server.sockets if self._server else ()
        return {
            "listening": [f"{name[0]}:{name[1]}" for name in (sock.getsockname() for sock in sockets)],
            "port": sockets[0].getsockname()[1] if sockets else 0,
            "tls": self.limits.tls is not None,
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

    def admit(self, connection: Inbound, address: str) -> bool:
        """Whether a new connection may stay."""
        if not self._allow.permits(address):
            self._strangers += 1
            if self.clock > self._told:  # one row of the call log per tick, not one per attempt of a scanner
                self._told = self.clock
                self.refuse(
                    b"",
                    HubError(
                        t(f"address {address} may not connect", f"地址 {address} 不允许连接"),
                        code=f"{self.protocol}.not_allowed",
                        remedy=t("add it to allow of the interface", "请将其加入接口的 allow"),
                    ),
                    connection.remote,
                )
            return False
        if len(self._connections) >= self.limits.max_connections or self._stopping:
            self._over_limit += 1
            return False
        self._connections.add(connection)
        return True

    def dismiss(self, connection: Inbound, reader: Frames | None = None) -> None:
        """The connection is gone."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        if reader is not None:
            self._skipped += reader.skipped
            if reader.outside > (STRAY_LIMIT if reader.taken else 0):
                self.refuse(reader.stray, self.no_frame(reader.outside), connection.remote)
        if self._emptied is not None and not self._connections:
            self._emptied.set()

    def refuse(self, raw: bytes, error: HubError, remote: str) -> None:
        self.intake.refuse(self.bound, raw, error, remote=remote)

    @abstractmethod
    def no_frame(self, count: int) -> HubError:
        """The error for a peer that sent so many bytes outside frames."""

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self.clock = clock = loop.time()
        self._ticking = loop.call_later(self._tick_every, self._tick)
        for connection in list(self._connections):
            connection.check(clock)

    def _cannot_listen(self, error: OSError) -> HubError:
        host, port = self.limits.host, self.limits.port
        if error.errno == errno.EADDRINUSE:
            remedy = t(
                "another program or interface uses the port: stop it or choose another port",
                "端口已被其他程序或接口占用：请停止它或更换端口",
            )
        elif error.errno == errno.EACCES:
            remedy = t(
                "ports below 1024 need a privilege: choose a higher one", "1024 以下端口需要特权：请使用更大的端口"
            )
        elif isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            remedy = t("host must be an address of this machine, e.g. 0.0.0.0", "host 须为本机地址，例如 0.0.0.0")
        else:
            remedy = t("check host and port", "请检查 host 与 port")
        reason = error.strerror or str(error)
        return HubError(
            t(f"can't listen on {host}:{port}: {reason}", f"无法监听 {host}:{port}：{reason}"),
            code=f"{self.protocol}.listen",
            remedy=remedy,
        )
