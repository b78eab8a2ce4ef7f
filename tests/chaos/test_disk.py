"""A disk that is full, almost full or read-only: honest refusals, nothing accepted is lost, and back by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import StartSink
from tests.chaos.disk import Ext4Disk, LimitedDisk, TmpfsDisk, may_mount, may_mount_images
from tests.chaos.load import HttpUpstream, MllpUpstream, Upstream
from tests.chaos.rig import EAGER, HubProcess, Site, until
from tests.chaos.sink import HttpSink

Disk = LimitedDisk | TmpfsDisk | Ext4Disk
MakeDisk = Callable[[type[Disk], Path], Disk]

FULL: list[type[Disk]] = [LimitedDisk, *([TmpfsDisk] if may_mount() else [])]


@pytest.fixture
def disk() -> Iterator[MakeDisk]:
    made: list[Disk] = []

    def make(kind: type[Disk], folder: Path) -> Disk:
        made.append(kind(folder))
        return made[-1]

    yield make
    for each in made:
        each.remove()


class Scene:
    """A hub on its disk, two upstream systems, one target."""

    def __init__(self, site: Site, sink: HttpSink, hubs: list[HubProcess]) -> None:
        self.site = site
        self.sink = sink
        adt, notes = site.source()
        site.web("web", sink, **EAGER)
        self.upstreams: list[Upstream] = [
            MllpUpstream("m", adt, connections=4, pause=0.005),
            HttpUpstream("h", notes, connections=4, pause=0.005),
        ]
        self.hub = HubProcess(site)
        hubs.append(self.hub)

    async def begin(self) -> None:
        await self.hub.start()
        for upstream in self.upstreams:
            upstream.start()
        await self.taken(20)

    async def taken(self, number: int) -> None:
        for upstream in self.upstreams:
            await upstream.acked_more(number)

    async def refused(self) -> None:
        """Both upstream systems are told "not now", each in the words of its protocol."""
        before = [upstream.refused.copy() for upstream in self.upstreams]
        for upstream, earlier, word in zip(self.upstreams, before, ("AE", "503"), strict=True):
            await until(
                lambda upstream=upstream, earlier=earlier, word=word: upstream.refused[word] > earlier[word] + 5,  # type: ignore[misc]
                what=f"{word} for {upstream.name}",
            )
            assert set(upstream.refused) == {word}

    async def not_ready(self) -> None:
        status, answer = await self.hub._ask("GET", "/readyz")
        assert status == 503, answer
        assert answer["reasons"]
        assert (await self.hub._ask("GET", "/healthz"))[0] == 200

    async def end(self) -> None:
        for upstream in self.upstreams:
            await upstream.finish()
        await self.sink.has([control for upstream in self.upstreams for control in upstream.acked])
        assert self.sink.faults == []
        await self.hub.idle()
        assert await self.hub.stop() == 0
        await self.site.settled()


@pytest.mark.parametrize("kind", FULL)
async def test_full_disk(
    kind: type[Disk], site: Site, hubs: list[HubProcess], sinks: StartSink, disk: MakeDisk, rounds: int
) -> None:
    """The hub says no, stays alive, and goes on without a restart when there is room again."""
    full = disk(kind, site.data)
    assert not isinstance(full, Ext4Disk)
    scene = Scene(site, await sinks(HttpSink("web")), hubs)  # type: ignore[arg-type]
    await scene.begin()
    for _ in range(rounds + 1):
        full.fill(scene.hub.family())
        await scene.refused()
        await scene.not_ready()
        full.free()
        await scene.taken(20)
        assert scene.hub.lives == 1
    await scene.end()


@pytest.mark.parametrize("kind", FULL)
async def test_killed_while_the_disk_is_full(
    kind: type[Disk], site: Site, hubs: list[HubProcess], sinks: StartSink, disk: MakeDisk, rounds: int
) -> None:
    full = disk(kind, site.data)
    assert not isinstance(full, Ext4Disk)
    scene = Scene(site, await sinks(HttpSink("web")), hubs)  # type: ignore[arg-type]
    await scene.begin()
    for _ in range(rounds):
        full.fill(scene.hub.family())
        await scene.refused()
        await scene.hub.kill()
        scene.sink.era += 1
        full.free()
        await scene.hub.start()
        await scene.taken(20)
    await scene.end()


@pytest.mark.parametrize("kind", FULL)
async def test_stopped_while_the_disk_is_full(
    kind: type[Disk], site: Site, hubs: list[HubProcess], sinks: StartSink, disk: MakeDisk
) -> None:
    """It ends in bounded time; what it could not write down is delivered again, and has effect once."""
    full = disk(kind, site.data)
    assert not isinstance(full, Ext4Disk)
    scene = Scene(site, await sinks(HttpSink("web")), hubs)  # type: ignore[arg-type]
    await scene.begin()
    full.fill(scene.hub.family())
    await scene.refused()
    assert await scene.hub.stop() in (0, 1)
    scene.sink.era += 1
    full.free()
    await scene.hub.start()
    await scene.taken(20)
    await scene.end()


@pytest.mark.parametrize("kind", [TmpfsDisk] if may_mount() else [])
async def test_started_on_a_full_disk(
    kind: type[TmpfsDisk], site: Site, hubs: list[HubProcess], sinks: StartSink, disk: MakeDisk
) -> None:
    """It either says why it can't start, or starts and refuses; with room again it starts and has everything."""
    full = disk(kind, site.data)
    assert isinstance(full, TmpfsDisk)
    scene = Scene(site, await sinks(HttpSink("web")), hubs)  # type: ignore[arg-type]
    await scene.begin()
    await scene.hub.kill()
    scene.sink.era += 1
    full.fill()
    await scene.hub.spawn()
    await until(lambda: not scene.hub.running or any(u.refused for u in scene.upstreams), what="an honest answer")
    if not scene.hub.running:
        assert scene.hub.status == 1
        assert str(site.data) in scene.hub.tail()
        assert "Traceback" not in scene.hub.tail()
    full.free()
    if not scene.hub.running:
        await scene.hub.start()
    await scene.taken(20)
    await scene.end()


