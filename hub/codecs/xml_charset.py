"""Character sets of XML documents: what the declaration says (XML 1.0, 4.3.3 and appendix F), what the bytes really are.

Declarations that disagree with the bytes are everyday: UTF-8 declared by a template and GBK written by the program around it, or the other
way round. What is declared is believed when the bytes fit it; UTF-8 can be told from its bytes alone, and wins.
"""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from hub.codecs.hl7_charset import WIDE, python_name
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["Decoded", "to_utf8"]

_DECLARED = re.compile(
    rb"""<\?xml[ \t\r\n][^>]{0,200}?encoding[ \t\r\n]*=[ \t\r\n]*(?:"([A-Za-z0-9._:-]{1,40})"|'([A-Za-z0-9._:-]{1,40})')"""
)
_DECLARED_TEXT = re.compile(_DECLARED.pattern.decode("ascii"))
_HEAD = 300
_UTF8_MARK = b"\xef\xbb\xbf"
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
#: How a document without byte order mark begins in the sets that use several bytes for every character.
_STARTS = (
    (b"<\x00\x00\x00", "utf-32-le"),
    (b"\x00\x00\x00<", "utf-32-be"),
    (b"<\x00", "utf-16-le"),
    (b"\x00<", "utf-16-be"),
)
#: Three bytes in UTF-8. Text in another set hardly ever is UTF-8 by chance, and never with these.
_THREE_BYTES = re.compile("[\u0800-\uffff]")
#: Of a text that is UTF-8 in the main, at most one byte in so many characters of three is broken.
_TOLERATED_SHARE = 3


class Decoded(NamedTuple):
    """``data``: the document in UTF-8 without byte order mark; ``encoding``: Python's name of the set its bytes are in;
    ``declared``: what the declaration says, ``""`` for nothing."""

    data: bytes
    encoding: str
    declared: str


def to_utf8(raw: bytes, encoding: str) -> Decoded:
    """A document in UTF-8. ``encoding`` is the contract's; it is believed before the declaration, when the bytes fit it.

    Raises :class:`CodecError` with the first byte that fits nothing.
    """
    named = python_name(encoding)
    wide = _wide(raw, named)
    if wide:
        return wide
    body = raw[len(_UTF8_MARK) :] if raw.startswith(_UTF8_MARK) else raw
    declared = _declared(body)
    stated = python_name(declared)
    if stated in WIDE or stated == "ascii":
        stated = ""
    if body.isascii():
        narrow = named if named not in WIDE and named != "ascii" else ""
        return Decoded(body, narrow or stated or "utf-8", declared)
    if named and named not in WIDE and (text := _fits(body, named)) is not None:
        return Decoded(body if named == "utf-8" else text.encode("utf-8"), named, declared)
    unicode = _fits(body, "utf-8")
    if unicode is not None and (stated in ("", "utf-8") or body is not raw or _THREE_BYTES.search(unicode)):
        return Decoded(body, "utf-8", declared)
    if stated not in ("", "utf-8"):
        text = _fits(body, stated)
        if text is None and unicode is None:
            _refuse(body, stated, declared)
        return Decoded(body, "utf-8", declared) if text is None else Decoded(text.encode("utf-8"), stated, declared)
    if _mostly_utf8(body):
        _refuse(body, "utf-8", declared)
    text = _fits(body, "gb18030")
    if text is None:
        _refuse(body, "gb18030", declared)
    return Decoded(text.encode("utf-8"), "gb18030", declared)


def _wide(raw: bytes, named: str) -> Decoded | None:
    mark, name = next(((mark, name) for mark, name in _MARKS if raw.startswith(mark)), (b"", ""))
    name = name or next((name for start, name in _STARTS if raw.startswith(start)), "")
    stated = name or (named if named in WIDE else "")
    if not stated:
        return None
    text = _fits(raw[len(mark) :], stated)
    if not name and (text is None or not text.lstrip().startswith("<")):
        return None  # the contract says so, the bytes don't
    if text is None:
        _refuse(raw[len(mark) :], name, "")
    name = stated
    found = _DECLARED_TEXT.match(text[:_HEAD])
    return Decoded(text.encode("utf-8"), name, (found[1] or found[2]) if found else "")


def _declared(body: bytes) -> str:
    found = _DECLARED.match(body[:_HEAD])
    return (found[1] or found[2]).decode("ascii") if found else ""


def _fits(body: bytes, charset: str) -> str | None:
    try:
        return body.decode(charset)
    except UnicodeError:
        return None


def _mostly_utf8(body: bytes) -> bool:
    """Whether it is UTF-8 but for a few bytes, such as a character cut in the middle; as GB 18030 it would be nonsense."""
    kept = body.decode("utf-8", "ignore")
    broken = len(body) - len(kept.encode("utf-8"))
    return broken * _TOLERATED_SHARE <= sum(1 for _ in _THREE_BYTES.finditer(kept))


def _refuse(body: bytes, charset: str, declared: str) -> NoReturn:
    try:
        body.decode(charset)
        at = 0
    except UnicodeDecodeError as error:
        at = error.start
    except UnicodeError:
        at = 0
    said = t(f", declared as {declared}", f"，声明为 {declared}") if python_name(declared) else ""
    raise CodecError(
        t(f"the bytes are not {charset}{said}", f"字节不是 {charset}{said}"),
        place=t(f"byte {at}", f"第 {at} 字节"),
        code="xml.charset",
        remedy=t("set the interface's encoding, e.g. gb18030", "请设置接口的 encoding，如 gb18030"),
    )
