"""What is recorded of a question: every parameter by its name, its value where that can say nothing about a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["recorded_query"]

_LONGEST = 128
# fmt: off
_PLAIN = frozenset((
    "after", "before", "bodies", "clear", "conflict", "direction", "failed", "limit", "mapping", "message_type",
    "most", "outcome", "overdue", "place", "raw", "route", "rule", "since", "source", "state", "system", "target",
    "type", "until", "verdict",
))
# fmt: on


def recorded_query(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of the admin API, or options of a command, as an entry tells them."""
    return {name[:64]: _plain(value) if name in _PLAIN else "…" for name, value in sorted(given.items())}


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float) else str(value)[:_LONGEST]
