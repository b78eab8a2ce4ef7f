"""A circuit breaker: stop calling a target that keeps failing, try one call now and then, go on when it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from hub.contract import Breaker

__all__ = ["CircuitBreaker", "State"]

State = Literal["closed", "open", "half_open"]

_LONGEST_LOOK = 1.0  # seconds; how often to ask again while a trial call is under way


class CircuitBreaker:
    """The breaker of one target. ``clock`` returns seconds and never goes back (``time.monotonic``).

    Every ``allow()`` that said yes is answered by exactly one of ``success()``, ``failure()`` and ``release()``. Calls let
    through before the breaker opened may end afterwards: a success closes the breaker whenever it comes, since the
    target does answer; a failure tells nothing new while the breaker is open.
    """

    __slots__ = ("_clock", "_failures", "_opened", "_pause", "_settings", "_trial", "_until")

    def __init__(self, settings: Breaker, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._failures = 0  # in a row
        self._opened = False
        self._until = 0.0  # when the next trial call may be made
        self._pause = 0.0
        self._trial = False  # a trial call is under way

    @property
    def state(self) -> State:
        """``closed``: calls go through; ``open``: none does; ``half_open``: one at a time, to see whether the target is back."""
        if not self._opened:
            return "closed"
        return "half_open" if self._trial or self._clock() >= self._until else "open"

    def allow(self) -> bool:
        """May a call be made now? Yes, in ``half_open``, makes it the trial call."""
        if not self._opened:
            return True
        if self._trial or self._clock() < self._until:
            return False
        self._trial = True
        return True

    def release(self) -> None:
        """The call that was allowed was not made, or its end says nothing about the target."""
        self._trial = False

    def success(self) -> None:
        """The target answered."""
        self._failures = 0
        self._opened = False
        self._trial = False
        self._pause = 0.0

    def failure(self, unreachable: bool) -> None:
        """The call failed by the target's fault; ``unreachable``: it could not be reached at all, which opens at once."""
        if self._opened:
            if self._trial:
                self._trial = False
                self._open()
            return
        self._failures += 1
        if unreachable or self._failures >= self._settings.failures:
            self._open()

    def retry_in(self) -> float:
        """Seconds after which asking ``allow()`` again makes sense; 0 when it would say yes now."""
        if not self._opened:
            return 0.0
        if self._trial:
            return min(self._pause, _LONGEST_LOOK)
        return max(0.0, self._until - self._clock())

    def _open(self) -> None:
        self._opened = True
        longest = max(self._settings.open_for, self._settings.max_open_for)
        self._pause = min(self._pause * 2, longest) if self._pause else self._settings.open_for
        self._until = self._clock() + self._pause
