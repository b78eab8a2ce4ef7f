"""What ``hub new plugin`` writes is valid at once, for every adapter and codec it offers, and replaces nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from hub.check import check
from hub.config import load_config
from hub.errors import HubError
from hub.mapping_tools import open_workbench
from hub.mapping_tools.testing import run_tests
from hub.registry import Registry
from hub.scaffold import FORMATS, TRANSPORTS, PluginAnswers, new_plugin
from hub.scaffold.plugin import usable
from hub.scaffold.transports import Transport
from hub.verify import Options, Status, verify


def combinations(adapter: str, transport: Transport) -> list[PluginAnswers]:
    direction = "both" if transport.receives and transport.sends else "in" if transport.receives else "out"
    return [
        PluginAnswers(f"{adapter}_{codec}", "skeletons", f"{adapter}: {codec} “示例”", direction, adapter, codec)
        for codec in transport.codecs or FORMATS
    ]


@pytest.mark.parametrize("adapter", TRANSPORTS)
def test_it_passes_every_check_at_once(config: Path, adapter: str) -> None:
    answers = combinations(adapter, TRANSPORTS[adapter])
    for one in answers:
        new_plugin(config, one)
    report = check(config)
    assert [str(problem) for problem in report.problems] == []
    assert report.plugins == len(answers)
    bench = open_workbench(load_config(config))
    tests = run_tests(bench, bench.chosen([]), strays=True)
    assert [(r.mapping, r.error, r.differences) for r in tests.results if not r.ok] == []
    assert (tests.problems, tests.untested) == ([], [])
    assert len(tests.results) == report.mappings > 0
    for found in verify(config, options=Options(calls=False)):
        assert [(r.check, r.place, r.why) for r in found.failed] == []
        missing = {result.check for result in found.results if result.status is Status.MISSING}
        assert {"notes", "sources", "proof"} <= missing, "what people must still write is not claimed"


@pytest.mark.parametrize("direction", ["in", "out"])
def test_one_direction_alone(config: Path, direction: str) -> None:
    new_plugin(config, PluginAnswers("one", "group", "One", direction))
    assert check(config).problems == []
    files = {file.name for file in (config.parent.parent / "mappings" / "one").iterdir()}
    name = "received" if direction == "in" else "sent"
    assert files == {f"{name}.yaml", f"{name}.tests.yaml"}


def test_its_own_test_runs_and_can_fail(config: Path) -> None:
    new_plugin(config, PluginAnswers("own", "group", "Own", "both"))
    folder = config.parent.parent / "plugins" / "group" / "own"

    spec = importlib.util.spec_from_file_location("skeleton_test", folder / "test_own.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.test_contract_example_and_mappings()
    (folder / "examples" / "message.json").write_text("{", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"message\.json"):
        module.test_contract_example_and_mappings()


def test_nothing_is_replaced(config: Path) -> None:
    answers = PluginAnswers("mine", "group", "Mine")
    new_plugin(config, answers)
    with pytest.raises(HubError, match="plugin 'mine'"):
        new_plugin(config, answers)


def test_a_file_in_the_way_stops_everything(config: Path) -> None:
    mine = config.parent.parent / "mappings" / "mine" / "sent.yaml"
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(HubError) as caught:
        new_plugin(config, PluginAnswers("mine", "group", "Mine"))
    assert caught.value.code == "new.exists"
    assert str(mine) in caught.value.text
    assert mine.read_text(encoding="utf-8") == "mine"
    assert list((config.parent.parent / "plugins").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"id": "../up"}, "new.name"),
        ({"id": "Großes"}, "new.name"),
        ({"group": "a/b"}, "new.name"),
        ({"group": ""}, "new.name"),
        ({"name": "two\nlines"}, "new.name"),
        ({"name": " "}, "new.name"),
        ({"direction": "up"}, "new.choice"),
        ({"adapter": "pigeon"}, "new.choice"),
        ({"adapter": "http_poll"}, "new.choice"),
        ({"codec": "dicom"}, "new.choice"),
        ({"adapter": "mllp", "codec": "json"}, "new.choice"),
    ],
)
def test_answers_that_do_not_fit(config: Path, change: dict[str, str], code: str) -> None:
    given = {"id": "fine", "group": "group", "name": "Fine", "direction": "out", "adapter": "http", "codec": "json"}
    with pytest.raises(HubError) as caught:
        new_plugin(config, PluginAnswers(**{**given, **change}))
    assert caught.value.code == code
    assert list((config.parent.parent / "plugins").iterdir()) == []


def test_a_name_with_marks_stays_what_it_is(config: Path) -> None:
    name = 'a "b" # c: {d} \\ 示例 ID'
    new_plugin(config, PluginAnswers("marks", "group", name))
    assert Registry.discover([config.parent.parent / "plugins"]).plugins["marks"].contract.name == name


def test_what_is_offered() -> None:
    assert "http_poll" in usable("in")
    assert "http_poll" not in usable("out")
    assert "http_poll" not in usable("both")
