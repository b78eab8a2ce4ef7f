"""Values as PostgreSQL's protocol carries them, from a driver and to it (types: pg_type.dat)."""

from __future__ import annotations

import struct
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from adapters.sql.counterpart_tables import SqlRefusal

__all__ = ["parameter", "told"]

_BOOL, _BYTES, _NUMERIC = 16, 17, 1700
_INTEGERS = frozenset((20, 21, 23, 26))
_FLOATS = {700: "!f", 701: "!d"}
_DATE, _TIME, _MOMENTS = 1082, 1083, (1114, 1184)
_BEGIN = datetime(2000, 1, 1)
_TRUE, _FALSE = frozenset(("t", "true", "1", "on", "yes")), frozenset(("f", "false", "0", "off", "no"))
#: Values of a digit group of NUMERIC, and its signs (numeric.c).
_GROUP, _MINUS, _NAN = 10_000, 0x4000, 0xC000


def parameter(raw: bytes | None, kind: int, binary: bool) -> Any:
    """As SQLite takes it. Raises :class:`SqlRefusal` for bytes that are not of the type."""
    if raw is None:
        return None
    try:
        return _of_bytes(raw, kind) if binary else _of_text(raw.decode(), kind)
    except (ValueError, ArithmeticError, struct.error, InvalidOperation):
        raise SqlRefusal("22P02", "a parameter is not of the type it says") from None


def told(value: Any, kind: int) -> bytes | None:
    """A value of a result, as text."""
    if value is None:
        return None
    if kind == _BOOL:
        return b"t" if value else b"f"
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    return (repr(value) if isinstance(value, float) else str(value)).encode()


def _of_text(text: str, kind: int) -> Any:
    if kind in _INTEGERS:
        return int(text)
    if kind in _FLOATS:
        return float(text)
    if kind == _NUMERIC:
        return _number(Decimal(text))
    if kind == _BOOL:
        return _truth(text)
    if kind == _BYTES:
        return bytes.fromhex(text.removeprefix("\\x"))
    return text


def _of_bytes(raw: bytes, kind: int) -> Any:
    if kind in _INTEGERS:
        return int.from_bytes(raw, "big", signed=True)
    if kind in _FLOATS:
        return struct.unpack(_FLOATS[kind], raw)[0]
    if kind == _NUMERIC:
        return _number(_digits(raw))
    if kind == _BOOL:
        return int(raw != b"\0")
    if kind == _BYTES:
        return raw
    if kind == _DATE:
        return (date(2000, 1, 1) + timedelta(days=int.from_bytes(raw, "big", signed=True))).isoformat()
    if kind == _TIME:
        return (_BEGIN + timedelta(microseconds=int.from_bytes(raw, "big"))).time().isoformat()
    if kind in _MOMENTS:
        return (_BEGIN + timedelta(microseconds=int.from_bytes(raw, "big", signed=True))).isoformat(" ")
    return raw.decode()


def _digits(raw: bytes) -> Decimal:
    count, weight, sign, _ = struct.unpack_from("!hhHh", raw)
    if sign == _NAN:
        raise ValueError
    groups = struct.unpack_from(f"!{count}h", raw, 8)
    found = sum((Decimal(group) * Decimal(_GROUP) ** (weight - at) for at, group in enumerate(groups)), Decimal(0))
    return -found if sign == _MINUS else found


def _number(value: Decimal) -> Any:
    """A whole number keeps its digits; others have those of a float."""
    if not value.is_finite():
        raise ValueError
    return int(value) if value == value.to_integral_value() else float(value)


def _truth(text: str) -> int:
    if text.lower() in _TRUE:
        return 1
    if text.lower() in _FALSE:
        return 0
    raise ValueError
