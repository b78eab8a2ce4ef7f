"""Making and reading HL7 v2 acknowledgements (HL7 v2.5.1 chapter 2, 2.9 and 2.14.1 ERR, 2.14.8 MSA).

Made from the header bytes of the message that is answered, without decoding it: an answer must be possible for a message
that can't be decoded, and it is on the fastest path there is.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache

from hub.codecs.hl7_charset import WIDE, declared_name, decode_text, python_name
from hub.codecs.hl7_delimiters import Delimiters, read_delimiters
from hub.codecs.hl7_escape import UNDECLARED, escapes_for
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["accepted_ack", "build_ack", "parse_ack", "plain_header"]

_HEAD = 4096
_LONGEST_HEADER = 8192
#: From this version on the text of an error stands in ERR-8, and ERR-3 holds a code of table 0357.
_ERR_SINCE = (2, 5)
#: From this version on MSH-9 has a third component, the message structure.
_STRUCTURE_SINCE = (2, 4)
_USUAL_MARKS = "^~\\&"
_USUAL_START = b"MSH|^~\\&|"
_USUAL_VERSION = "2.5.1"
_VERSION = 11
_CHARSET = 18
_VERSION_NUMBER = re.compile(r"(\d{1,3})\.(\d{1,3})", re.ASCII)
#: The field separator, and what follows MSA-1's.
_MSA = re.compile(r"(?:^|[\r\x0b])[ \t\ufeff]*MSA([^A-Za-z0-9\s])([^\r\x1c]*)")
_SEVERITY = "E"
_TABLE = "HL70357"
_INTERNAL_ERROR = "207"
#: Kind of a finding of validation -> table 0357.
_KINDS = {
    "missing": "101",
    "format": "102",
    "length": "102",
    "range": "102",
    "code": "103",
    "contradiction": "207",
    "duplicate": "205",
    "structure": "100",
}
#: A place as mappings write it: PID[2]-3[1].4.2; segments and repetitions count from 1.
_PLACE = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:\[(\d{1,4})\])?(?:-(\d{1,3})(?:\[(\d{1,4})\])?(?:\.(\d{1,3})(?:\.(\d{1,3}))?)?)?", re.ASCII
)
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
_prefix = f"{time.time_ns() // 1_000_000:x}-"
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
    start = 0 if raw.startswith(b"MSH") else raw.find(b"MSH", 0, _HEAD)
    if start >= 0:
        limit = start + _LONGEST_HEADER
        end = raw.find(b"\r", start, limit)
        header = raw[start : end if end > 0 else limit]
        if b"\n" in header:
            header = header[: header.index(b"\n")]
        if b"\x1c" in header:  # at the end of the answer it would end the MLLP frame early
            header = header.replace(b"\x1c", b"")
        if header.isascii():
            text, charset = header.decode("ascii"), ""
        else:
            _, charset = decode_text(header, python_name(declared_name(header)))
            text = header.decode(charset, "surrogateescape")
        separator = text[3:4]
        if separator and not separator.isalnum() and separator.isprintable() and separator != " ":
            return text.split(separator, _CHARSET), separator, charset
    return ["MSH", _USUAL_MARKS], "|", ""


@lru_cache(maxsize=512)
def _kind(kind: str, version: str, component: str) -> str:
    """MSH-9 of the answer: ``ACK``, with the event where the message names one, and the structure from 2.4 on."""
    event = kind.split(component, 2)[1] if component in kind else ""
    if not event:
        return "ACK"
    return f"ACK{component}{event}" + (f"{component}ACK" if _version(version) >= _STRUCTURE_SINCE else "")


def plain_header(raw: bytes) -> list[str] | None:
    """The fields of nearly all headers, field n at n - 1, what comes after MSH-18 in one piece; None for a header that needs care.

    Plain are the usual delimiters, a CR at the end, ASCII, and at least twelve fields.
    """
    if not raw.startswith(_USUAL_START):
        return None
    end = raw.find(b"\r", 9, _LONGEST_HEADER)
    if end < 0:
        return None
    header = raw[:end]
    if not header.isascii() or b"\n" in header or b"\x1c" in header:
        return None
    fields = header.decode("ascii").split("|", _CHARSET)
    return fields if len(fields) > _VERSION else None


def accepted_ack(fields: list[str], code: str) -> bytes:
    """What :func:`build_ack` answers with the code AA or CA to a message with such a :func:`plain_header`, in half the time."""
    version = fields[_VERSION] or _USUAL_VERSION
    charset = f"||||||{fields[_CHARSET - 1]}" if len(fields) >= _CHARSET and fields[_CHARSET - 1] else ""
    return (
        f"MSH|^~\\&|{fields[4]}|{fields[5]}|{fields[2]}|{fields[3]}|{_now()}||{_kind(fields[8], version, '^')}"
        f"|{_prefix}{next(_numbers)}|{fields[10] or 'P'}|{version}{charset}\rMSA|{code}|{fields[9]}\r"
    ).encode("ascii")


def build_ack(
    raw: bytes, code: str, text: str = "", error_code: str = "", findings: Sequence[Mapping[str, str]] = ()
) -> bytes:
    """The acknowledgement of a message, unframed.

    ``code`` is AA, AE, AR, CA, CE or CR (table 0008); ``text`` says why not, ``error_code`` is one of table 0357. Sender and receiver
    change places, version, delimiters, processing id and character set are the message's. Works for a message of which only part
    of MSH can be read, with the usual values for the rest.

    ``findings`` (as ``hub.validators.report.Finding.as_dict``) are told one by one: from 2.5 on an ERR segment each, before that a
    repetition of ERR-1 each; with an acceptance, as warnings, and from 2.5 on only, since older versions have no warnings.
    """
    accepted = code[1] == "A" and not text
    if accepted and not findings:
        plain = plain_header(raw)
        if plain is not None:
            return accepted_ack(plain, code)
    fields, s, charset = _header(raw)
    count = len(fields)
    if count <= _VERSION:
        fields += [""] * (_VERSION + 1 - count)
    marks = fields[1]
    if not marks or marks[0].isalnum() or marks[0].isspace():
        # No MSH-2 but something else in its place: what is made of letters can't delimit the answer.
        marks = _USUAL_MARKS
    version = fields[_VERSION] or _USUAL_VERSION
    # Places in the list are one less than HL7's numbers: MSH-1 is the separator itself.
    head = (
        f"MSH{s}{marks}{s}{fields[4]}{s}{fields[5]}{s}{fields[2]}{s}{fields[3]}{s}{_now()}{s}{s}"
        f"{_kind(fields[8], version, marks[0])}{s}{_prefix}{next(_numbers)}{s}{fields[10] or 'P'}{s}{version}"
    )
    if count > _CHARSET - 1 and fields[_CHARSET - 1]:
        head += s * 6 + fields[_CHARSET - 1]
    if accepted and (not findings or _version(version) < _ERR_SINCE):
        return f"{head}\rMSA{s}{code}{s}{fields[9]}\r".encode(charset or "ascii", "surrogateescape")
    if not charset:
        declared = fields[_CHARSET - 1].split(marks[1:2] or s, 1)[0] if count > _CHARSET - 1 else ""
        charset = python_name(declared)
        if charset in WIDE or charset in ("", "ascii"):
            charset = "utf-8"
    text = text.encode(charset, "replace").decode(charset)
    answer = _refusal(head, s, marks, version, code, fields[9], text, error_code, findings)
    # What a finding says may have characters the sender's set lacks; the header is the sender's own.
    cut = answer.index("\rMSA") + 1
    return answer[:cut].encode(charset, "surrogateescape") + answer[cut:].encode(charset, "replace")


def _refusal(
    head: str,
    separator: str,
    marks: str,
    version: str,
    code: str,
    control_id: str,
    text: str,
    error_code: str,
    findings: Sequence[Mapping[str, str]],
) -> str:
    delimiters = _delimiters(separator, marks)
    said = _escaped(text, delimiters)
    out = f"{head}\rMSA{separator}{code}{separator}{control_id}" + (
        "\r" if findings and not said else f"{separator}{said}\r"
    )
    if findings:
        return out + _errors(delimiters, separator, version, accepted=code[1] == "A", findings=findings)
    if not error_code and not text:
        return out
    error_code = error_code or _INTERNAL_ERROR
    condition = (error_code, _CONDITIONS.get(error_code, ""), _TABLE)
    component = delimiters.component
    if _version(version) >= _ERR_SINCE:
        # ERR-3 code, ERR-4 severity, ERR-8 text for users
        return out + separator.join(("ERR", "", "", component.join(condition), _SEVERITY, "", "", "", said)) + "\r"
    # ERR-1: segment, sequence, field, code
    inner = component if delimiters.subcomponent == UNDECLARED else delimiters.subcomponent
    return out + separator.join(("ERR", component * 3 + inner.join(condition))) + "\r"


def _errors(
    delimiters: Delimiters, separator: str, version: str, *, accepted: bool, findings: Sequence[Mapping[str, str]]
) -> str:
    """ERR of the findings of validation (HL7 v2.5.1, 2.14.5; v2.4, 2.16.5)."""
    component = delimiters.component
    inner = component if delimiters.subcomponent == UNDECLARED else delimiters.subcomponent
    older: list[str] = []
    out = ""
    for finding in findings:
        number = _KINDS.get(finding["kind"], _INTERNAL_ERROR)
        condition = (number, _CONDITIONS[number], _TABLE)
        found = _PLACE.fullmatch(finding["place"])
        segment, sequence, field, repetition, part, below = found.groups("") if found else ("",) * 6
        if _version(version) < _ERR_SINCE:
            older.append(component.join((segment, sequence, field, inner.join(condition))))
            continue
        # ERL: segment, sequence, field, repetition, component, subcomponent
        place = component.join((segment, sequence or ("1" if segment else ""), field, repetition, part, below))
        said = finding["text"] if found or not finding["place"] else f"{finding['place']}: {finding['text']}"
        severity = "W" if accepted or finding["severity"] == "warning" else _SEVERITY
        told = (_escaped(finding["advice"], delimiters), _escaped(said, delimiters))
        rule = _escaped(finding["rule"], delimiters)
        row = separator.join(("ERR", "", place.rstrip(component), component.join(condition), severity, rule, "", *told))
        out += row + "\r"
    if older:
        repeat = component if delimiters.repetition == UNDECLARED else delimiters.repetition
        out = separator.join(("ERR", repeat.join(older))) + "\r"
    return out


def _version(text: str) -> tuple[int, int]:
    """(2, 5) of ``2.5.1`` or ``2.5^CHN``; an absent or odd version counts as new."""
    found = _VERSION_NUMBER.match(text)
    return (int(found[1]), int(found[2])) if found else (2, 9)


def _delimiters(separator: str, marks: str) -> Delimiters:
    """Those of the message; if they can't be used, only the field separator and the first mark count."""
    try:
        return read_delimiters(f"MSH{separator}{marks}{separator}", 0)
    except CodecError:
        none = UNDECLARED
        return Delimiters(separator, marks[0], none, none, none, none, escapes_for(separator, *[none] * 5))


