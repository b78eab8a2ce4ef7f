"""Stopping and changing a hub under load: nothing acknowledged is lost, nobody's connection closes for a reload."""

from __future__ import annotations

import json
import random

import pytest
import yaml

from tests.chaos.conftest import StartSink
from tests.chaos.load import HttpUpstream, MllpUpstream, Upstream
from tests.chaos.rig import EAGER, HubProcess, Site, until
from tests.chaos.sink import HttpSink, MllpSink, shares


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "two workers"])
async def test_stopped_under_load(
    options: tuple[str, ...], site: Site, hubs: list[HubProcess], sinks: StartSink, rounds: int, chance: random.Random
) -> None:
    """SIGTERM: status 0, within bounds, no process left; what was acknowledged is delivered by the next run, and none of
    it twice: a hub that is told to stop forgets nothing it has done."""
    web = await sinks(HttpSink("web"))
    slow = await sinks(MllpSink("slow", late=0.4))
    slow.manner = shares(chance, late=0.5)
    adt, notes = site.source()
    site.web("web", web, **EAGER)
    site.lis("slow", slow, **EAGER)
    hub = HubProcess(site, *options)
    hubs.append(hub)
    upstreams: list[Upstream] = [
        MllpUpstream("m", adt, connections=8, pause=0.005),
        HttpUpstream("h", notes, connections=4, pause=0.005),
    ]
    for upstream in upstreams:
        upstream.start()
    for _ in range(rounds + 1):
        await hub.start()
        for upstream in upstreams:
            await upstream.acked_more(30)
        assert await hub.stop() == 0
        await until(lambda: not hub.family(), what="the end of every process of the hub")
    await hub.start()
    for upstream in upstreams:
        await upstream.finish()
    await web.has([control for upstream in upstreams for control in upstream.acked])
    await slow.has(upstreams[0].acked)
    await hub.idle()
    assert web.faults == slow.faults == []
    assert web.repeated == slow.repeated == 0
    assert await hub.stop() == 0
    ledger = await site.settled()
    assert ledger["messages"] == sum(upstream.sent for upstream in upstreams)
    assert hub.complaints() == []


async def test_reload_while_messages_flow(site: Site, hubs: list[HubProcess], sinks: StartSink, rounds: int) -> None:
    """A mapping, a route, a plugin change: connections stay, nothing is lost, later calls go by the new rules."""
    web = await sinks(HttpSink("web"))
    more = await sinks(HttpSink("more"))
    bodies: list[dict[str, object]] = []

    class Reading(HttpSink):
        def take(self, key: str, control: str, body: bytes, era: int) -> str:
            bodies.append(json.loads(body))
            return super().take(key, control, body, era)

    read = await sinks(Reading("read"))
    adt, notes = site.source()
    for sink in (web, read):
        assert isinstance(sink, HttpSink)
        site.web(sink.name, sink, **EAGER)
    hub = HubProcess(site)
    hubs.append(hub)
    await hub.start()
    upstreams: list[Upstream] = [
        MllpUpstream("m", adt, connections=6, pause=0.004),
        HttpUpstream("h", notes, connections=3, pause=0.004),
    ]
    for upstream in upstreams:
        upstream.start()

    async def reload() -> None:
        site.write()
        said = await hub.cli("reload", "--json")
        assert said.status == 0, said
        for upstream in upstreams:
            await upstream.acked_more(20)

    async def stamp() -> str:
        """Name and hash of the mapping the newest call was made with."""
        (call,) = (await hub.ask("GET", "/api/v1/calls?direction=out&place=web/adt&limit=1"))["calls"]
        return str(call["mapping"])

    stamps = set()
    web_plugin = (site.folder / "plugins" / "web" / "plugin.yaml").read_text(encoding="utf-8")
    mapping = (site.folder / "mappings" / "adt.yaml").read_text(encoding="utf-8")
    for number in range(rounds):
        for upstream in upstreams:
            await upstream.acked_more(20)
        stamps.add(await stamp())
        # a mapping
        site.mapping("adt", mapping + f"  edition: {{const: {number}}}\n")
        await reload()
        await until(lambda number=number: any(b.get("edition") == number for b in bodies), what="the new mapping")  # type: ignore[misc]
        stamps.add(await stamp())
        # a route
        site.web("more", more, **EAGER)
        await reload()
        await until(lambda: more.calls, what="a call by the new route")
        for name in ("adt_more", "notes_more"):
            del site.config["routes"][name]
        await reload()
        # a plugin: other connections to the targets, and a key more to search by
        site.plugin("web", web_plugin.replace("${url}/adt", f"${{url}}/adt/{number}"))
        his = site.folder / "plugins" / "his" / "plugin.yaml"
        contract = yaml.safe_load(his.read_text(encoding="utf-8"))
        contract["interfaces"]["adt"]["keys"][f"visit_{number}"] = "PV1-19.1"
        his.write_text(yaml.safe_dump(contract, allow_unicode=True), encoding="utf-8")
        await reload()
        # a mistake: refused as a whole, told with its place; the hub goes on as it was
        site.mapping("adt", "from: {codec: hl7v2}\nto: {codec: json}\nfields:\n  control: PID-\n")
        said = await hub.cli("reload")
        assert said.status != 0
        assert "adt.yaml" in said.error + said.out, said
        site.mapping("adt", mapping + f"  edition: {{const: {number}}}\n")
        await reload()
    for upstream in upstreams:
        await upstream.finish()
        assert upstream.connects == upstream._connections
        assert upstream.resent == 0
        assert not upstream.refused
    controls = [control for upstream in upstreams for control in upstream.acked]
    await web.has(controls)
    await read.has(controls)
    await hub.idle()
    for sink in (web, read, more):
        assert sink.faults == []
        assert sink.repeated == 0
    assert len(stamps) == rounds + 1
    assert hub.lives == 1
    assert await hub.stop() == 0
    await site.settled()
    trail = await hub.cli("audit", "--verify", "--json")
    assert trail.json["problems"] == []
    # The one that was refused is in the trail as well.
    assert sum("config.reload" in json.dumps(entry) for entry in trail.json["entries"]) == 6 * rounds
