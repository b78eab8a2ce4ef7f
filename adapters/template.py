"""Texts with ``{name}`` places, filled from the variables of a call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["MissingVariable", "Template"]

_PLACE = re.compile(r"\{([A-Za-z_]\w*)\}", re.ASCII)


class MissingVariable(Exception):
    """A call has no value for a template; ``name`` says which."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Template:
    """``/patients/{id}``; a lone brace is an error (``ValueError``), so that a typing mistake is not sent as text."""

    __slots__ = ("_parts", "names")

    def __init__(self, text: str) -> None:
        #: literal, name, literal, name, …, literal
        self._parts: list[str] = _PLACE.split(text)
        self.names: list[str] = self._parts[1::2]
        for literal in self._parts[::2]:
            if "{" in literal or "}" in literal:
                raise ValueError(f"{text!r}: a template is written {{name}}, with a letter first and no blanks")

    def fill(self, variables: Mapping[str, Any], encode: Callable[[str], str]) -> str:
        """The text with each value, encoded; raises :class:`MissingVariable` for one that is absent or ``None``."""
        parts = self._parts
        if len(parts) == 1:
            return parts[0]
        filled = list(parts)
        for at in range(1, len(parts), 2):
            value = variables.get(parts[at])
            if value is None:
                raise MissingVariable(parts[at])
            filled[at] = encode(str(value))
        return "".join(filled)
