"""When an interface that is read, rather than listened to, is read: the ``schedule`` option of such adapters.

Real time, timed and by hand (002:906, 942), at an interval or by a cron line, within time windows that avoid the busy hours (004:10191).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hub.contract import Duration
from hub.windows import Window, known_zone

__all__ = ["Schedule", "Window"]

#: Cron times that are looked at to find one inside the windows: every minute of a fortnight.
_TRIES = 20_160


class Schedule(BaseModel):
    """When to read. Without ``every`` and ``cron``: at the adapter's own interval."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: Duration | None = Field(None, ge=0.1, description="time from the beginning of one run to that of the next")
    cron: str = Field("", description="five fields, e.g. '30 2 * * *' or '*/10 8-18 * * MON-FRI'; instead of every")
    tz: str = Field("Asia/Shanghai", description="time zone of cron and between")
    between: list[str] = Field(
        default_factory=list,
        description="runs begin only within these windows, e.g. 22:00-06:00 or MON-FRI 12:00-13:30; at the end of a "
        "window a run stops after the page it is at and goes on in the next",
    )
    jitter: Duration = Field(
        0.0,
        ge=0,
        description="each run is put off by a time drawn by chance up to so much, so that not all begin at once",
    )
    missed: Literal["run", "skip"] = Field(
        "run", description="cron: whether a time that went by while the hub was not running is made up for at its start"
    )
    manual: bool = Field(False, description="only when somebody asks for it: hub poll SYSTEM/INTERFACE")

    @field_validator("tz")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        return known_zone(name)

    @field_validator("between")
    @classmethod
    def _sound_windows(cls, texts: list[str]) -> list[str]:
        for text in texts:
            Window(text)
        return texts

    @model_validator(mode="after")
    def _one_way(self) -> Schedule:
        if self.cron:
            if self.every is not None:
                raise ValueError("every and cron exclude each other; keep one of them")
            if len(self.cron.split()) != 5:
                raise ValueError("cron has five fields: minute hour day-of-month month day-of-week")
            try:
                next(CronSim(self.cron, datetime(2026, 1, 1, tzinfo=UTC)))
            except (CronSimError, StopIteration) as error:
                raise ValueError(f"cron: {error or 'it never comes'}; write e.g. '30 2 * * *'") from None
            if self.between and self._next_cron(datetime(2026, 1, 1, tzinfo=self._zone)) is None:
                raise ValueError("no time of cron lies within between; correct one of them")
        if self.manual and (self.cron or self.every is not None):
            raise ValueError("manual excludes every and cron")
        return self

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.tz)

    @cached_property
    def _windows(self) -> tuple[Window, ...]:
        return tuple(Window(text) for text in self.between)

    def open_at(self, now: float) -> bool:
        """Whether a run may go on at this time (Unix seconds)."""
        when = datetime.fromtimestamp(now, self._zone)
        return not self._windows or any(window.holds(when) for window in self._windows)

    def next_run(
        self, now: float, last: float | None, default: float, chance: Callable[[], float] = random.random
    ) -> float | None:
        """Unix time of the next run, which may have gone by; None: by hand only.

        ``last`` is when the last run began, None when there was none; ``default`` the adapter's interval, seconds.
        """
        if self.manual:
            return None
        delay = self.jitter * chance()
        if self.cron:
            base = last if last is not None and self.missed == "run" else now
            found = self._next_cron(datetime.fromtimestamp(min(base, now), self._zone))
            return None if found is None else found.timestamp() + delay
        # A clock that was set back must not hold up reading for as long as it was wrong.
        pause = default if self.every is None else self.every
        wanted = now if last is None else min(max(now, last + pause), now + pause)
        if not self.open_at(wanted):
            when = datetime.fromtimestamp(wanted, self._zone)
            wanted = min(window.next_begin(when).timestamp() for window in self._windows)
        return wanted + delay

    def moments(self, since: float | None, until: float, most: int) -> tuple[list[float], bool]:
        """The times of ``cron`` after ``since`` and up to ``until`` (Unix seconds), oldest first; the last ``most`` and whether there are more.

        Only the last where nothing is made up for (``missed: skip``), where no earlier run is known, and where the clock was set back.
        """
        alone = since is None or since >= until or self.missed == "skip"
        found: list[float] = []
        after = datetime.fromtimestamp(int(until) + 1, self._zone)
        for number, when in enumerate(CronSim(self.cron, after, reverse=True)):
            moment = when.timestamp()
            if (not alone and since is not None and moment <= since) or number >= _TRIES:
                break
            if self._windows and not any(window.holds(when) for window in self._windows):
                continue
            if len(found) == most:
                return found[::-1], True
            found.append(moment)
            if alone:
                break
        return found[::-1], False

    def _next_cron(self, after: datetime) -> datetime | None:
        for number, found in enumerate(CronSim(self.cron, after)):
            if not self._windows or any(window.holds(found) for window in self._windows):
                return found
            if number >= _TRIES:
                break
        return None
