"""Order within a key, none between keys: through retries, restarts, a window that overflows, and parked followers."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from hub.api import Outgoing, Reply, UnreachableError
from hub.contract import DeliveryConfig
from hub.delivery.queue import PARK_ABOVE
from hub.message import DeliveryState
from hub.store.unit import TASK
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site, until
from tests.kernel.wire import Peer, accept


def by_key(bodies: list[Any]) -> dict[str, list[int]]:
    """Numbers of the messages of each key, in the order in which the target got them; repeated calls count once."""
    found: dict[str, list[int]] = defaultdict(list)
    for body in bodies:
        number = int(body["id"][1:])
        if found[body["key"]][-1:] != [number]:
            found[body["key"]].append(number)
    return found


def in_order(peer: Peer, count: int) -> None:
    """Every message came, and within its key in the order of arrival."""
    found = by_key(peer.bodies)
    assert sorted(n for numbers in found.values() for n in numbers) == list(range(count))
    for key, numbers in found.items():
        assert all(earlier < later for earlier, later in pairwise(numbers)), (key, numbers)


def at_the_third_try(outgoing: Outgoing) -> Reply:
    return accept(outgoing) if outgoing.attempt == 3 else Reply(False, transient=True, code="500")


def by_chance(seed: int) -> Callable[[Outgoing], Any]:
    """Slow, failing and unreachable by turns, as chance will have it."""
    chance = random.Random(seed)

    async def react(outgoing: Outgoing) -> Reply:
        drawn = chance.random()
        await asyncio.sleep(drawn / 500)
        if drawn < 0.05 and outgoing.attempt < 4:
            return Reply(False, transient=True, code="500")
        if drawn < 0.08:
            raise UnreachableError("gone for a moment")
        return accept(outgoing)

    return react


async def test_order_is_kept_within_a_key_through_retries(site: Site, start: StartHub) -> None:
    peer = site.target()
    peer.react = at_the_third_try
    site.config["delivery"]["retry"] = {"attempts": 3, "interval": "5ms"}
    hub = await start(site)
    await hub.send(40, key=lambda n: str(n % 4))
    await hub.reached(DeliveryState.DELIVERED, 40)
    in_order(peer, 40)
    assert len(peer.calls) == 120


async def test_without_order_by_everything_keeps_its_order(site: Site, start: StartHub) -> None:
    peer = site.target(order_by=None)
    peer.react = by_chance(1)
    hub = await start(site)
    await hub.send(60)
    await hub.reached(DeliveryState.DELIVERED, 60)
    numbers = [int(body["id"][1:]) for body in peer.bodies]
    assert list(dict.fromkeys(numbers)) == list(range(60))
    assert peer.most_under_way == 1


async def test_an_empty_order_by_lets_everything_overtake(site: Site, start: StartHub) -> None:
    peer = site.target(order_by="")
    gate = asyncio.Event()

    async def first_waits(outgoing: Outgoing) -> Reply:
        if outgoing.control_id == "m0":
            await gate.wait()
        return accept(outgoing)

    peer.react = first_waits
    hub = await start(site)
    await hub.send(30, key=lambda n: "same")
    await hub.reached(DeliveryState.DELIVERED, 29)
    gate.set()
    await hub.reached(DeliveryState.DELIVERED, 30)


async def test_messages_without_the_key_keep_order_among_themselves(site: Site, start: StartHub) -> None:
    peer = site.target()
    peer.react = by_chance(2)
    hub = await start(site)
    for number in range(20):
        assert (await hub.wire.submit("his/in", {"id": f"m{number}", "type": "t"})).accepted
    await hub.reached(DeliveryState.DELIVERED, 20)
    assert list(dict.fromkeys(peer.ids())) == [f"m{n}" for n in range(20)]
    assert peer.most_under_way == 1


async def test_a_poisonous_message_stops_only_its_own_key_and_only_for_a_while(site: Site, start: StartHub) -> None:
    peer = site.target()
    site.config["delivery"]["retry"] = {"attempts": 2, "interval": "100ms"}

    def poison(outgoing: Outgoing) -> Reply:
        return Reply(False, transient=True, code="500") if outgoing.control_id == "m0" else accept(outgoing)

    peer.react = poison
    hub = await start(site)
    await hub.send(30, key=lambda n: "bad" if n % 10 == 0 else "good")
    await hub.reached(DeliveryState.DEAD)
    await hub.reached(DeliveryState.DELIVERED, 29)
    ids = peer.ids()
    assert ids.index("m29") < ids.index("m10")
    assert [call.control_id for call in peer.calls if call.control_id in ("m0", "m10", "m20")] == ["m0"] * 3 + [
        "m10",
        "m20",
    ]


async def test_followers_beyond_a_few_wait_in_the_store_and_come_back_in_order(site: Site, start: StartHub) -> None:
    """A key that waits for its retry must not fill the memory, nor be overtaken by what arrives meanwhile."""
    peer = site.target()
    gate = asyncio.Event()
    followers = PARK_ABOVE * 4
    site.config["delivery"]["retry"] = {"attempts": 3, "interval": "300ms"}

    def first_fails(outgoing: Outgoing) -> Reply:
        if outgoing.control_id == "m0" and not gate.is_set():
            return Reply(False, transient=True, code="500")
        return accept(outgoing)

    peer.react = first_fails
    hub = await start(site)
    await hub.send(1, key=lambda n: "a")
    target = hub.node.engine.targets["sink/up"]
    await until(lambda: target.status()["retrying"] == 1)
    await hub.send(followers, key=lambda n: "a", first=1)
    assert len(target.queue) <= PARK_ABOVE + 1
    await hub.send(10, key=lambda n: f"b{n}", first=followers + 1)
    await hub.reached(DeliveryState.DELIVERED, 10)
    gate.set()
    await until(lambda: len(peer.calls) > 12)
    await hub.send(PARK_ABOVE * 2, key=lambda n: "a", first=followers + 11)  # while the parked ones are coming in
    total = followers + 11 + PARK_ABOVE * 2
    await hub.reached(DeliveryState.DELIVERED, total)
    in_order(peer, total)
    assert [call.control_id for call in peer.calls].count("m0") == len(peer.calls) - total + 1  # no other came twice


async def test_order_survives_a_restart_in_the_middle(site: Site, start: StartHub) -> None:
    peer = site.target()
    peer.react = by_chance(3)
    site.config["delivery"]["retry"] = {"attempts": 20, "interval": "10ms"}
    hub = await start(site)
    for round_ in range(4):
        await hub.send(50, key=lambda n: str(n % 5), first=round_ * 50)
        await hub.restart()
    await hub.reached(DeliveryState.DELIVERED, 200)
    in_order(peer, 200)


async def test_a_delivery_that_waited_for_its_retry_goes_on_counting_after_a_restart(
    site: Site, start: StartHub
) -> None:
    peer = site.target()
    peer.react = lambda outgoing: Reply(False, transient=True, code="500")
    site.config["delivery"]["retry"] = {"attempts": 3, "interval": "150ms"}
    hub = await start(site)
    await hub.send(2, key=lambda n: "a")
    await hub.reached(DeliveryState.RETRYING)
    await hub.restart()
    await hub.reached(DeliveryState.DEAD, 2)
    assert [call.attempt for call in peer.calls] == [1, 2, 3, 4, 1, 2, 3, 4]
    assert [call.control_id for call in peer.calls] == ["m0"] * 4 + ["m1"] * 4


@pytest.mark.parametrize("keys", [1, 7, 3000])
async def test_thousands_of_deliveries_through_a_window_of_ten(site: Site, start: StartHub, keys: int) -> None:
    """Only a few are in memory; the rest waits in the store, also across a restart in the middle, and none is lost."""
    count = 3000
    peer = site.target(concurrency=4)
    site.config["delivery"]["window"] = 10
    gate = asyncio.Event()

    async def wait_for_gate(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return accept(outgoing)

    peer.react = wait_for_gate
    hub = await start(site)
    await hub.send(count // 2, key=lambda n: str(n % keys))
    target = hub.node.engine.targets["sink/up"]
    assert len(target.queue) <= DeliveryConfig(window=10).window
    assert target.queue.behind
    gate.set()
    await until(lambda: len(peer.calls) >= count // 4)
    await hub.restart(5.0)
    await hub.send(count - count // 2, key=lambda n: str(n % keys), first=count // 2)
    await hub.reached(DeliveryState.DELIVERED, count)
    in_order(peer, count)
    assert len(peer.calls) == count
    await until(lambda: not hub.node.engine.targets["sink/up"].queue.behind)


async def test_a_small_window_with_failures_and_restarts(site: Site, start: StartHub) -> None:
    peer = site.target(concurrency=8)
    peer.react = by_chance(4)
    site.config["delivery"] = {"window": 10, "retry": {"attempts": 50, "interval": "3ms"}}
    hub = await start(site)
    for round_ in range(3):
        await hub.send(200, key=lambda n: str(n % 11), first=round_ * 200)
        await hub.restart(1.0)
    await hub.reached(DeliveryState.DELIVERED, 600)
    in_order(peer, 600)


async def test_large_messages_beyond_the_budget_are_read_when_their_turn_comes(site: Site, start: StartHub) -> None:
    peer = site.target(concurrency=1)
    site.config["delivery"]["window_bytes"] = "10KB"
    gate = asyncio.Event()

    async def wait_for_gate(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return accept(outgoing)

    peer.react = wait_for_gate
    hub = await start(site)
    for number in range(20):
        await hub.wire.submit("his/in", {"id": f"m{number}", "type": "t", "key": "a", "pad": "x" * 3000})
    assert hub.node.engine._budget.used <= 10 << 10
    gate.set()
    await hub.reached(DeliveryState.DELIVERED, 20)
    assert all(len(body["pad"]) == 3000 for body in peer.bodies)
    in_order(peer, 20)
    assert hub.node.engine._budget.used == 0


async def test_what_memory_holds_is_given_back(site: Site, start: StartHub) -> None:
    site.target("good")
    bad = site.target("bad")
    bad.react = lambda outgoing: Reply(False, code="x", error="no")
    hub: Hub = await start(site)
    await hub.send(100, key=lambda n: str(n % 3))
    await hub.reached(DeliveryState.DEAD, 100)
    await hub.reached(DeliveryState.DELIVERED, 100)
    for target in hub.node.engine.targets.values():
        await until(lambda target=target: not target._feeder.closing)  # type: ignore[misc]
        status = target.status()
        assert (status["in_memory"], status["ready"], status["in_flight"], status["retrying"]) == (0, 0, 0, 0)
        assert hub.node.engine._budget.used == 0


async def test_what_is_read_before_its_commit_is_reported_is_sent_once(site: Site, start: StartHub) -> None:
    """The store's thread may be held up between a commit and the report of it, and the feeder reads just then."""
    peer = site.target(concurrency=1)
    site.config["delivery"]["window"] = 10
    gate = asyncio.Event()

    async def wait_for_gate(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return accept(outgoing)

    peer.react = wait_for_gate
    hub = await start(site)
    await hub.send(30, key=lambda n: "k")
    assert hub.node.engine.targets["sink/up"].queue.behind
    writer = hub.node.store._writer
    report = writer._report
    held: list[Any] = []
    writer._report = lambda *results: held.append(results)
    offers = [hub.wire.offer("his/in", {"id": f"m{n}", "type": "t", "key": "k"}) for n in range(30, 40)]
    while len(await hub.deliveries()) < 40:  # committed, and nobody was told
        await asyncio.sleep(0.01)

    def asked() -> int:
        return sum(operation[0] == TASK for results in held for operation, _ in results[0])

    before = asked()
    gate.set()
    await until(
        lambda: asked() > before or len(peer.calls) == 40
    )  # what is in memory goes out, and the feeder reads on
    writer._report = report
    for results in held:
        report(*results)
    await asyncio.gather(*offers)
    await hub.reached(DeliveryState.DELIVERED, 40)
    assert [call.control_id for call in peer.calls] == [f"m{n}" for n in range(40)]
