"""Patterns: the same answers as Python's ``re`` where they are allowed, and a bound on the work where they are hostile."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.mapping.patterns import MAX_STEPS, compile_pattern
from hub.mapping.runtime import FunctionError


@pytest.mark.parametrize(
    "pattern",
    [
        "abc",
        "[A-Z]{2}\\d+",
        "(a|b)c?",
        "(?:ab){2,3}",
        "^x.*y$",
        "[^,]*,",
        "a{3}",
        "a{2,}",
        "[]a]+",
        "\\.\\-",
        "a+?b",
        "",
    ],
)
def test_allowed(pattern: str) -> None:
    checked = compile_pattern(pattern)
    for text in ("abc", "AB12", "bc", "ababab", "xzy", "q,", "aaa", "]a", ".-", "aab", ""):
        assert checked.fullmatch(text) == (re.fullmatch(pattern, text) is not None)


@pytest.mark.parametrize(
    "pattern",
    [
        *("(a+)+", "(a*)*", "(a|aa)+", "(a?){30}", "(a{1,9}){9}", "((ab)*c)*", "(.*,){5}", "(\\d+|x){2}"),
        *(
            "(?=a)",
            "(?<=a)",
            "(?P<n>a)",
            "(?i)a",
            "(a)\\1",
            "a**",
            "a{2}{3}",
            "*a",
            "a{2000}",
            "a{3,1}",
            "(a",
            "a)",
            "[a",
        ),
        *("\\", "\\p", "a" * 201, "(" * 11 + ")" * 11, ".*.*.*.*.*.*.*"),
    ],
)
def test_refused(pattern: str) -> None:
    with pytest.raises(FunctionError):
        compile_pattern(pattern)


def test_a_text_too_long_for_the_pattern_is_refused_before_matching() -> None:
    checked = compile_pattern(".*a.*b.*c")
    assert checked.fullmatch("xxaxxbxxc")
    with pytest.raises(FunctionError):
        checked.fullmatch("a" * 1000)
    with pytest.raises(FunctionError):
        compile_pattern("a").find("x" * 200_000)


def test_replacement() -> None:
    checked = compile_pattern("(\\w)-(\\w)")
    assert checked.replace("a-b", "\\2\\1", 100) == "ba"
    with pytest.raises(FunctionError):
        checked.replace("a-b", "\\3", 100)
    with pytest.raises(FunctionError):
        checked.replace("a-b", "x" * 50, 100)


SAFE = st.lists(
    st.sampled_from(
        ["a", "b", ".", "[ab]", "\\d", "(a|b)", "(?:ab)", "a?", "b*", "a+", "[^a]{1,3}", "(ab){2}", "^", "$"]
    ),
    max_size=6,
).map("".join)


@given(SAFE, st.text("ab1", max_size=12))
def test_what_is_allowed_gives_what_python_gives(pattern: str, text: str) -> None:
    try:
        checked = compile_pattern(pattern)
    except FunctionError:
        return
    assert checked.fullmatch(text) == (re.fullmatch(pattern, text) is not None)
    assert checked.choices <= MAX_STEPS


@given(st.text("ab(|)*+?{1,}[]^\\.$", max_size=15))
def test_any_pattern_is_compiled_or_refused(pattern: str) -> None:
    with contextlib.suppress(FunctionError):
        compile_pattern(pattern)
