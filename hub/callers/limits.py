"""How often: token buckets for callers, and who is restricted after too many refused calls. In memory, for one process."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass

from hub.callers.model import Limits

__all__ = ["AbuseRule", "Buckets", "Offences"]

_MOST = 10_000


class Buckets:
    """One token bucket for each caller with a rate."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}  # caller -> (calls left, at)

    def take(self, caller: str, limits: Limits, now: float) -> int:
        """0 for a call that may be made at ``now`` (seconds of any steady clock), else the seconds to wait."""
        pace = limits.per_second
        most = float(limits.burst or max(1.0, pace))
        left, at = self._left.get(caller, (most, now))
        left = min(most, left + (now - at) * pace)
        if left < 1.0:
            self._left[caller] = left, now
            return max(1, math.ceil((1.0 - left) / pace))
        self._left[caller] = left - 1.0, now
        return 0


@dataclass(frozen=True, slots=True)
class AbuseRule:
    """``refused`` calls within ``within`` seconds are too many; restricted for ``restrict`` seconds."""

    refused: int
    within: float
    restrict: float


class Offences:
    """Refused calls of each subject (an address, a caller) within the window; who offended longest ago is forgotten first."""

    __slots__ = ("_at", "_rule")

    def __init__(self, rule: AbuseRule) -> None:
        self._rule = rule
        self._at: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, subject: str, now: float) -> bool:
        """One more; True when it is one too many, and the count begins anew."""
        times = self._at.pop(subject, None) or deque(maxlen=self._rule.refused)
        times.append(now)
        if len(times) >= self._rule.refused and now - times[0] <= self._rule.within:
            return True
        self._at[subject] = times
        if len(self._at) > _MOST:
            self._at.popitem(last=False)
        return False

    def clear(self, subject: str) -> None:
        self._at.pop(subject, None)
