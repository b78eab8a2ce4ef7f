"""Blocks as Markdown (CommonMark with tables). What comes from contracts is escaped: it can't make headings, links or HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from hub.handbook.blocks import Block, Bullets, Code, Fold, Heading, Inline, Link, Note, Para, Pre, Strong, Table

__all__ = ["inline", "markdown"]

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~!&])")
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f]+")
_TICKS = re.compile("`+")


def markdown(blocks: Iterable[Block]) -> str:
    """The whole page; ends with a line feed."""
    return "\n\n".join(_blocks(blocks)) + "\n"


def inline(text: Inline) -> str:
    """One line of Markdown."""
    return "".join(map(_span, text)).strip()


@lru_cache(maxsize=1 << 15)
def _span(span: object) -> str:
    match span:
        case str():
            return _text(span)
        case Code(text):
            return _code(text)
        case Strong(text):
            return f"**{_text(text).strip()}**"
        case Link(text, target):
            return f"[{_text(text)}](<{_BLANKS.sub('', target).replace('<', '').replace('>', '')}>)"
    raise TypeError(type(span).__name__)


def _text(text: str) -> str:
    escaped = _SPECIAL.sub(r"\\\1", _BLANKS.sub(" ", text))
    return re.sub(r"^(\s*)([-+]|\d+[.)])(?=\s)", r"\1\\\2", escaped)


def _code(text: str) -> str:
    text = _BLANKS.sub(" ", text)
    fence = "`" * (max((len(run) for run in _TICKS.findall(text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|")


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Heading(level, text, anchor):
                mark = f'<a id="{anchor}"></a>\n\n' if anchor else ""
                yield f"{mark}{'#' * level} {inline(text)}"
            case Para(text):
                yield inline(text)
            case Note(text):
                yield f"> {inline(text)}"
            case Bullets(items, ordered):
                yield "\n".join(
                    f"{f'{number}.' if ordered else '-'} {inline(item)}" for number, item in enumerate(items, 1)
                )
            case Table(head, rows):
                yield _table(head, rows)
            case Pre(text, language):
                yield _fenced(text, language)
            case Fold(title, inner):
                yield f"**{inline(title)}**"
                yield from _blocks(inner)


def _table(head: Sequence[str], rows: Sequence[Sequence[Inline]]) -> str:
    width = max([len(head), *(len(row) for row in rows)])
    names = [_text(cell) for cell in head] + [""] * (width - len(head))
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * width]
    lines += [f"| {' | '.join(inline(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _fenced(text: str, language: str) -> str:
    fence = "`" * max(3, max((len(run) for run in _TICKS.findall(text)), default=0) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
