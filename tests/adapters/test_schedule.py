"""When a source is read: intervals, cron lines, time windows, chance, times missed while the hub was not running."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.schedule import Schedule, Window

BEIJING = ZoneInfo("Asia/Shanghai")


def at(*parts: int, zone: ZoneInfo = BEIJING) -> float:
    return datetime(*parts, tzinfo=zone).timestamp()  # type: ignore[misc]


def shown(when: float | None, zone: ZoneInfo = BEIJING) -> str:
    return "" if when is None else datetime.fromtimestamp(when, zone).strftime("%Y-%m-%d %H:%M:%S")


def test_the_first_run_is_at_once_and_the_next_after_the_interval() -> None:
    now = at(2026, 3, 2, 10, 0)
    assert Schedule().next_run(now, None, 60) == now
    assert Schedule().next_run(now, now, 60) == now + 60
    assert Schedule(every="5m").next_run(now, now - 20, 60) == now + 280
    assert Schedule(every="5m").next_run(now, now - 4000, 60) == now


def test_a_clock_set_back_does_not_hold_up_an_interval() -> None:
    now = at(2026, 3, 2, 10, 0)
    assert Schedule(every="5m").next_run(now, now + 86_400 * 30, 60) == now + 300


def test_cron_lines_are_read_in_their_time_zone() -> None:
    now = at(2026, 3, 2, 10, 0)
    assert shown(Schedule(cron="30 2 * * *").next_run(now, None, 60)) == "2026-03-03 02:30:00"
    assert shown(Schedule(cron="30 2 * * *", tz="UTC").next_run(now, None, 60)) == "2026-03-02 10:30:00"
    assert (
        shown(Schedule(cron="*/10 8-18 * * MON-FRI").next_run(at(2026, 3, 6, 18, 55), None, 60))
        == "2026-03-09 08:00:00"
    )


def test_a_cron_time_in_the_hour_that_summer_time_leaves_out_is_not_lost() -> None:
    new_york = ZoneInfo("America/New_York")
    schedule = Schedule(cron="30 2 * * *", tz="America/New_York")
    found = schedule.next_run(at(2026, 3, 7, 12, zone=new_york), None, 60)
    assert shown(found, new_york) == "2026-03-08 03:00:00"


def test_a_missed_time_is_made_up_for_once_or_skipped() -> None:
    last, now = at(2026, 3, 2, 2, 30), at(2026, 3, 5, 10, 0)
    assert shown(Schedule(cron="30 2 * * *").next_run(now, last, 60)) == "2026-03-03 02:30:00"  # has gone by: at once
    assert shown(Schedule(cron="30 2 * * *").next_run(now, now, 60)) == "2026-03-06 02:30:00"
    assert shown(Schedule(cron="30 2 * * *", missed="skip").next_run(now, last, 60)) == "2026-03-06 02:30:00"


def test_runs_begin_within_the_windows_only() -> None:
    schedule = Schedule(every="1h", between=["22:00-06:00", "MON-FRI 12:00-13:30"])
    friday, saturday = at(2026, 3, 6, 9, 0), at(2026, 3, 7, 9, 0)
    assert shown(schedule.next_run(friday, None, 60)) == "2026-03-06 12:00:00"
    assert shown(schedule.next_run(saturday, None, 60)) == "2026-03-07 22:00:00"
    inside = at(2026, 3, 7, 23, 10)
    assert schedule.next_run(inside, None, 60) == inside
    assert schedule.open_at(at(2026, 3, 8, 5, 59))
    assert not schedule.open_at(at(2026, 3, 8, 6, 0))
    assert (
        shown(Schedule(cron="0 * * * *", between=["22:30-06:00"]).next_run(friday, None, 60)) == "2026-03-06 23:00:00"
    )


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    window = Window("FRI 22:00-06:00")
    assert window.holds(datetime(2026, 3, 6, 23, 0))
    assert window.holds(datetime(2026, 3, 7, 5, 59))
    assert not window.holds(datetime(2026, 3, 6, 5, 0))
    assert not window.holds(datetime(2026, 3, 7, 23, 0))
    assert Window("SAT-MON 00:00-24:00").holds(datetime(2026, 3, 8, 23, 59))
    assert not Window("SAT-MON 00:00-24:00").holds(datetime(2026, 3, 10, 0, 0))


def test_jitter_puts_off_and_never_forward() -> None:
    now = at(2026, 3, 2, 10, 0)
    schedule = Schedule(every="1m", jitter="10s")
    assert schedule.next_run(now, now, 60, lambda: 0.0) == now + 60
    assert schedule.next_run(now, now, 60, lambda: 0.5) == now + 65


def test_manual_never_runs_by_itself() -> None:
    assert Schedule(manual=True).next_run(at(2026, 3, 2), None, 60) is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cron": "* * * *"}, "five fields"),
        ({"cron": "0 0 31 2 *"}, "cron: "),
        ({"cron": "61 * * * *"}, "cron: "),
        ({"cron": "0 12 * * *", "between": ["22:00-06:00"]}, "within between"),
        ({"cron": "0 12 * * *", "every": "5m"}, "exclude each other"),
        ({"manual": True, "every": "5m"}, "manual excludes"),
        ({"tz": "Asia/Peking"}, "time zone"),
        ({"tz": "../../etc/passwd"}, "time zone"),
        ({"between": ["25:00-06:00"]}, "00:00 to 24:00"),
        ({"between": ["10:00-10:00"]}, "empty"),
        ({"between": ["MOO 10:00-11:00"]}, "days are MON"),
        ({"between": ["at night"]}, "not a time window"),
        ({"every": "10ms"}, "greater than or equal to 0.1"),
    ],
)
def test_what_is_wrong_is_said_with_the_remedy(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Schedule(**options)


minutes = st.integers(0, 24 * 60 - 1)


@given(begin=minutes, length=st.integers(1, 24 * 60 - 1), offset=st.integers(0, 14 * 24 * 60), days=st.integers(0, 6))
def test_the_next_beginning_is_the_first_moment_a_window_holds(begin: int, length: int, offset: int, days: int) -> None:
    end = (begin + length) % (24 * 60)
    names = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
    text = f"{names[days]}-{names[(days + 2) % 7]} {begin // 60}:{begin % 60:02d}-{end // 60}:{end % 60:02d}"
    window = Window(text)
    now = datetime(2026, 3, 2) + timedelta(minutes=offset)
    start = window.next_begin(now)
    assert window.holds(start)
    assert not window.holds(start - timedelta(minutes=1)) or start.minute == begin % 60
    probe = now + timedelta(minutes=1)
    if not window.holds(now):
        while probe < start:  # nothing between now and then is inside
            assert not window.holds(probe)
            probe += timedelta(minutes=7)
