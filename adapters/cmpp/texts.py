"""Texts as short messages: which coding, how many parts, and back again.

A part has at most 140 bytes (3GPP TS 23.040 9.2.3.16), a single one in ASCII 160 characters; parts of a longer text carry a user data
header that says which text, how many parts, which of them (9.2.3.24.1: 8-bit reference, 9.2.3.24.8: 16-bit).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hub.i18n import t

__all__ = ["ASCII", "GBK", "UCS2", "Coding", "Piece", "TextError", "content_of", "pieces_of", "read_piece", "text_of"]

ASCII, BINARY, UCS2, GBK = 0, 4, 8, 15
_CODECS = {ASCII: "ascii", UCS2: "utf-16-be", GBK: "gbk"}
_ONE_ASCII, _ONE = 160, 140
_UNREADABLE = "\ufffd"
#: Most parts a header can count.
_MOST = 255

Coding = Literal["auto", "ascii", "gbk", "ucs2"]


class TextError(Exception):
    """A text that can't be sent; the message is for people and does not hold the text."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part that came in: its bytes without header. ``total`` 1: the whole text."""

    reference: int
    total: int
    number: int  # from 1
    data: bytes


def _coding(text: str, wanted: Coding) -> int:
    if wanted == "auto":
        return ASCII if all(char in "\r\n" or " " <= char <= "~" for char in text) else UCS2
    return {"ascii": ASCII, "gbk": GBK, "ucs2": UCS2}[wanted]


def pieces_of(
    text: str, wanted: Coding, *, reference: int, wide_reference: bool, most: int
) -> tuple[int, list[bytes], bool]:
    """(Msg_Fmt, content of each part with its header, whether they have one).

    ``reference``: what parts of one text have in common; cut to 8 or, with ``wide_reference``, 16 bits.
    Raises :class:`TextError`. No character is cut in two.
    """
    if not text:
        raise TextError(t("there is no text", "短信内容为空"))
    coding = _coding(text, wanted)
    codec = _CODECS[coding]
    try:
        units = [char.encode(codec) for char in text]
    except UnicodeEncodeError as error:
        raise TextError(
            t(
                f"character {error.start + 1} of a text is not in {wanted} -> use encoding: ucs2",
                f"短信内容含 {wanted} 之外的字符 -> 请使用 encoding: ucs2",
            )
        ) from None
    size = sum(map(len, units))
    if size <= (_ONE_ASCII if coding == ASCII else _ONE):
        return coding, [b"".join(units)], False
    room = _ONE - (7 if wide_reference else 6)
    parts: list[bytes] = []
    part = bytearray()
    for unit in units:
        if len(part) + len(unit) > room:
            parts.append(bytes(part))
            part.clear()
        part += unit
    parts.append(bytes(part))
    if len(parts) > min(most, _MOST):
        raise TextError(
            t(
                f"the text needs {len(parts)} parts, at most {most} are allowed (max_parts)",
                f"短信需拆为 {len(parts)} 条，最多允许 {most} 条（max_parts）",
            )
        )
    if wide_reference:
        head = bytes((6, 8, 4)) + (reference & 0xFFFF).to_bytes(2, "big")
    else:
        head = bytes((5, 0, 3, reference & 0xFF))
    total = len(parts)
    return coding, [head + bytes((total, number)) + data for number, data in enumerate(parts, 1)], True


def read_piece(content: bytes, udhi: bool) -> Piece:
    """What a content with a user data header says of itself; a header that can't be is part of the text."""
    if not udhi or not content or content[0] + 1 > len(content):
        return Piece(0, 1, 1, content)
    end = content[0] + 1
    at = 1
    data = content[end:]
    while at + 2 <= end:
        kind, length = content[at], content[at + 1]
        value = content[at + 2 : at + 2 + length]
        if at + 2 + length > end:
            break
        if (kind, length) in ((0, 3), (8, 4)):
            total, number = value[-2], value[-1]
            if total > 1 and 1 <= number <= total:
                wide = 1 << 16 if kind == 8 else 0  # the two kinds number apart
                return Piece(wide | int.from_bytes(value[:-2], "big"), total, number, data)
        at += 2 + length
    return Piece(0, 1, 1, data)


def text_of(data: bytes, msg_fmt: int) -> str | None:
    """The text of a content; None for what is no text. What can't be read is shown as U+FFFD."""
    codec = _CODECS.get(msg_fmt)
    if codec is None:
        return None
    return data.decode("gb18030" if codec == "gbk" else codec, "replace")


def content_of(text: str | None, data: bytes) -> dict[str, str]:
    """What a reader wrote, for the hub: ``text``; ``data``, hexadecimal, where it is none or has a place that can't be read."""
    found = {"text": text} if text is not None else {}
    return found if text is not None and _UNREADABLE not in text else {**found, "data": data.hex()}
