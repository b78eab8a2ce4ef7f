"""What the tests of the MLLP adapter share: an intake in memory, a raw client, a scripted server, messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from adapters.mllp import MllpAdapter
from adapters.mllp.framing import FrameReader, frame
from adapters.mllp.options import MllpConnect, MllpListen
from adapters.mllp.receiver import MllpReceiver
from adapters.mllp.sender import MllpSender
from hub.api import Bound, HubError, Outgoing, Receipt
from hub.codecs.hl7v2 import Hl7Codec
from hub.contract import Interface
from hub.message import Outcome

#: Longest wait for anything a test expects, seconds.
DEADLINE = 15.0


def message(control_id: str, accept: str = "", application: str = "", text: str = "x") -> bytes:
    """A small message; MSH-15 and MSH-16 as given."""
    return (
        f"MSH|^~\\&|HIS|NORTH|HUB|CENTRAL|20260115093015||ADT^A01|{control_id}|P|2.5.1|||{accept}|{application}\r"
        f"EVN|A01|20260115093012\rPID|1||{text}\r"
    ).encode()


def fields(reply: bytes) -> dict[str, list[str]]:
    """Segments of a reply by name, split into fields numbered as in HL7 (MSH one less)."""
    lines = reply.decode("utf-8").split("\r")
    return {line[:3]: line.split("|") for line in reversed(lines) if line}


def code(reply: bytes) -> str:
    return fields(reply)["MSA"][1]


def answered(reply: bytes) -> str:
    return fields(reply)["MSA"][2]


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition; fails at the deadline."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "condition not met in time"
        await asyncio.sleep(0.002)


class MemoryIntake:
    """An intake whose verdicts the test decides."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.remotes: list[str] = []
        self.refused: list[tuple[bytes, HubError]] = []
        self.is_ready = True
        self.at_once = True
        self.waiting: list[tuple[bytes, Callable[[Receipt], None]]] = []
        self.verdict: Callable[[bytes], Receipt] = lambda raw: Receipt(Outcome.OK, 1)

    def submit(self, bound: Bound, raw: bytes, done: Callable[[Receipt], None], **more: Any) -> None:
        self.taken.append(raw)
        self.remotes.append(more.get("remote", ""))
        if self.at_once:
            done(self.verdict(raw))
        else:
            self.waiting.append((raw, done))

    def finish(self, number: int = 0) -> None:
        """Say what became of one of the waiting messages."""
        raw, done = self.waiting.pop(number)
        done(self.verdict(raw))

    def refuse(self, bound: Bound, raw: bytes, error: HubError, *, remote: str = "") -> None:
        self.refused.append((raw, error))

    def ready(self) -> bool:
        return self.is_ready


def bound_in(contract: dict[str, Any] | None = None, **options: Any) -> Bound:
    interface = Interface(direction="in", adapter="mllp", codec="hl7v2", **(contract or {}))
    return Bound("his/in", "his", "in", "his@1", interface, Hl7Codec(), {}, MllpListen(**options))


def bound_out(**options: Any) -> Bound:
    interface = Interface(direction="out", adapter="mllp", codec="hl7v2")
    return Bound("lis/out", "lis", "out", "lis@1", interface, Hl7Codec(), {}, MllpConnect(**options))


@asynccontextmanager
async def listening(
    intake: MemoryIntake, contract: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[MllpReceiver]:
    receiver = MllpAdapter().receiver(bound_in(contract, **options), intake)
    assert isinstance(receiver, MllpReceiver)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(5.0)


@asynccontextmanager
async def calling(port: int, **options: Any) -> AsyncIterator[MllpSender]:
    sender = MllpAdapter().sender(bound_out(**{"host": "127.0.0.1", "port": port, **options}))
    assert isinstance(sender, MllpSender)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


def outgoing(body: bytes, timeout: float = DEADLINE) -> Outgoing:
    return Outgoing(body, 1, "key", "ADT^A01", "1", 1, timeout)


class Client:
    """A raw peer: writes what it is told, reads frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._frames = FrameReader(64 << 20)

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def send(self, *messages: bytes) -> None:
        self.writer.write(b"".join(frame(m) for m in messages))

    async def reply(self) -> bytes:
        """The next frame; fails at the end of the stream and at the deadline."""
        found = await self.reply_or_end()
        assert found is not None, "the connection was closed"
        return found

    async def reply_or_end(self) -> bytes | None:
        async with asyncio.timeout(DEADLINE):
            while True:
                found = self._frames.next()
                if found is not None:
                    return found
                try:
                    data = await self.reader.read(65536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self._frames.feed(data)

    async def ask(self, raw: bytes) -> bytes:
        self.send(raw)
        return await self.reply()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return


@asynccontextmanager
async def client(receiver: MllpReceiver, **more: Any) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.status()["port"], **more)
    peer = Client(reader, writer)
    try:
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def serving(script: Callable[[Client], Awaitable[None]], **more: Any) -> AsyncIterator[int]:
    """A server that runs ``script`` for each connection, then closes it; yields its port."""
    tasks: set[asyncio.Task[Any]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer = Client(reader, writer)
        try:
            await script(peer)
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            await peer.close()
            tasks.discard(task)

    server = await asyncio.start_server(run, "127.0.0.1", 0, **more)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
