"""Escape sequences, well-formed and as they are met."""

from __future__ import annotations

import pytest
from hypothesis import given

from hub.codecs.hl7_escape import UNDECLARED, escapes_for
from hub.errors import CodecError
from tests.codecs.codec_support import delimiters, texts

USUAL = escapes_for("|", "^", "~", "\\", "&", UNDECLARED)
NEWER = escapes_for("|", "^", "~", "\\", "&", "#")
NONE = escapes_for("|", "^", "~", UNDECLARED, "&", UNDECLARED)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain", "plain"),
        (r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f"),
        (r"\E\E\E", r"\E\E"),
        (r"\X0D\\X0A\next", "\r\nnext"),
        (r"\X000d\\X000A\x", "\r\nx"),
        (r"\X0d0a\x", "\r\nx"),
        (r"\E\R\ ", r"\R\ "),
        (r"line\.br\next", r"line\.br\next"),
        (r"\H\bold\N\ \.sp+2\ \.in-3\ x", r"\H\bold\N\ \.sp+2\ \.in-3\ x"),
        (r"\C2842\ \M1B2442\ \Zab1\ ", r"\C2842\ \M1B2442\ \Zab1\ "),
        (r"C:\dir\file", r"C:\dir\file"),
        (r"open\F", r"open\F"),
        (r"\X0\ \XZZ\ \X\ ", r"\X0\ \XZZ\ \X\ "),
        (r"\.br\F\b", r"\.br\F\b"),
        (r"\P\ ", r"\P\ "),
    ],
)
def test_unescape(written: str, value: str) -> None:
    assert USUAL.unescape(written, "utf-8") == value


@pytest.mark.parametrize(
    ("charset", "written", "value"),
    [
        ("utf-8", r"\XE5BCA0\ ", "张 "),
        ("gb18030", r"\XD5C5\ ", "张 "),
        ("utf-8", r"\XD5C5\ ", "张 "),  # not UTF-8, so it is taken for what it is likely to be
        ("utf-8", r"\XE5\\XBC\\XA0\ ", "张 "),
        ("iso8859-1", r"\XE9\ ", "é "),
        ("utf-8", r"\XFFFF\ ", r"\XFFFF\ "),
    ],
)
def test_hexadecimal_in_the_character_set(charset: str, written: str, value: str) -> None:
    assert USUAL.unescape(written, charset) == value


def test_formatting_when_asked() -> None:
    assert USUAL.unescape(r"a\.br\b\.sp3\c\.ce\d\.in+4\e\H\f\N\g\Z1\h", "utf-8", formatting=True) == (
        "a\nb\n\n\nc\nde" + r"fg\Z1\h"
    )
    assert USUAL.unescape(r"\.sp9999\ ", "utf-8", formatting=True).count("\n") == 100


def test_escape() -> None:
    assert USUAL.escape("a|b^c~d&e\\f#") == r"a\F\b\S\c\R\d\T\e\E\f#"
    assert USUAL.escape("a\r\nb\x0bc\x1c") == r"a\X0D\\X0A\b\X0B\c\X1C" + "\\"
    assert NEWER.escape("a#b#") == r"a#b\P" + "\\"
    assert NONE.escape("a\\b#") == "a\\b#"
    for text in ("a|b", "a^b", "a\rb"):
        with pytest.raises(CodecError) as caught:
            NONE.escape(text)
        assert caught.value.code == "codec.escape"


@given(texts)
def test_escaped_and_unescaped_is_the_same(text: str) -> None:
    for escapes in (USUAL, NEWER):
        written = escapes.escape(text)
        assert not set("|^~&\r\n\x0b\x1c") & set(written)
        assert escapes.unescape(written, "utf-8") == text


@given(delimiters(), texts)
def test_with_any_delimiters(marks: str, text: str) -> None:
    escapes = escapes_for(*marks.ljust(6, UNDECLARED))
    assert escapes.unescape(escapes.escape(text), "utf-8") == text


@given(texts)
def test_anything_is_unescaped(text: str) -> None:
    for formatting in (False, True):
        assert isinstance(USUAL.unescape(text, "gb18030", formatting=formatting), str)
