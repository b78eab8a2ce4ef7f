"""Names of DICOM's data elements (PS3.6), by pydicom's dictionary, which is loaded when it is first needed.

A tag is an ``int``, group in the upper half. As text it is a keyword (``PatientName``), ``(0010,0010)``, or for a private element
``(0009,GEMS_IDEN_01,02)`` with its creator: the block that a creator has reserved in a group differs from one data set to the next (PS3.5, 7.8.1).
"""

from __future__ import annotations

import difflib
import re
from functools import cache, lru_cache
from typing import Any, NamedTuple

__all__ = ["TAG", "Name", "keyword_of", "near", "parse_name", "place_of", "private_vr", "vr_of"]

#: Groups: group, element or (creator, place in its block).
TAG = re.compile(r"\(([0-9A-Fa-f]{4}),(?:([0-9A-Fa-f]{4})|([^(),\\]{1,64}),([0-9A-Fa-f]{2}))\)", re.ASCII)
_PRIVATE_BLOCKS = range(0x10, 0x100)


class Name(NamedTuple):
    """A tag; with ``creator`` set the block is still open and the last byte is the element's place in it."""

    tag: int
    creator: str = ""


@cache
def _dictionary() -> Any:
    from pydicom import datadict

    return datadict


@lru_cache(maxsize=20_000)
def parse_name(text: str) -> Name | None:
    """A keyword or tag; None for what is none."""
    found = TAG.fullmatch(text)
    if found is None:
        tag = _dictionary().tag_for_keyword(text)
        return Name(tag) if tag is not None else None
    group = int(found[1], 16) << 16
    if found[2]:
        return Name(group | int(found[2], 16))
    return Name(group | int(found[4], 16), found[3]) if group & 0x10000 else None


def near(keyword: str) -> list[str]:
    """Keywords that look like this one, for error texts."""
    known = [entry[4] for entry in _dictionary().DicomDictionary.values()]
    return difflib.get_close_matches(keyword, known, 3)


@lru_cache(maxsize=20_000)
def vr_of(tag: int) -> str:
    """The value representation of a standard element, ``US or SS`` where it depends; ``UN`` when it is not known."""
    group, element = tag >> 16, tag & 0xFFFF
    if element == 0:
        return "UL"
    if group & 1:
        return "LO" if element in _PRIVATE_BLOCKS else "UN"
    try:
        return str(_dictionary().dictionary_VR(tag))
    except KeyError:
        return "UN"


@lru_cache(maxsize=20_000)
def private_vr(tag: int, creator: str) -> str:
    """The same of a private element whose creator is known."""
    try:
        return str(_dictionary().private_dictionary_VR(tag, creator))
    except KeyError:
        return "UN"


@lru_cache(maxsize=20_000)
def keyword_of(tag: int) -> str:
    """``PatientName``, or ``(0009,0010)`` for what has no keyword."""
    found = "" if tag >> 16 & 1 else _dictionary().keyword_for_tag(tag)
    return found or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def place_of(tag: int) -> str:
    """For error texts: ``(0010,0010) PatientName``."""
    shown = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    name = keyword_of(tag)
    return shown if name == shown else f"{shown} {name}"
