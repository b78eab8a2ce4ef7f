"""What a page is made of, whatever it is written as: headings, sentences, tables, steps, verbatim text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "Block",
    "Bullets",
    "Code",
    "Fold",
    "Heading",
    "Inline",
    "Link",
    "Note",
    "Para",
    "Pre",
    "Span",
    "Strong",
    "Table",
    "code",
    "joined",
    "plain",
    "say",
]


@dataclass(frozen=True, slots=True)
class Code:
    """A name or value as it is written."""

    text: str


@dataclass(frozen=True, slots=True)
class Strong:
    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """``target`` is an anchor of the page (``#waybill``) or a file beside it."""

    text: str
    target: str


Span = str | Code | Strong | Link
Inline = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    level: int  # 1 to 4
    text: Inline
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Para:
    text: Inline


@dataclass(frozen=True, slots=True)
class Note:
    """Something the reader must not miss."""

    text: Inline


@dataclass(frozen=True, slots=True)
class Bullets:
    items: Sequence[Inline]
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """``head`` empty: names and values, the first cell of each row is the name."""

    head: Sequence[str]
    rows: Sequence[Sequence[Inline]]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Pre:
    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Fold:
    """Blocks under a title that can be opened; in Markdown they just follow it."""

    title: Inline
    blocks: Sequence[Block]


Block = Heading | Para | Note | Bullets | Table | Pre | Fold

_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[A-Za-z0-9]")
_MARK = re.compile(r"`([^`]+)`|\{(\w+)\}")


def code(text: str) -> Inline:
    """A name or value as it is written; nothing for an empty one."""
    return (Code(text),) if text else ()


def say(template: str, **parts: Inline | Span) -> Inline:
    """A sentence of the hub's own with what comes from contracts at ``{name}``; `x` between backticks is code.

    Only the template is read for marks: what is put into it stays text, whatever it holds.
    """
    spans: list[Span] = []
    at = 0
    for found in _MARK.finditer(template):
        if found.start() > at:
            spans.append(template[at : found.start()])
        at = found.end()
        if found[1]:
            spans.append(Code(found[1]))
        else:
            part = parts[found[2]]
            spans.extend(part if isinstance(part, tuple) else (part,))
    if at < len(template):
        spans.append(template[at:])
    return _spaced(spans)


def _spaced(spans: list[Span]) -> Inline:
    """With a blank wherever Chinese meets Latin letters, digits or code at a seam, as Chinese is set."""
    found: list[Span] = []
    for span in spans:
        if not (span if isinstance(span, str) else span.text):
            continue
        if found and _meet(found[-1], span):
            found.append(" ")
        found.append(span)
    return tuple(found)


def _meet(one: Span, other: Span) -> bool:
    left = "a" if isinstance(one, Code) else one[-1:] if isinstance(one, str) else one.text[-1:]
    right = "a" if isinstance(other, Code) else other[:1] if isinstance(other, str) else other.text[:1]
    return bool((_HAN.match(left) and _LATIN.match(right)) or (_LATIN.match(left) and _HAN.match(right)))


def joined(items: Iterable[Inline], between: str = ", ") -> Inline:
    spans: list[Span] = []
    for item in items:
        if spans and item:
            spans.append(between)
        spans.extend(item)
    return tuple(spans)


def plain(text: Inline) -> str:
    """The words without marks."""
    return "".join(span if isinstance(span, str) else span.text for span in text)
