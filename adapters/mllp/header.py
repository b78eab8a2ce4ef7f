"""What acknowledging needs from a message header (MSH), read without decoding the message."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Header", "conditions_of", "decode_segment", "read_conditions", "read_header"]

#: HL7 table 0155, accept/application acknowledgement conditions.
_CONDITIONS = {"AL": "AL", "NE": "NE", "ER": "ER", "SU": "SU"}
_LONGEST = 8192


class Header(NamedTuple):
    control_id: str  # MSH-10
    accept: str  # MSH-15, see :func:`read_conditions`
    application: str  # MSH-16


def decode_segment(segment: bytes) -> tuple[str, str]:
    """The text of a header segment and the character set it was read with.

    The second byte of a GBK character may look like a separator, so a segment is decoded before it is split.
    """
    try:
        return segment.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return segment.decode("gb18030", "replace"), "gb18030"


def read_conditions(raw: bytes) -> tuple[str, str]:
    """MSH-15 and MSH-16: AL, NE, ER, SU, or "" where a field has none of these.

    A value outside table 0155 counts as empty: analysers use MSH-16 for other things ("0" patient, "2" control).
    """
    return conditions_of(_fields(raw))


def read_header(raw: bytes) -> Header:
    """The fields a sender needs to recognise the acknowledgement; empty where the bytes have none."""
    fields = _fields(raw)
    return Header(fields[9].strip() if len(fields) > 9 else "", *conditions_of(fields))


def conditions_of(fields: list[str]) -> tuple[str, str]:
    """The same from the fields of MSH, field n at n - 1."""
    count = len(fields)
    if count > 15:
        return _CONDITIONS.get(fields[14], ""), _CONDITIONS.get(fields[15], "")
    return (_CONDITIONS.get(fields[14], "") if count > 14 else ""), ""


def _fields(raw: bytes) -> list[str]:
    """MSH split, field n at n - 1; what comes after MSH-16 is left in one piece."""
    start = 0 if raw.startswith(b"MSH") else raw.find(b"MSH", 0, 64)
    if start < 0:
        return []
    end = raw.find(b"\r", start, start + _LONGEST)
    segment = raw[start : end if end >= 0 else start + _LONGEST]
    if b"\n" in segment:
        segment = segment[: segment.index(b"\n")]
    text = segment.decode("ascii") if segment.isascii() else decode_segment(segment)[0]
    return text.split(text[3:4] or "|", 16)
