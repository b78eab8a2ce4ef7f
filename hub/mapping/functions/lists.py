"""Functions on lists. In their list positions a path means everything it reaches."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hub.i18n import t
from hub.mapping.functions.base import Registry
from hub.mapping.runtime import MAX_TEXT, FunctionError, as_list, is_absent, kind_of, number_of, plain_text

__all__ = ["LISTS"]

LISTS = Registry()


@LISTS.add()
def length(value: Any) -> int:
    """Characters of a text or items of a list; 0 when absent."""
    if value is None:
        return 0
    if isinstance(value, str | list | tuple | dict):
        return len(value)
    raise FunctionError(t(f"length: a {kind_of(value)} has no length", f"length：{kind_of(value)}没有长度"))


@LISTS.add("list", lists=("values",), returns="list")
def as_one_list(*values: Any) -> list[Any]:
    """Everything the paths reach, as one list."""
    return [item for value in values for item in as_list(value)]


@LISTS.add(lists=("values",))
def first(values: Any) -> Any:
    """The first item; null when there is none."""
    found = as_list(values)
    return found[0] if found else None


@LISTS.add(lists=("values",))
def last(values: Any) -> Any:
    """The last item; null when there is none."""
    found = as_list(values)
    return found[-1] if found else None


@LISTS.add(lists=("values",))
def count(*values: Any) -> int:
    """How many values there are."""
    return sum(len(as_list(value)) for value in values)


@LISTS.add(lists=("values",), returns="list")
def unique(values: Any) -> list[Any]:
    """Without repeated values, in the order of their first occurrence."""
    found: dict[str, Any] = {}
    for value in as_list(values):
        found.setdefault(repr(value), value)
    return list(found.values())


def _rank(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise FunctionError(t(f"sort: can't order a {kind_of(value)}", f"sort：无法对{kind_of(value)}排序"))
    number = number_of(value) if isinstance(value, str) else value
    return (1, value) if number is None else (0, Decimal(repr(number)) if isinstance(number, float) else number)


@LISTS.add(lists=("values",), returns="list")
def sort(values: Any, descending: Any = False) -> list[Any]:
    """In order: numbers, also those written as text, before texts."""
    return sorted(as_list(values), key=_rank, reverse=descending is True)


@LISTS.add(lists=("values",))
def coalesce(*values: Any) -> Any:
    """The first value that is there."""
    for value in values:
        for item in as_list(value):
            if not is_absent(item):
                return item
    return None


def joined(separator: Any, *values: Any) -> str:
    """Texts put together with a separator, absent ones left out.

    ``join(' ', a, b)``, ``path | join(',')``, ``join(a, b)`` (a space); the separator is the first thing in the parentheses when it
    is a literal text, or ``sep=``.
    """
    if not isinstance(separator, str):
        raise FunctionError(t("join: the separator must be a text", "join：分隔符须为文本"))
    parts: list[str] = []
    for value in values:
        if type(value) is str:
            if value:
                parts.append(value)
        else:
            parts += [item if type(item) is str else plain_text(item) for item in as_list(value) if item != ""]
    text = separator.join(parts)
    if len(text) > MAX_TEXT:
        raise FunctionError(t(f"join: the result is longer than {MAX_TEXT}", f"join：结果超过 {MAX_TEXT} 个字符"))
    return text
