"""The canonical types, and HL7 v2 → canonical: whatever comes in, the document that goes out fits its type."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from hub.codecs.hl7v2 import Hl7Codec, split_batch
from hub.codecs.json_codec import JsonCodec
from hub.errors import CodecError, MappingError
from hub.mapping import Context, MappingLibrary

ROOT = Path(__file__).parents[2]
SCHEMAS = sorted((ROOT / "schemas" / "canonical").glob("*.json"))
TYPES = [path.stem for path in SCHEMAS if path.stem != "common"]
#: Nobody is treated there: they have no patient.
WITHOUT_PATIENT = [
    "driver",
    "fund_flow",
    "government_case",
    "government_materials",
    "government_progress",
    "location",
    "vehicle",
    "waybill",
]
EXAMPLES = sorted(
    path
    for folder in ("canonical", "fhir_r4")
    for path in (ROOT / "mappings" / folder / "examples").glob("*.hl7")
    if path.name[:3] in ("adt", "oru", "orm", "oml", "mdm", "siu", "dft")
)
SAMPLES = ROOT.parent / "shared" / "samples" / "hl7v2"
HL7, JSON = Hl7Codec(), JsonCodec()
#: What is made of the messages of a kind.
MADE_OF = {
    "ADT": ("patient", "visit"),
    "ORU": ("lab_report", "imaging_report"),
    "ORM": ("order",),
    "OML": ("order",),
    "OMG": ("order",),
    "MDM": ("document",),
    "SIU": ("appointment",),
    "DFT": ("charge",),
}
#: Public files that are refused, and where: words in the place of dates, offsets that are none, results of nobody.
WRONG = {
    "ORU_deidentified.hl7": "patient.birthDate",
    "elims_40_4988249_33033-with-truncation.hl7": "patient.birthDate",
    "sample_1.hl7": "patient.birthDate",
    "sample_hl7.hl7": "patient.birthDate",
    "realm-animal-rabies.hl7": "report.issuedAt",
    "realm-batch.hl7": "report.issuedAt",
    "realm-lead-laboratory-result.hl7": "report.issuedAt",
    "cwe-quantity.hl7": "vars.there",
}


@cache
def library() -> MappingLibrary:
    return MappingLibrary([ROOT / "mappings"])


@cache
def validator(kind: str) -> Draft202012Validator:
    resources = [(path.name, Resource.from_contents(json.loads(path.read_text("utf-8")))) for path in SCHEMAS]
    return Draft202012Validator({"$ref": f"{kind}.json"}, registry=Registry().with_resources(resources))


def faults(kind: str, document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator(kind).iter_errors(document)]


def documents(kind: str, tree: Any) -> list[Any]:
    """What would be sent, read back."""
    name = "patient_merge" if HL7.envelope(tree)[0].startswith("ADT^A40") else kind
    outputs = library().get(f"canonical/{name}_from_v2").run(tree, Context())
    return [json.loads(JSON.encode(output)) for output in outputs]


def kinds_of(tree: Any) -> tuple[str, ...]:
    kind = HL7.envelope(tree)[0]
    return ("patient",) if kind.startswith("ADT^A40") else MADE_OF.get(kind[:3], ())


def subschemas(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema with a title, with its path."""
    if isinstance(schema, dict):
        if "title" in schema and isinstance(schema["title"], str):
            yield path, schema
        for key, value in schema.items():
            yield from subschemas(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from subschemas(value, f"{path}/{number}")


# ---------------------------------------------------------------- the types


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_types_say_what_they_hold(path: Path) -> None:
    schema = json.loads(path.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    for place, one in subschemas(schema, path.stem):
        assert re.search(r"[\u4e00-\u9fff]", one["title"]), place
        assert one["description"].endswith("."), place
        assert re.fullmatch(
            r"DE\d\d\.\d\d\.\d\d\d\.\d\d|HDSD\d\d\.\d\d\.\d\d\d", one.get("x-element", "DE00.00.000.00")
        ), place
        table = one.get("x-table", "2.16.1")
        ours = (ROOT / "mappings" / "tables" / f"{table}.csv").is_file()
        assert ours or re.fullmatch(r"[^()]+ \([\d.]+\)|2\.16\.[\d.]+", table), place
        if one.get("type") == "object" and not place.endswith("/extension"):
            assert one["additionalProperties"] is False, place
            for name, member in one["properties"].items():
                assert re.fullmatch(r"[a-z][A-Za-z0-9]*", name), f"{place}/{name}"
                assert "title" in member or "$ref" in member, f"{place}/{name}"


def test_references_lead_somewhere() -> None:
    files = {path.name: json.loads(path.read_text("utf-8")) for path in SCHEMAS}
    for name, schema in files.items():
        for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(schema)):
            file, _, pointer = reference.partition("#/$defs/")
            assert pointer in files[file or name]["$defs"], f"{name}: {reference}"


@pytest.mark.parametrize("kind", WITHOUT_PATIENT)
def test_a_type_without_a_patient_is_one_document(kind: str) -> None:
    assert faults(kind, {}) != []
    assert faults(kind, {"nothing": 1}) != []


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind not in WITHOUT_PATIENT])
def test_a_type_is_one_document(kind: str) -> None:
    schema = json.loads((ROOT / "schemas" / "canonical" / f"{kind}.json").read_text("utf-8"))
    assert {"header", "patient", "extension"} <= set(schema["properties"])
    assert "patient" in schema["required"]
    assert faults(kind, {}) != []
    assert faults(kind, {"patient": {"name": {"text": "样本"}}, "nothing": 1}) != []


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("1954", True),
        ("1954-01", True),
        ("1954-01-13", True),
        ("2026-11-20T08:12:00+08:00", True),
        ("2026-11-20T08:12:00.125Z", True),
        ("2026-11-20T08:12", True),
        ("19540113", False),
        ("1954-13", False),
        ("2026-11-20 08:12:00", False),
        ("2026-11-20T25:00:00", False),
        ("", False),
    ],
)
def test_times_are_as_precise_as_they_are_known(value: str, good: bool) -> None:
    document = {"patient": {"birthDate": value}}
    assert (faults("patient", document) == []) is good


