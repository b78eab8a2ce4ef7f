"""Times moved by an amount."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import MappingError
from hub.mapping import Context, compile_expression


def moved(value: Any, call: str, codec: str = "json") -> Any:
    return compile_expression(f"v | {call}", codec)({"v": value}, Context())


@pytest.mark.parametrize(
    ("value", "call", "expected"),
    [
        ("20260115093015", "add_time(30, 'min')", "2026-01-15T10:00:15+08:00"),
        ("2026-01-15T23:50:00+00:00", "add_time('15', 'minutes')", "2026-01-16T00:05:00+00:00"),
        ("2026-01-15T23:50:00.250Z", "add_time(-1, 'h')", "2026-01-15T22:50:00.250Z"),
        ("202601150930", "add_time(90, 's')", "2026-01-15T09:31:30+08:00"),
        ("202601150930", "add_time(1.5, 'hours')", "2026-01-15T11:00:00+08:00"),
        ("20260115", "add_time(3, 'd')", "2026-01-18"),
        ("20260115", "add_time(-2, 'weeks')", "2026-01-01"),
        ("20260115", "add_time(48, 'h')", "2026-01-17"),
        ("20260131", "add_time(1, 'mo')", "2026-02-28"),
        ("20240229", "add_time(1, 'a')", "2025-02-28"),
        ("20260131083000", "add_time(13, 'months')", "2027-02-28T08:30:00+08:00"),
        ("20260331", "add_time(-13, 'mo')", "2025-02-28"),
        (None, "add_time(1, 'd')", None),
        ("", "add_time(1, 'd')", None),
        ("20260115", "add_time(none, 'd')", None),
        ("2026", "add_time(1, 'd', invalid='null')", None),
        ("x", "add_time(1, 'd', invalid='keep')", "x"),
    ],
)
def test_result(value: Any, call: str, expected: Any) -> None:
    assert moved(value, call) == expected


@pytest.mark.parametrize(
    ("value", "call", "told"),
    [
        ("2026", "add_time(1, 'd')", "not so precise"),
        ("202601", "add_time(1, 'mo')", "not so precise"),
        ("20260115", "add_time(30, 'min')", "not so precise"),
        ("20260115", "add_time('many', 'd')", "not a number of units"),
        ("20260115", "add_time(0.5, 'mo')", "part of a month"),
        ("99991231", "add_time(1, 'd')", "out of range"),
        ("99991231", "add_time(1, 'mo')", "out of range"),
        ("00010101", "add_time(-1, 'a')", "out of range"),
        ("20260115", "add_time(999999999999, 'a')", "out of range"),
        ("20260115", "add_time(1, 'fortnight')", "no unit of time"),
        ("20260115", "add_time(1, w)", "no unit of time"),
    ],
)
def test_errors(value: Any, call: str, told: str) -> None:
    with pytest.raises(MappingError, match=told):
        moved(value, call)


@given(
    st.datetimes(datetime(1992, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(microsecond=0)),
    st.integers(-(10**6), 10**6),
)
def test_minutes_add_up(at: datetime, minutes: int) -> None:
    expected = (at + timedelta(minutes=minutes)).isoformat() + "+08:00"
    assert moved(at.isoformat(), f"add_time({minutes}, 'min')") == expected
