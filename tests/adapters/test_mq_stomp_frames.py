"""STOMP frames: round trips, arbitrary cuts, hostile input."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.mq.stomp_frames import BadFrame, Frame, FrameReader, encode

_TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=20)
_HEADERS = st.dictionaries(_TEXT.filter(lambda name: name and name != "content-length"), _TEXT, max_size=6)
_LIMIT = 1 << 16


def read(*parts: bytes, limit: int = _LIMIT) -> list[Frame]:
    reader, found = FrameReader(limit), []
    for part in parts:
        reader.feed(part)
        while (frame := reader.next()) is not None:
            found.append(frame)
    return found


@settings(max_examples=200)
@given(st.lists(st.tuples(_HEADERS, st.binary(max_size=200), st.booleans()), max_size=4), st.integers(1, 40))
def test_what_is_written_is_read_however_it_is_cut(frames: list[tuple[dict[str, str], bytes, bool]], step: int) -> None:
    data, expected = b"", []
    for headers, body, with_length in frames:
        if with_length or b"\0" in body:
            headers = headers | {"content-length": str(len(body))}
        data += encode("SEND", headers, body) + b"\n"
        expected.append(Frame("SEND", headers, body))
    assert read(*(data[at : at + step] for at in range(0, len(data), step))) == expected
    assert read(data) == expected


@settings(max_examples=300)
@given(st.binary(max_size=400), st.integers(1, 50))
def test_nonsense_is_refused_or_waited_for(data: bytes, step: int) -> None:
    for prefix in (b"", b"MESSAGE\n", b"MESSAGE\na:b\n\n"):
        full = prefix + data
        try:
            read(*(full[at : at + step] for at in range(0, len(full), step)), limit=100)
        except BadFrame:
            continue


def test_carriage_returns_heartbeats_and_repeated_headers() -> None:
    data = b"\n\r\nMESSAGE\r\na:1\r\na:2\r\nb:x\\cy\\nz\\\\\r\n\r\nbody\0\n\n"
    assert read(data) == [Frame("MESSAGE", {"a": "1", "b": "x:y\nz\\"}, b"body")]


def test_connect_is_not_escaped() -> None:
    assert encode("CONNECT", {"passcode": "a\\b:c"}) == b"CONNECT\npasscode:a\\b:c\n\n\0"
    assert read(b"CONNECTED\nserver:a\\b:c\n\n\0")[0].headers == {"server": "a\\b:c"}
    with pytest.raises(ValueError, match="login"):
        encode("CONNECT", {"login": "a\nb"})


@pytest.mark.parametrize(
    "data",
    [
        b"MESSAGE\nno colon\n\n\0",
        b"MESSAGE\n:no name\n\n\0",
        b"MESSAGE\na:\\t\n\n\0",
        b"MESSAGE\na:\\\n\n\0",
        b"MESSAGE\na:\xff\n\n\0",
        b"MESSAGE\ncontent-length:x\n\n\0",
        b"MESSAGE\ncontent-length:-1\n\n\0",
        b"MESSAGE\ncontent-length:65537\n\n",
        b"MESSAGE\ncontent-length:99999999999999999999999\n\n",
        b"MESSAGE\ncontent-length:2\n\nabc\0",
        b"MESSAGE\n\n" + b"x" * 65537,
        b"MESSAGE\n" + b"a:b\n" * 257 + b"\n\0",
        b"M" * 70000,
        b"MESSAGE\na:" + b"x" * 70000 + b"\n\n\0",
    ],
)
def test_hostile(data: bytes) -> None:
    with pytest.raises(BadFrame):
        read(data)
