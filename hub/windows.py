"""Parts of the day on some days of the week: when a source may be read, when somebody may be written to."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["Window", "known_zone"]

_WINDOW = re.compile(r"(?:([A-Za-z]{3})(?:-([A-Za-z]{3}))? +)?(\d\d?):(\d\d)-(\d\d?):(\d\d)")
_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_DAY = timedelta(days=1)
#: 24:00, minutes.
_MIDNIGHT = 24 * 60


def known_zone(name: str) -> str:
    """The name of a time zone; ``ValueError`` with the remedy for anything else."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; write e.g. Asia/Shanghai or UTC") from None
    return name


class Window:
    """A part of the day, on some days of the week; ``22:00-06:00`` goes over midnight and belongs to the day it begins on."""

    __slots__ = ("_begin", "_days", "_end")

    def __init__(self, text: str) -> None:
        """Raise ``ValueError`` with the remedy for anything that is not a window."""
        found = _WINDOW.fullmatch(text.strip())
        if not found:
            raise ValueError(f"{text!r} is not a time window; write e.g. 22:00-06:00 or MON-FRI 12:00-13:30")
        first, last = (found[1] or "MON").upper(), (found[2] or found[1] or "SUN").upper()
        if first not in _DAYS or last not in _DAYS:
            raise ValueError(f"{text!r}: days are {', '.join(_DAYS)}")
        start, end = _DAYS.index(first), _DAYS.index(last)
        self._days = frozenset((start + n) % 7 for n in range((end - start) % 7 + 1))
        self._begin = _minutes(text, found[3], found[4])
        self._end = _minutes(text, found[5], found[6])
        if self._begin == self._end or self._begin == _MIDNIGHT:
            raise ValueError(f"{text!r} is empty, or begins at 24:00; for the whole day write 00:00-24:00")

    def holds(self, when: datetime) -> bool:
        """``when`` carries the time zone of the schedule."""
        minute = when.hour * 60 + when.minute
        day = when.weekday()
        if self._begin < self._end:
            return day in self._days and self._begin <= minute < self._end
        if minute >= self._begin:
            return day in self._days
        return minute < self._end and (day - 1) % 7 in self._days

    def next_begin(self, after: datetime) -> datetime:
        """The first beginning after ``after``."""
        for number in range(9):
            day = after + _DAY * number
            if day.weekday() in self._days:
                hour, minute = divmod(self._begin, 60)
                begin = day.replace(hour=hour, minute=minute, second=0, microsecond=0)
                if begin > after:
                    return begin
        raise AssertionError("a window begins at least once a week")


def _minutes(text: str, hours: str, minutes: str) -> int:
    value = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or value > _MIDNIGHT:
        raise ValueError(f"{text!r}: times go from 00:00 to 24:00")
    return value
