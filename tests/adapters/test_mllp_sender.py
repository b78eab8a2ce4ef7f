"""The calling side against a server that behaves, and one that misbehaves in every way we know."""

from __future__ import annotations

import asyncio
import socket

import pytest
from pydantic import ValidationError

from adapters.mllp.framing import frame
from adapters.mllp.options import MllpConnect
from hub.api import PermanentError, TransientError, UnreachableError
from tests.adapters.mllp_support import (
    DEADLINE,
    Client,
    MemoryIntake,
    calling,
    listening,
    message,
    outgoing,
    serving,
    until,
)


def ack(control_id: str, verdict: str = "AA", text: str = "") -> bytes:
    return (
        f"MSH|^~\\&|LIS|L|HUB|H|20260115093016||ACK|9{control_id}|P|2.5.1\rMSA|{verdict}|{control_id}|{text}\r".encode()
    )


class Target:
    """A server that answers each message with what ``replies`` says, in turn; then with AA."""

    def __init__(self, *replies: bytes | None) -> None:
        self.replies = list(replies)
        self.received: list[bytes] = []
        self.connections = 0

    async def __call__(self, peer: Client) -> None:
        self.connections += 1
        while (raw := await peer.reply_or_end()) is not None:
            self.received.append(raw)
            control_id = raw.split(b"|")[9].decode()
            reply = self.replies.pop(0) if self.replies else frame(ack(control_id))
            if reply is None:
                return
            peer.write(reply)


async def test_body_goes_out_unchanged_and_the_connection_is_kept() -> None:
    target = Target()
    raw = message("1") + b"ZZZ|\xff\x0b odd\r\n"
    async with serving(target) as port, calling(port) as sender:
        for _ in range(3):
            reply = await sender.send(outgoing(raw))
            assert (reply.ok, reply.code, reply.body) == (True, "AA", ack("1"))
        assert sender.status()["connections"] == 1
    assert target.received == [raw] * 3
    assert target.connections == 1


async def test_our_receiver_and_our_sender_understand_each_other() -> None:
    intake = MemoryIntake()
    async with listening(intake) as receiver, calling(receiver.status()["port"]) as sender:
        assert (await sender.send(outgoing(message("1")))).code == "AA"
        assert (await sender.send(outgoing(message("2", accept="AL", application="NE")))).code == "CA"
        intake.is_ready = False
        busy = await sender.send(outgoing(message("3")))
        assert (busy.ok, busy.code, busy.transient) == (False, "AE", True)
        assert busy.error


@pytest.mark.parametrize(
    ("verdict", "ok", "transient"),
    [
        ("AA", True, False),
        ("CA", True, False),
        ("AE", False, True),
        ("CE", False, True),
        ("AR", False, False),
        ("CR", False, False),
    ],
)
async def test_verdicts(verdict: str, ok: bool, transient: bool) -> None:
    target = Target(frame(ack("1", verdict, "ID 110101199003078515 unknown")))
    async with serving(target) as port, calling(port) as sender:
        reply = await sender.send(outgoing(message("1")))
    assert (reply.ok, reply.code, reply.transient) == (ok, verdict, transient)
    if not ok:
        assert "unknown" in reply.error
        assert "199003078515" not in reply.error


@pytest.mark.parametrize(
    ("wait_for", "accept", "application", "verdict"),
    [
        ("auto", "", "", "CA"),
        ("auto", "AL", "AL", "CA"),
        ("auto", "NE", "AL", "AA"),
        ("auto", "", "AL", "AA"),
        ("accept", "", "AL", "CA"),
        ("application", "AL", "AL", "AA"),
    ],
)
async def test_which_acknowledgement_counts(wait_for: str, accept: str, application: str, verdict: str) -> None:
    both = frame(ack("1", "CA")) + frame(ack("1", "AA"))
    async with serving(Target(both)) as port, calling(port, wait_for=wait_for) as sender:
        assert (await sender.send(outgoing(message("1", accept, application)))).code == verdict
        # The acknowledgement that did not count must not be taken for the next message's.
        reply = await sender.send(outgoing(message("2", accept, "NE")))
        assert reply.body in (ack("2"), ack("2", "CA"))


