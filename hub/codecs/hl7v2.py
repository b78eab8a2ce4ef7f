"""HL7 v2 messages: lossless and lazy.

A message is cut into lines and fields only where somebody looks. What nobody changes is encoded as the very bytes
that came: delimiters, line ends, blanks, byte order mark, even MLLP bytes around it. Numbering is HL7's: MSH-1 is the
field separator itself (HL7 v2.5.1 chapter 2, 2.14.9).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from hub.codecs.base import Codec, Joint
from hub.codecs.hl7_batch import split_batch
from hub.codecs.hl7_charset import WIDE, declared_name, decode_text, decode_wide, python_name
from hub.codecs.hl7_delimiters import Delimiters, read_delimiters, segment_place
from hub.codecs.hl7_escape import UNDECLARED
from hub.codecs.hl7_joined import BATCHES, Hl7Batch
from hub.codecs.hl7_path import Hl7Path, parse_path, part, with_part
from hub.codecs.hl7_write import write
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["MAX_FIELDS", "MAX_SEGMENTS", "Hl7Codec", "Hl7Message", "Segment", "split_batch"]

#: More segments than any real message has; a limit against hostile ones.
MAX_SEGMENTS = 100_000
#: The same for the fields of one segment.
MAX_FIELDS = 100_000
#: So many segments are looked for in the text; who reads more is better served by an index of the lines.
_FEW_SEGMENTS = 2
_LINE_END = re.compile(r"\r\n|\r|\n")
_HEADERS = ("MSH", "FHS", "BHS")
_BEFORE_HEADER = "\ufeff \t\x0b\x0c\x1c\x00"
_TYPE = 9
_CONTROL_ID = 10


class _Shared:
    """What segments need of their message. They don't refer to the message itself: such a ring would outlive its use until the
    collector finds it, and thousands of messages a second make that a pause everybody feels.
    """

    __slots__ = ("changed", "field_sep")

    def __init__(self, field_sep: str) -> None:
        self.field_sep = field_sep
        self.changed = False


class Segment:
    """One segment: ``name``, and ``fields``, a tuple of the raw, still escaped field texts; ``fields[0]`` is the name."""

    __slots__ = ("_fields", "_shared", "_text", "changed", "line", "name")

    def __init__(self, shared: _Shared, text: str, line: int) -> None:
        self._shared = shared
        self._text = text
        self._fields: tuple[str, ...] | None = None
        self.line = line  # which of the message's lines it is, -1 for a new segment
        self.changed = line < 0
        self.name = text[:3] if text[3:4] == shared.field_sep else text.split(shared.field_sep, 1)[0]

    @property
    def fields(self) -> tuple[str, ...]:
        """With HL7's numbers: of a header, ``fields[1]`` is the field separator and ``fields[2]`` the other delimiters."""
        fields = self._fields
        if fields is None:
            separator = self._shared.field_sep
            text = self._text
            if len(text) > MAX_FIELDS and text.count(separator) > MAX_FIELDS:
                raise CodecError(
                    t(f"more than {MAX_FIELDS} fields", f"超过 {MAX_FIELDS} 个字段"),
                    place=segment_place(max(self.line, 0), self.name),
                    code="hl7.fields",
                )
            parts = text.split(separator)
            if self.name in _HEADERS:
                parts.insert(1, separator)
            fields = self._fields = tuple(parts)
        return fields

    def set_field(self, number: int, raw: str) -> None:
        """Replace a field by a text that is escaped already; missing fields before it are added.

        Raises :class:`CodecError` for the name and for the delimiters in a header, and for text that would break the message:
        unescaped field separators and line ends, or parts the message declares no delimiter for.
        """
        shared = self._shared
        if number < 1 or (number < 3 and self.name in _HEADERS):
            raise CodecError(
                t("the delimiters of a message can't be set", "不能修改消息的分隔符"),
                place=f"{self.name}-{number}",
                code="hl7.delimiters",
            )
        if UNDECLARED in raw:
            raise CodecError(
                t("the message defines no separator for this part", "消息未定义此级的分隔符"),
                place=f"{self.name}-{number}",
                code="hl7.delimiters",
            )
        if shared.field_sep in raw or "\r" in raw or "\n" in raw:
            raise CodecError(
                t("a field separator or line end must be escaped", "字段分隔符、换行须转义"),
                place=f"{self.name}-{number}",
                code="hl7.unescaped",
            )
        fields = list(self.fields)
        if number >= len(fields):
            fields.extend([""] * (number + 1 - len(fields)))
        fields[number] = raw
        self._fields = tuple(fields)
        self.changed = True
        shared.changed = True

    def text(self) -> str:
        """The segment as written in a message."""
        if not self.changed or self._fields is None:
            return self._text
        separator = self._shared.field_sep
        if self.name in _HEADERS:
            return self.name + separator + separator.join(self._fields[2:])
        return separator.join(self._fields)

    def copy(self, shared: _Shared) -> Segment:
        """The same segment, as part of another message."""
        twin = Segment.__new__(Segment)
        twin._shared = shared
        twin._text = self._text
        twin._fields = self._fields
        twin.line = self.line
        twin.changed = self.changed
        twin.name = self.name
        return twin


