"""The report: for a terminal, for people as one HTML file, for programs as JSON and JUnit XML."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
from typer.testing import CliRunner

from hub.cli.look import plugins
from hub.cli.verify import verify
from hub.errors import HubError
from hub.i18n import set_language
from hub.verify import PluginReport, Report, Result, Status
from hub.verify.catalogue import CHECKS
from hub.verify.exports import as_dict, as_junit
from hub.verify.html import as_html
from tests.verify.verify_site import make_site

EVIL = '</script><script>alert(1)</script> & "quoted" \x01 \ud800'.encode("utf-8", "replace").decode()


@pytest.fixture
def report() -> Report:
    good = PluginReport("good", "Good", "group", interfaces=["→ send"], seconds=1.5)
    good.add(Result(check.id, Status.PASSED, "send") for check in CHECKS)
    bad = PluginReport("bad", EVIL, "group", seconds=0.5)
    bad.add([Result("manifest", Status.PASSED), Result("faults", Status.FAILED, "send: reset", EVIL, "mend it", 0.25)])
    bad.add(
        [Result("notes", Status.MISSING, "README.md", "no notes"), Result("order", Status.SKIPPED, "send", "no key")]
    )
    return Report("2026-01-15T00:00:00+00:00", {"bad": bad, "good": good}, {"broken": "line 3: wrong"}, 2.0)


def test_json_says_everything(report: Report) -> None:
    data = as_dict(report)
    assert data["ok"] is False
    assert data["counts"] == {"passed": len(CHECKS) + 1, "failed": 1, "missing": 1, "skipped": 1}
    bad, good = data["plugins"]
    assert (bad["level"], good["level"]) == ("", "platinum")
    assert bad["checks"] == {"manifest": "passed", "faults": "failed", "order": "skipped", "notes": "missing"}
    assert {"check", "status", "place", "why", "remedy", "seconds"} == bad["results"][0].keys()
    assert data["not_loaded"] == {"broken": "line 3: wrong"}
    json.dumps(data)


def test_junit_counts_and_names_each_result(report: Report) -> None:
    root = ElementTree.fromstring(as_junit(report))
    bad, good, broken = root
    assert (bad.get("name"), bad.get("tests"), bad.get("failures"), bad.get("skipped")) == ("bad", "4", "1", "2")
    case = next(case for case in bad if case.find("failure") is not None)
    assert case.get("name") == "faults send: reset"
    failure = case.find("failure")
    assert failure is not None
    assert "mend it" in str(failure.get("message"))
    assert good.get("failures") == "0"
    assert broken[0].find("error") is not None


def test_html_needs_nothing_else_and_can_not_be_broken_out_of(report: Report) -> None:
    page = as_html(report).decode()
    assert not re.search(r"(?:src|href)=|url\(|@import|https?://", page)
    assert "alert(1)</script>" not in page
    assert page.count("<script") == page.count("</script>") == 2
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    assert [one["id"] for one in data["plugins"]] == ["bad", "good"]
    assert data["plugins"][0]["results"][1]["why"] == EVIL


def test_html_has_both_languages_and_a_mark_for_each_plugin_and_check(report: Report) -> None:
    page = as_html(report).decode()
    for check in CHECKS:
        assert f'<span class="en">{check.title_en}</span><span class="zh">{check.title_zh}</span>' in page
    rows = re.findall(r"<tr data-plugin=.*?</tr>", page, re.DOTALL)
    assert [row.count('<td class="c ') for row in rows] == [len(CHECKS)] * 2
    assert (rows[1].count(">✓<"), rows[0].count(">✗<"), rows[0].count(">○<"), rows[0].count('<td class="c m')) == (
        len(CHECKS),
        1,
        1,
        1,
    )
    set_language("zh")
    try:
        assert '<html lang="zh-CN">' in as_html(report).decode()
    finally:
        set_language("en")


def test_the_command(tmp_path: Path) -> None:
    config = make_site(tmp_path, {"desk": {}})
    files = {kind: tmp_path / f"report.{kind}" for kind in ("html", "json", "junit")}
    app = typer.Typer()
    app.command()(verify)
    app.command("plugins")(plugins)

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, [arguments[0], "--config", str(config), *arguments[1:]])
        assert done.exception is None or isinstance(done.exception, SystemExit | HubError), done.exception
        return done.exit_code, done.output

    writing = (part for kind, file in files.items() for part in (f"--{kind}", str(file)))
    status, out = run("verify", "desk", "--record", *writing)
    assert status == 0, out
    assert "desk" in out
    assert "1 plugins in" in out
    assert json.loads(files["json"].read_text(encoding="utf-8"))["plugins"][0]["level"] == "silver"
    assert files["html"].read_text(encoding="utf-8").startswith("<!doctype html>")
    assert ElementTree.parse(files["junit"]).getroot().tag == "testsuites"
    assert (tmp_path / "docs" / "quality.json").is_file()
    assert json.loads(run("plugins", "--quality", "--json")[1])["plugins"][0]["level"] == "silver"
    assert json.loads(run("plugins", "--json")[1])["plugins"][0]["level"] == "silver"

    (tmp_path / "plugins" / "group" / "desk" / "examples" / "received.json").write_text("{")
    status, out = run("verify", "desk", "--files-only", "--json", "-")
    assert status == 1
    assert json.loads(out)["ok"] is False
    assert run("verify", "desk", "--files-only", "--record")[0] == 1, "nothing to record"
