"""Searches (PS3.18, 10.6): the query of a call as keys, and data sets as results.

Keys are those of C-FIND: keywords with values, null for what is only asked for, a list of one object for what is in a sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.dicom.model import as_fields, bare, json_model, read_bare, read_json
from adapters.http.problem import Refusal
from hub.api import CodecError, HubError
from hub.codecs.dicom_dictionary import keyword_of, parse_name, vr_of
from hub.i18n import t

__all__ = ["LEVELS", "Search", "results_of", "search_of", "with_address"]

_EXPLICIT = "1.2.840.10008.1.2.1"
LEVELS = {"studies": "STUDY", "series": "SERIES", "instances": "IMAGE"}
#: What results have without being asked for (PS3.18, tables 10.6.3-3 to 10.6.3-5).
_STUDY = [
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "InstanceAvailability",
    "ModalitiesInStudy",
    "ReferringPhysicianName",
    "TimezoneOffsetFromUTC",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
]
_SERIES = [
    "Modality",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "NumberOfSeriesRelatedInstances",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
]
_INSTANCE = ["SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Rows", "Columns", "BitsAllocated", "NumberOfFrames"]
#: What ``includefield=all`` adds.
_MORE = {
    "STUDY": ("StudyDescription", "PatientAge", "IssuerOfPatientID", "OtherPatientIDs", "SOPClassesInStudy"),
    "SERIES": ("SeriesDate", "SeriesTime", "BodyPartExamined", "ProtocolName", "StationName", "Laterality"),
    "IMAGE": ("ContentDate", "ContentTime", "AcquisitionNumber", "ImageType", "ImageComments"),
}
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_MOST_PARAMETERS = 200
_DEPTH = 8
_INTEGERS = ("US", "SS", "UL", "SL", "UV", "SV")
_REQUESTS = "RequestAttributesSequence"
_REQUEST_IDS = ("ScheduledProcedureStepID", "RequestedProcedureID")
_LITERALLY = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
_RETRIEVE_URL, _QUERY_LEVEL = "00081190", "00080052"
_UIDS = ("0020000D", "0020000E", "00080018")


@dataclass(slots=True)
class Search:
    """``limit`` 0: as many as there are. ``warnings`` for the answer's head."""

    keys: dict[str, Any]
    limit: int = 0
    offset: int = 0
    warnings: list[str] = field(default_factory=list)


def search_of(level: str, above: Mapping[str, str], parameters: Iterable[tuple[str, str]]) -> Search:
    """What is searched for on a level (``studies``, ``series``, ``instances``); ``above``: UIDs of the path by keyword.

    Raises :class:`Refusal` (400) for what is no search.
    """
    found = Search({"QueryRetrieveLevel": LEVELS[level], **above})
    asked: list[str] = _usual(level, above)
    for number, (name, value) in enumerate(parameters):
        if number >= _MOST_PARAMETERS:
            raise _wrong(("too many parameters", "参数过多"))
        if name == "includefield":
            for one in value.split(","):
                asked += _MORE[LEVELS[level]] if one == "all" else [one]
        elif name in ("limit", "offset"):
            if not _NUMBER.fullmatch(value):
                raise _wrong((f"{name} is not a number", f"{name} 不是数字"))
            setattr(found, name, int(value))
        elif name == "fuzzymatching":
            if value.lower() not in ("true", "false"):
                raise _wrong(("fuzzymatching is true or false", "fuzzymatching 须为 true 或 false"))
            if value.lower() == "true":
                found.warnings.append(_LITERALLY)
        else:
            _put(found.keys, name, value)
    for name in asked:
        _put(found.keys, name, None)
    try:
        bare(found.keys, explicit=True)  # what can't be written is found before anybody is asked
    except CodecError as error:
        raise _wrong((error.text, error.text)) from error
    return found


def _usual(level: str, above: Mapping[str, str]) -> list[str]:
    study = [] if "StudyInstanceUID" in above else _STUDY
    if level == "studies":
        return list(_STUDY)
    requests = [f"{_REQUESTS}.{name}" for name in _REQUEST_IDS]
    if level == "series":
        return [*study, *_SERIES, *requests]
    series = [] if "SeriesInstanceUID" in above else _SERIES
    return [*study, *series, *_INSTANCE]


