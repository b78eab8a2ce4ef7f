"""Batches of HL7 v2 messages (HL7 v2.5.1 chapter 2, 2.10.3): ``[FHS] { [BHS] { MSH … } [BTS] } [FTS]``, all headers optional."""

from __future__ import annotations

import re

from hub.errors import CodecError
from hub.i18n import t

__all__ = ["split_batch"]

_UTF16_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_UTF8_MARK = b"\xef\xbb\xbf"
_START = re.compile(rb"(?:^|[\r\n\x0b])(?:\xef\xbb\xbf)?[ \t\x1c]*(FHS|BHS|MSH|BTS|FTS)(?=[^A-Za-z0-9\s])")
#: Line ends and what frames a message in MLLP; blanks may belong to the last field.
_AROUND = b"\r\n\x0b\x1c\x00"
_BLANK = _AROUND + b" \t"
_LINE_END = re.compile(rb"\r\n|\r|\n")


def split_batch(raw: bytes) -> list[bytes]:
    """The messages of a batch file, or of several messages glued together, each as it was written.

    A single message comes back as it is. Raises :class:`CodecError` when there is no message in it, and for segments that
    belong to no message: nothing is left out silently.
    """
    wide = _UTF16_MARKS.get(raw[:2])
    if wide:
        text = _recoded(raw[2:], wide, "utf-8")
        messages = split_batch(text)
        if messages == [text]:
            return [raw]
        return [raw[:2] + _recoded(message, "utf-8", wide) for message in messages]
    starts = list(_START.finditer(raw))
    if all(start[1] != b"MSH" for start in starts):
        raise CodecError(t("there is no HL7 message in it", "其中没有 HL7 消息"), place="byte 0", code="hl7.empty")
    _refuse_stray(raw, 0, starts[0].start())
    if len(starts) == 1:
        return [raw]
    messages = []
    for start, end in zip(starts, [*(start.start() for start in starts[1:]), len(raw)], strict=True):
        at = start.start(1)
        if start[1] == b"MSH":
            messages.append(_message(raw, at, end))
        else:
            line_end = _LINE_END.search(raw, at, end)
            if line_end:
                _refuse_stray(raw, line_end.end(), end)
    return messages


def _message(raw: bytes, start: int, end: int) -> bytes:
    """Without the frame around it, with one line end at its end, of its own kind or the file's."""
    body = raw[start:end].rstrip(_AROUND)
    line_end = _LINE_END.search(body) or _LINE_END.search(raw)
    return body + (line_end[0] if line_end else b"\r")


def _refuse_stray(raw: bytes, start: int, end: int) -> None:
    rest = raw[start:end].removeprefix(_UTF8_MARK)
    if rest.strip(_BLANK):
        at = end - len(rest.lstrip(_BLANK))
        raise CodecError(
            t("this belongs to no message: MSH must come before it", "此处内容不属于任何消息：其前须有 MSH"),
            place=t(f"byte {at}", f"第 {at} 字节"),
            code="hl7.no_msh",
        )


def _recoded(raw: bytes, old: str, new: str) -> bytes:
    try:
        return raw.decode(old).encode(new)
    except UnicodeError as error:
        raise CodecError(t("damaged UTF-16", "UTF-16 已损坏"), place="byte 0", code="hl7.charset") from error
