"""Folders that are played: files the hub writes, files it is to read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.errors import HubError
from hub.registry import Registry
from hub.simulator import Behaviour, Simulator
from tests.kernel.process import wait_for
from tests.simulator.simulator_support import Played, played, plugins

CONTRACT = """
id: exchange
name: 文件交换
settings:
  folder: {type: string, required: true}
interfaces:
  results:
    direction: out
    adapter: file
    connect: {root: "${folder}", folder: out, name: "{control_id}.json", marker: "{name}.ok"}
    codec: json
    simulate: {checks: [{when: total > 9, code: MANY}]}
  orders:
    direction: in
    adapter: file
    listen: {root: "${folder}", folder: in, match: ["ORD*.json"], complete: {by: marker}}
    codec: json
    examples: [order.json]
  batches:
    direction: in
    adapter: file
    listen: {root: "${folder}", folder: batch, naming: {pattern: 'B\\d{8}\\.json'}}
    codec: json
"""


@pytest.fixture(scope="module")
def party() -> Iterator[Played]:
    with played() as found:
        yield found


@pytest.fixture
def exchange(party: Played, tmp_path: Path) -> Iterator[Simulator]:
    (tmp_path / "exchange").mkdir()
    (tmp_path / "exchange" / "plugin.yaml").write_text(CONTRACT, encoding="utf-8")
    (tmp_path / "exchange" / "order.json").write_text('{"n": 1}', encoding="utf-8")
    registry = Registry.discover([tmp_path])
    simulator = party.run(Simulator.start(registry.plugins["exchange"], registry, plugins()[1]))
    yield simulator
    party.run(simulator.stop())


def write(folder: Path, name: str, body: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f".{name}").write_bytes(body)
    (folder / f".{name}").rename(folder / name)


def test_whole_files_with_their_marker_are_calls(exchange: Simulator) -> None:
    folder = Path(exchange.settings["folder"]) / "out"
    write(folder, "a.json", b'{"total": 1}')
    write(folder, "b.json", b'{"total": 10}')
    write(folder, "c.json", b"no json")
    write(folder, "other.txt", b"{}")
    wanted = [("b", "refused", "MANY"), ("c", "refused", "json.invalid"), ("a", "accepted", "")]
    for number, (name, _, _) in enumerate(wanted, 1):
        write(folder, f"{name}.json.ok", b"")
        wait_for(lambda number=number: len(exchange.calls) >= number, f"{name} is seen")
    assert [(call.verdict, call.code) for call in exchange.calls] == [(verdict, code) for _, verdict, code in wanted]


def test_files_lie_where_they_are_read_whole_and_with_their_marker(exchange: Simulator, party: Played) -> None:
    folder = Path(exchange.settings["folder"]) / "in"
    party.run(exchange.offer("orders", b'{"n": 2}'))
    files = sorted(folder.glob("ORD*.json"))
    assert [json.loads(file.read_bytes()) for file in files] == [{"n": 1}, {"n": 2}]
    assert all((folder / f"{file.name}.ok").exists() for file in files)
    assert len(list(folder.iterdir())) == 4


def test_what_can_not_be_played_says_so(exchange: Simulator, party: Played) -> None:
    with pytest.raises(HubError) as told:
        party.run(exchange.offer("batches", b"{}"))
    assert told.value.code == "simulate.offer"
    with pytest.raises(HubError) as told:
        exchange.misbehave("results", Behaviour("silent"))
    assert told.value.code == "simulate.behaviour"


def test_a_folder_with_files_of_others_is_left_alone(party: Played, tmp_path: Path) -> None:
    (tmp_path / "plugins" / "exchange").mkdir(parents=True)
    (tmp_path / "plugins" / "exchange" / "plugin.yaml").write_text(CONTRACT.replace("examples:", "# "), "utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "theirs.txt").touch()
    registry = Registry.discover([tmp_path / "plugins"])
    settings = {"folder": str(tmp_path / "data")}
    with pytest.raises(HubError) as told:
        party.run(Simulator.start(registry.plugins["exchange"], registry, plugins()[1], settings=settings))
    assert told.value.code == "simulate.folder"
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["theirs.txt"]


def test_the_folder_it_made_goes_with_it(exchange: Simulator, party: Played) -> None:
    folder = Path(exchange.settings["folder"])
    assert folder.is_dir()
    party.run(exchange.stop())
    assert not folder.exists()