class Hl7Message:
    """A decoded message. A delimiter it doesn't declare is :data:`~hub.codecs.hl7_escape.UNDECLARED`, found in no text.

    ``header`` is the text of MSH as it came, ``body`` the bytes without an MLLP frame's end; both are for reading only.
    """

    __slots__ = (
        "_charset",
        "_delimiters",
        "_encoding",
        "_fields",
        "_firsts",
        "_index",
        "_line_end",
        "_lines",
        "_read",
        "_segments",
        "_shared",
        "_text",
        "body",
        "component_sep",
        "escape_char",
        "field_sep",
        "header",
        "header_line",
        "raw",
        "rearranged",
        "repetition_sep",
        "subcomponent_sep",
    )

    def __init__(
        self,
        raw: bytes,
        body: bytes,
        text: str,
        line_end: str,
        lines: list[str] | None,
        header: str,
        header_line: int,
        delimiters: Delimiters,
        charset: str,
        encoding: str,
    ) -> None:
        self.raw = raw
        self.body = body
        self.header = header
        self.header_line = header_line
        self._text = text
        self._line_end = line_end  # "": lines end in several ways
        self._lines = lines
        self._delimiters = delimiters
        self.field_sep, self.component_sep, self.repetition_sep, self.escape_char, self.subcomponent_sep, _, _ = (
            delimiters
        )
        self._charset = charset  # "": plain ASCII bytes, so nobody needed to look
        self._encoding = encoding
        self._shared = _Shared(delimiters.field)
        self.rearranged = False  # segments were added or deleted
        self._segments: list[Segment] | None = None
        self._fields: dict[str, Sequence[str]] = {}  # of first segments, as they came
        self._firsts: dict[str, Segment | None] = {}
        self._index: dict[str, list[int]] | None = None
        self._read: dict[int, Segment] = {}  # by line: those somebody has asked for

    @property
    def lines(self) -> list[str]:
        """The lines as they came; for reading only."""
        lines = self._lines
        if lines is None:
            lines = self._lines = _lines_of(self._text, self._line_end)
        return lines

    @property
    def changed(self) -> bool:
        """Whether it differs from what came."""
        return self._shared.changed

    @property
    def charset_declared(self) -> str:
        """MSH-18 as it came, first repetition."""
        fields = self.header.split(self.field_sep, 18)
        return part(fields[17], self.repetition_sep, 1) if len(fields) > 17 else ""

    @property
    def charset(self) -> str:
        """Python's name of the character set: the one the bytes were read with; for plain ASCII bytes the one declared."""
        if not self._charset:
            name = python_name(self._encoding) or python_name(self.charset_declared)
            self._charset = "utf-8" if name in WIDE or name in ("", "ascii") else name
        return self._charset

    def header_field(self, number: int) -> str:
        """The first repetition of a field of MSH, raw."""
        header = self.first("MSH")
        if header is None or len(header.fields) <= number:
            return ""
        return part(header.fields[number], self.repetition_sep, 1)

    # -- segments ------------------------------------------------------------------------------------------------

    @property
    def segments(self) -> list[Segment]:
        """All segments in order. Change the list only through :meth:`add_segment` and :meth:`delete_segment`."""
        found = self._segments
        if found is None:
            found = self._segments = [
                self._at(number, line) for number, line in enumerate(self.lines) if line and not line.isspace()
            ]
        return found

    def read_segments(self) -> list[Segment]:
        """Those somebody has asked for, all others are as they came."""
        if self._segments is not None:
            return self._segments
        return list(self._read.values())

    def first(self, name: str) -> Segment | None:
        """The first segment of a name, None when there is none."""
        firsts = self._firsts
        if name in firsts:
            return firsts[name]
        if self._segments is not None:
            found = next((s for s in self._segments if s.name == name), None)
        else:
            lines = self.lines
            number = next((n for n in self._places().get(name[:3], ()) if self._is(lines[n], name)), None)
            found = None if number is None else self._at(number, lines[number])
        firsts[name] = found
        return found

    def first_fields(self, name: str) -> Sequence[str]:
        """``first(name).fields``, empty when there is no such segment; the quick way to read a few of them."""
        if self._shared.changed:
            segment = self.first(name)
            return segment.fields if segment is not None else ()
        found = self._fields.get(name)
        if found is None:
            found = self._fields[name] = self._found_fields(name)
        return found

    def _found_fields(self, name: str) -> Sequence[str]:
        """Straight from the text or its lines where these are plain; else by way of the segment."""
        text, end, separator = self._text, self._line_end, self.field_sep
        if name == "MSH" and self.header.startswith(name) and len(self.header) <= MAX_FIELDS:
            fields = self.header.split(separator)
            fields.insert(1, separator)
            return fields
        if end and len(name) == 3 and name not in _HEADERS:
            if self._index is None and len(self._fields) < _FEW_SEGMENTS:
                start = text.find(f"{end}{name}{separator}")
                if start < 0 and name not in text:
                    return ()
                # A segment that is only its name may come before.
                if start >= 0 and text.find(f"{end}{name}{end}", 0, start + 1) < 0:
                    stop = text.find(end, start + 1)
                    line = text[start + 1 : stop if stop >= 0 else None]
                    if len(line) <= MAX_FIELDS:
                        return line.split(separator)
            else:
                places = self._places().get(name)
                if places is None:
                    return ()
                line = self.lines[places[0]]
                if line[3:4] == separator and len(line) <= MAX_FIELDS:
                    return line.split(separator)
        segment = self.first(name)
        return segment.fields if segment is not None else ()

    def all(self, name: str) -> list[Segment]:
        """Every segment of a name, in order."""
        if self._segments is not None:
            return [segment for segment in self._segments if segment.name == name]
        lines = self.lines
        return [self._at(n, lines[n]) for n in self._places().get(name[:3], ()) if self._is(lines[n], name)]

    def _places(self) -> dict[str, list[int]]:
        """First three characters -> the lines that begin with them."""
        places = self._index
        if places is None:
            places = self._index = {}
            for number, line in enumerate(self.lines):
                start = line[:3]
                if start in places:
                    places[start].append(number)
                else:
                    places[start] = [number]
        return places

    def _is(self, line: str, name: str) -> bool:
        end = len(name)
        return line.startswith(name) and (line[end : end + 1] == self.field_sep or len(line) == end)

    def _at(self, number: int, line: str) -> Segment:
        found = self._read.get(number)
        if found is None:
            found = self._read[number] = Segment(self._shared, line, number)
        return found

    def add_segment(self, name: str, *, after: Segment | None = None) -> Segment:
        """A new, empty segment at the end or after another."""
        segments = self.segments
        if len(segments) >= MAX_SEGMENTS:
            raise _too_many_segments()
        segment = Segment(self._shared, name, -1)
        segments.insert(segments.index(after) + 1 if after is not None else len(segments), segment)
        self._firsts.pop(name, None)
        self._shared.changed = self.rearranged = True
        return segment

    def delete_segment(self, segment: Segment) -> None:
        """Remove a segment; the header can't be removed."""
        if segment.line == self.header_line:
            raise CodecError(
                t("a message can't be without its header", "消息不能没有消息头"), place="MSH", code="hl7.no_msh"
            )
        self.segments.remove(segment)
        self._firsts.pop(segment.name, None)
        self._shared.changed = self.rearranged = True

    def copy(self) -> Hl7Message:
        """An independent message with the same content; cheap, nothing is parsed again."""
        twin = Hl7Message(
            self.raw,
            self.body,
            self._text,
            self._line_end,
            self._lines,
            self.header,
            self.header_line,
            self._delimiters,
            self._charset,
            self._encoding,
        )
        if self.changed:
            twin._shared.changed = True
            twin.rearranged = self.rearranged
            twin._segments = [segment.copy(twin._shared) for segment in self.segments]
        return twin

    # -- text ----------------------------------------------------------------------------------------------------

    def unescape(self, text: str) -> str:
        """``text`` with its escape sequences replaced; formatting commands and unknown ones stay."""
        if self.escape_char not in text:
            return text
        return self._delimiters.escapes.unescape(text, self.charset)

    def escape(self, text: str) -> str:
        """``text`` so that it can stand in a field."""
        return self._delimiters.escapes.escape(text)

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
        return self._within(part(raw, self.repetition_sep, place.repetition), place)

    def get_all(self, path: str) -> list[str]:
        """The value of every repetition of the field, in every occurrence of the segment; numbers of both are ignored."""
        place = parse_path(path)
        found: list[str] = []
        for segment in self.all(place.segment):
            if place.field < len(segment.fields):
                raw = segment.fields[place.field]
                is_delimiters = segment.name in _HEADERS and 0 < place.field <= 2
                repetitions = [raw] if is_delimiters else raw.split(self.repetition_sep)
                found += [
                    repetition if is_delimiters else self._within(repetition, place) for repetition in repetitions
                ]
        return found

    def _within(self, raw: str, place: Hl7Path) -> str:
        """The component or sub-component of a repetition that a path means, unescaped."""
        if place.component:
            raw = part(raw, self.component_sep, place.component)
        if place.subcomponent:
            raw = part(raw, self.subcomponent_sep, place.subcomponent)
        return self.unescape(raw)

    def set(self, path: str, value: str) -> None:
        """Set one value by path; the segment is added when absent. The value is escaped."""
        place = parse_path(path)
        if not place.field:
            raise CodecError(t("name a field, e.g. PID-5", "请指明字段，例如 PID-5"), place=path[:80], code="hl7.path")
        raw = self.escape(value)
        segment = self._occurrence(place)
        if segment is None:
            missing = place.occurrence - len(self.all(place.segment))
            segment = [self.add_segment(place.segment) for _ in range(missing)][-1]
        fields = segment.fields
        old = fields[place.field] if place.field < len(fields) else ""
        if place.component:
            repetition = part(old, self.repetition_sep, place.repetition)
            if place.subcomponent:
                component = part(repetition, self.component_sep, place.component)
                raw = with_part(component, self.subcomponent_sep, place.subcomponent, raw)
            raw = with_part(repetition, self.component_sep, place.component, raw)
        segment.set_field(place.field, with_part(old, self.repetition_sep, place.repetition, raw))

    def _occurrence(self, place: Hl7Path) -> Segment | None:
        if place.occurrence == 1:
            return self.first(place.segment)
        found = self.all(place.segment)
        return found[place.occurrence - 1] if len(found) >= place.occurrence else None


