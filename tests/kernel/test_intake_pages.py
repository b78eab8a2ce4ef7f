"""What is read from a source, page by page: all of a page and its mark or nothing, and the same as what is received otherwise."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hub.api import HubError, Item, Receipt, StoreBusy, UnreachableError
from hub.intake import OFF_LOOP_BYTES
from hub.message import DeliveryState, Direction, Outcome
from hub.node import data_folder, worker_folder
from hub.store.base import MessageQuery, Put
from hub.store.sqlite import SqliteStore
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site
from tests.store.store_support import make_message


def item(number: int, **more: Any) -> Item:
    return Item(orjson.dumps({"id": f"r{number}", "type": "row", "key": "a", "n": number, **more}))


async def take(hub: Hub, items: list[Item], mark: str | None = None, name: str = "") -> list[Receipt]:
    receiver = hub.wire.receivers["his/in"]
    return await receiver.intake.take(receiver.bound, items, mark=mark, name=name, remote="table rows")


async def mark(hub: Hub, name: str = "") -> str:
    receiver = hub.wire.receivers["his/in"]
    return await receiver.intake.mark(receiver.bound, name)


async def stored(hub: Hub) -> list[str]:
    page = await hub.node.store.reader.search(MessageQuery())
    return [row.control_id for row in reversed(page.rows)]


async def test_a_page_is_stored_with_its_mark_and_delivered_in_order(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    assert await mark(hub) == ""
    receipts = await take(hub, [item(n) for n in range(30)], "30")
    assert [(r.outcome, r.type, r.control_id) for r in receipts] == [(Outcome.OK, "row", f"r{n}") for n in range(30)]
    assert all(r.accepted and r.message_id for r in receipts)
    await hub.reached(DeliveryState.DELIVERED, 30)
    assert hub.wire.peer().ids() == [f"r{n}" for n in range(30)]
    assert await mark(hub) == "30"
    assert {call.remote for call in await hub.calls("his/in")} == {"table rows"}
    figures = hub.node.metrics.inbound("his/in")
    assert (figures.received, figures.accepted, figures.refused) == (30, 30, 0)
    assert (await hub.node.store.reader.verify_ledger()).balanced


async def test_the_mark_outlives_a_restart_and_names_are_apart(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    await take(hub, [item(1)], "one")
    await take(hub, [], "two", "other")
    await hub.restart()
    assert (await mark(hub), await mark(hub, "other")) == ("one", "two")


async def test_what_cannot_be_read_is_refused_and_kept_and_the_others_are_taken(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    receipts = await take(hub, [item(1), Item(b"{not json"), item(2)], "3")
    assert [r.outcome for r in receipts] == [Outcome.OK, Outcome.REFUSED, Outcome.OK]
    assert receipts[1].error is not None
    assert receipts[1].error.code == "json.invalid"
    (refused,) = [call for call in await hub.calls("his/in") if call.outcome is Outcome.REFUSED]
    assert (refused.request, refused.code) == (b"{not json", "json.invalid")
    assert await mark(hub) == "3"
    assert await stored(hub) == ["r1", "r2"]


async def test_what_was_taken_before_is_recognised(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    first = await take(hub, [item(1), item(2)], "2")
    again = await take(hub, [item(2), item(3), item(2, changed=True)], "3")
    assert [r.outcome for r in again] == [Outcome.DUPLICATE, Outcome.OK, Outcome.CONFLICT]
    assert again[0].message_id == first[1].message_id
    assert all(r.accepted for r in again)
    await hub.reached(DeliveryState.DELIVERED, 4)
    assert (await hub.node.store.reader.verify_ledger()).balanced


async def test_one_that_the_store_cannot_take_does_not_stop_the_others(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    bad = Item(b'{"type": "row", "key": "a"}', control_id="\ud800")
    receipts = await take(hub, [item(1), bad, item(2)], "3")
    assert [r.outcome for r in receipts] == [Outcome.OK, Outcome.REFUSED, Outcome.OK]
    assert await stored(hub) == ["r1", "r2"]
    assert await mark(hub) == "3"
    (refused,) = [call for call in await hub.calls("his/in") if call.outcome is Outcome.REFUSED]
    assert refused.request == bad.raw
    await hub.reached(DeliveryState.DELIVERED, 2)
    assert (await hub.node.store.reader.verify_ledger()).balanced


async def test_nothing_is_taken_while_the_hub_stops(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    receiver = hub.wire.receivers["his/in"]
    await hub.node.intake.drain(1)
    with pytest.raises(StoreBusy):
        await receiver.intake.take(receiver.bound, [item(1)], mark="1")


async def test_large_items_keep_their_place(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    await take(hub, [item(1), item(2, blob="x" * (OFF_LOOP_BYTES + 1)), item(3)])
    await hub.reached(DeliveryState.DELIVERED, 3)
    assert hub.wire.peer().ids() == ["r1", "r2", "r3"]


async def test_a_source_that_another_worker_read_goes_on_from_there(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    data = data_folder(hub.node.config_file, hub.node.deployment.config)
    await take(hub, [item(1)], "old")
    other = SqliteStore(worker_folder(data, 1), hub.node.deployment.config.store, worker=1)
    await other.open()
    await other.put_together([Put(make_message(other))], mark=("his/in", "new"))
    await other.close()
    await hub.restart()
    assert await mark(hub) == "new"


async def test_runs_are_in_the_call_log(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    receiver = hub.wire.receivers["his/in"]
    for error in (None, UnreachableError("no route"), HubError("no such table", code="sql.table")):
        receiver.intake.note_run(receiver.bound, started_us=1, params={"run": "manual"}, error=error, remote="rows")
    await take(hub, [item(1)])  # committed behind them
    calls = [call for call in await hub.calls("his/in") if call.remote == "rows"]
    assert sorted((call.outcome, call.code, call.error) for call in calls) == [
        (Outcome.OK, "", ""),
        (Outcome.UNREACHABLE, "send.unreachable", "no route"),
        (Outcome.FAILED, "sql.table", "no such table"),
    ]
    assert {(call.direction, call.params, call.at) for call in calls} == {(Direction.IN, '{"run":"manual"}', 1)}


async def test_a_page_whose_deliveries_are_dead_counts_as_taken(site: Site, start: StartHub) -> None:
    site.target(mapping="missing")
    hub = await start(site)
    (receipt,) = await take(hub, [item(1)], "1")
    assert receipt.accepted
    (delivery,) = await hub.reached(DeliveryState.DEAD)
    assert delivery.state is DeliveryState.DEAD
