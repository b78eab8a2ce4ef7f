"""HL7 v3 interactions and CDA R2 documents: XML whose elements say what and which it is.

Chinese platform messages (WS/T 447, interactions of 互联互通) have the same head as those of HL7 and IHE.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from lxml import etree

from hub.codecs.xml_codec import XmlCodec, local_name

__all__ = ["CdaCodec", "Hl7v3Codec"]

_INTERACTION = re.compile(r"[A-Z]{4}_IN[0-9]{6}[A-Z]{2}[0-9]{0,2}", re.ASCII)
_CDA_ROOT = "ClinicalDocument"


def _child(element: etree._Element, name: str) -> etree._Element | None:
    """The first child of a name in whatever namespace: senders forget to declare HL7's."""
    return next(element.iterchildren(f"{{*}}{name}"), None)


def _attribute(element: etree._Element | None, name: str) -> str:
    return (element.get(name) or "").strip() if element is not None else ""


def _identifier(element: etree._Element | None) -> str:
    """The extension of an ``id``, else its root; the Chinese schemas put both into an ``item``."""
    if element is None:
        return ""
    item = _child(element, "item")
    return next(
        (
            found
            for found in (
                _attribute(element, "extension"),
                _attribute(item, "extension"),
                _attribute(element, "root"),
                _attribute(item, "root"),
            )
            if found
        ),
        "",
    )


class Hl7v3Codec(XmlCodec):
    """HL7 v3 interactions. The type is the name of the root, which HL7 defines to be the interaction's; where it is none,
    ``interactionId/@extension``, which in practice is often copied from another interaction. The number is that of ``id``."""

    name: ClassVar[str] = "hl7v3"

    def envelope(self, tree: Any) -> tuple[str, str]:
        root = tree.root
        name = local_name(root)
        if not _INTERACTION.fullmatch(name):
            name = _attribute(_child(root, "interactionId"), "extension") or name
        return name, _identifier(_child(root, "id"))


class CdaCodec(XmlCodec):
    """CDA R2 documents. The type is ``code/@code`` (``C0006`` of WS/T 500, a LOINC code elsewhere), without one the root of the
    first ``templateId``, of anything but a document the name of its root. The number is that of ``id``."""

    name: ClassVar[str] = "cda"

    def envelope(self, tree: Any) -> tuple[str, str]:
        root = tree.root
        kind = local_name(root)
        if kind == _CDA_ROOT:
            kind = _attribute(_child(root, "code"), "code") or _attribute(_child(root, "templateId"), "root") or kind
        return kind, _identifier(_child(root, "id"))
