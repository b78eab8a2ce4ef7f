"""HTTP sink: answers every POST at once and remembers which message came when.

``python -m benchmarks.sink`` prints its port and serves until its standard input closes. ``GET /seen`` tells how many messages
have come and when the last one did; ``GET /take`` returns, and forgets, the list (see :func:`unpack`).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from array import array
from typing import cast

import uvloop

__all__ = ["unpack"]

_MARK = b'"controlId":"'
_ID_LENGTH = 16
_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n" + b'{"code":1001}'


class _Seen:
    """Messages in the order of their arrival."""

    def __init__(self) -> None:
        self.ids = bytearray()
        self.times = array("d")
        self.unmarked = 0


class _Connection(asyncio.Protocol):
    """One connection of the hub, or of whoever asks for the list."""

    def __init__(self, seen: _Seen) -> None:
        self._seen = seen
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self._held:
            data = self._held + data
        answers = []
        while data:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                break
            if data[:4] == b"GET ":
                answers.append(self._report(data[4:end].split(b" ", 1)[0]))
                data = data[end + 4 :]
                continue
            place = data.find(b"content-length: ", 0, end)
            size = int(data[place + 16 : data.find(b"\r", place, end + 1)])
            if len(data) < end + 4 + size:
                break
            mark = data.find(_MARK, end)
            if mark < 0:
                self._seen.unmarked += 1
            else:
                mark += len(_MARK)
                self._seen.ids += data[mark : mark + _ID_LENGTH]
                self._seen.times.append(time.monotonic())
            answers.append(_OK)
            data = data[end + 4 + size :]
        self._held = data
        if answers:
            self._transport.write(answers[0] if len(answers) == 1 else b"".join(answers))

    def _report(self, path: bytes) -> bytes:
        seen = self._seen
        if path == b"/take":
            body = bytes(seen.ids) + seen.times.tobytes()
            seen.ids = bytearray()
            seen.times = array("d")
        else:
            first, last = (seen.times[0], seen.times[-1]) if seen.times else (0.0, 0.0)
            body = json.dumps(
                {
                    "count": len(seen.times),
                    "first": first,
                    "last": last,
                    "unmarked": seen.unmarked,
                    "cpu_s": time.process_time(),
                }
            ).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def unpack(body: bytes) -> tuple[list[bytes], array[float]]:
    """Control ids and times of arrival (seconds of the monotonic clock) from the body of ``GET /take``."""
    number = len(body) // (_ID_LENGTH + 8)
    times = array("d")
    times.frombytes(body[number * _ID_LENGTH :])
    return [body[place : place + _ID_LENGTH] for place in range(0, number * _ID_LENGTH, _ID_LENGTH)], times


async def _serve() -> None:
    seen = _Seen()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(seen), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    over = asyncio.Event()

    def ended() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            over.set()

    loop.add_reader(sys.stdin.fileno(), ended)
    await over.wait()
    loop.remove_reader(sys.stdin.fileno())
    server.close()


if __name__ == "__main__":
    uvloop.run(_serve())
