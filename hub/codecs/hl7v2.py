"""HL7 v2 messages: lossless and lazy.

A message is cut into lines at once and into fields only where somebody looks. What nobody changes is encoded as the very bytes
that came: delimiters, line ends, blanks, byte order mark, even MLLP bytes around it. Numbering is HL7's: MSH-1 is the
field separator itself (HL7 v2.5.1 chapter 2, 2.14.9).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

from hub.codecs.base import Codec
from hub.codecs.hl7_charset import STATEFUL, decode_text, python_name
from hub.codecs.hl7_escape import Escapes, escapes_for
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["MAX_SEGMENTS", "Hl7Codec", "Hl7Message", "Hl7Path", "Segment", "parse_path", "split_batch"]

#: More segments than any real message has; a limit against hostile ones.
MAX_SEGMENTS = 100_000
#: How far into the bytes the header may begin: blanks, byte order mark, MLLP start byte.
_HEAD = 4096
_BLANK = b" \t\r\n\x0b\x0c\x1c\x00"
_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(r"\r\n|\r|\n")
_LINE_END_BYTES = re.compile(rb"(\r\n|\r|\n)")
_HEADERS = ("MSH", "FHS", "BHS")
_HEADER_START = re.compile(rb"(?:^|[\r\n\x0b])(?:\xef\xbb\xbf)?[ \t\x1c]*(FHS|BHS|MSH|BTS|FTS)(?=[^A-Za-z0-9\s])")


class Segment:
    """One segment; ``fields`` are the raw, still escaped field texts, ``fields[0]`` its name."""

    __slots__ = ("_fields", "_message", "_text", "changed", "line", "name")

    def __init__(self, message: Hl7Message, text: str, line: int) -> None:
        self._message = message
        self._text = text
        self._fields: list[str] | None = None
        self.line = line  # position among the lines of the original bytes, -1 for a new segment
        self.changed = line < 0
        self.name = text[:3]

    @property
    def fields(self) -> list[str]:
        """Treat as read-only; change a field with :meth:`set_field`, or call :meth:`touch` afterwards."""
        fields = self._fields
        if fields is None:
            separator = self._message.field_sep
            fields = self._text.split(separator)
            if fields[0] in _HEADERS:
                fields.insert(1, separator)
            self._fields = fields
        return fields

    def touch(self) -> None:
        """Say that ``fields`` was changed."""
        self.changed = True
        self._message.changed = True

    def set_field(self, number: int, raw: str) -> None:
        """Replace a field by a text that is escaped already; missing fields before it are added."""
        fields = self.fields
        if number >= len(fields):
            fields.extend([""] * (number + 1 - len(fields)))
        fields[number] = raw
        self.touch()

    def text(self) -> str:
        """The segment as written in a message."""
        if not self.changed or self._fields is None:
            return self._text
        separator = self._message.field_sep
        if self.name in _HEADERS:
            return self.name + separator + separator.join(self._fields[2:])
        return separator.join(self._fields)

    def copy(self, message: Hl7Message) -> Segment:
        twin = Segment(message, self._text, self.line)
        twin.changed = self.changed
        twin._fields = None if self._fields is None else self._fields.copy()
        return twin


class Hl7Message:
    """A decoded message; the delimiters are single characters, ``""`` where the message defines none."""

    __slots__ = (
        "_charset",
        "_declared",
        "_encoding",
        "_escapes",
        "_firsts",
        "_lines",
        "_segments",
        "changed",
        "component_sep",
        "escape_char",
        "field_sep",
        "raw",
        "repetition_sep",
        "subcomponent_sep",
        "truncation_char",
    )

    def __init__(
        self, raw: bytes, lines: list[str], first: int, charset: str, declared: str | None, encoding: str
    ) -> None:
        self.raw = raw
        self._charset = charset  # "": plain ASCII bytes, so nobody needed to look
        self._declared = declared
        self._encoding = encoding
        self.changed = False
        self._lines = lines
        self._segments: list[Segment] | None = None
        self._firsts: dict[str, Segment | None] = {}
        header = lines[first]
        self.field_sep = separator = header[3]
        end = header.find(separator, 4)
        marks = _delimiters(separator, header[4:end] if end > 0 else header[4:16], first)
        (
            self.component_sep,
            self.repetition_sep,
            self.escape_char,
            self.subcomponent_sep,
            self.truncation_char,
        ) = marks
        self._escapes: Escapes | None = None

    @property
    def charset_declared(self) -> str:
        """MSH-18, first repetition, as it stands."""
        if self._declared is None:
            self._declared = _msh_field(self, 18)
        return self._declared

    @property
    def charset(self) -> str:
        """Python's name of the character set: the one the bytes were read with; for plain ASCII bytes the one declared."""
        if not self._charset:
            name = python_name(self._encoding) or python_name(self.charset_declared)
            self._charset = "utf-8" if name in STATEFUL or name in ("", "ascii") else name
        return self._charset

    # -- segments ------------------------------------------------------------------------------------------------

    @property
    def segments(self) -> list[Segment]:
        """All segments in order. Change the list only through :meth:`add_segment` and :meth:`delete_segment`."""
        found = self._segments
        if found is None:
            known = {segment.line: segment for segment in self._firsts.values() if segment is not None}
            found = [
                known.get(number) or Segment(self, line, number)
                for number, line in enumerate(self._lines)
                if line and not line.isspace()
            ]
            self._segments = found
        return found

    def first(self, name: str) -> Segment | None:
        """The first segment of a name, None when there is none."""
        try:
            return self._firsts[name]
        except KeyError:
            pass
        found = None
        if self._segments is not None:
            found = next((s for s in self._segments if s.name == name), None)
        else:
            for number, line in enumerate(self._lines):
                if line.startswith(name):
                    found = Segment(self, line, number)
                    break
        self._firsts[name] = found
        return found

    def all(self, name: str) -> list[Segment]:
        """Every segment of a name, in order."""
        return [segment for segment in self.segments if segment.name == name]

    def add_segment(self, name: str, *, after: Segment | None = None) -> Segment:
        """A new, empty segment at the end or after another."""
        segments = self.segments
        segment = Segment(self, name, -1)
        segments.insert(segments.index(after) + 1 if after is not None else len(segments), segment)
        self._firsts.pop(name, None)
        self.changed = True
        return segment

    def delete_segment(self, segment: Segment) -> None:
        self.segments.remove(segment)
        self._firsts.pop(segment.name, None)
        self.changed = True

    def copy(self) -> Hl7Message:
        """An independent message with the same content; cheap, nothing is parsed again."""
        twin = Hl7Message.__new__(Hl7Message)
        for name in Hl7Message.__slots__:
            setattr(twin, name, getattr(self, name))
        twin._firsts = {}
        if self._segments is not None or self.changed:
            twin._segments = [segment.copy(twin) for segment in self.segments]
        return twin

    # -- text ----------------------------------------------------------------------------------------------------

    @property
    def escapes(self) -> Escapes:
        found = self._escapes
        if found is None:
            found = self._escapes = escapes_for(
                self.field_sep,
                self.component_sep,
                self.repetition_sep,
                self.escape_char,
                self.subcomponent_sep,
                self.truncation_char,
            )
        return found

    def unescape(self, text: str) -> str:
        return self.escapes.unescape(text, self.charset)

    def escape(self, text: str) -> str:
        return self.escapes.escape(text)

    # -- paths ---------------------------------------------------------------------------------------------------

    def get(self, path: str) -> str:
        """One value by path, ``PID-3[2].4.2``, unescaped; ``""`` when absent. Numbers count from 1.

        A path to something that has parts gives it as written. ``""`` (two quotes) is HL7's "delete this" and is returned.
        """
        place = parse_path(path)
        segment = self._occurrence(place)
        if segment is None or not place.field:
            return segment.name if segment is not None else ""
        fields = segment.fields
        raw = fields[place.field] if place.field < len(fields) else ""
        if segment.name in _HEADERS and place.field <= 2:
            return raw
        raw = _nth(raw, self.repetition_sep, place.repetition)
        if place.component:
            raw = _nth(raw, self.component_sep, place.component)
            if place.subcomponent:
                raw = _nth(raw, self.subcomponent_sep, place.subcomponent)
        return self.unescape(raw)

    def get_all(self, path: str) -> list[str]:
        """The value of every repetition of the field, in every occurrence of the segment."""
        place = parse_path(path)
        found = []
        for segment in self.all(place.segment):
            raw = segment.fields[place.field] if place.field < len(segment.fields) else ""
            for part in raw.split(self.repetition_sep) if self.repetition_sep else [raw]:
                value = part
                if place.component:
                    value = _nth(value, self.component_sep, place.component)
                if place.subcomponent:
                    value = _nth(value, self.subcomponent_sep, place.subcomponent)
                found.append(self.unescape(value))
        return found

    def set(self, path: str, value: str) -> None:
        """Set one value by path; the segment is added when absent. The value is escaped."""
        place = parse_path(path)
        if not place.field:
            raise CodecError(t("name a field, e.g. PID-5", "请指明字段，例如 PID-5"), place=path)
        segment = self._occurrence(place)
        while segment is None:
            self.add_segment(place.segment)
            segment = self._occurrence(place)
        if segment.name in _HEADERS and place.field <= 2:
            raise CodecError(t("the delimiters of a message can't be set", "不能修改消息的分隔符"), place=path)
        raw = self.escape(value)
        fields = segment.fields
        old = fields[place.field] if place.field < len(fields) else ""
        if place.component:
            repetition = _nth(old, self.repetition_sep, place.repetition)
            if place.subcomponent:
                component = _nth(repetition, self.component_sep, place.component)
                raw = _with(component, self.subcomponent_sep, place.subcomponent, raw)
            raw = _with(repetition, self.component_sep, place.component, raw)
        segment.set_field(place.field, _with(old, self.repetition_sep, place.repetition, raw))

    def _occurrence(self, place: Hl7Path) -> Segment | None:
        if place.occurrence == 1:
            return self.first(place.segment)
        found = self.all(place.segment)
        return found[place.occurrence - 1] if len(found) >= place.occurrence else None


