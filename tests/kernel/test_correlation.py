"""Answers that come later as messages of their own are matched with what they answer, whichever is committed first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from hub.api import ExchangeError, Item, Outgoing, Receipt, Reply, StoreBusy, TransientError
from hub.ids import id_text
from hub.message import Awaited, DeliveryState, Message, Outcome
from hub.store.base import AwaitedQuery, Chain
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site, until

LAB = """
id: lab
name: answers later
settings: {channel: {type: string, required: true}}
interfaces:
  submit:
    direction: out
    adapter: wire
    connect: {channel: "${channel}"}
    codec: json
    order_by: ""
    breaker: {failures: 1000, open_for: 10ms, max_open_for: 10ms}
    callback: {key: data.task}
  result:
    direction: in
    adapter: wire
    listen: {channel: "${channel}"}
    codec: json
    type: type
    control_id: id
    answers: {key: task}
"""
RESULT = """
from: {codec: json}
to: {codec: json}
fields:
  id: $request.control_id
  asked_by: $request.source
  patient: $request.keys.patient_id
  value: value
"""


def reply(task: Any) -> Any:
    return lambda outgoing: Reply(True, orjson.dumps({"code": 0, "data": {"task": task}}), code="200", status=200)


def numbered(outgoing: Outgoing) -> Reply:
    """The task is called after the order."""
    return Reply(True, orjson.dumps({"data": {"task": f"T-{outgoing.control_id}"}}), code="200", status=200)


def lab(
    site: Site, *, back: bool = True, submit: dict[str, Any] | None = None, result: dict[str, Any] | None = None
) -> Any:
    """Orders of ``his`` go to the laboratory; ``back``: its results go to the sink, with the number of the order."""
    site.plugin("lab", LAB)
    site.system("lab", "lab", submit=submit or {}, result=result or {})
    site.config["routes"]["orders"] = {"from": "his", "to": "lab/submit"}
    if back:
        site.target(mapping="result")
        site.config["routes"]["to_sink"] = {"from": "lab/result", "to": "sink/up"}
        site.mapping("result", RESULT)
    peer = site.peer("lab/submit")
    peer.react = numbered
    return peer


def order(number: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "type": "order", "pid": f"P-{number}", **more}


def answer(task: Any, number: str = "", **more: Any) -> dict[str, Any]:
    return {"id": number or f"r-{task}", "type": "result", "task": task, "value": 7, **more}


async def chain(hub: Hub, message_id: int) -> Chain:
    return await hub.node.store.reader.chain(message_id)


async def bound(hub: Hub, message_id: int) -> Message:
    """The message of an answer, once it is known what it answers."""
    for _ in range(2000):
        message = await hub.node.store.reader.message(message_id)
        assert message is not None
        if message.causation:
            return message
        await asyncio.sleep(0.01)
    raise AssertionError("it was never matched")


async def test_an_answer_finds_its_request_and_goes_back_with_its_number(site: Site, start: StartHub) -> None:
    lab(site)
    hub = await start(site)
    asked = await hub.wire.submit("his/in", order("o1"))
    await hub.reached(DeliveryState.DELIVERED, target="lab/submit")
    told = await hub.wire.submit("lab/result", answer("T-o1"))
    assert told.accepted
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    assert site.peer().bodies == [{"id": "o1", "asked_by": "his/in", "patient": "P-o1", "value": 7}]
    message = await bound(hub, told.message_id)
    assert (message.correlation, message.causation) == ("T-o1", asked.message_id)
    found = await chain(hub, told.message_id)
    (delivery,) = await hub.deliveries(target="lab/submit")
    assert found.answer is not None
    assert (found.answer.request, found.answer.delivery, found.answer.waiting) == (asked.message_id, delivery.id, False)
    back = await chain(hub, asked.message_id)
    assert [row.message_id for row in back.answered_by] == [told.message_id]
    assert [(row.key, row.answered) for row in back.awaited] == [("T-o1", told.message_id)]


async def test_an_answer_before_the_reply_waits_for_it(site: Site, start: StartHub) -> None:
    peer = lab(site)
    gate = asyncio.Event()

    async def after_gate(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return numbered(outgoing)

    peer.react = after_gate
    hub = await start(site)
    asked = await hub.wire.submit("his/in", order("o1"))
    await until(lambda: peer.under_way == 1)
    early = await hub.wire.submit("lab/result", answer("T-o1"))
    assert early.accepted
    found = await chain(hub, early.message_id)
    assert found.answer is not None
    assert (found.answer.request, found.answer.waiting) == (0, True)
    assert await hub.deliveries(target="sink/up") == []
    report = await hub.node.store.reader.verify_ledger()
    assert (report.filtered, report.waiting) == (0, 1)
    gate.set()
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    assert site.peer().bodies[0]["id"] == "o1"
    assert (await bound(hub, early.message_id)).causation == asked.message_id


@pytest.mark.parametrize("reply_first", [True, False])
async def test_a_restart_between_reply_and_answer_loses_nothing(site: Site, start: StartHub, reply_first: bool) -> None:
    peer = lab(site)
    peer.react = numbered if reply_first else reply("elsewhere")
    hub = await start(site)
    if reply_first:
        await hub.wire.submit("his/in", order("o1"))
        await hub.reached(DeliveryState.DELIVERED, target="lab/submit")
    told = await hub.wire.submit("lab/result", answer("T-o1"))
    if reply_first:
        await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    await hub.restart()
    peer.react = numbered
    if not reply_first:
        await hub.wire.submit("his/in", order("o1"))
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    assert [body["id"] for body in site.peer().bodies] == ["o1"]
    assert (await bound(hub, told.message_id)).causation


async def test_many_answers_of_one_request_are_all_matched(site: Site, start: StartHub) -> None:
    lab(site)
    hub = await start(site)
    asked = await hub.wire.submit("his/in", order("o1"))
    await hub.reached(DeliveryState.DELIVERED, target="lab/submit")
    for number in range(3):
        await hub.wire.submit("lab/result", answer("T-o1", f"r{number}", value=number))
    repeated = await hub.wire.submit("lab/result", answer("T-o1", "r1", value=1))
    assert repeated.outcome is Outcome.DUPLICATE
    await hub.reached(DeliveryState.DELIVERED, 3, target="sink/up")
    assert [body["value"] for body in site.peer().bodies] == [0, 1, 2]
    assert len((await chain(hub, asked.message_id)).answered_by) == 3


async def test_an_unknown_answer_goes_on_without_a_request(site: Site, start: StartHub) -> None:
    lab(site, result={"answers": {"wait": "50ms"}})
    hub = await start(site)
    told = await hub.wire.submit("lab/result", answer("never"))
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    assert site.peer().bodies == [{"value": 7}]
    found = await chain(hub, told.message_id)
    assert found.answer is not None
    assert (found.answer.request, found.answer.waiting) == (0, False)
    # It turns out later what it answered: noted, and not routed again.
    site.peer("lab/submit").react = reply("never")
    asked = await hub.wire.submit("his/in", order("o1"))
    assert (await bound(hub, told.message_id)).causation == asked.message_id
    assert len(await hub.deliveries(target="sink/up")) == 1


async def test_an_unknown_answer_is_refused_where_the_contract_says_so(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.intake.correlation._REFUSE_AFTER_S", 0.05)
    lab(site, result={"answers": {"unknown": "refuse"}})
    hub = await start(site)
    no = await hub.wire.submit("lab/result", answer("never"))
    assert (no.outcome, no.error.code if no.error else "") == (Outcome.REFUSED, "answer.unknown")
    none = await hub.wire.submit("lab/result", {"id": "x", "type": "result"})
    assert (none.outcome, none.error.code if none.error else "") == (Outcome.REFUSED, "answer.key")
    await hub.wire.submit("his/in", order("o1"))
    await hub.reached(DeliveryState.DELIVERED, target="lab/submit")
    assert (await hub.wire.submit("lab/result", answer("T-o1"))).accepted
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")


async def test_a_message_without_a_key_is_one_like_any_other(site: Site, start: StartHub) -> None:
    lab(site)
    hub = await start(site)
    told = await hub.wire.submit("lab/result", {"id": "x", "type": "result", "value": 1})
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    assert (await chain(hub, told.message_id)).answer is None


async def test_a_route_may_ask_who_asked(site: Site, start: StartHub) -> None:
    lab(site)
    site.target("other", mapping="result")
    site.config["routes"]["to_other"] = {"from": "lab/result", "to": "other/up"}
    for name, source in (("to_sink", "his/in"), ("to_other", "elsewhere/in")):
        site.config["routes"][name]["when"] = f"$request.source == '{source}'"
    hub = await start(site)
    await hub.wire.submit("his/in", order("o1"))
    await hub.reached(DeliveryState.DELIVERED, target="lab/submit")
    await hub.wire.submit("lab/result", answer("T-o1"))
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    assert await hub.deliveries(target="other/up") == []


async def test_a_result_sent_again_after_a_restart_still_knows_its_request(site: Site, start: StartHub) -> None:
    lab(site)
    sink = site.peer()

    def not_now(outgoing: Outgoing) -> Reply:
        raise TransientError("not now")

    sink.react = not_now
    hub = await start(site)
    await hub.wire.submit("his/in", order("o1"))
    await hub.reached(DeliveryState.DELIVERED, target="lab/submit")
    await hub.wire.submit("lab/result", answer("T-o1"))
    (dead,) = await hub.reached(DeliveryState.DEAD, target="sink/up")
    await hub.restart()
    sink.react = lambda outgoing: Reply(True, b"{}")
    await hub.act("resend", [dead.id], step="map")
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    assert sink.bodies[-1]["id"] == "o1"


@pytest.mark.parametrize("of", ["sent", "message"])
async def test_a_number_of_our_own_is_known_even_if_the_call_fails(site: Site, start: StartHub, of: str) -> None:
    peer = lab(site, submit={"callback": {"key": "id", "of": of}})

    def lost(outgoing: Outgoing) -> Reply:
        raise TransientError("the reply was lost")

    peer.react = lost
    hub = await start(site)
    asked = await hub.wire.submit("his/in", order("o1"))
    await hub.reached(DeliveryState.DEAD, target="lab/submit")
    # The call failed, so nothing is promised and nothing gets overdue; but the answer is known when it comes.
    assert await hub.node.store.reader.unanswered_counts(1 << 60) == {}
    assert await hub.node.store.reader.unanswered(AwaitedQuery()) == []
    told = await hub.wire.submit("lab/result", answer("o1"))
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    assert (await bound(hub, told.message_id)).causation == asked.message_id


async def test_a_delivery_whose_reply_has_no_number_says_so(site: Site, start: StartHub) -> None:
    peer = lab(site)
    peer.react = lambda outgoing: Reply(True, b'{"code":0}', code="200")
    hub = await start(site)
    await hub.wire.submit("his/in", order("o1"))
    await hub.reached(DeliveryState.DELIVERED, target="lab/submit")
    (call,) = await hub.calls("lab/submit")
    assert (call.outcome, "data.task" in call.error) == (Outcome.OK, True)


async def test_what_is_overdue_is_counted_and_listed(site: Site, start: StartHub) -> None:
    lab(site, submit={"callback": {"within": "1ms"}})
    hub = await start(site)
    for number in ("o1", "o2"):
        await hub.wire.submit("his/in", order(number))
    await hub.reached(DeliveryState.DELIVERED, 2, target="lab/submit")
    await hub.wire.submit("lab/result", answer("T-o1"))
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    reader = hub.node.store.reader
    assert await reader.unanswered_counts(1 << 60) == {"lab/submit": (1, 1)}
    assert await reader.unanswered_counts(1) == {"lab/submit": (1, 0)}
    for query in (AwaitedQuery(), AwaitedQuery(target="lab"), AwaitedQuery(due_before=1 << 60)):
        assert [row.key for row in await reader.unanswered(query)] == ["T-o2"]
    assert await reader.unanswered(AwaitedQuery(due_before=1)) == []
    assert await reader.unanswered(AwaitedQuery(target="his")) == []


async def test_a_reload_takes_up_what_waited_for_a_route_that_failed(site: Site, start: StartHub) -> None:
    lab(site)
    site.config["routes"]["to_sink"]["when"] = "$request.source != 'x' and number(value) > 1"
    hub = await start(site)
    await hub.wire.submit("his/in", order("o1"))
    await hub.reached(DeliveryState.DELIVERED, target="lab/submit")
    told = await hub.wire.submit("lab/result", answer("T-o1", value="many"))
    assert told.accepted
    good = await hub.wire.submit("lab/result", answer("T-o1", "later", value=7))
    await bound(hub, good.message_id)
    found = await chain(hub, told.message_id)
    assert found.answer is not None
    assert found.answer.waiting
    del site.config["routes"]["to_sink"]["when"]
    await hub.reload()
    assert (await bound(hub, told.message_id)).causation
    await hub.reached(DeliveryState.DELIVERED, 2, target="sink/up")


async def test_without_a_question_for_the_request_nothing_is_delayed(site: Site, start: StartHub) -> None:
    lab(site, back=False)
    site.target()
    site.config["routes"]["to_sink"] = {"from": "lab/result", "to": "sink/up"}
    hub = await start(site)
    told = await hub.wire.submit("lab/result", answer("T-o1"))
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    asked = await hub.wire.submit("his/in", order("o1"))
    assert (await bound(hub, told.message_id)).causation == asked.message_id
    assert len(await hub.deliveries(target="sink/up")) == 1


async def test_what_is_read_from_a_source_answers_as_well(site: Site, start: StartHub) -> None:
    lab(site)
    hub = await start(site)
    await hub.wire.submit("his/in", order("o1"))
    await hub.reached(DeliveryState.DELIVERED, target="lab/submit")
    bound_in = hub.node.deployment.inbound["lab/result"]
    items = [Item(orjson.dumps(answer(task))) for task in ("T-o1", "T-o2")]
    receipts = await hub.node.intake.take(bound_in, items, mark="2")
    assert all(receipt.accepted for receipt in receipts)
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    await hub.wire.submit("his/in", order("o2"))
    await hub.reached(DeliveryState.DELIVERED, 2, target="sink/up")
    assert [body["id"] for body in site.peer().bodies] == ["o1", "o2"]


# -- a caller that waits for the answer ----------------------------------------------------------------------------


def asking(site: Site, **contract: Any) -> Any:
    peer = lab(site, back=False, submit={"callback": {"caller_gets": "callback"}})
    site.config["systems"]["his"]["interfaces"] = {"in": "off", "ask": contract}
    return peer


async def test_a_caller_gets_the_later_answer_mapped(site: Site, start: StartHub) -> None:
    asking(site, reply_mapping="answer")
    site.mapping(
        "answer", "from: {codec: json}\nto: {codec: json}\nfields: {value: value, order: $message.control_id}\n"
    )
    hub = await start(site)
    waiting = hub.wire.offer("his/ask", order("q1"))
    await hub.reached(DeliveryState.DELIVERED, target="lab/submit")
    assert not waiting.done()
    told = await hub.wire.submit("lab/result", answer("T-q1"))
    receipt = await asyncio.wait_for(waiting, 20)
    assert (receipt.outcome, receipt.reply) == (Outcome.OK, b'{"value":7,"order":"q1"}')
    again = await hub.wire.submit("his/ask", order("q1"))
    assert (again.outcome, again.reply) == (Outcome.DUPLICATE, receipt.reply)
    assert (await bound(hub, told.message_id)).causation == receipt.message_id


async def test_a_caller_gets_an_answer_that_came_before_the_reply(site: Site, start: StartHub) -> None:
    peer = asking(site)
    gate = asyncio.Event()

    async def after_gate(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return numbered(outgoing)

    peer.react = after_gate
    hub = await start(site)
    waiting = hub.wire.offer("his/ask", order("q1"))
    await until(lambda: peer.under_way == 1)
    await hub.wire.submit("lab/result", answer("T-q1"))
    gate.set()
    receipt: Receipt = await asyncio.wait_for(waiting, 20)
    assert orjson.loads(receipt.reply or b"")["value"] == 7


async def test_a_caller_of_which_no_answer_comes_is_told(site: Site, start: StartHub) -> None:
    asking(site)
    site.config["intake"] = {"request_timeout": "50ms"}
    hub = await start(site)
    receipt = await hub.wire.submit("his/ask", order("q1"))
    assert isinstance(receipt.error, ExchangeError)
    assert (receipt.error.code, receipt.error.kind) == ("request.timeout", "late")
    again = await hub.wire.submit("his/ask", order("q1"))
    assert again.error is not None
    assert again.error.code == "request.pending"
    await hub.wire.submit("lab/result", answer("T-q1"))
    for _ in range(1000):
        third = await hub.wire.submit("his/ask", order("q1"))
        if third.accepted:
            break
        await asyncio.sleep(0.01)
    assert orjson.loads(third.reply or b"")["value"] == 7


async def test_a_caller_is_told_at_once_when_no_answer_can_be_known(site: Site, start: StartHub) -> None:
    peer = asking(site)
    peer.react = lambda outgoing: Reply(True, b"{}", code="200")
    hub = await start(site)
    receipt = await hub.wire.submit("his/ask", order("q1"))
    assert isinstance(receipt.error, ExchangeError)
    assert receipt.error.kind == "failed"
    assert id_text(receipt.message_id)


async def test_without_a_time_an_answer_is_awaited_and_never_overdue(site: Site, start: StartHub) -> None:
    lab(site, submit={"callback": {"within": 0}})
    hub = await start(site)
    await hub.wire.submit("his/in", order("o1"))
    await hub.reached(DeliveryState.DELIVERED, target="lab/submit")
    assert await hub.node.store.reader.unanswered_counts(1 << 60) == {"lab/submit": (1, 0)}


async def test_no_more_is_taken_than_can_be_matched(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.intake.correlation._MOST_WORK", 2)
    lab(site)
    hub = await start(site)
    reader, intake = hub.node.store.reader, hub.node.intake
    find, gate = reader.awaited, asyncio.Event()

    async def slow(places: Sequence[str], key: str) -> Awaited | None:
        await gate.wait()
        return await find(places, key)

    monkeypatch.setattr(reader, "awaited", slow)
    assert intake.ready()
    assert (await hub.wire.submit("lab/result", answer("T-o0"))).accepted
    offers = [hub.wire.offer("lab/result", answer(f"T-o{number}")) for number in range(1, 5)]
    assert all(receipt.accepted for receipt in await asyncio.gather(*offers))
    assert not intake.ready()
    with pytest.raises(StoreBusy):
        await intake.take(hub.node.deployment.inbound["lab/result"], [Item(orjson.dumps(answer("T-o9")))])
    gate.set()
    await until(intake.ready)
    for number in range(5):
        await hub.wire.submit("his/in", order(f"o{number}"))
    await hub.reached(DeliveryState.DELIVERED, 5, target="sink/up")
