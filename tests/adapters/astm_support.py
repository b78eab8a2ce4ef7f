"""What the tests of ASTM share: messages, frames, an analyser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from adapters.tcp import AstmAdapter
from adapters.tcp.astm_options import AstmConnect, AstmListen
from adapters.tcp.astm_receiver import AstmReceiver
from adapters.tcp.e1381_frames import ACK, ENQ, EOT, NAK, frames_of
from hub.api import Bound, Receiver, Sender
from hub.codecs.astm import AstmCodec
from hub.contract import Interface
from tests.adapters.tcp_support import DEADLINE, MemoryIntake, Peer

__all__ = [
    "ACK",
    "ENQ",
    "EOT",
    "NAK",
    "Analyser",
    "bound_in",
    "bound_out",
    "listening",
    "order",
    "query",
    "result",
    "started",
]


def result(number: str = "S1", value: str = "11.20") -> bytes:
    return (
        "H|\\^&|||XN^1|||||||P|1394-97|20261120081200\r"
        f"P|1||P0001||样本^人||19830502|M\rO|1|{number}||^^^WBC|R\rR|1|^^^WBC|{value}|10*9/L|4.0 to 10.0|H||F\rL|1|N\r"
    ).encode()


def query(sample: str = "S1") -> bytes:
    return f"H|\\^&|||XN^1\rQ|1|^{sample}||ALL||||||||O\rL|1|N\r".encode()


def order(sample: str = "S1") -> bytes:
    return f"H|\\^&|||LIS\rP|1\rO|1|{sample}||^^^WBC|R\rL|1|F\r".encode()


def bound_in(interface: str = "results", contract: dict[str, Any] | None = None, **options: Any) -> Bound:
    described = Interface(direction="in", adapter="astm", codec="astm", **(contract or {}))
    return Bound(f"xn/{interface}", "xn", interface, "xn@1", described, AstmCodec(), {}, AstmListen(**options))


def bound_out(interface: str = "orders", **options: Any) -> Bound:
    described = Interface(direction="out", adapter="astm", codec="astm")
    return Bound(f"xn/{interface}", "xn", interface, "xn@1", described, AstmCodec(), {}, AstmConnect(**options))


@asynccontextmanager
async def started(thing: Receiver | Sender) -> AsyncIterator[Any]:
    await thing.start()
    try:
        yield thing
    finally:
        await (thing.stop(5.0) if isinstance(thing, Receiver) else thing.stop())


@asynccontextmanager
async def listening(
    intake: MemoryIntake, contract: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[AstmReceiver]:
    async with started(AstmAdapter().receiver(bound_in(contract=contract, **options), intake)) as receiver:
        yield receiver


class Analyser(Peer):
    """The other end of a line, written for the tests: it knows what is right and waits for it."""

    async def expect(self, wanted: bytes) -> None:
        found = await self.read(len(wanted))
        assert found == wanted

    async def transmit(self, message: bytes, size: int = 240) -> bytes:
        """A whole transmission; what answered the last frame."""
        self.write(ENQ)
        await self.expect(ACK)
        answer = b""
        frames = frames_of(message, size, by_record=True)
        for number, frame in enumerate(frames, 1):
            self.write(frame)
            answer = await self.read(1)
            assert answer == ACK or number == len(frames)
        self.write(EOT)
        return answer

    async def take(self) -> bytes:
        """Take one transmission, acknowledging everything; its text."""
        await self.expect(ENQ)
        self.write(ACK)
        return await self.take_frames()

    async def take_frames(self) -> bytes:
        text, number = b"", 1
        async with asyncio.timeout(DEADLINE):
            while (first := await self.reader.readexactly(1)) != EOT:
                assert first == b"\x02"
                body = await self.reader.readuntil(b"\r\n")
                body, checksum = body[:-4], body[-4:-2]
                assert (body[:1], checksum) == (b"%d" % (number % 8), b"%02X" % (sum(body) % 256))
                text += body[1:-1]
                number += 1
                self.write(ACK)
        return text