class Hl7Path:
    """A parsed path; 0 means "not given" for field, component and sub-component."""

    __slots__ = ("component", "field", "occurrence", "repetition", "segment", "subcomponent")

    def __init__(
        self, segment: str, occurrence: int, field: int, repetition: int, component: int, subcomponent: int
    ) -> None:
        self.segment = segment
        self.occurrence = occurrence
        self.field = field
        self.repetition = repetition
        self.component = component
        self.subcomponent = subcomponent


_PATH = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:\[(\d{1,6})\])?(?:-(\d{1,4})(?:\[(\d{1,6})\])?(?:\.(\d{1,4})(?:\.(\d{1,4}))?)?)?", re.ASCII
)


@lru_cache(maxsize=4096)
def parse_path(path: str) -> Hl7Path:
    """``SEG[occurrence]-field[repetition].component.subcomponent``; raises :class:`CodecError`."""
    found = _PATH.fullmatch(path)
    numbers = [int(n) if n is not None else None for n in found.groups()[1:]] if found else []
    if not found or 0 in numbers:
        raise CodecError(
            t(
                "no HL7 path; write e.g. PID-3[2].4.2, numbers count from 1",
                "不是 HL7 路径；例如 PID-3[2].4.2，序号从 1 起",
            ),
            place=path[:80],
            code="hl7.path",
        )
    occurrence, field, repetition, component, subcomponent = numbers
    return Hl7Path(found[1], occurrence or 1, field or 0, repetition or 1, component or 0, subcomponent or 0)


