"""What of an envelope is the message, and the parameters beside it."""

from __future__ import annotations

import base64
import binascii
import copy
import re
from collections.abc import Mapping
from itertools import islice
from urllib.parse import unquote

from lxml import etree

from adapters.soap.envelope import Envelope
from adapters.soap.fault import FaultRefusal
from adapters.soap.names import XOP, local
from hub.masking import mask_text

__all__ = [
    "Place",
    "binary_of",
    "content_of",
    "inline_attachments",
    "parameters_of",
    "resolved",
    "serialised",
    "text_of",
]

#: Names the parameter that is the result (SOAP 1.2 part 2, 4.2.1); no parameter itself.
_RPC_RESULT = "{http://www.w3.org/2003/05/soap-rpc}result"
_INCLUDE = f"{{{XOP}}}Include"
_PLACE = re.compile(r"body|envelope|parameter\s+(-?\d{1,3}|[\w.-]{1,100})")
_CDATA = re.compile(r"<!\[CDATA\[(.*)\]\]>", re.DOTALL)
_MOST_PARAMETERS = 1000


class Place:
    """The option ``payload``: ``body``, ``envelope``, ``parameter NAME`` or ``parameter POSITION`` (from 1; -1 is the last)."""

    __slots__ = ("kind", "name", "position")

    def __init__(self, text: str) -> None:
        found = _PLACE.fullmatch(text)
        if found is None:
            raise ValueError(
                f"{text!r} is not a place: write body, envelope, parameter NAME, or parameter POSITION counted from 1 (-1: the last)"
            )
        self.kind = text.split()[0]
        wanted = found[1] or ""
        self.position = int(wanted) if re.fullmatch(r"-?\d+", wanted) else 0
        self.name = "" if self.position else wanted
        if wanted and not self.position and wanted.isdigit():
            raise ValueError("positions of parameters count from 1")

    def find(self, operation: etree._Element | None) -> etree._Element | None:
        """The parameter of an operation, by its name in whatever namespace, or by its position."""
        if operation is None:
            return None
        if self.name:
            return next(operation.iterchildren(f"{{*}}{self.name}"), None)
        children = list(islice(operation.iterchildren(etree.Element), _MOST_PARAMETERS))
        if children and children[0].tag == _RPC_RESULT:
            del children[0]
        at = self.position - 1 if self.position > 0 else self.position
        return children[at] if -len(children) <= at < len(children) else None

    def find_name(self, names: list[str]) -> str:
        """Which of these parameters it is; "" for none of them."""
        if self.name:
            return self.name if self.name in names else ""
        at = self.position - 1 if self.position > 0 else self.position
        return names[at] if self.position and -len(names) <= at < len(names) else ""


def parameters_of(envelope: Envelope) -> dict[str, etree._Element]:
    """The parameters of the operation by local name; the first of several."""
    operation = envelope.operation
    if operation is None:
        return {}
    found: dict[str, etree._Element] = {}
    for child in islice(operation.iterchildren(etree.Element), _MOST_PARAMETERS):
        found.setdefault(local(str(child.tag)), child)
    return found


def resolved(element: etree._Element, body: etree._Element) -> etree._Element:
    """What an ``href="#id"`` refers to (rpc/encoded as Axis 1 writes it), among the children of the body; else the element itself."""
    href = element.get("href") or ""
    if not href.startswith("#") or len(element) or (element.text or "").strip():
        return element
    for other in body.iterchildren(etree.Element):
        if other.get("id") == href[1:]:
            return other
    raise FaultRefusal(
        "client",
        "soap.reference",
        ("a parameter refers to an element that is not in the body", "参数引用的元素不在 Body 中"),
    )


def content_of(element: etree._Element) -> bytes:
    """The message an element holds, in UTF-8: its text, escaped or CDATA, or the XML that stands in it as elements.

    Blanks around a document are not part of it, nor is a CDATA section that was escaped once more.
    """
    inner = next(element.iterchildren(etree.Element), None)
    if inner is not None:
        return serialised(inner)
    text = text_of(element)
    bare = text.strip()
    if bare.startswith("<"):
        wrapped = _CDATA.fullmatch(bare)
        text = wrapped[1].strip() if wrapped and "]]>" not in wrapped[1] else bare
    return text.encode()


def text_of(element: etree._Element) -> str:
    """The text of an element without elements in it; comments are none of it."""
    text = element.text or ""
    return text + "".join(child.tail or "" for child in element) if len(element) else text


def serialised(element: etree._Element) -> bytes:
    """An element as a document of its own, in UTF-8, with the namespaces that are in scope."""
    twin = copy.deepcopy(element)
    twin.tail = None
    return etree.tostring(twin, encoding="utf-8", xml_declaration=False)


def binary_of(element: etree._Element, attachments: Mapping[str, bytes]) -> bytes:
    """The bytes of a parameter that is xs:base64Binary, in the envelope or as an attachment (XOP 1.0, section 3)."""
    include = next(element.iterchildren(_INCLUDE), None)
    if include is not None:
        return _attachment(include, attachments)
    text = "".join(text_of(element).split())
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise FaultRefusal(
            "client",
            "soap.base64",
            ("the parameter is not base64", "参数不是 base64"),
        ) from None


def inline_attachments(root: etree._Element, attachments: Mapping[str, bytes], limit: int) -> None:
    """Put every attachment where it belongs, as base64 (XOP 1.0, section 3.2); never more than ``limit`` bytes all together."""
    size = 0
    for include in list(root.iter(_INCLUDE)):
        data = _attachment(include, attachments)
        size += len(data) * 4 // 3
        parent = include.getparent()
        if size > limit or parent is None:
            raise FaultRefusal(
                "client",
                "soap.attachments",
                ("the attachments are too large all together", "附件总量过大"),
                status=413,
            )
        parent.remove(include)
        parent.text = base64.b64encode(data).decode()


def _attachment(include: etree._Element, attachments: Mapping[str, bytes]) -> bytes:
    href = include.get("href") or ""
    data = attachments.get(unquote(href[4:])) if href[:4].lower() == "cid:" else None
    if data is None:
        raise FaultRefusal(
            "client",
            "soap.attachment",
            (
                f"the attachment {mask_text(href[:80])} is not in the message",
                f"消息中没有附件 {mask_text(href[:80])}",
            ),
        )
    return data
