"""Senders that want too much: too large, too slow, too many, deaf, or talking nonsense. Everybody else is served."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import select
import socket
from collections import Counter
from typing import Any

import pytest

from tests.chaos.conftest import StartSink
from tests.chaos.load import START, HttpUpstream, MllpUpstream, document, hl7, mllp_frame, read_mllp
from tests.chaos.rig import EAGER, HubProcess, Site, until
from tests.chaos.sink import HttpSink, MllpSink

#: Ten thousand connections and slow senders take minutes on two processors: part of `make chaos`.
pytestmark = pytest.mark.chaos

MB = 1 << 20
LARGE = 50 * MB
LIMIT = 64 * MB  # the default of both adapters

#: Resident memory of the hub's process under everything a test does, bytes.
MEMORY_LARGE = 900 * MB
MEMORY_MANY = 300 * MB
MEMORY_DEAF = 250 * MB


class Scene:
    """A hub with a target by HTTP and one by MLLP."""

    def __init__(self, site: Site, web: HttpSink, lis: MllpSink, hubs: list[HubProcess]) -> None:
        self.site, self.web, self.lis = site, web, lis
        self.listen: dict[str, Any] = {}
        self.adt, self.notes = site.source()
        site.web("web", web, **EAGER | {"timeout": "30s"})
        site.lis("lis", lis, **EAGER | {"timeout": "30s"})
        self.hub = HubProcess(site)
        hubs.append(self.hub)

    def options(self, interface: str, **options: Any) -> None:
        """Options of a listening interface."""
        port = {"adt": self.adt, "notes": self.notes}[interface]
        listen = {"port": port, **({"path": "/notes", "auth": {"type": "none"}} if interface == "notes" else {})}
        self.site.config["systems"]["his"]["interfaces"][interface] = {"listen": {**listen, **options}}

    async def served(self, name: str, number: int = 10) -> None:
        """Ordinary senders of both kinds are served."""
        mllp, http = MllpUpstream(f"m{name}", self.adt), HttpUpstream(f"h{name}", self.notes)
        for upstream in (mllp, http):
            upstream.start()
        for upstream in (mllp, http):
            await upstream.acked_more(number)
            await upstream.finish()
        await self.web.has([*mllp.acked, *http.acked])
        if "adt_lis" in self.site.config["routes"]:
            await self.lis.has(mllp.acked)

    async def end(self, *expected: str) -> dict[str, Any]:
        await self.hub.idle()
        assert self.web.faults == self.lis.faults == []
        assert await self.hub.stop() == 0
        assert self.hub.complaints(*expected) == []
        return await self.site.settled()


@pytest.fixture
async def scene(site: Site, hubs: list[HubProcess], sinks: StartSink) -> Scene:
    web, lis = await sinks(HttpSink("web")), await sinks(MllpSink("lis"))
    assert isinstance(web, HttpSink)
    assert isinstance(lis, MllpSink)
    return Scene(site, web, lis, hubs)


async def say(port: int, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LIMIT)
    writer.write(data)
    return reader, writer


async def heard(reader: asyncio.StreamReader) -> bytes:
    """The first bytes of the answer; empty when the connection broke before any came."""
    try:
        return await reader.readexactly(12)
    except (ConnectionError, asyncio.IncompleteReadError):
        return b""


async def post(port: int, body: bytes, key: str, declared: int = -1) -> int:
    """Post a document; the status of the answer."""
    head = f"POST /notes HTTP/1.1\r\nHost: hub\r\nIdempotency-Key: {key}\r\nContent-Length: "
    reader, writer = await say(port, f"{head}{len(body) if declared < 0 else declared}\r\n\r\n".encode())
    try:
        writer.write(body)
        return int((await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60))[9:12])
    finally:
        writer.close()


async def tell(port: int, body: bytes) -> bytes:
    """Send a message by MLLP; the code of the acknowledgement."""
    reader, writer = await say(port, mllp_frame(body))
    try:
        ack = await asyncio.wait_for(read_mllp(reader), 60)
    finally:
        writer.close()
    return ack.split(b"\rMSA|")[1][:2]


def allowed_files() -> int:
    """Open files this process and those it starts may have, raised as far as it is allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (65_536, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
        except (ValueError, OSError):
            continue
        return wanted
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


async def test_large_messages(scene: Scene, rounds: int) -> None:
    """50 MB are taken and delivered whole; more than the limit is refused, and what it says is heard."""
    await scene.hub.start()
    for number in range(min(rounds, 20)):
        text = "x" * LARGE
        large_hl7 = hl7(f"big-{number:06d}", "big", LARGE)
        large_json = json.dumps(
            {"control": f"doc-{number:06d}", "type": "note", "patient": "doc", "text": text}
        ).encode()
        assert await tell(scene.adt, large_hl7) == b"AA"
        assert await post(scene.notes, large_json, f"doc-{number:06d}") == 202
        await scene.lis.has([f"big-{number:06d}"])
        await scene.web.has([f"big-{number:06d}", f"doc-{number:06d}"])
        assert scene.lis.has_taken(f"big-{number:06d}", large_hl7)
        assert scene.web.has_taken(f"doc-{number:06d}", large_json)
        assert await tell(scene.adt, hl7("over-000000", "over", LIMIT)) == b"AR"
        assert await post(scene.notes, b" " * (LIMIT + 1), "over") == 413
        assert await post(scene.notes, b"", "over", declared=1 << 50) == 413
        await scene.served(f"l{number}x")
        assert scene.hub.memory() < MEMORY_LARGE
    ledger = await scene.end()
    assert not any("over" in control for control in [*scene.web.effects, *scene.lis.effects])
    assert ledger["messages"] == len(scene.web.effects)


async def test_many_large_messages_that_do_not_end(scene: Scene) -> None:
    """Each is allowed, all together are not: memory is bounded for all connections, not for one."""
    scene.options("adt", frame_timeout="300s")
    scene.options("notes", body_timeout="300s")
    await scene.hub.start()
    calls = []
    for number in range(20):
        head = f"POST /notes HTTP/1.1\r\nHost: hub\r\nIdempotency-Key: k{number}\r\nContent-Length: {LARGE}\r\n\r\n"
        calls.append(await say(scene.notes, head.encode() + bytes(LARGE - 1)))
        calls.append(await say(scene.adt, START + hl7(f"never-{number:06d}", "never") + b"x" * LARGE))
    answered = [asyncio.create_task(heard(reader)) for reader, _ in calls]
    await until(lambda: sum(task.done() for task in answered[::2]) >= 10, what="answers by HTTP")
    await until(lambda: sum(task.done() for task in answered[1::2]) >= 10, what="answers by MLLP")
    assert scene.hub.memory() < MEMORY_LARGE
    # Whoever is still busy sending when the hub hangs up may miss the answer; nobody gets another one.
    said = Counter(task.result() for task in answered if task.done())
    assert set(said) <= {b"HTTP/1.1 503", START + b"MSH|^~\\&|HUB"[:11], b""}, said
    assert len(set(said) - {b""}) == 2, said
    await scene.served("small")
    for task in answered:
        task.cancel()
    for _, writer in calls:
        writer.close()
    await asyncio.gather(*answered, return_exceptions=True)
    await scene.served("again")
    await scene.end()


async def test_one_byte_at_a_time(scene: Scene) -> None:
    """A sender that dribbles is cut off at the time limit, politely; nobody waits for it."""
    scene.options("adt", frame_timeout="12s")
    scene.options("notes", body_timeout="12s", keepalive_timeout="12s")
    await scene.hub.start()
    head = b"POST /notes HTTP/1.1\r\nHost: hub\r\nContent-Length: 1000000\r\n\r\n"

    async def dribble(port: int, data: bytes, start: int) -> bytes:
        reader, writer = await say(port, data[:start])
        answer = asyncio.create_task(reader.read(12))
        try:
            for place in range(start, len(data)):
                if answer.done():
                    break
                writer.write(data[place : place + 1])
                await asyncio.wait([answer], timeout=0.2)
            return await answer
        except ConnectionError:
            return b""
        finally:
            writer.close()

    slow = {
        "frame": [
            asyncio.create_task(dribble(scene.adt, mllp_frame(hl7("slow-000000", "slow", 5000)), 1)) for _ in range(20)
        ],
        "head": [asyncio.create_task(dribble(scene.notes, head, 1)) for _ in range(20)],
        "body": [asyncio.create_task(dribble(scene.notes, head + b"[" * 5000, len(head))) for _ in range(20)],
    }
    await scene.served("meanwhile")
    assert not any(task.done() for tasks in slow.values() for task in tasks)
    answers = {kind: await asyncio.wait_for(asyncio.gather(*tasks), 60) for kind, tasks in slow.items()}
    assert all(answer.startswith(b"\x0bMSH|") for answer in answers["frame"]), answers["frame"]
    assert all(answer.startswith(b"HTTP/1.1 408") or not answer for answer in answers["head"]), answers["head"]
    assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers["body"]), answers["body"]
    await scene.served("after")
    await scene.end()


