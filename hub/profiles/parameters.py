"""``${{name}}`` in profiles and tables: replaced once, when a contract is read.

Not to be mixed up with ``${name}``, which stands for a setting and is replaced for every system.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.errors import Problem
from hub.i18n import t
from hub.validation import did_you_mean
from hub.yaml_source import KeyPath, Place

__all__ = ["ABSENT", "Scope", "fill", "has_reference", "referenced", "references"]

_REFERENCE = re.compile(r"\$\{\{\s*([A-Za-z0-9_.-]*)\s*\}\}")
#: Longest text that replacing may make, characters: texts that contain each other must not grow without end.
_MAX_TEXT = 1 << 20


class _Absent:
    """Stands for a parameter without a value: its key is left out."""


ABSENT = _Absent()


def has_reference(data: Any) -> bool:
    return isinstance(data, str) and "${{" in data


def referenced(data: Any) -> str:
    """The name when a text is just ``${{name}}``, else nothing."""
    found = _REFERENCE.fullmatch(data.strip()) if isinstance(data, str) else None
    return found[1] if found else ""


def references(text: str) -> list[str]:
    """The names a text refers to."""
    return _REFERENCE.findall(text)


@dataclass(slots=True)
class Scope:
    """The names that ``${{name}}`` may use: values with the place where they are written, and names without a value.

    Values of ``outer`` are seen where this scope has none of the name; a value is itself filled in from ``outer``'s names,
    or for the outermost scope from its own.
    """

    values: Mapping[str, tuple[Any, Place]]
    declared: frozenset[str] = frozenset()
    outer: Scope | None = None
    _done: dict[str, Any] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    def names(self) -> Iterator[str]:
        yield from self.values
        yield from self.declared
        if self.outer is not None:
            yield from self.outer.names()

    def place(self, name: str) -> Place | None:
        """Where the value is written; None without one."""
        if name in self.values:
            return self.values[name][1]
        return self.outer.place(name) if self.outer is not None and name not in self.declared else None

    def value(self, name: str, at: Place, path: KeyPath, problems: list[Problem]) -> Any:
        """The value, filled in itself; :data:`ABSENT` without one, which is a problem where nobody knows the name."""
        if name in self._done:
            return self._done[name]
        if name not in self.values:
            if name in self.declared:
                return ABSENT
            if self.outer is not None:
                return self.outer.value(name, at, path, problems)
            text = t(f"there is no parameter {name!r}", f"没有名为 {name!r} 的参数")
            problems.append(at.problem(text, path, remedy=did_you_mean(name, set(self.names()))))
            return ABSENT
        if name in self._open:
            text = t(f"the value of {name!r} contains itself", f"{name!r} 的值包含其自身")
            problems.append(at.problem(text, path, remedy=t("write it out", "请直接写出其值")))
            return ABSENT
        value, place = self.values[name]
        self._open.append(name)
        try:
            filled = fill(value, self.outer or self, place, (), problems)
        finally:
            self._open.pop()
        self._done[name] = filled
        return filled


def fill(data: Any, scope: Scope, place: Place, path: KeyPath, problems: list[Problem]) -> Any:
    """``data`` with every ``${{name}}`` replaced; the very same object where there is none.

    Text that is just a reference becomes the value with its type; without a value its key or list item is left out.
    ``path`` is that of ``data``, relative to ``place``.
    """
    if isinstance(data, str):
        return _filled_text(data, scope, place, path, problems) if "${{" in data else data
    if isinstance(data, dict):
        made = {key: fill(item, scope, place, (*path, key), problems) for key, item in data.items()}
        if all(made[key] is item for key, item in data.items()):
            return data
        return {key: item for key, item in made.items() if item is not ABSENT}
    if isinstance(data, list):
        items = [fill(item, scope, place, (*path, number), problems) for number, item in enumerate(data)]
        if all(one is other for one, other in zip(items, data, strict=True)):
            return data
        return [item for item in items if item is not ABSENT]
    return data


def _filled_text(text: str, scope: Scope, place: Place, path: KeyPath, problems: list[Problem]) -> Any:
    name = referenced(text)
    if name:
        return scope.value(name, place, path, problems)

    def part(match: re.Match[str]) -> str:
        value = scope.value(match[1], place, path, problems)
        if value is ABSENT:
            if match[1] in set(scope.names()):
                words = t(f"{match[1]!r} has no value, and stands within a text", f"文本中的 {match[1]!r} 没有值")
                problems.append(place.problem(words, path, remedy=t("give it a value", "请为其赋值")))
            return ""
        if isinstance(value, dict | list):
            words = t(
                f"{match[1]!r} is not a single value, and stands within a text", f"文本中的 {match[1]!r} 不是单个值"
            )
            problems.append(place.problem(words, path, remedy=t("let it stand alone", "请让其单独成值")))
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)

    made = _REFERENCE.sub(part, text)
    if "${{" in made and not _REFERENCE.search(text):
        words = t("${{ is not followed by a name and }}", "${{ 之后应为名称和 }}")
        problems.append(place.problem(words, path, remedy=t("write e.g. ${{path}}", "例如 ${{path}}")))
    if len(made) > _MAX_TEXT:
        words = t("the text grows too long", "替换后的文本过长")
        problems.append(place.problem(words, path, remedy=t("use shorter values", "请使用较短的值")))
        return ""
    return made
