"""What formats and transports are called."""

from __future__ import annotations

from hub.contract import Interface
from hub.i18n import t

__all__ = ["format_name", "technique"]

_CODECS = {
    "json": "JSON",
    "jsonl": "JSON Lines",
    "xml": "XML",
    "hl7v2": "HL7 v2",
    "hl7v3": "HL7 v3",
    "cda": "CDA",
    "fhir": "FHIR",
    "dicom": "DICOM",
    "csv": "CSV",
    "astm": "ASTM",
}
_WORDS = {
    "form": ("form", "表单"),
    "fixed": ("fixed-width records", "定长记录"),
    "excel": ("Excel", "Excel"),
    "binary": ("bytes as they are", "原始字节"),
    "text": ("text", "文本"),
}


def format_name(codec: str) -> str:
    words = _WORDS.get(codec)
    return t(*words) if words else _CODECS.get(codec, codec)


def technique(interface: Interface) -> str:
    name = format_name(interface.codec)
    if interface.adapter == "results":
        return name
    return f"{interface.adapter.upper() if len(interface.adapter) < 5 else interface.adapter} · {name}"
