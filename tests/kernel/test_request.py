"""Request style: the caller waits for the target's reply, and gets the same one when it asks again."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from hub.api import Outgoing, PermanentError, Reply
from hub.message import DeliveryState, Outcome
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Site, until
from tests.kernel.wire import Peer, accept

ASK = {"id": "q1", "type": "query", "key": "a"}


def asked(site: Site, **contract: Any) -> Peer:
    """A target that only requests go to."""
    peer = site.target(**contract)
    site.system("his", "his", ask={}, **{"in": "off"})
    peer.react = lambda outgoing: Reply(True, b'{"code":0,"name":"' + outgoing.control_id.encode() + b'"}', code="200")
    return peer


async def test_the_caller_gets_the_reply_once_it_is_stored(site: Site, start: StartHub) -> None:
    asked(site)
    hub = await start(site)
    receipt = await hub.wire.submit("his/ask", ASK)
    assert (receipt.outcome, receipt.reply) == (Outcome.OK, b'{"code":0,"name":"q1"}')
    (delivery,) = await hub.deliveries()
    assert delivery.state is DeliveryState.DELIVERED
    (call,) = await hub.calls("sink/up")
    assert call.response == receipt.reply


async def test_the_reply_goes_through_its_mapping(site: Site, start: StartHub) -> None:
    asked(site)
    site.mapping("answer", "from: {codec: json}\nto: {codec: json}\nfields: {result: name | upper}\n")
    site.config["systems"]["his"]["interfaces"]["ask"] = {"reply_mapping": "answer"}
    hub = await start(site)
    receipt = await hub.wire.submit("his/ask", ASK)
    assert receipt.reply == b'{"result":"Q1"}'
    again = await hub.wire.submit("his/ask", ASK)
    assert (again.outcome, again.reply) == (Outcome.DUPLICATE, receipt.reply)


async def test_a_reply_that_can_not_be_mapped_is_an_error_though_it_was_delivered(site: Site, start: StartHub) -> None:
    peer = asked(site)
    peer.react = lambda outgoing: Reply(True, b"<html>", code="200")
    site.mapping("answer", "from: {codec: json}\nto: {codec: json}\nfields: {result: name}\n")
    site.config["systems"]["his"]["interfaces"]["ask"] = {"reply_mapping": "answer"}
    hub = await start(site)
    receipt = await hub.wire.submit("his/ask", ASK)
    assert (receipt.outcome, receipt.accepted) == (Outcome.FAILED, False)
    assert receipt.error is not None
    assert receipt.error.code == "reply.mapping"
    await hub.reached(DeliveryState.DELIVERED)


@pytest.mark.parametrize("keep_bodies", [True, False])
async def test_a_repeated_request_is_answered_from_the_stored_reply(
    site: Site, start: StartHub, keep_bodies: bool
) -> None:
    peer = asked(site)
    site.config["store"]["keep_bodies"] = keep_bodies
    hub = await start(site)
    first = await hub.wire.submit("his/ask", ASK)
    await hub.restart(5.0)
    again = await hub.wire.submit("his/ask", ASK)
    assert (again.outcome, again.accepted, again.message_id) == (Outcome.DUPLICATE, True, first.message_id)
    assert again.reply == first.reply
    assert len(peer.calls) == 1


async def test_a_request_repeated_while_the_first_is_under_way(site: Site, start: StartHub) -> None:
    peer = asked(site)
    gate = asyncio.Event()

    async def wait_for_gate(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return Reply(True, b'{"code":0}')

    peer.react = wait_for_gate
    hub = await start(site)
    first = hub.wire.offer("his/ask", ASK)
    await until(lambda: peer.under_way == 1)
    again = await hub.wire.submit("his/ask", ASK)
    assert (again.outcome, again.accepted) == (Outcome.FAILED, False)
    assert again.error is not None
    assert again.error.code == "request.pending"
    gate.set()
    assert (await asyncio.wait_for(first, 20)).reply == b'{"code":0}'
    assert (await hub.wire.submit("his/ask", ASK)).reply == b'{"code":0}'
    assert len(peer.calls) == 1


async def test_the_same_number_with_another_question_is_asked(site: Site, start: StartHub) -> None:
    peer = asked(site)
    hub = await start(site)
    await hub.wire.submit("his/ask", ASK)
    other = await hub.wire.submit("his/ask", {**ASK, "key": "b"})
    assert other.accepted
    assert other.reply is not None
    assert len(peer.calls) == 2


async def test_a_caller_is_told_when_its_request_takes_too_long(site: Site, start: StartHub) -> None:
    peer = asked(site)
    site.config["intake"] = {"request_timeout": "50ms"}
    gate = asyncio.Event()

    async def wait_for_gate(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return Reply(True, b'{"code":0}')

    peer.react = wait_for_gate
    hub = await start(site)
    receipt = await hub.wire.submit("his/ask", ASK)
    assert (receipt.outcome, receipt.accepted, receipt.reply) == (Outcome.FAILED, False, None)
    assert receipt.error is not None
    assert receipt.error.code == "request.timeout"
    gate.set()  # the answer comes late: the delivery ends as it should, and the caller may ask again
    await hub.reached(DeliveryState.DELIVERED)
    again = await hub.wire.submit("his/ask", ASK)
    assert (again.outcome, again.reply) == (Outcome.DUPLICATE, b'{"code":0}')
    assert len(peer.calls) == 1


async def test_a_refusal_of_the_target_reaches_the_caller(site: Site, start: StartHub) -> None:
    peer = asked(site)

    def no(outgoing: Outgoing) -> Reply:
        raise PermanentError("unknown patient", code="x.unknown")

    peer.react = no
    hub = await start(site)
    receipt = await hub.wire.submit("his/ask", ASK)
    assert (receipt.outcome, receipt.accepted) == (Outcome.FAILED, False)
    assert receipt.error is not None
    assert (receipt.error.code, "unknown patient" in receipt.error.text) == ("request.failed", True)
    assert receipt.message_id
    await hub.reached(DeliveryState.DEAD)


async def test_a_passing_failure_is_retried_while_the_caller_waits(site: Site, start: StartHub) -> None:
    peer = asked(site)
    answers = [Reply(False, transient=True, code="500"), Reply(True, b'{"code":0}')]
    peer.react = lambda outgoing: answers.pop(0)
    hub = await start(site)
    assert (await hub.wire.submit("his/ask", ASK)).reply == b'{"code":0}'
    assert len(peer.calls) == 2


async def test_a_mapping_that_makes_no_single_target_fails_the_request(site: Site, start: StartHub) -> None:
    asked(site, mapping="m")
    site.mapping("m", "from: {codec: json}\nto: {codec: json}\nsplit: items\nfields: {id: .}\n")
    hub = await start(site)
    receipt = await hub.wire.submit("his/ask", {**ASK, "items": [1, 2]})
    assert (receipt.outcome, receipt.accepted) == (Outcome.FAILED, False)
    await hub.reached(DeliveryState.DELIVERED, 2)


@pytest.mark.parametrize("targets", [0, 2])
async def test_a_request_without_exactly_one_target_is_refused(site: Site, start: StartHub, targets: int) -> None:
    asked(site)
    if targets:
        site.target("other")
        site.config["routes"]["to_other"]["from"] = "his/ask"
    else:
        site.config["routes"]["to_sink"]["types"] = ["nothing"]
    hub = await start(site)
    receipt = await hub.wire.submit("his/ask", ASK)
    assert receipt.error is not None
    assert (receipt.outcome, receipt.error.code) == (Outcome.REFUSED, "route.request")
    assert await hub.deliveries() == []


async def test_a_stop_answers_whoever_waits(site: Site, start: StartHub) -> None:
    peer = asked(site)
    site.config["intake"] = {"request_timeout": "200ms"}

    async def never(outgoing: Outgoing) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    peer.react = never
    hub = await start(site)
    waiting = hub.wire.offer("his/ask", ASK)
    await until(lambda: peer.under_way == 1)
    await hub.stop(1.0)
    receipt = await asyncio.wait_for(waiting, 20)
    assert not receipt.accepted
    # The request was stored, so it is delivered when the hub is back.
    peer.react = accept
    await hub.restart()
    await hub.reached(DeliveryState.DELIVERED)
    answer = await hub.wire.submit("his/ask", ASK)
    assert orjson.loads(answer.reply or b"{}") == {"code": 0}