def _nth(text: str, separator: str, number: int) -> str:
    if not separator or separator not in text:
        return text if number == 1 else ""
    parts = text.split(separator)
    return parts[number - 1] if number <= len(parts) else ""


def _with(text: str, separator: str, number: int, value: str) -> str:
    """``text`` with its part ``number`` replaced; empty parts are added before it as needed."""
    parts = text.split(separator) if separator else [text]
    if number > len(parts):
        if not separator:
            raise CodecError(t("the message defines no separator for this part", "消息未定义此级的分隔符"))
        parts.extend([""] * (number - len(parts)))
    parts[number - 1] = value
    return separator.join(parts) if separator else value


class Hl7Codec(Codec):
    """See the module."""

    name: ClassVar[str] = "hl7v2"
    content_type: ClassVar[str] = "application/hl7-v2"

    def decode(self, raw: bytes, *, encoding: str = "") -> Hl7Message:
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            text, charset = _decode_wide(raw)
            declared: str | None = ""
        elif raw.isascii() and b"\x1b" not in raw:
            # Every set in use writes ASCII as ASCII (unless it switches by escape sequences), so nobody needs to look.
            text, charset, declared = raw.decode("ascii"), "", None
        else:
            declared = _declared(raw)
            text, charset = decode_text(raw, python_name(encoding) or python_name(declared))
        lines = _LINE_END.split(text) if "\n" in text else text.split("\r")
        if len(lines) > MAX_SEGMENTS:
            raise CodecError(t(f"more than {MAX_SEGMENTS} segments", f"超过 {MAX_SEGMENTS} 个段"), code="hl7.segments")
        first = 0
        if not lines[0].startswith("MSH"):
            first = _find_header(lines)
        if len(lines[first]) < 5:
            raise _no_delimiters(first)
        return Hl7Message(raw, lines, first, charset, declared, encoding)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        if not isinstance(tree, Hl7Message):
            raise CodecError(
                t(
                    f"an HL7 message is needed, not {type(tree).__name__}",
                    f"需要 HL7 消息，而不是 {type(tree).__name__}",
                )
            )
        charset = python_name(encoding) or tree.charset
        if not tree.changed and (not encoding or charset == tree.charset):
            return tree.raw
        if charset != tree.charset or tree.charset.startswith(("utf-16", "utf-32")):
            return _encode_text("\r".join(s.text() for s in tree.segments) + "\r", charset)
        pieces = _LINE_END_BYTES.split(tree.raw)
        out: list[bytes] = []
        begun = False
        for segment in tree.segments:
            line = segment.line
            if line >= 0 and not segment.changed:
                body = pieces[2 * line]
            else:
                body = _encode_text(segment.text(), charset)
                if line >= 0:
                    body = _around(pieces[2 * line], segment.name.encode("ascii", "replace"), body)
            end = pieces[2 * line + 1] if line >= 0 and 2 * line + 1 < len(pieces) else b"\r"
            if not begun:
                begun = True
                if line > 0:
                    out.extend(pieces[: 2 * line])  # blank lines before the header
            if out and line < 0 and not out[-1].endswith((b"\r", b"\n")):
                out.append(b"\r")
            out += (body, end)
        last = max((s.line for s in tree.segments), default=-1)
        rest = b"".join(pieces[2 * last + 2 :]) if last >= 0 else b""
        if last >= 0 and 2 * last + 1 >= len(pieces) and tree.segments[-1].line == last:
            out.pop()  # the last segment had no line end
        return b"".join(out) + rest

    def envelope(self, tree: Any) -> tuple[str, str]:
        """(``ADT^A01``, MSH-10): MSH-9.1 and MSH-9.2, the event from EVN-1 where MSH-9 lacks it (HL7 before 2.3.1)."""
        fields = tree.first("MSH").fields
        count = len(fields)
        control = fields[10] if count > 10 else ""
        kind = fields[9] if count > 9 else ""
        mark = tree.component_sep
        if mark in kind:
            parts = kind.split(mark, 2)
            kind = f"{parts[0]}^{parts[1]}" if parts[1] else parts[0]
        if "^" not in kind and kind == "ADT":
            event = tree.first("EVN")
            if event is not None and len(event.fields) > 1 and event.fields[1]:
                kind = f"{kind}^{event.fields[1]}"
        return kind.strip(), control.strip()


