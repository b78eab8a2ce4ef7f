"""A walk tells exactly what a run writes: for every shipped mapping, every kind of rule, and any tree."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.codecs.hl7v2 import Hl7Message
from hub.errors import MappingError
from hub.mapping.formats import kind_of_tree
from hub.mapping_tools import Workbench
from hub.mapping_tools.cases import load_tests
from hub.mapping_tools.coverage import coverage
from hub.mapping_tools.explain import explain
from hub.mapping_tools.testing import input_of
from hub.mapping_tools.walk import Walk
from hub.mapping_tools.walk_hl7 import Spot, parse_spot
from hub.mapping_tools.workbench import Circumstances, Input
from tests.mapping_tools.conftest import Bench, complete

ADT = (
    "MSH|^~\\&|HIS|A|HUB|B|20260115093015||ADT^A01|M1|P|2.5.1\r"
    "PID|1||8^^^N^MR~9^^^^IDCARD||张^三~Z^S|||F\r"
    "OBR|1|O1\rOBX|1|NM|K||6.8\rNTE|1|L|a\rNTE|2|L|b\rOBX|2|ST|C\rOBR|2|O2\rOBX|1|NM|NA||140\r"
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value with nothing below it; empty objects and lists are values too."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from leaves(below, (*path, key))
    elif isinstance(value, list) and value:
        for number, below in enumerate(value):
            yield from leaves(below, (*path, number))
    else:
        yield path, value


def told(walk: Walk) -> dict[tuple[Any, ...], Any]:
    found: dict[tuple[Any, ...], Any] = {}
    for made in walk.made:
        if made.state == "written":
            found |= {(made.output, *path): value for path, value in leaves(made.value, made.spot)}
    # An empty list of an include, which a later rule has filled.
    filled = {path[:depth] for path in found for depth in range(1, len(path))}
    return {path: value for path, value in found.items() if value not in ([], {}) or path not in filled}


def agree(bench: Workbench, name: str, one: Input) -> None:
    """The walk and the run of a mapping to JSON."""
    walk = bench.walk(bench.document(name), one)
    try:
        outputs = bench.library.get(name).run(one.tree, one.context)
    except MappingError as error:
        failed = {(made.error.line, made.error.target) for made in walk.made if made.error is not None}
        if (error.line, error.target) not in failed:
            raise
        return
    assert walk.outputs == len(outputs)
    made = told(walk)
    run = {(n, *path): value for n, out in enumerate(outputs) for path, value in leaves(out)}
    # A target in which everything is absent is an empty object that no rule has written.
    assert made == {key: value for key, value in run.items() if key in made or len(key) > 1 or value not in ({}, [])}
    assert not any(made.state == "failed" for made in walk.made)


def test_shipped_mappings(shipped: Workbench) -> None:
    looked_at = 0
    for name in complete(shipped):
        path = shipped.tests_of(name)
        assert path is not None, name
        mapping = shipped.library.get(name)
        if mapping.parts or kind_of_tree(mapping.target_codec) != "json":
            continue
        tests = load_tests(path)
        for case in tests.cases:
            one = input_of(shipped, mapping, tests, case)
            if case.error is None:
                agree(shipped, name, one)
                looked_at += 1
    assert looked_at > 20


MAPPINGS = {
    "plain": """
fields:
  a: x
  b: {const: {c: [1]}}
  d: {expr: y, default: 0}
  e: {expr: z, keep_null: true}
  f.g: x
  f.h[0]: y
  f.h[1]: z
  $: x
  "['odd.key']": y
  a-b: z
""",
    "lists": """
fields:
  a: [x, y, {b: z}]
  b: {each: many, expr: .}
  c: {each: many, const: 1}
  d: [{each: many, a: .x}, x]
""",
    "loops": """
fields:
  a:
    each: many
    where: .x
    when: .y != 'n'
    no: $number
    x: .x
    root: x
    in: {each: .many, v: .x, up: ..x, n: $number}
""",
    "conditions": """
fields:
  a: {when: x, b: y, c: {when: y == z, d: {const: 1}}}
  e: {expr: z, when: x}
  f: {when: z, const: null}
""",
    "filters": """
fields:
  a: many[x == 'x'].y
  b: many[*].x
  c: many[x == $.x].y | join(',')
  d: many[x].many
  e: many[-1].x
  f: many[*].many[x].y | list
  g: {each: "many[y != 'n']", x: .x}
""",
    "variables": """
vars: {v: x, all: many, w: "many[*].x", n: $v | default('n')}
fields:
  a: $v
  b: $w
  c: {each: many, d: $n, e: .x | default($v)}
  e: $message.type
  f: $caller
  g: $w | list
  h: {each: "$all[x == 'x']", v: .y, n: $number}
  i: "$all[x == $v].y"
  j: "$all[y != 'n'].many | list"
""",
    "whole": "fields: {each: many, a: .x, b: .y}",
    "value": "fields: x",
    "split": """
split: many
when: .x
vars: {v: .y}
fields: {a: .x, b: $v, c: x, d: {each: .many, expr: .x}}
""",
    "include": """
