"""WS-Addressing: whose message it is, and in the answer which message it answers (WS-Addressing 1.0 core, sections 3.2 and 3.4)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from adapters.soap.envelope import Envelope
from adapters.soap.fault import FaultRefusal
from adapters.soap.names import ADDRESSING, local, namespace
from adapters.soap.text import as_text, attribute
from hub.masking import mask_text

__all__ = ["ANONYMOUS", "Addressed", "addressed", "request_headers"]

ANONYMOUS = (
    "http://www.w3.org/2005/08/addressing/anonymous",
    "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous",
)
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class Addressed:
    """The addressing headers of a request."""

    space: str
    message_id: str
    action: str

    def answer(self, fault: bool) -> str:
        """The header blocks of the answer."""
        action = (
            f"{self.space}/{'soap/' if self.space == ADDRESSING[0] else ''}fault" if fault else f"{self.action}Response"
        )
        parts = [("Action", action), ("MessageID", f"urn:uuid:{uuid.uuid4()}"), ("RelatesTo", self.message_id)]
        return "".join(
            f'<wsa:{name} xmlns:wsa="{self.space}">{as_text(text)}</wsa:{name}>' for name, text in parts if text
        )


def addressed(envelope: Envelope) -> Addressed | None:
    """The addressing headers, none where there are none. Raises :class:`FaultRefusal` for what can't be served."""
    found: dict[str, str] = {}
    space = ""
    for block in envelope.blocks():
        tag = str(block.tag)
        if namespace(tag) not in ADDRESSING:
            continue
        space = space or namespace(tag)
        name = local(tag)
        if name in ("ReplyTo", "FaultTo"):
            value = str(block.xpath("string(*[local-name() = 'Address'])")).strip()
            if value not in ANONYMOUS:
                raise FaultRefusal(
                    "InvalidAddressingHeader",
                    "soap.reply_to",
                    (
                        f"the answer can only go back on the same connection, not to the address in {name}",
                        f"应答只能经同一连接返回，不能发往 {name} 中的地址",
                    ),
                    ("leave it out, or give the anonymous address", "请省略该头块，或使用匿名地址"),
                )
            continue
        value = str(block.xpath("string()")).strip()
        if name in found or len(value) > _LONGEST:
            shown = mask_text(name[:40])
            raise FaultRefusal(
                "InvalidAddressingHeader",
                "soap.addressing",
                (f"the header {shown} is repeated or too long", f"头块 {shown} 重复或过长"),
            )
        found[name] = value
    if not space:
        return None
    return Addressed(space, found.get("MessageID", ""), found.get("Action", ""))


def request_headers(action: str, to: str, message_id: str) -> str:
    """The header blocks of a request."""
    space = attribute(ADDRESSING[0])
    return (
        f'<wsa:Action xmlns:wsa="{space}">{as_text(action)}</wsa:Action>'
        f'<wsa:MessageID xmlns:wsa="{space}">{as_text(message_id)}</wsa:MessageID>'
        f'<wsa:To xmlns:wsa="{space}">{as_text(to)}</wsa:To>'
        f'<wsa:ReplyTo xmlns:wsa="{space}"><wsa:Address>{ANONYMOUS[0]}</wsa:Address></wsa:ReplyTo>'
    )
