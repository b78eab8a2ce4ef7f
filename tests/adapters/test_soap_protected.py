"""``security`` of a SOAP interface: the envelope is signed and encrypted as the body of any call over HTTP is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from adapters.soap import SoapAdapter
from adapters.soap.receiver import SoapReceiver
from hub.api import OpenedParams, Receipt, StoreBusy, TransientError, Wire
from hub.message import Outcome
from tests.adapters.http_support import MemoryIntake, outgoing, protection_of
from tests.adapters.soap_support import bound_in, bound_out, fault_of, hip_call, post, result_of

SECURITY: list[Any] = [
    {"encryption": {"key": "0123456789abcdeffedcba9876543210", "reply": {}}},
    {
        "signature": {
            "secret": "shared-between-both",
            "text": "{method}\n{target}\n{time}\n{body}",
            "values": {"time": {"now": "ms", "at": {"header": "X-Time"}}},
            "at": {"header": "X-Sign"},
        }
    },
]


@asynccontextmanager
async def listening(intake: MemoryIntake, **options: Any) -> AsyncIterator[SoapReceiver]:
    bound = bound_in(payload="parameter message", **options)
    bound.protection = protection_of(SECURITY)
    receiver = SoapAdapter().receiver(bound, intake)
    assert isinstance(receiver, SoapReceiver)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(5)


async def sealed(body: bytes) -> Wire:
    wire = Wire(body, {}, "POST", "/hip", "hub")
    await protection_of(SECURITY).seal_request(wire)
    return wire


def signed(wire: Wire) -> dict[str, str]:
    return {"X_Sign": wire.headers["x-sign"], "X_Time": wire.headers["x-time"]}


async def test_a_sealed_call_is_taken_once_and_answered_sealed() -> None:
    intake = MemoryIntake()
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=b"answered")
    call = await sealed(hip_call("&lt;a/&gt;"))
    async with listening(intake) as receiver:
        answer = await post(receiver, call.body, **signed(call))
        reply = Wire(answer.body, dict(answer.headers), "POST", "/hip", "hub", answer.status)
        assert b"answered" not in answer.body
        await protection_of(SECURITY).open_reply(reply)
        answer.body = reply.body
        assert (answer.status, result_of(answer)) == (200, "answered")
        again = await post(receiver, call.body, **signed(call))
        assert (again.status, fault_of(again)[2]) == (401, "security.replayed")
    (taken,) = intake.taken
    assert taken.raw == b"<a/>"
    assert isinstance(taken.params, OpenedParams)
    assert taken.params.received == call.body


async def test_what_was_changed_or_came_in_plain_is_a_fault_and_what_was_not_stored_may_come_again() -> None:
    intake = MemoryIntake()
    call = await sealed(hip_call("&lt;a/&gt;"))
    async with listening(intake) as receiver:
        for body, headers in (
            (call.body[:-4], signed(call)),
            (hip_call("&lt;a/&gt;"), {}),
            (call.body, {**signed(call), "X_Time": "1"}),
        ):
            refused = await post(receiver, body, **headers)
            assert refused.status == 401
            assert fault_of(refused)[2].startswith("security.signature")
        assert intake.taken == []
        intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=StoreBusy("full"))
        assert (await post(receiver, call.body, **signed(call))).status == 503
        intake.verdict = lambda raw: Receipt(Outcome.OK, 1)
        assert (await post(receiver, call.body, **signed(call))).status == 200
    assert {error.code for _, _, error in intake.refused} == {"security.signature_missing", "security.signature_wrong"}


async def test_what_our_sender_seals_our_receiver_opens() -> None:
    intake = MemoryIntake()
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=b"<b/>")
    async with listening(intake) as receiver:
        options = {
            "url": f"http://127.0.0.1:{receiver.status()['port']}/hip",
            "operation": "HIPMessageServer", "namespace": "urn:hl7-org:v3",
            "parameters": {"action": "A", "message": "{body}"},
        }  # fmt: skip
        bound = bound_out(**options)
        bound.protection = protection_of(SECURITY)
        sender = SoapAdapter().sender(bound)
        await sender.start()
        try:
            reply = await sender.send(outgoing(b"<a/>"))
        finally:
            await sender.stop()
        assert reply.ok
        plain = SoapAdapter().sender(bound_out(**options))
        await plain.start()
        try:
            refused = await plain.send(outgoing(b"<a/>"))
            assert not refused.ok
        except TransientError:
            pass
        finally:
            await plain.stop()
    assert [taken.raw for taken in intake.taken] == [b"<a/>"]
