"""Interfaces that are read rather than listened to: one run at a time, when the schedule or a person says so.

What all of them have in common stands here: waiting, going on after a failure, stopping, the run log. An adapter says how one run
goes (:meth:`PollingReceiver.read`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from adapters.schedule import Schedule
from hub.api import Bound, HubError, IntakePort, Item, Receipt, Receiver, StoreBusy
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text
from hub.message import Outcome
from hub.tasks import end

__all__ = ["LAST", "PollingReceiver", "Run"]

log = get_logger(__name__)

#: Name of the mark that says when the last run by cron began.
LAST = "last run"
#: Longest time without a look at the clock: somebody may set it.
_LOOK_S = 30.0
#: Pauses after runs that failed, seconds: doubled from the first up to the longest.
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 300.0
#: Runs the status shows.
_SHOWN = 10


@dataclass(slots=True)
class Run:
    """One run of reading a source, and its entry in the run log."""

    started: float  # Unix seconds
    reason: str  # "schedule", "manual", "again": after a failure
    taken: int = 0
    duplicates: int = 0
    refused: int = 0
    took: float = 0.0  # seconds
    error: str = ""
    details: dict[str, str] = field(default_factory=dict)  # of the adapter, for the log

    def as_dict(self) -> dict[str, Any]:
        return {
            "started": datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds"),
            "reason": self.reason,
            "taken": self.taken,
            "duplicates": self.duplicates,
            "refused": self.refused,
            "took_s": round(self.took, 3),
            "error": self.error,
            **self.details,
        }


class PollingReceiver(Receiver):
    """Reads a source again and again. Subclasses implement :meth:`read` and :meth:`probe`."""

    #: Time between runs where the schedule says nothing, seconds.
    default_every = 60.0
    #: Whether :meth:`read` keeps the mark of a run by cron itself, in one commit with what it takes.
    keeps_last = False

    def __init__(self, bound: Bound, intake: IntakePort, schedule: Schedule) -> None:
        self.bound = bound
        self.intake = intake
        self._schedule = schedule
        self._asked = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._run: Run | None = None
        self._runs: deque[Run] = deque(maxlen=_SHOWN)
        self._next: float | None = None
        self._failures = 0
        self._made = 0
        self._known_last: float | None = None  # when the run before this start began

    # -- for adapters --------------------------------------------------------------------------------------------

    @abstractmethod
    async def read(self, run: Run) -> None:
        """Read what is new, page by page through :meth:`take`, until there is nothing more or :meth:`go_on` says no.

        Raises :class:`HubError` when the source can't be read; what was taken stays taken.
        """

    @property
    def source(self) -> str:
        """What is read, for the call log: an address, a folder, a table; no secrets."""
        return ""

    def go_on(self, run: Run) -> bool:
        """Asked between pages: False when the interface stops or its time window ends."""
        return not self._stopping and (run.reason == "manual" or self._schedule.open_at(time.time()))

    async def take(self, run: Run, items: Sequence[Item], mark: str | None = None, name: str = "") -> list[Receipt]:
        """Hand over one page; waits, and tries again, while the store can't take it."""
        pause = 0.1
        while True:
            try:
                receipts = await self.intake.take(self.bound, items, mark=mark, name=name, remote=self.source)
                break
            except StoreBusy:
                if self._stopping:
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
        for receipt in receipts:
            if receipt.outcome is Outcome.OK and receipt.error is None:  # most of them
                run.taken += 1
            elif not receipt.accepted:
                run.refused += 1
            elif receipt.outcome is Outcome.DUPLICATE:
                run.duplicates += 1
            else:
                run.taken += 1
        return receipts

    # -- hub.api.Receiver ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._task = asyncio.create_task(self._loop(), name=f"read {self.bound.place}")

    async def stop(self, grace: float) -> None:
        self._stopping = True
        self._asked.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=grace)
            await end(self._task)

    def run_now(self) -> None:
        self._asked.set()

    def status(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "running": self._run.as_dict() if self._run is not None else None,
            "next_run": None
            if self._next is None
            else datetime.fromtimestamp(self._next, UTC).isoformat(timespec="seconds"),
            "failures_in_a_row": self._failures,
            "runs_made": self._made,
            "runs": [run.as_dict() for run in reversed(self._runs)],
        }

    # -- the loop ------------------------------------------------------------------------------------------------

    async def _loop(self) -> None:
        last = self._known_last = await self._last_run()
        while not self._stopping:
            reason = await self._wait(last)
            if self._stopping:
                return
            run = Run(time.time(), reason)
            last = run.started
            await self._do(run)

    async def _last_run(self) -> float | None:
        """When a run by cron began last, before this start; unreadable means never."""
        if not self._schedule.cron:
            return None
        try:
            mark = await self.intake.mark(self.bound, LAST)
            return float(mark) if mark else None
        except (HubError, ValueError):
            return None

    async def _wait(self, last: float | None) -> str:
        """Sleep until a run is due; says why."""
        decided = False
        while True:
            now = time.time()
            if self._failures:
                pause = min(_FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 30), _LONGEST_PAUSE_S)
                wanted: float | None = (last or now) + pause
                reason = "again"
            else:
                if not decided:
                    self._next = self._schedule.next_run(now, last, self.default_every)
                    decided = True
                wanted, reason = self._next, "schedule"
            if wanted is not None and wanted > now + 2 * 366 * 86400:
                wanted = now  # the clock was set back by years
            self._next = wanted
            left = _LOOK_S if wanted is None else min(wanted - now, _LOOK_S)
            if left <= 0:
                return reason
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._asked.wait()
                self._asked.clear()
                return "manual"

    async def _do(self, run: Run) -> None:
        self._run = run
        began = time.monotonic()
        failure: HubError | None = None
        try:
            if self._schedule.cron and not self.keeps_last:
                await self.take(run, [], f"{run.started:.3f}", LAST)
            await self.read(run)
            self._failures = 0
        except asyncio.CancelledError:
            run.error = t("stopped", "已停止")
            raise
        except HubError as error:
            failure = error
        except Exception as error:
            log.exception("%s: reading failed unexpectedly", self.bound.place)
            failure = HubError(
                t(f"reading failed: {type(error).__name__}", f"读取失败：{type(error).__name__}"), code="hub.unexpected"
            )
        finally:
            run.took = time.monotonic() - began
            self._run = None
            self._runs.append(run)
            self._made += 1
        if failure is not None:
            self._failures += 1
            run.error = mask_text(failure.text)
            log.warning("%s: %s", self.bound.place, run.error)
        # A run that found nothing says nothing new: one a second would bury the others.
        if failure is not None or run.taken or run.refused or run.reason == "manual" or self._schedule.cron:
            self.intake.note_run(
                self.bound,
                started_us=int(run.started * 1e6),
                params=_counts(run),
                error=failure,
                remote=self.source,
            )


def _counts(run: Run) -> Mapping[str, str]:
    counts = {"taken": run.taken, "duplicates": run.duplicates, "refused": run.refused}
    return {"run": run.reason} | {name: str(value) for name, value in counts.items() if value} | run.details
