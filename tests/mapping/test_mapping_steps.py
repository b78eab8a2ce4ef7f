"""Mappings of steps: one mapping after the other, with the trees handed on as they are."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.codecs.registry import builtin_codecs
from hub.errors import MappingError
from hub.mapping import Context
from hub.mapping.document import Document
from hub.mapping.mapping import Compilation, CompiledMapping, compile_mapping

if TYPE_CHECKING:
    from conftest import Folder

CODECS = {codec.name: codec for codec in builtin_codecs()}
ORU = "\r".join(
    [
        "MSH|^~\\&|LIS|LAB|HUB|GH|20260115093015||ORU^R01|M1|P|2.5.1|||||CHN|UNICODE UTF-8",
        "PID|1||P0001^^^GH^MR||欧阳^明||19830502|M",
        "OBR|1|O1|F1|CBC^血常规",
        "OBX|1|NM|WBC^白细胞||6.20|10*9/L|3.5-9.5|N",
        "OBX|2|NM|HGB^血红蛋白||131|g/L|130-175|N",
        "OBR|2|O2|F2|GLU^血糖",
        "OBX|1|NM|GLU^葡萄糖||5.1|mmol/L|3.9-6.1|N",
        "",
    ]
).encode()
FROM_V2 = """
from: {codec: hl7v2, types: ["ORU^R01"]}
to: {codec: json}
split: OBR
fields:
  id: .2
  patient: {id: PID-3.1, name: "concat(PID-5.1, PID-5.2)", born: PID-7 | date}
  results: {each: .OBX, code: .3.1, name: .3.2, value: .5 | number, unit: .6}
"""
TO_XML = """
from: {codec: json, types: [never]}
to: {codec: xml}
when: patient.id
fields:
  Report:
    "@id": id
    Name: patient.name
    Item: {each: results, "@code": .code, "@unit": .unit, Value: .value, Name: .name}
"""
FROM_XML = """
from: {codec: cda}
to: {codec: hl7v2}
fields:
  MSH-9: {const: ACK}
  PID-5.1: "Report/Name"
  OBX: {each: Report/Item, ".1": $number, ".3.1": ./@code, ".5": ./Value, ".6": ./@unit}
"""
TO_DICOM = """
from: {codec: hl7v2}
to: {codec: dicom}
fields:
  SOPClassUID: {const: "1.2.840.10008.5.1.4.1.1.88.11"}
  SOPInstanceUID: {const: "1.2.3.4"}
  SpecificCharacterSet: {const: ISO_IR 192}
  PatientName: PID-5.1
  SeriesNumber: OBX[*]-1 | count
