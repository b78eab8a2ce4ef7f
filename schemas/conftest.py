"""Lets pytest run the tests beside the rule sets: every ``*.rules.tests.yaml`` below this folder, each case a test of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from hub.config import load_config
from hub.quality.bench import RuleBench, open_rules
from hub.quality.cases import TESTS_SUFFIX, RuleTests, load_rule_tests, run_rule_case

FOLDER = Path(__file__).resolve().parent


@cache
def bench() -> RuleBench:
    return open_rules(load_config(FOLDER.parent / "config" / "hub.yaml"))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> RuleTestsFile | None:
    return RuleTestsFile.from_parent(parent, path=file_path) if file_path.name.endswith(TESTS_SUFFIX) else None


class RuleTestsFile(pytest.File):
    def collect(self) -> Iterator[RuleTest]:
        tests = load_rule_tests(self.path)
        if tests.problems:
            raise self.CollectError("\n".join(str(problem) for problem in tests.problems))
        name = self.path.relative_to(FOLDER).as_posix().removesuffix(TESTS_SUFFIX)
        for number, case in enumerate(tests.cases):
            yield RuleTest.from_parent(self, name=case.name, rules=name, tests=tests, number=number)


class CaseFailedError(Exception):
    """A case the rules judge otherwise than it expects."""


class RuleTest(pytest.Item):
    def __init__(self, *, rules: str, tests: RuleTests, number: int, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self._rules = rules
        self._tests = tests
        self._number = number

    def runtest(self) -> None:
        result = run_rule_case(bench(), self._rules, self._tests, self._number)
        if not result.ok:
            lines = [f"{what}: expected {wanted}, found {found}" for what, wanted, found in result.differences]
            raise CaseFailedError("\n".join([*([result.error] if result.error else []), *lines]))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        if isinstance(excinfo.value, CaseFailedError):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self._tests.lines[self._number] - 1, f"{self._rules}: {self.name}"
