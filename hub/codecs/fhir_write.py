"""The tree of FHIR JSON to FHIR XML, elements in the order of the specification."""

from __future__ import annotations

import html.entities
import re
from decimal import Decimal
from itertools import zip_longest
from typing import Any
from xml.parsers import expat

from hub.codecs.fhir_definitions import Definitions, Element, Structure, definitions
from hub.codecs.fhir_read import FHIR, MAX_DEPTH, XHTML, telling
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["write_xml"]

#: Characters XML 1.0 can't hold.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"})
_TO_ESCAPE = re.compile(r'[&<"\t\n\r]')
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,30});")
_OF_XML = ("amp", "lt", "gt", "quot", "apos")
_DIV = re.compile(r"<div(?=[\s/>])")


class _WrongError(Exception):
    """What is wrong; the path is collected on the way out."""

    def __init__(self, text: str, code: str, remedy: str = "") -> None:
        super().__init__(text)
        self.text, self.code, self.remedy = text, code, remedy
        self.path: list[str] = []


class _Writer:
    def __init__(self, known: Definitions) -> None:
        self._known = known
        self._primitive = known.get("Element")
        self._out: list[str] = []
        self._put = self._out.append

    def write(self, tree: dict[str, Any]) -> str:
        try:
            self._resource(tree, 1, f' xmlns="{FHIR}"')
            text = "".join(self._out)
            if _ILLEGAL.search(text):
                raise _WrongError(
                    t("XML can't hold a control character in it", "含有 XML 不能表示的控制字符"), "fhir.xml"
                )
        except _WrongError as wrong:
            place = "".join([telling(str(tree.get("resourceType", ""))), *reversed(wrong.path)])
            raise CodecError(wrong.text, place=place, code=wrong.code, remedy=wrong.remedy) from None
        return f'<?xml version="1.0" encoding="UTF-8"?>{text}'

    # -- structure -----------------------------------------------------------------------------------------------

    def _resource(self, tree: Any, depth: int, space: str = "") -> None:
        """``depth``: how many elements are open, this one included."""
        kind = tree.get("resourceType") if isinstance(tree, dict) else None
        if not isinstance(kind, str):
            raise _WrongError(
                t("it is no resource: resourceType is missing", "不是资源：缺少 resourceType"), "fhir.resource_type"
            )
        structure = self._known.resource(kind)
        if structure is None:
            version = self._known.version
            raise _WrongError(
                t(f"{version} has no resource {telling(kind)}", f"{version} 没有资源 {telling(kind)}"),
                "fhir.resource_type",
                t("check the version of FHIR in the interface's format:", "请检查接口 format: 中的 FHIR 版本"),
            )
        self._around(kind, space, structure, tree, depth)

    def _around(self, name: str, attributes: str, structure: Structure, tree: dict[str, Any], depth: int) -> None:
        self._put(f"<{name}{attributes}>")
        before = len(self._out)
        self._children(structure, tree, depth)
        if len(self._out) == before:
            self._out[-1] = f"<{name}{attributes}/>"
        else:
            self._put(f"</{name}>")

    def _children(self, structure: Structure, tree: dict[str, Any], depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise _WrongError(t(f"nested deeper than {MAX_DEPTH}", f"嵌套超过 {MAX_DEPTH} 层"), "fhir.depth")
        try:
            keys = sorted(tree, key=structure.order.__getitem__)
        except (KeyError, TypeError):
            key = telling(next(str(key) for key in tree if key not in structure.order))
            of = structure.name
            raise _WrongError(t(f"{key} is not an element of {of}", f"{of} 没有元素 {key}"), "fhir.element") from None
        last = ""
        for key in keys:
            name = key.lstrip("_")
            element = structure.elements.get(name)
            # Not elements: resourceType, and what stands in the start tag. A primitive and its extensions are written as one.
            if element is None or name == last or element.kind == "attribute":
                continue
            last = name
            try:
                self._element(element, tree.get(name), tree.get(f"_{name}"), depth + 1)
            except _WrongError as wrong:
                wrong.path.append(f".{name}")
                raise

    def _element(self, element: Element, value: Any, more: Any, depth: int) -> None:
        """``more``: id and extensions of a primitive."""
        if value is None and more is None:
            return
        if not element.repeats:
            if isinstance(value, list) or isinstance(more, list):
                raise _WrongError(t("it can't be a list", "不能是列表"), "fhir.list")
            self._one(element, value, more, depth)
            return
        if not isinstance(value, list | None) or not isinstance(more, list | None):
            raise _WrongError(t("it must be a list", "须为列表"), "fhir.list")
        for number, (item, its) in enumerate(zip_longest(value or (), more or ())):
            try:
                self._one(element, item, its, depth)
            except _WrongError as wrong:
                wrong.path.append(f"[{number}]")
                raise

    def _one(self, element: Element, value: Any, more: Any, depth: int) -> None:
        name = element.name
        if element.primitive:
            text = "" if value is None else f' value="{_text(value)}"'
            if more is None:
                if text:
                    self._put(f"<{name}{text}/>")
                return
            self._complex(name, self._primitive, more, depth, text)
        elif element.kind == "xhtml":
            self._put(_div(value, depth))
        elif element.kind == "resource":
            self._put(f"<{name}>")
            self._resource(value, depth + 1)
            self._put(f"</{name}>")
        else:
            self._complex(name, self._known.get(element.type), value, depth)

    def _complex(
        self, name: str, structure: Structure | None, value: Any, depth: int, value_attribute: str = ""
    ) -> None:
        if structure is None or not isinstance(value, dict):
            raise _WrongError(t("it must be an object", "须为对象"), "fhir.object")
        attributes = ""
        for key in ("id", "url"):
            if key in value and key in structure.elements and structure.elements[key].kind == "attribute":
                attributes += f' {key}="{_text(value[key])}"'
        self._around(name, attributes + value_attribute, structure, value, depth)


def _text(value: Any) -> str:
    """A primitive as the value of an attribute."""
    if isinstance(value, str):
        return value.translate(_ESCAPES) if _TO_ESCAPE.search(value) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f") if abs(value.adjusted()) < 100 else str(value)
    if isinstance(value, float) and value - value == 0:
        return repr(value)
    if isinstance(value, int) and value.bit_length() < 1000:
        return str(value)
    raise _WrongError(t("it must be a single value", "须为单个值"), "fhir.value")


def _div(value: Any, depth: int) -> str:
    """The narrative, checked to be one well-formed element: it goes into the document as it is."""
    if not isinstance(value, str) or not _DIV.match(value):
        raise _WrongError(t("it must begin with <div", "须以 <div 开头"), "fhir.narrative")
    text: str = value
    if "&" in text:
        text = _ENTITY.sub(_character, text)
    if "\r" in text:
        text = text.replace("\r", "&#13;")
    name = f"{XHTML} div"
    opened = 0

    def start(found: str, attributes: dict[str, str]) -> None:
        nonlocal opened
        opened += 1
        if depth + opened > MAX_DEPTH:
            raise _WrongError(t(f"nested deeper than {MAX_DEPTH}", f"嵌套超过 {MAX_DEPTH} 层"), "fhir.depth")
        if opened == 1 and found != name:
            raise _WrongError(t("the div is not XHTML", "div 不是 XHTML"), "fhir.narrative", f'xmlns="{XHTML}"')

    def end(found: str) -> None:
        nonlocal opened
        opened -= 1

    def declared(*parts: Any) -> None:
        raise _WrongError(t("a document type is not permitted", "不允许文档类型声明"), "fhir.doctype")

    parser = expat.ParserCreate("utf-8", " ")
    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = start, end, declared
    try:
        parser.Parse(text.encode("utf-8"), True)
    except (expat.ExpatError, UnicodeError):
        raise _WrongError(t("the div is not well-formed XHTML", "div 不是格式正确的 XHTML"), "fhir.narrative") from None
    return text


def _character(found: re.Match[str]) -> str:
    """XML knows five names of characters, HTML many; the rest become the character itself."""
    if found[1] in _OF_XML:
        return found[0]
    return str(html.entities.html5.get(f"{found[1]};", found[0]))


def write_xml(tree: dict[str, Any], version: str) -> str:
    """A resource as XML; raises :class:`~hub.errors.CodecError` with the path of what can't be written."""
    return _Writer(definitions(version)).write(tree)
