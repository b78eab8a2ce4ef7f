"""Lookups as a part of the language: what they ask, what is read from an answer, what can be wrong with them, and their tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hub.codecs.registry import builtin_codecs
from hub.errors import MappingError
from hub.mapping import Context, MappingLibrary
from hub.mapping.mapping import CompiledMapping
from hub.mapping_tools import schema
from hub.mapping_tools.coverage import coverage
from hub.mapping_tools.explain import explain
from hub.mapping_tools.testing import run_tests
from hub.mapping_tools.workbench import Circumstances, Workbench

if TYPE_CHECKING:
    from conftest import Folder

CODECS = {codec.name: codec for codec in builtin_codecs()}
HEAD = "from: {codec: hl7v2}\nto: {codec: json}\n"
BOTH = """
lookups:
  patient:
    system: mpi/query
    request: {query: {pid: PID-3.1, at: PID-3.4}}
    read: {name: data.name, since: data.since | date}
    when: PID-3.1
    cache: 10m
  admission:
    store: ADT^A01
    source: his
    keys: {patient_id: PID-3.1, visit_id: PV1-19}
    read: {ward: PV1-3.1, at: EVN-2 | date}
    required: true
fields: {order: OBR-2, name: $patient.name, ward: "$admission.ward | default('?')"}
"""
RAW = "MSH|^~\\&|||||||ORU^R01|1|P|2.5\rPID|||P1^^^GH\rPV1|||||||||||||||||||V1\rOBR||O1\r"
ADT = "MSH|^~\\&|||||||ADT^A01|1|P|2.5\rEVN||20261101080000\rPV1||I|W2^3\r"


def mapping_of(folder: Folder, body: str = BOTH) -> CompiledMapping:
    folder.write("m.yaml", HEAD + body)
    return folder.library().get("m")


def test_what_is_asked_and_what_is_read(folder: Folder) -> None:
    mapping = mapping_of(folder)
    patient, admission = mapping.lookups
    tree = CODECS["hl7v2"].decode(RAW.encode())
    assert patient.ask(tree, Context()) == [{"query": {"pid": "P1", "at": "GH"}}]
    assert (patient.system, patient.codec, patient.cache, patient.required) == ("mpi/query", "json", 600.0, False)
    answer = {"data": {"name": "ann", "since": "20200101"}}
    assert patient.value(answer, Context()) == {"name": "ann", "since": "2020-01-01"}
    assert patient.value({}, Context()) is None
    assert admission.ask(tree, Context()) == [{"patient_id": "P1", "visit_id": "V1"}]
    assert (admission.store, admission.source, admission.keys) == ("ADT^A01", "his", ("patient_id", "visit_id"))
    assert admission.required
    found = admission.value(CODECS["hl7v2"].decode(ADT.encode()), Context())
    assert found == {"ward": "W2", "at": "2026-11-01"}
    nobody = CODECS["hl7v2"].decode(RAW.replace("P1^^^GH", "").encode())
    assert patient.ask(nobody, Context()) == []


def test_what_was_found_is_a_variable(folder: Folder) -> None:
    mapping = mapping_of(folder)
    tree = CODECS["hl7v2"].decode(RAW.encode())
    found = {"patient": {"name": "ann"}, "admission": None}
    assert mapping.run(tree, Context(variables=found)) == [{"order": "O1", "name": "ann", "ward": "?"}]
    with pytest.raises(MappingError) as caught:
        mapping.run(tree, Context(variables={"patient": None}))
    assert (caught.value.code, caught.value.target) == ("mapping.lookup", "lookups.admission")


def test_a_request_may_be_of_any_format(folder: Folder) -> None:
    body = """
lookups:
  patient:
    system: mpi/query
    codec: xml
    request: {query: {"@pid": PID-3.1}}
    read: {name: person/name}
