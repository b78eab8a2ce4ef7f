"""hub.delivery.retry: the policy as documented."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.contract import RetryPolicy
from hub.delivery.retry import next_delay


def never() -> float:
    raise AssertionError("chance has no say without jitter")


def test_fixed_interval_as_many_times_as_allowed() -> None:
    policy = RetryPolicy(attempts=3, interval=5)
    assert [next_delay(policy, n, never) for n in range(1, 6)] == [5, 5, 5, None, None]


def test_no_retries_at_all() -> None:
    assert next_delay(RetryPolicy(attempts=0), 1, never) is None


def test_exponential_doubles_up_to_the_maximum() -> None:
    policy = RetryPolicy(attempts=8, interval=2, backoff="exponential", max_interval=60)
    assert [next_delay(policy, n, never) for n in range(1, 10)] == [2, 4, 8, 16, 32, 60, 60, 60, None]


def test_a_fixed_interval_is_not_cut_by_the_maximum_of_exponential() -> None:
    assert next_delay(RetryPolicy(interval=600, max_interval=300), 1, never) == 600


def test_very_many_attempts_do_not_overflow() -> None:
    policy = RetryPolicy(attempts=10**6, interval=0.001, backoff="exponential", max_interval=300)
    assert next_delay(policy, 10**6, never) == 300


@pytest.mark.parametrize(("drawn", "pause"), [(0.0, 10.0), (0.5, 8.0), (1.0, 6.0)])
def test_jitter_shortens_by_its_share_at_most(drawn: float, pause: float) -> None:
    assert next_delay(RetryPolicy(interval=10, jitter=0.4), 1, lambda: drawn) == pytest.approx(pause)


@given(
    st.builds(
        RetryPolicy,
        attempts=st.integers(0, 50),
        interval=st.floats(0, 1e4),
        backoff=st.sampled_from(["fixed", "exponential"]),
        max_interval=st.floats(0, 1e4),
        jitter=st.floats(0, 1),
    ),
    st.floats(0, 1, exclude_max=True),
)
def test_pauses_are_bounded_grow_and_end(policy: RetryPolicy, drawn: float) -> None:
    pauses = []
    attempt = 1
    while (pause := next_delay(policy, attempt, lambda: drawn)) is not None:
        pauses.append(pause)
        attempt += 1
    assert len(pauses) == policy.attempts
    longest = policy.interval if policy.backoff == "fixed" else min(policy.max_interval, policy.interval * 2**49)
    assert all(0 <= pause <= longest for pause in pauses)
    assert pauses == sorted(pauses)
