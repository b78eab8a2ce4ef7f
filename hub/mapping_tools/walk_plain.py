"""Walks through mappings whose targets are plain trees."""

from __future__ import annotations

from dataclasses import dataclass, field

from hub.mapping.document import Field, Leaf, ListRule, ObjectRule, Rules
from hub.mapping_tools.scope import Frame
from hub.mapping_tools.steps import Step, key_steps, steps_text
from hub.mapping_tools.walk import Group, Here, Walk, has_fields

__all__ = ["PlainWalk"]


@dataclass(frozen=True, slots=True)
class _At:
    """A place in the target: with the indexes that lists have so far, and with None for the entries of loops."""

    steps: tuple[Step, ...] = ()
    general: tuple[Step, ...] = ()

    def under(self, step: Step, general: Step = None) -> _At:
        return _At((*self.steps, step), (*self.general, step if general is None and isinstance(step, str) else general))

    @property
    def pattern(self) -> str:
        return steps_text(self.general) if self.general else ""


@dataclass(slots=True)
class _Part:
    """What the dotted keys of an object lead to: a rule, or further parts by name or index."""

    rule: Field | None = None
    names: dict[str, _Part] = field(default_factory=dict)
    indexes: dict[int, _Part] = field(default_factory=dict)


def _parts(rule: ObjectRule) -> _Part:
    root = _Part()
    for entry in rule.fields:
        part = root
        for step in key_steps(entry.key):
            if isinstance(step, int):
                part = part.indexes.setdefault(step, _Part())
            elif step is not None:
                part = part.names.setdefault(step, _Part())
        part.rule = entry
    return root


class PlainWalk(Walk):
    """Absent values leave no trace in the target: an entry's index counts the entries before it that are there."""

    def build(self, frame: Frame, here: Here) -> None:
        if self.document.fields is not None:
            self._rule(self.document.fields, _At(), frame, here)

    def _rule(self, rule: Rules, at: _At, frame: Frame, here: Here) -> bool:
        """True when something is written."""
        if isinstance(rule, Leaf):
            return self.leaf(rule, steps_text(at.steps), at.pattern, frame, here, at.steps)
        if isinstance(rule, ListRule):
            index = 0
            for number, item in enumerate(rule.items):
                index += self._rule(item, at.under(index, number), frame, here)
            return index > 0
        self.outline.append(Group(at.pattern, rule, frame, here))
        if rule.each is None:
            return self._object(rule, at, frame, self.when(rule.when, "when", at.pattern, frame, here))
        index = 0
        for inner, there in self.each(rule.each, rule, at.pattern, frame, here):
            entry = _At((*at.steps, index), (*at.general, None))
            if rule.value is not None:
                index += self._rule(rule.value, entry, inner, there)
            else:
                index += self._object(rule, entry, inner, there)
        return index > 0

    def _object(self, rule: ObjectRule, at: _At, frame: Frame, here: Here) -> bool:
        written = False
        if rule.include is not None:
            document, inner, inside = self.include(rule, at.pattern, frame, here)
            if not rule.fields:
                return document.fields is not None and self._rule(document.fields, at, inner, inside)
            if isinstance(document.fields, ObjectRule) and has_fields(document.fields):
                inside = self.when(document.fields.when, "when", at.pattern, inner, inside)
                written = self._part(_parts(document.fields), at, inner, inside)
        return self._part(_parts(rule), at, frame, here) or written

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
