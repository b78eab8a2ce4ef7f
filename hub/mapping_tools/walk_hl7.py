"""Walks through mappings whose targets are HL7 v2 messages."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from hub.codecs.hl7v2 import Hl7Message
from hub.errors import HubError
from hub.i18n import t
from hub.mapping.document import Document, Field, Leaf, ListRule, ObjectRule, Rules, Text
from hub.mapping.nodes import Node
from hub.mapping_tools.places import Outline
from hub.mapping_tools.scope import Evaluator, Frame
from hub.mapping_tools.walk import Group, Here, Walk, has_fields

__all__ = ["Hl7Walk", "Spot", "parse_spot"]

_KEY = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:\[(\d{1,4})\])?(?:-(\d{1,4})(?:\[(\d{1,4})\])?(?:\.(\d{1,4})(?:\.(\d{1,4}))?)?)?", re.ASCII
)
_RELATIVE = re.compile(r"\.(\d{1,4})(?:\[(\d{1,4})\])?(?:\.(\d{1,4})(?:\.(\d{1,4}))?)?", re.ASCII)
_SEGMENT = re.compile(r"[A-Z0-9]{3}(\[\])?")


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the target; numbers from 1, 0 where none is given. Repetition 0 is the field with all of them."""

    name: str
    occurrence: int = 0
    field: int = 0
    repetition: int = 0
    component: int = 0
    subcomponent: int = 0

    def __str__(self) -> str:
        text = self.name + (f"[{self.occurrence}]" if self.occurrence > 1 else "")
        if self.field:
            text += f"-{self.field}" + (f"[{self.repetition}]" if self.repetition > 1 else "")
        if self.component:
            text += f".{self.component}" + (f".{self.subcomponent}" if self.subcomponent else "")
        return text

    def covers(self, other: Spot) -> bool:
        """Whether the other is this place or a part of it."""
        if (self.name, self.occurrence or 1) != (other.name, other.occurrence or 1):
            return False
        pairs = (
            (self.field, other.field),
            (self.repetition, other.repetition or 1),
            (self.component, other.component),
            (self.subcomponent, other.subcomponent),
        )
        return all(mine in (0, theirs) for mine, theirs in pairs)


def parse_spot(path: str) -> Spot:
    """``OBX[2]-5.1``; raises :class:`HubError` for what is no place in a message."""
    found = _KEY.fullmatch(path)
    if not found:
        raise HubError(
            t(f"{path!r} is not a place in a message", f"{path!r} 不是消息中的位置"),
            code="path.invalid",
            remedy=t("write e.g. PID-3[2].4, OBX[2]-5", "写法例如 PID-3[2].4、OBX[2]-5"),
        )
    name, *numbers = found.groups()
    return Spot(name, *(int(number or 0) for number in numbers))


