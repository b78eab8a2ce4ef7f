"""The code tables of a deployment, with every version."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hub.errors import HubError, Problem
from hub.i18n import t
from hub.mapping.tables import CodeTable, load_table
from hub.mapping.tables_choice import version_problems
from hub.mapping.tables_dates import day_text
from hub.mapping.tables_model import Row

__all__ = ["Catalogue", "row_json", "table_json"]


class Catalogue:
    """Finds ``tables/*.csv`` below folders of mappings as the library does: of a name, the first folder's file counts."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._paths: dict[str, Path] = {}
        for folder in folders:
            for path in sorted((folder / "tables").glob("*.csv")):
                self._paths.setdefault(path.stem, path)
        self._loaded: dict[str, tuple[CodeTable, list[Problem]]] = {}

    def names(self) -> list[str]:
        """The names of all files, ``gender`` before ``gender@2003``."""
        return sorted(self._paths, key=lambda name: name.partition("@"))

    def find(self, name: str) -> CodeTable | None:
        return self._load(name)[0] if name in self._paths else None

    def get(self, name: str) -> CodeTable:
        """Raises :class:`HubError` for a name nobody knows."""
        found = self.find(name)
        if found is None:
            near = ", ".join(difflib.get_close_matches(name, self._paths, 3))
            raise HubError(
                t(f"there is no code table {name!r}", f"没有代码表 {name!r}"),
                code="table.missing",
                remedy=t(f"did you mean {near}?", f"是否为 {near}？")
                if near
                else t("hub tables list shows all", "用 hub tables list 查看全部"),
            )
        return found

    def problems(self, name: str) -> list[Problem]:
        """What is wrong with one file, and between it and its versions."""
        return [*self._load(name)[1], *version_problems(name, self.find)]

    def _load(self, name: str) -> tuple[CodeTable, list[Problem]]:
        found = self._loaded.get(name)
        if found is None:
            found = self._loaded[name] = load_table(self._paths[name], name)
        return found


def table_json(table: CodeTable) -> dict[str, Any]:
    """The head of a table."""
    return {
        "name": table.name,
        "file": table.file,
        "rows": len(table.rows),
        "version": table.version,
        "valid_from": day_text(table.days.first),
        "valid_to": day_text(table.days.last),
        "review": table.review,
        "source": table.source,
        "from": table.from_system,
        "to": table.to_system,
        "hash": table.hash,
    }


def row_json(row: Row) -> dict[str, Any]:
    return {
        "line": row.line,
        "from": row.source,
        "to": row.target,
        "note": row.note,
        "valid_from": day_text(row.days.first),
        "valid_to": day_text(row.days.last),
    }
