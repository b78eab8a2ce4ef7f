"""XML documents in which solved conditions hold: plain objects while they are made, written as XML at the end.

Members are elements by the name lxml gives them, ``@name`` attributes, ``#`` the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lxml import etree

from hub.mapping.paths_xml_parse import XmlStep

__all__ = ["keys_of", "written"]

#: The name of an element that may have any.
_ANY = "reply"
_TEXT = "#"


def keys_of(tree: Any, steps: Sequence[XmlStep]) -> list[str | int] | None:
    """Where a path into XML leads in ``tree``; None for one that can't be solved (conditions, names)."""
    keys: list[str | int] = []
    at = tree
    for step in steps:
        if step.predicates or step.kind not in ("child", "descendant", "attribute", "text"):
            return None
        if step.kind == "text":
            keys.append(_TEXT)
        elif step.kind == "attribute":
            keys.append(f"@{step.name.removeprefix('{*}')}")
        else:
            if step.kind == "descendant" and not keys:
                name = _chosen(at, "*")
                keys.append(name)
                at = at.get(name) if isinstance(at, dict) else None
            name = _chosen(at, _tag(step.tags))
            keys.append(name)
            at = at.get(name) if isinstance(at, dict) else None
    if steps and steps[-1].kind in ("child", "descendant"):
        keys.append(_TEXT)
    return keys


def _tag(tags: Sequence[str]) -> str:
    tag = tags[0] if tags else "*"
    return tag.removeprefix("{*}").removeprefix("{}")


def _chosen(at: Any, tag: str) -> str:
    """The element that is there, where any will do."""
    if tag != "*":
        return tag
    there = [name for name in at if name[0] not in "@#"] if isinstance(at, dict) else []
    return there[0] if there else _ANY


def written(tree: Any) -> bytes | None:
    """The document; None where there is not exactly one root element."""
    if not isinstance(tree, dict) or len(tree) != 1:
        return None
    ((name, members),) = tree.items()
    try:
        return etree.tostring(_element(name, members), encoding="UTF-8", xml_declaration=True)
    except (TypeError, ValueError):  # a name or text that XML can't hold
        return None


def _element(name: str, members: Any) -> etree._Element:
    element = etree.Element(name)
    for key, value in members.items() if isinstance(members, dict) else [(_TEXT, members)]:
        if value is False or value == {_TEXT: False}:
            continue  # what is not there is false
        if key == _TEXT:
            element.text = _text(value)
        elif key.startswith("@"):
            element.set(key[1:], _text(value))
        else:
            element.append(_element(key, value))
    return element


def _text(value: Any) -> str:
    return "true" if value is True else str(value)
