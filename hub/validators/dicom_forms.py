"""Whether a value of DICOM has the form and length of its value representation (PS3.5, table 6.2-1)."""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence

from hub.i18n import t

__all__ = ["CHECKED", "fault"]

_LONGEST = {"AE": 16, "AS": 4, "CS": 16, "DS": 16, "IS": 12, "LO": 64, "LT": 10240, "SH": 16, "ST": 1024, "UI": 64}
_LONGEST_GROUP = 64
_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?", re.ASCII)
_OFFSET = re.compile(r"[-+](?:0\d|1[0-4])[0-5]\d\Z", re.ASCII)
_FORMS = {
    "AS": re.compile(r"\d{3}[DWMY]", re.ASCII),
    "CS": re.compile(r"[A-Z0-9_ ]*", re.ASCII),
    "DS": re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII),
    "IS": re.compile(r"[-+]?\d+", re.ASCII),
    "UI": re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*", re.ASCII),
}
_WORDS = {
    "AS": ("an age such as 034Y", "年龄，如 034Y"),
    "CS": ("a code of capital letters, digits, blanks and low lines", "由大写字母、数字、空格和下划线组成的代码"),
    "DA": ("an existing date yyyyMMdd", "存在的日期 yyyyMMdd"),
    "DS": ("a number", "数字"),
    "DT": ("an existing time yyyyMMddHHmmss", "存在的日期时间 yyyyMMddHHmmss"),
    "IS": ("a whole number", "整数"),
    "TM": ("an existing time of day HHmmss", "存在的时间 HHmmss"),
    "UI": ("a UID: numbers with dots between, none with a leading zero", "UID：以点分隔的数字，不得有前导零"),
}
CHECKED = frozenset({*_LONGEST, *_WORDS, "PN"})


def fault(vr: str, values: Sequence[str]) -> tuple[str, bool] | None:
    """What is wrong with the values of one element, as (text, whether it is the length); None: nothing."""
    longest = _LONGEST.get(vr)
    for value in values:
        if vr == "PN":
            if any(len(group) > _LONGEST_GROUP for group in value.split("=")):
                return t(f"longer than {_LONGEST_GROUP} characters", f"超过 {_LONGEST_GROUP} 个字符"), True
        elif longest is not None and len(value) > longest:
            return t(f"longer than {longest} characters ({vr})", f"超过 {longest} 个字符（{vr}）"), True
        if value and not _right(vr, value):
            words = t(*_WORDS[vr])
            return t(f"must be {words}", f"须为{words}"), False
    return None


def _right(vr: str, value: str) -> bool:
    form = _FORMS.get(vr)
    if form is not None:
        return form.fullmatch(value) is not None
    if vr == "DA":
        # With dots: ACR-NEMA, which PS3.5 still asks to be understood.
        return _day(value.replace(".", "") if value.count(".") == 2 else value)
    if vr == "TM":
        return _TIME.fullmatch(value.replace(":", "")) is not None
    if vr == "DT":
        bare = _OFFSET.sub("", value)
        return _day(bare[:8].ljust(8, "0") if len(bare) < 8 else bare[:8], len(bare)) and (
            len(bare) <= 8 or _TIME.fullmatch(bare[8:]) is not None
        )
    return True


def _day(value: str, length: int = 8) -> bool:
    """Whether there is such a day; of a shorter date such a year or month."""
    parts = _DATE.fullmatch(value)
    if parts is None or length < 4:
        return False
    year, month, day = (int(part) for part in parts.groups())
    if length < 8:
        return year > 0 and (length == 4 or (length == 6 and 1 <= month <= 12))
    return year > 0 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]