async def test_ten_thousand_connections(scene: Scene, chance: random.Random) -> None:
    """They all stay, a twentieth of them is busy, one more than allowed is turned away; memory stays bounded."""
    number = min(10_000, allowed_files() - 1000)
    scene.options("adt", max_connections=number)
    await scene.hub.start()
    reader_writers = []
    for start in range(0, number, 200):
        many = range(start, min(start + 200, number))
        reader_writers += await asyncio.gather(*(say(scene.adt, b"") for _ in many))
    assert len(reader_writers) == number
    reader, _ = await say(scene.adt, mllp_frame(hl7("more-000000", "more")))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(read_mllp(reader), 60)

    async def exchange(place: int, turn: int) -> str:
        reader, writer = reader_writers[place]
        control = f"many{place}-{turn:06d}"
        writer.write(mllp_frame(hl7(control, f"many{place}")))
        ack = await asyncio.wait_for(read_mllp(reader), 60)
        assert ack.split(b"\rMSA|")[1].split(b"\r")[0].split(b"|")[:2] == [b"AA", control.encode()]
        return control

    busy = chance.sample(range(number), number // 20)
    controls: list[str] = []
    for turn in range(3):
        controls += await asyncio.gather(*(exchange(place, turn) for place in busy))
    await scene.web.has(controls)
    await scene.lis.has(controls)
    assert scene.hub.memory() < MEMORY_MANY
    (status,) = await scene.hub.statuses()
    assert status["inbound"]["his/adt"]["connections"] == number
    for _, writer in reader_writers:
        writer.close()
    await scene.served("after")
    await scene.end()


def pour(name: str, sock: socket.socket) -> bool:
    """Send until nothing more can be sent for three seconds; False when there is no end to it. No route takes these."""
    for turn in range(5000):
        batch = b"".join(mllp_frame(hl7(f"{name}-{turn * 100 + n:06d}", name)) for n in range(100))
        rest = batch.replace(b"|ADT^A01^ADT_A01|", b"|ORU^R01|")
        while rest:
            if not select.select([], [sock], [], 3.0)[1]:
                return True
            rest = rest[sock.send(rest) :]
    return False


async def test_a_sender_that_never_reads_its_acknowledgements(scene: Scene) -> None:
    """The hub stops reading from it; it does not collect what is not wanted."""
    await scene.hub.start()
    deaf = socket.create_connection(("127.0.0.1", scene.adt))
    deaf.setblocking(False)
    assert await asyncio.to_thread(pour, "deaf" * 30, deaf)
    await scene.served("others")
    assert scene.hub.memory() < MEMORY_DEAF
    deaf.close()
    await scene.served("after")
    await scene.hub.idle()
    await scene.end()


async def test_the_same_number_again(scene: Scene) -> None:
    """The same bytes under the same number have one effect, whoever sends them how often at once; other bytes are a
    message of their own, and flagged."""
    await scene.hub.start()
    body = hl7("same-000000", "same")
    assert await asyncio.gather(*(tell(scene.adt, body) for _ in range(30))) == [b"AA"] * 30
    note = document("again-000000", "again")
    assert await asyncio.gather(*(post(scene.notes, note, "again-000000") for _ in range(30))) == [202] * 30
    await scene.web.has(["same-000000", "again-000000"])
    await scene.lis.has(["same-000000"])
    await scene.hub.kill()  # what it knows of earlier numbers is not only in memory
    await scene.hub.start()
    assert await tell(scene.adt, body) == b"AA"
    assert await post(scene.notes, note, "again-000000") == 202
    await scene.served("between")
    await scene.hub.idle()
    assert scene.web.faults == scene.lis.faults == []  # what the killed hub sent again came under the key it had
    assert await tell(scene.adt, hl7("same-000000", "same", 10)) == b"AA"
    # By its number it is an effect twice, which is why the hub flags it.
    await until(lambda: scene.web.faults, what="the other message of this number")
    found = (await scene.hub.ask("GET", "/api/v1/messages?conflict=1"))["messages"]
    assert [row["control_id"] for row in found] == ["same-000000"]
    calls = (await scene.hub.ask("GET", "/api/v1/calls?outcome=duplicate&limit=100"))["calls"]
    assert len(calls) == 29 + 29 + 2
    scene.web.faults.clear()
    scene.lis.faults.clear()
    await scene.end()


async def test_garbage_on_every_port(site: Site, scene: Scene, chance: random.Random, rounds: int) -> None:
    """Whatever comes, nothing fails inside, and everybody else is served."""
    del site.config["routes"]["adt_lis"]
    await scene.hub.start()
    ports = [scene.adt, scene.notes, scene.site.admin_port]
    some = [
        b"",
        b"\x00" * 100_000,
        b"\x0b" * 100_000,
        b"\x1c\r" * 50_000,
        b"\x0b\x1c\r" * 10_000,
        b"\x0bMSH\x1c\r" + b"\x0bMSH|^~\\&\x1c\r" + b"\x0bMSH|||||||||||\x1c\r",
        b"\x0bMSH|^~\\&|" + b"~" * 200_000 + b"\x1c\r",
        b"\x0bPID|1\r\x1c\r",
        b"A" * 1_000_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"POST /notes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"POST /notes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nGET",
        b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
        b"POST /notes HTTP/1.1\r\n" + b"X: y\r\n" * 5000,
        b"POST /notes HTTP/1.1\r\nX: " + b"z" * 200_000,
        b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000,
        b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n\xff\xfe\xfd\xfc",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        mllp_frame(hl7("x", "y"))[:-1],
    ]

    async def disturb(port: int, data: bytes) -> None:
        try:
            reader, writer = await say(port, data)
            if chance.random() < 0.7:
                writer.write_eof()
                await asyncio.wait_for(reader.read(), 20)
        except (OSError, TimeoutError):
            return
        writer.transport.abort()

    for number in range(rounds):
        junk = [chance.randbytes(chance.randrange(1, 5000)) for _ in range(30)]
        broken = []
        for whole in (
            mllp_frame(hl7("x", "y")),
            b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n[1,2,3,4]",
        ):
            for _ in range(20):
                damaged = bytearray(whole)
                for _ in range(chance.randrange(1, 8)):
                    damaged[chance.randrange(len(damaged))] = chance.randrange(256)
                broken.append(bytes(damaged))
        scene.web.indifferent = True  # what is damaged can still be a message
        for data in [*some, *junk, *broken]:
            await asyncio.gather(*(disturb(port, data) for port in ports))
        await scene.hub.idle()
        scene.web.indifferent = False
        await scene.served(f"g{number}x")
        assert scene.hub.memory() < MEMORY_MANY
    assert (await scene.hub.ask("GET", "/healthz"))["alive"]
    assert await scene.hub.stop() == 0
    assert scene.hub.complaints() == []
    await scene.site.audited()
