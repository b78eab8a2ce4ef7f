"""Tools on mappings to XML, and on loops over computed values."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from lxml import etree

from hub.codecs.registry import builtin_codecs
from hub.mapping import MappingLibrary
from hub.mapping_tools.coverage import coverage
from hub.mapping_tools.explain import explain
from hub.mapping_tools.page import page
from hub.mapping_tools.walk_xml import XmlWalk, _steps, _text
from hub.mapping_tools.workbench import Circumstances, Input, Workbench

if TYPE_CHECKING:
    from conftest import Folder

CODECS = {codec.name: codec for codec in builtin_codecs()}
TO_XML = """
from: {codec: json}
to: {codec: xml}
fields:
  report:
    "@id": id
    head/title: {const: Results}
    patient:
      when: pid
      "id[@root='1.2.3']/@extension": pid
    item:
      each: results
      where: .value
      "@code": .code
      value: .value
      note: {each: .notes, expr: .}
    tag: [first, {each: tags, expr: .}]
"""
TREE: dict[str, Any] = {
    "id": "R1",
    "pid": "P1",
    "results": [{"code": "A", "value": "1", "notes": ["x", "y"]}, {"code": "B"}, {"code": "C", "value": "3"}],
    "first": "t0",
    "tags": ["t1", "t2"],
}


def bench_of(folder: Folder, text: str) -> Workbench:
    folder.write("m.yaml", text)
    return Workbench(MappingLibrary([folder.root]), CODECS, [folder.root], [])


def given(bench: Workbench, tree: Any) -> Input:
    raw = CODECS["json"].encode(tree)
    return bench.input(bench.library.get("m"), raw, Circumstances(), name="in")


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("a/b/@c", ("a", "b", "@c")),
        ("a/b[2]/c", ("a", "b", 1, "c")),
        ("a/b[]", ("a", "b", None)),
        ("id[@root='1/2']/@extension", ("id[@root='1/2']", "@extension")),
        ('a[@x="]"]/b', ('a[@x="]"]', "b")),
        ("", ()),
    ],
)
def test_paths_of_xml_targets(path: str, steps: tuple[Any, ...]) -> None:
    assert _steps(path) == steps
    assert _text(steps) == path


def test_what_is_told_to_be_written_is_in_the_document(folder: Folder) -> None:
    bench = bench_of(folder, TO_XML)
    one = given(bench, TREE)
    walk = bench.walk(bench.document("m"), one)
    assert isinstance(walk, XmlWalk)
    told = {made.target: made.value for made in walk.made if made.state == "written"}
    (document,) = bench.library.get("m").run(one.tree, one.context)
    tree = etree.ElementTree(document.root)
    for target, value in told.items():
        found = tree.xpath(f"/{target}")
        assert [node if isinstance(node, str) else node.text for node in found] == [value], target
    leaves = [node for node in document.root.iter() if node.text] + [
        a
        for node in document.root.iter()
        for a in node.keys()  # noqa: SIM118
        if a != "root"
    ]
    assert len(told) == len(leaves)


def test_texts_of_a_loop_are_walked_like_any_other(folder: Folder) -> None:
    text = """
        from: {codec: json}
        to: {codec: xml}
        fields:
          r:
            "#text": {each: list, where: ". != 'b'", distinct: ., expr: .}
            a: {each: list, distinct: ., expr: .}
    """
    bench = bench_of(folder, textwrap.dedent(text))
    one = given(bench, {"list": ["a", "b", "a", "c"]})
    told = [(m.target, m.value) for m in bench.walk(bench.document("m"), one).made if m.state == "written"]
    assert told == [("r/#text[1]", "a"), ("r/#text[2]", "c"), ("r/a[1]", "a"), ("r/a[2]", "b"), ("r/a[3]", "c")]
    (document,) = bench.library.get("m").run(one.tree, one.context)
    assert (document.root.text, [a.text for a in document.root]) == ("ac", ["a", "b", "c"])


def test_an_element_is_traced_to_the_source(folder: Folder) -> None:
    bench = bench_of(folder, TO_XML)
    found = explain(bench, "m", given(bench, TREE), "report/item[2]/value", clear=True)
    (field,) = found.fields
    assert (field.target, field.value) == ("report/item[2]/value", "3")
    assert field.rule.reads[0].origins[0].path == "results[2].value"
    whole = explain(bench, "m", given(bench, TREE), "report/patient", clear=True)
    assert [one.target for one in whole.fields] == ["report/patient/id[@root='1.2.3']/@extension"]
    every = explain(bench, "m", given(bench, TREE), "report/item[]/@code", clear=True)
    assert [one.value for one in every.fields] == ["A", "C"]


def test_coverage_and_page_of_a_mapping_to_xml(folder: Folder) -> None:
    bench = bench_of(folder, TO_XML)
    found = coverage(bench, "m", [given(bench, {**TREE, "pid": "", "more": 1})], clear=True)
    assert [never.target for never in found.never_written] == ["report/patient/id[@root='1.2.3']/@extension"]
    assert [never.path for never in found.never_read] == ["more"]
    html = page(bench, "m")
    assert "report/item[]/note[]" in html


LOOPS = """
from: {codec: json}
to: {codec: json}
lookups: {people: {system: mpi/query, request: {id: id}}}
define:
  shown(code): concat('<', $code, '>')
