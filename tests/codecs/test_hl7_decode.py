"""Reading HL7 v2 messages: delimiters, line ends, frames, envelope, limits."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.hl7_escape import UNDECLARED
from hub.codecs.hl7v2 import MAX_FIELDS, MAX_SEGMENTS
from hub.codecs.registry import builtin_codecs
from hub.errors import CodecError
from tests.codecs.codec_support import ADT, CODEC


def test_codecs_that_come_with_the_hub() -> None:
    types = {codec.name: codec.content_type for codec in builtin_codecs()}
    assert types | {"hl7v2": "application/hl7-v2", "json": "application/json"} == types
    assert len(types) == len(builtin_codecs())


def test_segments_and_fields_have_hl7_numbers() -> None:
    message = CODEC.decode(ADT)
    assert [segment.name for segment in message.segments] == ["MSH", "EVN", "PID", "PV1", "OBX", "OBX"]
    header = message.first("MSH")
    assert header is not None
    assert header.fields[:4] == ("MSH", "|", "^~\\&", "HIS")
    assert header.fields[9] == "ADT^A01^ADT_A01"
    pid = message.first("PID")
    assert pid is not None
    assert pid.fields[0] == "PID"
    assert pid.fields[3] == "800^^^H1&1.2.3&ISO^MR~999^^^NH"
    assert message.first("ZZZ") is None
    assert [segment.fields[1] for segment in message.all("OBX")] == ["1", "2"]


def test_a_segment_is_the_same_object_however_it_is_found() -> None:
    message = CODEC.decode(ADT)
    first = message.first("OBX")
    assert message.all("OBX")[0] is first
    assert next(segment for segment in message.segments if segment.name == "OBX") is first
    assert message.first("OBX") is first


def test_a_longer_name_is_another_segment() -> None:
    message = CODEC.decode(b"MSH|^~\\&|A\rPIDX|wrong\rZPI|z\rPID\rPID|second\r")
    pid = message.first("PID")
    assert pid is not None
    assert pid.fields == ("PID",)
    assert [segment.name for segment in message.segments] == ["MSH", "PIDX", "ZPI", "PID", "PID"]
    assert len(message.all("PID")) == 2


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_line_ends(end: str) -> None:
    raw = end.join(["MSH|^~\\&|A", "", "PID|1", "  ", "PV1|2"]).encode()
    message = CODEC.decode(raw)
    assert [segment.name for segment in message.segments] == ["MSH", "PID", "PV1"]
    assert message.get("PV1-1") == "2"
    assert CODEC.encode(message) == raw


def test_mixed_line_ends() -> None:
    message = CODEC.decode(b"MSH|^~\\&|A\r\nPID|1\nPV1|2\r\rZZZ|3")
    assert [segment.name for segment in message.segments] == ["MSH", "PID", "PV1", "ZZZ"]


@pytest.mark.parametrize("before", [b"\x0b", b"\r\n \t", b"\xef\xbb\xbf", b"\x0b\xef\xbb\xbf", b"  "])
@pytest.mark.parametrize("after", [b"", b"\x1c\r", b"\x1c", b"\r\x1c\r", b"\r\n\x1c\r\n"])
def test_frames_and_marks_around_are_not_part_of_a_value(before: bytes, after: bytes) -> None:
    raw = before + b"MSH|^~\\&|A\rPID|1||last" + after
    message = CODEC.decode(raw)
    assert message.get("MSH-3") == "A"
    assert message.get("PID-3") == "last"
    assert [segment.name for segment in message.segments] == ["MSH", "PID"]
    assert CODEC.encode(message) == raw


# -- delimiters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"MSH|^~\\&|", "|^~\\&"),
        (b"MSH|^~\\&", "|^~\\&"),
        (b"MSH|^~\\&#|", "|^~\\&"),
        (b"MSH#:;!+#", "#:;!+"),
        (b"MSH|^~\\|", "|^~\\" + UNDECLARED),
        (b"MSH|^~|", "|^~" + UNDECLARED * 2),
        (b"MSH|^|", "|^" + UNDECLARED * 3),
        (b"MSH|^~\\\\&|", "|^~\\&"),  # a backslash doubled on the way
        (b"MSH|^~&|", "|^~" + UNDECLARED + "&"),  # a backslash lost on the way
        ("MSH§^~\\&§".encode(), "§^~\\&"),
    ],
)
def test_delimiters(header: bytes, expected: str) -> None:
    message = CODEC.decode(header + b"\rPID|1\r")
    found = (
        message.field_sep,
        message.component_sep,
        message.repetition_sep,
        message.escape_char,
        message.subcomponent_sep,
    )
    assert "".join(found) == expected


@pytest.mark.parametrize(
    "header",
    [
        b"MSH",
        b"MSH|",
        b"MSH||A|B",
        b"MSH|\r",
        b"MSHA^~\\&A",
        b"MSH|^~A&|",
        b"MSH|^ \\&|",
        b"MSH|^~\\&#!|",
        b"MSH |^~\\&|",
        b"MSH|^~\\\x01|",
    ],
)
def test_unusable_delimiters(header: bytes) -> None:
    with pytest.raises(CodecError) as caught:
        CODEC.decode(header)
    assert caught.value.code == "hl7.delimiters"
    assert caught.value.place == "segment 1 (MSH)"


def test_values_without_the_delimiters_that_would_split_them() -> None:
    message = CODEC.decode(b"MSH|^|A\rPID|a~b&c\\T\\d^e\r")
    assert message.get("PID-1.1") == "a~b&c\\T\\d"
    assert message.get("PID-1.2") == "e"
    assert message.get("PID-1[2]") == ""
    assert message.get_all("PID-1.2") == ["e"]
    for mark in (message.repetition_sep, message.subcomponent_sep, message.escape_char):
        assert "a~b&c".split(mark) == ["a~b&c"]


# -- what is no message ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "code", "place"),
    [
        (b"", "hl7.empty", "byte 0"),
        (b"\r\n \r", "hl7.empty", "byte 0"),
        (b"\r\nPID|1\rMSH|^~\\&|", "hl7.no_msh", "segment 2"),
        (b"{}", "hl7.no_msh", "segment 1"),
        (b"\xff\xfeM", "hl7.charset", "byte 0"),
    ],
)
def test_refused(raw: bytes, code: str, place: str) -> None:
    with pytest.raises(CodecError) as caught:
        CODEC.decode(raw)
    assert (caught.value.code, caught.value.place) == (code, place)


def test_errors_hold_no_values() -> None:
    with pytest.raises(CodecError) as caught:
        CODEC.decode("PID|张三|13800138000\r".encode())
    assert "张三" not in str(caught.value)
    assert "138" not in str(caught.value)


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_limit_of_segments(end: bytes) -> None:
    head = b"MSH|^~\\&|A" + end
    assert len(CODEC.decode(head + (b"Z" + end) * (MAX_SEGMENTS - 2)).segments) == MAX_SEGMENTS - 1
    for raw in (head + (b"Z" + end) * MAX_SEGMENTS, head + end * (3 * MAX_SEGMENTS)):
        with pytest.raises(CodecError) as caught:
            CODEC.decode(raw)
        assert caught.value.code == "hl7.segments"


def test_limit_of_fields() -> None:
    message = CODEC.decode(b"MSH|^~\\&|A\rOBX" + b"|" * (MAX_FIELDS + 1) + b"\rPID|1\r")
    with pytest.raises(CodecError) as caught:
        message.get("OBX-1")
    assert caught.value.code == "hl7.fields"
    assert "OBX" in caught.value.place
    assert message.get("PID-1") == "1"


# -- envelope --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"MSH|^~\\&|A|B|C|D|1||ADT^A01^ADT_A01|M1|P|2.5", ("ADT^A01", "M1")),
        (b"MSH|^~\\&|A|B|C|D|1||ADT^A01| M1 ", ("ADT^A01", "M1")),
        (b"MSH|^~\\&|A|B|C|D|1||ACK|M1|P", ("ACK", "M1")),
        (b"MSH|^~\\&|A|B|C|D|1||ORU^R01", ("ORU^R01", "")),
        (b"MSH|^~\\&|A|B|C|D|1||", ("", "")),
        (b"MSH|^~\\&|A", ("", "")),
        (b"MSH#:;!+#A#B#C#D#1##ADT:A08#M|1#P", ("ADT^A08", "M|1")),
    ],
)
def test_envelope(header: bytes, expected: tuple[str, str]) -> None:
    assert CODEC.envelope(CODEC.decode(header + b"\rPID|1\r")) == expected
    assert CODEC.envelope(CODEC.decode(b"\x0b\r" + header + b"\n")) == expected


@pytest.mark.parametrize("kind", [b"ADT", b"ADT^"])
def test_envelope_takes_the_event_from_evn(kind: bytes) -> None:
    head = b"MSH|^~\\&|A|B|C|D|1||" + kind + b"|M1|P|2.2\r"
    assert CODEC.envelope(CODEC.decode(head + b"EVN|A04|2020\r")) == ("ADT^A04", "M1")
    assert CODEC.envelope(CODEC.decode(head + b"EVN||2020\r")) == ("ADT", "M1")
    assert CODEC.envelope(CODEC.decode(head)) == ("ADT", "M1")


def test_envelope_follows_changes() -> None:
    message = CODEC.decode(ADT)
    message.set("MSH-10", "NEW")
    message.set("MSH-9.2", "A08")
    assert CODEC.envelope(message) == ("ADT^A08", "NEW")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(raw: bytes) -> None:
    for data in (raw, b"MSH|^~\\&|" + raw, b"MSH" + raw):
        try:
            message = CODEC.decode(data)
        except CodecError:
            continue
        assert CODEC.encode(message) == data
        kind, number = CODEC.envelope(message)
        assert kind == kind.strip()
        assert number == number.strip()


def test_only_messages_are_encoded() -> None:
    with pytest.raises(CodecError, match="not dict"):
        CODEC.encode({})


def test_a_message_leaves_nothing_to_the_collector() -> None:
    """Rings of objects live until the cyclic collector stops everybody to find them: 25 ms at a time under load."""
    raw = b"MSH|^~\\&|A|B|C|D|20260115||ADT^A01|1|P|2.5\rPID|1||7\rOBX|1\rOBX|2\r"
    gc.collect()
    gc.disable()
    try:
        message = CODEC.decode(raw)
        assert (message.first_fields("PID")[3], message.get("PID-3"), len(message.all("OBX"))) == ("7", "7", 2)
        changed = message.copy()
        changed.set("PID-3", "8")
        assert changed.first_fields("PID")[3] == "8"
        del message, changed
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_fields_of_first_segments_are_those_of_the_segment(end: str) -> None:
    lines = ["MSH|^~\\&|A", "PID", "PID|1|x", "OBX|1||PID|2", "ZPI|3", "OBX|2", "NTE"]
    message = CODEC.decode(end.join(lines).encode())
    for name in ("MSH", "PID", "OBX", "ZPI", "NTE", "ZZZ", "PI"):
        segment = message.first(name)
        assert tuple(message.first_fields(name)) == (segment.fields if segment is not None else ())
