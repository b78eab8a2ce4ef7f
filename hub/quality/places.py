"""The place a finding names, native to the format: ``OBX[3]-5``, ``PID-13[2].1``, ``goods[0].tons``. Made only when there is one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hub.codecs.hl7v2 import Hl7Message, Segment

__all__ = ["Loop", "PlaceMaker", "place_maker"]

_RELATIVE = re.compile(r"(\.+)(.*)", re.DOTALL)
_FIELD = re.compile(r"([A-Z][A-Z0-9]{2})-(\d+)")


@dataclass(frozen=True, slots=True)
class Loop:
    """One ``each:`` as it goes into places. ``path``: without a trailing filter that was taken off; ``plain``: its position counts."""

    path: str
    kind: str  # of the scope: segment, repetition, value, element
    zero: bool  # positions count from 0
    plain: bool


#: (element, its position from 1) of each loop, the outermost first.
Steps = Sequence[tuple[Any, int]]
PlaceMaker = Callable[..., str]


def _of_segment(tree: Any, segment: Segment) -> str:
    if isinstance(tree, Hl7Message):
        for number, other in enumerate(tree.all(segment.name), 1):
            if other is segment:
                return f"{segment.name}[{number}]"
    return segment.name


def _of_repetition(tree: Any, path: str, outer: str, number: int) -> str:
    """Empty repetitions are passed over when they are counted, but they have their number."""
    found = _FIELD.fullmatch(path)
    if found is not None and isinstance(tree, Hl7Message):
        fields = tree.first_fields(found[1])
        at = int(found[2])
        repetitions = fields[at].split(tree.repetition_sep) if len(fields) > at else []
        filled = [place for place, text in enumerate(repetitions, 1) if text]
        if number <= len(filled):
            number = filled[number - 1]
    return f"{_joined(outer, path)}[{number}]"


def _joined(outer: str, path: str) -> str:
    """A path as written, behind the place of the element it starts from."""
    relative = _RELATIVE.fullmatch(path)
    if relative is None:
        return path
    rest = relative[2]
    if not rest or not outer:
        return outer or rest
    if rest[0] in "[":
        return outer + rest
    if re.fullmatch(r"[A-Z][A-Z0-9]{2}(\[\d+\])?", outer):  # a segment of HL7 v2
        return f"{outer}-{rest}" if rest[0].isdigit() else f"{outer}.{rest}"
    return f"{outer}.{rest}"


def place_maker(codec: str, loops: Sequence[Loop], texts: Sequence[str]) -> PlaceMaker:
    """A function of (tree, (element, position) …) for places written as paths."""
    slash = codec in ("xml", "hl7v3", "cda")

    def label(tree: Any, steps: Steps, depth: int) -> str:
        """The place of the element of a loop."""
        if depth < 0:
            return ""
        loop = loops[depth]
        element, number = steps[depth]
        if loop.kind == "segment" and isinstance(element, Segment):
            return _of_segment(tree, element)
        ups = len(loop.path) - len(loop.path.lstrip("."))
        outer = label(tree, steps, depth - ups) if ups else ""
        if loop.kind == "repetition":
            return _of_repetition(tree, loop.path, outer, number)
        path = _slashed(outer, loop.path) if slash else _joined(outer, loop.path)
        if not loop.plain:
            return f"({path})[{number}]"
        return f"{path}[{number - 1 if loop.zero else number}]"

    def make(tree: Any, *steps: tuple[Any, int]) -> str:
        found = []
        for text in texts:
            ups = len(text) - len(text.lstrip("."))
            outer = label(tree, steps, len(loops) - ups) if ups else ""
            found.append(_slashed(outer, text) if slash else _joined(outer, text))
        return ", ".join(found)

    if not loops:
        fixed = ", ".join(texts)
        return lambda tree: fixed
    return make


def _slashed(outer: str, path: str) -> str:
    rest = path.lstrip(".")
    if len(rest) == len(path):
        return path
    return f"{outer}/{rest}".rstrip("/") if outer else rest