class Hl7Codec(Codec):
    """See the module."""

    name: ClassVar[str] = "hl7v2"
    content_type: ClassVar[str] = "application/hl7-v2"
    joins: ClassVar[tuple[str, ...]] = BATCHES

    def decode(self, raw: bytes, *, encoding: str = "") -> Hl7Message:
        body = _unframed(raw) if b"\x1c" in raw[-8:] else raw
        if body.isascii() and b"\x1b" not in body and not encoding:
            # Every set in use writes ASCII as ASCII (unless it switches by escape sequences), so nobody needs to look.
            text, charset = body.decode("ascii"), ""
        else:
            text, charset = _decoded(body, encoding)
        end = "\r" if "\n" not in text else "" if "\r" in text else "\n"
        lines: list[str] | None = None
        if len(text) > MAX_SEGMENTS:
            if text.count("\r") + text.count("\n") > 2 * MAX_SEGMENTS:
                raise _too_many_segments()
            lines = _lines_of(text, end)
            if len(lines) > MAX_SEGMENTS:
                raise _too_many_segments()
        if end and text.startswith("MSH"):
            number = 0
            stop = text.find(end)
            header = text[:stop] if stop >= 0 else text
        else:
            lines = lines or _lines_of(text, end)
            number = 0 if text.startswith("MSH") else _find_header(lines)
            header = lines[number]
            end = ""
        delimiters = read_delimiters(header, number)
        return Hl7Message(raw, body, text, end, lines, header, number, delimiters, charset, encoding)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        if not isinstance(tree, Hl7Message):
            if isinstance(tree, Hl7Batch):
                return tree.written(lambda message: self.encode(message, encoding=encoding), encoding)
            raise CodecError(
                t(
                    f"an HL7 message is needed, not {type(tree).__name__}",
                    f"需要 HL7 消息，而不是 {type(tree).__name__}",
                )
            )
        if not tree.changed and not encoding:
            return tree.raw
        return write(tree, encoding)

    def join(self, trees: Sequence[Any], way: str, joint: Joint) -> Any:
        return Hl7Batch(trees, way, joint)

    def envelope(self, tree: Any) -> tuple[str, str]:
        """(``ADT^A01``, MSH-10): MSH-9.1 and MSH-9.2, the event from EVN-1 where MSH-9 lacks it (HL7 before 2.3.1)."""
        message: Hl7Message = tree
        if message.changed:
            header = message.first("MSH")
            line = header.text() if header is not None else ""
        else:
            line = message.header
        # MSH-1 is the separator itself, so that a field's place in the line is one less than its number.
        fields = line.split(message.field_sep, _CONTROL_ID)
        count = len(fields)
        if count < _TYPE:
            return "", ""
        kind = fields[_TYPE - 1]
        parts = kind.split(message.component_sep, 2)
        if len(parts) > 1 and parts[1]:
            kind = f"{parts[0]}^{parts[1]}"
        else:
            kind = parts[0]
            event = message.first("EVN") if kind and kind != "ACK" else None
            if event is not None and len(event.fields) > 1 and event.fields[1]:
                kind = f"{kind}^{part(event.fields[1], message.component_sep, 1)}"
        return kind.strip(), fields[_CONTROL_ID - 1].strip() if count >= _CONTROL_ID else ""


