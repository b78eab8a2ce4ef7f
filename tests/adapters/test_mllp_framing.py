"""Frames come out the same however TCP cuts the stream."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.mllp.framing import BREAKS_FRAME, FrameReader, FrameTooLarge, frame, split_restart

LIMIT = 1000


def read(pieces: list[bytes], limit: int = LIMIT) -> tuple[list[bytes], int]:
    """(messages, bytes skipped) of a stream that arrives in pieces and then ends."""
    reader = FrameReader(limit)
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (message := reader.next()) is not None:
            found.append(message)
    last = reader.settle()
    return (found if last is None else [*found, last]), reader.skipped


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[a:b] for a, b in itertools.pairwise(marks)]


clean = st.binary(max_size=40).filter(lambda raw: b"\x1c" not in raw)
garbage = st.binary(max_size=20).filter(lambda raw: b"\x0b" not in raw)
# Few letters, so that every arrangement of the special bytes comes up.
nasty = st.lists(st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\n", b"a", b"MSH"]), max_size=40).map(b"".join)


@given(st.lists(st.tuples(garbage, clean), max_size=8), st.lists(st.integers(0, 10_000), max_size=30))
def test_frames_survive_any_cut(parts: list[tuple[bytes, bytes]], places: list[int]) -> None:
    stream = b"".join(between + frame(message) for between, message in parts)
    found, skipped = read(cut(stream, places))
    assert found == [message for _, message in parts]
    assert skipped == sum(len(between) for between, _ in parts)


@settings(max_examples=500)
@given(nasty, st.lists(st.integers(0, 10_000), max_size=30))
def test_result_does_not_depend_on_the_cut(stream: bytes, places: list[int]) -> None:
    whole = read([stream])
    assert read(cut(stream, places)) == whole
    assert read([stream[i : i + 1] for i in range(len(stream))]) == whole


@given(st.lists(clean, min_size=1, max_size=6), st.lists(st.integers(0, 10_000), max_size=30))
def test_missing_carriage_return(messages: list[bytes], places: list[int]) -> None:
    stream = b"".join(b"\x0b" + message + b"\x1c" for message in messages)
    assert read(cut(stream, places)) == (messages, 0)


@given(nasty)
def test_a_message_that_breaks_no_frame_comes_back(message: bytes) -> None:
    if BREAKS_FRAME.search(message):
        assert read([frame(message)])[0] != [message]
    else:
        assert read([frame(message)]) == ([message], 0)


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        (b"\x0b\x1c\r", [b""]),
        (b"\x0ba\x1cb\x1c\r", [b"a\x1cb"]),
        (b"\x0ba\x1c\x0bb\x1c\r", [b"a", b"b"]),
        (b"\x0ba\x0bb\x1c\r", [b"a\x0bb"]),
        (b"\x0ba\x1c\x1c\r", [b"a\x1c"]),
        (b"\x0ba", []),
        (b"\x1c\r\x0ba\x1c\r\r\n\x0bb\x1c", [b"a", b"b"]),
        (b"", []),
    ],
)
def test_rules(stream: bytes, messages: list[bytes]) -> None:
    assert read([stream])[0] == messages


def test_late_carriage_return_is_part_of_the_frame() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(b"\x0ba\x1c")
    assert reader.next() is None
    assert reader.undecided
    assert reader.settle() == b"a"
    reader.feed(b"\r\x0bb\x1c\r")
    assert reader.next() == b"b"
    assert reader.skipped == 0
    assert not reader.undecided


def test_stray_bytes_are_shown_in_part_and_forgotten_with_the_next_frame() -> None:
    reader = FrameReader(LIMIT)
    for _ in range(100):
        reader.feed(b"GET / HTTP/1.1\r\n")
        assert reader.next() is None
    assert reader.outside == 1600
    assert reader.stray.startswith(b"GET / HTTP/1.1\r\nGET")
    assert len(reader.stray) <= 256
    assert reader.held == 0
    reader.feed(frame(b"a"))
    assert reader.next() == b"a"
    assert (reader.outside, reader.stray, reader.skipped) == (0, b"", 1600)


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_largest_frame_and_one_byte_more(step: int) -> None:
    largest = frame(b"x" * LIMIT)
    assert read([largest[i : i + step] for i in range(0, len(largest), step)])[0] == [b"x" * LIMIT]
    larger = frame(b"x" * (LIMIT + 1))
    with pytest.raises(FrameTooLarge) as caught:
        read([larger[i : i + step] for i in range(0, len(larger), step)])
    assert caught.value.head.startswith(b"x" * LIMIT)


@given(nasty, st.integers(1, 5))
def test_memory_is_bounded(stream: bytes, step: int) -> None:
    reader = FrameReader(10)
    for at in range(0, len(stream), step):
        reader.feed(stream[at : at + step])
        with contextlib.suppress(FrameTooLarge):
            while reader.next() is not None:
                pass
        assert reader.held <= 10 + 3 + step


def test_abandon_gives_the_beginning_and_starts_anew() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(b"\x0bMSH|unfinished")
    assert reader.next() is None
    assert reader.abandon() == b"MSH|unfinished"
    assert not reader.inside
    reader.feed(frame(b"b"))
    assert reader.next() == b"b"


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        (b"MSH|a", (b"", b"MSH|a")),
        (b"MSH|a\x0bMSH|b", (b"MSH|a", b"MSH|b")),
        (b"MSH|a\x0bMSH|b\x0bMSH|c", (b"MSH|a\x0bMSH|b", b"MSH|c")),
        (b"\x0bMSH|a", (b"", b"MSH|a")),
        (b"MSH|line\x0bbreak", (b"", b"MSH|line\x0bbreak")),
    ],
)
def test_restart(raw: bytes, parts: tuple[bytes, bytes]) -> None:
    assert split_restart(raw) == parts


@pytest.mark.parametrize("filler", [b"x", b"\x1c"])
def test_byte_by_byte_does_not_look_at_a_byte_twice(filler: bytes) -> None:
    """The work for a frame that arrives in single bytes grows with its length, not with the square of it."""
    size = 20_000
    reader = FrameReader(size)
    reader.feed(b"\x0b")
    assert reader.next() is None
    for _ in range(size - 1):
        reader.feed(filler)
        assert reader.next() is None
        # What the next search has to look at is at most the undecided last byte.
        assert reader.held - reader._scan <= 1
    reader.feed(b"\x1c\r")
    assert reader.next() == filler * (size - 1)
