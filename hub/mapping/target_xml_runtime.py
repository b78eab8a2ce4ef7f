"""What generated code calls to write XML documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from lxml import etree

from hub.codecs.xml_codec import XmlDocument
from hub.i18n import t
from hub.mapping.paths_xml_runtime import has_tag
from hub.mapping.runtime import MAX_TEXT, FunctionError, plain_text

__all__ = ["XML_TARGET_RUNTIME"]

Element = Any
#: Prefix to URI, the prefix None for the default namespace; None for nothing to declare.
Names = Any
#: A value that may be the name of a type, with the prefix of a namespace.
_QNAME = re.compile(r"([^\W\d][\w.\-]*):[^\W\d]")
#: XML 1.0, 2.2: what is no character of a document.
_NO_CHARACTER = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    return "" if value is None else plain_text(value)


def _refuse(text: str) -> NoReturn:
    found = _NO_CHARACTER.search(text)
    character, place = (f"U+{ord(found[0]):04X}", found.start() + 1) if found else ("?", 0)
    raise FunctionError(
        t(
            f"character {place} of the text, {character}, can't stand in XML",
            f"文本第 {place} 个字符 {character} 不能写入 XML",
        ),
        text,
        t("take it out with regex_replace", "请用 regex_replace 去除"),
    )


def no_root() -> NoReturn:
    raise FunctionError(
        t("there is nothing to write: no root element", "没有可写内容：缺少根元素"),
        remedy=t("put the condition into when: of the mapping", "请把条件写在映射的 when: 中"),
    )


def new_document(name: str, names: Names) -> XmlDocument:
    return XmlDocument(etree.Element(name, nsmap=names))


def root_of(document: XmlDocument, name: str) -> Element:
    if not has_tag(document.root, name):
        wanted = name.rpartition("}")[2]
        raise FunctionError(
            t(f"the root of the source is not {wanted}", f"来源的根元素不是 {wanted}"),
            remedy=t("* stands for whatever root", "* 表示任意根元素"),
        )
    return document.root


# -- elements ----------------------------------------------------------------------------------------------------------


def _tag(parent: Element, name: str) -> str:
    """The name of an element to be made; without a namespace of its own it has its parent's."""
    if not name.startswith("{*}"):
        return name
    uri, brace, _ = parent.tag.rpartition("}")
    return f"{uri}{brace}{name[3:]}"


def _matching(parent: Element, name: str, attribute: str, value: str) -> list[Element]:
    found = list(parent.iterchildren(name))
    return [element for element in found if element.get(attribute) == value] if attribute else found


def added(parent: Element, name: str, names: Names, number: int, attribute: str, value: str) -> Element:
    """A new element at the end."""
    element = etree.SubElement(parent, name, nsmap=names)
    if attribute:
        element.set(attribute, value)
    return element


def found_or_added(parent: Element, name: str, names: Names, number: int, attribute: str, value: str) -> Element:
    """The element that is there; else a new one behind the last of its name, or at the end."""
    found = _matching(parent, name, attribute, value)
    at = max(number, 1) - 1
    if at < len(found):
        return found[at]
    last = next(parent.iterchildren(name, reversed=True), None)
    at = len(parent) if last is None else parent.index(last) + 1
    return _inserted(parent, at, _tag(parent, name), names, attribute, value)


def _inserted(parent: Element, at: int, name: str, names: Names, attribute: str, value: str) -> Element:
    element = parent.makeelement(name, nsmap=names)
    parent.insert(at, element)
    if attribute:
        element.set(attribute, value)
    return element


def close(parent: Element, element: Element, fixed: int) -> None:
    """Take an element away if it is empty but for so many attributes."""
    if not len(element) and not element.text and len(element.keys()) <= fixed:
        parent.remove(element)


class Slot:
    """Where elements of one name are written one after the other: in a copy in place of those that are there."""

    def __init__(self, parent: Element, name: str, names: Names, attribute: str, value: str, replace: bool) -> None:
        self._parent = parent
        self._names = names
        self._attribute, self._value = attribute, value
        self._at = -1
        if replace:
            old = _matching(parent, name, attribute, value)
            self._at = parent.index(old[0]) if old else len(parent)
            for element in old:
                _drop(element)
        self._name = _tag(parent, name)

    def add(self) -> Element:
        if self._at < 0:
            return added(self._parent, self._name, self._names, 0, self._attribute, self._value)
        self._at += 1
        return _inserted(self._parent, self._at - 1, self._name, self._names, self._attribute, self._value)

    def close(self, element: Element, fixed: int) -> None:
        before = len(self._parent)
        close(self._parent, element, fixed)
        if self._at >= 0:
            self._at -= before - len(self._parent)

    def put(self, value: Any) -> int:
        """Elements with text, one for each item of a list; how many items there are."""
        for item in value if isinstance(value, list | tuple) else (value,):
            if item is not None or item is value:
                set_text(self.add(), item)
        return len(value) if isinstance(value, list | tuple) else 0


