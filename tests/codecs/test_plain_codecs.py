"""Plain text and plain bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.plain_codecs import BinaryCodec, TextCodec
from hub.errors import CodecError

TEXT = TextCodec()
BINARY = BinaryCodec()


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le", "utf-16-be"])
def test_the_character_set_of_a_text_is_found(charset: str) -> None:
    raw = "第1行 line one\r\n第二行\n".encode(charset)
    tree = TEXT.decode(raw)
    assert tree == {"text": "第1行 line one\r\n第二行\n"}
    assert TEXT.encode(tree) == raw
    assert TEXT.encode({"text": "第"}, encoding="gbk") == "第".encode("gbk")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["utf-8", "gb18030", "utf-16"]))
def test_texts_come_back(text: str, charset: str) -> None:
    read = TEXT.decode(TEXT.encode({"text": text}, encoding=charset), encoding=charset)
    assert read == {"text": text.removeprefix("\ufeff")}


@given(st.binary(max_size=60))
def test_any_bytes(raw: bytes) -> None:
    assert BINARY.decode(raw) == {"bytes": raw}
    assert BINARY.encode(BINARY.decode(raw)) == raw
    try:
        tree = TEXT.decode(raw)
    except CodecError:
        return
    assert TEXT.encode(tree) == raw


def test_what_can_not_be_written() -> None:
    for tree in ({}, {"text": 1}, 1, None):
        for codec, code in ((TEXT, "text.tree"), (BINARY, "binary.tree")):
            with pytest.raises(CodecError) as caught:
                codec.encode(tree)
            assert caught.value.code == code
    assert TEXT.encode("张") == "张".encode()
    assert BINARY.encode(b"x") == b"x"