EXAMPLE_DOCUMENTS: dict[str, dict[str, Any]] = {
    "inpatient_front_page": {
        "visit": {"number": "V000012", "count": 2, "startedAt": "2026-11-20T08:12:00+08:00"},
        "document": {"number": "DOC1", "version": "1"},
        "frontPage": {
            "number": "BA0001",
            "diagnoses": [
                {
                    "main": True,
                    "kind": "discharge",
                    "code": {"code": "I10.x00", "display": "高血压"},
                    "admissionCondition": {"code": "1"},
                }
            ],
            "operations": [{"code": {"code": "37.2200"}, "surgeon": {"name": "演示医生"}, "incision": {"code": "1"}}],
            "comaBeforeAdmission": {"days": 0, "hours": 2, "minutes": 30},
            "signers": [{"role": {"text": "科主任"}, "practitioner": {"code": "D001"}, "signedAt": "2026-11-26"}],
            "cost": {"total": 12345.6, "selfPaid": 2345.6},
        },
    },
    "outpatient_record": {
        "visit": {"number": "V000002"},
        "record": {
            "chiefComplaint": "胸闷三天",
            "allergic": False,
            "vitalSigns": [{"code": {"display": "体温"}, "value": "36.5", "quantity": {"value": 36.5, "unit": "℃"}}],
            "diagnoses": [{"traditionalDisease": {"code": "BNX010"}, "traditionalSyndrome": {"display": "肝阳上亢证"}}],
            "orders": [{"content": "口服药", "dose": {"value": 5, "unit": "mg"}, "plannedStart": "2026-11-20"}],
        },
    },
}


@pytest.mark.parametrize("kind", EXAMPLE_DOCUMENTS)
def test_documents_of_types_no_mapping_makes_yet(kind: str) -> None:
    document = {"patient": {"name": {"text": "样本人"}}, **EXAMPLE_DOCUMENTS[kind]}
    assert faults(kind, document) == []


@pytest.mark.parametrize("name", ["patient", "lab_report"])
def test_example_documents_fit_their_types(name: str) -> None:
    document = json.loads((ROOT / "mappings" / "canonical" / "examples" / f"{name}.json").read_text("utf-8"))
    assert faults(name, document) == []


# ---------------------------------------------------------------- HL7 v2 → canonical


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_examples_give_documents_that_fit(path: Path) -> None:
    tree = HL7.decode(path.read_bytes())
    made = [(kind, document) for kind in kinds_of(tree) for document in documents(kind, tree)]
    assert made or "fhir_r4" in path.parts
    assert [fault for kind, document in made for fault in faults(kind, document)] == []


def sample_messages() -> Iterator[tuple[str, Any]]:
    for path in sorted(SAMPLES.rglob("*")) if SAMPLES.is_dir() else ():
        if path.is_file():
            try:
                trees = [HL7.decode(raw) for raw in split_batch(path.read_bytes())]
                for tree in trees:
                    HL7.envelope(tree)
            except CodecError:
                continue
            yield from ((path.name, tree) for tree in trees)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples in {SAMPLES}")
def test_public_messages() -> None:
    counted = dict.fromkeys(TYPES, 0)
    for name, tree in sample_messages():
        for kind in kinds_of(tree):
            if name in WRONG and kind == "lab_report":
                with pytest.raises(MappingError) as refused:
                    documents(kind, tree)
                assert (refused.value.target, bool(refused.value.line)) == (WRONG[name], True), name
                continue
            for document in documents(kind, tree):
                assert faults(kind, document) == [], name
                counted[kind] += 1
    assert counted["patient"] > 30
    assert counted["visit"] > 30
    assert counted["lab_report"] > 80
    assert counted["order"] > 10
    assert counted["imaging_report"] > 0
    assert counted["document"] > 0


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good message with segments and fields dropped, doubled or filled with something else."""
    segments = draw(st.sampled_from(EXAMPLES)).read_text("utf-8").strip("\r\n").splitlines()
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(segments) - 1))
        action = draw(st.sampled_from(["drop", "double", "field", "field", "field", "component"]))
        if action == "drop" and at:
            del segments[at]
        elif action == "double" and at:
            segments.insert(draw(st.integers(1, len(segments))), segments[at])
        else:
            fields = segments[at].split("|")
            number = draw(st.integers(min(2, len(fields) - 1), len(fields) - 1))
            components = fields[number].split("^")
            if action == "component":
                components[draw(st.integers(0, len(components) - 1))] = ""
                fields[number] = "^".join(components)
            elif number > 2 or at:
                fields[number] = draw(
                    st.sampled_from(["", '""', "^", "~", "&", "^x&&y", "~~a^b", " ", "a  b", "张三", "<3", "^^^^^^^1"])
                )
            segments[at] = "|".join(fields)
    return "\r".join(segments).encode()


@given(damaged())
@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_messages_give_documents_that_fit_or_a_place(raw: bytes) -> None:
    try:
        tree = HL7.decode(raw)
        kinds = kinds_of(tree)
    except CodecError:
        return
    for kind in kinds:
        try:
            made = documents(kind, tree)
        except MappingError as error:
            refused = error
        else:
            assert [fault for document in made for fault in faults(kind, document)] == []
            continue
        assert all((refused.file, refused.line, refused.target))
