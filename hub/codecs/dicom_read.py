"""Finds the data elements of DICOM bytes (PS3.5 chapter 7, PS3.10 chapter 7) without copying or decoding any value.

Only the elements of the outermost data set are listed; of sequences no more is looked at than it takes to find their end. No input makes it
recurse, and how much it looks at is limited.
"""

from __future__ import annotations

import struct
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from hub.codecs.dicom_dictionary import place_of, vr_of
from hub.errors import CodecError
from hub.i18n import t

__all__ = [
    "MAX_ELEMENTS",
    "MAX_INFLATED",
    "MAX_ITEMS",
    "File",
    "Place",
    "Sliced",
    "Syntax",
    "read_elements",
    "read_file",
    "read_items",
]

#: Most elements of one data set, most headers passed over to find its end, deepest nesting of sequences, most items of one.
MAX_ELEMENTS = 20_000
MAX_HEADERS = 1_000_000
MAX_DEPTH = 32
MAX_ITEMS = 50_000
#: Largest size a deflated data set may unfold to, bytes.
MAX_INFLATED = 256 << 20
_UNDEFINED = 0xFFFFFFFF
_DELIMITERS = 0xFFFE
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
#: VRs with a length of four bytes behind two that are reserved (PS3.5, table 7.1-1), and those of two bytes.
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS"}
    | {b"ST", b"TM", b"UI", b"UL", b"US"}
)
_TEXT_OF_VR = {vr: vr.decode() for vr in _LONG | _SHORT}
_IMPLICIT_UID, _EXPLICIT_UID = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_DEFLATED_UID, _BIG_UID = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
_PREAMBLE = 128
_MAGIC = b"DICM"
_TRANSFER_SYNTAX = 0x00020010


