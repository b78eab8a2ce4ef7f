"""What the tests of the adapters ``tcp`` and ``astm`` share: an intake in memory, raw peers, scripted servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from adapters.tcp import TcpAdapter
from adapters.tcp.options import TcpConnect, TcpListen
from adapters.tcp.receiver import TcpReceiver
from adapters.tcp.sender import TcpSender
from hub.api import Bound, Outgoing
from hub.codecs.plain_codecs import BinaryCodec
from hub.contract import Interface
from tests.adapters.mllp_support import DEADLINE, MemoryIntake, until

__all__ = ["DEADLINE", "MemoryIntake", "Peer", "calling", "listening", "outgoing", "peer", "serving", "until"]


class Peer:
    """A raw peer: writes and reads bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self, count: int) -> bytes:
        """Exactly so many bytes; fails at the deadline and at the end of the stream."""
        async with asyncio.timeout(DEADLINE):
            return await self.reader.readexactly(count)

    async def rest(self) -> bytes:
        """What comes until the other side closes."""
        async with asyncio.timeout(DEADLINE):
            return await self.reader.read()

    async def silent(self, seconds: float = 0.05) -> bool:
        """Nothing comes for a moment."""
        try:
            async with asyncio.timeout(seconds):
                return not await self.reader.read(1)
        except TimeoutError:
            return True

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return


def bound(direction: Any, options: Any, contract: dict[str, Any] | None = None) -> Bound:
    interface = Interface(direction=direction, adapter="tcp", codec="binary", **(contract or {}))
    return Bound("dev/it", "dev", "it", "dev@1", interface, BinaryCodec(), {}, options)


@asynccontextmanager
async def listening(
    intake: MemoryIntake, framing: dict[str, Any], contract: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[TcpReceiver]:
    receiver = TcpAdapter().receiver(bound("in", TcpListen(framing=framing, **options), contract), intake)
    assert isinstance(receiver, TcpReceiver)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(5.0)


@asynccontextmanager
async def calling(port: int, framing: dict[str, Any], **options: Any) -> AsyncIterator[TcpSender]:
    options = {"host": "127.0.0.1", "port": port, "framing": framing, **options}
    sender = TcpAdapter().sender(bound("out", TcpConnect(**options)))
    assert isinstance(sender, TcpSender)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


@asynccontextmanager
async def peer(port: int, **more: Any) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **more)
    one = Peer(reader, writer)
    try:
        yield one
    finally:
        await one.close()


@asynccontextmanager
async def serving(script: Callable[[Peer], Awaitable[None]], port: int = 0, **more: Any) -> AsyncIterator[int]:
    """A server that runs ``script`` for each connection, then closes it; yields its port."""
    tasks: set[asyncio.Task[Any]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        one = Peer(reader, writer)
        try:
            await script(one)
        except (OSError, EOFError, asyncio.CancelledError):
            return
        finally:
            await one.close()
            tasks.discard(task)

    server = await asyncio.start_server(run, "127.0.0.1", port, **more)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def outgoing(body: bytes, timeout: float = DEADLINE) -> Outgoing:
    return Outgoing(body, 1, "key", "it", "1", 1, timeout)