"""
FROM_DICOM = """
from: {codec: dicom}
to: {codec: json}
fields: {name: PatientName, results: SeriesNumber}
"""
ALL = {"v2": FROM_V2, "xml": TO_XML, "hl7": FROM_XML, "dcm": TO_DICOM, "json": FROM_DICOM}


def chain(folder: Folder, *steps: str, **files: str) -> CompiledMapping:
    for name, text in {**ALL, **files}.items():
        folder.write(f"{name}.yaml", text)
    folder.write("all.yaml", f"mapping: all\ndescription: in steps\nsteps: [{', '.join(steps)}]\n")
    return folder.library().get("all")


def written(mapping: CompiledMapping, raw: bytes) -> list[bytes]:
    codec = CODECS[mapping.target_codec]
    return [codec.encode(tree) for tree in mapping.run(CODECS[mapping.source_codec].decode(raw), Context())]


def test_a_chain_reads_what_its_first_step_reads_and_writes_what_its_last_writes(folder: Folder) -> None:
    mapping = chain(folder, "v2", "xml")
    assert (mapping.name, mapping.source_codec, mapping.target_codec) == ("all", "hl7v2", "xml")
    assert mapping.types == ("ORU^R01",)
    assert mapping.splits
    assert [part.name for part in mapping.parts] == ["v2", "xml"]
    first, second = (CODECS["xml"].decode(one).root for one in written(mapping, ORU))
    assert (first.get("id"), first.findtext("Name")) == ("O1", "欧阳明")
    assert [item.findtext("Value") for item in first] == [None, "6.20", "131"]
    assert (second.get("id"), [item.get("code") for item in second]) == ("O2", [None, "GLU"])


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_trees_handed_on_say_what_their_bytes_would(folder: Folder, number: int) -> None:
    names = list(ALL)[:number]
    mapping = chain(folder, *names)
    library = folder.library()
    bodies = [ORU]
    for name in names:
        bodies = [made for body in bodies for made in written(library.get(name), body)]
    assert written(mapping, ORU) == bodies
    assert len(bodies) == 2


def test_steps_may_copy_and_change_their_source(folder: Folder) -> None:
    copy = "from: {codec: hl7v2}\nto: {codec: hl7v2, base: source, remove: [OBR]}\nfields: {PID-5.2: {const: X}}\n"
    more = "from: {codec: hl7v2}\nto: {codec: hl7v2, base: source}\nfields: {PID-5.3: PID-5.2, OBX: {each: OBX, '.1': .3.1}}\n"
    mapping = chain(folder, "copy", "more", copy=copy, more=more)
    (made,) = written(mapping, ORU)
    library = folder.library()
    assert made == written(library.get("more"), written(library.get("copy"), ORU)[0])[0]
    assert b"^X^X" in made
    xml = "from: {codec: xml}\nto: {codec: xml, base: source}\nfields: {Report: {Name: {const: X}, '@n': 'count(Report/Item)'}}\n"
    mapping = chain(folder, "v2", "xml", "change", "change", change=xml)
    assert [CODECS["xml"].decode(one).root.get("n") for one in written(mapping, ORU)] == ["2", "1"]
    dicom = "from: {codec: dicom}\nto: {codec: dicom, base: source}\nfields: {PatientName: {const: X}}\n"
    mapping = chain(folder, "dcm", "anon", "anon", "json", anon=dicom)
    assert mapping.run(CODECS["hl7v2"].decode(ORU), Context()) == [{"name": "X", "results": 3}]


def test_nothing_from_one_step_is_nothing_from_all(folder: Folder) -> None:
    none = "from: {codec: json}\nto: {codec: json}\nwhen: id == 'O2'\nfields: {id: id}\n"
    mapping = chain(folder, "v2", "none", none=none)
    assert mapping.run(CODECS["hl7v2"].decode(ORU), Context()) == [{"id": "O2"}]
    mapping = chain(folder, "v2", "none", none=none.replace("O2", "O3"))
    assert mapping.run(CODECS["hl7v2"].decode(ORU), Context()) == []


def test_every_split_fans_out(folder: Folder) -> None:
    split = "from: {codec: json}\nto: {codec: json}\nsplit: results\nfields: {order: id, code: .code, sent: $target}\n"
    mapping = chain(folder, "v2", "split", split=split)
    made = mapping.run(CODECS["hl7v2"].decode(ORU), Context(variables={"target": "a/b"}))
    assert [(one["order"], one["code"], one["sent"]) for one in made] == [
        ("O1", "WBC", "a/b"),
        ("O1", "HGB", "a/b"),
        ("O2", "GLU", "a/b"),
    ]


def test_an_error_names_the_file_of_its_step(folder: Folder) -> None:
    mapping = chain(
        folder, "v2", "bad", bad="from: {codec: json}\nto: {codec: json}\nfields: {n: patient.name | int}\n"
    )
    with pytest.raises(MappingError) as caught:
        mapping.run(CODECS["hl7v2"].decode(ORU), Context())
    assert (caught.value.file, caught.value.line, caught.value.target) == (str(folder.root / "bad.yaml"), 3, "n")
    assert "欧阳明" not in caught.value.text


def test_a_data_set_that_can_not_be_written_is_an_error_of_the_mapping(folder: Folder) -> None:
    odd = TO_DICOM.replace("PID-5.1", "{const: 1.5}").replace("OBX[*]-1 | count", "{const: x}")
    mapping = chain(folder, "odd", "json", odd=odd)
    with pytest.raises(MappingError):
        mapping.run(CODECS["hl7v2"].decode(ORU), Context())


def test_the_stamp_covers_every_step(folder: Folder) -> None:
    part = "fragment: true\nfrom: {codec: json}\nto: {codec: json}\nfields: {a: id | table('t')}\n"
    use = "from: {codec: json}\nto: {codec: json}\nfields: {include: part}\n"
    folder.write("tables/t.csv", "from,to\nO1,1\nO2,2\n")
    first = chain(folder, "v2", "use", part=part, use=use)
    assert first.stamp == f"all@{first.hash}"
    assert len(first.hash) == 12
    assert first.hash == chain(folder, "v2", "use").hash
    folder.write("tables/t.csv", "from,to\nO1,3\nO2,2\n")
    second = folder.library().get("all")
    folder.write("part.yaml", part.replace("a:", "b:"))
    third = folder.library().get("all")
    folder.write("v2.yaml", FROM_V2 + "  more: {const: 1}\n")
    fourth = folder.library().get("all")
    assert len({mapping.hash for mapping in (first, second, third, fourth)}) == 4


def test_a_chain_follows_a_reload_of_one_of_its_parts(folder: Folder) -> None:
    part = "fragment: true\nfrom: {codec: json}\nto: {codec: json}\nfields: {a: id}\n"
    use = "from: {codec: json}\nto: {codec: json}\nfields: {include: part}\n"
    chain(folder, "v2", "use", part=part, use=use)
    library = folder.library()
    tree = CODECS["hl7v2"].decode(ORU)
    assert library.get("all").run(tree, Context()) == [{"a": "O1"}, {"a": "O2"}]
    folder.write("part.yaml", part.replace("a:", "b:"))
    assert library.reload(["part"]) == []
    assert library.get("all").run(tree, Context()) == [{"b": "O1"}, {"b": "O2"}]
    folder.write("part.yaml", part.replace("a:", "a: :"))
    assert library.reload(["part"])
    assert library.get("all").run(tree, Context()) == [{"b": "O1"}, {"b": "O2"}]


def test_steps_may_be_of_steps_themselves(folder: Folder) -> None:
    mapping = chain(folder, "half", "hl7", half="steps: [v2, xml]\n")
    assert [part.name for part in mapping.parts] == ["v2", "xml", "hl7"]
    assert len(written(mapping, ORU)) == 2


@pytest.mark.parametrize(
    ("files", "line", "key", "text"),
    [
        ({"all": "steps: [v2, hl7]\n"}, 1, "steps[1]", "hl7 reads cda, but v2 before it writes json"),
        ({"all": "steps:\n  - v2\n  - xm\n"}, 3, "steps[1]", "there is no mapping 'xm'"),
        ({"all": "steps: [all]\n"}, 1, "steps[0]", "all > all"),
        ({"all": "steps: [b]\n", "b": "steps: [all]\n"}, 1, "steps[0]", "all > b > all"),
        ({"all": "steps: []\n"}, 1, "steps", "a list expected"),
        ({"all": "steps: v2\n"}, 1, "steps", "a list expected"),
        ({"all": "steps: [{a: b}]\n"}, 1, "steps[0]", "name of a mapping"),
        ({"all": "from: {codec: json}\nsteps: [v2]\n"}, 1, "from", "does not go with steps"),
        ({"all": "steps: [v2]\nfields: {a: b}\n"}, 2, "fields", "does not go with steps"),
        ({"all": "steps: [v2]\nfield: {a: b}\n"}, 2, "field", "unknown key"),
        ({"all": "steps: [f]\n", "f": "fragment: true\nfrom: {codec: json}\nto: {codec: json}\nfields: {a: b}\n"}, 1, "steps[0]", "no whole mapping"),
        ({"all": "steps: [two, two]\n", "two": f"steps: [{', '.join(['json2'] * 9)}]\n"}, 1, "steps", "more than 16"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_place(
    folder: Folder, files: dict[str, str], line: int, key: str, text: str
) -> None:
    same = "from: {codec: json}\nto: {codec: json}\nfields: {a: a}\n"
    for name, content in {**ALL, "json2": same, **files}.items():
        folder.write(f"{name}.yaml", content)
    library = folder.library()
    found = [problem for problem in library.problems(["all"]) if text in problem.text]
    assert [(problem.line, problem.key, problem.severity) for problem in found][:1] == [(line, key, "error")]
    with pytest.raises(MappingError):
        library.get("all")


def test_problems_of_a_step_are_problems_of_the_chain(folder: Folder) -> None:
    with pytest.raises(MappingError) as caught:
        chain(folder, "v2", "bad", bad="from: {codec: json}\nto: {codec: json}\nfields: {n: id | nosuch}\n")
    assert (caught.value.file, caught.value.line, caught.value.target) == (str(folder.root / "bad.yaml"), 3, "n")
    assert len([p for p in folder.library().problems() if "nosuch" in p.text]) == 1


def test_a_mapping_that_fails_is_not_compiled_again_until_files_are_read_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []

    def counting(document: Document, *others: Any, **options: Any) -> Compilation:
        compiled.append(document.name)
        return compile_mapping(document, *others, **options)

    monkeypatch.setattr("hub.mapping.library.compile_mapping", counting)
    folder.write("m.yaml", "from: {codec: json}\nto: {codec: json}\nfields: {n: id | nosuch}\n")
    library = folder.library()
    for _ in range(3):
        with pytest.raises(MappingError, match="nosuch"):
            library.get("m")
    assert compiled == ["m"]
    folder.write("m.yaml", "from: {codec: json}\nto: {codec: json}\nfields: {n: id}\n")
    library.reload()
    assert library.get("m").run({"id": 1}, Context()) == [{"n": 1}]


BITS = st.sampled_from(
    [
        "steps: [m, v2]\n",
        "steps:\n",
        "  - v2\n",
        "  - {a: b}\n",
        "define:\n",
        "  f(a): $a\n",
        "  f(a, b): $a | f\n",
        "  g(): now()\n",
        "  'h(': x\n",
        "use: [m, f]\n",
        "lookups:\n",
        "  p: {system: a/b, request: {x: y}, cache: 5m}\n",
        "  q: {store: X, keys: {k: y}, read: {z: w}}\n",
        "  q: {store: X, keys: y}\n",
        "  p: []\n",
        "from: {codec: json, empty: absent}\n",
        "from: {codec: hl7v2}\n",
        "to: {codec: json}\n",
        "to: {codec: xml}\n",
        "fields: {a: f(b), c: $p.x}\n",
        "fields: $source | parse('xml')\n",
        "fields: {a: {b: \"x | xpath('a/b')\"}}\n",
        "fragment: true\n",
        "vars: {p: x}\n",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(BITS, max_size=8).map("".join))
def test_any_file_is_a_mapping_or_says_what_is_wrong(folder: Folder, text: str) -> None:
    folder.write("v2.yaml", FROM_V2)
    folder.write("f.yaml", "define: {'f(a)': $a}\n")
    folder.write("m.yaml", text)
    library = folder.library()
    errors = [problem for problem in library.problems(["m"]) if problem.severity == "error"]
    document = library.document("m")
    assert document is not None
    try:
        mapping = library.get("m")
    except MappingError:
        assert errors or document.fragment or document.shared
        return
    assert errors == []
    tree = CODECS[mapping.source_codec].decode(ORU if mapping.source_codec == "hl7v2" else b'{"b": "", "x": "<a/>"}')
    with contextlib.suppress(MappingError):
        mapping.run(tree, Context(variables={lookup.name: {} for lookup in mapping.lookups}))
