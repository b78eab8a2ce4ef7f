"""Dates and times as spans: ``2026`` is the whole year. Two dates contradict each other only where their spans can't agree.

Without an offset a time is Beijing time (see :data:`hub.mapping.runtime.CHINA`).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from hub.i18n import t
from hub.mapping.functions.dates import parse_moment, zone
from hub.mapping.runtime import CHINA, FunctionError

__all__ = ["Bound", "Span", "bound_of", "in_order", "limit_of", "now_of", "span_of", "years_between"]

_BOUND = re.compile(r"now(?:\s*([+-])\s*(\d{1,5})\s*([ymdhs]|min))?")
_UNITS = {"h": 3600, "min": 60, "s": 1}


class Span(NamedTuple):
    """From ``first`` up to, not including, ``end``; seconds since 1970-01-01 in Beijing's clock, before 1970 negative."""

    first: float
    end: float


class Bound(NamedTuple):
    """A bound of a range: a fixed span, or ``now`` moved by a number of units."""

    fixed: Span | None
    amount: int = 0
    unit: str = ""


_EPOCH = datetime(1970, 1, 1)


def _seconds(moment: datetime) -> float:
    return (moment - _EPOCH) / timedelta(seconds=1)


@lru_cache(maxsize=4096)
def _span(text: str) -> Span:
    moment = parse_moment(text, "date")
    year, month, day = int(moment.year), int(moment.month or 1), int(moment.day or 1)
    try:
        start = datetime(
            year, month, day, int(moment.hour or 0), int(moment.minute or 0), min(int(moment.second or 0), 59)
        )
        if not moment.month:
            end = datetime(year + 1, 1, 1)
        elif not moment.day:
            end = datetime(year + month // 12, month % 12 + 1, 1)
        else:
            end = start + timedelta(
                seconds=86_400 if not moment.hour else 3600 if not moment.minute else 60 if not moment.second else 1
            )
        if moment.hour and moment.offset:
            shift = timedelta(0) if moment.offset == "Z" else (zone(moment.offset).utcoffset(None) or timedelta(0))
            move = (CHINA.utcoffset(None) or timedelta(0)) - shift
            start, end = start + move, end + move
    except (ValueError, OverflowError):
        raise FunctionError(t("the date is out of range", "日期超出范围"), text) from None
    return Span(_seconds(start), _seconds(end))


def span_of(value: Any) -> Span:
    """What a date or time may mean, by its precision; raises :class:`FunctionError` for what is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise FunctionError(t("not a date", "不是日期"), value)
    return _span(value)


def now_of(now_us: int) -> float:
    """Microseconds since the epoch, UTC, in the seconds of spans."""
    return now_us / 1e6 + 8 * 3600


@lru_cache(maxsize=1024)
def bound_of(text: str) -> Bound:
    """The bound a text means: a date, ``now``, ``now - 130y`` (y m d h min s). Raises ``ValueError``."""
    found = _BOUND.fullmatch(text.strip())
    if found is not None:
        sign = -1 if found[1] == "-" else 1
        return Bound(None, sign * int(found[2] or 0), found[3] or "s")
    try:
        return Bound(_span(text))
    except FunctionError:
        raise ValueError(
            t(
                f"{text!r} is neither a number nor a date; write 1900-01-01, now, now - 130y",
                f"{text!r} 既非数字也非日期；请写 1900-01-01、now、now - 130y",
            )
        ) from None


def limit_of(bound: Bound, now: float) -> Span:
    """The bound at a time (:func:`now_of`)."""
    if bound.fixed is not None:
        return bound.fixed
    if bound.unit in _UNITS or bound.unit == "d":
        at = now + bound.amount * (86_400 if bound.unit == "d" else _UNITS[bound.unit])
        return Span(at, at)
    moment = _EPOCH + timedelta(seconds=now)
    months = bound.amount * (12 if bound.unit == "y" else 1)
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    if not 1 <= year <= 9998:
        return Span(-1e12, -1e12) if months < 0 else Span(1e12, 1e12)
    day = min(moment.day, 28 if month + 1 == 2 else 30)
    at = _seconds(moment.replace(year=year, month=month + 1, day=day))
    return Span(at, at)


def in_order(earlier: Span, later: Span, *, strict: bool = False) -> bool:
    """Whether the first may be before the second, or, unless ``strict``, at the same time."""
    return earlier.first < later.end - 1 if strict else earlier.first < later.end


def years_between(birth: Span, at: float) -> float:
    """Whole years from a birth date to a time, at most, given how precise it is: 0 on the day of birth, negative before."""
    if birth.first > at:
        return -1
    born, then = _EPOCH + timedelta(seconds=birth.first), _EPOCH + timedelta(seconds=at)
    return then.year - born.year - ((then.month, then.day) < (born.month, born.day))