def _put(keys: dict[str, Any], path: str, value: str | None) -> None:
    """One attribute, of a sequence where the name has dots; what is only asked for does not change what is matched."""
    *outer, last = path.split(".")
    if len(outer) >= _DEPTH:
        raise _wrong(("nested too deeply", "嵌套过深"))
    for name in outer:
        keyword, vr = _named(name)
        if vr != "SQ":
            raise _wrong((f"{keyword} is no sequence", f"{keyword} 不是序列"))
        if keys.get(keyword) is None:
            keys[keyword] = [{}]
        keys = keys[keyword][0]
    keyword, vr = _named(last)
    if vr == "SQ":
        if value:
            raise _wrong((f"{keyword} is a sequence: name what is in it", f"{keyword} 是序列：请指明其中的属性"))
        keys.setdefault(keyword, None)
    elif value:
        keys[keyword] = _value(keyword, vr, value)
    else:
        keys.setdefault(keyword, None)


def _named(name: str) -> tuple[str, str]:
    """(keyword, VR) of a keyword or of eight hexadecimal digits."""
    known = parse_name(f"({name[:4]},{name[4:]})" if _TAG.fullmatch(name) else name)
    if known is None or known.creator or known.tag >> 16 in (0x0002, 0x7FE0) or known.tag >> 16 & 1:
        shown = name[:64] if name.isprintable() else "?"
        raise _wrong((f"{shown} is no attribute to search by", f"{shown} 不是可检索的属性"))
    return keyword_of(known.tag), vr_of(known.tag)


def _value(keyword: str, vr: str, value: str) -> Any:
    values: list[Any] = re.split(r"[\\,]", value) if vr == "UI" else value.split("\\")
    if vr in _INTEGERS:
        if not all(_NUMBER.fullmatch(one) for one in values):
            raise _wrong((f"{keyword} is a number", f"{keyword} 须为数字"))
        values = [int(one) for one in values]
    return values[0] if len(values) == 1 else values


def _wrong(detail: tuple[str, str]) -> Refusal:
    return Refusal(400, "dicom.search", detail)


# -- results -----------------------------------------------------------------------------------------------------------


def results_of(reply: bytes) -> list[dict[str, Any]]:
    """The data sets of a reply in the DICOM JSON model: a list, or an object with the list in ``answers``, in either form of JSON.

    Raises :class:`HubError`.
    """
    tree = read_json(reply or b"[]")
    found = tree.get("answers", tree) if isinstance(tree, dict) else tree
    if isinstance(found, dict):
        found = [found] if found else []
    if not isinstance(found, list):
        raise HubError(t("the reply is no list of data sets", "应答不是数据集列表"), code="dicom.reply")
    try:
        return [_modelled(one) for one in found]
    except CodecError as error:
        raise HubError(error.text, code="dicom.reply") from error


def _modelled(one: Any) -> dict[str, Any]:
    if (
        isinstance(one, dict)
        and one
        and all(_TAG.fullmatch(key) and isinstance(entry, dict) and "vr" in entry for key, entry in one.items())
    ):
        model = {key.upper(): entry for key, entry in one.items()}
    else:
        model = json_model(read_bare(bare(as_fields(one), explicit=True), _EXPLICIT))
    model.pop(_QUERY_LEVEL, None)
    return model


def with_address(model: dict[str, Any], base: str, above: Mapping[str, str]) -> dict[str, Any]:
    """A result with where it can be retrieved from this hub; ``base``: the address of the service."""
    known = (above.get("StudyInstanceUID"), above.get("SeriesInstanceUID"), None)
    address = base
    for tag, name, stated in zip(_UIDS, LEVELS, known, strict=True):
        uid = stated or _text(model.get(tag))
        if not uid:
            break
        address += f"/{name}/{uid}"
    model.pop(_RETRIEVE_URL, None)
    if address != base:
        model[_RETRIEVE_URL] = {"vr": "UR", "Value": [address]}
    return model


def _text(entry: Any) -> str:
    values = entry.get("Value") if isinstance(entry, dict) else None
    return values[0] if isinstance(values, list) and values and isinstance(values[0], str) else ""