fields:
  a: {include: part, from: many}
  b: {include: part, from: "many[x]", more: x}
  c: {each: many, include: part}
  d: {include: single}
  e: {each: many, include: part, also: $number}
  f: {include: more, kept.two: y, own: {const: 1}}
  g: {include: more, without: [own, "deep", also.b]}
""",
}
FRAGMENTS = {
    "part": """
vars: {v: .x}
fields: {when: .y, own: $v, y: .y, root: y, deep: {each: .many, x: .x}}
""",
    "single": "fields: y",
    "more": "fields: {include: part, also: {a: x, b: y}, kept: {one: x}}",
}
VALUE = st.sampled_from(["x", "n", "", None, 0, 1, True, 1.5, [], {}, "张"])
LEAF = st.dictionaries(st.sampled_from("xyz"), VALUE)
INNER = st.lists(st.one_of(LEAF, VALUE), max_size=3)
ITEM = st.one_of(VALUE, LEAF, st.builds(lambda own, many: {**own, "many": many}, LEAF, INNER))
TREE = st.builds(lambda own, many: {**own, "many": many}, LEAF, st.one_of(st.lists(ITEM, max_size=4), ITEM))


@pytest.fixture(scope="module")
def kinds() -> Iterator[Workbench]:
    with tempfile.TemporaryDirectory() as root:
        folder = Bench(Path(root))
        for name, body in MAPPINGS.items():
            folder.mapping(body, name)
        for name, body in FRAGMENTS.items():
            folder.mapping("fragment: true\n" + body, name)
        yield folder.open()


@pytest.mark.parametrize("name", MAPPINGS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREE)
def test_any_tree(kinds: Workbench, name: str, tree: Any) -> None:
    around = Circumstances(type="t", variables={"caller": 1})
    one = kinds.input(kinds.library.get(name), json.dumps(tree).encode(), around)
    agree(kinds, name, one)


HL7_SOURCES = {
    "scalars": """
fields:
  a: PID-3.1
  b: PID-3[2].1
  c: OBX[2]-3
  d: MSH-1
  e: MSH-2
  f: PID
  g: ZZZ
  h: PID-3[.5=='IDCARD'].1
  i: PID-99
  j: OBX[.2=='ST']-3
  k: PID-3[7].1
""",
    "loops": """
fields:
  ids: {each: PID-3, itself: {each: ., v: .1}, where: .1, v: .1, k: .5, n: .4.1, name: PID-5.1}
  orders:
    each: OBR
    no: $number
    id: .2
    results: {each: .OBX, code: .3, of: ..2, notes: {each: .NTE, expr: .3}}
    first: .OBX-3
    note: .OBX[.2=='ST']-3
    second: .OBX[2]-3
    itself: {each: ., id: .2}
    early: {each: ".NTE[until OBX]", expr: .3}
    late: .NTE[until OBR]-3 | join(',')
    before: .PID[before]-5.1
    whole: {include: id, from: ".PID[before]"}
  all: OBX[*]-3 | list
  reps: PID-5 | join('/')
  filtered: {each: "OBX[.2=='NM']-5", expr: .}
  indexed: {each: "OBX[2]", expr: .3}
""",
    "split": """
split: OBR
when: .OBX
fields: {id: .2, codes: {each: .OBX, expr: .3.1}, patient: PID-5.1}
""",
    "include": """
fields:
  a: {include: id, from: PID-3}
  b: {include: id, from: "PID-3[.5=='IDCARD']"}
  c: {include: id, from: PID-99}
""",
}


@pytest.mark.parametrize("name", HL7_SOURCES)
def test_hl7_sources(folder: Bench, name: str) -> None:
    folder.mapping(HL7_SOURCES[name], name, source="hl7v2")
    folder.mapping("fragment: true\nfields: {v: .1, k: .5, p: PID-5.1}", "id", source="hl7v2")
    bench, one = folder.given(ADT, name)
    agree(bench, name, one)


NEW_MESSAGE = """
fields:
  MSH-9.1: {const: ORU}
  PID-3: {each: ids, where: .v, ".1": .v, ".5.1": .k}
  PID-5: [name, other]
  PID: {".7": birth, PID-8: sex, ".13[2].1": phone}
  OBR:
    each: orders
    ".1": $number
    ".4.2": .code
    OBX: {each: .results, ".1": $number, ".5": .v}
  NTE: [{".3": name}, {each: ids, when: .k, ".3": .k}]
  DG1: {each: ids, distinct: "exists(.v)", ".3": .v, DG1: {".4": .k}}
  AL1-3: [{each: ids, distinct: "'a'", expr: .v}, {each: ids, distinct: "'a'", expr: .k}]
