"""What would pile up, repeat itself or be left hanging: refusals, dead letters, answers, what comes early, renamed files, a stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hub.errors import StoreBusy, TransientError
from hub.flows.clock import Clock
from hub.flows.definition import Definition
from hub.flows.events import Cancelled, Sending, Settled, Tick
from hub.flows.outbox import Outbox
from hub.flows.store import FlowStore
from hub.flows.work import Fate, Order, Told, Work
from hub.flows.worker import Worker
from tests.flows.conftest import StartFlows
from tests.flows.flow_support import order_site
from tests.flows.keeper_support import NOW, Kept
from tests.kernel.kernel_support import until

_SENDS = b"""
start: {from: x/in, types: [order], key: no}
steps:
  - {id: tell, send: {to: x/y}, on_error: {then: continue}}
  - {id: pause, delay: 1h}
"""
_WAITS = b"""
start: {from: x/in, types: [order], key: no}
steps:
  - {id: pause, delay: 1h}
  - {id: paid, wait: {for: {from: x/in, types: [paid], key: no}}}
"""
_PAID = b"""
start: {from: x/in, types: [order], key: no}
steps: [{id: paid, wait: {for: {from: x/in, types: [paid], key: no}}}]
"""


async def _at_once(call: Callable[..., Any], *arguments: Any) -> Any:
    return call(*arguments)


async def test_what_can_not_be_handed_in_nor_told_is_left_in_peace_and_others_are_not_held_up(tmp_path: Path) -> None:
    """A version that can't be read any more, say: its flow can't be told of the refusal, and it was refused again without a pause."""
    store = FlowStore(tmp_path / "flows.db", b"salt")
    works: list[Work] = []

    def put(*numbers: int) -> None:
        sendings = [Sending(f"{number}/a/1.1", "a", False, "x/y", "t", "flow:gone:a@1", b"{}") for number in numbers]
        with store.transaction():
            store.enqueue(1, "k", sendings, NOW)

    outbox = Outbox(store, cast(Any, None), _at_once, works.append, cast(Any, None), cast(Any, None), True)
    deployment: Any = SimpleNamespace(inbound={})
    put(*range(600))
    await outbox.hand_in(deployment)
    assert len(works) == 600
    await outbox.hand_in(deployment)
    assert len(works) == 600
    put(600)
    await outbox.hand_in(deployment)
    assert [work.settled.sent for work in works[600:] if isinstance(work, Fate)] == ["600/a/1.1"]


def test_dead_letters_nobody_waits_for_are_not_looked_after_any_more(tmp_path: Path) -> None:
    kept = Kept(tmp_path, _SENDS)
    assert kept.message(1, "order", no="1").verdict == "started"
    (row,) = kept.store.outbox(0, 0, 10)
    with kept.store.transaction():
        kept.store.mark_sent(row.seq, 77)
    kept.keeper.handle([Fate(Settled(row.control, False, "4001", "refused"))])
    assert kept.one(1).at == {"": "pause"}
    assert kept.store.outbox(1, 0, 10) == []


def test_a_dead_letter_a_held_step_waits_for_is_still_looked_after(tmp_path: Path) -> None:
    kept = Kept(tmp_path, _SENDS.replace(b"continue", b"hold"))
    kept.message(1, "order", no="1")
    (row,) = kept.store.outbox(0, 0, 10)
    with kept.store.transaction():
        kept.store.mark_sent(row.seq, 77)
    kept.keeper.handle([Fate(Settled(row.control, False, "4001", "refused"))])
    assert kept.one(1).state == "held"
    assert [one.control for one in kept.store.outbox(1, 0, 10)] == [row.control]
    kept.keeper.handle([Fate(Settled(row.control, True))])  # somebody has sent it again
    assert kept.one(1).at == {"": "pause"}


def test_an_answer_no_step_waits_for_is_noted_once(tmp_path: Path) -> None:
    """It is found again with every look at the message it answers, every few seconds."""
    kept = Kept(tmp_path, _SENDS)
    kept.message(1, "order", no="1")
    (row,) = kept.store.outbox(0, 0, 10)
    told = [kept.message(2, "done", answers=row.control) for _ in range(3)]
    assert [(one.verdict, one.error) for one in told] == [("ignored", None), ("duplicate", None), ("duplicate", None)]
    assert [note["what"] for note in kept.store.notes(1)].count("ignored") == 1


def test_what_comes_before_its_instance_is_kept_only_as_far_as_the_instance_will_keep_it(tmp_path: Path) -> None:
    """The others are dead letters to be sent again; they were taken, and refused where nobody saw it when the instance began."""
    kept = Kept(tmp_path, _WAITS)
    told = [kept.message(number, "paid", no="1") for number in range(10, 70)]
    assert [one.verdict for one in told[:50]] == ["early"] * 50
    assert [one.error.code for one in told[50:] if one.error is not None] == ["flow.full"] * 10
    large = [kept.message(number, "paid", no="2", size=900_000) for number in range(100, 106)]
    assert [one.verdict for one in large] == ["early"] * 3 + [""] * 3
    assert kept.message(200, "order", no="1").verdict == "started"
    assert kept.message(201, "order", no="2").verdict == "started"
    assert [len(kept.one(number).parked) for number in (1, 2)] == [50, 3]
    notes = [note["what"] for number in (1, 2) for note in kept.store.notes(number)]
    assert "refused" not in notes


def test_two_flows_that_say_the_same_are_two_flows(tmp_path: Path) -> None:
    kept = Kept(tmp_path, _PAID, _PAID)
    assert kept.message(1, "order", no="1", flow="flow0").verdict == "started"
    assert kept.message(2, "order", no="1", flow="flow1").verdict == "started"
    assert kept.message(3, "paid", no="1", flow="flow1").verdict == "taken"
    assert kept.message(4, "paid", no="1", flow="flow0").verdict == "taken"


def test_what_runs_goes_on_when_its_file_gets_another_name(tmp_path: Path) -> None:
    kept = Kept(tmp_path, _PAID)
    kept.message(1, "order", no="1")
    kept.use(Definition.read("renamed", _PAID))
    assert [one.flow for one in kept.keeper.older()] == ["flow0"]
    assert kept.message(2, "order", no="1", flow="renamed").verdict == "started"
    kept.use()  # and that file is gone as well
    assert sorted(one.flow for one in kept.keeper.older()) == ["flow0", "renamed"]
    assert kept.message(3, "paid", no="1").verdict == "taken"
    assert kept.message(4, "paid", no="1", flow="renamed").verdict == "taken"


def test_what_began_by_a_version_of_an_earlier_hub_goes_on_by_it(tmp_path: Path) -> None:
    kept = Kept(tmp_path, _PAID)
    kept.use(Definition.read("flow0", _PAID, version="0123456789ab"))  # as an earlier hub named it
    kept.message(1, "order", no="1")
    kept.use(Definition.read("flow0", _PAID))
    (older,) = kept.keeper.older()
    assert older.version == kept.one(1).version == "0123456789ab"
    assert kept.message(2, "paid", no="1").verdict == "taken"


class _Slow:
    """In the place of the keeper: what it is given takes until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def handle(self, works: list[Work]) -> list[Told]:
        if works:
            self.begun.set()
            assert self.go.wait(20)
        return [Told("done") for _ in works]


