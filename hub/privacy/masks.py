"""Masked forms of single values, by class: 张*, 110105********002X, 138****5678, z***@example.com, 1983-**-**."""

from __future__ import annotations

import re

from hub.masking import SECRET
from hub.privacy.model import PersonalClass

__all__ = ["CJK", "is_chinese", "masked", "shape"]

CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
is_chinese = re.compile(rf"[{CJK}·•]+\Z").match
_LONGEST = 64
_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"\d")
#: Address down to the county: what is no secret by itself, as the citizen number's first six digits say the same.
_REGION = re.compile(
    rf"(?:[{CJK}]{{2,8}}?(?:省|自治区|市|自治州|地区|盟|特别行政区)){{0,2}}(?:[{CJK}]{{1,8}}?(?:区|县|市|旗))?"
)


def masked(kind: PersonalClass, value: str, part: str = "") -> str:
    """The masked form; of what is not blank never nothing. ``part``: family or given, of a name."""
    text = value.strip()
    if not text:
        return value
    how = kind.mask
    if how == "hide":
        return SECRET
    if how == "name":
        return _name(text, part)
    if how == "email":
        local, at, domain = text.rpartition("@")
        return f"{local[0]}***@{domain[:_LONGEST]}" if at and local else SECRET
    if how == "date":
        return _date(text)
    if how == "address":
        return _address(text)
    head, tail = how if isinstance(how, tuple) else (0, 0)
    return _kept(text, head, tail)


def _name(text: str, part: str) -> str:
    if part == "family" and len(text) == 1 and is_chinese(text):
        return text  # as it is in 张*
    if part == "given" or len(text) == 1:
        return "*" * min(len(text), 8)
    return text[0] + "*" * (min(len(text), 16) - 1)


def _date(text: str) -> str:
    """The year stays where it can be told."""
    if len(text) > 4 and text[:4].isascii() and text[:4].isdigit():
        return text[:4] + re.sub(r"\w", "*", text[4:36])
    return re.sub(r"\w", "*", text[:36])


def _address(text: str) -> str:
    found = _REGION.match(text)
    end = found.end() if found else 0
    return text[:end] + SECRET if 0 < end < len(text) else SECRET


def _kept(text: str, head: int, tail: int) -> str:
    size = len(text)
    while head + tail and (head + tail) * 3 > size * 2:  # never more than two thirds of it
        head, tail = (head - 1, tail) if head >= tail else (head, tail - 1)
    if size > _LONGEST:
        return f"{text[:head]}***{text[size - tail :] if tail else ''}"
    return text[:head] + "*" * (size - head - tail) + (text[size - tail :] if tail else "")


def shape(value: str) -> str:
    """Only what a value looks like: letters as x, digits as 9; punctuation stays. At most 64 characters."""
    text = _DIGIT.sub("9", _LETTER.sub("x", value[:_LONGEST]))
    return text if len(value) <= _LONGEST else f"{text}… ({len(value)})"
