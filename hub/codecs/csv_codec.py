"""CSV and its relatives with tab, semicolon or bar (RFC 4180 and what is met in practice).

The standard library's reader splits; it is written in C and strict about quotes. The tree is
``{"header": [names], "rows": [{name: text}]}``. Every value is text, so that leading zeros stay; an empty one is null; rows without any value
are left out.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import BaseModel, Field, field_validator

from hub.codecs import text_charset
from hub.codecs.base import Codec, Joint
from hub.codecs.records import (
    JOINED_ROWS,
    MAX_CELLS,
    MAX_COLUMNS,
    Received,
    Row,
    cell_text,
    columns_of,
    joined_rows,
    looks_like_names,
    most_rows,
    place_of_row,
    refuse_unknown,
    rows_of,
    too_many_rows,
    untouched,
)
from hub.codecs.table_header import TableFormat, header_of
from hub.errors import CodecError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["MAX_FIELD", "CsvCodec", "CsvFormat"]

#: Longest value, characters.
MAX_FIELD = 16 << 20
# One limit for the process, and 128 K characters unless set: too little for a value that is a document.
csv.field_size_limit(MAX_FIELD)

_NAMES = {"tab": "\t", "comma": ",", "semicolon": ";", "bar": "|"}
#: Most telling first: text holds commas more often than tabs.
_CANDIDATES = "\t|;,"
_SAMPLE = 64 << 10
_SAMPLE_LINES = 20
_QUOTED = re.compile(r'"[^"]*"')
#: What Excel writes into the first line where its delimiter is not the comma.
_SEPARATOR_LINE = re.compile(r'"?sep=([^\r\n"])"?(?:\r\n|\r|\n)', re.IGNORECASE)


class CsvFormat(TableFormat):
    """``format`` of the codec ``csv``."""

    delimiter: str = Field(
        "auto",
        description="one character, or tab, comma, semicolon, bar; auto: found out when reading, comma when writing",
    )
    quotes: bool = Field(True, description="false: a quotation mark is a character like others")
    short_rows: Literal["error", "fill"] = Field(
        "error", description="fill: missing values at the end of a row are absent, empty ones too many are dropped"
    )
    quoting: Literal["minimal", "all"] = Field("minimal", description="when writing: quotes where needed, or always")
    line_end: Literal["crlf", "lf"] = Field("crlf", description="when writing")
    bom: bool = Field(False, description="when writing: a byte order mark, from which Excel knows UTF-8")

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str) -> str:
        found = _NAMES.get(value, value)
        if value != "auto" and (len(found) != 1 or found in '"\r\n'):
            raise ValueError(
                t(
                    "the delimiter must be one character, tab, comma, semicolon, bar or auto",
                    "分隔符须为单个字符，或 tab、comma、semicolon、bar、auto",
                )
            )
        return found


class CsvCodec(Codec):
    """See the module."""

    name: ClassVar[str] = "csv"
    content_type: ClassVar[str] = "text/csv"
    joins: ClassVar[tuple[str, ...]] = JOINED_ROWS
    format_options: ClassVar[type[BaseModel] | None] = CsvFormat

    def __init__(self, options: CsvFormat | None = None) -> None:
        self._options = options or CsvFormat()

    def configured(self, options: BaseModel) -> Self:
        return type(self)(cast(CsvFormat, options))

    # -- reading -------------------------------------------------------------------------------------------------

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        header, rows = self._table(text_charset.decode(raw, encoding, self.name))
        return Received({"header": header, "rows": rows}, raw, self, encoding)

    def _table(self, text: str) -> tuple[list[str], list[Row]]:
        options = self._options
        stream = io.StringIO(text, newline="")
        skipped = 0
        delimiter = options.delimiter
        if delimiter == "auto":
            found = _SEPARATOR_LINE.match(text)
            skipped = 1 if found else 0
            delimiter = found[1] if found else self._find_delimiter(text)
        if text.count(delimiter) > MAX_CELLS:
            raise CodecError(
                t(f"more than {MAX_CELLS} values", f"超过 {MAX_CELLS} 个值"),
                code="csv.size",
                remedy=t("send several smaller files", "请拆分为多个文件"),
            )
        skipped += options.skip
        for _ in range(skipped):
            stream.readline()
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if options.quotes else csv.QUOTE_NONE
        return self._rows(csv.reader(stream, delimiter=delimiter, quoting=quoting, strict=True), skipped)

    def _rows(self, reader: Any, skipped: int) -> tuple[list[str], list[Row]]:
        """The records; ``reader`` counts lines from where it began."""
        header: list[str] = []
        rows: list[Row] = []
        width = limit = 0
        tell = bool(self._options.columns)
        end = 0  # last line of the record before
        try:
            for record in reader:
                if not record:
                    end = reader.line_num
                    continue
                if not header:
                    header, is_header = header_of(self._options, record, _line(end + 1 + skipped), self.name)
                    width = len(header)
                    limit = most_rows(width)
                    tell = tell or (is_header and looks_like_names(record))
                    if is_header:
                        end = reader.line_num
                        continue
                if len(record) != width:
                    record = self._fitted(record, header, end + 1 + skipped, tell)
                if "" in record:
                    record = [value or None for value in record]
                    if not any(record):
                        end = reader.line_num
                        continue
                if len(rows) == limit:
                    raise too_many_rows(self.name)
                rows.append(dict(zip(header, record, strict=False)))
                end = reader.line_num
        except csv.Error as error:
            raise _damaged(error, end + 1 + skipped) from error
        return header or list(self._options.columns), rows

    def _fitted(self, record: list[str], header: list[str], line: int, tell: bool) -> list[str]:
        """A row that has not as many values as there are columns, where that may be mended."""
        width, size = len(header), len(record)
        if self._options.short_rows == "fill":
            if size < width:
                return record + [""] * (width - size)
            if not any(record[width:]):
                return record[:width]
        if size < width:
            name = f" ({mask_text(header[size])})" if tell else ""
            what = t(
                f"{size} values for {width} columns; column {size + 1}{name} is the first without",
                f"共 {width} 列，仅有 {size} 个值；自第 {size + 1} 列{name}起缺失",
            )
        else:
            what = t(f"{size} values for {width} columns", f"共 {width} 列，却有 {size} 个值")
        raise CodecError(
            what,
            place=_line(line),
            code="csv.ragged",
            remedy=t(
                "a delimiter inside a value needs quotes; short_rows: fill takes rows that end early",
                "值中的分隔符须加引号；short_rows: fill 可接受提前结束的行",
            ),
        )

    def _find_delimiter(self, text: str) -> str:
        """The delimiter every line has equally often; the most frequent one of these."""
        sample = text[:_SAMPLE]
        if self._options.quotes:
            sample = _QUOTED.sub("", sample)
        lines = sample.splitlines()[self._options.skip :]
        if len(text) > _SAMPLE and len(lines) > 1:
            lines.pop()  # cut off
        lines = [line for line in lines if line.strip()][:_SAMPLE_LINES]
        wanted = len(self._options.columns) - 1
        best, best_rank = ",", (False, False, 0)
        for candidate in _CANDIDATES:
            counts = [line.count(candidate) for line in lines]
            if counts and min(counts) > 0:
                rank = (counts[0] == wanted, min(counts) == max(counts), min(counts))
                if rank > best_rank:
                    best, best_rank = candidate, rank
        return best

    # -- writing -------------------------------------------------------------------------------------------------

    def join(self, trees: Sequence[Any], way: str, joint: Joint) -> Any:
        return joined_rows(trees, self.name)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        kept = untouched(tree, self, encoding)
        if kept is not None:
            return kept
        options = self._options
        rows = rows_of(tree, self.name)
        columns = columns_of(tree, rows, options.columns)
        if len(columns) > MAX_COLUMNS:
            raise CodecError(t(f"more than {MAX_COLUMNS} columns", f"超过 {MAX_COLUMNS} 列"), code="csv.columns")
        lines = _Lines()
        delimiter = "," if options.delimiter == "auto" else options.delimiter
        quoting: Literal[0, 1, 3] = (
            csv.QUOTE_NONE if not options.quotes else csv.QUOTE_ALL if options.quoting == "all" else csv.QUOTE_MINIMAL
        )
        writer = csv.writer(lines, delimiter=delimiter, quoting=quoting, lineterminator="\r\n")
        number = 0
        try:
            if columns and options.header != "none":
                writer.writerow(columns)
            for number, record in enumerate(self._records(rows, columns), 1):  # noqa: B007 - told when it fails
                writer.writerow(record)
        except csv.Error as error:
            raise CodecError(
                t("a value holds the delimiter or a line end, and quotes are off", "值中含分隔符或换行，而引号已关闭"),
                place=place_of_row(number),
                code="csv.value",
                remedy=t("replace it in the mapping, or allow quotes", "请在映射中替换，或启用引号"),
            ) from error
        text = lines.text("\r\n" if options.line_end == "crlf" else "\n")
        # Python writes the mark of "utf-16" itself.
        marked = (
            options.bom
            and text_charset.is_unicode(encoding)
            and encoding.lower() not in ("utf-16", "utf16", "utf-8-sig")
        )
        return text_charset.encode("\ufeff" + text if marked else text, encoding, self.name)

    def _records(self, rows: list[Row], columns: list[str]) -> Iterator[list[Any]]:
        known = dict.fromkeys(columns).keys()
        for number, row in enumerate(rows, 1):
            if not row.keys() <= known:
                raise refuse_unknown(row, known, number, self.name)
            record = list(map(row.get, columns))
            yield [
                value if type(value) is str or value is None else cell_text(value, self.name, number, column)
                for value, column in zip(record, columns, strict=True)
            ]


class _Lines:
    """Takes the writer's lines. It ends them in CR LF and so quotes both characters in values, whatever ends lines in the file."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def write(self, line: str) -> None:
        self._lines.append(line[:-2])

    def text(self, end: str) -> str:
        return end.join((*self._lines, "")) if self._lines else ""


def _line(number: int) -> str:
    return t(f"line {number}", f"第 {number} 行")


def _damaged(error: csv.Error, line: int) -> CodecError:
    """What the reader found wrong with a record that begins at a line."""
    reason = str(error)
    if "field limit" in reason:
        return CodecError(
            t(f"a value is longer than {MAX_FIELD} characters", f"有值超过 {MAX_FIELD} 个字符"),
            place=_line(line),
            code="csv.size",
        )
    what = (
        t("a quotation mark is never closed", "引号未闭合")
        if "unexpected end" in reason
        else t("something follows a closing quotation mark", "闭合引号之后有多余字符")
    )
    return CodecError(
        what,
        place=_line(line),
        code="csv.quotes",
        remedy=t(
            "a quotation mark in a value is written twice; quotes: false takes them as characters",
            "值中的引号须写两次；quotes: false 将引号视为普通字符",
        ),
    )
