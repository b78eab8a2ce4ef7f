"""Walks through mappings whose targets are XML documents: places are told as XPath would write them, ``order/item[2]/@code``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hub.mapping_tools.steps import Step
from hub.mapping_tools.walk_plain import PlainWalk

__all__ = ["XmlWalk"]

#: A part of a key up to the next slash outside of predicates and quotes.
_PART = re.compile(r"""(?:[^/\[]|\[(?:[^\]'"]|'[^']*'|"[^"]*")*\]|\[)+""")
_NUMBER = re.compile(r"\[(\d{1,9}|)\]\Z")


def _steps(text: str) -> tuple[Step, ...]:
    """The parts of a path; a number in brackets, from 1, is a step of its own, and so are empty brackets."""
    steps: list[Step] = []
    for part in _PART.findall(text):
        number = _NUMBER.search(part)
        if number is None:
            steps.append(part)
        else:
            steps += [part[: number.start()], int(number[1]) - 1 if number[1] else None]
    return tuple(steps)


def _text(steps: Sequence[Step]) -> str:
    text = ""
    for step in steps:
        if step is None:
            text += "[]"
        elif isinstance(step, int):
            text += f"[{step + 1}]"
        else:
            text += f"/{step}" if text else step
    return text


class XmlWalk(PlainWalk):
    """Elements are members, those of a loop or list the entries of one of their name."""

    def key_steps(self, key: str) -> tuple[Step, ...]:
        return _steps(key)

    def target_steps(self, path: str) -> tuple[Step, ...]:
        return _steps(path)

    def target_text(self, steps: Sequence[Step]) -> str:
        return _text(steps)
