"""Writes workbooks of plain tables (ECMA-376, SpreadsheetML).

Texts stay text, so that ``00123`` and ``=A1`` come out as they are; numbers are numbers up to the 15 digits Excel holds and text beyond.
The same rows always give the same bytes.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any
from xml.sax.saxutils import escape

from hub.codecs.records import Row, cell_text, place_of_row, refuse_unknown
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["MAX_TEXT", "Sheet", "workbook"]

#: Longest text of a cell, characters.
MAX_TEXT = 32_767
_CODEC = "excel"
_DIGITS = 15
_NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
#: What XML can't hold, and what would be read as an escape (ST_Xstring).
_IMPOSSIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LOOKS_ESCAPED = re.compile("_(?=x[0-9A-Fa-f]{4}_)")
_NO_NAME = re.compile(r"[\[\]:*?/\\\x00-\x1f]|^'|'$")
_LONGEST_NAME = 31
_EARLIEST = (1980, 1, 1, 0, 0, 0)
#: Style 0 is for numbers, 1 for text, so that Excel keeps what people type over it as text.
_STYLES = (
    f'{_HEAD}<styleSheet xmlns="{_NAMESPACE}"><fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="2"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)

#: Name, columns, whether these are written as the first row, rows.
Sheet = tuple[str, list[str], bool, list[Row]]


def workbook(sheets: Sequence[Sheet]) -> bytes:
    """The file; raises :class:`CodecError` for names and values a workbook can't hold."""
    _check_names([name for name, _, _, _ in sheets])
    numbers = range(1, len(sheets) + 1)
    parts = {
        "[Content_Types].xml": _content_types(numbers),
        "_rels/.rels": _relations([("officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": _workbook([sheet[0] for sheet in sheets]),
        "xl/_rels/workbook.xml.rels": _relations(
            [*(("worksheet", f"worksheets/sheet{number}.xml") for number in numbers), ("styles", "styles.xml")]
        ),
        "xl/styles.xml": _STYLES,
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in parts.items():
            _put(archive, path, text)
        for number, (_, columns, with_header, rows) in enumerate(sheets, 1):
            _put(archive, f"xl/worksheets/sheet{number}.xml", _sheet(columns, with_header, rows))
    return out.getvalue()


def _put(archive: zipfile.ZipFile, path: str, text: str) -> None:
    archive.writestr(zipfile.ZipInfo(path, _EARLIEST), text.encode("utf-8"), zipfile.ZIP_DEFLATED)


def _check_names(names: list[str]) -> None:
    for name in names:
        if not name or len(name) > _LONGEST_NAME or _NO_NAME.search(name) or _IMPOSSIBLE.search(name):
            raise CodecError(
                t("a name no sheet can have", "工作表名称无效"),
                code="excel.sheet",
                remedy=t("1 to 31 characters without [ ] : * ? / \\", "1 至 31 个字符，不含 [ ] : * ? / \\"),
            )
    if not names or len({name.casefold() for name in names}) != len(names):
        raise CodecError(t("sheets need different names", "工作表名称须各不相同"), code="excel.sheet")


def _content_types(numbers: Iterable[int]) -> str:
    sheets = "".join(
        f'<Override PartName="/xl/worksheets/sheet{number}.xml" ContentType="{_TYPES}.worksheet+xml"/>'
        for number in numbers
    )
    return (
        f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPES}.styles+xml"/>{sheets}</Types>'
    )


def _relations(targets: Iterable[tuple[str, str]]) -> str:
    inner = "".join(
        f'<Relationship Id="rId{number}" Type="{_RELATIONS}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets, 1)
    )
    return f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">{inner}</Relationships>'


def _workbook(names: list[str]) -> str:
    sheets = "".join(
        f'<sheet name="{_attribute(name)}" sheetId="{number}" r:id="rId{number}"/>'
        for number, name in enumerate(names, 1)
    )
    return f'{_HEAD}<workbook xmlns="{_NAMESPACE}" xmlns:r="{_RELATIONS}"><sheets>{sheets}</sheets></workbook>'


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})


def _sheet(columns: list[str], with_header: bool, rows: list[Row]) -> str:
    letters = [_letters(number) for number in range(1, len(columns) + 1)]
    known = dict.fromkeys(columns).keys()
    lines = [f'{_HEAD}<worksheet xmlns="{_NAMESPACE}"><sheetData>']
    at = 1
    if with_header and columns:
        cells = [_cell(name, letter, 1, 0, name) for name, letter in zip(columns, letters, strict=True)]
        lines.append(f'<row r="1">{"".join(cells)}</row>')
        at = 2
    for number, row in enumerate(rows, 1):
        if not row.keys() <= known:
            raise refuse_unknown(row, known, number, _CODEC)
        cells = [
            _cell(value, letter, at, number, name)
            for name, letter in zip(columns, letters, strict=True)
            if (value := row.get(name)) is not None and value != ""
        ]
        lines.append(f'<row r="{at}">{"".join(cells)}</row>')
        at += 1
    lines.append("</sheetData></worksheet>")
    return "".join(lines)


def _letters(number: int) -> str:
    """1 is A, 27 is AA."""
    found = ""
    while number:
        number, rest = divmod(number - 1, 26)
        found = chr(65 + rest) + found
    return found


def _cell(value: Any, letter: str, at: int, number: int, column: str) -> str:
    if value is True or value is False:
        return f'<c r="{letter}{at}" t="b"><v>{int(value)}</v></c>'
    text = cell_text(value, _CODEC, number, column)
    if isinstance(value, int | float | Decimal) and len(text.strip("-").replace(".", "").strip("0")) <= _DIGITS:
        return f'<c r="{letter}{at}"><v>{text}</v></c>'
    if len(text) > MAX_TEXT or _IMPOSSIBLE.search(text):
        raise CodecError(
            t(
                f"a text with more than {MAX_TEXT} characters, or with control characters",
                f"文本超过 {MAX_TEXT} 个字符或含控制字符",
            ),
            place=place_of_row(number, column),
            code="excel.value",
            remedy=t("shorten or clean it in the mapping", "请在映射中截短或清理"),
        )
    if "_x" in text:
        text = _LOOKS_ESCAPED.sub("_x005F_", text)
    text = escape(text, {"\r": "&#13;"})
    return f'<c r="{letter}{at}" s="1" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
