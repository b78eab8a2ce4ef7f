"""Counters of data quality per source interface and day, in memory of bounded size (002:1109, 1121-1129).

Messages, marked and failed ones, scores, findings by rule, level and error type, saturation of fields (字段饱和度), timeliness (及时性).
Pure: who keeps them, persists and merges them belongs to the caller. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from hub.mapping.runtime import instant_text
from hub.quality.ruleset import Assessment
from hub.validators.report import Severity

__all__ = ["DELAYS", "OTHERS", "DayCounts", "QualityStatistics"]

#: Days of interfaces kept; beyond, the oldest day goes.
MAX_DAYS = 2000
#: Rules, fields and the like counted by name on one day of one interface; more are counted together as ``…``.
MAX_NAMES = 500
OTHERS = "…"
#: Upper ends, in seconds, of the classes of delay between business time and receipt; the last class has none.
DELAYS: tuple[tuple[str, float], ...] = (
    ("before", 0.0),  # received before it happened: one of the clocks is wrong
    ("minute", 60.0),
    ("hour", 3600.0),
    ("day", 86_400.0),
    ("week", 604_800.0),
)
_LATER = "later"


def _add(counts: dict[str, int], name: str, number: int = 1) -> None:
    if name not in counts and len(counts) >= MAX_NAMES:
        name = OTHERS
    counts[name] = counts.get(name, 0) + number


@dataclass(slots=True)
class DayCounts:
    """One day of one interface. Sums, so that days and processes can be merged."""

    messages: int = 0
    marked: int = 0  # with at least one finding
    failed: int = 0  # with at least one error
    scored: int = 0
    score_sum: float = 0.0
    findings: dict[str, int] = field(default_factory=dict)  # rule -> number
    levels: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)  # rule -> times
    missed: dict[str, int] = field(default_factory=dict)  # rule -> times it failed
    fields: dict[str, int] = field(default_factory=dict)  # path -> messages asked
    filled: dict[str, int] = field(default_factory=dict)  # path -> messages that have it
    timed: int = 0
    delay_sum: float = 0.0  # seconds, of the timed messages
    delay_max: float = 0.0
    delays: dict[str, int] = field(default_factory=dict)  # class of DELAYS -> messages

    @property
    def score(self) -> float | None:
        """Mean score of the messages that have one."""
        return round(self.score_sum / self.scored, 1) if self.scored else None

    @property
    def saturation(self) -> dict[str, float]:
        """Share of messages, 0 … 1, in which each field has a value."""
        return {path: round(self.filled.get(path, 0) / count, 4) for path, count in self.fields.items() if count}

    def add(self, assessment: Assessment, received: float) -> None:
        """Count one message; ``received`` is seconds since the epoch, UTC."""
        self.messages += 1
        if assessment.findings:
            self.marked += 1
            self.failed += any(finding.severity is Severity.ERROR for finding in assessment.findings)
        if assessment.score is not None:
            self.scored += 1
            self.score_sum += assessment.score
        for finding in assessment.findings:
            _add(self.findings, finding.rule)
            _add(self.levels, finding.level.value)
            _add(self.kinds, finding.kind.value)
        for rule, times in assessment.asked.items():
            _add(self.asked, rule, times)
        for rule, times in assessment.failed.items():
            _add(self.missed, rule, times)
        for path, there in assessment.filled.items():
            _add(self.fields, path)
            if there:
                _add(self.filled, path)
        if assessment.business_time is not None:
            delay = received - assessment.business_time
            self.timed += 1
            self.delay_sum += delay
            self.delay_max = max(self.delay_max, delay)
            _add(self.delays, next((name for name, end in DELAYS if delay < end), _LATER))

    def merge(self, other: DayCounts) -> None:
        """Add the counts of another process, or of a part of the day."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.delay_max = max(self.delay_max, other.delay_max)
        for name in _NAMED:
            counts = getattr(self, name)
            for key, number in getattr(other, name).items():
                _add(counts, key, number)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; :meth:`from_dict` reads it back."""
        return {name: getattr(self, name) for name in (*_NUMBERS, "delay_max")} | {
            name: dict(getattr(self, name)) for name in _NAMED
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Counts as :meth:`as_dict` gave them; what is missing is 0."""
        made = cls()
        for name in (*_NUMBERS, "delay_max"):
            setattr(made, name, type(getattr(made, name))(data.get(name, 0)))
        for name in _NAMED:
            counts = getattr(made, name)
            for key, number in dict(data.get(name) or {}).items():
                _add(counts, str(key), int(number))
        return made


_NUMBERS = ("messages", "marked", "failed", "scored", "score_sum", "timed", "delay_sum")
_NAMED = ("findings", "levels", "kinds", "asked", "missed", "fields", "filled", "delays")


@dataclass(slots=True)
class QualityStatistics:
    """Counts by (interface, day); a day is ``2026-11-28`` in Beijing time."""

    days: dict[tuple[str, str], DayCounts] = field(default_factory=dict)

    def add(self, interface: str, received_us: int, assessment: Assessment) -> None:
        """Count one message; ``received_us`` is microseconds since the epoch, UTC."""
        self._of(interface, instant_text(received_us)[:10]).add(assessment, received_us / 1e6)

    def merge(self, other: QualityStatistics) -> None:
        for (interface, day), counts in other.days.items():
            self._of(interface, day).merge(counts)

    def take(self) -> QualityStatistics:
        """What was counted since the last time; counting begins anew. For who persists sums."""
        taken = QualityStatistics(self.days)
        self.days = {}
        return taken

    def as_dict(self) -> dict[str, dict[str, dict[str, Any]]]:
        """interface -> day -> counts, as plain data."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for (interface, day), counts in sorted(self.days.items()):
            found.setdefault(interface, {})[day] = counts.as_dict()
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Self:
        made = cls()
        for interface, days in data.items():
            for day, counts in days.items():
                made._of(interface, day).merge(DayCounts.from_dict(counts))
        return made

    def _of(self, interface: str, day: str) -> DayCounts:
        found = self.days.get((interface, day))
        if found is None:
            if len(self.days) >= MAX_DAYS:
                del self.days[min(self.days, key=lambda key: key[1])]
            found = self.days[interface, day] = DayCounts()
        return found