async def test_accept_refusal_ends_the_wait_for_the_application() -> None:
    async with serving(Target(frame(ack("1", "CE")))) as port, calling(port, wait_for="application") as sender:
        assert (await sender.send(outgoing(message("1", "AL", "AL")))).code == "CE"


# -- correlation -----------------------------------------------------------------------------------------------------


async def test_reply_to_another_message_is_dropped() -> None:
    async with serving(Target(frame(ack("0")) + frame(ack("1")))) as port, calling(port) as sender:
        assert (await sender.send(outgoing(message("1")))).body == ack("1")
        assert sender.status()["mismatched_replies"] == 1


async def test_only_wrong_replies_time_out() -> None:
    target = Target(frame(ack("0")), frame(ack("0", "AR")))
    async with serving(target) as port, calling(port) as sender:
        for _ in range(2):
            with pytest.raises(TransientError):
                await sender.send(outgoing(message("1"), timeout=0.2))
        assert sender.status()["mismatched_replies"] == 2


async def test_refusal_without_a_number_is_ours() -> None:
    async with serving(Target(frame(ack("", "AR", "cannot read MSH")))) as port, calling(port) as sender:
        assert (await sender.send(outgoing(message("1")))).code == "AR"


async def test_acceptance_without_a_number_proves_nothing() -> None:
    async with serving(Target(frame(ack("", "AA")))) as port, calling(port) as sender:
        with pytest.raises(TransientError):
            await sender.send(outgoing(message("1"), timeout=0.2))


async def test_late_reply_never_meets_the_next_message() -> None:
    """The same control id again, as in a retry: only a reply on the new connection counts."""
    release = asyncio.Event()
    target = Target()

    async def script(peer: Client) -> None:
        if target.connections == 0:
            target.connections += 1
            await peer.reply()
            await release.wait()
            peer.send(ack("1", "AR"))
            await peer.reply_or_end()
        else:
            await target(peer)

    async with serving(script) as port, calling(port) as sender:
        with pytest.raises(TransientError, match=r"0\.1"):
            await sender.send(outgoing(message("1"), timeout=0.1))
        release.set()
        assert (await sender.send(outgoing(message("1")))).code == "AA"
        assert target.connections == 2


async def test_cancelled_call_closes_its_connection() -> None:
    target = Target(b"")
    async with serving(target) as port, calling(port) as sender:
        call = asyncio.create_task(sender.send(outgoing(message("1"))))
        await until(lambda: target.received)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert sender.status()["connections"] == 0
        assert (await sender.send(outgoing(message("2")))).code == "AA"
        assert target.connections == 2


# -- what goes wrong -------------------------------------------------------------------------------------------------


async def test_nobody_listens_then_somebody_does() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    target = Target()
    async with calling(port) as sender:
        with pytest.raises(UnreachableError, match=str(port)):
            await sender.send(outgoing(message("1")))
        with pytest.raises(UnreachableError, match="next try"):
            await sender.send(outgoing(message("1")))
        assert sender.status()["failed_connects"] == 1
        server = await asyncio.start_server(lambda r, w: target(Client(r, w)), "127.0.0.1", port)
        async with server:
            while True:
                try:
                    reply = await sender.send(outgoing(message("1")))
                    break
                except UnreachableError:
                    await asyncio.sleep(0.02)
            assert reply.ok
            await sender.stop()


async def test_unknown_host() -> None:
    async with calling(1, host="no-such-host.invalid") as sender:
        with pytest.raises(UnreachableError, match="no-such-host"):
            await sender.send(outgoing(message("1")))


async def test_connect_that_gets_no_answer() -> None:
    # A listener whose queue is full lets further connects wait for ever.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        async with calling(port, connect_timeout=0.2) as sender:
            with pytest.raises(UnreachableError, match=r"0\.2"):
                await sender.send(outgoing(message("1")))
        async with calling(port) as sender:
            with pytest.raises(UnreachableError, match=r"0\.1"):
                await sender.send(outgoing(message("1"), timeout=0.1))
        for filler in fillers:
            filler.close()


