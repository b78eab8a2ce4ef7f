"""The keys of targets that are XML documents: which elements they lead to, and what is written there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from hub.i18n import t
from hub.mapping.document import Field, Rules

__all__ = ["CDATA", "COPY", "TEXT", "KeyProblem", "Keys", "Part", "Place", "Step"]

_NAME = r"[^\W\d][\w.\-]*"
_STEP = re.compile(
    rf"""(?:(?P<prefix>{_NAME}):)?(?P<name>{_NAME}|\*)
    (?:\[(?:(?P<number>\d{{1,4}})|@(?P<attribute>(?:{_NAME}:)?{_NAME})\s*==?\s*(?:'(?P<one>[^']*)'|"(?P<two>[^"]*)"))\])?""",
    re.VERBOSE,
)
_ATTRIBUTE = re.compile(rf"@(?:({_NAME}):)?({_NAME})")
TEXT, CDATA, COPY = "#text", "#cdata", "*"
#: Largest number in a key: a typing mistake must not make thousands of elements.
_MAX_NUMBER = 999


class KeyProblem(Exception):
    """A key that can't be written; with its remedy."""

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.text, self.remedy = text, remedy


@dataclass(frozen=True, slots=True)
class Step:
    """An element of a target key. ``number`` 0: not given. ``attribute``: by whose ``value`` it is told from others of its name.

    ``name`` is written as lxml does, ``{uri}name``; in a copy also ``{*}name`` of whatever namespace, and ``*`` for the root as it is.
    """

    name: str
    prefix: str = ""
    number: int = 0
    attribute: str = ""
    value: str = ""


@dataclass(slots=True)
class Place:
    """An element that keys lead to: a rule for the whole of it, or parts in the order written, each an element or ``(kind, rule)``."""

    step: Step
    key: str
    line: int
    rule: Rules | None = None
    parts: list[Place | Part] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Part:
    """``kind``: ``@`` and the name of an attribute, ``#text``, ``#cdata`` or ``*``."""

    kind: str
    key: str
    rule: Rules
    line: int


class Keys:
    """Reads keys. ``clark``: a name with its namespace, from its prefix and itself; ``copy``: whether the target is a copy of the source."""

    def __init__(self, clark: Callable[[str, str], str], *, copy: bool) -> None:
        self._clark = clark
        self._copy = copy

    def insert(self, parts: list[Place | Part], entry: Field, *, at_root: bool) -> None:
        """Add an entry to the parts of an element, or of the document; keys that begin alike share their elements.

        Raises :class:`KeyProblem`.
        """
        steps, kind = self._steps(entry.key, at_root=at_root)
        place: Place | None = None
        for step, shown in steps:
            place = next((part for part in parts if isinstance(part, Place) and part.step == step), None)
            if place is None:
                place = Place(step, shown, entry.line)
                parts.append(place)
            if place.rule is not None:
                break
            parts = place.parts
        clash = place is not None and place.rule is not None
        if kind and not clash:
            clash = any(isinstance(part, Part) and part.kind == kind and kind.startswith("@") for part in parts)
            parts.append(Part(kind, entry.key.rpartition("/")[2], entry.rule, entry.line))
        elif place is not None and not clash:
            clash = bool(place.parts)
            place.rule = entry.rule
            place.line = entry.line
        if clash:
            raise KeyProblem(
                t("this part of the target already has a rule", "目标的这一部分已有规则"),
                t("write all parts of it either nested or with /", "同一部分请统一用嵌套或 / 书写"),
            )

    def _steps(self, key: str, *, at_root: bool) -> tuple[list[tuple[Step, str]], str]:
        """(elements and how they are written; the kind of part at the end, "" when the key ends at an element)."""
        steps: list[tuple[Step, str]] = []
        rest = key
        while rest:
            if rest in (TEXT, CDATA) or (rest == COPY and (steps or not at_root)):
                return steps, rest
            if found := _ATTRIBUTE.fullmatch(rest):
                prefix, name = found.groups()
                return steps, "@" + (self._clark(prefix, name) if prefix else name)
            found = _STEP.match(rest)
            if not found or rest[found.end() : found.end() + 1] not in ("", "/"):
                break
            steps.append((self._step(found, is_root=at_root and not steps), found[0]))
            if found.end() == len(rest):
                return steps, ""
            rest = rest[found.end() + 1 :]
        raise KeyProblem(
            t(f"{key!r} is not a place in a document", f"{key!r} 不是文档中的位置"),
            t(
                "e.g. name, a/b, a/@b, a[2], a[@b='c'], @b, #text; odd keys in quotes",
                "例如 name、a/b、a/@b、a[2]、a[@b='c']、@b、#text；特殊键须加引号",
            ),
        )

    def _step(self, found: re.Match[str], *, is_root: bool) -> Step:
        prefix, name = found["prefix"] or "", found["name"]
        if name == "*":
            if not (self._copy and is_root) or prefix:
                raise KeyProblem(
                    t("* stands for the root of a copy only", "* 只能表示副本的根元素"),
                    t("name the element", "请写元素名"),
                )
            return Step("*")
        number = int(found["number"]) if found["number"] else 0
        if found["number"] and not 0 < number <= _MAX_NUMBER:
            raise KeyProblem(t(f"elements count from 1 to {_MAX_NUMBER}", f"元素从 1 计到 {_MAX_NUMBER}"))
        attribute = found["attribute"] or ""
        if attribute:
            before, colon, after = attribute.partition(":")
            attribute = self._clark(before, after) if colon else attribute
        return Step(self._clark(prefix, name), prefix, number, attribute, found["one"] or found["two"] or "")
