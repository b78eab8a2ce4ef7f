"""Whether the fields a mapping makes say where they are from, where no schema does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from hub.contract import Interface
from hub.mapping.document import Document, Leaf, ListRule, ObjectRule, Rules
from hub.mapping_tools.comments import comments_of
from hub.verify.citations import Citations

__all__ = ["Rulebook", "bodyless"]

_BARE = frozenset(("GET", "HEAD", "DELETE"))
#: As above: what the field before cites.
_DITTO = ("同上", "as above", "ditto")
#: What a mapping says of itself, with the lines that go on with it.
_DESCRIPTION = re.compile(r"^description:(.*(?:\n[ \t]+.*)*)", re.MULTILINE)


def bodyless(interface: Interface) -> bool:
    """Whether a call carries no fields of its own: everything is in its address."""
    return interface.direction == "out" and not interface.mapping and interface.connect.get("method") in _BARE


class Rulebook:
    """The mappings, as far as citations in them are looked for."""

    def __init__(self, find: Callable[[str], Document | None], citations: Citations) -> None:
        self._find = find
        self._citations = citations
        self._read: dict[str, _Cited] = {}

    def uncited(self, name: str) -> list[str] | None:
        """The fields for which neither a comment beside or above them, nor of a group they are in, nor of all of the mapping cites.

        Of several steps those of the last, which makes what is sent. What is included may cite as well. None: there are no fields.
        """
        document = self._find(name)
        while document is not None and document.steps:
            document = self._find(document.steps[-1].text)
        if document is None:
            return None
        found = list(self._fields(document.fields, self._cited(document), "", False, (document.name,)))
        return [field for field, cited in found if not cited] if found else None

    def _cited(self, document: Document) -> _Cited:
        if document.name not in self._read:
            try:
                text = Path(document.file).read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError):
                text = ""
            self._read[document.name] = _cited(text, document, self._citations)
        return self._read[document.name]

    def _fields(
        self, rules: Rules | None, cited: _Cited, name: str, known: bool, included: tuple[str, ...]
    ) -> Iterator[tuple[str, bool]]:
        """The name of each field, and whether it, or what it is in, cites (``known``)."""
        known = known or cited.whole
        if isinstance(rules, Leaf):
            yield name, known
        elif isinstance(rules, ListRule):
            for item in rules.items:
                yield from self._fields(item, cited, name, known, included)
        elif isinstance(rules, ObjectRule):
            if rules.value is not None:
                yield name, known
            other = self._find(rules.include.text) if rules.include is not None else None
            if other is not None and other.name not in included:
                yield from self._fields(other.fields, self._cited(other), name, known, (*included, other.name))
            for field in rules.fields:
                inner = f"{name}.{field.key}" if name else field.key
                yield from self._fields(field.rule, cited, inner, known or field.line in cited.lines, included)


class _Cited(NamedTuple):
    """What in a mapping cites."""

    whole: bool
    lines: frozenset[int]


def _cited(text: str, document: Document, citations: Citations) -> _Cited:
    """The lines whose notes cite, one that says "as above" if the note before does; and whether what is said of all of it cites.

    That is its description, and the comments before its first key and at ``fields``.
    """
    notes = comments_of(text)
    lines: set[int] = set()
    before = False
    for line, note in sorted(notes.items()):
        before = citations.cites(note) or (before and any(word in note for word in _DITTO))
        if before:
            lines.add(line)
    first = next((number for number, line in enumerate(text.splitlines(), 1) if line[:1] not in ("", "#", " ")), 0)
    described = _DESCRIPTION.search(text)
    whole = citations.cites(notes.get(first), notes.get(document.fields_line), described and described[1])
    return _Cited(whole, frozenset(lines))
