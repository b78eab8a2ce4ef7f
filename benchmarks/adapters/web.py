"""HTTP, reading REST sources, SOAP and FHIR, beside bare aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop
from aiohttp import web

from adapters.fhir import FhirAdapter
from adapters.http import HttpAdapter, HttpPollAdapter
from adapters.http.client import HttpClient, Target
from adapters.soap import SoapAdapter
from benchmarks.adapters.measure import BODY, Case, Intake, Run, bind, client, expect, lanes, read_all, server, serving
from benchmarks.machine import Failed
from benchmarks.soap import HIP, envelope
from hub.api import Adapter, Codec
from hub.codecs.fhir import FhirCodec
from hub.codecs.hl7v3 import Hl7v3Codec
from hub.codecs.json_codec import JsonCodec

__all__ = ["aiohttp_post", "bare", "fhir", "http", "listening", "soap", "web_load"]

_CONNECTIONS = 8
_OPEN = {"type": "none"}
_JSON, _XML, _FHIR = "application/json", "text/xml; charset=utf-8", "application/fhir+json"
_PAGE = 100
_PATIENT = orjson.dumps(
    {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:oid:2.16.156.10011.1.3", "value": "P000001"}],
        "name": [{"text": "张三", "family": "张", "given": ["三"]}],
        "gender": "male",
        "birthDate": "1965-02-03",
        "telecom": [{"system": "phone", "value": f"010-6000{number:04}"} for number in range(10)],
        "address": [{"line": [f"和平路 {number} 号"], "city": "北京"} for number in range(6)],
    }
)


@asynccontextmanager
async def bare(kind: str, status: int, answer: bytes) -> AsyncIterator[tuple[int, Callable[[], int]]]:
    """aiohttp's low-level server, as fast as it gets: reads the body, answers the same bytes."""
    taken = 0

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal taken
        await request.read()
        taken += 1
        return web.Response(status=status, body=answer, headers={"Content-Type": kind})

    listening = await asyncio.get_running_loop().create_server(web.Server(handle, access_log=None), "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], lambda: taken
    finally:
        listening.close()


@asynccontextmanager
async def _source(rows: int) -> AsyncIterator[tuple[int, Callable[[], int]]]:
    """A REST source of numbered pages, made beforehand."""
    pages = [
        orjson.dumps({"data": [{"id": start + n, "text": "x" * 500} for n in range(min(_PAGE, rows - start))]})
        for start in range(0, rows, _PAGE)
    ]
    empty = b'{"data":[]}'
    asked = 0

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        number = int(request.query["page"]) - 1
        body = pages[number] if number < len(pages) else empty
        return web.Response(body=body, headers={"Content-Type": _JSON})

    listening = await asyncio.get_running_loop().create_server(web.Server(handle, access_log=None), "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], lambda: asked
    finally:
        listening.close()


@asynccontextmanager
async def listening(
    adapter: type[Adapter], codec: Callable[[], Codec], options: dict[str, Any], data: str = ""
) -> AsyncIterator[tuple[int, Callable[[], int]]]:
    """An interface of ours with an intake that acknowledges at once."""
    intake, made = Intake(), adapter()
    receiver = made.receiver(bind(made, "in", options, codec(), Path(data)), intake)
    await receiver.start()
    try:
        yield receiver.status()["port"], lambda: intake.count
    finally:
        await receiver.stop(1.0)


def web_load(path: str, kind: str, body: bytes) -> Callable[[int, int], Coroutine[Any, Any, None]]:
    """A generator that costs little, so that the server is what is measured."""

    async def load(port: int, count: int) -> None:
        caller = HttpClient(Target("127.0.0.1", port, connections=_CONNECTIONS))
        head = (
            f"POST {path} HTTP/1.1\r\nhost: h\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        )
        numbers = iter(range(count))

        async def lane() -> None:
            for _ in numbers:
                reply = await caller.call(head, body, 60.0, repeatable=False)
                if not 200 <= reply.status < 300:
                    raise Failed(f"status {reply.status}: {reply.body[:300]!r}")

        await asyncio.gather(*(lane() for _ in range(_CONNECTIONS)))
        await caller.close()

    return load


def aiohttp_post(url: str, kind: str, body: bytes, count: int) -> Run:
    """aiohttp's client as its documentation shows it, so many calls at once."""

    async def run() -> None:
        numbers = iter(range(count))
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def lane() -> None:
                for number in numbers:
                    headers = {"Content-Type": kind, "Idempotency-Key": f"k{number}"}
                    async with session.post(url, data=body, headers=headers) as reply:
                        await reply.read()
                        reply.raise_for_status()

            await asyncio.gather(*(lane() for _ in range(_CONNECTIONS)))

    return client(lambda: uvloop.run(run()), count)


def _sending(
    adapter: Adapter, codec: Codec, kind: str, body: bytes, sink: Sequence[Any], count: int, **options: Any
) -> tuple[Callable[[], Run], Callable[[], Run]]:
    """A sender of ours, and aiohttp's client, with bodies to a sink that counts."""

    def ours() -> Run:
        with serving(bare, *sink) as (port, asked):
            bound = bind(
                adapter, "out", {"url": f"http://127.0.0.1:{port}/in", "connections": _CONNECTIONS, **options}, codec
            )
            run = lanes(adapter, bound, [body] * count, _CONNECTIONS)
            expect(asked()[1], count, adapter.name)
            return run

    def theirs() -> Run:
        with serving(bare, *sink) as (port, asked):
            run = aiohttp_post(f"http://127.0.0.1:{port}/in", kind, body, count)
            expect(asked()[1], count, "aiohttp")
            return run

    return ours, theirs


def http(folder: Path, share: float) -> Iterator[Case]:
    count = max(50, int(10_000 * share))
    given = (HttpAdapter, JsonCodec, {"path": "/in", "auth": _OPEN})
    load = web_load("/in", _JSON, BODY)
    answer = (_JSON, 200, b'{"code":0}')
    yield Case(
        "http",
        "in",
        "aiohttp's low-level server that answers the same bytes",
        lambda: server(listening, given, load, count),
        lambda: server(bare, answer, load, count),
    )
    ours, theirs = _sending(HttpAdapter(), JsonCodec(), _JSON, BODY, answer, count)
    yield Case("http", "out", "aiohttp's client", ours, theirs)
    rows = max(2 * _PAGE, int(40_000 * share) // _PAGE * _PAGE)

    def poll() -> Run:
        adapter = HttpPollAdapter()
        with serving(_source, rows) as (port, _):
            options = {
                "url": f"http://127.0.0.1:{port}",
                "path": "/rows",
                "items": "data",
                "query": {"page": "{page}", "size": "{size}"},
                "paging": {"by": "page", "size": _PAGE},
                "schedule": {"manual": True},
            }
            return read_all(adapter, bind(adapter, "in", options), rows)

    def fetch() -> Run:
        with serving(_source, rows) as (port, _):
            return client(lambda: uvloop.run(_fetch(port, rows)), rows)

    yield Case("http_poll", "in", "aiohttp's client, orjson.loads of a page, orjson.dumps of each item", poll, fetch)


async def _fetch(port: int, rows: int) -> None:
    found, page = 0, 0
    async with aiohttp.ClientSession() as session:
        while True:
            page += 1
            async with session.get(f"http://127.0.0.1:{port}/rows?page={page}&size={_PAGE}") as reply:
                items = orjson.loads(await reply.read())["data"]
            found += len([orjson.dumps(item) for item in items])
            if len(items) < _PAGE:
                break
    expect(found, rows, "aiohttp")


def soap(folder: Path, share: float) -> Iterator[Case]:
    count, call = max(50, int(5_000 * share)), envelope(2_000)
    load = web_load("/", _XML, call)
    answer = (_XML, 200, b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body/></s:Envelope>')
    yield Case(
        "soap",
        "in",
        "aiohttp's low-level server that reads nothing",
        lambda: server(listening, (SoapAdapter, Hl7v3Codec, HIP), load, count),
        lambda: server(bare, answer, load, count),
    )
    document = b"<a>" + b"<b>0123456789</b>" * 100 + b"</a>"
    options = {"operation": "Send", "namespace": "urn:x", "parameters": {"message": "{body}"}}
    ours, theirs = _sending(SoapAdapter(), Hl7v3Codec(), _XML, document, answer, count, **options)
    yield Case("soap", "out", "aiohttp's client, the document without an envelope", ours, theirs)


def fhir(folder: Path, share: float) -> Iterator[Case]:
    count = max(50, int(8_000 * share))
    load = web_load("/fhir/Patient", _FHIR, _PATIENT)
    yield Case(
        "fhir",
        "in",
        "aiohttp's low-level server that reads nothing",
        lambda: server(listening, (FhirAdapter, FhirCodec, {"auth": _OPEN}), load, count),
        lambda: server(bare, (_FHIR, 201, b""), load, count),
    )
    ours, theirs = _sending(FhirAdapter(), FhirCodec(), _FHIR, _PATIENT, (_FHIR, 201, b""), count)
    yield Case("fhir", "out", "aiohttp's client", ours, theirs)
