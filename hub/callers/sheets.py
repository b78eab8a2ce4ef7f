"""Lists of addresses as CSV or Excel tables, for import and export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hub.callers.errors import CallersError
from hub.codecs.base import Codec
from hub.codecs.csv_codec import CsvCodec
from hub.codecs.excel_codec import ExcelCodec
from hub.i18n import t

__all__ = ["COLUMNS", "read_rows", "written"]

COLUMNS = ("network", "caller", "note", "enabled", "expires_at")
#: What people write above the columns.
_ALSO = {
    "network": ("ip", "address", "cidr", "网段", "地址", "ip地址"),
    "caller": ("client", "调用方"),
    "note": ("description", "remark", "备注", "说明"),
    "enabled": ("状态", "启用"),
    "expires_at": ("expires", "有效期", "到期时间"),
}
_MOST_BYTES = 32 << 20


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a ``.csv`` or ``.xlsx`` file, its columns by name. Raises :class:`HubError`."""
    codec = _codec(file)
    raw = file.read_bytes()
    if len(raw) > _MOST_BYTES:
        raise CallersError(t(f"{file} is larger than 32 MB", f"{file} 超过 32 MB"), code="callers.sheet")
    tree = codec.decode(raw)
    rows: Sequence[Mapping[str, Any]] = tree["rows"]
    names = {other: name for name, others in _ALSO.items() for other in (name, *others)}
    header = [name for name in tree["header"] if str(name).strip().lower() in names]
    columns = {shown: names[str(shown).strip().lower()] for shown in header}
    if "network" not in columns.values():
        raise CallersError(
            t(f"{file} has no column network", f"{file} 没有 network 列"),
            code="callers.sheet",
            remedy=t(f"columns: {', '.join(COLUMNS)}", f"列：{'、'.join(COLUMNS)}"),
        )
    made = [{name: row.get(shown) or "" for shown, name in columns.items()} for row in rows]
    return [{name: value for name, value in row.items() if value} for row in made if row["network"]]


def written(file: Path, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The rules of :meth:`hub.callers.orders.CallerOrders.addresses`, as the file's name says; :func:`read_rows` reads it."""
    made = [
        {
            "network": row["network"],
            "caller": row["caller"],
            "note": row["note"],
            "enabled": "1" if row["enabled"] else "0",
            "expires_at": datetime.fromtimestamp(row["expires_at"]).isoformat() if row["expires_at"] else "",
        }
        for row in rows
    ]
    return _codec(file).encode({"header": list(COLUMNS), "rows": made})


def _codec(file: Path) -> Codec:
    found: dict[str, type[Codec]] = {".csv": CsvCodec, ".xlsx": ExcelCodec}
    kind = found.get(file.suffix.lower())
    if kind is None:
        raise CallersError(t(f"{file}: .csv or .xlsx", f"{file}：须为 .csv 或 .xlsx"), code="callers.sheet")
    return kind()
