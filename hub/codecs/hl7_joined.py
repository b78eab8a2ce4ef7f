"""HL7 v2 messages put together in a batch (HL7 v2.5.1 chapter 2, 2.10.3): ``[FHS] BHS { MSH … } BTS [FTS]``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hub.codecs.base import Joint
from hub.codecs.hl7_charset import WIDE, python_name
from hub.errors import CodecError
from hub.i18n import t

if TYPE_CHECKING:
    from hub.codecs.hl7v2 import Hl7Message

__all__ = ["BATCHES", "Hl7Batch"]

#: ``file``: a batch within FHS and FTS, as files have it.
BATCHES = ("batch", "file")
_END = b"\r"


class Hl7Batch:
    """Messages as one document. Sender, receiver and encoding characters are those of the first message."""

    def __init__(self, messages: Sequence[Any], way: str, joint: Joint) -> None:
        self._messages: Sequence[Hl7Message] = messages
        self._way = way
        self._joint = joint

    def written(self, encode: Callable[[Any], bytes], encoding: str) -> bytes:
        """Raises :class:`CodecError`. Bytes of two or four to a character have no place beside each other."""
        first = self._messages[0]
        charset = python_name(encoding) or first.charset
        if charset in WIDE:
            raise CodecError(
                t("a batch can't be written in UTF-16 or UTF-32", "批量文件不能用 UTF-16 或 UTF-32 书写"),
                code="hl7.charset",
                remedy=t("set the interface's encoding, e.g. utf-8", "请设置接口的 encoding，如 utf-8"),
            )
        bodies = [encode(message).rstrip(b"\r\n") + _END for message in self._messages]
        made = datetime.fromtimestamp(self._joint.at_us / 1e6).astimezone().strftime("%Y%m%d%H%M%S%z")
        mark = first.field_sep
        # BHS-1 and FHS-1 are the separator itself; 2 its companions, 3 to 7 sender, receiver and time, 11 the number, as in FHS.
        header = first.first("MSH")
        companions = header.fields[2] if header is not None and len(header.fields) > 2 else ""
        fields = [companions, *(first.header_field(number) for number in (3, 4, 5, 6)), made, "", "", ""]
        fields.append(first.escape(self._joint.number))
        head = "".join(mark + field for field in fields)
        lines: list[str | bytes] = [f"BHS{head}", *bodies, f"BTS{mark}{len(bodies)}"]
        if self._way == "file":
            lines = [f"FHS{head}", *lines, f"FTS{mark}1"]
        try:
            return b"".join(line if isinstance(line, bytes) else line.encode(charset) + _END for line in lines)
        except UnicodeError:
            raise CodecError(
                t("the head of the batch can't be written in its character set", "批头无法用其字符集书写"),
                code="hl7.charset",
            ) from None
