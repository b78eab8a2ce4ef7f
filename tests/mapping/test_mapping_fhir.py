"""Mappings from and to FHIR: the paths of JSON, resourceType as the root, XML on either side."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from hub.codecs.fhir import FhirCodec, FhirFormat
from hub.codecs.hl7v2 import Hl7Codec
from hub.mapping import Context, compile_expression

if TYPE_CHECKING:
    from conftest import Folder

JSON = FhirCodec()
XML = FhirCodec().configured(FhirFormat(version="R4", write="xml"))
ADT = (
    b"MSH|^~\\&|HIS|H1|HUB|C|20260101120000||ADT^A01^ADT_A01|MSG1|P|2.5\r"
    b"PID|1||800^^^H1&1.2.3&ISO^MR~430502198305020011^^^^IDCARD||Zhang^San^^^^^L~\xe5\xbc\xa0^\xe4\xb8\x89||19830502|F\r"
)
PATIENT = """
    from: {codec: hl7v2}
    to: {codec: fhir}
    fields:
      resourceType: {const: Patient}
      identifier:
        each: PID-3
        value: .1
        system: .4.2 | oid_uri
        type.coding[0].code: .5 | default('MR')
      name: {each: PID-5, family: .1, given: [.2]}
      gender: PID-8 | table('gender')
      birthDate: PID-7 | date
      _birthDate.extension: [{url: {const: 'http://hl7.org/fhir/StructureDefinition/patient-birthTime'}, valueDateTime: MSH-7 | datetime}]
"""
SENT: dict[str, Any] = {
    "resourceType": "Patient",
    "identifier": [
        {"value": "800", "system": "urn:oid:1.2.3", "type": {"coding": [{"code": "MR"}]}},
        {"value": "430502198305020011", "type": {"coding": [{"code": "IDCARD"}]}},
    ],
    "name": [{"family": "Zhang", "given": ["San"]}, {"family": "张", "given": ["三"]}],
    "gender": "female",
    "birthDate": "1983-05-02",
    "_birthDate": {
        "extension": [
            {
                "url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
                "valueDateTime": "2026-01-01T12:00:00+08:00",
            }
        ]
    },
}


def test_hl7_to_a_patient_in_json_and_xml(folder: Folder) -> None:
    (target,) = folder.mapping(textwrap.dedent(PATIENT)).run(Hl7Codec().decode(ADT), Context())
    assert target == SENT
    assert JSON.decode(JSON.encode(target)) == SENT
    xml = XML.encode(target).decode()
    assert xml == (
        '<?xml version="1.0" encoding="UTF-8"?><Patient xmlns="http://hl7.org/fhir"><identifier><type><coding><code value="MR"/></coding></type>'
        '<system value="urn:oid:1.2.3"/><value value="800"/></identifier><identifier><type><coding><code value="IDCARD"/></coding></type>'
        '<value value="430502198305020011"/></identifier><name><family value="Zhang"/><given value="San"/></name><name><family value="张"/>'
        '<given value="三"/></name><gender value="female"/><birthDate value="1983-05-02">'
        '<extension url="http://hl7.org/fhir/StructureDefinition/patient-birthTime"><valueDateTime value="2026-01-01T12:00:00+08:00"/></extension>'
        "</birthDate></Patient>"
    )
    assert JSON.decode(xml.encode()) == SENT


BUNDLE = """
    from: {codec: fhir, types: [Bundle.message.lab-report]}
    to: {codec: json}
    when: resourceType == 'Bundle'
    vars:
      patient: entry[resource.resourceType=='Patient'].resource
    fields:
      no: identifier.value
      patient: $patient.name[0].text
      results:
        each: entry
        where: .resource.resourceType == 'Observation'
        code: .resource.code.coding[system=='http://loinc.org'].code
        value: .resource.valueQuantity.value
        unit: .resource.valueQuantity.unit
        text: .resource.valueString
"""


def test_a_bundle_in_json_or_xml_to_one_object(folder: Folder) -> None:
    def observation(code: str, **value: Any) -> dict[str, Any]:
        coding = [{"system": "urn:local", "code": "x"}, {"system": "http://loinc.org", "code": code}]
        return {"resource": {"resourceType": "Observation", "status": "final", "code": {"coding": coding}, **value}}

    bundle = {
        "resourceType": "Bundle",
        "identifier": {"value": "B1"},
        "type": "message",
        "entry": [
            {"resource": {"resourceType": "MessageHeader", "eventCoding": {"code": "lab-report"}}},
            {"resource": {"resourceType": "Patient", "name": [{"text": "张三"}]}},
            observation("718-7", valueQuantity={"value": 1.5, "unit": "g/L"}),
            observation("5778-6", valueString="黄色"),
        ],
    }
    mapping = folder.mapping(textwrap.dedent(BUNDLE))
    for raw in (JSON.encode(bundle), XML.encode(bundle)):
        tree = JSON.decode(raw)
        assert JSON.envelope(tree) == ("Bundle.message.lab-report", "B1")
        assert mapping.run(tree, Context()) == [
            {
                "no": "B1",
                "patient": "张三",
                "results": [
                    {"code": "718-7", "value": 1.5, "unit": "g/L"},
                    {"code": "5778-6", "text": "黄色"},
                ],
            }
        ]


def test_rules_on_replies() -> None:
    outcome = JSON.decode(
        b'<OperationOutcome xmlns="http://hl7.org/fhir"><issue><severity value="error"/><diagnostics value="no"/></issue></OperationOutcome>'
    )
    failed = compile_expression("resourceType == 'OperationOutcome' and issue.severity in ['error', 'fatal']", "fhir")
    assert failed(outcome, Context()) is True
    assert failed({"resourceType": "Patient"}, Context()) is False
