"""The time of day is set, back and forward, while the hub runs and while it does not: order, numbers and retries hold."""

from __future__ import annotations

import random
from pathlib import Path

from tests.chaos.conftest import StartSink
from tests.chaos.load import HttpUpstream, MllpUpstream, Upstream
from tests.chaos.rig import EAGER, HubProcess, Site
from tests.chaos.sink import HttpSink, shares

HOUR, DAY = 3600.0, 86400.0


async def test_the_clock_is_set(
    site: Site, hubs: list[HubProcess], sinks: StartSink, rounds: int, chance: random.Random
) -> None:
    clock = site.folder / "clock"
    clock.write_text("0")
    web, sick = await sinks(HttpSink("web")), await sinks(HttpSink("sick"))
    sick.manner = shares(chance, error=0.2, lost=0.1)
    adt, notes = site.source()
    site.web("web", web, **EAGER)
    site.web("sick", sick, **EAGER)
    hub = HubProcess(site)
    hub.environment = {"CHAOS_CLOCK": str(clock), "PYTHONPATH": str(Path(__file__).parent / "shifted")}
    hubs.append(hub)
    upstreams: list[Upstream] = [
        MllpUpstream("m", adt, connections=4, pause=0.005),
        HttpUpstream("h", notes, connections=2, pause=0.005),
    ]
    for upstream in upstreams:
        upstream.start()
    await hub.start()
    for number in range(rounds):
        for offset in (-HOUR, 2 * DAY, 0.0, 10 * DAY):  # while it runs
            clock.write_text(str(offset))
            for upstream in upstreams:
                await upstream.acked_more(30)
            await web.has([control for upstream in upstreams for control in list(upstream.acked)])
        if number % 2:
            assert await hub.stop() == 0
        else:
            await hub.kill()
        web.era += 1
        sick.era += 1
        clock.write_text(str(-DAY))  # while it does not
        await hub.start()
        for upstream in upstreams:
            await upstream.acked_more(30)
        clock.write_text("0")
        for upstream in upstreams:
            await upstream.acked_more(30)
    for upstream in upstreams:
        await upstream.finish()
    controls = [control for upstream in upstreams for control in upstream.acked]
    await web.has(controls)
    await sick.has(controls)
    assert web.faults == sick.faults == []
    await hub.idle()
    assert await hub.stop() == 0
    ledger = await site.settled()
    assert ledger["messages"] == len(controls)
    assert hub.complaints() == []