@pytest.mark.parametrize("kind", [TmpfsDisk] if may_mount() else [])
async def test_almost_full_disk(
    kind: type[TmpfsDisk], site: Site, hubs: list[HubProcess], sinks: StartSink, disk: MakeDisk
) -> None:
    """Below ``min_free_disk`` nothing is accepted, and what was accepted goes on to its target."""
    full = disk(kind, site.data)
    assert isinstance(full, TmpfsDisk)
    site.config["store"]["min_free_disk"] = "96MB"
    scene = Scene(site, await sinks(HttpSink("web")), hubs)  # type: ignore[arg-type]
    await scene.sink.go_away()
    await scene.begin()
    full.fill(leave=64 << 20)
    await scene.refused()
    await scene.not_ready()
    waiting = [control for upstream in scene.upstreams for control in upstream.acked]
    assert scene.sink.missing(waiting) == waiting
    await scene.sink.come_back()
    await scene.sink.has(waiting)
    await scene.refused()
    full.free()
    await scene.taken(20)
    assert scene.hub.lives == 1
    await scene.end()


@pytest.mark.parametrize("kind", [Ext4Disk] if may_mount_images() else [])
async def test_disk_that_turns_read_only(
    kind: type[Ext4Disk], site: Site, hubs: list[HubProcess], sinks: StartSink, disk: MakeDisk, rounds: int
) -> None:
    """As after a damaged block: open files can't be written any more. The hub refuses; after the repair all is there."""
    broken = disk(kind, site.data)
    assert isinstance(broken, Ext4Disk)
    scene = Scene(site, await sinks(HttpSink("web")), hubs)  # type: ignore[arg-type]
    await scene.begin()
    for number in range(rounds):
        broken.fill()
        await scene.refused()
        await scene.not_ready()
        if number % 2:
            await scene.hub.kill_group()
        else:
            assert await scene.hub.stop() in (0, 1)
        await until(lambda: not scene.hub.family(), what="the end of every process of the hub")
        scene.sink.era += 1
        await scene.hub.spawn()
        assert await scene.hub.gone() == 1  # it can't even lock its folder
        assert str(site.data) in scene.hub.tail()
        assert "Traceback" not in scene.hub.tail(10)
        broken.repair()
        await scene.hub.start()
        await scene.taken(20)
    await scene.end()
