"""Over real sockets: an analyser written for the tests, and the hub in both roles."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.tcp import AstmAdapter
from adapters.tcp.astm_options import AstmConnect, AstmListen
from adapters.tcp.e1381_frames import frames_of
from hub.api import (
    CodecError,
    HubError,
    PermanentError,
    Receipt,
    SendError,
    StoreBusy,
    TransientError,
    UnreachableError,
)
from hub.message import Outcome
from tests.adapters.astm_support import (
    ACK,
    ENQ,
    EOT,
    NAK,
    Analyser,
    bound_in,
    bound_out,
    listening,
    order,
    query,
    result,
    started,
)
from tests.adapters.certificates import Authority
from tests.adapters.tcp_support import DEADLINE, MemoryIntake, outgoing, serving, until
from tests.ports import free_port

#: For both directions; the last one is of those who receive.
SHORT: dict[str, Any] = {"reply_timer": 0.2, "busy_timer": 0.05, "contention_timer": 0.3}
FAST = {**SHORT, "hold_timer": 0.05}


@pytest.fixture
def intake() -> MemoryIntake:
    return MemoryIntake()


@contextlib.asynccontextmanager
async def analyser(port: int, **more: Any) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **more)
    one = Analyser(reader, writer)
    try:
        yield one
    finally:
        await one.close()


def as_analyser(script: Any) -> Any:
    """A script for :func:`serving` whose peer is an analyser."""

    async def run(peer: Any) -> None:
        await script(Analyser(peer.reader, peer.writer))

    return run


# -- receiving -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 240])
async def test_a_transmission_is_one_message(intake: MemoryIntake, size: int) -> None:
    async with listening(intake) as receiver, analyser(receiver.status()["port"]) as one:
        assert await one.transmit(result("S1"), size) == ACK
        assert await one.transmit(result("S2"), size) == ACK
        assert receiver.status()["frames"] == 2
        assert "connected" in await receiver.probe()
    assert intake.taken == [result("S1"), result("S2")]
    assert intake.refused == []


async def test_the_last_ack_waits_for_the_commit(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake) as receiver, analyser(receiver.status()["port"]) as one:
        sending = asyncio.create_task(one.transmit(result()))
        await until(lambda: intake.waiting)
        await asyncio.sleep(0.05)
        assert not sending.done()
        intake.finish()
        assert await sending == ACK


async def test_a_repetition_is_recognised_by_its_bytes_and_a_query_is_not(intake: MemoryIntake) -> None:
    seen: list[str] = []
    plain = intake.submit

    def submit(bound: Any, raw: bytes, done: Any, **more: Any) -> None:
        seen.append(more["control_id"])
        plain(bound, raw, done, **more)

    intake.submit = submit  # type: ignore[method-assign]
    async with listening(intake) as receiver, analyser(receiver.status()["port"]) as one:
        for _ in range(2):
            await one.transmit(result())
    assert seen == [blake2b(result(), digest_size=16).hexdigest()] * 2
    async with listening(intake, {"style": "request"}) as receiver, analyser(receiver.status()["port"]) as one:
        await one.transmit(query())
    assert seen[2:] == [""]


async def test_refused_is_nak_and_the_line_goes_on(intake: MemoryIntake) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=CodecError("no"))
    async with listening(intake) as receiver, analyser(receiver.status()["port"]) as one:
        assert await one.transmit(result()) == NAK
        intake.verdict = lambda raw: Receipt(Outcome.OK, 1)
        assert await one.transmit(result()) == ACK
        assert receiver.status()["refused"] == 1


async def test_busy_is_nak_and_the_same_frame_again_is_taken(intake: MemoryIntake) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=StoreBusy("full"))
    async with listening(intake, **FAST) as receiver, analyser(receiver.status()["port"]) as one:
        one.write(ENQ)
        await one.expect(ACK)
        *first, last = frames_of(result(), 240, by_record=True)
        for frame in first:
            one.write(frame)
            await one.expect(ACK)
        for _ in range(3):
            one.write(last)
            await one.expect(NAK)
        intake.verdict = lambda raw: Receipt(Outcome.OK, 1)
        one.write(last)
        await one.expect(ACK)
        one.write(EOT)
        intake.is_ready = False
        one.write(ENQ)
        await one.expect(NAK)
        intake.is_ready = True
        assert await one.transmit(result()) == ACK


async def test_cut_in_the_middle_and_sent_again(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        port = receiver.status()["port"]
        async with analyser(port) as one:
            one.write(ENQ)
            await one.expect(ACK)
            frames = frames_of(result(), 240, by_record=True)
            one.write(frames[0])
            await one.expect(ACK)
            one.write(frames[1][:10])
        await until(lambda: receiver.status()["connections"] == 0)
        assert intake.taken == []
        assert [error.code for _, error in intake.refused] == ["astm.unfinished"]
        async with analyser(port) as one:
            assert await one.transmit(result()) == ACK
    assert intake.taken == [result()]


async def test_lost_before_the_ack_and_sent_again(intake: MemoryIntake) -> None:
    """The message was stored, the analyser does not know: it comes twice, with the number by which the hub knows it."""
    intake.at_once = False
    async with listening(intake) as receiver:
        async with analyser(receiver.status()["port"]) as one:
            task = asyncio.create_task(one.transmit(result()))
            await until(lambda: intake.waiting)
            task.cancel()
        await until(lambda: receiver.status()["connections"] == 0)
        intake.finish()
        intake.at_once = True
        async with analyser(receiver.status()["port"]) as one:
            assert await one.transmit(result()) == ACK
    assert intake.refused == []


async def test_several_analysers_at_once(intake: MemoryIntake) -> None:
    async with listening(intake, max_connections=3) as receiver:
        port = receiver.status()["port"]

        async def run(number: int) -> None:
            async with analyser(port) as one:
                for turn in range(5):
                    assert await one.transmit(result(f"S{number}{turn}"), 20) == ACK

        await asyncio.gather(*(run(number) for number in range(3)))
    assert len(set(intake.taken)) == 15


async def test_limits(intake: MemoryIntake) -> None:
    async with listening(intake, max_connections=1, idle_timeout=0.1) as receiver:
        port = receiver.status()["port"]
        async with analyser(port) as one:
            await until(lambda: receiver.status()["connections"] == 1)
            async with analyser(port) as other:
                assert await other.rest() == b""
            assert await one.rest() == b""
    async with listening(intake, max_size=100) as receiver, analyser(receiver.status()["port"]) as one:
        one.write(ENQ)
        await one.expect(ACK)
        one.write(frames_of(b"H|\\^&\r" + b"x" * 200, 240, by_record=False)[0])
        await one.expect(NAK)
    async with listening(intake, frame_timer=0.1) as receiver, analyser(receiver.status()["port"]) as one:
        one.write(ENQ + frames_of(result(), 240, by_record=True)[0])
        await one.expect(ACK + ACK)
        await until(lambda: receiver.status()["unfinished"] == 1)
        assert await one.transmit(result()) == ACK


async def test_stop_lets_a_transmission_finish(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake) as receiver, analyser(receiver.status()["port"]) as one:
        sending = asyncio.create_task(one.transmit(result()))
        await until(lambda: intake.waiting)
        stopping = asyncio.create_task(receiver.stop(DEADLINE))
        await asyncio.sleep(0)
        intake.finish()
        assert await sending == ACK
        await stopping
        assert await one.rest() == b""


async def test_tls(intake: MemoryIntake, tmp_path: Path) -> None:
    Authority(tmp_path, "ca").issue("server", "127.0.0.1")
    tls = {"certificate": str(tmp_path / "server.pem"), "key": str(tmp_path / "server.key")}
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    async with listening(intake, tls=tls) as receiver:
        async with analyser(receiver.status()["port"], ssl=context) as one:
            assert await one.transmit(result()) == ACK
        options = {"host": "127.0.0.1", "port": receiver.status()["port"], "role": "analyser"}
        async with started(AstmAdapter().sender(bound_out(**options, tls={"ca": str(tmp_path / "ca.pem")}))) as sender:
            assert (await sender.send(outgoing(result()))).ok
        async with started(AstmAdapter().sender(bound_out(**options, tls={}))) as sender:
            with pytest.raises(UnreachableError):
                await sender.send(outgoing(result()))
    assert intake.taken == [result()] * 2


# -- connecting to the analyser --------------------------------------------------------------------------------------


async def test_dialling_an_analyser_that_comes_later_and_goes_away(intake: MemoryIntake) -> None:
    port = free_port()

    async def script(one: Analyser) -> None:
        assert await one.transmit(result()) == ACK

    async with listening(intake, dial={"host": "127.0.0.1", "port": port, "retry": 0.02}) as receiver:
        await until(lambda: intake.refused)
        assert intake.refused[0][1].code == "astm.unreachable"
        with pytest.raises(UnreachableError):
            await receiver.probe()
        async with serving(as_analyser(script), port):
            await until(lambda: len(intake.taken) >= 2)  # it hangs up after each message
        assert receiver.status()["connects_to"] == f"127.0.0.1:{port}"
    assert len(intake.refused) <= 3  # told once for each time it was away, not for each try


# -- sending ---------------------------------------------------------------------------------------------------------


async def test_orders_over_a_connection_of_its_own() -> None:
    got: list[bytes] = []

    async def script(one: Analyser) -> None:
        while True:
            got.append(await one.take())

    async with (
        serving(as_analyser(script)) as port,
        started(AstmAdapter().sender(bound_out(host="127.0.0.1", port=port, frame_size=10))) as sender,
    ):
        for number in range(3):
            assert (await sender.send(outgoing(order(f"S{number}")))).ok
        assert (sender.status()["connects"], sender.capacity) == (1, 1)
        assert str(port) in await sender.probe()
        await until(lambda: got == [order(f"S{number}") for number in range(3)])


async def test_our_receiver_takes_what_our_sender_sends(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        options = {"host": "127.0.0.1", "port": receiver.status()["port"], "role": "analyser", "frames": "full"}
        async with started(AstmAdapter().sender(bound_out(**options))) as sender:
            await asyncio.gather(*(sender.send(outgoing(result(f"S{number}"))) for number in range(5)))
    assert sorted(intake.taken) == [result(f"S{number}") for number in range(5)]


async def _deaf(one: Analyser) -> None:
    await one.rest()


async def _hears_only_enq(one: Analyser) -> None:
    await one.expect(ENQ)
    one.write(ACK)
    await one.rest()


async def _refuses(one: Analyser) -> None:
    await one.expect(ENQ)
    one.write(ACK)
    for _ in range(6):
        await one.reader.readuntil(b"\r\n")
        one.write(NAK)
    await one.expect(EOT)


async def _hangs_up_in_the_middle(one: Analyser) -> None:
    await one.expect(ENQ)
    one.write(ACK)
    await one.reader.readuntil(b"\r\n")
    one.write(ACK)
    await one.reader.readuntil(b"\r\n")


async def _hangs_up_at_once(one: Analyser) -> None:
    await one.expect(ENQ)


@pytest.mark.parametrize(
    ("script", "kind", "code"),
    [
        (_deaf, UnreachableError, "astm.unheard"),
        (_hears_only_enq, TransientError, "astm.no_reply"),
        (_refuses, TransientError, "astm.refused"),
        (_hangs_up_in_the_middle, TransientError, "astm.no_reply"),
        (_hangs_up_at_once, UnreachableError, "astm.unreachable"),
    ],
)
async def test_a_peer_that_does_not_do_its_part(script: Any, kind: type[SendError], code: str) -> None:
    async with (
        serving(as_analyser(script)) as port,
        started(AstmAdapter().sender(bound_out(host="127.0.0.1", port=port, **SHORT))) as sender,
    ):
        with pytest.raises(kind) as caught:
            await sender.send(outgoing(order()))
    assert caught.value.code == code


async def test_busy_until_time_is_up_and_then_free() -> None:
    got: list[bytes] = []

    async def script(one: Analyser) -> None:
        while await one.reader.read(1) == ENQ:
            if not got:
                one.write(NAK)
                got.append(b"")
            else:
                one.write(ACK)
                got.append(await one.take_frames())

    async with serving(as_analyser(script)) as port:
        options = {"host": "127.0.0.1", "port": port, **SHORT}
        async with started(AstmAdapter().sender(bound_out(**{**options, "busy_timer": 60}))) as sender:
            with pytest.raises(UnreachableError) as caught:
                await sender.send(outgoing(order(), 0.1))
            assert caught.value.code == "astm.busy"
        got.clear()
        async with started(AstmAdapter().sender(bound_out(**options))) as sender:
            assert (await sender.send(outgoing(order()))).ok
            await until(lambda: got == [b"", order()])


async def test_nobody_there_and_nothing_that_could_be_framed() -> None:
    port = free_port()
    async with started(AstmAdapter().sender(bound_out(host="127.0.0.1", port=port))) as sender:
        with pytest.raises(UnreachableError):
            await sender.send(outgoing(order()))

    async def silent(one: Analyser) -> None:
        await one.rest()

    async with (
        serving(as_analyser(silent)) as port,
        started(AstmAdapter().sender(bound_out(host="127.0.0.1", port=port))) as sender,
    ):
        with pytest.raises(PermanentError):
            await sender.send(outgoing(b"H|\\^&\n"))


async def test_what_comes_on_a_connection_for_orders_is_refused() -> None:
    async def script(one: Analyser) -> None:
        assert await one.take() == order()
        one.write(ENQ)
        await one.expect(NAK)
        refused.set()
        assert await one.take() == order()

    refused = asyncio.Event()
    async with (
        serving(as_analyser(script)) as port,
        started(AstmAdapter().sender(bound_out(host="127.0.0.1", port=port))) as sender,
    ):
        assert (await sender.send(outgoing(order()))).ok
        await refused.wait()
        assert (await sender.send(outgoing(order()))).ok


# -- both ways on one line -------------------------------------------------------------------------------------------


async def test_orders_over_the_connection_of_the_analyser(intake: MemoryIntake) -> None:
    adapter = AstmAdapter()
    async with (
        started(adapter.receiver(bound_in(**FAST), intake)) as receiver,
        started(adapter.sender(bound_out(line="results"))) as sender,
    ):
        with pytest.raises(UnreachableError):
            await sender.send(outgoing(order()))
        async with analyser(receiver.status()["port"]) as one:
            await until(lambda: receiver.status()["connections"] == 1)
            assert await sender.probe()
            sending = asyncio.create_task(sender.send(outgoing(order())))
            assert await one.take() == order()
            assert (await sending).ok
            assert await one.transmit(result()) == ACK
    assert intake.taken == [result()]
    async with started(adapter.sender(bound_out(line="elsewhere"))) as sender:
        with pytest.raises(UnreachableError) as caught:
            await sender.send(outgoing(order()))
        assert caught.value.code == "astm.line"


async def test_contention_the_analyser_goes_first(intake: MemoryIntake) -> None:
    adapter = AstmAdapter()
    async with (
        started(adapter.receiver(bound_in(**FAST), intake)) as receiver,
        started(adapter.sender(bound_out(line="results"))) as sender,
        analyser(receiver.status()["port"]) as one,
    ):
        await until(lambda: receiver.status()["connections"] == 1)
        sending = asyncio.create_task(sender.send(outgoing(order())))
        await one.expect(ENQ)
        one.write(ENQ)  # at the same moment, as it were
        assert await one.silent(0.05)
        assert await one.transmit(result()) == ACK
        assert await one.take() == order()
        assert (await sending).ok
    assert intake.taken == [result()]


async def test_host_query(intake: MemoryIntake) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=order())
    async with listening(intake, {"style": "request"}) as receiver, analyser(receiver.status()["port"]) as one:
        for _ in range(2):
            assert await one.transmit(query()) == ACK
            assert await one.take() == order()
        await until(lambda: receiver.status()["queries_answered"] == 2)


async def test_host_query_that_nobody_can_answer(intake: MemoryIntake) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.FAILED, 1, error=HubError("the target is away"))
    async with listening(intake, {"style": "request"}) as receiver, analyser(receiver.status()["port"]) as one:
        assert await one.transmit(query()) == ACK
        assert await one.take() == b"H|\\^&\rL|1|Q\r"


async def test_queries_and_results_on_one_line_have_interfaces_of_their_own(intake: MemoryIntake) -> None:
    asked = MemoryIntake()
    asked.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=order())
    adapter = AstmAdapter()
    queries = adapter.receiver(bound_in("queries", {"style": "request"}, queries_of="results"), asked)
    async with started(adapter.receiver(bound_in(), intake)) as receiver, started(queries) as listener:
        async with analyser(receiver.status()["port"]) as one:
            assert await one.transmit(result()) == ACK
            assert await one.transmit(query()) == ACK
            assert await one.take() == order()
            assert "connected" in await listener.probe()
        await listener.stop(1.0)
        async with analyser(receiver.status()["port"]) as one:
            assert await one.transmit(query()) == ACK
    assert (intake.taken, asked.taken) == ([result(), query()], [query()])


async def test_an_answer_that_the_analyser_does_not_take(intake: MemoryIntake) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=order())
    async with listening(intake, {"style": "request"}, **FAST) as receiver:
        async with analyser(receiver.status()["port"]) as one:
            assert await one.transmit(query()) == ACK
            await one.expect(ENQ)
        await until(lambda: receiver.status()["queries_unanswered"] == 1)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (AstmListen, {"host": "0.0.0.0"}),
        (AstmListen, {"dial": {"host": "x", "port": 1}, "port": 5}),
        (AstmListen, {"frame_size": 0}),
        (AstmListen, {"queries_of": "results", "port": 5}),
        (AstmConnect, {"line": "results", "frames": "full"}),
        (AstmConnect, {}),
        (AstmConnect, {"host": "x"}),
        (AstmConnect, {"host": "x", "port": 1, "line": "results"}),
    ],
)
def test_options_that_can_not_work(model: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model(**options)
