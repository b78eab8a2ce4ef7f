"""Days on which rows and versions of code tables count.

A day is the number :meth:`datetime.date.toordinal` gives. The day of a message is the calendar day in Beijing on which it was received.
"""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

from hub.mapping.context import Context

__all__ = ["ALWAYS", "Days", "day_of", "day_text", "parse_day"]

_DATE = re.compile(r"([0-9]{4})([-/])([0-9]{1,2})\2([0-9]{1,2})")
_EPOCH = date(1970, 1, 1).toordinal()
_DAY_US = 86_400_000_000
#: Beijing is ahead of UTC by so much; see :data:`hub.mapping.runtime.CHINA`.
_OFFSET_US = 8 * 3_600_000_000


class Days(NamedTuple):
    """The days from ``first`` to ``last``, both included."""

    first: int
    last: int

    def overlap(self, other: Days) -> bool:
        return self.first <= other.last and other.first <= self.last


ALWAYS = Days(0, date.max.toordinal() + 1)


def parse_day(text: str) -> int | None:
    """The day of ``2024-04-01`` or ``2024/4/1``, as Excel writes it back; None when it is no date."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    try:
        return date(int(found[1]), int(found[3]), int(found[4])).toordinal()
    except ValueError:
        return None


def day_text(day: int) -> str:
    """A day as ISO 8601; "" where a span is open."""
    return date.fromordinal(day).isoformat() if ALWAYS.first < day < ALWAYS.last else ""


def day_of(context: Context) -> int:
    """The day of the message under way, of the run where there is none."""
    message = context.message
    return _EPOCH + ((message.received_at if message is not None else context.now_us) + _OFFSET_US) // _DAY_US
