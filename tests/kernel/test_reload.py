"""Reading the configuration anew while messages flow: what differs changes, everything else does not notice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.api import HubError, Outgoing, Reply
from hub.errors import ConfigError
from hub.message import DeliveryState
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Site, until
from tests.kernel.wire import accept


def mapping(version: str) -> str:
    return f"from: {{codec: json}}\nto: {{codec: json}}\nfields: {{id: id, version: {{const: {version}}}}}\n"


def nothing_restarted(site: Site, *places: str) -> bool:
    peers = [site.peer(place) for place in places or ("sink/up",)]
    return all((peer.senders, peer.open) == (1, 1) for peer in peers) and site.wire.started.count("his/in") == 1


async def test_nothing_new_changes_nothing(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    summary = await hub.reload()
    assert all(value == [] for value in summary.values())
    assert nothing_restarted(site)
    (entry,) = await hub.node.store.reader.audit()
    assert (entry["entry"]["actor"], entry["entry"]["action"]) == ("li", "config.reload")


async def test_a_mapping_changes_from_the_next_attempt_on(site: Site, start: StartHub) -> None:
    peer = site.target(mapping="m")
    site.mapping("m", mapping("old"))
    gate = asyncio.Event()

    async def wait(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return accept(outgoing)

    peer.react = wait
    hub = await start(site)
    await hub.send(3, key=lambda n: "a")
    await until(lambda: peer.under_way == 1)
    site.mapping("m", mapping("new"))
    await hub.reload()
    gate.set()
    await hub.reached(DeliveryState.DELIVERED, 3)
    assert [body["version"] for body in peer.bodies] == ["old", "new", "new"]
    stamps = [call.mapping for call in await hub.calls("sink/up")]
    assert len(set(stamps)) == 2
    assert nothing_restarted(site)


async def test_a_route_appears_changes_and_goes(site: Site, start: StartHub) -> None:
    site.target()
    other = site.target("other")
    del site.config["routes"]["to_other"]
    hub = await start(site)
    await hub.send(1)
    site.config["routes"]["also"] = {"from": "his/in", "to": "other/up", "types": ["x"]}
    assert (await hub.reload())["routes"] == ["also"]
    await hub.send(1, first=1)
    site.config["routes"]["also"]["types"] = ["t"]
    assert (await hub.reload())["routes"] == ["also"]
    await hub.send(1, first=2)
    del site.config["routes"]["also"]
    assert (await hub.reload())["routes"] == ["also"]
    await hub.send(1, first=3)
    await hub.reached(DeliveryState.DELIVERED, 5)
    assert other.ids() == ["m2"]
    assert nothing_restarted(site, "sink/up", "other/up")


async def test_the_contract_of_one_plugin_changes(site: Site, start: StartHub) -> None:
    sink = site.target()
    hub = await start(site)
    sink.react = lambda out: Reply(True, b'{"code":7}')
    await hub.send(1)
    await hub.reached(DeliveryState.DELIVERED)
    file = site.folder / "plugins" / "sink" / "plugin.yaml"
    text = file.read_text().replace("name: takes what comes\n", "name: takes what comes\nversion: 1.1.0\n")
    file.write_text(text.rstrip() + "\n    success: code == 0\n")
    summary = await hub.reload()
    assert (summary["swap_outbound"], summary["restart_outbound"]) == (["sink/up"], [])
    await hub.send(1, first=1)
    await hub.reached(DeliveryState.DEAD)
    assert [call.plugin for call in await hub.calls("sink/up")] == ["sink@1.0.0", "sink@1.1.0"]
    assert nothing_restarted(site)


async def test_an_inbound_contract_changes_and_goes_on_listening(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    assert (await hub.wire.submit("his/in", {"id": "1", "type": "a"})).type == "a"
    site.system("his", "his", **{"in": {"type": "type | upper"}})
    assert (await hub.reload())["swap_inbound"] == ["his/in"]
    assert (await hub.wire.submit("his/in", {"id": "2", "type": "a"})).type == "A"
    await hub.reached(DeliveryState.DELIVERED, 2)
    assert nothing_restarted(site)


async def test_new_connection_options_mean_new_connections_and_nothing_is_lost(site: Site, start: StartHub) -> None:
    peer = site.target(concurrency=2)
    untouched = site.target("other")
    gate = asyncio.Event()

    async def wait(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return accept(outgoing)

    peer.react = wait
    hub = await start(site)
    await hub.send(30)
    await until(lambda: peer.under_way == 2)
    site.config["systems"]["sink"]["interfaces"]["up"]["connect"] = {"channel": site.channel, "address": "new"}
    site.config["systems"]["his"]["interfaces"]["in"] = {"listen": {"channel": site.channel, "port": 1}}
    reloading = asyncio.create_task(hub.reload())
    await until(lambda: peer.senders == 2)
    gate.set()
    summary = await reloading
    assert (summary["restart_outbound"], summary["start_inbound"]) == (["sink/up"], ["his/in"])
    await until(lambda: peer.open == 1)
    await hub.send(10, first=30)
    await hub.reached(DeliveryState.DELIVERED, 40, target="sink/up")
    assert len(peer.calls) == 40
    assert site.wire.started == ["his/in", "his/in"]
    assert (untouched.senders, untouched.open) == (1, 1)


async def test_concurrency_and_limits_follow(site: Site, start: StartHub) -> None:
    peer = site.target(order_by="", concurrency=8)
    hub = await start(site)
    gate = asyncio.Event()

    async def wait(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return accept(outgoing)

    peer.react = wait
    site.target(order_by="", concurrency=2)
    await hub.reload()
    peer.most_under_way = 0
    await hub.send(20)
    await until(lambda: peer.under_way == 2)
    site.target(order_by="", concurrency=5)
    reloading = asyncio.create_task(hub.reload())  # it ends when the calls on the old connections have
    await until(lambda: peer.under_way == 5)
    gate.set()
    await reloading
    await hub.reached(DeliveryState.DELIVERED, 20)
    assert peer.most_under_way == 5


@pytest.mark.parametrize("broken", ["mapping", "route", "plugin", "yaml", "system"])
async def test_a_broken_configuration_is_refused_and_the_old_one_goes_on(
    site: Site, start: StartHub, broken: str
) -> None:
    peer = site.target(mapping="m")
    site.mapping("m", mapping("old"))
    hub = await start(site)
    await hub.send(1)
    file = site.folder / "plugins" / "sink" / "plugin.yaml"
    good = file.read_text()
    if broken == "mapping":
        site.mapping("m", "from: {codec: json}\nto: {codec: json}\nfields: {id: id |}\n")
    elif broken == "route":
        site.config["routes"]["to_sink"]["to"] = "sink/upp"
    elif broken == "plugin":
        file.write_text(good.replace("direction: out", "direction: sideways"))
    elif broken == "system":
        site.config["systems"]["more"] = {"plugin": "nonesuch"}
    site.write()
    if broken == "yaml":
        site.file.write_text(site.file.read_text() + "\n  - : [\n")
    with pytest.raises(ConfigError) as caught:
        await hub.node.reload("li")
    errors = [problem for problem in caught.value.problems if problem.severity == "error"]
    assert errors
    assert all(problem.file and problem.line for problem in errors)
    await hub.send(1, first=1)
    await hub.reached(DeliveryState.DELIVERED, 2)
    assert [body["version"] for body in peer.bodies] == ["old", "old"]
    assert nothing_restarted(site)
    assert await hub.node.store.reader.audit() == []
    assert hub.node.problems == []


async def test_a_target_that_goes_keeps_its_deliveries_until_it_comes_back(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.node.GRACE_S", 0.1)
    peer = site.target()
    gate = asyncio.Event()

    async def stop_at_the_fifth(outgoing: Outgoing) -> Reply:
        if outgoing.control_id == "m4":
            await gate.wait()
        return accept(outgoing)

    peer.react = stop_at_the_fifth
    hub = await start(site)
    await hub.send(20, key=lambda n: "a")
    await until(lambda: len(peer.calls) == 5)
    system, route = site.config["systems"].pop("sink"), site.config["routes"].pop("to_sink")
    site.target("other")
    await hub.reload()
    assert list(hub.node.engine.targets) == ["other/up"]
    await hub.reached(DeliveryState.PENDING, 16, target="sink/up")
    await hub.restart()  # still not there
    await hub.reached(DeliveryState.PENDING, 16, target="sink/up")
    gate.set()
    site.config["systems"]["sink"], site.config["routes"]["to_sink"] = system, route
    await hub.reload()
    await hub.send(5, key=lambda n: "a", first=20)
    await hub.reached(DeliveryState.DELIVERED, 25, target="sink/up")
    assert peer.ids() == [f"m{n}" for n in (*range(5), *range(4, 25))]


async def test_reloading_again_and_again_under_load(site: Site, start: StartHub) -> None:
    peer = site.target(mapping="m")
    site.mapping("m", mapping("v0"))
    hub = await start(site)

    async def traffic() -> None:
        for number in range(0, 300, 10):
            await hub.send(10, key=lambda n: str(n % 5), first=number)

    sending = asyncio.create_task(traffic())
    for number in range(1, 6):
        site.mapping("m", mapping(f"v{number}"))
        site.target(mapping="m", retry={"attempts": number})
        await hub.reload()
    await sending
    await hub.reached(DeliveryState.DELIVERED, 300)
    assert sorted(peer.ids()) == sorted(f"m{n}" for n in range(300))
    assert peer.bodies[-1]["version"] <= "v5"
    assert nothing_restarted(site)


async def test_what_needs_a_restart_is_said(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    site.config["delivery"]["window"] = 77
    for _ in range(2):
        await hub.reload()
        (problem,) = hub.node.problems
        assert (problem.key, problem.severity) == ("delivery", "warning")
    del site.config["delivery"]["window"]
    await hub.reload()
    assert hub.node.problems == []


async def test_a_new_connection_that_can_not_be_made_leaves_the_old_one(site: Site, start: StartHub) -> None:
    peer = site.target()
    hub = await start(site)
    contract: dict[str, Any] = site.config["systems"]["sink"]["interfaces"]["up"]
    contract["connect"] = {"channel": site.channel, "address": "new"}
    peer.fails_to_start = HubError("no certificate")
    await hub.reload()
    assert [problem.key for problem in hub.node.problems] == ["sink/up"]
    await hub.send(1)
    await hub.reached(DeliveryState.DELIVERED)
    peer.fails_to_start = None
    await hub.reload()
    assert (peer.senders, peer.open, hub.node.problems) == (2, 1, [])
