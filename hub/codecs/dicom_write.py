"""Writes DICOM: new files from plain trees, and changed files of which the rest keeps its bytes (PS3.5 chapter 7, PS3.10 chapter 7)."""

from __future__ import annotations

import struct
import uuid
import zlib
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hub.codecs.dicom_charset import UTF8, decode_text, encode_text, known_terms
from hub.codecs.dicom_dictionary import Name, keyword_of, parse_name, private_vr, vr_of
from hub.codecs.dicom_read import MAX_DEPTH, Place
from hub.codecs.dicom_set import CHARSET, PIXELS, DataSet, DicomTree
from hub.codecs.dicom_values import BINARY, CHARSET_VRS, write_value
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["IMPLEMENTATION", "write_changed", "write_data_set", "write_new"]

#: Implementation Class UID of the hub, made from a UUID (PS3.5, B.2).
IMPLEMENTATION = f"2.25.{uuid.UUID('7c1d0a5e-6f0b-4f5e-9a3b-5b0e7d2f4c61').int}"
_VERSION_NAME = "TONGQU"
_EXPLICIT = "1.2.840.10008.1.2.1"
_SIGNED = 0x00280103
_META = 0x0002
_META_LENGTH, _META_VERSION, _META_SYNTAX = 0x00020000, 0x00020001, 0x00020010
_IMPLEMENTATION_UID, _IMPLEMENTATION_NAME = 0x00020012, 0x00020013
#: What the meta information repeats: its tag -> that of the data set.
_REPEATED = {0x00020002: 0x00080016, 0x00020003: 0x00080018}
_LONG = BINARY | {"SQ", "SV", "UC", "UR", "UT", "UV"}
_WIDTHS = {"AT": "H", "FD": "Q", "FL": "L", "OD": "Q", "OF": "L", "OL": "L", "OV": "Q", "OW": "H"}
_WIDTHS |= {"SL": "L", "SS": "H", "SV": "Q", "UL": "L", "US": "H", "UV": "Q"}
_ITEM = 0xFFFEE000
_MAX_LENGTH = 0xFFFFFFFE


@dataclass(frozen=True, slots=True)
class _Form:
    """How a data set is written."""

    explicit: bool
    big: bool
    terms: tuple[str, ...]
    encoding: str = ""

    def element(self, tag: int, vr: str, raw: bytes) -> bytes:
        order = ">" if self.big else "<"
        group, element = tag >> 16, tag & 0xFFFF
        if not self.explicit or tag == _ITEM:
            if len(raw) > _MAX_LENGTH:
                raise _too_long(vr)
            return struct.pack(f"{order}HHL", group, element, len(raw)) + raw
        if vr in _LONG:
            if len(raw) > _MAX_LENGTH:
                raise _too_long(vr)
            return struct.pack(f"{order}HH2sHL", group, element, vr.encode(), 0, len(raw)) + raw
        if len(raw) > 0xFFFF:
            raise _too_long(vr)
        return struct.pack(f"{order}HH2sH", group, element, vr.encode(), len(raw)) + raw


def _too_long(vr: str) -> CodecError:
    return CodecError(t(f"the value is too long for {vr}", f"值超过 {vr} 的最大长度"), code="dicom.value")


def _placed(error: CodecError, name: str) -> CodecError:
    inner = error.place
    place = name if not inner else f"{name}{inner}" if inner.startswith("[") else f"{name}.{inner}"
    text = error.text.removeprefix(f"{inner}: ") if inner else error.text
    return CodecError(text, place=place, code=error.code, remedy=error.remedy)


# -- plain trees ---------------------------------------------------------------------------------------------------------


def _named(fields: Mapping[str, Any], source: DataSet | None = None) -> dict[int, tuple[str, Any]]:
    """Tag -> (VR, value) of what a tree sets; blocks of private creators are reserved as needed."""
    found: dict[int, tuple[str, Any]] = {}
    blocks: dict[tuple[int, str], int] = {}
    for key, value in fields.items():
        name = parse_name(key) if isinstance(key, str) else None
        if name is None:
            raise CodecError(
                t("this is not a DICOM keyword or tag", "不是 DICOM 关键字或标签"),
                place=str(key)[:64],
                code="dicom.keyword",
                remedy=t("e.g. PatientName, (0010,0010)", "例如 PatientName、(0010,0010)"),
            )
        if name.tag >> 16 == PIXELS:
            raise CodecError(
                t("pixel data are not written by mappings", "映射不能写入像素数据"), place=key, code="dicom.pixels"
            )
        if not name.creator:
            vr = source.vr(name.tag) if source is not None and name.tag in source.places else vr_of(name.tag)
            found[name.tag] = (vr, value)
            continue
        tag = _private_tag(name, source, blocks, found)
        vr = source.vr(tag) if source is not None and tag in source.places else private_vr(tag, name.creator)
        found[tag] = (vr, value)
    signed = found[_SIGNED][1] if _SIGNED in found else source.value(_SIGNED) if source is not None else None
    for tag, (vr, value) in found.items():
        if " or " in vr:
            found[tag] = ("SS" if "SS" in vr and signed == 1 else "OW" if "OW" in vr else "US", value)
    return found


