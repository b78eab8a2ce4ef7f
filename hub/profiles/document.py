"""A contract put together from several files, which still knows where each of its parts is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hub.contract import Interface
from hub.errors import Problem
from hub.profiles.parameters import Scope, referenced
from hub.yaml_source import Document, KeyPath, Place

__all__ = ["ComposedDocument", "Layer", "Part"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A part of a contract as one file writes it, before parameters are filled in."""

    place: Place
    data: Any
    scope: Scope

    def find(self, path: KeyPath) -> tuple[int, Place]:
        """(how many keys of the path this layer has, where the rest would stand)."""
        data = self.data
        for depth, part in enumerate(path):
            given = self._given(data)
            if given is not None:
                return len(path), Place(given.document, (*given.path, *path[depth:]))
            if isinstance(data, dict) and part in data:
                data = data[part]
            elif isinstance(data, list) and isinstance(part, int) and part < len(data):
                data = data.__getitem__(part)
            elif depth == len(path) - 1 and part == 0 and isinstance(data, str):  # one name instead of a list of names
                return len(path), self._place(path[:depth])
            else:
                return depth, self._place(path)
        return len(path), self._given(data) or self._place(path)

    def _given(self, data: Any) -> Place | None:
        """Where the value is written that a reference stands for."""
        name = referenced(data)
        return self.scope.place(name) if name else None

    def _place(self, path: KeyPath) -> Place:
        return Place(self.place.document, (*self.place.path, *path))


@dataclass(frozen=True, slots=True)
class Part:
    """One interface, or one setting: what comes of its layers, the lowest first.

    ``shared``: other plugins have the very same object.
    """

    data: dict[str, Any]
    layers: tuple[Layer, ...]
    shared: bool = False

    def place(self, path: KeyPath = ()) -> Place:
        """Where a key is written: in the topmost layer that has it, else in the one that has most of the way to it."""
        best, found = -1, self.layers[-1].place
        for layer in reversed(self.layers):
            depth, place = layer.find(path)
            if depth > best:
                best, found = depth, place
        return found


class ComposedDocument(Document):
    """What a plugin's file and its profiles say together; problems name the file in which the wrong text stands.

    ``ready`` are interfaces whose data other plugins have as well, already read: by the id of that data, which stands with it.
    """

    __slots__ = ("_own", "_parts", "_tops", "ready")

    def __init__(
        self,
        own: Document,
        data: dict[str, Any],
        parts: Mapping[tuple[str, str], Part],
        tops: Mapping[str, Place],
        ready: dict[int, tuple[Any, Interface]],
    ) -> None:
        super().__init__(own.path, b"", data)
        self._own = own
        self._parts = parts
        self._tops = tops
        self.ready = ready

    @property
    def own(self) -> Document:
        """The plugin's file alone."""
        return self._own

    def origin(self, path: KeyPath) -> Place:
        """Where the key at ``path`` is written."""
        part = self._parts.get((str(path[0]), str(path[1]))) if len(path) > 1 else None
        if part is not None:
            return part.place(tuple(path[2:]))
        top = self._tops.get(str(path[0])) if path else None
        return Place(top.document, (*top.path, *path[1:])) if top is not None else Place(self._own, tuple(path))

    def parts(self, kind: str) -> Iterator[tuple[str, Part]]:
        """The interfaces, or the settings, by name."""
        return ((name, part) for (group, name), part in self._parts.items() if group == kind)

    def line(self, path: KeyPath) -> int:
        place = self.origin(path)
        return place.document.line(place.path)

    def problem(self, text: str, path: KeyPath = (), *, remedy: str = "", severity: str = "error") -> Problem:
        return self.origin(path).problem(text, remedy=remedy, severity=severity)
