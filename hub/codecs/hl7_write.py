"""Writing a changed HL7 v2 message: only the bytes of what was changed are made anew."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from hub.codecs.hl7_charset import BROKEN_BYTES, WIDE, python_name
from hub.codecs.hl7_delimiters import segment_place
from hub.errors import CodecError
from hub.i18n import t

if TYPE_CHECKING:
    from hub.codecs.hl7v2 import Hl7Message, Segment

__all__ = ["write"]

_LINES = re.compile(r"(\r\n|\r|\n)")
_BLOCK = 8**5
_BYTE_LINES = re.compile(rb"(\r\n|\r|\n)")


def write(message: Hl7Message, encoding: str) -> bytes:
    """The bytes of a message, in its own character set unless ``encoding``, or a new MSH-18, names another.

    Raises :class:`CodecError` when a character can't be written in it.
    """
    charset = _target_charset(message, encoding)
    same = charset == message.charset
    if same and not message.changed:
        return message.raw
    if same and charset not in WIDE:
        tail = message.raw[len(message.body) :]
        if not message.rearranged:
            return _replaced(message, charset) + tail
        return _put_together(message, _BYTE_LINES.split(message.body), charset, same=True) + tail
    if message.charset in WIDE:
        lines = _LINES.split(message.body.decode(message.charset))
        if not same:
            lines[0] = lines[0].lstrip("\ufeff")
    else:
        lines = [""] * (2 * len(message.lines) - 1)
        lines[::2] = message.lines
        lines[1::2] = [end.decode("ascii") for end in _BYTE_LINES.split(message.body)[1::2]]
    mark = "\ufeff".encode(charset) if charset in WIDE and not same else b""
    pieces = [_encoded(line, charset, number // 2) for number, line in enumerate(lines)]
    return mark + _put_together(message, pieces, charset, same=False)


def _target_charset(message: Hl7Message, encoding: str) -> str:
    named = python_name(encoding)
    header = message.header_line
    if not named and message.changed and any(s.line == header and s.changed for s in message.read_segments()):
        declared = message.header_field(18)
        if declared != message.charset_declared:
            named = python_name(declared)
            named = "" if named == "ascii" else named
    if not named or message.charset.startswith(named):  # utf-16 is utf-16-be as well
        return message.charset
    return f"{named}-le" if named in ("utf-16", "utf-32") else named


def _replaced(message: Hl7Message, charset: str) -> bytes:
    """The message's own bytes with the changed segments in place of the old: the way nearly all changes take."""
    body = message.body
    end = b"" if b"\n" in body and b"\r" in body else b"\n" if b"\n" in body else b"\r"
    pieces, step = (body.split(end), 1) if end else (_BYTE_LINES.split(body), 2)
    for segment in message.read_segments():
        if segment.changed:
            at = step * segment.line
            pieces[at] = _changed(message, segment, pieces[at], charset, same=True)
    return end.join(pieces)


def _put_together(message: Hl7Message, pieces: list[bytes], charset: str, *, same: bool) -> bytes:
    """Segments in their order, with the bytes as they came (``pieces``: line, line end, line …) where nothing was changed.

    Blank lines stay where they are; deleted segments vanish with their line end. ``same``: the pieces are the message's own
    bytes in a set in which the delimiters are single bytes.
    """
    lines = message.lines
    usual_end = pieces[1] if len(pieces) > 1 else "\r".encode(charset)
    out: list[bytes] = []
    ended = True
    at = 0
    for segment in message.segments:
        line = segment.line
        if line < 0:
            new = (_encoded(segment.text(), charset, len(out) // 2, segment.name), usual_end)
        else:
            out += _blanks(lines, pieces, at, line)
            at = line + 1
            piece = pieces[2 * line]
            if segment.changed:
                piece = _changed(message, segment, piece, charset, same=same)
            new = (piece, pieces[2 * line + 1] if 2 * line + 1 < len(pieces) else b"")
        if not ended:
            out.append(usual_end)
        out += new
        ended = bool(new[1])
    out += _blanks(lines, pieces, at, len(lines))
    return b"".join(out)


def _blanks(lines: list[str], pieces: list[bytes], start: int, stop: int) -> list[bytes]:
    """The blank lines among these."""
    found = []
    for number in range(start, stop):
        if not lines[number] or lines[number].isspace():
            found += pieces[2 * number : 2 * number + 2]
    return found


def _changed(message: Hl7Message, segment: Segment, piece: bytes, charset: str, *, same: bool) -> bytes:
    """The bytes of a changed segment, with what stood before its name (byte order mark, MLLP byte)."""
    start = max(piece.find(segment.name.encode(charset, "replace")), 0)
    old, new = message.lines[segment.line], segment.text()
    if same and old.encode(charset, "replace") != piece[start:]:
        separators = message.field_sep + message.repetition_sep + message.component_sep + message.subcomponent_sep
        if separators[0].isascii() and not charset.startswith("iso2022"):
            return piece[:start] + _merged(piece[start:], old, new, separators, charset, segment)
    return piece[:start] + _encoded(new, charset, segment.line, segment.name)


def _merged(piece: bytes, old: str, new: str, separators: str, charset: str, segment: Segment) -> bytes:
    """``new`` in bytes, with the parts that are as in ``old`` as they stand in ``piece``.

    For bytes that encoding ``old`` doesn't give back: broken characters, and characters with more than one code in the set.
    """
    if old == new:
        return piece
    if not separators:
        return _encoded(new, charset, segment.line, segment.name)
    separator, deeper = separators[0], separators[1:]
    if not separator.isascii():
        return _merged(piece, old, new, deeper, charset, segment)
    old_parts = old.split(separator)
    mark = separator.encode("ascii")
    cuts = _cut(piece, old_parts, mark, charset)
    out = [
        _merged(cuts[number], old_parts[number], part, deeper, charset, segment)
        if number < len(old_parts)
        else _encoded(part, charset, segment.line, segment.name)
        for number, part in enumerate(new.split(separator))
    ]
    return mark.join(out)


def _cut(piece: bytes, parts: list[str], separator: bytes, charset: str) -> list[bytes]:
    """The bytes of each part, where ``parts``, joined by a separator of one byte, are the text of ``piece``."""
    if charset == "utf-8":
        return piece.split(separator)  # no byte of a longer character looks like another
    cuts = []
    at = 0
    for part in parts[:-1]:
        expected = part.encode(charset, "replace")
        same = piece.startswith(expected, at)
        end = at + len(expected) if same else _end(piece, at, len(part), charset)
        cuts.append(piece[at:end])
        at = end + 1
    return [*cuts, piece[at:]]


def _end(piece: bytes, at: int, characters: int, charset: str) -> int:
    """Where the separator stands that follows so many characters, counted in ever smaller blocks."""
    decoder = codecs.getincrementaldecoder(charset)(BROKEN_BYTES)
    size = _BLOCK
    while size and at < len(piece):
        state = decoder.getstate()
        block = piece[at : at + size]
        count = len(decoder.decode(block))
        if count <= characters:
            characters -= count
            at += len(block)
        else:
            decoder.setstate(state)
            size //= 8
    return at


def _encoded(text: str, charset: str, line: int, name: str = "") -> bytes:
    try:
        return text.encode(charset)
    except UnicodeEncodeError as error:
        raise CodecError(
            t(f"a character can't be written in {charset}", f"有字符无法用 {charset} 表示"),
            place=segment_place(line, name),
            code="hl7.charset",
            remedy=t(
                "set the interface's encoding, e.g. gb18030 or utf-8", "请设置接口的 encoding，如 gb18030 或 utf-8"
            ),
        ) from error
