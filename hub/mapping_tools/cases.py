"""Unit tests of mappings as people write them: ``patient.tests.yaml`` beside ``patient.yaml``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field

from hub.contract import Model
from hub.errors import ConfigError, HubError, Problem
from hub.i18n import t
from hub.mapping_tools.workbench import MAX_INPUT, Circumstances, instant, message_id
from hub.validation import validate
from hub.yaml_source import Document, load

__all__ = [
    "DEFAULT_NOW",
    "Case",
    "Given",
    "MessageFacts",
    "TestFile",
    "Time",
    "load_tests",
    "names_once",
    "one_input",
    "read_beside",
    "read_cases",
]

M = TypeVar("M", bound=Model)

#: The time of a test that names none: tests must not depend on the clock.
DEFAULT_NOW = "2026-01-15T09:30:00+08:00"
_EXPECTATIONS = ("output", "output_file", "contains", "paths", "count", "asks", "error")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _time(value: str) -> str:
    try:
        instant(value)
    except HubError as error:
        raise ValueError(f"{error.text}; {error.remedy}") from None
    return value


def _id(value: str) -> str:
    try:
        message_id(value)
    except HubError as error:
        raise ValueError(error.text) from None
    return value


Time = Annotated[str, BeforeValidator(lambda value: _time(value) if isinstance(value, str) else value)]
Id = Annotated[str, BeforeValidator(lambda value: _id(value) if isinstance(value, str) else value)]


class MessageFacts(Model):
    """What ``$message`` tells; what is left out is the codec's, or a fixed value."""

    id: Id = "0000100000000"
    source: str = ""
    type: str = ""
    control_id: str = ""
    received_at: Time = ""
    correlation: str = ""
    keys: dict[str, str] = Field(default_factory=dict)


class Given(Model):
    """What a mapping can see besides its source; for one case, or as ``defaults`` for all of a file."""

    settings: dict[str, Any] = Field(default_factory=dict)
    variables: dict[str, Any] = Field(default_factory=dict)
    lookups: dict[str, Any] = Field(default_factory=dict)
    message: MessageFacts = MessageFacts()
    now: Time = DEFAULT_NOW
    encoding: str = ""
    input_format: dict[str, Any] = Field(default_factory=dict)
    output_format: dict[str, Any] = Field(default_factory=dict)

    def circumstances(self, defaults: Given) -> Circumstances:
        own = self.message.model_dump(exclude_unset=True)
        message = defaults.message.model_copy(update=own)
        now = instant(self.now if "now" in self.model_fields_set else defaults.now)
        return Circumstances(
            settings={**defaults.settings, **self.settings},
            variables={**defaults.variables, **defaults.lookups, **self.variables, **self.lookups},
            now_us=now,
            message_id=message_id(message.id),
            source=message.source,
            type=message.type,
            control_id=message.control_id,
            received_at=instant(message.received_at) if message.received_at else now,
            correlation=message.correlation,
            keys=message.keys,
        )


class ExpectedError(Model):
    """All that is given must agree: ``code`` and ``target`` wholly, ``text`` with a part of the message."""

    code: str = ""
    target: str = ""
    text: str = ""


class Case(Given):
    """One input and what is expected of it."""

    name: str = Field(min_length=1)
    input: Any = None
    input_file: str = ""
    output: Any = None
    output_file: Annotated[list[str], BeforeValidator(_as_list)] = Field(default_factory=list)
    contains: Any = None
    paths: dict[str, Any] = Field(default_factory=dict)
    count: int | None = Field(None, ge=0)
    asks: dict[str, Any] = Field(default_factory=dict)
    error: ExpectedError | None = None

    def says(self, key: str) -> bool:
        """Whether a key is written in the file, be it empty."""
        return key in self.model_fields_set


class Tests(Model):
    description: str = ""
    defaults: Given = Given()
    cases: list[Case] = Field(min_length=1)


