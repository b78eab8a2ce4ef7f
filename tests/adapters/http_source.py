"""What the tests of reading REST sources share: a source on a socket, an intake that keeps marks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qsl

import orjson

from adapters.http.poll import HttpPollReceiver
from adapters.http.poll_options import HttpPoll
from hub.api import Bound, HubError, IntakePort, Item, Receipt, StoreBusy
from hub.codecs.json_codec import JsonCodec
from hub.contract import Interface
from hub.message import Outcome
from tests.adapters.http_support import Peer, scripted, until


@dataclass
class Call:
    """One request a server got."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Said:
    """What the source answers."""

    body: Any = b""
    status: str = "200 OK"
    headers: Sequence[str] = ()

    @property
    def raw(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else orjson.dumps(self.body)


class Source:
    """Answers as the function it is given says; remembers the calls."""

    def __init__(self, answer: Callable[[Call], Said | None]) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, peer: Peer) -> None:
        while True:
            line, headers, body = await peer.request()
            method, target, _ = line.split(" ")
            path, _, query = target.partition("?")
            call = Call(method, path, dict(parse_qsl(query, keep_blank_values=True)), headers, body)
            self.calls.append(call)
            said = self.answer(call)
            if said is None:
                await peer.gone()  # never answers
                return
            peer.answer(said.raw, said.status, *said.headers)


@asynccontextmanager
async def source(answer: Callable[[Call], Said | None], ssl: Any = None) -> AsyncIterator[Source]:
    made = Source(answer)
    async with scripted(made.serve, ssl) as port:
        made.port = port
        yield made


@dataclass
class Kept:
    """An intake in memory with marks; refuses as a full store does while ``busy``."""

    items: list[bytes] = field(default_factory=list)
    marks: dict[str, str] = field(default_factory=dict)
    commits: int = 0
    runs: list[tuple[Mapping[str, str], HubError | None]] = field(default_factory=list)
    busy: int = 0

    async def take(
        self, bound: Bound, items: Sequence[Item], *, mark: str | None = None, name: str = "", remote: str = ""
    ) -> list[Receipt]:
        if self.busy:
            self.busy -= 1
            raise StoreBusy("full")
        self.commits += 1
        self.items += [item.raw for item in items]
        if mark is not None:
            self.marks[name] = mark
        return [Receipt(Outcome.OK) for _ in items]

    async def mark(self, bound: Bound, name: str = "") -> str:
        return self.marks.get(name, "")

    def note_run(
        self,
        bound: Bound,
        *,
        started_us: int,
        params: Mapping[str, str],
        error: HubError | None = None,
        remote: str = "",
    ) -> None:
        self.runs.append((params, error))

    @property
    def json(self) -> list[Any]:
        return [orjson.loads(raw) for raw in self.items]

    @property
    def errors(self) -> list[str]:
        return [error.code for _, error in self.runs if error is not None]


def poll_bound(url: str, contract: dict[str, Any] | None = None, **options: Any) -> Bound:
    given = {"schedule": {"manual": True}, **options, "url": url}
    interface = Interface(direction="in", adapter="http_poll", codec="json", **(contract or {}))
    return Bound("lis/reports", "lis", "reports", "lis@1", interface, JsonCodec(), {}, HttpPoll.model_validate(given))


@asynccontextmanager
async def polling(url: str, kept: Kept, **options: Any) -> AsyncIterator[HttpPollReceiver]:
    receiver = HttpPollReceiver(poll_bound(url, **options), cast(IntakePort, kept))
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(5)


async def run_once(receiver: HttpPollReceiver) -> dict[str, Any]:
    """Ask for a run and wait for its end; its entry in the run log."""
    done = len(receiver.status()["runs"])
    receiver.run_now()
    await until(lambda: len(receiver.status()["runs"]) > done and receiver.status()["running"] is None)
    newest: dict[str, Any] = receiver.status()["runs"][0]
    return newest


async def read_once(url: str, kept: Kept, **options: Any) -> dict[str, Any]:
    """One run of a receiver made for it, as after a restart."""
    async with polling(url, kept, **options) as receiver:
        return await run_once(receiver)
