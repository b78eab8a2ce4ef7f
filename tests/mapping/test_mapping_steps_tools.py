"""Tools on mappings of steps: tests, coverage, explanations and pages go through the steps one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.codecs.registry import builtin_codecs
from hub.errors import HubError
from hub.mapping import MappingLibrary
from hub.mapping_tools.coverage import coverage
from hub.mapping_tools.explain import explain
from hub.mapping_tools.page import page
from hub.mapping_tools.schema import mapping_schema
from hub.mapping_tools.testing import run_tests
from hub.mapping_tools.workbench import Circumstances, Input, Workbench

ONE = """
from: {codec: hl7v2, types: ["ORU^R01"]}
to: {codec: json}
split: OBR
fields:
  id: .2
  patient: {id: PID-3.1, sex: "PID-8 | match({'M': '1'}, default='9')"}
  results: {each: .OBX, code: .3.1, value: .5 | number}   # as the analyser sent it
"""
TWO = """
from: {codec: json}
to: {codec: json}
when: id != 'O9'
vars: {who: patient.id}
fields:
  order: id
  subject: $who
  values: {each: results, where: .value > 1, code: .code, value: .value}
"""
TESTS = """
cases:
  - name: one order, one output each
    input: |
      MSH|^~\\&|||||||ORU^R01|1|P|2.5
      PID|||P1|||||F
      OBR||O1
      OBX|||A||1
      OBX|||B||2
    output: [{order: O1, subject: P1, values: [{code: B, value: 2}]}]
  - name: nothing is sent on
    input: |
      MSH|^~\\&|||||||ORU^R01|1|P|2.5
      OBR||O9
    count: 0
  - name: a number that is none
    input: |
      MSH|^~\\&|||||||ORU^R01|1|P|2.5
      OBR||O1
      OBX|||A||x
    error: {target: "results[].value"}
"""
RAW = b"\r".join(
    [
        b"MSH|^~\\&|||||||ORU^R01|1|P|2.5",
        b"PID|||P0001|||||M",
        b"OBR||O1|F1",
        b"OBX|||A||1",
        b"OBR||O2",
        b"OBX|||B||1",
        b"OBX|||C||22",
    ]
)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    for name, text in {"one": ONE, "two": TWO}.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "both.yaml").write_text("description: from there to here\nsteps: [one, two]\n", encoding="utf-8")
    (tmp_path / "both.tests.yaml").write_text(TESTS, encoding="utf-8")
    return Workbench(MappingLibrary([tmp_path]), {c.name: c for c in builtin_codecs()}, [tmp_path], [])


def given(bench: Workbench, raw: bytes = RAW) -> Input:
    return bench.input(bench.library.get("both"), raw, Circumstances(), name="in.hl7")


def test_unit_tests_run_through_all_steps(bench: Workbench) -> None:
    report = run_tests(bench, ["both"])
    assert [(result.name, result.error, result.differences) for result in report.results if not result.ok] == []
    assert len(report.results) == 3
    assert bench.problems_of([]) == []


def test_outputs_are_written_by_the_codec_of_the_last_step(bench: Workbench) -> None:
    assert bench.outputs(bench.library.get("both"), given(bench))[1].startswith(b'{"order":"O2"')


def test_coverage_is_told_of_each_step_with_what_it_gets(bench: Workbench) -> None:
    found = coverage(bench, "both", [given(bench)], {"required": ["order", "urgent"]}, clear=True)
    one, two = found.steps
    assert found.mapping == bench.library.get("both").stamp
    assert (found.inputs, found.failed) == (["in.hl7"], {})
    assert (one.mapping, two.mapping) == tuple(part.stamp for part in bench.parts("both"))
    assert ("OBR-3", 1) in [(never.path, never.count) for never in one.never_read]
    assert [never.path for never in two.never_read] == ["patient.sex"]
    assert two.required == ["urgent"]
    assert [step["mapping"] for step in found.as_dict()["steps"]] == [one.mapping, two.mapping]


def test_an_input_one_step_fails_on_is_told_with_the_step(bench: Workbench) -> None:
    bad = given(bench, RAW.replace(b"|22", b"|x"))
    found = coverage(bench, "both", [bad])
    assert found.inputs == []
    assert [step.inputs for step in coverage(bench, "both", [given(bench)]).steps] == [["in.hl7"], ["in.hl7"]]
    assert list(found.failed) == ["in.hl7"]
    assert "one.yaml" in found.failed["in.hl7"]


def test_a_field_is_traced_through_the_steps_to_the_bytes(bench: Workbench) -> None:
    found = explain(bench, "both", given(bench), "values[0].value", output=2, clear=True)
    assert (found.output, found.outputs, found.failure) == (2, 2, "")
    (field,) = found.fields
    assert (field.value, field.rule.reads[0].origins[0].path) == ("22", "results[1].value")
    assert found.before is not None
    traced = {one.target: one for one in found.before.fields}
    origin = traced["results[1].value"].rule.reads[0].origins[0]
    assert origin.span is not None
    assert RAW[slice(*origin.span)] == b"22"
    assert found.before.before is None
    assert found.as_dict()["before"]["mapping"] == bench.parts("both")[0].stamp


def test_what_a_variable_reads_is_traced_too(bench: Workbench) -> None:
    found = explain(bench, "both", given(bench), "subject", clear=True)
    assert found.before is not None
    assert [one.target for one in found.before.fields if one.state == "written"] == ["id", "patient.id"]
    assert found.before.fields[1].rule.reads[0].origins[0].value == "P0001"


def test_an_output_that_is_not_there_can_not_be_explained(bench: Workbench) -> None:
    with pytest.raises(HubError, match="2 outputs"):
        explain(bench, "both", given(bench), "order", output=3)
    with pytest.raises(HubError, match="0 outputs"):
        explain(bench, "both", given(bench, RAW.replace(b"OBR", b"ZBR")), "order")


def test_what_keeps_the_last_step_from_writing_is_told(bench: Workbench) -> None:
    nothing = given(bench, RAW.replace(b"O1", b"O9").replace(b"O2", b"O9"))
    found = explain(bench, "both", nothing, "order", clear=True)
    assert [(one.target, one.state, one.conditions[0].holds) for one in found.fields] == [("order", "skipped", False)]


def test_the_page_has_a_chapter_for_each_step_and_one_place_to_sign(bench: Workbench) -> None:
    html = page(bench, "both")
    for text in ("from there to here", "Step 1: one", "Step 2: two", "OBX-5", "results[].value", "as the analyser"):
        assert text in html
    assert html.count('class="sign"') == 1
    assert bench.library.get("both").stamp in html


def test_editors_know_steps(bench: Workbench) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    valid = jsonschema.Draft202012Validator(mapping_schema(bench.codecs, bench.library.functions)).is_valid
    head = {"from": {"codec": "json"}, "to": {"codec": "json"}}
    assert valid({"description": "x", "steps": ["one", "two"]})
    assert valid({**head, "fields": {"a": "b"}})
    assert not valid({**head, "steps": ["one"]})
    assert not valid({"steps": []})
    assert not valid({"fields": {"a": "b"}})
