"""The same thing again and again, a screen that refreshes itself or a scanner that knocks, is one entry and then one that counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hub.audit.chain import canonical
from hub.audit.entries import Result
from hub.audit.trail import Trail

__all__ = ["Repeats"]

#: What comes again within so many seconds is counted.
WINDOW_S = 60.0
#: Different things counted at a time; whatever comes beyond is written each time.
MOST = 5_000


@dataclass(slots=True)
class _Seen:
    until: float
    again: int = 0
    records: int = 0


class Repeats:
    """Writes the first of equal entries at once and, when a minute is over, how often it came again. Safe for several threads."""

    def __init__(self, trail: Trail, clock: Callable[[], float] = time.monotonic) -> None:
        self._trail = trail
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str, str, str, str, str], _Seen] = {}

    def record(
        self,
        actor: str,
        action: str,
        subject: str,
        detail: Mapping[str, Any],
        *,
        address: str,
        result: Result = "",
        records: int = 0,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """``detail`` is what has to be equal; ``more`` and ``records`` are only in the first entry, the latter is summed up as well.

        Raises :class:`~hub.audit.errors.AuditUnwritable` when the first entry can't be written.
        """
        key = (actor, address, action, subject, result, canonical(detail))
        with self._lock:
            seen = self._seen.get(key)
            if seen is not None and self._clock() < seen.until:
                seen.again += 1
                seen.records += records
                return
        self.flush()
        whole = {**detail, "records": records, **(more or {})} if records or more else detail
        self._trail.record(actor, action, subject, whole, address=address, result=result)
        with self._lock:
            if len(self._seen) < MOST:
                self._seen[key] = _Seen(self._clock() + WINDOW_S)

    def flush(self, everything: bool = False) -> None:
        """Write down what came again, where its minute is over. Raises ``AuditUnwritable``; then it is counted on."""
        now = self._clock()
        with self._lock:
            over = [(key, seen) for key, seen in self._seen.items() if everything or now >= seen.until]
            for key, _ in over:
                del self._seen[key]
        for number, (key, seen) in enumerate(over):
            if not seen.again:
                continue
            actor, address, action, subject, result, _ = key
            detail = {"again": seen.again, **({"records": seen.records} if seen.records else {})}
            try:
                self._trail.record(actor, action, subject, detail, address=address, result=result)  # type: ignore[arg-type]
            except BaseException:
                with self._lock:
                    for left, count in over[number:]:
                        self._seen.setdefault(left, count)
                raise
