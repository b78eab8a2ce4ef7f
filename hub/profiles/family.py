"""The files a contract is put together from, and what their parameters, tables and defaults stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.contract import Fragment, Parameter
from hub.errors import Problem
from hub.i18n import t
from hub.profiles.document import Layer
from hub.profiles.parameters import Scope, fill, referenced
from hub.profiles.tables import Tables
from hub.validation import did_you_mean, listed
from hub.yaml_source import Document, Place

__all__ = ["Family", "Source", "check_selectors", "defaults_of", "parameters", "tables"]


@dataclass(frozen=True, slots=True)
class Source:
    """One file: a profile, or the plugin on top of them."""

    document: Document
    fragment: Fragment
    parameters: Mapping[str, Parameter]

    @property
    def data(self) -> dict[str, Any]:
        found = self.document.data
        assert isinstance(found, dict)  # noqa: S101 - validated
        return found

    def part(self, kind: str) -> dict[str, Any]:
        found = self.data.get(kind)
        return found if isinstance(found, dict) else {}


@dataclass(slots=True)
class Family:
    """A plugin's files, the lowest first, with what their parameters and tables stand for."""

    sources: list[Source]
    scope: Scope
    tables: Tables
    folder: Path  # of the plugin


def parameters(sources: list[Source], problems: list[Problem]) -> tuple[dict[str, tuple[Any, Place]], frozenset[str]]:
    """(name -> value and where it is written, every declared name): what is given wins over defaults, above over below."""
    declared: dict[str, Parameter] = {}
    defaults: dict[str, tuple[Any, Place]] = {}
    given: dict[str, tuple[Any, Place]] = {}
    for source in sources:
        for name, value in source.fragment.values.items():
            place = source.document.place("with", name)
            if name not in declared:
                text = t(f"no profile has a parameter {name!r}", f"配置模板没有参数 {name!r}")
                problems.append(place.problem(text, remedy=did_you_mean(name, declared)))
            given[name] = (value, place)
        for name, parameter in source.parameters.items():
            declared[name] = parameter
            if parameter.default is not None:
                defaults[name] = (parameter.default, source.document.place("parameters", name, "default"))
    values = {**defaults, **{name: one for name, one in given.items() if one[0] is not None}}
    top = sources[-1].document
    for name, parameter in declared.items():
        if name not in values:
            if parameter.required:
                about = f" ({parameter.description})" if parameter.description else ""
                text = t(f"parameter {name!r} is missing{about}", f"缺少参数 {name!r}{about}")
                remedy = t(f"add with: {{{name}: …}}", f"请添加 with: {{{name}: …}}")
                problems.append(top.problem(text, ("with", name), remedy=remedy))
            continue
        value, place = values[name]
        if parameter.choices and value not in parameter.choices and not referenced(value):
            text = t(f"{value!r} is not one of the choices", f"{value!r} 不在可选值之中")
            remedy = t(f"allowed: {listed(parameter.choices)}", f"可用：{listed(parameter.choices)}")
            problems.append(place.problem(text, remedy=remedy))
    return values, frozenset(declared)


def tables(family: Family, problems: list[Problem]) -> Tables:
    """Every table by name; one of a file above replaces one of a file below."""
    found: dict[str, tuple[list[dict[str, Any]], Place]] = {}
    for source in family.sources:
        for name, rows in source.fragment.tables.items():
            place = source.document.place("tables", name)
            found[name] = (fill(rows, family.scope, place, (), problems), place)
    return found


def check_selectors(sources: list[Source], known: set[str], problems: list[Problem]) -> None:
    for source in sources:
        for selector in source.fragment.defaults:
            for word in selector.split() or [""]:
                if word not in known:
                    text = t(
                        f"{word!r} is neither a direction, a style nor an adapter",
                        f"{word!r} 既非方向、方式，也非适配器",
                    )
                    place = source.document.place("defaults", selector)
                    problems.append(place.problem(text, remedy=did_you_mean(word, known)))


def defaults_of(family: Family) -> list[tuple[frozenset[str], Layer]]:
    """(the words that must hold, the keys), from the general to the special, and below before above."""
    found = [
        (frozenset(selector.split()) - {"any"}, Layer(source.document.place("defaults", selector), keys, family.scope))
        for source in family.sources
        for selector, keys in source.fragment.defaults.items()
    ]
    return sorted(found, key=lambda one: len(one[0]))
