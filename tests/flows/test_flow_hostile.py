"""What goes wrong around flows: repetitions for weeks, what is refused, what can't be read, floods, and reloads at the wrong moment."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.errors import HubError
from hub.flows.core import advance, begin
from hub.flows.definition import Definition
from hub.flows.desk import FlowDesk
from hub.flows.events import Arrived, Event, Outcome, Settled, Tick
from hub.flows.fates import Fates
from hub.flows.page import instance_page
from hub.flows.present import instance_json
from hub.flows.state import Instance
from hub.flows.store import Outgoing
from hub.flows.work import Fate
from hub.i18n import language, set_language
from hub.ids import id_text
from hub.message import DeliveryState
from tests.flows.conftest import StartFlows
from tests.flows.flow_support import order_site
from tests.flows.keeper_support import NOW, SECOND, Kept

_CALLBACK = b"""
start: {key: no}
steps:
  - {id: a, send: {to: x/y, until: callback, reply: {place: place}, callback: {slot: slot}}}
  - {id: b, delay: 1h}
"""
_WAITS = b"""
start: {from: x/in, types: [order], key: no, set: {n: n}}
steps:
  - {id: pause, delay: 10s}
  - {id: paid, wait: {for: {from: x/in, types: [paid], key: no}}}
early: 60s
keep: 100s
"""


def _begun(text: bytes, **tree: Any) -> Outcome:
    definition = Definition.read("order", text)
    message = Arrived("e0", "x/in", "order", 1, {"no": "1", **tree})
    return begin(definition, "0000000000001", "1", definition.model.start[0], message, NOW)


def _happen(text: bytes, one: Instance, event: Event, now: int = NOW) -> Outcome:
    return advance(Definition.read("order", text), one, event, now, lambda pack: pytest.fail("nothing is kept"))


def test_what_is_told_again_and_again_while_a_later_answer_is_awaited_changes_nothing() -> None:
    outcome = _begun(_CALLBACK)
    sent = outcome.sendings[0].control_id
    told = _happen(_CALLBACK, outcome.instance, Settled(sent, True, "200", tree={"place": "P"}))
    told.instance.vars["place"] = "set by another branch since"
    again = _happen(_CALLBACK, told.instance, Settled(sent, True, "200", tree={"place": "P"}))
    # The message is older than the retention time: nothing is known of it any more.
    gone = _happen(_CALLBACK, told.instance, Settled(sent, False, "flow.route", "no route led to the target"))
    for later in (again, gone):
        assert later.notes == []
        assert later.instance.vars["place"] == "set by another branch since"
        assert later.instance.steps["a"].state == "active"


def test_a_reply_that_can_not_be_read_is_told_once() -> None:
    outcome = _begun(_CALLBACK)
    broken = Settled(outcome.sendings[0].control_id, True, "200", broken="not JSON")
    held = _happen(_CALLBACK, outcome.instance, broken)
    assert held.instance.state == "held"
    assert _happen(_CALLBACK, held.instance, broken).notes == []


def test_a_deadline_that_holds_stops_pauses_and_leaves_what_is_around_them() -> None:
    text = b"""
start: {key: no}
steps:
  - id: both
    parallel: {branches: {l: [{id: nap, delay: 2h}], r: [{id: rest, delay: 3h}]}}