def _no_delimiters(line: int) -> CodecError:
    return CodecError(
        t(
            "MSH-1 and MSH-2 must hold the delimiters, different punctuation characters, usually |^~\\&",
            "MSH-1、MSH-2 须为分隔符，即互不相同的标点字符，通常为 |^~\\&",
        ),
        place=_place(line, "MSH"),
        code="hl7.delimiters",
    )


@lru_cache(maxsize=256)
def _delimiters(separator: str, marks: str, line: int) -> tuple[str, str, str, str, str]:
    """Component, repetition, escape, sub-component and truncation character; ``""`` for what is not given.

    Two mistakes of real senders are understood: a character written twice (``^~\\\\&``), and an escape character
    that got lost on the way (``^~&``).
    """
    once = "".join(dict.fromkeys(marks))
    if once == "^~&":
        once = "^~\0&"
    every = separator + once.replace("\0", "")
    if not once or separator in once or any(c.isalnum() or c.isspace() for c in every) or len(once) > 5:
        raise _no_delimiters(line)
    padded = [char.replace("\0", "") for char in once] + [""] * 5
    return padded[0], padded[1], padded[2], padded[3], padded[4]


def _declared(raw: bytes) -> str:
    """MSH-18, first repetition, read from the bytes. A GBK trail byte may look like a separator, hence the second try."""
    start = raw.find(b"MSH", 0, _HEAD)
    if start < 0 or start + 3 >= len(raw):
        return ""
    header = raw[start : start + 8192].split(b"\r", 1)[0].split(b"\n", 1)[0]
    for charset in ("utf-8", "gb18030", "latin-1"):
        try:
            text = header.decode(charset)
        except UnicodeDecodeError:
            continue
        fields = text.split(text[3])
        if len(fields) <= 17:
            return ""
        repetition = fields[1][1:2]
        value = fields[17]
        return value.split(repetition, 1)[0] if repetition else value
    return ""


