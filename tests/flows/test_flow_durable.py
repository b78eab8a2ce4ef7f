"""What the service promises of moments between two commits, and of a disk that refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub.flows.work import Accepted
from hub.message import DeliveryState
from tests.flows.conftest import StartFlows
from tests.flows.flow_support import FlowHub, order_site
from tests.kernel.kernel_support import until


async def _ordered(hub: FlowHub, number: str) -> None:
    await hub.offer("his/in", id=f"m-{number}", type="order", pid=number, item="a", amount=2)


async def test_a_message_that_was_handed_in_and_not_noted_is_handed_in_again_and_is_one(
    tmp_path: Path, start: StartFlows
) -> None:
    hub = await start(order_site(tmp_path))
    flows = hub.node.flows
    assert flows is not None
    note = flows._outbox._add
    # As it is when the hub is killed between the commit of the message and the one that notes it.
    flows._outbox._add = lambda work: None if isinstance(work, Accepted) else note(work)
    await _ordered(hub, "O-1")
    await until(lambda: hub.wire.peer("shop/up").calls)
    await hub.reached(DeliveryState.DELIVERED, target="shop/up")
    assert hub.only_row().instance.at == {"": "reserve"}
    await hub.stop()
    await hub.restart()
    row = await hub.until_at("transport")
    assert row.instance.vars["reservation"] == "R-1"  # the reply is that of the first time
    assert hub.types("shop/up") == ["reserve"]


async def test_events_wait_while_the_file_can_not_be_written_and_none_is_lost(
    tmp_path: Path, start: StartFlows
) -> None:
    hub = await start(order_site(tmp_path))
    await _ordered(hub, "O-1")
    await hub.until_at("transport")
    flows = hub.node.flows
    assert flows is not None
    store: Any = flows._store

    def full() -> None:
        pages = store.db.execute("PRAGMA page_count").fetchone()[0]
        store.db.execute(f"PRAGMA max_page_count = {pages}")

    await flows._in_thread(full)
    for number in range(2, 40):
        await _ordered(hub, f"O-{number}")
    target = hub.node.engine.targets["flow/order"]
    await until(lambda: target.stats.retried > 0)
    await flows._in_thread(lambda: store.db.execute("PRAGMA max_page_count = 1000000"))
    await until(lambda: len(hub.rows()) == 39)
    await until(lambda: all(row.instance.at.get("") == "transport" for row in hub.rows()))
    assert len(hub.wire.peer("shop/up").calls) == 39
