"""Acknowledgements, made and read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.hl7_ack import build_ack, parse_ack
from hub.errors import CodecError
from tests.codecs.codec_support import ADT, CODEC, delimiters, texts


def message(version: str = "2.5.1", marks: str = "|^~\\&", charset: str = "", kind: str = "ADT^A01^ADT_A01") -> bytes:
    fields = [marks[1:], "HIS", "H1", "HUB", "C1", "20260101", "", kind.replace("^", marks[1]), "M1", "T", version]
    fields += ["", "", "", "", "", charset] if charset else []
    return ("MSH" + marks[0] + marks[0].join(fields) + "\rPID" + marks[0] + "1\r").encode("gb18030")


def test_accepted() -> None:
    answer = build_ack(message(), "AA")
    lines = answer.split(b"\r")
    assert re.fullmatch(
        rb"MSH\|\^~\\&\|HUB\|C1\|HIS\|H1\|\d{14}[+-]\d{4}\|\|ACK\^A01\^ACK\|[0-9a-f]+-\d+\|T\|2\.5\.1", lines[0]
    )
    assert lines[1:] == [b"MSA|AA|M1", b""]
    assert parse_ack(answer) == ("AA", "M1", "")


def test_every_answer_has_its_own_number() -> None:
    numbers = {CODEC.decode(build_ack(message(), "AA")).get("MSH-10") for _ in range(100)}
    assert len(numbers) == 100


@pytest.mark.parametrize(
    ("kind", "version", "expected"),
    [
        ("ADT^A01", "2.3.1", "ACK^A01"),
        ("ADT^A01^ADT_A01", "2.4", "ACK^A01^ACK"),
        ("ADT^A01", "2.10", "ACK^A01^ACK"),
        ("ADT^A01", "2.3^CHN", "ACK^A01"),
        ("ADT^A01", "", "ACK^A01^ACK"),
        ("ADT", "2.5", "ACK"),
        ("ADT^", "2.5", "ACK"),
        ("", "2.5", "ACK"),
    ],
)
def test_type(kind: str, version: str, expected: str) -> None:
    for text in ("", "why"):
        answer = CODEC.decode(build_ack(message(version, kind=kind), "AA" if not text else "AE", text))
        assert answer.get("MSH-9") == expected
        assert answer.get("MSH-12") == (version or "2.5.1")


def test_refused_since_2_5() -> None:
    answer = CODEC.decode(build_ack(message(), "AE", "PID|5\r\nmissing\x07 & more", "101"))
    assert answer.get("MSA-1") == "AE"
    assert answer.get("MSA-2") == "M1"
    assert answer.get("MSA-3") == "PID|5  missing  & more"
    assert answer.get("ERR-3") == "101^Required field missing^HL70357"
    assert answer.get("ERR-4") == "E"
    assert answer.get("ERR-8") == "PID|5  missing  & more"


def test_refused_before_2_5() -> None:
    answer = CODEC.decode(build_ack(message("2.3"), "AR", "no", "200"))
    assert answer.get("MSA-3") == "no"
    assert answer.get("ERR-1.4") == "200&Unsupported message type&HL70357"
    assert answer.get("ERR-8") == ""


def test_refused_without_a_reason() -> None:
    assert build_ack(message(), "CR").endswith(b"\rMSA|CR|M1|\r")
    assert b"\rERR|||207^" in build_ack(message(), "AE", "why")


def test_delimiters_are_those_of_the_message() -> None:
    answer = build_ack(message(marks="#:;!+"), "AE", "a#b:c!d+e;f", "207")
    assert answer.startswith(b"MSH#:;!+#HUB#C1#HIS#H1#")
    tree = CODEC.decode(answer)
    assert tree.get("MSA-3") == "a#b:c!d+e;f"
    assert tree.get("ERR-3.1") == "207"


def test_no_escape_character() -> None:
    answer = build_ack(b"MSH|^~&|A|B|C|D|1||ADT^A01|M1|P|2.5\r", "AE", "a|b^c&d\\e")
    assert CODEC.decode(answer).get("MSA-3") == "a b c d\\e"


@pytest.mark.parametrize(
    ("declared", "charset"), [("GB18030", "gb18030"), ("UNICODE UTF-8", "utf-8"), ("", "utf-8"), ("ASCII", "utf-8")]
)
def test_text_is_in_the_character_set_of_the_message(declared: str, charset: str) -> None:
    answer = build_ack(message(charset=declared), "AE", "不认识的科室")
    assert "不认识的科室".encode(charset) in answer
    assert CODEC.decode(answer).get("MSH-18") == declared
    assert parse_ack(answer) == ("AE", "M1", "不认识的科室")


def test_text_the_set_lacks_is_told_as_far_as_possible() -> None:
    assert parse_ack(build_ack(message(charset="8859/1"), "AE", "Müller 张"))[2] == "Müller ?"


def test_names_in_the_header_go_back_byte_for_byte() -> None:
    for name, declared in (
        ("医院".encode("gb18030"), b"GB18030"),
        (b"\x81|\x81^", b"GB18030"),  # trail bytes which look like delimiters
        ("医院".encode(), b""),
        ("医院信息系统集成平台".encode() + b"\xe5\x8c", b"UNICODE UTF-8"),  # cut in the middle of a character
        (b"M\xfcller", b"8859/1"),
    ):
        raw = b"MSH|^~\\&|" + name + b"|H1|HUB|C1|||ADT^A01|M1|P|2.5||||||" + declared + b"\rPID|1\r"
        for code in ("AA", "AE"):
            assert b"|HUB|C1|" + name + b"|H1|" in build_ack(raw, code, "" if code == "AA" else "why")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage",
        b"MSH",
        b"MSH|",
        b"MSHx^~\\&x",
        b"MSH |^~\\&",
        b"MSH\r|^~\\&|A",
        b"\xff\xfe\x00\x00",
        b"PID|1\r",
    ],
)
def test_no_header_to_go_by(raw: bytes) -> None:
    answer = CODEC.decode(build_ack(raw, "AR", "no HL7", "207"))
    assert [answer.get(path) for path in ("MSH-9", "MSH-11", "MSH-12", "MSA-1", "MSA-2", "MSA-3")] == [
        "ACK",
        "P",
        "2.5.1",
        "AR",
        "",
        "no HL7",
    ]
    assert parse_ack(build_ack(raw, "AA")) == ("AA", "", "")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("before", [b"", b"\x0b", b"\xef\xbb\xbf", b"\r\n "])
def test_other_line_ends_and_what_stands_before(end: bytes, before: bytes) -> None:
    raw = before + message().replace(b"\r", end)
    assert build_ack(raw, "AA").split(b"\r")[1] == b"MSA|AA|M1"
    assert build_ack(raw, "AA").startswith(b"MSH|^~\\&|HUB|C1|HIS|H1|")


def test_an_answer_never_ends_its_own_frame() -> None:
    raw = b"MSH|^~\\&|HIS\x1c|H1|||||ADT^A01|M1\x1c|P|2.5||||||UNICODE UTF-8\x1c\rPID|1\r"
    for code, text in (("AA", ""), ("AE", "x\x1c\ry")):
        assert b"\x1c" not in build_ack(raw, code, text)


def test_a_short_header_is_answered_with_what_it_has() -> None:
    answer = CODEC.decode(build_ack(b"MSH|^~\\&|HIS|H1\r", "AA"))
    assert (answer.get("MSH-5"), answer.get("MSH-6"), answer.get("MSA-2")) == ("HIS", "H1", "")


@given(delimiters(), texts, st.sampled_from(["AE", "AR", "CE", "CR"]), st.sampled_from(["2.3", "2.4", "2.5", "2.8"]))
def test_any_text_arrives(marks: str, text: str, code: str, version: str) -> None:
    raw = f"MSH{marks[0]}{marks[1:]}{marks[0]}A{marks[0] * 7}M1{marks[0]}P{marks[0]}{version}\r".encode()
    answer = CODEC.decode(build_ack(raw, code, text))
    assert answer.get("MSA-3") == "".join(char if char.isprintable() else " " for char in text)
    assert (answer.get("MSA-1"), answer.get("MSA-2")) == (code, "M1")


@given(st.binary(max_size=120), st.sampled_from(["", "why|not"]))
def test_any_bytes_are_answered(raw: bytes, text: str) -> None:
    for data in (raw, b"MSH|^~\\&|" + raw, b"MSH|^~\\&|A|B|C|D|1||ADT^A01|" + raw, b"MSH" + raw):
        code, _, _ = parse_ack(build_ack(data, "AE" if text else "AA", text))
        assert code == ("AE" if text else "AA")


# -- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"MSH|^~\\&|A\rMSA|AA|M1|fine\r", ("AA", "M1", "fine")),
        (b"\x0bMSH|^~\\&|A\r\nMSA|AA|M1\r\n\x1c\r", ("AA", "M1", "")),
        (b"MSH|^~\\&|A\nMSA|ae|M1\n", ("AE", "M1", "")),
        (b"MSA|AA", ("AA", "", "")),
        (b"MSA#CR#M1#no", ("CR", "M1", "no")),
        (b"MSH|^~\\&|A\r MSA| AA | M1 | x ||more\r", ("AA", "M1", "x")),
        (b"MSH|^~\\&|A\rMSA|AA|M1\x1c\r", ("AA", "M1", "")),
        (b"MSH|^~\\&|A\rMSA|AE|M1\rERR|||207^x|E||||what happened\r", ("AE", "M1", "what happened")),
        (b"MSH|^~\\&|A\rMSA|AE|M1\rERR|PID^1^5^101\r", ("AE", "M1", "PID^1^5^101")),
        (b"MSH|^~\\&|MSA|AR|9\rMSA|AA|M1\r", ("AA", "M1", "")),
        (b"MSH|^~\\&|A||||||ACK|1|P|2.4||||||GBK\rMSA|AE|M1|" + "科室".encode("gbk") + b"\r", ("AE", "M1", "科室")),
    ],
)
def test_parse(raw: bytes, expected: tuple[str, str, str]) -> None:
    assert parse_ack(raw) == expected


@pytest.mark.parametrize("raw", [b"", b"OK", ADT, b"MSH|^~\\&|A\rMSA", b"MSH|^~\\&|A\rMSAX|AA|1\r", b"xMSA|AA|1"])
def test_no_acknowledgement(raw: bytes) -> None:
    with pytest.raises(CodecError) as caught:
        parse_ack(raw)
    assert caught.value.code == "hl7.no_msa"


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for data in (raw, b"MSA|" + raw):
        try:
            code, control_id, _ = parse_ack(data)
        except CodecError:
            continue
        assert code == code.strip()
        assert "\r" not in control_id


def test_a_header_without_msh_2_is_answered_with_usual_delimiters() -> None:
    answer = build_ack(b"MSH|HIS|X|Y|2024", "AR", "bad value", "100")
    assert answer.startswith(b"MSH|^~\\&|")
    assert b"100^Segment sequence error^HL70357" in answer
    assert parse_ack(answer)[0] == "AR"
