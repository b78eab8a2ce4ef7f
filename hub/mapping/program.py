"""Generated source made runnable, and failures at run time turned into errors with their place."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, TracebackType
from typing import Any

from hub.errors import HubError, MappingError
from hub.i18n import t
from hub.mapping.codegen import Generator
from hub.mapping.context import Context
from hub.mapping.nodes import ExpressionError
from hub.mapping.runtime import FunctionError, plain_text
from hub.masking import mask

__all__ = ["Program", "Rule", "assemble"]

_serial = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Rule:
    """Where a generated line comes from: file and line of the mapping, what it makes, from what."""

    file: str = ""
    line: int = 0
    target: str = ""
    source: str = ""


@dataclass(slots=True)
class Program:
    """One generated function. ``source`` is for people; ``run(tree, context)`` raises nothing but MappingError."""

    source: str
    run: Callable[[Any, Context], Any]


def assemble(generator: Generator, rules: list[Rule], result: str) -> Program:
    """Put the written lines into a function that returns ``result``; raises :class:`ExpressionError` when CPython gives up."""
    lines = generator.writer.result()
    head = "def run(tree, ctx):"
    body = [f"    left = {generator.budget}"]
    body += [f"{'    ' * (line.depth + 1)}{line.text}" for line in lines]
    source = "\n".join([head, *body, f"    return {result}"])
    filename = f"<mapping {next(_serial)}>"
    try:
        code = compile(source, filename, "exec", dont_inherit=True)
    except (SyntaxError, RecursionError, MemoryError, OverflowError):
        raise ExpressionError(
            t("too large or too deeply nested", "规模过大或嵌套过深"),
            remedy=t("split it: vars:, include:, or several mappings", "请用 vars:、include: 或多个映射拆分"),
        ) from None
    namespace = dict(generator.namespace)
    # The source is made from a checked syntax tree; it contains no text of a user except repr() of constants.
    exec(code, namespace)  # noqa: S102
    function = namespace["run"]
    code_object: CodeType = function.__code__
    rule_of_line = [0, 0, 0, *(line.rule for line in lines)]

    def failure(error: Exception) -> MappingError:
        number = 0
        trace: TracebackType | None = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code is code_object:
                number = trace.tb_lineno
            trace = trace.tb_next
        rule = rules[rule_of_line[number]] if number < len(rule_of_line) else rules[-1]
        return _placed(error, rule)

    def run(tree: Any, context: Context) -> Any:
        try:
            return function(tree, context)
        except Exception as error:
            raise failure(error) from None

    return Program(source, run)


def _placed(error: Exception, rule: Rule) -> MappingError:
    text, value, remedy, code = "", "", "", ""
    if isinstance(error, FunctionError):
        text, remedy = error.text, error.remedy
        value = _masked(error.value)
    elif isinstance(error, MappingError):
        text, remedy, value, code = error.reason, error.remedy, error.value, error.code
    elif isinstance(error, HubError):
        text, remedy = error.text, error.remedy
    else:
        # The text of a foreign exception may hold personal data: only its kind is told.
        text = t(f"failed with {type(error).__name__}", f"执行失败：{type(error).__name__}")
        remedy = t("check the function used and the kind of value it got", "请检查所用函数及其取值类型")
    return MappingError(
        text,
        file=rule.file,
        line=rule.line,
        target=rule.target,
        source=rule.source,
        value=value,
        code=code,
        remedy=remedy,
    )


def _masked(value: Any) -> str:
    if value is None:
        return ""
    try:
        return mask(plain_text(value))
    except FunctionError:
        return ""
