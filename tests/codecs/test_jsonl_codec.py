"""JSON Lines: one value per line, errors with the line of the whole."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs import jsonl_codec
from hub.codecs.json_codec import MAX_DEPTH
from hub.codecs.jsonl_codec import JsonLinesCodec
from hub.errors import CodecError

CODEC = JsonLinesCodec()


@pytest.mark.parametrize(
    ("raw", "rows"),
    [
        (b"", []),
        (b'{"a":1}\n{"a":12.50}\n', [{"a": 1}, {"a": Decimal("12.50")}]),
        (b'\xef\xbb\xbf{"a":1}\r\n\r\n  \n[2]', [{"a": 1}, [2]]),
        ('"一\u2028二"\n'.encode(), ["一\u2028二"]),
    ],
)
def test_reading(raw: bytes, rows: list[Any]) -> None:
    assert CODEC.decode(raw) == {"rows": rows}


@pytest.mark.parametrize(
    ("raw", "code", "message"),
    [
        (
            b'{"a":1}\n\n{"a":x}\n',
            "json.invalid",
            "line 3 column 6: not JSON: unexpected character, expected a JSON value",
        ),
        (b'\n{"a":1}{', "json.invalid", "line 2 column 8: not JSON: unexpected content after document"),
        (b'1\n"\xff"\n', "json.charset", "line 2 byte 1: the bytes are not UTF-8"),
        (b'1\n{"k":1,"k":2}\n', "json.duplicate_key", "line 2: a key stands twice in one object (k)"),
        (
            b"1\n" + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
            "json.depth",
            f"line 2: nested deeper than {MAX_DEPTH}",
        ),
    ],
)
def test_places_of_errors(raw: bytes, code: str, message: str) -> None:
    with pytest.raises(CodecError) as caught:
        CODEC.decode(raw)
    assert (caught.value.code, str(caught.value)) == (code, message)


@pytest.mark.parametrize("encoding", ["", "gbk", "utf-16", "utf-16-le"])
def test_character_sets(encoding: str) -> None:
    raw = '{"名":"张三"}\n1\n'.encode(encoding or "utf-8")
    assert CODEC.decode(raw, encoding=encoding) == {"rows": [{"名": "张三"}, 1]}
    assert CODEC.encode({"rows": [{"名": "张三"}, 1]}, encoding=encoding) == raw


def test_what_can_not_be_written() -> None:
    for tree, code, place in (
        ({}, "jsonl.tree", ""),
        ("x", "jsonl.tree", ""),
        ([1, {"a": b"x"}], "json.type", "line 2"),
    ):
        with pytest.raises(CodecError) as caught:
            CODEC.encode(tree)
        assert (caught.value.code, caught.value.place) == (code, place)


@given(
    st.lists(
        st.recursive(st.one_of(st.none(), st.integers(), st.text(st.characters(exclude_categories=["Cs"]))), st.lists),
        max_size=5,
    )
)
def test_what_is_written_is_read(rows: list[Any]) -> None:
    raw = CODEC.encode(rows)
    assert raw.count(b"\n") == len(rows)
    assert CODEC.decode(raw) == {"rows": rows}


@given(st.binary(max_size=80), st.sampled_from(["", "gbk", "utf-16"]))
def test_any_bytes_are_read_or_refused(raw: bytes, encoding: str) -> None:
    try:
        tree = CODEC.decode(raw, encoding=encoding)
    except CodecError:
        return
    CODEC.encode(tree)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl_codec, "MAX_ROWS", 100)
    assert len(CODEC.decode(b"1\n" * 100)["rows"]) == 100
    for call in (lambda: CODEC.decode(b"1\n" * 101), lambda: CODEC.encode([1] * 101)):
        with pytest.raises(CodecError) as caught:
            call()
        assert caught.value.code == "jsonl.rows"
    assert CODEC.decode(b"\n" * 3_000_000) == {"rows": []}
