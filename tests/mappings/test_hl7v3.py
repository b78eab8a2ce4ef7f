"""Canonical → HL7 v3 of 互联互通: every path the services know is filled, in the order of their schemas, with the values expected."""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lxml import etree
from referencing import Registry, Resource

from hub.codecs.hl7v2 import Hl7Codec
from hub.codecs.hl7v3 import Hl7v3Codec
from hub.codecs.json_codec import JsonCodec
from hub.mapping import Context, MappingLibrary, compile_expression

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "mappings" / "hl7v3" / "examples"
SAMPLES = ROOT.parent / "shared" / "samples" / "other"
XSD = SAMPLES / "cn-hip-messages" / "xsd-services"
V3 = "urn:hl7-org:v3"
XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
SETTINGS = {"sender_id": "HIS-0001", "receiver_id": "HIP-0001"}
NOW = 1_795_133_520_000_000  # 2026-11-20T08:12:00+08:00
JSON, XML, HL7 = JsonCodec(), Hl7v3Codec(), Hl7Codec()
#: Service: mapping, canonical type, example, root.
SERVICES = {
    "PatientInfoRegister": ("patient_register", "patient", "patient", "PRPA_IN201311UV02"),
    "PatientInfoUpdate": ("patient_update", "patient", "patient", "PRPA_IN201314UV02"),
    "PatientInfoMerge": ("patient_merge", "patient", "merge", "PRPA_IN201304UV02"),
    "EncounterCardInfoAdd": ("encounter_card_add", "patient", "patient", "PRPA_IN201311UV02"),
    "EncounterCardInfoUpdate": ("encounter_card_update", "patient", "patient", "PRPA_IN201314UV02"),
    "OutPatientInfoAdd": ("outpatient_add", "visit", "outpatient", "PRPA_IN400001UV"),
    "OutPatientInfoUpdate": ("outpatient_update", "visit", "outpatient", "PRPA_IN400002UV"),
    "InPatientInfoAdd": ("inpatient_add", "visit", "inpatient", "PRPA_IN400001UV"),
    "InPatientInfoUpdate": ("inpatient_update", "visit", "inpatient", "PRPA_IN400002UV"),
    "TransferInfoAdd": ("transfer_add", "visit", "inpatient", "PRPA_IN302011UV"),
    "TransferInfoUpdate": ("transfer_update", "visit", "inpatient", "PRPA_IN302012UV"),
    "DischargeInfoAdd": ("discharge_add", "visit", "inpatient", "PRPA_IN400003UV"),
    "DischargeInfoUpdate": ("discharge_update", "visit", "inpatient", "PRPA_IN400002UV"),
    "ExamAppInfoAdd": ("exam_request_add", "order", "exam_request", "POOR_IN200901UV"),
    "ExamAppInfoUpdate": ("exam_request_update", "order", "exam_request", "POOR_IN200902UV"),
    "CheckAppInfoAdd": ("check_request_add", "order", "check_request", "POOR_IN200901UV"),
    "CheckAppInfoUpdate": ("check_request_update", "order", "check_request", "POOR_IN200902UV"),
    "ExamStatusInfoUpdate": ("exam_status_update", "order", "exam_request", "POLB_IN224000UV01"),
    "CheckStatusInfoUpdate": ("check_status_update", "order", "check_request", "POOR_IN200902UV"),
    "DocumentRegister": ("document_register", "document", "document", "RCMR_IN000002UV02"),
}
#: The same services, told by a report.
FROM_REPORTS = {
    "ExamStatusInfoUpdate": ("exam_report_status", "lab_report"),
    "CheckStatusInfoUpdate": ("check_report_status", "imaging_report"),
}


@cache
def library() -> MappingLibrary:
    return MappingLibrary([ROOT / "mappings"])


def send(mapping: str, source: Any, **settings: Any) -> list[Any]:
    """The messages as their receiver reads them."""
    context = Context(settings={**SETTINGS, **settings}, now_us=NOW)
    return [etree.fromstring(XML.encode(tree)) for tree in library().get(f"hl7v3/{mapping}").run(source, context)]


