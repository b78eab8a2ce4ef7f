"""MLLP and frames over TCP, beside a bare server and a bare client of asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import uvloop

from adapters.mllp import MllpAdapter
from adapters.tcp import TcpAdapter
from benchmarks.adapters.measure import BODY, Case, Run, bind, client, expect, lanes, server, serving
from benchmarks.adapters.web import listening
from hub.api import Adapter, Codec
from hub.codecs.hl7v2 import Hl7Codec
from hub.codecs.plain_codecs import BinaryCodec

__all__ = ["cases"]

_CONNECTIONS = 8
_MESSAGE = (
    b"MSH|^~\\&|HIS|NORTH|HUB|CENTRAL|20260115093015||ADT^A01|C1|P|2.5.1\rEVN|A01|20260115093012\r"
    b"PID|1||P000001^^^HIS||ZHANG^SAN||19650203|M|||" + b"x" * 900 + b"\r"
)
_MLLP = b"\x0b" + _MESSAGE + b"\x1c\r"
_ACK = b"\x0bMSH|^~\\&|A|B|C|D|20260101||ACK|1|P|2.5.1\rMSA|AA|C1\r\x1c\r"
_FRAMING = {"type": "delimited", "start": "\x02", "end": "\x03"}
_FRAME, _OK = b"\x02" + BODY + b"\x03", b"\x02OK\x03"


class _Answering(asyncio.Protocol):
    """Answers every frame, without a look into it."""

    def __init__(self, end: bytes, answer: bytes, count: Callable[[int], None]) -> None:
        self._end, self._answer, self._count = end, answer, count
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        frames = data.count(self._end)
        if frames and self._transport is not None:
            self._count(frames)
            self._transport.write(self._answer * frames)


@asynccontextmanager
async def _bare(end: bytes, answer: bytes) -> AsyncIterator[tuple[int, Callable[[], int]]]:
    taken = 0

    def count(frames: int) -> None:
        nonlocal taken
        taken += frames

    loop = asyncio.get_running_loop()
    found = await loop.create_server(lambda: _Answering(end, answer, count), "127.0.0.1", 0)
    try:
        yield found.sockets[0].getsockname()[1], lambda: taken
    finally:
        found.close()


def _exchange(frame: bytes, end: bytes) -> Callable[[int, int], Coroutine[Any, Any, None]]:
    """Send frames over a few connections, each when the one before is answered, by asyncio's streams."""

    async def load(port: int, count: int) -> None:
        numbers = iter(range(count))

        async def lane() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in numbers:
                writer.write(frame)
                await reader.readuntil(end)
            writer.close()

        await asyncio.gather(*(lane() for _ in range(_CONNECTIONS)))

    return load


def cases(folder: Path, share: float) -> Iterator[Case]:
    count = max(50, int(30_000 * share))
    yield from _of(MllpAdapter, Hl7Codec, {}, {}, (_MLLP, _MESSAGE, b"\x1c\r", _ACK), count)
    answers = {"answers": {"accepted": "OK"}}
    yield from _of(
        TcpAdapter,
        BinaryCodec,
        {"framing": _FRAMING, **answers},
        {"framing": _FRAMING},
        (_FRAME, BODY, b"\x03", _OK),
        count,
    )


def _of(
    kind: type[Adapter],
    codec: type[Codec],
    listen: dict[str, Any],
    connect: dict[str, Any],
    wire: tuple[bytes, bytes, bytes, bytes],
    count: int,
) -> Iterator[Case]:
    """``wire``: a frame, its content, what ends it, the answer."""
    frame, content, end, answer = wire
    adapter, load = kind(), _exchange(frame, end)
    yield Case(
        adapter.name,
        "in",
        "a bare protocol of asyncio that answers every frame",
        lambda: server(listening, (kind, codec, {"host": "127.0.0.1", "port": 0, **listen}), load, count),
        lambda: server(_bare, (end, answer), load, count),
    )

    def ours() -> Run:
        with serving(_bare, end, answer) as (port, asked):
            options = {"host": "127.0.0.1", "port": port, "connections": _CONNECTIONS, **connect}
            run = lanes(adapter, bind(adapter, "out", options, codec()), [content] * count, _CONNECTIONS)
            expect(asked()[1], count, adapter.name)
            return run

    def theirs() -> Run:
        with serving(_bare, end, answer) as (port, asked):
            run = client(lambda: uvloop.run(load(port, count)), count)
            expect(asked()[1], count, "asyncio")
            return run

    yield Case(adapter.name, "out", "asyncio's streams", ours, theirs)
