"""A message when the clock says so."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
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
    """All or nothing, as the hub's own intake."""

    def __init__(self, mark: str = "") -> None:
        self.items: list[Item] = []
        self.kept = mark
        self.killed = False  # after the commit

    async def mark(self, bound: Bound, name: str = "") -> str:
        return self.kept

    def note_run(self, bound: Bound, **more: Any) -> None:
        """Nobody looks at the run log here."""

    async def take(self, bound: Bound, items: list[Item], mark: str | None = None, **more: Any) -> list[Receipt]:
        if self.killed:
            await asyncio.Event().wait()
        self.items += items
        if mark is not None:
            self.kept, self.killed = mark, True
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
        "time": "2026-03-01T00:30:00+08:00",
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


async def _started(kept: Kept, **schedule: Any) -> list[dict[str, Any]]:
    """What a timer makes from its start until it is killed after its first commit with a mark."""
    bound = cast(Bound, type("Place", (), {"options": TimerListen(schedule=schedule), "place": "till/daily"})())
    receiver = TimerAdapter().receiver(bound, cast(IntakePort, kept))
    await receiver.start()
    try:
        async with asyncio.timeout(20):
            while not kept.killed:
                await asyncio.sleep(0.01)
    finally:
        await receiver.stop(0)
    return [orjson.loads(item.raw) for item in kept.items]


async def test_what_was_missed_is_made_up_for_day_by_day_and_killed_at_the_first_commit_nothing_is_lost() -> None:
    now = datetime.now(CHINA)
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    passed = noon if noon <= now else noon - timedelta(days=1)
    kept = Kept(str((passed - timedelta(days=2, hours=1)).timestamp()))
    made = await _started(kept, cron="0 12 * * *")
    days = [(passed - timedelta(days=days)).date().isoformat() for days in (2, 1, 0)]
    assert [one["day"] for one in made] == days
    assert [one["time"][11:] for one in made] == ["12:00:00+08:00"] * 3


def _schedule(**options: Any) -> Any:
    return TimerListen(schedule={"cron": "30 0 * * *", **options}).schedule


def test_the_times_that_are_made_up_for() -> None:
    day = 86_400.0
    begin = NIGHT - 17
    assert _schedule().moments(NIGHT - 3 * day, NIGHT, 10) == ([begin - 2 * day, begin - day, begin], False)
    assert _schedule().moments(NIGHT - 3 * day, NIGHT, 2) == ([begin - day, begin], True)
    assert _schedule(missed="skip").moments(NIGHT - 3 * day, NIGHT, 10) == ([begin], False)
    assert _schedule().moments(None, NIGHT, 10) == ([begin], False)
    assert _schedule().moments(NIGHT + 300 * day, NIGHT, 10) == ([begin], False)  # the clock was a year ahead
    assert _schedule().moments(begin, NIGHT + 60, 10) == ([], False)  # done already
    sunday = _schedule(between=["SUN 00:00-06:00"])
    assert sunday.moments(NIGHT - 8 * day, NIGHT, 10) == ([begin - 7 * day, begin], False)
