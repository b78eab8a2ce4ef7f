"""What the tests of the HTTP adapter share: an intake in memory, a raw client, a scripted server."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import orjson
import pytest
import uvloop

from adapters.http import HttpAdapter
from adapters.http.options import HttpConnect, HttpListen
from adapters.http.receiver import HttpReceiver
from adapters.http.sender import HttpSender
from adapters.http.service import HttpService
from hub.api import Bound, Codec, HubError, OpenedParams, Outgoing, Protection, Receipt, Scheme
from hub.contract import Interface
from hub.message import Outcome
from hub.security.load import scheme_class

#: Longest wait for anything a test expects, seconds.
DEADLINE = 15.0
OPEN = {"type": "none"}


class Json(Codec):
    """As much of a codec as the adapter looks at."""

    name = "json"
    content_type = "application/json"

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        return orjson.loads(raw)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        return orjson.dumps(tree)


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on asyncio's loop and on uvloop: the hub runs on either, and transports differ between them."""

    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop], *drawn: Any, **given: Any) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(test(*drawn, **given))

    own = inspect.signature(test).parameters.values()
    loop = inspect.Parameter("loop_factory", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__name__, run.__qualname__, run.__module__, run.__doc__ = (
        test.__name__,
        test.__qualname__,
        test.__module__,
        test.__doc__,
    )
    run.__signature__ = inspect.Signature([loop, *own])  # type: ignore[attr-defined]
    factories = [asyncio.SelectorEventLoop, uvloop.new_event_loop]
    return cast(
        "Callable[..., None]", pytest.mark.parametrize("loop_factory", factories, ids=["asyncio", "uvloop"])(run)
    )


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition; fails at the deadline."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "condition not met in time"
        await asyncio.sleep(0.002)


# -- receiving ---------------------------------------------------------------------------------------------------------


@dataclass
class Taken:
    raw: bytes
    remote: str
    control_id: str
    params: dict[str, str]
    place: str


class MemoryIntake:
    """An intake whose verdicts the test decides."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.refused: list[tuple[str, bytes, HubError]] = []
        self.is_ready = True
        self.at_once = True
        self.waiting: list[tuple[bytes, Callable[[Receipt], None]]] = []
        self.verdict: Callable[[bytes], Receipt] = lambda raw: Receipt(Outcome.OK, len(self.taken))

    def submit(
        self,
        bound: Bound,
        raw: bytes,
        done: Callable[[Receipt], None],
        *,
        remote: str = "",
        control_id: str = "",
        params: Mapping[str, str] | None = None,
    ) -> None:
        kept = params if isinstance(params, OpenedParams) else dict(params or {})
        self.taken.append(Taken(raw, remote, control_id, kept, bound.place))
        if self.at_once:
            done(self.verdict(raw))
        else:
            self.waiting.append((raw, done))

    def finish(self) -> None:
        """Say what became of the oldest waiting message."""
        raw, done = self.waiting.pop(0)
        done(self.verdict(raw))

    def refuse(self, bound: Bound, raw: bytes, error: HubError, *, remote: str = "") -> None:
        self.refused.append((bound.place, raw, error))

    def ready(self) -> bool:
        return self.is_ready


def bound_in(contract: dict[str, Any] | None = None, place: str = "his/in", **options: Any) -> Bound:
    interface = Interface(direction="in", adapter="http", codec="json", **(contract or {}))
    given = {"path": "/in", "auth": OPEN, **options}
    system, _, name = place.partition("/")
    bound = Bound(place, system, name, "his@1", interface, Json(), {}, HttpListen.model_validate(given))
    if interface.security:
        bound.protection = protection_of(interface.security)
    return bound


def protection_of(entries: list[Any]) -> Protection:
    """``security`` of a contract, ready to use."""
    schemes: list[Scheme] = []
    for entry in entries:
        ((name, options),) = entry.items()
        kind = scheme_class(name, {})
        assert kind is not None
        schemes.append(kind(kind.options.model_validate(options)))
    return Protection(schemes)


@asynccontextmanager
async def listening(
    intake: MemoryIntake,
    contract: dict[str, Any] | None = None,
    *,
    adapter: HttpAdapter | None = None,
    place: str = "his/in",
    grace: float = 5.0,
    **options: Any,
) -> AsyncIterator[HttpReceiver]:
    receiver = (adapter or HttpAdapter()).receiver(bound_in(contract, place, **options), intake)
    assert isinstance(receiver, HttpReceiver)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(grace)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """One response with a Content-Length, or none for 1xx and 204."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    status = int(lines[0].split(" ")[1])
    length = int(headers.get("content-length", "0"))
    return Answer(status, headers, await asyncio.wait_for(reader.readexactly(length), DEADLINE))


async def raw_call(port: int, data: bytes) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await read_answer(reader)
    finally:
        writer.close()


async def call(
    receiver: HttpService,
    body: bytes = b"{}",
    *,
    method: str = "POST",
    path: str = "/in",
    headers: dict[str, str] | None = None,
) -> Answer:
    lines = {"Host": "hub", "Content-Length": str(len(body)), **(headers or {})}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
    return await raw_call(receiver.status()["port"], head.encode() + b"\r\n" + body)


# -- sending -----------------------------------------------------------------------------------------------------------


def bound_out(**options: Any) -> Bound:
    interface = Interface(direction="out", adapter="http", codec="json")
    return Bound("lis/out", "lis", "out", "lis@1", interface, Json(), {}, HttpConnect.model_validate(options))


@asynccontextmanager
async def calling(url: str, **options: Any) -> AsyncIterator[HttpSender]:
    sender = HttpAdapter().sender(bound_out(url=url, **options))
    assert isinstance(sender, HttpSender)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


def outgoing(body: bytes = b'{"a":1}', *, key: str = "key-1", timeout: float = DEADLINE, **variables: Any) -> Outgoing:
    return Outgoing(body, 7, key, "t", "c", 1, timeout, variables)


class Peer:
    """One connection of a scripted server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[str, dict[str, str], bytes]:
        """The next request: its first line, headers in lower case, body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("utf-8").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return head[0], headers, body

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    def answer(self, body: bytes = b"ok", status: str = "200 OK", *headers: str) -> None:
        more = "".join(f"{line}\r\n" for line in headers)
        self.say(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body)

    async def gone(self) -> None:
        """Wait until the client closes."""
        while await self.reader.read(65536):
            pass


@asynccontextmanager
async def scripted(script: Callable[[Peer], Awaitable[None]], ssl: Any = None) -> AsyncIterator[int]:
    """A server that runs ``script`` for each connection and closes it at the end; gives its port."""
    failures: list[BaseException] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(Peer(reader, writer))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        except BaseException as error:
            failures.append(error)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ssl)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert not failures, failures
