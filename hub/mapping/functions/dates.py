"""Dates and times. Reads HL7 v2 DT/TS/DTM (chapter 2A), ISO 8601 and the forms common in China; writes ISO 8601.

Precision is kept: 1983 stays a year. Times without an offset are Beijing time unless ``tz=`` says otherwise; China has used
+08:00 throughout since 1992, earlier dates go through the time zone database.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hub.i18n import t
from hub.mapping.functions.base import Registry
from hub.mapping.runtime import CHINA, FunctionError, is_absent, kind_of

__all__ = ["DATES", "Moment", "format_pattern", "instant_of", "parse_moment", "zone"]

DATES = Registry()
_DELETED = '""'  # HL7 v2: delete what you have
_DEFAULT_ZONE = "Asia/Shanghai"

_HL7 = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,9}))?)?)?)?)?)?([+-]\d{4}|Z)?", re.ASCII
)
_WRITTEN = re.compile(
    r"(\d{4})(?:[-/.年](\d{1,2})(?:[-/.月](\d{1,2})日?|月)?|年)?"
    r"(?:[T ]?\s?(\d{1,2})[:时点](\d{1,2})分?(?::?(\d{1,2})秒?(?:[.,](\d{1,9}))?)?)?\s?(Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?", re.ASCII)
_LONGEST = 40
_DAYS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Moment(NamedTuple):
    """A point in time as precise as it was written: what is missing is "". All parts are digits, zero-filled."""

    year: str
    month: str
    day: str
    hour: str
    minute: str
    second: str
    fraction: str
    offset: str  # "", "Z" or +08:00


def _valid(moment: Moment) -> bool:
    year, month, day = int(moment.year), moment.month, moment.day
    if not 1 <= year <= 9999:
        return False
    if month and not 1 <= int(month) <= 12:
        return False
    if day:
        number, of = int(day), int(month)
        if not 1 <= number <= _DAYS[of] or (of == 2 and number == 29 and (year % 4 or (not year % 100 and year % 400))):
            return False
    if moment.hour and (int(moment.hour) > 23 or int(moment.minute or 0) > 59 or int(moment.second or 0) > 60):
        return False
    return not moment.offset or moment.offset == "Z" or (int(moment.offset[1:3]) <= 14 and int(moment.offset[4:]) <= 59)


def parse_moment(value: Any, name: str) -> Moment:
    """Read a date or time; raises :class:`FunctionError` for what is none or does not exist (31 February)."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**15 else ""
    if not isinstance(value, str):
        raise FunctionError(t(f"{name}: not a date but a {kind_of(value)}", f"{name}：不是日期，而是{kind_of(value)}"))
    text = value.strip()
    if len(text) <= _LONGEST:
        found = _HL7.fullmatch(text) or _WRITTEN.fullmatch(text)
        if found:
            year, month, day, hour, minute, second, fraction, offset = (part or "" for part in found.groups())
            moment = Moment(
                year,
                month.zfill(2) if month else "",
                day.zfill(2) if day else "",
                hour.zfill(2) if hour else "",
                minute.zfill(2) if minute else "",
                second.zfill(2) if second else "",
                fraction,
                _offset(offset),
            )
            if (day or not hour) and _valid(moment):
                return moment
    raise FunctionError(
        t(f"{name}: not a date or time", f"{name}：不是日期或时间"),
        value,
        t(
            "expected e.g. 19830502, 1983-05-02, 20260115093015+0800, 1983年5月2日",
            "应形如 19830502、1983-05-02、20260115093015+0800、1983年5月2日",
        ),
    )


def _offset(text: str) -> str:
    if not text or text == "Z":
        return text
    return f"{text[:3]}:{text[-2:]}" if len(text) > 3 else f"{text}:00"


@lru_cache(maxsize=256)
def zone(name: str) -> tzinfo:
    """The time zone of a name (Asia/Shanghai, UTC) or an offset (+08:00)."""
    if found := _OFFSET.fullmatch(name):
        minutes = int(found[2]) * 60 + int(found[3] or 0)
        if minutes < 15 * 60:
            return timezone(timedelta(minutes=minutes if found[1] == "+" else -minutes))
    elif name == "UTC":
        return UTC
    else:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    raise FunctionError(
        t(f"time zone {name!r} is unknown", f"未知时区 {name!r}"),
        remedy=t(
            "write Asia/Shanghai, UTC or +08:00; names need the system's time zone data",
            "请写 Asia/Shanghai、UTC 或 +08:00；按名称需系统安装时区数据",
        ),
    )


def _zone_argument(tz: Any) -> str:
    if not isinstance(tz, str):
        raise FunctionError(t("tz must be a text such as 'Asia/Shanghai'", "tz 须为文本，如 'Asia/Shanghai'"))
    return tz