async def test_stalling_target() -> None:
    async with serving(Target(b"")) as port, calling(port) as sender:
        with pytest.raises(TransientError, match=r"0\.2 s"):
            await sender.send(outgoing(message("1"), timeout=0.2))
        assert sender.status()["timeouts"] == 1
        assert (await sender.send(outgoing(message("2")))).ok


async def test_connection_dropped_instead_of_a_reply() -> None:
    async with serving(Target(None)) as port, calling(port) as sender:
        with pytest.raises(TransientError, match="lost"):
            await sender.send(outgoing(message("1")))
        assert (await sender.send(outgoing(message("2")))).ok


async def test_connection_dropped_in_mid_reply() -> None:
    async def script(peer: Client) -> None:
        await peer.reply()
        peer.write(frame(ack("1"))[:30])

    async with serving(script) as port, calling(port) as sender:
        with pytest.raises(TransientError, match="lost"):
            await sender.send(outgoing(message("1")))


@pytest.mark.parametrize(
    "garbage",
    [frame(b"PID|1||no acknowledgement\r"), frame(b"\xff\xfe\x00"), b"HTTP/1.1 400 Bad Request\r\n\r\n" * 5000],
)
async def test_garbage_instead_of_a_reply(garbage: bytes) -> None:
    async with serving(Target(garbage)) as port, calling(port) as sender:
        with pytest.raises(TransientError):
            await sender.send(outgoing(message("1")))
        assert (await sender.send(outgoing(message("2")))).ok


async def test_a_little_garbage_is_named_at_the_timeout() -> None:
    async with serving(Target(b"Login: ")) as port, calling(port) as sender:
        with pytest.raises(TransientError, match="7 bytes"):
            await sender.send(outgoing(message("1"), timeout=0.2))


async def test_garbage_before_the_reply_is_skipped() -> None:
    async with serving(Target(b"\r\n" + frame(b"") + frame(ack("1")))) as port, calling(port) as sender:
        assert (await sender.send(outgoing(message("1")))).ok


async def test_reply_in_pieces_and_without_carriage_return() -> None:
    async def script(peer: Client) -> None:
        for control_id in "12":
            await peer.reply()
            for byte in b"\x0b" + ack(control_id) + b"\x1c":
                peer.write(bytes([byte]))
                await peer.writer.drain()
                await asyncio.sleep(0)
        await peer.reply_or_end()

    async with serving(script) as port, calling(port) as sender:
        assert (await sender.send(outgoing(message("1")))).ok
        assert (await sender.send(outgoing(message("2")))).ok


async def test_endless_reply_is_cut() -> None:
    async def script(peer: Client) -> None:
        await peer.reply()
        peer.write(b"\x0b")
        while True:
            peer.write(b"x" * 65536)
            await peer.writer.drain()

    async with serving(script) as port, calling(port) as sender:
        with pytest.raises(TransientError, match="1048576"):
            await sender.send(outgoing(message("1")))


async def test_idle_connection_closed_by_the_target_is_no_error() -> None:
    """One message per connection, as some engines do; the next send must notice before it writes."""

    async def script(peer: Client) -> None:
        raw = await peer.reply()
        peer.send(ack(raw.split(b"|")[9].decode()))
        await peer.writer.drain()

    async with serving(script) as port, calling(port) as sender:
        for number in range(20):
            assert (await sender.send(outgoing(message(str(number))))).ok
            await until(lambda: sender.status()["connections"] == 0)
        assert sender.status()["connects"] == 20


async def test_close_that_the_loop_has_not_seen_yet_is_noticed() -> None:
    closed = asyncio.Event()

    async def script(peer: Client) -> None:
        raw = await peer.reply()
        peer.send(ack(raw.split(b"|")[9].decode()))
        await peer.writer.drain()
        peer.writer.write_eof()
        closed.set()
        # Whatever comes now is never answered, so that the sender fails.
        await peer.reply_or_end()

    async with serving(script) as port, calling(port) as sender:
        for number in range(20):
            closed.clear()
            assert (await sender.send(outgoing(message(str(number))))).ok
            async with asyncio.timeout(DEADLINE):
                await closed.wait()


