"""How paths into XML are written: see :mod:`hub.mapping.paths_xml` for what they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from hub.i18n import t
from hub.mapping.expression import KEYWORDS
from hub.mapping.nodes import CompareNode, LiteralNode, LogicNode, Node, NotNode, PathNode

if TYPE_CHECKING:
    from hub.mapping.expression import Parser

__all__ = ["HL7_V3", "PREFIXES", "PREFIXES_V3", "XmlPathParser", "XmlPredicate", "XmlStep", "as_condition"]

HL7_V3 = "urn:hl7-org:v3"
#: Prefixes everybody means the same by.
PREFIXES = {
    "xml": "http://www.w3.org/XML/1998/namespace",
    "xsi": "http://www.w3.org/2001/XMLSchema-instance",
}
PREFIXES_V3 = {"v3": HL7_V3, "sdtc": "urn:hl7-org:sdtc", "voc": "urn:hl7-org:v3/voc"}
#: XML 1.0, 2.3, without the colon; digits, dots and hyphens not at its start, dots and hyphens not at its end.
_NAME = re.compile(r"[^\W\d](?:[\w.\-]*\w)?")
_CALL = re.compile(r"\s*\(")
_EMPTY_CALL = re.compile(r"\(\s*\)")
_INDEX = re.compile(r"\d{1,6}(?=\s*\])", re.ASCII)
_LAST = re.compile(r"last\s*\(\s*\)\s*(?=\])")
_MAX_STEPS = 60


@dataclass(frozen=True, slots=True)
class XmlPredicate:
    """``index`` counts from 1 among the children of one parent, -1 is the last, 0: it is a condition."""

    index: int = 0
    condition: Node | None = None


@dataclass(frozen=True, slots=True)
class XmlStep:
    """``tags``: what lxml looks for, one of them is enough. ``name``: of an attribute, with its namespace in braces.

    ``test`` ends the path of a comparison inside a predicate: whether one of the values is (``==``), or is not (``!=``), that
    of ``literal`` or ``other``.
    """

    kind: Literal["child", "descendant", "attribute", "text", "name", "test"]
    tags: tuple[str, ...] = ()
    name: str = ""
    predicates: tuple[XmlPredicate, ...] = ()
    operator: str = ""
    literal: str | None = None
    other: Node | None = None


_NAME_STEP = XmlStep("name")


class XmlPathParser:
    """Reads paths with the prefixes of one mapping: ``namespaces`` and ``v3`` as :class:`~hub.mapping.paths_xml.XmlFormat` has them."""

    def __init__(self, namespaces: Mapping[str, str], *, v3: bool) -> None:
        self._namespaces = PREFIXES | (PREFIXES_V3 if v3 else {}) | dict(namespaces)
        self._v3 = v3

    def parse(self, parser: Parser) -> PathNode | None:
        """The path at the cursor of ``parser``, which is moved behind it; None, and nothing moved, when there is none."""
        start = parser.at
        up = 0
        while parser.accept("."):
            up += 1
        steps: list[XmlStep] = []
        if up:
            if parser.peek() == "/":
                if up > 1:
                    raise parser.error(
                        t("there is no way to the parent", "不能取父元素"),
                        t(
                            "one dot is the current element, two the element of the each: around it: ..name",
                            "一个点为当前元素，两个点为外层 each: 的元素：..name",
                        ),
                        at=start,
                    )
            elif self._begins_step(parser):
                steps.append(self._step(parser, "child"))
        elif parser.peek() == "/":
            pass
        elif self._is_path(parser):
            steps.append(self._step(parser, "child"))
            up = 1 if parser.in_filter else 0
            if steps[0].kind != "child" and not up:
                raise parser.error(
                    t("the document itself has only its root element", "文档本身只有根元素"),
                    t("write root/@name, or .@name inside each:", "请写 root/@name，或在 each: 内写 .@name"),
                    at=start,
                )
        else:
            return None
        while parser.peek() == "/":
            if steps and steps[-1].kind not in ("child", "descendant"):
                raise parser.error(t("nothing can follow here", "此处之后不能再有步骤"))
            parser.at += 1
            kind: Literal["child", "descendant"] = "descendant" if parser.accept("/") else "child"
            steps.append(self._step(parser, kind))
            if len(steps) > _MAX_STEPS:
                raise parser.error(t(f"path with more than {_MAX_STEPS} steps", f"路径超过 {_MAX_STEPS} 步"))
        return PathNode(start, up, tuple(steps), parser.text[start : parser.at])

    def _begins_step(self, parser: Parser) -> bool:
        return parser.peek() in ("@", "*") or _NAME.match(parser.text, parser.at) is not None

    def _is_path(self, parser: Parser) -> bool:
        """Whether a path begins at a place where a function, a keyword or a value may stand too."""
        if parser.peek() in ("@", "*"):
            return True
        found = _NAME.match(parser.text, parser.at)
        if not found or found[0] in KEYWORDS:
            return False
        if not _CALL.match(parser.text, found.end()):
            return True
        return bool(parser.in_filter and found[0] in ("text", "name") and _EMPTY_CALL.match(parser.text, found.end()))

    def _step(self, parser: Parser, kind: Literal["child", "descendant"]) -> XmlStep:
        at = parser.at
        attribute = kind == "child" and parser.accept("@")
        prefix, name = self._qualified(parser)
        if not name:
            raise parser.error(
                t(
                    "a step expected: name, *, @name, text() or name()",
                    "此处应为步骤：name、*、@name、text() 或 name()",
                ),
                t("division and subtraction need blanks: a / 2, a - 1", "除法、减法须加空格：a / 2、a - 1"),
                at=at,
            )
        if attribute:
            if name == "*" or prefix == "*":
                raise parser.error(t("name one attribute", "请指明属性名"), at=at)
            return XmlStep("attribute", name=self._clark(parser, prefix, name, at) if prefix else name)
        if not prefix and name in ("text", "name") and parser.match(_EMPTY_CALL):
            if kind == "descendant":
                raise parser.error(t(f"write //*/{name}()", f"请写 //*/{name}()"), at=at)
            return XmlStep("text" if name == "text" else "name")
        if parser.peek() == "(":
            raise parser.error(
                t(f"{name}() is not a step", f"{name}() 不是步骤"),
                t("functions follow |: a/b | upper", "函数写在 | 之后：a/b | upper"),
                at=at,
            )
        predicates: list[XmlPredicate] = []
        while parser.accept("["):
            predicates.append(self._predicate(parser))
        return XmlStep(kind, self._tags(parser, prefix, name, at), predicates=tuple(predicates))

    def _qualified(self, parser: Parser) -> tuple[str, str]:
        """(prefix, name); either may be ``*``."""
        first = "*" if parser.accept("*") else parser.match(_NAME)
        if not first or parser.peek() != ":":
            return "", first
        parser.at += 1
        return first, "*" if parser.accept("*") else parser.match(_NAME)

    def _clark(self, parser: Parser, prefix: str, name: str, at: int) -> str:
        uri = self._namespaces.get(prefix)
        if uri is None:
            raise parser.error(
                t(f"the prefix {prefix!r} is not declared", f"前缀 {prefix!r} 未声明"),
                t(
                    f"from: {{codec: …, namespaces: {{{prefix}: 'urn:…'}}}}, or *:{name} for every namespace",
                    f"from: {{codec: …, namespaces: {{{prefix}: 'urn:…'}}}}，或写 *:{name} 表示任意命名空间",
                ),
                at=at,
            )
        return f"{{{uri}}}{name}"

    def _tags(self, parser: Parser, prefix: str, name: str, at: int) -> tuple[str, ...]:
        if prefix == "*":
            return (f"{{*}}{name}" if name != "*" else "*",)
        if prefix:
            return (self._clark(parser, prefix, name, at),)
        if name == "*":
            return ("*",)
        default = self._namespaces.get("")
        if default is not None:
            return (f"{{{default}}}{name}" if default else name,)
        return (f"{{{HL7_V3}}}{name}", name) if self._v3 else (f"{{*}}{name}",)

    def _predicate(self, parser: Parser) -> XmlPredicate:
        parser.space()
        if number := parser.match(_INDEX):
            parser.expect("]", t("to close [", "以闭合 [ "))
            if int(number) == 0:
                raise parser.error(t("elements count from 1", "元素从 1 起计"))
            return XmlPredicate(int(number))
        if parser.match(_LAST):
            parser.expect("]", t("to close [", "以闭合 [ "))
            return XmlPredicate(-1)
        parser.in_filter += 1
        condition = parser.expression()
        parser.in_filter -= 1
        parser.expect("]", t("to close the predicate", "以闭合谓词"))
        return XmlPredicate(condition=_as_xpath(condition))


def as_condition(node: Node) -> Node:
    """A condition in which a path of elements asks whether there are any, whatever is in them."""
    match node:
        case PathNode() if node.steps and node.steps[-1].kind in ("child", "descendant"):
            return replace(node, steps=(*node.steps, _NAME_STEP))
        case LogicNode():
            return replace(node, left=as_condition(node.left), right=as_condition(node.right))
    return node


def _as_xpath(node: Node) -> Node:
    """The condition of a predicate: ``=`` and ``!=`` hold when they hold for one of the nodes."""
    match node:
        case NotNode():
            return replace(node, operand=_as_xpath(node.operand))
        case LogicNode():
            return replace(node, left=_as_xpath(node.left), right=_as_xpath(node.right))
        case CompareNode() if node.operator in ("==", "!="):
            for path, other in ((node.left, node.right), (node.right, node.left)):
                if not isinstance(path, PathNode) or path.up != 1:
                    continue
                if isinstance(other, LiteralNode) and other.value is None:
                    return node
                if isinstance(other, LiteralNode) and isinstance(other.value, str):
                    end = XmlStep("test", operator=node.operator, literal=other.value)
                else:
                    end = XmlStep("test", operator=node.operator, other=other)
                return replace(path, steps=(*path.steps, end))
    return node
