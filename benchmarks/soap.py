"""The SOAP service against bare aiohttp that answers the same bytes: processor time of the server per call.

``python -m benchmarks.soap [--calls N]``. The intake acknowledges at once, so that only the adapter is measured; the store is in the
table of ``python -m benchmarks``. Processor time, because it says the same on a busy machine; the share of each step is in the difference
of two rows.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from multiprocessing.connection import Connection as Pipe
from typing import Any

import uvloop
from aiohttp import web

from adapters.http import HttpAdapter
from adapters.http.client import HttpClient, Target
from adapters.http.options import HttpListen
from adapters.soap import SoapAdapter
from adapters.soap.options import SoapListen
from adapters.soap.security import Stamp
from adapters.soap.security_options import OutboundSecurity
from hub.api import Bound, HubError, Receipt
from hub.codecs.hl7v3 import Hl7v3Codec
from hub.contract import Interface
from hub.message import Outcome

_CONNECTIONS = 8
_ROUNDS = 3
_OPEN = {"type": "none"}
HIP: dict[str, Any] = {"path": "/", "auth": _OPEN, "operations": ["HIPMessageServer"], "payload": "parameter message"}
_USER = {"username": "his", "password": "secret"}
_MCCI: Mapping[str, Any] = {"accepted": "mcci"}
_SECURED: Mapping[str, Any] = {"security": _USER}


class _Intake:
    """Acknowledges at once."""

    def submit(self, bound: Bound, raw: bytes, done: Callable[[Receipt], None], **more: Any) -> None:
        done(Receipt(Outcome.OK, 1))

    def refuse(self, bound: Bound, raw: bytes, error: HubError, *, remote: str = "") -> None:
        raise error

    def ready(self) -> bool:
        return True


def envelope(size: int) -> bytes:
    """An envelope of about ``size`` bytes with a document in a CDATA section."""
    row = '<observation classCode="OBS"><code code="718-7"/><value value="133" unit="g/L"/><text>血红蛋白</text></observation>'
    rows = row * max(1, (size - 700) // len(row.encode()))
    return (
        '<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        '<HIPMessageServer xmlns="urn:hl7-org:v3"><action>DocumentRegister</action><message><![CDATA['
        '<RCMR_IN000002UV02 xmlns="urn:hl7-org:v3"><id root="2.16.156.10011.2.5.1.1" extension="E-1"/>'
        '<receiver typeCode="RCV"><device><id><item root="2.16.156.10011.2.5.1.3" extension="HIP"/></id></device></receiver>'
        '<sender typeCode="SND"><device><id><item root="2.16.156.10011.2.5.1.3" extension="HIS"/></id></device></sender>'
        f"{rows}</RCMR_IN000002UV02>]]></message></HIPMessageServer></s:Body></s:Envelope>"
    ).encode()


def _head(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nhost: h\r\ncontent-type: text/xml; charset=utf-8\r\ncontent-length: %d\r\n\r\n" % size


async def _bare(answer: bytes) -> tuple[int, Callable[[], Awaitable[None]]]:
    """aiohttp's low-level server, as fast as it gets."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response(body=answer, headers={"Content-Type": "text/xml; charset=utf-8"})

    server = await asyncio.get_running_loop().create_server(web.Server(handle, access_log=None), "127.0.0.1", 0)

    async def stop() -> None:
        server.close()

    return server.sockets[0].getsockname()[1], stop


async def _ours(adapter: Any, name: str, options: Any) -> tuple[int, Callable[[], Awaitable[None]]]:
    interface = Interface(direction="in", adapter=name, codec="hl7v3")
    receiver = adapter.receiver(Bound("b/in", "b", "in", "b@1", interface, Hl7v3Codec(), {}, options), _Intake())
    await receiver.start()

    async def stop() -> None:
        await receiver.stop(1.0)

    return receiver.status()["port"], stop


