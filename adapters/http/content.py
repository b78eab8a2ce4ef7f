"""Bodies written in a contract as a tree, with ``{name}`` places in their texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson

from adapters.template import MissingVariable, Template

__all__ = ["fill_tree", "plain_body"]


def fill_tree(tree: Any, variables: Mapping[str, Any], *, optional: bool = False) -> Any:
    """A copy with every text filled; a text that is one place alone keeps the type of its value.

    Raises :class:`MissingVariable`; with ``optional``, members whose value is missing are left out instead.
    """
    if isinstance(tree, str):
        template = Template(tree)
        if len(template.names) == 1 and tree == f"{{{template.names[0]}}}":
            value = variables.get(template.names[0])
            if value is None:
                raise MissingVariable(template.names[0])
            return value
        return template.fill(variables, str)
    if isinstance(tree, dict):
        found: dict[str, Any] = {}
        for name, value in tree.items():
            try:
                found[name] = fill_tree(value, variables, optional=optional)
            except MissingVariable:
                if not optional:
                    raise
        return found
    if isinstance(tree, list):
        return [fill_tree(value, variables, optional=optional) for value in tree]
    return tree


def plain_body(tree: Mapping[str, Any], *, as_form: bool) -> tuple[bytes, str]:
    """(bytes, content type)"""
    if as_form:
        fields = {name: _field(value) for name, value in tree.items()}
        return urlencode(fields).encode(), "application/x-www-form-urlencoded"
    return orjson.dumps(tree), "application/json"


def _field(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
