"""The values of a JSON body as a database takes them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from adapters.sql.connect import Source
from adapters.sql.paths import Path
from adapters.sql.rows import JsonWriter
from hub.api import PermanentError
from hub.i18n import t

__all__ = ["ValueReader", "read_body", "rows_of"]


_UTC = ZoneInfo("UTC")


def read_body(body: bytes) -> Any:
    """Decimals keep all their digits. Raises :class:`PermanentError` for what is not JSON."""
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        place = f" ({error.lineno}:{error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise PermanentError(t(f"the body is not JSON{place}", f"报文不是 JSON{place}"), code="sql.body") from None


def _no_number(text: str) -> Any:
    raise ValueError(text)


def rows_of(found: Any, most: int, path: str) -> list[Any]:
    """An object is one row, a list many; raises :class:`PermanentError` for anything else."""
    rows = found if isinstance(found, list) else [found]
    where = path or "$"
    if found is None or not all(isinstance(row, dict) for row in rows):
        raise PermanentError(
            t(f"{where} is neither an object nor a list of objects", f"{where} 不是对象，也不是对象列表"),
            code="sql.rows",
        )
    if len(rows) > most:
        raise PermanentError(
            t(
                f"{where} holds {len(rows)} rows, max_rows allows {most}",
                f"{where} 有 {len(rows)} 行，max_rows 上限为 {most}",
            ),
            code="sql.rows",
        )
    return rows


class ValueReader:
    """Reads one value of each row."""

    __slots__ = ("_convert", "_fixed", "_name", "_path")

    def __init__(self, name: str, source: Source, zone: ZoneInfo) -> None:
        self._name = name
        self._fixed = source.value
        self._path = Path(source.path) if "path" in source.model_fields_set else None
        self._convert = _converter(source.form, zone)

    def get(self, row: Any, body: Any) -> Any:
        value = self._fixed if self._path is None else self._path.get(row, body)
        if value is None:
            return None
        try:
            return self._convert(value)
        except (ValueError, TypeError, InvalidOperation, OverflowError, binascii.Error):
            raise PermanentError(
                t(
                    f"the value for {self._name} can't be made what `as` asks for",
                    f"{self._name} 的值无法按 as 的要求转换",
                ),
                code="sql.value",
            ) from None


def _converter(form: str | None, zone: ZoneInfo) -> Callable[[Any], Any]:
    def moment(value: Any) -> datetime:
        found = datetime.fromisoformat(_text(value))
        return found.astimezone(zone).replace(tzinfo=None) if found.tzinfo is not None else found

    def aware(value: Any) -> datetime:
        found = datetime.fromisoformat(_text(value))
        return found if found.tzinfo is not None else found.replace(tzinfo=zone)

    converters: Mapping[str | None, Callable[[Any], Any]] = {
        None: _plain,
        "text": _as_text,
        "integer": _integer,
        "decimal": lambda value: Decimal(_as_text(value)),
        "boolean": _boolean,
        "date": lambda value: date.fromisoformat(_text(value)),
        "time": lambda value: time.fromisoformat(_text(value)),
        "datetime": moment,
        "timestamptz": aware,
        "binary": lambda value: base64.b64decode(_text(value), validate=True),
        "json": _json,
    }
    return converters[form]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _json(value: Any) -> str:
    return JsonWriter(_UTC).dump(value).decode()


def _plain(value: Any) -> Any:
    return _json(value) if isinstance(value, dict | list) else value


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return value if isinstance(value, str) else _json(value)


def _integer(value: Any) -> int:
    found = Decimal(_as_text(value))
    if found != found.to_integral_value() or found.adjusted() > 40:
        raise ValueError
    return int(found)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "1": True, "y": True, "false": False, "0": False, "n": False}
    found = known.get(_as_text(value).lower())
    if found is None:
        raise ValueError
    return found
