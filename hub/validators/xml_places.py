"""Places in XML documents: elements by the paths libxml2 gives, and paths as people and mappings write them."""

from __future__ import annotations

import re
from typing import Any, cast

from lxml import etree

from hub.i18n import t

__all__ = ["element_at", "line_of", "more_elements", "place_of", "xpath_of"]

_STEP = re.compile(r"(?:([^:/\[\]]+):)?([^:/\[\]]+)(?:\[(\d+)\])?")


def element_at(root: etree._Element, path: str) -> etree._Element | None:
    """The element libxml2 means: ``/*/*[3]``, ``/p:a/p:b[2]``; ``*`` counts every element, a name those of its name and prefix."""
    steps = path.strip("/").split("/")
    found: etree._Element = root
    for step in steps[1:]:
        parts = _STEP.fullmatch(step)
        if parts is None:
            return None
        prefix, name, number = parts[1], parts[2], int(parts[3] or 1)
        for child in found.iterchildren("*"):
            same = name == "*" or (child.prefix == prefix and etree.QName(child).localname == name)
            number -= same
            if not number:
                found = child
                break
        else:
            return None
    return found


def xpath_of(element: etree._Element, attribute: str = "") -> str:
    """``/ClinicalDocument/recordTarget/patientRole/id[2]/@root``; a number only where siblings have the same name."""
    steps = [f"/@{attribute}"] if attribute else []
    node: etree._Element | None = element
    while node is not None:
        name = etree.QName(node).localname
        step = f"/{node.prefix}:{name}" if node.prefix else f"/{name}"
        parent = node.getparent()
        if parent is not None:
            before = sum(1 for _ in node.itersiblings(str(node.tag), preceding=True))
            if before or next(node.itersiblings(str(node.tag)), None) is not None:
                step += f"[{before + 1}]"
        steps.append(step)
        node = parent
    return "".join(reversed(steps))


def line_of(element: etree._Element) -> int:
    """The line an element begins on, 0 for one that was not parsed."""
    return int(cast(Any, element).sourceline or 0)


def place_of(element: etree._Element, attribute: str = "") -> str:
    """The path of an element, or of an attribute of it, with its line."""
    xpath, line = xpath_of(element, attribute), line_of(element)
    return xpath + t(f" (line {line})", f"（第 {line} 行）") if line else xpath


def more_elements(root: etree._Element, limit: int, raw: bytes) -> bool:
    """Whether a document has more elements than that; ``raw`` are its bytes, ``b""`` when there are none yet."""
    if raw and raw.count(b"<") <= limit:  # in any character set there are at least as many as elements
        return False
    return any(number >= limit for number, _ in enumerate(root.iter("*")))