class Hl7Walk(Walk):
    def __init__(
        self,
        document: Document,
        find: Callable[[str], Document | None],
        places: Outline,
        evaluator: Evaluator | None,
        parse: Callable[[Text], Node],
    ) -> None:
        super().__init__(document, find, places, evaluator, parse)
        self._counts: dict[str, int] = {}

    def build(self, frame: Frame, here: Here) -> None:
        self._counts = {"MSH": 1}
        tree = self._evaluator.tree if self._evaluator is not None else None
        if self.document.base and isinstance(tree, Hl7Message):
            self._counts = {}
            for segment in tree.segments:
                self._counts[segment.name] = self._counts.get(segment.name, 0) + 1
            for path in self.document.remove:
                self._counts.pop(path.text, None)
        if isinstance(self.document.fields, ObjectRule):
            here = self.when(self.document.fields.when, "when", "", frame, here)
            self._fields(self.document.fields, "", None, frame, here)

    def _fields(self, rule: ObjectRule, target: str, context: Spot | None, frame: Frame, here: Here) -> None:
        if rule.include is not None:
            document, inner, inside = self.include(rule, target, frame, here)
            if isinstance(document.fields, ObjectRule) and has_fields(document.fields):
                inside = self.when(document.fields.when, "when", target, inner, inside)
                self._fields(document.fields, target, context, inner, inside)
        for entry in rule.fields:
            self._rule(entry.rule, self._named(entry, target), self._spot(entry.key, context), frame, here)

    def _named(self, entry: Field, target: str) -> str:
        if not entry.key.startswith("."):
            return entry.key
        return f"{target}-{entry.key[1:]}" if _SEGMENT.fullmatch(target) else f"{target}{entry.key}"

    def _spot(self, key: str, context: Spot | None) -> Spot:
        if not key.startswith(".") or context is None:
            spot = parse_spot(key)
            if context is not None and context.name == spot.name and not context.field and not spot.occurrence:
                spot = replace(spot, occurrence=context.occurrence)
            elif spot.field and not spot.occurrence:
                spot = replace(spot, occurrence=1)
        else:
            found = _RELATIVE.fullmatch(key)
            first, repetition, second, third = (int(n or 0) for n in (found.groups() if found else (0, 0, 0, 0)))
            if context.field:
                spot = replace(context, component=first, subcomponent=second)
            else:
                spot = replace(context, field=first, repetition=repetition, component=second, subcomponent=third)
        if spot.component and not spot.repetition:
            spot = replace(spot, repetition=1)
        return spot

    def _added(self, spot: Spot, here: Here) -> Spot:
        number = self._counts.get(spot.name, 0) + 1
        if here.live:
            self._counts[spot.name] = number
        return Spot(spot.name, number)

    def _rule(
        self, rule: Rules, target: str, spot: Spot, frame: Frame, here: Here, seen: set[str] | None = None
    ) -> None:
        if isinstance(rule, Leaf):
            self._leaf(rule, target, spot, frame, here)
        elif isinstance(rule, ListRule):
            self._list(rule, target, spot, frame, here)
        elif rule.each is not None:
            self.outline.append(Group(target, rule, frame, here))
            self._each(rule, rule.each, target, spot, frame, here, set() if seen is None else seen)
        else:
            self.outline.append(Group(target, rule, frame, here))
            only = (
                replace(spot, repetition=spot.repetition or 1)
                if spot.field
                else replace(spot, occurrence=spot.occurrence or 1)
            )
            self._fields(rule, target, only, frame, self.when(rule.when, "when", target, frame, here))

    def _leaf(self, leaf: Leaf, target: str, spot: Spot, frame: Frame, here: Here) -> None:
        if self.leaf(leaf, str(spot), target, frame, here, spot):
            self._counts[spot.name] = max(self._counts.get(spot.name, 0), spot.occurrence)

    def _list(self, rule: ListRule, target: str, spot: Spot, frame: Frame, here: Here) -> None:
        seen: set[str] = set()
        for number, item in enumerate(rule.items, 1):
            place = f"{target}[{number}]"
            if spot.field:
                self._rule(item, place, Spot(spot.name, spot.occurrence, spot.field, number), frame, here, seen)
            elif isinstance(item, ObjectRule) and item.each is None:
                there = self.when(item.when, "when", place, frame, here)
                self._fields(item, target, self._added(spot, there), frame, there)
            else:
                self._rule(item, target, spot, frame, here, seen)

    def _each(
        self, rule: ObjectRule, path: Text, target: str, spot: Spot, frame: Frame, here: Here, seen: set[str]
    ) -> None:
        number = (spot.repetition or 1) - 1
        for inner, met in self.each(path, rule, target, frame, here):
            there = self.distinct(rule.distinct, f"{target}[]", inner, met, seen)
            if spot.field:
                number += there.live
                place = Spot(spot.name, spot.occurrence, spot.field, max(number, 1))
            else:
                place = self._added(spot, there)
            if rule.value is not None:
                self._leaf(rule.value, f"{target}[]", place, inner, there)
            else:
                self._fields(rule, f"{target}[]" if spot.field else target, place, inner, there)
