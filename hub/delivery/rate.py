"""A token bucket: so many calls per second on average, a few more at once after a quiet time."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["TokenBucket"]


class TokenBucket:
    """Limits calls to ``rate`` per second; up to ``burst`` (at least 1) may go at once after a pause.

    ``clock`` returns seconds and never goes back (``time.monotonic``). ``ValueError`` for a rate that is not positive.
    """

    __slots__ = ("_burst", "_clock", "_last", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        if not rate > 0:
            raise ValueError(f"the rate must be above 0 calls per second, not {rate}")
        self._rate = rate
        self._burst = max(1.0, burst)
        self._clock = clock
        self._tokens = self._burst
        self._last = clock()

    def take(self) -> float:
        """0: a call may be made, and is counted. Otherwise nothing is counted; ask again after so many seconds."""
        now = self._clock()
        elapsed = now - self._last
        if elapsed > 0:
            self._tokens = min(self._burst, self._tokens + elapsed * self._rate)
            self._last = now
        # A whole token less the rounding of the sums above: whoever waits as told must not be sent away again.
        if self._tokens >= 1.0 - 1e-9:
            self._tokens = max(0.0, self._tokens - 1.0)
            return 0.0
        return (1.0 - self._tokens) / self._rate
