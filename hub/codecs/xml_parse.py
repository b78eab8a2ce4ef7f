"""The hardened XML parser: no document type declaration, so no entities; nothing is fetched; limits on everything that grows.

lxml (libxml2) parses. Its own limits stay in force: 256 levels, 10 MB for one text or attribute.
"""

from __future__ import annotations

import io
import re
import threading
from typing import Any, NoReturn

from lxml import etree

from hub.errors import CodecError
from hub.i18n import t

__all__ = ["MAX_ATTRIBUTES", "MAX_BYTES", "MAX_MARKUP", "parse"]

#: Largest document, in bytes of UTF-8.
MAX_BYTES = 64 << 20
#: Most tags, and most attributes, of a document: a byte or four of markup become a hundred of memory.
MAX_MARKUP = 2_000_000
#: Most attributes and namespace declarations of one element.
MAX_ATTRIBUTES = 1_000
_PROLOG = re.compile(rb"(?:[ \t\r\n]+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_DOCTYPE = b"<!DOCTYPE"
#: A prefix that can be told in an error: a word, not a value.
_PREFIX = re.compile(r"Namespace prefix ([A-Za-z_][A-Za-z_.-]{0,30}[0-9]{0,2}) ")
_OPTIONS: dict[str, Any] = {
    "resolve_entities": False,
    "load_dtd": False,
    "no_network": True,
    "huge_tree": False,
    "strip_cdata": False,
    "collect_ids": False,
}
_local = threading.local()


def parse(data: bytes) -> etree._Element:
    """The root of a document in UTF-8, whatever its declaration says. Raises :class:`CodecError` and nothing else."""
    if len(data) > MAX_BYTES:
        raise CodecError(
            t(f"larger than {MAX_BYTES >> 20} MB", f"超过 {MAX_BYTES >> 20} MB"),
            code="xml.size",
            remedy=t("split it, or send large contents as files of their own", "请拆分，或将大内容另作文件传送"),
        )
    if data.count(b"<") > MAX_MARKUP or data.count(b"=") > MAX_MARKUP:
        raise CodecError(
            t(f"more than {MAX_MARKUP} tags or attributes", f"标签或属性超过 {MAX_MARKUP} 个"), code="xml.size"
        )
    prolog = _PROLOG.match(data)
    start = prolog.end() if prolog else 0
    if data.startswith(_DOCTYPE, start):
        _refuse_doctype(data.count(b"\n", 0, start) + 1, start - data.rfind(b"\n", 0, start))
    if data.count(b"=") > MAX_ATTRIBUTES and any(
        piece.count(b"=") > MAX_ATTRIBUTES for piece in data.split(b"<") if len(piece) > 4 * MAX_ATTRIBUTES
    ):
        _count_attributes(data)
    # A parser is locked while it works, so that threads which share one wait for each other's large documents.
    parser = getattr(_local, "parser", None)
    if parser is None:
        parser = _local.parser = etree.XMLParser(encoding="utf-8", **_OPTIONS)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        _refuse(error)
    except (etree.LxmlError, ValueError) as error:
        raise CodecError(t("not XML", "不是 XML"), place=_place(1, 1), code="xml.invalid") from error
    if root.getroottree().docinfo.internalDTD is not None:
        _refuse_doctype(1, 1)
    return root


def _place(line: int, column: int) -> str:
    return t(f"line {line} column {column}", f"第 {line} 行第 {column} 列")


def _refuse_doctype(line: int, column: int) -> NoReturn:
    raise CodecError(
        t("a document type declaration (DOCTYPE) is not accepted", "不接受文档类型声明（DOCTYPE）"),
        place=_place(line, column),
        code="xml.doctype",
        remedy=t("send the document without it; entities don't pass", "请去掉该声明后发送；不支持实体"),
    )


def _count_attributes(data: bytes) -> None:
    """Refuse an element with too many attributes and declarations; only for documents that may hold one."""
    declarations = 0
    try:
        for event, found in etree.iterparse(io.BytesIO(data), events=("start-ns", "start"), **_OPTIONS):
            if event == "start-ns":
                declarations += 1
                continue
            if declarations + len(found.attrib) > MAX_ATTRIBUTES:
                raise CodecError(
                    t(f"an element with more than {MAX_ATTRIBUTES} attributes", f"元素的属性超过 {MAX_ATTRIBUTES} 个"),
                    place=t(f"line {found.sourceline}", f"第 {found.sourceline} 行"),
                    code="xml.attributes",
                )
            declarations = 0
            found.clear()
    except (etree.LxmlError, LookupError, ValueError):
        return  # not well-formed, or of another set than declared: the parser has the last word


def _refuse(error: etree.XMLSyntaxError) -> NoReturn:
    """What is wrong in our own words: the parser's may quote the document."""
    line, column = error.position
    message = error.msg or ""
    code, remedy = "xml.invalid", ""
    match getattr(error, "code", 0):
        case 4:
            text = t("there is no XML document in it", "其中没有 XML 文档")
            code = "xml.empty"
        case 5:
            text = t("something follows the end of the document", "文档结束之后还有内容")
        case 9:
            text = t("a character that XML does not permit", "有 XML 不允许的字符")
            code = "xml.character"
        case 26:
            text = t("an entity that is not defined", "实体未定义")
            code = "xml.entity"
            remedy = t("XML knows &lt; &gt; &amp; &quot; &apos; only", "XML 只有 &lt; &gt; &amp; &quot; &apos;")
        case 42 | 203:
            text = t("an attribute stands twice in one tag", "同一标签中属性重复")
        case 76:
            text = t("an end tag that does not fit the start tag", "结束标签与开始标签不匹配")
        case 77:
            text = t("the document ends before its last tag is closed", "文档在标签闭合之前结束")
        case 114 if "depth" in message:
            text = t("nested deeper than 256", "嵌套超过 256 层")
            code = "xml.depth"
        case 114:
            text = t("a text or attribute longer than 10 MB", "文本或属性超过 10 MB")
            code = "xml.size"
        case 201:
            told = _PREFIX.match(message)
            name = f" {told[1]}" if told else ""
            text = t(f"the namespace prefix{name} is not declared", f"命名空间前缀{name} 未声明")
            code = "xml.prefix"
            remedy = t(
                'the sender must declare it, e.g. xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"',
                '发送方须声明，如 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"',
            )
        case _:
            text = t("not well-formed XML", "XML 格式有误")
    raise CodecError(text, place=_place(line, column), code=code, remedy=remedy) from error
