"""FHIR XML to the tree of FHIR JSON (FHIR R4 and R5, sections XML and JSON).

One pass of expat builds the tree; nothing is expanded, loaded or kept beside it. Comments and processing instructions are not part of
the content and are left out, and so are elements in which there is nothing. The ``div`` of a narrative is taken over as it is written.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, NoReturn
from xml.parsers import expat

from hub.codecs.fhir_definitions import Element, Structure, definitions
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["FHIR", "MAX_DEPTH", "MAX_ELEMENTS", "XHTML", "read_xml", "telling"]

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
_IN_FHIR = f"{FHIR} "
_LOCAL = len(_IN_FHIR)
_XHTML_DIV = f"{XHTML} div"
#: Deepest nesting of elements, and most elements in one document.
MAX_DEPTH = 100
MAX_ELEMENTS = 250_000
#: Longest number, characters.
_MAX_NUMBER = 100
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_BLANKS = " \t\r\n"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,30})[\"']")
_TAG = re.compile(rb"<([^\s/>]+)")
_DIV = re.compile(r"<(?:([^\s:/>]+):)?div")
_LINE_END = re.compile(r"\r\n?")
_RETURN = re.compile(r"&#(?:13|x0?[dD]);")
#: Character sets that may be declared instead of UTF-8, the only one FHIR knows.
_CHARSETS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "iso-8859-1": "latin-1",
    "us-ascii": "ascii",
    "utf-16": "utf-16",
}


def telling(name: str) -> str:
    """A name for an error text; what can't be one is not told."""
    return name if _NAME.fullmatch(name) else "…"


class _Frame:
    """An element that is open: what its parent knows of it, what may stand in it, and what was found.

    ``structure`` is None for an element around another resource.
    """

    __slots__ = ("element", "index", "structure", "tree", "value", "without_value")

    def __init__(self, element: Element | None, index: int) -> None:
        self.element = element
        self.index = index
        self.structure: Structure | None = None
        self.tree: dict[str, Any] = {}
        self.value: Any = None
        #: Primitives that repeat and have had no value so far, only extensions.
        self.without_value: set[str] | None = None


_HANDLERS = (
    "StartElementHandler",
    "EndElementHandler",
    "CharacterDataHandler",
    "StartDoctypeDeclHandler",
    "StartNamespaceDeclHandler",
)


