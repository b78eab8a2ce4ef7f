"""Reading mails (RFC 5322, RFC 2045-2047, RFC 2231), also those written by hand or by old Chinese programs.

The parts are found by a search for their boundaries: no recursion, and time in proportion to size times depth, whatever a sender
makes up. Headers are read by the parsers of Python, each held to a length at which those are quick.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import quopri
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import unquote
from fnmatch import fnmatchcase

from hub.api import PermanentError
from hub.i18n import t

__all__ = ["Headers", "Part", "attachments", "decode_words", "file_name", "head_of", "leaves", "text_of"]

_LONGEST_HEAD = 256 << 10
#: Longest value that is taken apart; the parsers below take time in proportion to its square.
_LONGEST_VALUE = 8 << 10
_DEEPEST = 16
_LONGEST_BOUNDARY = 200
_LONGEST_NAME = 200
_BLANK = re.compile(rb"(?:\A|\n)\r?\n")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
#: Names under which GB 18030 is written: each of them is a part of it.
_CHINESE = ("gb2312", "gb_2312-80", "gbk", "cp936", "ms936", "gb18030", "x-gbk", "euc-cn", "hz-gb-2312")


#: Beginnings of the names of character sets. Python knows other codecs under such names, and some take very long.
_SETS = (
    "utf",
    "ascii",
    "gb",
    "hz",
    "big5",
    "iso",
    "cp",
    "euc",
    "shift_jis",
    "koi8",
    "mac",
    "johab",
    "tis",
    "ptcp",
    "hp",
)


class Headers:
    """The header lines of a mail or of a part; names in any case."""

    def __init__(self, head: bytes) -> None:
        self._values: dict[str, list[bytes]] = {}
        for line in _FOLD.sub(b"", head).split(b"\n"):
            name, colon, value = line.partition(b":")
            if colon:
                key = name.strip().lower().decode("latin-1")
                self._values.setdefault(key, []).append(value.strip())

    def all(self, name: str) -> list[str]:
        """Values as text, encoded words left as they are; cut at a length no honest one has."""
        return [decode(value[:_LONGEST_VALUE], "") for value in self._values.get(name, ())]

    def get(self, name: str) -> str:
        found = self.all(name)
        return found[0] if found else ""

    def parameter(self, header: str, name: str) -> str:
        """Of ``Content-Type`` or ``Content-Disposition``: RFC 2231, else RFC 2047 as many write it, else as it stands."""
        message = Message()
        message[header] = self.get(header.lower())
        value = message.get_param(name, "", header)
        if isinstance(value, tuple):
            charset, _, text = value
            return decode(unquote(text).encode("latin-1", "replace"), charset or "")
        return decode_words(unquote(str(value)))


@dataclass(frozen=True, slots=True)
class Part:
    """One part that holds no others."""

    kind: str  # media type, lower case
    name: str  # of the file, "" where it is none
    charset: str
    encoding: str  # Content-Transfer-Encoding, lower case
    attached: bool
    raw: bytes

    def content(self) -> bytes:
        """Without the transfer encoding; raises :class:`PermanentError`."""
        if self.encoding in ("", "7bit", "8bit", "binary"):
            return self.raw
        if self.encoding == "quoted-printable":
            return quopri.decodestring(self.raw)
        if self.encoding == "base64":
            compact = _BASE64.sub(b"", self.raw)
            try:
                return base64.b64decode(compact + b"=" * (-len(compact) % 4))
            except binascii.Error:
                text = t("a part of the mail is cut off in its Base64", "邮件某部分的 Base64 不完整")
                raise PermanentError(text, code="mail.encoding") from None
        text = t("a part of the mail has an unknown transfer encoding", "邮件某部分的传输编码未知")
        raise PermanentError(text, code="mail.encoding")


def head_of(raw: bytes) -> Headers:
    """The headers of a mail; raises :class:`PermanentError` when they are too long."""
    return Headers(_split(raw, 0, len(raw))[0])


def leaves(raw: bytes, most: int) -> Iterator[Part]:
    """The parts of a mail in their order; attached mails are one part each. Raises :class:`PermanentError` above the limits."""
    waiting = [(0, len(raw), 0)]  # begin, end, depth; the last is next
    seen = 0
    while waiting:
        begin, end, depth = waiting.pop()
        seen += 1
        if seen > most:
            raise PermanentError(
                t(f"the mail has more than {most} parts", f"邮件的组成部分超过 {most} 个"), code="mail.parts"
            )
        head, body = _split(raw, begin, end)
        headers = Headers(head)
        kind = headers.get("content-type").partition(";")[0].strip().lower() or "text/plain"
        boundary = headers.parameter("Content-Type", "boundary") if kind.startswith("multipart/") else ""
        if boundary:
            if depth >= _DEEPEST or len(boundary) > _LONGEST_BOUNDARY:
                text = t("the parts of the mail are nested too deeply", "邮件嵌套层次过深")
                raise PermanentError(text, code="mail.parts")
            inner = _inside(raw, body, end, boundary.encode("utf-8", "replace"), most)
            waiting.extend((first, last, depth + 1) for first, last in reversed(inner))
            continue
        disposition = headers.get("content-disposition").partition(";")[0].strip().lower()
        yield Part(
            kind,
            file_name(
                headers.parameter("Content-Disposition", "filename") or headers.parameter("Content-Type", "name")
            ),
            headers.parameter("Content-Type", "charset"),
            headers.get("content-transfer-encoding").lower(),
            disposition == "attachment",
            raw[body:end],
        )


def attachments(raw: bytes, patterns: Sequence[str], most: int) -> list[Part]:
    """Parts that are files with a name that matches, in their order; case does not matter."""
    lowered = [pattern.lower() for pattern in patterns]
    return [
        part
        for part in leaves(raw, most)
        if part.name and any(fnmatchcase(part.name.lower(), pattern) for pattern in lowered)
    ]


def text_of(raw: bytes, most: int) -> str | None:
    """The first ``text/plain`` part that is not a file; ``None`` where there is none."""
    for part in leaves(raw, most):
        if part.kind == "text/plain" and not part.attached and not part.name:
            return decode(part.content(), part.charset)
    return None


def decode(content: bytes, charset: str) -> str:
    """Text in the declared character set; where that is none or wrong: UTF-8, else GB 18030. Never raises."""
    name = charset.strip().lower()
    for candidate in ("gb18030" if name in _CHINESE else name, "utf-8", "gb18030"):
        try:
            if candidate and codecs.lookup(candidate).name.startswith(_SETS):
                return content.decode(candidate)
        except (LookupError, UnicodeError, ValueError):
            continue
    return content.decode("utf-8", "replace")


def decode_words(text: str) -> str:
    """Encoded words (RFC 2047) replaced, also where a character is cut in two words, or they stand between quotation marks."""
    if "=?" not in text:
        return text
    try:
        pieces = decode_header(text[:_LONGEST_VALUE])
    except (HeaderParseError, ValueError):
        return text
    return "".join(
        piece
        if isinstance(piece, str)
        else decode(piece, charset)
        if charset
        else piece.decode("raw-unicode-escape", "replace")
        for piece, charset in pieces
    )


def file_name(text: str) -> str:
    """The name alone, no folders, no control characters."""
    name = re.split(r"[/\\]", text)[-1]
    return "".join(c for c in name if c.isprintable()).strip()[-_LONGEST_NAME:]


def _split(raw: bytes, begin: int, end: int) -> tuple[bytes, int]:
    """Head, and where the body begins."""
    found = _BLANK.search(raw, begin, min(end, begin + _LONGEST_HEAD))
    if raw.startswith((b"\n", b"\r\n"), begin, end):
        return b"", raw.index(b"\n", begin) + 1
    if found is None:
        if end - begin > _LONGEST_HEAD:
            raise PermanentError(t("the headers of the mail are too long", "邮件头过长"), code="mail.parts")
        return raw[begin:end], end
    return raw[begin : found.start() + 1], found.end()


def _inside(raw: bytes, begin: int, end: int, boundary: bytes, most: int) -> list[tuple[int, int]]:
    """Begin and end of each part of a multipart body; a closing line that is missing is not missed."""
    line = re.compile(rb"^--" + re.escape(boundary) + rb"(--)?[ \t]*\r?(?:\n|\Z)", re.MULTILINE)
    found: list[tuple[int, int]] = []
    first = -1
    for delimiter in line.finditer(raw, begin, end):
        if first >= 0:
            last = delimiter.start()
            if raw.endswith(b"\n", first, last):
                last -= 2 if raw.endswith(b"\r\n", first, last) else 1
            found.append((first, last))
            if len(found) > most:
                break
        if delimiter[1]:
            return found
        first = delimiter.end()
    else:
        if 0 <= first < end:
            found.append((first, end))
    return found
