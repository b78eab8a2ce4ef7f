"""The listening side over real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.tcp.options import TcpListen
from hub.api import CodecError, HubError, Receipt, StoreBusy
from hub.message import Outcome
from tests.adapters.certificates import Authority
from tests.adapters.tcp_support import MemoryIntake, listening, peer, until

STX = {"type": "delimited", "start": "\x02", "end": "\x03"}
ANSWERS = {"accepted": "OK {control_id}", "refused": "NO {code}", "later": "WAIT", "duplicate": "SEEN"}


@pytest.fixture
def intake() -> MemoryIntake:
    return MemoryIntake()


async def test_each_outcome_has_its_answer(intake: MemoryIntake) -> None:
    outcomes = {
        b"1": Receipt(Outcome.OK, 7, "t", "C1"),
        b"2": Receipt(Outcome.DUPLICATE, 7, "t", "C1"),
        b"3": Receipt(Outcome.REFUSED, error=CodecError("no", code="x.bad")),
        b"4": Receipt(Outcome.REFUSED, error=StoreBusy("full")),
    }
    intake.verdict = lambda raw: outcomes[raw]
    async with listening(intake, STX, answers=ANSWERS) as receiver, peer(receiver.status()["port"]) as one:
        one.write(b"\x021\x03\x022\x03\x023\x03\x024\x03")
        wanted = b"\x02OK C1\x03\x02SEEN\x03\x02NO x.bad\x03\x02WAIT\x03"
        assert await one.read(len(wanted)) == wanted
        assert intake.taken == [b"1", b"2", b"3", b"4"]
        assert receiver.status()["refused"] == 2


async def test_values_can_not_break_the_answer(intake: MemoryIntake) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.OK, 7, "t", 'C\x03"1</a>')
    answers = {"accepted": '{"id":"{control_id}"}'}
    async with listening(intake, STX, answers=answers) as receiver, peer(receiver.status()["port"]) as one:
        one.write(b"\x02x\x03")
        wanted = b'\x02{"id":"C  1 /a "}\x03'
        assert await one.read(len(wanted)) == wanted


async def test_answer_without_frame_and_none_at_all(intake: MemoryIntake) -> None:
    answers = {"accepted": "\x06", "framed": False}
    async with listening(intake, STX, answers=answers) as receiver, peer(receiver.status()["port"]) as one:
        one.write(b"\x02x\x03\x02y\x03")
        assert await one.read(2) == b"\x06\x06"
    async with listening(intake, STX) as receiver, peer(receiver.status()["port"]) as one:
        one.write(b"\x02x\x03")
        await until(lambda: len(intake.taken) == 3)
        assert await one.silent()


async def test_nothing_is_said_before_the_commit_and_answers_keep_their_order(intake: MemoryIntake) -> None:
    intake.at_once = False
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, control_id=raw.decode())
    async with (
        listening(intake, STX, answers={"accepted": "{control_id}"}) as receiver,
        peer(receiver.status()["port"]) as one,
    ):
        one.write(b"\x02a\x03\x02b\x03\x02c\x03")
        await until(lambda: len(intake.waiting) == 3)
        assert await one.silent()
        for number in (2, 1, 0):
            intake.finish(number)
        assert await one.read(9) == b"\x02a\x03\x02b\x03\x02c\x03"


async def test_request_style_answers_with_the_reply(intake: MemoryIntake) -> None:
    replies = {b"good": b"R", b"odd": b"\x03"}
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=replies[raw])
    style = {"style": "request"}
    async with listening(intake, STX, style, answers=ANSWERS) as receiver, peer(receiver.status()["port"]) as one:
        one.write(b"\x02good\x03\x02odd\x03")
        wanted = b"\x02R\x03\x02NO tcp.delimiter\x03"
        assert await one.read(len(wanted)) == wanted


async def test_heartbeats_are_answered_and_no_messages(intake: MemoryIntake) -> None:
    beats = [{"content": "PING", "answer": "PONG"}, {"content": ""}]
    framing = {"type": "length", "size": 2}
    async with listening(intake, framing, heartbeats=beats) as receiver, peer(receiver.status()["port"]) as one:
        one.write(b"\x00\x04PING\x00\x00\x00\x01x")
        assert await one.read(6) == b"\x00\x04PONG"
        await until(lambda: intake.taken == [b"x"])


async def test_a_damaged_frame_is_refused_and_the_next_one_taken(intake: MemoryIntake) -> None:
    framing = {**STX, "checksum": {"kind": "xor", "form": "hex"}}
    async with (
        listening(intake, framing, answers={"refused": "N", "framed": False}) as receiver,
        peer(receiver.status()["port"]) as one,
    ):
        one.write(b"\x02AB99\x03\x02AB03\x03")
        assert await one.read(1) == b"N"
        await until(lambda: intake.taken == [b"AB"])
    assert [(raw, error.code) for raw, error in intake.refused] == [(b"AB", "tcp.checksum")]


async def test_a_stream_that_makes_no_sense_is_refused_and_closed(intake: MemoryIntake) -> None:
    answers = {"refused": "N", "framed": False}
    async with (
        listening(intake, {"type": "length", "digits": 4}, answers=answers) as receiver,
        peer(receiver.status()["port"]) as one,
    ):
        one.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await one.rest() == b"N"
    assert [error.code for _, error in intake.refused] == ["tcp.length"]
    assert intake.taken == []


@pytest.mark.parametrize("busy", ["not ready", "refused"])
async def test_a_busy_hub_without_an_answer_for_it_closes_the_connection(intake: MemoryIntake, busy: str) -> None:
    intake.is_ready = busy != "not ready"
    intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=StoreBusy("full"))
    async with listening(intake, STX, answers={"accepted": "OK"}) as receiver:
        async with peer(receiver.status()["port"]) as one:
            one.write(b"\x02x\x03")
            assert await one.rest() == b""
        intake.is_ready = True
        intake.verdict = lambda raw: Receipt(Outcome.OK, 1)
        async with peer(receiver.status()["port"]) as one:
            one.write(b"\x02x\x03")
            assert await one.read(4) == b"\x02OK\x03"


async def test_cut_in_the_middle_of_a_frame(intake: MemoryIntake) -> None:
    async with listening(intake, STX) as receiver:
        async with peer(receiver.status()["port"]) as one:
            one.write(b"\x02whole\x03\x02ha")
        await until(lambda: intake.refused)
    assert intake.taken == [b"whole"]
    assert [(raw, error.code) for raw, error in intake.refused] == [(b"ha", "tcp.cut")]


async def test_until_close_is_answered_on_the_half_that_is_open(intake: MemoryIntake) -> None:
    async with listening(intake, {"type": "until_close"}, answers={"accepted": "OK"}) as receiver:
        async with peer(receiver.status()["port"]) as one:
            one.write(b"one ")
            one.write(b"message")
            one.writer.write_eof()
            assert await one.rest() == b"OK"
        async with peer(receiver.status()["port"]) as one:
            one.write(b"half")
            await until(lambda: receiver.status()["connections"] == 1)
            linger = struct.pack("ii", 1, 0)  # closing resets the connection
            one.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            one.writer.transport.abort()
            await until(lambda: intake.refused)
    assert intake.taken == [b"one message"]
    assert [error.code for _, error in intake.refused] == ["tcp.cut"]


async def test_too_large_too_slow_and_idle(intake: MemoryIntake) -> None:
    answers = {"refused": "{code}"}
    async with (
        listening(intake, STX, max_size=10, answers=answers) as receiver,
        peer(receiver.status()["port"]) as one,
    ):
        one.write(b"\x02" + b"x" * 20)
        assert await one.rest() == b"\x02tcp.too_large\x03"
    async with (
        listening(intake, STX, frame_timeout=0.1, answers=answers) as receiver,
        peer(receiver.status()["port"]) as one,
    ):
        one.write(b"\x02x")
        assert await one.rest() == b"\x02tcp.too_slow\x03"
    async with listening(intake, STX, idle_timeout=0.1) as receiver, peer(receiver.status()["port"]) as one:
        assert await one.rest() == b""
        assert receiver.status()["closed_idle"] == 1


async def test_in_flight_and_connections_are_limited(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake, STX, max_in_flight=2, max_connections=1) as receiver:
        port = receiver.status()["port"]
        async with peer(port) as one:
            one.write(b"\x02x\x03" * 5)
            await until(lambda: len(intake.waiting) == 2)
            async with peer(port) as other:
                assert await other.rest() == b""
            for number in range(5):
                await until(lambda: intake.waiting)
                assert len(intake.waiting) <= 2
                intake.finish()
                assert len(intake.taken) <= number + 3
            await until(lambda: len(intake.taken) == 5)


async def test_stop_waits_for_what_is_under_way(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with (
        listening(intake, STX, answers={"accepted": "OK"}) as receiver,
        peer(receiver.status()["port"]) as one,
    ):
        one.write(b"\x02x\x03")
        await until(lambda: intake.waiting)
        stopping = asyncio.create_task(receiver.stop(5.0))
        await asyncio.sleep(0)
        intake.finish()
        assert await one.rest() == b"\x02OK\x03"
        await stopping


async def test_noise_is_counted_and_told(intake: MemoryIntake) -> None:
    async with listening(intake, STX) as receiver:
        async with peer(receiver.status()["port"]) as one:
            one.write(b"hello\r\n")
        await until(lambda: intake.refused)
        assert receiver.status()["bytes_outside_frames"] == 7
    assert [(raw, error.code) for raw, error in intake.refused] == [(b"hello\r\n", "tcp.no_frame")]


async def test_tls_and_a_client_without_certificate(intake: MemoryIntake, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    authority.issue("server", "127.0.0.1")
    authority.issue("client", "dev")
    tls: dict[str, Any] = {
        "certificate": str(tmp_path / "server.pem"),
        "key": str(tmp_path / "server.key"),
        "client_ca": str(tmp_path / "ca.pem"),
    }
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    async with listening(intake, STX, tls=tls, answers={"accepted": "OK"}) as receiver:
        port = receiver.status()["port"]
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            async with peer(port, ssl=context) as one:
                await one.read(1)
        context.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
        async with peer(port, ssl=context) as one:
            one.write(b"\x02x\x03")
            assert await one.read(4) == b"\x02OK\x03"


@pytest.mark.parametrize(
    "options",
    [
        {"framing": STX, "answers": {"accepted": "a\x03b"}},
        {"framing": STX, "host": "0.0.0.0"},
        {"framing": STX, "heartbeats": [{"content": "a", "answer": "\x03"}]},
        {"framing": {"type": "until_close"}, "tls": {"certificate": "x.pem"}},
        {},
    ],
)
def test_options_that_can_not_work(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TcpListen(**options)


async def test_port_in_use(intake: MemoryIntake) -> None:
    async with listening(intake, STX) as receiver:
        with pytest.raises(HubError) as caught:
            async with listening(intake, STX, port=receiver.status()["port"]):
                pass
    assert caught.value.code == "tcp.listen"