class _Reader:
    def __init__(self, raw: bytes, version: str) -> None:
        self._raw = raw
        self._known = definitions(version)
        self._primitive = self._known.get("Element")
        self._frames: list[_Frame] = []
        self._tree: dict[str, Any] | None = None
        self._count = 0
        self._spaces: dict[str, str] = {}
        self._div_at = 0
        self._div_depth = 0
        self._div_spaces: dict[str, str] = {}
        parser = self._parser = expat.ParserCreate("utf-8", " ")
        parser.buffer_text = True
        for name, handler in zip(
            _HANDLERS, (self._start, self._end, self._text, self._doctype, self._space), strict=True
        ):
            setattr(parser, name, handler)

    def read(self) -> dict[str, Any]:
        try:
            self._parser.Parse(self._raw, True)
        except expat.ExpatError as error:
            said = expat.ErrorString(error.code)
            self._wrong(t(f"not XML: {said}", f"不是 XML：{said}"), "fhir.xml")
        finally:
            # The handlers refer to this object: with them it would stay, bytes and all, until the collector comes by.
            for name in _HANDLERS:
                setattr(self._parser, name, None)
        if self._tree is None:
            self._wrong(t("there is no resource in it", "其中没有资源"), "fhir.xml")
        return self._tree

    # -- errors --------------------------------------------------------------------------------------------------

    def _wrong(self, text: str, code: str, remedy: str = "") -> NoReturn:
        line, column = self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1
        place = t(f"line {line} column {column}", f"第 {line} 行第 {column} 列")
        path = self._path()
        raise CodecError(text, place=f"{place} ({path})" if path else place, code=code, remedy=remedy)

    def _path(self) -> str:
        """Where in the resource, as FHIRPath writes it: ``Patient.name[0].given[1]``."""
        path = ""
        for frame in self._frames:
            if frame.element is not None:
                path += f".{frame.element.name}" + (f"[{frame.index}]" if frame.element.repeats else "")
            elif not path and frame.structure is not None:
                path = frame.structure.name
        return path

    # -- what expat calls ----------------------------------------------------------------------------------------

    def _doctype(self, *declared: Any) -> None:
        self._wrong(t("a document type is not permitted", "不允许文档类型声明"), "fhir.doctype")

    def _space(self, prefix: str | None, uri: str | None) -> None:
        self._spaces[prefix or ""] = uri or ""

    def _text(self, text: str) -> None:
        if not self._div_depth and text.strip(_BLANKS):
            remedy = t("values stand in the attribute value", "值应写在属性 value 中")
            self._wrong(t("there is text outside of a value", "值以外有文字"), "fhir.text", remedy)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        declared = self._spaces
        if declared:
            self._spaces = {}
        self._count += 1
        if self._count > MAX_ELEMENTS:
            self._wrong(t(f"more than {MAX_ELEMENTS} elements", f"超过 {MAX_ELEMENTS} 个元素"), "fhir.size")
        frames = self._frames
        if len(frames) + self._div_depth >= MAX_DEPTH:
            self._wrong(t(f"nested deeper than {MAX_DEPTH}", f"嵌套超过 {MAX_DEPTH} 层"), "fhir.depth")
        if self._div_depth:
            self._div_depth += 1
            return
        parent = frames[-1] if frames else None
        if parent is None or parent.structure is None:
            self._resource(parent, name)
            return
        local = name[_LOCAL:] if name.startswith(_IN_FHIR) else "div" if name == _XHTML_DIV else ""
        element = parent.structure.elements.get(local)
        if element is None:
            self._unknown(parent.structure, name)
        tree, kind = parent.tree, element.kind
        values = tree.get(local)
        if values is None and element.primitive:
            values = tree.get(f"_{local}")
        frame = _Frame(element, 0 if values is None or not element.repeats else len(values))
        if kind == "attribute" or (kind == "xhtml" and name != _XHTML_DIV):
            self._unknown(parent.structure, name)
        frames.append(frame)
        if values is not None and not element.repeats:
            self._wrong(t("it stands there twice", "重复出现"), "fhir.twice")
        if element.primitive:
            frame.structure = self._primitive
            if kind == "text" and len(attributes) == 1 and "value" in attributes:
                frame.value = attributes["value"]
            elif attributes:
                self._attributes(frame, element, attributes)
        elif kind == "complex":
            frame.structure = self._known.get(element.type)
            if attributes:
                self._attributes(frame, element, attributes)
        elif kind == "xhtml":
            self._div_at, self._div_depth = self._parser.CurrentByteIndex, 1
            self._div_spaces = declared

    def _unknown(self, structure: Structure, name: str) -> NoReturn:
        local, of = telling(name.rpartition(" ")[2]), structure.name
        text = t(f"{local} is not an element of {of}", f"{of} 没有元素 {local}")
        self._wrong(text, "fhir.element", self._other_version())

    def _resource(self, parent: _Frame | None, name: str) -> None:
        """The root, or what an element like ``contained`` stands around."""
        space, _, local = name.rpartition(" ")
        if space != FHIR:
            text = t("the resource is not in the namespace of FHIR", "资源不在 FHIR 命名空间")
            self._wrong(text, "fhir.namespace", f'xmlns="{FHIR}"')
        structure = self._known.resource(local)
        if structure is None:
            version = self._known.version
            text = t(f"{version} has no resource {telling(local)}", f"{version} 没有资源 {telling(local)}")
            self._wrong(text, "fhir.resource_type", self._other_version())
        if parent is not None and parent.tree:
            self._wrong(t("there are two resources in one element", "一个元素中有两个资源"), "fhir.twice")
        frame = _Frame(None, 0)
        frame.structure, frame.tree = structure, {"resourceType": local}
        self._frames.append(frame)

    def _other_version(self) -> str:
        return t("check the version of FHIR in the interface's format:", "请检查接口 format: 中的 FHIR 版本")

    def _attributes(self, frame: _Frame, element: Element, attributes: dict[str, str]) -> None:
        for key, value in attributes.items():
            if key == "value" and element.primitive:
                frame.value = self._value(element, value)
            elif frame.structure is not None and (known := frame.structure.elements.get(key)) is not None:
                if known.kind != "attribute":
                    self._unknown_attribute(key)
                frame.tree[key] = value
            elif " " not in key:  # those of other namespaces, as xsi:schemaLocation, are not content
                self._unknown_attribute(key)

    def _unknown_attribute(self, key: str) -> NoReturn:
        self._wrong(t(f"{telling(key)} is not an attribute here", f"此处没有属性 {telling(key)}"), "fhir.attribute")

    def _value(self, element: Element, text: str) -> Any:
        kind = element.kind
        if kind == "text":
            return text
        if kind == "boolean":
            if text in ("true", "false"):
                return text == "true"
        elif len(text) <= _MAX_NUMBER:
            if _INTEGER.fullmatch(text):
                return int(text)
            if kind == "decimal" and _DECIMAL.fullmatch(text):
                # As JSON is read: a double where it has the same digits.
                number = float(text)
                return number if repr(number) == text else Decimal(text)
        self._wrong(t(f"the value is not a {element.type}", f"值不是 {element.type}"), "fhir.value")

    def _end(self, name: str) -> None:
        frame = self._frames[-1]
        if self._div_depth:
            self._div_depth -= 1
            if self._div_depth:
                return
            frame.value = self._div()
        elif frame.structure is not None and frame.without_value:
            for key in frame.without_value:
                del frame.tree[key]
        self._frames.pop()
        if not self._frames:
            self._tree = frame.tree
            return
        parent, element = self._frames[-1], frame.element
        if element is None:  # a resource in an element that stands around it
            parent.tree = frame.tree
        elif element.primitive:
            if element.repeats or frame.tree:
                _put_primitive(parent, element, frame.value, frame.tree or None)
            elif frame.value is not None:
                parent.tree[element.name] = frame.value
        elif element.kind == "xhtml":
            parent.tree[element.name] = frame.value
        elif element.repeats:
            if frame.tree:
                parent.tree.setdefault(element.name, []).append(frame.tree)
        elif frame.tree:
            parent.tree[element.name] = frame.tree

    def _div(self) -> str:
        """The narrative that ends here, with its namespace. Line ends as XML reads them."""
        end, raw = self._parser.CurrentByteIndex, self._raw
        tag = _TAG.match(raw, self._div_at)
        # expat stands before an end tag, but behind an element that is empty.
        if tag and raw.startswith(b"</" + tag[1], end):
            end = raw.index(b">", end) + 1
        text = raw[self._div_at : end].decode("utf-8")
        if "\r" in text:
            text = _LINE_END.sub("\n", text)
        if "&#" in text:
            text = _RETURN.sub("\r", text)
        found = _DIV.match(text)
        prefix = found[1] or "" if found else ""
        if found and prefix not in self._div_spaces:
            declaration = f'xmlns:{prefix}="{XHTML}"' if prefix else f'xmlns="{XHTML}"'
            text = f"{found[0]} {declaration}{text[found.end() :]}"
        return text


