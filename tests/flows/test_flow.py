"""Flows from end to end in one process: messages in, messages out, people, time, and what is undone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.config import load_config
from hub.errors import ConfigError
from hub.flows.core import FlowError
from hub.flows.events import Cancelled, Completed, Retried
from hub.flows.store import FlowStore, flows_file
from hub.keys.opened import folder_of, master_source
from hub.keys.store import KeyStore
from hub.message import DeliveryState
from hub.node import salt_of
from tests.flows.conftest import StartFlows
from tests.flows.flow_support import ORDER, SUPPLEMENT, FlowHub, ok, order_site, refuse
from tests.kernel.kernel_support import until


async def _ordered(hub: FlowHub, number: str = "O-1") -> None:
    await hub.offer("his/in", id=f"m-{number}", type="order", pid=number, item="a", amount=2)


async def _reviewed(hub: FlowHub) -> Any:
    """An order whose reservation and transport are made, and which a person looks at."""
    await _ordered(hub)
    await hub.until_at("transport")
    await until(lambda: hub.wire.peer("courier/up").calls)
    await hub.offer("courier/back", id="c1", type="booked", task="T-1", slot="10:30")
    return await hub.until_at("review")


async def test_an_order_goes_through_reply_callback_and_person(tmp_path: Path, start: StartFlows) -> None:
    hub = await start(order_site(tmp_path))
    assert hub.node.problems == []
    row = await _reviewed(hub)
    assert hub.wire.peer("shop/up").bodies == [{"id": "O-1", "type": "reserve", "item": "a", "amount": 2}]
    assert hub.wire.peer("courier/up").bodies[0]["number"] == "R-1"
    with pytest.raises(FlowError, match="opinion"):
        await hub.order(row, Completed("review", "yes", {}, "li"))
    with pytest.raises(FlowError, match="no choice"):
        await hub.order(row, Completed("review", "perhaps", {"opinion": "fine"}, "li"))
    await hub.order(row, Completed("review", "yes", {"opinion": "fine"}, "li"))
    row = await hub.until_state("ended")
    assert row.instance.end == "completed"
    assert hub.wire.peer("shop/up").bodies[-1] == {"id": "O-1", "type": "confirm", "opinion": "fine", "slot": "10:30"}
    with pytest.raises(FlowError, match="ended"):
        await hub.order(row, Completed("review", "yes", {"opinion": "again"}, "li"))


async def test_what_was_done_is_undone_the_last_first(tmp_path: Path, start: StartFlows) -> None:
    hub = await start(order_site(tmp_path))
    row = await _reviewed(hub)
    await hub.order(row, Completed("review", "no", {"opinion": "too late"}, "li"))
    row = await hub.until_state("ended")
    assert row.instance.end == "refused"
    assert hub.wire.peer("courier/up").bodies[-1] == {"id": "O-1", "type": "unbook", "slot": "10:30"}
    assert hub.wire.peer("shop/up").bodies[-1] == {"id": "O-1", "type": "release", "number": "R-1"}
    ended = [r.ended for r in row.instance.steps.values()]
    assert row.instance.steps["transport"].state == row.instance.steps["reserve"].state == "undone"
    assert all(ended)


async def test_a_cancelled_flow_waits_for_what_is_under_way_and_undoes_that_as_well(
    tmp_path: Path, start: StartFlows
) -> None:
    site = order_site(tmp_path)
    reply = asyncio.Event()

    async def slow(outgoing: Any) -> Any:
        await reply.wait()
        return ok()(outgoing)

    site.peer("shop/up").react = slow
    hub = await start(site)
    await _ordered(hub)
    await until(lambda: hub.wire.peer("shop/up").under_way)
    await hub.order(hub.only_row(), Cancelled("li", "by the customer"))
    row = await hub.until_state("compensating")
    assert hub.types("shop/up") == ["reserve"]
    reply.set()
    row = await hub.until_state("cancelled")
    assert row.instance.reason == "by the customer"
    assert hub.types("shop/up") == ["reserve", "release"]
    assert hub.types("courier/up") == []


async def test_a_refused_message_holds_the_flow_until_its_dead_letter_is_sent_again(
    tmp_path: Path, start: StartFlows
) -> None:
    site = order_site(tmp_path)
    site.peer("shop/up").react = refuse()
    hub = await start(site)
    await _ordered(hub)
    row = await hub.until_state("held")
    assert row.instance.steps["reserve"].code == "4001"
    assert row.instance.error["step"] == "reserve"
    (dead,) = await hub.reached(DeliveryState.DEAD, target="shop/up")
    site.peer("shop/up").react = ok()
    await hub.act("resend", [dead.id])
    await hub.until_at("transport")
    assert hub.types("shop/up") == ["reserve", "reserve"]


async def test_a_held_step_can_be_sent_anew_or_left_out(tmp_path: Path, start: StartFlows) -> None:
    site = order_site(tmp_path)
    site.peer("shop/up").react = refuse()
    hub = await start(site)
    await _ordered(hub)
    row = await hub.until_state("held")
    await hub.order(row, Retried("reserve", "li"))
    row = await hub.until_row(lambda r: r.instance.steps["reserve"].tries == 2 and r.instance.state == "held", "again")
    await hub.order(row, Retried("", "li", skip=True))
    await hub.until_at("transport")
    assert hub.only_row().instance.steps["reserve"].state == "skipped"


async def test_codes_and_retries_of_on_error(tmp_path: Path, start: StartFlows) -> None:
    flow = """
