"""``hub mapping …`` as people and programs call it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hub.i18n import set_language
from tests.cli.conftest import Run
from tests.kernel.process import ROOT

PATIENT = """\
description: a patient
from: {codec: hl7v2, types: ["ADT^*"]}
to: {codec: json}
vars: {org: MSH-4}
fields:
  id: {expr: PID-3.1, required: true}   # never empty
  name: PID-5.1
  sex: PID-8 | table('sex')
  phones: {each: PID-13, number: .1}
  weight: $settings.unit
  at: $now
"""
TESTS = """\
defaults: {settings: {unit: kg}}
cases:
  - name: a woman
    input: |
      MSH|^~\\&|HIS|A|||||ADT^A01|1|P|2.5.1
      PID|1||7||欧阳锋|||F|||||13812345678^X
    contains: {id: "7", sex: "2", weight: kg}
  - name: somebody without a number
    input: |
      MSH|^~\\&|HIS|A|||||ADT^A01|1|P|2.5.1
      PID|1
    error: {target: id}
"""
ADT = "MSH|^~\\&|HIS|A|||||ADT^A01|1|P|2.5.1\rPID|1||7||欧阳锋|||F|||||13812345678~139\r"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment with one mapping, its tests, and an input."""
    mappings = tmp_path / "mappings"
    (mappings / "tables").mkdir(parents=True)
    (mappings / "tables" / "sex.csv").write_text("# version: 7\nfrom,to\nM,1\nF,2\n")
    (mappings / "patient.yaml").write_text(PATIENT, encoding="utf-8")
    (mappings / "patient.tests.yaml").write_text(TESTS, encoding="utf-8")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "hub.yaml").write_text("plugins: []\nmappings: [../mappings]\n")
    (tmp_path / "adt.hl7").write_text(ADT, encoding="utf-8", newline="")
    monkeypatch.setenv("TONGQU_CONFIG", str(tmp_path / "config" / "hub.yaml"))
    return tmp_path


def change(place: Path, old: str, new: str, name: str = "patient.yaml") -> None:
    file = place / "mappings" / name
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_check(place: Path, command: Run) -> None:
    found = command("mapping", "check")
    assert (found.status, found.out) == (0, "1 mappings: 0 errors, 0 warnings\n")
    assert command("mapping", "check", "patient", "--json").json == {
        "ok": True,
        "mappings": ["patient"],
        "problems": [],
    }
    change(place, "PID-5.1", "PID-5.1 |")
    change(place, "codec: json", "codec: jsno")
    change(place, "contains:", "contain:", "patient.tests.yaml")
    found = command("mapping", "check")
    assert found.status == 1
    assert "patient.yaml:7: name: a function expected after |" in found.out
    assert "patient.yaml:3: to.codec: unknown codec 'jsno' -> did you mean 'json'?" in found.out
    assert "patient.tests.yaml:7: cases[0].contain: unknown key" in found.out
    answer = command("mapping", "check", "--json")
    assert (answer.status, answer.json["ok"]) == (1, False)
    assert all(problem["line"] and problem["text"] for problem in answer.json["problems"])


def test_test(place: Path, command: Run) -> None:
    found = command("mapping", "test")
    assert (found.status, found.out) == (0, "2 cases: 2 passed, 0 failed\n")
    change(place, 'sex: "2"', 'sex: "1", name: 李四', "patient.tests.yaml")
    found = command("mapping", "test", "patient")
    assert found.status == 1
    assert "patient.tests.yaml:3: patient: a woman" in found.out
    assert [line.split() for line in found.out.splitlines()[2:4]] == [
        ["sex", "'1'", "'2'"],
        ["name", "'李*'", "'欧*锋'"],
    ]
    assert "欧阳锋" in command("mapping", "test", "--clear").out
    answer = command("mapping", "test", "--json")
    assert answer.status == 1
    assert (answer.json["passed"], answer.json["failed"], answer.json["untested"]) == (1, 1, [])
    assert answer.json["cases"][0]["differences"][0] == {"path": "sex", "expected": "'1'", "found": "'2'"}
    (place / "mappings" / "patient.tests.yaml").unlink()
    assert "without tests: patient" in command("mapping", "test").out


