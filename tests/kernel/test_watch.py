"""Saved files take effect by themselves, broken ones don't, and both are told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from hub.errors import ConfigError, HubError, Problem
from hub.watch import WATCHER, Watcher
from tests.kernel.process import HubProcess, Sink, adt, make_site, wait_for


class Reloads:
    """Stands where the hub would reload."""

    def __init__(self) -> None:
        self.actors: list[str] = []
        self.error: Exception | None = None

    async def __call__(self, actor: str) -> None:
        self.actors.append(actor)
        if self.error is not None:
            raise self.error


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_site(tmp_path, "http://127.0.0.1:9")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def watched(file: Path, reloads: Reloads, change: Callable[[], object], times: int = 1) -> Watcher:
    """Make a change beside a running watcher and wait for so many reloads."""
    watcher = Watcher(file, reloads, every=0.01)
    task = asyncio.create_task(watcher.run())
    try:
        change()
        await until(lambda: len(reloads.actors) >= times)
        await asyncio.sleep(0.1)  # there is no further one
        assert len(reloads.actors) == times
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return watcher


@pytest.mark.parametrize(
    "name",
    [
        "config/hub.yaml",
        "config/systems/more.yaml",
        "config/routes/more.yaml",
        "plugins/his/plugin.yaml",
        "plugins/new/deep/plugin.yaml",
        "plugins/his/plugin.py",
        "plugins/his/helper.py",
        "mappings/patient.yaml",
        "mappings/a/b.yaml",
        "mappings/tables/sex.csv",
    ],
)
async def test_every_file_that_counts(file: Path, name: str) -> None:
    path = file.parent.parent / name
    path.parent.mkdir(parents=True, exist_ok=True)
    reloads = Reloads()
    await watched(file, reloads, lambda: path.write_text(path.read_text() + "\n" if path.exists() else "{}\n"))
    assert reloads.actors == [WATCHER]


async def test_removed_and_replaced_files_count_too(file: Path) -> None:
    path = file.parent.parent / "mappings" / "patient.yaml"
    state = path.stat()

    def replace() -> None:
        other = path.with_suffix(".new")
        other.write_bytes(path.read_bytes())
        os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
        other.rename(path)

    reloads = Reloads()
    await watched(file, reloads, replace)
    await watched(file, reloads, path.unlink, times=2)


async def test_other_files_do_not_count(file: Path) -> None:
    root = file.parent.parent
    watcher = Watcher(file, Reloads())
    before = watcher.look()
    for name in ("mappings/patient.tests.yaml", "mappings/notes.md", "plugins/his/README.md", "config/other.yaml"):
        (root / name).write_text("x")
    assert watcher.look() == before


async def test_a_folder_named_later_is_watched_from_then_on(file: Path) -> None:
    more = file.parent.parent / "more"
    more.mkdir()
    config = yaml.safe_load(file.read_text())
    config["mappings"].append("../more")
    reloads = Reloads()
    watcher = Watcher(file, reloads, every=0.01)
    task = asyncio.create_task(watcher.run())
    file.write_text(yaml.safe_dump(config))
    await until(lambda: reloads.actors)
    await until(lambda: watcher._loaded.mapping_folders[-1] == more)
    (more / "x.yaml").write_text("{}")
    await until(lambda: len(reloads.actors) >= 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("error", [ConfigError([Problem("wrong", "x.yaml", 3)]), ZeroDivisionError("bug")])
async def test_what_was_refused_is_kept_until_it_is_mended(file: Path, error: Exception) -> None:
    reloads = Reloads()
    reloads.error = error
    watcher = await watched(file, reloads, lambda: file.write_text(file.read_text() + "\n"))
    (problem,) = watcher.refused
    assert problem.file in ("x.yaml", str(file))
    reloads.error = None
    await watcher._take_up()
    assert watcher.refused == []


async def test_a_failure_that_is_not_the_files_fault_is_tried_again(file: Path) -> None:
    reloads = Reloads()
    reloads.error = HubError("worker 1 does not answer")
    watcher = Watcher(file, reloads, every=0.01)
    task = asyncio.create_task(watcher.run())
    file.write_text(file.read_text() + "\n")
    await until(lambda: len(reloads.actors) >= 2)
    assert [problem.text for problem in watcher.refused] == ["worker 1 does not answer"]
    reloads.error = None
    await until(lambda: not watcher.refused)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def sink() -> Iterator[Sink]:
    server = Sink()
    yield server
    server.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_running_hub(tmp_path: Path, sink: Sink, workers: int) -> None:
    file = make_site(tmp_path, sink.url, watch=True)
    mapping = tmp_path / "mappings" / "patient.yaml"
    good = mapping.read_text()
    with HubProcess(file, *(["--workers", "2"] if workers == 2 else [])) as hub:

        def status() -> list[dict[str, object]]:
            return list(hub.call("GET", "/api/v1/status").json["not_taken_over"])

        hub.send(adt("1"))
        wait_for(lambda: "1" in sink.numbers(), "delivery")
        mapping.write_text(good + "  wrong: PID-\n")
        (problem,) = wait_for(status, "the mistake is told")
        assert f"patient.yaml:{len(good.splitlines()) + 1}" in str(problem["text"])
        hub.send(adt("2"))  # goes on as before
        wait_for(lambda: "2" in sink.numbers(), "delivery")
        mapping.write_text(good + "  sex: PID-8\n  more: {const: yes}\n")
        wait_for(lambda: not status(), "mended")

        def mapped() -> bool:
            hub.send(adt(str(len(sink.bodies) + 100)))
            return any("more" in body for _, body in list(sink.bodies))

        wait_for(mapped, "the new mapping is used")
        entries = hub.call("GET", "/api/v1/audit").json["entries"]
        reloads = [e["entry"] for e in entries if e["entry"]["action"] == "config.reload"]
        assert {entry["actor"] for entry in reloads} == {WATCHER}
        assert hub.stop() == 0
