"""The rule sets that come with the hub: they compile, each rule is shown to find something, and no sample makes them fail."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from hub.codecs.hl7v2 import Hl7Codec
from hub.config import load_config
from hub.errors import CodecError
from hub.mapping import Context
from hub.mapping.tables import load_table
from hub.quality import RuleLibrary
from hub.quality.bench import RuleBench, open_rules
from hub.quality.cases import case_file, load_rule_tests, run_rule_case, stray_rule_tests
from hub.quality.checks import CHECKS
from hub.quality.quantities import QUANTITIES
from hub.quality.schema import rules_schema, rules_tests_schema
from tests.quality.conftest import NOW

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(os.environ.get("TONGQU_SAMPLES") or ROOT.parent / "shared" / "samples") / "hl7v2"
SETS = sorted(
    path.relative_to(ROOT / "schemas").as_posix()[:-11] for path in (ROOT / "schemas").glob("**/*.rules.yaml")
)


@cache
def bench() -> RuleBench:
    return open_rules(load_config(ROOT / "config" / "hub.yaml"))


def test_they_compile_without_contradiction() -> None:
    assert bench().library.names() == SETS
    assert bench().library.problems() == []
    assert stray_rule_tests(bench().folders) == []


@pytest.mark.parametrize("name", SETS)
def test_each_rule_of_a_set_finds_something_in_its_tests(name: str) -> None:
    failed: set[str] = set()
    validator = bench().library.get(name)
    file = case_file(bench(), name)
    assert file is not None
    tests = load_rule_tests(file)
    for case in tests.cases:
        failed |= {finding.rule for finding in case.findings or ()}
    own = {rule.id for rule in validator.rules if rule.origin == name}
    assert own - failed == set()
    assert all(run_rule_case(bench(), name, tests, number).ok for number in range(len(tests.cases)))


@pytest.mark.parametrize("name", SETS)
def test_the_schemas_of_editors_know_them(name: str) -> None:
    text = (ROOT / "schemas" / f"{name}.rules.yaml").read_text(encoding="utf-8")
    jsonschema.Draft202012Validator(rules_schema(bench().library.functions)).validate(_core(text))
    tests = (ROOT / "schemas" / f"{name}.rules.tests.yaml").read_text(encoding="utf-8")
    jsonschema.Draft202012Validator(rules_tests_schema()).validate(_core(tests))


def _core(text: str) -> object:
    """As editors read it: by the core schema of YAML 1.2, dates are texts."""
    from hub.yaml_source import parse

    return parse(text.encode(), "x").data


def test_an_editor_finds_mistakes() -> None:
    schema = jsonschema.Draft202012Validator(rules_schema(bench().library.functions))
    good = {"for": {"codec": "hl7v2"}, "rules": {"a": {"level": "field", "path": 0.5, "check": "is_date"}}}
    assert schema.is_valid(good)
    for rule in (
        {"level": "fields", "required": "PID"},
        {"level": "field", "requires": "PID"},
        {"level": "field", "check": "is_date"},
    ):
        assert not schema.is_valid({**good, "rules": {"a": rule}})
    assert not schema.is_valid({"rules": {}})


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples here")
@pytest.mark.parametrize("name", ["quality/adt", "quality/lab_result", "quality/patient"])
def test_public_messages(name: str) -> None:
    validator = bench().library.get(name)
    seen = 0
    for file in sorted(path for path in SAMPLES.rglob("*") if path.is_file()):
        try:
            tree = Hl7Codec().decode(file.read_bytes())
        except CodecError:
            continue
        result = validator.assess(tree, Context(now_us=NOW))
        assert [finding for finding in result.findings if finding.rule.startswith("quality.")] == [], file.name
        seen += result.score is not None
    assert seen > 20


def test_the_examples_of_the_documentation(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "quality-rules.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in text.split("```yaml\n")[1:]]
    first, nested, changes, tests = (
        next(b for b in blocks if mark in b) for mark in ("入院登记质控", "result_numbers", "overrides:", "cases:")
    )
    (tmp_path / "hospital").mkdir()
    for name, block in (
        ("admission", first),
        ("nested", f"for: {{codec: hl7v2}}\nrules:\n{nested}"),
        ("changes", changes),
    ):
        (tmp_path / "hospital" / f"{name}.rules.yaml").write_text(block, encoding="utf-8")
    (tmp_path / "hospital" / "admission.rules.tests.yaml").write_text(tests, encoding="utf-8")
    (tmp_path / "our_wards.csv").write_text("from,to\nW1,W1\n")
    wards, _ = load_table(tmp_path / "our_wards.csv", "our_wards")
    library = RuleLibrary(
        [tmp_path, ROOT / "schemas"], {}, lambda name: wards if name == "our_wards" else None, bench().workbench.codecs
    )
    own_sets = [name for name in library.names() if name.startswith("hospital/")]
    assert [str(problem) for problem in library.problems(own_sets)] == []
    own = RuleBench(library, bench().workbench, [tmp_path])
    cases = load_rule_tests(tmp_path / "hospital" / "admission.rules.tests.yaml")
    assert cases.problems == []
    assert [run_rule_case(own, "hospital/admission", cases, 0).differences] == [[]]


def test_the_python_of_the_documentation(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "quality-rules.md").read_text(encoding="utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    raw = (ROOT / "mappings" / "fhir_r4" / "examples" / "adt_a01_chinese.hl7").read_bytes()
    names = {"raw": raw, "received_at": NOW}
    exec(code, names)
    assert names["problems"] == []
    assert "quality/adt@" in capsys.readouterr().out
    assert names["statistics"].days[("his/adt", "2026-11-28")].score == 100.0


def test_checks_and_quantities_are_in_the_documentation() -> None:
    text = (ROOT / "docs" / "quality-rules.md").read_text(encoding="utf-8")
    assert [name for name in (*CHECKS.functions, *QUANTITIES) if f"`{name}" not in text] == []
