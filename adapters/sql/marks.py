"""How far a source has been read, as text: values of database columns that come back with type and all digits."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from hub.api import HubError
from hub.i18n import t

__all__ = ["dump_values", "earlier", "load_values", "parse"]

_WRITERS: list[tuple[type, str, Callable[[Any], str]]] = [  # datetime is a date: first
    (datetime, "datetime", datetime.isoformat),
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
    (Decimal, "decimal", str),
    (float, "float", repr),
    (UUID, "uuid", str),
    (bytes, "bytes", lambda value: base64.b64encode(value).decode()),
]
_READERS: dict[str, Callable[[str], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "decimal": Decimal,
    "float": float,
    "uuid": UUID,
    "bytes": base64.b64decode,
}


def dump_values(values: Sequence[Any]) -> list[Any]:
    """Raise :class:`HubError` for values that can't mark a place: NULL, or a type without an order."""
    return [_dump(value) for value in values]


def _dump(value: Any) -> Any:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return value
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    for kind, word, write in _WRITERS:
        if isinstance(value, kind):
            return {word: write(value)}
    what = "NULL" if value is None else type(value).__name__
    raise HubError(
        t(f"a column of the key or order holds {what}", f"键列或排序列的值为 {what}"),
        code="sql.key",
        remedy=t("give columns that are never NULL and are unique together", "请指定不为 NULL 且组合唯一的列"),
    )


def load_values(found: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(_load(part) for part in found)


def _load(part: Any) -> Any:
    if isinstance(part, dict):
        word, text = next(iter(part.items()))
        return _READERS[word](text)
    return part


def parse(mark: str) -> dict[str, Any]:
    """A mark as it was stored; ``{}`` for none."""
    try:
        found = json.loads(mark) if mark else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise HubError(t("the mark of this interface is damaged", "此接口的读取位置已损坏"), code="sql.mark")
    return found


def earlier(value: Any, seconds: float) -> Any:
    """A time column's value, so many seconds before; text as SQLite keeps times stays in its form."""
    if isinstance(value, datetime):
        return value - timedelta(seconds=seconds)
    if isinstance(value, date):
        return value - timedelta(days=-(-seconds // 86400))
    if isinstance(value, str):
        try:
            moved = datetime.fromisoformat(value) - timedelta(seconds=seconds)
        except ValueError:
            raise _no_time() from None
        separator = value[10:11] or " "
        if len(value) == 10:
            return moved.date().isoformat()
        return moved.isoformat(separator, "microseconds" if "." in value else "seconds")
    raise _no_time()


def _no_time() -> HubError:
    return HubError(
        t("the column of read.by timestamp does not hold times", "read.by 为 timestamp 的列不是时间"),
        code="sql.time",
        remedy=t(
            "name a time column, or read by sequence without overlap",
            "请指定时间列，或改用 sequence 方式且不设 overlap",
        ),
    )