def _put_primitive(parent: _Frame, element: Element, value: Any, more: dict[str, Any] | None) -> None:
    """A primitive's value, and its id and extensions under the same name with a low line; lists of both have the same length."""
    name, tree = element.name, parent.tree
    if value is None and more is None:
        return
    if not element.repeats:
        if value is not None:
            tree[name] = value
        if more is not None:
            tree[f"_{name}"] = more
        return
    values = tree.get(name)
    if values is None:
        values = tree[name] = []
        if value is None:
            parent.without_value = {name, *(parent.without_value or ())}
    elif value is not None and parent.without_value:
        parent.without_value.discard(name)
    values.append(value)
    others = tree.get(f"_{name}")
    if others is None and more is not None:
        others = tree[f"_{name}"] = [None] * (len(values) - 1)
    if others is not None:
        others.append(more)


def _utf8(raw: bytes, encoding: str) -> bytes:
    """The document in UTF-8; the contract's character set wins over the declared one."""
    if not encoding:
        if raw.startswith(b"\xef\xbb\xbf"):
            return raw[3:]
        declared = _DECLARED.match(raw)
        name = declared[1].decode("ascii").lower() if declared else "utf-8"
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            name = "utf-16"
        elif name == "utf-16":  # what can be read as ASCII is not
            name = "utf-8"
        encoding = _CHARSETS.get(name, "utf-8") if name != "utf-8" else ""
        if not encoding:
            return raw
        if name not in _CHARSETS:
            raise CodecError(
                t(f"character set {name} is not read", f"不支持字符集 {name}"),
                code="fhir.charset",
                remedy=t("set the interface's encoding", "请设置接口的 encoding"),
            )
    try:
        return raw.decode(encoding).removeprefix("\ufeff").encode("utf-8")
    except (LookupError, UnicodeError) as error:
        at = error.start if isinstance(error, UnicodeDecodeError) else 0
        raise CodecError(
            t(f"the bytes are not {encoding}", f"字节不是 {encoding}"),
            place=t(f"byte {at}", f"第 {at} 字节"),
            code="fhir.charset",
        ) from error


def read_xml(raw: bytes, version: str, encoding: str = "") -> dict[str, Any]:
    """The tree of a resource in XML; raises :class:`~hub.errors.CodecError` with line, column and path."""
    return _Reader(_utf8(raw, encoding), version).read()