async def _serve(kind: str, answer: bytes, pipe: Pipe) -> None:
    if kind == "bare":
        port, stop = await _bare(answer)
    elif kind == "http":
        port, stop = await _ours(HttpAdapter(), "http", HttpListen.model_validate({"path": "/", "auth": _OPEN}))
    else:
        more: Mapping[str, Any] = {"mcci": _MCCI, "user": _SECURED}.get(kind, {})
        port, stop = await _ours(SoapAdapter(), "soap", SoapListen.model_validate({**HIP, **more}))
    pipe.send(port)
    while (asked := await asyncio.to_thread(pipe.recv)) is not None:
        pipe.send(time.process_time() if asked == "time" else None)
    await stop()


def _server(kind: str, answer: bytes, pipe: Pipe) -> None:
    uvloop.run(_serve(kind, answer, pipe))


async def _load(port: int, bodies: list[bytes]) -> bytes:
    """Send every body once over a few connections; returns the last answer."""
    client = HttpClient(Target("127.0.0.1", port, connections=_CONNECTIONS))
    left = iter(bodies)
    last = b""

    async def caller() -> None:
        nonlocal last
        for body in left:
            reply = await client.call(_head(len(body)), body, 30.0, repeatable=False)
            if not 200 <= reply.status < 300:
                raise SystemExit(f"status {reply.status}: {reply.body[:300]!r}")
            last = reply.body

    await asyncio.gather(*(caller() for _ in range(_CONNECTIONS)))
    await client.close()
    return last


def _bodies(kind: str, size: int, calls: int) -> list[bytes]:
    body = envelope(size)
    if kind != "user":
        return [body] * calls
    stamp = Stamp(OutboundSecurity.model_validate({**_USER, "must_understand": False}))
    return [
        body.replace(b"<s:Body>", f"<s:Header>{stamp.header()}</s:Header><s:Body>".encode(), 1) for _ in range(calls)
    ]


def _measure(kind: str, size: int, calls: int, answer: bytes) -> tuple[float, bytes]:
    """Microseconds of the server's processor time per call, and an answer."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_server, args=(kind, answer, theirs))
    process.start()
    port = ours.recv()
    uvloop.run(_load(port, _bodies(kind, size, calls // 4)))
    bodies = _bodies(kind, size, calls)

    def used() -> float:
        ours.send("time")
        return float(ours.recv())

    before = used()
    last = uvloop.run(_load(port, bodies))
    took = used() - before
    ours.send(None)
    process.join()
    return took / calls * 1e6, last


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soap", description=__doc__)
    parser.add_argument("--calls", type=int, default=3000, help="calls of one run")
    calls = parser.parse_args().calls
    rows = {
        "bare": "bare aiohttp, the same bytes",
        "http": "HTTP interface (answer of its own)",
        "soap": "SOAP interface, empty response",
        "mcci": "SOAP interface, MCCI acknowledgement",
        "user": "SOAP interface, UsernameToken with digest",
    }
    print(f"{'processor time of the server per call, µs (median, lowest to highest)':<72}{'2 KB':>24}{'10 KB':>24}")
    table: dict[str, list[str]] = {kind: [] for kind in rows}
    for size in (2_000, 10_000):
        _, answer = _measure("soap", size, 20, b"")
        figures: dict[str, list[float]] = {kind: [] for kind in rows}
        for _ in range(_ROUNDS):  # in turns: what else the machine does hits all alike
            for kind in rows:
                figures[kind].append(_measure(kind, size, calls, answer)[0])
        bare = statistics.median(figures["bare"])
        for kind, values in figures.items():
            middle = statistics.median(values)
            table[kind].append(f"{middle:.0f} ({min(values):.0f}-{max(values):.0f}) {middle / bare:.2f}x")
    for kind, name in rows.items():
        print(f"{name:<72}" + "".join(f"{cell:>24}" for cell in table[kind]))


if __name__ == "__main__":
    main()
