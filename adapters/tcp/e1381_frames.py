"""Frames of ASTM E1381 (CLSI LIS1-A), byte for byte."""

from __future__ import annotations

import re

from hub.api import HubError
from hub.i18n import t

__all__ = ["ACK", "BODY", "CR_LF", "ENQ", "EOT", "ETB", "ETX", "NAK", "STX", "checksum", "ends_message", "frames_of"]

STX, ETX, EOT, ENQ, ACK, NAK, ETB = b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", b"\x15", b"\x17"
CR_LF = b"\r\n"

#: Characters a text must not hold: the restricted ones of E1381, and NUL, which the checksum would not notice.
_RESTRICTED = re.compile(rb"[\x00-\x06\n\x10-\x17]")
#: What a checksum is made of: number, text, ETB or ETX.
BODY = re.compile(rb"[0-7][^\x00-\x06\n\x10-\x17]*[\x03\x17]")


def checksum(data: bytes) -> bytes:
    """Of frame number to ETB or ETX: the sum modulo 256 in two hexadecimal digits."""
    return b"%02X" % (sum(data) & 0xFF)


def frames_of(message: bytes, size: int, *, by_record: bool) -> list[bytes]:
    """The frames of one transmission, at most ``size`` characters of text in each.

    ``by_record``: each record ends a frame; else only the last frame ends with ETX and the others are full. Raises
    :class:`HubError` for a message that the protocol can't carry.
    """
    found = _RESTRICTED.search(message)
    if found is not None:
        raise HubError(
            t(
                f"the message holds the control character {found[0][0]:02X} at byte {found.start() + 1}, which frames don't allow",
                f"消息第 {found.start() + 1} 字节为帧中不允许的控制字符 {found[0][0]:02X}",
            ),
            code="astm.character",
            remedy=t("records end in CR, not in LF", "记录以 CR 结尾，不能使用 LF"),
        )
    if not message:
        raise HubError(t("the message is empty", "消息为空"), code="astm.character")
    texts = re.findall(rb"[^\r]*\r|[^\r]+", message) if by_record else [message]
    frames: list[bytes] = []
    for text in texts:
        for start in range(0, len(text), size):
            last = start + size >= len(text)
            body = b"%d" % ((len(frames) + 1) % 8) + text[start : start + size] + (ETX if last else ETB)
            frames.append(STX + body + checksum(body) + CR_LF)
    return frames


def ends_message(end: bytes, delimiter: bytes) -> bool:
    """Whether the last record of a text is the terminator: L alone, or followed by the delimiter of fields."""
    last = end.rstrip(b"\r").rpartition(b"\r")[2]
    return last[:1] == b"L" and last[1:2] in (b"", delimiter)
