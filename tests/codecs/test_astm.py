"""Records of analysers: what is read, what is written, and that nothing is lost on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.astm import AstmCodec
from hub.codecs.registry import builtin_codecs
from hub.errors import CodecError

CODEC = AstmCodec()
RESULTS = (
    "H|\\^&|M1||XN-1000^00-13|||||||P|1394-97|20261120081200\r"
    "C|1|L|shift 2|G\r"
    "P|1||P0001||样本^人||19830502|M\r"
    "O|1|S1^7||^^^WBC\\^^^RBC|R\r"
    "R|1|^^^WBC|11.20|10*9/L|4.0 to 10.0|H||F\r"
    "C|1|I|a&F&b&S&c&R&d&E&e&X0D&f&Q&g|G\r"
    "M|1|flag\r"
    "R|2|^^^RBC|4.61|10*12/L\r"
    "P|2||P0002\r"
    "L|1|N\r"
)


def copy(tree: Any) -> Any:
    """The same tree without its memory of the bytes."""
    return json.loads(json.dumps(tree))


def test_records_stand_below_what_they_belong_to() -> None:
    tree = CODEC.decode(RESULTS.encode())
    assert tree["delimiters"] == "|\\^&"
    assert tree["H"] == {
        "f3": [{"c1": "M1"}],
        "f5": [{"c1": "XN-1000", "c2": "00-13"}],
        "f12": [{"c1": "P"}],
        "f13": [{"c1": "1394-97"}],
        "f14": [{"c1": "20261120081200"}],
        "C": [{"f2": [{"c1": "1"}], "f3": [{"c1": "L"}], "f4": [{"c1": "shift 2"}], "f5": [{"c1": "G"}]}],
    }
    first, second = tree["P"]
    assert first["f6"] == [{"c1": "样本", "c2": "人"}]
    assert second == {"f2": [{"c1": "2"}], "f4": [{"c1": "P0002"}]}
    (order,) = first["O"]
    assert order["f5"] == [{"c4": "WBC"}, {"c4": "RBC"}]
    white, red = order["R"]
    assert (white["f4"], white["f7"]) == ([{"c1": "11.20"}], [{"c1": "H"}])
    assert white["C"][0]["f4"] == [{"c1": "a|b^c\\d&e\rf&Q&g"}]
    assert white["M"][0]["f3"] == [{"c1": "flag"}]
    assert "C" not in red
    assert tree["L"] == {"f2": [{"c1": "1"}], "f3": [{"c1": "N"}]}


def test_untouched_bytes_and_a_tree_written_anew() -> None:
    raw = RESULTS.encode().replace(b"\r", b"\r\n").replace(b"M\r", b"M|||\r")
    tree = CODEC.decode(raw)
    assert CODEC.encode(tree) == raw
    again = CODEC.encode(copy(tree))
    assert CODEC.decode(again) == tree
    assert again == RESULTS.replace("&Q&", "&E&Q&E&").encode()


@pytest.mark.parametrize(
    ("records", "kind"),
    [
        ("P|1\rO|1\rR|1\r", "astm.result"),
        ("Q|1|^S1||ALL\r", "astm.query"),
        ("P|1\rO|1\r", "astm.order"),
        ("P|1\r", "astm.message"),
        ("R|1\r", "astm.result"),
        ("", "astm.message"),
    ],
)
def test_type_and_number(records: str, kind: str) -> None:
    tree = CODEC.decode(f"H|\\^&|77\r{records}L|1\r".encode())
    assert CODEC.envelope(tree) == (kind, "77")
    assert CODEC.envelope(CODEC.decode(f"H|\\^&\r{records}L|1\r".encode())) == (kind, "")


def test_other_delimiters() -> None:
    raw = b"H!~*?!N7\rP!1!!a*b~c!?F?\rL!1\r"
    tree = CODEC.decode(raw)
    assert tree["P"][0]["f4"] == [{"c1": "a", "c2": "b"}, {"c1": "c"}]
    assert tree["P"][0]["f5"] == [{"c1": "!"}]
    assert CODEC.encode(copy(tree)) == raw


def test_a_tree_of_a_mapping() -> None:
    tree = {
        "H": {"f5": "LIS", "f12": "P"},
        "P": [{"f3": "P1", "O": [{"f3": "S|1", "f5": [{"c4": "WBC"}, {"c4": "RBC"}], "f6": None}]}, {"f3": 7}],
        "Q": {"f3": {"c2": "S1"}},
        "L": {"f3": "F"},
    }
    assert CODEC.encode(tree) == (b"H|\\^&|||LIS|||||||P\rP|1|P1\rO|1|S&F&1||^^^WBC\\^^^RBC\rP|2|7\rQ|1|^S1\rL|1|F\r")
    assert CODEC.encode({}) == b"H|\\^&\rL|1|N\r"


def test_character_sets() -> None:
    text = "H|\\^&\rP|1||||丂乗^乛\rL|1\r"  # their second bytes in GBK look like delimiters
    assert CODEC.decode(text.encode("gb18030"), encoding="gb18030")["P"][0]["f6"] == [{"c1": "丂乗", "c2": "乛"}]
    assert CODEC.decode(text.encode("gb18030"))["P"][0]["f6"] == [{"c1": "丂乗", "c2": "乛"}]
    assert CODEC.encode(copy(CODEC.decode(text.encode())), encoding="gb18030") == text.encode("gb18030")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "astm.header"),
        (b"P|1\r", "astm.header"),
        (b"H|\\^\r", "astm.header"),
        (b"H|\\\\&\r", "astm.delimiters"),
        (b"HABCD|\r", "astm.delimiters"),
        (b"H|\\^&\rp|1\r", "astm.record"),
        (b"H|\\^&\rPID|1\r", "astm.record"),
        (b"H|\\^&\rH|\\^&\r", "astm.record"),
        (b"H|\\^&\rL|1\rL|1\r", "astm.record"),
        (b"H|\\^&\rL|1\rP|1\r", "astm.record"),
        (b"H|\\^&\rP" + b"|" * 2000, "astm.size"),
        (b"H|\\^&\rP|" + b"^" * 2000, "astm.size"),
        (b"H|\\^&\rP|" + b"\\" * 2000, "astm.size"),
        (b"H|\\^&\r" + b"P\r" * 100_001, "astm.size"),
        (b"H|\\^&\r" + (b"P" + b"|" * 900 + b"\r") * 2300, "astm.size"),
    ],
)
def test_what_is_no_message(raw: bytes, code: str) -> None:
    with pytest.raises(CodecError) as caught:
        CODEC.decode(raw)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("tree", "code"),
    [
        ([], "astm.tree"),
        ({"P": ["x"]}, "astm.tree"),
        ({"P": [{"name": "x"}]}, "astm.tree"),
        ({"P": [{"f3": {"4": "x"}}]}, "astm.tree"),
        ({"P": [{"L": [{}]}]}, "astm.tree"),
        ({"P": [{"f3": {"c1": ["x"]}}]}, "astm.value"),
        ({"P": [{"f1001": "x"}]}, "astm.size"),
        ({"P": [{"f3": {"c1001": "x"}}]}, "astm.size"),
        ({"P": [{}] * 100_001}, "astm.size"),
        ({"delimiters": "||||"}, "astm.delimiters"),
        ({"L": 3}, "astm.tree"),
        ({"P": [{"f3": "\ud800"}]}, "astm.charset"),
    ],
)
def test_what_can_not_be_written(tree: Any, code: str) -> None:
    with pytest.raises(CodecError) as caught:
        CODEC.encode(tree)
    assert caught.value.code == code


VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
FIELDS = st.dictionaries(
    st.integers(3, 12).map("f{}".format),
    st.lists(st.dictionaries(st.integers(1, 4).map("c{}".format), VALUES, min_size=1), min_size=1, max_size=3),
    max_size=4,
)


def numbered(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"f2": [{"c1": str(number)}], **record} for number, record in enumerate(records, 1)]


@settings(max_examples=80, deadline=None)
@given(FIELDS, st.lists(st.tuples(FIELDS, st.lists(FIELDS, max_size=2)), max_size=3), FIELDS)
def test_every_value_survives(header: Any, patients: Any, last: Any) -> None:
    tree: dict[str, Any] = {"delimiters": "|\\^&", "H": header, "L": {"f2": [{"c1": "1"}], **last}}
    people = [{**fields, **({"O": numbered(orders)} if orders else {})} for fields, orders in patients]
    if people:
        tree["P"] = numbered(people)
    assert CODEC.decode(CODEC.encode(tree)) == tree


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60), st.text("HPORLCQ|\\^&\r1a", max_size=40).map(lambda text: b"H|\\^&\r" + text.encode())
    )
)
def test_any_bytes_are_read_back_or_refused(raw: bytes) -> None:
    try:
        tree = CODEC.decode(raw)
    except CodecError:
        return
    assert CODEC.encode(tree) == raw
    again = CODEC.encode(copy(tree))  # numbers and the last record may have been missing
    assert CODEC.encode(copy(CODEC.decode(again))) == again
    CODEC.envelope(tree)


def test_it_is_registered() -> None:
    assert "astm" in [codec.name for codec in builtin_codecs()]
