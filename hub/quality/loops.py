"""The loops of ``each:``, with what it takes to name the place of an element, and the paths an expression reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from hub.mapping.builder import Builder
from hub.mapping.document import Text
from hub.mapping.nodes import ExpressionError, Node, PathNode
from hub.mapping.paths import Code, Scope
from hub.mapping.paths_hl7 import Hl7Format, Selector
from hub.mapping.paths_plain import PlainFormat
from hub.quality.places import Loop

__all__ = ["Looped", "each_element", "first_path"]


@dataclass(frozen=True, slots=True)
class Looped:
    """An open loop: the scope of its element, and the variables of the element and its position from 1."""

    scope: Scope
    element: str
    number: str
    place: Loop


def _without_filter(node: PathNode) -> tuple[PathNode, Node | None]:
    """A path without the filter at its end, and that filter: elements are counted before it, to have their own positions."""
    steps = node.steps
    if isinstance(steps, tuple):  # of a plain tree
        if steps and getattr(steps[-1], "kind", "") == "filter":
            return replace(node, steps=steps[:-1]), steps[-1].condition
        return node, None
    numbers = steps.numbers
    if numbers and numbers[-1][1].kind == "filter":
        bare = replace(steps, numbers=(*numbers[:-1], (numbers[-1][0], Selector())))
        return replace(node, steps=bare), numbers[-1][1].condition
    return node, None


def _text_of(builder: Builder, whole: PathNode, bare: PathNode) -> str:
    """How a path is written without the filter at its end."""
    if whole is bare:
        return whole.text
    at = whole.text.rfind("[")
    while at > 0:
        try:
            found = builder.parse(Text(whole.text[:at], 0))
        except ExpressionError:
            found = None
        if isinstance(found, PathNode) and found.steps == bare.steps:
            return whole.text[:at]
        at = whole.text.rfind("[", 0, at)
    return whole.text


@contextmanager
def each_element(builder: Builder, text: Text, scope: Scope, target: str) -> Iterator[Looped]:
    """A loop over the elements of a path; raises :class:`ExpressionError` for what is no path."""
    generator, writer = builder.generator, builder.generator.writer
    builder.at(text.line, f"{target}.each", text.text)
    node = builder.looped(text)
    condition: Node | None = None
    written, plain = text.text, False
    source = generator.source
    if isinstance(node, PathNode):
        whole = node
        if isinstance(source, PlainFormat | Hl7Format):
            node, condition = _without_filter(whole)
            written = _text_of(builder, whole, node)
            plain = isinstance(source, Hl7Format) or all(
                getattr(step, "kind", "") in ("key", "index") for step in node.steps
            )
        else:
            written, plain = whole.text, "[" not in whole.text
    number = writer.temp("n")
    with builder.elements(node, scope, 1) as inner:
        writer.place(writer.loop_depth - 1, [f"{number} = 0"], {})
        writer.line(f"{number} += 1")
        writer.line(f"if not {number} & 15: in_time(ctx)")
        generator.variables.append({"number": Code(number)})
        place = Loop(written, inner.kind, isinstance(source, PlainFormat), plain)
        looped = Looped(inner, inner.variable, number, place)
        try:
            if condition is None:
                yield looped
            else:
                with writer.block(f"if {generator.condition(condition, inner)}:"):
                    writer.line("pass")
                    yield looped
        finally:
            generator.variables.pop()


def first_path(builder: Builder, words: str) -> str:
    """The first path an expression reads, as it is written; "" when there is none or it can't be understood."""
    try:
        return _first(builder.parse(Text(words, 0)))
    except ExpressionError:
        return ""


def _first(node: Any) -> str:
    if isinstance(node, PathNode):
        return node.text
    if isinstance(node, tuple):
        return next((found for part in node if (found := _first(part))), "")
    if is_dataclass(node):
        return next((found for part in fields(node) if (found := _first(getattr(node, part.name)))), "")
    return ""
