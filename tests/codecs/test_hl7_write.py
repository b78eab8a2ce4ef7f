"""What is written: the bytes that came, except where something was changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.hl7_charset import decode_text, python_name
from hub.errors import CodecError
from tests.codecs.codec_support import ADT, CODEC

#: Characters whose second byte in GBK is a delimiter, an escape character, a bracket or a letter.
TRAPS = {trail: bytes([0x81, trail]).decode("gb18030") for trail in b"|^~\\@[]{}AZaz`"}


def header(charset: str) -> bytes:
    return f"MSH|^~\\&|HIS|H1|||2026||ADT^A01|M1|P|2.5||||||{charset}\r".encode()


# -- character sets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "python"),
    [
        ("", ""),
        ("ASCII", "ascii"),
        ("8859/1", "iso8859-1"),
        ("8859/15", "iso8859-15"),
        ("UNICODE UTF-8", "utf-8"),
        ("UNICODE", "utf-8"),
        ("utf8", "utf-8"),
        ("GB 18030-2000", "gb18030"),
        ("GB18030", "gb18030"),
        ("gbk", "gb18030"),
        ("GB2312", "gb18030"),
        ("GB_2312-80", "gb18030"),
        ("BIG-5", "big5hkscs"),
        ("CNS 11643-1992", "big5hkscs"),
        ("KS X 1001", "cp949"),
        ("ISO IR87", "iso2022_jp_2"),
        ("ISO IR6", "ascii"),
        ("windows-1252", "cp1252"),
        ("koi8-r", "koi8-r"),
        ("no such set", ""),
        ("张", ""),
        ("hex", ""),
        ("rot13", ""),
        ("idna", ""),
        ("utf-7", ""),
        ("hz", ""),  # ~ and line ends mean something else in it
        ("cp037", ""),  # EBCDIC
        ("unicode_escape", ""),
        ("undefined", ""),
        ("a\0b", ""),
        ("../os", ""),
    ],
)
def test_names(declared: str, python: str) -> None:
    assert python_name(declared) == python


@pytest.mark.parametrize(
    ("declared", "charset", "text"),
    [
        ("UNICODE UTF-8", "utf-8", "张三é😀"),
        ("", "utf-8", "张三"),
        ("ASCII", "utf-8", "张三"),
        ("GB18030", "gb18030", "张三㐀😀"),
        ("ASCII", "gb18030", "张三丰"),
        ("", "gb18030", "欧阳锋"),
        ("8859/1", "iso8859-1", "Müller"),
        ("BIG-5", "big5hkscs", "張三"),
        ("KS X 1001", "cp949", "김철수"),
        ("ISO IR87", "iso2022_jp_2", "山田^太郎"),
        ("8859/5", "iso8859-5", "Иван"),
    ],
)
def test_read_and_written_in_its_character_set(declared: str, charset: str, text: str) -> None:
    raw = header(declared) + f"PID|1||8||{text}|x\r".encode(charset) + f"NTE|{text}\r".encode(charset)
    message = CODEC.decode(raw)
    assert message.get("PID-5") == text
    assert message.charset == charset
    assert message.charset_declared == declared
    assert CODEC.encode(message) == raw
    message.set("PID-6", text)
    assert CODEC.encode(message) == raw.replace(b"|x\r", b"|" + message.escape(text).encode(charset) + b"\r")


def test_bytes_decide_when_the_declared_set_does_not_fit() -> None:
    raw = header("UNICODE UTF-8") + "PID|张三丰|x\r".encode("gb18030")
    message = CODEC.decode(raw)
    assert (message.charset, message.charset_declared) == ("gb18030", "UNICODE UTF-8")
    message.set("PID-2", "李")
    assert CODEC.encode(message) == raw.replace(b"|x", b"|" + "李".encode("gb18030"))


def test_contract_overrides_what_is_declared() -> None:
    raw = header("8859/1") + "PID|张\r".encode("gb18030")
    assert CODEC.decode(raw).charset == "iso8859-1"
    message = CODEC.decode(raw, encoding="gbk")
    assert (message.charset, message.get("PID-1")) == ("gb18030", "张")
    plain = CODEC.decode(ADT, encoding="gbk")
    plain.set("PID-5.1", "张")
    assert CODEC.encode(plain) == ADT.replace(b"Zhang", "张".encode("gb18030"))


def test_repetitions_of_msh_18() -> None:
    raw = header("GB18030~UNICODE UTF-8") + "PID|é\r".encode("gb18030")
    message = CODEC.decode(raw)
    assert (message.charset, message.charset_declared, message.get("PID-1")) == ("gb18030", "GB18030", "é")


def test_ascii_messages_are_written_in_the_declared_set() -> None:
    for declared, charset in (("GB18030", "gb18030"), ("", "utf-8"), ("ASCII", "utf-8"), ("8859/1", "iso8859-1")):
        message = CODEC.decode(header(declared) + b"PID|x\r")
        message.set("PID-1", "é")
        assert CODEC.encode(message) == header(declared) + b"PID|" + "é".encode(charset) + b"\r"


def test_a_new_msh_18_is_followed() -> None:
    message = CODEC.decode(header("UNICODE UTF-8") + "PID|张|x\r".encode())
    message.set("MSH-18", "GB18030")
    assert CODEC.encode(message) == header("GB18030") + "PID|张|x\r".encode("gb18030")
    fresh = CODEC.decode(b"MSH|^~\\&\r").copy()
    fresh.set("MSH-18", "GB18030")
    fresh.set("PID-5", "张")
    assert CODEC.encode(fresh).endswith(b"|" + "张".encode("gb18030") + b"\r")


def test_encoding_converts_the_whole() -> None:
    raw = b"\x0b" + header("") + "PID|张\r\n\nNTE|三\n".encode() + b"\x1c\r"
    message = CODEC.decode(raw)
    assert CODEC.encode(message, encoding="utf-8") == raw
    assert CODEC.encode(message, encoding="gbk") == header("") + "PID|张\r\n\nNTE|三\n".encode("gb18030")
    with pytest.raises(CodecError) as caught:
        CODEC.encode(message, encoding="iso8859-1")
    assert caught.value.code == "hl7.charset"
    assert caught.value.place == "segment 2"
    assert "张" not in str(caught.value)


def test_a_character_the_set_lacks() -> None:
    message = CODEC.decode(header("8859/1") + "PID|é\r".encode("latin-1"))
    message.set("PID-1", "张")
    with pytest.raises(CodecError) as caught:
        CODEC.encode(message)
    assert (caught.value.code, caught.value.place) == ("hl7.charset", "segment 2 (PID)")
    assert caught.value.remedy


@pytest.mark.parametrize("charset", ["utf-16-le", "utf-16-be"])
def test_utf_16_with_a_byte_order_mark(charset: str) -> None:
    raw = ("\ufeff" + header("UNICODE UTF-16").decode() + "PID|张|x\r\nNTE|1\n").encode(charset)
    message = CODEC.decode(raw)
    assert (message.get("PID-1"), message.charset) == ("张", charset)
    assert CODEC.encode(message) == raw
    message.set("PID-2", "😀")
    message.set("MSH-3", "LIS")
    assert CODEC.encode(message) == raw.decode(charset).replace("|x", "|😀").replace("HIS", "LIS").encode(charset)
    assert CODEC.encode(message, encoding="utf-8").startswith(b"MSH|^~\\&|LIS")


def test_utf_16_without_a_mark_when_the_contract_says_so() -> None:
    raw = "MSH|^~\\&|A\rPID|张\r".encode("utf-16-le")
    assert CODEC.decode(raw, encoding="utf-16-le").get("PID-1") == "张"
    assert CODEC.decode(ADT, encoding="utf-16").get("PID-1") == "1"  # it is not
    written = CODEC.encode(CODEC.decode(ADT), encoding="utf-16")
    assert written == ("\ufeff" + ADT.decode()).encode("utf-16-le")
    assert CODEC.decode(written).get("OBX[2]-3") == "RBC"


def test_a_mark_of_utf_8_beats_what_is_declared() -> None:
    raw = b"\xef\xbb\xbf" + header("GB18030") + "PID|张三\r".encode()
    message = CODEC.decode(raw)
    assert message.get("PID-1") == "张三"
    message.set("MSH-3", "X")
    assert CODEC.encode(message) == raw.replace(b"HIS", b"X")


# -- trail bytes that look like delimiters -----------------------------------------------------------------------------


@pytest.mark.parametrize("trail", sorted(TRAPS))
@pytest.mark.parametrize("declared", ["GB18030", "", "ASCII"])
def test_trail_bytes_of_gbk_do_not_delimit(trail: int, declared: str) -> None:
    name = TRAPS[trail]
    body = f"PID|1||800||{name}^{name}~张|x\rNTE|{name}|\\.br\\\r".encode("gb18030")
    raw = header(declared) + body
    message = CODEC.decode(raw)
    assert message.get("PID-5.1") == name
    assert message.get("PID-5.2") == name
    assert message.get("PID-5[2]") == "张"
    assert message.get("PID-6") == "x"
    message.set("PID-6", "y|")
    assert CODEC.encode(message) == raw.replace(b"|x\r", b"|y\\F\\\r")


def test_trail_bytes_in_the_header() -> None:
    name = TRAPS[ord("|")] + TRAPS[ord("^")]
    raw = f"MSH|^~\\&|{name}|H|||2026||ADT^A01|M1|P|2.5||||||GB18030\rPID|{name}\r".encode("gb18030")
    message = CODEC.decode(raw)
    assert (message.charset, message.get("MSH-3"), message.get("PID-1")) == ("gb18030", name, name)
    assert CODEC.envelope(message) == ("ADT^A01", "M1")


# -- bytes that fit no set, or have several -----------------------------------------------------------------------------


def test_broken_utf_8_keeps_its_bytes_in_a_changed_segment() -> None:
    """A field cut in the middle of a character, the other fields whole."""
    cut = "重庆市渝中区解放碑街道".encode()[:-1]
    raw = header("UNICODE UTF-8") + b"PID|" + cut + b"^b\xff^c&" + cut + b"|x|" + cut + b"~ok\r"
    message = CODEC.decode(raw)
    assert message.charset == "utf-8"
    assert message.get("PID-1.1").startswith("重庆市")
    message.set("PID-2", "王")
    assert CODEC.encode(message) == raw.replace(b"|x|", "|王|".encode())
    message.set("PID-1.3.1", "d")
    message.set("PID-3[2]", "neu")
    message.set("PID-5", "new")
    assert CODEC.encode(message) == raw.replace(b"|x|", "|王|".encode()).replace(b"c&", b"d&").replace(
        b"~ok", b"~neu||new"
    )


def test_characters_with_two_codes_keep_theirs() -> None:
    raw = header("BIG-5") + b"PID|\xa1\xc3^\xa2\xcc|x\r"  # both have another code that is used for writing
    text = b"\xa1\xc3\xa2\xcc".decode("big5hkscs")
    assert text.encode("big5hkscs") != b"\xa1\xc3\xa2\xcc"
    message = CODEC.decode(raw)
    assert message.get("PID-1") == f"{text[0]}^{text[1]}"
    message.set("PID-2", "y")
    assert CODEC.encode(message) == raw.replace(b"|x", b"|y")


@given(
    st.lists(st.lists(st.binary(max_size=8), min_size=1, max_size=4), min_size=1, max_size=6),
    st.integers(0, 5),
    st.sampled_from(["", "UNICODE UTF-8", "GB18030", "8859/1", "BIG-5", "KS X 1001", "ASCII"]),
)
def test_any_bytes_survive_the_change_of_another_field(fields: list[list[bytes]], at: int, declared: str) -> None:
    def clean(part: bytes) -> bytes:
        return part.translate(None, b"|^~\\&\r\n\x1b\x1c\x0b")

    written = [b"^".join(clean(part) for part in parts) for parts in fields]
    raw = header(declared) + b"ZZZ|" + b"|".join(written) + b"|END\rNTE|1\r"
    message = CODEC.decode(raw)
    segment = message.segments[1]
    if segment.fields[-1] != "END" or len(segment.fields) != len(written) + 2:
        return  # in this set the bytes swallowed a delimiter
    number = 1 + at % len(written)
    segment.set_field(number, "new")
    written[number - 1] = b"new"
    assert CODEC.encode(message) == header(declared) + b"ZZZ|" + b"|".join(written) + b"|END\rNTE|1\r"


@given(
    st.binary(max_size=60), st.sampled_from(["", "utf-8", "gb18030", "big5hkscs", "shift_jis", "iso8859-1", "ascii"])
)
def test_no_byte_is_lost_in_reading(raw: bytes, charset: str) -> None:
    text, used = decode_text(raw, charset)
    if used == "utf-8":
        again = b"".join(
            bytes([ord(char)]) if keep else char.encode() for char, keep in zip(text, _broken(raw, text), strict=True)
        )
        assert again == raw
    elif text.encode(used, "replace") != raw:
        assert used in ("big5hkscs", "shift_jis")  # sets in which a character may have two codes


def _broken(raw: bytes, text: str) -> list[bool]:
    """Which characters stand for one byte that broke the text."""
    found = []
    at = 0
    for char in text:
        whole = char.encode()
        broken = not raw.startswith(whole, at)
        found.append(broken)
        at += 1 if broken else len(whole)
    return found


# -- lines -----------------------------------------------------------------------------------------------------------


def test_only_the_changed_line_is_written_anew() -> None:
    raw = b"\x0b\r\nMSH|^~\\&|A||\r\n\r\nPID|1||\n \rPV1|x\r\r\nNTE|z|\x1c\r"
    message = CODEC.decode(raw)
    message.set("PV1-1", "y")
    assert CODEC.encode(message) == raw.replace(b"|x", b"|y")
    message.set("MSH-3", "B")
    assert CODEC.encode(message) == raw.replace(b"|x", b"|y").replace(b"|A", b"|B")
    message.delete_segment(message.segments[1])
    assert CODEC.encode(message) == b"\x0b\r\nMSH|^~\\&|B||\r\n\r\n \rPV1|y\r\r\nNTE|z|\x1c\r"
    message.add_segment("ZZZ")
    assert CODEC.encode(message) == b"\x0b\r\nMSH|^~\\&|B||\r\n\r\n \rPV1|y\r\r\nNTE|z|\r\nZZZ\r\n\x1c\r"


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_new_segments_end_as_the_others(end: bytes) -> None:
    raw = b"MSH|^~\\&|A" + end + b"PID|1"
    message = CODEC.decode(raw)
    message.set("ZZZ-1", "z")
    assert CODEC.encode(message) == raw + end + b"ZZZ|z" + end
    message.delete_segment(message.segments[1])
    assert CODEC.encode(message) == b"MSH|^~\\&|A" + end + b"ZZZ|z" + end


def test_an_added_and_deleted_segment_leaves_no_trace() -> None:
    for raw in (ADT, ADT[:-1], ADT.replace(b"\r", b"\r\n"), b"MSH|^~\\&|A"):
        message = CODEC.decode(raw)
        message.delete_segment(message.add_segment("ZZZ"))
        assert CODEC.encode(message) == raw


def test_trailing_delimiters_stay() -> None:
    raw = b"MSH|^~\\&|A|||\rPID|1|^^&|~|||\r"
    message = CODEC.decode(raw)
    message.set("PID-1", "2")
    assert CODEC.encode(message) == raw.replace(b"PID|1", b"PID|2")
