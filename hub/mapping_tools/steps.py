"""Paths into plain target trees as people write them: ``a.b[0].c``, ``['odd key'].x``, ``[1].a`` and, for every entry, ``a[].b``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from hub.errors import HubError
from hub.i18n import t

__all__ = ["MISSING", "Step", "at", "key_steps", "parse_steps", "steps_text"]

#: A key, an index, or None for every entry of a list.
Step = str | int | None

_STEP = re.compile(r"\.?([^\s.\[\]'\"]+)|\[(-?\d{1,9}|\*?)\]|\[(['\"])((?:[^\\]|\\.)*?)\3\]")
_PLAIN_KEY = re.compile(r"[^\W\d][\w-]*\Z")


class _Missing:
    """Stands for a value that is not there, because None is one."""

    def __repr__(self) -> str:
        return t("nothing", "无")


MISSING = _Missing()


def parse_steps(path: str) -> tuple[Step, ...]:
    """The steps of a path, none for ``$``, the root; raises :class:`HubError` when it is not one."""
    return key_steps(path[1:] if path.startswith("$") and path[1:2] in ("", ".", "[") else path)


def key_steps(text: str) -> tuple[Step, ...]:
    """The steps of a key of a target, in which ``$`` is a name like any other; raises as :func:`parse_steps`."""
    steps: list[Step] = []
    position = 0
    while position < len(text):
        found = _STEP.match(text, position)
        if not found or (found[1] is not None and position and text[position] != "."):
            raise HubError(
                t(f"{text!r} is not a path", f"{text!r} 不是路径"),
                code="path.invalid",
                remedy=t(
                    "write a.b[0].c; odd names as ['name']; $ is the whole",
                    "写法为 a.b[0].c；特殊名称写作 ['name']；$ 为整体",
                ),
            )
        if found[1] is not None:
            steps.append(found[1])
        elif found[2] is not None:
            steps.append(int(found[2]) if found[2] not in ("", "*") else None)
        else:
            steps.append(_unquoted(found[3], found[4]))
        position = found.end()
    return tuple(steps)


def _unquoted(quote: str, text: str) -> str:
    if quote == '"':
        try:
            return str(json.loads(f'"{text}"'))
        except ValueError:
            pass
    return re.sub(r"\\(.)", r"\1", text)


def steps_text(steps: Sequence[Step]) -> str:
    """The steps as a path; ``$`` for none."""
    text = ""
    for step in steps:
        if step is None:
            text += "[]"
        elif isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.match(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text or "$"


def at(tree: Any, steps: Sequence[Step]) -> Any:
    """The value there, :data:`MISSING` when there is none."""
    for step in steps:
        if isinstance(step, str):
            tree = tree.get(step, MISSING) if isinstance(tree, dict) else MISSING
        elif isinstance(step, int) and isinstance(tree, list) and -len(tree) <= step < len(tree):
            tree = tree[step]
        else:
            return MISSING
    return tree