def put_element(
    finder: Callable[..., Element],
    parent: Element,
    value: Any,
    name: str,
    names: Names,
    number: int,
    attribute: str,
    fixed: str,
) -> int:
    """An element with text; a list makes one for each item. How many items there are."""
    if isinstance(value, list | tuple):
        return Slot(parent, name, names, attribute, fixed, finder is found_or_added).put(value)
    set_text(finder(parent, name, names, number, attribute, fixed), value)
    return 0


def _drop(element: Element) -> None:
    """Remove an element, not the text behind it."""
    parent = element.getparent()
    if parent is None:
        raise FunctionError(t("the root can't be removed", "不能删除根元素"))
    tail = element.tail
    if tail and not tail.isspace():
        before = element.getprevious()
        if before is not None:
            before.tail = (before.tail or "") + tail
        else:
            parent.text = (parent.text or "") + tail
    parent.remove(element)


def removed(elements: Sequence[Element], attribute: str) -> None:
    for element in elements:
        if not attribute:
            _drop(element)
        else:
            element.attrib.pop(attribute, None)


def add_copies(parent: Element, elements: Sequence[Element]) -> int:
    """The elements with everything in them; how many that are. They are built anew: moved elements may end up with wrong prefixes."""
    count = 0
    for element in elements:
        used: set[str | None] = set()
        for part in element.iter("*"):
            count += 1
            used.add(part.prefix)
            used.update(found[1] for text in part.values() if (found := _QNAME.match(text)))
            used.update(name[1:].partition("}")[0] for name in part.keys() if name[0] == "{")  # noqa: SIM118
        names = {prefix: uri for prefix, uri in element.nsmap.items() if prefix in used or uri in used}
        _add_copy(parent, element, names)
    return count


def _add_copy(parent: Element, element: Element, names: dict[Any, str]) -> None:
    known = parent.nsmap
    missing = {prefix: uri for prefix, uri in names.items() if known.get(prefix) != uri}
    if None not in names and known.get(None) and not element.tag.startswith("{"):
        missing[None] = ""
    twin = etree.SubElement(parent, element.tag, dict(element.attrib), nsmap=missing)
    twin.text = element.text
    for child in element:
        if isinstance(child.tag, str):
            above = element.nsmap
            _add_copy(twin, child, {p: uri for p, uri in child.nsmap.items() if above.get(p) != uri})
        else:
            twin.append(child.__copy__())
        twin[-1].tail = child.tail


# -- text --------------------------------------------------------------------------------------------------------------


def set_text(element: Element, value: Any) -> None:
    """Everything inside an element replaced by text; its attributes stay."""
    text = _text(value)
    if len(element):
        del element[:]
    try:
        element.text = text or None
    except ValueError:
        _refuse(text)


def set_own_text(element: Element, value: Any) -> None:
    """The text before the first child."""
    text = _text(value)
    try:
        element.text = text or None
    except ValueError:
        _refuse(text)


def add_text(element: Element, value: Any) -> None:
    """Text behind what is there already."""
    text = _text(value)
    try:
        if len(element):
            last = element[-1]
            last.tail = (last.tail or "") + text
        else:
            element.text = (element.text or "") + text
    except ValueError:
        _refuse(text)


def run_together(values: Sequence[Any]) -> str:
    """Texts one after the other."""
    text = "".join([_text(value) for value in values])
    if len(text) > MAX_TEXT:
        raise FunctionError(t(f"the text is longer than {MAX_TEXT}", f"文本超过 {MAX_TEXT} 个字符"))
    return text


def set_cdata(element: Element, value: Any) -> None:
    text = _text(value)
    try:
        element.text = etree.CDATA(text) if text else None
    except ValueError:
        _refuse(text)


def set_attribute(element: Element, name: str, value: Any) -> None:
    text = _text(value)
    try:
        element.set(name, text)
    except ValueError:
        _refuse(text)


XML_TARGET_RUNTIME: dict[str, Callable[..., Any]] = {
    "add_copies": add_copies,
    "add_text": add_text,
    "added": added,
    "close": close,
    "found_or_added": found_or_added,
    "new_document": new_document,
    "no_root": no_root,
    "put_element": put_element,
    "removed": removed,
    "root_of": root_of,
    "run_together": run_together,
    "set_attribute": set_attribute,
    "set_cdata": set_cdata,
    "set_own_text": set_own_text,
    "set_text": set_text,
    "slot": Slot,
}
