"""Targets that misbehave: each harms only its own deliveries, and gets them all, once and in order, when it is well again."""

from __future__ import annotations

import random
from typing import Any

from tests.chaos.conftest import StartSink
from tests.chaos.load import HttpUpstream, MllpUpstream, Upstream
from tests.chaos.rig import EAGER, HubProcess, Site, until
from tests.chaos.sink import WAYS, Call, CheckingSink, HttpSink, MllpSink, answer, shares

#: MLLP knows no "not in service": it is AE there, as for any other error.
SICK_WAYS = {
    HttpSink: [way for way in WAYS if way != "answer"],
    MllpSink: ["error", "stall", "late", "lost", "cut", "garbage"],
}


async def test_sick_targets_beside_a_healthy_one(
    site: Site, hubs: list[HubProcess], sinks: StartSink, rounds: int
) -> None:
    """One target for every way to misbehave, two that refuse connections, all at once; and one that is well."""
    adt, notes = site.source()
    well = await sinks(HttpSink("well"))
    site.web("well", well, **EAGER)
    sick: list[CheckingSink] = []
    for kind, ways in SICK_WAYS.items():
        for way in [*ways, "refuse"]:
            sink = await sinks(kind(f"{kind.__name__.lower()}_{way}", late=1.5))
            sick.append(sink)
            (site.web if kind is HttpSink else site.lis)(sink.name, sink, **EAGER)
    hub = HubProcess(site)
    hubs.append(hub)
    await hub.start()
    for number in range(rounds):
        for sink in sick:
            way = sink.name.rpartition("_")[2]
            if way == "refuse":
                await sink.go_away()
            else:
                sink.manner = lambda call, way=way: way  # type: ignore[misc]
            sink.ways.clear()
        upstreams: list[Upstream] = [
            MllpUpstream(f"m{number}", adt, connections=3),
            HttpUpstream(f"h{number}", notes, connections=2),
        ]
        for upstream in upstreams:
            upstream.start()
        for upstream in upstreams:
            await upstream.acked_more(40)
            await upstream.finish()
        controls = [[control for upstream in us for control in upstream.acked] for us in (upstreams, upstreams[:1])]
        await well.has(controls[0])
        for sink in sick:  # they have been tried, and are as sick as before
            if sink.name.endswith("refuse"):
                assert not sink.ways
            else:
                await until(lambda sink=sink: sink.ways, what=f"a call of {sink.name}")  # type: ignore[misc]
                assert set(sink.ways) == {sink.name.rpartition("_")[2]}
        for sink in sick:
            sink.manner = answer
            if sink.name.endswith("refuse"):
                await sink.come_back()
        for sink in sick:
            await sink.has(controls[isinstance(sink, MllpSink)])
            assert sink.faults == []
        await hub.idle()
    assert well.faults == []
    assert well.repeated == 0
    assert await hub.stop() == 0
    await site.settled()
    assert hub.complaints() == []


async def test_a_share_of_everything(
    site: Site, hubs: list[HubProcess], sinks: StartSink, rounds: int, chance: random.Random
) -> None:
    """A target that fails in every way now and then gets everything once and in order."""
    adt, notes = site.source()
    web = await sinks(HttpSink("web", late=1.5))
    lis = await sinks(MllpSink("lis", late=1.5))
    web.manner = shares(chance, error=0.1, busy=0.05, lost=0.1, cut=0.1, garbage=0.1, late=0.005, stall=0.005)
    lis.manner = shares(chance, error=0.1, lost=0.1, cut=0.1, garbage=0.1, late=0.005, stall=0.005)
    site.web("web", web, **EAGER)
    site.lis("lis", lis, **EAGER)
    hub = HubProcess(site)
    hubs.append(hub)
    await hub.start()
    upstreams: list[Upstream] = [MllpUpstream("m", adt, connections=8), HttpUpstream("h", notes, connections=8)]
    for upstream in upstreams:
        upstream.start()
    for upstream in upstreams:
        await upstream.acked_more(200 * rounds)
        await upstream.finish()
    await web.has([control for upstream in upstreams for control in upstream.acked], 120)
    await lis.has(upstreams[0].acked, 120)
    await hub.idle()
    assert web.faults == lis.faults == []
    assert web.repeated > 0
    assert lis.repeated > 0
    assert await hub.stop() == 0
    await site.settled()


async def test_a_poisonous_message_stops_its_own_key_only(site: Site, hubs: list[HubProcess], sinks: StartSink) -> None:
    adt, _ = site.source()
    web = await sinks(HttpSink("web"))
    lis = await sinks(MllpSink("lis"))
    site.web("web", web, **EAGER)
    site.lis("lis", lis, **EAGER)
    hub = HubProcess(site)
    hubs.append(hub)
    await hub.start()
    poison = "m0p0-000000"

    def manner(call: Call) -> str:
        return "error" if call.control == poison else "answer"

    web.manner = lis.manner = manner
    upstream = MllpUpstream("m", adt, connections=4)
    upstream.start()
    await upstream.acked_more(300)
    await upstream.finish()
    behind = [control for control in upstream.acked if control.startswith("m0p0-")]
    others = [control for control in upstream.acked if control not in behind]
    assert len(behind) > 10
    for sink in (web, lis):
        await sink.has(others)
        assert sink.missing(behind) == behind
        assert sink.ways["error"] > 0
        sink.manner = answer
    for sink in (web, lis):
        await sink.has(upstream.acked)
        assert sink.faults == []
    await hub.idle()
    assert await hub.stop() == 0
    await site.settled()


async def test_in_arrival_order_a_poisonous_message_is_given_up_and_the_next_goes_on(
    site: Site, hubs: list[HubProcess], sinks: StartSink
) -> None:
    adt, _ = site.source()
    fifo: dict[str, Any] = {"order_by": None, "retry": {"attempts": 3, "interval": "100ms"}}
    web = await sinks(HttpSink("web"))
    lis = await sinks(MllpSink("lis"))
    site.web("web", web, **fifo)
    site.lis("lis", lis, **fifo)
    hub = HubProcess(site)
    hubs.append(hub)
    await hub.start()
    poison = "m0p1-000003"
    web.manner = lis.manner = lambda call: "error" if call.control == poison else "answer"
    upstream = MllpUpstream("m", adt, connections=1)
    upstream.start()
    await upstream.acked_more(100)
    await upstream.finish()
    place = upstream.acked.index(poison)
    expected = [*upstream.acked[:place], *[poison] * 4, *upstream.acked[place + 1 :]]
    for sink in (web, lis):
        await sink.has([control for control in upstream.acked if control != poison])
        assert sink.history == expected
        assert sink.faults == []
    await hub.idle()
    dead = (await hub.ask("GET", "/api/v1/deliveries?state=dead"))["deliveries"]
    assert sorted(row["target"] for row in dead) == ["lis/adt", "web/adt"]
    assert [row["attempts"] for row in dead] == [4, 4]
    assert await hub.stop() == 0
    ledger = await site.audited()
    for row in ledger["rows"]:
        assert (row["dead"], row["delivered"], row["moving"]) == (
            (1, len(upstream.acked) - 1, 0) if row["routed"] else (0, 0, 0)
        )
