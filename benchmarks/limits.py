"""What the machine gives without a hub: a bare MLLP server, and the hub's HTTP client against the sink.

``python -m benchmarks.limits echo`` serves MLLP until its standard input closes; ``… post URL SECONDS`` prints requests per second.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import cast

import uvloop

from adapters.http.client import HttpClient, Target
from benchmarks.rig import ROOT, Failed, Sink, generate

__all__ = ["mllp_echo", "sink_posts"]

_BODY = b'{"controlId":"limt000000000000","text":"' + b"x" * 1_150 + b'"}'


class _Echo(asyncio.Protocol):
    """Acknowledges every message without looking further than its control id."""

    def __init__(self) -> None:
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._held + data
        if data[-2:] != b"\x1c\r":
            self._held = data
            return
        self._held = b""
        control = data[: data.find(b"\r")].split(b"|", 10)[9]
        if self._transport is not None:
            self._transport.write(b"\x0bMSH|^~\\&|A|B|C|D|20260101||ACK|1|P|2.5.1\rMSA|AA|%b\r\x1c\r" % control)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Echo, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    over = asyncio.Event()

    def ended() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            over.set()

    loop.add_reader(sys.stdin.fileno(), ended)
    await over.wait()
    loop.remove_reader(sys.stdin.fileno())
    server.close()


async def _post(port: int, seconds: float) -> float:
    client = HttpClient(Target(host="127.0.0.1", port=port, connections=32))
    head = b"POST /in HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(_BODY)
    until = time.monotonic() + seconds
    done = 0

    async def work() -> None:
        nonlocal done
        while time.monotonic() < until:
            await client.call(head, _BODY, 10.0, repeatable=False)
            done += 1

    began = time.monotonic()
    await asyncio.gather(*(work() for _ in range(32)))
    spent = time.monotonic() - began
    await client.close()
    return done / spent


def mllp_echo(connections: int, seconds: float) -> float:
    """Acknowledgements per second of the bare server, with the generator that loads the hub."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.limits", "echo"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        found = generate([int(process.stdout.readline())], connections, seconds, "echo")
    finally:
        process.stdin.close()
        process.wait(10)
    if found["errors"]:
        raise Failed(f"the bare MLLP server: {found['errors']}")
    return float(found["rate"])


def sink_posts(sink: Sink, seconds: float) -> float:
    """Requests per second of the hub's client against the sink, 32 connections."""
    command = [sys.executable, "-m", "benchmarks.limits", "post", str(sink.port), str(seconds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=seconds + 60, check=False)
    if done.returncode:
        raise Failed(f"the HTTP client: {done.stderr.decode(errors='replace')[-400:]}")
    sink.take()
    return float(done.stdout)


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        uvloop.run(_serve())
    else:
        print(uvloop.run(_post(int(sys.argv[2]), float(sys.argv[3]))))
