"""What the elements of FHIR's resources and data types are: their order, which repeat, which are primitive.

JSON and XML write the same content, and neither says what the other needs: XML does not tell a list from a single value or a number from a
text, JSON does not keep the order. ``fhir_definitions.txt`` beside this module says it for R4 (4.0.1), R4B (4.3.0) and R5 (5.0.0);
:mod:`hub.codecs.fhir_build` describes it. A type is read when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

__all__ = ["VERSIONS", "Definitions", "Element", "Structure", "definitions"]

VERSIONS = ("R4", "R4B", "R5")
_TABLE = Path(__file__).with_name("fhir_definitions.txt")
#: Primitive types that JSON does not write as text (FHIR, JSON representation of primitives); integer64 of R5 is one.
_KINDS: dict[str, Kind] = {
    "boolean": "boolean",
    "integer": "integer",
    "positiveInt": "integer",
    "unsignedInt": "integer",
    "decimal": "decimal",
    "xhtml": "xhtml",
    "Resource": "resource",
}

#: ``attribute``: an XML attribute, ``resource``: an element around another resource, ``xhtml``: the text of a narrative.
Kind = Literal["text", "boolean", "integer", "decimal", "complex", "resource", "xhtml", "attribute"]


class Element(NamedTuple):
    """``name`` as in JSON: one of a choice has its type in it (``valueQuantity``). ``order`` counts within its structure."""

    name: str
    order: int
    repeats: bool
    kind: Kind
    type: str
    primitive: bool


@dataclass(slots=True)
class Structure:
    """A resource, a data type, or a part of one. ``order`` has every JSON key, those of primitives' extensions included."""

    name: str
    resource: bool
    elements: dict[str, Element] = field(default_factory=dict)
    order: dict[str, int] = field(default_factory=dict)


class Definitions:
    """The structures of one version."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._lines: dict[str, str] = {}
        for line in _TABLE.read_text(encoding="utf-8").splitlines():
            versions, name, rest = line.split(" ", 2)
            if version in versions.split(","):
                self._lines[name] = rest
        self._structures: dict[str, Structure] = {}

    @property
    def names(self) -> Collection[str]:
        """The names of all structures."""
        return self._lines.keys()

    def get(self, name: str) -> Structure | None:
        """The structure of a name; None when this version has none."""
        found = self._structures.get(name)
        if found is None and name in self._lines:
            found = self._structures[name] = self._read(name)
        return found

    def resource(self, name: str) -> Structure | None:
        """The same, of resources only."""
        found = self.get(name)
        return found if found is not None and found.resource else None

    def _read(self, name: str) -> Structure:
        lines = [(name, self._lines[name])]
        while (base := lines[-1][1].partition(" ")[0]) in self._lines:
            lines.append((base, self._lines[base]))
        structure = Structure(name, any(owner == "Resource" for owner, _ in lines) and "." not in name)
        for owner, line in reversed(lines):
            for item in line.split(" ")[1:]:
                self._add(structure, owner, item)
        for element in structure.elements.values():
            structure.order[element.name] = element.order
            if element.primitive:
                structure.order[f"_{element.name}"] = element.order
        if structure.resource:
            structure.order["resourceType"] = -1
        return structure

    def _add(self, structure: Structure, owner: str, item: str) -> None:
        at = item.find("*")
        repeats = at >= 0
        name, types = (item[:at], item[at + 1 :]) if repeats else item.split(":", 1)
        choice = name.endswith("[x]")
        for type_name in types.split(","):
            key = f"{name[:-3]}{type_name[0].upper()}{type_name[1:]}" if choice else name
            kind = _KINDS.get(type_name) or ("text" if type_name[0].islower() else "complex")
            if (owner, name) in (("Element", "id"), ("Extension", "url")):
                kind = "attribute"
            primitive = kind in ("text", "boolean", "integer", "decimal")
            structure.elements[key] = Element(key, len(structure.elements), repeats, kind, type_name, primitive)


@lru_cache(maxsize=len(VERSIONS))
def definitions(version: str) -> Definitions:
    """The definitions of one of :data:`VERSIONS`."""
    return Definitions(version)
