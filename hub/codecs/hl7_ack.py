"""Making and reading HL7 v2 acknowledgements (HL7 v2.5.1 chapter 2, 2.9 and 2.14.1 ERR, 2.14.8 MSA).

Made from the header bytes of the message that is answered, without decoding it: an answer must be possible for a message
that can't be decoded, and it is on the fastest path there is.
"""

from __future__ import annotations

import itertools
import time

from hub.codecs.hl7_charset import decode_text
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["build_ack", "parse_ack"]

_HEAD = 4096
_LONGEST_HEADER = 8192
#: From this version on the text of an error stands in ERR-8, and ERR-3 holds a code of table 0357.
_ERR_SINCE = (2, 5)
_SEVERITY = "E"
_CONDITIONS = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}

_numbers = itertools.count(1)
_prefix = f"{time.time_ns() // 1_000_000:x}"
_stamp_second = 0
_stamp = ""


def _now() -> str:
    """The time to the second with the zone, as MSH-7 wants it; formatted once a second."""
    global _stamp_second, _stamp
    second = int(time.time())
    if second != _stamp_second:
        _stamp_second = second
        _stamp = time.strftime("%Y%m%d%H%M%S%z", time.localtime(second))
    return _stamp


def _header(raw: bytes) -> tuple[list[str], str, str]:
    """The fields of MSH as [MSH, MSH-2, MSH-3 …], the field separator, and the character set they were read with."""
    start = raw.find(b"MSH", 0, _HEAD)
    if start < 0 or len(raw) < start + 8:
        return ["MSH", "^~\\&"], "|", "utf-8"
    end = raw.find(b"\r", start)
    if end < 0:
        end = len(raw)
    header = raw[start : min(end, start + _LONGEST_HEADER)]
    if b"\n" in header:
        header = header[: header.index(b"\n")]
    if header.isascii():
        text, charset = header.decode("ascii"), "utf-8"
    else:
        text, charset = decode_text(header, "")
    separator = text[3]
    if separator.isalnum() or separator.isspace():
        return ["MSH", "^~\\&"], "|", "utf-8"
    return text.split(separator), separator, charset


def build_ack(raw: bytes, code: str, text: str = "", error_code: str = "") -> bytes:
    """The acknowledgement of a message, unframed.

    ``code`` is AA, AE, AR, CA, CE or CR (table 0008); ``text`` says why not, ``error_code`` is one of table 0357. Sender and receiver
    change places, version, delimiters, processing id and character set are the message's. Works for a message of which only part
    of MSH can be read, with the usual values for the rest.
    """
    fields, separator, charset = _header(raw)
    count = len(fields)
    marks = (fields[1] if count > 1 else "") or "^~\\&"
    component = marks[0]
    kind = fields[8] if count > 8 else ""
    version = fields[11] if count > 11 else ""
    event = ""
    if component in kind:
        event = kind.split(component, 2)[1]
    answer = f"ACK{component}{event}" if event else "ACK"
    if event and version[:3] >= "2.4":
        answer += f"{component}ACK"
    control_id = fields[9] if count > 9 else ""
    head = separator.join(
        (
            "MSH",
            marks,
            fields[4] if count > 4 else "",
            fields[5] if count > 5 else "",
            fields[2] if count > 2 else "",
            fields[3] if count > 3 else "",
            _now(),
            "",
            answer,
            f"{_prefix}-{next(_numbers)}",
            (fields[10] if count > 10 else "") or "P",
            version or "2.5.1",
        )
    )
    if count > 17 and fields[17]:
        head += separator * 6 + fields[17]
    if code[1] == "A" and not text:
        return f"{head}\rMSA{separator}{code}{separator}{control_id}\r".encode(charset, "replace")
    return _refusal(head, separator, marks, version, code, control_id, text, error_code).encode(charset, "replace")


def _refusal(
    head: str, separator: str, marks: str, version: str, code: str, control_id: str, text: str, error_code: str
) -> str:
    said = _escaped(text, separator, marks)
    out = f"{head}\rMSA{separator}{code}{separator}{control_id}{separator}{said}\r"
    if not error_code and not text:
        return out
    error_code = error_code or "207"
    component = marks[0]
    condition = component.join((error_code, _CONDITIONS.get(error_code, ""), "HL70357"))
    if _version(version) >= _ERR_SINCE:
        # ERR-3 code, ERR-4 severity, ERR-8 text for users
        return out + separator.join(("ERR", "", "", condition, _SEVERITY, "", "", "", said)) + "\r"
    # ERR-1: segment, sequence, field, code
    inner = (marks[3:4] or component).join((error_code, _CONDITIONS.get(error_code, ""), "HL70357"))
    return out + separator.join(("ERR", component.join(("", "", "", inner)))) + "\r"


def _version(text: str) -> tuple[int, int]:
    """(2, 5) of ``2.5.1``; an absent or odd version counts as new."""
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (2, 9)


def _escaped(text: str, separator: str, marks: str) -> str:
    mark = marks[2:3]
    out = []
    for char in text.replace("\r", " ").replace("\n", " "):
        at = (separator + marks[:4]).find(char)
        if at < 0:
            out.append(char if char.isprintable() else " ")
        else:
            # Without an escape character nothing can be said of a delimiter but a blank.
            out.append(f"{mark}{'FSRET'[at]}{mark}" if mark else " ")
    return "".join(out)


def parse_ack(raw: bytes) -> tuple[str, str, str]:
    """(code, control id, text) of an acknowledgement: MSA-1, MSA-2, and MSA-3, ERR-8 or what else ERR says.

    Tolerant of line ends and of a header that is missing. Raises :class:`CodecError` when there is no MSA.
    """
    text = raw.decode("ascii") if raw.isascii() else decode_text(raw, "")[0]
    lines = text.replace("\n", "\r").split("\r")
    msa = next((line.lstrip() for line in lines if line.lstrip().startswith("MSA")), "")
    if len(msa) < 5:
        raise CodecError(t("there is no MSA segment", "没有 MSA 段"), code="hl7.no_msa")
    separator = msa[3]
    fields = [field.strip() for field in msa.split(separator)]
    fields += [""] * 4
    said = fields[3]
    if not said:
        err = next((line for line in lines if line.startswith("ERR" + separator)), "")
        parts = err.split(separator)
        said = (parts[8] if len(parts) > 8 else "") or " ".join(part for part in parts[1:] if part)
    return fields[1].upper(), fields[2], said
