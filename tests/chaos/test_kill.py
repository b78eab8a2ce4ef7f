"""``kill -9`` at random moments under load: nothing acknowledged is lost, nothing takes effect twice, order holds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from tests.chaos.conftest import StartSink
from tests.chaos.load import HttpUpstream, MllpUpstream, Upstream
from tests.chaos.rig import EAGER, HubProcess, Site, until
from tests.chaos.sink import CheckingSink, HttpSink, MllpSink, shares

#: Longest time a life lasts, seconds; a fifth of them end while the hub is still starting.
LIFE = 0.8
STARTING = 0.8


async def settle(
    hub: HubProcess, upstreams: list[Upstream], targets: list[tuple[CheckingSink, list[Upstream]]]
) -> None:
    """Everything acknowledged arrives, once and in order, the hub stops in peace and its books are in order."""
    for upstream in upstreams:
        await upstream.finish()
    for sink, sources in targets:
        await sink.has([control for upstream in sources for control in upstream.acked])
        assert sink.faults == []
    for upstream in upstreams:
        assert len(set(upstream.acked)) == len(upstream.acked) == upstream.sent
    await hub.idle()
    assert await hub.stop() == 0
    await until(lambda: not hub.family(), what="the end of every process of the hub")
    ledger = await hub.site.settled()
    assert ledger["messages"] == sum(upstream.sent for upstream in upstreams)


async def lives(
    hub: HubProcess, rounds: int, upstreams: list[Upstream], chance: random.Random, kill: Callable[[], object]
) -> None:
    """Start and kill, again and again."""
    for _ in range(rounds):
        await hub.spawn()
        if chance.random() < 0.2:
            await asyncio.sleep(chance.uniform(0.0, STARTING))
        else:
            await asyncio.gather(*(upstream.acked_more(1) for upstream in upstreams))
            await asyncio.sleep(chance.uniform(0.0, LIFE))
        if hub.running:
            await kill()  # type: ignore[misc]
    await hub.start()


def quick(rounds: int) -> Callable[[Callable[..., object]], Callable[..., object]]:
    def mark(test: Callable[..., object]) -> Callable[..., object]:
        test.quick_rounds = rounds  # type: ignore[attr-defined]
        return test

    return mark


@pytest.mark.timeout(300)
@quick(20)
async def test_kill_under_load(
    site: Site, hubs: list[HubProcess], sinks: StartSink, rounds: int, chance: random.Random
) -> None:
    """One hub, one data folder; a well target, one that fails for a share in every way, one by MLLP that loses answers."""
    well = await sinks(HttpSink("well"))
    sick = await sinks(HttpSink("sick", late=1.5))
    lis = await sinks(MllpSink("lis", late=1.5))
    sick.manner = shares(chance, error=0.1, busy=0.03, lost=0.05, cut=0.05, garbage=0.03, late=0.003, stall=0.003)
    lis.manner = shares(chance, error=0.05, lost=0.05, cut=0.05, stall=0.003)
    adt, notes = site.source()
    site.web("well", well, **EAGER)
    site.web("sick", sick, **EAGER)
    site.lis("lis", lis, **EAGER)
    site.config["store"]["segment_messages"] = 1000  # begin several files while we are at it
    hub = HubProcess(site)
    hubs.append(hub)
    by_mllp = MllpUpstream("m", adt, connections=8, pause=0.03)
    by_http = HttpUpstream("h", notes, connections=4, pause=0.03)
    upstreams: list[Upstream] = [by_mllp, by_http]
    for upstream in upstreams:
        upstream.start()

    async def kill() -> None:
        drawn = chance.random()
        if drawn < 0.1:
            for pid in hub.indexers():
                await hub.kill(pid)
        await (hub.kill_group() if drawn > 0.7 else hub.kill())
        for sink in (well, sick, lis):
            sink.era += 1

    await lives(hub, rounds, upstreams, chance, kill)
    await settle(hub, upstreams, [(well, upstreams), (sick, upstreams), (lis, [by_mllp])])
    # A hub that outlives its indexer by a moment says so: it was we who killed it.
    assert hub.complaints("indexer ended with status -9") == []
    assert sum(upstream.resent for upstream in upstreams) > 0
    assert sick.repeated > 0


@pytest.mark.timeout(300)
@quick(4)
async def test_kill_with_workers(
    site: Site, hubs: list[HubProcess], sinks: StartSink, rounds: int, chance: random.Random
) -> None:
    """Two workers: now one of them dies, now the supervisor, now everything at once."""
    upstreams: list[Upstream] = []
    targets: list[tuple[CheckingSink, list[Upstream]]] = []
    for name in ("a", "b"):
        sink = await sinks(HttpSink(name))
        sink.manner = shares(chance, error=0.05, lost=0.05)
        adt, _ = site.source(f"his_{name}")
        site.web(f"web_{name}", sink, f"his_{name}", **EAGER)
        upstream = MllpUpstream(name, adt, connections=6, pause=0.02)
        upstreams.append(upstream)
        targets.append((sink, [upstream]))
        upstream.start()
    hub = HubProcess(site, "--workers", "2")
    hubs.append(hub)

    async def kill() -> None:
        drawn = chance.random()
        workers = hub.workers()
        if drawn < 0.4 and workers:
            victim = chance.choice(workers)
            await hub.kill(victim)
            for sink, _ in targets:
                sink.era += 1
            await asyncio.gather(*(upstream.acked_more(1) for upstream in upstreams))  # it is started again
        await (hub.kill_group() if drawn < 0.7 else hub.kill())
        for sink, _ in targets:
            sink.era += 1

    await lives(hub, rounds, upstreams, chance, kill)
    await settle(hub, upstreams, targets)