deadline: {after: 1h, then: hold}
"""
    held = _happen(text, _begun(text).instance, Tick(), NOW + 3600 * SECOND).instance
    assert {name: record.state for name, record in held.steps.items()} == {
        "both": "active",
        "nap": "held",
        "rest": "held",
    }
    assert held.due == 0
    assert _happen(text, held, Tick(), NOW + 9 * 3600 * SECOND).instance.state == "held"


# -- the keeper ------------------------------------------------------------------------------------------------------


def test_what_the_hub_refuses_for_good_is_not_handed_in_again_and_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path, b"start: {from: x/in, types: [order], key: no}\nsteps: [{id: a, send: {to: x/y}}]\n")
    assert kept.message(1, "order", no="1").verdict == "started"
    (row,) = kept.store.outbox(0, 0, 10)
    kept.keeper.handle([Fate(Settled(row.control, False, "message.large", "too large"))])
    assert kept.one(1).state == "held"
    assert kept.store.outbox(0, 0, 10) == []


def test_an_instance_that_can_not_go_on_does_not_keep_the_timers_of_others(tmp_path: Path) -> None:
    kept = Kept(tmp_path, _WAITS)
    kept.message(1, "order", no="1", n=1)
    kept.message(2, "order", no="2", n=1)
    # As if an earlier version of the hub had accepted what this one does not.
    kept.store.keep_definition("flow0", "gone", b"start: {key: no}\nsteps: []\n", kept.now)
    one = kept.one(1)
    one.version = "gone"
    kept.store.put(one)
    kept.message(3, "order", no="3", n=1)
    kept.store.db.execute("UPDATE instance SET body = ? WHERE id = 3", (b"\0{}",))  # and one is damaged
    kept.now += 11 * SECOND
    (told,) = kept.keeper.handle([Tick()])
    assert told.error is None
    assert kept.one(2).at == {"": "paid"}
    assert kept.store.next_due() > kept.now  # looked at again later, not at once and for ever


def test_all_that_is_over_is_removed_however_much_there_is_and_of_flows_that_are_gone(tmp_path: Path) -> None:
    kept = Kept(tmp_path, b"start: {from: x/in, types: [order], key: no}\nsteps: [{id: a, end: done}]\nkeep: 100s\n")
    for number in range(1, 451):
        kept.message(number, "order", no=str(number))
    assert kept.count("instance") == 450
    kept.keeper.use({}, {})  # its file is gone
    kept.now += 101 * SECOND
    while kept.keeper.clean() != (0, []):
        pass
    assert [kept.count(table) for table in ("instance", "event", "note", "definition")] == [0, 0, 0, 0]


def test_nothing_stays_of_messages_that_came_early(tmp_path: Path) -> None:
    kept = Kept(tmp_path, _WAITS)
    assert kept.message(1, "paid", no="claimed").verdict == "early"
    assert kept.message(2, "paid", no="unclaimed").verdict == "early"
    assert kept.message(1, "paid", no="claimed").verdict == "duplicate"
    kept.message(3, "order", no="claimed", n=1)
    kept.now += 61 * SECOND
    kept.keeper.handle([Tick()])
    assert kept.one(1).state == "ended"
    assert kept.keeper.clean() == (0, [id_text(2)])
    kept.now += 101 * SECOND
    assert kept.keeper.clean() == (1, [])
    assert (kept.count("event"), kept.count("early")) == (0, 0)


def test_what_is_still_to_be_handed_in_is_not_removed_with_its_instance(tmp_path: Path) -> None:
    text = b"""
start: {from: x/in, types: [order], key: no}
steps:
  - id: first
    parallel: {until: any, branches: {l: [{id: a, send: {to: x/y}}], r: [{id: b, set: {done: '1'}}]}}
keep: 100s
"""
    kept = Kept(tmp_path, text)
    kept.message(1, "order", no="1")
    assert kept.one(1).state == "ended"
    assert len(kept.store.outbox(0, 0, 10)) == 1
    kept.now += 101 * SECOND
    assert kept.keeper.clean() == (0, [])
    assert len(kept.store.outbox(0, 0, 10)) == 1
    kept.keeper.use({}, {})
    assert [one.flow for one in kept.keeper.older()] == ["flow0"]  # its routes are needed until then


def test_a_message_too_large_to_be_kept_is_refused_and_not_left_out(tmp_path: Path) -> None:
    kept = Kept(tmp_path, _WAITS)
    early = kept.message(1, "paid", no="1", size=1 << 20).error
    kept.message(2, "order", no="1", n=1)
    before_its_step = kept.message(3, "paid", no="1", size=1 << 20).error
    assert [error and error.code for error in (early, before_its_step)] == ["flow.large"] * 2
    for number in range(4, 8):
        told = kept.message(number, "paid", no="1", size=1_000_000)
    assert told.error is not None  # more than 4 MB of one instance
    kept.now += 11 * SECOND
    kept.keeper.handle([Tick()])
    assert kept.one(1).state == "ended"


def test_a_message_an_instance_has_no_use_for_may_begin_another(tmp_path: Path) -> None:
    text = b"""
start: {from: x/in, types: [order], key: no}
steps:
  - id: follow
    wait: {for: {from: x/in, types: [order], key: after, when: kind == 'follow'}}
