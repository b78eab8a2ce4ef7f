"""Values by path, and changing them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.hl7v2 import MAX_SEGMENTS, Hl7Message
from hub.errors import CodecError
from tests.codecs.codec_support import ADT, CODEC, delimiters, texts


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("MSH-1", "|"),
        ("MSH-2", "^~\\&"),
        ("MSH-9.2", "A01"),
        ("PID", "PID"),
        ("ZZZ", ""),
        ("ZZZ-1.2", ""),
        ("PID-1", "1"),
        ("PID-1.1.1", "1"),
        ("PID-1.2", ""),
        ("PID-1[2]", ""),
        ("PID-3", "800^^^H1&1.2.3&ISO^MR"),
        ("PID-3.1", "800"),
        ("PID-3[1].4.2", "1.2.3"),
        ("PID-3.4", "H1&1.2.3&ISO"),
        ("PID-3[2].4", "NH"),
        ("PID-3[3].1", ""),
        ("PID-5.7", "L"),
        ("PID-5.8", ""),
        ("PID-99", ""),
        ("OBX-3", "WBC"),
        ("OBX[2]-3", "RBC"),
        ("OBX[3]-3", ""),
    ],
)
def test_get(path: str, value: str) -> None:
    assert CODEC.decode(ADT).get(path) == value


def test_get_all() -> None:
    message = CODEC.decode(ADT)
    assert message.get_all("PID-3.1") == ["800", "999"]
    assert message.get_all("PID-3.4.2") == ["1.2.3", ""]
    assert message.get_all("OBX-3") == ["WBC", "RBC"]
    assert message.get_all("PV1-50") == []
    assert message.get_all("MSH-2") == ["^~\\&"]
    assert message.get_all("ZZZ-1") == []


def test_delete_this_is_kept() -> None:
    assert CODEC.decode(b'MSH|^~\\&|A\rPID|""|\r').get("PID-1") == '""'


@pytest.mark.parametrize(
    "path", ["", "PID-", "PID-0", "PID-1.0", "PID-1[0]", "PID[0]-1", "pid-1", "PI-1", "PID-1.1.1.1", "PID 1", "PID-٣"]
)
def test_no_path(path: str) -> None:
    message = CODEC.decode(ADT)
    for use in (message.get, message.get_all, lambda p: message.set(p, "x")):
        with pytest.raises(CodecError) as caught:
            use(path)
        assert caught.value.code == "hl7.path"


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("PV1-1", "9", "PV1|9|I|W1^R2^B3"),
        ("PV1-2", "a|b^c", "PV1|1|a\\F\\b\\S\\c|W1^R2^B3"),
        ("PV1-3.2", "", "PV1|1|I|W1^^B3"),
        ("PV1-3.1.2", "s", "PV1|1|I|W1&s^R2^B3"),
        ("PV1-3.5", "e", "PV1|1|I|W1^R2^B3^^e"),
        ("PV1-3[2].1", "r", "PV1|1|I|W1^R2^B3~r"),
        ("PV1-3", "x", "PV1|1|I|x"),
        ("PV1-6", "z", "PV1|1|I|W1^R2^B3|||z"),
    ],
)
def test_set(path: str, value: str, line: str) -> None:
    message = CODEC.decode(ADT)
    message.set(path, value)
    assert message.get(path) == value
    written = CODEC.encode(message)
    before = ADT.split(b"\r")
    before[3] = line.encode()
    assert written == b"\r".join(before)


def test_set_adds_segments() -> None:
    message = CODEC.decode(ADT)
    message.set("OBX[4]-3", "PLT")
    message.set("ZPI-2", "z")
    assert CODEC.encode(message) == ADT + b"OBX\rOBX|||PLT\rZPI||z\r"


def test_name_and_delimiters_are_not_set() -> None:
    message = CODEC.decode(ADT)
    for path in ("MSH-1", "MSH-2"):
        with pytest.raises(CodecError) as caught:
            message.set(path, "!")
        assert caught.value.code == "hl7.delimiters"
    with pytest.raises(CodecError):
        message.segments[1].set_field(0, "ZZZ")
    with pytest.raises(CodecError, match="name a field"):
        message.set("PID", "x")
    assert CODEC.encode(message) == ADT


@pytest.mark.parametrize("raw", ["a|b", "a\rPID", "a\nb", "\r"])
def test_a_raw_field_cannot_break_the_message(raw: str) -> None:
    message = CODEC.decode(ADT)
    with pytest.raises(CodecError) as caught:
        message.segments[2].set_field(5, raw)
    assert caught.value.code == "hl7.unescaped"
    assert CODEC.encode(message) == ADT


def test_parts_without_a_delimiter_are_not_set() -> None:
    message = CODEC.decode(b"MSH|^|A\rPID|a^b\r")
    message.set("PID-1.3", "c")
    for path in ("PID-1[2]", "PID-1.1.2"):
        with pytest.raises(CodecError) as caught:
            message.set(path, "x")
        assert caught.value.code == "hl7.delimiters"
    message.set("PID-2.1.1", "y~&\\")
    assert CODEC.encode(message) == b"MSH|^|A\rPID|a^b^c|y~&\\\r"
    with pytest.raises(CodecError) as caught:
        message.set("PID-2", "a^b")
    assert caught.value.code == "codec.escape"


def test_fields_are_changed_by_set_field_only() -> None:
    segment = CODEC.decode(ADT).segments[2]
    with pytest.raises(TypeError):
        segment.fields[5] = "x"  # type: ignore[index]


def test_add_and_delete() -> None:
    message = CODEC.decode(ADT)
    first = message.first("OBX")
    assert first is not None
    note = message.add_segment("NTE", after=first)
    note.set_field(3, "remark")
    message.delete_segment(message.all("OBX")[1])
    assert message.first("NTE") is note
    assert [segment.name for segment in message.segments] == ["MSH", "EVN", "PID", "PV1", "OBX", "NTE"]
    assert CODEC.encode(message) == ADT[: ADT.index(b"OBX|2")] + b"NTE|||remark\r"
    message.delete_segment(first)
    assert message.first("OBX") is None
    with pytest.raises(CodecError) as caught:
        message.delete_segment(message.segments[0])
    assert caught.value.code == "hl7.no_msh"


def test_segments_are_limited_when_added() -> None:
    message = CODEC.decode(b"MSH|^~\\&|A\r")
    with pytest.raises(CodecError) as caught:
        message.set(f"OBX[{MAX_SEGMENTS}]-1", "x")
    assert caught.value.code == "hl7.segments"


def test_a_copy_is_independent() -> None:
    message = CODEC.decode(ADT)
    message.get("PID-5.1")
    first = message.copy()
    first.set("PID-5.1", "Li")
    second = first.copy()
    second.set("PID-5.2", "Si")
    second.delete_segment(second.all("OBX")[0])
    first.add_segment("ZZZ")
    assert CODEC.encode(message) == ADT
    assert CODEC.encode(first) == ADT.replace(b"Zhang", b"Li") + b"ZZZ\r"
    assert CODEC.encode(second) == ADT.replace(b"Zhang^San", b"Li^Si").replace(b"OBX|1|NM|WBC||7.1\r", b"")


# -- properties ------------------------------------------------------------------------------------------------------


def built(marks: str) -> Hl7Message:
    return CODEC.decode(f"MSH{marks}{marks[0]}A{marks[0]}\rPID{marks[0]}1\rZZZ{marks[0]}z\r".encode())


places = st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 3), st.integers(0, 4), st.integers(0, 3))


def path_of(place: tuple[int, int, int, int, int]) -> str:
    occurrence, field, repetition, component, subcomponent = place
    path = f"OBX[{occurrence}]-{field}[{repetition}]"
    if component:
        path += f".{component}" + (f".{subcomponent}" if subcomponent else "")
    return path


@given(delimiters(), places, texts)
def test_what_is_set_is_got(marks: str, place: tuple[int, int, int, int, int], value: str) -> None:
    message = built(marks)
    message.set(path_of(place), value)
    assert message.get(path_of(place)) == value
    again = CODEC.decode(CODEC.encode(message))
    assert again.get(path_of(place)) == value
    assert again.get("PID-1") == "1"
    assert again.get("ZZZ-1") == "z"


@given(delimiters(), st.lists(st.tuples(places, texts), max_size=12))
@settings(max_examples=60)
def test_changes_do_not_disturb_one_another(
    marks: str, changes: list[tuple[tuple[int, int, int, int, int], str]]
) -> None:
    """Sub-components of different places keep their values, whatever the order they are set in."""
    message = built(marks)
    expected: dict[str, str] = {}
    for (occurrence, field, repetition, component, subcomponent), value in changes:
        path = path_of((occurrence, field, repetition, component or 1, subcomponent or 1))
        message.set(path, value)
        expected[path] = value
    for tree in (message, message.copy(), CODEC.decode(CODEC.encode(message))):
        assert {path: tree.get(path) for path in expected} == expected
