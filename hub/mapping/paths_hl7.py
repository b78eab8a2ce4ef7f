"""Paths into HL7 v2 messages, read straight from the raw fields of the lazy tree.

``PID-5.1`` (HL7 v2.x chapter 2: segment, field, component; ``.1.2`` sub-component), ``PID-3[2].1`` (repetition, from 1),
``OBX[3]-5`` (occurrence of the segment), ``[*]`` all of them, filters ``PID-3[.5=='IDCARD'].1`` and ``OBX[.3.1=='8302-2']-5``.
Relative: ``.4.2`` of a repetition, ``.5.1`` of a segment, ``.OBX-5`` the segments that follow a segment up to the next of its name
(an OBR and its OBX), ``.NTE[until OBX]`` of these the ones in front of the first OBX, ``.ORC[before]-2`` the segment in front. A bare segment name tells whether the segment is there: its name, or "".

Values are unescaped; a field or component read as a whole keeps the separators inside it, so nothing is lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hub.i18n import t
from hub.mapping.nodes import ExpressionError, Node, PathNode
from hub.mapping.paths import Code, Elements, Scope, SourceFormat, scope_at

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator
    from hub.mapping.expression import Parser

__all__ = ["Hl7Format", "Selector"]

_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}(?![\w(])")
_NUMBER = re.compile(r"\d{1,4}", re.ASCII)
_INDEX = re.compile(r"\d{1,6}(?=\s*\])", re.ASCII)
#: Segments whose first two fields are the separators themselves.
_HEADERS = ("MSH", "FHS", "BHS")


@dataclass(frozen=True, slots=True)
class Selector:
    """Which of what repeats. ``first`` is what a path without brackets means; ``until`` all before the first segment named in ``stops``;
    ``before`` the last one in front of the present segment."""

    kind: Literal["first", "index", "all", "filter", "until", "before"] = "first"
    index: int = 1
    condition: Node | None = None
    stops: tuple[str, ...] = ()


_FIRST = Selector()
#: Selectors of segments that may mean several.
_MANY = ("all", "filter", "until")


@dataclass(frozen=True, slots=True)
class _Steps:
    """A path as written; what the numbers mean depends, for relative paths, on the element they start from."""

    segment: str
    occurrence: Selector
    numbers: tuple[tuple[int, Selector], ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """A path resolved against its scope. ``field`` 0: the segment (or repetition) itself; 0 likewise for the rest."""

    origin: Scope
    segment: str
    occurrence: Selector
    field: int
    repetition: Selector
    component: int
    subcomponent: int


class Hl7Format(SourceFormat):
    name = "hl7v2"
    empty_is_absent = True

    def path_help(self) -> str:
        return "PID-5.1, PID-3[2].1, OBX[.3.1=='8302-2']-5, .relative"

    # -- parsing -------------------------------------------------------------------------------------------------

    def parse_path(self, parser: Parser) -> PathNode | None:
        start = parser.at
        up = 0
        while parser.accept("."):
            up += 1
        segment = parser.match(_SEGMENT)
        occurrence = _FIRST
        numbers: list[tuple[int, Selector]] = []
        if segment:
            if parser.accept("["):
                occurrence = self._among_segments(parser, up) or self._selector(parser)
            if parser.peek() == "-" and parser.peek(1).isdigit():
                parser.at += 1
                self._numbers(parser, numbers)
        elif not up:
            return None
        elif parser.peek().isdigit():
            self._numbers(parser, numbers)
        if parser.peek() == "." or parser.peek().isalnum():
            raise parser.error(
                t(
                    f"{parser.text[start : parser.at + 4]!r} is not a path",
                    f"{parser.text[start : parser.at + 4]!r} 不是路径",
                ),
                t(f"write e.g. {self.path_help()}", f"写法例如 {self.path_help()}"),
                at=start,
            )
        return PathNode(start, up, _Steps(segment, occurrence, tuple(numbers)), parser.text[start : parser.at])

    def _numbers(self, parser: Parser, numbers: list[tuple[int, Selector]]) -> None:
        while True:
            at = parser.at
            number = int(parser.match(_NUMBER) or 0)
            if number == 0:
                raise parser.error(
                    t("fields, components and sub-components count from 1", "字段、组件、子组件从 1 起计"), at=at
                )
            selector = _FIRST
            if parser.accept("["):
                selector = self._selector(parser)
            numbers.append((number, selector))
            if len(numbers) > 3:
                raise parser.error(
                    t("a path ends at the sub-component: PID-3.4.2", "路径最多到子组件：PID-3.4.2"), at=at
                )
            if parser.peek() == "." and parser.peek(1).isdigit():
                parser.at += 1
            else:
                return

    def _among_segments(self, parser: Parser, up: int) -> Selector | None:
        """``[until OBX, SPM]`` and ``[before]`` behind the name of a segment."""
        at = parser.at
        parser.space()
        if parser.accept_word("before"):
            parser.expect("]", t("after before", "before 之后"))
            if not up:
                raise parser.error(
                    t("[before] is for relative paths", "[before] 仅用于相对路径"),
                    t("inside each: OBR write .ORC[before]", "在 each: OBR 之内写 .ORC[before]"),
                    at=at,
                )
            return Selector("before")
        if not parser.accept_word("until"):
            return None
        stops: list[str] = []
        while not stops or parser.accept(","):
            parser.space()
            stops.append(parser.match(_SEGMENT))
            if not stops[-1]:
                raise parser.error(t("the name of a segment expected", "此处应为段名"), "[until OBX]")
            parser.space()
        parser.expect("]", t("to close [", "以闭合 [ "))
        return Selector("until", stops=tuple(stops))

    def _selector(self, parser: Parser) -> Selector:
        parser.space()
        if parser.accept("*"):
            parser.expect("]", t("after *", "* 之后"))
            return Selector("all")
        if number := parser.match(_INDEX):
            parser.expect("]", t("to close [", "以闭合 [ "))
            if int(number) == 0:
                raise parser.error(t("repetitions count from 1", "重复次序从 1 起计"))
            return Selector("index", int(number))
        parser.in_filter += 1
        condition = parser.expression()
        parser.in_filter -= 1
        parser.expect("]", t("to close the filter", "以闭合过滤条件"))
        return Selector("filter", condition=condition)

    def _resolve(self, g: Generator, path: PathNode, scope: Scope) -> _Place:
        steps: _Steps = path.steps
        conditions = (selector.condition for selector in (steps.occurrence, *(each for _, each in steps.numbers)))
        origin = scope_at(path, scope, conditions, g.writer.loop_depth)
        numbers = list(steps.numbers)
        if path.up and origin.kind == "root":
            raise ExpressionError(
                t(
                    f"{path.text} is relative, and there is no element here",
                    f"{path.text} 是相对路径，但此处没有当前元素",
                ),
                path.at,
                t(
                    "only inside each:, split:, include … from: and filters",
                    "仅可用于 each:、split:、include … from: 和过滤条件内",
                ),
            )
        if path.up and origin.kind == "repetition":
            if steps.segment or len(numbers) > 2 or any(selector != _FIRST for _, selector in numbers):
                raise ExpressionError(
                    t(
                        f"{path.text}: a repetition of a field has only components (.1) and sub-components (.1.2)",
                        f"{path.text}：字段的一次重复之内只有组件（.1）和子组件（.1.2）",
                    ),
                    path.at,
                )
            numbers = [(0, _FIRST), *numbers]
        elif not steps.segment and not numbers and path.up == 0:
            raise ExpressionError(t("empty path", "空路径"), path.at)
        numbers += [(0, _FIRST)] * (3 - len(numbers))
        (field, repetition), (component, selector), (subcomponent, last) = numbers
        if selector != _FIRST or last != _FIRST:
            raise ExpressionError(
                t(f"{path.text}: components don't repeat", f"{path.text}：组件不可重复"),
                path.at,
                t("the brackets belong behind the field: PID-3[2].1", "方括号应在字段之后：PID-3[2].1"),
            )
        return _Place(origin, steps.segment, steps.occurrence, field, repetition, component, subcomponent)

    # -- one value -----------------------------------------------------------------------------------------------

    def scalar(self, generator: Generator, path: PathNode, scope: Scope) -> Code:
        place = self._resolve(generator, path, scope)
        if place.origin.kind == "repetition" and path.up:
            return Code(self._part(generator, place.origin, place.origin.variable, place), "text")
        if place.field == 0:
            segment = self._segment(generator, place)
            name = f"{segment}.name if {segment} is not None else ''"
            return Code(generator.writer.read(place.origin.loop_depth, ("name", segment), name), "text")
        repetition = self._repetition(generator, place)
        return Code(self._part(generator, place.origin, repetition, place), "text")

    def raw(self, generator: Generator, path: PathNode, scope: Scope) -> tuple[str, int]:
        """(variable with the text as written, still escaped; its level): for copies that keep the structure.

        Levels: 0 a field with all its repetitions, 1 a repetition, 2 a component, 3 a sub-component, 4 no part of a field.
        """
        place = self._resolve(generator, path, scope)
        level = 3 if place.subcomponent else 2 if place.component else 1
        if place.origin.kind == "repetition" and path.up:
            return self._raw_part(generator, place.origin, place.origin.variable, place), level
        if place.field == 0:
            return "", 4
        if level == 1 and place.repetition == _FIRST:
            return self._field(generator, place.origin, self._fields(generator, place), place.field), 0
        repetition = self._repetition(generator, place)
        return self._raw_part(generator, place.origin, repetition, place), level

    def _segment(self, g: Generator, place: _Place) -> str:
        """The name of a variable with the segment, None when absent."""
        origin = place.origin
        if not place.segment:
            return origin.variable
        self._require_members(place)
        if self._means_first(place):
            expression = (
                f"{origin.variable}.first({place.segment!r})"
                if origin.kind == "root"
                else f"first_named({origin.members}, {place.segment!r})"
            )
            return g.writer.read(origin.loop_depth, ("segment", origin.key, place.segment), expression)
        every = self._segments(g, place)
        key = ("segment", origin.key, place.segment, place.occurrence)
        if place.occurrence.kind in ("index", "until", "before"):
            return g.writer.read(origin.loop_depth, key, f"nth({every}, {place.occurrence.index})")
        return self._first_match(g, every, place.occurrence, "segment", origin, key)

    def _means_first(self, place: _Place) -> bool:
        return place.occurrence.kind in ("first", "all") or place.occurrence == Selector("index", 1)

    def _fields(self, g: Generator, place: _Place) -> str:
        """A variable with the raw fields of the segment, an empty sequence when it is absent."""
        origin = place.origin
        if place.segment and origin.kind == "root" and self._means_first(place):
            key = ("first fields", origin.key, place.segment)
            return g.writer.read(origin.loop_depth, key, f"{origin.variable}.first_fields({place.segment!r})")
        return self._fields_of(g, origin, self._segment(g, place))

    def _fields_of(self, g: Generator, origin: Scope, segment: str) -> str:
        absent = "" if segment == origin.variable else f" if {segment} is not None else ()"
        return g.writer.read(origin.loop_depth, ("fields", segment), f"{segment}.fields{absent}")

    def _require_members(self, place: _Place) -> None:
        if place.origin.kind != "root" and not place.origin.members:
            raise ExpressionError(
                t(
                    f".{place.segment}: the segments that follow another are known inside each: and split: only",
                    f".{place.segment}：仅在 each: 和 split: 内可取某段之后的段",
                )
            )

    def _first_match(
        self, g: Generator, elements: str, selector: Selector, kind: str, origin: Scope, key: tuple[object, ...]
    ) -> str:
        known = g.writer.known(key)
        if known:
            return known
        found = g.writer.temp()
        nothing = "None" if kind == "segment" else "''"
        with g.writer.capture() as captured:
            g.writer.line(f"{found} = {nothing}")
            with g.matching(elements, selector.condition, kind, origin) as element:
                g.writer.line(f"{found} = {element}")
                g.writer.line("break")
        g.writer.place_captured(origin.loop_depth, captured, {key: found})
        return found

    def _segments(self, g: Generator, place: _Place) -> str:
        """A variable with the list of all segments of the path's name, of ``[until …]`` and ``[before]`` those meant."""
        origin = place.origin
        if place.occurrence.kind == "before":
            return self._in_front(g, place)
        self._require_members(place)
        if place.occurrence.kind == "until":
            stops = place.occurrence.stops
            key = ("segments", origin.key, place.segment, stops)
            early = f"until_named({self._following(place)}, {place.segment!r}, {stops!r})"
            return g.writer.read(origin.loop_depth, key, early)
        expression = (
            f"{origin.variable}.all({place.segment!r})"
            if origin.kind == "root"
            else f"all_named({origin.members}, {place.segment!r})"
        )
        return g.writer.read(origin.loop_depth, ("segments", origin.key, place.segment), expression)

    def _in_front(self, g: Generator, place: _Place) -> str:
        """A variable with the segment in front of the present one, in a list."""
        origin = place.origin
        if origin.kind != "segment":
            raise ExpressionError(
                t(
                    f".{place.segment}[before]: only a segment has others in front",
                    f".{place.segment}[before]：仅段之前可有其他段",
                )
            )
        known = g.writer.read(
            0, ("before", place.segment), f"segments_before({g.root.variable}.segments, {place.segment!r})"
        )
        key = ("segments", origin.key, place.segment, place.occurrence)
        return g.writer.read(origin.loop_depth, key, f"in_front({known}, {origin.variable})")

    def _field(self, g: Generator, origin: Scope, fields: str, field: int) -> str:
        """A variable with the raw text of a field."""
        depth = origin.loop_depth
        count = g.writer.read(depth, ("count", fields), f"len({fields})")
        return g.writer.read(depth, ("field", fields, field), f"{fields}[{field}] if {count} > {field} else ''")

    def _separator(self, g: Generator, which: str) -> str:
        return g.writer.read(0, ("separator", which), f"{g.root.variable}.{which}")

    def _repetition(self, g: Generator, place: _Place) -> str:
        """A variable with the raw text of the repetition a path means."""
        origin, selector = place.origin, place.repetition
        raw = self._field(g, origin, self._fields(g, place), place.field)
        if self._is_delimiters(place):
            return raw
        separator = self._separator(g, "repetition_sep")
        key = ("repetition", raw, selector)
        if selector.kind in ("first", "all") or selector == Selector("index", 1):
            first = f"{raw}.split({separator}, 1)[0] if {separator} in {raw} else {raw}"
            return g.writer.read(origin.loop_depth, ("repetition", raw), first)
        if selector.kind == "index":
            return g.writer.read(origin.loop_depth, key, f"nth_text({raw}.split({separator}), {selector.index})")
        every = g.writer.read(origin.loop_depth, ("repetitions", raw), f"{raw}.split({separator}) if {raw} else ()")
        return self._first_match(g, every, selector, "repetition", origin, key)

    def _raw_part(self, g: Generator, origin: Scope, repetition: str, place: _Place) -> str:
        """A variable with the raw text of a repetition, component or sub-component."""
        part = repetition
        if self._is_delimiters(place):
            return part
        if place.component:
            part = self._piece(g, origin, part, "component_sep", place.component)
        if place.subcomponent:
            part = self._piece(g, origin, part, "subcomponent_sep", place.subcomponent)
        return part

    def _is_delimiters(self, place: _Place) -> bool:
        return place.segment in _HEADERS and 0 < place.field <= 2

    def _part(self, g: Generator, origin: Scope, repetition: str, place: _Place) -> str:
        """The same, unescaped."""
        part = self._raw_part(g, origin, repetition, place)
        if self._is_delimiters(place):
            return part
        escape = self._separator(g, "escape_char")
        plain = f"{g.writer.read(0, ('unescape',), f'{g.root.variable}.unescape')}({part})"
        if origin.loop_depth:
            memo = g.memo("unescape")
            plain = f"({memo}[{part}] if {part} in {memo} else {memo}.setdefault({part}, {plain}))"
        return g.writer.read(origin.loop_depth, ("text", part), f"{plain} if {escape} in {part} else {part}")

    def _piece(self, g: Generator, origin: Scope, whole: str, separator: str, number: int) -> str:
        depth = origin.loop_depth
        mark = self._separator(g, separator)
        pieces = g.writer.read(depth, (separator, whole), f"{whole}.split({mark})")
        if number == 1:
            return g.writer.read(depth, (separator, whole, 1), f"{pieces}[0]")
        count = g.writer.read(depth, (separator, whole, "count"), f"len({pieces})")
        return g.writer.read(
            depth, (separator, whole, number), f"{pieces}[{number - 1}] if {count} >= {number} else ''"
        )

    # -- many values ---------------------------------------------------------------------------------------------

    def values(self, generator: Generator, path: PathNode, scope: Scope) -> Code:
        place = self._resolve(generator, path, scope)
        elements, kind = self._elements(generator, place, path)
        if kind == "segment":
            return Code(f"names_of({elements})", "list")
        key = ("values", place)
        known = generator.writer.known(key)
        if known:
            return Code(known, "list")
        writer = generator.writer
        found = writer.temp()
        with writer.capture() as captured:
            writer.line(f"{found} = []")
            element = writer.temp("e")
            with writer.loop(f"for {element} in {elements}:"):
                inner = Scope("repetition", element, place.origin, writer.loop_depth, here=place.origin.here)
                text = self._part(generator, inner, element, place)
                with writer.block(f"if {text}:"):
                    writer.line(f"{found}.append({text})")
        writer.place_captured(place.origin.loop_depth, captured, {key: found})
        return Code(found, "list")

    def elements(self, generator: Generator, path: PathNode, scope: Scope) -> Elements:
        place = self._resolve(generator, path, scope)
        if place.component:
            raise ExpressionError(
                t(f"{path.text}: components don't repeat", f"{path.text}：组件不可重复"),
                path.at,
                t("name the field, e.g. PID-3, and read .1 inside", "请写到字段（如 PID-3），在其内用 .1 读取"),
            )
        elements, kind = self._elements(generator, place, path)
        origin = place.origin
        if kind != "segment" or place.occurrence.kind == "before":
            grouped = ""
        elif place.segment:
            grouped = f"groups({elements}, {self._following(place)})"
        else:  # the current segment itself: what follows it is known
            grouped = f"(({origin.variable}, {origin.members}),)" if origin.members else ""
        return Elements(elements, kind, grouped)

    def _following(self, place: _Place) -> str:
        origin = place.origin
        return f"{origin.variable}.segments" if origin.kind == "root" else origin.members

    def _elements(self, g: Generator, place: _Place, path: PathNode) -> tuple[str, str]:
        """(variable with a list of segments or of raw repetitions, kind)."""
        origin, writer = place.origin, g.writer
        if origin.kind == "repetition" and path.up:
            return f"(({origin.variable},) if {origin.variable} else ())", "repetition"
        if place.field == 0:
            if not place.segment:
                return f"({origin.variable},)", "segment"
            return self._selected(g, self._segments(g, place), place.occurrence, "segment", place), "segment"
        if place.occurrence.kind not in _MANY:
            return self._repetitions(g, place, self._fields(g, place), origin), "repetition"
        segments = self._selected(g, self._segments(g, place), place.occurrence, "segment", place)
        key = ("elements", place.origin, place.segment, place.occurrence, place.field, place.repetition)
        known = writer.known(key)
        if known:
            return known, "repetition"
        found = writer.temp()
        with writer.capture() as captured:
            writer.line(f"{found} = []")
            element = writer.temp("e")
            with writer.loop(f"for {element} in {segments}:"):
                inner = Scope("segment", element, origin, writer.loop_depth, here=origin.here)
                fields = self._fields_of(g, inner, element)
                writer.line(f"{found}.extend({self._repetitions(g, place, fields, inner)})")
        writer.place_captured(origin.loop_depth, captured, {key: found})
        return found, "repetition"

    def _selected(self, g: Generator, elements: str, selector: Selector, kind: str, place: _Place) -> str:
        """All elements, the one of an index, or those a filter lets through."""
        if selector.kind == "index":
            return f"{elements}[{selector.index - 1}:{selector.index}]"
        if selector.kind != "filter":
            return elements
        origin = place.origin
        key = ("matching", elements, selector)
        known = g.writer.known(key)
        if known:
            return known
        found = g.writer.temp()
        with g.writer.capture() as captured:
            g.writer.line(f"{found} = []")
            with g.matching(elements, selector.condition, kind, origin) as element:
                g.writer.line(f"{found}.append({element})")
        g.writer.place_captured(origin.loop_depth, captured, {key: found})
        return found

    def _repetitions(self, g: Generator, place: _Place, fields: str, scope: Scope) -> str:
        """A variable with the list of a field's repetitions that hold something."""
        raw = self._field(g, scope, fields, place.field)
        if self._is_delimiters(place):
            return f"(({raw},) if {raw} else ())"
        separator = self._separator(g, "repetition_sep")
        selector = place.repetition
        if selector.kind == "index":
            return f"filled({raw}.split({separator})[{selector.index - 1}:{selector.index}])"
        every = g.writer.read(scope.loop_depth, ("filled", raw), f"filled({raw}.split({separator})) if {raw} else ()")
        if selector.kind != "filter":
            return every
        key = ("matching", every, selector)
        known = g.writer.known(key)
        if known:
            return known
        found = g.writer.temp()
        with g.writer.capture() as captured:
            g.writer.line(f"{found} = []")
            with g.matching(every, selector.condition, "repetition", scope) as element:
                g.writer.line(f"{found}.append({element})")
        g.writer.place_captured(scope.loop_depth, captured, {key: found})
        return found
