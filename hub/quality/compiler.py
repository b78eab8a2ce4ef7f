"""Rules made one Python function: the expressions, loops and shared reads are those of mappings.

Each rule runs inside its own ``try``, so that one that can't work on a message spoils nothing but itself. To the writer of statements that is a
loop: reads that don't depend on an element are placed before it and serve all rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from hub.errors import Problem
from hub.i18n import t
from hub.mapping.builder import Builder
from hub.mapping.codegen import Generator
from hub.mapping.compiler import expression_error
from hub.mapping.context import Context
from hub.mapping.document import Document, Text
from hub.mapping.formats import source_format
from hub.mapping.functions.base import Function
from hub.mapping.nodes import ExpressionError
from hub.mapping.program import Rule as Line
from hub.mapping.program import assemble
from hub.mapping.tables_model import CodeTable
from hub.quality.effective import EffectiveRule
from hub.quality.loops import each_element
from hub.quality.rule_code import RuleCode
from hub.quality.runtime import RULE_RUNTIME
from hub.quality.value_tests import ValueTests

__all__ = ["BUDGET", "Compiled", "compile_rules"]

#: List items the rules may look through in one message; at about a microsecond each this bounds the time.
BUDGET = 100_000


@dataclass(slots=True)
class Compiled:
    """``run(tree, run)`` gives (asked, failed, fields there, business time); with errors among ``problems`` there is none."""

    problems: list[Problem]
    tables: dict[str, CodeTable] = field(default_factory=dict)
    source: str = ""
    run: Callable[[Any, Context], tuple[tuple[int, ...], tuple[int, ...], tuple[bool, ...], Any]] | None = None


class _Compiler:
    def __init__(
        self,
        codec: str,
        namespaces: Mapping[str, str],
        functions: Mapping[str, Function],
        find_table: Callable[[str], CodeTable | None],
        budget: int,
    ) -> None:
        self.codec = codec
        self.namespaces = dict(namespaces)
        self.tables: dict[str, CodeTable] = {}

        def table(name: str) -> CodeTable | None:
            found = find_table(name)
            if found is not None:
                self.tables[name] = found
            return found

        self.generator = Generator(source_format(codec, namespaces), functions, table)
        self.generator.budget = budget
        self.generator.namespace.update(RULE_RUNTIME)
        self.writer = self.generator.writer
        self.builder = Builder(self.generator, self._document("", ""), lambda name: None)
        self.tests = ValueTests(self.generator, table)

    def _document(self, name: str, file: str) -> Document:
        return Document(name, file, source_codec=self.codec, source_namespaces=self.namespaces)

    # -- one rule ------------------------------------------------------------------------------------------------

    def rule(self, number: int, rule: EffectiveRule) -> None:
        """Write one rule; raises :class:`_UnusableError` when its loops can't be understood."""
        model, place = rule.model, rule.place
        self.builder.document = self._document(rule.origin, str(place.document.path))

        def text(words: str, *key: str | int) -> Text:
            return Text(words, place.document.line((*place.path, *key)))

        self.builder.at(place.document.line(place.path), rule.id)
        with self.writer.loop("try:"), ExitStack() as stack:
            self.writer.line("pass")
            scope, loops = self.generator.root, []
            for at, path in enumerate(model.each):
                written = text(path, "each", at)
                try:
                    looped = stack.enter_context(each_element(self.builder, written, scope, rule.id))
                except ExpressionError as error:
                    self.builder.problem(
                        written.line, f"{rule.id}.each", expression_error(error, written.text), error.remedy
                    )
                    raise _UnusableError from None
                loops.append(looped)
                scope = looped.scope
            condition = text(model.when, "when") if model.when else None
            with self.builder.when(condition, scope, rule.id):
                RuleCode(self.builder, self.tests, self.codec, number, rule, scope, loops, text).write()
        with self.writer.block("except Exception as error:"):
            self.writer.line(f"broken(ctx, {number}, error)")

    # -- what is counted -----------------------------------------------------------------------------------------

    def statistics(self, fields: Sequence[tuple[str, Text]], time: tuple[str, Text] | None) -> None:
        """Bind ``there`` and ``when`` to which fields are filled and to the business time."""
        names = []
        for origin, text in fields:
            name = self._counted(origin, text, "fields")
            names.append(name)
        when = self._counted(*time, "time", value=True) if time is not None else "None"
        self.writer.line(f"seen = ({''.join(f'{name}, ' for name in names)})")
        self.writer.line(f"when = {when}")

    def _counted(self, origin: str, text: Text, key: str, *, value: bool = False) -> str:
        self.builder.document = self._document("", origin)
        name = self.writer.temp("c")
        self.builder.at(text.line, f"statistics.{key}", text.text)
        self.writer.line(f"{name} = {'None' if value else 'False'}")
        with self.builder.guard(text, f"statistics.{key}"):
            with self.writer.loop("try:"):
                code = self.builder.expression(text, self.generator.root)
                if value:
                    self.writer.line(f"{name} = {code.text}")
                else:
                    there = self.tests.presence(self.generator.keep(code), code.kind)
                    self.writer.line(f"{name} = True if {there} else False")
            with self.writer.block("except Exception:"):
                self.writer.line("pass")
        return name


class _UnusableError(Exception):
    """A rule that can't be compiled; its problem is told."""


def compile_rules(
    rules: Sequence[EffectiveRule],
    codec: str,
    namespaces: Mapping[str, str],
    functions: Mapping[str, Function],
    find_table: Callable[[str], CodeTable | None],
    *,
    fields: Sequence[tuple[str, Text]] = (),
    time: tuple[str, Text] | None = None,
    budget: int = BUDGET,
) -> Compiled:
    """Compile rules in their order. ``fields`` and ``time``: (file, path) of what is counted besides. Never raises for what files say."""
    compiler = _Compiler(codec, namespaces, functions, find_table, budget)
    numbers = range(len(rules))
    if rules:
        counters = " = ".join(f"a{n} = b{n}" for n in numbers)
        compiler.writer.line(f"{counters} = 0")
    problems = compiler.builder.problems
    for number, rule in enumerate(rules):
        try:
            compiler.rule(number, rule)
        except _UnusableError:
            continue
        except RecursionError:
            problems.append(rule.place.problem(t("nested too deeply", "嵌套过深")))
    compiler.statistics(fields, time)
    compiled = Compiled(problems, compiler.tables)
    if any(problem.severity == "error" for problem in problems):
        return compiled
    asked = "".join(f"a{n}, " for n in numbers)
    failed = "".join(f"b{n}, " for n in numbers)
    try:
        program = assemble(
            compiler.generator, compiler.builder.rules or [Line()], f"(({asked}), ({failed}), seen, when)"
        )
    except ExpressionError as error:
        problems.append(Problem(error.text, remedy=error.remedy))
        return compiled
    compiled.source, compiled.run = program.source, program.run
    return compiled
