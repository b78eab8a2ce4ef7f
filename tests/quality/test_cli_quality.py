"""``hub quality …`` as people and programs call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hub.cli.quality import app
from hub.errors import ConfigError, HubError

SET = """
description: who
for: {codec: hl7v2, types: "ADT^*"}
rules:
  name: {level: completeness, required: PID-5, advice: ask}
  sex: {level: field, severity: warning, path: PID-8, one_of: [M, F]}
"""
TESTS = """
cases:
  - name: nothing is wrong
    input: |
      MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5
      PID|1||||a
    findings: []
    score: 100
  - name: no name
    input: |
      MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5
      PID|1||||||
    findings: [name PID-5]
"""
MESSAGE = "MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rPID|1||||%s|||%s\r"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the rules of a deployment."""
    for folder in ("config", "mappings", "schemas"):
        (tmp_path / folder).mkdir()
    (tmp_path / "config" / "hub.yaml").write_text("plugins: []\n")
    (tmp_path / "schemas" / "who.rules.yaml").write_text(SET)
    (tmp_path / "schemas" / "who.rules.tests.yaml").write_text(TESTS)
    (tmp_path / "good.hl7").write_text(MESSAGE % ("a", "M"), newline="")
    (tmp_path / "bad.hl7").write_text(MESSAGE % ("", "X"), newline="")
    monkeypatch.setenv("TONGQU_CONFIG", str(tmp_path / "config" / "hub.yaml"))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def told(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout_bytes)


def test_list(place: Path) -> None:
    (row,) = told("list")["sets"]
    assert row == {"name": "who", "codec": "hl7v2", "types": ["ADT^*"], "rules": 2, "description": "who"}
    assert [(rule["id"], rule["level"], rule["test"]) for rule in told("list", "who")["rules"]] == [
        ("name", "completeness", "required"),
        ("sex", "field", "one_of"),
    ]
    assert [rule["id"] for rule in told("list", "who", "--level", "field")["rules"]] == ["sex"]
    assert isinstance(run("list", "whom").exception, ConfigError)


def test_checks(place: Path) -> None:
    names = [row["name"] for row in told("checks")["checks"]]
    assert {"is_id_card", "is_email", "pulse"} <= set(names)
    assert [row["name"] for row in told("checks", "mail")["checks"]] == ["is_email"]


def test_check(place: Path) -> None:
    assert told("check") == {"ok": True, "sets": ["who"], "problems": []}
    (place / "schemas" / "bad.rules.yaml").write_text(
        SET.replace("required: PID-5", "forbidden: PID-5") + "  more: {level: field, required: PID-5}\n"
    )
    done = run("check", "--json")
    assert done.exit_code == 1
    assert [(Path(p["file"]).name, p["line"]) for p in json.loads(done.stdout_bytes)["problems"]] == [
        ("bad.rules.yaml", 5),
        ("bad.rules.yaml", 7),
    ]
    assert run("check", "who").exit_code == 0


def test_run(place: Path) -> None:
    good, bad = str(place / "good.hl7"), str(place / "bad.hl7")
    assert run("run", "who", good).exit_code == 0
    done = run("run", "who", good, bad, str(place / "none.hl7"), "--json")
    first, second, third = json.loads(done.stdout_bytes)["messages"]
    assert (done.exit_code, first["score"], second["score"], first["rules_asked"]) == (1, 100.0, 0.0, 2)
    assert [(f["rule"], f["place"], f["advice"]) for f in second["findings"]] == [
        ("name", "PID-5", "ask"),
        ("sex", "PID-8", ""),
    ]
    assert "can't be read" in third["error"]
    assert run("run", "who", bad).exit_code == 1
    with pytest.raises(HubError):
        raise run("run", "who", bad, "--now", "soon").exception or AssertionError


def test_test(place: Path) -> None:
    assert told("test")["passed"] == 2
    (place / "schemas" / "who.rules.tests.yaml").write_text(
        TESTS.replace("name PID-5", "name PID-6").replace("score: 100", "score: 99")
    )
    (place / "schemas" / "stray.rules.tests.yaml").write_text(TESTS)
    done = run("test", "--json")
    report = json.loads(done.stdout_bytes)
    assert (done.exit_code, report["failed"], len(report["problems"])) == (1, 2, 1)
    assert [case["differences"] for case in report["cases"]] == [
        [{"what": "score", "expected": "99.0", "found": "100.0"}],
        [
            {"what": "findings", "expected": "name PID-6", "found": "-"},
            {"what": "findings", "expected": "-", "found": "name PID-5: the value is missing"},
        ],
    ]


@pytest.mark.parametrize(
    ("tests", "line", "text"),
    [
        ("cases: []", 1, "at least"),
        ("cases:\n  - {name: a, findings: []}", 2, "exactly one of input: and input_file:"),
        ("cases:\n  - {name: a, input: x}", 2, "nothing is expected"),
        ("cases:\n  - {name: a, input: x, findings: [], scores: 1}", 2, "unknown key"),
        ("cases:\n  - {name: a, input: x, findings: []}\n  - {name: a, input: y, findings: []}", 3, "two cases"),
    ],
)
def test_what_is_wrong_with_tests(place: Path, tests: str, line: int, text: str) -> None:
    (place / "schemas" / "who.rules.tests.yaml").write_text(tests)
    (problem,) = told("check")["problems"]
    assert problem["line"] == line
    assert text in problem["text"]


def test_schema(place: Path) -> None:
    assert "is_id_card" in json.dumps(json.loads(run("schema").stdout_bytes))
    assert "cases" in json.loads(run("schema", "--kind", "tests").stdout_bytes)["properties"]
