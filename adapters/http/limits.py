"""How many calls an interface takes: a token bucket for each caller."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from typing import Literal

from pydantic import Field

from adapters.http.option_types import Options
from adapters.http.problem import Refusal
from hub.contract import Duration

__all__ = ["RateLimit", "RateLimiter", "shown_by"]

#: Callers remembered; the one that called longest ago is forgotten first, which lets it begin anew.
_MOST = 10_000


class RateLimit(Options):
    """Further calls are refused with 429 and the time to wait."""

    calls: int = Field(ge=1, description="calls taken within ``within``, also all at once")
    within: Duration = Field(1.0, gt=0)
    per: Literal["address", "credentials", "interface"] = Field(
        "address", description="who has an allowance of its own: each address, each credential shown, or all together"
    )


class RateLimiter:
    """The ``rate`` option of one interface."""

    __slots__ = ("_buckets", "_burst", "_pace", "per")

    def __init__(self, options: RateLimit) -> None:
        self.per = options.per
        self._burst = float(options.calls)
        self._pace = options.calls / options.within
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> (calls left, at)

    def take(self, caller: str, now: float) -> None:
        """One call at ``now`` (seconds of any steady clock); raises :class:`Refusal` when there are none left."""
        left, at = self._buckets.pop(caller, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._pace)
        allowed = left >= 1.0
        self._buckets[caller] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = math.ceil((1.0 - left) / self._pace)
            raise Refusal(
                429,
                "http.rate",
                ("too many calls", "调用过于频繁"),
                (
                    "call less often; Retry-After says when the next is taken",
                    "请降低调用频率，Retry-After 给出可再次调用的时间",
                ),
                {"Retry-After": str(max(wait, 1))},
            )


def shown_by(header: str) -> str:
    """A caller's credentials as a key that tells nothing of them."""
    return hashlib.blake2b(header.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
