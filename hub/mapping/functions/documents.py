"""Reading XML documents that stand as text inside a message, once ``parse`` has made trees of them; messages and documents as whole targets.

The paths are those of XML sources, compiled as if the document were the source; names without prefix match in every namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.codecs.hl7v2 import Hl7Message
from hub.codecs.xml_codec import XmlDocument
from hub.i18n import t
from hub.mapping.expression import parse_expression
from hub.mapping.functions.base import Registry
from hub.mapping.nodes import CallNode, ExpressionError, LiteralNode, PathNode
from hub.mapping.paths import Code, Scope
from hub.mapping.paths_xml import XmlFormat
from hub.mapping.runtime import FunctionError, is_absent, kind_of

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator

__all__ = ["DOCUMENTS", "document_of", "message_of"]

DOCUMENTS = Registry()
_XML = XmlFormat()


def document_of(value: Any) -> XmlDocument | None:
    """An XML document as it is, null when absent; raises :class:`FunctionError` for anything else."""
    if isinstance(value, XmlDocument):
        return value
    _refuse(value, t("a parsed XML document", "已解析的 XML 文档"), "parse('xml')")
    return None


def message_of(value: Any) -> Hl7Message | None:
    """The same for HL7 v2 messages."""
    if isinstance(value, Hl7Message):
        return value
    _refuse(value, t("a parsed HL7 v2 message", "已解析的 HL7 v2 消息"), "parse('hl7v2')")
    return None


def _refuse(value: Any, what: str, remedy: str) -> None:
    if not is_absent(value):
        raise FunctionError(
            t(f"{what} is needed, this is a {kind_of(value)}", f"需要{what}，实为{kind_of(value)}"),
            remedy=t(f"{remedy} makes one of a text", f"文本请先用 {remedy} 解析"),
        )


def _path(node: CallNode) -> PathNode:
    written = node.arguments[1] if len(node.arguments) > 1 else dict(node.keywords).get("path")
    if isinstance(written, LiteralNode) and isinstance(written.value, str):
        try:
            path = parse_expression(written.value, _XML)
        except ExpressionError as error:
            raise ExpressionError(f"xpath: {error.text}", node.at, error.remedy) from None
        if isinstance(path, PathNode) and not path.up:
            return path
    raise ExpressionError(
        t("xpath: a path from the root is needed, in quotes", "xpath：须为带引号的、从根开始的路径"),
        node.at,
        "xpath('order/items/item[@kind=\"x\"]/code')",
    )


def _emit(g: Generator, node: CallNode, scope: Scope, *, every: bool = False) -> Code:
    path = _path(node)
    g.namespace["document_of"] = document_of
    document = g.keep(Code(f"document_of({g.compile(node.arguments[0], scope).text})", risky=True))
    result = g.writer.temp()
    g.writer.line(f"{result} = {'()' if every else repr('')}")
    with g.writer.block(f"if {document} is not None:"):
        root = Scope("element", g.writer.assign(f"{document}.root"), None, g.writer.loop_depth)
        read = _XML.values if every else _XML.scalar
        g.writer.line(f"{result} = {read(g, path, root).text}")
    return Code(result, "list" if every else "any")


def _emit_list(g: Generator, node: CallNode, scope: Scope) -> Code:
    return _emit(g, node, scope, every=True)


@DOCUMENTS.add(emit=_emit, emit_list=_emit_list)
def xpath(value: Any, path: Any) -> Any:
    """What a path leads to in a document that parse('xml') made: $doc | xpath('order/item/@code'); of several the first."""
    raise FunctionError(path)