def _private_tag(
    name: Name, source: DataSet | None, blocks: dict[tuple[int, str], int], found: dict[int, tuple[str, Any]]
) -> int:
    tag = source.find(name) if source is not None else None
    if tag is not None:
        return tag
    group = name.tag & 0xFFFF0000
    block = blocks.get((group, name.creator))
    if block is None:
        used = {*found, *(source.places if source is not None else ())}
        block = next((number for number in range(0x10, 0x100) if group | number not in used), 0)
        if not block:
            raise CodecError(t("no private block is free", "没有空闲的私有块"), code="dicom.private")
        blocks[group, name.creator] = block
        found[group | block] = ("LO", name.creator)
    return name.tag | block << 8


def _value(tag: int, vr: str, value: Any, form: _Form, depth: int) -> tuple[str, bytes]:
    """(VR, bytes) of one element of a tree; errors have the path from this element on."""
    name = keyword_of(tag)
    try:
        if vr == "SQ":
            return vr, _sequence(value, form, depth)
        if vr == "UN" and value is not None:
            raise CodecError(
                t("nobody knows the VR of this element", "无法得知此元素的 VR"),
                code="dicom.vr",
                remedy=t("private elements must be in the data dictionary", "私有元素须在数据字典中"),
            )
        return vr, write_value(vr, value, form.terms, form.encoding, form.big)
    except CodecError as error:
        raise _placed(error, name) from error


