"""Reads the tables of a workbook: rows of text as a person sees them (ECMA-376, SpreadsheetML).

Formulas are never computed: the value that was stored last counts. Nothing is parsed before the archive is known to stay within limits and
no part of it declares entities.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, Any

from lxml import etree

from hub.codecs.archive import check_zip, read_entry
from hub.codecs.excel_formats import kind_of_format, number_text
from hub.codecs.records import MAX_CELLS, MAX_COLUMNS
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["Book", "SheetPart"]

_OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HEAD = 64 << 10
_ROOT = re.compile(rb"<[A-Za-z_]")
_DOCTYPE = b"<!DOCTYPE"
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_RANGE = re.compile(r"([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})", re.ASCII)
_LAST_ROW = 1_048_576
#: Most bytes of XML held as elements at once; a hundred times the size in memory.
_MAX_AT_ONCE = 8 << 20

Cells = list[str | None]


class SheetPart:
    """A sheet of a book: its name, whether people see it, where it is in the archive."""

    __slots__ = ("name", "part", "visible")

    def __init__(self, name: str, visible: bool, part: str) -> None:
        self.name, self.visible, self.part = name, visible, part


class Book:
    """A workbook that is safe to read. Every method raises :class:`CodecError` and nothing else."""

    def __init__(self, raw: bytes) -> None:
        if raw.startswith(_OLD):
            raise CodecError(
                t("an old .xls workbook, or one with a password", "旧版 .xls 工作簿，或设有密码的工作簿"),
                code="excel.old",
                remedy=t("save it as .xlsx without a password", "请另存为不带密码的 .xlsx"),
            )
        self._archive = check_zip(raw, "excel.archive")
        self._entries = {info.filename.lower(): info for info in self._archive.infolist()}
        with _guarded():
            self._read_structure()

    def _read_structure(self) -> None:
        main = next(
            (part for kind, part in self._relations("").values() if kind == "officeDocument"), "xl/workbook.xml"
        )
        relations = self._relations(main)
        root = self._tree(main)
        properties = root.find("{*}workbookPr")
        self._from_1904 = properties is not None and properties.get("date1904") in ("1", "true", "on")
        self.sheets: list[SheetPart] = []
        for sheet in root.iterfind("{*}sheets/{*}sheet"):
            identity = next((value for name, value in sheet.items() if name.endswith("}id")), "")
            kind, part = relations.get(identity, ("", ""))
            if kind == "worksheet":
                visible = sheet.get("state", "visible") == "visible"
                self.sheets.append(SheetPart(sheet.get("name", ""), visible, part))
        by_kind = dict(relations.values())
        self._kinds = self._formats(by_kind["styles"]) if "styles" in by_kind else []
        self._shared = self._shared_texts(by_kind["sharedStrings"]) if "sharedStrings" in by_kind else []

    def _entry(self, part: str) -> zipfile.ZipInfo:
        """A part that is well-formed XML without a document type, or will fail as XML."""
        info = self._entries[part.lower()]
        _no_entities(read_entry(self._archive, info, "excel.archive", most=_HEAD))
        return info

    def _tree(self, part: str) -> Any:
        """A small part as a whole."""
        info = self._entry(part)
        if info.file_size > _MAX_AT_ONCE:
            raise _too_large()
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        return etree.fromstring(read_entry(self._archive, info, "excel.archive"), parser)

    def _relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Of a part, or of the package (""): id -> (kind, part it leads to)."""
        folder, name = posixpath.split(part)
        file = posixpath.join(folder, "_rels", f"{name}.rels")
        if file.lower() not in self._entries:
            return {}
        found = {}
        for relation in self._tree(file).iterfind("{*}Relationship"):
            kind = relation.get("Type", "").rsplit("/", 1)[-1]
            target = posixpath.normpath(posixpath.join("/", folder, relation.get("Target", ""))).lstrip("/")
            found[relation.get("Id", "")] = (kind, target)
        return found

    def _formats(self, part: str) -> list[str]:
        """For each style of cells, what its numbers mean."""
        root = self._tree(part)
        patterns = {item.get("numFmtId"): item.get("formatCode", "") for item in root.iterfind("{*}numFmts/{*}numFmt")}
        kinds: dict[str, str] = {}
        for style in root.iterfind("{*}cellXfs/{*}xf"):
            identity = style.get("numFmtId", "0")
            if identity not in kinds:
                kinds[identity] = kind_of_format(int(identity), patterns.get(identity))
        return [kinds[style.get("numFmtId", "0")] for style in root.iterfind("{*}cellXfs/{*}xf")]

    def _shared_texts(self, part: str) -> list[str]:
        with self._archive.open(self._entry(part)) as stream:
            return [_text(item) for item in _elements(stream, "{*}si")]

    # -- rows ----------------------------------------------------------------------------------------------------

    def rows(self, sheet: SheetPart) -> list[tuple[int, Cells]]:
        """(number of the row, its texts without empty ones at the end) of rows that have any.

        A merged cell has its text in every cell it covers, as far as the table reaches.
        """
        found: list[tuple[int, Cells]] = []
        merged: list[str] = []
        number = cells = 0
        with _guarded(), self._archive.open(self._entry(sheet.part)) as stream:
            for element in _elements(stream, "{*}row", "{*}mergeCell"):
                if element.tag.endswith("mergeCell"):
                    merged.append(element.get("ref", ""))
                    continue
                at = int(element.get("r") or number + 1)
                if not number < at <= _LAST_ROW:
                    raise _invalid()
                number = at
                values = self._cells(element, number)
                if values:
                    cells += len(values)
                    if cells > MAX_CELLS:
                        raise _too_large()
                    found.append((number, values))
            _spread(found, merged)
        return found

    def _cells(self, row: Any, number: int) -> Cells:
        values: Cells = []
        column = 0
        for cell in row:
            reference = cell.get("r")
            column = _column(reference.rstrip("0123456789")) if reference else column + 1
            if not 1 <= column <= MAX_COLUMNS:
                raise _too_large()
            value = self._value(cell, number)
            if value is None:
                continue
            missing = column - len(values) - 1
            if missing == 0:
                values.append(value)
            elif missing > 0:
                values.extend([None] * missing)
                values.append(value)
            else:
                values[column - 1] = value
        return values

    def _value(self, cell: Any, number: int) -> str | None:
        if not len(cell):
            return None
        kind = cell.get("t", "n")
        child = cell[-1]
        if not child.tag.endswith(("}v", "}is")):  # a formula without a value, or something after the value
            child = next((other for other in cell if other.tag.endswith(("}v", "}is"))), None)
            if child is None:
                return None
        if kind == "inlineStr":
            return _text(child) or None
        written = child.text
        if not written:
            return None
        if kind == "s":
            return self._shared[int(written)] or None
        if kind == "n":
            style = int(cell.get("s", 0))
            try:
                return number_text(written, self._kinds[style] if style < len(self._kinds) else "", self._from_1904)
            except ValueError:
                raise CodecError(
                    t("a cell for a number holds none", "数字单元格中不是数字"),
                    place=t(f"row {number}", f"第 {number} 行"),
                    code="excel.value",
                ) from None
        if kind == "b":
            return "true" if written.strip() in ("1", "true") else "false"
        return _unescaped(str(written))


