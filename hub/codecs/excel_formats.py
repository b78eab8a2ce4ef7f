"""What the numbers of a workbook mean: dates, times, durations, numbers with zeros in front (ECMA-376 part 1, 18.8.30)."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal

__all__ = ["kind_of_format", "number_text"]

#: Identities of formats without a pattern in the file. Those from 27 on depend on the language; this is zh-CN.
_BUILTIN = {
    **dict.fromkeys((14, 15, 16, 17, 27, 28, 29, 30, 31, 36, 50, 51, 52, 53, 54, 57, 58), "date"),
    **dict.fromkeys((18, 19, 20, 21, 32, 33, 34, 35, 45, 47, 55, 56), "time"),
    22: "datetime",
    46: "duration",
}
_LITERAL = re.compile(r'"[^"]*"|\\.|_.|\*.|am/pm|a/p|上午/下午')
_DURATION = re.compile(r"\[(?:h+|m+|s+)\]")
_BRACKETS = re.compile(r"\[[^\]]*\]")
_ZEROS = re.compile("0{2,50}")
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
#: Digits Excel keeps of a number.
_DIGITS = 15
_MILLISECONDS = 86_400_000
#: 9999-12-31 and the moment after it.
_LAST_DAY = 2_958_466


def kind_of_format(identity: int, pattern: str | None) -> str:
    """``date``, ``datetime``, ``time``, ``duration``, zeros such as ``00000``, or ``""`` for any other number."""
    if pattern is None:
        return _BUILTIN.get(identity, "")
    plain = _LITERAL.sub("", pattern.split(";", 1)[0].lower())
    if _ZEROS.fullmatch(plain):
        return plain
    if _DURATION.search(plain):
        return "duration"
    plain = _BRACKETS.sub("", plain)
    if "general" in plain or "0" in plain or "#" in plain:
        return "time" if ":" in plain and "s" in plain else ""  # mm:ss.0
    day = "y" in plain or "d" in plain
    clock = "h" in plain or "s" in plain
    if day or ("m" in plain and not clock):
        return "datetime" if clock else "date"
    return "time" if clock else ""


def number_text(written: str, kind: str, from_1904: bool) -> str:
    """A number of a cell as people read it; raises ``ValueError`` when it is none.

    At most 15 digits, as Excel keeps and shows them, and no exponent; dates and times are ISO 8601, durations hours, minutes and seconds.
    """
    if kind and kind[0] != "0":
        return _moment(float(written), kind, from_1904) or _number(written)
    text = _number(written)
    return text.zfill(len(kind)) if kind and text.isdigit() else text


def _number(written: str) -> str:
    if _PLAIN.fullmatch(written) and (len(written) <= _DIGITS or "." not in written):
        return written
    text = format(float(written), f".{_DIGITS}g")
    return format(Decimal(text), "f") if "e" in text else text


def _moment(serial: float, kind: str, from_1904: bool) -> str:
    """``""`` for a number that is no day of Excel's calendar."""
    if kind == "duration":
        if not abs(serial) < _LAST_DAY:
            return ""
        seconds = round(abs(serial) * 86_400)
        return f"{'-' if serial < 0 else ''}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if not 0 <= serial < _LAST_DAY - (1462 if from_1904 else 0):
        return ""
    if from_1904:
        origin = datetime.datetime(1904, 1, 1)
    else:  # Excel counts 29 February 1900, which there was not
        origin = datetime.datetime(1899, 12, 31 if serial < 60 else 30)
    # Excel shows milliseconds at most; the sum stays below the year 10000.
    found = origin + datetime.timedelta(milliseconds=min(round(serial * _MILLISECONDS), _LAST_DAY * _MILLISECONDS - 1))
    precision = "milliseconds" if found.microsecond else "seconds"
    if kind == "date":
        return found.date().isoformat()
    return found.time().isoformat(precision) if kind == "time" else found.isoformat("T", precision)
