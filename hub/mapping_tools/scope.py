"""Expressions of a mapping asked one by one, where they stand: by the same compiler that compiles the whole mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hub.errors import MappingError
from hub.mapping.codegen import Generator
from hub.mapping.compiler import parse
from hub.mapping.context import Context
from hub.mapping.definitions import nodes_in
from hub.mapping.document import Document, Text
from hub.mapping.formats import source_format
from hub.mapping.functions.base import Function
from hub.mapping.nodes import ExpressionError, Node, VariableNode
from hub.mapping.paths import Code, Scope
from hub.mapping.program import Rule, assemble
from hub.mapping.tables import CodeTable

__all__ = ["Evaluator", "Expressions", "Frame", "Named"]


@dataclass(slots=True)
class Named:
    """A variable: the text it is computed from, in the frame it is computed in; or, for ``$number``, a value that is known."""

    text: Text | None = None
    document: Document | None = None
    frame: Frame | None = None
    known: tuple[Any, str] | None = None  # value and kind, once somebody asked


@dataclass(frozen=True, slots=True)
class Frame:
    """What paths start from at one place of a mapping: the whole source, or an element of a loop within another frame.

    ``kind``, ``element`` and ``members`` are what the compiler calls them (:class:`hub.mapping.paths.Scope`). ``place`` is where the element
    stands, ``label`` how a person would write the path to it; both belong to the source format. Without an input there is no element.
    """

    kind: str
    element: Any = None
    members: list[Any] | None = None
    place: Any = ()
    label: str = ""
    parent: Frame | None = None
    names: Mapping[str, Named] = field(default_factory=dict)

    @property
    def reachable(self) -> bool:
        """Whether there is something to start from: not in a loop without elements."""
        return self.kind == "root" or self.element is not None

    def with_name(self, name: str, named: Named) -> Frame:
        return replace(self, names={**self.names, name: named})

    def chain(self) -> list[Frame]:
        """From the root to this frame."""
        found: list[Frame] = []
        frame: Frame | None = self
        while frame is not None:
            found.append(frame)
            frame = frame.parent
        return found[::-1]


class Expressions:
    """The expressions of mappings with one source format: each parsed once, and compiled once for each kind of frame."""

    def __init__(
        self,
        codec: str,
        functions: Mapping[str, Function],
        find_table: Callable[[str], CodeTable | None],
        *,
        namespaces: Mapping[str, str] | None = None,
        empty_absent: bool = False,
    ) -> None:
        self.codec = codec
        self._namespaces = namespaces
        self.functions = functions
        self.find_table = find_table
        self.format = source_format(codec, empty_absent=empty_absent)
        self._parsed: dict[str, Node] = {}
        self._conditions: dict[int, Node] = {}
        self._mentioned: dict[int, frozenset[str]] = {}
        self._compiled: dict[Any, tuple[Callable[[Any, Context], Any], str]] = {}

    def parse(self, text: Text) -> Node:
        """Raises :class:`MappingError`."""
        node = self._parsed.get(text.text)
        if node is None:
            try:
                node = self._parsed[text.text] = parse(text.text, self.codec, self._namespaces)
            except ExpressionError as error:
                raise MappingError(error.text, line=text.line, source=text.text, remedy=error.remedy) from None
        return node

    def condition(self, node: Node) -> Node:
        """A node of something that was parsed, for a place where the only question is whether it holds."""
        found = self._conditions.get(id(node))
        if found is None:
            found = self._conditions[id(node)] = self.format.as_condition(node)
        return found

    def mentioned(self, node: Node) -> frozenset[str]:
        """The names of the variables an expression mentions."""
        found = self._mentioned.get(id(node))
        if found is None:
            found = frozenset(n.name for n in nodes_in(node) if isinstance(n, VariableNode))
            self._mentioned[id(node)] = found
        return found

    def compiled(
        self, node: Node, shape: tuple[tuple[str, bool], ...], kinds: Mapping[str, str], *, every: bool
    ) -> tuple[Callable[[Any, Context], Any], str]:
        """(function of tree and context, kind of its value); ``node`` must come from :meth:`parse`, so that it lives on.
        ``every``: as in the place of a list.

        ``shape`` tells of each element around, from the outside, its kind and whether it has members; the context's variables hold
        them under ``#0``, ``#1`` …, and the variables of the mapping, whose kinds are given, under ``=name``.
        """
        key = (id(node), shape, tuple(kinds.items()), every)
        if key not in self._compiled:
            self._compiled[key] = self._compile(node, shape, kinds, every=every)
        return self._compiled[key]

    def _compile(
        self, node: Node, shape: tuple[tuple[str, bool], ...], kinds: Mapping[str, str], *, every: bool
    ) -> tuple[Callable[[Any, Context], Any], str]:
        generator = Generator(self.format, self.functions, self.find_table)
        scope = generator.root
        for depth, (kind, grouped) in enumerate(shape):
            variable, members = f"at{depth}", f"members{depth}"
            generator.writer.line(f"{variable}, {members} = ctx.variables['#{depth}']")
            scope = Scope(kind, variable, scope, 0, members if grouped else "")
        generator.variables.append({name: Code(f"ctx.variables[{'=' + name!r}]", kind) for name, kind in kinds.items()})
        try:
            code = generator.everything(node, scope) if every else generator.compile(node, scope)
            return assemble(generator, [Rule()], code.text).run, code.kind
        except ExpressionError as error:
            raise MappingError(error.text, remedy=error.remedy) from None


class Evaluator:
    """Evaluates expressions on one source tree. Raises nothing but :class:`MappingError`."""

    def __init__(self, expressions: Expressions, tree: Any, context: Context) -> None:
        self.expressions = expressions
        self.tree = tree
        self._context = context

    def value(self, node: Node, frame: Frame, *, every: bool = False) -> tuple[Any, str]:
        """The value, and its kind as :class:`hub.mapping.paths.Code` has it; ``every``: as in the place of a list."""
        variables = dict(self._context.variables)
        kinds: dict[str, str] = {}
        for name in sorted(self.expressions.mentioned(node) & frame.names.keys()):
            variables[f"={name}"], kinds[name] = self.variable(frame.names[name])
        around = frame.chain()[1:]
        for depth, outer in enumerate(around):
            variables[f"#{depth}"] = outer.element, outer.members
        shape = tuple((outer.kind, outer.members is not None) for outer in around)
        run, kind = self.expressions.compiled(node, shape, kinds, every=every)
        return run(self.tree, replace(self._context, variables=variables)), kind

    def holds(self, node: Node, frame: Frame) -> bool:
        """Whether a condition holds."""
        return bool(self.value(self.expressions.condition(node), frame)[0])

    def variable(self, named: Named) -> tuple[Any, str]:
        """The value and the kind of a variable, computed when somebody asks for the first time."""
        if named.known is None:
            assert named.text is not None and named.frame is not None  # noqa: PT018, S101 - one of the two is there
            named.known = self.value(self.expressions.parse(named.text), named.frame)
        return named.known

    def present(self, value: Any, kind: str) -> bool:
        """Whether a mapping writes the value to its target."""
        if kind == "bool":
            return True
        if kind == "list":
            return bool(value)
        empty = self.expressions.format.empty_is_absent and isinstance(value, str) and not value
        return value is not None and not empty
