"""The listening side over real sockets."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.mllp import MllpAdapter
from adapters.mllp.framing import frame
from adapters.mllp.options import MllpListen
from hub.api import CodecError, HubError, Receipt, StoreBusy
from hub.message import Outcome
from tests.adapters.mllp_support import (
    Client,
    MemoryIntake,
    answered,
    bound_in,
    client,
    code,
    fields,
    listening,
    message,
    until,
)


@pytest.fixture
def intake() -> MemoryIntake:
    return MemoryIntake()


# -- frames and order ------------------------------------------------------------------------------------------------


async def test_message_arrives_byte_for_byte_and_is_acknowledged(intake: MemoryIntake) -> None:
    raw = message("1", text="\u5f20\u4e09\u4e30") + b"ZZZ|\xff\xfe\x0b odd bytes\r"
    async with listening(intake) as receiver, client(receiver) as peer:
        reply = await peer.ask(raw)
    assert intake.taken == [raw]
    assert (code(reply), answered(reply)) == ("AA", "1")
    assert intake.remotes[0].startswith("127.0.0.1:")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.lists(st.integers(0, 5000), max_size=12))
def test_any_cut_of_the_stream_gives_the_same_messages(count: int, places: list[int]) -> None:
    async def run() -> None:
        intake = MemoryIntake()
        messages = [message(str(n)) for n in range(count)]
        stream = b"\r\n".join(frame(raw) for raw in messages)
        marks = sorted({0, len(stream), *(place % len(stream) for place in places)})
        async with listening(intake) as receiver, client(receiver) as peer:
            for start, end in itertools.pairwise(marks):
                peer.write(stream[start:end])
                await peer.writer.drain()
                await asyncio.sleep(0)
            replies = [await peer.reply() for _ in messages]
        assert intake.taken == messages
        assert [answered(reply) for reply in replies] == [str(n) for n in range(count)]

    asyncio.run(run())


async def test_replies_keep_the_order_of_the_frames(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake) as receiver, client(receiver) as peer:
        peer.send(*[message(str(n)) for n in range(40)])
        await until(lambda: len(intake.waiting) == 40)
        chance = random.Random(4)
        while intake.waiting:
            intake.finish(chance.randrange(len(intake.waiting)))
        assert [answered(await peer.reply()) for _ in range(40)] == [str(n) for n in range(40)]


async def test_no_reply_before_the_commit(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake) as receiver, client(receiver) as peer:
        peer.send(message("1"))
        await until(lambda: intake.waiting)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await peer.reader.read(1)
        intake.finish()
        assert code(await peer.reply()) == "AA"


async def test_reading_pauses_at_max_in_flight(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake, max_in_flight=3) as receiver, client(receiver) as peer:
        peer.send(*[message(str(n)) for n in range(10)])
        await until(lambda: len(intake.waiting) == 3)
        await asyncio.sleep(0.05)
        assert len(intake.taken) == 3
        for n in range(10):
            await until(lambda: intake.waiting)
            assert len(intake.waiting) <= 3
            intake.finish()
            assert answered(await peer.reply()) == str(n)
    assert len(intake.taken) == 10


async def test_more_than_max_in_flight_with_an_intake_that_answers_at_once(intake: MemoryIntake) -> None:
    async with listening(intake, max_in_flight=2) as receiver, client(receiver) as peer:
        peer.send(*[message(str(n)) for n in range(50)])
        assert [answered(await peer.reply()) for _ in range(50)] == [str(n) for n in range(50)]


async def test_sender_that_reads_no_replies_is_not_read_either(intake: MemoryIntake) -> None:
    # Long replies fill the buffers of the system quickly.
    intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=CodecError("x" * 400))
    async with listening(intake) as receiver, client(receiver) as peer:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sent = 30_000
        peer.write(frame(message("1")) * sent)
        taken = -1
        while taken < len(intake.taken):
            taken = len(intake.taken)
            await asyncio.sleep(0.5)
        assert 0 < taken < sent
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        while len(intake.taken) == taken:
            assert code(await peer.reply()) == "AR"
        peer.writer.transport.abort()


async def test_garbage_between_frames_is_counted(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        async with client(receiver) as peer:
            peer.write(b"hello" + frame(message("1")) + b"\r\n" + frame(message("2")))
            assert [answered(await peer.reply()) for _ in range(2)] == ["1", "2"]
        await until(lambda: receiver.status()["connections"] == 0)
        assert receiver.status()["bytes_outside_frames"] == 7
    assert intake.refused == []


async def test_peer_without_frames_is_told_apart(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        async with client(receiver) as peer:
            peer.write(message("1"))
            peer.writer.write_eof()
            assert await peer.reply_or_end() is None
        await until(lambda: intake.refused)
    (raw, error) = intake.refused[0]
    assert error.code == "mllp.no_frame"
    assert raw == message("1")[:256]


async def test_endless_garbage_ends_the_connection(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver, client(receiver) as peer:
        peer.write(b"x" * 100_000)
        assert await peer.reply_or_end() is None
        await until(lambda: intake.refused)
    assert [error.code for _, error in intake.refused] == ["mllp.no_frame"]


async def test_empty_frames_are_skipped(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver, client(receiver) as peer:
        peer.write(frame(b"") + frame(b"\r\n") + frame(message("1")))
        assert answered(await peer.reply()) == "1"
        assert receiver.status()["empty_frames"] == 2
    assert len(intake.taken) == 1


async def test_missing_carriage_return_followed_by_silence(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver, client(receiver) as peer:
        peer.write(b"\x0b" + message("1") + b"\x1c")
        assert answered(await peer.reply()) == "1"
        peer.write(b"\r\x0b" + message("2") + b"\x1c")
        assert answered(await peer.reply()) == "2"
        assert receiver.status()["bytes_outside_frames"] == 0


async def test_missing_carriage_return_at_the_end_of_the_stream(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver, client(receiver) as peer:
        peer.write(b"\x0b" + message("1") + b"\x1c")
        peer.writer.write_eof()
        assert answered(await peer.reply()) == "1"
        assert await peer.reply_or_end() is None


async def test_half_closed_sender_still_gets_its_replies(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake) as receiver, client(receiver) as peer:
        peer.send(message("1"), message("2"))
        peer.writer.write_eof()
        await until(lambda: len(intake.waiting) == 2)
        intake.finish()
        intake.finish()
        assert [answered(await peer.reply()) for _ in range(2)] == ["1", "2"]
        assert await peer.reply_or_end() is None


async def test_sender_that_begins_again_loses_only_the_unfinished_part(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver, client(receiver) as peer:
        peer.write(b"\x0b" + message("1")[:40] + frame(message("2")))
        assert answered(await peer.reply()) == "2"
    assert intake.taken == [message("2")]
    assert [(raw, error.code) for raw, error in intake.refused] == [(message("1")[:40], "mllp.unfinished")]


# -- refusals --------------------------------------------------------------------------------------------------------


async def test_too_large_is_answered_and_closed(intake: MemoryIntake) -> None:
    async with listening(intake, max_size=1000) as receiver, client(receiver) as peer:
        peer.send(message("1"), message("2", text="x" * 3000), message("3"))
        assert code(await peer.reply()) == "AA"
        refused = await peer.reply()
        assert (code(refused), answered(refused)) == ("AR", "2")
        assert "1000" in refused.decode()
        assert await peer.reply_or_end() is None
        assert receiver.status()["too_large"] == 1
    assert intake.taken == [message("1")]
    assert intake.refused[0][1].code == "mllp.too_large"


async def test_too_large_is_known_before_all_of_it_has_come(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake, {"max_size": "1KB"}) as receiver, client(receiver) as peer:
        peer.send(message("1"))
        await until(lambda: intake.waiting)
        peer.write(b"\x0b" + message("2", accept="AL") + b"x" * 5_000_000)  # no end
        await until(lambda: intake.refused)
        intake.finish()
        assert code(await peer.reply()) == "AA"
        assert code(await peer.reply()) == "CR"
        assert await peer.reply_or_end() is None


async def test_codec_errors_are_rejected_with_their_text(intake: MemoryIntake) -> None:
    intake.verdict = lambda raw: Receipt(
        Outcome.REFUSED, error=CodecError("field separator missing", place="segment 1 (MSH)")
    )
    async with listening(intake) as receiver, client(receiver) as peer:
        reply = await peer.ask(message("1"))
        assert code(reply) == "AR"
        assert "segment 1 (MSH): field separator missing" in reply.decode()
        assert receiver.status()["refused"] == 1


@pytest.mark.parametrize(("accept", "expected"), [("", "AE"), ("AL", "CE")])
async def test_busy_store(intake: MemoryIntake, accept: str, expected: str) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=StoreBusy("disk full"))
    async with listening(intake) as receiver, client(receiver) as peer:
        reply = await peer.ask(message("1", accept=accept))
        assert code(reply) == expected
        assert fields(reply)["ERR"][3].startswith("207")


async def test_hub_not_ready_refuses_one_and_reads_no_further(intake: MemoryIntake) -> None:
    intake.is_ready = False
    async with listening(intake, frame_timeout=2) as receiver, client(receiver) as peer:
        peer.send(*[message(str(n)) for n in range(5)])
        assert code(await peer.reply()) == "AE"
        intake.is_ready = True
        rest = [await peer.reply() for _ in range(4)]
        assert {code(reply) for reply in rest} <= {"AA", "AE"}
        assert code(rest[-1]) == "AA"
        assert [answered(reply) for reply in rest] == ["1", "2", "3", "4"]
    assert message("0") not in intake.taken
    assert intake.refused[0][1].code == "store.busy"


@pytest.mark.parametrize("ready", [True, False])
async def test_busy_hub_ends_the_connection_of_a_sender_that_wants_no_reply(intake: MemoryIntake, ready: bool) -> None:
    intake.is_ready = ready
    intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=StoreBusy("disk full"))
    async with listening(intake) as receiver, client(receiver) as peer:
        peer.send(message("1", accept="NE", application="NE"))
        assert await peer.reply_or_end() is None


async def test_sender_that_wants_no_reply_gets_none(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver, client(receiver) as peer:
        peer.send(message("1", accept="NE", application="NE"), message("2"))
        assert answered(await peer.reply()) == "2"
    assert len(intake.taken) == 2


async def test_ack_option_none(intake: MemoryIntake) -> None:
    async with listening(intake, ack="none") as receiver, client(receiver) as peer:
        peer.send(message("1"), message("2", accept="AL"))
        await until(lambda: len(intake.taken) == 2)
        peer.writer.write_eof()
        assert await peer.reply_or_end() is None


async def test_large_unfinished_frames_share_one_limit(intake: MemoryIntake) -> None:
    large = message("1", text="x" * 600_000)
    async with listening(intake, max_buffered="1MB") as receiver, client(receiver) as one, client(receiver) as two:
        one.write(frame(large)[:-1])
        await until(lambda: receiver.status()["buffered"] > 600_000)
        two.write(frame(large)[:-1])
        reply = await two.reply()
        assert (code(reply), answered(reply)) == ("AE", "1")
        assert await two.reply_or_end() is None
        one.write(b"\r")
        assert code(await one.reply()) == "AA"
        assert receiver.status()["buffered"] == 0
        async with client(receiver) as three:
            three.write(frame(large)[:-1])
            await until(lambda: receiver.status()["buffered"] > 600_000)
            reset(three)
        await until(lambda: receiver.status()["buffered"] == 0)
    assert [error.code for _, error in intake.refused] == ["mllp.no_room"]


# -- request style ---------------------------------------------------------------------------------------------------


async def test_request_gets_the_reply_of_the_target(intake: MemoryIntake) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.OK, 7, reply=b"MSH|^~\\&|RSP\rMSA|AA|1\r")
    async with listening(intake, {"style": "request"}) as receiver, client(receiver) as peer:
        assert await peer.ask(message("1")) == b"MSH|^~\\&|RSP\rMSA|AA|1\r"


async def test_failed_request(intake: MemoryIntake) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.FAILED, 7, error=HubError("target refused"))
    async with listening(intake, {"style": "request"}) as receiver, client(receiver) as peer:
        reply = await peer.ask(message("1"))
        assert code(reply) == "AE"
        assert "target refused" in reply.decode()


# -- batches ---------------------------------------------------------------------------------------------------------


def reset(peer: Client) -> None:
    """Leave without a word: a reset instead of an orderly end."""
    sock = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.writer.transport.abort()


def batch(count: int) -> bytes:
    body = b"".join(message(str(n)) for n in range(count))
    return b"BHS|^~\\&|HIS|NORTH|HUB|CENTRAL|2026||||B7\r" + body + b"BTS|%d\r" % count


def acknowledgements(reply: bytes) -> list[tuple[str, str]]:
    lines = [line.split("|") for line in reply.decode().split("\r")]
    return [(line[1], line[2]) for line in lines if line[0] == "MSA"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_batch_is_answered_message_by_message(intake: MemoryIntake, at_once: bool) -> None:
    intake.at_once = at_once
    async with listening(intake, max_in_flight=4) as receiver, client(receiver) as peer:
        peer.send(batch(10), message("after"))
        chance = random.Random(3)
        while not at_once and len(intake.taken) < 11:
            await until(lambda: intake.waiting)
            assert len(intake.waiting) <= 5
            intake.finish(chance.randrange(len(intake.waiting)))
        while intake.waiting:
            intake.finish()
        reply = await peer.reply()
        assert answered(await peer.reply()) == "after"
    assert acknowledgements(reply) == [("AA", str(n)) for n in range(10)]
    assert fields(reply)["BHS"][11] == "B7"
    assert fields(reply)["BTS"][1] == "10"
    assert [raw for raw in intake.taken if raw != message("after")] == [message(str(n)) for n in range(10)]


async def test_glued_messages_are_taken_apart(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver, client(receiver) as peer:
        reply = await peer.ask(message("1") + message("2"))
    assert acknowledgements(reply) == [("AA", "1"), ("AA", "2")]
    assert intake.taken == [message("1"), message("2")]


async def test_busy_hub_refuses_the_rest_of_a_batch(intake: MemoryIntake) -> None:
    def verdict(raw: bytes) -> Receipt:
        busy = raw == message("2")
        return Receipt(Outcome.REFUSED, error=StoreBusy("queue full")) if busy else Receipt(Outcome.OK, 1)

    intake.verdict = verdict
    async with listening(intake, max_in_flight=1) as receiver, client(receiver) as peer:
        reply = await peer.ask(batch(5))
    assert [verdict for verdict, _ in acknowledgements(reply)] == ["AA", "AA", "AE", "AE", "AE"]
    assert len(intake.taken) == 3


async def test_batch_limits(intake: MemoryIntake) -> None:
    async with listening(intake, max_batch=4) as receiver, client(receiver) as peer:
        reply = await peer.ask(batch(5))
        assert (code(reply), answered(reply)) == ("AR", "0")
        assert code(await peer.ask(b"BHS|^~\\&|HIS\rBTS|0\r")) == "AR"
        assert len(acknowledgements(await peer.ask(batch(4)))) == 4
    assert [error.code for _, error in intake.refused] == ["mllp.batch_too_large", "hl7.empty"]


async def test_batch_whose_sender_leaves_is_not_taken_any_further(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake, max_in_flight=2) as receiver:
        async with client(receiver) as peer:
            peer.send(batch(6))
            await until(lambda: len(intake.waiting) == 2)
            reset(peer)
        await until(lambda: receiver.status()["connections"] == 0)
        intake.finish()
        intake.finish()
    assert len(intake.taken) == 2


# -- limits ----------------------------------------------------------------------------------------------------------


async def test_slow_frame_is_cut(intake: MemoryIntake) -> None:
    async with listening(intake, frame_timeout=0.2) as receiver, client(receiver) as peer:
        raw = frame(message("1", text="x" * 500))
        peer.write(raw[:100])
        reading = asyncio.create_task(peer.reply_or_end())
        for position in range(100, len(raw) - 2):
            if reading.done():
                break
            peer.write(raw[position : position + 1])
            await asyncio.sleep(0.02)
        reply = await reading
        assert reply is not None
        assert (code(reply), answered(reply)) == ("AR", "1")
        assert receiver.status()["too_slow"] == 1
        assert await peer.reply_or_end() is None
    assert intake.taken == []
    assert intake.refused[0][1].code == "mllp.too_slow"


async def test_frame_timeout_does_not_run_while_the_hub_does_not_read(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake, frame_timeout=0.1, max_in_flight=1) as receiver, client(receiver) as peer:
        peer.send(message("1"), message("2"))
        peer.write(frame(message("3"))[:50])
        await until(lambda: intake.waiting)
        await asyncio.sleep(0.3)
        peer.write(frame(message("3"))[50:])
        for n in "123":
            await until(lambda: intake.waiting)
            intake.finish()
            assert answered(await peer.reply()) == n


async def test_idle_connection_is_closed_and_a_busy_one_is_not(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake, idle_timeout=0.2) as receiver, client(receiver) as busy, client(receiver) as idle:
        busy.send(message("1"))
        await until(lambda: intake.waiting)
        assert await idle.reply_or_end() is None
        await asyncio.sleep(0.3)
        intake.finish()
        assert code(await busy.reply()) == "AA"
        assert receiver.status()["closed_idle"] >= 1


async def test_connections_beyond_the_limit_are_closed(intake: MemoryIntake) -> None:
    async with listening(intake, max_connections=2) as receiver:
        async with client(receiver) as one, client(receiver) as two:
            assert code(await one.ask(message("1"))) == "AA"
            assert code(await two.ask(message("2"))) == "AA"
            async with client(receiver) as three:
                assert await three.reply_or_end() is None
            assert receiver.status()["over_limit"] == 1
        await until(lambda: receiver.status()["connections"] == 0)
        async with client(receiver) as again:
            assert code(await again.ask(message("3"))) == "AA"


async def test_strangers_are_closed_and_told(intake: MemoryIntake) -> None:
    async with listening(intake, allow=["10.0.0.0/8"]) as receiver:
        for _ in range(3):
            async with client(receiver) as peer:
                peer.send(message("1"))
                assert await peer.reply_or_end() is None
        assert receiver.status()["not_allowed"] == 3
    assert intake.taken == []
    assert intake.refused[0][1].code == "mllp.not_allowed"


async def test_two_thousand_connections(intake: MemoryIntake) -> None:
    async with listening(intake, backlog=4096) as receiver:
        port = receiver.status()["port"]
        streams = await asyncio.gather(*[asyncio.open_connection("127.0.0.1", port) for _ in range(2000)])
        await until(lambda: receiver.status()["connections"] == 2000)
        for number, (_, writer) in enumerate(streams):
            writer.write(frame(message(str(number))))
        async with asyncio.timeout(60):
            for number, (reader, _) in enumerate(streams):
                reply = await reader.readuntil(b"\x1c\r")
                assert answered(reply[1:-2]) == str(number)
        for _, writer in streams:
            writer.close()
        await until(lambda: receiver.status()["connections"] == 0)
    assert len(intake.taken) == 2000


# -- start and stop --------------------------------------------------------------------------------------------------


async def test_stop_lets_replies_under_way_finish(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake) as receiver, client(receiver) as peer, client(receiver) as idle:
        peer.send(message("1"), message("2"))
        await until(lambda: len(intake.waiting) == 2)
        stopping = asyncio.create_task(receiver.stop(10))
        assert await idle.reply_or_end() is None
        peer.send(message("3"))
        intake.finish(1)
        intake.finish(0)
        assert [answered(await peer.reply()) for _ in range(2)] == ["1", "2"]
        await stopping
        assert await peer.reply_or_end() is None
    assert len(intake.taken) == 2


async def test_stop_gives_up_after_the_grace(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake) as receiver, client(receiver) as peer:
        port = receiver.status()["port"]
        peer.send(message("1"))
        await until(lambda: intake.waiting)
        await receiver.stop(0.1)
        assert await peer.reply_or_end() is None
        intake.finish()  # too late: nobody is there any more
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_start_again_after_stop(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        await receiver.stop(1)
        await receiver.start()
        async with client(receiver) as peer:
            assert code(await peer.ask(message("1"))) == "AA"


async def test_port_in_use_names_the_port(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        port = receiver.status()["port"]
        with pytest.raises(HubError) as caught:
            await MllpAdapter().receiver(bound_in(port=port), intake).start()
        assert str(port) in caught.value.text
        assert caught.value.remedy


async def test_foreign_address_names_the_host(intake: MemoryIntake) -> None:
    with pytest.raises(HubError) as caught:
        await MllpAdapter().receiver(bound_in(host="203.0.113.9", allow=["*"]), intake).start()
    assert "203.0.113.9" in caught.value.text
    assert caught.value.remedy


# -- options ---------------------------------------------------------------------------------------------------------


def test_open_listener_needs_an_allow_list() -> None:
    with pytest.raises(ValidationError, match="say who may connect"):
        MllpListen(host="0.0.0.0")
    with pytest.raises(ValidationError, match="allow"):
        MllpListen(host="0.0.0.0", allow=["10.0.0.1/8"])
    assert MllpListen(host="0.0.0.0", allow=["*"]).allow == ["*"]
    assert MllpListen().allow == []


def test_unknown_options_are_errors() -> None:
    with pytest.raises(ValidationError):
        MllpListen.model_validate({"prot": 1})


def test_every_option_is_documented() -> None:
    assert all(field.description for name, field in MllpListen.model_fields.items() if name != "tls")
