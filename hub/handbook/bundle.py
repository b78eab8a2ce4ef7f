"""JSON Schemas of a contract inside another document: files become components, and references lead to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hub.handbook.schema_fields import MAX_DEPTH, SchemaFiles

__all__ = ["Bundle"]

_MOST_FILES = 500


class Bundle:
    """``components`` holds a schema for each file that is used, by a name made of its own; ``skip`` are keywords left out."""

    def __init__(self, files: SchemaFiles) -> None:
        self._files = files
        self.components: dict[str, Any] = {}
        self._names: dict[Path, str] = {}

    def reference(self, name: str) -> dict[str, str] | None:
        """``{"$ref": …}`` for a schema a contract names; None for one that is no JSON Schema or not there."""
        path = self._files.find(name)
        if path is None or path.suffix.lower() != ".json":
            return None
        return {"$ref": f"#/components/schemas/{self._component(path)}"}

    def _component(self, path: Path) -> str:
        if path in self._names:
            return self._names[path]
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", self._files.name(path).removesuffix(".json"))
        taken = set(self._names.values())
        while name in taken:
            name += "_"
        self._names[path] = name
        if len(self._names) <= _MOST_FILES:
            self.components[name] = self._moved(self._files.load(path), path, name, 0)
        return name

    def _moved(self, node: Any, path: Path, name: str, depth: int) -> Any:
        if depth > MAX_DEPTH * 4:
            return {}
        if isinstance(node, list):
            return [self._moved(item, path, name, depth + 1) for item in node]
        if not isinstance(node, Mapping):
            return node
        moved: dict[str, Any] = {}
        for key, value in node.items():
            if key in ("$schema", "$id", "$comment"):
                continue
            if key == "$ref" and isinstance(value, str):
                target = self._target(value, path, name)
                if target:
                    moved[key] = target
            else:
                moved[str(key)] = self._moved(value, path, name, depth + 1)
        return moved

    def _target(self, reference: str, path: Path, name: str) -> str:
        """The same place in a component; "" for one that leads nowhere, so that nothing is fetched."""
        found = self._files.follow(path, reference)
        if found is None:
            return ""
        pointer = reference.partition("#")[2].rstrip("/")
        component = name if found[0] == path else self._component(found[0])
        return f"#/components/schemas/{component}{pointer}"
