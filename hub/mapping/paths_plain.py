"""Paths into plain trees of dict, list and scalars, as the JSON codec makes them.

``a.b[0].c``, ``a['odd key']``, ``$.a.b`` (the same from the root, also inside a filter), ``items[kind=='x'].value``,
``items[*].value``. An index counts from 0, -1 is the last. A key step on a list goes into its first item, an index on a single value takes
it for a list of one, so that producers that send one item without its list need no second rule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hub.i18n import t
from hub.mapping.expression import KEYWORDS
from hub.mapping.nodes import Node, PathNode
from hub.mapping.paths import Code, Elements, Scope, SourceFormat, scope_at

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator
    from hub.mapping.expression import Parser

__all__ = ["PlainFormat", "PlainStep"]

_NAME = re.compile(r"[^\W\d]\w*")
_CALL = re.compile(r"\s*\(")
_MAX_STEPS = 60


@dataclass(frozen=True, slots=True)
class PlainStep:
    kind: Literal["key", "index", "all", "filter"]
    key: str = ""
    index: int = 0
    condition: Node | None = None


class PlainFormat(SourceFormat):
    """Plain trees; ``name`` is the codec's."""

    name = "json"
    plain = True

    def __init__(self, *, empty_is_absent: bool = False) -> None:
        self.empty_is_absent = empty_is_absent

    def path_help(self) -> str:
        return "order.items[0].code, $.a['odd key'], .relative"

    # -- parsing -------------------------------------------------------------------------------------------------

    def parse_path(self, parser: Parser) -> PathNode | None:
        start = parser.at
        char = parser.peek()
        steps: list[PlainStep] = []
        up = 0
        if char == "$" and parser.peek(1) in (".", "[") and parser.peek(1):
            parser.at += 1
        elif char == ".":
            while parser.accept("."):
                up += 1
            if name := parser.match(_NAME):
                steps.append(PlainStep("key", name))
        else:
            name = parser.word()
            if not name or name in KEYWORDS or _CALL.match(parser.text, parser.at + len(name)):
                return None
            parser.at += len(name)
            steps.append(PlainStep("key", name))
            up = 1 if parser.in_filter else 0
        while True:
            if parser.accept("["):
                steps.append(self._bracket(parser))
            elif parser.peek() == "." and _NAME.match(parser.text, parser.at + 1):
                parser.at += 1
                steps.append(PlainStep("key", parser.match(_NAME)))
            else:
                break
            if len(steps) > _MAX_STEPS:
                raise parser.error(t(f"path with more than {_MAX_STEPS} steps", f"路径超过 {_MAX_STEPS} 步"))
        if parser.peek() == ".":
            raise parser.error(
                t("a name expected after the dot", "点之后应为名称"), t("odd names: ['name']", "特殊名称请写 ['name']")
            )
        return PathNode(start, up, tuple(steps), parser.text[start : parser.at])

    def _bracket(self, parser: Parser) -> PlainStep:
        parser.space()
        start = parser.at
        if parser.accept("*"):
            parser.expect("]", t("after *", "* 之后"))
            return PlainStep("all")
        char = parser.peek()
        if char in ("'", '"') and char:
            key = parser.string()
            parser.space()
            if parser.accept("]"):
                return PlainStep("key", key)
            parser.at = start
        elif number := parser.match(re.compile(r"-?\d{1,9}(?=\s*\])", re.ASCII)):
            parser.expect("]", t("to close [", "以闭合 [ "))
            return PlainStep("index", index=int(number))
        parser.in_filter += 1
        condition = parser.expression()
        parser.in_filter -= 1
        parser.expect("]", t("to close the filter", "以闭合过滤条件"))
        return PlainStep("filter", condition=condition)

    # -- reading -------------------------------------------------------------------------------------------------

    def scalar(self, generator: Generator, path: PathNode, scope: Scope) -> Code:
        origin = self._origin(generator, path, scope)
        current = origin.variable
        key: tuple[object, ...] = (origin.key,)
        for step in path.steps:
            key = (*key, step)
            current = self._step(generator, current, step, key, origin)
        return Code(current)

    def _origin(self, g: Generator, path: PathNode, scope: Scope) -> Scope:
        return scope_at(path, scope, (step.condition for step in path.steps), g.writer.loop_depth)

    def _step(self, g: Generator, current: str, step: PlainStep, key: tuple[object, ...], origin: Scope) -> str:
        if step.kind == "key":
            name = repr(step.key)
            expression = f"{current}.get({name}) if type({current}) is dict else member({current}, {name})"
            return g.writer.read(origin.loop_depth, key, expression)
        if step.kind in ("index", "all"):
            return g.writer.read(origin.loop_depth, key, f"item({current}, {step.index})")
        known = g.writer.known(key)
        if known:
            return known
        found = g.writer.temp()
        with g.writer.capture() as captured:
            g.writer.line(f"{found} = None")
            with g.matching(f"as_list({current})", step.condition, "value", origin) as element:
                g.writer.line(f"{found} = {element}")
                g.writer.line("break")
        g.writer.place_captured(origin.loop_depth, captured, {key: found})
        return found

    def values(self, generator: Generator, path: PathNode, scope: Scope) -> Code:
        found = self.elements(generator, path, scope).plain
        return Code(f"filled({found})" if self.empty_is_absent else found, "list")

    def elements(self, generator: Generator, path: PathNode, scope: Scope) -> Elements:
        writer = generator.writer
        if all(step.kind in ("key", "index") for step in path.steps) or (
            path.steps[-1].kind == "all" and all(step.kind in ("key", "index") for step in path.steps[:-1])
        ):
            steps = path.steps[:-1] if path.steps and path.steps[-1].kind == "all" else path.steps
            whole = self.scalar(generator, PathNode(path.at, path.up, steps, path.text), scope)
            return Elements(f"as_list({whole.text})", "value")
        origin = self._origin(generator, path, scope)
        found = writer.temp()
        with writer.capture() as captured:
            writer.line(f"{found} = []")
            self._collect(generator, origin.variable, path.steps, origin, found)
        key = ("elements", origin.key, path.steps)
        known = writer.known(key)
        if known:
            return Elements(known, "value")
        writer.place_captured(origin.loop_depth, captured, {key: found})
        return Elements(found, "value")

    def _collect(self, g: Generator, current: str, steps: tuple[PlainStep, ...], origin: Scope, found: str) -> None:
        """Write the loops that append what a path with ``[*]`` or filters reaches to the list ``found``."""
        if not steps:
            element = g.writer.temp()
            with g.writer.loop(f"for {element} in as_list({current}):"):
                g.writer.line(f"{found}.append({element})")
            return
        step, rest = steps[0], steps[1:]
        if step.kind == "key":
            g.writer.line(f"{(name := g.writer.temp())} = member({current}, {step.key!r})")
            self._collect(g, name, rest, origin, found)
        elif step.kind == "index":
            g.writer.line(f"{(name := g.writer.temp())} = item({current}, {step.index})")
            self._collect(g, name, rest, origin, found)
        elif step.kind == "all":
            element = g.writer.temp()
            with g.writer.loop(f"for {element} in as_list({current}):"):
                self._collect(g, element, rest, origin, found)
        else:
            with g.matching(f"as_list({current})", step.condition, "value", origin) as element:
                self._collect(g, element, rest, origin, found)
