"""The reply to a message in event style: a template, or MCCI_IN000002UV01 as the Chinese platforms answer (WS/T 846 parts 2 to 9)."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from lxml import etree

from adapters.soap.names import local
from adapters.soap.text import attribute
from hub.api import CodecError
from hub.codecs.xml_charset import to_utf8

__all__ = ["MCCI", "fill", "mcci"]

MCCI = "mcci"
_PLACE = re.compile(r"\{(message_id|control_id|outcome|code|text|now|uuid)\}")
#: Bytes of a message that are read for its acknowledgement at most, and at a time: all that is wanted stands in the first few hundred.
_HEAD = 4 << 10
_PIECE = 512
_PARTIES = ("sender", "receiver")
_LONGEST = 256
_SAFE: dict[str, Any] = {
    "encoding": "utf-8",
    "resolve_entities": False,
    "load_dtd": False,
    "no_network": True,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
_MESSAGE_ROOT = "2.16.156.10011.2.5.1.1"
_INTERACTION_ROOT = "2.16.156.10011.2.5.1.2"
_SYSTEM_ROOT = "2.16.156.10011.2.5.1.3"


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with the values in their places, escaped as its own form needs: XML, JSON, or plain text."""
    start = template.lstrip()[:1]

    def put(found: re.Match[str]) -> str:
        name = found[1]
        value = _now() if name == "now" else str(uuid.uuid4()) if name == "uuid" else values.get(name, "")
        if start == "<":
            return attribute(value)
        if start in ("{", "["):
            return json.dumps(value, ensure_ascii=False)[1:-1]
        return value

    return _PLACE.sub(put, template)


def mcci(raw: bytes, encoding: str | None, code: str, text: str) -> str:
    """The acknowledgement of an HL7 v3 message; ``code`` is AA or AE. Sender and receiver change places.

    ``encoding``: of the bytes, by the contract; None where they are UTF-8 for sure.
    For bytes that are not XML, or have no head, the places of what they would say stay empty.
    """
    root = _beginning(raw, encoding)
    message_root, message_id = _identifier(_at(root, "id"))
    receiver_root, receiver = _identifier(_at(root, "sender", "device", "id"))
    sender_root, sender = _identifier(_at(root, "receiver", "device", "id"))
    processing = _at(root, "processingCode")
    process = (processing.get("code") or "P") if processing is not None else "P"
    own = uuid.uuid4()
    return (
        '<MCCI_IN000002UV01 xmlns="urn:hl7-org:v3" ITSVersion="XML_1.0">'
        f'<id root="{_MESSAGE_ROOT}" extension="{own}"/>'
        f'<creationTime value="{_now()}"/>'
        f'<interactionId root="{_INTERACTION_ROOT}" extension="MCCI_IN000002UV01"/>'
        f'<processingCode code="{attribute(process)}"/><processingModeCode/><acceptAckCode code="NE"/>'
        f"{_party('receiver', 'RCV', receiver_root, receiver)}{_party('sender', 'SND', sender_root, sender)}"
        f'<acknowledgement typeCode="{code}">'
        f'<targetMessage><id root="{attribute(message_root or _MESSAGE_ROOT)}" extension="{attribute(message_id)}"/></targetMessage>'
        f'<acknowledgementDetail><text value="{attribute(text)}"/></acknowledgementDetail>'
        "</acknowledgement></MCCI_IN000002UV01>"
    )


def _beginning(raw: bytes, encoding: str | None) -> etree._Element | None:
    """The root with as much of the document as is needed: the head stands at its beginning, and the rest may be large."""
    root: etree._Element | None = None
    try:
        data = (raw if encoding is None else to_utf8(raw, encoding).data)[:_HEAD]
        if b"<!DOCTYPE" in data:
            return None
        parser = etree.XMLPullParser(("start", "end"), tag=("{*}id", *(f"{{*}}{name}" for name in _PARTIES)), **_SAFE)
        ended = 0
        for at in range(0, len(data), _PIECE):
            parser.feed(data[at : at + _PIECE])
            for event, found in parser.read_events():
                if not isinstance(found, etree._Element):
                    continue
                if root is None:
                    root = found.getroottree().getroot()
                if event == "end" and found.getparent() is root and local(str(found.tag)) in _PARTIES:
                    ended += 1
            if ended >= len(_PARTIES):
                break
    except (CodecError, etree.LxmlError):
        return None
    return root


def _party(name: str, kind: str, root: str, extension: str) -> str:
    return (
        f'<{name} typeCode="{kind}"><device classCode="DEV" determinerCode="INSTANCE">'
        f'<id><item root="{attribute(root or _SYSTEM_ROOT)}" extension="{attribute(extension)}"/></id></device></{name}>'
    )


def _at(root: etree._Element | None, *names: str) -> etree._Element | None:
    """The first element down this way, in whatever namespace."""
    for name in names:
        if root is None:
            return None
        root = next(root.iterchildren(f"{{*}}{name}"), None)
    return root


def _identifier(element: etree._Element | None) -> tuple[str, str]:
    """Root and extension of an ``id``, or of the ``item`` in it."""
    if element is None:
        return "", ""
    held = next(element.iterchildren("{*}item"), element)
    return (held.get("root") or "").strip()[:_LONGEST], (held.get("extension") or "").strip()[:_LONGEST]


def _now() -> str:
    return time.strftime("%Y%m%d%H%M%S")
