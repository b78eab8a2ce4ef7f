"""XML 1.0 with namespaces: a document that nobody changes goes out byte for byte as it came."""

from __future__ import annotations

import codecs
import copy
from typing import Any, ClassVar, Self

from lxml import etree
from pydantic import BaseModel, ConfigDict, Field

from hub.codecs.base import Codec
from hub.codecs.hl7_charset import python_name
from hub.codecs.xml_charset import to_utf8
from hub.codecs.xml_parse import parse
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["XmlCodec", "XmlDocument", "XmlOptions", "local_name"]

_UTF8 = ("utf-8", "utf8")


class XmlDocument:
    """A document. ``root`` of one that was decoded is for reading only; change a :meth:`copy`.

    ``raw``: the bytes as they came, empty for a new document. ``encoding``: Python's name of the character set of these bytes;
    ``declared``: what their declaration says, which may be something else.
    """

    __slots__ = ("_original", "declared", "encoding", "raw", "root")

    def __init__(self, root: etree._Element, raw: bytes = b"", encoding: str = "", declared: str = "") -> None:
        self.root = root
        self.raw = raw
        self.encoding = encoding
        self.declared = declared
        self._original: etree._Element | None = None

    def copy(self) -> XmlDocument:
        """An independent document with the same content, comments and processing instructions outside the root included."""
        twin = XmlDocument(copy.deepcopy(self.root.getroottree()).getroot(), self.raw, self.encoding, self.declared)
        twin._original = self._original if self._original is not None else self.root
        return twin

    @property
    def changed(self) -> bool:
        """Whether it differs from the bytes it was made of."""
        if not self.raw:
            return True
        return self._original is not None and _text(self._original) != _text(self.root)


class XmlOptions(BaseModel):
    """``format`` of an interface with an XML codec."""

    model_config = ConfigDict(extra="forbid")

    indent: bool = Field(False, description="lines and indentation in documents made by a mapping")


class XmlCodec(Codec):
    """Bytes ⇄ :class:`XmlDocument`. The type of a message is the local name of its root."""

    name: ClassVar[str] = "xml"
    content_type: ClassVar[str] = "application/xml"
    format_options: ClassVar[type[BaseModel] | None] = XmlOptions

    def __init__(self, options: XmlOptions | None = None) -> None:
        self._indent = options is not None and options.indent

    def configured(self, options: BaseModel) -> Self:
        return type(self)(options) if isinstance(options, XmlOptions) else self

    def decode(self, raw: bytes, *, encoding: str = "") -> XmlDocument:
        decoded = to_utf8(raw, encoding)
        return XmlDocument(parse(decoded.data), raw, decoded.encoding, decoded.declared)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        """The bytes as they came, unless the document was changed or ``encoding`` names another character set.

        A document that is written anew has its declared character set, or ``encoding``, and says so.
        """
        if not isinstance(tree, XmlDocument):
            kind = type(tree).__name__
            raise CodecError(
                t(f"an XML document is needed, not {kind}", f"需要 XML 文档，而不是 {kind}"), code="xml.type"
            )
        if tree.raw and tree.encoding.startswith(python_name(encoding)) and not tree.changed:
            return tree.raw
        return _written(tree, encoding, self._indent and not tree.raw)

    def envelope(self, tree: Any) -> tuple[str, str]:
        return local_name(tree.root), ""


def local_name(element: etree._Element) -> str:
    """The name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def _text(root: etree._Element) -> bytes:
    return etree.tostring(root.getroottree(), encoding="utf-8")


def _written(document: XmlDocument, encoding: str, indent: bool) -> bytes:
    charset = encoding or (document.declared if python_name(document.declared) else "") or "UTF-8"
    try:
        name = codecs.lookup(charset).name
    except LookupError as error:
        raise CodecError(
            t(f"unknown character set {charset[:40]}", f"未知字符集 {charset[:40]}"), code="xml.charset"
        ) from error
    tree = document.root.getroottree()
    info = tree.docinfo
    standalone = ' standalone="yes"' if info.standalone else ""
    head = f'<?xml version="{info.xml_version or "1.0"}" encoding="{charset}"{standalone}?>\n'
    if document.raw and name in _UTF8 and not _has_declaration(document):
        head = ""  # as it came
    if name in _UTF8:
        return head.encode("ascii") + etree.tostring(tree, encoding="utf-8", xml_declaration=False, pretty_print=indent)
    text: str = etree.tostring(tree, encoding="unicode", pretty_print=indent)
    try:
        return (head + text).encode(name)
    except UnicodeError:
        return head.encode("ascii") + _with_references(text, name)
    except LookupError as error:
        raise CodecError(
            t(f"{charset[:40]} is not a character set", f"{charset[:40]} 不是字符集"), code="xml.charset"
        ) from error


def _with_references(text: str, name: str) -> bytes:
    """The text with character references for what the set lacks; they are understood in texts and attributes only."""
    try:
        written = text.encode(name, "xmlcharrefreplace")
        same = parse(written.decode(name).encode("utf-8"))
    except (UnicodeError, CodecError):
        same = None
    if same is None or etree.tostring(same.getroottree(), encoding="unicode") != text:
        raise CodecError(
            t(
                f"a name, comment or CDATA section has a character that can't be written in {name}",
                f"名称、注释或 CDATA 中有字符无法用 {name} 表示",
            ),
            code="xml.charset",
        )
    return written


def _has_declaration(document: XmlDocument) -> bool:
    return "<?xml".encode(document.encoding) in document.raw[:64]
