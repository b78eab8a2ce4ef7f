"""Turns the rules of a mapping into statements; what a value is put into belongs to the target format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hub.errors import Problem
from hub.i18n import t
from hub.mapping.codegen import Generator
from hub.mapping.compiler import expression_error, parse
from hub.mapping.document import Document, Leaf, ListRule, ObjectRule, Rules, Text
from hub.mapping.document_without import without
from hub.mapping.nodes import CallNode, ExpressionError, FilterNode, Node, PathNode, StepNode, VariableNode
from hub.mapping.paths import Code, Elements, Scope
from hub.mapping.paths_plain import PlainFormat
from hub.mapping.program import Rule

__all__ = ["CALLER_NAMES", "Builder", "TooManyRules", "Value", "leaves"]

#: Most rules of a mapping, its includes counted each time they are used.
MAX_RULES = 20_000
#: Variables the hub provides to mappings and rules; any other that a mapping does not declare is probably a slip.
CALLER_NAMES = frozenset({"target", "status", "code", "ok", "request", "page"})
#: Deepest nesting of loops, each: and from: (CPython takes 20 in one another, and filters are loops too), and of include:.
MAX_NESTING = 16
MAX_INCLUDES = 32


class TooManyRules(Exception):
    """More rules than a mapping may have."""


@dataclass(frozen=True, slots=True)
class Value:
    """A computed leaf: its variable or constant, and the test that it is there ("" when it always is)."""

    text: str
    present: str


def leaves(rules: Rules) -> int:
    """How many values a rule makes at most, for one element."""
    if isinstance(rules, Leaf):
        return 1
    if isinstance(rules, ListRule):
        return sum(leaves(item) for item in rules.items)
    return 1 + sum(leaves(entry.rule) for entry in rules.fields)


def _mentions(rules: Rules, name: str) -> bool:
    if isinstance(rules, Leaf):
        return any(text is not None and name in text.text for text in (rules.expr, rules.when))
    if isinstance(rules, ListRule):
        return any(_mentions(item, name) for item in rules.items)
    texts = (rules.each, rules.where, rules.distinct, rules.when, rules.origin)
    return (
        rules.include is not None
        or any(text is not None and name in text.text for text in texts)
        or (rules.value is not None and _mentions(rules.value, name))
        or any(_mentions(entry.rule, name) for entry in rules.fields)
    )


@dataclass(slots=True)
class Builder:
    """State of one compilation: the generator, the rules for errors, problems found, and the file being read."""

    generator: Generator
    document: Document
    find: Callable[[str], Document | None]
    problems: list[Problem] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    included: dict[str, Document] = field(default_factory=dict)
    provided: frozenset[str] = CALLER_NAMES
    _documents: list[Document] = field(default_factory=list)
    _nesting: int = 0
    _count: int = 0

    # -- places and problems -------------------------------------------------------------------------------------

    def at(self, line: int, target: str, source: str = "") -> None:
        """Lines written from here on serve this rule."""
        self.generator.writer.rule = len(self.rules)
        self.generator.place = (self.document.name, target)
        self.rules.append(Rule(self.document.file, line, target, source))
        self._counted()

    def _counted(self) -> None:
        self._count += 1
        if self._count > MAX_RULES:
            raise TooManyRules

    def problem(self, line: int, key: str, text: str, remedy: str = "", severity: str = "error") -> None:
        found = Problem(text, self.document.file, line, key, remedy, severity)
        if found not in self.problems:
            self.problems.append(found)

    @contextmanager
    def guard(self, text: Text, target: str) -> Iterator[None]:
        """An expression that can't be understood becomes a problem and the rest goes on."""
        try:
            yield
        except ExpressionError as error:
            self.problem(text.line, target, expression_error(error, text.text), error.remedy)
        except RecursionError:
            self.problem(text.line, target, t("nested too deeply", "嵌套过深"))

    def parse(self, text: Text) -> Node:
        return parse(text.text, self.document.source_codec, self.document.source_namespaces)

    def path(self, text: Text) -> PathNode:
        node = self.parse(text)
        if not isinstance(node, PathNode):
            raise ExpressionError(
                t("a path is needed here, not an expression", "此处须为路径，而非表达式"),
                node.at,
                t("narrow it with a filter: path[condition], or where:", "可用过滤条件 path[条件] 或 where: 限定"),
            )
        return node

    def looped(self, text: Text) -> Node:
        """What ``each:``, ``from:`` and ``split:`` go through: a path; in plain trees also a variable, or a member of a value."""
        if isinstance(self.generator.source, PlainFormat):
            node = self.parse(text)
            if isinstance(node, VariableNode | StepNode | FilterNode):
                return node
        return self.path(text)

    def makes_tree(self, leaf: Leaf) -> bool:
        """Whether a rule can be that of a whole message or document: a computed value, not a text read from a path."""
        try:
            return leaf.expr is not None and isinstance(
                self.parse(leaf.expr), CallNode | VariableNode | StepNode | FilterNode
            )
        except ExpressionError:
            return True  # the rule itself tells

    def expression(self, text: Text, scope: Scope, *, condition: bool = False) -> Code:
        before = set(self.generator.unknown_variables)
        node = self.parse(text)
        code = self.generator.compile(self.generator.source.as_condition(node) if condition else node, scope)
        for name in sorted(self.generator.unknown_variables - before - self.provided):
            self.problem(
                text.line,
                f"${name}",
                t(f"${name} is not among vars:", f"vars: 中没有 ${name}"),
                t(
                    "it is absent unless the caller provides a variable of that name",
                    "除非调用方提供同名变量，否则视为不存在",
                ),
                "warning",
            )
        return code

    # -- values --------------------------------------------------------------------------------------------------

    def leaf(self, leaf: Leaf, scope: Scope, target: str) -> Value:
        """Write what computes a leaf; raises :class:`ExpressionError` (use :meth:`guard`)."""
        writer = self.generator.writer
        if leaf.const is not None:
            return Value(repr(leaf.const[0]), "")
        if leaf.expr is None:
            raise ExpressionError(t("there is no rule", "缺少规则"))
        code = self.expression(leaf.expr, scope)
        name = self.generator.keep(code)
        present = self._presence(name, code.kind)
        if leaf.required or leaf.default is not None or leaf.keep_null:
            if leaf.required and leaf.default is None:
                present = self._filled(name, code.kind)
            if not present:
                return Value(name, "")
            with writer.block(f"if not ({present}):"):
                if leaf.default is not None:
                    writer.line(f"{name}_ = {leaf.default[0]!r}")
                elif leaf.required:
                    writer.line("missing()")
                else:
                    writer.line(f"{name}_ = None")
            if leaf.required and leaf.default is None:
                return Value(name, "")
            writer.line(f"else: {name}_ = {name}")
            kept = leaf.keep_null or (leaf.default is not None and leaf.default[0] is not None)
            return Value(f"{name}_", "" if kept else f"{name}_ is not None")
        return Value(name, present)

    def _presence(self, name: str, kind: str) -> str:
        if kind == "bool":
            return ""
        if kind in ("text", "list"):
            # A text of a plain tree may be empty on purpose.
            return name if kind == "list" or self.generator.source.empty_is_absent else f"{name} is not None"
        return (
            f"{name} is not None and {name} != ''" if self.generator.source.empty_is_absent else f"{name} is not None"
        )

    def _filled(self, name: str, kind: str) -> str:
        """The test that a required value is there: "" is none, whatever the source."""
        if kind == "bool":
            return ""
        return name if kind in ("text", "list") else f"{name} is not None and {name} != ''"

    # -- structure -----------------------------------------------------------------------------------------------

    @contextmanager
    def when(self, condition: Text | None, scope: Scope, target: str, keyword: str = "when") -> Iterator[None]:
        """A block that runs only if the condition holds; ``keyword`` is the key it is written under."""
        if condition is None:
            yield
            return
        test = "True"
        key = f"{target}.{keyword}".lstrip(".")
        with self.guard(condition, key):
            self.at(condition.line, key, condition.text)
            code = self.expression(condition, scope, condition=True)
            self.generator.writer.risky |= code.risky
            test = code.text
        with self.generator.writer.block(f"if {test}:"):
            self.generator.writer.line("pass")
            yield

    @contextmanager
    def each(self, path: Text, rule: ObjectRule, scope: Scope, target: str) -> Iterator[Scope]:
        """A loop over the elements of a path for which ``where`` and ``when`` hold."""
        generator, writer = self.generator, self.generator.writer
        self.at(path.line, f"{target}[]", path.text)
        if self._nesting >= MAX_NESTING:
            raise ExpressionError(t(f"each: nested deeper than {MAX_NESTING}", f"each: 嵌套超过 {MAX_NESTING} 层"))
        with self.elements(self.looped(path), scope, leaves(rule)) as inner:
            number = ""
            if _mentions(rule, "$number"):
                number = writer.temp("n")
            with self.when(rule.where, inner, f"{target}[]", "where"):
                if number:
                    writer.line(f"{number} += 1")
                    generator.variables.append({"number": Code(number)})
                try:
                    with self.when(rule.when, inner, f"{target}[]"):
                        yield inner
                finally:
                    if number:
                        generator.variables.pop()
            if number:
                self._before_loop(f"{number} = 0", scope)

    @contextmanager
    def distinct(self, value: Text | None, scope: Scope, target: str, seen: str) -> Iterator[None]:
        """A block that runs only for the first entry of its list with this value; ``seen`` names what came before."""
        if value is None:
            yield
            return
        key, name = f"{target}.distinct", "''"
        with self.guard(value, key):
            self.at(value.line, key, value.text)
            code = self.expression(value, scope)
            name = self.generator.keep(code if code.kind == "text" else Code(f"plain_text({code.text})", "text", True))
        with self.generator.writer.block(f"if {name} not in {seen}:"):
            self.generator.writer.line(f"{seen}[{name}] = True")
            yield

    def _before_loop(self, statement: str, scope: Scope) -> None:
        writer = self.generator.writer
        writer.place(writer.loop_depth - 1, [statement], {})

    @contextmanager
    def elements(self, path: Node, scope: Scope, weight: int, *, only_first: bool = False) -> Iterator[Scope]:
        """A loop over everything a path reaches, or a value holds."""
        generator, writer = self.generator, self.generator.writer
        if isinstance(path, PathNode):
            found = generator.source.elements(generator, path, scope)
        else:
            found = Elements(f"as_list({generator.keep(generator.everything(path, scope))})", "value")
        plain = generator.charged(found.plain, weight) if not only_first else writer.assign(found.plain)
        grouped = found.grouped.replace(found.plain, plain, 1) if found.grouped else ""
        element = writer.temp("e")
        members = f"{element}_members"

        def header(body: str) -> str:
            cut = "[:1]" if only_first else ""
            if grouped and members in body:
                return f"for {element}, {members} in {grouped}{cut}:"
            return f"for {element} in {plain}{cut}:"

        self._nesting += 1
        try:
            with writer.loop(header):
                writer.line("pass")
                yield Scope(found.kind, element, scope, writer.loop_depth, members if grouped else "")
        finally:
            self._nesting -= 1

    @contextmanager
    def include(self, rule: ObjectRule, scope: Scope, target: str) -> Iterator[tuple[Document, Scope]]:
        """The fields of another mapping in the place of this rule, relative paths from its element; once, or not at all."""
        name = rule.include
        if name is None:
            raise ExpressionError(t("nothing to include", "没有要包含的映射"))
        found = self.find(name.text)
        if found is None:
            raise ExpressionError(
                t(f"there is no mapping {name.text!r}", f"没有映射 {name.text!r}"),
                remedy=t(
                    "names are paths below the mappings folder, without .yaml", "名称为映射目录下的路径，不带 .yaml"
                ),
            )
        chain = [document.name for document in (*self._documents, self.document)]
        if found.name in chain:
            circle = " > ".join([*chain[chain.index(found.name) :], found.name])
            raise ExpressionError(
                t(f"mappings include each other: {circle}", f"映射循环包含：{circle}"),
                remedy=t("leave one of them out", "请去掉其一"),
            )
        if len(chain) > MAX_INCLUDES:
            raise ExpressionError(
                t(f"include: nested deeper than {MAX_INCLUDES}", f"include: 嵌套超过 {MAX_INCLUDES} 层"),
                remedy=t("put the innermost ones into one file", "请把最内层的合并为一个文件"),
            )
        for stated, own, what in (
            (found.source_codec, self.document.source_codec, "from.codec"),
            (found.target_codec, self.document.target_codec, "to.codec"),
        ):
            if stated and stated != own:
                raise ExpressionError(
                    t(
                        f"{found.name} has {what} {stated}, this mapping {own}",
                        f"{found.name} 的 {what} 为 {stated}，本映射为 {own}",
                    )
                )
        self.included[found.name] = found
        self._counted()
        if rule.without:
            found, missing = without(found, rule.without)
            for one in missing:
                self.problem(
                    one.line,
                    f"{target}.without".lstrip("."),
                    t(f"{found.name} has no field {one.text!r}", f"{found.name} 没有字段 {one.text!r}"),
                    t("name it as it is written there", "请按其中的写法书写"),
                )
        if rule.origin is None:
            with self._inside(found, scope):
                yield found, scope
            return
        self.at(rule.origin.line, target, rule.origin.text)
        with self.elements(self.looped(rule.origin), scope, 1, only_first=True) as inner, self._inside(found, inner):
            yield found, inner

    @contextmanager
    def _inside(self, document: Document, scope: Scope) -> Iterator[None]:
        self._documents.append(self.document)
        self.document = document
        try:
            with self.declared(scope):
                yield
        finally:
            self.document = self._documents.pop()

    @contextmanager
    def declared(self, scope: Scope) -> Iterator[None]:
        """The variables of the present file, computed once, in the order written."""
        names: dict[str, Code] = {}
        self.generator.variables.append(names)
        try:
            for name, text in self.document.variables.items():
                with self.guard(text, f"vars.{name}"):
                    self.at(text.line, f"vars.{name}", text.text)
                    code = self.expression(text, scope)
                    names[name] = Code(self.generator.keep(code), code.kind)
            yield
        finally:
            self.generator.variables.pop()
