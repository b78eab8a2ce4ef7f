"""The source formats there are. A codec without paths of its own is expected to give plain trees."""

from __future__ import annotations

from hub.mapping.paths import SourceFormat
from hub.mapping.paths_hl7 import Hl7Format
from hub.mapping.paths_plain import PlainFormat

__all__ = ["source_format"]

_PLAIN = PlainFormat()
_FORMATS: dict[str, SourceFormat] = {"hl7v2": Hl7Format()}


def source_format(codec: str) -> SourceFormat:
    """The paths for what a codec decodes to."""
    return _FORMATS.get(codec, _PLAIN)