class Sliced(ABC):
    """Bytes that can't be had as one piece, such as those of an encrypted file: :func:`read_elements` takes them for ``bytes``."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, part: slice) -> bytes: ...


class Syntax(NamedTuple):
    """How elements are written. ``uid`` is "" for a bare data set, whose syntax was found by looking."""

    explicit: bool
    big: bool = False
    uid: str = ""
    deflated: bool = False


class Place(NamedTuple):
    """Where an element is: VR ("" where it is not written), its first byte, its value, the end of its value, its own end."""

    vr: str
    start: int
    value: int
    value_end: int
    end: int


@dataclass(frozen=True, slots=True)
class File:
    """``data`` holds the data set: the bytes that came, or what was deflated in them. ``head``: how many bytes come before the meta
    information.
    """

    data: bytes
    head: int
    syntax: Syntax
    meta: dict[int, Place]
    elements: dict[int, Place]


_TAG = {False: struct.Struct("<HH"), True: struct.Struct(">HH")}
_LENGTH = {False: struct.Struct("<L"), True: struct.Struct(">L")}
_HALF = {False: struct.Struct("<H"), True: struct.Struct(">H")}
_IMPLICIT = {False: struct.Struct("<HHL"), True: struct.Struct(">HHL")}


def _wrong(text: str, at: int, code: str, tag: int = 0, remedy: str = "") -> NoReturn:
    place = t(f"byte {at}", f"第 {at} 字节")
    raise CodecError(text, place=f"{place} {place_of(tag)}" if tag else place, code=code, remedy=remedy)


def _truncated(at: int, tag: int = 0) -> NoReturn:
    _wrong(t("the data end in the middle of an element", "数据在元素中间结束"), at, "dicom.truncated", tag)


def _header(data: bytes, at: int, end: int, explicit: bool, big: bool) -> tuple[int, str, int, int]:
    """(tag, VR, where the value begins, its length); there are at least 8 bytes."""
    if isinstance(data, Sliced):
        window = data[at : min(at + 12, end)]
        if explicit and len(window) < 12 and window[4:6] in _LONG:
            _truncated(at)
        found, name, value, length = _header(window, 0, len(window), explicit, big)
        return found, name, at + value, length
    if explicit:
        vr = data[at + 4 : at + 6]
        group, element = _TAG[big].unpack_from(data, at)
        tag = group << 16 | element
        if vr in _SHORT:
            return tag, _TEXT_OF_VR[vr], at + 8, _HALF[big].unpack_from(data, at + 6)[0]
        if vr in _LONG:
            if at + 12 > end:
                _truncated(at, tag)
            return tag, _TEXT_OF_VR[vr], at + 12, _LENGTH[big].unpack_from(data, at + 8)[0]
        if b"AA" <= vr <= b"ZZ" and vr.isalpha() and group != _DELIMITERS:
            return tag, "UN", at + 8, _HALF[big].unpack_from(data, at + 6)[0]
        # Some writers change to implicit elements within sequences.
    group, element, length = _IMPLICIT[big].unpack_from(data, at)
    return group << 16 | element, "", at + 8, length


def _undefined_end(data: bytes, at: int, end: int, explicit: bool, big: bool, tag: int, left: int) -> tuple[int, int]:
    """(where the delimiter of a sequence of undefined length is, headers left to look at)."""
    start = at
    # Of each open level: whether items are expected (or elements, in an item), and whether VRs are written.
    levels = [(True, explicit)]
    while True:
        if at + 8 > end:
            _truncated(start, tag)
        left -= 1
        if left < 0:
            _wrong(t(f"more than {MAX_HEADERS} elements", f"超过 {MAX_HEADERS} 个元素"), at, "dicom.elements", tag)
        items, with_vr = levels[-1]
        if items:
            inner, _, value, length = _header(data, at, end, False, big)
            if inner == _SEQUENCE_END:
                levels.pop()
                if not levels:
                    return at, left
                at = value
                continue
            if inner != _ITEM:
                _wrong(t("an item was expected", "此处应为条目（item）"), at, "dicom.sequence", tag)
            if length == _UNDEFINED:
                levels.append((False, with_vr))
                at = value
                continue
        else:
            inner, vr, value, length = _header(data, at, end, with_vr, big)
            if inner == _ITEM_END:
                levels.pop()
                at = value
                continue
            if inner >> 16 == _DELIMITERS:
                _wrong(t("an item is not closed", "条目未结束"), at, "dicom.sequence", tag)
            if length == _UNDEFINED:
                if len(levels) >= 2 * MAX_DEPTH:
                    _too_deep(at, tag)
                levels.append((True, with_vr and vr != "UN"))
                at = value
                continue
        if length > end - value:
            _truncated(at, inner)
        at = value + length


def _too_deep(at: int, tag: int) -> NoReturn:
    _wrong(t(f"sequences nested deeper than {MAX_DEPTH}", f"序列嵌套超过 {MAX_DEPTH} 层"), at, "dicom.depth", tag)


def read_elements(
    data: bytes, at: int, end: int, explicit: bool, big: bool, *, group: int = 0, ascending: bool = False
) -> tuple[dict[int, Place], int]:
    """(the elements of a data set, where it ends): all up to ``end``, or those of one group.

    ``ascending``: refuse tags that are out of order; bytes that only look like a data set have them soon.
    """
    found: dict[int, Place] = {}
    left = MAX_HEADERS
    count = before = 0
    while at < end:
        if at + 8 > end:
            if any(data[at:end]):
                _truncated(at)
            break
        tag, vr, value, length = _header(data, at, end, explicit, big)
        if group and tag >> 16 != group:
            break
        if tag >> 16 == _DELIMITERS:
            _wrong(t("an item outside of a sequence", "条目在序列之外"), at, "dicom.sequence", tag)
        if tag == 0:
            if any(data[at:end]):
                _wrong(t("this is not an element", "此处不是数据元素"), at, "dicom.element")
            break  # zeros that fill up a block
        if length == _UNDEFINED:
            value_end, left = _undefined_end(data, value, end, explicit and vr != "UN", big, tag, left)
            stop = value_end + 8
        else:
            stop = value_end = value + length
            if stop > end:
                _truncated(at, tag)
        if tag in found:
            same = found[tag]
            if data[same.value : same.value_end] != data[value:value_end]:
                text = t("the element is there twice, with other values", "元素重复且值不同")
                _wrong(text, at, "dicom.twice", tag)
        elif ascending and tag < before:
            _wrong(t("the elements are out of order", "元素次序错误"), at, "dicom.order", tag)
        else:
            found[tag] = Place(vr, at, value, value_end, stop)
        count += 1
        if count > MAX_ELEMENTS:
            _wrong(t(f"more than {MAX_ELEMENTS} elements", f"超过 {MAX_ELEMENTS} 个元素"), at, "dicom.elements", tag)
        before, at = tag, stop
    return found, min(at, end)


def read_items(data: bytes, at: int, end: int, explicit: bool, big: bool) -> list[tuple[int, int]]:
    """The first byte and the end of the data set in each item of a sequence."""
    found: list[tuple[int, int]] = []
    left = MAX_HEADERS
    while at < end:
        if at + 8 > end:
            _truncated(at)
        tag, _, value, length = _header(data, at, end, False, big)
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM:
            _wrong(t("an item was expected", "此处应为条目（item）"), at, "dicom.sequence")
        if length == _UNDEFINED:
            stop, left = _item_end(data, value, end, explicit, big, left)
            at = stop + 8
        else:
            stop = at = value + length
            if stop > end:
                _truncated(value)
        found.append((value, stop))
        if len(found) > MAX_ITEMS:
            _wrong(t(f"more than {MAX_ITEMS} items", f"超过 {MAX_ITEMS} 个条目"), at, "dicom.elements")
    return found


def _item_end(data: bytes, at: int, end: int, explicit: bool, big: bool, left: int) -> tuple[int, int]:
    while True:
        if at + 8 > end:
            _truncated(at)
        left -= 1
        if left < 0:
            _wrong(t(f"more than {MAX_HEADERS} elements", f"超过 {MAX_HEADERS} 个元素"), at, "dicom.elements")
        tag, vr, value, length = _header(data, at, end, explicit, big)
        if tag == _ITEM_END:
            return at, left
        if tag >> 16 == _DELIMITERS:
            _wrong(t("an item is not closed", "条目未结束"), at, "dicom.sequence")
        if length == _UNDEFINED:
            delimiter, left = _undefined_end(data, value, end, explicit and vr != "UN", big, tag, left)
            at = delimiter + 8
        elif length > end - value:
            _truncated(at, tag)
        else:
            at = value + length


# -- files ---------------------------------------------------------------------------------------------------------------


def read_file(raw: bytes) -> File:
    """A file with or without preamble, or a bare data set. Raises :class:`~hub.errors.CodecError` with the byte."""
    if raw[_PREAMBLE : _PREAMBLE + 4] == _MAGIC:
        head = _PREAMBLE + 4
    elif raw[:2] == b"\x02\x00":
        head = 0  # file meta information without what should stand before it
    else:
        return _bare(raw)
    meta, start = read_elements(raw, head, len(raw), True, False, group=2)
    syntax = _syntax(raw, start, meta)
    data = raw
    if syntax.deflated:
        data, start = _inflate(raw, start), 0
    elements, _ = read_elements(data, start, len(data), syntax.explicit, syntax.big)
    if not meta and not elements:
        _truncated(len(raw))
    return File(data, head, syntax, meta, elements)


def _syntax(raw: bytes, start: int, meta: dict[int, Place]) -> Syntax:
    place = meta.get(_TRANSFER_SYNTAX)
    uid = raw[place.value : place.value_end].decode("ascii", "replace").strip(" \0") if place else ""
    if not uid:
        found = _looks_like(raw, start)
        return Syntax(found.explicit, found.big) if found else Syntax(False)
    if uid == _IMPLICIT_UID:
        found = _looks_like(raw, start)
        # Files that say implicit and are explicit exist; the bytes can tell.
        return Syntax(found is not None and found.explicit, False, uid)
    if uid == _BIG_UID:
        return Syntax(True, True, uid)
    return Syntax(True, False, uid, uid == _DEFLATED_UID)


def _looks_like(raw: bytes, at: int) -> Syntax | None:
    """The syntax of a data set by its first element; None when it can't be one."""
    if at + 8 > len(raw):
        return None
    vr = raw[at + 4 : at + 6]
    little, big = _TAG[False].unpack_from(raw, at)[0], _TAG[True].unpack_from(raw, at)[0]
    if vr in _TEXT_OF_VR:
        return Syntax(True, big < little)
    return Syntax(False) if little <= 0x7FE0 and _LENGTH[False].unpack_from(raw, at + 4)[0] <= len(raw) else None


