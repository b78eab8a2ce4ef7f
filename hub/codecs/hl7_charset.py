"""Character sets of HL7 v2 messages: what MSH-18 says, what the bytes really are.

MSH-18 holds values of HL7 table 0211 and, in practice, anything. What is declared is believed when the bytes fit it; otherwise
the bytes decide, and the message tells so (``charset`` beside ``charset_declared``).
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

from hub.errors import CodecError
from hub.i18n import t

__all__ = ["BROKEN_BYTES", "WIDE", "declared_name", "decode_text", "decode_wide", "python_name"]

#: Sets that use several bytes for every character.
WIDE = frozenset({"utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"})
#: How far into the bytes the header may begin, and how long it may be.
_HEAD = 4096
_LONGEST_HEADER = 8192
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
#: The error handler that keeps bytes which break a text.
BROKEN_BYTES = "tongqu-latin1"

# HL7 table 0211 and spellings met in the field, without blanks and punctuation, in lower case. "UNICODE" means UTF-16 by the letter of
# the standard and UTF-8 in practice; GB2312 and GBK are subsets of GB 18030.
_TABLE_0211 = {
    "ascii": "ascii",
    "usascii": "ascii",
    "isoir6": "ascii",
    "unicode": "utf-8",
    "unicodeutf8": "utf-8",
    "utf8": "utf-8",
    "utf8sig": "utf-8",
    "unicodeutf16": "utf-16",
    "utf16": "utf-16",
    "unicodeutf32": "utf-32",
    "utf32": "utf-32",
    "gb18030": "gb18030",
    "gb180302000": "gb18030",
    "gb180302005": "gb18030",
    "gb180302022": "gb18030",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "gb231280": "gb18030",
    "gb23121980": "gb18030",
    "cp936": "gb18030",
    "isoir58": "gb18030",
    "big5": "big5hkscs",
    "cns116431992": "big5hkscs",
    "ksx1001": "cp949",
    "isoir149": "cp949",
    "isoir14": "shift_jis",
    "isoir87": "iso2022_jp_2",
    "isoir159": "iso2022_jp_2",
} | {f"{prefix}8859{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15) for prefix in ("", "iso")}

# A UTF-8 text with a few broken characters (fields cut in mid-character are common) must not be taken for GB 18030, in which it
# would decode to nonsense and swallow delimiters. Characters of three bytes hardly ever occur by chance in other sets.
_THREE_BYTES = re.compile("[\u0800-\uffff]")
_TOLERATED_SHARE = 3


@lru_cache(maxsize=256)
def python_name(name: str) -> str:
    """The Python codec for a value of MSH-18 or a contract's ``encoding``; ``""`` when the name says nothing we know."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if not plain:
        return ""
    known = _TABLE_0211.get(plain)
    if known:
        return known
    try:
        found = codecs.lookup(name.strip())
    except (LookupError, ValueError):
        return ""
    if found.name in WIDE:
        return found.name
    # Delimiters and line ends are ASCII bytes; a set in which these mean something else (EBCDIC, HZ), and a codec that is no character
    # set at all (idna, hex), can't hold a message.
    try:
        same = found.name not in _NO_CHARSETS and str(_ASCII, found.name) == _ASCII.decode("ascii")
    except (LookupError, ValueError):
        return ""
    return found.name if same else ""


_ASCII = bytes(range(128))
_NO_CHARSETS = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape"})


def _latin1_for_broken(error: UnicodeError) -> tuple[str, int]:
    """Each byte that doesn't fit becomes the character of that number, so that no byte is lost."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return chr(error.object[error.start]), error.start + 1


codecs.register_error(BROKEN_BYTES, _latin1_for_broken)


def _mostly_utf8(raw: bytes) -> bool:
    kept = raw.decode("utf-8", "ignore")
    broken = len(raw) - len(kept.encode("utf-8"))
    return broken * _TOLERATED_SHARE <= sum(1 for _ in _THREE_BYTES.finditer(kept))


def _decoded(raw: bytes, charset: str) -> str | None:
    try:
        return raw.decode(charset)
    except UnicodeError:
        return None


def decode_text(raw: bytes, charset: str) -> tuple[str, str]:
    """The text of bytes in an ASCII-compatible set, and the Python codec that fitted; never fails, never loses a byte.

    ``charset`` is what the contract or MSH-18 says, as a Python codec name, ``""`` for nothing. After it come UTF-8, GB 18030 and
    ISO 8859-1, which fits everything. Bytes that break a text which is UTF-8 in the main appear as the ISO 8859-1 characters of the same
    number.
    """
    if charset and charset not in WIDE:
        text = _decoded(raw, charset)
        if text is not None:
            return text, charset
    text = _decoded(raw, "utf-8")
    if text is not None:
        return text, "utf-8"
    if _mostly_utf8(raw):
        return raw.decode("utf-8", BROKEN_BYTES), "utf-8"
    text = _decoded(raw, "gb18030")
    if text is not None:
        return text, "gb18030"
    return raw.decode("iso8859-1"), "iso8859-1"


def decode_wide(raw: bytes, charset: str) -> tuple[str, str] | None:
    """The text and the codec of bytes with a UTF-16 byte order mark, or of a message which, as ``charset`` says, is in a wide set; None for others."""
    marked = _BYTE_ORDER_MARKS.get(raw[:2])
    name = marked or ("utf-16-le" if charset == "utf-16" else "utf-32-le" if charset == "utf-32" else charset)
    if name not in WIDE:
        return None
    text = _decoded(raw, name)
    if marked is None and (text is None or "MSH" not in text[:_HEAD]):
        return None
    if text is None:
        raise CodecError(t("damaged UTF-16", "UTF-16 已损坏"), place="byte 0", code="hl7.charset")
    return text, name


def declared_name(raw: bytes) -> str:
    """MSH-18, first repetition, read from the bytes of a message or its header; ``""`` when it is absent."""
    start = 0 if raw.startswith(b"MSH") else raw.find(b"MSH", 0, _HEAD)
    if start < 0:
        return ""
    limit = start + _LONGEST_HEADER
    end = raw.find(b"\r", start, limit)
    header = raw[start : end if end > 0 else limit]
    if b"\n" in header:
        header = header[: header.index(b"\n")]
    # The trail byte of a character in GBK may look like a separator, so that the header can't be split as bytes.
    text = header.decode("ascii") if header.isascii() else decode_text(header, "")[0]
    fields = text.split(text[3:4] or "|", 18)
    if len(fields) <= 17:
        return ""
    repetition = fields[1][1:2]
    return fields[17].split(repetition, 1)[0] if repetition else fields[17]
