"""Unit tests of rule sets as people write them: ``adt.rules.tests.yaml`` beside ``adt.rules.yaml``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hub.contract import Model
from hub.errors import ConfigError, HubError, Problem
from hub.i18n import t
from hub.mapping_tools.cases import Given
from hub.mapping_tools.cases import TestFile as MappingTestFile
from hub.quality.bench import RuleBench
from hub.quality.document import SUFFIX
from hub.validation import validate
from hub.validators.report import Finding
from hub.yaml_source import load

__all__ = [
    "TESTS_SUFFIX",
    "RuleCase",
    "RuleCaseResult",
    "RuleTests",
    "case_file",
    "load_rule_tests",
    "run_rule_case",
    "stray_rule_tests",
]

TESTS_SUFFIX = ".rules.tests.yaml"


class ExpectedFinding(Model):
    """A finding; written as one text it is ``rule place``. What is not said is not compared."""

    rule: str = Field(min_length=1)
    place: str | None = None
    severity: str | None = None
    kind: str | None = None


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    rule, _, place = value.strip().partition(" ")
    return {"rule": rule, "place": place.strip()} if place.strip() else {"rule": rule}


class RuleCase(Given):
    """One message and what the rules say of it. ``findings`` are all there are, in any order; ``[]`` says that there is none."""

    name: str = Field(min_length=1)
    input: Any = None
    input_file: str = ""
    findings: list[Annotated[ExpectedFinding, BeforeValidator(_split)]] | None = None
    score: float | None = Field(None, ge=0, le=100)
    levels: dict[str, float] = Field(default_factory=dict)
    asked: dict[str, int] = Field(default_factory=dict)


class _File(Model):
    description: str = ""
    defaults: Given = Given()
    cases: list[RuleCase] = Field(min_length=1)


@dataclass(slots=True)
class RuleTests:
    """The cases of a file; with ``problems`` there are none."""

    file: Path
    defaults: Given = field(default_factory=Given)
    cases: list[RuleCase] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class RuleCaseResult:
    """``differences``: (what, expected, found)."""

    set: str
    file: str
    line: int
    name: str
    differences: list[tuple[str, str, str]] = field(default_factory=list)
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.differences and not self.error

    def as_dict(self) -> dict[str, Any]:
        return {
            "set": self.set,
            "name": self.name,
            "file": self.file,
            "line": self.line,
            "ok": self.ok,
            "error": self.error,
            "differences": [{"what": what, "expected": old, "found": new} for what, old, new in self.differences],
        }


def case_file(bench: RuleBench, name: str) -> Path | None:
    """The file with the tests of a set; None when it has none."""
    document = bench.library.document(name)
    if document is None:
        return None
    file = document.file.with_name(document.file.name.removesuffix(SUFFIX) + TESTS_SUFFIX)
    return file if file.is_file() else None


def stray_rule_tests(folders: Iterable[Path]) -> list[Problem]:
    """Files of tests that belong to no set."""
    found = []
    for folder in folders:
        for path in sorted(folder.glob(f"**/*{TESTS_SUFFIX}")):
            if not path.with_name(path.name.replace(TESTS_SUFFIX, SUFFIX)).is_file():
                text = t("there is no rule set beside these tests", "旁边没有对应的规则集")
                remedy = t(
                    "name it like the set: x.rules.yaml, x.rules.tests.yaml", "应同名：x.rules.yaml、x.rules.tests.yaml"
                )
                found.append(Problem(text, str(path), 1, remedy=remedy))
    return found


def load_rule_tests(file: Path) -> RuleTests:
    """Read a file of tests. Never raises: what is wrong is in ``problems``."""
    found = RuleTests(file)
    try:
        document = load(file)
    except ConfigError as error:
        found.problems = error.problems
        return found
    data = document.data if isinstance(document.data, dict) else {}
    tests = validate(_File, data, document.place(), found.problems)
    if tests is None:
        return found
    names: set[str] = set()
    for number, case in enumerate(tests.cases):
        said = case.model_fields_set
        if ("input" in said) == ("input_file" in said):
            text = t("exactly one of input: and input_file: is needed", "input: 与 input_file: 须恰有其一")
            found.problems.append(document.problem(text, ("cases", number)))
        if not said & {"findings", "score", "levels", "asked"}:
            text = t("nothing is expected", "没有期望结果")
            remedy = t("say findings:, [] for none", "请写 findings:，没有问题写 []")
            found.problems.append(document.problem(text, ("cases", number), remedy=remedy))
        if case.name in names:
            text = t(f"{case.name!r} is the name of two cases", f"两个用例同名：{case.name!r}")
            found.problems.append(document.problem(text, ("cases", number, "name")))
        names.add(case.name)
    if not found.problems:
        found.defaults, found.cases = tests.defaults, tests.cases
        found.lines = [document.line(("cases", number)) for number in range(len(tests.cases))]
    return found


def run_rule_case(bench: RuleBench, name: str, tests: RuleTests, number: int) -> RuleCaseResult:
    """Run one case. Never raises."""
    case = tests.cases[number]
    result = RuleCaseResult(name, str(tests.file), tests.lines[number], case.name)
    try:
        validator = bench.library.get(name)
        options = case.input_format or tests.defaults.input_format
        raw, encoding = _input(bench, validator.codec, tests, case)
        around = case.circumstances(tests.defaults)
        found = bench.assess(validator, raw, around, encoding=encoding, options=options)
    except HubError as error:
        result.error = error.text + (f" -> {error.remedy}" if error.remedy else "")
        return result
    if case.findings is not None:
        _compare_findings(case.findings, found.findings, result)
    if "score" in case.model_fields_set and found.score != case.score:
        result.differences.append(("score", str(case.score), str(found.score)))
    levels = {level.value: score for level, score in found.levels.items()}
    for what, wanted, got in (("levels", case.levels, levels), ("asked", case.asked, found.asked)):
        for key, value in wanted.items():
            if got.get(key) != value and not (what == "asked" and value == 0 and key not in got):
                result.differences.append((f"{what}.{key}", str(value), str(got.get(key))))
    return result


def _input(bench: RuleBench, codec: str, tests: RuleTests, case: RuleCase) -> tuple[bytes, str]:
    encoding = case.encoding or tests.defaults.encoding
    if "input_file" in case.model_fields_set:
        return MappingTestFile(tests.file).read(case.input_file), encoding
    if not isinstance(case.input, str):
        return bench.workbench.codec(codec, case.input_format or tests.defaults.input_format).encode(
            case.input
        ), encoding
    text = case.input
    if codec == "hl7v2":
        text = text.strip("\n").replace("\r\n", "\r").replace("\n", "\r") + "\r"
    # The text is read as it stands here, whatever character set the message names.
    return text.encode("utf-8"), "utf-8"


def _compare_findings(wanted: list[ExpectedFinding], found: list[Finding], result: RuleCaseResult) -> None:
    left = list(found)
    for expected in wanted:
        fitting = next((one for one in left if _fits(expected, one)), None)
        if fitting is not None:
            left.remove(fitting)
        else:
            result.differences.append(("findings", f"{expected.rule} {expected.place or ''}".strip(), "-"))
    for one in left:
        result.differences.append(("findings", "-", f"{one.rule} {one.place}: {one.text}"))


def _fits(expected: ExpectedFinding, found: Finding) -> bool:
    return (
        expected.rule == found.rule
        and expected.place in (None, found.place)
        and expected.severity in (None, found.severity.value)
        and expected.kind in (None, found.kind.value)
    )
