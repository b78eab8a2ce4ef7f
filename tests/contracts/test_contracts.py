"""The contract tests of every plugin that comes with the hub: plugin × check. ``hub verify`` prints the same.

What a plugin lacks for a higher level, and what can't be looked at here, is skipped with the reason; what is wrong fails.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hub.verify import Report, Status
from hub.verify.catalogue import CHECKS
from hub.verify.record import Record

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = sorted(file.parent.name for file in (ROOT / "plugins").glob("*/*/plugin.yaml"))
pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("check", [check.id for check in CHECKS])
@pytest.mark.parametrize("plugin", PLUGINS)
def test_contract(report: Report, plugin: str, check: str) -> None:
    found = report.plugins.get(plugin)
    assert found is not None, report.not_loaded.get(plugin, "not found")
    failed = [f"{r.place}: {r.why} {r.remedy}".strip() for r in found.of(check) if r.status is Status.FAILED]
    assert not failed, "\n".join(failed)
    status = found.status(check)
    if status is not Status.PASSED:
        first = next((r for r in found.of(check) if r.status is status), None)
        pytest.skip(f"{first.place}: {first.why}" if first is not None else "does not concern it")


def test_folders_are_named_after_their_plugins() -> None:
    for file in (ROOT / "plugins").glob("*/*/plugin.yaml"):
        assert yaml.safe_load(file.read_text(encoding="utf-8"))["id"] == file.parent.name


def test_no_level_is_recorded_that_this_run_does_not_bear_out(report: Report) -> None:
    """What is kept in docs/quality.json of files as they are now is not better than what is found now. A check that could not be made
    this time contradicts nothing, but few may be: a machine that makes none any more must not pass."""
    record = Record.read(ROOT)
    optional = {"proof", "fuzz", "flow", "benchmark"}
    better, unseen, passed = [], [], 0
    for plugin in report:
        for check, entry in (record.of(plugin.plugin, plugin.digest) or {}).items():
            if entry["status"] != "passed" or check in optional:
                continue
            passed += 1
            now = plugin.status(check)
            if now in (Status.FAILED, Status.MISSING):
                better.append(f"{plugin.plugin} {check}")
            elif now is not Status.PASSED:
                unseen.append(f"{plugin.plugin} {check}")
    assert not better, "run hub verify --record: " + ", ".join(better)
    assert passed > 1000
    assert len(unseen) <= passed // 100, "not looked at: " + ", ".join(unseen)
