"""Parser of the expression language.

A recursive descent straight over the characters, because the paths are native to the source format: ``PID-5.1`` is one
path in HL7 v2 and a subtraction anywhere else. Precedence is Python's, ``|`` included; loosest first::

    a if c else b    or    and    not    == != < <= > >= in not in    |    + -    * /    unary -    [n] .key
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import ClassVar, Protocol

from hub.i18n import t
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

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "Parser", "PathSyntax", "parse_expression"]

#: Longest expression, in characters.
MAX_LENGTH = 8_000
#: Deepest nesting of parentheses, calls, filters and operators.
MAX_DEPTH = 40

KEYWORDS = frozenset({"and", "or", "not", "in", "if", "else", "true", "false", "null", "True", "False", "None"})
_VALUES: dict[str, Constant] = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "null": None,
    "None": None,
}
_SPACE = re.compile(r"[ \t\r\n]*")
_NAME = re.compile(r"[^\W\d]\w*")
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_PLAIN = re.compile(r"[^\\'\"]+")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "/": "/"}
#: What stands alone in brackets behind a value; anything else is a condition.
_INDEX_OR_KEY = re.compile(r"""(?:-?\d+|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*\]""")
_MAX_DIGITS = 40


class PathSyntax(Protocol):
    """The part of a source format the parser needs."""

    #: Inside filters ``=`` compares, as in XPath.
    single_equals: ClassVar[bool]
    #: Variables hold values like those of the source, so that its paths can go on from an item of one.
    plain: ClassVar[bool]

    def parse_path(self, parser: Parser) -> PathNode | None:
        """The path at ``parser.at``, which is moved behind it; None, and nothing moved, when there is none."""

    def path_help(self) -> str:
        """How a path looks, for error texts."""


class Parser:
    """One expression on its way from text to tree. Raises nothing but :class:`ExpressionError`."""

    def __init__(self, text: str, syntax: PathSyntax) -> None:
        self.text = text
        self.at = 0
        self.in_filter = 0  # how many path filters are open: some formats read bare names differently there
        self._syntax = syntax
        self._depth = 0

    # -- characters ----------------------------------------------------------------------------------------------

    def space(self) -> None:
        found = _SPACE.match(self.text, self.at)
        if found:
            self.at = found.end()

    def peek(self, offset: int = 0) -> str:
        """The character at the cursor, "" at the end."""
        return self.text[self.at + offset : self.at + offset + 1]

    def accept(self, token: str) -> bool:
        """Move past a piece of punctuation if it is next."""
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        return False

    def expect(self, token: str, purpose: str) -> None:
        self.space()
        if not self.accept(token):
            raise self.error(
                t(
                    f"{token!r} expected {purpose}, found {self._next()}",
                    f"{purpose}处应为 {token!r}，实为 {self._next()}",
                )
            )

    def match(self, pattern: re.Pattern[str]) -> str:
        """Move past a pattern and return what it matched, "" when it did not."""
        found = pattern.match(self.text, self.at)
        if not found:
            return ""
        self.at = found.end()
        return found[0]

    def word(self) -> str:
        """The name at the cursor, which stays."""
        found = _NAME.match(self.text, self.at)
        return found[0] if found else ""

    def accept_word(self, word: str) -> bool:
        self.space()
        if self.word() == word:
            self.at += len(word)
            return True
        return False

    def error(self, text: str, remedy: str = "", at: int | None = None) -> ExpressionError:
        return ExpressionError(text, self.at if at is None else at, remedy)

    def _next(self) -> str:
        rest = self.text[self.at : self.at + 12]
        return repr(rest) if rest else t("the end", "结尾")

    # -- grammar -------------------------------------------------------------------------------------------------

    def parse(self) -> Node:
        """The whole text as one expression."""
        if len(self.text) > MAX_LENGTH:
            raise ExpressionError(
                t(f"expression longer than {MAX_LENGTH} characters", f"表达式超过 {MAX_LENGTH} 个字符"),
                remedy=t("split it up with vars:", "请用 vars: 拆分"),
            )
        node = self.expression()
        self.space()
        if self.at < len(self.text):
            raise self.error(
                t(f"unexpected {self._next()}", f"多余的 {self._next()}"),
                t("texts stand in quotes; a function follows |", "文本须加引号；函数写在 | 之后"),
            )
        return node

    def expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.error(
                t(f"nested deeper than {MAX_DEPTH} levels", f"嵌套超过 {MAX_DEPTH} 层"),
                t("split it up with vars:", "请用 vars: 拆分"),
            )
        node = self._or()
        self.space()
        at = self.at
        if self.accept_word("if"):
            test = self._or()
            if not self.accept_word("else"):
                raise self.error(
                    t("'else' expected: a if condition else b", "缺少 'else'：应为 a if 条件 else b"), at=self.at
                )
            node = ConditionalNode(at, test, node, self.expression())
        self._depth -= 1
        return node

    def _or(self) -> Node:
        node = self._and()
        count = 0
        while self.accept_word("or"):
            count = self._chain(count)
            node = LogicNode(node.at, "or", node, self._and())
        return node

    def _and(self) -> Node:
        node = self._not()
        count = 0
        while self.accept_word("and"):
            count = self._chain(count)
            node = LogicNode(node.at, "and", node, self._not())
        return node

    def _not(self) -> Node:
        self.space()
        at = self.at
        if self.accept_word("not"):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise self.error(t(f"nested deeper than {MAX_DEPTH} levels", f"嵌套超过 {MAX_DEPTH} 层"))
            node: Node = NotNode(at, self._not())
            self._depth -= 1
            return node
        return self._comparison()

    def _comparison_operator(self) -> str:
        self.space()
        for token in ("==", "!=", "<=", ">=", "<", ">"):
            if self.accept(token):
                return token
        if self.peek() == "=":
            if self.in_filter and self._syntax.single_equals:
                self.at += 1
                return "=="
            raise self.error(t("'=' is not a comparison", "'=' 不是比较运算符"), t("write ==", "请写 =="))
        start = self.at
        if self.accept_word("in"):
            return "in"
        if self.accept_word("not"):
            if self.accept_word("in"):
                return "not in"
            self.at = start
        return ""

    def _comparison(self) -> Node:
        left = self._pipe()
        operator = self._comparison_operator()
        if not operator:
            return left
        node = CompareNode(left.at, operator, left, self._pipe())
        at = self.at
        if self._comparison_operator():
            raise self.error(
                t("comparisons can't be chained", "比较不能连写"),
                t("write a < b and b < c", "请写 a < b and b < c"),
                at=at,
            )
        return node

    def _chain(self, count: int) -> int:
        if count >= MAX_DEPTH * 2:
            raise self.error(
                t(f"more than {MAX_DEPTH * 2} operators in a row", f"连续运算符超过 {MAX_DEPTH * 2} 个"),
                t("split it up with vars:", "请用 vars: 拆分"),
            )
        return count + 1

    def _pipe(self) -> Node:
        node = self._sum()
        count = 0
        while True:
            self.space()
            if self.peek() != "|":
                return node
            count = self._chain(count)
            self.at += 1
            self.space()
            at = self.at
            name = self.match(_NAME)
            if not name:
                raise self.error(
                    t(f"a function expected after |, found {self._next()}", f"| 之后应为函数，实为 {self._next()}")
                )
            positional: tuple[Node, ...] = ()
            keywords: tuple[tuple[str, Node], ...] = ()
            self.space()
            if self.accept("("):
                positional, keywords = self._arguments()
            node = CallNode(at, name, (node, *positional), keywords, piped=True)
            self.space()
            if self.peek() in ("+", "-", "*", "/") and self.peek():
                raise self.error(
                    t(f"{self.peek()!r} can't follow a function", f"函数之后不能直接写 {self.peek()!r}"),
                    t("put parentheses around: (a | f) * 2", "请加括号：(a | f) * 2"),
                )

    def _sum(self) -> Node:
        node = self._product()
        count = 0
        while True:
            self.space()
            operator = self.peek()
            if operator not in ("+", "-") or not operator:
                return node
            count = self._chain(count)
            self.at += 1
            node = BinaryNode(node.at, operator, node, self._product())

    def _product(self) -> Node:
        node = self._unary()
        count = 0
        while True:
            self.space()
            operator = self.peek()
            if operator not in ("*", "/") or not operator:
                if operator == "%":
                    raise self.error(t("'%' is not an operator", "不支持运算符 '%'"))
                return node
            if self.text.startswith("**", self.at):
                raise self.error(t("'**' is not an operator", "不支持运算符 '**'"))
            count = self._chain(count)
            self.at += 1
            node = BinaryNode(node.at, operator, node, self._unary())

    def _unary(self) -> Node:
        self.space()
        at = self.at
        if self.accept("-"):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise self.error(t(f"nested deeper than {MAX_DEPTH} levels", f"嵌套超过 {MAX_DEPTH} 层"))
            operand = self._unary()
            self._depth -= 1
            return NegateNode(at, operand)
        return self._postfix()

    def _postfix(self) -> Node:
        node = self._primary()
        if isinstance(node, PathNode | LiteralNode):
            return node
        count = 0
        while True:
            at = self.at
            if self.peek() == "." and _NAME.match(self.text, self.at + 1):
                self.at += 1
                node = StepNode(at, node, self.match(_NAME))
            elif self.accept("["):
                node = self._in_brackets(at, node)
            else:
                return node
            count = self._chain(count)

    def _in_brackets(self, at: int, node: Node) -> Node:
        """``[0]``, ``['key']``, and in plain trees ``[condition]``, behind a value."""
        self.space()
        start = self.at
        if self._syntax.plain and not _INDEX_OR_KEY.match(self.text, self.at):
            self.in_filter += 1
            condition = self.expression()
            self.in_filter -= 1
            self.expect("]", t("to close the filter", "以闭合过滤条件"))
            return FilterNode(at, node, condition)
        self.at = start
        return StepNode(at, node, self.index_or_key())

    def index_or_key(self) -> str | int:
        """What stands in ``[…]`` on a value: a number (0 is the first, -1 the last) or a quoted key."""
        self.space()
        if self.peek() in ("'", '"') and self.peek():
            step: str | int = self.string()
        else:
            step = self.integer()
        self.expect("]", t("to close [", "以闭合 [ "))
        return step

    def integer(self) -> int:
        found = self.match(re.compile(r"-?\d{1,9}"))
        if not found:
            raise self.error(
                t(f"a number expected, found {self._next()}", f"此处应为数字，实为 {self._next()}"),
            )
        return int(found)

    def _primary(self) -> Node:
        self.space()
        at = self.at
        char = self.peek()
        if char == "(":
            path = self._syntax.parse_path(self)  # a tag of DICOM begins with it: (0010,0010)
            if path is not None:
                return path
            self.at += 1
            node = self.expression()
            self.expect(")", t("to close (", "以闭合 ( "))
            return node
        if char in ("'", '"') and char:
            return LiteralNode(at, self.string())
        if char == "[":
            return self._array()
        if char == "{":
            return self._dict()
        if char.isdigit() and char.isascii():
            return LiteralNode(at, self._number())
        path = self._syntax.parse_path(self)
        if path is not None:
            return path
        if char == "$":
            self.at += 1
            name = self.match(_NAME)
            if not name:
                raise self.error(
                    t("a name expected after $", "$ 之后应为变量名"), t("e.g. $settings.x", "例如 $settings.x")
                )
            return VariableNode(at, name)
        name = self.word()
        if name in _VALUES:
            self.at += len(name)
            return LiteralNode(at, _VALUES[name])
        if name and name not in KEYWORDS:
            self.at += len(name)
            self.space()
            if self.accept("("):
                positional, keywords = self._arguments()
                return CallNode(at, name, positional, keywords, piped=False)
            raise self.error(
                t(f"{name!r} is neither a path nor a function", f"{name!r} 既不是路径也不是函数"),
                t(
                    f"paths look like {self._syntax.path_help()}; texts stand in quotes; a function is called with ()",
                    f"路径形如 {self._syntax.path_help()}；文本须加引号；函数调用须带 ()",
                ),
                at=at,
            )
        raise self.error(t(f"a value expected, found {self._next()}", f"此处应为取值，实为 {self._next()}"))

    def _arguments(self) -> tuple[tuple[Node, ...], tuple[tuple[str, Node], ...]]:
        """Arguments up to and including the closing parenthesis."""
        positional: list[Node] = []
        keywords: list[tuple[str, Node]] = []
        self.space()
        if self.accept(")"):
            return (), ()
        while True:
            self.space()
            keyword = re.compile(r"([^\W\d]\w*)\s*=(?!=)").match(self.text, self.at)
            if keyword:
                if any(name == keyword[1] for name, _ in keywords):
                    raise self.error(t(f"{keyword[1]}= is given twice", f"{keyword[1]}= 重复"))
                self.at = keyword.end()
                keywords.append((keyword[1], self.expression()))
            elif keywords:
                raise self.error(
                    t("a plain argument can't follow a named one", "命名参数之后不能再写位置参数"),
                    t("put the named ones last", "请把命名参数放在最后"),
                )
            else:
                positional.append(self.expression())
            if len(positional) + len(keywords) > 100:
                raise self.error(t("more than 100 arguments", "参数超过 100 个"))
            self.space()
            if self.accept(")"):
                return tuple(positional), tuple(keywords)
            self.expect(",", t("between arguments", "参数之间"))

    def _array(self) -> Node:
        at = self.at
        self.at += 1
        items: list[Node] = []
        while True:
            self.space()
            if self.accept("]"):
                return ArrayNode(at, tuple(items))
            if items:
                self.expect(",", t("between items", "列表项之间"))
            items.append(self.expression())
            if self.word() in ("for", "async"):
                raise self.error(
                    t("there are no comprehensions", "不支持推导式"), t("use each: with where:", "请用 each: 和 where:")
                )

    def _dict(self) -> Node:
        at = self.at
        self.at += 1
        items: list[tuple[Constant, Node]] = []
        while True:
            self.space()
            if self.accept("}"):
                return DictNode(at, tuple(items))
            if items:
                self.expect(",", t("between entries", "条目之间"))
                self.space()
            key = self._primary()
            if not isinstance(key, LiteralNode):
                raise self.error(
                    t("the left side of an entry must be a literal", "条目左侧必须是字面量"),
                    t("write {'M': 'male'}", "请写 {'M': 'male'}"),
                    at=key.at,
                )
            self.expect(":", t("after a key", "键之后"))
            items.append((key.value, self.expression()))

    def _number(self) -> int | float | Decimal:
        at = self.at
        text = self.match(_NUMBER)
        if len(text) > _MAX_DIGITS:
            raise self.error(t(f"number longer than {_MAX_DIGITS} digits", f"数字超过 {_MAX_DIGITS} 位"), at=at)
        if self.word():
            raise self.error(t(f"a number can't be followed by {self.word()!r}", f"数字后不能紧跟 {self.word()!r}"))
        if text.isdigit():
            return int(text)
        exact = Decimal(text)
        near = float(text)
        return near if Decimal(repr(near)) == exact else exact

    def string(self) -> str:
        """The quoted text at the cursor."""
        at = self.at
        quote = self.text[at]
        self.at += 1
        parts: list[str] = []
        while True:
            parts.append(self.match(_PLAIN))
            char = self.peek()
            if not char:
                raise self.error(t("the quote is not closed", "引号未闭合"), at=at)
            self.at += 1
            if char == quote:
                return "".join(parts)
            if char != "\\":
                parts.append(char)
                continue
            escaped = self.peek()
            self.at += 1
            if escaped == "u":
                digits = self.match(re.compile(r"[0-9A-Fa-f]{4}"))
                if not digits or 0xD800 <= int(digits, 16) <= 0xDFFF:
                    raise self.error(
                        t("\\u takes four hexadecimal digits of a character", "\\u 后须为四位十六进制字符码")
                    )
                parts.append(chr(int(digits, 16)))
            elif escaped in _ESCAPES:
                parts.append(_ESCAPES[escaped])
            else:
                # Left as written: patterns such as '\d+' need no doubling.
                parts.append("\\" + escaped)


def parse_expression(text: str, syntax: PathSyntax) -> Node:
    """The syntax tree of an expression; raises :class:`ExpressionError`."""
    return Parser(text, syntax).parse()
