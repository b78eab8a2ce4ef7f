"""hub.delivery.rate: never more than allowed, and no call held up longer than told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.delivery.rate import TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_burst_then_steady() -> None:
    clock = Clock()
    bucket = TokenBucket(10, 3, clock)
    assert [bucket.take() for _ in range(3)] == [0, 0, 0]
    assert bucket.take() == pytest.approx(0.1)
    clock.now += 0.1
    assert bucket.take() == 0
    assert bucket.take() == pytest.approx(0.1)


def test_a_quiet_time_earns_no_more_than_the_burst() -> None:
    clock = Clock()
    bucket = TokenBucket(100, 5, clock)
    clock.now += 3600
    assert [bucket.take() for _ in range(6)].count(0) == 5


def test_slow_rates_and_small_bursts() -> None:
    clock = Clock()
    bucket = TokenBucket(0.1, 0, clock)
    assert bucket.take() == 0
    assert bucket.take() == pytest.approx(10)


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_impossible_rates(rate: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        TokenBucket(rate, 1, Clock())


@given(
    st.floats(0.01, 10_000),
    st.floats(1, 100),
    st.lists(st.one_of(st.none(), st.floats(0, 10)), max_size=100),
)
def test_no_window_holds_more_than_burst_and_rate_allow(rate: float, burst: float, steps: list[float | None]) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, burst, clock)
    calls: list[float] = []
    for step in steps:
        if step is not None:
            clock.now += step
            continue
        pause = bucket.take()
        if pause == 0:
            calls.append(clock.now)
            continue
        assert 0 < pause <= 1 / rate + 1e-9
        clock.now += pause
        assert bucket.take() == 0  # who waits as told is not sent away again
        calls.append(clock.now)
    for i, first in enumerate(calls):
        for count, last in enumerate(calls[i:], 1):
            assert count <= burst + (last - first) * rate + 1e-3
