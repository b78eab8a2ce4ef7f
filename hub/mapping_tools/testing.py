"""Runs the unit tests of mappings and says, field by field, what is not as expected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hub.codecs.hl7v2 import Hl7Message
from hub.codecs.xml_codec import XmlDocument
from hub.diff import Change, diff_bytes, diff_trees
from hub.errors import HubError, MappingError, Problem
from hub.i18n import t
from hub.mapping import CompiledMapping
from hub.mapping.formats import XML_CODECS
from hub.mapping_tools.cases import Case, TestFile, load_tests
from hub.mapping_tools.expected_places import at_path, element_paths
from hub.mapping_tools.shown import text_of
from hub.mapping_tools.steps import MISSING, Step, steps_text
from hub.mapping_tools.workbench import Input, Workbench
from hub.masking import mask_text

__all__ = [
    "CaseResult",
    "Difference",
    "TestReport",
    "input_of",
    "raw_input_of",
    "run_case",
    "run_tests",
    "written_input",
]

_INDEX = re.compile(r"\[(\d{1,6})\]\.?")
#: Longest value shown, characters.
_LONGEST = 300
#: Formats in which every value is a text.
_TEXTS = XML_CODECS | {"hl7v2"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not as expected; None stands for nothing."""

    path: str
    expected: Any
    found: Any

    def shown(self, *, clear: bool) -> tuple[str, str, str]:
        """Path, expected, found; what looks like personal data is masked unless ``clear``."""
        return self.path, _shown(self.path, self.expected, clear), _shown(self.path, self.found, clear)


def _shown(path: str, value: Any, clear: bool) -> str:
    if value is None or value is MISSING:
        return str(MISSING)
    text = f"'{value}'" if isinstance(value, str) else text_of(value)
    if not clear:
        # The name of the field tells what a value is: a name is masked behind name= only.
        label = re.findall(r"\w+", path)[-1:] or [""]
        text = mask_text(f"{label[0]}={text}").removeprefix(f"{label[0]}=")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)})"


@dataclass(slots=True)
class CaseResult:
    """``error`` is what kept the case from being compared: an error of the mapping nobody expected, an input that can't be read."""

    mapping: str
    file: str
    line: int
    name: str
    differences: list[Difference] = field(default_factory=list)
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.differences and not self.error

    def as_dict(self, *, clear: bool) -> dict[str, Any]:
        shown = [difference.shown(clear=clear) for difference in self.differences]
        return {
            "mapping": self.mapping,
            "name": self.name,
            "file": self.file,
            "line": self.line,
            "ok": self.ok,
            "error": self.error,
            "differences": [{"path": path, "expected": old, "found": new} for path, old, new in shown],
        }


@dataclass(slots=True)
class TestReport:
    """``problems`` are of the files, ``untested`` the mappings without tests."""

    __test__ = False

    results: list[CaseResult] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    untested: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(result.ok for result in self.results) and not self.problems


def run_tests(bench: Workbench, names: Iterable[str], *, strays: bool = False) -> TestReport:
    """Run the tests of these mappings; with ``strays``, tests that belong to no mapping are a problem."""
    report = TestReport()
    for name in names:
        document = bench.library.document(name)
        file = bench.tests_of(name)
        if file is None:
            if document is not None and not document.fragment and not document.shared:
                report.untested.append(name)
            continue
        tests = load_tests(file)
        report.problems += tests.problems
        report.results += [run_case(bench, name, tests, number) for number in range(len(tests.cases))]
    if strays:
        for path in bench.stray_tests():
            text = t("there is no mapping beside these tests", "旁边没有对应的映射")
            remedy = t("name the file like the mapping: x.yaml, x.tests.yaml", "文件应与映射同名：x.yaml、x.tests.yaml")
            report.problems.append(Problem(text, str(path), 1, remedy=remedy))
    return report


def input_of(bench: Workbench, mapping: CompiledMapping, tests: TestFile, case: Case) -> Input:
    """The decoded input of a case; raises :class:`HubError`."""
    raw, encoding = raw_input_of(bench, mapping, tests, case)
    around = tests.circumstances(case)
    return bench.input(mapping, raw, around, encoding=encoding, options=tests.input_format(case), name=case.name)


def raw_input_of(bench: Workbench, mapping: CompiledMapping, tests: TestFile, case: Case) -> tuple[bytes, str]:
    """The input of a case as it would be received, and its character set; raises :class:`HubError`."""
    encoding, options = tests.encoding(case), tests.input_format(case)
    if case.says("input_file"):
        return tests.read(case.input_file), encoding
    if isinstance(case.input, str):
        return written_input(case.input, mapping.source_codec, encoding)
    return bench.codec(mapping.source_codec, options).encode(case.input, encoding=encoding), encoding


