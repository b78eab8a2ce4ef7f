"""A message when the clock says so."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

import orjson
import pytest
from pydantic import ValidationError

from adapters.polling import Run
from adapters.timer import TimerAdapter, TimerListen
from hub.api import Bound, IntakePort, Item, Receipt
from hub.message import Outcome

CHINA = ZoneInfo("Asia/Shanghai")
#: 00:30 on the first day of a month in Beijing, still the day before in UTC.
NIGHT = datetime(2026, 3, 1, 0, 30, 17, tzinfo=CHINA).timestamp()


class Kept:
    def __init__(self) -> None:
        self.items: list[Item] = []

    async def take(self, bound: Bound, items: list[Item], **more: Any) -> list[Receipt]:
        self.items += items
        return [Receipt(Outcome.OK) for _ in items]


async def taken(reason: str = "schedule", **options: Any) -> Item:
    kept = Kept()
    bound = cast(Bound, type("Place", (), {"options": TimerListen(**options), "place": "till/daily"})())
    receiver = TimerAdapter().receiver(bound, cast(IntakePort, kept))
    await cast(Any, receiver).read(Run(NIGHT, reason))
    return kept.items[0]


async def test_the_message_names_the_days_of_its_time_zone() -> None:
    item = await taken(schedule={"cron": "30 0 * * *"}, message={"task": "reconcile"})
    assert orjson.loads(item.raw) == {
        "time": "2026-03-01T00:30:17+08:00",
        "day": "2026-03-01",
        "yesterday": "2026-02-28",
        "task": "reconcile",
    }
    utc = await taken(schedule={"cron": "30 0 * * *", "tz": "UTC"})
    assert orjson.loads(utc.raw)["day"] == "2026-02-28"


async def test_a_run_by_cron_counts_once_a_minute_and_others_each_time() -> None:
    assert (await taken(schedule={"cron": "30 0 * * *"})).control_id == "202603010030"
    assert (await taken("manual", schedule={"cron": "30 0 * * *"})).control_id == "2026-03-01T00:30:17.000+08:00"
    assert (await taken(schedule={"every": "10s"})).control_id == "2026-03-01T00:30:17.000+08:00"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"schedule": {}}, "say when"), ({"schedule": {"every": 60}, "message": {"day": 1}}, "set by the timer itself")],
)
def test_wrong_settings(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        TimerListen(**wrong)
