"""Targets that are plain trees (JSON): objects, lists and values, absent ones left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from hub.i18n import t
from hub.mapping.builder import Builder
from hub.mapping.document import Field, Leaf, ListRule, ObjectRule, Rules, Text
from hub.mapping.paths import Scope
from hub.mapping.runtime import FunctionError, kind_of

__all__ = ["PlainTarget"]

_STEP = re.compile(r"\.?([^\s.\[\]'\"]+)|\[(\d{1,4})\]|\['((?:[^'\\]|\\.)*)'\]", re.ASCII)
Put = Callable[[str], str]


@dataclass(slots=True)
class _Place:
    """A part of the target that the dotted keys of an object lead to: a rule, or further parts by name or index."""

    rule: Field | None = None
    line: int = 0
    names: dict[str, _Place] = field(default_factory=dict)
    indexes: dict[int, _Place] = field(default_factory=dict)


def _steps(key: str) -> list[str | int] | None:
    """The steps of a target key; None when it is not well formed."""
    steps: list[str | int] = []
    at = 0
    while at < len(key):
        found = _STEP.match(key, at)
        if not found or (found[1] and at and key[at] != "."):
            return None
        if found[1] is not None:
            steps.append(found[1])
        elif found[2] is not None:
            steps.append(int(found[2]))
        else:
            steps.append(re.sub(r"\\(.)", r"\1", found[3]))
        at = found.end()
    return steps if steps and isinstance(steps[0], str) else None


def _putter(variable: str, key: str) -> Put:
    return lambda value: f"{variable}[{key!r}] = {value}"


def extended(old: Any) -> dict[str, Any]:
    """A new object with the members of one that is there."""
    if old is None:
        return {}
    if isinstance(old, dict):
        return dict(old)
    _refuse(old)


def not_there(old: Any) -> None:
    """Entries by number are not added to a list that is there."""
    if old is not None:
        _refuse(old)


def _refuse(old: Any) -> NoReturn:
    raise FunctionError(
        t(
            f"the included mapping makes a {kind_of(old)} here, to which nothing can be added",
            f"被包含映射在此生成{kind_of(old)}，不能再添加内容",
        ),
        remedy=t("leave it out there: without: [name]", "请先去掉：without: [名称]"),
    )


class PlainTarget:
    """Writes the statements that build a plain tree."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._writer = builder.generator.writer

    def build(self, rules: Rules, scope: Scope) -> str:
        """The variable that holds the target, null when everything in it is absent."""
        result = self._writer.temp("t")
        self._writer.line(f"{result} = {'[]' if isinstance(rules, ListRule) else '{}'}")
        self._rule(rules, scope, "", lambda value: f"{result} = {value}")
        return result

    def _rule(self, rule: Rules, scope: Scope, target: str, put: Put, old: str = "") -> None:
        """``old``: what an included mapping has put there already; fields of an object are added to it, anything else takes its place."""
        if isinstance(rule, Leaf):
            self._leaf(rule, scope, target, put)
        elif isinstance(rule, ListRule):
            self._list(rule, scope, target, put)
        elif rule.each is not None:
            self._each(rule, rule.each, scope, target, put)
        else:
            with self._builder.when(rule.when, scope, target):
                self._object(rule, scope, target, put, old)

    def _leaf(self, leaf: Leaf, scope: Scope, target: str, put: Put) -> None:
        text = leaf.expr or Text("", leaf.line)
        with self._builder.when(leaf.when, scope, target), self._builder.guard(text, target):
            self._builder.at(text.line, target, text.text)
            value = self._builder.leaf(leaf, scope, target)
            self._put_if(value.present, put(value.text))

    def _put_if(self, test: str, statement: str) -> None:
        self._writer.line(f"if {test}: {statement}" if test else statement)

    def _list(self, rule: ListRule, scope: Scope, target: str, put: Put) -> None:
        found = self._writer.temp("t")
        with self._filled(found):
            self._items(rule, scope, target, found)
        self._put_if(found, put(found))

    @contextmanager
    def _filled(self, found: str) -> Iterator[None]:
        """Statements that fill a new list; what ``distinct:`` has seen is kept beside it where there is one."""
        with self._writer.capture() as body:
            yield
        self._writer.line(f"{found} = []")
        if any(f"{found}_seen" in line.text for line in body.lines):
            self._writer.line(f"{found}_seen = {{}}")
        self._writer.splice(body, share=True)

    def _items(self, rule: ListRule, scope: Scope, target: str, found: str) -> None:
        for number, item in enumerate(rule.items):
            self._item(item, scope, target, f"{target}[{number}]", found)

    def _item(self, rule: Rules, scope: Scope, target: str, entry: str, found: str) -> None:
        """One rule of the list ``target``: an ``each:`` and an included list add their entries, anything else is one entry."""
        if isinstance(rule, ObjectRule) and rule.each is not None:
            self._entries(rule, rule.each, scope, target, found)
        elif isinstance(rule, ObjectRule) and rule.include is not None and not rule.fields:
            with self._builder.when(rule.when, scope, entry):
                self._included(rule, rule.include, scope, target, entry, found)
        else:
            self._rule(rule, scope, entry, lambda value: f"{found}.append({value})")

    def _included(self, rule: ObjectRule, include: Text, scope: Scope, target: str, entry: str, found: str) -> None:
        with self._builder.guard(include, entry), self._builder.include(rule, scope, entry) as (document, inner):
            if isinstance(document.fields, ListRule):
                self._items(document.fields, inner, target, found)
            elif document.fields is not None:
                self._item(document.fields, inner, target, entry, found)

    def _each(self, rule: ObjectRule, path: Text, scope: Scope, target: str, put: Put) -> None:
        found = self._writer.temp("t")
        with self._filled(found):
            self._entries(rule, path, scope, target, found)
        self._put_if(found, put(found))

    def _entries(self, rule: ObjectRule, path: Text, scope: Scope, target: str, found: str) -> None:
        """One entry of a list for each element."""
        entry = f"{target}[]"
        with (
            self._builder.guard(path, target),
            self._builder.each(path, rule, scope, target) as inner,
            self._builder.distinct(rule.distinct, inner, entry, f"{found}_seen"),
        ):
            if rule.value is not None:
                self._leaf(rule.value, inner, entry, lambda value: f"{found}.append({value})")
            elif rule.include is not None and not rule.fields:
                self._included(rule, rule.include, inner, target, entry, found)
            else:
                self._object(rule, inner, entry, lambda value: f"{found}.append({value})")

    def _object(self, rule: ObjectRule, scope: Scope, target: str, put: Put, old: str = "") -> None:
        include = rule.include
        if include is not None and not rule.fields:
            # An included mapping may as well be a list or a single value.
            with self._builder.guard(include, target), self._builder.include(rule, scope, target) as (document, inner):
                if document.fields is not None:
                    self._rule(document.fields, inner, target, put, old)
            return
        found = self._started(rule.line, target, old)
        self._members(rule, scope, target, found, adding=bool(old))
        self._put_if(found, put(found))

    def _members(self, rule: ObjectRule, scope: Scope, target: str, variable: str, *, adding: bool) -> None:
        """The fields of an object, those of what it includes first; with ``adding`` there may be some already."""
        include = rule.include
        if include is not None:
            with self._builder.guard(include, target), self._builder.include(rule, scope, target) as (document, inner):
                if isinstance(document.fields, ObjectRule) and document.fields.each is None:
                    with self._builder.when(document.fields.when, inner, target):
                        self._members(document.fields, inner, target, variable, adding=adding)
                else:
                    self._builder.problem(
                        include.line,
                        target,
                        t(f"{document.name} does not make an object", f"{document.name} 生成的不是对象"),
                        t("its fields can't be mixed with others", "其字段不能与其他字段混用"),
                    )
        root = _Place()
        for entry in rule.fields:
            self._insert(root, entry, target)
        self._places(root, scope, target, variable, adding=adding or include is not None)

    def _started(self, line: int, target: str, old: str) -> str:
        """A variable with a new object; with ``old`` one that has the members of what is there, which may belong to the source."""
        found = self._writer.temp("t")
        if old:
            self._builder.at(line, target)
            self._builder.generator.namespace["extended"] = extended
        self._writer.line(f"{found} = extended({old})" if old else f"{found} = {{}}")
        return found

    def _insert(self, root: _Place, entry: Field, target: str) -> None:
        steps = _steps(entry.key)
        if steps is None:
            self._builder.problem(
                entry.line,
                f"{target}.{entry.key}".lstrip("."),
                t(f"{entry.key!r} is not a target path", f"{entry.key!r} 不是目标路径"),
                t("write a.b[0].c; odd names as ['name']", "写法为 a.b[0].c；特殊名称写作 ['name']"),
            )
            return
        place = root
        for step in steps:
            clash = place.rule is not None
            if isinstance(step, str):
                clash = clash or bool(place.indexes)
                place = place.names.setdefault(step, _Place(line=entry.line))
            else:
                clash = clash or bool(place.names)
                place = place.indexes.setdefault(step, _Place(line=entry.line))
            if clash:
                break
        else:
            if place.rule is None and not place.names and not place.indexes:
                place.rule = entry
                return
        self._builder.problem(
            entry.line,
            f"{target}.{entry.key}".lstrip("."),
            t("this part of the target already has a rule", "目标的这一部分已有规则"),
            t("write all parts of it either nested or dotted", "同一部分请统一用嵌套或点号书写"),
        )

    def _places(self, place: _Place, scope: Scope, target: str, variable: str, *, adding: bool = False) -> None:
        for name, child in place.names.items():
            path = f"{target}.{name}" if target else name
            self._place(child, scope, path, _putter(variable, name), f"{variable}.get({name!r})" if adding else "")

    def _place(self, place: _Place, scope: Scope, target: str, put: Put, old: str = "") -> None:
        if place.rule is not None:
            self._rule(place.rule.rule, scope, target, put, old)
            return
        if place.names:
            found = self._started(place.line, target, old)
            self._places(place, scope, target, found, adding=bool(old))
        else:
            found = self._writer.temp("t")
            if old:
                self._builder.at(place.line, target)
                self._builder.generator.namespace["not_there"] = not_there
                self._writer.line(f"not_there({old})")
            self._writer.line(f"{found} = []")
            for expected, index in enumerate(sorted(place.indexes)):
                if index != expected:
                    self._builder.problem(
                        0,
                        f"{target}[{index}]",
                        t(f"there is no [{expected}]", f"缺少 [{expected}]"),
                        t("count from 0 without gaps", "须从 0 起连续编号"),
                    )
                    break
                child = place.indexes[index]
                self._place(child, scope, f"{target}[{index}]", lambda value: f"{found}.append({value})")
        self._put_if(found, put(found))
