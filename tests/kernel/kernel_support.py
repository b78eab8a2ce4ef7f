"""A site of a test: configuration, plugins and mappings in a folder, and the hub that runs on it."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.audit import verify
from hub.ids import id_text
from hub.message import CallRecord, Delivery, DeliveryState
from hub.node import Node, data_folder, worker_folder
from hub.operations import BulkResult
from hub.store.base import CallQuery, DeliveryQuery, LedgerReport
from hub.store.merged import open_reader
from tests.kernel.wire import DEADLINE, Peer, Wire, wire

__all__ = ["FAST_RETRY", "Hub", "Site", "in_time", "until"]

#: Retries as the tests want them: the number that is usual, pauses that don't cost time.
FAST_RETRY = {"attempts": 3, "interval": "20ms"}

_HIS = """
id: his
name: sends whatever a test hands in
settings: {channel: {type: string, required: true}}
interfaces:
  in:
    direction: in
    adapter: wire
    listen: {channel: "${channel}"}
    codec: json
    type: type
    control_id: id
    keys: {patient_id: pid}
  ask:
    direction: in
    style: request
    adapter: wire
    listen: {channel: "${channel}"}
    codec: json
    type: type
    control_id: id
"""
_SINK = """
id: sink
name: takes what comes
settings: {channel: {type: string, required: true}}
interfaces:
  up:
    direction: out
    adapter: wire
    connect: {channel: "${channel}"}
    codec: json
    order_by: key
    breaker: {failures: 1000, open_for: 10ms, max_open_for: 10ms}
"""
_CODE = """
from tests.kernel.wire import hub_adapters
"""


async def until(condition: Callable[[], Any], seconds: float = DEADLINE) -> None:
    """Wait for a condition; fails at the deadline."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.005)


async def in_time(work: Coroutine[Any, Any, object], seconds: float) -> None:
    """Await what must not take longer; otherwise fails with what each task of the loop waits for."""
    try:
        async with asyncio.timeout(seconds) as limit:
            await work
    except TimeoutError:
        if not limit.expired():
            raise
        told = io.StringIO()
        for task in asyncio.all_tasks():
            task.print_stack(file=told)
        pytest.fail(f"not done within {seconds:g} s:\n{told.getvalue()}")


