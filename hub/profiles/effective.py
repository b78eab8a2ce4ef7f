"""The contract of a plugin as it holds, with the place where each part of it is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.profiles.document import ComposedDocument
from hub.registry import LoadedPlugin
from hub.yaml_source import Place, key_text

__all__ = ["Written", "effective"]

#: Keys that say how the contract is put together, not what it is.
_MAKING = frozenset(("extends", "with", "defaults", "tables"))


@dataclass(frozen=True, slots=True)
class Written:
    """One key of the contract; ``value`` is None where further keys stand below it."""

    path: tuple[str | int, ...]
    value: Any
    below: bool
    file: Path
    line: int

    def as_dict(self) -> dict[str, Any]:
        return {"key": key_text(self.path), "value": self.value, "file": str(self.file), "line": self.line}


def effective(plugin: LoadedPlugin) -> Iterator[Written]:
    """Every key, parents before what stands below them."""
    for key, value in plugin.document.data.items():
        if key not in _MAKING:
            yield from _written(plugin, (key,), value)


def _written(plugin: LoadedPlugin, path: tuple[str | int, ...], value: Any) -> Iterator[Written]:
    document = plugin.document
    place = document.origin(path) if isinstance(document, ComposedDocument) else Place(document, path)
    below = isinstance(value, dict) and bool(value)
    line = place.document.line(place.path)
    yield Written(path, None if below else value, below, place.document.path, line)
    if below:
        for key, item in value.items():
            yield from _written(plugin, (*path, key), item)
