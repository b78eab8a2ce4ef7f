"""The interface between the code generator and the paths of a source format: one module per format implements it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from hub.i18n import t
from hub.mapping.nodes import ArrayNode, CompareNode, ExpressionError, LiteralNode, LogicNode, Node, NotNode, PathNode

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator
    from hub.mapping.expression import Parser

__all__ = ["Code", "Elements", "Scope", "SourceFormat", "scope_at"]


class Code(NamedTuple):
    """A Python expression and what is known of its value.

    Kinds: ``text`` (always ``str``, "" when absent), ``bool``, ``list``, ``any``. ``risky``: evaluating it may raise, so it
    must not be moved out of a condition.
    """

    text: str
    kind: str = "any"
    risky: bool = False


class Elements(NamedTuple):
    """Expressions of an iterable of elements: as such, and paired with the list of each one's members."""

    plain: str
    kind: str
    grouped: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """What relative paths refer to: the element of a loop, bound to a variable.

    ``kind`` belongs to the format ("root", "segment", "repetition", "value"); ``members`` names a list of what belongs to
    the element where the format has such a thing (segments of a group).
    """

    kind: str
    variable: str
    parent: Scope | None = None
    loop_depth: int = 0
    members: str = ""
    #: For a path whose filters depend on where it is written: that scope. Filters see it as the one around them.
    here: Scope | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Tells reads from this scope apart from all others."""
        return self.variable, self.here.variable if self.here else ""


class SourceFormat(ABC):
    """How one format's paths are parsed and read. The code written may reach nothing but the scopes' variables."""

    name: ClassVar[str]
    #: "" read from a path means that nothing is there.
    empty_is_absent: bool = False
    #: Inside filters ``=`` compares, as in XPath.
    single_equals: ClassVar[bool] = False
    #: Its values are plain ones, as those of variables are.
    plain: ClassVar[bool] = False

    @abstractmethod
    def parse_path(self, parser: Parser) -> PathNode | None:
        """See :class:`hub.mapping.expression.PathSyntax`."""

    @abstractmethod
    def path_help(self) -> str: ...

    @abstractmethod
    def scalar(self, generator: Generator, path: PathNode, scope: Scope) -> Code:
        """The single value of a path, of what repeats the first."""

    @abstractmethod
    def values(self, generator: Generator, path: PathNode, scope: Scope) -> Code:
        """A list of every value a path reaches, absent ones left out."""

    def as_condition(self, node: Node) -> Node:
        """The expression for a place where only the question is whether it holds."""
        return node

    @abstractmethod
    def elements(self, generator: Generator, path: PathNode, scope: Scope) -> Elements:
        """What ``each``, ``split`` and ``include … from`` go through."""


def scope_at(path: PathNode, scope: Scope, conditions: Iterable[Node | None], loop_depth: int) -> Scope:
    """The scope a path starts from; raises :class:`ExpressionError` when there are not so many around it.

    With a condition that may raise, or looks at the elements around, what is read stays where it is written
    (``loop_depth``); anything else may be read as far out as the scope itself.
    """
    origin = _start(path, scope)
    if all(condition is None or _movable(condition) for condition in conditions):
        return origin
    return replace(origin, loop_depth=loop_depth, here=scope)


def _movable(node: Node) -> bool:
    """Whether a condition looks at nothing but its own element and constants, and can't fail."""
    match node:
        case LiteralNode():
            return True
        case PathNode():
            return node.up <= 1 and not _has_conditions(node.steps)
        case ArrayNode():
            return all(_movable(item) for item in node.items)
        case NotNode():
            return _movable(node.operand)
        case LogicNode():
            return _movable(node.left) and _movable(node.right)
        case CompareNode():
            plain = node.operator in ("==", "!=") or (
                node.operator in ("in", "not in") and isinstance(node.right, ArrayNode)
            )
            return plain and _movable(node.left) and _movable(node.right)
    return False


def _has_conditions(steps: Any) -> bool:
    if isinstance(steps, Node):
        return True
    if isinstance(steps, tuple):
        return any(_has_conditions(step) for step in steps)
    return is_dataclass(steps) and any(_has_conditions(getattr(steps, part.name)) for part in fields(steps))


def _start(path: PathNode, scope: Scope) -> Scope:
    if path.up == 0:
        while scope.parent is not None:
            scope = scope.parent
        return scope
    for _ in range(path.up - 1):
        if scope.parent is None or scope.parent.parent is None:
            raise ExpressionError(
                t(f"{path.text}: there is no element around the current one", f"{path.text}：当前元素之外没有上级元素"),
                path.at,
                t(
                    "one dot is the current element, each further dot one level out",
                    "一个点为当前元素，每多一个点向外一层",
                ),
            )
        scope = scope.parent
    return scope
