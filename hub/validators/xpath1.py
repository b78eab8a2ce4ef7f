"""XPath 1.0 of schemas, compiled and tried when a schema is loaded: a wrong prefix, variable or function is found then."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from lxml import etree

from hub.i18n import t

__all__ = ["CURRENT", "Query", "XPathError", "compile_xpath", "contexts", "text_of"]

#: The variable that stands for ``current()``, which XSLT adds to XPath.
CURRENT = "current-node"
Query = etree.XPath
_LITERAL = re.compile(r"\"[^\"]*\"|'[^']*'")
_CURRENT_CALL = re.compile(r"\bcurrent\(\s*\)")
_CALL = re.compile(r"([A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?)\s*\(")
_NOT_ELEMENT = re.compile(r"(?:@|attribute::|text\(|comment\(|processing-instruction\(|node\().*\Z", re.DOTALL)
_FUNCTIONS = frozenset(
    [
        "last",
        "position",
        "count",
        "id",
        "local-name",
        "namespace-uri",
        "name",
        "string",
        "concat",
        "starts-with",
        "contains",
        "substring-before",
        "substring-after",
        "substring",
        "string-length",
        "normalize-space",
        "translate",
        "boolean",
        "not",
        "true",
        "false",
        "lang",
        "number",
        "sum",
        "floor",
        "ceiling",
        "round",
        "node",
        "text",
        "comment",
        "processing-instruction",
        "and",
        "or",
        "div",
        "mod",
    ]
)
_PROBE = etree.fromstring(b"<probe/>")


class XPathError(Exception):
    """An expression that can't be used; the text says why."""

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.remedy = remedy


def compile_xpath(text: str, namespaces: dict[str, str], variables: Iterable[str], form: str = "{}") -> Query:
    """``text`` put into ``form``, compiled. Raises :class:`XPathError` for anything XPath 1.0 does not have."""
    bare = _LITERAL.sub("''", text)
    for name in _CALL.findall(_CURRENT_CALL.sub("", bare)):
        if name not in _FUNCTIONS:
            raise XPathError(
                t(f"{name[:40]}() is not a function of XPath 1", f"{name[:40]}() 不是 XPath 1 的函数"),
                t(
                    "write it with contains, starts-with, translate, string-length …",
                    "请用 contains、starts-with、translate、string-length 等改写",
                ),
            )
    pieces = _LITERAL.split(text)
    literals = [*_LITERAL.findall(text), ""]
    whole = "".join(_CURRENT_CALL.sub(f"${CURRENT}", p) + q for p, q in zip(pieces, literals, strict=True))
    try:
        query = etree.XPath(form.format(whole), namespaces=namespaces, regexp=False, smart_strings=False)
        query(_PROBE, **{name: [] for name in variables})
    except (etree.XPathError, ValueError) as error:
        raise XPathError(
            t(f"not XPath 1: {error}", f"不是 XPath 1：{error}"),
            t("correct the expression; prefixes are declared by ns", "请更正表达式；前缀由 ns 声明"),
        ) from None
    return query


def contexts(text: str) -> tuple[list[str], bool]:
    """The context of a rule, a pattern of XSLT, as queries from the root; and whether it is the document itself.

    Raises :class:`XPathError` for contexts that are no elements.
    """
    if text.strip() == "/":
        return [], True
    queries = []
    for alternative in _alternatives(text):
        alternative = alternative.strip()
        last = _last_step(alternative)
        if _NOT_ELEMENT.match(last) or not last:
            raise XPathError(
                t("the context must be elements", "context 须为元素"),
                t(
                    "use the element as context and test its attribute or text",
                    "请以元素为 context，在 test 中检查其属性或文本",
                ),
            )
        queries.append(alternative if alternative.startswith("/") else f"//{alternative}")
    return queries, False


def _alternatives(text: str) -> list[str]:
    """The parts between ``|`` that stand in no predicate and no literal."""
    parts, depth, start = [], 0, 0
    masked = _LITERAL.sub(lambda found: "_" * len(found[0]), text)
    for at, char in enumerate(masked):
        depth += (char in "[(") - (char in "])")
        if char == "|" and not depth:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def _last_step(path: str) -> str:
    masked = _LITERAL.sub(lambda found: "_" * len(found[0]), path)
    depth, last = 0, 0
    for at, char in enumerate(masked):
        depth += (char in "[(") - (char in "])")
        if char == "/" and not depth:
            last = at + 1
    return path[last:].strip()


def text_of(value: Any) -> str:
    """A result as XPath's ``string()`` has it: the first of a node-set."""
    if isinstance(value, list):
        if not value:
            return ""
        value = value[0]
    if isinstance(value, etree._Element):
        return "".join(str(part) for part in value.itertext())
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)
