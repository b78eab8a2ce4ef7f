"""Solving an expression backwards: the reply in which ``code == 1001`` holds, in which ``sub_code | default(code)`` is X.

For what contracts say of replies: equalities, membership, ``and``, ``or``, ``not``, ``default`` and ``coalesce`` over plain paths. The
caller reads the result with the expression itself: whether it was solved is known then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from hub.mapping.compiler import parse
from hub.mapping.nodes import (
    ArrayNode,
    CallNode,
    CompareNode,
    ConditionalNode,
    ExpressionError,
    LiteralNode,
    LogicNode,
    Node,
    NotNode,
    PathNode,
    StepNode,
    VariableNode,
)
from hub.mapping.paths_plain import PlainStep
from hub.mapping.paths_xml_parse import XmlStep
from hub.simulator.solve_xml import keys_of

__all__ = ["assign", "give", "hold", "parsed", "plain_paths", "put"]

_NOTHING: Mapping[str, Any] = {}
_FIRST = frozenset(("default", "coalesce", "string", "number", "trim"))


def parsed(expression: str, codec: str) -> Node | None:
    """The syntax tree; None where there is no expression, or none that can be read."""
    try:
        return parse(expression, codec) if expression else None
    except ExpressionError:
        return None


def hold(tree: Any, node: Node | None, wanted: bool, settings: Mapping[str, Any] = _NOTHING) -> Any:
    """``tree`` changed so that the condition holds, or does not, as far as it can be solved; ``settings``: of ``$settings``."""
    match node:
        case PathNode():
            return assign(tree, node, wanted)
        case NotNode():
            return hold(tree, node.operand, not wanted, settings)
        case LogicNode():
            if (node.operator == "and") == wanted:
                return hold(hold(tree, node.left, wanted, settings), node.right, wanted, settings)
            return hold(tree, node.left, wanted, settings)
        case CompareNode(operator="==" | "!="):
            equal = (node.operator == "==") == wanted
            for side, other in ((node.left, node.right), (node.right, node.left)):
                known = _constant(other, settings)
                if known is not None:
                    return give(tree, side, known[0] if equal else _other(known[0]))
        case CompareNode(operator="in" | "not in", right=ArrayNode(items=listed)):
            items = [item.value for item in listed if isinstance(item, LiteralNode)]
            inside = (node.operator == "in") == wanted
            if items:
                value = items[0] if inside else _other(items[0])
                while not inside and value in items:
                    value = _other(value)
                return give(tree, node.left, value)
        case ConditionalNode():
            return hold(tree, node.otherwise, wanted, settings)
    return tree


def _constant(node: Node, settings: Mapping[str, Any]) -> tuple[Any] | None:
    match node:
        case LiteralNode():
            return (node.value,)
        case StepNode(base=VariableNode(name="settings"), step=str() as name) if name in settings:
            return (settings[name],)
    return None


def give(tree: Any, node: Node | None, value: Any) -> Any:
    """``tree`` changed so that the expression has this value, as far as it can be solved."""
    match node:
        case PathNode():
            return assign(tree, node, value)
        case CallNode() if node.name in _FIRST and node.arguments:
            return give(tree, node.arguments[0], value)
        case ConditionalNode():
            return give(tree, node.otherwise, value)
    return tree


def plain_paths(node: Node | None) -> Iterator[PathNode]:
    """Every path in an expression, first to last."""
    match node:
        case PathNode():
            yield node
        case NotNode():
            yield from plain_paths(node.operand)
        case LogicNode() | CompareNode():
            yield from plain_paths(node.left)
            yield from plain_paths(node.right)
        case CallNode():
            for argument in node.arguments:
                yield from plain_paths(argument)
        case ConditionalNode():
            for part in (node.test, node.then, node.otherwise):
                yield from plain_paths(part)


def assign(tree: Any, path: PathNode, value: Any) -> Any:
    """``tree`` with a value at a path into plain data or XML; a text where a number of the same meaning stood stays a number."""
    steps = path.steps
    if isinstance(steps, tuple) and steps and all(isinstance(step, XmlStep) for step in steps):
        places = keys_of(tree, steps)
        return tree if places is None else put(tree, places, value)
    if not isinstance(steps, tuple) or not all(isinstance(step, PlainStep) for step in steps):
        return tree
    keys = [step.index if step.kind == "index" else 0 if step.kind in ("all", "filter") else step.key for step in steps]
    return put(tree, keys, value)


def put(tree: Any, keys: list[str | int], value: Any) -> Any:
    """``tree`` with a value at a place; objects and lists on the way are made."""
    if not keys:
        return _like(tree, value)
    first, *rest = keys
    if isinstance(first, int):
        items = list(tree) if isinstance(tree, list) else []
        index = max(first, 0)
        items += [{}] * (index + 1 - len(items))
        items[index] = put(items[index] if rest else _leaf(items[index]), rest, value)
        return items
    members = dict(tree) if isinstance(tree, dict) else {}
    members[first] = put(members.get(first), rest, value)
    return members


def _leaf(value: Any) -> Any:
    return None if value == {} else value


def _like(known: Any, value: Any) -> Any:
    """A code is compared as text: where the place has a number, so has the solved reply."""
    if isinstance(known, int) and not isinstance(known, bool) and isinstance(value, str):
        return int(value) if value.removeprefix("-").isdecimal() else value
    return value


def _other(value: Any) -> Any:
    """Another value of the same kind, as a refusal would have it."""
    match value:
        case bool():
            return not value
        case int() | float() | Decimal():
            return -1 if value != -1 else -2
        case str() if value.lower() in ("true", "false"):
            return "false" if value.lower() == "true" else "true"
        case str() if value.isdecimal():
            return "9" * len(value) if set(value) != {"9"} else "8" * len(value)
        case str():
            return "FAIL" if value != "FAIL" else "REFUSED"
    return "FAIL"
