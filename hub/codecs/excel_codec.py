"""Excel workbooks (``.xlsx``): the tables of one sheet, or of all.

The tree is ``{"name": sheet, "header": [names], "rows": [{name: text}]}``; with ``sheet: "*"`` it is ``{"sheets": [such trees]}``. Values are text as
in the codec ``csv``: dates ISO 8601, numbers without exponent and with the zeros their format puts in front. An empty cell is null, rows
without any value are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast

from pydantic import BaseModel, Field

from hub.codecs.base import Codec, Joint
from hub.codecs.excel_read import Book, SheetPart
from hub.codecs.excel_write import Sheet, workbook
from hub.codecs.records import (
    JOINED_ROWS,
    MAX_COLUMNS,
    Received,
    Row,
    columns_of,
    joined_rows,
    most_rows,
    rows_of,
    too_many_rows,
    untouched,
)
from hub.codecs.table_header import TableFormat, header_of
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["ExcelCodec", "ExcelFormat"]

_ALL = "*"
_DEFAULT_NAME = "Sheet1"


class ExcelFormat(TableFormat):
    """``format`` of the codec ``excel``."""

    sheet: str = Field(
        "", description='name of the sheet; default: the first one that is not hidden; "*": all of these'
    )


class ExcelCodec(Codec):
    """See the module."""

    name: ClassVar[str] = "excel"
    content_type: ClassVar[str] = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    joins: ClassVar[tuple[str, ...]] = JOINED_ROWS
    format_options: ClassVar[type[BaseModel] | None] = ExcelFormat

    def __init__(self, options: ExcelFormat | None = None) -> None:
        self._options = options or ExcelFormat()

    def configured(self, options: BaseModel) -> Self:
        return type(self)(cast(ExcelFormat, options))

    # -- reading -------------------------------------------------------------------------------------------------

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        book = Book(raw)
        tables = [self._table(sheet.name, book.rows(sheet)) for sheet in self._chosen(book.sheets)]
        tree = {"sheets": tables} if self._options.sheet == _ALL else tables[0]
        return Received(tree, raw, self, encoding)

    def _chosen(self, sheets: list[SheetPart]) -> list[SheetPart]:
        wanted = self._options.sheet
        visible = [sheet for sheet in sheets if sheet.visible] or sheets
        if wanted == _ALL:
            found = visible
        else:
            found = [sheet for sheet in sheets if sheet.name == wanted] if wanted else visible[:1]
        if not found:
            named = t(f"there is no sheet {wanted}", f"没有工作表 {wanted}")
            raise CodecError(
                named if wanted and wanted != _ALL else t("there is no sheet", "没有工作表"),
                code="excel.sheet",
                remedy=t("correct the file, or sheet: in format:", "请更正文件，或 format: 中的 sheet:"),
            )
        return found

    def _table(self, name: str, found: list[tuple[int, list[str | None]]]) -> dict[str, Any]:
        header: list[str] = []
        rows: list[Row] = []
        for number, values in found:
            if number <= self._options.skip:
                continue
            place = t(f"row {number}", f"第 {number} 行")
            if not header:
                header, is_header = header_of(self._options, values, place, self.name)
                if is_header:
                    continue
            if len(values) > len(header):
                size, width = len(values), len(header)
                raise CodecError(
                    t(f"a value in column {size}, the table has {width}", f"第 {size} 列有值，而表格仅有 {width} 列"),
                    place=place,
                    code="excel.ragged",
                    remedy=t(
                        "name the column in the header, or clear the cell", "请在表头中为该列命名，或清除该单元格"
                    ),
                )
            if len(rows) == most_rows(len(header)):
                raise too_many_rows(self.name)
            row: Row = dict.fromkeys(header)
            row.update(zip(header, values, strict=False))
            rows.append(row)
        return {"name": name, "header": header or list(self._options.columns), "rows": rows}

    # -- writing -------------------------------------------------------------------------------------------------

    def join(self, trees: Sequence[Any], way: str, joint: Joint) -> Any:
        return joined_rows(trees, self.name)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        kept = untouched(tree, self, encoding)
        if kept is not None:
            return kept
        sheets = tree.get("sheets") if isinstance(tree, dict) else None
        if sheets is None:
            name = "" if self._options.sheet == _ALL else self._options.sheet
            return workbook([self._sheet(tree, name or _DEFAULT_NAME)])
        if not isinstance(sheets, list):
            raise CodecError(t("sheets must be a list", "sheets 须为列表"), code="excel.tree")
        return workbook([self._sheet(sheet, f"Sheet{number}") for number, sheet in enumerate(sheets, 1)])

    def _sheet(self, tree: Any, default: str) -> Sheet:
        rows = rows_of(tree, self.name)
        columns = columns_of(tree, rows, self._options.columns)
        if len(columns) > MAX_COLUMNS:
            raise CodecError(t(f"more than {MAX_COLUMNS} columns", f"超过 {MAX_COLUMNS} 列"), code="excel.columns")
        name = tree.get("name") if isinstance(tree, dict) else None
        return str(name or default), columns, self._options.header != "none", rows
