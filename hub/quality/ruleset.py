"""A rule set ready for use: the validator of an interface, and the score of a message.

Score, 0 … 100: ``100 × (1 - Σ weight × failed / asked ÷ Σ weight)`` over the rules that were asked at all. A rule is asked where its ``when:``
holds and, for tests of a value, the value is there; with ``each:`` once for each element, and its loss is the share of elements that
failed. One bad result among sixty costs a sixtieth of its rule's weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.errors import MappingError
from hub.mapping import Context
from hub.mapping.runtime import FunctionError
from hub.quality.effective import EffectiveRule
from hub.quality.moments import span_of
from hub.quality.runtime import Run
from hub.quality.texts import finding_of, stopped
from hub.validators.report import Finding, Level

__all__ = ["Assessment", "QualityValidator"]

#: Spans count in Beijing's clock.
_OFFSET_S = 8 * 3600


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a rule set says of one message.

    ``score``: 0 … 100, None when no rule was asked or the run was stopped. ``asked`` and ``failed``: by rule id, of the rules that
    were asked. ``filled``: path to whether a value is there. ``business_time``: seconds since the epoch, UTC; None when the message
    tells none.
    """

    findings: list[Finding] = field(default_factory=list)
    score: float | None = None
    levels: dict[Level, float] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    filled: dict[str, bool] = field(default_factory=dict)
    business_time: float | None = None


@dataclass(frozen=True, slots=True)
class _Weighed:
    """One rule as the score sees it."""

    id: str
    level: Level
    weight: float


class QualityValidator:
    """The rules of one set, for the messages of its types. Immutable; used from several threads."""

    slow = False

    def __init__(
        self,
        name: str,
        digest: str,
        codec: str,
        types: tuple[str, ...],
        rules: Sequence[EffectiveRule],
        fields: Sequence[str],
        run: Callable[[Any, Context], tuple[tuple[int, ...], tuple[int, ...], tuple[bool, ...], Any]],
        source: str,
        matches: Callable[[str], bool] | None,
    ) -> None:
        self.name = name
        self.hash = digest
        self.codec = codec
        self.types = types
        self.rules = tuple(rules)
        self.source = source
        self._fields = tuple(fields)
        self._run = run
        self._matches = matches
        self._weights = tuple(_Weighed(rule.id, Level(rule.model.level), rule.model.weight) for rule in rules)

    @property
    def stamp(self) -> str:
        """What reports record: ``name@hash``; the hash covers the set, what it includes, and its code tables."""
        return f"{self.name}@{self.hash}"

    def check(self, raw: bytes, tree: Any, context: Context) -> list[Finding]:
        """The findings alone; see :class:`hub.validators.report.Validator`."""
        return self.assess(tree, context).findings

    def assess(self, tree: Any, context: Context) -> Assessment:
        """Findings, score and what statistics count. Never raises for what a message may contain."""
        message = context.message
        if self._matches is not None and message is not None and message.type and not self._matches(message.type):
            return Assessment()
        run = Run(context.settings, message, context.now_us, context.variables)
        try:
            asked, failed, there, when = self._run(tree, run)
        except MappingError as error:
            findings = [finding_of(note, self.rules[note.rule]) for note in run.notes]
            return Assessment([*findings, stopped(error.reason)])
        score, levels = self._score(asked, failed)
        return Assessment(
            [finding_of(note, self.rules[note.rule]) for note in run.notes] if run.notes else [],
            score,
            levels,
            {rule.id: count for rule, count in zip(self._weights, asked, strict=True) if count},
            {rule.id: count for rule, count in zip(self._weights, failed, strict=True) if count},
            dict(zip(self._fields, there, strict=True)),
            _business_time(when),
        )

    def _score(self, asked: Sequence[int], failed: Sequence[int]) -> tuple[float | None, dict[Level, float]]:
        whole: dict[Level, float] = {}
        lost: dict[Level, float] = {}
        for rule, times, faults in zip(self._weights, asked, failed, strict=True):
            if times:
                whole[rule.level] = whole.get(rule.level, 0.0) + rule.weight
                if faults:
                    lost[rule.level] = lost.get(rule.level, 0.0) + rule.weight * faults / times
        total = sum(whole.values())
        if not total:
            return None, {}
        levels = {level: _hundred(weight, lost.get(level, 0.0)) for level, weight in whole.items() if weight}
        return _hundred(total, sum(lost.values())), levels


def _hundred(whole: float, lost: float) -> float:
    return round(100 * (1 - lost / whole), 1)


def _business_time(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return span_of(value).first - _OFFSET_S
    except FunctionError:
        return None
