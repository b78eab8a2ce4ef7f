"""The syntax tree of an expression. Plain data: made by the parser, read by the code generator."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

__all__ = [
    "ArrayNode",
    "BinaryNode",
    "CallNode",
    "CompareNode",
    "ConditionalNode",
    "Constant",
    "DictNode",
    "ExpressionError",
    "FilterNode",
    "LiteralNode",
    "LogicNode",
    "NegateNode",
    "Node",
    "NotNode",
    "PathNode",
    "StepNode",
    "VariableNode",
]

Constant = str | int | float | Decimal | bool | None


class ExpressionError(Exception):
    """An expression that can't be understood. ``at`` is the offset in its text, -1 when the whole is meant."""

    def __init__(self, text: str, at: int = -1, remedy: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.at = at
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Node:
    at: int


@dataclass(frozen=True, slots=True)
class LiteralNode(Node):
    value: Constant


@dataclass(frozen=True, slots=True)
class ArrayNode(Node):
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class DictNode(Node):
    """Keys are literal; only ``match`` takes one."""

    items: tuple[tuple[Constant, Node], ...]


@dataclass(frozen=True, slots=True)
class PathNode(Node):
    """``up`` is 0 for a path from the root of the source, 1 for the current element, 2 for the one around it, …

    ``steps`` belongs to the source format that parsed the path.
    """

    up: int
    steps: Any
    text: str


@dataclass(frozen=True, slots=True)
class VariableNode(Node):
    name: str


@dataclass(frozen=True, slots=True)
class StepNode(Node):
    """``base.key`` or ``base[index]`` on a value that is not a path."""

    base: Node
    step: str | int


@dataclass(frozen=True, slots=True)
class FilterNode(Node):
    """``base[condition]`` on a value that is not a path: the items for which the condition holds; paths in it start at the item."""

    base: Node
    condition: Node


@dataclass(frozen=True, slots=True)
class CallNode(Node):
    """``piped``: the first argument stood before the ``|``."""

    name: str
    arguments: tuple[Node, ...]
    keywords: tuple[tuple[str, Node], ...]
    piped: bool


@dataclass(frozen=True, slots=True)
class NegateNode(Node):
    operand: Node


@dataclass(frozen=True, slots=True)
class NotNode(Node):
    operand: Node


@dataclass(frozen=True, slots=True)
class BinaryNode(Node):
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class CompareNode(Node):
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class LogicNode(Node):
    operator: str  # "and" or "or"
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class ConditionalNode(Node):
    test: Node
    then: Node
    otherwise: Node
