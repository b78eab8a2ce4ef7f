r"""The delimiters an HL7 v2 message declares in MSH-1 and MSH-2 (HL7 v2.5.1 chapter 2, 2.5.4)."""

from __future__ import annotations

from typing import NamedTuple

from hub.codecs.hl7_escape import UNDECLARED, Escapes, escapes_for
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["Delimiters", "read_delimiters", "segment_place"]

#: Component, repetition, escape, sub-component and, since 2.7, truncation character.
_MOST_MARKS = 5
#: Two mistakes of real senders are understood: characters written twice, and an escape character lost on the way.
_MARKS_WITHOUT_ESCAPE = "^~&"
_MOST_KNOWN = 256


class Delimiters(NamedTuple):
    """Single characters; :data:`UNDECLARED` for one the message doesn't declare: it splits nothing and is found nowhere."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str
    truncation: str
    escapes: Escapes


_known: dict[str, Delimiters] = {}


def segment_place(line: int, name: str = "") -> str:
    """How errors name a segment; ``line`` counts from 0."""
    return t(f"segment {line + 1}", f"第 {line + 1} 段") + (f" ({name})" if name else "")


def read_delimiters(header: str, line: int) -> Delimiters:
    r"""Those of a header segment, ``MSH|^~\&|…``, the line ``line`` of the message. Raises :class:`CodecError`."""
    usual = header[3:9]
    found = _known.get(usual)
    if found is not None:
        return found
    separator = header[3:4]
    end = header.find(separator, 4) if separator else -1
    marks = "".join(dict.fromkeys(header[4:end] if end > 0 else header[4:16]))
    if (
        not separator
        or not marks
        or len(marks) > _MOST_MARKS
        or separator in marks
        or any(char.isalnum() or char.isspace() or not char.isprintable() for char in separator + marks)
    ):
        raise CodecError(
            t(
                "MSH-1 and MSH-2 must hold the delimiters, different punctuation characters, usually |^~\\&",
                "MSH-1、MSH-2 须为分隔符，即互不相同的标点字符，通常为 |^~\\&",
            ),
            place=segment_place(line, "MSH"),
            code="hl7.delimiters",
        )
    if marks == _MARKS_WITHOUT_ESCAPE:
        component, repetition, subcomponent = tuple(marks)
        escape = truncation = UNDECLARED
    else:
        component, repetition, escape, subcomponent, truncation = tuple(marks.ljust(_MOST_MARKS, UNDECLARED))
    six = (separator, component, repetition, escape, subcomponent, truncation)
    found = Delimiters(*six, escapes_for(*six))
    # Four marks and the separator again: these six characters say everything.
    if end == 8 and len(_known) < _MOST_KNOWN:
        _known[usual] = found
    return found