def example(name: str) -> Any:
    return JSON.decode((EXAMPLES / f"{name}.json").read_bytes())


def message(service: str, **settings: Any) -> Any:
    mapping, _, name, _ = SERVICES[service]
    (found,) = send(mapping, example(name), **settings)
    return found


def at(element: Any, path: str) -> list[str]:
    """Values of an XPath; ``x:`` goes before the names of HL7 v3."""
    return [str(value) for value in element.xpath(path, namespaces={"x": V3})]


def x(path: str) -> str:
    """Elements below the root and an attribute, ``a/b/@c``, as XPath."""
    *elements, attribute = path.split("/")
    return "/".join(["/*", *(f"x:{name}" for name in elements), attribute])


def filled(root: Any) -> set[tuple[str, str, str]]:
    """(path below the root, attribute without prefix, value), and the same with an empty value for "there is one"."""
    found: set[tuple[str, str, str]] = set()
    stack = [(child, etree.QName(child).localname) for child in root]
    while stack:
        element, path = stack.pop()
        for name, value in element.attrib.items():
            short = f"@{etree.QName(name).localname}"
            found |= {(path, short, value), (path, short, "")}
        stack += [(child, f"{path}/{etree.QName(child).localname}") for child in element]
    return found


def known_paths() -> list[dict[str, str]]:
    with (Path(__file__).parent / "test_hl7v3_paths.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("service", sorted({name for row in known_paths() for name in row["services"].split()}))
def test_every_path_of_the_service_is_filled(service: str) -> None:
    found = filled(message(service, control_act_code="POOR_TE200901UV"))
    missing = []
    for row in known_paths():
        if service not in row["services"].split():
            continue
        missing += [
            f"{row['path']}/{name}" for name in row["attributes"].split() if (row["path"], name, "") not in found
        ]
        for constant in filter(None, row["constants"].split("; ")):
            name, _, value = constant.partition("=")
            if (row["path"], f"@{name.rpartition(':')[2]}", value) not in found:
                missing.append(f"{row['path']}/@{constant}")
    assert missing == []


@pytest.mark.parametrize("service", SERVICES)
def test_root_and_envelope(service: str) -> None:
    root = message(service)
    interaction = SERVICES[service][3]
    assert root.tag == f"{{{V3}}}{interaction}"
    assert root.get("ITSVersion") == "XML_1.0"
    assert root.get(f"{XSI}schemaLocation") == f"{V3} ../multicacheschemas/{interaction}.xsd"
    assert [etree.QName(child).localname for child in root] == [
        "id",
        "creationTime",
        "interactionId",
        "processingCode",
        "processingModeCode",
        "acceptAckCode",
        "receiver",
        "sender",
        "controlActProcess",
    ]
    assert 32 <= len(root[0].get("extension")) <= 36
    assert (root[0].get("root"), root[1].get("value"), root[2].get("extension")) == (
        "2.16.156.10011.2.5.1.1",
        "20261120081200",
        interaction,
    )
    assert (root[3].get("code"), root[5].get("code")) == ("P", "AL")
    assert at(root, "/*/x:receiver/x:device/x:id/x:item/@extension") == ["HIP-0001"]
    assert at(root, "/*/x:sender/x:device/x:id/x:item/@extension") == ["HIS-0001"]


@pytest.mark.skipif(not XSD.is_dir(), reason=f"no schemas in {XSD}")
@pytest.mark.parametrize(
    ("service", "mapping", "name"),
    [(service, found[0], found[2]) for service, found in SERVICES.items() if service != "DischargeInfoAdd"]
    + [(service, *found) for service, found in FROM_REPORTS.items()],
)
def test_messages_fit_the_public_schemas(service: str, mapping: str, name: str) -> None:
    """The schemas know no xsi:type; that of DischargeInfoAdd is another interaction than the published samples."""
    schema = etree.XMLSchema(etree.parse(XSD / f"{service}.xsd"))
    (root,) = send(mapping, example(name), data_types="off", check_status_system="2.16.156.10011.2.5.1.99")
    schema.validate(root)
    assert [f"{error.path}: {error.message}" for error in schema.error_log] == []


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples in {SAMPLES}")
def test_public_messages_have_the_same_order() -> None:
    """What stands in both an envelope of theirs and one of ours stands in the same order."""
    ours = [etree.QName(child).localname for child in message("PatientInfoMerge")]
    seen = 0
    for path in [
        *(SAMPLES / "cn-hip-messages" / "evaluation").glob("*.xml"),
        *(SAMPLES / "hl7v3-ihe-ipf").glob("*.xml"),
    ]:
        root = etree.fromstring(path.read_bytes(), etree.XMLParser(resolve_entities=False, no_network=True))
        names = [etree.QName(child).localname for child in root if isinstance(child.tag, str)]
        common = [name for name in dict.fromkeys(names) if name in ours]
        if len(common) > 5:
            assert common == [name for name in ours if name in common], path.name
            seen += 1
    assert seen > 20


# ---------------------------------------------------------------- values

PERSON = "controlActProcess/subject/registrationRequest/subject1/patient/patientPerson"
VISIT = "controlActProcess/subject/encounterEvent"
REQUEST = "controlActProcess/subject/observationRequest"
EXPECTED: list[tuple[str, str, list[str]]] = [
    ("PatientInfoRegister", f"{PERSON}/id/item/@extension", ["359999195401130124"]),
    ("PatientInfoRegister", f"{PERSON}/idCategory/@code", ["01"]),
    ("PatientInfoRegister", f"{PERSON}/idCategory/displayName/@value", ["居民身份证"]),
    ("PatientInfoRegister", f"{PERSON}/name/item/part/@value", ["样本人"]),
    ("PatientInfoRegister", f"{PERSON}/telecom/item/@value", ["19900000012"]),
    ("PatientInfoRegister", f"{PERSON}/administrativeGenderCode/displayName/@value", ["女性"]),
    ("PatientInfoRegister", f"{PERSON}/birthTime/@value", ["19540113"]),
    ("PatientInfoRegister", f"{PERSON}/addr/item/part/@type", ["SAL", "STA", "CTY", "CNT", "STB", "STR", "BNR", "ZIP"]),
    (
        "PatientInfoRegister",
        f"{PERSON}/addr/item/part/@value",
        ["虚构省演示市样本县试验镇演示路12号", "虚构省", "演示市", "样本县", "试验镇", "演示路", "12号", "350000"],
    ),
    ("PatientInfoRegister", f"{PERSON}/ethnicGroupCode/item/displayName/@value", ["汉族"]),
    ("PatientInfoRegister", f"{PERSON}/asEmployee/occupationCode/displayName/@value", ["退(离)休人员"]),
    ("PatientInfoRegister", f"{PERSON}/asOtherIDs/id/item/@root", ["2.16.156.10011.1.19", "2.16.156.10011.1.2"]),
    (
        "PatientInfoRegister",
        f"{PERSON}/asOtherIDs/scopingOrganization/id/item/@extension",
        ["12359999400000002W", "12359999400000003U"],
    ),
    ("PatientInfoRegister", f"{PERSON}/personalRelationship/code/displayName/@value", ["父亲"]),
    (
        "PatientInfoRegister",
        "controlActProcess/subject/registrationRequest/author/assignedEntity/id/item/@extension",
        ["R001"],
    ),
    (
        "PatientInfoMerge",
        "controlActProcess/subject/registrationEvent/replacementOf/priorRegistration/subject1/priorRegisteredRole/id/item/@extension",
        ["P000099"],
    ),
    (
        "EncounterCardInfoAdd",
        "controlActProcess/subject/registrationRequest/subject1/patient/id/item/@extension",
        ["JZK000012"],
    ),
    (
        "EncounterCardInfoAdd",
        "controlActProcess/subject/registrationRequest/subject1/patient/effectiveTime/low/@value",
        ["20261120000000"],
    ),
    ("OutPatientInfoAdd", f"{VISIT}/id/item/@extension", ["MZ000077", "4", "20000077"]),
    ("OutPatientInfoAdd", f"{VISIT}/effectiveTime/low/@value", ["20261120"]),
    ("OutPatientInfoAdd", f"{VISIT}/admitter/assignedPerson/id/item/@extension", ["D002"]),
    (
        "InPatientInfoAdd",
        f"{VISIT}/id/item/@root",
        ["2.16.156.10011.1.12", "2.16.156.10011.2.5.1.8", "2.16.156.10011.2.5.1.9"],
    ),
    ("InPatientInfoAdd", f"{VISIT}/lengthOfStayQuantity/@value", ["2"]),
    ("InPatientInfoAdd", f"{VISIT}/reason/observationDx/value/@code", ["I10.x00", "BNX010"]),
    ("TransferInfoAdd", f"{VISIT}/location1/time/low/@value", ["20261121100500"]),
    ("TransferInfoAdd", f"{VISIT}/location1/serviceDeliveryLocation/location/id/item/@extension", ["K03"]),
    ("TransferInfoAdd", f"{VISIT}/location2/time/low/@value", ["20261121095000"]),
    ("TransferInfoAdd", f"{VISIT}/location2/serviceDeliveryLocation/location/id/item/@extension", ["K02"]),
    ("DischargeInfoAdd", f"{VISIT}/effectiveTime/high/@value", ["20261125093000"]),
    ("DischargeInfoAdd", f"{VISIT}/discharger/assignedPerson/id/item/@extension", ["R002"]),
    ("ExamAppInfoAdd", f"{REQUEST}/component2/observationRequest/id/item/@extension", ["YZ0001", "YZ0002"]),
    ("ExamAppInfoAdd", f"{REQUEST}/effectiveTime/high/@value", ["20261121090000"]),
    ("ExamAppInfoAdd", f"{REQUEST}/subjectOf6/annotation/text/@value", ["空腹"]),
    ("ExamAppInfoAdd", f"{REQUEST}/componentOf1/encounter/id/item/@extension", ["MZ000012", "30000012"]),
    ("CheckAppInfoAdd", f"{REQUEST}/component2/observationRequest/methodCode/item/displayName/@value", ["平扫", "CT"]),
    (
        "CheckAppInfoAdd",
        f"{REQUEST}/componentOf1/encounter/subject/patient/patientPerson/birthTime/originalText/@value",
        ["72"],
    ),
    (
        "ExamStatusInfoUpdate",
        "controlActProcess/subject/observationReport/specimen/specimen/subjectOf1/specimenProcessStep/verifier/modeCode/@code",
        ["SE02"],
    ),
    (
        "CheckStatusInfoUpdate",
        "controlActProcess/subject/placerGroup/component2/observationRequest/component1/processStep/code/displayName/@value",
        ["放射检查登记"],
    ),
    (
        "DocumentRegister",
        "controlActProcess/subject/clinicalDocument/storageCode/originalText/@value",
        ["PENsaW5pY2FsRG9jdW1lbnQvPg=="],
    ),
    (
        "DocumentRegister",
        "controlActProcess/subject/clinicalDocument/id/item/@extension",
        ["3a20835b-324a-480f-b5ac-50df05ca99a7"],
    ),
]


@pytest.mark.parametrize(
    ("service", "path", "values"), EXPECTED, ids=[f"{one}-{path[-40:]}" for one, path, _ in EXPECTED]
)
def test_values(service: str, path: str, values: list[str]) -> None:
    assert at(message(service), x(path)) == values


def test_reports_tell_the_status() -> None:
    (exam,) = send("exam_report_status", example("lab_report"))
    mode = "/*/x:controlActProcess//x:modeCode/x:displayName/@value"
    assert at(exam, mode) == ["已出报告"]
    withdrawn = example("lab_report")
    withdrawn["report"]["status"] = "cancelled"
    (exam,) = send("exam_report_status", withdrawn)
    assert at(exam, mode) == ["报告已删除"]
    (check,) = send("check_report_status", example("imaging_report"))
    assert at(check, "/*/x:controlActProcess//x:processStep/x:code/x:displayName/@value") == ["放射检查审核"]


def test_what_is_unknown_is_left_out() -> None:
    (root,) = send(
        "patient_register",
        JSON.decode(b'{"patient":{"identifiers":[{"kind":"local","value":"P1"}],"name":{"text":"\xe6\xa0\xb7"}}}'),
        organisation_code="H1",
    )
    person = root.find(f".//{{{V3}}}patientPerson")
    assert [etree.QName(child).localname for child in person] == ["name"]
    assert at(root, "//@extension")[-1] == "H1"


def test_partial_dates_stay_partial() -> None:
    source = example("patient")
    source["patient"]["birthDate"] = "1954-01"
    (root,) = send("patient_register", source)
    assert at(root, "//x:birthTime/@value") == ["195401"]


def test_times_are_those_of_china() -> None:
    source = example("exam_request")
    source["order"]["requestedAt"] = "2026-11-20T02:00:00+01:00"
    (root,) = send("exam_request_add", source)
    assert at(root, "/*/x:controlActProcess/x:subject/x:observationRequest/x:author/x:time/@value") == [
        "20261120090000"
    ]


def test_the_same_message_keeps_its_number_and_each_part_has_its_own() -> None:
    raw = (
        "MSH|^~\\&|HIS|H9001|HUB|HUB|20261120090000||OML^O21|T1|P|2.5.1\rPID|1||P000012^^^H9001^PI||样本人\r"
        "ORC|NW|O1\rOBR|1|O1||CBC\rORC|NW|O2\rOBR|2|O2||CRP\r"
    )
    numbers = [
        [root[0].get("extension") for root in send("exam_request_add_from_v2", HL7.decode(raw.encode()))]
        for _ in range(2)
    ]
    assert numbers[0] == numbers[1]
    assert len(set(numbers[0])) == 2


@pytest.mark.parametrize(
    "name", sorted({found[2] for found in SERVICES.values()} | {name for _, name in FROM_REPORTS.values()})
)
def test_examples_fit_their_types(name: str) -> None:
    kinds = {found[2]: found[1] for found in SERVICES.values()} | {name: name for _, name in FROM_REPORTS.values()}
    schemas = [
        (path.name, Resource.from_contents(json.loads(path.read_text("utf-8"))))
        for path in (ROOT / "schemas" / "canonical").glob("*.json")
    ]
    validator = Draft202012Validator({"$ref": f"{kinds[name]}.json"}, registry=Registry().with_resources(schemas))
    assert [
        error.message for error in validator.iter_errors(json.loads((EXAMPLES / f"{name}.json").read_text("utf-8")))
    ] == []


@pytest.mark.parametrize(("code", "accepted"), [("AA", True), ("AE", False), ("AR", False)])
def test_the_rules_for_the_answer(code: str, accepted: bool) -> None:
    raw = (
        f'<MCCI_IN000002UV01 xmlns="{V3}"><acknowledgement typeCode="{code}"><acknowledgementDetail><text value="重复登记"/>'
        "</acknowledgementDetail></acknowledgement></MCCI_IN000002UV01>"
    )
    reply = XML.decode(raw.encode())
    rules = (
        "*/acknowledgement/@typeCode == 'AA'",
        "*/acknowledgement/@typeCode",
        "*/acknowledgement/acknowledgementDetail/text/@value",
    )
    assert [compile_expression(rule, "hl7v3")(reply, Context()) for rule in rules] == [accepted, code, "重复登记"]
