"""JSON Lines: one JSON value per line, in a tree ``{"rows": [values]}``. Empty lines are left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from hub.codecs import text_charset
from hub.codecs.base import Codec, Joint
from hub.codecs.json_codec import JsonCodec
from hub.codecs.records import JOINED_ROWS, MAX_ROWS, joined_rows, too_many_rows
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["JsonLinesCodec"]

_BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb"[^\n]+")
_NUMBERS = re.compile(r"\d+")
_JSON = JsonCodec()


class JsonLinesCodec(Codec):
    """See the module. Values are read and written as the codec ``json`` does; places of errors count lines of the whole."""

    name: ClassVar[str] = "jsonl"
    content_type: ClassVar[str] = "application/x-ndjson"
    joins: ClassVar[tuple[str, ...]] = JOINED_ROWS

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        data = text_charset.decode(raw, encoding, self.name).encode("utf-8") if encoding else raw.removeprefix(_BOM)
        rows: list[Any] = []
        number, seen = 1, 0
        for found in _LINE.finditer(data):
            number += found.start() - seen  # nothing but ends of lines between two of them
            seen = found.end()
            line = found[0]
            if not line.strip():
                continue
            if len(rows) == MAX_ROWS:
                raise too_many_rows(self.name)
            try:
                rows.append(_JSON.decode(line))
            except CodecError as error:
                raise _at_line(error, number) from error
        return {"rows": rows}

    def join(self, trees: Sequence[Any], way: str, joint: Joint) -> Any:
        return joined_rows(trees, self.name)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        rows = tree.get("rows") if isinstance(tree, dict) else tree
        if not isinstance(rows, list):
            raise CodecError(
                t("there is no list of rows", "没有行列表"),
                code="jsonl.tree",
                remedy=t("write fields: {rows: {each: …}}", "请写 fields: {rows: {each: …}}"),
            )
        if len(rows) > MAX_ROWS:
            raise too_many_rows(self.name)
        lines: list[bytes] = []
        for number, row in enumerate(rows, 1):
            try:
                lines.append(_JSON.encode(row))
            except CodecError as error:
                raise _at_line(error, number) from error
        out = b"\n".join((*lines, b"")) if lines else b""
        return text_charset.encode(out.decode("utf-8"), encoding, self.name) if encoding else out


def _at_line(error: CodecError, number: int) -> CodecError:
    """The error of one value with its place in the whole: the last number of its own place is a column or byte of the line."""
    text = error.text.removeprefix(f"{error.place}: ") if error.place else error.text
    within = _NUMBERS.findall(error.place)
    column = t(f" column {within[-1]}", f"第 {within[-1]} 列") if len(within) > 1 else ""
    byte = t(f" byte {within[0]}", f"第 {within[0]} 字节") if len(within) == 1 else ""
    return CodecError(
        text, place=t(f"line {number}", f"第 {number} 行") + column + byte, code=error.code, remedy=error.remedy
    )