def _escaped(text: str, delimiters: Delimiters) -> str:
    text = "".join(char if char.isprintable() else " " for char in text)
    if delimiters.escape == UNDECLARED:
        # Nothing can be said of a delimiter but a blank.
        return "".join(" " if char in delimiters[:-1] else char for char in text)
    return delimiters.escapes.escape(text)


def parse_ack(raw: bytes) -> tuple[str, str, str]:
    """(code, control id, text) of an acknowledgement: MSA-1, MSA-2, and MSA-3, ERR-8 or what else ERR says, as written.

    Tolerant of line ends and of a header that is missing. Raises :class:`CodecError` when there is no MSA.
    """
    if raw.isascii():
        text = raw.decode("ascii")
    else:
        text, _ = decode_text(raw, python_name(declared_name(raw)))
    if "\n" in text:
        text = text.replace("\n", "\r")
    found = _MSA.search(text)
    if found is None:
        raise CodecError(t("there is no MSA segment", "没有 MSA 段"), code="hl7.no_msa")
    separator = found[1]
    fields = found[2].split(separator, 3)
    fields += [""] * (3 - len(fields))
    said = fields[2].strip()
    if not said:
        start = text.find("\rERR" + separator)
        if start >= 0:
            parts = text[start + 5 :].split("\r", 1)[0].split(separator)
            said = (parts[7] if len(parts) > 7 else "") or " ".join(part for part in parts if part)
    return fields[0].strip().upper(), fields[1].strip(), said.strip("\x1c \t")