def _msh_field(message: Hl7Message, number: int) -> str:
    header = message.first("MSH")
    if header is None or len(header.fields) <= number:
        return ""
    value = header.fields[number]
    return value.split(message.repetition_sep, 1)[0] if message.repetition_sep else value


def _decode_wide(raw: bytes) -> tuple[str, str]:
    try:
        return raw.decode("utf-16"), "utf-16"
    except UnicodeDecodeError as error:
        raise CodecError(t("damaged UTF-16", "UTF-16 已损坏"), place=f"byte {error.start}") from error


def _find_header(lines: Sequence[str]) -> int:
    """The line with MSH, when something stands before it: blank lines, a byte order mark, an MLLP start byte."""
    for number, line in enumerate(lines):
        stripped = line.lstrip("\ufeff \t\x0b\x0c\x1c\x00")
        if not stripped:
            continue
        if stripped.startswith("MSH"):
            if isinstance(lines, list):
                lines[number] = stripped
            return number
        raise CodecError(
            t(
                "an HL7 message begins with MSH; this begins with something else",
                "HL7 消息须以 MSH 开头，此内容不是",
            ),
            place=_place(number, ""),
            code="hl7.no_msh",
        )
    raise CodecError(t("there is no HL7 message in it", "其中没有 HL7 消息"), place="byte 0", code="hl7.empty")


def _place(line: int, name: str) -> str:
    return t(f"segment {line + 1}", f"第 {line + 1} 段") + (f" ({name})" if name else "")


def _encode_text(text: str, charset: str) -> bytes:
    try:
        return text.encode(charset)
    except UnicodeEncodeError as error:
        raise CodecError(
            t(
                f"a character can't be written in {charset}",
                f"有字符无法用 {charset} 表示",
            ),
            place=f"character {error.start}",
            code="hl7.charset",
            remedy=t(
                "set the interface's encoding, e.g. gb18030 or utf-8", "请设置接口的 encoding，如 gb18030 或 utf-8"
            ),
        ) from error


def _around(original: bytes, name: bytes, body: bytes) -> bytes:
    """``body`` with what stood before the segment's name in the original line (byte order mark, MLLP byte)."""
    at = original.find(name)
    return original[:at] + body if at > 0 else body


def split_batch(raw: bytes) -> list[bytes]:
    """The messages of a batch file (FHS, BHS … BTS, FTS, all optional) or of several messages glued together.

    A single message comes back as it is. Raises :class:`CodecError` when there is no message in it.
    """
    starts = [(found.start(1), found[1]) for found in _HEADER_START.finditer(raw)]
    messages = [start for start, name in starts if name == b"MSH"]
    if not messages:
        raise CodecError(t("there is no HL7 message in it", "其中没有 HL7 消息"), place="byte 0", code="hl7.empty")
    if len(starts) == 1:
        return [raw]
    ends = {start: after for (start, _), (after, _) in zip(starts, [*starts[1:], (len(raw), b"")], strict=True)}
    return [raw[start : ends[start]].rstrip(_BLANK) + b"\r" for start in messages]