def _decoded(body: bytes, encoding: str) -> tuple[str, str]:
    """The text, and the character set it was read in; ``""`` for plain ASCII."""
    named = python_name(encoding)
    wide = decode_wide(body, named)
    if wide:
        return wide
    if body.isascii() and b"\x1b" not in body:
        return body.decode("ascii"), ""
    if body.startswith(b"\xef\xbb\xbf"):
        return decode_text(body, "utf-8")
    return decode_text(body, named or python_name(declared_name(body)))


def _unframed(raw: bytes) -> bytes:
    """Without the end of an MLLP frame, 0x1C 0x0D. In UTF-16 these bytes may be characters."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw
    end = raw.rfind(b"\x1c")
    return raw[:end] if not raw[end:].strip(b"\x1c\r\n") else raw


def _lines_of(text: str, end: str) -> list[str]:
    """The lines of a text; ``end`` is what ends each of them, "" when they end in several ways."""
    return text.split(end) if end else _LINE_END.split(text)


def _too_many_segments() -> CodecError:
    return CodecError(t(f"more than {MAX_SEGMENTS} segments", f"超过 {MAX_SEGMENTS} 个段"), code="hl7.segments")


def _find_header(lines: list[str]) -> int:
    """The line with MSH, when something stands before it, which is taken off: blank lines, byte order mark, MLLP start byte."""
    for number, line in enumerate(lines):
        stripped = line.lstrip(_BEFORE_HEADER)
        if not stripped:
            continue
        if stripped.startswith("MSH"):
            lines[number] = stripped
            return number
        raise CodecError(
            t(
                "an HL7 message begins with MSH; this begins with something else",
                "HL7 消息须以 MSH 开头，此内容不是",
            ),
            place=segment_place(number),
            code="hl7.no_msh",
        )
    raise CodecError(t("there is no HL7 message in it", "其中没有 HL7 消息"), place="byte 0", code="hl7.empty")
