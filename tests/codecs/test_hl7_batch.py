"""Batches taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.hl7v2 import split_batch
from hub.errors import CodecError
from tests.codecs.codec_support import CODEC

ONE = b"MSH|^~\\&|A|||||||1\rPID|1  \r"
TWO = b"MSH#:;!+#B\rPID#2\rNTE#x"


@pytest.mark.parametrize(
    "raw",
    [
        b"FHS|^~\\&|F\rBHS|^~\\&|B\r" + ONE + TWO + b"\rBTS|2\rFTS|1\r",
        b"BHS|^~\\&|B\r" + ONE + TWO + b"\rBTS|2",
        ONE + TWO,
        b"\r\n" + ONE + b"\r\n\r\n" + TWO + b"\r\r",
        b"\x0b" + ONE + b"\x1c\r\x0b" + TWO + b"\x1c\r",
        b"\xef\xbb\xbf" + ONE + b"\xef\xbb\xbf  " + TWO,
        b"FHS|^~\\&\rBHS|^~\\&\r" + ONE + b"BTS|1\rBHS|^~\\&\r" + TWO + b"\rBTS|1\rFTS|2\r",
    ],
)
def test_messages_of_a_batch(raw: bytes) -> None:
    assert split_batch(raw) == [ONE, TWO + b"\r"]


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_line_ends_stay(end: bytes) -> None:
    one, two = ONE.replace(b"\r", end), (TWO + b"\r").replace(b"\r", end)
    assert split_batch(b"BHS|^~\\&" + end + one + two + b"BTS|2" + end) == [one, two]


@pytest.mark.parametrize("raw", [ONE, TWO, b"\x0b" + ONE + b"\x1c\r", b"\xef\xbb\xbf" + TWO, b"\n\n" + ONE + b"\n"])
def test_a_single_message_comes_back_as_it_is(raw: bytes) -> None:
    assert split_batch(raw) == [raw]


@pytest.mark.parametrize("charset", ["utf-16-le", "utf-16-be"])
def test_utf_16(charset: str) -> None:
    mark = "\ufeff".encode(charset)
    one, two = (part.decode().encode(charset) for part in (ONE, TWO + b"\r"))
    assert split_batch(mark + one) == [mark + one]
    assert split_batch(mark + one + two) == [mark + one, mark + two]
    with pytest.raises(CodecError) as caught:
        split_batch(mark + one[:-1])
    assert caught.value.code == "hl7.charset"


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"BHS|^~\\&|HIS\rBTS|0\r", b"FHS|^~\\&\rFTS|0", b"PID|1\r", b"MSHX|1"])
def test_a_batch_without_a_message_is_refused(raw: bytes) -> None:
    with pytest.raises(CodecError) as caught:
        split_batch(raw)
    assert caught.value.code == "hl7.empty"


@pytest.mark.parametrize(
    ("raw", "at"),
    [
        (b"PID|1\r" + ONE, 0),
        (b"\r\nPID|1\r" + ONE + TWO, 2),
        (b"BHS|^~\\&\rPID|1\r" + ONE + b"BTS|1\r", 9),
        (b"BHS|^~\\&\r" + ONE + b"BTS|1\rPID|1\rFTS\r", 9 + len(ONE) + 6),
        (ONE + b"BTS|1\r\n PID|1", len(ONE) + 8),
    ],
)
def test_segments_of_no_message_are_refused(raw: bytes, at: int) -> None:
    with pytest.raises(CodecError) as caught:
        split_batch(raw)
    assert caught.value.code == "hl7.no_msh"
    assert caught.value.place == f"byte {at}"
    assert "PID" not in str(caught.value)


lines = st.sampled_from(
    [b"FHS|^~\\&", b"BHS|^~\\&", b"MSH|^~\\&|A", b"PID|1", b"NTE|MSH|^~", b"", b"BTS|1", b"FTS|1", b"\x1c", b"MSHX|1"]
)


@given(st.lists(lines, max_size=12), st.sampled_from([b"\r", b"\n", b"\r\n"]))
def test_nothing_is_left_out_silently(parts: list[bytes], end: bytes) -> None:
    raw = end.join(parts)
    try:
        messages = split_batch(raw)
    except CodecError:
        return
    expected = [part for part in parts if part[:4] not in (b"FHS|", b"BHS|", b"BTS|", b"FTS|") and part.strip(b"\x1c")]
    got = [line for message in messages for line in message.split(end) if line.strip(b"\x1c")]
    if len(messages) > 1 or len(expected) == len(parts):
        assert got == expected
    for message in messages:
        if len(messages) > 1:
            assert CODEC.encode(CODEC.decode(message)) == message