"""
ORDERS = {
    "ids": [{"v": "1", "k": "MR"}, {"k": "x"}, {"v": "3"}],
    "name": "张", "sex": "F", "phone": "1",
    "orders": [{"code": "a", "results": [{"v": 1}, {"v": "b|c"}]}, {"code": "d"}, {"results": [{"v": 2}]}],
}  # fmt: skip


def written(walk: Walk) -> dict[Spot, Any]:
    return {made.spot: made.value for made in walk.made if made.state == "written"}


def test_a_new_hl7_message(folder: Bench) -> None:
    folder.mapping(NEW_MESSAGE, target="hl7v2")
    bench, one = folder.given(json.dumps(ORDERS))
    (message,) = bench.library.get("m").run(one.tree, one.context)
    assert isinstance(message, Hl7Message)
    walk = bench.walk(bench.document("m"), one)
    found = written(walk)
    for spot, value in found.items():
        assert message.get(str(spot)) == str(value), spot
    # And nothing else is in the message.
    fields = [
        (s.name, field)
        for s in message.segments
        for n, field in enumerate(s.fields)
        if n > (2 if s.name == "MSH" else 0)
    ]
    values = [part for _, field in fields for repetition in field.split("~") for part in repetition.split("^") if part]
    assert len(values) == len(found)


def test_a_copy_of_the_source_with_changes(folder: Bench) -> None:
    folder.write(
        "m.yaml",
        "from: {codec: hl7v2}\nto: {codec: hl7v2, base: source, remove: [NTE]}\nfields:\n  PID-8: {const: M}\n  'OBX[2]-5': PID-5.1\n"
        '  PID-2: PID-3\n  NTE: {each: OBR, ".3": .2}\n  OBR: {each: PID-3, ".2": .1}\n',
    )
    bench, one = folder.given(ADT)
    (message,) = bench.library.get("m").run(one.tree, one.context)
    for spot, value in written(bench.walk(bench.document("m"), one)).items():
        if str(spot) != "PID-2":
            assert message.get(str(spot)) == value, spot
    assert message.get("PID-2[2].1") == "9"
    assert [str(spot) for spot in written(bench.walk(bench.document("m"), one))] == [
        "PID-8", "OBX[2]-5", "PID-2", "NTE-3", "NTE[2]-3", "OBR[3]-2", "OBR[4]-2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "covers"),
    [
        ("PID-5", "PID-5.1", True),
        ("PID-5", "PID-5[2].1", True),
        ("PID-5.1", "PID-5", False),
        ("PID", "PID-5.1", True),
        ("PID-5[1].1", "PID-5.1", True),
        ("PID-5[2].1", "PID-5.1", False),
        ("OBX[2]-5", "OBX[2]-5.1.1", True),
        ("OBX-5", "OBX[2]-5", False),
        ("PID-3.4", "PID-3.4.2", True),
    ],
)
def test_what_covers_what(one: str, other: str, covers: bool) -> None:
    assert parse_spot(one).covers(parse_spot(other)) is covers


def test_without_an_input_every_rule_is_met_once(folder: Bench) -> None:
    folder.mapping("fields:\n  a: {each: l, b: .x, c: {each: .l, d: .y}}\n  e: [x, y]\n  f.g[0].h: x\n")
    bench = folder.open()
    walk = bench.walk(bench.document("m"), None)
    assert [made.pattern for made in walk.made] == ["a[].b", "a[].c[].d", "e[0]", "e[1]", "f.g[0].h"]
    assert {made.state for made in walk.made} == {"rule"}


def test_rules_that_do_not_run_are_met_with_the_reason(folder: Bench) -> None:
    folder.mapping("fields: {a: {when: x, b: y}, c: {each: l, where: .x, d: .y}, e: {each: none, f: .y}, g: x | int}")
    bench, one = folder.given('{"l": [{"y": 1}, {"x": 1, "y": 2}], "y": 3, "x": ""}')
    walk = bench.walk(bench.document("m"), one)
    states = [(made.target, made.state, made.conditions[-1].text.text if made.conditions else "") for made in walk.made]
    assert states == [
        ("a.b", "skipped", "x"),
        ("c[0].d", "skipped", ".x"),
        ("c[0].d", "written", ".x"),
        ("e[0].f", "skipped", "none"),
        ("g", "absent", ""),
    ]


def test_what_does_not_run_can_not_fail(folder: Bench) -> None:
    """A filter over values it can't compare, in a rule that is kept from running."""
    folder.mapping("fields:\n  c: {when: y, d: {each: 'many[x > 1]', e: .x, f: 'many[x > 1].x'}}\n  g: x\n")
    bench, one = folder.given('{"many": [{"x": "text"}, {"x": 2}], "x": 1}')
    agree(bench, "m", one)
    assert coverage(bench, "m", [one]).failed == {}
    assert {f.state for f in explain(bench, "m", one, "c").fields} == {"skipped"}


def test_a_loop_that_fails_says_where(folder: Bench) -> None:
    folder.mapping("fields:\n  c: x\n  a: {each: 'many[x > 1]', b: .x}\n")
    bench, one = folder.given('{"many": [{"x": "text"}]}')
    with pytest.raises(MappingError) as caught:
        bench.walk(bench.document("m"), one)
    assert (caught.value.line, caught.value.target, caught.value.source) == (5, "a.each", "many[x > 1]")
