"""Data sets as JSON and back: the DICOM JSON model (PS3.18 annex F), and the plain one of mappings, keywords with values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from hub.api import CodecError
from hub.codecs.dicom_dictionary import keyword_of, vr_of
from hub.codecs.dicom_read import File, Place, Syntax, read_elements, read_file
from hub.codecs.dicom_set import CHARSET, PIXELS, DataSet, DicomTree
from hub.codecs.dicom_values import BINARY
from hub.codecs.dicom_write import write_data_set, write_new
from hub.i18n import t

__all__ = ["as_fields", "bare", "dumps", "json_model", "plain", "read_bare", "read_json"]

_MODEL_KEY = re.compile(r"[0-9A-Fa-f]{8}")
_NAMES = ("Alphabetic", "Ideographic", "Phonetic")
_DEPTH = 32
#: How several sets are named; the first is the one for what is not escaped.
_TERMS = {"ISO 2022 IR 58": ["", "ISO 2022 IR 58"]}


def read_bare(raw: bytes, syntax: str) -> DicomTree:
    """A data set as it comes over the network, in the transfer syntax that was agreed."""
    big, explicit = syntax == "1.2.840.10008.1.2.2", syntax != "1.2.840.10008.1.2"
    places: dict[int, Place]
    places, _ = read_elements(raw, 0, len(raw), explicit, big)
    return DicomTree(raw, File(raw, 0, Syntax(explicit, big, syntax), {}, places), "")


def plain(source: DataSet) -> dict[str, Any]:
    """Keyword (or tag) -> value; what is empty is null."""
    found: dict[str, Any] = {}
    for tag in sorted(source.places):
        if tag & 0xFFFF and tag >> 16 not in (2, PIXELS) and tag != CHARSET and not tag & 0x10000:
            value = source.value(tag)
            found[keyword_of(tag)] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(item) if isinstance(item, DataSet) else item for item in value]
    return value


def json_model(source: DataSet) -> dict[str, Any]:
    """PS3.18, F.2; pixel data are left out."""
    found: dict[str, Any] = {}
    for tag in sorted(source.places):
        if not tag & 0xFFFF or tag >> 16 in (2, PIXELS):
            continue
        vr = source.vr(tag)
        entry: dict[str, Any] = {"vr": vr}
        value = source.value(tag)
        if tag == CHARSET:
            entry["Value"] = ["ISO_IR 192"]  # JSON is UTF-8
        elif value is None:
            pass
        elif vr == "SQ":
            entry["Value"] = [json_model(item) for item in value]
        elif vr in BINARY:
            entry["InlineBinary"] = value
        else:
            entry["Value"] = [_modelled(vr, one) for one in (value if isinstance(value, list) else [value])]
        found[f"{tag:08X}"] = entry
    return found


def _modelled(vr: str, value: Any) -> Any:
    if vr == "PN" and isinstance(value, str):
        return {name: part for name, part in zip(_NAMES, value.split("="), strict=False) if part}
    return value


def dumps(tree: Any) -> bytes:
    """JSON; numbers with more digits than a double has are texts, as PS3.18, F.2.3 allows."""
    return orjson.dumps(tree, default=_number)


def _number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError


def read_json(raw: bytes) -> Any:
    """Raises :class:`CodecError`."""
    try:
        return orjson.loads(raw)
    except ValueError:
        raise CodecError(
            t("the body is neither JSON nor DICOM", "内容既不是 JSON 也不是 DICOM"), code="dicom.body"
        ) from None


def as_fields(tree: Any, depth: int = 0) -> dict[str, Any]:
    """A data set in either form of JSON as what a new data set is written from; raises :class:`CodecError`."""
    if not isinstance(tree, Mapping):
        raise CodecError(t("a data set is a JSON object", "数据集须为 JSON 对象"), code="dicom.body")
    if depth > _DEPTH:
        raise CodecError(t(f"nested deeper than {_DEPTH}", f"嵌套超过 {_DEPTH} 层"), code="dicom.depth")
    if not all(_MODEL_KEY.fullmatch(key) for key in tree):
        return {key: _fields_of(value, depth) for key, value in tree.items()}
    fields: dict[str, Any] = {}
    for key, entry in tree.items():
        if not isinstance(entry, Mapping):
            raise CodecError(
                t("this is not the DICOM JSON model", "不符合 DICOM JSON 模型"), place=key, code="dicom.body"
            )
        tag = int(key, 16)
        if tag == CHARSET or not tag & 0xFFFF:
            continue
        if "BulkDataURI" in entry:
            raise CodecError(t("bulk data are elsewhere", "数据在别处（BulkDataURI）"), place=key, code="dicom.body")
        value = entry.get("InlineBinary", entry.get("Value"))
        fields[f"({key[:4]},{key[4:]})"] = _of_model(tag, value, depth)
    return fields


def _of_model(tag: int, value: Any, depth: int) -> Any:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return value
    vr = vr_of(tag)
    out: list[Any] = []
    for one in value:
        if isinstance(one, Mapping):
            out.append(
                "=".join(str(one.get(name, "")) for name in _NAMES).rstrip("=")
                if vr == "PN"
                else as_fields(one, depth + 1)
            )
        else:
            out.append(one)
    if vr == "SQ":
        return out
    return out[0] if len(out) == 1 else out or None


def _fields_of(value: Any, depth: int) -> Any:
    if isinstance(value, list):
        return [as_fields(one, depth + 1) if isinstance(one, Mapping) else one for one in value]
    return [as_fields(value, depth + 1)] if isinstance(value, Mapping) else value


def bare(fields: Mapping[str, Any], *, explicit: bool, charset: str = "") -> bytes:
    """A bare data set, little endian; in UTF-8 where the character set lacks a character. Raises :class:`CodecError`."""
    stated: dict[str, Any] = {**fields}
    stated.pop("SpecificCharacterSet", None)
    if charset:
        stated["SpecificCharacterSet"] = _TERMS.get(charset, charset)
    try:
        raw = write_new(stated)
    except CodecError as error:
        if error.code != "dicom.charset" or not charset:
            raise
        return bare(fields, explicit=explicit)
    file = read_file(raw)
    return write_data_set(DicomTree(raw, file, ""), explicit=explicit)
