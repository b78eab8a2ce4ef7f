"""One message becomes many: the parts go before whatever follows, each once, also across a restart in the middle."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.api import Outgoing, Reply
from hub.message import Delivery, DeliveryState
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site, until
from tests.kernel.wire import accept

SPLIT = "from: {codec: json}\nto: {codec: json}\nsplit: items\nfields: {id: .no, of: id}\n"


def message(number: int, parts: int, key: str = "a") -> dict[str, object]:
    return {
        "id": f"m{number}",
        "type": "t",
        "key": key,
        "items": [{"no": f"{number}.{n}"} for n in range(1, parts + 1)],
    }


def splitting(site: Site, **contract: Any) -> None:
    site.target(mapping="split", **contract)
    site.mapping("split", SPLIT)


async def parents(hub: Hub) -> list[Delivery]:
    return [d for d in await hub.deliveries() if not d.parent]


async def test_a_message_becomes_its_parts(site: Site, start: StartHub) -> None:
    splitting(site)
    hub = await start(site)
    receipt = await hub.wire.submit("his/in", message(1, 3))
    parts = await hub.reached(DeliveryState.DELIVERED, 3)
    (parent,) = await parents(hub)
    assert (parent.state, parent.parts) == (DeliveryState.SKIPPED, 3)
    assert [(d.parent, d.part, d.message_id, d.route, d.target) for d in parts] == [
        (parent.id, number, receipt.message_id, "to_sink", "sink/up") for number in (1, 2, 3)
    ]
    peer = site.peer()
    assert peer.ids() == ["1.1", "1.2", "1.3"]
    assert {body["of"] for body in peer.bodies} == {"m1"}
    assert len({call.idempotency_key for call in peer.calls}) == 3
    (row,) = (await hub.node.store.reader.verify_ledger()).rows
    assert (row.routed, row.delivered, row.skipped) == (4, 3, 1)


async def test_the_contracts_idempotency_key_tells_the_parts_apart(site: Site, start: StartHub) -> None:
    splitting(site, idempotency="id")
    hub = await start(site)
    await hub.wire.submit("his/in", message(1, 3))
    await hub.reached(DeliveryState.DELIVERED, 3)
    assert [call.idempotency_key for call in site.peer().calls] == ["m1-1", "m1-2", "m1-3"]


async def test_a_mapping_that_makes_nothing_skips_the_delivery(site: Site, start: StartHub) -> None:
    splitting(site)
    hub = await start(site)
    await hub.wire.submit("his/in", message(1, 0))
    await hub.wire.submit("his/in", message(2, 1))
    await hub.reached(DeliveryState.DELIVERED)
    first, second, *_ = await hub.deliveries()
    assert (first.state, first.parts, bool(first.reason)) == (DeliveryState.SKIPPED, 0, True)
    assert site.peer().ids() == ["2.1"]
    assert second.state in (DeliveryState.DELIVERED, DeliveryState.SKIPPED)


@pytest.mark.parametrize("order_by", ["key", None])
async def test_parts_go_before_followers_of_their_key(site: Site, start: StartHub, order_by: str | None) -> None:
    splitting(site, order_by=order_by)
    peer = site.peer()
    chance = iter(range(1_000_000))
    peer.react = lambda out: Reply(False, transient=True, code="500") if next(chance) % 7 == 0 else accept(out)
    site.config["delivery"]["retry"] = {"attempts": 30, "interval": "3ms"}
    hub = await start(site)
    answers = [hub.wire.offer("his/in", message(number, 4)) for number in range(20)]
    await asyncio.wait_for(asyncio.gather(*answers), 20)
    await hub.reached(DeliveryState.DELIVERED, 80)
    assert list(dict.fromkeys(peer.ids())) == [f"{number}.{part}" for number in range(20) for part in range(1, 5)]


async def test_without_order_every_part_goes_out(site: Site, start: StartHub) -> None:
    splitting(site, order_by="")
    hub = await start(site)
    answers = [hub.wire.offer("his/in", message(number, 5)) for number in range(20)]
    await asyncio.wait_for(asyncio.gather(*answers), 20)
    await hub.reached(DeliveryState.DELIVERED, 100)
    assert sorted(site.peer().ids()) == sorted(f"{n}.{part}" for n in range(20) for part in range(1, 6))


@pytest.mark.parametrize("window", [10, 2000])
async def test_parts_keep_their_place_across_restarts(site: Site, start: StartHub, window: int) -> None:
    """The parts have higher ids than the messages behind them, and still go first when the hub comes back."""
    splitting(site)
    site.config["delivery"] = {"window": window, "retry": {"attempts": 3, "interval": "5ms"}}
    peer = site.peer()
    gate = asyncio.Event()
    let_through = 2

    async def stops_after_two(outgoing: Outgoing) -> Reply:
        if len(peer.calls) > let_through:
            await gate.wait()
        return accept(outgoing)

    peer.react = stops_after_two
    hub = await start(site)
    answers = [hub.wire.offer("his/in", message(number, 4)) for number in range(15)]
    answers += [hub.wire.offer("his/in", message(number, 4, key="b")) for number in range(15, 30)]
    await asyncio.wait_for(asyncio.gather(*answers), 20)
    await until(lambda: peer.under_way >= 1 and len(peer.calls) >= 3)
    begun = peer.ids()
    await hub.restart()
    gate.set()
    await hub.reached(DeliveryState.DELIVERED, 120)
    for key, numbers in (("a", range(15)), ("b", range(15, 30))):
        wanted = [f"{number}.{part}" for number in numbers for part in range(1, 5)]
        got = [name for name in peer.ids() if int(name.partition(".")[0]) in numbers]
        assert list(dict.fromkeys(got)) == wanted, key
    repeated = [name for name in set(peer.ids()) if peer.ids().count(name) > 1]
    assert set(repeated) <= set(begun)  # only what was under way when the hub stopped may come twice


async def test_a_dead_part_does_not_hold_up_the_others(site: Site, start: StartHub) -> None:
    splitting(site)
    peer = site.peer()
    peer.react = lambda out: Reply(False, code="no") if out.body.startswith(b'{"id":"1.2"') else accept(out)
    hub = await start(site)
    await hub.wire.submit("his/in", message(1, 3))
    await hub.reached(DeliveryState.DELIVERED, 2)
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert dead.part == 2
    peer.react = accept
    await hub.act("resend", [dead.id])
    await hub.reached(DeliveryState.DELIVERED, 3)
    assert peer.ids() == ["1.1", "1.2", "1.3", "1.2"]


async def test_many_parts_that_wait_for_a_retry_stay_before_what_follows(site: Site, start: StartHub) -> None:
    """More parts than followers are kept in memory while a key waits."""
    splitting(site)
    site.config["delivery"]["retry"] = {"attempts": 3, "interval": "30ms"}
    peer = site.peer()
    peer.react = lambda out: Reply(False, transient=True, code="500") if out.attempt == 1 else accept(out)
    hub = await start(site)
    answers = [hub.wire.offer("his/in", message(0, 50))]
    answers += [hub.wire.offer("his/in", message(number, 1)) for number in range(1, 41)]
    await asyncio.wait_for(asyncio.gather(*answers), 20)
    await until(lambda: len(peer.calls) >= 5)
    await hub.restart()
    await hub.reached(DeliveryState.DELIVERED, 90)
    wanted = [f"0.{part}" for part in range(1, 51)] + [f"{number}.1" for number in range(1, 41)]
    assert list(dict.fromkeys(peer.ids())) == wanted
