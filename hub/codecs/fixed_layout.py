"""The layout of fixed-width records: what ``format`` of the codec ``fixed`` may say."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hub.i18n import t

__all__ = ["MAX_LENGTH", "RECORD", "FixedField", "FixedFormat"]

#: The key that tells the type of a record where a layout has several.
RECORD = "record"
#: Longest record, and so longest field.
MAX_LENGTH = 1 << 20
_MAX_FIELDS = 5000
_MAX_DIGITS = 1000


class FixedField(BaseModel):
    """One field of a fixed-width record."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", description="absent: filler, not read and written as padding")
    length: int = Field(ge=1, le=MAX_LENGTH, description="in the unit of ``by``")
    start: int | None = Field(
        None, ge=1, le=MAX_LENGTH, description="position of the first one, from 1; default: after the field before"
    )
    type: Literal["text", "number"] = Field(
        "text", description="number: digits with an optional sign before or after them, no decimal point"
    )
    decimals: int = Field(0, ge=0, le=18, description="number: how many of its digits are decimals")
    align: Literal["left", "right", ""] = Field("", description="default: text left, number right")
    pad: str = Field("", max_length=1, description="default: a blank; for numbers that stand right 0")
    value: str | None = Field(None, description="what always stands here; it tells types of records apart")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.type == "number" and self.value is not None:
            raise ValueError(t("a field with value: must be text", "带 value: 的字段须为文本"))
        if self.value is not None and len(self.value) > self.length:
            raise ValueError(t("value: is longer than the field", "value: 超过字段长度"))
        if self.type == "number" and self.length > _MAX_DIGITS:
            raise ValueError(t(f"a number has at most {_MAX_DIGITS} digits", f"数字至多 {_MAX_DIGITS} 位"))
        if self.type == "text" and self.decimals:
            raise ValueError(t("decimals: is for numbers", "decimals: 仅用于数字"))
        if self.pad and not " " <= self.pad <= "~":
            raise ValueError(t("pad: must be an ASCII character", "pad: 须为 ASCII 字符"))
        if self.type == "number" and self.pad and self.pad not in " 0*":
            raise ValueError(t("a number is padded with 0, blank or *", "数字只能以 0、空格或 * 填充"))
        if self.type == "number" and self.pad == "0" and self.align == "left":
            raise ValueError(t("zeros behind a number change it", "在数字之后补 0 会改变数值"))
        return self

    @property
    def right(self) -> bool:
        return self.align == "right" or (not self.align and self.type == "number")

    @property
    def padding(self) -> str:
        return self.pad or ("0" if self.type == "number" and self.right else " ")


class FixedFormat(BaseModel):
    """``format`` of the codec ``fixed``: either ``fields``, or ``records`` where a file has several types."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["bytes", "characters"] = Field(
        "bytes", description="what lengths count; a Chinese character has 2 bytes in GBK, 3 in UTF-8"
    )
    fields: list[FixedField] = Field(default_factory=list, max_length=_MAX_FIELDS)
    records: dict[str, list[FixedField]] = Field(
        default_factory=dict, description="type of record -> its fields; told apart by those with value:"
    )
    length: int | None = Field(
        None,
        ge=1,
        le=MAX_LENGTH,
        description="length of every record, where it ends in filler; default: that of its fields",
    )
    line_end: Literal["crlf", "lf", "none"] = Field(
        "crlf", description="reading takes both ends of lines; none: records follow one another"
    )
    short_rows: Literal["error", "fill"] = Field(
        "error", description="fill: blanks missing at the end of a line are added"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.fields) == bool(self.records):
            raise ValueError(t("give either fields: or records:", "fields: 与 records: 须给出其一"))
        lengths = set()
        for kind, fields in self.layouts.items():
            size = _check(fields, kind)
            if self.length is not None and size > self.length:
                raise ValueError(t(f"{kind or 'the fields'}: longer than length:", f"{kind or '字段'}：超过 length:"))
            lengths.add(self.length or size)
        if self.line_end == "none" and len(lengths) > 1:
            raise ValueError(
                t(
                    "records that follow one another must be equally long; set length:",
                    "连续排列的记录须等长，请设置 length:",
                )
            )
        kinds = list(self.records)
        without = [kind for kind in kinds if all(field.value is None for field in self.records[kind])]
        if without and without != kinds[-1:]:
            raise ValueError(
                t(
                    f"{without[0]}: no field has value:, by which it is told from others; only the last type may do without",
                    f"{without[0]}：没有带 value: 的字段，无法与其他类型区分；仅最后一种类型可以没有",
                )
            )
        return self

    @property
    def layouts(self) -> dict[str, list[FixedField]]:
        """Type of record -> fields; one type without a name where there are no others."""
        return self.records or {"": self.fields}


def _check(fields: list[FixedField], kind: str) -> int:
    """The length of a record; raises ``ValueError`` for fields that overlap or share a name."""
    head = f"{kind}: " if kind else ""
    if not fields or len(fields) > _MAX_FIELDS:
        raise ValueError(head + t(f"1 to {_MAX_FIELDS} fields", f"字段数须为 1 至 {_MAX_FIELDS}"))
    end = 0
    names: set[str] = set()
    for field in fields:
        begin = end if field.start is None else field.start - 1
        told = field.name or t("a filler", "填充字段")
        if begin < end:
            raise ValueError(head + t(f"{told} begins inside the field before it", f"{told} 与前一字段重叠"))
        if field.name in names or (kind and field.name == RECORD):
            raise ValueError(head + t(f"the name {field.name} is taken", f"名称 {field.name} 已被使用"))
        if field.name:
            names.add(field.name)
        end = begin + field.length
        if end > MAX_LENGTH:
            raise ValueError(head + t(f"longer than {MAX_LENGTH}", f"超过 {MAX_LENGTH}"))
    return end
