"""Explanations: where a field comes from, or why it is not there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.errors import HubError
from hub.mapping_tools.explain import explain
from hub.mapping_tools.explanation import Explanation, Field, Part
from tests.mapping_tools.conftest import ADT, Bench


def ask(
    folder: Bench, raw: str | bytes, target: str, *, clear: bool = True, output: int = 1, **around: Any
) -> Explanation:
    bench, given = folder.given(raw, **around)
    return explain(bench, "m", given, target, clear=clear, output=output)


def one(folder: Bench, raw: str | bytes, target: str, **options: Any) -> Field:
    (field,) = ask(folder, raw, target, **options).fields
    return field


def reads(part: Part) -> list[tuple[str, list[tuple[str, str]]]]:
    return [(read.path, [(origin.path, origin.value) for origin in read.origins]) for read in part.reads]


def test_a_field_of_an_hl7_message(folder: Bench) -> None:
    folder.mapping("fields:\n  ids:\n    each: PID-3\n    value: .1   # the number\n    kind: .5\n", source="hl7v2")
    field = one(folder, ADT, "ids[1].value")
    assert (field.target, field.state, field.value) == ("ids[1].value", "written", "11010519491231002X")
    assert (field.rule.text, field.rule.line, field.rule.file) == (".1", 6, str(folder.root / "m.yaml"))
    ((read,),) = (field.rule.reads,)
    (origin,) = read.origins
    assert (read.path, origin.path, origin.where) == ("PID-3.1", "PID-3[2].1", "segment 3")
    assert origin.span is not None
    assert ADT.encode()[origin.span[0] : origin.span[1]] == b"11010519491231002X"


def test_values_are_masked_unless_asked_for(folder: Bench) -> None:
    folder.mapping("vars: {n: x}\nfields: {name: x, v: $n | upper}")
    raw = '{"x": "欧阳锋"}'
    masked = json.dumps(ask(folder, raw, "$", clear=False).as_dict(), ensure_ascii=False)
    assert "欧阳锋" not in masked
    assert masked.count("欧*锋") == 5
    assert json.dumps(ask(folder, raw, "$").as_dict(), ensure_ascii=False).count("欧阳锋") == 5


def test_an_object_is_explained_field_by_field(folder: Bench) -> None:
    folder.mapping("fields: {a: {b: x, c: {d: y}}, e: x}")
    assert [f.target for f in ask(folder, '{"x": 1, "y": 2}', "a").fields] == ["a.b", "a.c.d"]
    assert [f.target for f in ask(folder, '{"x": 1, "y": 2}', "$").fields] == ["a.b", "a.c.d", "e"]


def test_a_part_of_a_value(folder: Bench) -> None:
    folder.mapping("fields: {a: x, b: {const: {c: [1, 2]}}}")
    raw = '{"x": {"y": [{"z": "v"}]}}'
    field = one(folder, raw, "a.y[0].z")
    assert (field.target, field.value, reads(field.rule)) == ("a.y[0].z", "v", [("x", [("x", '{"y":[{"z":"v"}]}')])])
    assert one(folder, raw, "b.c[1]").value == "2"
    assert one(folder, raw, "b.c[1]").constant
    with pytest.raises(HubError, match=r"no rule writes a\.y"):
        ask(folder, raw, "a.y[7].z")


def test_code_tables_with_the_row_that_matched(folder: Bench) -> None:
    folder.mapping(
        "fields:\n  a: x | table('sex')\n  b: x | table('sex', unmapped='keep')\n  c: x | match({'F':'f'}, default='?')\n"
    )
    found = {f.target: f.rule.lookups[0] for f in ask(folder, '{"x": "F"}', "$", clear=False).fields}
    a = found["a"]
    assert (a.table, a.version, a.value, a.result, a.line) == ("sex", "7", "F", "2", 4)
    assert a.file == str(folder.root / "tables/sex.csv")
    assert (found["c"].table, found["c"].value, found["c"].result) == ("", "F", "f")
    # What no table lists may be anything: it is masked like every value.
    other = {f.target: f for f in ask(folder, '{"x": "欧阳锋"}', "$", clear=False).fields}
    assert (other["a"].state, other["a"].error) == ("failed", "table sex does not list the value (欧*锋)")
    assert [(k.value, k.result, k.line) for k in other["b"].rule.lookups] == [("欧*锋", "欧*锋", 0)]


def test_the_row_of_the_version_and_direction_that_was_asked(folder: Bench) -> None:
    folder.write("tables/sex@1.csv", "# version: one\nfrom,to\nF,f\n")
    folder.write("tables/sex@2.csv", "# valid_from: 1990-01-01\nfrom,to,valid_to\nF,5,1999-12-31\n")
    folder.mapping(
        "fields:\n  a: x | table('sex', version='1')\n  b: x | table('sex', default='?')\n"
        "  c: y | table('sex', version='1', reverse=true)\n"
    )
    found = {f.target: f.rule.lookups[0] for f in ask(folder, '{"x": "F", "y": "f"}', "$").fields}
    assert [(k.table, k.version, k.line, k.result) for k in found.values()] == [
        ("sex@1", "one", 3, "f"),
        ("sex@2", "", 0, "?"),
        ("sex@1", "one", 3, "F"),
    ]


def test_tables_one_after_the_other(folder: Bench) -> None:
    folder.write("tables/name.csv", "from,to\n2,female\n")
    folder.mapping("fields: {a: x | table('sex') | table('name')}")
    lookups = one(folder, '{"x": "F"}', "a").rule.lookups
    assert [(k.table, k.value, k.result) for k in lookups] == [("sex", "F", "2"), ("name", "2", "female")]


def test_only_the_way_that_was_taken(folder: Bench) -> None:
    folder.mapping(
        "fields:\n  a: \"y if x == 'y' else z\"\n  b: y | default(z)\n  c: y or z\n  d: \"y and z and 'both'\"\n  e: n | default(z)\n  "
    )
    found = {f.target: f for f in ask(folder, '{"x": "y", "y": 1, "z": 2}', "$").fields}
    assert {name: [path for path, _ in reads(f.rule)] for name, f in found.items()} == {
        "a": ["x", "y"],
        "b": ["y"],
        "c": ["y"],
        "d": ["y", "z"],
        "e": ["n", "z"],
    }
    assert [read.decides for read in found["a"].rule.reads] == [True, False]
    folder.mapping("fields: {f: n and z}")
    assert reads(one(folder, '{"z": 2}', "f").rule) == [("n", [])]


def test_variables_are_followed(folder: Bench) -> None:
    folder.mapping(
        "vars:\n  first: x\n  second: $first | upper\nfields: {a: $second | lower, b: $settings.k, c: $number_of, d: $now}"
    )
    field = one(folder, '{"x": "v"}', "a", settings={"k": "secret"})
    assert [(p.keyword, p.text, p.line, p.value) for p in field.variables] == [
        ("$first", "x", 4, "v"),
        ("$second", "$first | upper", 5, "V"),
    ]
    assert reads(field.variables[0]) == [("x", [("x", "v")])]
    assert one(folder, '{"x": "v"}', "b", settings={"k": "s"}).rule.reads == ()


def test_included_rules_tell_the_way_they_came(folder: Bench) -> None:
    folder.mapping("fragment: true\nvars: {k: .k}\nfields: {v: $k}", "inner")
    folder.mapping("fragment: true\nfields:\n  deep: {include: inner}", "outer")
    folder.mapping("fields:\n  a: {include: outer, from: l}\n")
    field = one(folder, '{"l": [{"k": 1}]}', "a.deep.v")
    assert [(i.name, i.line, i.file.rsplit("/", 1)[1]) for i in field.includes] == [
        ("outer", 4, "m.yaml"),
        ("inner", 5, "outer.yaml"),
    ]
    assert (field.rule.file.endswith("inner.yaml"), field.value) == (True, "1")
    (variable,) = field.variables
    assert reads(variable) == [("l[].k", [("l[0].k", "1")])]


def test_why_a_field_is_absent(folder: Bench) -> None:
    folder.mapping(
        "when: x != 'no'\nfields:\n  a: {when: y == 'I', b: z}\n  c: {each: l, where: .k, d: .v}\n  e: z | default(null)\n  f: {expr: z, required: true}\n"
        "  g: {expr: z, default: d}\n  h: {each: none, i: .v}\n"
    )
    raw = '{"x": "yes", "y": "O", "l": [{"v": 1}]}'
    found = {f.target: f for f in ask(folder, raw, "$").fields}
    assert found.keys() == {"f", "g"}  # what is written, or should be
    field = one(folder, raw, "a.b")
    assert field.state == "skipped"
    assert [(p.keyword, p.text, p.holds) for p in field.conditions] == [
        ("when", "x != 'no'", True),
        ("when", "y == 'I'", False),
    ]
    assert reads(field.conditions[1]) == [("y", [("y", "O")])]
    field = one(folder, raw, "c[0].d")
    assert (field.state, field.conditions[-1].text, field.conditions[-1].holds) == ("skipped", ".k", False)
    field = one(folder, raw, "e")
    assert (field.state, reads(field.rule)) == ("absent", [("z", [])])
    field = one(folder, raw, "f")
    assert (field.state, field.error, field.required) == ("failed", "a required value is absent", True)
    field = one(folder, raw, "g")
    assert (field.state, field.value, field.default) == ("written", "d", "d")
    field = one(folder, raw, "h[0].i")
    assert [(p.keyword, p.text, p.holds) for p in field.conditions][-1] == ("each", "none", False)
    field = one(folder, '{"x": "no", "z": 1}', "e")
    assert (field.state, field.conditions[0].holds) == ("skipped", False)


def test_a_pattern_means_every_entry(folder: Bench) -> None:
    folder.mapping("fields: {c: {each: l, d: .v}}")
    found = ask(folder, '{"l": [{"v": 1}, {}, {"v": 3}]}', "c[].d").fields
    assert [(f.target, f.value, reads(f.rule)[0][1][0][0]) for f in found] == [
        ("c[0].d", "1", "l[0].v"),
        ("c[1].d", "3", "l[2].v"),
    ]


def test_outputs_of_a_mapping_that_splits(folder: Bench) -> None:
    folder.mapping("split: OBR\nwhen: .OBX\nfields: {id: .2, codes: {each: .OBX, expr: .3.1}}", source="hl7v2")
    found = ask(folder, ADT, "codes[0]", output=2)
    assert (found.output, found.outputs) == (2, 2)
    assert reads(found.fields[0].rule) == [("OBX-3.1", [("OBX[3]-3.1", "NA")])]
    assert reads(ask(folder, ADT, "codes[1]", output=1).fields[0].rule) == [("OBX-3.1", [("OBX[2]-3.1", "C")])]
    with pytest.raises(HubError, match="2 outputs"):
        ask(folder, ADT, "id", output=3)


def test_hl7_targets(folder: Bench) -> None:
    folder.mapping(
        'fields:\n  PID-3: {each: ids, ".1": .v, ".5": .k}\n  PID-5.1: name\n  OBX: {each: rows, ".1": $number, ".5": .v}\n  PID-5: {expr: other}\n',
        target="hl7v2",
    )
    raw = '{"ids": [{"v": 1, "k": 2}, {"v": 3}], "name": "n", "rows": [{"v": "a"}, {"v": "b"}]}'
    assert reads(one(folder, raw, "PID-3[2].1").rule) == [("ids[].v", [("ids[1].v", "3")])]
    assert reads(one(folder, raw, "OBX[2]-5").rule) == [("rows[].v", [("rows[1].v", "b")])]
    assert [f.target for f in ask(folder, raw, "PID-3").fields] == ["PID-3.1", "PID-3.5", "PID-3[2].1"]
    assert one(folder, raw, "PID-3[2].5").state == "absent"
    assert one(folder, raw, "PID-5.1").target == "PID-5.1"
    assert one(folder, raw.replace("name", "other"), "PID-5.1").target == "PID-5"
    for wrong in ("PID-99", "name"):
        with pytest.raises(HubError, match=wrong):
            ask(folder, raw, wrong)


def test_a_target_nobody_writes_offers_near_ones(folder: Bench) -> None:
    folder.mapping("fields: {patient: {birthDate: x}}")
    with pytest.raises(HubError, match=r"no rule writes patient\.birthdate") as caught:
        ask(folder, '{"x": 1}', "patient.birthdate")
    assert "patient.birthDate" in caught.value.remedy
    with pytest.raises(HubError, match="not a path"):
        ask(folder, '{"x": 1}', "a..b")


def test_filters_choose_where_a_value_comes_from(folder: Bench) -> None:
    folder.mapping(
        "fields:\n  a: PID-3[.5=='IDCARD'].1\n  b: OBX[.2=='ST']-5\n  c: OBX[*]-3.1 | join(',')\n", source="hl7v2"
    )
    found = {f.target: reads(f.rule)[0][1] for f in ask(folder, ADT, "$").fields}
    assert found == {
        "a": [("PID-3[2].1", "11010519491231002X")],
        "b": [("OBX[2]-5", "红")],
        "c": [("OBX-3.1", "K"), ("OBX[2]-3.1", "C"), ("OBX[3]-3.1", "NA")],
    }


def test_an_error_elsewhere_does_not_keep_a_field_from_being_explained(folder: Bench) -> None:
    folder.mapping("fields: {a: x | int, b: y}")
    found = ask(folder, '{"x": "no", "y": 1}', "b")
    assert found.fields[0].value == "1"
    assert "not a number" in found.failure
    assert ask(folder, '{"x": 1, "y": 1}', "b").failure == ""
    field = one(folder, '{"x": "欧阳锋", "y": 1}', "a", clear=False)
    assert field.state == "failed"
    assert "欧阳锋" not in field.error
    assert reads(field.rule) == [("x", [("x", "欧*锋")])]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=st.one_of(st.text(), st.text(alphabet="ab.[]0'\"$-*")), output=st.integers(1, 3))
def test_any_target_is_explained_or_refused(folder: Bench, target: str, output: int) -> None:
    folder.mapping("fields: {a: {b: [x, y]}, 'b': {each: l, a: .}}")
    folder.mapping("fields: {PID-5: x, OBX: {each: l, '.5': .}}", "hl7", target="hl7v2")
    raw = '{"x": {"a": 1}, "l": [1, 2]}'
    for name in ("m", "hl7"):
        bench, given_input = folder.given(raw, name)
        try:
            found = explain(bench, name, given_input, target, output=output)
        except HubError:
            continue
        assert found.fields
