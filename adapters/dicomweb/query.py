"""The paths and queries of calls to QIDO-RS and WADO-RS, from keys."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from adapters.dicom.model import plain, read_json
from hub.api import CodecError
from hub.codecs.dicom_dictionary import keyword_of, parse_name
from hub.codecs.dicom_read import read_file
from hub.codecs.dicom_set import DicomTree
from hub.i18n import t

__all__ = ["keys_of", "retrieve_path", "search_path"]

_UIDS = (("StudyInstanceUID", "studies"), ("SeriesInstanceUID", "series"), ("SOPInstanceUID", "instances"))
_LEVELS = {"STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}
_CONTROLS = ("limit", "offset", "fuzzymatching")


def search_path(keys: dict[str, Any], usual: str) -> str:
    """Path and query of a search; its level is that of QueryRetrieveLevel, else ``usual``. Raises :class:`CodecError`."""
    keys = dict(keys)
    path = ""
    query: list[tuple[str, str]] = []
    level = _LEVELS.get(str(keys.pop("QueryRetrieveLevel", "")), usual)
    above = {"studies": (), "series": _UIDS[:1], "instances": _UIDS[:2]}[level]
    for keyword, name in above:
        if isinstance(keys.get(keyword), str) and (path or name == "studies"):
            path += f"/{name}/{_uid(keys.pop(keyword))}"
    for key, value in keys.items():
        if key in _CONTROLS:
            query.append((key, str(value)))
        else:
            query += _parameters(_keyword(key), value)
    return f"{path}/{level}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")


def retrieve_path(keys: dict[str, Any]) -> str:
    """The path of what the UIDs in the keys name. Raises :class:`CodecError`."""
    path = ""
    for keyword, name in _UIDS:
        value = keys.get(keyword)
        if value is None:
            break
        path += f"/{name}/{_uid(value)}"
    if not path:
        raise CodecError(t("StudyInstanceUID is missing", "缺少 StudyInstanceUID"), code="dicom.body")
    return path


def keys_of(body: bytes) -> tuple[dict[str, Any], bool]:
    """(keywords with values, of JSON or a data set; whether somebody asked the hub for it and waits)"""
    if body.lstrip()[:1] != b"{":
        return plain(DicomTree(body, read_file(body), "")), False
    tree = read_json(body)
    inner = tree.get("keys")
    return (dict(inner), "service" in tree) if isinstance(inner, dict) else (tree, False)


def _parameters(name: str, value: Any) -> list[tuple[str, str]]:
    """An attribute in a query; what is in the item of a sequence is named with dots (PS3.18, 8.3.4.1)."""
    if value is None or value == "":
        return [("includefield", name)]
    if isinstance(value, str | int | float):
        return [(name, str(value))]
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return [(name, "\\".join(value))]
    item = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(item, dict):
        raise CodecError(
            t("QIDO-RS searches by single values", "QIDO-RS 只能按单值查询"), place=name, code="dicom.body"
        )
    if not item:
        return [("includefield", name)]
    found = [_parameters(f"{name}.{_keyword(key)}", inner) for key, inner in item.items()]
    return [one for several in found for one in several]


def _keyword(key: str) -> str:
    name = parse_name(key)
    if name is None or name.creator:
        raise CodecError(t("this is not a DICOM keyword", "不是 DICOM 关键字"), place=key[:64], code="dicom.keyword")
    return keyword_of(name.tag)


def _uid(value: Any) -> str:
    if not isinstance(value, str) or not value or value.strip("0123456789."):
        raise CodecError(t("this is not a UID", "不是 UID"), code="dicom.uid")
    return value
