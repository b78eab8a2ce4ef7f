"""A worker as a whole: start, stop, and parts of it that can't start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hub.api import HubError, Outgoing, Reply
from hub.audit import entry
from hub.errors import ConfigError, StoreBusy
from hub.ids import worker_of
from hub.message import DeliveryState
from hub.node import Node, data_folder, salt_of
from hub.store.base import MessageQuery
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site, until
from tests.kernel.wire import WireReceiver, accept


async def test_a_hub_with_everything_it_starts(site: Site) -> None:
    """The real thing, indexer included: what is received can be found by key and by text."""
    site.config["store"]["text_index"] = True
    peer = site.target()
    hub = Hub(site)
    await hub.start()
    try:
        receipt = await hub.wire.submit(
            "his/in", {"id": "m1", "type": "t", "key": "a", "pid": "p7", "note": "胸痛三天"}
        )
        await hub.reached(DeliveryState.DELIVERED)
        for query in (MessageQuery(keys={"patient_id": "p7"}), MessageQuery(text="胸痛")):
            async with asyncio.timeout(20):
                while [row.id for row in (await hub.node.store.reader.search(query)).rows] != [receipt.message_id]:
                    await asyncio.sleep(0.05)
        status = hub.node.status()
        assert list(status["inbound"]) == ["his/in"]
        assert list(status["outbound"]) == ["sink/up"]
        assert (status["worker"], status["writable"], status["problems"]) == (0, True, [])
        assert status["figures"]["outbound"]["sink/up"]["delivered"] == 1
        assert hub.node.readiness() == []
        await until(lambda: hub.node.metrics.snapshot()["store"].get("messages") == 1)
        assert b'tongqu_outbound_delivered_total{target="sink/up"} 1.0' in hub.node.metrics.render()
    finally:
        await hub.stop()
    assert (peer.senders, peer.open, hub.wire.receivers) == (1, 0, {})
    assert hub.node.readiness()
    await site.audited()


async def test_targets_are_up_before_anybody_listens(site: Site, start: StartHub) -> None:
    peer = site.target()
    seen: list[int] = []
    site.wire.started = Watched(lambda: seen.append(peer.open))
    await start(site)
    assert seen == [1]


class Watched(list[str]):
    def __init__(self, told: Callable[[], None]) -> None:
        super().__init__()
        self._told = told

    def append(self, item: str) -> None:
        self._told()
        super().append(item)


async def test_an_unusable_configuration_starts_nothing(site: Site) -> None:
    site.config["stoer"] = {}
    site.write()
    with pytest.raises(ConfigError) as caught:
        await Node(site.file).start()
    assert [(p.file, bool(p.line), p.key) for p in caught.value.problems] == [(str(site.file), True, "stoer")]
    assert not (site.folder / "var").exists()


async def test_two_hubs_on_one_folder(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    with pytest.raises(HubError):
        await Node(site.file).start()
    await hub.send(1)
    await hub.reached(DeliveryState.DELIVERED)


async def test_a_system_with_errors_is_left_out_and_the_rest_runs(site: Site, start: StartHub) -> None:
    site.target("good")
    site.target("bad", adapter="nonesuch")
    hub = await start(site)
    assert next(problem.key for problem in hub.node.problems if problem.severity == "error").startswith("systems.bad")
    assert list(hub.node.engine.targets) == ["good/up"]
    await hub.send(1)
    await hub.reached(DeliveryState.DELIVERED, target="good/up")


@pytest.mark.parametrize("error", [HubError("no such certificate", remedy="put it there"), ZeroDivisionError("bug")])
async def test_a_target_that_can_not_start_keeps_its_deliveries(site: Site, start: StartHub, error: Exception) -> None:
    site.target("good")
    broken = site.target("broken")
    broken.fails_to_start = error
    hub = await start(site)
    (problem,) = hub.node.problems
    assert problem.key == "broken/up"
    assert problem.remedy
    await hub.send(20)
    await hub.reached(DeliveryState.DELIVERED, 20, target="good/up")
    await hub.reached(DeliveryState.PENDING, 20, target="broken/up")
    await hub.reload()
    assert [p.key for p in hub.node.problems] == ["broken/up"]
    broken.fails_to_start = None
    await hub.reload()
    assert hub.node.problems == []
    await hub.reached(DeliveryState.DELIVERED, 20, target="broken/up")
    assert broken.ids() == [f"m{n}" for n in range(20)]


@pytest.mark.parametrize("error", [HubError("port in use", remedy="choose another"), OSError("bug")])
async def test_an_interface_that_can_not_listen_is_told_and_tried_again_by_a_reload(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    site.system("east", "his")
    site.target()
    site.config["routes"]["to_sink"]["from"] = ["his", "east"]
    listen = WireReceiver.start

    async def start_receiver(self: WireReceiver) -> None:
        if self.bound.place == "east/in":
            raise error
        await listen(self)

    monkeypatch.setattr(WireReceiver, "start", start_receiver)
    hub = await start(site)
    assert list(hub.wire.receivers) == ["his/in"]
    assert [p.key for p in hub.node.problems] == ["east/in"]
    assert "east/in" in hub.node.readiness()[0]
    await hub.reload()
    assert [p.key for p in hub.node.problems] == ["east/in"]
    monkeypatch.setattr(WireReceiver, "start", listen)
    await hub.reload()
    assert sorted(hub.wire.receivers) == ["east/in", "his/in"]
    assert (hub.node.problems, hub.node.readiness()) == ([], [])


async def test_a_worker_listens_for_its_own_systems_only(site: Site, without_indexer: None) -> None:
    site.system("east", "his")
    site.target()
    site.config["routes"]["to_sink"]["from"] = ["his", "east"]
    node = Node(site.write(), worker=3, mine=lambda system: system == "east")
    await node.start()
    try:
        assert list(site.wire.receivers) == ["east/in"]
        assert node.readiness() == []
        receipt = await site.wire.submit("east/in", {"id": "m1", "type": "t"})
        assert worker_of(receipt.message_id) == 3
        assert node.store.folder == data_folder(site.file, node.deployment.config) / "worker-03"
    finally:
        await node.stop(1.0)


async def test_stopping_lets_calls_under_way_end(site: Site, start: StartHub) -> None:
    peer = site.target()
    gate = asyncio.Event()

    async def wait(outgoing: Outgoing) -> Reply:
        await gate.wait()
        return accept(outgoing)

    peer.react = wait
    hub = await start(site)
    await hub.send(3)
    await until(lambda: peer.under_way == 3)
    stopping = asyncio.create_task(hub.stop(10.0))
    await asyncio.sleep(0)
    gate.set()
    await stopping
    await hub.restart()
    await hub.reached(DeliveryState.DELIVERED, 3)
    assert len(peer.calls) == 3


async def test_stopping_before_a_target_answers_leaves_the_delivery_open(site: Site, start: StartHub) -> None:
    peer = site.target()

    async def never(outgoing: Outgoing) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    react, peer.react = peer.react, never
    hub = await start(site)
    await hub.send(3)
    await until(lambda: peer.under_way == 3)
    await hub.stop(0.05)
    peer.react = react
    await hub.restart()
    await hub.reached(DeliveryState.DELIVERED, 3)
    assert all(call.attempt == 1 for call in peer.calls)


async def test_what_is_old_is_pruned_but_not_what_still_moves(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.node.PRUNE_EVERY_S", 0.05)
    site.config["store"]["retention"] = "1ms"
    peer = site.target()
    peer.react = lambda out: Reply(False, transient=True) if out.control_id == "m1" else accept(out)
    site.config["delivery"]["retry"] = {"attempts": 3, "interval": "1h"}
    hub = await start(site)
    await hub.send(3)
    async with asyncio.timeout(20):
        while (await hub.node.store.reader.size())["messages"] != 1:
            await asyncio.sleep(0.02)
    (left,) = await hub.deliveries()
    assert left.state is DeliveryState.RETRYING


async def test_the_salt_is_made_once_and_for_the_owner_only(site: Site) -> None:
    data = site.folder / "var"
    salt = salt_of(data)
    assert len(salt) == 32
    assert salt_of(data) == salt
    assert (data / "index.salt").stat().st_mode & 0o077 == 0


async def test_a_stopped_store_is_said_so(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    await hub.stop()
    with pytest.raises(StoreBusy):
        await hub.node.store.apply(audit=entry("li", "x", "y"))
