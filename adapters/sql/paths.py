"""Paths into a JSON body: ``patient.ids[0].value``."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Path"]

_STEP = re.compile(r"(?:\.|^)([^.\[\]]+)|\[(\d{1,6})\]")


class Path:
    """Raises ``ValueError`` for what is not a path. ``$`` or ``$.`` begins at the body, anything else at the row."""

    __slots__ = ("_steps", "from_body")

    def __init__(self, text: str) -> None:
        rest = text.strip()
        self.from_body = rest == "$" or rest.startswith(("$.", "$["))
        if self.from_body:
            rest = rest[1:].removeprefix(".")
        self._steps: list[str | int] = []
        at = 0
        while at < len(rest):
            found = _STEP.match(rest, at)
            if found is None:
                raise ValueError(f"{text!r} is not a path; write e.g. patient.ids[0].value")
            self._steps.append(found[1] if found[1] is not None else int(found[2]))
            at = found.end()

    def get(self, row: Any, body: Any) -> Any:
        """The value, ``None`` where there is none."""
        value = body if self.from_body else row
        for step in self._steps:
            if isinstance(step, int):
                value = value[step] if isinstance(value, list) and step < len(value) else None
            else:
                value = value.get(step) if isinstance(value, dict) else None
        return value