fields: {name: $patient.name}
"""
    (patient,) = mapping_of(folder, body).lookups
    (request,) = patient.ask(CODECS["hl7v2"].decode(RAW.encode()), Context())
    assert CODECS["xml"].encode(request).endswith(b'<query pid="P1"/>')
    reply = CODECS["xml"].decode(b"<person><name>ann</name></person>")
    assert patient.value(reply, Context()) == {"name": "ann"}


def test_lookups_of_the_first_step_are_those_of_the_chain(folder: Folder) -> None:
    mapping_of(folder)
    folder.write("next.yaml", "from: {codec: json}\nto: {codec: json}\nfields: {n: name}\n")
    folder.write("asks.yaml", "from: {codec: json}\nto: {codec: json}\nlookups: {p: {system: a/b, request: {x: x}}}\nfields: {n: name}\n")  # fmt: skip
    folder.write("all.yaml", "steps: [m, next]\n")
    folder.write("wrong.yaml", "steps: [m, asks]\n")
    library = folder.library()
    assert [lookup.name for lookup in library.get("all").lookups] == ["patient", "admission"]
    tree = CODECS["hl7v2"].decode(RAW.encode())
    context = Context(variables={"patient": {"name": "ann"}, "admission": {}})
    assert library.get("all").run(tree, context) == [{"n": "ann"}]
    assert [problem.key for problem in library.problems(["wrong"])] == ["steps[1]"]


def test_the_stamp_covers_the_tables_lookups_use(folder: Folder) -> None:
    body = "lookups: {p: {system: a/b, request: {sex: \"PID-8 | table('t')\"}}}\nfields: {a: $p.a}\n"
    folder.write("tables/t.csv", "from,to\nM,1\n")
    before = mapping_of(folder, body).hash
    folder.write("tables/t.csv", "from,to\nM,2\n")
    assert mapping_of(folder, body).hash != before


@pytest.mark.parametrize(
    ("lookup", "key", "text"),
    [
        ("{request: {a: PID-3}}", "lookups.p", "either system: or store:"),
        ("{system: a/b, store: X, request: {a: PID-3}}", "lookups.p", "either system: or store:"),
        ("{system: a/b}", "lookups.p.request", "request: is missing"),
        ("{store: X}", "lookups.p.keys", "keys: is missing"),
        ("{system: mpi, request: {a: PID-3}}", "lookups.p.system", "a system and its interface"),
        ("{system: a/b, request: {a: PID-3}, keys: {}}", "lookups.p.keys", "unknown key"),
        ("{store: X, keys: {a: PID-3}, read: {a: PID-5}, cache: 5m}", "lookups.p.cache", "unknown key"),
        ("{system: a/b, request: {a: PID-3}, cache: soon}", "lookups.p.cache", "a duration"),
        ("{store: X, keys: {a: PID-3}}", "lookups.p.read", "what is read from hl7v2"),
        ("{store: X, keys: PID-3, read: {a: PID-5}}", "lookups.p.keys", "business keys"),
        ("{system: a/b, request: {a: PID-}}", "a", "PID-"),
        ("{system: a/b, request: {a: PID-3}, read: {a: '1 +'}}", "a", "value expected"),
        ("{system: a/b, request: {a: PID-3}, when: '('}", "when", "value expected"),
        ("{system: a/b, request: {a: $w}}", "$w", "not among vars"),
    ],
)
def test_what_is_wrong_with_a_lookup_is_told(folder: Folder, lookup: str, key: str, text: str) -> None:
    folder.write("m.yaml", HEAD + f"vars: {{w: PID-3}}\nlookups:\n  p: {lookup}\nfields: {{a: $p.a}}\n")
    found = [problem for problem in folder.library().problems(["m"]) if text in problem.text]
    assert [problem.key for problem in found] == [key]
    assert found[0].line in (4, 5)


def test_names_of_lookups(folder: Folder) -> None:
    one = "{system: a/b, request: {a: PID-3}}"
    folder.write("m.yaml", HEAD + f"vars: {{w: PID-3}}\nlookups: {{w: {one}, now: {one}}}\nfields: {{a: $w}}\n")
    assert [problem.key for problem in folder.library().problems(["m"])] == ["lookups.now", "lookups.w"]
    folder.write("f.yaml", "fragment: true\n" + HEAD + f"lookups: {{p: {one}}}\nfields: {{a: $p.a}}\n")
    assert [problem.key for problem in folder.library().problems(["f"])] == ["lookups"]


# -- tools -------------------------------------------------------------------------------------------------------------

TESTS = """
defaults: {lookups: {admission: {ward: W1}}}
cases:
  - name: what is found is written
    input: INPUT
    lookups: {patient: {name: ann}}
    output: {order: O1, name: ann, ward: W1}
    asks: {patient: {query: {pid: P1, at: GH}}, admission: {patient_id: P1, visit_id: V1}}
  - name: nobody is asked without a number
    input: "MSH|^~\\\\&|||||||ORU^R01|1|P|2.5\\nOBR||O1"
    output: {order: O1, ward: W1}
    asks: {patient: null}
  - name: wrong on purpose
    input: INPUT
    lookups: {patient: null}
    count: 1
    asks: {patient: {query: {pid: P2, at: GH}}, nobody: {a: 1}}
  - name: a lookup without an answer
    input: INPUT
    error: {code: mapping.lookup}
