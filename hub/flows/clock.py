"""The time by which flows go: that of the machine, but not each of its jumps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Clock"]

#: A difference to the time that went by is believed at once when it is smaller, else when it has lasted for so long; seconds.
_SMALL_S, _LASTING_S = 2.0, 60.0


class Clock:
    """Microseconds since the epoch, never less than before.

    A clock that jumps (a wrong answer of a time server, a virtual machine that was halted) must not let every deadline pass at once:
    for a minute flows go on by the time that went by, and only then by what the clock says.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic, at_least: int = 0
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()
        self._since: float | None = None  # steady time from which on the clock has said something else
        self._last = at_least
        self._lock = threading.Lock()  # the loop asks, and the thread of the file

    def __call__(self) -> int:
        with self._lock:
            return self._now()

    def _now(self) -> int:
        steady = self._steady()
        offset = self._wall() - steady
        if abs(offset - self._offset) <= _SMALL_S:
            self._offset, self._since = offset, None
        elif self._since is None:
            self._since = steady
        elif steady - self._since >= _LASTING_S:
            self._offset, self._since = offset, None
        self._last = max(self._last, int((steady + self._offset) * 1e6))
        return self._last
