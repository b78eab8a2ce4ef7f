"""Places in XML documents: the elements that lead there, each with its number among those of its name, and an attribute or the text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hub.mapping.nodes import PathNode
from hub.mapping.paths_xml import split_steps
from hub.mapping.paths_xml_parse import XmlStep
from hub.mapping.paths_xml_runtime import (
    all_below,
    all_children,
    local_name,
    nested_children,
    numbered,
    own_text,
    text_of,
    top,
    top_all,
)
from hub.mapping_tools.places import Ask, Found, Occurring, Place, Places
from hub.mapping_tools.scope import Frame

__all__ = ["XmlPlaces"]

_Nodes = list[Any]


class XmlPlaces(Places):
    def __init__(self, document: Any) -> None:
        self._document = document
        self._known: dict[Any, Place] = {}
        self._lines: dict[Place, int] = {}

    def root(self) -> Frame:
        return Frame("root", self._document)

    # -- places ----------------------------------------------------------------------------------------------------

    def _place(self, element: Any) -> Place:
        """(name, number) of each element from the root on; a number counts from 1 among siblings of the same name."""
        place = self._known.get(element)
        if place is None:
            parent = element.getparent()
            if parent is None:
                place = ((local_name(element), 1),)
                self._known[element] = place
            else:
                above = self._place(parent)
                counts: dict[str, int] = {}
                for child in parent.iterchildren("*"):
                    name = local_name(child)
                    counts[name] = counts.get(name, 0) + 1
                    self._known[child] = (*above, (name, counts[name]))
                place = self._known[element]
            self._lines[place] = element.sourceline or 0
        return place

    def _path(self, place: Place, *, numbers: bool) -> str:
        return "/".join(
            part if isinstance(part, str) else part[0] + (f"[{part[1]}]" if numbers and part[1] > 1 else "")
            for part in place
        )

    def occurring(self) -> Iterator[Occurring]:
        for element in self._document.root.iter("*"):
            place = self._place(element)
            values = [(f"@{name.rpartition('}')[2]}", value) for name, value in element.items()]
            text = own_text(element).strip()
            values += [("text()", text)] if text else []
            for name, value in values:
                whole = (*place, name)
                path = self._path(place if name == "text()" else whole, numbers=False)
                group = self._path(place[:2], numbers=False) if len(place) > 1 else ""
                yield Occurring(whole, whole, path, group, value)

    def describe(self, place: Place) -> str:
        line = self._lines.get(tuple(part for part in place if not isinstance(part, str)), 0)
        return f"line {line}" if line else ""

    # -- what paths reach ------------------------------------------------------------------------------------------

    def _origin(self, path: PathNode, frame: Frame) -> Frame:
        if path.up == 0:
            return frame.chain()[0]
        for _ in range(path.up - 1):
            frame = frame.parent or frame
        return frame

    def _nodes(self, steps: tuple[XmlStep, ...], path: PathNode, frame: Frame, ask: Ask) -> _Nodes:
        origin = self._origin(path, frame)
        element = origin.element.root if origin.kind == "root" else origin.element
        nodes: _Nodes = [element]
        nested = False
        for number, step in enumerate(steps):
            deep = step.kind == "descendant"
            if number:
                find = all_below if deep else nested_children if nested else all_children
                nodes = list(find(nodes, *step.tags))
            elif path.up:
                nodes = list((element.iterdescendants if deep else element.iterchildren)(*step.tags))
            else:
                nodes = list((top_all if deep else top)(element, *step.tags))
            nested = nested or deep
            for predicate in step.predicates:
                if predicate.index:
                    nodes = list(numbered(nodes, predicate.index))
                elif predicate.condition is not None:
                    condition = predicate.condition
                    nodes = [node for node in nodes if ask(condition, self._inner(node, "", frame))]
        return nodes

    def _inner(self, element: Any, label: str, frame: Frame) -> Frame:
        return Frame("element", element, None, self._place(element), label, frame, frame.names)

    def found(self, path: PathNode, frame: Frame, ask: Ask, *, every: bool) -> list[Found]:
        origin = self._origin(path, frame)
        if path.up and origin.kind == "value":
            return [Found(origin.place, self._path(origin.place, numbers=True), origin.element)]
        steps, end = split_steps(path.steps)
        if end.kind == "test":
            steps, end = split_steps(path.steps[:-1])
        found = []
        for node in self._nodes(steps, path, frame, ask):
            place, value = self._value(node, end)
            if value:
                found.append(Found(place, self._path(place, numbers=True), value))
        return found if every else found[:1]

    def _value(self, node: Any, end: XmlStep) -> tuple[Place, str]:
        place = self._place(node)
        if end.kind == "attribute":
            return (*place, f"@{end.name.rpartition('}')[2]}"), node.get(end.name) or ""
        if end.kind == "text":
            return (*place, "text()"), own_text(node)
        if end.kind == "name":
            return (*place, "name()"), local_name(node)
        return place, text_of(node)

    def elements(self, path: PathNode, frame: Frame, ask: Ask) -> list[Frame]:
        label = self._inner_label(path, frame)
        steps, end = split_steps(path.steps)
        origin = self._origin(path, frame)
        if path.up and origin.kind == "value":
            return [Frame("value", origin.element, None, origin.place, label, frame, frame.names)]
        nodes = self._nodes(steps, path, frame, ask)
        if end.kind not in ("attribute", "text", "name"):
            return [self._inner(node, label, frame) for node in nodes]
        values = [self._value(node, end) for node in nodes]
        return [Frame("value", value, None, place, label, frame, frame.names) for place, value in values if value]

    # -- without an input --------------------------------------------------------------------------------------------

    def inside(self, path: PathNode, frame: Frame) -> Frame:
        _, end = split_steps(path.steps)
        kind = "value" if end.kind in ("attribute", "text", "name") else "element"
        return Frame(kind, None, None, (), self._inner_label(path, frame), frame, frame.names)

    def _inner_label(self, path: PathNode, frame: Frame) -> str:
        label = self.label(path, frame)
        return label if label.endswith("]") else f"{label}[]"

    def label(self, path: PathNode, frame: Frame) -> str:
        origin = self._origin(path, frame)
        rest = path.text.lstrip(".").removeprefix("/") if path.up else path.text
        if not path.up or not origin.label:
            return rest or "."
        return f"{origin.label}/{rest}" if rest else origin.label
