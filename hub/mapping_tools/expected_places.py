"""Single places of what a mapping makes, as its tests name them: paths into plain trees, HL7 v2 messages and XML documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hub.codecs.hl7v2 import Hl7Message
from hub.codecs.xml_codec import XmlDocument
from hub.errors import HubError
from hub.i18n import t
from hub.mapping import Context, compile_expression
from hub.mapping_tools.steps import MISSING, at, parse_steps

__all__ = ["at_path", "element_paths"]


def at_path(tree: Any, path: str, codec: str, namespaces: Mapping[str, str]) -> Any:
    """What is at a place, :data:`MISSING` when nothing is; texts of HL7 v2 and XML as the path of a mapping reads them.

    In plain trees a path may have filters (``entry[code=='x'].value``). Raises :class:`HubError` for what is no path.
    """
    if isinstance(tree, Hl7Message):
        return tree.get(path) or MISSING
    if not isinstance(tree, XmlDocument):
        try:
            return at(tree, parse_steps(path))
        except HubError:
            if "[" not in path:
                raise
    found = compile_expression(path, codec, key=path, namespaces=namespaces)(tree, Context())
    return MISSING if found is None or (isinstance(tree, XmlDocument) and found == "") else found


def element_paths(expected: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(XPath, text, or null for nothing) of every value of a part of a document, which is written as a mapping writes one."""
    if isinstance(expected, dict):
        for key, below in expected.items():
            step = "text()" if key in ("#text", "#cdata") else key
            yield from element_paths(below, f"{path}/{step}" if path else step)
    elif isinstance(expected, list):
        for number, below in enumerate(expected, 1):
            yield from element_paths(below, f"{path}[{number}]")
    elif not path:
        raise HubError(
            t("a document is expected as text, or by its elements", "文档须以文本或其元素表示"),
            code="test.expectation",
            remedy="output: |  /  contains: {order: {item: …}}",
        )
    else:
        yield path, expected
