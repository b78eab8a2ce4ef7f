"""How one run is measured: of a client in this process, of a server in a process of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.machine import Failed
from hub.api import Adapter, Bound, Codec, HubError, Item, Outgoing, Receipt, Sender
from hub.codecs.json_codec import JsonCodec
from hub.contract import Interface
from hub.message import Outcome

__all__ = [
    "BODY",
    "Case",
    "Intake",
    "Run",
    "Serve",
    "bind",
    "client",
    "expect",
    "lanes",
    "read_all",
    "server",
    "serving",
]

#: A message of 1 KB.
BODY = b'{"n":1,"text":"' + b"x" * 1000 + b'"}'
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Run:
    """So many messages in so many seconds, with so much processor time of the side that is measured."""

    count: int
    seconds: float
    processor: float  # seconds


@dataclass(frozen=True, slots=True)
class Case:
    """One adapter in one direction: what is run, and what it is compared with. Both raise :class:`Failed` unless everything arrived."""

    adapter: str
    direction: str  # as in the contract: in, out; with a word where there are several
    bare_name: str
    ours: Callable[[], Run]
    bare: Callable[[], Run]


def expect(found: int, count: int, what: str) -> None:
    if found != count:
        raise Failed(f"{what}: {found} of {count} arrived")


def client(work: Callable[[], Any], count: int) -> Run:
    """Run something in this process, where nothing else happens meanwhile."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return Run(count, time.perf_counter() - began, time.process_time() - used)


class Intake:
    """Takes and acknowledges at once, and counts: only the adapter is measured."""

    def __init__(self, wanted: int = 0) -> None:
        self.count, self._wanted = 0, wanted
        self.finished = asyncio.Event()

    def submit(self, bound: Bound, raw: bytes, done: Callable[[Receipt], None], **more: Any) -> None:
        self._note(1)
        done(Receipt(Outcome.OK, self.count))

    async def take(self, bound: Bound, items: Sequence[Item], **more: Any) -> list[Receipt]:
        self._note(len(items))
        return [Receipt(Outcome.OK, 1) for _ in items]

    async def mark(self, bound: Bound, name: str = "") -> str:
        return ""

    async def check(self, bound: Bound, raw: bytes, **more: Any) -> Sequence[Any]:
        return ()

    def note_run(self, bound: Bound, *, error: HubError | None = None, **more: Any) -> None:
        if error is not None:
            raise Failed(error.text)

    def refuse(self, bound: Bound, raw: bytes, error: HubError, *, remote: str = "") -> None:
        raise Failed(error.text)

    def ready(self) -> bool:
        return True

    def _note(self, number: int) -> None:
        self.count += number
        if self.count >= self._wanted:
            self.finished.set()


def bind(
    adapter: Adapter, direction: str, options: dict[str, Any], codec: Codec | None = None, data: Path = Path()
) -> Bound:
    """An interface of one adapter with these options."""
    codec = codec or JsonCodec()
    contract = Interface.model_validate({"direction": direction, "adapter": adapter.name, "codec": codec.name})
    model = adapter.listen_options if direction == "in" else adapter.connect_options
    assert model is not None
    return Bound("b/it", "b", "it", "b@1", contract, codec, {}, model.model_validate(options), data=data)


def read_all(adapter: Adapter, bound: Bound, count: int) -> Run:
    """Receive until so many have come; reading begins at once."""

    async def run() -> None:
        intake = Intake(count)
        receiver = adapter.receiver(bound, intake)
        await receiver.start()
        with suppress(HubError):  # it listens
            receiver.run_now()
        async with asyncio.timeout(_PATIENCE_S):
            await intake.finished.wait()
        await receiver.stop(10.0)
        expect(intake.count, count, adapter.name)

    return client(lambda: uvloop.run(run()), count)


def lanes(adapter: Adapter, bound: Bound, bodies: Sequence[bytes], at_once: int, **variables: Any) -> Run:
    """Send every body, so many at once."""

    async def run() -> None:
        sender: Sender = adapter.sender(bound)
        await sender.start()
        numbers = iter(range(len(bodies)))

        async def lane() -> None:
            for number in numbers:
                outgoing = Outgoing(bodies[number], number + 1, f"k{number}", "t", f"c{number}", 1, 60.0, variables)
                reply = await sender.send(outgoing)
                if not reply.ok:
                    raise Failed(f"{adapter.name}: {reply.status} {reply.code} {reply.error}")

        await asyncio.gather(*(lane() for _ in range(at_once)))
        await sender.stop()

    return client(lambda: uvloop.run(run()), len(bodies))


#: Starts a server; gives its port and how many messages it has taken so far.
Serve = Callable[..., AbstractAsyncContextManager[tuple[int, Callable[[], int]]]]


async def _serve(serve: Serve, arguments: Sequence[Any], pipe: Pipe) -> None:
    async with serve(*arguments) as (port, taken):
        pipe.send(port)
        while await asyncio.to_thread(pipe.recv) is not None:
            pipe.send((time.process_time(), taken()))


def _child(serve: Serve, arguments: Sequence[Any], pipe: Pipe) -> None:
    uvloop.run(_serve(serve, arguments, pipe))


@contextmanager
def serving(serve: Serve, *arguments: Any) -> Iterator[tuple[int, Callable[[], tuple[float, int]]]]:
    """A server in a process of its own: its port; its processor time and what it has taken."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_child, args=(serve, arguments, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        port = int(ours.recv())

        def asked() -> tuple[float, int]:
            ours.send("figures")
            found: tuple[float, int] = ours.recv()
            return found

        yield port, asked
    except EOFError:
        raise Failed("the server of the benchmark ended") from None
    finally:
        with suppress(OSError):
            ours.send(None)
        process.join(10)
        process.kill()


def server(
    serve: Serve, arguments: Sequence[Any], load: Callable[[int, int], Coroutine[Any, Any, None]], count: int
) -> Run:
    """Put load on a server in a process of its own; ``load`` gets the port and how many messages to send."""
    with serving(serve, *arguments) as (port, asked):
        uvloop.run(load(port, max(1, count // 5)))
        used, before = asked()
        began = time.perf_counter()
        uvloop.run(load(port, count))
        took = time.perf_counter() - began
        after, taken = asked()
        expect(taken - before, count, "the server")
        return Run(count, took, after - used)
