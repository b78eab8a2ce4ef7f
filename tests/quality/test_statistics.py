"""Counters per interface and day."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from hub.quality import Assessment, QualityStatistics
from hub.quality import statistics as module
from hub.quality.statistics import MAX_NAMES, OTHERS, DayCounts
from hub.validators.report import Finding, Kind, Level, Severity
from tests.quality.conftest import NOW

MISSING = Finding("name", "", kind=Kind.MISSING, level=Level.COMPLETENESS)
CODE = Finding("sex", "", kind=Kind.CODE, level=Level.FIELD, severity=Severity.WARNING)


def bad(score: float = 50.0, late: float = 90.0) -> Assessment:
    return Assessment(
        [MISSING, CODE, CODE],
        score,
        {},
        {"name": 1, "sex": 2},
        {"name": 1, "sex": 2},
        {"PID-5": False, "PID-7": True},
        NOW / 1e6 - late,
    )


def good() -> Assessment:
    return Assessment([], 100.0, {}, {"name": 1}, {}, {"PID-5": True, "PID-7": True})


def test_counts_of_a_day() -> None:
    statistics = QualityStatistics()
    for assessment in (bad(), good(), Assessment([CODE]), bad(0.0, late=-5)):
        statistics.add("his/adt", NOW, assessment)
    (counts,) = statistics.days.values()
    assert (counts.messages, counts.marked, counts.failed, counts.scored, counts.score) == (4, 3, 2, 3, 50.0)
    assert counts.findings == {"name": 2, "sex": 5}
    assert counts.levels == {"completeness": 2, "field": 5}
    assert counts.kinds == {"missing": 2, "code": 5}
    assert (counts.asked, counts.missed) == ({"name": 3, "sex": 4}, {"name": 2, "sex": 4})
    assert counts.saturation == {"PID-5": 0.3333, "PID-7": 1.0}
    assert (counts.timed, round(counts.delay_sum), round(counts.delay_max)) == (2, 85, 90)
    assert counts.delays == {"hour": 1, "before": 1}


def test_the_classes_of_delay() -> None:
    counts = DayCounts()
    for late in (-1, 0, 59, 60, 3600, 86_400, 604_800):
        counts.add(Assessment(business_time=1e9), 1e9 + late)
    assert counts.delays == {"before": 1, "minute": 2, "hour": 1, "day": 1, "week": 1, "later": 1}


def test_days_are_those_of_beijing_and_interfaces_are_kept_apart() -> None:
    statistics = QualityStatistics()
    midnight = NOW - 9 * 3_600_000_000
    for interface, at in (("a", midnight), ("a", midnight - 1000), ("b", NOW)):
        statistics.add(interface, at, good())
    assert {key: counts.messages for key, counts in statistics.days.items()} == {
        ("a", "2026-11-28"): 1,
        ("a", "2026-11-27"): 1,
        ("b", "2026-11-28"): 1,
    }


def test_json_there_and_back() -> None:
    statistics = QualityStatistics()
    statistics.add("a", NOW, bad())
    statistics.add("b", NOW, good())
    data = json.loads(json.dumps(statistics.as_dict()))
    assert QualityStatistics.from_dict(data) == statistics
    assert QualityStatistics.from_dict({"a": {"2026-11-28": {}}}).days == {("a", "2026-11-28"): DayCounts()}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(0, 2)), max_size=20), st.integers(0, 20))
def test_merged_parts_are_the_whole(messages: list[tuple[str, bool, int]], cut: int) -> None:
    whole, first, second = QualityStatistics(), QualityStatistics(), QualityStatistics()
    for number, (interface, right, days) in enumerate(messages):
        assessment = good() if right else bad()
        at = NOW - days * 86_400_000_000
        whole.add(interface, at, assessment)
        (first if number < cut else second).add(interface, at, assessment)
    taken = first.take()
    assert first.days == {}
    taken.merge(second)
    assert taken == whole


def test_memory_is_bounded() -> None:
    counts = DayCounts()
    for number in range(MAX_NAMES + 100):
        counts.add(Assessment([Finding(f"rule{number}", "")]), 0.0)
    assert (len(counts.findings), counts.findings[OTHERS]) == (MAX_NAMES + 1, 100)
    statistics = QualityStatistics()
    for day in range(module.MAX_DAYS + 5):
        statistics.add("a", NOW + day * 86_400_000_000, Assessment())
    assert len(statistics.days) == module.MAX_DAYS
    assert min(day for _, day in statistics.days) == "2026-12-03"
