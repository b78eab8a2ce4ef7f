"""Places in plain trees: the keys and indexes that lead there, as the JSON codec makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hub.mapping.nodes import Node, PathNode
from hub.mapping.paths_plain import PlainStep
from hub.mapping_tools.places import Ask, Found, Occurring, Place, Places
from hub.mapping_tools.scope import Frame
from hub.mapping_tools.steps import steps_text

__all__ = ["PlainPlaces"]

_Spot = tuple[Any, Place]


def _member(spot: _Spot, key: str) -> _Spot:
    """A list stands for its first item; what has no such member gives None."""
    value, place = spot
    while type(value) is list:
        if not value:
            return None, place
        value, place = value[0], (*place, 0)
    return (value.get(key) if isinstance(value, Mapping) else None), (*place, key)


def _item(spot: _Spot, index: int) -> _Spot:
    """A single value counts as a list of one."""
    value, place = spot
    if isinstance(value, list | tuple):
        if not -len(value) <= index < len(value):
            return None, place
        return value[index], (*place, index % len(value))
    return (value if index in (0, -1) else None), place


def _items(spot: _Spot) -> list[_Spot]:
    value, place = spot
    if type(value) is list or isinstance(value, tuple):
        return [(item, (*place, n)) for n, item in enumerate(value) if item is not None or type(value) is not list]
    return [] if value is None or value == "" else [spot]


class PlainPlaces(Places):
    def __init__(self, tree: Any) -> None:
        self._tree = tree

    def root(self) -> Frame:
        return Frame("root", self._tree)

    def occurring(self) -> Iterator[Occurring]:
        waiting: list[tuple[Any, Place]] = [(self._tree, ())]
        while waiting:
            value, place = waiting.pop()
            if isinstance(value, dict):
                waiting += [(below, (*place, key)) for key, below in reversed(value.items())]
            elif isinstance(value, list | tuple):
                waiting += [(below, (*place, n)) for n, below in reversed(list(enumerate(value)))]
            elif value is not None:
                general = tuple(None if isinstance(step, int) else step for step in place)
                group = steps_text(general[:1]) if len(general) > 1 else ""
                yield Occurring(place, place, steps_text(general), group, value)

    def _origin(self, path: PathNode, frame: Frame) -> Frame:
        if path.up == 0:
            return frame.chain()[0]
        for _ in range(path.up - 1):
            frame = frame.parent or frame
        return frame

    def _matching(self, spot: _Spot, condition: Node | None, frame: Frame, ask: Ask) -> Iterator[_Spot]:
        for element, place in _items(spot):
            inner = Frame("value", element, None, place, parent=frame, names=frame.names)
            if condition is None or ask(condition, inner):
                yield element, place

    def _one(self, start: _Spot, steps: tuple[PlainStep, ...], frame: Frame, ask: Ask) -> _Spot:
        spot = start
        for step in steps:
            if step.kind == "key":
                spot = self.member(spot, step.key)
            elif step.kind == "filter":
                spot = next(self._matching(spot, step.condition, frame, ask), (None, spot[1]))
            else:
                spot = _item(spot, step.index)
        return spot

    def _every(self, spot: _Spot, steps: tuple[PlainStep, ...], frame: Frame, ask: Ask) -> Iterator[_Spot]:
        if not steps:
            yield from _items(spot)
            return
        step, rest = steps[0], steps[1:]
        if step.kind == "key":
            yield from self._every(self.member(spot, step.key), rest, frame, ask)
        elif step.kind == "index":
            yield from self._every(_item(spot, step.index), rest, frame, ask)
        elif step.kind == "all":
            for inner in _items(spot):
                yield from self._every(inner, rest, frame, ask)
        else:
            for inner in self._matching(spot, step.condition, frame, ask):
                yield from self._every(inner, rest, frame, ask)

    def _reached(self, path: PathNode, frame: Frame, ask: Ask) -> list[_Spot]:
        origin = self._origin(path, frame)
        steps: tuple[PlainStep, ...] = path.steps
        # [*] behind plain steps says what they mean anyway; behind others it goes one level deeper.
        if steps and steps[-1].kind == "all" and all(step.kind in ("key", "index") for step in steps[:-1]):
            steps = steps[:-1]
        return list(self._every((origin.element, origin.place), steps, frame, ask))

    def elements(self, path: PathNode, frame: Frame, ask: Ask) -> list[Frame]:
        label = self._inner_label(path, frame)
        return [
            Frame("value", element, None, place, label, frame, frame.names)
            for element, place in self._reached(path, frame, ask)
        ]

    def found(self, path: PathNode, frame: Frame, ask: Ask, *, every: bool) -> list[Found]:
        if every:
            return [self._told(spot) for spot in self._reached(path, frame, ask)]
        origin = self._origin(path, frame)
        spot = self._one((origin.element, origin.place), path.steps, frame, ask)
        return [] if spot[0] is None else [self._told(spot)]

    def member(self, spot: _Spot, key: str) -> _Spot:
        """What a name leads to."""
        return _member(spot, key)

    def _told(self, spot: _Spot) -> Found:
        value, place = spot
        return Found(place, steps_text(place), value)

    # -- without an input ----------------------------------------------------------------------------------------

    def inside(self, path: PathNode, frame: Frame) -> Frame:
        return Frame("value", None, None, (), self._inner_label(path, frame), frame, frame.names)

    def _inner_label(self, path: PathNode, frame: Frame) -> str:
        label = self.label(path, frame)
        return label if label.endswith("]") else f"{label}[]"

    def label(self, path: PathNode, frame: Frame) -> str:
        origin = self._origin(path, frame)
        rest = path.text.lstrip(".") if path.up else path.text.removeprefix("$.")
        if not path.up or not origin.label or origin.label == "$":
            return rest or "$"
        if not rest:
            return origin.label
        return origin.label + (rest if rest.startswith("[") else f".{rest}")
