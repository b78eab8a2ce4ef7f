"""Single expressions made callable: conditions of routes, ordering keys, success rules, business keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from hub.errors import MappingError
from hub.i18n import t
from hub.mapping.codegen import Generator
from hub.mapping.context import Context
from hub.mapping.expression import parse_expression
from hub.mapping.formats import source_format
from hub.mapping.functions import BUILTIN
from hub.mapping.functions.base import Function
from hub.mapping.nodes import ExpressionError, Node
from hub.mapping.paths import Code
from hub.mapping.program import Rule, assemble

__all__ = ["compile_expression", "compile_extract", "expression_error", "forget_parsed", "parse"]

Evaluate = Callable[[Any, Context], Any]
#: Longest text of an expression quoted in an error.
_QUOTED = 60


def parse(text: str, codec: str, namespaces: Mapping[str, str] | None = None) -> Node:
    """The syntax tree of an expression on what a codec decodes to; raises nothing but :class:`ExpressionError`.

    ``namespaces``: prefixes of paths into XML.
    """
    return _parsed(text, codec, tuple(sorted(namespaces.items())) if namespaces else ())


def forget_parsed() -> None:
    """Let go of the syntax trees that are kept for expressions that are met again, e.g. in a file many mappings include."""
    _parsed.cache_clear()


@lru_cache(maxsize=8192)
def _parsed(text: str, codec: str, namespaces: tuple[tuple[str, str], ...]) -> Node:
    try:
        return parse_expression(text, source_format(codec, dict(namespaces)))
    except RecursionError:
        raise ExpressionError(t("nested too deeply", "嵌套过深")) from None


def expression_error(error: ExpressionError, text: str) -> str:
    """What is wrong and where in the text of the expression."""
    shown = text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"
    if error.at < 0:
        return t(f"{error.text} in: {shown}", f"{error.text}（表达式：{shown}）")
    place = min(error.at, len(text)) + 1
    return t(f"{error.text} (character {place} of: {shown})", f"{error.text}（表达式第 {place} 个字符：{shown}）")


def compile_expression(
    text: str,
    codec: str,
    *,
    file: str = "",
    line: int = 0,
    key: str = "",
    functions: Mapping[str, Function] | None = None,
    namespaces: Mapping[str, str] | None = None,
) -> Evaluate:
    """A function of (tree, context) for one expression; ``namespaces`` are the prefixes of paths into XML.

    A path that leads nowhere gives None or "", never an error. Raises :class:`~hub.errors.MappingError` with the place for an
    expression that can't be understood; the function raises it for values a function or operator can't work on.
    """
    if functions is not None or namespaces:
        return _compile(text, codec, file, line, key, BUILTIN if functions is None else functions, namespaces)
    return _cached(text, codec, file, line, key)


@lru_cache(maxsize=4096)
def _cached(text: str, codec: str, file: str, line: int, key: str) -> Evaluate:
    return _compile(text, codec, file, line, key, BUILTIN)


def _compile(
    text: str,
    codec: str,
    file: str,
    line: int,
    key: str,
    functions: Mapping[str, Function],
    namespaces: Mapping[str, str] | None = None,
) -> Evaluate:
    generator = Generator(source_format(codec, namespaces), functions)
    try:
        code = generator.compile(parse(text, codec, namespaces), generator.root)
        return assemble(generator, [Rule(file, line, key, text)], code.text).run
    except ExpressionError as error:
        raise _failed(error, text, file, line, key) from None
    except RecursionError:
        raise _failed(ExpressionError(t("nested too deeply", "嵌套过深")), text, file, line, key) from None


def _failed(error: ExpressionError, text: str, file: str, line: int, key: str) -> MappingError:
    return MappingError(
        expression_error(error, text),
        file=file,
        line=line,
        target=key,
        code="mapping.expression",
        remedy=error.remedy,
    )


def compile_extract(
    expressions: Mapping[str, str], codec: str, *, file: str = "", line: int = 0, key: str = "keys"
) -> Callable[[Any, Context], dict[str, str]]:
    """One function that reads several values as text; what is absent is left out, of lists the items are joined by a space."""
    generator = Generator(source_format(codec), BUILTIN)
    writer = generator.writer
    rules: list[Rule] = []
    writer.line("found = {}")
    for name, text in expressions.items():
        writer.rule = len(rules)
        rules.append(Rule(file, line, f"{key}.{name}", text))
        try:
            code = generator.compile(parse(text, codec), generator.root)
            _store(generator, name, code)
        except ExpressionError as error:
            raise _failed(error, text, file, line, f"{key}.{name}") from None
        except RecursionError:
            raise _failed(ExpressionError(t("nested too deeply", "嵌套过深")), text, file, line, key) from None
    try:
        return assemble(generator, rules or [Rule(file, line, key)], "found").run
    except ExpressionError as error:
        raise _failed(error, "", file, line, key) from None


def _store(generator: Generator, name: str, code: Code) -> None:
    value = generator.keep(code)
    if code.kind == "text":
        generator.writer.line(f"if {value}: found[{name!r}] = {value}")
    elif code.kind == "list":
        generator.namespace["join"] = generator.functions["join"].call
        with generator.writer.block(f"if {value}:"):
            generator.writer.line(f"found[{name!r}] = join({value})")
    else:
        generator.namespace["join"] = generator.functions["join"].call
        with generator.writer.block(f"if {value} is not None and {value} != '':"):
            text = f"{value} if type({value}) is str else join({value})"
            generator.writer.line(f"if {value} != []: found[{name!r}] = {text}")
