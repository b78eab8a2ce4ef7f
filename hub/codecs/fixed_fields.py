"""One field of a fixed-width record, read and written."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hub.codecs.fixed_layout import FixedField
from hub.i18n import t

__all__ = ["FieldError", "Written", "field_reader", "field_writer", "part_decoder"]

#: Text, what fills it up on the left, what on the right; one of the two is empty.
Written = tuple[str, str, str]

_NUMBER = re.compile(r"([+-]?)(\d+)([+-]?)", re.ASCII)
_WRITTEN = re.compile(r"[+-]?\d{1,1000}(?:\.\d{0,1000})?", re.ASCII)
_LONGEST_EXPONENT = 1000


class FieldError(Exception):
    """What is wrong with the value of a field; the caller knows the place."""


def field_reader(field: FixedField) -> Callable[[str], Any]:
    """From the text in a field to its value: text or null; for numbers int, or Decimal with implied decimals, or null."""
    pad = field.padding
    if field.type == "number":
        return _number_reader(field.decimals, " " if pad == "0" else f" {pad}")
    if field.right:
        return lambda text: text.lstrip(pad) or None
    return lambda text: text.rstrip(pad) or None


def _number_reader(decimals: int, pads: str) -> Callable[[str], int | Decimal | None]:
    def read(text: str) -> int | Decimal | None:
        text = text.strip(pads)
        if not text:
            return None
        found = _NUMBER.fullmatch(text)
        if found is None or (found[1] and found[3]):
            raise FieldError(t("not a number", "不是数字"))
        digits = found[2]
        if decimals:
            digits = digits.zfill(decimals + 1)
            digits = f"{digits[:-decimals]}.{digits[-decimals:]}"
        signed = "-" + digits if "-" in (found[1], found[3]) else digits
        return Decimal(signed) if decimals else int(signed)

    return read


def part_decoder(field: FixedField, charset: str) -> Callable[[bytes], str]:
    """From the bytes in a field to their text.

    A sender that cuts a name at the field's end leaves half a character there: that half is dropped. Anything else that
    does not fit the character set is a :class:`FieldError`.
    """
    incremental = codecs.getincrementaldecoder(charset)
    # A blank is never the second byte of a character, so that half a character is seen also where blanks follow it.
    blanks = field.padding == " " and not field.right

    def decode(part: bytes) -> str:
        if blanks:
            part = part.rstrip(b" ")
        try:
            return part.decode(charset)
        except UnicodeDecodeError:
            pass
        try:
            return incremental().decode(part, final=False)
        except UnicodeDecodeError as error:
            raise FieldError(t(f"the bytes are not {charset}", f"字节不是 {charset}")) from error

    return decode


def field_writer(field: FixedField) -> Callable[[Any], Written]:
    """From a value to what stands in the field; raises :class:`FieldError`."""
    pad = field.padding
    sides = (pad, "") if field.right else ("", pad)
    constant = field.value
    if constant is not None:

        def write_constant(value: Any) -> Written:
            if value is not None and value != constant:
                raise FieldError(t("another value must stand here", "此处须为规定的固定值"))
            return constant, *sides

        return write_constant

    if field.type == "number":

        def write_number(value: Any) -> Written:
            if value is None or value == "":
                return "", " ", ""
            text = _digits(value, field.decimals)
            if pad == "0" and text[0] == "-":  # the sign stands before the zeros
                return "-" + text[1:].rjust(field.length - 1, "0"), *sides
            return text, *sides

        return write_number

    def write_text(value: Any) -> Written:
        text = "" if value is None else _text(value)
        if "\n" in text or "\r" in text:
            raise FieldError(t("the value holds a line end", "值中含换行"))
        return text, *sides

    return write_text


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < 14_000:
        return str(value)
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < _LONGEST_EXPONENT:
        return format(value, "f")
    kind = type(value).__name__
    raise FieldError(t(f"text is needed, this is of type {kind}", f"应为文本，实为 {kind} 类型"))


def _digits(value: Any, decimals: int) -> str:
    """A number without its decimal point, with ``-`` before it when it is negative."""
    if isinstance(value, str) and _WRITTEN.fullmatch(value.strip()):
        number = Decimal(value.strip())
    elif isinstance(value, int | Decimal) and not isinstance(value, bool):
        number = Decimal(value)
    elif isinstance(value, float):
        number = Decimal(repr(value))
    else:
        raise FieldError(t("not a number", "不是数字"))
    if not number.is_finite() or abs(number.adjusted()) > _LONGEST_EXPONENT:
        raise FieldError(t("not a number that can be written", "不是可写出的数字"))
    sign, figures, exponent = number.as_tuple()
    digits = "".join(map(str, figures))
    shift = int(exponent) + decimals
    if shift >= 0:
        digits += "0" * shift
    else:
        dropped = digits[shift:]
        if dropped.strip("0"):
            raise FieldError(t(f"more than {decimals} decimals", f"小数超过 {decimals} 位"))
        digits = digits[:shift]
    digits = digits.lstrip("0") or "0"
    return "-" + digits if sign and digits != "0" else digits