start: {from: his/in, types: [order], key: pid}
steps:
  - id: ask
    send: {to: shop/up, fields: {id: $flow.key, type: {const: ask}}}
    on_error: {retry: {times: 2, every: 10ms}, codes: {"4001": {goto: other}}, then: {end: given_up}}
  - {id: done, end: completed}
  - id: other
    send: {to: shop/up, fields: {id: $flow.key, type: {const: other}, why: $error.code}}
    on_error: {retry: {times: 2, every: 10ms}, then: {end: given_up}}
"""
    site = order_site(tmp_path, flow)
    answers = {"ask": "4001", "other": "5000"}
    site.peer("shop/up").react = lambda out: refuse(answers[orjson.loads(out.body)["type"]])(out)
    hub = await start(site)
    await _ordered(hub)
    row = await hub.until_state("ended")
    assert row.instance.end == "given_up"
    assert hub.types("shop/up") == ["ask", "other", "other", "other"]
    assert hub.wire.peer("shop/up").bodies[1]["why"] == "4001"


async def test_supplemented_documents_are_versions_and_the_old_ones_stay(tmp_path: Path, start: StartFlows) -> None:
    hub = await start(order_site(tmp_path, SUPPLEMENT))
    await hub.offer("his/in", id="1", type="apply", pid="A-1", text="first")
    for number in (1, 2):
        row = await hub.until_row(
            lambda r, n=number: r.instance.at == {"": "check"} and r.instance.docs["application"]["version"] == n,
            "check",
        )
        await hub.order(row, Completed("check", "more", {}, "li"))
        await hub.until_at("supplement")
        await hub.offer("his/in", id=f"s{number}", type="supplement", pid="A-1", text=f"more {number}")
    row = await hub.until_at("check")
    await hub.order(row, Completed("check", "ok", {}, "li"))
    row = await hub.until_state("ended")
    assert row.instance.steps["check"].run == 3
    store = FlowStore(flows_file(tmp_path / "var"), salt_of(tmp_path / "var"), writable=False)
    kept = store.documents(row.id)
    store.close()
    assert [(d["version"], d["data"]["text"]) for d in kept] == [(1, "first"), (2, "more 1"), (3, "more 2")]
    assert [body["version"] for body in hub.wire.peer("shop/up").bodies] == [1, 2]


EARLY = """
start: {from: his/in, types: [begin], key: pid}
steps:
  - {id: first, wait: {for: {from: his/in, types: [one], key: pid, set: {one: text}}}}
  - {id: second, wait: {for: {from: his/in, types: [two], key: pid, set: {two: text}}}}
"""


async def test_messages_in_whatever_order_are_taken_when_their_step_comes(tmp_path: Path, start: StartFlows) -> None:
    hub = await start(order_site(tmp_path, EARLY))
    await hub.offer("his/in", id="2", type="two", pid="E-1", text="b")  # before there is an instance
    await hub.offer("his/in", id="0", type="begin", pid="E-1")
    row = await hub.until_row(lambda r: len(r.instance.parked) == 1, "kept")
    assert row.instance.at == {"": "first"}
    await hub.offer("his/in", id="1", type="one", pid="E-1", text="a")
    row = await hub.until_state("ended")
    assert row.instance.vars == {"one": "a", "two": "b"}


async def test_what_the_flow_has_no_use_for_is_a_dead_letter(tmp_path: Path, start: StartFlows) -> None:
    hub = await start(order_site(tmp_path, EARLY))
    await hub.offer("his/in", id="0", type="begin")
    (dead,) = await hub.reached(DeliveryState.DEAD, target="flow/order")
    assert "business key" in dead.reason
    assert hub.rows() == []


TIMES = """
start: {from: his/in, types: [begin], key: pid}
steps:
  - {id: short, delay: 30ms}
  - id: answer
    wait: {for: {from: his/in, types: [never], key: pid}, within: 30ms, on_timeout: {goto: late}}
  - {id: good, end: completed}
  - {id: late, set: {told: "$error.code"}}
  - {id: hanging, wait: {for: {from: his/in, types: [never], key: pid}}}
