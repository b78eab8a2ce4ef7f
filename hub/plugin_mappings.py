"""What the tests of a plugin's mappings show."""

from __future__ import annotations

from contextlib import suppress

from hub.contract import Interface
from hub.errors import HubError
from hub.i18n import t
from hub.mapping import CompiledMapping
from hub.mapping_tools.cases import TestFile, load_tests
from hub.mapping_tools.coverage import Coverage, coverage
from hub.mapping_tools.testing import input_of, run_case
from hub.mapping_tools.workbench import Workbench

__all__ = ["COVERED", "MappingProofs", "mappings_of", "untested"]

#: Least share of the target fields of a mapping that its tests write.
COVERED = 0.8
#: Groups of the standard transforms, which plugins share. They know far more than the tests of one plugin hold, so their share says
#: little; tests/mappings holds them against public messages.
STANDARD = frozenset(("canonical", "cda", "fhir_r4", "hl7v2", "hl7v3"))


def mappings_of(interface: Interface) -> list[str]:
    """The mappings a contract names, without those a setting fills in."""
    collect, results = interface.collect, interface.results
    named = [
        interface.mapping,
        interface.reply_mapping,
        interface.error_mapping,
        collect.mapping if collect else "",
        collect.items.mapping if collect and collect.items else "",
        results.mapping if results else "",
    ]
    return list(dict.fromkeys(name for name in named if name and "${" not in name))


class MappingProofs:
    """Says of a mapping what is wrong, "" for nothing; each mapping is looked at once."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._tested: dict[str, str] = {}
        self._covered: dict[str, str] = {}

    def tested(self, name: str) -> str:
        """Whether it compiles, has tests, and they pass."""
        if name not in self._tested:
            self._tested[name] = self._test(name)
        return self._tested[name]

    def _test(self, name: str) -> str:
        try:
            self._bench.library.get(name)
        except HubError:
            return t("mappings that are missing or have errors", "不存在或有错误的映射")
        tests = self._cases(name)
        if tests is None:
            return untested()
        passed = tests.cases and not tests.problems
        if not passed or not all(run_case(self._bench, name, tests, number).ok for number in range(len(tests.cases))):
            return t("mappings whose tests fail", "测试未通过的映射")
        return ""

    def _cases(self, name: str) -> TestFile | None:
        file = self._bench.tests_of(name)
        return None if file is None else load_tests(file)

    def covered(self, name: str) -> str:
        """Whether its tests write enough of the fields it has a rule for."""
        if name not in self._covered:
            self._covered[name] = self._cover(name)
        return self._covered[name]

    def _cover(self, name: str) -> str:
        tests = self._cases(name)
        if tests is None:
            return untested()
        inputs = []
        try:
            mapping = self._bench.library.get(name)
            if name.partition("/")[0] in STANDARD:
                return ""
            if mapping.parts:
                return self._steps_covered(mapping)
            for case in tests.cases:
                with suppress(HubError):  # a case about an input that can't be read
                    inputs.append(input_of(self._bench, mapping, tests, case))
            share = _share(coverage(self._bench, name, inputs))
        except HubError:
            return t("mappings whose coverage is not known", "覆盖率未知的映射")
        if share >= COVERED:
            return ""
        return t(
            f"mappings of whose fields tests write less than {COVERED:.0%}", f"测试写出字段不足 {COVERED:.0%} 的映射"
        )

    def _steps_covered(self, mapping: CompiledMapping) -> str:
        """Each step has tests of its own, which know its corners; here they are only put together."""
        found = ", ".join(part.name for part in mapping.parts if self.covered(part.name))
        return t(f"steps whose tests write too little: {found}", f"步骤的测试写出字段不足：{found}") if found else ""


def untested() -> str:
    """What is said of a mapping without tests."""
    return t("mappings without tests", "没有测试的映射")


def _share(found: Coverage) -> float:
    """Of the target fields with a rule, those that some test writes; a mapping of steps by its weakest step."""
    if found.steps:
        return min(map(_share, found.steps))
    return 1 - len(found.never_written) / found.fields if found.fields else 1.0
