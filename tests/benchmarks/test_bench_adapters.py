"""The comparisons of the adapters: on tiny sizes everything runs and arrives, and a run that loses something fails."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.adapters import series
from benchmarks.adapters.measure import Case, Run, expect
from benchmarks.adapters.series import Comparison
from benchmarks.machine import Failed


@pytest.mark.parametrize("name", ["http_poll", "file"])  # the others: tests/peers/test_benchmarks.py
def test_every_case_runs_and_counts_what_arrives(name: str) -> None:
    rows = list(series.compare(1, name, quick=True))
    assert {row.adapter for row in rows} == {name}
    for row in rows:
        assert (row.failed, row.skipped) == ("", ""), row
        assert len(row.ours) == len(row.bare) == 1
        assert row.ours[0].count >= 20
        assert row.wall_ratio > 0


def _with(monkeypatch: pytest.MonkeyPatch, ours: Callable[[], Run], bare: Callable[[], Run]) -> Comparison:
    case = Case("file", "in", "bare", ours, bare)
    monkeypatch.setattr(series, "_GROUPS", [(("file",), lambda folder, share: iter([case]))])
    (row,) = series.compare(3, "file")
    return row


def test_medians_and_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.cycle([2.0, 4.0, 8.0])
    row = _with(monkeypatch, lambda: Run(100, next(seconds), 1.0), lambda: Run(100, 1.0, 0.25))
    assert (row.rate(row.ours), row.rate(row.bare), row.wall_ratio) == (25.0, 100.0, 4.0)
    assert (row.processor_us(row.ours), row.processor_us(row.bare), row.processor_ratio) == (10_000, 2_500, 4.0)
    assert json.loads(json.dumps(row.as_dict()))["ours"][0]["count"] == 100


def test_a_run_that_loses_a_message_fails_and_has_no_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy() -> Run:
        expect(99, 100, "file")
        return Run(100, 1.0, 1.0)

    row = _with(monkeypatch, lossy, lambda: Run(100, 1.0, 1.0))
    assert row.failed == "file: 99 of 100 arrived"
    assert row.wall_ratio == 0


def test_what_is_not_installed_is_skipped_with_the_command_and_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(folder: Path, share: float) -> None:
        pytest.skip("redis-server is missing: apt-get install redis-server")

    def broken(folder: Path, share: float) -> None:
        raise Failed("no")

    case = Case("tcp", "in", "bare", lambda: Run(1, 1.0, 1.0), lambda: Run(1, 1.0, 1.0))
    groups = [(("redis",), missing), (("tcp",), lambda folder, share: iter([case]))]
    monkeypatch.setattr(series, "_GROUPS", groups)
    monkeypatch.setattr("sys.argv", ["benchmarks", "adapters", "--runs", "1"])
    assert main() == 0
    shown = capsys.readouterr().out
    assert "skipped: redis-server is missing: apt-get install redis-server" in shown
    assert "tcp" in shown
    monkeypatch.setattr(series, "_GROUPS", [*groups, (("mail",), broken)])
    assert main() == 1
    assert "FAILED: Failed: no" in capsys.readouterr().out