def _bare(raw: bytes) -> File:
    syntax = _looks_like(raw, 0)
    if syntax is not None:
        group, element = _TAG[syntax.big].unpack_from(raw, 0)
        # A data set begins with an element of the standard; nearly everything else doesn't.
        if vr_of(group << 16 | element) != "UN":
            elements, _ = read_elements(raw, 0, len(raw), syntax.explicit, syntax.big, ascending=True)
            if elements:
                return File(raw, 0, syntax, {}, elements)
    zipped = raw.startswith(b"\x1f\x8b")
    raise CodecError(
        t("these bytes are not DICOM", "字节不是 DICOM"),
        place=t("byte 0", "第 0 字节"),
        code="dicom.not_dicom",
        remedy=t("they are compressed with gzip: unpack them first", "内容为 gzip 压缩，请先解压") if zipped else "",
    )


def _inflate(raw: bytes, start: int) -> bytes:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(raw[start:], MAX_INFLATED)
    except zlib.error:
        _wrong(t("the deflated data set can't be unpacked", "压缩的数据集无法解压"), start, "dicom.deflate")
    if not unpacker.eof:
        if unpacker.unconsumed_tail:
            text = t(f"it unfolds to more than {MAX_INFLATED} bytes", f"解压后超过 {MAX_INFLATED} 字节")
            _wrong(text, start, "dicom.bomb")
        _truncated(len(raw))
    return data