def test_run(place: Path, command: Run) -> None:
    file = str(place / "adt.hl7")
    arguments = ("mapping", "run", "patient", file, "--now", "2026-01-15T09:30:00", "--settings", "unit=kg")
    found = command(*arguments)
    assert found.status == 0
    assert json.loads(found.raw) == {
        "id": "7", "name": "欧阳锋", "sex": "2", "phones": [{"number": "13812345678"}, {"number": "139"}], "weight": "kg",
        "at": "2026-01-15T09:30:00.000+08:00",
    }  # fmt: skip
    assert not found.raw.endswith(b"\n")
    assert command(*arguments, "--pretty").out.splitlines()[1] == '  "id": "7",'
    answer = command(*arguments, "--json").json
    assert (answer["mapping"].partition("@")[0], answer["codec"]) == ("patient", "json")
    assert json.loads(answer["outputs"][0])["id"] == "7"
    (place / "settings.yaml").write_text("unit: g\n")
    assert '"weight":"g"' in command("mapping", "run", "patient", file, "--settings", str(place / "settings.yaml")).out


def test_run_reads_standard_input(place: Path, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(ADT.encode())

    monkeypatch.setattr(sys, "stdin", Stdin())
    assert '"id":"7"' in command("mapping", "run", "patient", "-").out


def test_run_with_a_type_the_mapping_is_not_for(place: Path, command: Run) -> None:
    found = command("mapping", "run", "patient", str(place / "adt.hl7"), "--type", "ORU^R01")
    assert (found.status, "is for ADT^*" in found.errors) == (0, True)


def test_run_without_an_output(place: Path, command: Run) -> None:
    change(place, "vars:", "when: PID-30 == 'Y'\nvars:")
    found = command("mapping", "run", "patient", str(place / "adt.hl7"))
    assert (found.status, found.out, "no output" in found.errors) == (0, "", True)


def test_coverage(place: Path, command: Run) -> None:
    found = command("mapping", "coverage", "patient")
    assert found.status == 0
    assert "2 inputs; 6 target fields" in found.out
    assert "PID-13.2" in found.out
    assert "never written" not in found.out
    (place / "other.hl7").write_text(
        "MSH|^~\\&|||||||ADT^A01|1|P|2.5.1\rPID|||7|||||||||||||||||||||||||||x\r", newline=""
    )
    (place / "schema.json").write_text('{"required": ["id", "address"]}')
    found = command("mapping", "coverage", "patient", str(place / "other.hl7"), "--schema", str(place / "schema.json"))
    assert "PID-30" in found.out
    assert "required by the schema, never written: 1" in found.out
    assert "address" in found.out
    answer = command("mapping", "coverage", "patient", str(place / "adt.hl7"), "--json", "--clear").json
    assert [row["path"] for row in answer["never_read"]][:2] == ["MSH-3", "MSH-9.1"]
    assert {row["path"] for row in answer["never_there"]} == set()
    assert [row["target"] for row in answer["never_written"]] == ["weight"]


def test_explain(place: Path, command: Run) -> None:
    file = str(place / "adt.hl7")
    found = command("mapping", "explain", "patient", file, "--target", "phones[1].number")
    assert found.status == 0
    assert "phones[1].number = 1**" in found.out
    assert "rule: .1  (" in found.out
    start = ADT.encode().index(b"139\r")
    assert f"← PID-13[2].1 = 1**  (segment 2, bytes {start}-{start + 2})" in found.out
    found = command("mapping", "explain", "patient", file, "--target", "sex")
    assert "table sex 7: F → 2" in found.out
    assert "sex.csv:4" in found.out
    found = command("mapping", "explain", "patient", file, "--target", "name")
    assert "欧阳锋" not in found.out
    assert "欧阳锋" in command("mapping", "explain", "patient", file, "--target", "name", "--clear").out
    answer = command("mapping", "explain", "patient", file, "--target", "weight", "--json").json
    assert [(field["target"], field["state"], field["rule"]["line"]) for field in answer["fields"]] == [
        ("weight", "absent", 10)
    ]
    change(place, "phones: {each: PID-13,", "phones: {each: PID-13, when: .2 == 'X',")
    found = command("mapping", "explain", "patient", file, "--target", "phones")
    assert "not written: a condition does not hold" in found.out
    assert "when: .2 == 'X'  [does not hold]" in found.out


def test_what_comes_from_outside_can_not_command_the_terminal(place: Path, command: Run) -> None:
    (place / "nasty.hl7").write_bytes(ADT.replace("欧阳锋", "\x1b[2J\x07[bold]x").encode())
    for arguments in (
        ["explain", "patient", str(place / "nasty.hl7"), "--target", "name", "--clear"],
        ["coverage", "patient", str(place / "nasty.hl7"), "--clear"],
    ):
        out = command("mapping", *arguments).raw
        assert b"\x1b" not in out
        assert b"\x07" not in out
    assert (
        b"[bold]x"
        in command("mapping", "explain", "patient", str(place / "nasty.hl7"), "--target", "name", "--clear").raw
    )


def test_page(place: Path, command: Run) -> None:
    assert command("mapping", "page", "patient").out.startswith("<!DOCTYPE html>")
    out = place / "page.html"
    found = command("mapping", "page", "patient", "-o", str(out))
    assert (found.status, "written to" in found.out) == (0, True)
    assert "never empty" in out.read_text(encoding="utf-8")
    assert command("mapping", "page", "patient", "-o", str(out), "--json").json["file"] == str(out)
    assert "can't be written" in command("mapping", "page", "patient", "-o", str(place)).errors


def test_schema(place: Path, command: Run) -> None:
    assert command("mapping", "schema").json["$schema"].endswith("2020-12/schema")
    assert "cases" in command("mapping", "schema", "--kind", "tests").json["properties"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["check", "patent"], "did you mean 'patient'"),
        (["test", "nobody"], "no mapping 'nobody'"),
        (["run", "patent", "FILE"], "did you mean patient"),
        (["run", "patient", "/no/such/file"], "/no/such/file can't be read"),
        (["run", "patient", "FILE", "--now", "soon"], "is not a time"),
        (["run", "patient", "FILE", "--settings", "/no/such/file"], "can't be read"),
        (["run", "patient", "FILE", "--settings", "LIST"], "no keys and values"),
        (["run", "patient", "LIST"], "MSH"),
        (["run", "patient", "FILE", "--input-format", "delimiter=x"], "takes no options"),
        (["run", "patient", "FILE", "--output-format", "x=y"], "takes no options"),
        (["coverage", "patient", "LIST"], "MSH"),
        (["coverage", "patient", "--schema", "LIST"], "is not JSON"),
        (["explain", "patient", "FILE", "--target", "nam"], "name"),
        (["explain", "patient", "FILE", "--target", "id", "--output", "2"], "1 outputs"),
        (["page", "patent"], "patient"),
        (["schema", "--kind", "other"], "mapping or tests"),
    ],
)
def test_mistakes_are_told_in_one_line(place: Path, command: Run, arguments: list[str], told: str) -> None:
    (place / "list.yaml").write_text("- a\n")
    files = {"FILE": str(place / "adt.hl7"), "LIST": str(place / "list.yaml")}
    found = command("mapping", *(files.get(argument, argument) for argument in arguments))
    assert found.status == 1
    assert found.out == ""
    assert told in found.errors


