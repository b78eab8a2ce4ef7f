"""Places in HL7 v2 messages: (segment, field, repetition, component, sub-component), the segment counted from 0, the rest from 1."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hub.codecs.hl7v2 import Hl7Message, Segment
from hub.i18n import t
from hub.mapping.nodes import PathNode
from hub.mapping.paths_hl7 import Selector
from hub.mapping.paths_hl7_runtime import HL7_RUNTIME
from hub.mapping_tools.places import Ask, Found, Occurring, Place, Places
from hub.mapping_tools.scope import Frame

__all__ = ["Hl7Places"]

_HEADERS = ("MSH", "FHS", "BHS")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_FIRST = Selector()
_LEADING_DOTS = re.compile(r"\.+")


@dataclass(frozen=True, slots=True)
class _Target:
    """A path with its numbers put where they belong; 0 where there is none."""

    origin: Frame
    segment: str
    occurrence: Selector
    field: int
    repetition: Selector
    component: int
    subcomponent: int

    @property
    def within(self) -> bool:
        """Whether it starts in a repetition of a field."""
        return self.origin.kind == "repetition"


class Hl7Places(Places):
    def __init__(self, tree: Hl7Message | None) -> None:
        self._tree = tree
        segments: list[Segment] = tree.segments if tree is not None else []
        self._segments = segments
        self._numbers = {id(segment): number for number, segment in enumerate(segments)}
        seen: dict[str, int] = {}
        self._occurrences = []
        for segment in segments:
            seen[segment.name] = seen.get(segment.name, 0) + 1
            self._occurrences.append(seen[segment.name])
        self._lines: list[tuple[int, bytes]] | None = None

    @property
    def _message(self) -> Hl7Message:
        assert self._tree is not None  # noqa: S101 - without a tree nobody asks for places
        return self._tree

    def root(self) -> Frame:
        return Frame("root", self._tree)

    # -- what is there -------------------------------------------------------------------------------------------

    def occurring(self) -> Iterator[Occurring]:
        message = self._message
        for number, segment in enumerate(self._segments):
            for field, raw in enumerate(segment.fields):
                if not raw or field == 0 or (segment.name in _HEADERS and field <= 2):
                    continue
                for repetition, whole in enumerate(raw.split(message.repetition_sep), 1):
                    yield from self._parts((number, field, repetition), segment.name, whole)

    def _parts(self, place: Place, name: str, whole: str) -> Iterator[Occurring]:
        message = self._message
        path = f"{name}-{place[1]}"
        components = whole.split(message.component_sep)
        for c, component in enumerate(components, 1):
            parts = component.split(message.subcomponent_sep)
            for s, part in enumerate(parts, 1):
                if not part:
                    continue
                depth = 5 if len(parts) > 1 else 4 if len(components) > 1 else 3
                full = (*place, c, s)
                numbers = "".join(f".{n}" for n in full[3:depth])
                yield Occurring(full, full[:depth], path + numbers, name, message.unescape(part))

    # -- what a path reaches -------------------------------------------------------------------------------------

    def _resolve(self, path: PathNode, frame: Frame) -> _Target:
        steps = path.steps
        origin = frame
        if path.up == 0:
            origin = frame.chain()[0]
        for _ in range(path.up - 1):
            origin = origin.parent or origin
        numbers = list(steps.numbers)
        if path.up and origin.kind == "repetition":
            numbers = [(0, _FIRST), *numbers]
        numbers += [(0, _FIRST)] * (3 - len(numbers))
        (field, repetition), (component, _), (subcomponent, _) = numbers[:3]
        return _Target(origin, steps.segment, steps.occurrence, field, repetition, component, subcomponent)

    def _named(self, target: _Target) -> list[Segment]:
        origin, occurrence = target.origin, target.occurrence
        if not target.segment:
            return [origin.element]
        if occurrence.kind == "before":
            known = HL7_RUNTIME["segments_before"](self._segments, target.segment)
            return list(HL7_RUNTIME["in_front"](known, origin.element))
        if occurrence.kind == "until":
            behind = self._segments if origin.kind == "root" else origin.members or ()
            return list(HL7_RUNTIME["until_named"](behind, target.segment, occurrence.stops))
        if origin.kind == "root":
            return self._message.all(target.segment)
        return [segment for segment in origin.members or () if segment.name == target.segment]

    def _choose(
        self, items: Sequence[tuple[Any, Place]], selector: Selector, kind: str, frame: Frame, ask: Ask, *, many: bool
    ) -> list[tuple[Any, Place]]:
        """Those a selector means: of ``first`` one, or all of them where many are wanted."""
        if selector.kind == "index":
            return list(items[selector.index - 1 : selector.index])
        condition = selector.condition
        if selector.kind != "filter" or condition is None:
            return list(items if many else items[:1])
        chosen: list[tuple[Any, Place]] = []
        for element, place in items:
            if ask(condition, Frame(kind, element, None, place, parent=frame, names=frame.names)):
                chosen.append((element, place))
                if not many:
                    break
        return chosen

    def _chosen_segments(self, target: _Target, frame: Frame, ask: Ask, *, many: bool) -> list[tuple[Any, Place]]:
        items = [(segment, (self._numbers[id(segment)],)) for segment in self._named(target)]
        return self._choose(items, target.occurrence, "segment", frame, ask, many=many)

    def _repetitions(
        self, target: _Target, segment: Segment, place: Place, frame: Frame, ask: Ask, *, many: bool
    ) -> list[tuple[Any, Place]]:
        field = target.field
        raw = segment.fields[field] if field < len(segment.fields) else ""
        if segment.name in _HEADERS and field <= 2:
            return [(raw, (*place, field, 1))] if raw else []
        pieces = raw.split(self._message.repetition_sep) if raw else []
        items = [(piece, (*place, field, number)) for number, piece in enumerate(pieces, 1)]
        if many and target.repetition.kind != "index":
            items = [item for item in items if item[0]]
        chosen = self._choose(items, target.repetition, "repetition", frame, ask, many=many)
        return [item for item in chosen if item[0]] if many else chosen

    def _reached(self, path: PathNode, frame: Frame, ask: Ask, *, many: bool) -> tuple[str, list[tuple[Any, Place]]]:
        """(segment or repetition, the elements with their places)"""
        target = self._resolve(path, frame)
        if path.up and target.within:
            element = target.origin.element
            return "repetition", [(element, target.origin.place)] if element else []
        if target.field == 0:
            return "segment", self._chosen_segments(target, frame, ask, many=many)
        # A segment that is only on the way is the first one, unless brackets say otherwise.
        several = many and target.occurrence.kind in ("all", "filter", "until")
        found: list[tuple[Any, Place]] = []
        for segment, place in self._chosen_segments(target, frame, ask, many=several):
            found += self._repetitions(target, segment, place, frame, ask, many=many)
        return "repetition", found

    def elements(self, path: PathNode, frame: Frame, ask: Ask) -> list[Frame]:
        kind, found = self._reached(path, frame, ask, many=True)
        label = self.label(path, frame)
        target = self._resolve(path, frame)
        following = self._segments if target.origin.kind == "root" else target.origin.members or []
        if kind == "repetition" or target.occurrence.kind == "before":
            return [Frame(kind, element, None, place, label, frame, frame.names) for element, place in found]
        if not target.segment:  # the element itself keeps what follows it
            return [
                Frame(kind, element, target.origin.members, place, label, frame, frame.names)
                for element, place in found
            ]
        grouped = HL7_RUNTIME["groups"]([element for element, _ in found], following)
        members = {id(element): behind for element, behind in grouped}
        return [
            Frame(kind, element, members.get(id(element), []), place, label, frame, frame.names)
            for element, place in found
        ]

    def found(self, path: PathNode, frame: Frame, ask: Ask, *, every: bool) -> list[Found]:
        kind, elements = self._reached(path, frame, ask, many=every)
        if kind == "segment":
            return [Found((*place, 0), self._path((*place, 0)), element.name) for element, place in elements]
        target = self._resolve(path, frame)
        message = self._message
        found: list[Found] = []
        for raw, place in elements:
            if self._is_delimiters(place):
                found.append(Found(place, self._path(place), raw))
                continue
            part = raw
            whole = list(place)
            for number, separator in (
                (target.component, message.component_sep),
                (target.subcomponent, message.subcomponent_sep),
            ):
                if number:
                    pieces = part.split(separator)
                    part = pieces[number - 1] if number <= len(pieces) else ""
                    whole.append(number)
            if part:
                found.append(Found(tuple(whole), self._path(tuple(whole)), message.unescape(part)))
        return found

    def _is_delimiters(self, place: Place) -> bool:
        return self._segments[place[0]].name in _HEADERS and place[1] <= 2

    def _path(self, place: Place) -> str:
        number, field, *rest = place
        occurrence = self._occurrences[number]
        text = self._segments[number].name + (f"[{occurrence}]" if occurrence > 1 else "")
        if field:
            text += f"-{field}" + (f"[{rest[0]}]" if rest and rest[0] > 1 else "")
        return text + "".join(f".{n}" for n in rest[1:])

    # -- without an input ----------------------------------------------------------------------------------------

    def inside(self, path: PathNode, frame: Frame) -> Frame:
        target = self._resolve(path, frame)
        if path.up and target.within:
            kind = "repetition"
        else:
            kind = "segment" if target.field == 0 else "repetition"
        members: list[Any] | None = [] if kind == "segment" and target.occurrence.kind != "before" else None
        return Frame(kind, None, members, (), self.label(path, frame), frame, frame.names)

    def label(self, path: PathNode, frame: Frame) -> str:
        if not path.up:
            return path.text
        origin = self._resolve(path, frame).origin
        rest = _LEADING_DOTS.sub("", path.text, count=1)
        if not rest:
            return origin.label
        if path.steps.segment:
            return rest
        return f"{origin.label}-{rest}" if origin.kind == "segment" else f"{origin.label}.{rest}"

    # -- bytes ---------------------------------------------------------------------------------------------------

    def span(self, place: Place) -> tuple[int, int] | None:
        """None where bytes and characters don't correspond: UTF-16, broken characters, a changed message."""
        message = self._message
        segment = self._segments[place[0]]
        lines = self._byte_lines()
        if segment.line < 0 or segment.line >= len(lines):
            return None
        start, raw = lines[segment.line]
        line = message.lines[segment.line]
        try:
            text = raw.decode(message.charset)
            before = text[: len(text) - len(line)]
            if not text.endswith(line) or text.encode(message.charset) != raw:
                return None
            first, last = self._characters(line, segment, place)
            head = len((before + line[:first]).encode(message.charset))
            return start + head, start + head + len(line[first:last].encode(message.charset))
        except (UnicodeError, LookupError):
            return None

    def _byte_lines(self) -> list[tuple[int, bytes]]:
        """Offset and bytes of each line; none where line ends can't be found in the bytes."""
        if self._lines is None:
            body = self._message.body
            self._lines = []
            start = 0
            for end in _LINE_END.finditer(body):
                self._lines.append((start, body[start : end.start()]))
                start = end.end()
            self._lines.append((start, body[start:]))
            if len(self._lines) != len(self._message.lines):
                self._lines = []
        return self._lines

    def _characters(self, line: str, segment: Segment, place: Place) -> tuple[int, int]:
        message = self._message
        start, end = 0, len(line)
        field, *rest = place[1:]
        if field == 0:
            return 0, len(segment.name)
        if field == 1 and segment.name in _HEADERS:
            return len(segment.name), len(segment.name) + 1
        numbers = [field if segment.name in _HEADERS else field + 1, *rest]
        separators = (message.field_sep, message.repetition_sep, message.component_sep, message.subcomponent_sep)
        for wanted, separator in zip(numbers, separators, strict=False):
            if separator != message.field_sep and self._is_delimiters(place):
                break
            pieces = line[start:end].split(separator)
            start += sum(len(piece) + len(separator) for piece in pieces[: wanted - 1])
            end = start + len(pieces[wanted - 1])
        return start, end

    def describe(self, place: Place) -> str:
        return t(f"segment {place[0] + 1}", f"第 {place[0] + 1} 段")
