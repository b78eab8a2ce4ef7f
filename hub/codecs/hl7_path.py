"""Paths into HL7 v2 messages, ``PID-3[2].4.2``, and the parts of a field they mean."""

from __future__ import annotations

import re
from functools import lru_cache

from hub.errors import CodecError
from hub.i18n import t

__all__ = ["Hl7Path", "parse_path", "part", "with_part"]

_PATH = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:\[(\d{1,6})\])?(?:-(\d{1,4})(?:\[(\d{1,6})\])?(?:\.(\d{1,4})(?:\.(\d{1,4}))?)?)?", re.ASCII
)


class Hl7Path:
    """A parsed path; 0 means "not given" for field, component and sub-component."""

    __slots__ = ("component", "field", "occurrence", "repetition", "segment", "subcomponent")

    def __init__(
        self, segment: str, occurrence: int, field: int, repetition: int, component: int, subcomponent: int
    ) -> None:
        self.segment = segment
        self.occurrence = occurrence
        self.field = field
        self.repetition = repetition
        self.component = component
        self.subcomponent = subcomponent


@lru_cache(maxsize=4096)
def parse_path(path: str) -> Hl7Path:
    """``SEG[occurrence]-field[repetition].component.subcomponent``; raises :class:`CodecError`."""
    found = _PATH.fullmatch(path)
    numbers = [int(n) if n is not None else None for n in found.groups()[1:]] if found else []
    if not found or 0 in numbers:
        raise CodecError(
            t(
                "no HL7 path; write e.g. PID-3[2].4.2, numbers count from 1",
                "不是 HL7 路径；例如 PID-3[2].4.2，序号从 1 起",
            ),
            place=path[:80],
            code="hl7.path",
        )
    occurrence, field, repetition, component, subcomponent = numbers
    return Hl7Path(found[1], occurrence or 1, field or 0, repetition or 1, component or 0, subcomponent or 0)


def part(text: str, separator: str, number: int) -> str:
    """The part ``number``, from 1; ``""`` when there are fewer. Without a separator in it the text is its own first part."""
    if separator not in text:
        return text if number == 1 else ""
    parts = text.split(separator)
    return parts[number - 1] if number <= len(parts) else ""


def with_part(text: str, separator: str, number: int, value: str) -> str:
    """``text`` with its part ``number`` replaced; empty parts are added before it as needed."""
    parts = text.split(separator)
    if number > len(parts):
        parts.extend([""] * (number - len(parts)))
    parts[number - 1] = value
    return separator.join(parts)
