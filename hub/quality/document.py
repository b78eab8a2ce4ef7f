"""A file of quality rules, read and checked for shape; what is wrong has its line, key and remedy."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hub.errors import ConfigError, Problem
from hub.i18n import t
from hub.quality.model import EXPRESSION_KEYS, For, Override, RuleModel, RuleSetModel, StatisticsModel
from hub.validation import validate
from hub.yaml_source import MAX_BYTES, Place, parse

__all__ = ["SUFFIX", "OverrideEntry", "RuleDocument", "RuleEntry", "read_document"]

SUFFIX = ".rules.yaml"
#: Most rules of one file.
MAX_RULES = 1000
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """A rule as written. ``data`` is what the file says, before defaults."""

    id: str
    model: RuleModel
    data: dict[str, Any]
    place: Place


@dataclass(frozen=True, slots=True)
class OverrideEntry:
    """Changes to a rule of an included set."""

    id: str
    data: dict[str, Any]
    place: Place


@dataclass(slots=True, eq=False)
class RuleDocument:
    """``for_`` is None when the file can't be used; ``digest`` is of its bytes."""

    name: str
    file: Path
    digest: str = ""
    description: str = ""
    for_: For | None = None
    include: list[str] = field(default_factory=list)
    statistics: StatisticsModel = field(default_factory=StatisticsModel)
    rules: dict[str, RuleEntry] = field(default_factory=dict)
    overrides: dict[str, OverrideEntry] = field(default_factory=dict)
    place: Place | None = None
    problems: list[Problem] = field(default_factory=list)


def _as_written(node: yaml.Node | None, data: Any, inside: bool) -> Any:
    """The data with the numbers that are paths (``.10``) put back as they are written."""
    if isinstance(node, yaml.MappingNode) and isinstance(data, dict):
        for key, value in node.value:
            name = key.value
            if name in data:
                paths = name in EXPRESSION_KEYS and not isinstance(value, yaml.MappingNode)
                data[name] = _as_written(value, data[name], paths)
        return data
    if isinstance(node, yaml.SequenceNode) and isinstance(data, list):
        return [_as_written(item, value, inside) for item, value in zip(node.value, data, strict=True)]
    if inside and isinstance(data, int | float) and not isinstance(data, bool) and isinstance(node, yaml.ScalarNode):
        return node.value
    return data


def read_document(name: str, file: Path) -> RuleDocument:
    """Read a file; never raises: what is wrong is in ``problems``."""
    found = RuleDocument(name, file)
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        text = t(f"can't be read: {error.strerror}", f"无法读取：{error.strerror}")
        found.problems.append(Problem(text, str(file)))
        return found
    found.digest = hashlib.sha256(raw).hexdigest()
    try:
        document = parse(raw, file)
    except ConfigError as error:
        found.problems = error.problems
        return found
    found.place = document.place()
    if not isinstance(document.data, dict):
        remedy = "for: {codec: hl7v2}, rules: {…}"
        found.problems.append(document.problem(t("expected keys and values", "应为键值"), remedy=remedy))
        return found
    try:
        # The reader above has bounded depth and size.
        node = yaml.compose(raw.decode("utf-8"), Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = str(getattr(error, "problem", None) or "invalid")
        text = t(f"not valid YAML: {reason}", f"YAML 语法错误：{reason}")
        found.problems.append(Problem(text, str(file), mark.line + 1 if mark else 0))
        return found
    data = _as_written(node, document.data, False)
    whole = validate(RuleSetModel, data, found.place, found.problems)
    if whole is None:
        return found
    found.description, found.for_ = whole.description, whole.for_
    found.include, found.statistics = whole.include, whole.statistics
    if len(whole.rules) > MAX_RULES:
        text = t(f"more than {MAX_RULES} rules", f"规则超过 {MAX_RULES} 条")
        found.problems.append(document.problem(text, ("rules",), remedy=t("split the set", "请拆分规则集")))
        return found
    for id_, entry in whole.rules.items():
        place = document.place("rules", id_)
        if _named(id_, place, found.problems):
            model = validate(RuleModel, entry, place, found.problems)
            if model is not None:
                found.rules[id_] = RuleEntry(id_, model, entry, place)
    for id_, entry in whole.overrides.items():
        place = document.place("overrides", id_)
        if validate(Override, entry, place, found.problems) is not None:
            found.overrides[id_] = OverrideEntry(id_, entry, place)
    return found


def _named(id_: str, place: Place, problems: list[Problem]) -> bool:
    if _ID.fullmatch(id_) and not id_.startswith("quality."):
        return True
    problems.append(
        place.problem(
            t(f"{id_!r} can't be the id of a rule", f"{id_!r} 不能作规则编号"),
            remedy=t("letters, digits, _ . -; a letter first", "字母、数字、_ . -，以字母开头"),
        )
    )
    return False
