"""DICOM as text: one line for each element, pixel data and other bytes left out."""

from __future__ import annotations

from hub.codecs.dicom_dictionary import keyword_of
from hub.codecs.dicom_set import PIXELS, DataSet
from hub.codecs.dicom_values import BINARY
from hub.errors import CodecError
from hub.privacy.model import Act
from hub.privacy.treat import Treatment

__all__ = ["dicom_text"]

_MOST_LINES = 2000
_DEEPEST = 8
_NOTES = frozenset(("LT", "ST", "UT"))
_DATES = frozenset(("DA", "DT"))
#: Elements with the state of things, not of people.
_OPEN = frozenset(("UI", "CS", "TM", "AE", "AT"))


def dicom_text(tree: DataSet, treatment: Treatment) -> str:
    """At most 2,000 lines ``(0010,0010) PN PatientName: 张*``, items indented below their sequence."""
    lines: list[str] = []
    _lines(tree, treatment, lines, 0)
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = ["…"]
    return "\n".join(lines) + "\n"


def _lines(tree: DataSet, treatment: Treatment, lines: list[str], depth: int) -> None:
    for tag in tree.places:
        if len(lines) > _MOST_LINES:
            return
        group = tag >> 16
        keyword = keyword_of(tag)
        try:
            vr = tree.vr(tag)
            value = None if group == PIXELS or vr in BINARY else tree.value(tag)
        except CodecError:
            vr, value = "??", None
        label = f"{'  ' * depth}({group:04x},{tag & 0xFFFF:04x}) {vr} {keyword if keyword[0] != '(' else ''}".rstrip()
        if isinstance(value, list) and any(isinstance(one, DataSet) for one in value):
            lines.append(f"{label}: {len(value)}")
            if depth < _DEEPEST:
                for one in value:
                    _lines(one, treatment, lines, depth + 1)
            continue
        if value is None:
            place = tree.places[tag]
            lines.append(f"{label}: ({place.value_end - place.value} bytes)")
            continue
        values = value if isinstance(value, list) else [value]
        private = bool(group & 1)
        shown = [_shown(str(one), vr, "" if private else keyword, treatment) for one in values]
        lines.append(f"{label}: " + "\\".join(" ".join(one.split()) for one in shown))


def _shown(text: str, vr: str, keyword: str, treatment: Treatment) -> str:
    kind = treatment.policy.dicom.get(keyword, "")
    if not kind:
        if vr == "PN":
            kind = "name"
        elif vr in _NOTES:
            kind = "note"
        elif vr in _DATES:
            kind = "event_date"
        elif vr in _OPEN:
            return text if treatment.view.others is Act.CLEAR else treatment.other(text)
        else:
            return treatment.loose(text)
    if kind in ("name", "staff_name"):
        return "=".join(_person(kind, group, treatment) for group in text.split("="))
    if kind == "patient_number":
        return treatment.number(text, ())
    return treatment.value(kind, text)


def _person(kind: str, group: str, treatment: Treatment) -> str:
    parts = group.split("^")
    alone = not any(parts[1:3])
    return "^".join(
        treatment.value(kind, part, "" if alone and not at else "family" if not at else "given") if part else ""
        for at, part in enumerate(parts)
    )
