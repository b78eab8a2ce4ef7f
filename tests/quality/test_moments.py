"""Dates of partial precision."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.mapping.runtime import FunctionError
from hub.quality.moments import bound_of, in_order, limit_of, now_of, span_of, years_between
from tests.quality.conftest import NOW


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("2026", 365 * 86_400),
        ("2024", 366 * 86_400),
        ("202602", 28 * 86_400),
        ("2026-12", 31 * 86_400),
        ("20261128", 86_400),
        ("2026112809", 3600),
        ("202611280930", 60),
        ("20261128093015.123", 1),
        ("9998", 365 * 86_400),
    ],
)
def test_a_date_is_as_long_as_it_is_imprecise(text: str, length: int) -> None:
    span = span_of(text)
    assert span.end - span.first == length


def test_offsets_are_taken_into_account() -> None:
    assert span_of("20261128093015+0800") == span_of("2026-11-28T01:30:15Z") == span_of("2026-11-28 09:30:15")


@pytest.mark.parametrize("value", ["", "x", "2026-02-30", "9999", None, True, 1.5, []])
def test_what_is_no_date(value: object) -> None:
    with pytest.raises(FunctionError):
        span_of(value)


@pytest.mark.parametrize(
    ("earlier", "later", "possible", "strictly"),
    [
        ("20261120", "20261121", True, True),
        ("20261121", "20261120", False, False),
        ("202611200930", "20261120", True, True),  # some time of that day
        ("20261120", "20261120", True, True),
        ("20261120093000", "20261120093000", True, False),
        ("2026", "20260101", True, True),
        ("20261231", "2026", True, True),
        ("202612", "20261130", False, False),
    ],
)
def test_order(earlier: str, later: str, possible: bool, strictly: bool) -> None:
    assert in_order(span_of(earlier), span_of(later)) is possible
    assert in_order(span_of(earlier), span_of(later), strict=True) is strictly


times = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(microsecond=0))


@given(times, times, st.sampled_from([4, 6, 8, 12, 14]), st.sampled_from([4, 6, 8, 12, 14]))
def test_times_in_order_stay_possible_however_they_are_cut(
    one: datetime, other: datetime, cut: int, short: int
) -> None:
    first, last = sorted((one, other))
    texts = f"{first:%Y%m%d%H%M%S}".zfill(14), f"{last:%Y%m%d%H%M%S}".zfill(14)
    assert in_order(span_of(texts[0][:cut]), span_of(texts[1][:short]))
    assert in_order(span_of(texts[1]), span_of(texts[0])) is (first == last)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("now", datetime(2026, 11, 28, 9)),
        ("now - 130y", datetime(1896, 11, 28, 9)),
        ("now+1d", datetime(2026, 11, 29, 9)),
        ("now - 9m", datetime(2026, 2, 28, 9)),
        ("now + 90min", datetime(2026, 11, 28, 10, 30)),
        ("now - 2h", datetime(2026, 11, 28, 7)),
        ("now - 30s", datetime(2026, 11, 28, 8, 59, 30)),
        ("1900-01-01", datetime(1900, 1, 1)),
    ],
)
def test_bounds(text: str, date: datetime) -> None:
    assert limit_of(bound_of(text), now_of(NOW)).first == (date - datetime(1970, 1, 1)) / timedelta(seconds=1)


def test_a_bound_far_off_is_beyond_everything() -> None:
    assert limit_of(bound_of("now - 99999y"), now_of(NOW)).first < span_of("0001").first
    assert limit_of(bound_of("now + 99999y"), now_of(NOW)).first > span_of("9998").end


@pytest.mark.parametrize("text", ["", "tomorrow", "now - 1", "now -", "2026-02-30", "now - 1w"])
def test_no_bound(text: str) -> None:
    with pytest.raises(ValueError, match="write 1900-01-01, now, now - 130y"):
        bound_of(text)


def test_years() -> None:
    at = span_of("20261128").first
    assert [years_between(span_of(birth), at) for birth in ("20081128", "20081129", "2008", "20261128", "2027")] == [
        18,
        17,
        18,
        0,
        -1,
    ]
