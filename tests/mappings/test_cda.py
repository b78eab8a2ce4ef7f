"""WS/T 500 documents: what goes out fits the platform's schemas and comes back as it was; what comes in fits its type or is refused with a place."""

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

from hub.codecs.hl7v2 import Hl7Codec
from hub.codecs.hl7v3 import CdaCodec
from hub.codecs.json_codec import JsonCodec
from hub.errors import CodecError, MappingError
from hub.mapping import Context, MappingLibrary

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "mappings" / "cda" / "examples"
SAMPLES = ROOT.parent / "shared" / "samples" / "cda"
XSD = SAMPLES / "cn-wst500-xsd"
DOCUMENTS = {
    "lab_report": "C0007",
    "imaging_report": "C0006",
    "outpatient_record": "C0002",
    "inpatient_front_page": "C0032",
}
TYPES = sorted(DOCUMENTS)
CDA, JSON = CdaCodec(), JsonCodec()
V3 = "{urn:hl7-org:v3}"
HOSPITAL = {"organisation_code": "12359999400000001X", "organisation_name": "演示市第一医院"}
R2 = {**HOSPITAL, "cda_r2": True}
with_schemas = pytest.mark.skipif(not XSD.is_dir(), reason=f"no schemas in {XSD}")


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


@cache
def platform(kind: str) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(XSD / f"{DOCUMENTS[kind]}.xsd"))


def example(kind: str) -> Any:
    return json.loads((EXAMPLES / f"{kind}.json").read_text("utf-8"))


def written(kind: str, tree: Any, values: dict[str, Any] | None = None) -> bytes:
    """The document of a canonical tree."""
    (document,) = library().get(f"cda/{kind}").run(tree, Context(settings=values or HOSPITAL))
    return CDA.encode(document)


def read(kind: str, raw: bytes) -> Any:
    """The canonical tree of a document, as a receiver of the JSON gets it."""
    (tree,) = library().get(f"cda/{kind}_to_canonical").run(CDA.decode(raw), Context())
    return json.loads(JSON.encode(tree))


def wrong(kind: str, raw: bytes) -> list[str]:
    """What the platform's schema finds, with the names of elements as they are written."""
    schema = platform(kind)
    schema.validate(etree.fromstring(raw))
    errors: Any = schema.error_log
    return [str(error.message).replace(V3, "") for error in errors]


# -- documents that go out ------------------------------------------------------------------------------------------


@with_schemas
@pytest.mark.parametrize("kind", TYPES)
def test_documents_are_valid(kind: str) -> None:
    assert wrong(kind, written(kind, example(kind))) == []


@with_schemas
@pytest.mark.parametrize("kind", ["lab_report", "imaging_report"])
def test_documents_of_messages_are_valid(kind: str) -> None:
    message = (EXAMPLES / f"oru_{kind}.hl7").read_bytes().replace(b"\n", b"\r")
    values = {**HOSPITAL, "cda_reporter_reviews": True}
    (document,) = library().get(f"cda/{kind}_from_v2").run(Hl7Codec().decode(message), Context(settings=values))
    assert wrong(kind, CDA.encode(document)) == []


@with_schemas
@pytest.mark.parametrize("kind", TYPES)
def test_only_what_cda_has_and_the_schemas_refuse_differs_in_r2(kind: str) -> None:
    found = wrong(kind, written(kind, example(kind), R2))
    names = {text.split("'")[1] for text in found}
    assert names <= {"text", "time", "effectiveTime", "value", "id", "encompassingEncounter"}, found


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("values", [HOSPITAL, R2], ids=["platform", "r2"])
def test_a_document_comes_back_as_it_was(kind: str, values: dict[str, Any]) -> None:
    assert read(kind, written(kind, example(kind), values)) == example(kind)


@pytest.mark.parametrize("kind", TYPES)
def test_the_same_input_gives_the_same_document(kind: str) -> None:
    tree = example(kind)
    del tree["document"]
    tree["header"] = {"messageId": "M1", "sentAt": "2026-11-20T11:00:00+08:00"}
    once = written(kind, tree)
    assert written(kind, tree) == once
    identity = read(kind, once)["document"]
    assert len(identity["number"]) == len(identity["setNumber"]) == 36
    tree["header"]["messageId"] = "M2"
    again = read(kind, written(kind, tree))["document"]
    assert again["number"] != identity["number"]
    assert again["setNumber"] == identity["setNumber"]


