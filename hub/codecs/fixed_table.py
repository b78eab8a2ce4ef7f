"""A layout of fixed-width records compiled for one character set: lines to rows and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from hub.codecs.fixed_fields import FieldError, Written, field_reader, field_writer, part_decoder
from hub.codecs.fixed_layout import RECORD, FixedField, FixedFormat
from hub.codecs.records import Row, most_rows, place_of_row, refuse_unknown, too_many_rows
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["FixedTable"]

_CODEC = "fixed"
_LINE: re.Pattern[Any] = re.compile(r"[^\n]+")
_LINE_BYTES: re.Pattern[Any] = re.compile(rb"[^\n]+")
#: DOS programs end a file with it.
_END_OF_FILE = "\x1a"
#: May stand behind the last of records that follow one another.
_AFTER_LAST = "\r\n\x1a"


@dataclass(frozen=True, slots=True)
class _Cut:
    """A field to read: where it is, what its text says, how its bytes become text."""

    name: str
    place: slice
    read: Callable[[str], Any]
    decode: Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class _Constant:
    name: str
    place: slice
    text: str
    data: bytes  # as it stands in a record that is not ASCII


@dataclass(slots=True)
class _Layout:
    """One type of record."""

    kind: str
    size: int = 0
    names: set[str] = field(default_factory=set)
    cuts: list[_Cut] = field(default_factory=list)
    constants: list[_Constant] = field(default_factory=list)
    writers: list[tuple[FixedField, int, Callable[[Any], Written]]] = field(
        default_factory=list
    )  # the number: gap before it

    def fits(self, line: str | bytes) -> bool:
        if isinstance(line, str):
            return all(line[constant.place] == constant.text for constant in self.constants)
        return all(line[constant.place] == constant.data for constant in self.constants)


class FixedTable:
    """``charset`` is a Python codec in which ASCII characters are single bytes; raises :class:`CodecError` for others."""

    def __init__(self, options: FixedFormat, charset: str) -> None:
        if not _fixed_bytes(charset):
            raise CodecError(
                t(f"{charset} can't be used for fixed-width records", f"定长记录不能使用 {charset}"),
                code="fixed.charset",
                remedy=t(
                    "a set in which ASCII is one byte: gb18030, utf-8", "请使用 ASCII 占一字节的字符集：gb18030、utf-8"
                ),
            )
        self._options = options
        self._charset = charset
        self._layouts = {kind: self._compile(kind, fields) for kind, fields in options.layouts.items()}

    def _compile(self, kind: str, fields: list[FixedField]) -> _Layout:
        layout = _Layout(kind)
        if kind:
            layout.names.add(RECORD)
        end = 0
        for item in fields:
            begin = end if item.start is None else item.start - 1
            layout.writers.append((item, begin - end, field_writer(item)))
            end = begin + item.length
            place = slice(begin, end)
            if item.value is not None:
                layout.constants.append(self._constant(item, item.value, place))
            if item.name:
                layout.names.add(item.name)
                layout.cuts.append(_Cut(item.name, place, field_reader(item), part_decoder(item, self._charset)))
        layout.size = self._options.length or end
        return layout

    def _constant(self, item: FixedField, value: str, place: slice) -> _Constant:
        name = item.name or value
        try:
            data = value.encode(self._charset)
        except UnicodeEncodeError as error:
            raise CodecError(
                t(f"value: can't be written in {self._charset}", f"value: 无法用 {self._charset} 表示"),
                place=name,
                code="fixed.charset",
            ) from error
        pad = item.padding
        fill = pad.encode("ascii")
        if item.right:
            return _Constant(name, place, value.rjust(item.length, pad), data.rjust(item.length, fill))
        return _Constant(name, place, value.ljust(item.length, pad), data.ljust(item.length, fill))

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, data: str | bytes) -> list[Row]:
        """The rows of a file; bytes are cut as bytes, text as characters."""
        rows: list[Row] = []
        limit = most_rows(max(len(layout.cuts) for layout in self._layouts.values()))
        for number, part in self._blocks(data) if self._options.line_end == "none" else self._lines(data):
            if len(rows) == limit:
                raise too_many_rows(_CODEC)
            # In ASCII both ways of counting are the same, and text is read faster.
            line = part.decode("ascii") if isinstance(part, bytes) and part.isascii() else part
            layout = self._choose(line, number)
            line = self._fitted(line, layout, number)
            row: Row = {RECORD: layout.kind} if layout.kind else {}
            name = ""
            try:
                if isinstance(line, str):
                    for cut in layout.cuts:
                        name = cut.name
                        row[name] = cut.read(line[cut.place])
                else:
                    for cut in layout.cuts:
                        name = cut.name
                        row[name] = cut.read(cut.decode(line[cut.place]))
            except FieldError as error:
                self._failed(error, number, name)
            rows.append(row)
        return rows

    def _lines(self, data: Any) -> Iterator[tuple[int, Any]]:
        """(number, line) of those that are not empty."""
        pattern, carriage, last, newline = (
            (_LINE, "\r", _END_OF_FILE, "\n")
            if isinstance(data, str)
            else (_LINE_BYTES, b"\r", _END_OF_FILE.encode("ascii"), b"\n")
        )
        number, seen = 1, 0
        for found in pattern.finditer(data):
            number += found.start() - seen  # nothing but ends of lines between two of them
            seen = found.end()
            line = found[0].removesuffix(carriage)
            if line and not (line == last and data.find(newline, seen) < 0):
                yield number, line

    def _blocks(self, data: Any) -> Iterator[tuple[int, Any]]:
        """(number, record) of records without ends of lines."""
        size = next(iter(self._layouts.values())).size
        whole = len(data) // size * size
        rest = data[whole:]
        if rest.strip(_AFTER_LAST if isinstance(data, str) else _AFTER_LAST.encode("ascii")):
            raise _wrong_length(self._place(whole // size + 1), len(rest), size)
        for begin in range(0, whole, size):
            yield begin // size + 1, data[begin : begin + size]

    def _choose(self, line: str | bytes, number: int) -> _Layout:
        for layout in self._layouts.values():
            if layout.fits(line):
                return layout
        if len(self._layouts) == 1:
            constants = next(iter(self._layouts.values())).constants
            what = t("not what must stand here", "与规定的固定值不符")
            name = next(c.name for c in constants if line[c.place] != (c.text if isinstance(line, str) else c.data))
        else:
            kinds = ", ".join(self._layouts)
            what = t(f"none of the types of records {kinds}", f"不属于任何记录类型：{kinds}")
            name = ""
        raise CodecError(
            what,
            place=self._place(number, name),
            code="fixed.record",
            remedy=t("compare the file with the fields that have value:", "请核对文件与带 value: 的字段"),
        )

    def _fitted(self, line: Any, layout: _Layout, number: int) -> Any:
        """The line, as long as its layout."""
        size = len(line)
        if size == layout.size:
            return line
        if self._options.short_rows == "fill":
            if size < layout.size:
                return line.ljust(layout.size)
            if not line[layout.size :].strip():
                return line[: layout.size]
        raise _wrong_length(self._place(number), size, layout.size)

    def _place(self, number: int, name: str = "") -> str:
        if self._options.line_end == "none":
            where = t(f"record {number}", f"第 {number} 条记录")
        else:
            where = t(f"line {number}", f"第 {number} 行")
        return where + _field(name)

    def _failed(self, error: FieldError, number: int, name: str) -> NoReturn:
        raise CodecError(
            str(error),
            place=self._place(number, name),
            code="fixed.value",
            remedy=t(
                "compare the layout with the file: by:, length:, encoding:", "请核对布局与文件：by:、length:、encoding:"
            ),
        ) from error

    # -- writing -------------------------------------------------------------------------------------------------

    def write_text(self, rows: list[Row]) -> str:
        """The file, cut by characters."""
        end = self._end
        return "".join(["".join(self._parts(row, number, len)) + end for number, row in enumerate(rows, 1)])

    def write_bytes(self, rows: list[Row]) -> bytes:
        """The file, cut by bytes."""
        charset, end = self._charset, self._end
        lines: list[str] = []

        def size(text: str) -> int:
            return len(text) if text.isascii() else len(text.encode(charset))

        for number, row in enumerate(rows, 1):
            lines += self._parts(row, number, size)
            lines.append(end)
        return "".join(lines).encode(charset)

    @property
    def _end(self) -> str:
        return {"crlf": "\r\n", "lf": "\n", "none": ""}[self._options.line_end]

    def _parts(self, row: Row, number: int, size_of: Callable[[str], int]) -> list[str]:
        """What stands in one record, filler included."""
        layout = self._layouts.get("") or self._layouts.get(str(row.get(RECORD)))
        if layout is None:
            kinds = ", ".join(self._layouts)
            raise CodecError(
                t("the type of the record is missing or unknown", "记录类型缺失或未知"),
                place=place_of_row(number),
                code="fixed.record",
                remedy=t(f"give {RECORD}: one of {kinds}", f"请给出 {RECORD}：{kinds} 之一"),
            )
        if not row.keys() <= layout.names:
            raise refuse_unknown(row, layout.names, number, _CODEC)
        parts: list[str] = []
        used = 0
        for item, gap, write in layout.writers:
            try:
                text, left, right = write(row.get(item.name))
                size = size_of(text)
                if size > item.length:
                    what = t(f"the value is {size} long, the field {item.length}", f"值长 {size}，字段长 {item.length}")
                    raise FieldError(what)
            except FieldError as error:
                raise _not_written(str(error), number, item.name) from error
            except UnicodeEncodeError as error:
                what = t(f"a character can't be written in {self._charset}", f"有字符无法用 {self._charset} 表示")
                raise _not_written(what, number, item.name) from error
            fill = item.length - size
            parts += (" " * gap, left * fill, text, right * fill)
            used += gap + item.length
        parts.append(" " * (layout.size - used))
        return parts


def _fixed_bytes(charset: str) -> bool:
    """Whether ASCII characters are one byte each and every character has the same bytes wherever it stands."""
    try:
        if b"A0 ".decode(charset) != "A0 ":
            return False
        return "中中".encode(charset) == "中".encode(charset) * 2
    except UnicodeEncodeError:
        return True
    except (LookupError, ValueError):
        return False


def _field(name: str) -> str:
    return t(f" field {name}", f" 字段 {name}") if name else ""


def _wrong_length(place: str, size: int, wanted: int) -> CodecError:
    return CodecError(
        t(f"length {size} instead of {wanted}", f"长度为 {size}，应为 {wanted}"),
        place=place,
        code="fixed.length",
        remedy=t(
            "compare the layout with the file; short_rows: fill adds blanks that were trimmed",
            "请核对布局与文件；short_rows: fill 可补齐被截去的空格",
        ),
    )


def _not_written(text: str, number: int, name: str) -> CodecError:
    return CodecError(
        text,
        place=place_of_row(number) + _field(name),
        code="fixed.value",
        remedy=t("shorten or convert the value in the mapping", "请在映射中截短或转换该值"),
    )
