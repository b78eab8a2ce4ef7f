"""Status codes of DIMSE (PS3.7 annex C, PS3.4 B.2.3, C.4, F.7.2, J.3) as the hub understands them."""

from __future__ import annotations

from typing import Any

from hub.api import Reply
from hub.masking import mask_text

__all__ = ["CANCELLED", "PENDING", "SUCCESS", "reply_of"]

SUCCESS = 0x0000
CANCELLED = 0xFE00
PENDING = (0xFF00, 0xFF01)
_DUPLICATE_INSTANCE = 0x0111
#: Done, with a remark: attributes ignored or coerced, elements discarded, sub-operations that failed in part.
_WARNINGS = (0x0001, 0x0107, 0x0116)
#: Not now: the target is busy, stopping, or out of resources.
_TRANSIENT = (0x0213, CANCELLED)
_TEXTS = {
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0110: "processing failure",
    _DUPLICATE_INSTANCE: "duplicate SOP instance",
    0x0112: "no such SOP instance",
    0x0117: "invalid SOP instance UID",
    0x0118: "no such SOP class",
    0x0119: "class and instance don't match",
    0x0120: "missing attribute",
    0x0121: "missing attribute value",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0210: "duplicate invocation",
    0x0211: "unrecognised operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xA701: "out of resources: number of matches",
    0xA702: "out of resources: sub-operations",
    0xA801: "move destination unknown",
    CANCELLED: "cancelled",
}


def reply_of(status: int, response: Any, *, body: bytes = b"", repeated: bool = False) -> Reply:
    """The verdict on a final status. ``repeated``: the call was made before, so that an instance that is there already is ours."""
    code = f"{status:04X}"
    comment = mask_text(str(getattr(response, "ErrorComment", None) or ""))[:64]
    high = status >> 12
    ok = status == SUCCESS or status in _WARNINGS or high == 0xB or (repeated and status == _DUPLICATE_INSTANCE)
    text = "" if status == SUCCESS else f"{code} {_words(status)}" + (f": {comment}" if comment else "")
    if ok:
        return Reply(True, body, 0, code, text)
    return Reply(False, body, 0, code, text, transient=status in _TRANSIENT or status >> 8 == 0xA7)


def _words(status: int) -> str:
    if status in _TEXTS:
        return _TEXTS[status]
    if status >> 8 == 0xA7:
        return "out of resources"
    if status >> 8 == 0xA9:
        return "data set does not match SOP class"
    return {0xB: "warning", 0xC: "cannot understand or process"}.get(status >> 12, "failure")