class Site:
    """Files of a hub with one source ``his`` (``in``, and ``ask`` where a test switches it on) and as many targets as a test declares."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.channel = str(folder)
        self.file = folder / "config" / "hub.yaml"
        self.config: dict[str, Any] = {
            "plugins": ["../plugins"],
            "mappings": ["../mappings"],
            "store": {"path": "../var", "min_free_disk": 0, "text_index": False},
            "delivery": {"retry": FAST_RETRY},
            "systems": {},
            "routes": {},
        }
        self.plugin("his", _HIS, _CODE)
        self.plugin("sink", _SINK)
        (folder / "mappings").mkdir()
        self.system("his", "his")

    @property
    def wire(self) -> Wire:
        return wire(self.channel)

    def peer(self, place: str = "sink/up") -> Peer:
        return self.wire.peer(place)

    def plugin(self, name: str, text: str, code: str = "") -> None:
        folder = self.folder / "plugins" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plugin.yaml").write_text(text, encoding="utf-8")
        if code:
            (folder / "plugin.py").write_text(code, encoding="utf-8")

    def mapping(self, name: str, text: str) -> None:
        (self.folder / "mappings" / f"{name}.yaml").write_text(text, encoding="utf-8")

    def system(self, name: str, plugin: str, **interfaces: Any) -> None:
        if plugin == "his":
            interfaces = {"ask": "off", **interfaces}
        self.config["systems"][name] = {
            "plugin": plugin,
            "settings": {"channel": self.channel},
            "interfaces": interfaces,
        }

    def target(self, name: str = "sink", **contract: Any) -> Peer:
        """A target ``name/up`` and the route ``to_name`` that sends everything there."""
        self.system(name, "sink", up=contract)
        self.config["routes"].setdefault(f"to_{name}", {"from": "his", "to": f"{name}/up"})
        return self.peer(f"{name}/up")

    def write(self) -> Path:
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(yaml.safe_dump(self.config, allow_unicode=True, sort_keys=False), encoding="utf-8")
        return self.file

    async def audited(self) -> LedgerReport:
        """Prove from the files that nothing vanished, that they are sound, and that nobody touched the audit trail."""
        folders = sorted((self.folder / "var").glob("worker-*"))
        assert folders
        for folder in folders:
            reader = open_reader([folder])
            try:
                report = await reader.verify_ledger()
                assert report.balanced, report
                assert await reader.check() == []
                assert verify(await reader.audit()) == []
            finally:
                await reader.close()
        return report


class Hub:
    """A running hub and what tests ask of it again and again."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.wire = site.wire
        self.node = Node(site.write())
        self.running = False

    async def start(self) -> Hub:
        await self.node.start()
        self.running = True
        return self

    async def stop(self, grace: float = 5.0) -> None:
        if self.running:
            self.running = False
            await in_time(self.node.stop(grace), grace + DEADLINE)

    async def restart(self, grace: float = 0.0) -> None:
        """Stop and start again with what the files say now."""
        await self.stop(grace)
        self.node = Node(self.site.write())
        await self.start()

    async def reload(self, actor: str = "li") -> dict[str, Any]:
        self.site.write()
        return await self.node.reload(actor)

    # -- looking ---------------------------------------------------------------------------------------------------

    async def deliveries(self, *states: DeliveryState, target: str = "") -> list[Delivery]:
        query = DeliveryQuery(states=states, target=target, oldest_first=True, limit=100_000)
        return await self.node.store.reader.deliveries(query)

    async def delivery(self, delivery_id: int) -> Delivery:
        found = await self.node.store.reader.delivery(delivery_id)
        assert found is not None
        return found

    async def only(self, target: str = "") -> Delivery:
        """The one delivery there is."""
        (found,) = await self.deliveries(target=target)
        return await self.delivery(found.id)

    async def reached(self, state: DeliveryState, count: int = 1, target: str = "") -> list[Delivery]:
        """Wait until exactly so many deliveries are in a state."""
        end = time.monotonic() + DEADLINE
        while len(found := await self.deliveries(state, target=target)) != count:
            if time.monotonic() > end:
                rows = [(id_text(d.id), d.target, d.state.word, d.reason) for d in await self.deliveries(target=target)]
                raise AssertionError(f"{len(found)} of {count} are {state.word}: {rows[:20]}")
            await asyncio.sleep(0.01)
        return found

    async def calls(self, place: str = "", **more: Any) -> list[CallRecord]:
        """The call log of a place, oldest first, bodies included; calls of refusals are written a moment later."""
        found = await self.node.store.reader.calls(CallQuery(place=place, limit=1000, bodies=True, **more))
        return found[::-1]

    async def logged(self, place: str, count: int) -> list[CallRecord]:
        end = time.monotonic() + DEADLINE
        while len(found := await self.calls(place)) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} calls are in the log"
            await asyncio.sleep(0.01)
        return found

    # -- acting ----------------------------------------------------------------------------------------------------

    async def send(self, count: int, key: Callable[[int], str] = str, place: str = "his/in", first: int = 0) -> None:
        """Hand in messages ``first`` … and wait until all are acknowledged."""
        offers = [
            self.wire.offer(place, {"id": f"m{n}", "type": "t", "key": key(n)}) for n in range(first, first + count)
        ]
        async with asyncio.timeout(DEADLINE):
            receipts = await asyncio.gather(*offers)
        assert all(receipt.accepted for receipt in receipts)

    async def act(self, verb: Any, ids: Sequence[int], **more: Any) -> BulkResult:
        return await self.node.operations.act(verb, ids, actor="li", **more)

    def folder(self) -> Path:
        return worker_folder(data_folder(self.site.file, self.node.deployment.config), 0)
