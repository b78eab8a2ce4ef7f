"""Targets that check what they get: every effect once per key, in order, and able to misbehave in every way they know."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar, cast

__all__ = ["WAYS", "Call", "CheckingSink", "HttpSink", "MllpSink", "answer", "shares"]

#: How a call can end. ``error`` and ``busy`` are honest refusals: no effect. In all others the effect has happened.
WAYS = ("answer", "error", "busy", "stall", "late", "lost", "cut", "garbage")

FAULTS_KEPT = 20


@dataclass(slots=True)
class Call:
    """One call a sink got."""

    key: str  # idempotency key
    control: str  # "<ordering key>-<number>", see :mod:`tests.chaos.load`
    body: bytes
    nth: int  # 1: the first call with this key

    @property
    def order(self) -> str:
        return self.control.rpartition("-")[0]

    @property
    def number(self) -> int:
        return int(self.control.rpartition("-")[2])


Manner = Callable[[Call], str]


def answer(call: Call) -> str:
    return "answer"


def shares(chance: random.Random, **of: float) -> Manner:
    """Misbehave in these shares of the calls, by chance."""

    def choose(call: Call) -> str:
        drawn = chance.random()
        for way, share in of.items():
            drawn -= share
            if drawn < 0:
                return way
        return "answer"

    return choose


class CheckingSink(ABC):
    """Remembers what took effect. A call whose key it knows is answered as before and changes nothing.

    ``faults`` lists what must never happen: an effect twice, a key used for something else, an earlier message of an
    ordering key after a later one.
    """

    _replies: ClassVar[Mapping[str, str]]

    def __init__(self, name: str, *, late: float = 2.0) -> None:
        self.name = name
        self.port = 0
        self.manner: Manner = answer
        self.late = late  # seconds until a late answer; more than the timeout of the hub
        self.indifferent = False  # takes anything, checks and remembers nothing
        self.era = 0  # to be raised when the hub was killed: it may then repeat what it had sent before
        self.calls = 0
        self.repeated = 0  # calls whose key had taken effect before
        self.ways: Counter[str] = Counter()
        self.effects: dict[str, float] = {}  # control id -> time.monotonic() of its effect
        self.history: list[str] = []  # control ids in the order of the calls
        self.faults: list[str] = []
        self._tries: Counter[str] = Counter()
        self._known: dict[str, bytes] = {}  # idempotency key -> digest of the body that took effect
        self._taken: dict[str, bytes] = {}  # control id -> the same
        self._newest: dict[str, int] = {}  # ordering key -> number of its last effect
        self._settled: dict[tuple[int, str], int] = {}  # era, ordering key -> highest number that was answered well
        self._server: asyncio.Server | None = None
        self._open: set[Peer] = set()
        self._reserved: socket.socket | None = None

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Keep a port for the whole test and answer on it."""
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port = self._reserved.getsockname()[1]
        await self.come_back()

    async def come_back(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: self._peer(self), "127.0.0.1", self.port, reuse_port=True, backlog=512
        )

    async def go_away(self) -> None:
        """Refuse connections and drop those that are open."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            for peer in list(self._open):
                peer.abort()
            await server.wait_closed()

    async def stop(self) -> None:
        await self.go_away()
        if self._reserved is not None:
            self._reserved.close()

    # -- judging -------------------------------------------------------------------------------------------------

    def take(self, key: str, control: str, body: bytes, era: int) -> str:
        """Record a call; returns the way it is to end."""
        if self.indifferent:
            return "answer"
        self.calls += 1
        self.history.append(control)
        self._tries[key] += 1
        call = Call(key, control, body, self._tries[key])
        way = self.manner(call)
        assert way in WAYS, way
        self.ways[way] += 1
        settled = self._settled.get((era, call.order), -1)
        if call.number < settled:
            self._fault(f"{control} was called after {settled} had been answered")
        if not key:
            self._fault(f"{control} came without a key")
        known = self._known.get(key)
        digest = blake2b(body, digest_size=16).digest()
        if known is not None:
            self.repeated += 1
            if known != digest:
                self._fault(f"{control}: its key {key} came before with another body")
        elif way not in ("error", "busy"):
            self._known[key] = self._taken[control] = digest
            if control in self.effects:
                self._fault(f"{control} took effect twice, now by key {key}")
            newest = self._newest.get(call.order, -1)
            if call.number < newest:
                self._fault(f"{control} took effect after {newest}")
            self._newest[call.order] = max(newest, call.number)
            self.effects[control] = time.monotonic()
        if way == "answer":
            self._settled[era, call.order] = max(settled, call.number)
        return way

    def _fault(self, text: str) -> None:
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(f"{self.name}: {text}")

    def has_taken(self, control: str, body: bytes) -> bool:
        """Whether exactly these bytes took effect."""
        return self._taken.get(control) == blake2b(body, digest_size=16).digest()

    def missing(self, controls: Iterable[str]) -> list[str]:
        return [control for control in controls if control not in self.effects]

    async def has(self, controls: Iterable[str], seconds: float = 60.0) -> None:
        """Wait until all of these have taken effect; fails with those that did not."""
        deadline = time.monotonic() + seconds
        left = list(controls)
        while left := self.missing(left):
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name}: {len(left)} are missing: {left[:10]}; {dict(self.ways)}")
            await asyncio.sleep(0.02)

    # -- the protocol --------------------------------------------------------------------------------------------

    _peer: type[Peer]

    @abstractmethod
    def reply(self, way: str, key: str, body: bytes) -> bytes:
        """The answer that belongs to a call: good, or an honest refusal."""


class Peer(asyncio.Protocol):
    """One connection of the hub."""

    def __init__(self, sink: CheckingSink) -> None:
        self._sink = sink
        self._era = sink.era
        self._held = bytearray()
        self._searched = 0  # no end of a call before this
        self._silent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._sink._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sink._open.discard(self)

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._held += data
        while not self._silent and (found := self.next_call(self._held)) is not None:
            key, control, body, used = found
            del self._held[:used]
            self._searched = 0
            self._end(self._sink.take(key, control, body, self._era), control, body)

    def next_call(self, data: bytearray) -> tuple[str, str, bytes, int] | None:
        """Key, control id and body of the first complete call, and the number of bytes it takes."""
        raise NotImplementedError

    def _end(self, way: str, control: str, body: bytes) -> None:
        good = self._sink.reply("error" if way in ("error", "busy") else "answer", way, body)
        if way in ("answer", "error", "busy"):
            self._transport.write(self._sink.reply(way, control, body))
        elif way == "stall":
            self._silent = True
        elif way == "late":
            self._silent = True
            asyncio.get_running_loop().call_later(self._sink.late, self._say_late, good)
        elif way == "lost":
            self._transport.abort()
        elif way == "cut":
            self._transport.write(good[: len(good) // 2])
            self._transport.close()
        else:
            self._transport.write(b"\x00\xff\r\nSorry, wrong number\r\n\r\n" * 200)
            self._transport.close()
            self._silent = True

    def _say_late(self, reply: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(reply)
            self._silent = False
            self.data_received(b"")


class _HttpPeer(Peer):
    def next_call(self, data: bytearray) -> tuple[str, str, bytes, int] | None:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return None
        fields = {}
        for line in bytes(data[:end]).split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            fields[name.strip().lower()] = value.strip()
        used = end + 4 + int(fields.get(b"content-length", b"0"))
        if len(data) < used:
            return None
        body = bytes(data[end + 4 : used])
        control = "" if self._sink.indifferent else str(json.loads(body)["control"])
        return fields.get(b"idempotency-key", b"").decode(), control, body, used


class HttpSink(CheckingSink):
    """Takes JSON documents with a member ``control``."""

    _peer = _HttpPeer

    def reply(self, way: str, key: str, body: bytes) -> bytes:
        status, text = {
            "answer": (b"200 OK", b'{"code":0}'),
            "error": (b"500 Internal Server Error", b'{"code":1}'),
            "busy": (b"503 Service Unavailable", b'{"code":2}'),
        }[way]
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        return head % (status, len(text)) + text


class _MllpPeer(Peer):
    def next_call(self, data: bytearray) -> tuple[str, str, bytes, int] | None:
        end = data.find(b"\x1c\r", max(0, self._searched - 1))
        if end < 0:
            self._searched = len(data)
            return None
        body = bytes(data[data.index(b"\x0b") + 1 : end])
        control = body.split(b"\r", 1)[0].split(b"|")[9].decode()
        return control, control, body, end + 2


class MllpSink(CheckingSink):
    """Takes HL7 messages and tells a repetition by MSH-10, as receiving systems do."""

    _peer = _MllpPeer

    def reply(self, way: str, key: str, body: bytes) -> bytes:
        code = {"answer": b"AA", "error": b"AE", "busy": b"AE"}[way]
        control = body.split(b"\r", 1)[0].split(b"|")[9]
        head = b"MSH|^~\\&|SINK|S|HUB|T|20261121080000||ACK|A" + control + b"|P|2.5.1\r"
        return b"\x0b" + head + b"MSA|" + code + b"|" + control + b"\r\x1c\r"
