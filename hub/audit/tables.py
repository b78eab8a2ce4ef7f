"""The trail as a file for people and other programs: CSV, Excel, JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from hub.audit.entries import class_of
from hub.codecs.excel_write import MAX_TEXT, workbook
from hub.errors import HubError
from hub.i18n import t

__all__ = ["FORMATS", "MEDIA", "MOST_EXCEL", "Format", "written"]

Format = Literal["csv", "xlsx", "json"]
FORMATS: tuple[Format, ...] = ("csv", "xlsx", "json")
MEDIA: dict[Format, str] = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "json": "application/json",
}
#: Rows of one workbook: it is made in memory.
MOST_EXCEL = 200_000

_COLUMNS = (
    "time",
    "class",
    "actor",
    "address",
    "action",
    "subject",
    "result",
    "reason",
    "detail",
    "chain",
    "number",
    "hash",
)
#: What a cell of a workbook can't hold.
_NO_CELL = re.compile("[\x00-\x1f\ud800-\udfff\ufffe\uffff]")
#: What a spreadsheet takes for a formula when it opens a CSV file.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _time(at: Any) -> str:
    """Local, with the offset; "" for what is no time."""
    try:
        return datetime.fromtimestamp(at / 1e6, UTC).astimezone().isoformat(timespec="milliseconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def _texts(row: dict[str, Any]) -> list[str]:
    entry = row["entry"]
    at = entry.get("at")
    detail = entry.get("detail", "")
    action = str(entry.get("action", ""))
    return [
        _time(at),
        class_of(action),
        str(entry.get("actor", "")),
        str(entry.get("address", "")),
        action,
        str(entry.get("subject", "")),
        str(entry.get("result") or "done"),
        str(entry.get("reason", "")),
        detail if isinstance(detail, str) else json.dumps(detail, ensure_ascii=False, sort_keys=True),
        str(row["chain"]),
        str(row["seq"]),
        str(row["hash"]),
    ]


def written(rows: Iterable[dict[str, Any]], form: Format) -> Iterator[bytes]:
    """The file, in parts. Times are local, with their offset. Raises :class:`HubError` where there is too much for a workbook."""
    if form == "csv":
        return _csv(rows)
    if form == "xlsx":
        return iter([_xlsx(rows)])
    return _json(rows)


def _csv(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    yield b"\xef\xbb\xbf"  # Excel takes UTF-8 for the local code page without it
    yield _csv_line(list(_COLUMNS))
    for row in rows:
        yield _csv_line([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in _texts(row)])


def _csv_line(cells: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue().encode("utf-8", "backslashreplace")


def _xlsx(rows: Iterable[dict[str, Any]]) -> bytes:
    table: list[dict[str, Any]] = []
    for row in rows:
        if len(table) >= MOST_EXCEL:
            raise HubError(
                t(f"more than {MOST_EXCEL} entries for a workbook", f"超过 {MOST_EXCEL} 条，无法放入一个工作簿"),
                code="audit.export",
                remedy=t("choose a shorter time, or csv", "请缩短时间范围，或用 csv"),
            )
        table.append(dict(zip(_COLUMNS, (_NO_CELL.sub("·", cell)[:MAX_TEXT] for cell in _texts(row)), strict=True)))
    return workbook([("audit", list(_COLUMNS), True, table)])


def _json(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    yield b'{"entries":['
    for number, row in enumerate(rows):
        yield (b",\n" if number else b"\n") + json.dumps(row, ensure_ascii=True).encode()
    yield b"\n]}\n"
