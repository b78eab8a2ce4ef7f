"""From syntax tree to Python source.

The source holds nothing a user wrote except ``repr()`` of constants; names are made here or come from fixed tables. It runs with empty
builtins over the source tree, the context and the function table.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from hub.i18n import t
from hub.mapping.functions.base import Function, check_arguments, lenient
from hub.mapping.nodes import (
    ArrayNode,
    BinaryNode,
    CallNode,
    CompareNode,
    ConditionalNode,
    Constant,
    DictNode,
    ExpressionError,
    FilterNode,
    LiteralNode,
    LogicNode,
    NegateNode,
    Node,
    NotNode,
    PathNode,
    StepNode,
    VariableNode,
)
from hub.mapping.paths import Code, Scope, SourceFormat
from hub.mapping.paths_hl7_runtime import HL7_RUNTIME
from hub.mapping.runtime import MESSAGE_KEYS, RUNTIME, number_of
from hub.mapping.tables import CodeTable
from hub.mapping.writer import Writer

__all__ = ["MAX_STEPS", "Generator"]

_ARITHMETIC = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}
_ORDER = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_CONTEXT_NAMES = ("settings", "message", "now", "number")
#: Target nodes a run may make, and list items it may look through.
MAX_STEPS = 1_000_000
#: Parentheses in one generated expression before it is broken into statements (CPython gives up at 200).
_MAX_PARENTHESES = 30


def _is_filtered(node: Node) -> bool:
    return isinstance(node, FilterNode) or (isinstance(node, StepNode) and _is_filtered(node.base))


class Generator:
    """Writes the code of expressions of one function."""

    def __init__(
        self,
        source: SourceFormat,
        functions: Mapping[str, Function],
        find_table: Callable[[str], CodeTable | None] | None = None,
        writer: Writer | None = None,
    ) -> None:
        self.source = source
        self.functions = functions
        self.find_table = find_table
        self.writer = writer or Writer()
        self.root = Scope("root", "tree")
        self.budget = MAX_STEPS
        self.place = ("", "")  # mapping and target field that are being written
        self.variables: list[dict[str, Code]] = [{}]
        self.unknown_variables: set[str] = set()
        self.inlined = 0  # calls of definitions so far
        self.namespace: dict[str, Any] = {
            "__builtins__": {},
            "dict": dict,
            "len": len,
            "list": list,
            "str": str,
            "type": type,
            **RUNTIME,
            **HL7_RUNTIME,
        }

    def constant(self, value: object) -> str:
        """The name under which the generated code finds an object."""
        name = f"k{len(self.namespace)}"
        self.namespace[name] = value
        return name

    def literal(self, value: Constant) -> str:
        return self.constant(value) if isinstance(value, Decimal) else repr(value)

    # -- expressions ---------------------------------------------------------------------------------------------

    def compile(self, node: Node, scope: Scope) -> Code:
        """The code of an expression; reads and loops it needs are written as statements before it."""
        code = self._compile(node, scope)
        if code.text.count("(") > _MAX_PARENTHESES:
            return Code(self.keep(code), code.kind)
        return code

    def keep(self, code: Code) -> str:
        """Bind a value to a name, because it is used more than once."""
        if code.risky:
            self.writer.risky = True
        return self.writer.assign(code.text)

    def condition(self, node: Node, scope: Scope) -> str:
        """The code of an expression that is only asked whether it holds."""
        code = self.compile(self.source.as_condition(node), scope)
        if code.risky:
            self.writer.risky = True
        return code.text

    @contextmanager
    def matching(self, elements: str, condition: Node | None, kind: str, origin: Scope) -> Iterator[str]:
        """A loop over the elements for which a condition holds; gives the variable of the element."""
        element = self.writer.temp("e")
        elements = self.charged(elements)
        with self.writer.loop(f"for {element} in {elements}:"):
            scope = Scope(kind, element, origin.here or origin, self.writer.loop_depth)
            test = "True" if condition is None else self.condition(condition, scope)
            with self.writer.block(f"if {test}:"):
                yield element

    def charged(self, elements: str, weight: int = 1) -> str:
        """A variable with a sized iterable whose length, times a weight, is taken off what the run may still spend."""
        name = self.writer.assign(elements)
        self.writer.line(f"left -= len({name}) * {weight}" if weight != 1 else f"left -= len({name})")
        self.writer.line("if left < 0: over_budget()")
        return name

    def _compile(self, node: Node, scope: Scope) -> Code:
        match node:
            case LiteralNode():
                return Code(self.literal(node.value), "text" if isinstance(node.value, str) else "any")
            case PathNode():
                return self.source.scalar(self, node, scope)
            case CallNode():
                return self._call(node, scope)
            case VariableNode():
                return self._variable(node)
            case StepNode():
                return self._step(node, scope)
            case FilterNode():
                found = self._filtered(node, scope, every=False)
                return Code(f"({found}[0] if {found} else None)")
            case ConditionalNode():
                return self._conditional(node, scope)
            case LogicNode():
                return self._logic(node, scope)
            case CompareNode():
                return self._compare(node, scope)
            case NotNode():
                operand = self.compile(self.source.as_condition(node.operand), scope)
                return Code(f"(not {operand.text})", "bool", operand.risky)
            case NegateNode():
                return Code(f"negate({self.compile(node.operand, scope).text})", "any", True)
            case BinaryNode():
                left, right = self.compile(node.left, scope), self.compile(node.right, scope)
                return Code(f"{_ARITHMETIC[node.operator]}({left.text}, {right.text})", "any", True)
            case ArrayNode():
                items = [self.compile(item, scope) for item in node.items]
                return Code(f"[{', '.join(item.text for item in items)}]", "list", any(item.risky for item in items))
            case DictNode():
                raise ExpressionError(
                    t("{…} stands only in match({…})", "{…} 只能用于 match({…})"),
                    node.at,
                    t("build objects in the shape of the target, in YAML", "对象请在 YAML 中按目标结构书写"),
                )
        raise ExpressionError(t("not an expression", "不是表达式"), node.at)

    def _conditional(self, node: ConditionalNode, scope: Scope) -> Code:
        test = self.compile(self.source.as_condition(node.test), scope)
        with self.writer.capture() as first:
            then = self.compile(node.then, scope)
        with self.writer.capture() as second:
            otherwise = self.compile(node.otherwise, scope)
        kind = then.kind if then.kind == otherwise.kind else "any"
        if not first.risky and not second.risky:
            self.writer.splice(first, share=True)
            self.writer.splice(second, share=True)
            risky = test.risky or then.risky or otherwise.risky
            return Code(f"({then.text} if {test.text} else {otherwise.text})", kind, risky)
        result = self.writer.temp()
        for header, captured, code in ((f"if {test.text}:", first, then), ("else:", second, otherwise)):
            with self.writer.block(header):
                self.writer.splice(captured)
                self.writer.line(f"{result} = {code.text}")
        self.writer.risky = True
        return Code(result, kind)

    def _logic(self, node: LogicNode, scope: Scope) -> Code:
        left = self.compile(node.left, scope)
        with self.writer.capture() as captured:
            right = self.compile(node.right, scope)
        kind = left.kind if left.kind == right.kind else "any"
        if not captured.risky:
            self.writer.splice(captured, share=True)
            return Code(f"({left.text} {node.operator} {right.text})", kind, left.risky or right.risky)
        result = self.writer.temp()
        self.writer.line(f"{result} = {left.text}")
        with self.writer.block(f"if {result}:" if node.operator == "and" else f"if not {result}:"):
            self.writer.splice(captured)
            self.writer.line(f"{result} = {right.text}")
        self.writer.risky = True
        return Code(result, kind)

    def _compare(self, node: CompareNode, scope: Scope) -> Code:
        operator = node.operator
        if operator in _ORDER:
            left, right = self.compile(node.left, scope), self.compile(node.right, scope)
            literal = node.right.value if isinstance(node.right, LiteralNode) else None
            if left.kind == "text" and isinstance(literal, str) and literal and number_of(literal) is None:
                name = self.keep(left)  # a text that is no number is ordered as text only
                return Code(f"({name} != '' and {name} {operator} {literal!r})", "bool")
            return Code(f"{_ORDER[operator]}({left.text}, {right.text})", "bool", True)
        if operator in ("in", "not in"):
            return self._membership(node, scope)
        not_ = "" if operator == "==" else "not "
        left, right = self.compile(node.left, scope), self.compile(node.right, scope)
        for code, other in ((left, node.right), (right, node.left)):
            if not isinstance(other, LiteralNode):
                continue
            if other.value is None:
                return Code(f"({not_}{self.absent(code)})", "bool", code.risky)
            if isinstance(other.value, str) and (code.kind == "text" or number_of(other.value) is None):
                return Code(f"({code.text} {operator} {other.value!r})", "bool", code.risky)
        if left.kind == "text" and right.kind == "text":
            return Code(f"({left.text} {operator} {right.text})", "bool", left.risky or right.risky)
        return Code(f"({not_}equal({left.text}, {right.text}))", "bool", left.risky or right.risky)

    def _membership(self, node: CompareNode, scope: Scope) -> Code:
        member = self.compile(node.left, scope)
        if isinstance(node.right, ArrayNode) and all(isinstance(item, LiteralNode) for item in node.right.items):
            values = [item.value for item in node.right.items if isinstance(item, LiteralNode)]
            if member.kind == "text" and all(isinstance(value, str) for value in values):
                return Code(f"({member.text} {node.operator} {self.constant(frozenset(values))})", "bool", member.risky)
            if all(isinstance(value, str) and number_of(value) is None for value in values):
                # Only the same text is equal to a text that is no number.
                name, not_ = self.keep(member), "not " if node.operator == "not in" else ""
                return Code(f"({not_}(type({name}) is str and {name} in {self.constant(frozenset(values))}))", "bool")
        whole = self.compile(node.right, scope)
        if whole.kind == "list" and not isinstance(node.right, ArrayNode):
            whole = Code(self.charged(self.keep(whole)), "list")
        not_ = "not " if node.operator == "not in" else ""
        risky = member.risky or whole.risky or not isinstance(node.right, ArrayNode)
        return Code(f"({not_}contains({member.text}, {whole.text}))", "bool", risky)

    def absent(self, code: Code) -> str:
        """A test that there is no value; the value must be cheap to evaluate twice or is kept."""
        if code.kind == "text":
            return f"({code.text} == '')"
        name = self.keep(code)
        return f"({name} is None or {name} == '')"

    # -- variables -----------------------------------------------------------------------------------------------

    def _variable(self, node: VariableNode) -> Code:
        for names in reversed(self.variables):
            if node.name in names:
                return names[node.name]
        if node.name == "now":
            return Code(self.writer.read(0, ("now",), "instant_text(ctx.now_us)"), "text")
        if node.name == "number":
            raise ExpressionError(t("$number is known inside each: only", "$number 仅在 each: 内可用"), node.at)
        if node.name == "source":
            return Code("tree")
        if node.name in ("settings", "message"):
            raise ExpressionError(
                t(f"${node.name} as a whole is not a value", f"不能整体使用 ${node.name}"),
                node.at,
                t(f"name a member: ${node.name}.…", f"请指明成员：${node.name}.…"),
            )
        self.unknown_variables.add(node.name)
        return Code(self.writer.read(0, ("variable", node.name), f"ctx.variables.get({node.name!r})"))

    def _step(self, node: StepNode, scope: Scope) -> Code:
        if isinstance(node.base, VariableNode) and not any(node.base.name in names for names in self.variables):
            name, key = node.base.name, str(node.step)
            if name == "settings":
                return Code(self.writer.read(0, ("setting", key), f"ctx.settings.get({key!r})"))
            if name == "message":
                if key not in MESSAGE_KEYS:
                    raise ExpressionError(
                        t(f"$message has no {key!r}", f"$message 没有 {key!r}"),
                        node.at,
                        t(f"it has {', '.join(MESSAGE_KEYS)}", f"可用：{', '.join(MESSAGE_KEYS)}"),
                    )
                return Code(self.writer.read(0, ("message", key), f"message_value(ctx.message, {key!r})"))
        base = self.compile(node.base, scope)
        access = "item" if isinstance(node.step, int) else "member"
        return Code(f"{access}({base.text}, {node.step!r})", "any", base.risky)

    def _filtered(self, node: FilterNode, scope: Scope, *, every: bool) -> str:
        """A variable with the list of the items of a value for which a condition holds; of several the first, unless ``every``."""
        items = self.writer.assign(f"as_list({self.keep(self.compile(node.base, scope))})")
        found = self.writer.temp()
        self.writer.line(f"{found} = []")
        with self.matching(items, node.condition, "value", scope) as element:
            self.writer.line(f"{found}.append({element})")
            if not every:
                self.writer.line("break")
        return found

    def everything(self, node: Node, scope: Scope) -> Code:
        """A value in the place of a list: of ``$x.list[condition].key`` every item's."""
        if isinstance(node, FilterNode):
            return Code(self._filtered(node, scope, every=True), "list")
        if isinstance(node, StepNode) and _is_filtered(node.base):
            access = "item" if isinstance(node.step, int) else "member"
            values = self.charged(self.everything(node.base, scope).text)
            return Code(self.writer.assign(f"each_one({access}, {values}, {node.step!r})"), "list")
        return self.compile(node, scope)

    # -- calls ---------------------------------------------------------------------------------------------------

    def function(self, node: CallNode) -> Function:
        found = self.functions.get(node.name)
        if found is None:
            near = difflib.get_close_matches(node.name, self.functions, 3)
            raise ExpressionError(
                t(f"there is no function {node.name!r}", f"没有函数 {node.name!r}"),
                node.at,
                t(f"did you mean {', '.join(near)}?", f"是否为 {', '.join(near)}？") if near else "",
            )
        return found

    def _call(self, node: CallNode, scope: Scope) -> Code:
        function = self.function(node)
        parameters = check_arguments(function, node)
        if function.emit is not None:
            return function.emit(self, node, scope)
        call, name, node = lenient(function, node)
        codes: list[Code] = []
        first = Code("''")
        memorable = function.memo and self.writer.loop_depth > 0 and not node.keywords
        for position, (argument, parameter) in enumerate(zip(node.arguments, parameters, strict=False)):
            code = self.argument(argument, scope, as_list=parameter in function.lists)
            first = code if position == 0 else first
            codes.append(code)
            memorable = memorable and code.kind == "text"
        if function.inline and len(codes) == 1 and first.kind == "text" and not node.keywords:
            return Code(function.inline.format(first.text), "text", first.risky)
        texts = [code.text for code in codes]
        texts += [
            f"{keyword}={self.argument(value, scope, as_list=keyword in function.lists).text}"
            for keyword, value in node.keywords
        ]
        self.namespace[name] = call
        if memorable:
            return Code(self._remembered(name, node, codes), function.returns, True)
        return Code(f"{name}({', '.join(texts)})", function.returns, True)

    def memo(self, name: str) -> str:
        """A dict that lives as long as a run: for what loops compute of the same texts again and again."""
        return self.writer.read(0, ("memo", name), "{}")

    def _remembered(self, name: str, node: CallNode, codes: list[Code]) -> str:
        """A call whose arguments are texts, made once for the same ones."""
        names = [
            code.text if isinstance(argument, LiteralNode) else self.keep(code)
            for argument, code in zip(node.arguments, codes, strict=True)
        ]
        variable = [text for text in names if text.isidentifier()]
        constants = "|".join("" if text.isidentifier() else text for text in names)
        memo = self.memo(f"{name}({constants})")
        call = f"{name}({', '.join(names)})"
        if len(variable) == 1:
            return f"({memo}[{variable[0]}] if {variable[0]} in {memo} else {memo}.setdefault({variable[0]}, {call}))"
        key = self.writer.temp()
        return f"({memo}[{key}] if ({key} := ({', '.join(variable)},)) in {memo} else {memo}.setdefault({key}, {call}))"

    def argument(self, node: Node, scope: Scope, *, as_list: bool) -> Code:
        """An argument; in a list position a path means everything it reaches."""
        if as_list and isinstance(node, PathNode):
            return Code(self.charged(self.source.values(self, node, scope).text), "list")
        if as_list and isinstance(node, CallNode) and (function := self.function(node)).emit_list is not None:
            check_arguments(function, node)
            return Code(self.charged(function.emit_list(self, node, scope).text), "list")
        return self.everything(node, scope) if as_list else self.compile(node, scope)

    def declared(self, name: str) -> bool:
        """Whether a variable of this name is made by the mapping or the context itself."""
        return name in _CONTEXT_NAMES or any(name in names for names in self.variables)
