"""The codec of FHIR: what is FHIR at all, types and numbers of messages, options, and the table of elements."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hub.codecs.fhir import FhirCodec, FhirFormat
from hub.codecs.fhir_definitions import VERSIONS, definitions
from tests.codecs.fhir_support import Version, refused

CODEC = FhirCodec()


def test_json_goes_through_without_loss() -> None:
    raw = (
        b'{"resourceType":"Observation","valueQuantity":{"value":1.50},"_status":{"id":"x"},"unknownElement":[null,{}]}'
    )
    assert CODEC.encode(CODEC.decode(raw)) == raw
    assert CODEC.decode(b"\xef\xbb\xbf \n" + raw) == CODEC.decode(raw)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "json.invalid"),
        (b"{}", "fhir.resource_type"),
        (b"[]", "fhir.resource_type"),
        (b'"Patient"', "fhir.resource_type"),
        (b'{"resourceType":7}', "fhir.resource_type"),
        (b'{"resourceType":"a b"}', "fhir.resource_type"),
        (b'{"resourceType":""}', "fhir.resource_type"),
        (b'{"resourceType":"Patient"', "json.invalid"),
        (b'{"resourceType":"Patient","id":"1","id":"2"}', "json.duplicate_key"),
        (b"MSH|^~\\&|", "json.invalid"),
    ],
)
def test_what_is_not_fhir(raw: bytes, code: str) -> None:
    assert refused(raw).code == code


def test_errors_of_json_have_their_line() -> None:
    assert refused(b'{"resourceType":"Patient",\n "id":}').place == "line 2 column 7"


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"resourceType": "Patient"}, ("Patient", "")),
        # The id of a resource is no number of a message: its next state has the same.
        ({"resourceType": "Patient", "id": "p"}, ("Patient", "")),
        ({"resourceType": "Patient", "id": "p", "meta": {"versionId": "3"}}, ("Patient", "p/3")),
        ({"resourceType": "Patient", "id": 7, "meta": []}, ("Patient", "")),
        ({"resourceType": "Bundle", "id": "b"}, ("Bundle", "b")),
        ({"resourceType": "Bundle", "type": "transaction", "id": "b"}, ("Bundle.transaction", "b")),
        ({"resourceType": "Bundle", "type": "document", "id": "b", "identifier": {"value": "i"}}, ("Bundle.document", "i")),
        ({"resourceType": "Bundle", "type": "a b"}, ("Bundle", "")),
        ({"resourceType": "Bundle", "type": "message"}, ("Bundle.message", "")),
        ({"resourceType": "Bundle", "type": "message", "entry": [7]}, ("Bundle.message", "")),
        (
            {
                "resourceType": "Bundle",
                "type": "message",
                "entry": [{"resource": {"resourceType": "MessageHeader", "id": "h", "eventCoding": {"code": "admin-notify"}}}],
            },
            ("Bundle.message.admin-notify", "h"),
        ),
        (
            {
                "resourceType": "Bundle",
                "type": "message",
                "id": "b",
                "entry": [{"resource": {"resourceType": "MessageHeader", "eventUri": "http://example.org/events/lab-report"}}],
            },
            ("Bundle.message.lab-report", "b"),
        ),
        (
            {"resourceType": "Bundle", "type": "message", "entry": [{"resource": {"eventUri": "urn:x:张 三"}}]},
            ("Bundle.message", ""),
        ),
    ],
)  # fmt: skip
def test_envelope(tree: dict[str, Any], expected: tuple[str, str]) -> None:
    assert CODEC.envelope(tree) == expected


def test_options() -> None:
    assert CODEC.content_type == "application/fhir+json"
    xml = CODEC.configured(FhirFormat(version="R5", write="xml"))
    assert (xml.name, xml.content_type) == ("fhir", "application/fhir+xml")
    assert xml.encode({"resourceType": "Basic"}).startswith(b"<?xml")
    assert xml.configured(FhirFormat()).encode({"resourceType": "Basic"}) == b'{"resourceType":"Basic"}'
    assert CODEC.encode({"resourceType": "Basic", "id": "张"}, encoding="gb18030").endswith('张"}'.encode("gb18030"))
    with pytest.raises(ValidationError):
        FhirFormat(version="R3")  # type: ignore[arg-type]


# -- the table of elements ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_type_of_the_table_is_known(version: Version) -> None:
    known = definitions(version)
    names = list(known.names)
    assert len([name for name in names if known.resource(name)]) > 140
    for name in names:
        structure = known.get(name)
        assert structure is not None
        assert [element.order for element in structure.elements.values()] == list(range(len(structure.elements)))
        for element in structure.elements.values():
            if element.kind == "complex":
                assert known.get(element.type) is not None, (name, element.name)
    assert known.get("Nonsense") is None
    assert known.resource("HumanName") is None


MODELS = {"R4B": "fhir.resources.R4B", "R5": "fhir.resources"}
TYPES = (
    "Patient Encounter Observation DiagnosticReport ServiceRequest Bundle MessageHeader OperationOutcome Composition DocumentReference "
    "Condition Procedure MedicationRequest Claim Coverage ImagingStudy Questionnaire Parameters StructureMap ValueSet Timing Dosage "
    "HumanName Address Identifier Quantity Extension ElementDefinition Attachment Signature Task Specimen"
)


@pytest.mark.parametrize("name", TYPES.split())
@pytest.mark.parametrize("version", MODELS)
def test_elements_are_those_another_library_has(version: Version, name: str) -> None:
    models = pytest.importorskip(MODELS[version])
    model = models.get_fhir_model_class(name)
    structure = definitions(version).get(name)
    assert structure is not None
    fields = {field.alias or key: field for key, field in model.model_fields.items()}
    theirs = [element for element in model.elements_sequence() if element in fields]
    assert sorted(theirs) == sorted(structure.elements)
    # It groups the choices of an element by its own order.
    ours = [element for element in structure.elements if "[x]" not in element]
    single = [element for element in theirs if not fields[element].json_schema_extra.get("one_of_many")]
    assert single == [element for element in ours if element in set(single)]
    for element in structure.elements.values():
        annotation = str(fields[element.name].annotation)
        assert element.repeats == ("List[" in annotation), element
        expected = "bool" if element.kind == "boolean" else "int" if element.kind == "integer" else ""
        expected = "decimal.Decimal" if element.kind == "decimal" else expected
        assert not expected or expected in annotation, (element, annotation)
        # The id of a resource has no extensions; those of an extension's value are what the library lacks.
        if element.name != "id" and name != "Extension":
            assert (f"_{element.name}" in fields) == element.primitive, element
