"""The fields a JSON Schema demands (draft 2020-12 and the drafts before it since 6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hub.mapping_tools.steps import Step, parse_steps, steps_text

__all__ = ["required_fields"]

#: Deepest nesting followed; schemas may refer to themselves.
_MAX_DEPTH = 30
_MAX_FIELDS = 10_000


def required_fields(schema: Mapping[str, Any], written: Iterable[str]) -> list[str]:
    """Paths (``a.items[].b``) that must be there and are not, given those that are written.

    Looked at are the fields of the root, and of whatever is written or must be there itself. Followed are ``properties``, ``required``,
    ``items``, ``prefixItems``, ``allOf`` and ``$ref`` inside the same document. What is demanded under a condition (``if``, ``oneOf``,
    ``anyOf``) is not.
    """
    present: set[str] = set()
    for pattern in written:
        steps = _general(parse_steps(pattern))
        present |= {steps_text(steps[:size]) for size in range(len(steps) + 1)}
    found: dict[str, None] = {}
    _Required(schema, present, found).collect(schema, ())
    return [path for path in found if path not in present]


def _general(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(None if isinstance(step, int) else step for step in steps)


def _resolved(node: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    seen: set[str] = set()
    while isinstance(node, Mapping) and isinstance(reference := node.get("$ref"), str) and reference not in seen:
        seen.add(reference)
        target: Any = root
        if not reference.startswith("#"):
            break
        for part in reference[1:].strip("/").split("/"):
            if part:
                name = part.replace("~1", "/").replace("~0", "~")
                target = target.get(name) if isinstance(target, Mapping) else None
        node = target
    return node if isinstance(node, Mapping) else {}


class _Required:
    def __init__(self, root: Mapping[str, Any], present: set[str], found: dict[str, None]) -> None:
        self._root = root
        self._present = present
        self._found = found
        self._seen: set[tuple[int, tuple[Step, ...]]] = set()  # schemas refer to themselves in many ways

    def collect(self, node: Any, steps: tuple[Step, ...]) -> None:
        schema = _resolved(node, self._root)
        key = id(schema), steps
        if key in self._seen or len(steps) > _MAX_DEPTH or len(self._found) > _MAX_FIELDS:
            return
        self._seen.add(key)
        for part in _listed(schema.get("allOf")):
            self.collect(part, steps)
        required = [name for name in _listed(schema.get("required")) if isinstance(name, str)]
        for name in required:
            self._found[steps_text((*steps, name))] = None
        properties = schema.get("properties")
        for name, below in properties.items() if isinstance(properties, Mapping) else ():
            inner = (*steps, name)
            if name in required or steps_text(inner) in self._present:
                self.collect(below, inner)
        entry = (*steps, None)
        if steps_text(entry) in self._present:
            for key_of_items in ("items", "prefixItems"):
                items = schema.get(key_of_items)
                for item in items if isinstance(items, list) else [items]:
                    self.collect(item, entry)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
