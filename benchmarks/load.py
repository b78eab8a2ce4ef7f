"""Load generator: MLLP connections that each send a message, wait for its acknowledgement, check it, and send the next.

``python -m benchmarks.load --port PORT -c CONNECTIONS -t SECONDS`` prints one JSON object. It shares the machine with the hub,
so it does as little as possible per message. Every connection sends its own patients: the order in which one patient's
messages must arrive is therefore the order in which they were sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

from benchmarks.mapping import MESSAGE

__all__ = ["PATIENTS", "Result", "control_id", "load", "split_control_id"]

#: Patients per connection; one patient's messages are delivered one after the other.
PATIENTS = 64
_TIMEOUT_S = 30.0
_CONTROL, _PATIENT = b"CTRL0001", b"800012345"


@dataclass(slots=True)
class Result:
    """What one run of the generator saw. Times in seconds of the monotonic clock, latencies in milliseconds."""

    tag: str
    connections: int
    began: float = 0.0
    ended: float = 0.0  # the last acknowledgement
    acked: list[int] = field(default_factory=list)  # per connection: messages 0 … n-1 were acknowledged
    errors: dict[str, int] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    cpu_s: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.acked)

    @property
    def rate(self) -> float:
        """Acknowledgements per second."""
        return self.total / (self.ended - self.began) if self.ended > self.began else 0.0


def control_id(tag: str, connection: int, number: int) -> bytes:
    """16 characters: four of the run, four of the connection, eight of the message."""
    return b"%b%04d%08d" % (tag.encode(), connection, number)


def split_control_id(control: bytes) -> tuple[str, int, int]:
    """The reverse of :func:`control_id`."""
    return control[:4].decode(), int(control[4:8]), int(control[8:])


class _Sender(asyncio.Protocol):
    """One connection of the generator."""

    def __init__(self, run: _Run, number: int) -> None:
        self._run = run
        self._number = number
        self._sent = 0
        self._at = 0.0
        self._expected = b""
        self._held = b""
        self._transport: asyncio.Transport | None = None
        self.acked = 0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        before, rest = MESSAGE.split(_CONTROL)
        middle, after = rest.split(_PATIENT)
        self._before = b"\x0b" + before
        self._middle = middle
        self._after = after + b"\x1c\r"
        self._patients = [b"8%08d" % (number * PATIENTS + place) for place in range(PATIENTS)]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self._run.fault("connection lost")
            self.finished.set_result(None)

    def send(self) -> None:
        """Send the next message; does nothing once the time is over."""
        transport = self._transport
        now = time.monotonic()
        if transport is None or self.finished.done():
            return
        if now >= self._run.until:
            self.finished.set_result(None)
            return
        control = control_id(self._run.result.tag, self._number, self._sent)
        patient = self._patients[self._sent % PATIENTS]
        self._sent += 1
        self._expected = b"|" + control
        self._at = now
        transport.write(b"".join((self._before, control, self._middle, patient, self._after)))

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        if data[-2:] != b"\x1c\r":
            self._held = data
            return
        self._held = b""
        place = data.find(b"\rMSA|")
        code = data[place + 5 : place + 7]
        expected = self._expected
        if place < 0 or data[place + 7 : place + 7 + len(expected)] != expected or data.count(b"\x1c") != 1:
            self._stop("acknowledgement of another message")
        elif code not in (b"AA", b"CA"):
            self._stop(f"refused with {code.decode(errors='replace')}")
        else:
            self._run.waits.append(time.monotonic() - self._at)
            self.acked += 1
            self.send()

    def _stop(self, why: str) -> None:
        self._run.fault(why)
        if not self.finished.done():
            self.finished.set_result(None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Run:
    """What the connections of a run share."""

    def __init__(self, tag: str, connections: int) -> None:
        self.result = Result(tag, connections)
        self.until = 0.0
        self.waits: list[float] = []

    def fault(self, what: str) -> None:
        self.result.errors[what] = self.result.errors.get(what, 0) + 1


async def _connect(port: int, make: type[asyncio.Protocol], number: int) -> list[asyncio.Protocol]:
    """Connections that send nothing."""
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(number):
        _, protocol = await loop.create_connection(make, "127.0.0.1", port)
        made.append(protocol)
    return made


class _Idle(asyncio.Protocol):
    """A connection that stays open and says nothing."""

    def __init__(self) -> None:
        self.transport: asyncio.BaseTransport | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


async def load(ports: list[int], connections: int, seconds: float, *, tag: str, idle: int = 0) -> Result:
    """Run the generator; connections are spread over the ports."""
    run = _Run(tag, connections)
    loop = asyncio.get_running_loop()
    idlers = [protocol for port in ports for protocol in await _connect(port, _Idle, idle // len(ports))]
    senders = []
    for number in range(connections):
        _, sender = await loop.create_connection(
            lambda number=number: _Sender(run, number),  # type: ignore[misc]
            "127.0.0.1",
            ports[number % len(ports)],
        )
        senders.append(sender)
    cpu = time.process_time()
    run.result.began = time.monotonic()
    run.until = run.result.began + seconds
    for sender in senders:
        sender.send()
    waiting = asyncio.gather(*(sender.finished for sender in senders))
    try:
        await asyncio.wait_for(waiting, seconds + _TIMEOUT_S)
    except TimeoutError:
        run.fault("no acknowledgement in time")
    result = run.result
    result.ended = time.monotonic()
    result.cpu_s = time.process_time() - cpu
    result.acked = [sender.acked for sender in senders]
    if lost := sum(isinstance(idler, _Idle) and idler.lost for idler in idlers):
        result.errors["idle connection lost"] = lost
    waits = sorted(run.waits)
    if waits:
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)):
            result.latency_ms[name] = waits[min(int(len(waits) * share), len(waits) - 1)] * 1e3
    for sender in senders:
        sender.close()
    for idler in idlers:
        if isinstance(idler, _Idle) and idler.transport is not None:
            idler.transport.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load")
    parser.add_argument("--port", action="append", type=int, required=True)
    parser.add_argument("-c", "--connections", type=int, default=32)
    parser.add_argument("-t", "--seconds", type=float, default=5.0)
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--tag", default="0000")
    options = parser.parse_args()
    result = uvloop.run(load(options.port, options.connections, options.seconds, tag=options.tag, idle=options.idle))
    print(json.dumps({**asdict(result), "total": result.total, "rate": result.rate}))


if __name__ == "__main__":
    main()