async def test_message_that_would_end_its_own_frame() -> None:
    target = Target()
    async with serving(target) as port, calling(port) as sender:
        with pytest.raises(PermanentError, match="0x1C"):
            await sender.send(outgoing(message("1", text="a\x1c\rb")))
    assert target.received == []


# -- pool ------------------------------------------------------------------------------------------------------------


async def test_one_connection_keeps_the_order() -> None:
    target = Target()
    async with serving(target) as port, calling(port) as sender:
        await asyncio.gather(*[sender.send(outgoing(message(str(n)))) for n in range(50)])
    assert target.received == [message(str(n)) for n in range(50)]
    assert target.connections == 1


async def test_pool_opens_as_many_as_it_needs_and_no_more() -> None:
    release = asyncio.Event()
    most = busy = 0

    async def script(peer: Client) -> None:
        nonlocal most, busy
        while (raw := await peer.reply_or_end()) is not None:
            busy += 1
            most = max(most, busy)
            await release.wait()
            busy -= 1
            peer.send(ack(raw.split(b"|")[9].decode()))

    async with serving(script) as port, calling(port, connections=3) as sender:
        calls = [asyncio.create_task(sender.send(outgoing(message(str(n))))) for n in range(10)]
        await until(lambda: busy == 3)
        assert sender.status()["busy"] == 3
        assert sender.status()["waiting"] == 7
        release.set()
        assert all(reply.ok for reply in await asyncio.gather(*calls))
        assert sender.status()["connects"] == 3
        assert (sender.status()["busy"], sender.status()["waiting"]) == (0, 0)
    assert most == 3


async def test_waiting_for_a_connection_times_out_too() -> None:
    target = Target(b"")
    async with serving(target) as port, calling(port) as sender:
        first = asyncio.create_task(sender.send(outgoing(message("1"), timeout=2.0)))
        await until(lambda: target.received)
        with pytest.raises(TransientError, match="free"):
            await sender.send(outgoing(message("2"), timeout=0.1))
        with pytest.raises(TransientError):
            await first
        assert (await sender.send(outgoing(message("3")))).ok
        assert sender.status()["busy"] == 0
    assert target.received == [message("1"), message("3")]


async def test_stop_ends_calls_under_way_and_waiting() -> None:
    target = Target(b"")
    async with serving(target) as port, calling(port) as sender:
        calls = [asyncio.create_task(sender.send(outgoing(message(str(n))))) for n in range(3)]
        await until(lambda: target.received)
        await sender.stop()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [TransientError] * 3
        with pytest.raises(TransientError):
            await sender.send(outgoing(message("9")))
        await sender.start()
        assert (await sender.send(outgoing(message("4")))).ok


async def test_cancelled_waiters_give_their_turn_away() -> None:
    target = Target(b"")
    async with serving(target) as port, calling(port) as sender:
        first = asyncio.create_task(sender.send(outgoing(message("1"), timeout=0.2)))
        await until(lambda: target.received)
        waiting = [asyncio.create_task(sender.send(outgoing(message(str(n))))) for n in range(2, 6)]
        await until(lambda: sender.status()["waiting"] == 4)
        waiting[0].cancel()
        waiting[2].cancel()
        results = await asyncio.gather(first, *waiting, return_exceptions=True)
        assert isinstance(results[0], TransientError)
        assert [isinstance(result, asyncio.CancelledError) for result in results[1:]] == [True, False, True, False]
        assert sender.status()["busy"] == 0


# -- probe and options -----------------------------------------------------------------------------------------------


async def test_probe_connects_and_sends_nothing() -> None:
    target = Target()
    async with serving(target) as port, calling(port) as sender:
        assert str(port) in await sender.probe()
        await until(lambda: target.connections == 1)
        assert sender.status()["connections"] == 0
    assert target.received == []
    async with calling(port) as sender:
        with pytest.raises(UnreachableError):
            await sender.probe()


def test_options_say_what_is_missing() -> None:
    with pytest.raises(ValidationError):
        MllpConnect.model_validate({"host": "a"})
    with pytest.raises(ValidationError, match="certificate"):
        MllpConnect.model_validate({"host": "a", "port": 1, "tls": {"key": "key.pem"}})
    assert all(field.description for name, field in MllpConnect.model_fields.items() if name not in ("tls", "port"))
