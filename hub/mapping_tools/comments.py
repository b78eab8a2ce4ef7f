"""The comments of a YAML file, by the line they belong to: notes people wrote beside rules."""

from __future__ import annotations

import re
from typing import Any

import yaml

__all__ = ["comments_of"]

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_COMMENT = re.compile(r"(?:^|\s)#\s?(.*)$")


def comments_of(text: str) -> dict[int, str]:
    """Line, from 1 -> the comment at its end, after those on lines of their own directly above it. Empty for what is not YAML."""
    lines = text.splitlines()
    ends: dict[int, int] = {}  # line -> column behind the last thing on it
    inside: set[int] = set()  # lines that begin in the middle of a text
    try:
        for token in yaml.scan(text, Loader=_LOADER):
            start, end = token.start_mark, token.end_mark
            if isinstance(token, yaml.ScalarToken):
                block = token.style in ("|", ">")
                # A block ends where the next line begins; its header line may still carry a comment.
                last = end.line - (1 if block and end.column == 0 else 0)
                inside.update(range(start.line + 1, last + 1))
                if not block:
                    ends[end.line] = max(ends.get(end.line, 0), end.column)
            elif end.column:
                ends[end.line] = max(ends.get(end.line, 0), end.column)
    except yaml.YAMLError:
        return {}
    found: dict[int, str] = {}
    above: list[str] = []
    for number, line in enumerate(lines):
        if number in inside and number not in ends:
            continue
        comment = _COMMENT.search(line, ends.get(number, 0))
        told = comment[1].strip() if comment else ""
        if not line.strip():
            above = []
        elif comment and not line[: comment.start()].strip():
            above.append(told)
        else:
            whole = " ".join(part for part in (*above, told) if part)
            if whole:
                found[number + 1] = whole
            above = []
    return found
