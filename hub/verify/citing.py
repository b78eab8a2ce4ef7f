"""Whether the fields of an interface say where they are from, where no schema does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hub.contract import Interface
from hub.errors import HubError
from hub.mapping.document import Leaf, ListRule, ObjectRule, Rules
from hub.mapping.document_read import parse_document
from hub.mapping_tools.comments import comments_of

__all__ = ["bodyless", "noted"]

_BARE = frozenset(("GET", "HEAD", "DELETE"))


def bodyless(interface: Interface) -> bool:
    """Whether a call carries no fields of its own: everything is in its address."""
    return interface.direction == "out" and not interface.mapping and interface.connect.get("method") in _BARE


def noted(file: Path) -> bool:
    """Whether in a mapping each field, or the group it stands in, has a comment beside or directly above it."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        fields = parse_document(text, file.stem, str(file)).fields
    except (OSError, UnicodeDecodeError, HubError):
        return False
    notes = comments_of(text)
    lines = list(_fields(fields, ()))
    return bool(lines) and all(any(line in notes for line in field) for field in lines)


def _fields(rules: Rules | None, around: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The line of each field, with those of the groups around it."""
    if isinstance(rules, Leaf):
        yield around
    elif isinstance(rules, ListRule):
        for item in rules.items:
            yield from _fields(item, around)
    elif isinstance(rules, ObjectRule):
        if rules.value is not None:
            yield around
        for field in rules.fields:
            yield from _fields(field.rule, (*around, field.line))