deadline: {after: 3s, then: {end: overdue}}
"""


async def test_pauses_timeouts_and_the_deadline(tmp_path: Path, start: StartFlows) -> None:
    hub = await start(order_site(tmp_path, TIMES))
    await hub.offer("his/in", id="0", type="begin", pid="T-1")
    await hub.until_at("hanging")
    assert hub.only_row().instance.vars == {"told": "flow.timeout"}
    row = await hub.until_state("ended")
    assert row.instance.end == "overdue"


PARALLEL = """
start: {from: his/in, types: [begin], key: pid}
steps:
  - id: both
    parallel:
      until: UNTIL
      branches:
        left: [{id: l, wait: {for: {from: his/in, types: [left], key: pid, set: {left: text}}}}]
        right:
          - {id: r, wait: {for: {from: his/in, types: [right], key: pid, set: {right: text}}}}
          - {id: r2, send: {to: shop/up, fields: {id: $flow.key, type: {const: right}}}}
  - id: which
    choose:
      - {when: left and right, end: both}
      - {when: left, end: left}
      - {end: right}
"""


@pytest.mark.parametrize(("mode", "sent", "end"), [("all", ["right", "left"], "both"), ("any", ["right"], "right")])
async def test_branches_go_on_side_by_side(
    tmp_path: Path, start: StartFlows, mode: str, sent: list[str], end: str
) -> None:
    hub = await start(order_site(tmp_path, PARALLEL.replace("UNTIL", mode)))
    await hub.offer("his/in", id="0", type="begin", pid="P-1")
    await hub.until_at("both", "l", "r")
    for kind in sent:
        await hub.offer("his/in", id=kind, type=kind, pid="P-1", text=kind)
    row = await hub.until_state("ended")
    assert row.instance.end == end
    assert hub.types("shop/up") == ["right"]


async def test_steps_are_repeated_until_it_is_well(tmp_path: Path, start: StartFlows) -> None:
    flow = """
start: {from: his/in, types: [begin], key: pid, set: {n: "0"}}
steps:
  - id: again
    repeat:
      until: n >= 3
      times: 5
      steps:
        - {id: count, set: {n: n + 1}}
        - {id: tell, when: n != 2, send: {to: shop/up, fields: {id: n, type: {const: tell}}}}
"""
    hub = await start(order_site(tmp_path, flow))
    await hub.offer("his/in", id="0", type="begin", pid="R-1")
    row = await hub.until_state("ended")
    assert hub.wire.peer("shop/up").ids() == [1, 3]
    assert row.instance.steps["again"].rounds == 3


async def test_what_runs_goes_on_by_the_version_it_began_with(tmp_path: Path, start: StartFlows) -> None:
    site = order_site(tmp_path)
    hub = await start(site)
    row = await _reviewed(hub)
    file = tmp_path / "flows" / "order.yaml"
    file.write_text(
        ORDER.replace("id: confirm\n    send: {to: shop/up", "id: settle\n    send: {to: courier/up"), "utf-8"
    )
    await hub.reload()
    await hub.order(row, Completed("review", "yes", {"opinion": "fine"}, "li"))
    old = await hub.until_state("ended")
    assert hub.types("shop/up") == ["reserve", "confirm"]
    await _ordered(hub, "O-2")
    await until(lambda: len(hub.rows()) == 2)
    assert hub.rows()[1].instance.version != old.instance.version


async def test_a_restart_and_a_removed_flow_lose_nothing(tmp_path: Path, start: StartFlows) -> None:
    site = order_site(tmp_path)
    hub = await start(site)
    await _ordered(hub)
    await until(lambda: hub.wire.peer("courier/up").calls)
    await hub.until_at("transport")
    (tmp_path / "flows" / "order.yaml").rename(tmp_path / "order.kept")
    await hub.restart()
    await hub.offer("courier/back", id="c1", type="booked", task="T-1", slot="10:30")
    row = await hub.until_at("review")
    await hub.order(row, Completed("review", "yes", {"opinion": "fine"}, "li"))
    await hub.until_state("ended")
    assert hub.types("shop/up") == ["reserve", "confirm"]
    assert hub.types("courier/up") == ["book"]


async def test_flows_are_sealed_where_the_store_is_and_what_was_plain_becomes_so(
    tmp_path: Path, without_indexer: None
) -> None:
    site = order_site(tmp_path, SUPPLEMENT)
    hub = FlowHub(site)
    await hub.start()
    try:
        await hub.offer("his/in", id="1", type="apply", pid="A-4711", text="Penicillinallergie")
        await hub.until_at("check")
        await hub.stop()
        assert b"Penicillinallergie" in _bytes(tmp_path)
        site.config["store"]["encryption"] = "sm4-gcm"
        site.config["keys"] = {"path": "../keys", "master": "file:../master.key"}
        keys = load_config(site.write()).hub.keys
        KeyStore.create(folder_of(keys, site.file.parent), master_source(keys.master, site.file.parent))
        await hub.restart()
        row = await hub.until_at("check")
        await hub.order(row, Completed("check", "more", {}, "li"))
        row = await hub.until_at("supplement")
        assert row.instance.vars["text"] == "Penicillinallergie"
    finally:
        await hub.stop()
    assert b"Penicillinallergie" not in _bytes(tmp_path)
    assert b"A-4711" not in _bytes(tmp_path)


def _bytes(folder: Path) -> bytes:
    """Of the file of the flows and its log."""
    return b"".join(path.read_bytes() for path in sorted((folder / "var" / "flows").iterdir()))


ROUTED = """
start: {types: [order], key: number, set: {total: total}}
steps:
  - {id: tell, send: {to: shop/up, fields: {id: $flow.key, type: {const: tell}, total: total}}}
