"""Walks through mappings whose targets are plain trees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hub.mapping.document import Field, Leaf, ListRule, ObjectRule, Rules, Text
from hub.mapping_tools.scope import Frame
from hub.mapping_tools.steps import Step, key_steps, parse_steps, steps_text
from hub.mapping_tools.walk import Group, Here, Walk, has_fields

__all__ = ["PlainWalk"]


@dataclass(frozen=True, slots=True)
class _At:
    """A place in the target: with the indexes that lists have so far, and with None for the entries of loops. ``write`` makes a path of it."""

    steps: tuple[Step, ...]
    general: tuple[Step, ...]
    write: Callable[[Sequence[Step]], str]

    def under(self, step: Step, general: Step = None) -> _At:
        return self.entry(step, step if general is None and isinstance(step, str) else general)

    def entry(self, step: Step, general: Step = None) -> _At:
        return _At((*self.steps, step), (*self.general, general), self.write)

    @property
    def target(self) -> str:
        return self.write(self.steps)

    @property
    def pattern(self) -> str:
        return self.write(self.general) if self.general else ""


@dataclass(slots=True)
class _Part:
    """What the dotted keys of an object lead to: a rule, or further parts by name or index."""

    rule: Field | None = None
    names: dict[str, _Part] = field(default_factory=dict)
    indexes: dict[int, _Part] = field(default_factory=dict)


class PlainWalk(Walk):
    """Absent values leave no trace in the target: an entry's index counts the entries before it that are there."""

    def key_steps(self, key: str) -> tuple[Step, ...]:
        """The steps of a key of the target."""
        return key_steps(key)

    def target_steps(self, path: str) -> tuple[Step, ...]:
        """The steps of a path to a place in the target, as people write it."""
        return parse_steps(path)

    def target_text(self, steps: Sequence[Step]) -> str:
        return steps_text(tuple(steps))

    def _parts(self, rule: ObjectRule) -> _Part:
        root = _Part()
        for entry in rule.fields:
            part = root
            for step in self.key_steps(entry.key):
                if isinstance(step, int):
                    part = part.indexes.setdefault(step, _Part())
                elif step is not None:
                    part = part.names.setdefault(step, _Part())
            part.rule = entry
        return root

    def build(self, frame: Frame, here: Here) -> None:
        self._seen: dict[tuple[Step, ...], set[str]] = {}
        if self.document.fields is not None:
            self._rule(self.document.fields, _At((), (), self.target_text), frame, here)

    def _rule(self, rule: Rules, at: _At, frame: Frame, here: Here) -> bool:
        """True when something is written."""
        if isinstance(rule, Leaf):
            return self.leaf(rule, at.target, at.pattern, frame, here, at.steps)
        if isinstance(rule, ListRule):
            return self._items(rule, at, 0, frame, here) > 0
        if rule.each is not None:
            return self._entries(rule, rule.each, at, 0, frame, here) > 0
        self.outline.append(Group(at.pattern, rule, frame, here))
        return self._object(rule, at, frame, self.when(rule.when, "when", at.pattern, frame, here))

    def _items(self, rule: ListRule, at: _At, index: int, frame: Frame, here: Here) -> int:
        """The index behind what the rules of a list have added to it, the first of them at ``index``."""
        for number, item in enumerate(rule.items):
            index = self._item(item, at, index, number, frame, here)
        return index

    def _item(self, rule: Rules, at: _At, index: int, number: int | None, frame: Frame, here: Here) -> int:
        """An ``each:`` and an included list add their entries, anything else is one entry."""
        entry = at.under(index, number) if number is not None else at.entry(index)
        if isinstance(rule, ObjectRule) and rule.each is not None:
            return self._entries(rule, rule.each, at, index, frame, here)
        if isinstance(rule, ObjectRule) and rule.include is not None and not rule.fields:
            self.outline.append(Group(entry.pattern, rule, frame, here))
            return self._included(
                rule, at, index, number, frame, self.when(rule.when, "when", entry.pattern, frame, here)
            )
        return index + self._rule(rule, entry, frame, here)

    def _included(self, rule: ObjectRule, at: _At, index: int, number: int | None, frame: Frame, here: Here) -> int:
        document, inner, inside = self.include(rule, at.pattern, frame, here)
        if isinstance(document.fields, ListRule):
            return self._items(document.fields, at, index, inner, inside)
        return index if document.fields is None else self._item(document.fields, at, index, number, inner, inside)

    def _entries(self, rule: ObjectRule, path: Text, at: _At, index: int, frame: Frame, here: Here) -> int:
        self.outline.append(Group(at.pattern, rule, frame, here))
        for inner, there in self.each(path, rule, at.pattern, frame, here):
            entry = at.entry(index)
            seen = self._seen.setdefault(at.steps, set())
            there = self.distinct(rule.distinct, entry.pattern, inner, there, seen)
            if rule.value is not None:
                index += self._rule(rule.value, entry, inner, there)
            elif rule.include is not None and not rule.fields:
                index = self._included(rule, at, index, None, inner, there)
            else:
                index += self._object(rule, entry, inner, there)
        return index

    def _object(self, rule: ObjectRule, at: _At, frame: Frame, here: Here) -> bool:
        if rule.include is not None and not rule.fields:
            document, inner, inside = self.include(rule, at.pattern, frame, here)
            return document.fields is not None and self._rule(document.fields, at, inner, inside)
        return self._members(rule, at, frame, here)

    def _members(self, rule: ObjectRule, at: _At, frame: Frame, here: Here) -> bool:
        """The fields of what an object includes, then its own."""
        written = False
        if rule.include is not None:
            document, inner, inside = self.include(rule, at.pattern, frame, here)
            if isinstance(document.fields, ObjectRule) and has_fields(document.fields):
                inside = self.when(document.fields.when, "when", at.pattern, inner, inside)
                written = self._members(document.fields, at, inner, inside)
        return self._part(self._parts(rule), at, frame, here) or written

    def _part(self, part: _Part, at: _At, frame: Frame, here: Here) -> bool:
        if part.rule is not None:
            return self._rule(part.rule.rule, at, frame, here)
        written = False
        for name, child in part.names.items():
            written |= self._part(child, at.under(name), frame, here)
        index = 0
        for number in sorted(part.indexes):
            index += self._part(part.indexes[number], at.under(index, number), frame, here)
        return written or index > 0
