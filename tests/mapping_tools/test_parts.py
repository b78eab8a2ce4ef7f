"""The small parts: paths, pretty printing, rows of tables, what the library gives to tools."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import HubError, MappingError
from hub.mapping.compiler import parse
from hub.mapping.functions import BUILTIN
from hub.mapping.nodes import CallNode, PathNode, StepNode, VariableNode
from hub.mapping_tools.pretty import pretty
from hub.mapping_tools.shown import shown, text_of
from hub.mapping_tools.steps import MISSING, at, parse_steps, steps_text
from hub.mapping_tools.table_rows import rows_of
from hub.mapping_tools.uses import uses
from hub.mapping_tools.workbench import instant
from tests.mapping_tools.conftest import Bench, complete


@pytest.mark.parametrize(
    ("path", "steps", "text"),
    [
        ("$", (), "$"),
        ("", (), "$"),
        ("a", ("a",), "a"),
        ("a.b[0].c", ("a", "b", 0, "c"), "a.b[0].c"),
        ("$.a", ("a",), "a"),
        ("$[0].a", (0, "a"), "[0].a"),
        ("[1].a", (1, "a"), "[1].a"),
        ("a[].b", ("a", None, "b"), "a[].b"),
        ("a[*]", ("a", None), "a[]"),
        ("a['odd key'].b", ("a", "odd key", "b"), 'a["odd key"].b'),
        ('a["odd.key"]', ("a", "odd.key"), 'a["odd.key"]'),
        ("a[-1]", ("a", -1), "a[-1]"),
        ("患者.姓名", ("患者", "姓名"), "患者.姓名"),
        ("a['it\\'s']", ("a", "it's"), 'a["it\'s"]'),
    ],
)
def test_paths(path: str, steps: tuple[Any, ...], text: str) -> None:
    assert parse_steps(path) == steps
    assert steps_text(steps) == text
    assert parse_steps(text) == steps


@pytest.mark.parametrize("path", ["a.", "a..b", "a[", "a[x]", "a]b", "a b", "[0]a", "a['b"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(HubError, match="not a path"):
        parse_steps(path)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.text(), st.integers(-9, 999999), st.none()), max_size=5).filter(lambda s: not s or s[0] != "")
)
def test_steps_survive_as_text(steps: list[Any]) -> None:
    assert parse_steps(steps_text(steps)) == tuple(steps)


def test_values_at_a_path() -> None:
    tree = {"a": [{"b": None}, 5]}
    assert at(tree, ()) is tree
    assert at(tree, ("a", 0, "b")) is None
    assert at(tree, ("a", -1)) == 5
    for steps in (("x",), ("a", 2), ("a", "b"), ("a", 1, 0), ("a", None), (0,)):
        assert at(tree, steps) is MISSING


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_pretty_is_the_usual_indentation(tree: Any) -> None:
    compact = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    assert pretty(compact.encode(), "json").decode() == json.dumps(tree, ensure_ascii=False, indent=2)


def test_pretty_keeps_digits_and_other_formats() -> None:
    assert pretty(b'{"a":12.500,"b":1e400}', "json") == b'{\n  "a": 12.500,\n  "b": 1e400\n}'
    assert pretty(b"MSH|^~\\&\rPID|1\r", "hl7v2") == b"MSH|^~\\&\nPID|1\n"
    assert pretty(b"<a>\r</a>", "xml") == b"<a>\r</a>"


def test_pretty_lays_out_json_whatever_codec_wrote_it() -> None:
    assert pretty(b'{"resourceType":"Patient","id":"1"}', "fhir") == b'{\n  "resourceType": "Patient",\n  "id": "1"\n}'
    assert pretty(b'{"a":[]}\n{"b":1}\n', "jsonl") == b'{\n  "a": []\n}\n{\n  "b": 1\n}'
    for output, codec in (
        (b"a,b\r\n1,2\r\n", "csv"),
        (b"[a\n", "text"),
        (b"\xff\xfe{\0}\0", "json"),
        (b'{"\xff"}', "fhir"),
    ):
        assert pretty(output, codec) == output


def test_values_shown() -> None:
    assert (shown("张三丰", clear=False), shown("张三丰", clear=True)) == ("张*丰", "张三丰")
    assert shown(Decimal("12.50"), clear=True) == "12.50"
    assert [shown(value, clear=False) for value in (None, True, [1, 2], {"a": 1}, MISSING)] == [
        "null", "true", "list of 2", "object of 1", "nothing",
    ]  # fmt: skip
    assert shown("x" * 500, clear=True).endswith("… (500)")
    assert text_of({"a": [Decimal("1.0"), "张"]}) == '{"a":[1.0,"张"]}'


def test_rows_of_a_table(folder: Bench) -> None:
    folder.write("tables/t.csv", '# version: 1\n# source: GB/T\nfrom,to,note\na,1,"x, y"\n\n"b\nc",2,\n')
    table = folder.open().library.table("t")
    assert table is not None
    rows = rows_of(table)
    assert rows.columns == ("from", "to", "note")
    assert [(row.line, row.cells) for row in rows.rows] == [(4, ("a", "1", "x, y")), (7, ("b\nc", "2", ""))]
    (folder.root / "tables/t.csv").unlink()
    assert rows_of(table).rows == ()


def test_a_file_that_only_defines_functions_has_no_tests_of_its_own(folder: Bench) -> None:
    folder.write("names.yaml", "define: {full(a): $a}\n")
    folder.mapping("use: [names]\nfields: {a: full(x)}")
    assert complete(folder.open()) == ["m"]


def test_what_the_library_gives_to_tools(folder: Bench) -> None:
    folder.mapping("fields: {a: x | twice}")
    folder.mapping("fields: {a: x |, b: z | table('broken')}", "bad")
    folder.write("tables/broken.csv", "wrong\n")
    folder.write("m.tests.yaml", "cases: broken")
    library = folder.open({"twice": lambda value: value * 2}).library
    document = library.document("m")
    assert document is not None
    assert (document.name, library.document("n"), library.table("n")) == ("m", None, None)
    assert {"twice", "upper"} <= library.functions.keys()
    assert library.names() == ["bad", "m"]
    assert library.problems(["m"]) == []
    assert {problem.file.rsplit("/", 1)[1] for problem in library.problems(["bad"])} == {"bad.yaml", "broken.csv"}
    assert library.problems() == library.problems(["bad"])


def test_problems_of_named_mappings(folder: Bench) -> None:
    folder.write("m.yaml", "from: {codec: jsno}\nto:\n  codec: hl7\nfields: {a: x}\n")
    bench = folder.open()
    told = [(p.line, p.key, p.text, p.remedy) for p in bench.problems_of(["m"])]
    assert [(line, key) for line, key, _, _ in told] == [(1, "from.codec"), (3, "to.codec")]
    assert "json" in told[0][3]
    with pytest.raises(MappingError, match="no mapping 'n'"):
        bench.chosen(["n"])


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("a", ["a"]),
        ("a | table('t')", ["a", "table"]),
        ("a | match({'x': 'y'}, default=b)", ["a", "b", "match"]),
        ("join(a, b)", ["a", "b"]),
        ("a | join(',')", ["a*"]),
        ("join(',', a)", ["a*"]),
        ("join(' ', a, b)", ["a", "b"]),
        ("a | join(',', b)", ["a", "b"]),
        ("join(a, sep=b)", ["a*", "b"]),
        ("count(a)", ["a*"]),
        ("a if b == c else d", ["b?", "c?", "a", "d"]),
        ("exists(a) and b", ["a?", "b"]),
        ("not a or -b + [c, 1][0]", ["a?", "b", "c"]),
        ("$v.x | default($settings.y)", ["$v.x", "$settings.y"]),
        ("$v", ["$v"]),
        ("items[kind == other].value", ["items[kind == other].value"]),
        ("upper(a) | split(b) | first", ["a", "b"]),
    ],
)
def test_what_an_expression_uses(text: str, used: list[str]) -> None:
    found = []
    for use in uses(parse(text, "json"), BUILTIN):
        node = use.node
        name = node.text if isinstance(node, PathNode) else node.name if isinstance(node, CallNode) else ""
        if isinstance(node, VariableNode):
            name = f"${node.name}"
        elif isinstance(node, StepNode) and isinstance(node.base, VariableNode):
            name = f"${node.base.name}.{node.step}"
        found.append(name + ("*" if use.every else "") + ("?" if use.tested else ""))
    assert found == used


def test_times() -> None:
    assert instant("2026-01-15T09:30:00") == instant("2026-01-15T01:30:00Z") == 1_768_440_600_000_000
    assert instant("2026-01-15") == 1_768_406_400_000_000
    with pytest.raises(HubError, match="is not a time"):
        instant("soon")
