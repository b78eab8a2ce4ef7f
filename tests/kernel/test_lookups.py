"""Lookups of mappings: values from messages received earlier, and from other systems that are asked, before the mapping runs."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from hub.api import Outgoing, PermanentError, Reply, TransientError, UnreachableError
from hub.message import DeliveryState, Direction, Outcome
from hub.node import Node
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site, until
from tests.kernel.wire import Peer

ASKING = """
from: {codec: json}
to: {codec: json}
lookups:
  patient:
    system: mpi/up
    request: {query: {pid: pid}}
    when: pid
    OPTIONS
fields: {id: id, name: $patient.name, ward: $patient.visit.ward | default('-')}
"""
REMEMBERING = """
from: {codec: json}
to: {codec: json}
lookups:
  admission:
    store: admit
    source: his
    keys: {patient_id: pid}
    read: {name: name | upper, bed: bed}
    OPTIONS
fields: {id: id, name: $admission.name, bed: $admission.bed}
"""


def asking(site: Site, options: str = "", **contract: Any) -> tuple[Peer, Peer]:
    """(the target, the system its mapping asks), which answers with a name made of the patient's number."""
    site.mapping("m", ASKING.replace("OPTIONS", options or "required: false"))
    sink = site.target(mapping="m")
    site.system("mpi", "sink", up={"order_by": "", **contract})
    mpi = site.peer("mpi/up")
    mpi.react = lambda outgoing: Reply(True, named(outgoing), code="200")
    return sink, mpi


def named(outgoing: Outgoing) -> bytes:
    pid = orjson.loads(outgoing.body)["query"]["pid"]
    return orjson.dumps({"name": f"name of {pid}", "visit": {"ward": "W1"}})


def remembering(site: Site, options: str = "required: false") -> Peer:
    site.mapping("m", REMEMBERING.replace("OPTIONS", options))
    site.config["routes"]["to_sink"] = {"from": "his", "to": "sink/up", "types": ["result"]}
    site.config["routes"]["rest"] = {"from": "his", "to": "archive/up", "types": ["admit"], "mapping": ""}
    site.system("archive", "sink", up={})
    return site.target(mapping="m")


async def hand_in(hub: Hub, **message: Any) -> None:
    receipt = await hub.wire.submit("his/in", {"key": "k", "type": "result", **message})
    assert receipt.accepted, receipt


# -- asking another system ---------------------------------------------------------------------------------------------


async def test_another_system_is_asked_before_the_mapping_runs(site: Site, start: StartHub) -> None:
    sink, mpi = asking(site)
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    await hub.reached(DeliveryState.DELIVERED)
    assert sink.bodies == [{"id": "1", "name": "name of P1", "ward": "W1"}]
    assert mpi.bodies == [{"query": {"pid": "P1"}}]
    assert mpi.calls[0].control_id == "1"


async def test_what_is_asked_is_in_the_call_log_and_the_attempt_refers_to_it(site: Site, start: StartHub) -> None:
    asking(site)
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    (delivery,) = await hub.reached(DeliveryState.DELIVERED)
    (asked,) = await hub.logged("mpi/up", 1)
    assert (asked.direction, asked.outcome, asked.delivery_id) == (Direction.OUT, Outcome.OK, 0)
    assert asked.request == b'{"query":{"pid":"P1"}}'
    assert orjson.loads(asked.response or b"")["name"] == "name of P1"
    assert orjson.loads(asked.params)["lookup"] == "patient"
    (call,) = await hub.calls("sink/up")
    assert call.delivery_id == delivery.id
    assert list(orjson.loads(call.params)["lookups"]) == ["patient"]


async def test_the_ledger_balances_whatever_is_asked(site: Site, start: StartHub) -> None:
    asking(site)
    hub = await start(site)
    for number in range(3):
        await hand_in(hub, id=str(number), pid="P1")
    await hub.reached(DeliveryState.DELIVERED, 3)
    await hub.stop()
    await site.audited()


async def test_a_reload_forgets_the_answers_of_before(site: Site, start: StartHub) -> None:
    sink, mpi = asking(site, "cache: 10m")
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    await hub.reached(DeliveryState.DELIVERED)
    site.system("mpi", "sink", up={"order_by": "", "concurrency": 3})
    await hub.reload()
    await hand_in(hub, id="2", pid="P1")
    await hub.reached(DeliveryState.DELIVERED, 2)
    assert (len(mpi.calls), len(sink.calls)) == (2, 2)


