"""The quality scale: computed from results and their record, never claimed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hub.errors import HubError
from hub.plugin_quality import qualities
from hub.verify import LEVELS, Options, PluginReport, Report, Result, Status, verify
from hub.verify.badges import badges
from hub.verify.catalogue import CHECKS
from hub.verify.levels import judge, level_of
from hub.verify.record import Record
from tests.verify.verify_site import make_site


def report_of(**changes: Status) -> PluginReport:
    """Everything passed, but for ``changes``."""
    report = PluginReport("desk", "Desk", "group", digest="d", around="a")
    report.add(Result(check.id, changes.get(check.id, Status.PASSED), "send", "because") for check in CHECKS)
    return report


def test_everything_passed_is_platinum() -> None:
    assert level_of(report_of()) == "platinum"


@pytest.mark.parametrize("check", [check.id for check in CHECKS])
@pytest.mark.parametrize("status", [Status.FAILED, Status.MISSING, Status.SKIPPED])
def test_each_check_keeps_a_plugin_below_its_level(check: str, status: Status) -> None:
    of = next(one.level for one in CHECKS if one.id == check)
    quality = judge(report_of(**{check: status}))
    assert quality.level == ("", *LEVELS)[LEVELS.index(of)]
    assert any("because" in text for text in quality.missing)


def test_what_does_not_concern_a_plugin_does_not_count() -> None:
    report = report_of()
    report.results = [result for result in report.results if result.check not in ("receive", "refusals", "order")]
    assert level_of(report) == "platinum"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return make_site(tmp_path, {"desk": {}})


def recorded(config: Path, report: PluginReport) -> Record:
    run = Report("2026-01-15T00:00:00+00:00", {"desk": report})
    Record.read(config.parent.parent).keep(run, all_plugins=True)
    return Record.read(config.parent.parent)


def of_files(config: Path, **changes: Status) -> PluginReport:
    """Results for the files as they are, all checks passed, but for ``changes``."""
    found = verify(config, ["desk"], options=Options(calls=False)).plugins["desk"]
    report = report_of(**changes)
    report.digest, report.around = found.digest, found.around
    return report


def test_without_a_record_nothing_is_verified(config: Path) -> None:
    quality = qualities(config)["desk"]
    assert (quality.level, quality.verified) == ("", False)
    assert any("hub verify" in text for text in quality.missing)
    assert badges(config)["desk"].level == ""


def test_the_record_counts_for_the_files_it_was_made_of(config: Path) -> None:
    recorded(config, of_files(config))
    # The files have no evidence for gold: what can be seen is not taken from the record.
    assert qualities(config)["desk"].level == "silver"
    assert badges(config)["desk"].level == "platinum"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("plugins/group/desk/plugin.yaml", "timeout: 5s", "timeout: 6s"),
        ("plugins/group/desk/examples/received.json", "B-1", "B-2"),
        ("mappings/desk/sent.yaml", "number: number", "number: {expr: number}"),
        ("schemas/desk.json", "table 3", "table 4"),
    ],
)
def test_a_changed_file_ends_it(config: Path, file: str, old: str, new: str) -> None:
    recorded(config, of_files(config))
    path = config.parent.parent / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    assert not qualities(config)["desk"].verified
    assert badges(config)["desk"].level == ""


def test_notes_are_looked_at_anew(config: Path) -> None:
    recorded(config, of_files(config))
    (config.parent.parent / "plugins" / "group" / "desk" / "README.md").unlink()
    assert qualities(config)["desk"].level == "bronze"
    assert badges(config)["desk"].level == "", "a badge never shows more than is known"


def test_a_failure_is_recorded_with_its_reason(config: Path) -> None:
    recorded(config, of_files(config, faults=Status.FAILED))
    quality = qualities(config)["desk"]
    assert quality.level == "bronze"
    assert any("because" in text for text in quality.missing)


def test_a_run_without_proofs_keeps_what_an_earlier_one_proved(config: Path) -> None:
    recorded(config, of_files(config))
    again = of_files(config, proof=Status.SKIPPED, benchmark=Status.SKIPPED, faults=Status.SKIPPED)
    checks = recorded(config, again).of("desk", again.digest)
    assert checks is not None
    assert {name: checks[name]["status"] for name in ("proof", "benchmark", "faults")} == {
        "proof": "passed",
        "benchmark": "passed",
        "faults": "skipped",
    }


def test_a_level_written_into_the_record_counts_for_nothing(config: Path) -> None:
    record = recorded(config, of_files(config, round_trip=Status.FAILED))
    data = json.loads(record.file.read_text(encoding="utf-8"))
    data["plugins"]["desk"]["level"] = "platinum"
    record.file.write_text(json.dumps(data), encoding="utf-8")
    assert badges(config)["desk"].level == qualities(config)["desk"].level == ""


@pytest.mark.parametrize("text", ["{", "[]", '{"plugins": 7}', '{"plugins": {"desk": 7}}'])
def test_a_record_that_is_none(config: Path, text: str) -> None:
    file = config.parent.parent / "docs" / "quality.json"
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    with pytest.raises(HubError) as caught:
        qualities(config)
    assert caught.value.code == "verify.record"
    assert caught.value.remedy


def test_a_plugin_nobody_knows(config: Path) -> None:
    with pytest.raises(HubError) as caught:
        verify(config, ["nobody"])
    assert caught.value.code == "plugin.missing"
