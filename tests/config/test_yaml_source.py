from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import ConfigError
from hub.yaml_source import MAX_BYTES, MAX_DEPTH, MAX_NODES, key_text, load, parse


def data_of(text: str | bytes) -> object:
    return parse(text.encode() if isinstance(text, str) else text, "f.yaml").data


def problem_of(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        data_of(text)
    assert len(caught.value.problems) == 1
    return str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("0012", "0012"),  # a code: arithmetic would damage it
        ("123456789012345678", 123456789012345678),
        ("1234567890123456789", "1234567890123456789"),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        ("1.0.0", "1.0.0"),
        ("0x1F", "0x1F"),
        (".inf", ".inf"),
        ("12:30", "12:30"),
        ("2024-01-02", "2024-01-02"),
        ("true", True),
        ("FALSE", False),
        ("off", "off"),
        ("yes", "yes"),
        ("", None),
        ("~", None),
        ("null", None),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("''", ""),
    ],
)
def test_scalars(text: str, value: object) -> None:
    found = data_of(f"key: {text}")
    assert found == {"key": value}
    assert type(found["key"]) is type(value)


def test_keys_are_text_as_written() -> None:
    assert data_of("3001: a\ntrue: b\n1.0: c\n'': d\n~: e") == {"3001": "a", "true": "b", "1.0": "c", "": "d", "~": "e"}


def test_structures_and_aliases() -> None:
    text = "a: &x [1, {b: 2}]\nc: *x\nd:\n- - 1\n  - 2\n- e: f\ng: {}\nh: []\n"
    assert data_of(text) == {"a": [1, {"b": 2}], "c": [1, {"b": 2}], "d": [[1, 2], {"e": "f"}], "g": {}, "h": []}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null"])
def test_nothing_in_a_file_is_none(text: str) -> None:
    assert data_of(text) is None


def test_a_byte_order_mark_is_tolerated() -> None:
    assert data_of(b"\xef\xbb\xbfa: 1") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: key 'a' stands twice -> remove one of the two"),
        ("x:\n  a: 1\n  a: 1\n", "f.yaml:3: key 'a' stands twice -> remove one of the two"),
        ("a: 1\n<<: {b: 1}\n", "f.yaml:2: merge keys (<<) are not supported -> write the keys out"),
        ("a: !!int 5\n", "f.yaml:1: tags are not supported -> leave the tag out; put text in quotes"),
        (
            "a: !!python/object:os.system {}\n",
            "f.yaml:1: tags are not supported -> leave the tag out; put text in quotes",
        ),
        ("a: 1\n--- \nb: 2\n", "f.yaml:2: several documents in one file -> remove the line ---"),
        ("a: *x\n", "f.yaml:1: alias *x stands for nothing yet -> write &x before a complete value above it"),
        ("a: &x\n  - *x\n", "f.yaml:2: alias *x stands for nothing yet -> write &x before a complete value above it"),
        ("? [a]\n: 1\n", "f.yaml:1: a key must be plain text -> put text with braces or brackets in quotes"),
        ("x: &k a\n? *k\n: 1\n", "f.yaml:2: an alias can't be a key -> write the key out"),
        (b"a: 1\nb: \xff\n", "f.yaml:2: not UTF-8 -> save the file as UTF-8"),
    ],
)
def test_what_is_refused(text: str | bytes, problem: str) -> None:
    assert problem_of(text) == problem


@pytest.mark.parametrize(("text", "line"), [("a: [1,\nb: {", 3), ("a: 1\n b: 2\n", 2), ("a: 'x\n", 2), ("\ta: 1", 1)])
def test_syntax_errors_name_the_line(text: str, line: int) -> None:
    assert problem_of(text).startswith(f"f.yaml:{line}: not valid YAML: ")


def test_limits() -> None:
    assert data_of("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    # PyYAML's own composer crashes the process on this.
    assert "levels deep" in problem_of("[" * 200_000)
    assert "levels deep" in problem_of("{a: " * 200_000)
    assert problem_of(b" " * (MAX_BYTES + 1)) == "f.yaml: larger than 4 MB -> split it into several files"
    assert f"more than {MAX_NODES} values" in problem_of("[" + "1," * (MAX_NODES + 1) + "]")


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert problem_of("\n".join(lines)).startswith("f.yaml:6: more than")


def test_lines() -> None:
    text = "# one\na: 1\nb:\n  c:\n    - x\n    - d: 5\n      e: 6\n  f: {g: 1,\n      h: 2}\nlist: [1,\n  2]\n"
    document = parse(text.encode(), "f.yaml")
    wanted = {
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "c", 0): 5,
        ("b", "c", 1): 6,
        ("b", "c", 1, "d"): 6,
        ("b", "c", 1, "e"): 7,
        ("b", "f", "h"): 9,
        ("list", 1): 11,
        (): 1,
    }
    assert {path: document.line(path) for path in wanted} == wanted


def test_the_line_of_what_is_missing_is_that_of_its_parent() -> None:
    document = parse(b"a:\n  b:\n    c: 1\n", "f.yaml")
    assert document.line(("a", "b", "x", "y")) == 2
    assert document.line(("z",)) == 1


def test_key_text() -> None:
    assert key_text(("systems", "his", "allow", 0, "x")) == "systems.his.allow[0].x"
    assert key_text(()) == ""


@pytest.mark.parametrize("name", ["missing.yaml", "a\0b", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load(tmp_path / name)


# YAML has no pairs of \u escapes for what lies beyond the basic plane.
TEXT = st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF), max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def paths(data: object, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(data, dict):
        below = [paths(value, (*at, key)) for key, value in data.items()]
    elif isinstance(data, list):
        below = [paths(value, (*at, n)) for n, value in enumerate(data)]
    else:
        below = []
    return [at, *(path for found in below for path in found)]


@given(PLAIN)
@settings(deadline=None)
def test_json_is_read_as_json(data: object) -> None:
    assert data_of(json.dumps(data)) == data
    assert data_of(json.dumps({"x": data}, indent=2)) == {"x": data}


@given(PLAIN)
@settings(deadline=None)
def test_every_path_has_a_line(data: object) -> None:
    text = json.dumps({"top": data}, indent=1)
    document = parse(text.encode(), "f.yaml")
    last = text.count("\n") + 1
    lines = [document.line(path) for path in paths(document.data)]
    assert all(1 <= line <= last for line in lines)
    assert lines == sorted(lines)


@given(st.binary(max_size=300) | st.text(alphabet="ab:-[]{}&*!|>'\"%@?,# \n\t<~01", max_size=120).map(str.encode))
@settings(max_examples=400, deadline=None)
def test_any_bytes_give_a_document_or_a_problem(raw: bytes) -> None:
    try:
        document = parse(raw, "f.yaml")
    except ConfigError as error:
        problems = error.problems
    else:
        problems = []
        assert document.line(("a", 0)) >= 1
    assert all(problem.file == "f.yaml" and problem.remedy for problem in problems)
