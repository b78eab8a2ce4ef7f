"""Whether the alternatives of a JSON Schema can contain themselves.

Saying why none of them fits then takes twice the time for each level of a message, or more: 8 s for 16 levels of two alternatives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hub.validators.schema_files import UnreadableError, name_of

__all__ = ["ambiguous", "walk"]

#: Members of a schema that are values and not schemas.
_LITERAL = frozenset({"const", "enum", "default", "examples"})
_CHOICES = frozenset({"anyOf", "oneOf"})
_Path = tuple[str | int, ...]
_Node = tuple[str, str]  # file, fragment


def walk(tree: Any) -> Iterator[tuple[_Path, dict[str, Any]]]:
    """Every object of a schema with its path; those that are values and not schemas are left out."""
    rest: list[tuple[_Path, Any]] = [((), tree)]
    while rest:
        path, value = rest.pop()
        if isinstance(value, dict):
            yield path, value
            rest.extend(((*path, key), item) for key, item in value.items() if key not in _LITERAL)
        elif isinstance(value, list):
            rest.extend(((*path, number), item) for number, item in enumerate(value))


def _target(uri: str, file: str) -> _Node:
    part, _, fragment = uri.partition("#")
    return (name_of(part, file) if part else file), fragment


def _pointer(path: _Path) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def ambiguous(trees: Mapping[str, Any]) -> bool:
    """``trees``: the schema and all it refers to, by the names of their files."""
    refs: list[tuple[str, _Path, _Node]] = []
    for file, tree in trees.items():
        for path, value in walk(tree):
            for key in ("$ref", "$dynamicRef", "$recursiveRef"):
                if isinstance(value.get(key), str):
                    try:
                        # Where a dynamic reference leads depends on the way to it: to the root, most of all.
                        target = _target(value[key], file) if key == "$ref" else (file, "")
                    except UnreadableError:
                        continue
                    refs.append((file, path, target))
    targets = {target for _, _, target in refs} | {(file, "") for file in trees}
    leads: dict[_Node, set[_Node]] = {target: set() for target in targets}
    chosen: list[tuple[_Node, _Node]] = []
    for file, path, target in refs:
        for length in range(len(path) + 1):
            owner = (file, _pointer(path[:length]))
            if owner in leads:
                leads[owner].add(target)
                if not _CHOICES.isdisjoint(path[length:]):
                    chosen.append((owner, target))
    return any(_reaches(target, owner, leads) for owner, target in chosen)


def _reaches(start: _Node, wanted: _Node, leads: dict[_Node, set[_Node]]) -> bool:
    seen, rest = {start}, [start]
    while rest:
        node = rest.pop()
        if node == wanted:
            return True
        fresh = leads.get(node, set()) - seen
        seen |= fresh
        rest.extend(fresh)
    return False