async def test_nobody_is_asked_when_the_condition_does_not_hold(site: Site, start: StartHub) -> None:
    sink, mpi = asking(site)
    hub = await start(site)
    await hand_in(hub, id="1")
    await hub.reached(DeliveryState.DELIVERED)
    assert sink.bodies == [{"id": "1", "ward": "-"}]
    assert mpi.calls == []


async def test_the_same_question_is_asked_once_while_its_answer_is_kept(site: Site, start: StartHub) -> None:
    sink, mpi = asking(site, "cache: 10m")
    hub = await start(site)
    for number in range(4):
        await hand_in(hub, id=str(number), pid="P1")
        await hub.reached(DeliveryState.DELIVERED, number + 1)
    await hand_in(hub, id="4", pid="P2")
    await hub.reached(DeliveryState.DELIVERED, 5)
    assert [body["query"]["pid"] for body in mpi.bodies] == ["P1", "P2"]
    assert [body["name"] for body in sink.bodies] == ["name of P1"] * 4 + ["name of P2"]


async def test_without_cache_every_delivery_asks_anew(site: Site, start: StartHub) -> None:
    _, mpi = asking(site)
    hub = await start(site)
    for number in range(3):
        await hand_in(hub, id=str(number), pid="P1")
        await hub.reached(DeliveryState.DELIVERED, number + 1)
    assert len(mpi.calls) == 3


async def test_deliveries_that_ask_the_same_at_once_share_the_answer(site: Site, start: StartHub) -> None:
    sink, mpi = asking(site, "cache: 10m", concurrency=8)
    site.target(mapping="m", order_by="", concurrency=8)
    answer = asyncio.Event()

    async def slow(outgoing: Outgoing) -> Reply:
        await answer.wait()
        return Reply(True, named(outgoing), code="200")

    mpi.react = slow
    hub = await start(site)
    for number in range(5):
        await hand_in(hub, id=str(number), pid="P1")
    await until(lambda: mpi.calls)
    await asyncio.sleep(0)
    answer.set()
    await hub.reached(DeliveryState.DELIVERED, 5)
    assert len(mpi.calls) == 1
    assert len(sink.calls) == 5


async def test_no_more_questions_at_once_than_the_contract_allows(site: Site, start: StartHub) -> None:
    _, mpi = asking(site, concurrency=2)
    site.target(mapping="m", order_by="", concurrency=8)
    answer = asyncio.Event()

    async def slow(outgoing: Outgoing) -> Reply:
        await answer.wait()
        return Reply(True, named(outgoing), code="200")

    mpi.react = slow
    hub = await start(site)
    for number in range(6):
        await hand_in(hub, id=str(number), pid=f"P{number}")
    await until(lambda: len(mpi.calls) == 2)
    answer.set()
    await hub.reached(DeliveryState.DELIVERED, 6)
    assert (len(mpi.calls), mpi.most_under_way) == (6, 2)


async def test_a_passing_failure_of_the_other_system_is_one_of_the_delivery(site: Site, start: StartHub) -> None:
    sink, mpi = asking(site)
    failures = [TransientError("busy"), TransientError("busy")]

    def moody(outgoing: Outgoing) -> Reply:
        if failures:
            raise failures.pop()
        return Reply(True, named(outgoing), code="200")

    mpi.react = moody
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    await hub.reached(DeliveryState.DELIVERED)
    assert len(sink.calls) == 1
    outcomes = [call.outcome for call in await hub.calls("sink/up")]
    assert outcomes == [Outcome.TRANSIENT, Outcome.TRANSIENT, Outcome.OK]


async def test_a_failure_that_stays_ends_at_the_step_lookup(site: Site, start: StartHub) -> None:
    sink, mpi = asking(site)

    def fail(outgoing: Outgoing) -> Reply:
        raise TransientError("busy")

    mpi.react = fail
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert (dead.step, dead.attempts) == ("lookup", 4)
    assert "mpi/up" in dead.reason
    assert sink.calls == []