"""
    kept = Kept(tmp_path, text)
    assert kept.message(1, "order", no="A").verdict == "started"
    assert kept.message(2, "order", no="B", after="A", kind="other").verdict == "started"
    assert kept.message(3, "order", no="B", kind="other").verdict == "ignored"
    assert kept.message(4, "order", no="C", after="A", kind="follow").verdict == "taken"
    assert [kept.one(number).key for number in (1, 2)] == ["A", "B"]
    assert kept.count("instance") == 2


async def test_a_fate_that_can_not_be_looked_up_keeps_no_other_from_it() -> None:
    looked: list[int] = []

    async def sent(messages: Any) -> list[Outgoing]:
        return [Outgoing(m, f"c{m}", 1, 1, m, "a", False, "x/y", "t", "flow:f:a@1", "k", b"") for m in messages]

    async def look_up(row: Outgoing) -> None:
        looked.append(row.message)
        if row.message == 1:
            raise ValueError("a codec with a mistake")

    fates = Fates(sent, look_up)
    task = asyncio.create_task(fates.run())
    fates.look_at(1)
    fates.look_at(2)
    async with asyncio.timeout(5):
        while 2 not in looked:
            await asyncio.sleep(0)
        fates.look_at(3)
        while 3 not in looked:
            await asyncio.sleep(0)
        assert looked == [1, 2, 3]  # the one with the mistake is not asked for again before the next
        while looked.count(1) < 2:
            await asyncio.sleep(0.01)
    task.cancel()


# -- what people see -------------------------------------------------------------------------------------------------


def test_numbers_are_masked_as_texts_are_and_can_be_of_any_length() -> None:
    one = _begun(_CALLBACK).instance
    one.vars = {"phone": 13900000000, "order": 10**30, "price": Decimal("12.50"), "n": 3, "on": True}
    told = instance_json(one, None, full=True)["variables"]
    assert told["phone"] == "139****0000"
    assert (told["price"], told["n"], told["on"]) == ("12.50", 3, True)
    clear = instance_json(one, None, full=True, clear=True)["variables"]
    assert (clear["phone"], clear["order"]) == (13900000000, str(10**30))
    orjson.dumps([told, clear])  # also for programs


def test_a_flow_an_earlier_hub_accepted_can_still_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    kept = Kept(tmp_path / "flows", _WAITS)
    kept.message(1, "order", no="1", n=1)
    kept.store.db.execute("UPDATE definition SET raw = ?", (b"start: {key: no}\nsteps: []\n",))
    desk = FlowDesk(tmp_path, [], b"salt", None)
    assert desk.instance(1)["at"] == ["pause"]
    assert [row["id"] for row in desk.instances()] == [id_text(1)]


def test_what_can_not_be_undone_can_be_tried_again_on_the_page_and_both_languages_are_spoken(tmp_path: Path) -> None:
    text = b"""
start: {key: no}
steps:
  - {id: a, send: {to: x/y}, compensate: {to: x/y}}
  - {id: b, end: {name: gone, compensate: true}}
"""
    outcome = _begun(text)
    undoing = _happen(text, outcome.instance, Settled(outcome.sendings[0].control_id, True))
    stuck = _happen(text, undoing.instance, Settled(undoing.sendings[0].control_id, False, "4001", "<b>no</b>"))
    one = instance_json(stuck.instance, Definition.read("order", text), full=True)
    notes = [{"at": "", "what": note.what, "step": "", "text": "", "message": ""} for note in stuck.notes]
    known = language()
    try:
        for words, told in (("en", ("undoing failed", "can&#x27;t be undone")), ("zh", ("补偿失败",))):
            set_language(words)
            page = instance_page({**one, "sent": [], "versions": [], "history": notes}, "")
            assert f'data-order="/api/v1/flows/instances/{one["id"]}/retry"' in page
            assert all(word in page for word in told)
            assert "undo_failed" not in page
            assert "/cancel" not in page  # it is being undone already
    finally:
        set_language(known)


# -- reloads ---------------------------------------------------------------------------------------------------------


async def test_what_begins_while_a_reload_is_under_way_has_its_routes(tmp_path: Path, start: StartFlows) -> None:
    hub = await start(order_site(tmp_path))
    file, store = tmp_path / "flows" / "order.yaml", hub.node.store
    file.write_text(file.read_text("utf-8").replace("name: 订单", "name: 订单二"), "utf-8")
    apply = store.apply

    async def in_between(*arguments: Any, **named: Any) -> Any:
        if named.get("audit") and not hub.rows():
            await hub.offer("his/in", id="m-1", type="order", pid="O-1", item="a", amount=2)
            await hub.until_row(lambda row: True, "begun by the new version")
            flows = hub.node.flows
            assert flows is not None
            await flows._outbox.hand_in(flows._deployment)
        return await apply(*arguments, **named)

    store.apply = in_between  # type: ignore[method-assign]
    await hub.reload()
    await hub.until_at("transport")


async def test_a_reload_that_fails_at_the_last_moment_leaves_flows_as_they_were(
    tmp_path: Path, start: StartFlows
) -> None:
    hub = await start(order_site(tmp_path))
    file, store = tmp_path / "flows" / "order.yaml", hub.node.store
    file.write_text(file.read_text("utf-8").replace("name: 订单", "name: 订单二"), "utf-8")
    apply = store.apply

    async def full(*arguments: Any, **named: Any) -> Any:
        if named.get("audit"):
            raise HubError("the disk is full")
        return await apply(*arguments, **named)

    store.apply = full  # type: ignore[method-assign]
    with pytest.raises(HubError, match="disk is full"):
        await hub.reload()
    store.apply = apply  # type: ignore[method-assign]
    await hub.offer("his/in", id="m-1", type="order", pid="O-1", item="a", amount=2)
    await hub.until_at("transport")
    assert hub.only_row().instance.version == hub.node.deployment.flows["order"].version
    await hub.reached(DeliveryState.DELIVERED, 1, target="courier/up")