def test_a_configuration_that_can_not_be_used(place: Path, command: Run) -> None:
    (place / "config" / "hub.yaml").write_text("mapings: []\n")
    found = command("mapping", "check")
    assert (found.status, "hub.yaml:1: mapings" in found.errors) == (1, True)


HELP = """
import sys
from typer.testing import CliRunner
from hub.cli.mapping import app
for command in ["", *(command.name for command in app.registered_commands)]:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0, result.output
    print(result.output, end="\\x00")
"""


def helps(language: str) -> list[str]:
    """The language is chosen at a start, so it takes a process."""
    environment = {**os.environ, "TONGQU_LANG": language, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, "-c", HELP], env=environment, capture_output=True, check=True, timeout=60)
    return done.stdout.decode().split("\0")[:-1]


def test_help_in_both_languages() -> None:
    english, chinese = helps("en"), helps("zh")
    assert len(english) == len(chinese) == 8
    for one, other in zip(english, chinese, strict=True):
        assert not any("\u4e00" <= char <= "\u9fff" for char in one)
        assert any("\u4e00" <= char <= "\u9fff" for char in other)
    for name in ("check", "test", "run", "coverage", "explain", "page", "schema"):
        assert name in english[0]


def test_output_in_chinese(place: Path, command: Run) -> None:
    set_language("zh")
    file = str(place / "adt.hl7")
    outputs: list[Any] = [
        command("mapping", "check").out,
        command("mapping", "test").out,
        command("mapping", "coverage", "patient").out,
        command("mapping", "explain", "patient", file, "--target", "sex").out,
        command("mapping", "page", "patient").out,
    ]
    for out, told in zip(
        outputs, ["1 个映射：0 个错误", "2 个通过", "没有规则读取", "代码表 sex 7", "双方签字确认"], strict=True
    ):
        assert told in out
