"""Coverage: what is sent and never read, read and never sent, never written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hub.errors import MappingError
from hub.mapping_tools import Workbench
from hub.mapping_tools.cases import load_tests
from hub.mapping_tools.coverage import Coverage, coverage
from hub.mapping_tools.required import required_fields
from hub.mapping_tools.testing import input_of
from tests.mapping_tools.conftest import Bench, complete


def look(folder: Bench, *raws: str, name: str = "m", schema: Any = None, clear: bool = True) -> Coverage:
    inputs = [folder.given(raw, name)[1] for raw in raws]
    return coverage(folder.open(), name, inputs, schema, clear=clear)


def never_read(found: Coverage) -> list[str]:
    return [f"{n.path}{'*' if n.whole else ''} {n.count}/{n.of}" for n in found.never_read]


HEAD = "MSH|^~\\&|HIS|A|||2026||ADT^A01|1|P|2.5\r"
READS_HEAD = "  h: concat(MSH-3, MSH-4, MSH-7, MSH-9.1, MSH-9.2, MSH-10, MSH-11, MSH-12)\n"


@pytest.mark.parametrize(
    ("fields", "segments", "expected"),
    [
        ("  a: PID-5.1\n", "PID|1||||x^y~z", ["PID-1 1/1", "PID-5.2 1/1", "PID-5 1/1"]),
        ("  a: PID-5\n", "PID|||||x^y", []),
        ("  a: PID-5 | join('')\n", "PID|||||x^y~z", []),
        ("  a: {each: PID-5, expr: .1}\n", "PID|||||x^y~z", ["PID-5.2 1/1"]),
        ("  a: PID-8.1\n", "PID||||||||F", []),
        ("  a: PID-8\n", "PID||||||||F", []),
        ("  a: PID-3.4.2\n", "PID|||a^^^b&c", ["PID-3.1 1/1", "PID-3.4.1 1/1"]),
        ("  a: PID-3.4\n", "PID|||a^^^b&c", ["PID-3.1 1/1"]),
        # A filter reads what it looks at, of the elements it looks at.
        ("  a: PID-3[.5=='B'].1\n", "PID|||1^^^^A~2^^^^B~3^^^^C", ["PID-3.1 2/3", "PID-3.5 1/3"]),
        # Whether there is something is not what it is.
        ("  a: {when: PID-11, b: PID-11.1}\n", "PID|||||||||||x^^y", ["PID-11.3 1/1"]),
        ("  a: {when: PID-8, b: {const: 1}}\n", "PID||||||||F", []),
        ("  a: {when: exists(PID-11), b: {const: 1}}\n", "PID|||||||||||x^^y", ["PID* 2/2"]),
        ("  a: \"PID-2 if PID-8 == 'F' else PID-4\"\n", "PID||x||y||||F", []),
        # Only the first segment, unless all are asked for.
        ("  a: NTE-3\n", "NTE|||x\rNTE|||y", ["NTE-3 1/2"]),
        ("  a: NTE[*]-3 | list\n", "NTE|||x\rNTE|||y", []),
        ("  a: NTE[2]-3\n", "NTE|||x\rNTE|||y", ["NTE-3 1/2"]),
        ("  a: {each: OBR, b: .2, c: {each: .OBX, expr: .5}}\n", "OBR||1\rOBX|||||v|u\rOBR||2", ["OBX-6 1/1"]),
        ("  a: {const: 1}\n", "ZPI|1|2^3\rZPI|4", ["ZPI* 4/4"]),
        ("  a: ZPI\n", "ZPI|1", ["ZPI* 1/1"]),
        ("  a: $v\n", "PID||x", []),
    ],
)
def test_hl7_fields_that_nobody_reads(folder: Bench, fields: str, segments: str, expected: list[str]) -> None:
    folder.mapping(
        f"vars: {{v: PID-2}}\nfields:\n{READS_HEAD}{fields}" if "$v" in fields else f"fields:\n{READS_HEAD}{fields}",
        source="hl7v2",
    )
    assert never_read(look(folder, HEAD + segments)) == expected


@pytest.mark.parametrize(
    ("fields", "tree", "expected"),
    [
        ("{a: x.y}", {"x": {"y": 1, "z": 2}, "w": 3}, ["x.z 1/1", "w 1/1"]),
        ("{a: x}", {"x": {"y": 1, "z": [2, {"v": 3}]}}, []),
        ("{a: {each: l, b: .x}}", {"l": [{"x": 1, "y": 2}, {"y": 3}]}, ["l[].y 2/2"]),
        ("{a: 'l[0].x'}", {"l": [{"x": 1}, {"x": 2}]}, ["l[].x 1/2"]),
        (
            "{a: \"l[k=='b'].x\"}",
            {"l": [{"k": "a", "x": 1}, {"k": "b", "x": 2}, {"k": "c"}]},
            ["l[].k 1/3", "l[].x 1/2"],
        ),
        ("{a: {when: x, b: {const: 1}}}", {"x": {"y": 1}}, ["x* 1/1"]),
        ("{a: {when: x, b: {const: 1}}}", {"x": 1}, []),
        ("{a: x}", {"x": 1, "gone": None, "empty": {}}, []),
        ("{a: {each: l, where: .k, b: .x}}", {"l": [{"x": 1}]}, []),
    ],
)
def test_json_values_that_nobody_reads(folder: Bench, fields: str, tree: Any, expected: list[str]) -> None:
    folder.mapping(f"fields: {fields}")
    assert never_read(look(folder, json.dumps(tree))) == expected


def test_values_are_masked_unless_asked_for(folder: Bench) -> None:
    folder.mapping("fields: {a: x}")
    (masked,) = look(folder, '{"name": "欧阳锋", "x": 1}', clear=False).never_read
    (clear,) = look(folder, '{"name": "欧阳锋", "x": 1}').never_read
    assert (masked.example, clear.example) == ("欧*锋", "欧阳锋")


def test_several_inputs_count_together(folder: Bench) -> None:
    folder.mapping("fields: {a: x, b: {each: l, c: .y}, d: z}")
    found = look(folder, '{"x": 1, "w": 1}', '{"l": [{"y": 1, "v": 2}], "w": 2}')
    assert found.inputs == ["input", "input"]
    assert never_read(found) == ["w 2/2", "l[].v 1/1"]
    assert [(n.path, n.line, n.rule) for n in found.never_there] == [("z", 3, "z")]
    assert [(n.target, n.line) for n in found.never_written] == [("d", 3)]
    assert (found.fields, found.paths) == (3, 4)


def test_paths_are_told_as_from_the_root(folder: Bench) -> None:
    folder.mapping("fields: {a: {each: PID-3, b: .4.2, c: {each: OBX, d: .5}}}", source="hl7v2")
    found = look(folder, HEAD + "PID|||1^^^x")
    assert {n.path for n in found.never_there} == {"PID-3.4.2", "OBX", "OBX-5"}


def test_what_an_include_reads_and_writes_is_told_in_its_own_file(folder: Bench) -> None:
    folder.mapping("fragment: true\nfields:\n  b: .1\n  c: .9", "part", source="hl7v2")
    folder.mapping("fields: {a: {include: part, from: PID-3}}", source="hl7v2")
    found = look(folder, HEAD + "PID|||1")
    (there,) = found.never_there
    assert (there.path, there.line, there.file.endswith("part.yaml")) == ("PID-3.9", 6, True)
    assert [(n.target, n.file == there.file) for n in found.never_written] == [("a.c", True)]


def test_rules_that_did_not_run_read_all_the_same(folder: Bench) -> None:
    folder.mapping("fields: {a: {when: x == 'never', b: y, c: {each: l, d: .z}}}")
    found = look(folder, '{"x": 1, "y": 2, "l": [{"z": 1}]}')
    assert never_read(found) == []
    assert [n.target for n in found.never_written] == ["a.b", "a.c[].d"]


def test_a_copy_sends_everything_on(folder: Bench) -> None:
    folder.write("m.yaml", "from: {codec: hl7v2}\nto: {codec: hl7v2, base: source}\nfields: {PID-8: PID-9}\n")
    found = look(folder, HEAD + "PID|1|x")
    assert (found.copies, found.never_read) == (True, [])
    assert [n.path for n in found.never_there] == ["PID-9"]


def test_an_input_that_can_not_be_looked_at_is_told(folder: Bench) -> None:
    folder.mapping("when: x > 1\nfields: {a: y}")
    found = look(folder, '{"x": "text", "y": 1}', '{"x": 2}')
    assert list(found.failed) == ["input"]
    assert "not a number" in found.failed["input"]
    assert found.inputs == ["input"]


def test_a_mapping_with_errors_is_refused(folder: Bench) -> None:
    folder.mapping("fields: {a: x |}")
    with pytest.raises(MappingError):
        coverage(folder.open(), "m", [])


SCHEMA = {
    "$defs": {"item": {"type": "object", "required": ["code", "name"], "properties": {"name": {"type": "string"}}}},
    "required": ["id", "body"],
    "properties": {
        "body": {"allOf": [{"required": ["when"]}, {"properties": {"who": {"required": ["name"]}}}]},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
        "extra": {"required": ["x"]},
        "loop": {"$ref": "#"},
    },
}


def test_required_fields_of_a_schema() -> None:
    assert required_fields(SCHEMA, []) == ["id", "body", "body.when"]
    assert required_fields(SCHEMA, ["items[].code"]) == ["id", "body", "body.when", "items[].name"]
    assert required_fields(SCHEMA, ["items[0].code", "body.who.age"]) == [
        "id",
        "body.when",
        "body.who.name",
        "items[].name",
    ]
    assert required_fields(SCHEMA, ["id", "body.when"]) == []


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"$ref": "#"},
        {"$ref": "elsewhere.json"},
        {"$ref": "#/nowhere"},
        {"properties": {"a": True}, "required": "a"},
        {"allOf": [True, 5]},
    ],
)
def test_odd_schemas_demand_nothing(schema: Any) -> None:
    assert required_fields(schema, ["a.b", "a[].c"]) == []


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {"properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    assert required_fields(schema, [])[:2] == ["a", "a.a"]


def test_required_target_fields_never_written(folder: Bench) -> None:
    folder.mapping("fields: {id: x, body.when: y, items: {each: l, code: .c}}")
    found = look(folder, '{"x": 1, "l": [{"c": 1}]}', schema=SCHEMA)
    assert found.required == ["body", "body.when", "items[].name"]
    found = look(folder, '{"x": 1, "y": 1}', schema=SCHEMA)
    assert found.required == []
    folder.mapping("fields: {id: x, body: y, items: {const: [{code: 1}]}}")
    found = look(folder, '{"x": 1, "y": {"when": 1, "who": {"age": 1}}}', schema=SCHEMA)
    assert found.required == ["body.who.name", "items[].name"]


def test_coverage_of_the_shipped_tests(shipped: Workbench) -> None:
    """Every field of every shipped mapping is written by some case of its tests, but of the standard transforms and what is put
    together from them: they know far more than a few examples hold, and are held against real messages instead."""
    standard = re.compile(r"(?:^|include: )(?:canonical|cda|fhir_r4|hl7v2|hl7v3)/")
    never: dict[str, list[str]] = {}
    for name in complete(shipped):
        path = shipped.tests_of(name)
        assert path is not None
        tests = load_tests(path)
        mapping = shipped.library.get(name)
        found = coverage(shipped, name, [input_of(shipped, mapping, tests, case) for case in tests.cases])
        assert found.failed.keys() <= {case.name for case in tests.cases if case.error is not None}
        texts = [part.name for part in mapping.parts] or [name, Path(mapping.file).read_text("utf-8")]
        if found.never_written and not any(standard.search(text) for text in texts):
            never[name] = [node.target for node in found.never_written]
        assert "never_read" in found.as_dict()
    assert never == {}
