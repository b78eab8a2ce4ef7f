"""Character sets of DICOM (PS3.3 C.12.1.1.2, PS3.5 6.1): from the terms of SpecificCharacterSet to text and back.

GBK and GB18030 have bytes within characters that look like the separators ``\\`` and ``^``, so text is decoded before it is split. Where no
set is declared, bytes beyond ASCII, which the standard forbids then, are read as UTF-8, else as GB18030: that is what is sent in China.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["UTF8", "decode_text", "encode_text", "known_terms"]

#: The term for UTF-8.
UTF8 = "ISO_IR 192"
_ASCII = ("", "ISO_IR 6", "ISO 2022 IR 6")
#: Sets without code extensions: term -> Python's name. gb18030 reads all of GB 2312 and GBK as well.
_SINGLE = {
    "ISO_IR 13": "shift_jis",
    "ISO_IR 100": "latin-1",
    "ISO_IR 101": "iso8859-2",
    "ISO_IR 109": "iso8859-3",
    "ISO_IR 110": "iso8859-4",
    "ISO_IR 126": "iso8859-7",
    "ISO_IR 127": "iso8859-6",
    "ISO_IR 138": "iso8859-8",
    "ISO_IR 144": "iso8859-5",
    "ISO_IR 148": "iso8859-9",
    "ISO_IR 166": "iso8859-11",
    "ISO_IR 203": "iso8859-15",
    UTF8: "utf-8",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
#: Sets with code extensions beyond those above: term -> (escape sequence, Python's name).
_EXTENDED = {
    "ISO 2022 IR 13": (b"\x1b)I", "shift_jis"),
    "ISO 2022 IR 58": (b"\x1b$)A", "gb2312"),
    "ISO 2022 IR 87": (b"", "iso2022_jp"),
    "ISO 2022 IR 149": (b"\x1b$)C", "euc_kr"),
    "ISO 2022 IR 159": (b"", "iso2022_jp_2"),
    # Seen, though not in the standard.
    "ISO 2022 GBK": (b"\x1b$)A", "gbk"),
    "ISO 2022 58": (b"\x1b$)A", "gb2312"),
}
_SINGLE_ESCAPES = {
    "ISO 2022 IR 100": b"\x1b-A",
    "ISO 2022 IR 101": b"\x1b-B",
    "ISO 2022 IR 109": b"\x1b-C",
    "ISO 2022 IR 110": b"\x1b-D",
    "ISO 2022 IR 126": b"\x1b-F",
    "ISO 2022 IR 127": b"\x1b-G",
    "ISO 2022 IR 138": b"\x1b-H",
    "ISO 2022 IR 144": b"\x1b-L",
    "ISO 2022 IR 148": b"\x1b-M",
    "ISO 2022 IR 166": b"\x1b-T",
    "ISO 2022 IR 203": b"\x1b-b",
}
_EXTENDED |= {
    term: (escape, _SINGLE[term.replace("ISO 2022 IR", "ISO_IR")]) for term, escape in _SINGLE_ESCAPES.items()
}
#: What the bytes after an escape sequence are; None: Python's own decoder wants to see the sequence.
_AFTER: dict[bytes, str | None] = {
    **{escape: name for escape, name in _EXTENDED.values() if escape},
    b"\x1b$)A": "gb18030",
    b"\x1b(J": "shift_jis",
    b"\x1b$B": None,
    b"\x1b$@": None,
    b"\x1b$(D": None,
}
_FRAGMENT = re.compile(rb"\x1b[^\x1b]*|[^\x1b]+")
#: What ends the effect of an escape sequence.
_PARTS = re.compile(r"([\\^=\r\n\f\t])")


def known_terms(terms: Sequence[str]) -> bool:
    """Whether text can be written by these terms."""
    return all(term in _ASCII or term in _SINGLE or term in _EXTENDED for term in terms)


def _first(terms: Sequence[str], encoding: str) -> str:
    """Python's name for what is not escaped; "" for ASCII."""
    if encoding:
        return encoding
    term = terms[0] if terms else ""
    if term in _EXTENDED:
        escape, name = _EXTENDED[term]
        return name if escape else "shift_jis"
    return _SINGLE.get(term, "")


def decode_text(raw: bytes, terms: Sequence[str], encoding: str = "") -> str:
    """``encoding`` is the contract's override. What can't be read becomes U+FFFD, as devices cut text in the middle of characters."""
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    first = _first(terms, encoding)
    if b"\x1b" not in raw or first == "utf-8":
        return _decoded(raw, first)
    return "".join(_fragment(part, first) for part in _FRAGMENT.findall(raw))


def _decoded(raw: bytes, name: str) -> str:
    if name:
        return raw.decode(name, "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("gb18030", "replace")


def _fragment(raw: bytes, first: str) -> str:
    if not raw.startswith(b"\x1b"):
        return _decoded(raw, first)
    size = 4 if raw[1:3] in (b"$)", b"$(") else 3
    name = _AFTER.get(raw[:size], "")
    if name is None:
        return raw.decode("iso2022_jp_2", "replace")
    return _decoded(raw[size:], name or first)


def encode_text(text: str, terms: Sequence[str], encoding: str = "") -> bytes:
    """Raises ``UnicodeEncodeError`` for characters the sets don't have."""
    if text.isascii():
        return text.encode("ascii")
    if encoding:
        return text.encode(encoding)
    if len(terms) < 2 and (not terms or terms[0] not in _EXTENDED):
        return _encoded(text, _first(terms, ""))
    return b"".join(_extended(part, terms) for part in _PARTS.split(text))


def _encoded(text: str, name: str) -> bytes:
    raw = text.encode(name or "ascii")
    if name == "shift_jis" and len(raw) != len(text):  # its half of one byte is JIS X 0201, the rest is no set of DICOM
        raise UnicodeEncodeError(name, text, 0, len(text), "not in JIS X 0201")
    return raw


def _extended(part: str, terms: Sequence[str]) -> bytes:
    """A part between separators; each begins with the first set again (PS3.5, 6.1.2.5.3)."""
    tries = [(b"", _first(terms, "")), *(_EXTENDED[term] for term in terms if term in _EXTENDED)]
    for number, (escape, name) in enumerate(tries, 1):
        try:
            return escape + _encoded(part, name)
        except UnicodeEncodeError:
            if number == len(tries):
                raise
    return b""
