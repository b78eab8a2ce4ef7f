"""Two versions of a code table, row by row."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from hub.mapping.tables_model import CodeTable, Row
from hub.terminology.catalogue import row_json, table_json

__all__ = ["Comparison", "compare"]

_HEAD = ("version", "valid_from", "valid_to", "review", "source", "from", "to")


@dataclass(slots=True)
class Comparison:
    """``head``: what the heads say differently, (old, new); ``changed``: rows for the same value, (old, new). In the order of the values."""

    head: dict[str, tuple[str, str]] = field(default_factory=dict)
    added: list[Row] = field(default_factory=list)
    removed: list[Row] = field(default_factory=list)
    changed: list[tuple[Row, Row]] = field(default_factory=list)
    same: int = 0

    @property
    def equal(self) -> bool:
        return not (self.head or self.added or self.removed or self.changed)

    def as_dict(self) -> dict[str, Any]:
        return {
            "equal": self.equal,
            "head": {key: {"old": old, "new": new} for key, (old, new) in self.head.items()},
            "added": [row_json(row) for row in self.added],
            "removed": [row_json(row) for row in self.removed],
            "changed": [{"old": row_json(old), "new": row_json(new)} for old, new in self.changed],
            "same": self.same,
        }


def compare(old: CodeTable, new: CodeTable) -> Comparison:
    """What was added, removed and changed from ``old`` to ``new``; the order of the rows and their lines mean nothing."""
    result = Comparison()
    heads = table_json(old), table_json(new)
    result.head = {key: (heads[0][key], heads[1][key]) for key in _HEAD if heads[0][key] != heads[1][key]}
    before, after = _by_source(old), _by_source(new)
    for source in sorted(before.keys() | after.keys()):
        gone, come = before.get(source, {}), after.get(source, {})
        # Rows of one value never overlap: the first day tells them apart. A single one may have moved as a whole.
        if len(gone) == len(come) == 1:
            gone, come = {0: next(iter(gone.values()))}, {0: next(iter(come.values()))}
        result.removed += [row for day, row in gone.items() if day not in come]
        result.added += [row for day, row in come.items() if day not in gone]
        for day, row in gone.items():
            if day in come:
                if _content(row) == _content(come[day]):
                    result.same += 1
                else:
                    result.changed.append((row, come[day]))
    return result


def _by_source(table: CodeTable) -> dict[str, dict[int, Row]]:
    found: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in table.rows:
        found[row.source][row.days.first] = row
    return found


def _content(row: Row) -> tuple[Any, ...]:
    return row.target, row.note, row.days
