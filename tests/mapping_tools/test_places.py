"""Places of values: the same values the compiled expressions give, at the bytes and keys where they stand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.hl7v2 import Hl7Codec
from hub.errors import HubError
from hub.mapping import Context, compile_expression, formats
from hub.mapping.compiler import parse
from hub.mapping.functions import BUILTIN
from hub.mapping.nodes import Node, PathNode
from hub.mapping.paths_hl7 import Hl7Format
from hub.mapping_tools.page import page
from hub.mapping_tools.places import places_of
from hub.mapping_tools.places_hl7 import Hl7Places
from hub.mapping_tools.scope import Evaluator, Expressions, Frame
from hub.mapping_tools.steps import at
from hub.mapping_tools.workbench import Input
from tests.mapping_tools.conftest import ADT, Bench


def found(codec: str, tree: Any, path: str, *, every: bool = False) -> list[tuple[Any, str, Any]]:
    """(place, path, value)"""
    evaluator = Evaluator(Expressions(codec, BUILTIN, lambda name: None), tree, Context())
    places = places_of(codec, tree)

    def holds(condition: Node, frame: Frame) -> bool:
        return bool(evaluator.value(condition, frame)[0])

    node = parse(path, codec)
    assert isinstance(node, PathNode)
    return [(one.place, one.path, one.value) for one in places.found(node, places.root(), holds, every=every)]


HL7_PATHS = (
    "PID-3", "PID-3.1", "PID-3[2].1", "PID-3[9].1", "PID-3.4.2", "PID-5.1", "PID-5", "PID-8.1", "PID-8.2", "PID-13", "PID-13[2]", "MSH-1",
    "MSH-2", "MSH-3", "MSH-9.2", "MSH-4.1.2", "OBX-3.1", "OBX[2]-3", "OBX[*]-5", "OBX[.2=='NM']-3.1", "OBX[.3.1=='NA']-5", "OBX[.2=='ZZ']-5",
    "PID-3[.5=='IDCARD'].1", "PID-3[.5 and .1 != '8'].1", "OBX[2]", "PID", "ZZZ", "ZZZ-3", "NTE-3", "PID-3[*].1", "OBX[$.x==1]-1",
    "OBX[until NTE]-3.1", "NTE[until OBX]-3", "OBX[until OBR, NTE]",
)  # fmt: skip
PARTS = st.text(alphabet="ab^~&\\|张", max_size=8)
SEGMENTS = st.lists(st.tuples(st.sampled_from(["PID", "OBX", "NTE"]), st.lists(PARTS, max_size=14)), max_size=5)


@pytest.mark.parametrize("path", [path for path in HL7_PATHS if "$" not in path])
def test_hl7_paths_give_what_expressions_give(path: str) -> None:
    tree = Hl7Codec().decode(ADT.encode())
    agree(tree, path)


@settings(max_examples=100, deadline=None)
@given(segments=SEGMENTS, path=st.sampled_from([path for path in HL7_PATHS if "$" not in path]))
def test_hl7_paths_in_any_message(segments: list[tuple[str, list[str]]], path: str) -> None:
    lines = ["MSH|^~\\&|a", *("|".join([name, *fields]) for name, fields in segments)]
    agree(Hl7Codec().decode("\r".join(lines).encode()), path)


def agree(tree: Any, path: str) -> None:
    expected = compile_expression(path, "hl7v2")(tree, Context())
    assert [value for _, _, value in found("hl7v2", tree, path)] == ([expected] if expected else [])
    every = compile_expression(f"{path} | list", "hl7v2")(tree, Context())
    assert [value for _, _, value in found("hl7v2", tree, path, every=True)] == every


JSON_PATHS = (
    "x", "x.y", "many[0]", "many[-1].x", "many.x", "many[*].x", "many[*].many[*].y", "many[x].y", "many[x=='x'].many", "many[x==$.x].y", "$.x",
    "many['odd key']", "x[0]", "x[1]", "many", "many[*]",
)  # fmt: skip
SCALAR = st.sampled_from(["x", "", None, 0, True, [], {}])
OBJECT = st.dictionaries(st.sampled_from(["x", "y", "odd key"]), SCALAR)
DEEP = st.recursive(
    st.one_of(SCALAR, OBJECT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["x", "y", "many"]), inner)),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(tree=DEEP, path=st.sampled_from(JSON_PATHS))
def test_json_paths_in_any_tree(tree: Any, path: str) -> None:
    expected = compile_expression(path, "json")(tree, Context())
    one = found("json", tree, path)
    assert [value for _, _, value in one] == ([] if expected is None else [expected])
    every = found("json", tree, path, every=True)
    assert [value for _, _, value in every] == compile_expression(f"{path} | list", "json")(tree, Context())
    for place, _, value in [*one, *every]:
        assert at(tree, place) is value


def test_where_values_stand() -> None:
    tree = Hl7Codec().decode(ADT.encode())
    assert found("hl7v2", tree, "PID-3[2].1") == [((2, 3, 2, 1), "PID-3[2].1", "11010519491231002X")]
    assert found("hl7v2", tree, "OBX[.3.1=='NA']-5") == [((8, 5, 1), "OBX[3]-5", "140")]
    assert found("hl7v2", tree, "OBX[2]") == [((6, 0), "OBX[2]", "OBX")]
    assert found("json", {"a": [{"b c": 1}]}, "a['b c']") == [(("a", 0, "b c"), 'a[0]["b c"]', 1)]


# -- bytes -------------------------------------------------------------------------------------------------------------

LONG = "MSH|^~\\&|HIS|A&1^x|||||ADT^A01|1|P|2.5.1|||||CHN|{0}\r\nPID|1||8^^^N&1.2.3~张三^^^岩&土||欧阳^|||\r\n\r\nNTE|1|L|a\\T\\b^c\n"


@pytest.mark.parametrize(
    ("encoding", "name"), [("utf-8", "UNICODE UTF-8"), ("gb18030", "GB 18030-2000"), ("gbk", ""), ("ascii", "")]
)
def test_every_value_is_at_its_bytes(encoding: str, name: str) -> None:
    text = LONG.format(name)
    if encoding == "ascii":
        text = text.encode("ascii", "replace").decode()
    raw = text.encode(encoding)
    tree = Hl7Codec().decode(raw)
    places = Hl7Places(tree)
    looked_at = 0
    for occurring in places.occurring():
        span = places.span(occurring.shortest)
        assert span is not None
        written = raw[span[0] : span[1]].decode(encoding)
        assert tree.unescape(written) == occurring.value
        looked_at += 1
    assert looked_at > 15


def test_whole_fields_segments_and_delimiters_have_bytes_too() -> None:
    raw = ADT.encode()
    places = Hl7Places(Hl7Codec().decode(raw))

    def at_bytes(*place: int) -> bytes:
        span = places.span(place)
        assert span is not None
        return raw[span[0] : span[1]]

    assert at_bytes(2, 0) == b"PID"
    assert at_bytes(2, 3) == b"8^^^N&1.2.3&ISO^MR~11010519491231002X^^^^IDCARD"
    assert at_bytes(0, 1, 1) == b"|"
    assert at_bytes(0, 2, 1) == b"^~\\&"
    assert at_bytes(0, 9, 1, 2) == b"A01"


@pytest.mark.parametrize("start", [b"\x0b", b"\r\n \x0b", b"\xef\xbb\xbf"])
def test_what_stands_before_a_message_is_counted(start: bytes) -> None:
    raw = start + ADT.encode() + b"\x1c\r"
    places = Hl7Places(Hl7Codec().decode(raw))
    spans = [(one.value, places.span(one.shortest)) for one in places.occurring()]
    for value, span in spans[:8]:
        assert span is not None
        assert raw[span[0] : span[1]].decode() == value


def test_where_bytes_and_characters_do_not_correspond_nothing_is_claimed() -> None:
    wide = Hl7Codec().decode("MSH|^~\\&|a|b\rPID|1||x".encode("utf-16"))
    broken = Hl7Codec().decode("MSH|^~\\&|a|b\rPID|1||张三李四王五".encode() + b"\xff|x")
    for tree in (wide, broken):
        places = Hl7Places(tree)
        assert {places.span(one.shortest) for one in places.occurring() if one.path.startswith("PID")} == {None}


def test_occurring_values() -> None:
    tree = Hl7Codec().decode(b"MSH|^~\\&|a|b&c^d\rPID||x~y^z||")
    told = [(one.place, one.shortest, one.path, one.group, one.value) for one in Hl7Places(tree).occurring()]
    assert told == [
        ((0, 3, 1, 1, 1), (0, 3, 1), "MSH-3", "MSH", "a"),
        ((0, 4, 1, 1, 1), (0, 4, 1, 1, 1), "MSH-4.1.1", "MSH", "b"),
        ((0, 4, 1, 1, 2), (0, 4, 1, 1, 2), "MSH-4.1.2", "MSH", "c"),
        ((0, 4, 1, 2, 1), (0, 4, 1, 2), "MSH-4.2", "MSH", "d"),
        ((1, 2, 1, 1, 1), (1, 2, 1), "PID-2", "PID", "x"),
        ((1, 2, 2, 1, 1), (1, 2, 2, 1), "PID-2.1", "PID", "y"),
        ((1, 2, 2, 2, 1), (1, 2, 2, 2), "PID-2.2", "PID", "z"),
    ]
    told_json = [
        (one.place, one.path, one.group, one.value)
        for one in places_of("json", json.loads('{"a":[{"b":1},null,"x"],"c":""}')).occurring()
    ]
    assert told_json == [(("a", 0, "b"), "a[].b", "a", 1), (("a", 2), "a[]", "a", "x"), (("c",), "c", "", "")]


@pytest.fixture
def other_format(monkeypatch: pytest.MonkeyPatch) -> str:
    """A codec with paths of its own, whose places nobody knows."""
    monkeypatch.setitem(formats._FORMATS, "other", OtherFormat())
    return "other"


class OtherFormat(Hl7Format):
    name = "other"


def test_a_format_whose_places_are_not_known_says_so(other_format: str) -> None:
    with pytest.raises(HubError, match="other"):
        places_of(other_format, None)


def test_and_has_a_page_all_the_same(other_format: str, folder: Bench) -> None:
    folder.mapping("fields: {a: PID-3.1, b: {each: OBX, c: .5}}", source=other_format)
    bench = folder.open()
    html = page(bench, "m")
    assert "<td><code>b[].c</code></td><td><code>.5</code></td>" in html
    with pytest.raises(HubError, match="can't be traced"):
        bench.walk(bench.document("m"), Input("x", None, Context()))
