"""Values that code tables did not list, counted, so that an engineer maps what really comes.

Kept in memory, by each worker process for itself, from its start on. A mapping notes a miss and goes on: no result depends on what is in here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hub.mapping.runtime import instant_text
from hub.masking import mask, mask_text

__all__ = ["UNMAPPED", "Unmapped", "merge"]

#: Most different values (with the place that asked) kept of one table; what comes after them is counted as one.
MOST_VALUES = 1000
#: Most tables; a guard against names that change with every reload.
MOST_TABLES = 1000
#: Longest value taken for a code. What is longer is text, and may say anything about anybody.
MAX_CODE = 40

_OTHERS = (None, "", "")


@dataclass(slots=True)
class _Seen:
    first: float  # seconds since the epoch
    last: float = 0.0
    count: int = 0


class Unmapped:
    """Misses by table, then by (value as shown, mapping, target field)."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[tuple[str | None, str, str], _Seen]] = {}
        self._lock = threading.Lock()  # large bodies are mapped in threads

    def note(self, table: str, mapping: str, field: str, value: str) -> None:
        """Count one look-up of a value that a table does not list, for a target field of a mapping; never raises."""
        values = self._tables.get(table)
        # A value that is shown as it is was noted under itself: what comes often is found without being looked at again.
        seen = values.get((value, mapping, field)) if values is not None else None
        if seen is None:
            shown = _shown(value)
            with self._lock:
                seen = self._first(table, (shown, mapping, field))
        # Not locked: the figures are for people, and one that two threads lose between them changes nothing.
        seen.count += 1
        seen.last = time.time()

    def _first(self, table: str, key: tuple[str | None, str, str]) -> _Seen:
        """Where to count a value that is new, or masked."""
        values = self._tables.get(table)
        if values is None:
            if len(self._tables) >= MOST_TABLES:
                return _Seen(time.time())  # counted nowhere
            values = self._tables[table] = {}
        if key not in values and len(values) >= MOST_VALUES:
            key = _OTHERS
        return values.setdefault(key, _Seen(time.time()))

    def rows(self) -> list[dict[str, Any]]:
        """By table, the most frequent first: ``table, value, count, first_seen, last_seen, mapping, field``; value null: all the others."""
        with self._lock:
            found = [
                {
                    "table": table,
                    "value": value,
                    "count": seen.count,
                    "first_seen": instant_text(int(seen.first * 1e6)),
                    "last_seen": instant_text(int(seen.last * 1e6)),
                    "mapping": mapping,
                    "field": field,
                }
                for table, values in self._tables.items()
                for (value, mapping, field), seen in values.items()
                if seen.count
            ]
        return _sorted(found)


#: Of this process.
UNMAPPED = Unmapped()


def _shown(value: str) -> str:
    if len(value) > MAX_CODE:
        return mask(value)
    text = mask_text(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(
        rows,
        key=lambda row: (
            row["table"],
            row["value"] is None,
            -row["count"],
            row["value"] or "",
            row["mapping"],
            row["field"],
        ),
    )


def merge(answers: Iterable[Iterable[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of several workers as one list."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in (row for rows in answers for row in rows):
        key = row["table"], row["value"], row["mapping"], row["field"]
        known = found.get(key)
        if known is None:
            found[key] = dict(row)
            continue
        known["count"] += row["count"]
        # Both are written with the offset of Beijing: they are ordered as texts.
        known["first_seen"] = min(known["first_seen"], row["first_seen"])
        known["last_seen"] = max(known["last_seen"], row["last_seen"])
    return _sorted(list(found.values()))