@pytest.mark.parametrize("kind", TYPES)
def test_every_section_is_told_in_words(kind: str) -> None:
    root = etree.fromstring(written(kind, example(kind)))
    texts = [section.findtext(f"{V3}text") for section in root.iter(f"{V3}section")]
    assert len(texts) >= 3
    assert all(text and text.strip() for text in texts)


def test_results_are_a_table_in_r2() -> None:
    root = etree.fromstring(written("lab_report", example("lab_report"), R2))
    rows = [[cell.text for cell in row] for row in root.iter(f"{V3}tr")]
    assert rows[0] == ["项目", "结果", "单位", "参考范围", "提示"]
    assert rows[1] == ["白细胞计数", "11.20", "10^9/L", "3.5-9.5", "偏高"]
    assert rows[2] == ["C反应蛋白", "<0.5", "mg/L", None, None]


def test_what_the_standard_has_no_element_for_can_be_left_out() -> None:
    tree = example("lab_report")
    assert b'codeSystem="local"' in written("lab_report", tree)
    assert b"local" not in written("lab_report", tree, {**HOSPITAL, "cda_local": False})
    assert b'codeSystem="1.2.3"' in written("lab_report", tree, {**HOSPITAL, "cda_local_system": "1.2.3"})


@pytest.mark.parametrize(
    ("value", "kind", "attribute", "text"),
    [
        ("6.2", "REAL", "6.2000", None),
        ("6.20", "REAL", "6.2000", "6.20"),
        ("0", "REAL", "0.0000", None),
        ("-12.5", "REAL", "-12.5000", None),
        ("99999.9999", "REAL", "99999.9999", None),
        ("007", "REAL", "7.0000", "007"),
        ("100000", "ST", None, "100000"),
        ("0.00012", "ST", None, "0.00012"),
        ("<0.5", "ST", None, "<0.5"),
        ("阴性(-)", "ST", None, "阴性(-)"),
        ("培养出大肠埃希菌；" * 500, "ST", None, "培养出大肠埃希菌；" * 500),
        ("9" * 3000, "ST", None, "9" * 3000),
    ],
    ids=lambda value: str(value)[:12],
)
def test_values_keep_their_digits(value: str, kind: str, attribute: str | None, text: str | None) -> None:
    tree = {"patient": {"name": {"text": "欧阳样本"}}, "report": {"number": "J1", "results": [{"code": {"code": "X"}}]}}
    tree["report"]["results"][0] |= {"value": value, "referenceRange": {"text": value}}  # type: ignore[index]
    raw = written("lab_report", tree)
    (found,) = etree.fromstring(raw).iterfind(f".//{V3}organizer/{V3}component[last()]/{V3}observation/{V3}value")
    assert found.get("{http://www.w3.org/2001/XMLSchema-instance}type") == kind
    assert (found.get("value"), found.text) == (attribute, text)
    result = read("lab_report", raw)["report"]["results"][0]
    assert result["value"] == result["referenceRange"]["text"] == value


def test_the_number_of_another_paper_takes_the_place_of_the_identity_card() -> None:
    papers = [{"kind": "insuranceCard", "value": "YB1"}, {"kind": "passport", "value": "E00000000"}]
    tree = {"patient": {"name": {"text": "Ann Sample"}, "identifiers": papers}, "report": {"number": "J1"}}
    back = read("lab_report", written("lab_report", tree))
    assert back["patient"]["identifiers"] == [{"kind": "other", "value": "E00000000", "system": "2.16.156.10011.1.3"}]
    assert read("lab_report", written("lab_report", back)) == back


@pytest.mark.parametrize(
    ("born", "age"),
    [
        ("1983-05-02", {"value": 43, "unit": "岁"}),
        ("2026-11-01", {"value": 19, "unit": "天"}),
        ("2026-03-01", {"value": 37, "unit": "周"}),
        ("2026-11-20", {"value": 0, "unit": "天"}),
        ("1983", None),
        ("2027-01-01", None),
    ],
)
def test_the_age_follows_from_the_birth(born: str, age: Any) -> None:
    report = {"number": "J1", "issuedAt": "2026-11-20T10:00:00+08:00"}
    tree = {"patient": {"name": {"text": "欧阳样本"}, "birthDate": born}, "report": report}
    assert read("lab_report", written("lab_report", tree))["patient"].get("age") == age


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
    return kind, tree


