"""Records of fixed width, as banks, insurers and older systems exchange them.

Fields are cut by bytes or by characters, as the layout says. The tree is ``{"rows": [{name: value}]}``. Where a file has several types of
records, each row tells its own under ``record``, and all stay in the order of the file: ``rows[record=='detail']``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast

from pydantic import BaseModel

from hub.codecs import text_charset
from hub.codecs.base import Codec, Joint
from hub.codecs.fixed_layout import FixedFormat
from hub.codecs.fixed_table import FixedTable
from hub.codecs.records import JOINED_ROWS, Received, joined_rows, rows_of, untouched
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["FixedCodec"]

_BOM = b"\xef\xbb\xbf"


class FixedCodec(Codec):
    """See the module. It can do nothing before it is configured with a layout. The character set is UTF-8 unless the contract says
    otherwise: bytes that may end in half a character can't be told apart by looking at them."""

    name: ClassVar[str] = "fixed"
    content_type: ClassVar[str] = "text/plain"
    joins: ClassVar[tuple[str, ...]] = JOINED_ROWS
    format_options: ClassVar[type[BaseModel] | None] = FixedFormat

    def __init__(self, options: FixedFormat | None = None) -> None:
        self._options = options
        self._tables: dict[str, FixedTable] = {}  # per character set: one to read, perhaps another to write

    def configured(self, options: BaseModel) -> Self:
        return type(self)(cast(FixedFormat, options))

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        table, by_bytes = self._table(text_charset.reading_name(encoding))
        data = raw.removeprefix(_BOM)
        rows = table.read(data if by_bytes else text_charset.decode(data, encoding or "utf-8", self.name))
        return Received({"rows": rows}, raw, self, encoding)

    def join(self, trees: Sequence[Any], way: str, joint: Joint) -> Any:
        return joined_rows(trees, self.name)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        kept = untouched(tree, self, encoding)
        if kept is not None:
            return kept
        table, by_bytes = self._table(encoding)
        rows = rows_of(tree, self.name)
        return table.write_bytes(rows) if by_bytes else text_charset.encode(table.write_text(rows), encoding, self.name)

    def _table(self, charset: str) -> tuple[FixedTable, bool]:
        """(the compiled layout, whether it cuts bytes)"""
        options = self._options
        if options is None:
            raise CodecError(
                t("fixed-width records need a layout", "定长记录须有布局"),
                code="fixed.layout",
                remedy=t("give the interface format: with fields:", "请在接口中用 format: 给出 fields:"),
            )
        by_bytes = options.by == "bytes"
        # What is cut as text needs no set of its own.
        name = (charset or "utf-8") if by_bytes else "utf-8"
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = FixedTable(options, name)
        return table, by_bytes
