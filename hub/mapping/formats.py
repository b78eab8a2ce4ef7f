"""The source formats there are. A codec without paths of its own is expected to give plain trees."""

from __future__ import annotations

from collections.abc import Mapping

from hub.mapping.paths import SourceFormat
from hub.mapping.paths_dicom import DicomFormat
from hub.mapping.paths_hl7 import Hl7Format
from hub.mapping.paths_plain import PlainFormat
from hub.mapping.paths_xml import XmlFormat

__all__ = ["V3_CODECS", "XML_CODECS", "kind_of_tree", "source_format"]

#: Codecs that decode to XML documents; those of HL7 v3 among them.
XML_CODECS = frozenset({"xml", "hl7v3", "cda"})
V3_CODECS = frozenset({"hl7v3", "cda"})
_PLAIN = PlainFormat()
_PLAIN_WITHOUT_EMPTY = PlainFormat(empty_is_absent=True)
_FORMATS: dict[str, SourceFormat] = {
    "dicom": DicomFormat(),
    "hl7v2": Hl7Format(),
    **{codec: XmlFormat(v3=codec in V3_CODECS) for codec in XML_CODECS},
}


def source_format(
    codec: str, namespaces: Mapping[str, str] | None = None, *, empty_absent: bool = False
) -> SourceFormat:
    """The paths for what a codec decodes to; ``namespaces`` are the prefixes of paths into XML.

    ``empty_absent``: "" is no value in a plain tree either.
    """
    if namespaces and codec in XML_CODECS:
        return XmlFormat(namespaces, v3=codec in V3_CODECS)
    return _FORMATS.get(codec, _PLAIN_WITHOUT_EMPTY if empty_absent else _PLAIN)


def kind_of_tree(codec: str) -> str:
    """Codecs of the same kind have trees that are read the same way: ``json`` and ``fhir``, ``xml`` and ``cda``."""
    if codec in XML_CODECS:
        return "xml"
    return codec if codec in _FORMATS else "json"
