"""What the codecs of records share: CSV, Excel, fixed width, JSON Lines.

Their trees hold ``rows``, a list of objects. A value that is empty in the file is null, because mappings take that as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from hub.codecs.base import Codec
from hub.errors import CodecError
from hub.i18n import t
from hub.masking import mask_text

__all__ = [
    "JOINED_ROWS",
    "MAX_CELLS",
    "MAX_COLUMNS",
    "MAX_ROWS",
    "Received",
    "Row",
    "cell_text",
    "columns_of",
    "joined_rows",
    "looks_like_names",
    "most_rows",
    "place_of_row",
    "refuse_unknown",
    "rows_of",
    "too_many_rows",
    "unique_names",
    "untouched",
]

Row = dict[str, Any]
#: The one way in which documents of records are joined.
JOINED_ROWS = ("rows",)
#: Most records of one message.
MAX_ROWS = 1_000_000
#: Most columns of a table, as in Excel.
MAX_COLUMNS = 16_384
#: Most cells of one message; each takes about 100 bytes of memory.
MAX_CELLS = 5_000_000
#: A cell that no table uses as the name of a column.
_VALUE = re.compile(r"[\d+-]|.*\d{5}", re.DOTALL)
_LONGEST_NAME = 64


class Received(dict[str, Any]):
    """A tree that knows the bytes it was read from, and how."""

    __slots__ = ("codec", "encoding", "raw")

    def __init__(self, tree: dict[str, Any], raw: bytes, codec: Codec, encoding: str) -> None:
        super().__init__(tree)
        self.raw, self.codec, self.encoding = raw, codec, encoding


def untouched(tree: Any, codec: Codec, encoding: str) -> bytes | None:
    """The bytes a tree was read from, when this codec read it and nothing was changed since; None otherwise."""
    if not (isinstance(tree, Received) and tree.codec is codec and tree.encoding == encoding):
        return None
    return tree.raw if codec.decode(tree.raw, encoding=encoding) == tree else None


def rows_of(tree: Any, codec: str) -> list[Row]:
    """The records to write: those of ``rows``, or of a tree that is a list itself. A table with a header may have none."""
    rows = tree.get("rows", [] if tree.get("header") else None) if isinstance(tree, dict) else tree
    if not isinstance(rows, list):
        raise CodecError(
            t("there is no list of rows", "没有行列表"),
            code=f"{codec}.tree",
            remedy=t(
                "write fields: {rows: {each: …}} or fields: {each: …}",
                "请写 fields: {rows: {each: …}} 或 fields: {each: …}",
            ),
        )
    if len(rows) > MAX_ROWS:
        raise too_many_rows(codec)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise CodecError(
                t("a row must be an object of names and values", "行须为键值对象"),
                place=place_of_row(number),
                code=f"{codec}.tree",
            )
    return rows


def joined_rows(trees: Iterable[Any], codec: str) -> dict[str, Any]:
    """The records of several trees in one; an object without ``rows`` is a record itself."""
    rows: list[Any] = []
    for tree in trees:
        found = tree.get("rows", [tree]) if isinstance(tree, dict) else tree
        rows += found if isinstance(found, list) else [found]
    if len(rows) > MAX_ROWS:
        raise too_many_rows(codec)
    return {"rows": rows}


def most_rows(width: int) -> int:
    """How many rows of so many columns a message may have."""
    return min(MAX_ROWS, MAX_CELLS // max(width, 1))


def too_many_rows(codec: str) -> CodecError:
    return CodecError(
        t(f"more than {MAX_ROWS} rows or {MAX_CELLS} values", f"超过 {MAX_ROWS} 行或 {MAX_CELLS} 个值"),
        code=f"{codec}.rows",
        remedy=t("send several smaller files", "请拆分为多个文件"),
    )


def columns_of(tree: Any, rows: Iterable[Row], declared: Sequence[str]) -> list[str]:
    """The columns to write: those declared, else the tree's ``header``, else every key of the rows in order of appearance."""
    if declared:
        return list(declared)
    header = tree.get("header") if isinstance(tree, dict) else None
    if isinstance(header, list) and header and all(isinstance(name, str) for name in header):
        return list(dict.fromkeys(header))
    return [str(name) for name in dict.fromkeys(name for row in rows for name in row)]


def place_of_row(number: int, column: str = "") -> str:
    """A place in what is to be written; rows count from 1, without the header."""
    told = t(f" column {column}", f" {column} 列") if column else ""
    return t(f"row {number}", f"第 {number} 行") + told


def refuse_unknown(row: Row, known: Iterable[str], number: int, codec: str) -> CodecError:
    """The error for a row with a value in no column."""
    columns = set(known)
    extra = mask_text(next(str(name) for name in row if name not in columns))
    return CodecError(
        t(f"there is no column {extra}", f"没有列 {extra}"),
        place=place_of_row(number),
        code=f"{codec}.column",
        remedy=t("correct the mapping, or add it to the columns of format:", "请更正映射，或在 format: 中添加该列"),
    )


def cell_text(value: Any, codec: str, number: int, column: str) -> str:
    """A value as it stands in a cell: numbers without exponent, ``true`` and ``false``, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() < 14_000:
        return str(value)
    if isinstance(value, float | Decimal):
        exact = Decimal(repr(value)) if isinstance(value, float) else value
        if exact.is_finite() and abs(exact.adjusted()) < 400:
            return format(exact, "f")
    raise CodecError(
        t(f"a value of type {type(value).__name__} can't be written", f"类型为 {type(value).__name__} 的值无法写出"),
        place=place_of_row(number, column),
        code=f"{codec}.value",
        remedy=t("give text or a number; join lists with join(',')", "请给出文本或数字；列表可用 join(',') 合并"),
    )


def unique_names(cells: Sequence[Any]) -> list[str]:
    """Names of columns: blanks trimmed; one without a name is called by its number (``c3``), one that repeats gets ``_2``, ``_3`` …"""
    given = [" ".join(str(cell).replace("\ufeff", "").split()) if cell else "" for cell in cells]
    taken = set(given)
    found: dict[str, None] = {}
    counts: dict[str, int] = {}
    for number, name in enumerate(given, 1):
        wanted = name or f"c{number}"
        unique, count = wanted, counts.get(wanted, 1)
        while unique in found or (unique != name and unique in taken):
            count += 1
            unique = f"{wanted}_{count}"
        counts[wanted] = count
        found[unique] = None
    return list(found)


def looks_like_names(cells: Sequence[Any]) -> bool:
    """Whether a first row names the columns: every cell filled, none twice, none that begins like a number or holds five digits."""
    texts = [cell.strip() if isinstance(cell, str) else "" for cell in cells]
    if not texts or len(set(texts)) != len(texts):
        return False
    return all(text and len(text) <= _LONGEST_NAME and not _VALUE.match(text) for text in texts)
