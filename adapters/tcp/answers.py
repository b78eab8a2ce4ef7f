"""What is said to a sender: fixed bytes, or templates that tell what became of its message."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field

from adapters.tcp.framing_options import ByteText
from hub.api import ExchangeError, Receipt, StoreBusy
from hub.ids import id_text
from hub.masking import mask_text
from hub.message import Outcome

__all__ = ["Answers", "answer_for"]

_PLACE = re.compile(rb"\{(control_id|type|message_id|code|text)\}")
#: What could end a string, an element or a frame: the values come from the message.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\"'<>&\\{}|^~]")
_LONGEST = 400


class Answers(BaseModel):
    r"""``answers``: the bytes for each outcome, empty for none.

    ``{control_id}``, ``{type}``, ``{message_id}``, ``{code}`` and ``{text}`` (of an error) are filled in; any other brace stays.
    Quotes, angle brackets, delimiters and control characters of these values become blanks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    accepted: ByteText = Field(b"", description="stored")
    duplicate: ByteText | None = Field(None, description="stored before; default: as accepted")
    refused: ByteText = Field(b"", description="never, however often it is sent")
    later: ByteText = Field(
        b"", description="not now; without it the connection is closed instead, so that the sender notices"
    )
    framed: bool = Field(True, description="in a frame like the messages; false: as they are, e.g. a single ACK byte")


def answer_for(answers: Answers, receipt: Receipt, encoding: str) -> bytes:
    """The answer to a message, not framed; empty: none. The reply of request style is not this function's matter."""
    if receipt.accepted:
        again = receipt.outcome is Outcome.DUPLICATE and answers.duplicate is not None
        template = answers.duplicate if again else answers.accepted
    else:
        passing = isinstance(receipt.error, ExchangeError) and receipt.error.passing and answers.later
        template = answers.later if passing or isinstance(receipt.error, StoreBusy) else answers.refused
    template = template or b""
    if b"{" not in template:
        return template
    error = receipt.error
    values = {
        b"control_id": receipt.control_id,
        b"type": receipt.type,
        b"message_id": id_text(receipt.message_id) if receipt.message_id else "",
        b"code": error.code if error else "",
        b"text": mask_text(error.text) if error else "",
    }
    return _PLACE.sub(
        lambda found: _UNSAFE.sub(" ", values[found[1]][:_LONGEST]).encode(encoding or "utf-8", "replace"), template
    )
