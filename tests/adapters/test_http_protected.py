"""``security`` of an interface over real connections: what our sender seals our receiver opens, and nobody in between can change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from adapters.http import HttpAdapter
from adapters.http.receiver import HttpReceiver
from adapters.http.sender import HttpSender
from hub.api import Protection, Receipt, TransientError
from hub.crypto import provider
from hub.message import Outcome
from hub.security.schemes.encryption import Encryption, EncryptionOptions
from hub.security.schemes.signature import Signature, SignatureOptions
from tests.adapters.http_support import MemoryIntake, bound_in, bound_out, call, on_both_loops, outgoing

OURS, THEIRS = provider().sm2_generate(), provider().sm2_generate()
KEY = "0123456789abcdeffedcba9876543210"


def protection(private: Any, public: Any) -> Protection:
    encryption = EncryptionOptions.model_validate({"key": KEY, "reply": {}})
    signature = SignatureOptions.model_validate(
        {
            "algorithm": "sm2",
            "private": private.secret().hex(),
            "public": public.point.hex(),
            "text": "{method}\n{target}\n{timestamp}\n{nonce}\n{body|sm3|hex}",
            "values": {
                "timestamp": {"now": "ms", "at": {"header": "X-Time"}},
                "nonce": {"random": 32, "at": {"header": "X-Nonce"}},
            },
            "at": {"header": "X-Sign"},
            "reply": {"text": "{status}\n{body}", "at": {"header": "X-Reply-Sign"}},
        }
    )
    return Protection([Encryption(encryption), Signature(signature)])


@asynccontextmanager
async def receiving(intake: MemoryIntake, **contract: Any) -> AsyncIterator[HttpReceiver]:
    bound = bound_in(contract)
    bound.protection = protection(THEIRS, OURS.public)
    receiver = HttpAdapter().receiver(bound, intake)
    assert isinstance(receiver, HttpReceiver)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(5)


@asynccontextmanager
async def sending(port: int, private: Any = OURS, **options: Any) -> AsyncIterator[HttpSender]:
    bound = bound_out(url=f"http://127.0.0.1:{port}/in?who=us", **options)
    bound.protection = protection(private, THEIRS.public)
    sender = HttpAdapter().sender(bound)
    assert isinstance(sender, HttpSender)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


@asynccontextmanager
async def between(port: int, change: Callable[[bytes], bytes], back: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """Somebody on the wire who changes what goes by."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, alter: Callable[[bytes], bytes]) -> None:
        try:
            while data := await reader.read(1 << 20):
                writer.write(alter(data))
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, on = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, on, change), pump(there, writer, back))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def as_it_is(data: bytes) -> bytes:
    return data


@on_both_loops
async def test_what_one_side_seals_the_other_opens_both_ways() -> None:
    intake = MemoryIntake()
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=b'{"answer":"\xe5\xa5\xbd"}')
    seen: list[bytes] = []

    def note(data: bytes) -> bytes:
        seen.append(data)
        return data

    async with (
        receiving(intake, style="request") as receiver,
        between(receiver.status()["port"], note, note) as port,
        sending(port) as sender,
    ):
        for number in range(3):
            reply = await sender.send(outgoing(orjson.dumps({"secret": "plain text", "n": number})))
            assert (reply.ok, reply.body) == (True, b'{"answer":"\xe5\xa5\xbd"}')
    assert [orjson.loads(taken.raw)["n"] for taken in intake.taken] == [0, 1, 2]
    wire = b"".join(seen)
    assert b"plain text" not in wire
    assert b"answer" not in wire


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: data.replace(b"who=us", b"who=me"), "security.signature_wrong"),
        (lambda data: data.replace(b"POST /in", b"PUT /in"), "security.signature_wrong"),
        (lambda data: data[:-1] + (b"A" if data[-1:] != b"A" else b"B"), "security.signature_wrong"),
        (lambda data: data.replace(b"x-sign", b"x-none"), "security.signature_missing"),
    ],
)
@on_both_loops
async def test_a_call_changed_on_the_way_is_refused_and_nothing_is_taken_in(
    change: Callable[[bytes], bytes], code: str
) -> None:
    intake = MemoryIntake()
    async with receiving(intake) as receiver:
        receiver.status()
        async with between(receiver.status()["port"], change, as_it_is) as port, sending(port) as sender:
            # The answer to it is signed by nobody, so the sender can't trust it either.
            with pytest.raises(TransientError):
                await sender.send(outgoing())
    assert intake.taken == []
    if b"PUT" not in change(b"POST /in"):
        assert [error.code for _, _, error in intake.refused] == [code]


