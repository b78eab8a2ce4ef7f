"""Testing connections on demand: what an operator asks before a go-live, and what probes will ask by the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hub.api import Receiver
from hub.delivery.target import Target
from hub.errors import HubError, SendError
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text

__all__ = ["ProbeResult", "probe"]

log = get_logger(__name__)

#: Longest time a probe may take beyond the timeout of its interface, seconds.
_OVERDUE_S = 5.0


@dataclass(slots=True)
class ProbeResult:
    """How one interface answered; ``code`` is empty when it is well."""

    place: str
    direction: str  # "in" or "out"
    text: str
    code: str = ""
    took_ms: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "place": self.place,
            "direction": self.direction,
            "ok": not self.code,
            "text": self.text,
            "code": self.code,
            "took_ms": self.took_ms,
        }


async def probe(name: str, receivers: Mapping[str, Receiver], targets: Mapping[str, Target]) -> list[ProbeResult]:
    """Test every interface of a system, or one by ``system/interface``, all at once; in the order of their names.

    Nothing is changed at the other side. An adapter that hangs or fails is a result like any other.
    """

    def chosen(place: str) -> bool:
        return place == name or place.partition("/")[0] == name

    tests = [
        _one(place, "in", receiver.probe, 30.0) for place, receiver in sorted(receivers.items()) if chosen(place)
    ] + [
        _one(place, "out", target.sender.probe, target.plan.bound.contract.timeout)
        for place, target in sorted(targets.items())
        if chosen(place)
    ]
    return await asyncio.gather(*tests)


async def _one(place: str, direction: str, test: Callable[[], Awaitable[str]], limit: float) -> ProbeResult:
    begun = time.perf_counter()
    result = ProbeResult(place, direction, "")
    try:
        async with asyncio.timeout(limit + _OVERDUE_S):
            result.text = await test()
    except TimeoutError:
        result.text, result.code = t("no answer within the timeout", "超时未应答"), "send.timeout"
    except HubError as error:
        result.text = mask_text(error.text)
        result.code = error.code or SendError.code
    except Exception as error:
        # A bug in an adapter must not keep the results of the others from whoever asked (invariant 5).
        log.exception("the probe of %s failed unexpectedly", place)
        result.text, result.code = mask_text(repr(error)), "hub.unexpected"
    result.took_ms = round((time.perf_counter() - begun) * 1000, 1)
    return result
