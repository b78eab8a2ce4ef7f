"""Lets pytest run the tests beside the mappings: every ``*.tests.yaml`` below this folder, each case a test of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from hub.config import load_config
from hub.mapping_tools import Workbench, open_workbench
from hub.mapping_tools.cases import TestFile, load_tests
from hub.mapping_tools.testing import run_case

FOLDER = Path(__file__).resolve().parent


@cache
def bench() -> Workbench:
    return open_workbench(load_config(FOLDER.parent / "config" / "hub.yaml"))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> MappingTests | None:
    return MappingTests.from_parent(parent, path=file_path) if file_path.name.endswith(".tests.yaml") else None


class MappingTests(pytest.File):
    def collect(self) -> Iterator[MappingTest]:
        tests = load_tests(self.path)
        if tests.problems:
            raise self.CollectError("\n".join(str(problem) for problem in tests.problems))
        name = self.path.relative_to(FOLDER).as_posix().removesuffix(".tests.yaml")
        for number, case in enumerate(tests.cases):
            yield MappingTest.from_parent(self, name=case.name, mapping=name, tests=tests, number=number)


class CaseFailedError(Exception):
    """A case whose output is not what it expects."""


class MappingTest(pytest.Item):
    def __init__(self, *, mapping: str, tests: TestFile, number: int, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self._mapping = mapping
        self._tests = tests
        self._number = number

    def runtest(self) -> None:
        result = run_case(bench(), self._mapping, self._tests, self._number)
        if not result.ok:
            shown = [difference.shown(clear=False) for difference in result.differences]
            lines = [f"{path}: expected {wanted}, found {found}" for path, wanted, found in shown]
            raise CaseFailedError("\n".join([*([result.error] if result.error else []), *lines]))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        if isinstance(excinfo.value, CaseFailedError):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self._tests.lines[self._number] - 1, f"{self._mapping}: {self.name}"
