"""Text inside XML, escaped or as CDATA, such that a parser gives back every character of it.

An XML parser turns carriage returns into line feeds (XML 1.0, 2.11), which would break HL7 v2: they are written as ``&#13;``.
"""

from __future__ import annotations

import re

from hub.api import CodecError
from hub.codecs.xml_charset import to_utf8
from hub.i18n import t

__all__ = ["as_cdata", "as_text", "attribute", "decoded", "without_declaration"]

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: What needs no second look, and most values are: numbers, codes, dates.
_PLAIN = re.compile(r"[\w .:/{}()+-]*", re.ASCII)
_DECLARATION = re.compile(r"\s*<\?xml\s[^>]*\?>\s*")


def _checked(text: str) -> str:
    found = _FORBIDDEN.search(text)
    if found is not None:
        raise CodecError(
            t(
                f"the character U+{ord(found[0]):04X} can't stand in XML",
                f"字符 U+{ord(found[0]):04X} 不能出现在 XML 中",
            ),
            place=t(f"character {found.start() + 1}", f"第 {found.start() + 1} 个字符"),
            code="xml.character",
            remedy=t("send such contents as base64", "此类内容请以 base64 传送"),
        )
    return text


def as_text(text: str) -> str:
    """Element content; raises :class:`CodecError` for a character that XML does not permit."""
    if _PLAIN.fullmatch(text):
        return text
    text = _checked(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;") if "\r" in text else text


def as_cdata(text: str) -> str:
    """Element content as CDATA sections; raises :class:`CodecError` like :func:`as_text`."""
    text = _checked(text).replace("]]>", "]]]]><![CDATA[>")
    if "\r" in text:
        text = text.replace("\r", "]]>&#13;<![CDATA[")
    return f"<![CDATA[{text}]]>"


def attribute(value: str) -> str:
    """An attribute's value, without the quotes (``"``) around it."""
    if _PLAIN.fullmatch(value):
        return value
    value = as_text(value).replace('"', "&quot;")
    return value.replace("\n", "&#10;").replace("\t", "&#9;")


def decoded(raw: bytes, encoding: str) -> str:
    """The text of a message: XML by its own declaration, anything else as ``encoding``, by default UTF-8."""
    if raw.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] == b"<":
        return to_utf8(raw, encoding).data.decode("utf-8", "replace")
    try:
        return raw.decode(encoding or "utf-8-sig")
    except (UnicodeError, LookupError):
        raise CodecError(
            t(f"the message is not text in {encoding or 'UTF-8'}", f"消息不是 {encoding or 'UTF-8'} 编码的文本"),
            code="soap.charset",
            remedy=t("state its character set as encoding of the interface", "请在接口的 encoding 中注明其字符集"),
        ) from None


def without_declaration(text: str) -> str:
    """An XML document as it may stand inside another."""
    found = _DECLARATION.match(text)
    return text[found.end() :] if found else text