def _no_entities(head: bytes) -> None:
    """Refuses a document type: no part of a workbook has one, and entities are what it would be for. It can only stand before the root."""
    if b"\0" in head[:4]:
        head = head.replace(b"\0", b"")  # UTF-16: the characters looked for are ASCII
    root = _ROOT.search(head)
    if root is None or _DOCTYPE in head[: root.start()]:
        raise _invalid()


@contextmanager
def _guarded() -> Iterator[None]:
    """Whatever the structure of a damaged file causes becomes a :class:`CodecError`."""
    try:
        yield
    except CodecError:
        raise
    except Exception as error:
        raise _invalid() from error


def _invalid() -> CodecError:
    return CodecError(
        t("not an .xlsx workbook, or damaged", "不是 .xlsx 工作簿，或已损坏"),
        code="excel.invalid",
        remedy=t("open it in Excel and save it as .xlsx", "请用 Excel 打开并另存为 .xlsx"),
    )


def _too_large() -> CodecError:
    return CodecError(
        t(f"more than {MAX_COLUMNS} columns or {MAX_CELLS} cells", f"超过 {MAX_COLUMNS} 列或 {MAX_CELLS} 个单元格"),
        code="excel.size",
        remedy=t("send several smaller files", "请拆分为多个文件"),
    )


class _Measured:
    """A part as it is read, up to a limit between two elements that are taken out: what lies between them stays in memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.since = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.since += len(data)
        if self.since > _MAX_AT_ONCE:
            raise _too_large()
        return data


def _elements(stream: IO[bytes], *tags: str) -> Iterator[Any]:
    """Elements as they are complete; each, and everything before it, is thrown away when the next is asked for."""
    measured = _Measured(stream)
    for _, element in etree.iterparse(
        measured, events=("end",), tag=tags, resolve_entities=False, no_network=True, load_dtd=False
    ):
        yield element
        measured.since = 0
        element.clear(keep_tail=False)
        above = element
        while (parent := above.getparent()) is not None:
            while above.getprevious() is not None:
                del parent[0]
            above = parent


def _text(item: Any) -> str:
    """The text of a string item: as a whole or in runs of different looks; readings (``rPh``) are not part of it."""
    if len(item) == 1 and item[0].tag.endswith("}t"):
        return _unescaped(item[0].text or "")
    parts = []
    for child in item:
        if child.tag.endswith("}t"):
            parts.append(child.text or "")
        elif child.tag.endswith("}r"):
            parts += [inner.text or "" for inner in child if inner.tag.endswith("}t")]
    return _unescaped("".join(parts))


def _unescaped(text: str) -> str:
    """ST_Xstring: characters XML can't hold stand there as ``_x000D_``."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


@lru_cache(maxsize=MAX_COLUMNS)
def _column(letters: str) -> int:
    """A is 1, AA is 27; more than three letters are beyond the last column."""
    number = 0
    for letter in letters[:4]:
        number = number * 26 + ord(letter) - 64
    return number


def _spread(rows: list[tuple[int, Cells]], merged: list[str]) -> None:
    """Put the texts of merged cells into all the cells they cover, as far as the table reaches."""
    if not merged or not rows:
        return
    by_number = dict(rows)
    width = max(len(values) for _, values in rows)
    work = 0
    for reference in merged:
        found = _RANGE.fullmatch(reference)
        if found is None:
            continue  # a single cell
        first, last = _column(found[1]) - 1, min(_column(found[3]), width)
        top, bottom = int(found[2]), min(int(found[4]), rows[-1][0])
        source = by_number.get(top, [])
        text = source[first] if first < len(source) else None
        work += 1 + max(0, bottom - top + 1) * max(0, last - first)
        if work > MAX_CELLS:
            raise _too_large()
        for number in range(top, bottom + 1) if text is not None else ():
            values = by_number.get(number)
            if values is not None:
                values.extend([None] * (last - len(values)))
                values[first:last] = [text] * (last - first)
