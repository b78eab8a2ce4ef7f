"""Frames byte for byte, and streams cut, joined and damaged in every way."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from adapters.streams.frames import FrameTooLarge
from adapters.tcp.checksum import Checksum, checksum_bytes
from adapters.tcp.framing import Framing, Reader, framing_for
from adapters.tcp.framing_options import FramingOptions, parse_bytes
from hub.api import HubError

_OPTIONS: TypeAdapter[Any] = TypeAdapter(FramingOptions)


def framing(**options: Any) -> Framing:
    return framing_for(_OPTIONS.validate_python(options))


def delimited(**options: Any) -> Framing:
    return framing(type="delimited", **options)


def length(**options: Any) -> Framing:
    return framing(type="length", **options)


def read_all(reader: Reader) -> list[bytes]:
    """Whole and undamaged messages."""
    found = []
    while (message := reader.next()) is not None:
        if reader.damage is None:
            found.append(message)
        elif reader.damage.fatal:
            break
    return found


FRAMES = [
    (delimited(start="\x02", end="\x03"), b"AB", b"\x02AB\x03"),
    (delimited(end="\r"), b"AB", b"AB\r"),
    (delimited(end="hex:0D0A"), b"A\rB", b"A\rB\r\n"),
    (delimited(start="\x02", end="\x03", checksum={"kind": "xor", "form": "hex"}), b"AB", b"\x02AB03\x03"),
    (
        delimited(start="\x02", end="\x03", checksum={"kind": "sum", "form": "hex", "covers": "frame"}),
        b"AB",
        b"\x02AB85\x03",
    ),
    (
        delimited(start="\x02", end="\x03", checksum={"kind": "xor", "covers": "frame"}, checksum_after_end=True),
        b"AB",
        b"\x02AB\x03\x02",
    ),
    (framing(type="lines"), b"AB", b"AB\r\n"),
    (framing(type="lines", end="lf"), b"AB", b"AB\n"),
    (length(size=2), b"AB", b"\x00\x02AB"),
    (length(size=2, order="little"), b"AB", b"\x02\x00AB"),
    (length(size=4, counts="length"), b"AB", b"\x00\x00\x00\x06AB"),
    (length(size=8), b"AB", b"\x00" * 7 + b"\x02AB"),
    (length(digits=6), b"AB", b"000002AB"),
    (length(digits=4, counts="all", header="HDR"), b"AB", b"HDR0009AB"),
    (length(size=2, checksum={"kind": "sum"}), b"AB", b"\x00\x03AB\x83"),
    (length(size=2, counts="body", checksum={"kind": "crc16_modbus", "order": "little"}), b"AB", b"\x00\x02AB\xb1\xd1"),
    (framing(type="fixed", size=4, pad=" "), b"AB", b"AB  "),
    (framing(type="until_close"), b"AB", b"AB"),
]


@pytest.mark.parametrize(("how", "body", "frame"), FRAMES)
def test_frames_byte_for_byte(how: Framing, body: bytes, frame: bytes) -> None:
    assert how.wrap(body) == frame


@pytest.mark.parametrize(
    ("kind", "value"),
    [("crc16_modbus", 0x4B37), ("crc16_arc", 0xBB3D), ("crc16_ccitt", 0x29B1), ("crc16_xmodem", 0x31C3)],
)
def test_check_values_of_the_catalogue(kind: Any, value: int) -> None:
    assert checksum_bytes(Checksum(kind=kind), b"123456789") == value.to_bytes(2, "big")


@given(st.binary(max_size=300))
def test_checksums_against_other_computations(data: bytes) -> None:
    folded = 0
    for byte in data:
        folded ^= byte
    assert checksum_bytes(Checksum(kind="xor"), data) == bytes([folded])
    value = 0xFFFF
    for bit in (byte >> place & 1 for byte in data for place in range(8)):
        value = value >> 1 ^ (0xA001 if (value ^ bit) & 1 else 0)
    assert checksum_bytes(Checksum(kind="crc16_modbus"), data) == value.to_bytes(2, "big")
    assert checksum_bytes(Checksum(kind="sum", form="hex"), data) == b"%02X" % (sum(data) % 256)


#: Without those of fixed length and until the end, which need other streams.
STREAMS = [how for how, _, _ in FRAMES[:-2]]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(STREAMS), st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 400), max_size=8)
)
def test_any_text_survives_and_any_cut_gives_the_same_messages(
    how: Framing, bodies: list[bytes], cuts: list[int]
) -> None:
    frames, kept = [], []
    for body in bodies:
        try:
            frames.append(how.wrap(body))
        except HubError:
            continue
        kept.append(body)
    stream = b"".join(frames)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    reader = how.reader(1000)
    found: list[bytes] = []
    for start, stop in itertools.pairwise(places):
        reader.feed(stream[start:stop])
        found += read_all(reader)
    assert found == kept
    assert not reader.inside
    assert (reader.outside, reader.held) == (0, 0)


CHECKED = [
    delimited(start="\x02", end="\x03", checksum={"kind": "sum", "form": "hex", "covers": "frame"}),
    delimited(start="\x02", end="\r\n", checksum={"kind": "crc16_ccitt", "covers": "frame"}, checksum_after_end=True),
    length(size=4, header="\x7e", checksum={"kind": "crc16_modbus", "covers": "frame"}),
    length(digits=5, checksum={"kind": "crc16_arc", "form": "hex", "covers": "frame"}),
]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CHECKED), st.binary(min_size=1, max_size=40), st.data())
def test_a_damaged_or_missing_byte_never_gives_another_message(how: Framing, body: bytes, data: st.DataObject) -> None:
    try:
        frame = bytearray(how.wrap(body))
    except HubError:
        assume(False)
    at = data.draw(st.integers(0, len(frame) - 1))
    if data.draw(st.booleans()):
        frame[at] ^= data.draw(st.integers(1, 255))
    else:
        del frame[at]
    reader = how.reader(1000)
    try:
        reader.feed(bytes(frame))
        found = read_all(reader)
    except FrameTooLarge:
        return
    assert found in ([], [body])


def test_a_frame_that_begins_again() -> None:
    reader = delimited(start="\x02", end="\x03").reader(100)
    reader.feed(b"noise\x02half\x02whole\x03")
    assert reader.next() == b"half"
    assert reader.damage is not None
    assert reader.damage.error.code == "tcp.unfinished"
    assert reader.next() == b"whole"
    assert (reader.damage, reader.skipped) == (None, 5)


def test_lines_end_in_either_way() -> None:
    reader = framing(type="lines").reader(100)
    reader.feed(b"a\nb\r\n\r\nc\rd\n")
    assert read_all(reader) == [b"a", b"b", b"", b"c\rd"]


def test_until_close_ends_at_the_end() -> None:
    reader = framing(type="until_close").reader(10)
    reader.feed(b"abc")
    assert reader.next() is None
    assert reader.inside
    assert reader.settle() == b"abc"
    reader.feed(b"x" * 11)
    with pytest.raises(FrameTooLarge):
        reader.next()


@pytest.mark.parametrize(
    ("how", "body"),
    [
        (delimited(start="\x02", end="\x03"), b"a\x03b"),
        (delimited(start="\x02", end="\x03"), b"a\x02b"),
        (delimited(end="\r\r"), b"a\r"),
        (framing(type="lines"), b"a\nb"),
        (framing(type="lines", end="lf"), b"a\r"),
        (length(digits=1), b"x" * 10),
        (length(size=2), b"x" * 65536),
        (framing(type="fixed", size=4), b"abc"),
        (framing(type="fixed", size=4, pad="0"), b"abcde"),
    ],
)
def test_what_a_frame_can_not_hold(how: Framing, body: bytes) -> None:
    with pytest.raises(HubError):
        how.wrap(body)


@pytest.mark.parametrize(
    ("how", "stream"),
    [
        (length(digits=4), b"00x5hello"),
        (length(digits=4), b"+123hello"),
        (length(size=2, counts="length"), b"\x00\x01"),
    ],
)
def test_a_length_that_is_none(how: Framing, stream: bytes) -> None:
    reader = how.reader(100)
    reader.feed(stream)
    assert reader.next() is not None
    assert reader.damage is not None
    assert (reader.damage.fatal, reader.damage.error.code) == (True, "tcp.length")


@pytest.mark.parametrize(
    ("how", "stream"),
    [
        (length(size=8), b"\xff" * 8),
        (length(size=4), (1000).to_bytes(4, "big")),
        (delimited(start="\x02", end="\x03"), b"\x02" + b"x" * 102),
        (delimited(start="\x02", end="\x03"), b"\x02" + b"x" * 101 + b"\x03"),
        (framing(type="lines"), b"x" * 102),
    ],
)
def test_limits(how: Framing, stream: bytes) -> None:
    reader = how.reader(100)
    reader.feed(stream)
    with pytest.raises(FrameTooLarge):
        reader.next()
    assert reader.held == 0


def test_time_does_not_grow_with_the_pieces() -> None:
    reader = delimited(start="\x02", end="\x03").reader(1 << 20)
    reader.feed(b"\x02")
    for _ in range(200_000):
        reader.feed(b"x")
        assert reader.next() is None
    reader.feed(b"\x03")
    assert reader.next() == b"x" * 200_000


@pytest.mark.parametrize(
    "options",
    [
        {"type": "delimited", "end": ""},
        {"type": "delimited", "start": "\x02", "end": "\x02"},
        {"type": "delimited", "end": "\r", "checksum": {"kind": "xor"}},
        {"type": "length"},
        {"type": "length", "size": 2, "digits": 4},
        {"type": "length", "size": 3},
        {"type": "fixed", "size": 4, "pad": "ab"},
        {"type": "delimited", "end": "hex:0"},
    ],
)
def test_options_that_can_not_work(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _OPTIONS.validate_python(options)


def test_bytes_in_options() -> None:
    assert parse_bytes("\x02AB") == b"\x02AB"
    assert parse_bytes("hex: 02 ff") == b"\x02\xff"
    assert parse_bytes("收到") == "收到".encode()
