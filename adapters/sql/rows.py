"""A row becomes a message: a JSON object, exact and always written the same way."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson

__all__ = ["JsonWriter", "key_text", "plain_bytes"]

#: So that what stands here, not orjson, decides how times are written.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME
_SAFE_INTEGER = 2**63


class JsonWriter:
    """Writes JSON objects.

    Decimals are numbers with all their digits. A time without a zone is taken as one of ``zone`` and written with its offset, one
    with a zone is converted to it: ``2026-01-15T09:30:15.250000+08:00``. Bytes are base64. A duration, which is how MySQL's TIME
    arrives, is ``[-]HH:MM:SS[.ffffff]``. What JSON has no number for (NaN, infinity) is null, of other types the text.
    """

    __slots__ = ("_default", "_zone")

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._default = self._make_default()

    def dump(self, value: Any) -> bytes:
        try:
            return orjson.dumps(value, self._default, _OPTIONS)
        except TypeError:  # an integer beyond 64 bits, or text that is not Unicode
            return orjson.dumps(_widened(value), self._default, _OPTIONS)

    def _make_default(self) -> Callable[[Any], Any]:
        zone = self._zone

        def default(value: Any) -> Any:
            if isinstance(value, Decimal):
                return orjson.Fragment(format(value, "f")) if value.is_finite() else None
            if isinstance(value, datetime):
                local = value.replace(tzinfo=zone) if value.tzinfo is None else _in_zone(value, zone)
                return local.isoformat()
            if isinstance(value, date | time):
                return value.isoformat()
            if isinstance(value, bytes | bytearray | memoryview):
                return base64.b64encode(value).decode()
            if isinstance(value, timedelta):
                return _clock(value)
            return str(value)

        return default


def _in_zone(value: datetime, zone: ZoneInfo) -> datetime:
    try:
        return value.astimezone(zone)
    except (OverflowError, ValueError):  # the first or last day of the calendar
        return value


def _clock(value: timedelta) -> str:
    sign = "-" if value < timedelta(0) else ""
    value = abs(value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{sign}{value.days * 24 + hours:02d}:{minutes:02d}:{seconds:02d}"
    return f"{text}.{value.microseconds:06d}" if value.microseconds else text


def _widened(value: Any) -> Any:
    """The same with what orjson refuses made fit: at most two levels deep, a row and its details."""
    if isinstance(value, Mapping):
        return {_unicode(str(key)): _widened(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_widened(part) for part in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -_SAFE_INTEGER <= value < _SAFE_INTEGER:
        return orjson.Fragment(format(Decimal(value), "f"))
    if isinstance(value, str):
        return _unicode(value)
    return value


def _unicode(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def plain_bytes(value: Any, encoding: str) -> bytes:
    """A column that holds the message itself: bytes as they are, text in the encoding of the interface."""
    if value is None:
        return b""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return str(value).encode(encoding or "utf-8", "replace")


def key_text(values: Sequence[Any]) -> str:
    """Values of a key as a control id has them; different keys never give the same text."""
    return "|".join([_key_part(value) for value in values]) if len(values) != 1 else _key_part(values[0])


def _key_part(value: Any) -> str:
    if type(value) is int:
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("@", "\\@")
