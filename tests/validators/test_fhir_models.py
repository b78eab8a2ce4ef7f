"""FHIR by its models: elements, types, cardinality, bundles and references."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.i18n import language, set_language
from hub.validators.fhir_models import MAX_DEPTH, MAX_NODES
from hub.validators.report import Finding, Kind, Severity
from tests.validators.validator_support import check, short, standard

pytest.importorskip("fhir.resources")

PERSON = "110101199003078515"
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"system": "urn:oid:2.16.156.10011.1.3", "value": PERSON}],
    "name": [{"text": "张三", "family": "张", "given": ["三"]}],
    "birthDate": "1990-03-07",
    "contact": [{"name": {"family": "李"}}],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"text": "WBC"},
    "subject": {"reference": "urn:uuid:1"},
    "valueQuantity": {"value": 6.2, "unit": "10*9/L"},
}


def found(tree: Any, version: str = "R4") -> list[Finding]:
    return check(standard("fhir", version=version), tree)


def bundle(*resources: Any, kind: str = "message") -> dict[str, Any]:
    entries = [{"fullUrl": f"urn:uuid:{number}", "resource": item} for number, item in enumerate(resources, 1)]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def test_slow_and_named() -> None:
    validator = standard("fhir", version="R5")
    assert (validator.name, validator.slow) == ("fhir R5", True)
    assert "fhir.resources" in validator.stamp  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", ["R4", "R4B", "R5"])
def test_valid(version: str) -> None:
    assert found(PATIENT, version) == []
    assert found(bundle(PATIENT, OBSERVATION), version) == []


@pytest.mark.parametrize(
    ("change", "rule", "place", "kind"),
    [
        ({"birthDate": "19900307"}, "type", "Patient.birthDate", Kind.FORMAT),
        ({"birthDate": PERSON}, "type", "Patient.birthDate", Kind.FORMAT),
        ({"gender": 1}, "type", "Patient.gender", Kind.FORMAT),
        ({"active": "perhaps"}, "type", "Patient.active", Kind.FORMAT),
        ({"id": "张 三"}, "type", "Patient.id", Kind.FORMAT),
        ({"name": {"text": "张三"}}, "type", "Patient.name", Kind.FORMAT),
        ({"name": [{"given": ["三", 4]}]}, "type", "Patient.name[0].given[1]", Kind.FORMAT),
        ({"contact": [{"name": {"given": [{"a": 1}]}}]}, "type", "Patient.contact[0].name.given[0]", Kind.FORMAT),
        ({"zz": PERSON}, "element", "Patient.zz", Kind.STRUCTURE),
        ({PERSON: 1}, "element", "Patient['110***********8515']", Kind.STRUCTURE),
        ({"link": [{"other": {"reference": "x"}}]}, "required", "Patient.link[0].type", Kind.MISSING),
        ({"communication": [{}]}, "required", "Patient.communication[0].language", Kind.MISSING),
        ({"multipleBirthInteger": 1, "multipleBirthBoolean": True}, "choice", "Patient", Kind.CONTRADICTION),
    ],
)
def test_errors(change: dict[str, Any], rule: str, place: str, kind: Kind) -> None:
    (finding,) = found({**PATIENT, **change})
    assert (finding.rule, finding.place, finding.kind) == (f"fhir.{rule}", place, kind)
    assert PERSON not in repr(finding)
    assert "张" not in repr(finding)


def test_both_languages() -> None:
    before = language()
    try:
        set_language("zh")
        (finding,) = found({**PATIENT, "birthDate": "x"})
        assert finding.text == "须为日期，如 2026-01-15"
    finally:
        set_language(before)


def test_every_entry_of_a_bundle() -> None:
    tree = bundle(
        {**PATIENT, "gender": 1}, {**OBSERVATION, "zz": 1}, {"resourceType": "Nope"}, {}, 7, kind="collection"
    )
    tree["entry"].append({"fullUrl": 1, "zz": 2})
    assert set(short(found(tree))) == {
        ("fhir.type", "Bundle.entry[5].fullUrl"),
        ("fhir.element", "Bundle.entry[5].zz"),
        ("fhir.type", "Bundle.entry[0].resource.gender"),
        ("fhir.element", "Bundle.entry[1].resource.zz"),
        ("fhir.resource_type", "Bundle.entry[2].resource"),
        ("fhir.resource_type", "Bundle.entry[3].resource"),
        ("fhir.resource_type", "Bundle.entry[4].resource"),
    }


def test_contained_resources() -> None:
    tree = {
        **OBSERVATION,
        "subject": {"reference": "#p"},
        "contained": [{**PATIENT, "gender": 1}, {"resourceType": "X"}],
    }
    assert short(found(tree)) == [
        ("fhir.type", "Observation.contained[0].gender"),
        ("fhir.resource_type", "Observation.contained[1]"),
    ]


@pytest.mark.parametrize("kind", ["message", "document", "transaction"])
def test_references_inside_bundles(kind: str) -> None:
    lost = {**OBSERVATION, "subject": {"reference": "urn:uuid:nobody"}, "performer": [{"reference": "Practitioner/1"}]}
    tree = bundle(PATIENT, lost, kind=kind)
    (finding,) = found(tree)
    assert (finding.rule, finding.severity) == ("fhir.reference", Severity.WARNING)
    assert finding.place == "Bundle.entry[1].resource.subject.reference"
    assert found({**tree, "type": "searchset"}) == []


def test_the_same_number_twice() -> None:
    tree = bundle(PATIENT, PATIENT)
    tree["entry"][1]["fullUrl"] = "urn:uuid:1"
    assert short(found(tree)) == [("fhir.full_url", "Bundle.entry[1].fullUrl")]


def test_versions_differ() -> None:
    r5 = {"resourceType": "Encounter", "status": "in-progress", "class": [{"text": "inpatient"}]}
    assert found(r5, "R5") == []
    assert {rule for rule, _ in short(found(r5, "R4"))} == {"fhir.type"}


def test_extensions_of_a_value_are_known() -> None:
    """fhir.resources takes them for an unknown element."""
    absent = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
    }
    assert found({**PATIENT, "extension": [{"url": "http://example.org/x", "_valueString": absent}]}) == []


# -- hostile ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Nope",
        "../os",
        "Element",
        "FHIRTypes",
        "patient",
        "BaseModel",
        "",
        "fhirtypes",
        None,
        7,
        ["Patient"],
        "Bundle.entry",
    ],
)
def test_what_is_no_resource(name: Any) -> None:
    assert short(found({"resourceType": name})) == [("fhir.resource_type", "$")]


@pytest.mark.parametrize("tree", [None, [], "x", b"{}", 7])
def test_other_trees(tree: Any) -> None:
    assert short(found(tree)) == [("fhir.not_checked", "")]


def test_deep_trees() -> None:
    tree: dict[str, Any] = {"url": "http://example.org/x", "valueString": "x"}
    for _ in range(MAX_DEPTH):
        tree = {"url": "http://example.org/x", "extension": [tree]}
    assert short(found({**PATIENT, "extension": [tree]})) == [("fhir.not_checked", "")]
    for _ in range(MAX_DEPTH // 2 + 2):
        tree = tree["extension"][0]
    assert found({**PATIENT, "extension": [tree]}) == []


def test_large_trees() -> None:
    assert short(found({**PATIENT, "name": [{"text": "x"}] * MAX_NODES})) == [("fhir.not_checked", "")]
    assert len(found({**PATIENT, "name": [7] * 5000})) == 101


keys = st.sampled_from(
    ["resourceType", "id", "name", "contained", "entry", "resource", "extension", "valueString", "zz", "type"]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "Patient", "Bundle", "x", "2026"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(keys, values, max_size=5), st.sampled_from(["Patient", "Bundle", "Observation", "Parameters"]))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_any_tree(tree: dict[str, Any], name: str) -> None:
    for finding in found({"resourceType": name, **tree}):
        assert finding.rule.startswith("fhir.")
        assert finding.text
