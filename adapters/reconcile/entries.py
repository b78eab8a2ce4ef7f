"""What is delivered to a book, read and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import orjson

from hub.api import PermanentError
from hub.i18n import t

__all__ = ["Batch", "Comparison", "Entry", "Listing", "read_request"]

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOST = 1_000_000  # entries of one message, as rows of a table
_TEXT = 200
_DETAILS = 16 << 10  # bytes: they stand in every report with a difference
#: Beyond what any account holds in fen, and exact in every language that may read the report.
_AMOUNT = 2**53


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing as one side has it. ``amount``: in the smallest unit of its currency, never a fraction."""

    kind: str
    key: str
    day: str
    amount: int
    state: str
    at: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries of one side; ``complete`` names the day of which these are all."""

    side: str
    entries: list[Entry]
    complete: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The wish to have a day compared."""

    day: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The wish to see what one side has of a day."""

    side: str
    day: str


def read_request(body: bytes, sides: set[str]) -> Batch | Comparison | Listing:
    """Raises :class:`PermanentError` that says which value is wrong and where; values themselves are not repeated."""
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _wrong("", t(f"not JSON: {error}", f"不是 JSON：{error}")) from error
    if not isinstance(tree, dict):
        raise _wrong("", t("an object is wanted", "应为对象"))
    if "compare" in tree:
        return Comparison(_day(tree["compare"], "compare"))
    side = tree.get("side")
    if not isinstance(side, str) or side not in sides:
        known = ", ".join(sorted(sides))
        raise _wrong("side", t(f"one of {known} is wanted", f"应为 {known} 之一"))
    if "list" in tree:
        return Listing(side, _day(tree["list"], "list"))
    day = _day(tree["day"], "day") if tree.get("day") is not None else ""
    complete = tree.get("complete", False)
    if not isinstance(complete, bool):
        raise _wrong("complete", t("true or false is wanted", "应为 true 或 false"))
    if complete and not day:
        raise _wrong("day", t("missing: of which day are these all?", "缺失：未说明是哪一天的全部明细"))
    rows = tree.get("entries") or ([] if complete else None)  # a day on which nothing happened
    if not isinstance(rows, list) or len(rows) > _MOST:
        raise _wrong("entries", t(f"a list of at most {_MOST} is wanted", f"应为不超过 {_MOST} 项的列表"))
    entries = [_entry(row, f"entries[{number}]", day) for number, row in enumerate(rows)]
    return Batch(side, entries, day if complete else "")


def _entry(row: Any, place: str, day: str) -> Entry:
    if not isinstance(row, dict):
        raise _wrong(place, t("an object is wanted", "应为对象"))
    amount = row.get("amount")
    if not isinstance(amount, int) or isinstance(amount, bool) or abs(amount) >= _AMOUNT:
        raise _wrong(
            f"{place}.amount",
            t("a whole number of the smallest unit (fen) is wanted", "应为最小货币单位（分）的整数"),
        )
    details = row.get("details") or {}
    if not isinstance(details, dict):
        raise _wrong(f"{place}.details", t("an object is wanted", "应为对象"))
    try:
        size = len(orjson.dumps(details))
    except orjson.JSONEncodeError:  # it reads deeper than it writes
        size = _DETAILS + 1
    if size > _DETAILS:
        raise _wrong(f"{place}.details", t(f"too large, at most {_DETAILS} bytes", f"过大，至多 {_DETAILS} 字节"))
    return Entry(
        kind=_text(row.get("kind", "payment"), f"{place}.kind"),
        key=_text(row.get("key"), f"{place}.key"),
        day=_day(row.get("day") or day, f"{place}.day"),
        amount=amount,
        state=_text(row.get("state"), f"{place}.state"),
        at=_text(row.get("at", ""), f"{place}.at", empty=True),
        details=details,
    )


def _text(value: Any, place: str, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty) or len(value) > _TEXT:
        raise _wrong(place, t(f"a text of at most {_TEXT} characters is wanted", f"应为不超过 {_TEXT} 字的文本"))
    return value


def _day(value: Any, place: str) -> str:
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            date.fromisoformat(value)
        except ValueError:
            pass
        else:
            return value
    raise _wrong(place, t("a day is wanted, e.g. 2026-11-27", "应为日期，例如 2026-11-27"))


def _wrong(place: str, text: str) -> PermanentError:
    return PermanentError(f"{place}: {text}" if place else text, code="reconcile.request")
