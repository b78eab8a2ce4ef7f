"""An interface that nobody calls and that reads nothing: a message each time the clock says so (002:942 timed, 004:8112 end of day)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

from adapters.polling import PollingReceiver, Run
from adapters.schedule import Schedule
from hub.api import Adapter, Bound, IntakePort, Item, Receiver
from hub.i18n import t

__all__ = ["TimerAdapter", "TimerListen"]

_OWN = ("time", "day", "yesterday")


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
    """Each run is one message; the minute of a cron line, or the moment, is its number, so that it counts once."""

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
        when = datetime.fromtimestamp(run.started, self._zone)
        by_cron = self._options.schedule.cron and run.reason != "manual"
        number = when.strftime("%Y%m%d%H%M") if by_cron else when.isoformat(timespec="milliseconds")
        content = {
            "time": when.isoformat(timespec="seconds"),
            "day": when.date().isoformat(),
            "yesterday": (when.date() - timedelta(days=1)).isoformat(),
            **self._options.message,
        }
        await self.take(run, [Item(orjson.dumps(content), control_id=number)])

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
