"""Times moved by an amount: the end of an appointment from its start and length, the day a report is due.

Months and years are those of the calendar: one month after 31 January is the last day of February. ISO 8601 is written, as precise
as what came.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hub.i18n import t
from hub.mapping.functions.base import Registry
from hub.mapping.functions.dates import date_time, parse_moment
from hub.mapping.runtime import FunctionError, number_of

__all__ = ["DATE_SUMS"]

DATE_SUMS = Registry()
_DELETED = '""'
#: Seconds of the units that have always the same length; UCUM's codes and the words.
_SECONDS = {
    **dict.fromkeys(("s", "sec", "seconds"), 1),
    **dict.fromkeys(("min", "minutes"), 60),
    **dict.fromkeys(("h", "hours"), 3600),
    **dict.fromkeys(("d", "days"), 86_400),
    **dict.fromkeys(("wk", "weeks"), 604_800),
}
_MONTHS = {**dict.fromkeys(("mo", "months"), 1), **dict.fromkeys(("a", "years"), 12)}
_DAY = 86_400
_MOST = 10**12


def _check_unit(literals: Mapping[str, Any]) -> None:
    if "unit" in literals:
        _unit(literals["unit"])


def _unit(unit: Any) -> str:
    if isinstance(unit, str) and (unit in _SECONDS or unit in _MONTHS):
        return unit
    raise FunctionError(
        t("add_time: this is no unit of time", "add_time：不是时间单位"),
        remedy="s, min, h, d, wk, mo, a; seconds, minutes, hours, days, weeks, months, years",
    )


def _amount(amount: Any) -> Decimal:
    found: Any = number_of(amount) if isinstance(amount, str) else amount
    if isinstance(found, int | float | Decimal) and not isinstance(found, bool):
        number = Decimal(repr(found)) if isinstance(found, float) else Decimal(found)
        if number.is_finite() and abs(number) < _MOST:
            return number
    raise FunctionError(t("add_time: not a number of units", "add_time：不是有效的数量"), amount)


def _moved(start: datetime, amount: Decimal, unit: str) -> datetime:
    if unit in _SECONDS:
        return start + timedelta(seconds=round(amount * _SECONDS[unit]))
    months = amount * _MONTHS[unit]
    if months != int(months):
        raise FunctionError(t("add_time: a part of a month has no length", "add_time：不足一月无确定时长"), amount)
    year, month = divmod(start.year * 12 + start.month - 1 + int(months), 12)
    if not 1 <= year <= 9999:
        raise OverflowError
    return start.replace(year=year, month=month + 1, day=min(start.day, calendar.monthrange(year, month + 1)[1]))


@DATE_SUMS.add(check=_check_unit, converts=True)
def add_time(value: Any, amount: Any, unit: Any) -> Any:
    """A date or time later (earlier: a negative amount) by so many units: .11.4 | add_time(.9, 'min'); s, min, h, d, wk, mo, a."""
    if value in (None, "", _DELETED) or amount in (None, ""):
        return None
    number, of = _amount(amount), _unit(unit)
    moment = parse_moment(value, "add_time")
    whole_days = of in _MONTHS or (_SECONDS[of] * number) % _DAY == 0
    if not moment.day or (not moment.hour and not whole_days):
        raise FunctionError(t("add_time: the value is not so precise", "add_time：该值精度不足"), value)
    text = str(date_time(value))
    try:
        moved = _moved(datetime.fromisoformat(text[:10] + (f"T{text[11:19]}" if moment.hour else "")), number, of)
    except (OverflowError, ValueError):
        raise FunctionError(t("add_time: out of range", "add_time：超出范围"), value) from None
    return moved.date().isoformat() if not moment.hour else moved.isoformat(timespec="seconds") + text[19:]