async def test_whoever_waits_for_work_that_is_under_way_at_a_stop_is_told_so() -> None:
    async def nothing() -> None:
        return

    async def in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)

    keeper, store = _Slow(), SimpleNamespace(next_due=lambda: 0)
    worker = Worker(cast(Any, store), cast(Any, keeper), Clock(), in_thread, lambda work: None, nothing)
    running = asyncio.create_task(worker.run(nothing))
    asked = [asyncio.create_task(worker.ask(Order(number, Cancelled("li")))) for number in range(2)]
    await until(keeper.begun.is_set)
    asked.append(asyncio.create_task(worker.ask(Tick())))
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    worker.end()
    keeper.go.set()
    async with asyncio.timeout(20):
        for answer in (*asked, asyncio.create_task(worker.ask(Tick()))):
            with pytest.raises(TransientError, match="stopping"):
                await answer


async def test_what_begins_by_a_definition_whose_reload_then_fails_has_its_routes(
    tmp_path: Path, start: StartFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = await start(order_site(tmp_path))
    file = tmp_path / "flows" / "order.yaml"
    file.write_text(file.read_text("utf-8").replace("name: 订单", "name: 订单（新）"), "utf-8")
    store = hub.node.store
    apply = store.apply

    async def fails(*arguments: Any, **more: Any) -> Any:
        monkeypatch.setattr(store, "apply", apply)
        await hub.offer("his/in", id="m-1", type="order", pid="O-1", item="a", amount=2)
        await until(lambda: hub.rows())
        raise StoreBusy("the disk is full")

    monkeypatch.setattr(store, "apply", fails)
    with pytest.raises(StoreBusy):
        await hub.reload()
    await hub.until_at("transport")