"""


def bench_of(folder: Folder) -> Workbench:
    folder.write("m.yaml", HEAD + BOTH)
    text = RAW.strip().replace("\\", "\\\\").replace("\r", "\\n")
    folder.write("m.tests.yaml", TESTS.replace("INPUT", f'"{text}"'))
    return Workbench(MappingLibrary([folder.root]), CODECS, [folder.root], [])


def test_cases_give_what_lookups_find_and_say_what_they_ask(folder: Folder) -> None:
    report = run_tests(bench_of(folder), ["m"])
    assert report.problems == []
    told = {result.name: [d.path for d in result.differences] for result in report.results if not result.ok}
    assert told == {"wrong on purpose": ["asks.patient.query.pid", "asks.nobody"]}


def test_other_tools_take_what_lookups_find_as_variables(folder: Folder) -> None:
    bench = bench_of(folder)
    found: dict[str, Any] = {"patient": {"name": "ann"}, "admission": {"ward": "W1"}}
    given = bench.input(bench.library.get("m"), RAW.encode(), Circumstances(variables=found), name="in")
    (field,) = explain(bench, "m", given, "name", clear=True).fields
    assert (field.state, field.value) == ("written", "ann")
    assert coverage(bench, "m", [given]).failed == {}


def test_editors_know_lookups(folder: Folder) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    bench = bench_of(folder)
    valid = jsonschema.Draft202012Validator(schema.mapping_schema(CODECS, bench.library.functions)).is_valid
    head = {"from": {"codec": "json", "empty": "absent"}, "to": {"codec": "json"}, "fields": {"a": "$p.a"}}
    good = {"system": "a/b", "request": {"x": "y"}, "cache": "5m", "read": {"a": "b"}, "when": "x"}
    assert valid({**head, "lookups": {"p": good}, "use": ["f"], "define": {"f(a)": "$a"}})
    assert valid({"define": {"f(a, b)": "$a"}})
    for wrong in ({"system": "a/b"}, {**good, "keys": {}}, {"store": "X", "keys": {"a": "b"}, "cache": "5m"}):
        assert not valid({**head, "lookups": {"p": wrong}})
    case = {"name": "x", "input": {}, "lookups": {"p": {}}, "asks": {"p": None}}
    assert jsonschema.Draft202012Validator(schema.tests_schema()).is_valid({"cases": [case]})


def test_files_of_definitions_need_no_tests(folder: Folder, tmp_path: Path) -> None:
    bench = bench_of(folder)
    folder.write("f.yaml", "define: {'f(a)': $a}\n")
    bench = Workbench(MappingLibrary([folder.root]), CODECS, [folder.root], [])
    assert run_tests(bench, ["f"]).untested == []