def written_input(text: str, codec: str, encoding: str) -> tuple[bytes, str]:
    """A message written as text in a file of cases, as it would be received, and its character set; raises :class:`HubError`."""
    if codec == "hl7v2":
        text = text.strip("\n").replace("\r\n", "\r").replace("\n", "\r") + "\r"
    # The text is read as it stands here, whatever character set MSH-18 names.
    encoding = encoding or "utf-8"
    return _encoded(text, encoding), encoding


def _encoded(text: str, encoding: str) -> bytes:
    try:
        return text.encode(encoding)
    except (LookupError, UnicodeError):
        raise HubError(
            t(f"the input can't be written in {encoding}", f"输入无法用 {encoding} 表示"), code="test.encoding"
        ) from None


def run_case(bench: Workbench, name: str, tests: TestFile, number: int) -> CaseResult:
    """Run one case. Never raises."""
    case = tests.cases[number]
    result = CaseResult(name, str(tests.file), tests.lines[number], case.name)
    try:
        mapping = bench.library.get(name)
        try:
            given = input_of(bench, mapping, tests, case)
            outputs = bench.outputs(mapping, given, tests.output_format(case))
        except HubError as error:
            if case.error is None:
                result.error = _told(error)
            else:
                result.differences = _error_differences(case, error)
            return result
        if case.error is not None:
            wanted = " ".join(text for text in (case.error.code, case.error.target, case.error.text) if text)
            result.differences = [Difference("error", wanted, MISSING)]
        else:
            result.differences = _Comparison(bench, mapping, tests, case, outputs).differences()
            result.differences += _asked(bench, mapping, given, case)
    except HubError as error:
        result.error = _told(error)
    return result


def _asked(bench: Workbench, mapping: CompiledMapping, given: Input, case: Case) -> list[Difference]:
    """What lookups ask for against what a case expects; null: nothing."""
    lookups = {lookup.name: lookup for lookup in mapping.lookups}
    found: list[Difference] = []
    for name, wanted in case.asks.items():
        lookup = lookups.get(name)
        made = lookup.ask(given.tree, given.context) if lookup is not None else []
        path = f"asks.{name}"
        if lookup is None or not made or wanted is None:
            if wanted is not None or made:
                found.append(Difference(path, MISSING if wanted is None else wanted, made[0] if made else MISSING))
        elif isinstance(wanted, str):
            changes = diff_bytes(wanted.encode(), bench.codec(lookup.codec).encode(made[0]), lookup.codec)
            found += [_difference(path, change) for change in changes]
        else:
            found += [_difference(path, change) for change in diff_trees(_numbers(wanted), _numbers(made[0]))]
    return found


def _told(error: HubError) -> str:
    return mask_text(error.text) + (f" -> {error.remedy}" if error.remedy else "")


def _error_differences(case: Case, error: HubError) -> list[Difference]:
    wanted = case.error
    assert wanted is not None  # noqa: S101 - asked for cases that expect one
    target = error.target if isinstance(error, MappingError) else ""
    found = []
    if wanted.code and wanted.code != error.code:
        found.append(Difference("error.code", wanted.code, error.code))
    if wanted.target and wanted.target != target:
        found.append(Difference("error.target", wanted.target, target))
    if wanted.text and wanted.text not in error.text:
        found.append(Difference("error.text", wanted.text, error.text))
    return found