def _local_offset(moment: Moment, tz: str) -> str:
    """The offset that held in a zone at a local time."""
    if tz == _DEFAULT_ZONE and int(moment.year) >= 1992:
        return "+08:00"
    instant = _naive(moment).replace(tzinfo=zone(tz))
    shift = instant.utcoffset() or timedelta(0)
    minutes = round(shift.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _naive(moment: Moment) -> datetime:
    return datetime(
        int(moment.year),
        int(moment.month or 1),
        int(moment.day or 1),
        int(moment.hour or 0),
        int(moment.minute or 0),
        min(int(moment.second or 0), 59),
        int((moment.fraction + "000000")[:6]),
    )


def instant_of(moment: Moment, tz: str) -> datetime:
    """The moment with its own offset, or that of a zone."""
    offset = moment.offset or tz
    return _naive(moment).replace(tzinfo=UTC if offset == "Z" else zone(offset))


# Look-ups instead of arithmetic for what messages are full of; whatever is not listed takes the long way. Every month
# has 28 days here.
_MONTH_DAY = {f"{m:02}{d:02}": f"-{m:02}-{d:02}" for m in range(1, 13) for d in range(1, 29)}
_HOUR_MINUTE = {f"{h:02}{m:02}": f"T{h:02}:{m:02}" for h in range(24) for m in range(60)}
_SECOND = {"": ":00", **{f"{s:02}": f":{s:02}" for s in range(60)}}
_SHIFT = {
    "": "+08:00",
    **{f"{z}{h:02}{m:02}": f"{z}{h:02}:{m:02}" for z in "+-" for h in range(15) for m in (0, 30, 45)},
}


@DATES.add(converts=True)
def date(value: Any) -> Any:
    """The date as ISO 8601, as precise as it came: 1983, 1983-05, 1983-05-02. A time is cut off, not converted."""
    if type(value) is str:
        rest = _MONTH_DAY.get(value[4:])
        if rest is not None and value.isascii() and value[:4].isdigit() and value[:4] != "0000":
            return value[:4] + rest
    if value in (None, "", _DELETED):
        return None
    moment = parse_moment(value, "date")
    return "-".join(part for part in moment[:3] if part)


def _check_zone(literals: Mapping[str, Any]) -> None:
    if "tz" in literals and literals["tz"] is not None:
        zone(_zone_argument(literals["tz"]))
    if isinstance(literals.get("pattern"), str):
        format_pattern(literals["pattern"])


def _plain_datetime(text: str) -> str:
    """``yyyyMMddHHmm[ss[.f]][±zzzz]`` without a second look, "" for anything that may need one."""
    year, day, time = text[:4], _MONTH_DAY.get(text[4:8]), _HOUR_MINUTE.get(text[8:12])
    # Beijing time has had one offset since 1992.
    if day is None or time is None or not (year.isdigit() and text.isascii() and year >= "1992"):
        return ""
    second, rest = (text[12:14], text[14:]) if text[12:13].isdigit() else ("", text[12:])
    fraction = ""
    if rest[:1] == "." and second:
        cut = -5 if rest[-5:-4] in ("+", "-") else len(rest)
        fraction, rest = rest[:cut], rest[cut:]
        if not fraction[1:].isdigit() or len(fraction) > 10:
            return ""
    seconds, offset = _SECOND.get(second), _SHIFT.get(rest)
    return f"{year}{day}{time}{seconds}{fraction}{offset}" if seconds and offset else ""


@DATES.add("datetime", check=_check_zone, converts=True, memo=True)
def date_time(value: Any, tz: Any = _DEFAULT_ZONE) -> Any:
    """ISO 8601 with offset: 2026-01-15T09:30:15+08:00. Its own offset stays; without one it is local time of ``tz``.

    A date without time stays a date; missing minutes and seconds are 00.
    """
    if type(value) is str and tz == _DEFAULT_ZONE and (quick := _plain_datetime(value)):
        return quick
    if value in (None, "", _DELETED):
        return None
    moment = parse_moment(value, "datetime")
    day = "-".join(part for part in moment[:3] if part)
    if not moment.hour:
        return day
    fraction = f".{moment.fraction}" if moment.fraction else ""
    offset = moment.offset or _local_offset(moment, _zone_argument(tz))
    return f"{day}T{moment.hour}:{moment.minute or '00'}:{moment.second or '00'}{fraction}{offset}"


@DATES.add(check=_check_zone, converts=True)
def convert_tz(value: Any, tz: Any, naive: Any = _DEFAULT_ZONE) -> Any:
    """The same instant on the clocks of another zone; without an offset of its own it is local time of ``naive``."""
    if value in (None, "", _DELETED):
        return None
    moment = parse_moment(value, "convert_tz")
    if not moment.hour:
        raise FunctionError(
            t("convert_tz: a date without time has no instant", "convert_tz：没有时间的日期无法换算"), value
        )
    try:
        instant = instant_of(moment, _zone_argument(naive)).astimezone(zone(_zone_argument(tz)))
    except OverflowError:
        raise FunctionError(t("convert_tz: out of range", "convert_tz：超出范围"), value) from None
    return instant.isoformat(timespec="milliseconds" if moment.fraction else "seconds")


@DATES.add(check=_check_zone, converts=True)
def epoch(value: Any, unit: Any = "s", tz: Any = _DEFAULT_ZONE) -> Any:
    """Seconds (unit='s') or milliseconds ('ms') since 1970-01-01 UTC as ISO 8601 in ``tz``."""
    if is_absent(value):
        return None
    try:
        count = int(value) if not isinstance(value, bool) else None
    except (TypeError, ValueError, OverflowError):
        count = None
    if count is None or unit not in ("s", "ms"):
        raise FunctionError(t("epoch: a whole number and unit 's' or 'ms'", "epoch：须为整数，单位 's' 或 'ms'"), value)
    try:
        instant = datetime.fromtimestamp(count / (1000 if unit == "ms" else 1), zone(_zone_argument(tz)))
    except (OverflowError, ValueError, OSError):
        raise FunctionError(t("epoch: out of range", "epoch：超出范围"), value) from None
    return instant.isoformat(timespec="milliseconds" if unit == "ms" else "seconds")


_LETTERS = re.compile(r"'((?:[^']|'')*)'|(yyyy|yy|MM|dd|HH|mm|ss|SSS|XXX|Z|M|d|H)|([A-Za-z])|([^A-Za-z']+)|(')")


@lru_cache(maxsize=256)
def format_pattern(pattern: str) -> tuple[tuple[str, str], ...]:
    """(kind, text) of each piece: a field of the time, or literal text; raises :class:`FunctionError`."""
    if len(pattern) > 100:
        raise FunctionError(t("format_date: pattern longer than 100 characters", "format_date：模式超过 100 个字符"))
    pieces: list[tuple[str, str]] = []
    for found in _LETTERS.finditer(pattern):
        quoted, letters, wrong, literal, stray = found.groups()
        if wrong or stray:
            raise FunctionError(
                t(
                    f"format_date: {wrong or stray!r} means nothing in a pattern",
                    f"format_date：模式中的 {wrong or stray!r} 无意义",
                ),
                remedy=t(
                    "use yyyy MM dd HH mm ss SSS XXX Z; literal letters in 'quotes'",
                    "可用 yyyy MM dd HH mm ss SSS XXX Z；字面字母加 '引号'",
                ),
            )
        if letters:
            pieces.append((letters, ""))
        else:
            pieces.append(("", literal if literal else quoted.replace("''", "'") or "'"))
    return tuple(pieces)


@DATES.add(check=_check_zone, converts=True)
def format_date(value: Any, pattern: Any, tz: Any = None) -> Any:
    """Written by a pattern of yyyy yy MM M dd d HH H mm ss SSS XXX (+08:00) Z (+0800); others in 'quotes'.

    With ``tz`` the instant is converted to that zone first. What the value does not tell (the time of a date) is an
    error where the pattern asks for more than hours, minutes and seconds; those are 00.
    """
    if value in (None, "", _DELETED):
        return None
    if not isinstance(pattern, str):
        raise FunctionError(t("format_date: the pattern must be a text", "format_date：模式须为文本"))
    moment = parse_moment(value, "format_date")
    pieces = format_pattern(pattern)
    if tz is not None and moment.hour:
        moment = parse_moment(convert_tz(value, tz), "format_date")
    parts: list[str] = []
    for kind, literal in pieces:
        parts.append(_PIECES[kind](moment) if kind else literal)
        if not parts[-1]:
            raise FunctionError(
                t(f"format_date: the date does not tell {kind}", f"format_date：该日期不含 {kind}"), value
            )
    return "".join(parts)


def _with_offset(moment: Moment) -> str:
    offset = moment.offset or (_local_offset(moment, _DEFAULT_ZONE) if moment.hour else "")
    return "+00:00" if offset == "Z" else offset


_PIECES: dict[str, Callable[[Moment], str]] = {
    "yyyy": lambda m: m.year,
    "yy": lambda m: m.year[2:],
    "MM": lambda m: m.month,
    "M": lambda m: m.month.lstrip("0"),
    "dd": lambda m: m.day,
    "d": lambda m: m.day.lstrip("0"),
    "HH": lambda m: m.hour or "00",
    "H": lambda m: str(int(m.hour or 0)),
    "mm": lambda m: m.minute or "00",
    "ss": lambda m: m.second or "00",
    "SSS": lambda m: (m.fraction + "000")[:3],
    "XXX": _with_offset,
    "Z": lambda m: _with_offset(m).replace(":", ""),
}


def now_in_zone(microseconds: int, pattern: Any = None, tz: Any = _DEFAULT_ZONE) -> str:
    """The time of the run as ISO 8601, or by a pattern of ``format_date``."""
    local = CHINA if tz == _DEFAULT_ZONE else zone(_zone_argument(tz))
    text = datetime.fromtimestamp(microseconds / 1e6, local).isoformat(timespec="milliseconds")
    return text if pattern is None else str(format_date(text, pattern))
