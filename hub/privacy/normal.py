"""The one form of a value in which it is hashed for search and replaced by a pseudonym, however it was written."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["check_character", "long_number", "normalised"]

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"
_BLANKS = re.compile(r"\s+")
_NOISE = re.compile(r"[\s()（）.\-]+")
_PREFIX = re.compile(r"(?:\+|00)?86(?=1[3-9]\d{9}$)")


def check_character(number: str) -> str:
    """Of the first 17 digits of a citizen number (GB 11643-1999)."""
    return _CHECKS[sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number, strict=False)) % 11]


def long_number(text: str) -> str:
    """A citizen number of 15 digits in 18 characters; anything else as it is."""
    if len(text) == 15 and text.isascii() and text.isdigit():
        body = f"{text[:6]}19{text[6:]}"
        return body + check_character(body)
    return text


def normalised(value: str, how: str) -> str:
    """By the word ``search`` of the class: id_number, phone, name, number. Full-width characters and case never matter."""
    text = unicodedata.normalize("NFKC", value).strip()
    if how == "name":
        return _BLANKS.sub("", text).casefold()
    text = text.upper()
    if how == "phone":
        return _PREFIX.sub("", _NOISE.sub("", text).removeprefix("+") if "+" in text else _NOISE.sub("", text))
    if how in ("id_number", "number"):
        text = _BLANKS.sub("", text)
        return long_number(text) if how == "id_number" else text
    return text
