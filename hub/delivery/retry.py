"""When to try again."""

from __future__ import annotations

from collections.abc import Callable

from hub.contract import RetryPolicy

__all__ = ["next_delay"]

_MAX_DOUBLINGS = 62  # beyond any max_interval; keeps the power within a float


def next_delay(policy: RetryPolicy, attempt: int, random: Callable[[], float]) -> float | None:
    """Seconds to wait after try number ``attempt`` (1 = the first) failed for a passing reason; ``None``: no more tries.

    Exponential back-off doubles the interval from retry to retry up to ``max_interval``. ``jitter`` is the share of the pause
    that is drawn by chance, downwards, so that targets coming back are not hit by everybody at once; ``random`` returns
    numbers in [0, 1).
    """
    if attempt > policy.attempts:
        return None
    pause = policy.interval
    if policy.backoff == "exponential":
        doublings = min(max(attempt - 1, 0), _MAX_DOUBLINGS)
        pause = min(policy.interval * (1 << doublings), policy.max_interval)
    if policy.jitter:
        pause *= 1.0 - policy.jitter * random()
    return pause
