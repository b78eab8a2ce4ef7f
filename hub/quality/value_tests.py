"""The code of tests of one value: what is asked when a set is compiled becomes an object the generated code calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hub.i18n import t
from hub.mapping.codegen import Generator
from hub.mapping.expression import Parser
from hub.mapping.nodes import CallNode, ExpressionError, VariableNode
from hub.mapping.paths import Code, Scope
from hub.mapping.patterns import compile_pattern
from hub.mapping.runtime import FunctionError, plain_text
from hub.mapping.tables_choice import TableError, choose
from hub.mapping.tables_model import CodeTable
from hub.quality.model import RuleModel
from hub.quality.moments import Bound, bound_of
from hub.quality.quantities import QUANTITIES
from hub.quality.runtime import (
    among_targets,
    in_range_of_dates,
    in_range_of_numbers,
    in_table,
    listed_in,
    of_length,
    quantity_fault,
)
from hub.validation import did_you_mean

__all__ = ["ValueTests"]

#: The name under which a check sees the value it looks at.
_VALUE = "value"


class ValueTests:
    def __init__(self, generator: Generator, find_table: Callable[[str], CodeTable | None]) -> None:
        self._generator = generator
        self._find_table = find_table
        self._delete = generator.source.name == "hl7v2"  # `""` of HL7 v2 says that there is nothing

    def presence(self, name: str, kind: str) -> str:
        """A test that a variable holds a value; blanks alone are none."""
        if kind == "bool":
            return "True"
        if kind == "list":
            return name
        if kind == "text":
            deleted = f" and {name} != '\"\"'" if self._delete else ""
            return f"({name}{deleted} and not {name}.isspace())"
        return f"there({name})"

    def fault(self, model: RuleModel, test: str, code: Code, scope: Scope) -> tuple[str, str]:
        """(condition under which a value is wrong, what more is to be said); raises :class:`ExpressionError`."""
        value = code.text
        constant = self._generator.constant
        match test:
            case "check":
                return self._check(model.check or "", code, scope), "''"
            case "pattern":
                return f"not {constant(self._pattern(model.pattern or '', code.kind == 'text'))}({value})", "''"
            case "length":
                assert model.length is not None  # noqa: S101 - the test says it is there
                return f"not {constant(of_length(model.length.min, model.length.max))}({value})", "''"
            case "range":
                return self._range(model, value), "''"
            case "one_of":
                values = model.one_of or []
                if code.kind == "text" and all(isinstance(one, str) for one in values):
                    return f"{value} not in {constant(frozenset(values))}", "''"
                return f"not {constant(listed_in(values))}({value})", "''"
            case "table":
                return self._table(model, value), "''"
        return self._quantity(model, value, scope)

    def _pattern(self, pattern: str, texts: bool) -> Callable[[Any], bool]:
        try:
            found = compile_pattern(pattern)
        except FunctionError as error:
            raise ExpressionError(error.text, remedy=error.remedy) from None
        return found.fullmatch if texts else lambda value: found.fullmatch(plain_text(value))

    def _check(self, words: str, code: Code, scope: Scope) -> str:
        """A variable that is true where the check does not hold."""
        generator, writer = self._generator, self._generator.writer
        before = f"${_VALUE} | "
        try:
            node = Parser(before + words, generator.source).parse()
        except ExpressionError as error:
            raise _moved(error, len(before)) from None
        if not (isinstance(node, CallNode) and node.piped and isinstance(node.arguments[0], VariableNode)):
            raise ExpressionError(
                t("one check is named here, with arguments if it takes some", "此处写一个检查的名称，可带参数"),
                remedy=t("e.g. is_age(max=120); for more use assert:", "例如 is_age(max=120)；更复杂的请用 assert:"),
            )
        answer = writer.temp()
        generator.variables.append({_VALUE: code})
        try:
            with writer.loop("try:"):
                result = generator.compile(node, scope)
                plain = result.kind == "bool"
                writer.line(f"{answer} = {result.text}" if plain else f"{answer} = passed({result.text})")
        except ExpressionError as error:
            raise _moved(error, len(before)) from None
        finally:
            generator.variables.pop()
        # A converter that can't understand a value has judged it.
        with writer.block("except FunctionError:"):
            writer.line(f"{answer} = False")
        return f"not {answer}"

    def _range(self, model: RuleModel, value: str) -> str:
        limits = model.range
        assert limits is not None  # noqa: S101 - the test says it is there
        if limits.of_dates:
            test = in_range_of_dates(_date_bound(limits.min), _date_bound(limits.max))
            return f"not {self._generator.constant(test)}({value}, ctx)"
        low, high = limits.min, limits.max
        numbers = in_range_of_numbers(None if isinstance(low, str) else low, None if isinstance(high, str) else high)
        return f"not {self._generator.constant(numbers)}({value})"

    def _table(self, model: RuleModel, value: str) -> str:
        wanted = model.table
        assert wanted is not None  # noqa: S101 - the test says it is there
        try:
            chosen = choose(wanted.name, self._find_table, version=wanted.version)
        except TableError as error:
            raise ExpressionError(error.text, remedy=error.remedy) from None
        if chosen is None:
            raise ExpressionError(
                t(f"there is no code table {wanted.name!r}", f"没有代码表 {wanted.name!r}"),
                remedy=t(
                    f"add tables/{wanted.name}.csv to the mappings folder",
                    f"请在映射目录中添加 tables/{wanted.name}.csv",
                ),
            )
        test = in_table(chosen) if wanted.column == "from" else among_targets(chosen, fixed=bool(wanted.version))
        return f"not {self._generator.constant(test)}({value}, ctx)"

    def _quantity(self, model: RuleModel, value: str, scope: Scope) -> tuple[str, str]:
        wanted = model.quantity
        assert wanted is not None  # noqa: S101 - the test says it is there
        if wanted.name not in QUANTITIES:
            raise ExpressionError(
                t(f"there is no quantity {wanted.name!r}", f"没有名为 {wanted.name!r} 的量"),
                remedy=did_you_mean(wanted.name, QUANTITIES),
            )
        unit = "None"
        if wanted.unit:
            unit = self._generator.compile(Parser(wanted.unit, self._generator.source).parse(), scope).text
        fault = self._generator.writer.assign(
            f"{self._generator.constant(quantity_fault(wanted.name))}({value}, {unit})"
        )
        return f"{fault} is not None", fault


def _moved(error: ExpressionError, shift: int) -> ExpressionError:
    """The same error, its place counted without what was put before the text."""
    return ExpressionError(error.text, error.at - shift if error.at >= shift else -1, error.remedy)


def _date_bound(bound: Any) -> Bound | None:
    return bound_of(bound) if isinstance(bound, str) else None
