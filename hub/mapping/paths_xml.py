"""Paths into XML documents: the part of XPath 1.0 that people write, compiled to Python over lxml elements.

``ClinicalDocument/recordTarget/patientRole/id[@root='2.16.156.10011.1.3']/@extension``, ``//section[code/@code='…']``, ``*/id``,
``a/text()``, ``a/name()``, ``[2]``, ``[last()]``. Relative paths have the dots of the language: ``.code/@code``, ``..id/@root``, ``.@root``.

A path is as long as it can be: ``a/b`` and ``a-b`` are paths, division and subtraction need blanks. What a path selects is what XPath
selects, in document order; its single value is that of the first node. The value of an element is its text without the white space at
both ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from hub.i18n import t
from hub.mapping.nodes import ExpressionError, Node, PathNode
from hub.mapping.paths import Code, Elements, Scope, SourceFormat, scope_at
from hub.mapping.paths_xml_parse import XmlPathParser, XmlPredicate, XmlStep, as_condition
from hub.mapping.paths_xml_runtime import XML_RUNTIME

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator
    from hub.mapping.expression import Parser

__all__ = ["XmlFormat", "split_steps"]


#: Helpers for several elements, and what one does itself.
_OF_ONE = {"all_children": "iterchildren", "nested_children": "iterchildren", "all_below": "iterdescendants"}


class XmlFormat(SourceFormat):
    """``namespaces``: prefix to URI, ``""`` for names without prefix. ``v3``: these are of HL7 v3, or of none where the sender forgot
    it; without either they match in every namespace."""

    name = "xml"
    empty_is_absent = True
    single_equals = True

    def __init__(self, namespaces: Mapping[str, str] | None = None, *, v3: bool = False) -> None:
        self._parser = XmlPathParser(namespaces or {}, v3=v3)

    def path_help(self) -> str:
        return "order/items/item[@kind='x']/code, //item, .relative/@attribute"

    def parse_path(self, parser: Parser) -> PathNode | None:
        return self._parser.parse(parser)

    def as_condition(self, node: Node) -> Node:
        return as_condition(node)

    # -- reading -------------------------------------------------------------------------------------------------

    def _origin(self, g: Generator, path: PathNode, scope: Scope) -> Scope:
        g.namespace.update(XML_RUNTIME)
        conditions: list[Node | None] = []
        for step in path.steps:
            conditions += [predicate.condition for predicate in step.predicates]
            conditions.append(step.other)
        origin = scope_at(path, scope, conditions, g.writer.loop_depth)
        if path.up and origin.kind == "value" and path.steps:
            raise ExpressionError(
                t(f"{path.text}: an attribute or text has no parts", f"{path.text}：属性和文本之内没有其他内容"),
                path.at,
                t("write . for the value itself", "取其值请写 ."),
            )
        return origin

    def scalar(self, generator: Generator, path: PathNode, scope: Scope) -> Code:
        origin = self._origin(generator, path, scope)
        if path.up and origin.kind == "value":
            return Code(origin.variable, "text")
        steps, end = split_steps(path.steps)
        if end.kind == "test":
            return self._test(generator, steps, end, origin, scope)
        return Code(self._first(generator, steps, end, path.up, origin), "text")

    def _first(self, g: Generator, steps: tuple[XmlStep, ...], end: XmlStep, up: int, origin: Scope) -> str:
        """A variable with the text of the first node, "" when there is none."""
        key = ("first", origin.key, up, steps, end)
        if not steps:  # the current element itself
            element = self._element(g, origin)
            expression = {
                "attribute": f"{element}.get({end.name!r}, '')",
                "text": f"own_text({element})",
                "name": f"local_name({element})",
            }.get(end.kind, f"text_of({element})")
            return g.writer.read(origin.loop_depth, key, expression)
        nodes = self._nodes(g, steps, up, origin)
        expression = {
            "attribute": f"first_attribute({nodes}, {end.name!r})",
            "text": f"first_own_text({nodes})",
            "name": f"local_name({nodes}[0]) if {nodes} else ''",
        }.get(end.kind, f"text_of({nodes}[0]) if {nodes} else ''")
        return g.writer.read(origin.loop_depth, key, expression)

    def values(self, generator: Generator, path: PathNode, scope: Scope) -> Code:
        origin = self._origin(generator, path, scope)
        if path.up and origin.kind == "value":
            return Code(f"({origin.variable},)", "list")
        steps, end = split_steps(path.steps)
        return Code(self._all(generator, steps, end, path.up, origin), "list")

    def _all(self, g: Generator, steps: tuple[XmlStep, ...], end: XmlStep, up: int, origin: Scope) -> str:
        """A variable with the texts of all nodes; empty attributes are left out."""
        nodes = self._nodes(g, steps, up, origin)
        expression = {
            "attribute": f"attributes({nodes}, {end.name!r})",
            "text": f"own_texts({nodes})",
            "name": f"local_names({nodes})",
        }.get(end.kind, f"texts({nodes})")
        return g.writer.read(origin.loop_depth, ("all", origin.key, up, steps, end), expression)

    def elements(self, generator: Generator, path: PathNode, scope: Scope) -> Elements:
        origin = self._origin(generator, path, scope)
        if path.up and origin.kind == "value":
            return Elements(f"({origin.variable},)", "value")
        steps, end = split_steps(path.steps)
        if end.kind in ("attribute", "text", "name"):
            return Elements(self._all(generator, steps, end, path.up, origin), "value")
        return Elements(self._nodes(generator, steps, path.up, origin), "element")

    # -- elements ------------------------------------------------------------------------------------------------

    def _element(self, g: Generator, origin: Scope) -> str:
        """A variable with the element relative paths start from; outside of each: the root element."""
        if origin.kind != "root":
            return origin.variable
        return g.writer.read(0, ("root element", origin.variable), f"{origin.variable}.root")

    def _nodes(self, g: Generator, steps: tuple[XmlStep, ...], up: int, origin: Scope) -> str:
        """A variable with the list of elements that steps lead to, in document order."""
        element = self._element(g, origin)
        if not steps:
            return f"({element},)"
        key: tuple[object, ...] = ("nodes", origin.key, up, steps)
        known = g.writer.known(key)
        if known:
            return known
        step, before = steps[-1], steps[:-1]
        if step.predicates:
            bare = (*before, replace(step, predicates=step.predicates[:-1]))
            return self._chosen(g, bare, step.predicates[-1], up, origin, key)
        tags = ", ".join(repr(tag) for tag in step.tags)
        if not before and not up:
            expression = f"top{'_all' if step.kind == 'descendant' else ''}({element}, {tags})"
        elif not before:
            expression = f"list({element}.{'iterdescendants' if step.kind == 'descendant' else 'iterchildren'}({tags}))"
        else:
            nodes = self._nodes(g, before, up, origin)
            nested = any(earlier.kind == "descendant" for earlier in before)
            helper = "all_below" if step.kind == "descendant" else "nested_children" if nested else "all_children"
            expression = f"{helper}({nodes}, {tags})"
            if helper in _OF_ONE:  # mostly there is one, and the call would cost as much as the reading
                expression = f"list({nodes}[0].{_OF_ONE[helper]}({tags})) if len({nodes}) == 1 else {expression}"
        return g.writer.read(origin.loop_depth, key, expression)

    def _chosen(
        self,
        g: Generator,
        bare: tuple[XmlStep, ...],
        predicate: XmlPredicate,
        up: int,
        origin: Scope,
        key: tuple[object, ...],
    ) -> str:
        """A variable with the elements among those of ``bare`` for which a predicate holds."""
        nodes = self._nodes(g, bare, up, origin)
        if predicate.index:
            return g.writer.read(origin.loop_depth, key, f"numbered({nodes}, {predicate.index})")
        test = _simple_test(predicate.condition)
        if test is not None:
            # Many fields look among the same elements for one of them each: these are sorted by the value once.
            steps, end, literal = test
            index = self._index(g, nodes, steps, end, origin)
            return g.writer.read(origin.loop_depth, key, f"{index}.get({literal!r}, ())")
        found = g.writer.temp()
        with g.writer.capture() as captured:
            g.writer.line(f"{found} = []")
            with g.matching(nodes, predicate.condition, "element", origin) as element:
                g.writer.line(f"{found}.append({element})")
        g.writer.place_captured(origin.loop_depth, captured, {key: found})
        return found

    def _index(self, g: Generator, nodes: str, steps: tuple[XmlStep, ...], end: XmlStep, origin: Scope) -> str:
        """A variable with a dict from value to the elements that have it."""
        key = ("index", nodes, steps, end)
        known = g.writer.known(key)
        if known:
            return known
        found = g.writer.temp()
        with g.writer.capture() as captured:
            g.writer.line(f"{found} = {{}}")
            element, value = g.writer.temp("e"), g.writer.temp("k")
            with g.writer.loop(f"for {element} in {g.charged(nodes)}:"):
                inner = Scope("element", element, origin, g.writer.loop_depth)
                if not steps and end.kind == "attribute":
                    g.writer.line(f"index({found}, {element}.get({end.name!r}), {element})")
                else:
                    values = self._all(g, steps, end, 1, inner)
                    with g.writer.block(f"for {value} in {values}:"):
                        g.writer.line(f"index({found}, {value}, {element})")
        g.writer.place_captured(origin.loop_depth, captured, {key: found})
        return found

    def _test(self, g: Generator, steps: tuple[XmlStep, ...], end: XmlStep, origin: Scope, scope: Scope) -> Code:
        before, last = split_steps(steps)
        values = self._all(g, before, last, 1, origin)
        equal = end.operator == "=="
        if end.literal == "":
            return Code(f"(not any_text({values}))" if equal else f"any_text({values})", "bool")
        if end.literal is not None:
            return Code(f"({end.literal!r} in {values})" if equal else f"unlike({values}, {end.literal!r})", "bool")
        if isinstance(end.other, PathNode):
            others = g.charged(self.values(g, end.other, scope).text)
            return Code(f"{'common' if equal else 'uncommon'}({values}, {others})", "bool", True)
        code = g.compile(end.other, scope) if end.other is not None else Code("None")
        return Code(f"{'matched' if equal else 'unmatched'}({values}, {code.text})", "bool", True)


def split_steps(steps: tuple[XmlStep, ...]) -> tuple[tuple[XmlStep, ...], XmlStep]:
    """(the steps that lead to elements, what is read of these: themselves, an attribute, their text or name)."""
    if steps and steps[-1].kind not in ("child", "descendant"):
        return steps[:-1], steps[-1]
    return steps, XmlStep("child")


def _simple_test(condition: Node | None) -> tuple[tuple[XmlStep, ...], XmlStep, str] | None:
    """(steps, what is read, text) of a condition ``path = 'text'`` on the element itself."""
    if not isinstance(condition, PathNode) or condition.up != 1:
        return None
    end = condition.steps[-1]
    if end.kind != "test" or end.operator != "==" or not end.literal:
        return None
    steps, last = split_steps(condition.steps[:-1])
    if any(step.predicates for step in steps):
        return None
    return steps, last, end.literal
