"""The first row of a table: names of columns, or already a record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hub.codecs.records import MAX_COLUMNS, looks_like_names, unique_names
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["TableFormat", "header_of"]


class TableFormat(BaseModel):
    """What the options of ``csv`` and ``excel`` have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    header: Literal["first", "none", "auto"] = Field(
        "first", description="whether the first row names the columns; auto: when it looks like names"
    )
    columns: list[str] = Field(
        default_factory=list,
        max_length=MAX_COLUMNS,
        description="names in order: those a header must hold, those of a table without header, and those written",
    )
    skip: int = Field(0, ge=0, le=1000, description="lines before the table that are not read")

    @field_validator("columns")
    @classmethod
    def _different(cls, value: list[str]) -> list[str]:
        if unique_names(value) != value:
            raise ValueError(
                t(
                    "names of columns must be different, not empty, without outer blanks",
                    "列名须各不相同、非空且首尾无空格",
                )
            )
        return value


def header_of(options: TableFormat, record: Sequence[Any], place: str, codec: str) -> tuple[list[str], bool]:
    """(names of the columns, whether this first record holds them); raises :class:`CodecError`."""
    if len(record) > MAX_COLUMNS:
        raise CodecError(
            t(f"more than {MAX_COLUMNS} columns", f"超过 {MAX_COLUMNS} 列"), place=place, code=f"{codec}.columns"
        )
    declared = options.columns
    names = unique_names(record) if options.header != "none" else []
    missing = [name for name in declared if name not in set(names)]
    if options.header == "first" and missing:
        raise CodecError(
            t(f"the header lacks the column {missing[0]}", f"表头缺少列 {missing[0]}"),
            place=place,
            code=f"{codec}.header",
            remedy=t(
                "correct the file or columns:; title lines before the header: skip:",
                "请更正文件或 columns:；表头之前的标题行请用 skip: 跳过",
            ),
        )
    if options.header == "first" or (
        options.header == "auto" and (not missing if declared else looks_like_names(record))
    ):
        return names, True
    return list(declared) or [f"c{number}" for number in range(1, len(record) + 1)], False
