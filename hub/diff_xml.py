"""What differs between two XML documents, element by element, in XPath."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hub.codecs.xml_codec import XmlCodec
from hub.errors import CodecError

if TYPE_CHECKING:
    from lxml import etree

__all__ = ["Leaf", "Match", "Whole", "diff_xml"]

#: Tells a difference of two texts at a path; one of them may be "".
Leaf = Callable[[str, str, str], None]
#: Tells an element that is there on one side only: path, old text, new text, one of them None.
Whole = Callable[[str, str | None, str | None], None]
#: Pairs the elements of two sequences: indices to compare, indices only in the first, indices only in the second.
Match = Callable[[Sequence[Any], Sequence[Any], Callable[[Any, Any], bool]], tuple[list[int], range, range]]

_XMLNS = "http://www.w3.org/XML/1998/namespace"


def diff_xml(old: bytes, new: bytes, match: Match, leaf: Leaf, whole: Whole) -> bool:
    """Tell every difference through ``leaf`` and ``whole``; False, and nothing is told, when one of them is not well formed.

    Paths read ``/ClinicalDocument/id[2]/@extension``; names as the documents write them, numbers among elements of the same name, from
    1, ``[1]`` left out. White space between elements, prefixes, the order of attributes, and comments do not count.
    """
    codec = XmlCodec()
    try:
        roots = codec.decode(old).root, codec.decode(new).root
    except CodecError:
        return False
    marks: dict[etree._Element, int] = {}
    for root in roots:
        _mark(root, marks)
    _Comparison(match, leaf, whole, marks).run(*roots)
    return True


def _elements(element: etree._Element) -> list[etree._Element]:
    return [child for child in element if isinstance(child.tag, str)]


def _content(element: etree._Element) -> str:
    """The text directly inside, exactly as written in a leaf, without the blanks of indentation elsewhere."""
    parts = [element.text or "", *((child.tail or "") for child in element)]
    text = "".join(parts)
    return text if not len(element) else "".join(part for part in parts if part.strip())


def _mark(root: etree._Element, marks: dict[etree._Element, int]) -> None:
    """Elements with the same mark have the same content; from the leaves up, without recursion."""
    inside: list[etree._Element] = [root]
    for element in inside:
        inside.extend(_elements(element))
    for element in reversed(inside):
        own = (element.tag, tuple(sorted(element.attrib.items())), _content(element))
        marks[element] = hash((own, tuple(marks[child] for child in _elements(element))))


def _name(element: etree._Element) -> str:
    tag = str(element.tag).rpartition("}")[2]
    return f"{element.prefix}:{tag}" if element.prefix else tag


def _attribute(element: etree._Element, name: str) -> str:
    uri, _, local = name.rpartition("}")
    if not uri:
        return f"@{local}"
    prefix = "xml" if uri[1:] == _XMLNS else next((p for p, u in element.nsmap.items() if u == uri[1:] and p), "")
    return f"@{prefix}:{local}" if prefix else f"@{local}"


class _Comparison:
    def __init__(self, match: Match, leaf: Leaf, whole: Whole, marks: dict[etree._Element, int]) -> None:
        self._match = match
        self._leaf = leaf
        self._whole = whole
        self._marks = marks

    def run(self, old: etree._Element, new: etree._Element) -> None:
        if old.tag != new.tag:
            self._whole(f"/{_name(old)}", _text(old), None)
            self._whole(f"/{_name(new)}", None, _text(new))
            return
        todo = [(f"/{_name(old)}", old, new)]  # a stack, not recursion: depth is the sender's choice
        while todo:
            path, before, after = todo.pop()
            if self._marks[before] == self._marks[after]:
                continue
            for name in dict.fromkeys((*before.attrib, *after.attrib)):
                one, other = before.get(name), after.get(name)
                if one != other:
                    place = f"{path}/{_attribute(before if one is not None else after, str(name))}"
                    if one is None or other is None:
                        self._whole(place, one, other)  # an empty attribute is there, too
                    else:
                        self._leaf(place, one, other)
            if _content(before) != _content(after):
                self._leaf(path, _content(before), _content(after))
            todo.extend(reversed(self._children(path, before, after)))

    def _children(
        self, path: str, before: etree._Element, after: etree._Element
    ) -> list[tuple[str, etree._Element, etree._Element]]:
        """Tell what is on one side only; the pairs that are left to be compared."""
        sides = _by_name(before), _by_name(after)
        pairs = []
        alone: tuple[set[etree._Element], set[etree._Element]] = (set(), set())
        for tag in dict.fromkeys((*sides[0], *sides[1])):
            old, new = sides[0].get(tag, []), sides[1].get(tag, [])
            paired, gone, come = self._match(old, new, lambda a, b: self._marks[a] == self._marks[b])
            pairs += [(_place(path, old[i], i), old[i], new[i]) for i in paired]
            for i in gone:
                self._whole(_place(path, old[i], i), _text(old[i]), None)
                alone[0].add(old[i])
            for i in come:
                self._whole(_place(path, new[i], i), None, _text(new[i]))
                alone[1].add(new[i])
        orders = [
            [_name(e) for e in _elements(side) if e not in out]
            for side, out in zip((before, after), alone, strict=True)
        ]
        if [str(e.tag) for e in _elements(before) if e not in alone[0]] != [
            str(e.tag) for e in _elements(after) if e not in alone[1]
        ]:
            self._leaf(f"{path}/*", " ".join(orders[0]), " ".join(orders[1]))
        return pairs


def _by_name(element: etree._Element) -> dict[str, list[etree._Element]]:
    found: dict[str, list[etree._Element]] = {}
    for child in _elements(element):
        found.setdefault(str(child.tag), []).append(child)
    return found


def _place(path: str, element: etree._Element, index: int) -> str:
    return f"{path}/{_name(element)}" if index == 0 else f"{path}/{_name(element)}[{index + 1}]"


def _text(element: etree._Element) -> str:
    """The element as written, without what follows it."""
    from lxml import etree

    return etree.tostring(element, encoding="unicode", with_tail=False)
