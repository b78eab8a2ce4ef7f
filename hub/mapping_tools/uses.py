"""What an expression uses: paths, variables, code tables. Paths inside path filters are left to those who follow the path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hub.mapping.functions.base import Function, check_arguments
from hub.mapping.nodes import (
    ArrayNode,
    BinaryNode,
    CallNode,
    CompareNode,
    ConditionalNode,
    DictNode,
    FilterNode,
    LiteralNode,
    LogicNode,
    NegateNode,
    Node,
    NotNode,
    PathNode,
    StepNode,
    VariableNode,
)

__all__ = ["LOOKUPS", "Pick", "Use", "uses"]

#: Functions that translate a value by a list of values.
LOOKUPS = ("table", "match")
#: Functions that only ask whether there is a value.
_PRESENCE = ("exists", "empty")

#: Of a node with alternatives, the parts that count; None: all of them.
Pick = Callable[[Node], tuple[Node, ...] | None]


@dataclass(frozen=True, slots=True)
class Use:
    """``node`` is a path, a variable, a member of one (``$settings.x``), or a call of ``table`` or ``match``. ``every``: all a path reaches is taken. ``tested``: the value only
    decides something, and goes nowhere."""

    node: Node
    every: bool = False
    tested: bool = False


def uses(
    node: Node,
    functions: Mapping[str, Function],
    pick: Pick | None = None,
    *,
    every: bool = False,
    tested: bool = False,
) -> Iterator[Use]:
    """Everything used, in the order written."""
    chosen = pick(node) if pick is not None else None
    if isinstance(node, PathNode | VariableNode) or (
        isinstance(node, StepNode) and isinstance(node.base, VariableNode)
    ):
        yield Use(node, every, tested)
        return
    if isinstance(node, CallNode):
        for inner, wanted, only_tested in _arguments(node, functions):
            if chosen is None or any(inner is part for part in chosen):
                yield from uses(inner, functions, pick, every=wanted, tested=tested or only_tested)
        if node.name in LOOKUPS:
            yield Use(node, tested=tested)
        return
    if isinstance(node, ConditionalNode):
        yield from uses(node.test, functions, pick, tested=True)
        for branch in (node.then, node.otherwise):
            if chosen is None or any(branch is part for part in chosen):
                yield from uses(branch, functions, pick, tested=tested)
        return
    decides = isinstance(node, CompareNode | NotNode)
    for inner in chosen if chosen is not None else _parts(node):
        yield from uses(inner, functions, pick, tested=tested or decides)


def _parts(node: Node) -> tuple[Node, ...]:
    match node:
        case LogicNode() | BinaryNode() | CompareNode():
            return node.left, node.right
        case NotNode() | NegateNode():
            return (node.operand,)
        case StepNode() | FilterNode():
            return (node.base,)  # a condition looks at the items of a value, which stand in no place of the source
        case ArrayNode():
            return node.items
        case DictNode():
            return tuple(value for _, value in node.items)
    return ()


def _arguments(node: CallNode, functions: Mapping[str, Function]) -> Iterator[tuple[Node, bool, bool]]:
    """(argument, whether it is in the place of a list, whether it is only tested)"""
    tested = node.name in _PRESENCE
    function = functions[node.name]
    if node.name == "join":
        # A literal in the first place that is written is the separator; a single value means everything it reaches.
        values = list(node.arguments)
        first = 1 if node.piped else 0
        if "sep" not in dict(node.keywords) and len(values) > first and isinstance(values[first], LiteralNode):
            values.pop(first)
        for argument in values:
            yield argument, len(values) == 1, False
    else:
        parameters = check_arguments(function, node)
        for argument, parameter in zip(node.arguments, parameters, strict=False):
            yield argument, parameter in function.lists, tested
    for name, argument in node.keywords:
        yield argument, name in function.lists, tested