def without_empty(value: Any) -> Any:
    """As a mapping would write it: nothing is left out, and so is what holds nothing."""
    if isinstance(value, dict):
        return {key: kept for key, item in value.items() if (kept := without_empty(item)) not in ({}, [])}
    if isinstance(value, list):
        return [kept for item in value if (kept := without_empty(item)) not in ({}, [])]
    return value


@given(thinned())
@settings(max_examples=120, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_incomplete_input_gives_a_document_that_can_be_read_or_a_place(case: tuple[str, Any]) -> None:
    kind, tree = case[0], without_empty(case[1])
    for values in (HOSPITAL, R2):
        refused = None
        try:
            back = read(kind, written(kind, copy.deepcopy(tree), values))
        except MappingError as error:
            refused = error
        if refused is not None:
            assert all((refused.file, refused.line, refused.target))
            continue
        assert list(canonical(kind).iter_errors(back)) == []
        # What was read is written the same again.
        assert read(kind, written(kind, back, values)) == back


# -- documents that come in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_examples_fit_their_type(kind: str) -> None:
    assert list(canonical(kind).iter_errors(example(kind))) == []
    assert list(canonical(kind).iter_errors(read(kind, (EXAMPLES / f"{kind}.xml").read_bytes()))) == []


def check(kind: str, raw: bytes) -> bool:
    """Read a document of anybody: it fits its type, or is refused with a place. Whether it was read."""
    refused = None
    try:
        tree = read(kind, raw)
    except MappingError as error:
        refused = error
    if refused is not None:
        assert all((refused.file, refused.line, refused.target))
        return False
    assert list(canonical(kind).iter_errors(tree)) == []
    return True


def foreign() -> Iterator[bytes]:
    for path in sorted(SAMPLES.rglob("*")):
        if path.suffix in (".xml", ".ccda"):
            raw = path.read_bytes()
            try:
                CDA.decode(raw)
            except CodecError:
                continue
            yield raw


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples in {SAMPLES}")
def test_foreign_documents() -> None:
    documents = list(foreign())
    assert len(documents) > 20
    assert sum(check(kind, raw) for raw in documents for kind in TYPES) > 10


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    "raw",
    [
        b"<ClinicalDocument xmlns='urn:hl7-org:v3'/>",
        b"<ClinicalDocument><id extension='1'/></ClinicalDocument>",
        b"<order><item/></order>",
        "<ClinicalDocument><id extension='1'/><recordTarget><patientRole><patient><name>欧阳样本</name>"
        "<birthTime value='昨天'/></patient></patientRole></recordTarget></ClinicalDocument>".encode(),
    ],
)
def test_what_is_no_such_document_is_refused_with_a_place(kind: str, raw: bytes) -> None:
    assert not check(kind, raw)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A document with elements dropped, doubled, emptied or moved, and with values of another kind."""
    kind = draw(st.sampled_from(TYPES))
    root = etree.fromstring((EXAMPLES / f"{kind}.xml").read_bytes(), etree.XMLParser(remove_blank_text=True))
    for _ in range(draw(st.integers(1, 10))):
        elements = list(root.iterdescendants("*"))
        element = draw(st.sampled_from(elements))
        parent = element.getparent()
        action = draw(st.sampled_from(["drop", "double", "empty", "move", "value", "value", "text"]))
        if action == "drop":
            parent.remove(element)
        elif action == "double":
            parent.append(copy.deepcopy(element))
        elif action == "empty":
            element.clear()
        elif action == "move":
            root.append(element)
        elif action == "text":
            element.text = draw(st.sampled_from(["", "-", " ", "20269999", "张三", "1e9", "\u3000"]))
        elif element.attrib:
            name = draw(st.sampled_from(sorted(element.attrib)))
            element.set(name, draw(st.sampled_from(["", "-", "2026", "99999999999999", "NaN", "true", "X", "1.5.2"])))
    return kind, etree.tostring(root)


@given(damaged())
@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_documents_give_a_valid_tree_or_a_place(case: tuple[str, bytes]) -> None:
    check(*case)
