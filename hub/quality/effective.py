"""Which rules a set has in effect: its own, those of the sets it includes, and the changes it makes to them.

The rules of an included set are the frame: who includes it may make them stricter, and looser or disabled only where the rule says
``allow_local: true`` (002:958, 1029).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hub.errors import Problem
from hub.i18n import t
from hub.quality.document import OverrideEntry, RuleDocument
from hub.quality.model import TESTS, RuleModel
from hub.quality.strictness import looser
from hub.validation import did_you_mean, validate
from hub.yaml_source import Place

__all__ = ["Effective", "EffectiveRule", "effective_rules"]

#: Deepest chain of includes.
MAX_DEPTH = 8
#: Of these a change may write one bound only.
_BOUNDS = ("length", "range")


@dataclass(frozen=True, slots=True)
class EffectiveRule:
    """A rule in effect. ``origin``: the set that has it; ``place``: where it, or its last change, is written."""

    id: str
    model: RuleModel
    data: dict[str, Any]
    place: Place
    origin: str
    #: How far in it was included: 0 for the set's own rules.
    depth: int = 0

    @property
    def where(self) -> str:
        """``file:line`` for texts."""
        return f"{self.place.document.path}:{self.place.document.line(self.place.path)}"


@dataclass(slots=True)
class Effective:
    """``parts``: every document that takes part, the set itself first."""

    rules: list[EffectiveRule] = field(default_factory=list)
    parts: list[RuleDocument] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def effective_rules(document: RuleDocument, find: Callable[[str], RuleDocument | None]) -> Effective:
    """The rules of a set, included ones first; disabled ones are left out. Never raises."""
    effective = Effective(parts=[document])
    found = _collect(document, find, effective, (document.name,))
    effective.rules = [rule for rule in found.values() if not rule.model.disabled]
    return effective


def _collect(
    document: RuleDocument,
    find: Callable[[str], RuleDocument | None],
    effective: Effective,
    chain: tuple[str, ...],
) -> dict[str, EffectiveRule]:
    problems = effective.problems
    problems += [problem for problem in document.problems if problem not in problems]
    rules: dict[str, EffectiveRule] = {}
    for number, name in enumerate(document.include):
        other = _included(document, number, name, find, problems, chain)
        if other is None:
            continue
        if other not in effective.parts:
            effective.parts.append(other)
        for rule in _collect(other, find, effective, (*chain, name)).values():
            twin = rules.get(rule.id)
            if twin is not None and twin.place != rule.place:
                problems.append(_twice(rule.id, _place(document, "include", number), twin))
                continue
            rules[rule.id] = replace(rule, depth=rule.depth + 1)
    for entry in document.rules.values():
        twin = rules.get(entry.id)
        if twin is not None:
            problems.append(_twice(entry.id, entry.place, twin))
            continue
        rules[entry.id] = EffectiveRule(entry.id, entry.model, entry.data, entry.place, document.name)
    for change in document.overrides.values():
        base = rules.get(change.id)
        if base is None or base.depth == 0:
            problems.append(_nothing_to_change(change, rules))
            continue
        changed = _changed(base, change, document.name, problems)
        if changed is not None:
            rules[change.id] = changed
    return rules


def _place(document: RuleDocument, *path: str | int) -> Place:
    assert document.place is not None  # noqa: S101 - a document with rules or includes was read
    return Place(document.place.document, path)


def _included(
    document: RuleDocument,
    number: int,
    name: str,
    find: Callable[[str], RuleDocument | None],
    problems: list[Problem],
    chain: tuple[str, ...],
) -> RuleDocument | None:
    place = _place(document, "include", number)
    found = find(name)
    if found is None:
        text = t(f"there is no rule set {name!r}", f"没有规则集 {name!r}")
        remedy = t(
            "names are paths below the folder of rules, without .rules.yaml", "名称为规则目录下的路径，不带 .rules.yaml"
        )
        problems.append(place.problem(text, remedy=remedy))
        return None
    if name in chain or len(chain) >= MAX_DEPTH:
        way = " > ".join([*chain, name])
        problems.append(place.problem(t(f"sets include each other: {way}", f"规则集循环包含：{way}")))
        return None
    if found.for_ is not None and document.for_ is not None and found.for_.codec != document.for_.codec:
        text = t(
            f"{name} is for {found.for_.codec}, this set for {document.for_.codec}",
            f"{name} 用于 {found.for_.codec}，本规则集用于 {document.for_.codec}",
        )
        problems.append(place.problem(text, remedy=t("include sets of the same codec", "请包含同一编解码器的规则集")))
        return None
    return found


def _twice(id_: str, place: Place, twin: EffectiveRule) -> Problem:
    return place.problem(
        t(f"rule {id_!r} is there already: {twin.where}", f"规则 {id_!r} 已存在：{twin.where}"),
        remedy=t("rename it, or change the other under overrides:", "请改名，或在 overrides: 中修改原规则"),
    )


def _nothing_to_change(change: OverrideEntry, rules: dict[str, EffectiveRule]) -> Problem:
    if change.id in rules:
        return change.place.problem(
            t(f"{change.id!r} is a rule of this set", f"{change.id!r} 是本规则集的规则"),
            remedy=t("change the rule itself", "请直接修改该规则"),
        )
    return change.place.problem(
        t(f"no included set has a rule {change.id!r}", f"所包含的规则集中没有规则 {change.id!r}"),
        remedy=did_you_mean(change.id, [id_ for id_, rule in rules.items() if rule.depth > 0]),
    )


def _changed(base: EffectiveRule, change: OverrideEntry, origin: str, problems: list[Problem]) -> EffectiveRule | None:
    """The rule with its changes; None when they are not possible, which is told."""
    test = base.model.test
    other = next((key for key in TESTS if key in change.data and key != test), None)
    if other is not None:
        problems.append(
            change.place.problem(
                t(f"the rule's test is {test}: ({base.where})", f"该规则的检查为 {test}:（{base.where}）"),
                (other,),
                remedy=t("disable it and write a rule of another id", "请停用该规则并另写一条"),
            )
        )
        return None
    data = {**base.data, **change.data}
    for key in _BOUNDS:
        before, after = base.data.get(key), change.data.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            data[key] = {**before, **after}
    found: list[Problem] = []
    model = validate(RuleModel, data, change.place, found)
    if model is None:
        problems += found
        return None
    if not base.model.allow_local:
        loosened = [key for key in change.data if looser(base.model, model, key)]
        if loosened:
            problems += [
                change.place.problem(
                    t(
                        f"this makes the rule looser; {base.where} allows only stricter ones",
                        f"放宽了规则；{base.where} 只允许更严格",
                    ),
                    (key,),
                    remedy=t(
                        "make it stricter, or have allow_local: true set there",
                        "请改严，或在原规则处设 allow_local: true",
                    ),
                )
                for key in loosened
            ]
            return None
    return EffectiveRule(base.id, model, data, change.place, origin, base.depth)
