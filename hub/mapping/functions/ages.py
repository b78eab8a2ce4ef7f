"""Ages from a date of birth, at a given time, on Beijing clocks.

Who is born on 29 February becomes a year older on 1 March of other years. Words follow the basic rules for medical records
(病历书写基本规范, 2010): under a year months, under a month days, under a day hours.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hub.i18n import t
from hub.mapping.functions.base import Registry
from hub.mapping.functions.dates import Moment, instant_of, parse_moment
from hub.mapping.runtime import CHINA, FunctionError

__all__ = ["AGES"]

AGES = Registry()
_DELETED = '""'
_UNITS = ("years", "months", "days", "hours")


def _moments(birth: Any, at: Any, name: str) -> tuple[Moment, datetime, datetime] | None:
    """(the birth as written, and both times on Beijing clocks); None when one is absent."""
    if birth in (None, "", _DELETED) or at in (None, "", _DELETED):
        return None
    born, then = parse_moment(birth, name), parse_moment(at, name)
    if not then.day:
        raise FunctionError(t(f"{name}: the second date needs a day", f"{name}：第二个日期须精确到日"), at)
    try:
        first, second = (instant_of(one, "+08:00").astimezone(CHINA) for one in (born, then))
    except OverflowError:
        raise FunctionError(t(f"{name}: out of range", f"{name}：超出范围"), birth) from None
    if not then.hour:
        # A day without time lasts until its end.
        second = second.replace(hour=23, minute=59, second=59)
    if first > second:
        raise FunctionError(t(f"{name}: born after that time", f"{name}：出生晚于该时间"), birth)
    return born, first, second


def _months(first: datetime, second: datetime) -> int:
    months = (second.year - first.year) * 12 + second.month - first.month
    return months - (second.day < first.day)


def _days(first: datetime, second: datetime) -> int:
    return (second.date() - first.date()).days


@AGES.add(converts=True)
def age(birth: Any, at: Any, unit: Any = "years") -> Any:
    """Full years (months, days, hours) from a birth to a time: PID-7 | age($now); null when the birth is not known so exactly."""
    if unit not in _UNITS:
        raise FunctionError(
            t(f"age: the unit is one of {', '.join(_UNITS)}", f"age：单位须为 {'、'.join(_UNITS)} 之一")
        )
    found = _moments(birth, at, "age")
    if found is None:
        return None
    born, first, second = found
    if unit == "hours":
        return int((second - first) / timedelta(hours=1)) if born.hour else None
    if not born.day:
        return None
    if unit == "days":
        return _days(first, second)
    return _months(first, second) // (12 if unit == "years" else 1)


@AGES.add(converts=True)
def age_text(birth: Any, at: Any) -> Any:
    """The age in words: 42岁, 3月5天, 12天, 6小时; by its year alone what is born so."""
    found = _moments(birth, at, "age_text")
    if found is None:
        return None
    born, first, second = found
    if not born.day:
        years = second.year - int(born.year)
        return f"{years}岁"
    months, days = _months(first, second), _days(first, second)
    if months >= 12:
        return f"{months // 12}岁"
    if months:
        year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
        rest = (second.date() - _day(year, month + 1, first.day)).days
        return f"{months}月{rest}天" if rest else f"{months}月"
    if days or not born.hour:
        return f"{days}天"
    return f"{int((second - first) / timedelta(hours=1))}小时"


def _day(year: int, month: int, day: int) -> Any:
    """That day, or the one behind the end of a shorter month."""
    try:
        return datetime(year, month, day).date()
    except ValueError:
        return datetime(year + month // 12, month % 12 + 1, 1).date()
