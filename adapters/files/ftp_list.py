"""What FTP servers answer to LIST: no standard says how, two ways are met (``ls -l`` and that of IIS)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from adapters.files.backend import Entry

__all__ = ["from_facts", "from_line", "from_time"]

_UNIX = re.compile(
    r"([-dlbcps])[-rwxsStTlL+.@]{9,11}\s+\d+\s+\S+\s+\S+\s+(\d+)\s+([A-Za-z]{3})\s+(\d{1,2})\s+(\d{4}|\d{1,2}:\d\d) (.+)"
)
_IIS = re.compile(r"(\d\d)-(\d\d)-(\d\d(?:\d\d)?)\s+(\d\d):(\d\d)([AP]M)?\s+(<DIR>|\d+) +(.+)")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def from_facts(prefix: str, name: str, facts: dict[str, str]) -> Entry | None:
    """An entry of MLSD (RFC 3659, 7); None for the folder itself and the one above."""
    kind = facts.get("type", "").lower()
    if kind in ("cdir", "pdir") or name in (".", ".."):
        return None
    modified = from_time(facts.get("modify", ""))
    size = facts.get("size", "")
    return Entry(
        prefix + name,
        {"file": "file", "dir": "folder"}.get(kind, "other"),
        int(size) if size.isdigit() else 0,
        modified,
        f"{modified:.3f}.{facts.get('unique', '')}",
    )


def from_time(text: str) -> float:
    """``20260115093015.123`` of MLSD and MDTM (RFC 3659, 2.3), UTC, as Unix seconds; 0 when it is none."""
    found = re.match(r"(\d{14})(\.\d+)?", text)
    try:
        moment = datetime.strptime(found[1], "%Y%m%d%H%M%S") if found else datetime.fromtimestamp(0)
        return moment.replace(tzinfo=UTC).timestamp() + float(found[2] or 0) if found else 0.0
    except ValueError:
        return 0.0


def from_line(prefix: str, line: str, now: datetime) -> Entry | None:
    """An entry of LIST; None for a line that is none (``total 12``). ``now`` gives the year where the line has none.

    The stamp has the day only: the line of the same file tells the hour for half a year, and then no longer.
    """
    found = _UNIX.fullmatch(line)
    if found:
        kind, size, month, day, year_or_time, name = found.groups()
        if kind == "l" or name in (".", "..") or month.lower() not in _MONTHS:
            return None
        modified = _unix_time(_MONTHS.index(month.lower()) + 1, int(day), year_or_time, now)
        kind = {"-": "file", "d": "folder"}.get(kind, "other")
    else:
        found = _IIS.fullmatch(line)
        if not found:
            return None
        month, day, year, hour, minute, half, size, name = found.groups()
        hours = int(hour) % 12 + (12 if half == "PM" else 0) if half else int(hour)
        try:
            years = int(year) + (2000 if len(year) == 2 else 0)
            modified = datetime(years, int(month), int(day), hours, int(minute), tzinfo=UTC)
        except ValueError:
            return None
        kind = "folder" if size == "<DIR>" else "file"
        size = "0" if size == "<DIR>" else size
    if modified is None or "/" in name:
        return None
    return Entry(prefix + name, kind, int(size), modified.timestamp(), f"{modified:%Y%m%d}")


def _unix_time(month: int, day: int, year_or_time: str, now: datetime) -> datetime | None:
    try:
        if ":" not in year_or_time:
            return datetime(int(year_or_time), month, day, tzinfo=UTC)
        hour, minute = map(int, year_or_time.split(":"))
        # 29 February of a line without a year belongs to a leap year.
        for year in range(now.year, now.year - 5, -1):
            if month == 2 and day == 29 and (year % 4 or (year % 100 == 0 and year % 400)):
                continue
            found = datetime(year, month, day, hour, minute, tzinfo=UTC)
            if found <= now + timedelta(days=1):
                return found
    except ValueError:
        pass
    return None
