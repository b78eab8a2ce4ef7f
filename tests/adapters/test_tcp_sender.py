"""The calling side against a server that behaves, and one that misbehaves."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.tcp.options import TcpConnect
from hub.api import PermanentError, TransientError, UnreachableError
from tests.adapters.certificates import Authority
from tests.adapters.tcp_support import MemoryIntake, Peer, calling, listening, outgoing, serving
from tests.ports import free_port

STX = {"type": "delimited", "start": "\x02", "end": "\x03"}
WHOLE = {"type": "until_close"}


async def echo(one: Peer) -> None:
    while True:
        one.write(await one.reader.readuntil(b"\x03"))


async def test_the_next_frame_is_the_reply_and_the_connection_is_kept() -> None:
    async with serving(echo) as port, calling(port, STX) as sender:
        for number in range(3):
            reply = await sender.send(outgoing(b"m%d" % number))
            assert (reply.ok, reply.body) == (True, b"m%d" % number)
        assert (sender.status()["connects"], sender.status()["connections"]) == (1, 1)
        assert str(port) in await sender.probe()


async def test_a_connection_for_each_call() -> None:
    async with serving(echo) as port, calling(port, STX, per_call=True) as sender:
        for _ in range(3):
            assert (await sender.send(outgoing(b"x"))).body == b"x"
        assert (sender.status()["connects"], sender.status()["connections"]) == (3, 0)


async def test_our_receiver_and_our_sender_understand_each_other() -> None:
    intake = MemoryIntake()
    for framing in (STX, {"type": "length", "size": 4}, {"type": "lines"}, {"type": "fixed", "size": 2}):
        async with (
            listening(intake, framing, answers={"accepted": "OK"}) as receiver,
            calling(receiver.status()["port"], framing) as sender,
        ):
            assert (await sender.send(outgoing(b"ab"))).body == b"OK"
    assert intake.taken == [b"ab"] * 4


async def test_until_close_in_both_directions() -> None:
    got: list[bytes] = []

    async def target(one: Peer) -> None:
        got.append(await one.rest())
        one.write(b"answer")

    async with serving(target) as port:
        async with calling(port, WHOLE, per_call=True, half_close=True) as sender:
            assert (await sender.send(outgoing(b"x" * 100_000))).body == b"answer"
        async with calling(port, WHOLE, per_call=True, half_close=True, reply="none") as sender:
            assert (await sender.send(outgoing(b"y"))).ok
    assert got == [b"x" * 100_000, b"y"]


async def test_without_reply_delivered_is_written() -> None:
    got = asyncio.Queue[bytes]()

    async def target(one: Peer) -> None:
        while True:
            got.put_nowait(await one.reader.readuntil(b"\x03"))

    async with serving(target) as port, calling(port, STX, reply="none") as sender:
        for number in range(3):
            assert (await sender.send(outgoing(b"%d" % number))).ok
            assert await got.get() == b"\x02%d\x03" % number
        assert sender.status()["connects"] == 1


async def test_heartbeats_of_the_target_are_answered_and_no_replies() -> None:
    seen: list[bytes] = []

    async def target(one: Peer) -> None:
        await one.reader.readuntil(b"\x03")
        one.write(b"\x02PING\x03")
        seen.append(await one.reader.readuntil(b"\x03"))
        one.write(b"\x02reply\x03")
        await one.rest()

    beats = [{"content": "PING", "answer": "PONG"}]
    async with serving(target) as port, calling(port, STX, heartbeats=beats) as sender:
        assert (await sender.send(outgoing(b"x"))).body == b"reply"
    assert seen == [b"\x02PONG\x03"]


async def test_a_frame_nobody_asked_for_answers_nothing() -> None:
    async def greets_later(one: Peer) -> None:
        one.write(await one.reader.readuntil(b"\x03") + b"\x02extra\x03")
        await echo(one)

    async with serving(greets_later) as port, calling(port, STX) as sender:
        assert (await sender.send(outgoing(b"first"))).body == b"first"
        assert (await sender.send(outgoing(b"second"))).body == b"second"
        assert sender.status()["mismatched_replies"] == 1


@pytest.mark.parametrize(
    "answer", [b"", b"no frame", b"\x02cut", b"\x02" + b"x" * 200 + b"\x03", b"x" * 70_000], ids=len
)
async def test_bad_replies_are_tried_again(answer: bytes) -> None:
    async def target(one: Peer) -> None:
        await one.reader.readuntil(b"\x03")
        one.write(answer)

    async with serving(target) as port, calling(port, STX, max_reply=100) as sender:
        with pytest.raises(TransientError) as caught:
            await sender.send(outgoing(b"x"))
        assert caught.value.code == "tcp.no_reply"
        assert sender.status()["connections"] == 0


async def test_damaged_reply() -> None:
    framing = {**STX, "checksum": {"kind": "xor", "form": "hex"}}

    async def target(one: Peer) -> None:
        await one.reader.readuntil(b"\x03")
        one.write(b"\x02AB99\x03")
        await one.rest()

    async with serving(target) as port, calling(port, framing) as sender:
        with pytest.raises(TransientError):
            await sender.send(outgoing(b"x"))


async def test_a_target_that_hangs_and_one_that_is_away() -> None:
    async def hangs(one: Peer) -> None:
        await one.rest()

    async with serving(hangs) as port, calling(port, STX) as sender:
        with pytest.raises(TransientError) as late:
            await sender.send(outgoing(b"x", 0.1))
        assert late.value.code == "tcp.timeout"
        assert sender.status()["connections"] == 0  # a late reply must not meet another message
    port = free_port()
    async with calling(port, STX) as sender:
        with pytest.raises(UnreachableError):
            await sender.send(outgoing(b"x"))
        async with serving(echo, port):
            for _ in range(100):
                try:
                    reply = await sender.send(outgoing(b"x"))
                    break
                except UnreachableError:
                    await asyncio.sleep(0.02)
            assert reply.body == b"x"


async def test_an_idle_connection_that_the_target_closed_is_not_used() -> None:
    async def once(one: Peer) -> None:
        one.write(await one.reader.readuntil(b"\x03"))

    async with serving(once) as port, calling(port, STX) as sender:
        for _ in range(3):
            assert (await sender.send(outgoing(b"x"))).body == b"x"


async def test_what_can_not_be_framed_is_never_sent() -> None:
    async with calling(1, STX) as sender:
        with pytest.raises(PermanentError) as caught:
            await sender.send(outgoing(b"a\x03b"))
    assert caught.value.code == "tcp.delimiter"


async def test_tls_is_verified(tmp_path: Path) -> None:
    Authority(tmp_path, "ca").issue("server", "127.0.0.1")
    Authority(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    async with serving(echo, ssl=context) as port:
        async with calling(port, STX, tls={"ca": str(tmp_path / "ca.pem")}) as sender:
            assert (await sender.send(outgoing(b"x"))).body == b"x"
            assert "TLSv1" in await sender.probe()
        async with calling(port, STX, tls={"ca": str(tmp_path / "other.pem")}) as sender:
            with pytest.raises(UnreachableError):
                await sender.send(outgoing(b"x"))


@pytest.mark.parametrize(
    "options",
    [
        {"framing": WHOLE},
        {"framing": WHOLE, "per_call": True},
        {"framing": STX, "half_close": True},
        {"framing": STX, "reply_framing": WHOLE},
        {"framing": STX, "per_call": True, "half_close": True, "tls": {}},
        {"framing": STX, "per_call": True, "heartbeats": [{"content": "P"}]},
    ],
)
def test_options_that_can_not_work(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TcpConnect(host="127.0.0.1", port=1, **options)
