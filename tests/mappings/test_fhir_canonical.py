"""FHIR R4 ⇄ canonical, and through it FHIR ⇄ WS/T 500: what goes out is valid and comes back, what comes in fits its type or is refused with a place."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from lxml import etree
from referencing import Registry, Resource

from hub.codecs.fhir import FhirCodec
from hub.codecs.hl7v2 import Hl7Codec
from hub.codecs.hl7v3 import CdaCodec
from hub.codecs.json_codec import JsonCodec
from hub.errors import CodecError, MappingError
from hub.mapping import Context, MappingLibrary

bundle = pytest.importorskip("fhir.resources.R4B.bundle")

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "mappings" / "cda" / "examples"
SAMPLES = ROOT.parent / "shared" / "samples"
XSD = SAMPLES / "cda" / "cn-wst500-xsd"
DOCUMENTS = {
    "lab_report": "C0007",
    "imaging_report": "C0006",
    "outpatient_record": "C0002",
    "inpatient_front_page": "C0032",
}
TYPES = sorted(DOCUMENTS)
#: What is read from bundles.
READ = [*TYPES, "patient", "visit"]
FHIR, JSON, CDA, HL7 = FhirCodec(), JsonCodec(), CdaCodec(), Hl7Codec()
HOSPITAL = {"organisation_code": "12359999400000001X", "organisation_name": "演示市第一医院"}
ODD = [
    "",
    " ",
    "-",
    "x",
    "2026",
    "2026-13-40",
    "昨天",
    "<b>&",
    "a  b",
    0,
    -1,
    1.5,
    True,
    None,
    [],
    {},
    ["x"],
    {"code": "x"},
]


@cache
def library() -> MappingLibrary:
    return MappingLibrary([ROOT / "mappings"])


@cache
def canonical(kind: str) -> Draft202012Validator:
    schemas = {
        path.name: json.loads(path.read_text("utf-8")) for path in (ROOT / "schemas" / "canonical").glob("*.json")
    }
    registry = Registry().with_resources((name, Resource.from_contents(schema)) for name, schema in schemas.items())
    return Draft202012Validator(schemas[f"{kind}.json"], registry=registry)


def faults(kind: str, tree: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in canonical(kind).iter_errors(tree)]


def example(kind: str) -> Any:
    return json.loads((EXAMPLES / f"{kind}.json").read_text("utf-8"))


def written(kind: str, tree: Any) -> bytes:
    """The bundle of a canonical document as it would be sent."""
    (found,) = library().get(f"fhir_r4/from_canonical/{kind}").run(tree, Context())
    return FHIR.encode(found)


def read(kind: str, raw: bytes) -> list[Any]:
    """The canonical documents of a bundle, as a receiver of the JSON gets them."""
    found = library().get(f"canonical/{kind}_from_fhir").run(FHIR.decode(raw), Context())
    return [json.loads(JSON.encode(tree)) for tree in found]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def check_bundle(raw: bytes) -> None:
    """Valid by the models, a document, every URL once, every reference to an entry of the bundle."""
    bundle.Bundle.model_validate_json(raw)
    tree = json.loads(raw)
    urls = [entry["fullUrl"] for entry in tree["entry"]]
    assert len(urls) == len(set(urls))
    assert set(references(tree)) <= set(urls)
    assert tree["type"] == "document"
    assert {"system", "value"} <= set(tree["identifier"])
    assert "timestamp" in tree
    assert tree["entry"][0]["resource"]["resourceType"] == "Composition"


def without_tables(value: Any) -> Any:
    """Without the names of code tables, which FHIR has no place for, and addresses in one order."""
    if isinstance(value, dict):
        kept = {key: without_tables(item) for key, item in value.items() if key != "table"}
        if "addresses" in kept:
            kept["addresses"].sort(key=lambda item: json.dumps(item, sort_keys=True))
        return kept
    return [without_tables(item) for item in value] if isinstance(value, list) else value


def expected(kind: str) -> Any:
    """The example and what it gets on the way."""
    tree = without_tables(example(kind))
    tree["patient"]["identifiers"][0]["system"] = "2.16.156.10011.1.3"
    system = "2.16.156.10011.2.3.1.271"
    if kind == "outpatient_record":
        tree["visit"]["kind"] = {"code": "1", "display": "门诊", "system": system}
    if kind == "inpatient_front_page":
        tree["visit"]["kind"] = {"code": "3", "display": "住院", "system": system}
        tree["visit"]["leaving"] = tree["frontPage"]["leaving"]
        tree["visit"]["receivingOrganisation"] = tree["frontPage"]["receivingOrganisation"]
    return tree


# -- canonical → FHIR → canonical ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_a_document_is_a_valid_bundle_and_comes_back(kind: str) -> None:
    raw = written(kind, example(kind))
    check_bundle(raw)
    (back,) = read(kind, raw)
    assert without_tables(back) == expected(kind)
    assert faults(kind, back) == []
    assert written(kind, example(kind)) == raw


@pytest.mark.parametrize("kind", TYPES)
def test_a_second_way_there_and_back_changes_nothing(kind: str) -> None:
    (once,) = read(kind, written(kind, example(kind)))
    (twice,) = read(kind, written(kind, once))
    assert without_tables(twice) == without_tables(once)


@pytest.mark.parametrize("kind", ["lab_report", "patient"])
def test_the_patient_and_the_visit_of_messages_come_back(kind: str) -> None:
    tree = json.loads((ROOT / "mappings" / "canonical" / "examples" / "lab_report.json").read_text("utf-8"))
    if kind == "patient":
        tree["patient"] = json.loads(
            (ROOT / "mappings" / "canonical" / "examples" / "patient.json").read_text("utf-8")
        )["patient"]
    raw = written("lab_report", tree)
    check_bundle(raw)
    (back,) = read("lab_report", raw)
    assert faults("lab_report", back) == []
    for member in ("name", "sex", "birthDate", "relatedPersons", "employer", "ethnicGroup"):
        assert without_tables(back["patient"].get(member)) == without_tables(tree["patient"].get(member)), member
    assert [item["value"] for item in back["patient"]["identifiers"]] == [
        item["value"] for item in tree["patient"]["identifiers"]
    ]
    results = [(one["code"]["code"], one.get("value"), one.get("unit")) for one in back["report"]["results"]]
    assert results == [(one["code"]["code"], one.get("value"), one.get("unit")) for one in tree["report"]["results"]]


@pytest.mark.parametrize(
    "text", ["A < B & C > D", "第一行\n第二行", "<script>alert(1)</script>", "&lt;不是标签&gt;", '"引号"']
)
def test_texts_of_sections_come_back_as_they_were(text: str) -> None:
    tree = example("outpatient_record")
    tree["record"]["presentIllness"] = text
    raw = written("outpatient_record", tree)
    check_bundle(raw)
    (back,) = read("outpatient_record", raw)
    assert back["record"]["presentIllness"] == text


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ({"value": "6.20", "quantity": {"value": 6.20, "unit": "10^9/L", "unitCode": "10*9/L"}}, "quantity"),
        ({"value": "<0.5", "quantity": {"value": 0.5, "comparator": "<"}}, "quantity"),
        ({"value": "007", "quantity": {"value": 7}}, "quantity"),
        ({"value": "3-5", "range": {"low": {"value": 3}, "high": {"value": 5}}}, "range"),
        ({"value": "1:64", "ratio": {"numerator": {"value": 1}, "denominator": {"value": 64}}}, "ratio"),
        ({"value": "阳性", "codes": [{"code": "POS", "display": "阳性"}]}, "coded"),
        ({"value": "阴性(-)"}, "text"),
    ],
)
def test_values_come_back_with_their_kind(result: dict[str, Any], kind: str) -> None:
    tree = {
        "patient": {"name": {"text": "欧阳样本"}},
        "report": {"number": "J1", "results": [{"code": {"code": "X"}, "kind": kind, **result}]},
    }
    raw = written("lab_report", tree)
    check_bundle(raw)
    (back,) = read("lab_report", raw)
    for key, value in tree["report"]["results"][0].items():  # type: ignore[index]
        if key != "quantity":
            assert back["report"]["results"][0][key] == value
    assert back["report"]["results"][0].get("quantity", {}).get("value") == result.get("quantity", {}).get("value")


def test_isolates_come_back() -> None:
    isolate = {
        "organism": {"code": "ECO", "display": "大肠埃希菌"},
        "quantity": ">10^5 CFU/mL",
        "susceptibilities": [
            {"antibiotic": {"display": "亚胺培南"}, "value": "<=1", "interpretation": {"code": "S"}},
            {"antibiotic": {"display": "氨苄西林"}, "value": ">=32", "interpretation": {"code": "R"}},
        ],
    }
    tree = {"patient": {"name": {"text": "欧阳样本"}}, "report": {"number": "J1", "isolates": [isolate]}}
    raw = written("lab_report", tree)
    check_bundle(raw)
    (back,) = read("lab_report", raw)
    assert back["report"]["isolates"] == [isolate]
    assert "results" not in back["report"]


# -- CDA → FHIR → CDA ------------------------------------------------------------------------------------------------


def canonical_xml(raw: bytes) -> bytes:
    return etree.tostring(etree.fromstring(raw, etree.XMLParser(remove_blank_text=True)), method="c14n")


@pytest.mark.parametrize("kind", TYPES)
def test_a_cda_document_comes_back_as_it_was(kind: str) -> None:
    source = (EXAMPLES / f"{kind}.xml").read_bytes()
    (found,) = library().get(f"fhir_r4/{kind}_from_cda").run(CDA.decode(source), Context())
    raw = FHIR.encode(found)
    check_bundle(raw)
    (document,) = library().get(f"cda/{kind}_from_fhir").run(FHIR.decode(raw), Context(settings=HOSPITAL))
    assert canonical_xml(CDA.encode(document)) == canonical_xml(source)
    if XSD.is_dir():
        assert etree.XMLSchema(etree.parse(XSD / f"{DOCUMENTS[kind]}.xsd")).validate(
            etree.fromstring(CDA.encode(document))
        )


# -- bundles of others -----------------------------------------------------------------------------------------------


def check(kind: str, raw: bytes) -> int:
    """Read a bundle of anybody: what comes out fits its type, or it is refused with a place. How many documents."""
    try:
        found = read(kind, raw)
    except MappingError as error:
        refused = error
    else:
        assert [fault for tree in found for fault in faults(kind, tree)] == []
        return len(found)
    assert all((refused.file, refused.line, refused.target))
    return 0


@pytest.mark.parametrize(
    "path", sorted((ROOT / "mappings" / "fhir_r4" / "examples").glob("*.json")), ids=lambda path: path.stem
)
def test_bundles_made_of_messages_are_read(path: Path) -> None:
    raw = path.read_bytes()
    assert check("patient", raw) >= 1
    if path.stem.startswith("oru"):
        assert check("lab_report", raw) + check("imaging_report", raw) >= 1
    if path.stem.startswith("adt_a0"):
        assert check("visit", raw) == 1
    for kind in TYPES:
        check(kind, raw)


def foreign() -> Iterator[bytes]:
    """Public bundles, and what they would be of single resources that carry reports and visits, each with its patient."""
    for path in sorted((SAMPLES / "fhir").rglob("*.json")):
        raw = path.read_bytes()
        try:
            tree = FHIR.decode(raw)
        except CodecError:
            continue
        if isinstance(tree, dict) and tree.get("resourceType") == "Bundle":
            yield raw
        else:
            # As if patients and results had been sent with it.
            entries = [{"resource": json.loads(raw)}]
            for kind, _, number in sorted(name.partition("/") for name in set(references(entries))):
                if kind == "Patient":
                    person = {"resourceType": kind, "id": number, "name": [{"text": "Sample"}]}
                    entries.append({"resource": person})
                elif kind == "Observation":
                    value = {"resourceType": kind, "id": number, "code": {"text": "Sample"}, "valueInteger": 1}
                    entries.append({"resource": value})
            yield json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()


@pytest.mark.skipif(not (SAMPLES / "fhir").is_dir(), reason=f"no samples in {SAMPLES}")
def test_public_bundles() -> None:
    counted = dict.fromkeys(READ, 0)
    for raw in foreign():
        for kind in READ:
            counted[kind] += check(kind, raw)
    assert counted["patient"] > 10
    assert counted["visit"] > 2
    assert counted["lab_report"] > 0


def refusal(kind: str, tree: Any) -> str:
    with pytest.raises(MappingError) as error:
        read(kind, json.dumps(tree).encode())
    return str(error.value)


@pytest.mark.parametrize("kind", ["outpatient_record", "inpatient_front_page"])
def test_whose_record_it_is_is_not_guessed(kind: str) -> None:
    empty = {"resourceType": "Bundle", "type": "collection", "entry": []}
    assert "there is no Encounter" in refusal(kind, empty)
    visits = [{"resource": {"resourceType": "Encounter", "id": str(number)}} for number in (1, 2)]
    assert "several Encounters" in refusal(kind, {**empty, "entry": visits})
    people = [{"resource": {"resourceType": "Patient", "id": str(number)}} for number in (1, 2)]
    assert "the one Patient" in refusal(kind, {**empty, "entry": [visits[0], *people]})


def test_results_of_another_patient_are_refused() -> None:
    tree = json.loads(written("lab_report", example("lab_report")))
    other = {
        "fullUrl": "urn:uuid:11111111-1111-4111-8111-111111111111",
        "resource": {"resourceType": "Patient", "id": "b"},
    }
    observation = next(
        entry["resource"]
        for entry in tree["entry"]
        if "valueQuantity" in entry["resource"] and "effectiveDateTime" in entry["resource"]
    )
    observation["subject"]["reference"] = other["fullUrl"]
    assert "another patient than its report" in refusal("lab_report", {**tree, "entry": [*tree["entry"], other]})
    report = next(
        entry["resource"] for entry in tree["entry"] if entry["resource"]["resourceType"] == "DiagnosticReport"
    )
    report["subject"]["reference"] = other["fullUrl"]
    assert "of another Patient" in refusal("lab_report", {**tree, "entry": [*tree["entry"], other]})


@cache
def example_bundle(kind: str) -> Any:
    return json.loads(written(kind, example(kind)))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every member and item, with what holds it."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


@st.composite
def damaged_bundles(draw: st.DrawFn) -> tuple[str, bytes]:
    kind = draw(st.sampled_from(TYPES))
    tree = copy.deepcopy(example_bundle(kind))
    for _ in range(draw(st.integers(1, 6))):
        found = list(places(tree["entry"]))
        holder, key = found[draw(st.integers(0, len(found) - 1))]
        if draw(st.integers(0, 3)) == 0:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return kind, json.dumps(tree).encode()


@given(damaged_bundles())
@settings(max_examples=130, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_bundles_give_documents_that_fit_or_a_place(case: tuple[str, bytes]) -> None:
    kind, raw = case
    try:
        FHIR.decode(raw)
    except CodecError:
        return
    for name in (kind, "patient", "visit"):
        check(name, raw)


def without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: kept for key, item in value.items() if (kept := without_empty(item)) not in ({}, [])}
    if isinstance(value, list):
        return [kept for item in value if (kept := without_empty(item)) not in ({}, [])]
    return value


@st.composite
def thinned(draw: st.DrawFn) -> tuple[str, Any]:
    """An example without some of its parts."""
    kind = draw(st.sampled_from(TYPES))
    tree = example(kind)
    for _ in range(draw(st.integers(1, 12))):
        at: Any = tree
        while isinstance(at, dict | list) and at:
            key = draw(st.sampled_from(sorted(at))) if isinstance(at, dict) else draw(st.integers(0, len(at) - 1))
            if not isinstance(at[key], dict | list) or draw(st.booleans()):
                del at[key]
                break
            at = at[key]
    return kind, without_empty(tree)


@given(thinned())
@settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_incomplete_documents_give_a_valid_bundle_or_a_place(case: tuple[str, Any]) -> None:
    kind, tree = case
    if faults(kind, tree):
        return
    try:
        raw = written(kind, tree)
    except MappingError as error:
        refused = error
    else:
        check_bundle(raw)
        check(kind, raw)
        return
    assert all((refused.file, refused.line, refused.target))


# -- HL7 v2 → canonical → CDA ------------------------------------------------------------------------------------------


def message(name: str) -> bytes:
    return (ROOT / "mappings" / "canonical" / "examples" / name).read_bytes().replace(b"\n", b"\r")


ADT = {"inpatient_front_page": "adt_a03_front_page.hl7", "outpatient_record": "adt_a04_outpatient.hl7"}


def from_message(kind: str, raw: bytes) -> list[Any]:
    found = library().get(f"canonical/{kind}_from_v2").run(HL7.decode(raw), Context())
    return [json.loads(JSON.encode(tree)) for tree in found]


@pytest.mark.parametrize("kind", ADT)
def test_records_of_messages_fit_and_become_bundles(kind: str) -> None:
    (tree,) = from_message(kind, message(ADT[kind]))
    assert faults(kind, tree) == []
    raw = written(kind, tree)
    check_bundle(raw)
    (back,) = read(kind, raw)
    assert faults(kind, back) == []
    part = "frontPage" if kind == "inpatient_front_page" else "record"
    assert without_tables(back[part]["diagnoses"]) == without_tables(tree[part]["diagnoses"])


@pytest.mark.skipif(not XSD.is_dir(), reason=f"no schemas in {XSD}")
@pytest.mark.parametrize("kind", ADT)
def test_documents_of_messages_are_valid(kind: str) -> None:
    (tree,) = from_message(kind, message(ADT[kind]))
    if kind == "inpatient_front_page":
        # What an ADT has no field for, as a lookup would add it.
        added = example(kind)
        for name in ("occupation", "addresses", "employer"):
            tree["patient"][name] = added["patient"][name]
        tree["visit"]["admissionRoute"] = added["visit"]["admissionRoute"]
        tree["frontPage"] |= {"departmentDirector": {"code": "D4100", "name": "沈样本"}}
        tree["visit"]["location"] = added["visit"]["location"]
        tree["frontPage"]["dischargeDepartment"] = added["frontPage"]["dischargeDepartment"]
        tree["frontPage"]["dischargeWard"] = added["frontPage"]["dischargeWard"]
    (same,) = library().get(f"cda/{kind}_complete").run(tree, Context())
    (document,) = library().get(f"cda/{kind}").run(same, Context(settings=HOSPITAL))
    schema = etree.XMLSchema(etree.parse(XSD / f"{DOCUMENTS[kind]}.xsd"))
    schema.validate(etree.fromstring(CDA.encode(document)))
    errors: Any = schema.error_log
    assert [str(error.message) for error in errors] == []


@st.composite
def damaged_messages(draw: st.DrawFn) -> tuple[str, bytes]:
    """A good message with segments and fields dropped, doubled or filled with something else."""
    kind = draw(st.sampled_from(sorted(ADT)))
    segments = message(ADT[kind]).decode().strip("\r").split("\r")
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(1, len(segments) - 1))
        action = draw(st.sampled_from(["drop", "double", "field", "field", "field"]))
        if action == "drop" and len(segments) > 2:
            del segments[at]
        elif action == "double":
            segments.append(segments[at])
        else:
            fields = segments[at].split("|")
            fields[draw(st.integers(1, len(fields) - 1))] = draw(
                st.sampled_from(["", '""', "^", "~", "&", "^x&&y", "~~a^b", " ", "张三", "<3", "^^^^^^^1", "20269999"])
            )
            segments[at] = "|".join(fields)
    return kind, "\r".join(segments).encode()


@given(damaged_messages())
@settings(max_examples=120, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_messages_give_records_that_fit_or_a_place(case: tuple[str, bytes]) -> None:
    kind, raw = case
    try:
        found = from_message(kind, raw)
    except CodecError:
        return
    except MappingError as error:
        refused = error
    else:
        assert [fault for tree in found for fault in faults(kind, tree)] == []
        return
    assert all((refused.file, refused.line, refused.target))