keep: 1ms
"""


async def test_messages_may_come_by_a_route_with_a_mapping_and_what_has_ended_is_removed(
    tmp_path: Path, start: StartFlows
) -> None:
    site = order_site(tmp_path, ROUTED)
    site.mapping("to_flow", "from: {codec: json}\nto: {codec: json}\nfields: {number: pid, total: amount * 2}\n")
    site.config["routes"]["in"] = {"from": "his/in", "types": ["order"], "to": "flow/order", "mapping": "to_flow"}
    hub = await start(site)
    receipt = await hub.wire.submit("his/in", b'{"id":"1","type":"order","pid":"R-1","amount":12.50}')
    assert receipt.accepted
    row = await hub.until_state("ended")
    assert b'"total":25.00' in hub.wire.peer("shop/up").calls[0].body.replace(b" ", b"")
    flows = hub.node.flows
    assert flows is not None
    removed, unclaimed = await flows._in_thread(flows._keeper.clean)
    assert (removed, unclaimed) == (1, [])
    assert hub.rows() == []
    store = FlowStore(flows_file(tmp_path / "var"), salt_of(tmp_path / "var"), writable=False)
    assert (store.notes(row.id), store.documents(row.id), store.sent_by(row.id)) == ([], [], [])
    store.close()


async def test_a_second_start_with_a_key_that_runs_changes_nothing_and_is_noted(
    tmp_path: Path, start: StartFlows
) -> None:
    hub = await start(order_site(tmp_path, EARLY))
    await hub.offer("his/in", id="0", type="begin", pid="E-1")
    await hub.until_at("first")
    await hub.offer("his/in", id="00", type="begin", pid="E-1")
    await hub.reached(DeliveryState.DELIVERED, 2, target="flow/order")
    row = hub.only_row()
    store = FlowStore(flows_file(tmp_path / "var"), salt_of(tmp_path / "var"), writable=False)
    assert [note["what"] for note in store.notes(row.id)] == ["started", "received", "waits", "ignored"]
    store.close()


async def test_a_flow_that_a_reload_brings_runs_at_once(tmp_path: Path, start: StartFlows) -> None:
    site = order_site(tmp_path)
    file = tmp_path / "flows" / "order.yaml"
    text = file.read_text("utf-8")
    file.unlink()
    hub = await start(site)
    assert hub.node.flows is None
    file.write_text(text, "utf-8")
    await hub.reload()
    await _ordered(hub)
    await hub.until_at("transport")
    file.write_text(text.replace("to: shop/up", "to: shop/down", 1), "utf-8")
    with pytest.raises(ConfigError, match="shop/down"):
        await hub.reload()
    await _ordered(hub, "O-2")  # what was read before stays in use
    await until(lambda: [row.instance.at.get("") for row in hub.rows()] == ["transport"] * 2)


@pytest.mark.parametrize("turns", range(5))
async def test_a_hub_stops_however_close_that_is_to_work_coming_in(
    tmp_path: Path, start: StartFlows, turns: int
) -> None:
    """A cancellation that met the end of the wait for work was swallowed, and the hub never stopped."""
    hub = await start(order_site(tmp_path))
    await _ordered(hub)
    await hub.until_at("transport")
    flows, hub.node.flows = hub.node.flows, None
    assert flows is not None
    await until(lambda: not flows._worker._wake.is_set())
    (worker,) = (task for task in asyncio.all_tasks() if task.get_name() == "flows")
    flows._worker._wake.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    worker.cancel()  # once: closing would cancel again whatever has not ended, and hide it
    await asyncio.wait([worker], timeout=20)
    assert worker.cancelled()
    async with asyncio.timeout(20):
        await flows.close()
    assert not any(task.get_name().startswith("flows") for task in asyncio.all_tasks())
