"""What generated code calls to read lxml elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hub.mapping.runtime import equal

__all__ = ["XML_RUNTIME", "has_tag", "local_name"]

Element = Any
Nodes = Sequence[Any]


def has_tag(element: Element, wanted: str) -> bool:
    """Whether an element has a tag as lxml's filters write it: ``{uri}name``, ``{*}name``, ``{uri}*``, ``name``, ``*``."""
    tag: str = element.tag
    if wanted == "*" or tag == wanted:
        return True
    if wanted.startswith("{*}"):
        return tag.rpartition("}")[2] == wanted[3:]
    return wanted.endswith("}*") and tag.startswith(wanted[:-1])


def top(root: Element, *tags: str) -> Nodes:
    return (root,) if any(has_tag(root, tag) for tag in tags) else ()


def top_all(root: Element, *tags: str) -> Nodes:
    return list(root.iter(*tags))


def all_children(elements: Nodes, *tags: str) -> Nodes:
    if len(elements) == 1:
        return list(elements[0].iterchildren(*tags))
    return [child for element in elements for child in element.iterchildren(*tags)]


def nested_children(elements: Nodes, *tags: str) -> Nodes:
    """The same for elements which may be inside one another: in document order all the same."""
    if len(elements) < 2:
        return all_children(elements, *tags)
    parents = set(elements)
    inside: set[Element] = set()
    found: list[Element] = []
    for element in elements:
        if element not in inside:
            inside.update(part for part in element.iterdescendants("*") if part in parents)
            found += [child for child in element.iterdescendants(*tags) if child.getparent() in parents]
    return found


def all_below(elements: Nodes, *tags: str) -> Nodes:
    """Descendants of elements in document order, each once."""
    if len(elements) == 1:
        return list(elements[0].iterdescendants(*tags))
    found = (below for element in elements for below in element.iterdescendants(*tags))
    return list(dict.fromkeys(found))


def numbered(elements: Nodes, number: int) -> Nodes:
    """Of each parent the element of a number, from 1; -1 the last."""
    if len(elements) < 2:
        return elements if number in (1, -1) else ()
    families: dict[Element, list[Element]] = {}
    for element in elements:
        families.setdefault(element.getparent(), []).append(element)
    at = number - 1 if number > 0 else number
    chosen = {family[at] for family in families.values() if number <= len(family)}
    return [element for element in elements if element in chosen]


def index(found: dict[str, list[Element]], value: str | None, element: Element) -> None:
    if value is None:
        return
    elements = found.get(value)
    if elements is None:
        found[value] = [element]
    elif elements[-1] is not element:
        elements.append(element)


# -- values ------------------------------------------------------------------------------------------------------------


def text_of(element: Element) -> str:
    """All text in an element without the white space at both ends; no comments."""
    if len(element):
        return "".join(element.itertext()).strip()
    text: str | None = element.text
    return text.strip() if text else ""


def own_text(element: Element) -> str:
    """The text directly in an element, as written."""
    text: str = element.text or ""
    if len(element):
        text += "".join(child.tail or "" for child in element)
    return text


def texts(elements: Nodes) -> list[str]:
    return [text_of(element) for element in elements]


def own_texts(elements: Nodes) -> list[str]:
    return [text for element in elements if (text := own_text(element))]


def first_own_text(elements: Nodes) -> str:
    return next((text for element in elements if (text := own_text(element))), "")


def local_name(element: Element) -> str:
    tag: str = element.tag
    return tag.rpartition("}")[2]


def local_names(elements: Nodes) -> list[str]:
    return [local_name(element) for element in elements]


def attributes(elements: Nodes, name: str) -> list[str]:
    return [value for element in elements if (value := element.get(name))]


def first_attribute(elements: Nodes, name: str) -> str:
    for element in elements:
        value: str | None = element.get(name)
        if value is not None:
            return value
    return ""


# -- comparisons in predicates: whether they hold for one of the values -------------------------------------------------


def any_text(values: Sequence[str]) -> bool:
    return any(values)


def unlike(values: Sequence[str], text: str) -> bool:
    return any(value != text for value in values)


def common(values: Sequence[str], others: Sequence[str]) -> bool:
    return not set(values).isdisjoint(others)


def uncommon(values: Sequence[str], others: Sequence[str]) -> bool:
    return bool(values and others) and len({*values, *others}) > 1


def matched(values: Sequence[str], other: Any) -> bool:
    return any(equal(value, other) for value in values)


def unmatched(values: Sequence[str], other: Any) -> bool:
    return any(not equal(value, other) for value in values)


XML_RUNTIME: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        top,
        top_all,
        all_children,
        nested_children,
        all_below,
        numbered,
        index,
        text_of,
        own_text,
        texts,
        own_texts,
        first_own_text,
        local_name,
        local_names,
        attributes,
        first_attribute,
        any_text,
        unlike,
        common,
        uncommon,
        matched,
        unmatched,
    )
}