vars: {items: order.items}
fields:
  a: {each: $items, code: .code | shown, n: $number, of: id}
  b: {each: $people.list, expr: .name}
  c: {each: $none, expr: .}
"""


def test_loops_over_variables_are_walked_like_any_other(folder: Folder) -> None:
    bench = bench_of(folder, LOOPS)
    people = {"people": {"list": [{"name": "ann"}, {"name": "bob"}]}}
    raw = CODECS["json"].encode({"id": "1", "order": {"items": [{"code": "A"}, {"code": "B"}]}})
    one = bench.input(bench.library.get("m"), raw, Circumstances(variables=people), name="in")
    walk = bench.walk(bench.document("m"), one)
    told = {made.target: made.value for made in walk.made if made.state == "written"}
    assert told == {
        "a[0].code": "<A>", "a[0].n": 1, "a[0].of": "1", "a[1].code": "<B>", "a[1].n": 2, "a[1].of": "1",
        "b[0]": "ann", "b[1]": "bob",
    }  # fmt: skip
    assert bench.library.get("m").run(one.tree, one.context) == [
        {"a": [{"code": "<A>", "n": 1, "of": "1"}, {"code": "<B>", "n": 2, "of": "1"}], "b": ["ann", "bob"]}
    ]
    (field,) = explain(bench, "m", one, "a[1].code", clear=True).fields
    assert field.value == "<B>"
    found = coverage(bench, "m", [one])
    assert [never.target for never in found.never_written] == ["c[]"]
    html = page(bench, "m")
    for text in ("$people", "mpi/query", "shown(code) = concat"):
        assert text in html


# -- XML as source -----------------------------------------------------------------------------------------------------

FROM_XML = """
from: {codec: xml, namespaces: {o: 'urn:o'}}
to: {codec: json}
when: o:order/patient
vars: {who: o:order/patient/@id}
fields:
  who: $who
  second: o:order/item[2]/code
  open: {each: "o:order/item[@state='open']", code: .code, number: $number, of: o:order/patient/@id, notes: {each: .note, expr: .}}
  states: o:order/item/@state | join('+')
  none: //nothing/@here
"""
DOCUMENT = (
    '<o:order xmlns:o="urn:o" no="N1">\n<patient id="7" born="1983">ann</patient>\n'
    '<item state="open"><code>A</code><note>x</note><note>y</note></item>\n'
    '<item state="done"><code>B</code></item>\n<item state="open"><code>C</code><extra>1</extra></item></o:order>'
)


def xml_input(bench: Workbench) -> Input:
    return bench.input(bench.library.get("m"), DOCUMENT.encode(), Circumstances(), name="in.xml")


def test_coverage_of_an_xml_source(folder: Folder) -> None:
    bench = bench_of(folder, FROM_XML)
    found = coverage(bench, "m", [xml_input(bench)], clear=True)
    assert found.failed == {}
    assert [(never.path, never.count, never.of) for never in found.never_read] == [
        ("order/@no", 1, 1),
        ("order/patient/@born", 1, 1),
        ("order/patient", 1, 1),
        ("order/item/extra", 1, 1),
    ]
    assert [there.path for there in found.never_there] == ["//nothing/@here"]
    assert [never.target for never in found.never_written] == ["none"]


@pytest.mark.parametrize(
    ("target", "value", "path", "line"),
    [
        ("who", "7", "", 0),
        ("second", "B", "order/item[2]/code", 4),
        ("open[1].code", "C", "order/item[3]/code", 5),
        ("open[0].notes[1]", "y", "order/item/note[2]", 3),
        ("open[1].of", "7", "order/patient/@id", 2),
    ],
)
def test_a_field_is_traced_to_its_place_in_a_document(
    folder: Folder, target: str, value: str, path: str, line: int
) -> None:
    bench = bench_of(folder, FROM_XML)
    (field,) = explain(bench, "m", xml_input(bench), target, clear=True).fields
    assert field.value == value
    if path:
        (origin,) = field.rule.reads[0].origins
        assert (origin.path, origin.where) == (path, f"line {line}")
    else:
        assert field.variables[0].reads[0].origins[0].path == "order/patient/@id"


def test_two_steps_by_way_of_xml_are_traced_through(folder: Folder) -> None:
    folder.write("first.yaml", TO_XML)
    folder.write(
        "second.yaml", "from: {codec: xml}\nto: {codec: json}\nfields: {codes: {each: report/item, code: ./@code}}\n"
    )
    bench = bench_of(folder, "steps: [first, second]\n")
    found = explain(bench, "m", given(bench, TREE), "codes[1].code", clear=True)
    assert found.fields[0].rule.reads[0].origins[0].path == "report/item[2]/@code"
    assert found.before is not None
    (field,) = found.before.fields
    assert (field.target, field.rule.reads[0].origins[0].path) == ("report/item[2]/@code", "results[2].code")


def test_the_page_of_a_mapping_from_xml(folder: Folder) -> None:
    html = page(bench_of(folder, FROM_XML), "m")
    assert "o:order/item[@state=&#x27;open&#x27;]/code" in html
