"""A folder of mappings, written and compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hub.mapping import CompiledMapping, Context, MappingLibrary

TABLES = {"gender": "from,to\nM,male\nF,female\n", "empty": "from,to\n"}


class Folder:
    """Mappings below a temporary folder; ``head`` is put before bodies that begin with ``fields``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in TABLES.items():
            self.write(f"tables/{name}.csv", text)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def mapping(
        self, text: str, name: str = "m", source: str = "json", target: str = "json", **options: Any
    ) -> CompiledMapping:
        head = f"from: {{codec: {source}}}\nto: {{codec: {target}}}\n"
        self.write(f"{name}.yaml", text if "from:" in text.split("fields")[0] else head + text)
        return self.library(**options).get(name)

    def library(self, functions: Mapping[str, Callable[..., Any]] | None = None, **options: Any) -> MappingLibrary:
        return MappingLibrary([self.root], functions, **options)

    def run(self, text: str, tree: Any, **options: Any) -> Any:
        """The single target of a mapping of JSON to JSON."""
        (result,) = self.mapping(text, **options).run(tree, Context())
        return result


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)