async def test_a_system_that_can_not_be_reached_uses_up_no_tries(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.delivery.lookups.AGAIN_S", 0.01)
    sink, mpi = asking(site)
    away = [1, 1, 1, 1, 1]

    def react(outgoing: Outgoing) -> Reply:
        if away:
            away.pop()
            raise UnreachableError("no route")
        return Reply(True, named(outgoing), code="200")

    mpi.react = react
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    (delivery,) = await hub.reached(DeliveryState.DELIVERED)
    assert (delivery.attempts, len(sink.calls)) == (1, 1)


async def test_a_refusal_is_final(site: Site, start: StartHub) -> None:
    sink, mpi = asking(site)

    def refuse(outgoing: Outgoing) -> Reply:
        raise PermanentError("who are you?")

    mpi.react = refuse
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert (dead.step, dead.attempts, sink.calls) == ("lookup", 1, [])


async def test_the_contract_of_the_system_judges_its_answers(site: Site, start: StartHub) -> None:
    sink, mpi = asking(
        site,
        success="code == 0",
        reply={"code": "code"},
        errors={"404": {"class": "delivered"}, "500": {"class": "transient"}},
    )
    answers = [b'{"code":500}', b'{"code":404}']
    mpi.react = lambda outgoing: Reply(True, answers.pop(0), code="200")
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    await hub.reached(DeliveryState.DELIVERED)
    assert sink.bodies == [{"id": "1", "ward": "-"}]
    assert len(mpi.calls) == 2


async def test_nothing_found_is_an_error_where_it_is_required(site: Site, start: StartHub) -> None:
    site.mapping("m", ASKING.replace("OPTIONS", "required: true\n    read: {each: persons, name: .name}"))
    sink = site.target(mapping="m")
    site.system("mpi", "sink", up={})
    site.peer("mpi/up").react = lambda outgoing: Reply(True, b'{"persons":[]}', code="200")
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert dead.step == "lookup"
    assert "patient" in dead.reason
    assert sink.calls == []


async def test_one_that_is_required_is_not_asked_for_where_its_condition_does_not_hold(
    site: Site, start: StartHub
) -> None:
    site.mapping("m", ASKING.replace("when: pid", "when: pid != 'nobody'").replace("OPTIONS", "required: true"))
    sink = site.target(mapping="m")
    site.system("mpi", "sink", up={})
    hub = await start(site)
    await hand_in(hub, id="1", pid="nobody")
    await hub.reached(DeliveryState.DELIVERED)
    assert len(sink.calls) == 1
    assert site.peer("mpi/up").calls == []


async def test_an_answer_that_can_not_be_read_is_a_passing_failure(site: Site, start: StartHub) -> None:
    sink, mpi = asking(site)
    answers = [b"<html>"]
    mpi.react = lambda outgoing: Reply(True, answers.pop() if answers else named(outgoing), code="200")
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    await hub.reached(DeliveryState.DELIVERED)
    assert len(sink.calls) == 1


async def test_a_system_that_hangs_holds_up_only_who_asks_it(site: Site, start: StartHub) -> None:
    sink, mpi = asking(site, timeout="30s")
    other = site.target("other")
    answer = asyncio.Event()

    async def hang(outgoing: Outgoing) -> Reply:
        await answer.wait()
        return Reply(True, named(outgoing), code="200")

    mpi.react = hang
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    await hub.reached(DeliveryState.DELIVERED, target="other/up")
    assert (len(other.calls), len(sink.calls)) == (1, 0)
    answer.set()
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")


async def test_a_stop_while_a_question_is_under_way_leaves_the_delivery_open(site: Site, start: StartHub) -> None:
    sink, mpi = asking(site)

    async def hang(outgoing: Outgoing) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    mpi.react = hang
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    await until(lambda: mpi.calls)
    mpi.react = lambda outgoing: Reply(True, named(outgoing), code="200")
    await hub.restart()
    await hub.reached(DeliveryState.DELIVERED)
    assert len(sink.calls) == 1


# -- messages received earlier -----------------------------------------------------------------------------------------


async def test_the_latest_earlier_message_of_the_patient_is_read(site: Site, start: StartHub) -> None:
    sink = remembering(site)
    hub = await start(site)
    await hand_in(hub, id="a1", type="admit", pid="P1", name="ann", bed="1")
    await hand_in(hub, id="a2", type="admit", pid="P2", name="bob", bed="2")
    await hand_in(hub, id="a3", type="admit", pid="P1", name="ann", bed="3")
    await hand_in(hub, id="r1", pid="P1")
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    assert sink.bodies == [{"id": "r1", "name": "ANN", "bed": "3"}]


async def test_only_what_came_before_counts(site: Site, start: StartHub) -> None:
    sink = remembering(site, "required: true")
    hub = await start(site)
    await hand_in(hub, id="r1", pid="P1")
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert dead.step == "lookup"
    await hand_in(hub, id="a1", type="admit", pid="P1", name="ann")
    await hub.act("resend", [dead.id])
    await hub.reached(DeliveryState.DEAD)
    assert sink.calls == []


async def test_a_key_without_a_value_finds_nobody(site: Site, start: StartHub) -> None:
    sink = remembering(site)
    hub = await start(site)
    await hand_in(hub, id="a1", type="admit", pid="P1", name="ann")
    await hand_in(hub, id="r1")
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    assert sink.bodies == [{"id": "r1"}]


async def test_messages_other_workers_received_are_found_as_well(site: Site) -> None:
    sink = remembering(site)
    hub = await Hub(site).start()
    try:
        await hand_in(hub, id="a1", type="admit", pid="P1", name="ann", bed="1")
    finally:
        await hub.stop()
    hub.node = Node(site.write(), worker=1)
    await hub.start()
    try:
        await hand_in(hub, id="r1", pid="P1")
        await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    finally:
        await hub.stop()
    assert sink.bodies == [{"id": "r1", "name": "ANN", "bed": "1"}]


async def test_an_id_number_finds_the_message_it_is_stored_with_as_a_hash(site: Site, start: StartHub) -> None:
    site.mapping("m", REMEMBERING.replace("OPTIONS", "required: true").replace("patient_id: pid", "id_card: card"))
    site.config["routes"]["to_sink"] = {"from": "his", "to": "sink/up", "types": ["result"]}
    sink = site.target(mapping="m")
    site.system("his", "his", **{"in": {"keys": {"id_card": "card"}}})
    hub = await start(site)
    await hand_in(hub, id="a1", type="admit", card="11010519491231002X", name="ann")
    await hand_in(hub, id="r1", card="11010519491231002X")
    await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    assert sink.bodies == [{"id": "r1", "name": "ANN"}]


# -- replay ------------------------------------------------------------------------------------------------------------


async def test_a_replay_reads_the_answers_of_then_and_asks_nobody(site: Site, start: StartHub) -> None:
    _, mpi = asking(site)
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    (delivery,) = await hub.reached(DeliveryState.DELIVERED)
    await hub.logged("mpi/up", 1)
    mpi.react = lambda outgoing: Reply(True, b'{"name":"changed"}', code="200")
    (done,) = await hub.node.replayer().run(delivery.message_id)
    assert (done.error, done.changes) == ("", [])
    assert [orjson.loads(output)["name"] for output in done.outputs] == ["name of P1"]
    assert len(mpi.calls) == 1


async def test_a_replay_without_the_answer_says_so(site: Site, start: StartHub) -> None:
    site.config["store"]["keep_bodies"] = False
    asking(site)
    hub = await start(site)
    await hand_in(hub, id="1", pid="P1")
    (delivery,) = await hub.reached(DeliveryState.DELIVERED)
    await hub.logged("mpi/up", 1)
    (done,) = await hub.node.replayer().run(delivery.message_id)
    assert "patient" in done.error


async def test_a_replay_finds_the_same_earlier_message(site: Site, start: StartHub) -> None:
    remembering(site)
    hub = await start(site)
    await hand_in(hub, id="a1", type="admit", pid="P1", name="ann")
    await hand_in(hub, id="r1", pid="P1")
    (delivery,) = await hub.reached(DeliveryState.DELIVERED, target="sink/up")
    await hand_in(hub, id="a2", type="admit", pid="P1", name="changed")
    (done,) = await hub.node.replayer().run(delivery.message_id)
    assert (done.error, done.changes) == ("", [])


# -- configuration -----------------------------------------------------------------------------------------------------


async def test_a_system_that_is_not_there_is_told_when_the_configuration_is_read(site: Site, start: StartHub) -> None:
    asking(site)
    del site.config["systems"]["mpi"]
    hub = await start(site)
    told = [str(problem) for problem in hub.node.problems]
    assert any("there is no mpi/up" in text for text in told), told


async def test_a_reply_mapping_can_not_wait_for_lookups(site: Site, start: StartHub) -> None:
    asking(site)
    site.system("his", "his", ask={"reply_mapping": "m"})
    hub = await start(site)
    told = [str(problem) for problem in hub.node.problems]
    assert any("a reply can't wait" in text for text in told), told