@dataclass(slots=True)
class TestFile:
    """The cases of a file; with ``problems`` there are none."""

    __test__ = False  # not a test of ours, whatever its name looks like

    file: Path
    defaults: Given = field(default_factory=Given)
    cases: list[Case] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)  # of each case
    problems: list[Problem] = field(default_factory=list)

    def circumstances(self, case: Case) -> Circumstances:
        return case.circumstances(self.defaults)

    def encoding(self, case: Case) -> str:
        return case.encoding or self.defaults.encoding

    def input_format(self, case: Case) -> dict[str, Any]:
        return case.input_format or self.defaults.input_format

    def output_format(self, case: Case) -> dict[str, Any]:
        return case.output_format or self.defaults.output_format

    def read(self, name: str) -> bytes:
        """A file named by a case, relative to this one; raises :class:`HubError`."""
        return read_beside(self.file, name)


def read_beside(file: Path, name: str) -> bytes:
    """What a file of cases names, relative to it; raises :class:`HubError`."""
    path = file.parent / name
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_INPUT + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise HubError(
            t(f"{name} can't be read: {reason}", f"无法读取 {name}：{reason}"),
            code="test.file",
            remedy=t("paths are relative to the file of the tests", "路径相对于测试文件"),
        ) from None
    if len(raw) > MAX_INPUT:
        raise HubError(t(f"{name} is too large", f"{name} 过大"), code="test.file")
    return raw


def load_tests(file: Path) -> TestFile:
    """Read a file of tests. Never raises: what is wrong is in ``problems``, with line, key and remedy."""
    found = TestFile(file)
    read = read_cases(file, Tests, found.problems)
    if read is None:
        return found
    tests, document = read
    for number, case in enumerate(tests.cases):
        _check(case, document, number, found.problems)
    names_once([case.name for case in tests.cases], document, found.problems)
    if not found.problems:
        found.defaults = tests.defaults
        found.cases = tests.cases
        found.lines = [document.line(("cases", number)) for number in range(len(tests.cases))]
    return found


def read_cases(file: Path, model: type[M], problems: list[Problem]) -> tuple[M, Document] | None:
    """A file of cases; None when it can't be used, ``problems`` then say why."""
    try:
        document = load(file)
    except ConfigError as error:
        problems += error.problems
        return None
    data = document.data if isinstance(document.data, dict) else None
    if data is None:
        text = t("expected keys and values", "应为键值")
        problems.append(document.problem(text, remedy="cases: [{name: …, input: …, output: …}]"))
        return None
    found = validate(model, data, document.place(), problems)
    return None if found is None else (found, document)


def names_once(names: Iterable[str], document: Document, problems: list[Problem]) -> None:
    """Two cases of the same name could not be told apart."""
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            text = t(f"{name!r} is the name of two cases", f"两个用例同名：{name!r}")
            problems.append(document.problem(text, ("cases", number, "name"), remedy=t("rename one", "请改名其一")))
        seen.add(name)


def one_input(case: Model, document: Document, number: int, problems: list[Problem]) -> None:
    """A case has its input in it, or in a file of its own."""
    if ("input" in case.model_fields_set) == ("input_file" in case.model_fields_set):
        text = t("exactly one of input: and input_file: is needed", "input: 与 input_file: 须恰有其一")
        remedy = t(
            "input: is the text or tree itself, input_file: a path", "input: 为文本或数据本身，input_file: 为路径"
        )
        problems.append(document.problem(text, ("cases", number), remedy=remedy))


def _check(case: Case, document: Document, number: int, problems: list[Problem]) -> None:
    def problem(text: str, key: str, remedy: str) -> None:
        path = ("cases", number, key) if key else ("cases", number)
        problems.append(document.problem(text, path, remedy=remedy))

    one_input(case, document, number, problems)
    said = [key for key in _EXPECTATIONS if case.says(key)]
    if not said:
        problem(
            t("nothing is expected", "没有期望结果"),
            "",
            t(f"say one of {', '.join(_EXPECTATIONS)}", f"请写 {'、'.join(_EXPECTATIONS)} 之一"),
        )
    if "error" in said and len(said) > 1:
        problem(
            t("a case that fails makes no output", "失败的用例没有输出"),
            "error",
            t("remove the other expectations", "请删除其他期望"),
        )
    if case.error is not None and not case.error.model_fields_set:
        problem(t("which error?", "何种错误？"), "error", t("say code, target or text", "请写 code、target 或 text"))
    if case.says("output") and case.says("output_file"):
        problem(t("output: or output_file:, not both", "output: 与 output_file: 只能写一个"), "output_file", "")
