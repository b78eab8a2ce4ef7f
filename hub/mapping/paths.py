"""The interface between the code generator and the paths of a source format: one module per format implements it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from hub.i18n import t
from hub.mapping.nodes import ExpressionError, PathNode

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


class SourceFormat(ABC):
    """How one format's paths are parsed and read. The code written may reach nothing but the scopes' variables."""

    name: ClassVar[str]
    #: "" read from a path means that nothing is there.
    empty_is_absent: ClassVar[bool] = False

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

    @abstractmethod
    def elements(self, generator: Generator, path: PathNode, scope: Scope) -> Elements:
        """What ``each``, ``split`` and ``include … from`` go through."""


def scope_at(path: PathNode, scope: Scope) -> Scope:
    """The scope a path starts from; raises :class:`ExpressionError` when there are not so many around it."""
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