def _sequence(value: Any, form: _Form, depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise CodecError(
            t(f"sequences nested deeper than {MAX_DEPTH}", f"序列嵌套超过 {MAX_DEPTH} 层"), code="dicom.depth"
        )
    if value is None or value == "":
        return b""
    out: list[bytes] = []
    for number, item in enumerate(value if isinstance(value, list | tuple) else [value]):
        try:
            if isinstance(item, DataSet):
                content = _rewritten(item, form, depth + 1)
            elif isinstance(item, dict):
                fields = _named(item)
                fields.pop(CHARSET, None)  # the whole file has one
                content = b"".join(_elements(fields, form, depth + 1))
            else:
                raise CodecError(t("an item is an object", "条目须为对象"), code="dicom.item")
        except CodecError as error:
            raise _placed(error, f"[{number}]") from error
        out.append(form.element(_ITEM, "", content))
    return b"".join(out)


def _elements(fields: dict[int, tuple[str, Any]], form: _Form, depth: int) -> Iterable[bytes]:
    for tag in sorted(fields):
        yield form.element(tag, *_value(tag, *fields[tag], form, depth))


def write_data_set(source: DataSet, *, explicit: bool, big: bool = False) -> bytes:
    """A data set that was read as a bare one, uncompressed, with or without VRs: what a peer has agreed to."""
    return _rewritten(source, _Form(explicit, big, source.terms, source.encoding), 0)


def _rewritten(source: DataSet, form: _Form, depth: int) -> bytes:
    """A data set that was read, in another syntax or character set."""
    if depth > MAX_DEPTH:
        raise CodecError(
            t(f"sequences nested deeper than {MAX_DEPTH}", f"序列嵌套超过 {MAX_DEPTH} 层"), code="dicom.depth"
        )
    return b"".join(_rewritten_element(source, tag, form, depth) for tag in sorted(source.places) if tag & 0xFFFF)


def _rewritten_element(source: DataSet, tag: int, form: _Form, depth: int) -> bytes:
    place = source.places[tag]
    vr = source.vr(tag)
    if vr == "SQ":
        items = source.value(tag) or ()
        content = b"".join(form.element(_ITEM, "", _rewritten(item, form, depth + 1)) for item in items)
        return form.element(tag, vr, content)
    same = source.explicit == form.explicit and source.big == form.big
    if place.end != place.value_end:  # fragments stay as they are
        if not same:
            raise CodecError(t("compressed data can't be copied", "压缩数据无法复制"), code="dicom.fragments")
        return source.data[place.start : place.end]
    raw = source.data[place.value : place.value_end]
    if tag == CHARSET:
        return form.element(tag, "CS", write_value("CS", list(form.terms), (), "", form.big))
    if vr in CHARSET_VRS and (not raw.isascii() or b"\x1b" in raw):
        raw = _transcoded(raw, source, form)
    elif source.big != form.big and vr in _WIDTHS:
        words = array(_WIDTHS[vr] if array("L").itemsize == 4 else _WIDTHS[vr].replace("L", "I"), raw)
        words.byteswap()
        raw = words.tobytes()
    return form.element(tag, vr, raw)


def _transcoded(raw: bytes, source: DataSet, form: _Form) -> bytes:
    try:
        text = decode_text(raw, source.terms, source.encoding).rstrip(" \0")
        out = encode_text(text, form.terms, form.encoding)
    except UnicodeEncodeError as error:
        said = "\\".join(form.terms) or "ASCII"
        raise CodecError(
            t(f"a character can't be written in {said}", f"有字符无法用 {said} 表示"), code="dicom.charset"
        ) from error
    return out + b" " if len(out) & 1 else out


def _terms(stated: Any) -> tuple[str, ...]:
    terms = tuple(str(term or "") for term in (stated if isinstance(stated, list | tuple) else [stated]))
    if not known_terms(terms):
        raise CodecError(
            t("this character set is not known", "未知字符集"),
            place="SpecificCharacterSet",
            code="dicom.charset",
            remedy="ISO_IR 192, GB18030, GBK",
        )
    return terms


# -- files ---------------------------------------------------------------------------------------------------------------


def _meta(fields: dict[int, tuple[str, Any]]) -> bytes:
    """The file meta information without preamble."""
    form = _Form(True, False, ())
    rest = {tag: field for tag, field in fields.items() if tag != _META_LENGTH}
    content = b"".join(_elements(rest, form, 0))
    return form.element(_META_LENGTH, "UL", struct.pack("<L", len(content))) + content


def write_new(tree: Mapping[str, Any]) -> bytes:
    """A file, explicit VR little endian, in UTF-8 unless the tree names a character set."""
    stated = _named(tree)
    terms = _terms(stated[CHARSET][1]) if CHARSET in stated and stated[CHARSET][1] else (UTF8,)
    body = {tag: field for tag, field in stated.items() if tag >> 16 != _META}
    body[CHARSET] = ("CS", list(terms))
    meta: dict[int, tuple[str, Any]] = {
        _META_VERSION: ("OB", "AAE="),
        **{tag: ("UI", body[of][1]) for tag, of in _REPEATED.items() if of in body},
        _META_SYNTAX: ("UI", _EXPLICIT),
        _IMPLEMENTATION_UID: ("UI", IMPLEMENTATION),
        _IMPLEMENTATION_NAME: ("SH", _VERSION_NAME),
        **{tag: field for tag, field in stated.items() if tag >> 16 == _META},
    }
    if meta[_META_SYNTAX][1] != _EXPLICIT:
        raise _other_syntax()
    content = b"".join(_elements(body, _Form(True, False, terms), 0))
    return b"\0" * 128 + b"DICM" + _meta(meta) + content


def _other_syntax() -> CodecError:
    return CodecError(
        t("the transfer syntax is not changed by a mapping", "映射不能改变传输语法"),
        place="TransferSyntaxUID",
        code="dicom.syntax",
    )


def write_changed(tree: DicomTree) -> bytes:
    """What came with the changes made to it: elements that were not touched go out byte for byte, unless the character set is another.

    Group lengths, which are retired and would be wrong, are left out.
    """
    file, syntax = tree.file, tree.file.syntax
    stated = _named(tree.changes, tree)
    removed = set()
    for key in tree.removed:
        name = parse_name(key)
        tag = tree.find(name) if name is not None else None
        if tag is not None and tag not in stated:
            removed.add(tag)
    terms, all_anew = tree.terms, False
    if CHARSET in stated:
        terms = _terms(stated[CHARSET][1])
        all_anew = terms != tree.terms or bool(tree.encoding)
    form = _Form(syntax.explicit, syntax.big, terms, "" if all_anew else tree.encoding)
    data = memoryview(file.data)
    out: list[bytes | memoryview] = []
    for tag in sorted({*file.elements, *stated}):
        if tag in removed or tag >> 16 == _META or not tag & 0xFFFF:
            continue
        if tag in stated:
            vr, value = stated[tag]
            out.append(form.element(tag, *_value(tag, vr, value, form, 0)))
        elif all_anew and tree.vr(tag) in (*CHARSET_VRS, "SQ"):
            out.append(_rewritten_element(tree, tag, form, 0))
        else:
            place = file.elements[tag]
            out.append(data[place.start : place.end])
    if syntax.deflated:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = packer.compress(b"".join(out)) + packer.flush()
        out = [body, b"\0" * (len(body) & 1)]
    return b"".join([tree.raw[: file.head], _changed_meta(tree, stated), *out])


def _changed_meta(tree: DicomTree, stated: dict[int, tuple[str, Any]]) -> bytes:
    places: dict[int, Place] = tree.file.meta
    if not places:
        return b""
    new = {tag: field for tag, field in stated.items() if tag >> 16 == _META}
    for tag, of in _REPEATED.items():
        if of in stated and tag in places:
            new.setdefault(tag, ("UI", stated[of][1]))
    if _META_SYNTAX in new and new[_META_SYNTAX][1] != tree.value(_META_SYNTAX):
        raise _other_syntax()
    first, last = min(place.start for place in places.values()), max(place.end for place in places.values())
    if not new:
        return tree.raw[first:last]
    form = _Form(True, False, ())
    out = [
        form.element(tag, *_value(tag, *new[tag], form, 0))
        if tag in new
        else tree.raw[places[tag].start : places[tag].end]
        for tag in sorted({*places, *new} - {_META_LENGTH})
    ]
    content = b"".join(out)
    return form.element(_META_LENGTH, "UL", struct.pack("<L", len(content))) + content
