"""The answer to a STOW-RS call (PS3.18, 10.5.3): what was stored, what failed and why, as JSON or XML."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

import orjson

__all__ = ["JSON", "XML", "Stored", "media_type", "render", "status_of_all"]

JSON, XML = "application/dicom+json", "application/dicom+xml"
_NAMES = {
    "00081150": ("ReferencedSOPClassUID", "UI"),
    "00081155": ("ReferencedSOPInstanceUID", "UI"),
    "00081190": ("RetrieveURL", "UR"),
    "00081197": ("FailureReason", "US"),
    "00081198": ("FailedSOPSequence", "SQ"),
    "00081199": ("ReferencedSOPSequence", "SQ"),
}


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one object; ``reason`` 0: it is stored, else a status of C-STORE."""

    sop_class: str
    instance: str
    reason: int = 0


def media_type(accept: str) -> str:
    """The form of the answer by the ``Accept`` header."""
    accept = accept.lower()
    return XML if "xml" in accept and "json" not in accept else JSON


def status_of_all(results: list[Stored]) -> int:
    """200 all, 202 some; none: 503 where it may succeed later, else 409."""
    failed = [one.reason for one in results if one.reason]
    if not failed and results:
        return 200
    if len(failed) < len(results):
        return 202
    return 503 if failed and all(reason >> 8 == 0xA7 for reason in failed) else 409


def render(results: list[Stored], kind: str) -> bytes:
    stored: list[dict[str, str | int]] = []
    failed: list[dict[str, str | int]] = []
    for one in results:
        named: dict[str, str | int] = {"00081150": one.sop_class, "00081155": one.instance}
        named = {tag: value for tag, value in named.items() if value}
        if one.reason:
            failed.append({**named, "00081197": one.reason})
        else:
            stored.append(named)
    sequences = {tag: items for tag, items in (("00081198", failed), ("00081199", stored)) if items}
    return _xml(sequences) if kind == XML else _json(sequences)


def _json(sequences: dict[str, list[dict[str, str | int]]]) -> bytes:
    return orjson.dumps(
        {
            tag: {
                "vr": "SQ",
                "Value": [
                    {name: {"vr": _NAMES[name][1], "Value": [value]} for name, value in item.items()} for item in items
                ],
            }
            for tag, items in sequences.items()
        }
    )


def _xml(sequences: dict[str, list[dict[str, str | int]]]) -> bytes:
    def element(tag: str, content: str) -> str:
        keyword, vr = _NAMES[tag]
        return f'<DicomAttribute tag="{tag}" vr="{vr}" keyword="{keyword}">{content}</DicomAttribute>'

    def item(number: int, values: dict[str, str | int]) -> str:
        inner = "".join(
            element(tag, f'<Value number="1">{escape(str(value))}</Value>') for tag, value in values.items()
        )
        return f'<Item number="{number}">{inner}</Item>'

    content = "".join(
        element(tag, "".join(item(number, values) for number, values in enumerate(items, 1)))
        for tag, items in sequences.items()
    )
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return f'{head}<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">{content}</NativeDicomModel>'.encode()
