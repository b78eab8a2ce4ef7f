"""An interface that nobody calls and that reads nothing: a message each time the clock says so (002:942 timed, 004:8112 end of day)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

from adapters.polling import LAST, PollingReceiver, Run
from adapters.schedule import Schedule
from hub.api import Adapter, Bound, IntakePort, Item, Receiver
from hub.i18n import t
from hub.logs import get_logger

__all__ = ["TimerAdapter", "TimerListen"]

log = get_logger(__name__)

_OWN = ("time", "day", "yesterday")
#: Times made up for after the hub was not running, the last ones.
_MOST = 100


class TimerListen(BaseModel):
    """``listen`` of the adapter ``timer``. The message is ``{time, day, yesterday}`` in the time zone of the schedule, and ``message``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schedule: Schedule = Field(description="when; one of cron, every, manual")
    message: dict[str, Any] = Field(default_factory=dict, description="further fields of the message")

    @field_validator("schedule")
    @classmethod
    def _said(cls, schedule: Schedule) -> Schedule:
        if not schedule.cron and schedule.every is None and not schedule.manual:
            raise ValueError("say when: cron, every or manual")
        return schedule

    @field_validator("message")
    @classmethod
    def _own_names(cls, message: dict[str, Any]) -> dict[str, Any]:
        taken = [name for name in _OWN if name in message]
        if taken:
            raise ValueError(f"{', '.join(taken)} is set by the timer itself; choose another name")
        return message


class TimerReceiver(PollingReceiver):
    """Each time of a cron line is one message, numbered by its minute, so that it counts once; any other run is one as well."""

    keeps_last = True

    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        options = bound.options
        assert isinstance(options, TimerListen)  # noqa: S101 - the kernel fills the adapter's own model
        super().__init__(bound, intake, options.schedule)
        self._options = options
        self._zone = ZoneInfo(options.schedule.tz)

    @property
    def source(self) -> str:
        return "timer"

    async def read(self, run: Run) -> None:
        schedule = self._options.schedule
        if not schedule.cron or run.reason == "manual":
            when = datetime.fromtimestamp(run.started, self._zone)
            await self.take(run, [self._item(when, when.isoformat(timespec="milliseconds"))])
            return
        moments, more = schedule.moments(self._known_last, run.started, _MOST)
        if more:
            log.warning("%s: only the last %d of the times that went by are made up for", self.bound.place, _MOST)
        times = [datetime.fromtimestamp(moment, self._zone) for moment in moments]
        items = [self._item(when, when.strftime("%Y%m%d%H%M")) for when in times]
        # One commit: a crash must not leave a time that counts as done and a message that was never made.
        await self.take(run, items, f"{run.started:.3f}", LAST)
        self._known_last = run.started

    def _item(self, when: datetime, number: str) -> Item:
        content = {
            "time": when.isoformat(timespec="seconds"),
            "day": when.date().isoformat(),
            "yesterday": (when.date() - timedelta(days=1)).isoformat(),
            **self._options.message,
        }
        return Item(orjson.dumps(content), control_id=number)

    async def probe(self) -> str:
        return t("the clock needs no connection", "定时器无需连接")


class TimerAdapter(Adapter):
    """Receives only."""

    name: ClassVar[str] = "timer"
    listen_options: ClassVar[type[BaseModel] | None] = TimerListen
    reads_source: ClassVar[bool] = True
    alone: ClassVar[bool] = True
    opaque: ClassVar[bool] = False

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return TimerReceiver(bound, intake)
