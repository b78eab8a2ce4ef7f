"""Functions written in the mapping language: named expressions with arguments, compiled into the place they are called from.

A definition sees its arguments, ``$settings``, ``$message`` and ``$now``, and no paths, so that it means the same for every format. An argument that
is a path or a constant stands in the body as it was written (a path in the place of a list gives everything it reaches);
any other is computed once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from hub.errors import Problem
from hub.i18n import t
from hub.mapping.compiler import expression_error, parse
from hub.mapping.document import Definition, Document, Leaf, ListRule, ObjectRule, Rules
from hub.mapping.functions.base import Function, check_arguments
from hub.mapping.nodes import CallNode, ExpressionError, LiteralNode, Node, PathNode, VariableNode
from hub.mapping.paths import Code, Scope

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator

__all__ = ["Gathered", "gather", "nodes_in"]

#: Most calls of definitions in one mapping, those inside definitions included.
MAX_CALLS = 5_000
_KNOWN = frozenset({"settings", "message", "now"})


@dataclass(slots=True)
class Gathered:
    """What a mapping can call besides the functions of the hub, from itself, what it uses and what it includes.

    ``documents``: all these files; ``used``: those it only uses.
    """

    documents: list[Document] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)
    used: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def gather(document: Document, find: Callable[[str], Document | None], known: Mapping[str, Function]) -> Gathered:
    """Read and check all definitions a mapping may call; ``known`` are the functions of the hub and its plugins."""
    result = Gathered()
    definitions: dict[str, Definition] = {}
    reached = {document.name: document}
    todo = [document]
    while todo:
        one = todo.pop()
        result.documents.append(one)
        for number, text in enumerate(one.uses):
            other = find(text.text)
            if other is None or not other.definitions:
                result.problems.append(
                    Problem(
                        t(f"{text.text!r} is no file with define:", f"{text.text!r} 不是带 define: 的文件"),
                        one.file,
                        text.line,
                        f"use[{number}]",
                    )
                )
            elif other.name not in reached:
                reached[other.name] = other
                todo.append(other)
                result.used.append(other)
        for name in _included(one.fields):
            other = find(name)
            if other is not None and other.name not in reached:
                reached[other.name] = other
                todo.append(other)
        for definition in one.definitions.values():
            earlier = definitions.get(definition.name)
            if earlier is not None or definition.name in known:
                what = f"{earlier.file}:{earlier.body.line}" if earlier else t("the hub", "本系统")
                _add(
                    result,
                    definition,
                    t(f"there is such a function already, from {what}", f"已有同名函数，来自 {what}"),
                    t("give it another name", "请改名"),
                )
            else:
                definitions[definition.name] = definition
    bodies = {name: body for name, one in definitions.items() if (body := _body(one, result)) is not None}
    result.functions = {name: _function(definitions[name], body) for name, body in bodies.items()}
    everything = {**known, **result.functions}
    for name, body in bodies.items():
        _check_calls(definitions[name], body, everything, result)
    for name in _in_circles(bodies):
        _add(result, definitions[name], t("it calls itself", "它调用了自身"), t("write it out", "请展开书写"))
    return result


def _add(result: Gathered, definition: Definition, text: str, remedy: str = "") -> None:
    result.problems.append(Problem(text, definition.file, definition.body.line, f"define.{definition.name}", remedy))


def _included(rules: Rules | None) -> Iterator[str]:
    if isinstance(rules, ListRule):
        for item in rules.items:
            yield from _included(item)
    elif isinstance(rules, ObjectRule):
        if rules.include is not None:
            yield rules.include.text
        for entry in rules.fields:
            yield from _included(entry.rule)
        if isinstance(rules.value, Leaf):
            yield from _included(rules.value)


def nodes_in(value: Any) -> Iterator[Node]:
    """Every node of a syntax tree, those of path filters included."""
    if isinstance(value, Node):
        yield value
    if isinstance(value, tuple):
        for item in value:
            yield from nodes_in(item)
    elif is_dataclass(value):
        for part in fields(value):
            yield from nodes_in(getattr(value, part.name))


def _body(definition: Definition, result: Gathered) -> Node | None:
    """The syntax tree of a definition; None with a problem when it is not what it may be."""
    try:
        node = parse(definition.body.text, "json")
    except ExpressionError as error:
        _add(result, definition, expression_error(error, definition.body.text), error.remedy)
        return None
    for part in nodes_in(node):
        if isinstance(part, PathNode):
            text = t(f"{part.text}: a definition has no paths", f"{part.text}：定义中不能使用路径")
            _add(result, definition, text, t("hand it over as an argument: $name", "请作为参数传入：$名称"))
            return None
        if isinstance(part, VariableNode) and part.name not in _KNOWN and part.name not in definition.parameters:
            text = t(f"${part.name} is none of its arguments", f"${part.name} 不是它的参数")
            _add(result, definition, text, f"{definition.name}({', '.join((*definition.parameters, part.name))}): …")
            return None
    return node


def _check_calls(definition: Definition, body: Node, known: Mapping[str, Function], result: Gathered) -> None:
    for node in nodes_in(body):
        if not isinstance(node, CallNode):
            continue
        function = known.get(node.name)
        if function is None:
            text = t(f"there is no function {node.name!r}", f"没有函数 {node.name!r}")
            _add(result, definition, text)
            continue
        try:
            check_arguments(function, node)
        except ExpressionError as error:
            _add(result, definition, expression_error(error, definition.body.text), error.remedy)


def _in_circles(bodies: Mapping[str, Node]) -> list[str]:
    calls = {
        name: {node.name for node in nodes_in(body) if isinstance(node, CallNode)} & bodies.keys()
        for name, body in bodies.items()
    }
    while True:  # take away what calls nothing that is left
        ends = {name for name, called in calls.items() if not called & calls.keys()}
        if not ends:
            return sorted(calls)
        for name in ends:
            del calls[name]


def _function(definition: Definition, body: Node) -> Function:
    signature = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in definition.parameters]
    )

    def emit(g: Generator, call: CallNode, scope: Scope) -> Code:
        g.inlined += 1
        if g.inlined > MAX_CALLS:
            raise ExpressionError(
                t(f"more than {MAX_CALLS} calls of definitions", f"定义调用超过 {MAX_CALLS} 次"), call.at
            )
        given = {**dict(zip(definition.parameters, call.arguments, strict=False)), **dict(call.keywords)}
        names: dict[str, Code] = {}
        instead: dict[str, Node] = {}
        for name, node in given.items():
            if isinstance(node, LiteralNode | PathNode):
                instead[name] = node
            else:
                code = g.compile(node, scope)
                own = f"{definition.name}.{name}.{g.inlined}"  # no name a mapping can have
                names[own] = Code(g.keep(code), code.kind)
                instead[name] = VariableNode(node.at, own)
        g.variables.append(names)
        try:
            return g.compile(_replaced(body, instead), scope)
        except ExpressionError as error:
            raise ExpressionError(f"{definition.name}: {error.text}", call.at, error.remedy) from None
        finally:
            g.variables.pop()

    def called(*_: Any) -> Any:
        raise AssertionError(definition.name)  # emit writes the body; nothing calls this

    called.__doc__ = definition.body.text
    return Function(definition.name, called, signature, emit=emit)


def _replaced(value: Any, instead: Mapping[str, Node]) -> Any:
    if isinstance(value, VariableNode):
        return instead.get(value.name, value)
    if isinstance(value, tuple):
        return tuple(_replaced(item, instead) for item in value)
    if isinstance(value, Node):
        changed = {part.name: _replaced(getattr(value, part.name), instead) for part in fields(value)}
        return replace(value, **changed)
    return value
