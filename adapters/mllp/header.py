"""What acknowledging needs from a message header (MSH), read without decoding the message."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Header", "decode_segment", "read_header"]

#: HL7 table 0155, accept/application acknowledgement conditions.
_CONDITIONS = {"AL": "AL", "NE": "NE", "ER": "ER", "SU": "SU"}
_LONGEST = 8192


class Header(NamedTuple):
    control_id: str  # MSH-10
    accept: str  # MSH-15: AL, NE, ER, SU, or "" when empty or none of these
    application: str  # MSH-16, likewise


_NONE = Header("", "", "")


def decode_segment(segment: bytes) -> tuple[str, str]:
    """The text of a header segment and the character set it was read with.

    The second byte of a GBK character may look like a separator, so a segment is decoded before it is split.
    """
    try:
        return segment.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return segment.decode("gb18030", "replace"), "gb18030"


def read_header(raw: bytes) -> Header:
    """MSH-10, MSH-15 and MSH-16; empty where the bytes have none.

    A value outside table 0155 counts as empty: analysers use MSH-16 for other things ("0" patient, "2" control).
    """
    start = raw.find(b"MSH", 0, 64)
    if start < 0:
        return _NONE
    end = raw.find(b"\r", start)
    if end < 0 or end - start > _LONGEST:
        end = start + _LONGEST
    segment = raw[start:end]
    if b"\n" in segment:
        segment = segment[: segment.index(b"\n")]
    text = decode_segment(segment)[0]
    fields = text[3:].split(text[3:4] or "|", 16)
    count = len(fields)
    if count < 10:
        return _NONE
    return Header(
        fields[9].strip(),
        _CONDITIONS.get(fields[14].strip(), "") if count > 14 else "",
        _CONDITIONS.get(fields[15].strip(), "") if count > 15 else "",
    )