class _Comparison:
    """What came out against what a case expects. Of a mapping that splits the result is the list of its outputs."""

    def __init__(
        self, bench: Workbench, mapping: CompiledMapping, tests: TestFile, case: Case, outputs: list[bytes]
    ) -> None:
        self._mapping = mapping
        self._tests = tests
        self._case = case
        self._outputs = outputs
        self._codec = bench.codec(mapping.target_codec, tests.output_format(case))
        document = bench.library.document((mapping.parts[-1] if mapping.parts else mapping).name)
        self._namespaces = document.target_namespaces if document is not None else {}
        self._trees: dict[int, Any] = {}

    def differences(self) -> list[Difference]:
        case = self._case
        found: list[Difference] = []
        if case.count is not None:
            found += self._counted(case.count)
        if case.says("output"):
            found += self._full()
        if case.says("output_file"):
            found += self._files()
        if case.says("contains"):
            found += self._contained()
        for path, wanted in case.paths.items():
            found += self._at(path, wanted)
        return found

    def _counted(self, wanted: int) -> list[Difference]:
        found = len(self._outputs)
        return [] if wanted == found else [Difference("count", wanted, found)]

    def _pairs(self, expected: Any) -> Iterator[tuple[str, Any, int]]:
        """(prefix of paths, expected, number of the output)"""
        if not self._mapping.splits:
            yield "", expected, 0
        elif isinstance(expected, list):
            for number, one in enumerate(expected):
                yield f"[{number}]", one, number
        else:
            raise HubError(
                t("a mapping with split: gives a list of outputs", "带 split: 的映射输出为列表"),
                code="test.expectation",
                remedy=t("write a list: output: [{…}, {…}]", "请写列表：output: [{…}, {…}]"),
            )

    def _full(self) -> list[Difference]:
        expected = self._case.output
        found = self._counted(len(expected) if self._mapping.splits and isinstance(expected, list) else 1)
        for prefix, one, number in self._pairs(expected):
            if number >= len(self._outputs):
                continue
            if isinstance(one, str):
                changes = diff_bytes(one.encode(), self._outputs[number], self._codec.name)
            else:
                changes = diff_trees(_numbers(one), _numbers(self._plain(number)))
            found += [_difference(prefix, change) for change in changes]
        return found

    def _tree(self, number: int) -> Any:
        """What the receiver would read."""
        if number not in self._trees:
            self._trees[number] = self._codec.decode(self._outputs[number])
        return self._trees[number]

    def _plain(self, number: int) -> Any:
        tree = self._tree(number)
        if isinstance(tree, Hl7Message):
            raise HubError(
                t("an HL7 message is expected as text or by paths:", "HL7 消息须以文本或 paths: 表示"),
                code="test.expectation",
                remedy="output: |  /  paths: {PID-5.1: …}",
            )
        return tree

    def _files(self) -> list[Difference]:
        names = self._case.output_file
        found = self._counted(len(names))
        for number, (name, output) in enumerate(zip(names, self._outputs, strict=False)):
            prefix = f"[{number}]" if self._mapping.splits else ""
            changes = diff_bytes(self._tests.read(name), output, self._codec.name)
            found += [_difference(prefix, change) for change in changes]
        return found

    def _contained(self) -> list[Difference]:
        found: list[Difference] = []
        for prefix, one, number in self._pairs(self._case.contains):
            if number >= len(self._outputs):
                found.append(Difference(prefix or "$", one, MISSING))
                continue
            if isinstance(self._tree(number), XmlDocument):
                for path, wanted in element_paths(one):
                    found += self._compared(_joined(prefix, path), self._there(number, path), wanted)
                continue
            found += [
                Difference(_joined(prefix, steps_text(steps)), wanted, there)
                for steps, wanted, there in _missing(_numbers(one), _numbers(self._plain(number)), ())
            ]
        return found

    def _at(self, path: str, wanted: Any) -> list[Difference]:
        number, inner = 0, path
        if self._mapping.splits:
            index = _INDEX.match(path)
            if not index:
                raise HubError(
                    t(f"{path}: which output?", f"{path}：哪个输出？"),
                    code="test.expectation",
                    remedy=t(f"a mapping with split: write [0].{path}", f"带 split: 的映射请写 [0].{path}"),
                )
            number, inner = int(index[1]), path[index.end() :]
        if number >= len(self._outputs):
            return [Difference(path, wanted, MISSING)] if wanted is not None else []
        return self._compared(path, self._there(number, inner), wanted)

    def _there(self, number: int, path: str) -> Any:
        return at_path(self._tree(number), path, self._codec.name, self._namespaces)

    def _compared(self, path: str, there: Any, wanted: Any) -> list[Difference]:
        if wanted is not None and isinstance(there, str) and self._codec.name in _TEXTS:
            wanted = text_of(wanted)
        if wanted is None:
            return [] if there is MISSING or there is None else [Difference(path, MISSING, there)]
        if there is MISSING:
            return [Difference(path, wanted, MISSING)]
        return [
            Difference(path if change.path == "$" else _joined(path, change.path), change.old, change.new)
            for change in diff_trees(_numbers(wanted), _numbers(there))
        ]


def _difference(prefix: str, change: Change) -> Difference:
    return Difference(_joined(prefix, change.path), change.old, change.new)


def _joined(prefix: str, path: str) -> str:
    if not prefix:
        return path
    if path.startswith("$"):
        return prefix + path[1:]
    return prefix + (path if path.startswith("[") else f".{path}")


def _numbers(tree: Any) -> Any:
    """A copy in which numbers are equal when they are as numbers: YAML can't tell 12.5 from 12.50."""
    if isinstance(tree, dict):
        return {key: _numbers(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_numbers(value) for value in tree]
    if isinstance(tree, float | Decimal):
        number = Decimal(repr(tree)) if isinstance(tree, float) else tree
        if not number.is_finite():
            return tree
        return int(number) if number == number.to_integral_value() else number.normalize()
    return tree


def _missing(expected: Any, found: Any, steps: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], Any, Any]]:
    """What of ``expected`` is not in ``found``; a null there stands for nothing."""
    if expected is None:
        if found is not MISSING and found is not None:
            yield steps, MISSING, found
    elif isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            yield from _missing(value, found.get(key, MISSING), (*steps, key))
    elif isinstance(expected, list) and isinstance(found, list):
        for number, value in enumerate(expected):
            yield from _missing(value, found[number] if number < len(found) else MISSING, (*steps, number))
    elif found is MISSING or diff_trees(expected, found):
        yield steps, expected, found