@on_both_loops
async def test_a_call_repeated_by_somebody_in_between_is_taken_in_once() -> None:
    intake = MemoryIntake()
    kept: list[bytes] = []

    def keep(data: bytes) -> bytes:
        kept.append(data)
        return data

    async with receiving(intake) as receiver:
        target = receiver.status()["port"]
        async with between(target, keep, as_it_is) as port, sending(port) as sender:
            assert (await sender.send(outgoing())).ok
        reader, writer = await asyncio.open_connection("127.0.0.1", target)
        writer.write(b"".join(kept))
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
        writer.close()
    assert b" 401 " in answer
    assert len(intake.taken) == 1
    assert [error.code for _, _, error in intake.refused] == ["security.replayed"]


@on_both_loops
async def test_a_reply_changed_on_the_way_is_not_believed() -> None:
    intake = MemoryIntake()

    def alter(data: bytes) -> bytes:
        return data.replace(b" 202 ", b" 200 ")

    async with (
        receiving(intake) as receiver,
        between(receiver.status()["port"], as_it_is, alter) as port,
        sending(port) as sender,
    ):
        with pytest.raises(TransientError) as caught:
            await sender.send(outgoing())
    assert caught.value.code == "security.signature_wrong"
    assert len(intake.taken) == 1


@on_both_loops
async def test_calls_of_a_stranger_and_calls_in_plain_are_refused() -> None:
    intake = MemoryIntake()
    async with receiving(intake) as receiver:
        port = receiver.status()["port"]
        async with sending(port, private=provider().sm2_generate()) as stranger:
            with pytest.raises(TransientError):
                await stranger.send(outgoing())
        assert (await call(receiver, b'{"a":1}')).status == 401
    assert intake.taken == []
    assert {error.code for _, _, error in intake.refused} == {"security.signature_wrong", "security.signature_missing"}


@on_both_loops
async def test_a_call_repeated_on_a_fresh_connection_is_signed_anew() -> None:
    intake = MemoryIntake()
    calls = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes calls on; the second reaches the other side, but its answer does not come back."""
        nonlocal calls
        there, on = await asyncio.open_connection("127.0.0.1", place)
        try:
            while data := await reader.read(1 << 20):
                calls += 1
                on.write(data)
                answer = await there.read(1 << 20)
                if calls == 2:
                    return
                writer.write(answer)
        finally:
            writer.close()
            on.close()

    async with receiving(intake) as receiver:
        place = receiver.status()["port"]
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, sending(server.sockets[0].getsockname()[1]) as sender:
            assert (await sender.send(outgoing(b'{"n": 1}'))).ok
            assert (await sender.send(outgoing(b'{"n": 2}'))).ok
            assert sender.status()["repeated"] == 1
    assert calls == 3
    assert [orjson.loads(taken.raw)["n"] for taken in intake.taken] == [1, 2, 2]


@on_both_loops
async def test_what_was_not_taken_in_may_come_again_with_the_same_signature() -> None:
    intake = MemoryIntake()
    intake.verdict = lambda raw: Receipt(Outcome.REFUSED)
    kept: list[bytes] = []

    def keep(data: bytes) -> bytes:
        kept.append(data)
        return data

    async with receiving(intake) as receiver:
        target = receiver.status()["port"]
        async with between(target, keep, as_it_is) as port, sending(port) as sender:
            await sender.send(outgoing())
        intake.verdict = lambda raw: Receipt(Outcome.OK, 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", target)
        writer.write(b"".join(kept))
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
        writer.close()
    assert b" 202 " in answer
