"""Several messages in one call: what goes together, what becomes of each, and that order and nothing else is lost by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from hub.api import Outgoing, Reply, TransientError, UnreachableError
from hub.ids import id_text
from hub.message import Delivery, DeliveryState, Direction, Outcome
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site, until
from tests.kernel.wire import Peer, accept

ITEMS = {"each": "results", "key": "no", "of": "id", "success": "ok", "code": "code", "message": "why"}


def collecting(site: Site, order_by: str | None = "", **collect: Any) -> Peer:
    """``within`` an hour: what belongs in one call waits for it, however slow the machine is."""
    rule = {"messages": 10, "within": "1h", **collect}
    return site.target(order_by=order_by, collect=rule)


def batches(peer: Peer) -> list[list[str]]:
    return [[item["id"] for item in body] for body in peer.bodies]


def flat(peer: Peer) -> list[str]:
    return [number for batch in batches(peer) for number in batch]


def of(number: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Outgoing], Reply]:
    """A target that tells of each item."""

    def react(outgoing: Outgoing) -> Reply:
        results = [{"no": item["id"], **number(item)} for item in orjson.loads(outgoing.body)]
        return Reply(True, orjson.dumps({"results": results}), code="200", status=200)

    return react


async def test_so_many_go_in_one_call(site: Site, start: StartHub) -> None:
    peer = collecting(site, within="1h", messages=5)
    hub = await start(site)
    await hub.send(10)
    await hub.reached(DeliveryState.DELIVERED, 10)
    assert batches(peer) == [[f"m{n}" for n in range(5)], [f"m{n}" for n in range(5, 10)]]


async def test_what_came_within_so_long_goes_in_one_call(site: Site, start: StartHub) -> None:
    peer = collecting(site, messages=1000, within="2s")
    hub = await start(site)
    await hub.send(3)
    assert not peer.calls
    await hub.reached(DeliveryState.DELIVERED, 3)
    assert batches(peer) == [["m0", "m1", "m2"]]


async def test_messages_stand_in_a_call_in_order_of_arrival(site: Site, start: StartHub) -> None:
    peer = collecting(site, "key", within="1h", messages=9)
    hub = await start(site)
    await hub.send(9, key=lambda n: str(n % 3))
    await hub.reached(DeliveryState.DELIVERED, 9)
    assert batches(peer) == [[f"m{n}" for n in range(9)]]


async def test_so_many_bytes_go_in_one_call(site: Site, start: StartHub) -> None:
    peer = collecting(site, bytes=300, messages=100, within="1s")
    hub = await start(site)
    await hub.send(40)
    await hub.reached(DeliveryState.DELIVERED, 40)
    assert sorted(flat(peer)) == sorted(f"m{n}" for n in range(40))
    assert all(sum(len(orjson.dumps([item])) for item in body) <= 300 for body in peer.bodies)
    assert len(peer.calls) <= 10


async def test_only_those_with_the_same_value_go_together(site: Site, start: StartHub) -> None:
    peer = collecting(site, by="key")
    hub = await start(site)
    await hub.send(20, key=lambda n: "ab"[n % 2])
    await hub.reached(DeliveryState.DELIVERED, 20)
    assert sorted(batches(peer)) == [[f"m{n}" for n in range(0, 20, 2)], [f"m{n}" for n in range(1, 20, 2)]]
    assert all(len({item["key"] for item in body}) == 1 for body in peer.bodies)


async def test_one_call_in_the_log_and_a_row_for_each_delivery(site: Site, start: StartHub) -> None:
    peer = collecting(site, messages=3)
    hub = await start(site)
    await hub.send(3)
    done = await hub.reached(DeliveryState.DELIVERED, 3)
    calls = await hub.logged("sink/up", 4)
    (whole,) = [call for call in calls if not call.delivery_id]
    rows = [call for call in calls if call.delivery_id]
    assert (whole.request, whole.response) == (peer.calls[0].body, b'{"code":0}')
    assert orjson.loads(whole.params)["batch"] == {"messages": 3, "number": peer.calls[0].idempotency_key}
    assert [row.delivery_id for row in rows] == [delivery.id for delivery in done]
    assert all((row.request, row.response, row.outcome, row.attempt) == (None, None, Outcome.OK, 1) for row in rows)
    assert [orjson.loads(row.params)["batch"] for row in rows] == [
        {"call": id_text(whole.id), "place": place, "messages": 3} for place in (1, 2, 3)
    ]
    figures = hub.node.metrics.snapshot()["outbound"]["sink/up"]
    assert (figures["batch"]["count"], figures["batch"]["max"], figures["delivered"]) == (1, 3.0, 3)
    assert b'tongqu_outbound_batch_messages_sum{target="sink/up"} 3.0' in hub.node.metrics.render()


async def test_one_that_cannot_be_mapped_is_dead_by_itself(site: Site, start: StartHub) -> None:
    peer = site.target(order_by=None, mapping="m", collect={"messages": 5, "within": "1h"})
    site.mapping(
        "m", "from: {codec: json}\nto: {codec: json}\nfields: {id: id, no: {expr: key | int, required: true}}\n"
    )
    hub = await start(site)
    await hub.send(5, key=lambda n: "x" if n == 2 else str(n))
    await hub.reached(DeliveryState.DELIVERED, 4)
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert dead.step == "map"
    assert batches(peer) == [["m0", "m1", "m3", "m4"]]
    (row,) = [call for call in await hub.calls("sink/up") if call.delivery_id == dead.id]
    assert (row.outcome, row.params) == (Outcome.FAILED, "")


@pytest.mark.parametrize("order_by", [None, "key"])
async def test_order_is_kept_through_failures_and_restarts(site: Site, start: StartHub, order_by: str | None) -> None:
    peer = collecting(site, order_by, messages=7, within="5ms")
    site.config["delivery"] = {"window": 20, "retry": {"attempts": 50, "interval": "3ms"}}
    chance = iter(range(1_000_000))
    failed: list[str] = []

    def react(outgoing: Outgoing) -> Reply:
        if next(chance) % 3 == 0:
            failed.extend(item["id"] for item in orjson.loads(outgoing.body))
            raise TransientError("not now", code="500")
        return accept(outgoing)

    peer.react = react
    hub = await start(site)
    await hub.send(60, key=lambda n: str(n % 4))
    await until(lambda: len(peer.calls) > 3)
    await hub.restart()
    await hub.send(60, key=lambda n: str(n % 4), first=60)
    await hub.reached(DeliveryState.DELIVERED, 120)
    wanted = [f"m{n}" for n in range(120)]
    assert sorted(set(flat(peer))) == sorted(wanted)
    for key in range(4) if order_by else (None,):
        line = [number for number in wanted if key is None or int(number[1:]) % 4 == key]
        # Each comes the last time after the last time of the one before it: a repetition is no overtaking.
        last = {number: place for place, number in enumerate(flat(peer))}
        places = [last[number] for number in line]
        assert places == sorted(places), key


async def test_a_key_is_never_in_two_calls_at_once(site: Site, start: StartHub) -> None:
    peer = collecting(site, "key", messages=3, within="1ms")
    under_way: set[str] = set()

    async def react(outgoing: Outgoing) -> Reply:
        keys = {item["key"] for item in orjson.loads(outgoing.body)}
        assert not keys & under_way
        under_way.update(keys)
        await asyncio.sleep(0.002)
        under_way.difference_update(keys)
        return accept(outgoing)

    peer.react = react
    hub = await start(site)
    await hub.send(200, key=lambda n: str(n * 7 % 9))
    await hub.reached(DeliveryState.DELIVERED, 200)
    assert peer.most_under_way > 1


async def test_a_batch_that_failed_is_tried_again_as_it_was(site: Site, start: StartHub) -> None:
    peer = collecting(site, messages=3)
    peer.react = lambda out: Reply(False, transient=True, code="500") if out.attempt < 3 else accept(out)
    hub = await start(site)
    await hub.send(3)
    await hub.send(3, first=3)
    await hub.reached(DeliveryState.DELIVERED, 6)
    by_key: dict[str, list[bytes]] = {}
    for call in peer.calls:
        by_key.setdefault(call.idempotency_key, []).append(call.body)
    assert [len(bodies) for bodies in by_key.values()] == [3, 3]
    assert all(len(set(bodies)) == 1 for bodies in by_key.values())


async def test_a_batch_waiting_for_its_retry_is_the_same_after_a_restart(site: Site, start: StartHub) -> None:
    peer = collecting(site, within="10ms", messages=6)
    site.config["delivery"]["retry"] = {"attempts": 3, "interval": "1s"}
    peer.react = lambda out: Reply(False, transient=True, code="500")
    hub = await start(site)
    await hub.send(4)
    await hub.reached(DeliveryState.RETRYING, 4)
    peer.react = accept
    await hub.restart()
    await hub.send(5, first=4)
    await hub.reached(DeliveryState.DELIVERED, 9)
    first = [call for call in peer.calls if b'"m0"' in call.body]
    assert len(first) == 2
    assert len({call.idempotency_key for call in first}) == 1


async def test_the_target_tells_of_each(site: Site, start: StartHub) -> None:
    site.config["delivery"]["retry"] = {"attempts": 5, "interval": "5ms"}
    peer = site.target(
        order_by="key",
        collect={"messages": 6, "within": "1h", "items": ITEMS},
        errors={"busy": {"class": "transient"}, "known": {"class": "delivered"}},
    )
    tries: dict[str, int] = {}

    def tell(item: dict[str, Any]) -> dict[str, Any]:
        tries[item["id"]] = tries.get(item["id"], 0) + 1
        return {
            "m1": {"ok": False, "code": "bad", "why": "no such patient"},
            "m2": {"ok": tries[item["id"]] > 2, "code": "busy"},
            "m3": {"ok": False, "code": "known"},
        }.get(item["id"], {"ok": True})

    peer.react = of(tell)
    hub = await start(site)
    await hub.send(6)
    await hub.reached(DeliveryState.DELIVERED, 5)
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert (dead.reason, dead.step, dead.attempts) == ("no such patient", "classify", 1)
    assert tries == {"m0": 1, "m1": 1, "m2": 3, "m3": 1, "m4": 1, "m5": 1}
    assert batches(peer) == [[f"m{n}" for n in range(6)], ["m2"], ["m2"]]


async def test_one_that_is_tried_again_holds_up_its_own_key_only(site: Site, start: StartHub) -> None:
    peer = site.target(order_by="key", collect={"messages": 20, "within": "5ms", "items": ITEMS})
    site.config["systems"]["sink"]["interfaces"]["up"]["errors"] = {"busy": {"class": "transient"}}
    site.config["delivery"]["retry"] = {"attempts": 1000, "interval": "5ms"}
    busy = True
    peer.react = of(lambda item: {"ok": not (busy and item["id"] == "m0"), "code": "busy"})
    hub = await start(site)
    await hub.send(40, key=lambda n: str(n % 4))
    await hub.reached(DeliveryState.DELIVERED, 30)
    assert {number for number in flat(peer) if int(number[1:]) % 4 == 0} == {"m0"}
    busy = False
    await hub.reached(DeliveryState.DELIVERED, 40)
    for key in range(4):
        line = [number for number in dict.fromkeys(flat(peer)) if int(number[1:]) % 4 == key]
        assert line == [f"m{n}" for n in range(key, 40, 4)]


async def test_messages_the_reply_does_not_list(site: Site, start: StartHub) -> None:
    together = {"messages": 3, "within": "1h"}
    listed = site.target("listed", order_by="", collect={**together, "items": {**ITEMS, "unlisted": "retry"}})
    failures = site.target(
        "failures",
        order_by="",
        collect={**together, "items": {"each": "failed", "index": "at", "first": 1, "unlisted": "delivered"}},
    )
    calls = iter(range(1000))
    listed.react = lambda out: Reply(
        True,
        orjson.dumps({"results": [{"no": i["id"], "ok": True} for i in orjson.loads(out.body)][next(calls) == 0 :]}),
    )
    failures.react = lambda out: Reply(True, b'{"failed":[{"at":2}]}')
    hub = await start(site)
    await hub.send(3)
    await hub.reached(DeliveryState.DELIVERED, 3, target="listed/up")
    assert batches(listed) == [["m0", "m1", "m2"], ["m0"]]
    await hub.reached(DeliveryState.DELIVERED, 2, target="failures/up")
    (dead,) = await hub.reached(DeliveryState.DEAD, target="failures/up")
    assert (await hub.delivery(dead.id)).message.control_id == "m1"  # type: ignore[union-attr]


@pytest.mark.parametrize("order_by", [None, "key", ""])
async def test_one_that_spoils_the_whole_is_found_by_halving(site: Site, start: StartHub, order_by: str | None) -> None:
    peer = collecting(site, order_by, messages=16, within="1h", refused="halves")
    peer.react = lambda out: Reply(False, code="no", error="refused") if b'"m5"' in out.body else accept(out)
    hub = await start(site)
    await hub.send(16, key=lambda n: str(n % 3))
    await hub.reached(DeliveryState.DELIVERED, 15)
    await hub.reached(DeliveryState.DEAD)
    # 16, 8 and 8, 4 and 4, 2 and 2, 1 and 1; one that has to wait for its key goes in a call of its own
    assert len(peer.calls) <= (12 if order_by == "key" else 9)
    good = [
        number
        for call in peer.calls
        if b'"m5"' not in call.body
        for number in [i["id"] for i in orjson.loads(call.body)]
    ]
    assert sorted(good) == sorted(f"m{n}" for n in range(16) if n != 5)
    if order_by is None:
        assert good == [f"m{n}" for n in range(16) if n != 5]


async def test_a_call_refused_as_a_whole_makes_dead_letters_of_all(site: Site, start: StartHub) -> None:
    peer = collecting(site, messages=4)
    peer.react = lambda out: Reply(False, code="401", error="no")
    hub = await start(site)
    await hub.send(4)
    await hub.reached(DeliveryState.DEAD, 4)
    assert len(peer.calls) == 1
    peer.react = accept
    await hub.act("resend", [d.id for d in await hub.deliveries()])
    await hub.reached(DeliveryState.DELIVERED, 4)
    assert batches(peer) == [["m0", "m1", "m2", "m3"]] * 2


async def test_an_unreachable_target_gets_the_same_batch_when_it_is_back(site: Site, start: StartHub) -> None:
    peer = collecting(site, None, messages=4)

    def away(outgoing: Outgoing) -> Reply:
        raise UnreachableError("refused", code="connect")

    peer.react = away
    hub = await start(site)
    await hub.send(4)
    await until(lambda: len(peer.calls) > 3)
    peer.react = accept
    await hub.reached(DeliveryState.DELIVERED, 4)
    assert len({call.idempotency_key for call in peer.calls}) == 1
    assert all(delivery.attempts == 1 for delivery in await hub.deliveries())


async def test_an_envelope(site: Site, start: StartHub) -> None:
    peer = collecting(site, mapping="envelope", within="1h", messages=3)
    site.mapping(
        "envelope",
        "from: {codec: json}\nto: {codec: json}\nfields:\n  head: {batch: $source.number, count: count}\n"
        "  body: {each: items, no: .id}\n  keys: keys\n",
    )
    hub = await start(site)
    await hub.send(3)
    done = await hub.reached(DeliveryState.DELIVERED, 3)
    (body,) = peer.bodies
    assert body == {
        "head": {"batch": peer.calls[0].idempotency_key, "count": 3},
        "body": [{"no": "m0"}, {"no": "m1"}, {"no": "m2"}],
        "keys": [id_text(delivery.id) for delivery in done],
    }
    (whole,) = [call for call in await hub.logged("sink/up", 4) if not call.delivery_id]
    assert whole.mapping == hub.node.deployment.mappings.get("envelope").stamp


async def test_parts_of_a_split_go_together_in_their_order(site: Site, start: StartHub) -> None:
    peer = site.target(order_by=None, mapping="split", collect={"messages": 4, "within": "10ms"})
    site.mapping("split", "from: {codec: json}\nto: {codec: json}\nsplit: items\nfields: {id: .no}\n")
    hub = await start(site)
    for number in range(6):
        items = [{"no": f"{number}.{part}"} for part in range(3)]
        await hub.wire.submit("his/in", {"id": f"m{number}", "type": "t", "key": "a", "items": items})
    await hub.reached(DeliveryState.DELIVERED, 18)
    assert flat(peer) == [f"{number}.{part}" for number in range(6) for part in range(3)]


async def test_an_operator_takes_one_out_of_a_batch_that_waits(site: Site, start: StartHub) -> None:
    peer = collecting(site, None, messages=5, within="1h")
    hub = await start(site)
    await hub.send(4)
    await until(lambda: hub.node.engine.targets["sink/up"].status()["gathering"] == 4)
    waiting: list[Delivery] = await hub.deliveries()
    done = await hub.act("hold", [waiting[1].id])
    assert done.done == [waiting[1].id]
    await hub.send(2, first=4)
    await hub.reached(DeliveryState.DELIVERED, 5)
    assert batches(peer) == [["m0", "m2", "m3", "m4", "m5"]]
    await hub.act("hold", [])
    status = hub.node.engine.targets["sink/up"].status()
    assert (status["in_memory"], status["ready"], status["gathering"], status["in_flight"]) == (0, 0, 0, 0)


async def test_an_operator_takes_one_out_of_a_batch_that_is_to_be_tried_again(site: Site, start: StartHub) -> None:
    site.config["delivery"]["retry"] = {"attempts": 3, "interval": "1s"}
    peer = collecting(site, None, messages=3)
    peer.react = lambda out: Reply(False, transient=True, code="500")
    hub = await start(site)
    await hub.send(3)
    waiting = await hub.reached(DeliveryState.RETRYING, 3)
    peer.react = accept
    await hub.act("ignore", [waiting[0].id])
    await hub.reached(DeliveryState.DELIVERED, 2)
    assert batches(peer)[-1] == ["m1", "m2"]


async def test_a_reload_begins_and_ends_collecting(site: Site, start: StartHub) -> None:
    peer = site.target(order_by=None)
    hub = await start(site)
    await hub.send(2)
    await hub.reached(DeliveryState.DELIVERED, 2)
    interface = site.config["systems"]["sink"]["interfaces"]["up"]
    interface["collect"] = {"messages": 3, "within": "1h"}
    await hub.reload()
    await hub.send(5, first=2)
    await hub.reached(DeliveryState.DELIVERED, 5)
    del interface["collect"]
    await hub.reload()
    await hub.reached(DeliveryState.DELIVERED, 7)
    assert [orjson.loads(call.body) if call.body[:1] == b"[" else [orjson.loads(call.body)] for call in peer.calls][2][
        0
    ]["id"] == "m2"
    assert len(peer.calls) == 5


async def test_a_sender_that_hangs_is_cut_off(site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.delivery.target.OVERDUE_S", 0.05)
    monkeypatch.setattr("hub.delivery.engine.SWEEP_S", 0.02)
    peer = site.target(timeout="50ms", concurrency=1, order_by=None, collect={"messages": 3, "within": "1ms"})

    async def hang(outgoing: Outgoing) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    peer.react = hang
    hub = await start(site)
    await hub.send(3)
    dead = await hub.reached(DeliveryState.DEAD, 3)
    assert [(d.attempts, d.step) for d in dead] == [(4, "send")] * 3
    peer.react = accept
    await hub.send(3, first=3)
    await hub.reached(DeliveryState.DELIVERED, 3)


async def test_rate_and_concurrency_count_calls(site: Site, start: StartHub) -> None:
    peer = site.target(order_by="", concurrency=2, rate=50, collect={"messages": 4, "within": "1ms"})
    hub = await start(site)
    await hub.send(40)
    await hub.reached(DeliveryState.DELIVERED, 40)
    assert peer.most_under_way <= 2
    assert sorted(flat(peer)) == sorted(f"m{n}" for n in range(40))


async def test_large_backlogs_of_one_key_go_out_in_order(site: Site, start: StartHub) -> None:
    """More than fits into memory, behind a failure that sends the followers of the key back to the store."""
    site.config["delivery"] = {"window": 10, "retry": {"attempts": 20, "interval": "20ms"}}
    peer = collecting(site, None, messages=20, within="5ms")
    peer.react = lambda out: Reply(False, transient=True, code="500") if out.attempt == 1 else accept(out)
    hub = await start(site)
    await hub.send(700)
    await hub.reached(DeliveryState.DELIVERED, 700)
    good = [number for call in peer.calls if call.attempt > 1 for number in [i["id"] for i in orjson.loads(call.body)]]
    assert good == [f"m{n}" for n in range(700)]


async def test_the_log_shows_no_row_of_an_interface_that_does_not_collect(site: Site, start: StartHub) -> None:
    site.target()
    hub: Hub = await start(site)
    await hub.send(2)
    await hub.reached(DeliveryState.DELIVERED, 2)
    calls = await hub.calls("sink/up", direction=Direction.OUT)
    assert all(call.delivery_id and not call.params for call in calls)
    assert "batch" not in hub.node.metrics.snapshot()["outbound"]["sink/up"]


async def test_what_memory_holds_is_given_back(site: Site, start: StartHub) -> None:
    peer = collecting(site, "key", messages=5, within="5ms", refused="halves", bytes="1KB")
    chance = iter(range(1_000_000))
    peer.react = lambda out: (
        Reply(False, transient=next(chance) % 2 == 0, code="no") if b'"m7"' in out.body else accept(out)
    )
    hub = await start(site)
    await hub.send(60, key=lambda n: str(n % 7))
    await hub.reached(DeliveryState.DELIVERED, 59)
    await hub.reached(DeliveryState.DEAD)
    target = hub.node.engine.targets["sink/up"]
    await until(lambda: not target._feeder.closing)
    status = target.status()
    figures = ("in_memory", "ready", "in_flight", "retrying", "gathering")
    assert [status[figure] for figure in figures] == [0] * len(figures)
    assert hub.node.engine._budget.used == 0


async def test_a_message_of_a_batch_is_replayed_by_itself(site: Site, start: StartHub) -> None:
    collecting(site, mapping="envelope", within="1h", messages=2)
    site.mapping("envelope", "from: {codec: json}\nto: {codec: json}\nfields: {list: {each: items, no: .id}}\n")
    hub = await start(site)
    await hub.send(2)
    done = await hub.reached(DeliveryState.DELIVERED, 2)
    (again,) = await hub.node.replayer().run(done[1].message_id)
    assert (again.error, again.outputs, again.changes) == ("", [b'{"list":[{"no":"m1"}]}'], None)


async def test_looked_up_one_by_one(site: Site, start: StartHub) -> None:
    site.plugin(
        "index",
        "id: index\nname: index\nsettings: {channel: {type: string, required: true}}\ninterfaces:\n  find:\n"
        '    direction: out\n    adapter: wire\n    connect: {channel: "${channel}"}\n    codec: json\n',
    )
    site.system("index", "index")
    peer = site.target(mapping="m", order_by="key", collect={"messages": 6, "within": "1h"})
    site.mapping(
        "m",
        "from: {codec: json}\nto: {codec: json}\nlookups:\n  found: {system: index/find, request: {no: id}, "
        "required: true}\nfields: {id: id, name: $found.name}\n",
    )
    asked = site.peer("index/find")
    tries: dict[bytes, int] = {}

    def find(outgoing: Outgoing) -> Reply:
        tries[outgoing.body] = tries.get(outgoing.body, 0) + 1
        if b"m1" in outgoing.body and tries[outgoing.body] < 3:
            return Reply(False, transient=True, code="503")
        if b"m2" in outgoing.body:
            return Reply(True, b"{}")
        return Reply(True, b'{"name":"n"}')

    asked.react = find
    hub = await start(site)
    await hub.send(6)
    await hub.reached(DeliveryState.DELIVERED, 5)
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert dead.step == "lookup"
    assert batches(peer) == [["m0", "m3", "m4", "m5"], ["m1"]]
    rows = [call for call in await hub.calls("sink/up") if call.delivery_id and call.outcome is Outcome.OK]
    assert all(set(orjson.loads(call.params)) == {"lookups", "batch"} for call in rows)
