"""The mappings of the demo against what the receiving parties demand, and the examples of the plugins against both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.codecs.hl7v2 import Hl7Codec
from hub.codecs.json_codec import JsonCodec
from hub.mapping import Context, MappingLibrary
from hub.message import Message
from tests.demo.fields import ENCOUNTER, LAB_REPORT, NOTICE, PATIENT, WAYBILL, Field, Number, complaints
from tests.demo.place import REPOSITORY

PLUGINS = REPOSITORY / "plugins"
HIS = PLUGINS / "hospital" / "his_hl7v2" / "examples"
LIS = PLUGINS / "hospital" / "lis_hl7v2" / "examples"
OPERATOR = PLUGINS / "freight" / "freight_operator" / "examples"
PROVINCE = PLUGINS / "regional_health" / "provincial_health_platform" / "examples"
SETTINGS = {
    "sender_code": "359999",
    "recipient_code": "wlhy",
    "function_code": "9",
    "enterprise_code": "DEMO0001",
    "signature": "演示市第一医院",
}
CODECS = {".hl7": Hl7Codec(), ".json": JsonCodec()}
LIBRARY = MappingLibrary([REPOSITORY / "mappings"])

PAIRS = [
    ("provincial_health_platform/patient", HIS / "adt_a01.hl7", PATIENT),
    ("provincial_health_platform/patient", HIS / "adt_a04.hl7", PATIENT),
    ("provincial_health_platform/patient", HIS / "adt_a08.hl7", PATIENT),
    ("provincial_health_platform/encounter", HIS / "adt_a01.hl7", ENCOUNTER),
    ("provincial_health_platform/encounter", HIS / "adt_a03.hl7", ENCOUNTER),
    ("provincial_health_platform/encounter", HIS / "adt_a04.hl7", ENCOUNTER),
    ("provincial_health_platform/encounter", HIS / "adt_a08.hl7", ENCOUNTER),
    ("provincial_health_platform/lab_report", LIS / "oru_r01.hl7", LAB_REPORT),
    ("sms_gateway/result_notice", LIS / "oru_r01.hl7", NOTICE),
    ("sms_gateway/discharge_notice", HIS / "adt_a03.hl7", NOTICE),
    ("freight_ministry/waybill", OPERATOR / "waybill.json", WAYBILL),
    ("freight_ministry/waybill", OPERATOR / "waybill_small_vehicle.json", WAYBILL),
]
OUTGOING = [
    (PROVINCE / "patient.json", PATIENT, "provincial_health_platform/patient", HIS / "adt_a01.hl7"),
    (PROVINCE / "encounter.json", ENCOUNTER, "provincial_health_platform/encounter", HIS / "adt_a03.hl7"),
    (PROVINCE / "lab_report.json", LAB_REPORT, "provincial_health_platform/lab_report", LIS / "oru_r01.hl7"),
    (
        PLUGINS / "messaging" / "sms_gateway" / "examples" / "result_notice.json",
        NOTICE,
        "sms_gateway/result_notice",
        LIS / "oru_r01.hl7",
    ),
    (
        PLUGINS / "freight" / "freight_ministry" / "examples" / "waybill_wlhy_yd1001.json",
        WAYBILL,
        "freight_ministry/waybill",
        OPERATOR / "waybill.json",
    ),
]
#: What a run puts in of its own: the number of the message and the time.
OWN = ("messageId", "messageReferenceNumber", "messageSendingDateTime", "sendToProDateTime")


def mapped(name: str, source: Path, raw: bytes | None = None) -> list[dict[str, Any]]:
    """The documents a mapping makes of a file, read back from the bytes that would be sent."""
    raw = source.read_bytes() if raw is None else raw
    codec = CODECS[source.suffix]
    tree = codec.decode(raw)
    kind, number = codec.envelope(tree)
    message = Message(id=1 << 40, received_at=0, source="his/adt", type=kind, control_id=number, raw=raw)
    context = Context(settings=SETTINGS, message=message, now_us=1_795_000_000_000_000, variables={})
    outputs = LIBRARY.get(name).run(tree, context)
    return [json.loads(CODECS[".json"].encode(output), parse_float=Number) for output in outputs]


def without_own(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: without_own(value) for name, value in document.items() if name not in OWN}
    return [without_own(item) for item in document] if isinstance(document, list) else document


@pytest.mark.parametrize(("name", "source", "table"), PAIRS, ids=lambda value: getattr(value, "stem", None))
def test_what_a_mapping_makes_is_acceptable(name: str, source: Path, table: tuple[Field, ...]) -> None:
    (document,) = mapped(name, source)
    assert complaints(document, table) == []


@pytest.mark.parametrize(
    ("example", "table", "name", "source"), OUTGOING, ids=lambda value: getattr(value, "stem", None)
)
def test_an_outgoing_example_is_what_the_hub_sends(
    example: Path, table: tuple[Field, ...], name: str, source: Path
) -> None:
    document = json.loads(example.read_bytes(), parse_float=Number)
    assert complaints(document, table) == []
    (made,) = mapped(name, source)
    assert without_own(made) == without_own(document)


def test_the_waybill_has_at_least_forty_fields() -> None:
    def leaves(value: Any) -> int:
        if isinstance(value, dict):
            return sum(leaves(below) for below in value.values())
        return sum(leaves(item) for item in value) if isinstance(value, list) else 1

    (document,) = mapped("freight_ministry/waybill", OPERATOR / "waybill.json")
    assert leaves(document) >= 40


def test_two_tests_in_one_message_become_two_reports() -> None:
    raw = (LIS / "oru_r01.hl7").read_bytes()
    first = raw.index(b"OBR|")
    again = raw[first:].replace(b"OBR|1|", b"OBR|2|").replace(b"^LIS|CBC", b"B^LIS|CBC")
    documents = mapped("provincial_health_platform/lab_report", LIS / "oru_r01.hl7", raw + again)
    assert [d["report"]["number"] for d in documents] == ["RO20261120001", "RO20261120001B"]
    assert [len(d["results"]) for d in documents] == [4, 4]
    assert all(complaints(d, LAB_REPORT) == [] for d in documents)


def test_a_preliminary_report_and_a_reader_without_phone_get_no_notice() -> None:
    raw = (LIS / "oru_r01.hl7").read_bytes()
    assert mapped("sms_gateway/result_notice", LIS / "oru_r01.hl7", raw.replace(b"|||F\r", b"|||P\r")) == []
    assert mapped("sms_gateway/result_notice", LIS / "oru_r01.hl7", raw.replace(b"19900000002^PRN^CP", b"")) == []


def test_the_citizen_number_stands_in_for_sex_and_birth_date() -> None:
    raw = (HIS / "adt_a04.hl7").read_bytes()
    (whole,) = mapped("provincial_health_platform/patient", HIS / "adt_a04.hl7")
    bare = b"\r".join(
        b"|".join(b"" if line[:3] == b"PID" and n in (7, 8) else field for n, field in enumerate(line.split(b"|")))
        for line in raw.split(b"\r")
    )
    (document,) = mapped("provincial_health_platform/patient", HIS / "adt_a04.hl7", bare)
    assert document["patient"]["sex"] == whole["patient"]["sex"]
    assert document["patient"]["birthDate"] == whole["patient"]["birthDate"]


def test_a_segment_of_a_journey_carries_its_own_times() -> None:
    document = json.loads((OPERATOR / "waybill.json").read_bytes())
    document["waybill"]["serial"] = "0102"
    raw = json.dumps(document).encode()
    (made,) = mapped("freight_ministry/waybill", OPERATOR / "waybill.json", raw)
    vehicle = made["root"]["body"]["vehicleInfo"]
    assert vehicle["despatchActualDateTime"] == made["root"]["body"]["despatchActualDateTime"]
    assert vehicle["loadingCountrySubdivisionCode"] == document["consignor"]["area"]
    assert complaints(made, WAYBILL) == []


# -- the table of fields itself ----------------------------------------------------------------------------------------


def waybill() -> dict[str, Any]:
    document: dict[str, Any] = mapped("freight_ministry/waybill", OPERATOR / "waybill.json")[0]
    return document


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("carrier", None, "root.body.carrier: missing"),
        ("carrier", "x" * 513, "root.body.carrier: longer than 512 characters"),
        ("carrier", 5, "root.body.carrier: not a text"),
        ("carrier", Number("1.5"), "root.body.carrier: not a text"),
        ("sendToProDateTime", "2026-11-20", "root.body.sendToProDateTime: not a time"),
        ("transportTypeCode", "12", "root.body.transportTypeCode: not one of 1|2|3|4|5|6|7|8"),
        ("totalMonetaryAmount", Number("1.250"), "root.body.totalMonetaryAmount: not a text"),
        ("totalMonetaryAmount", "1.25", "root.body.totalMonetaryAmount: not a number with 3 decimals"),
        ("serialNumber", "00A0", "root.body.serialNumber: not digits"),
        ("colour", "red", "root.body.colour: not a field of this document"),
    ],
)
def test_what_is_wrong_is_complained_about(path: str, value: Any, complaint: str) -> None:
    document = waybill()
    if value is None:
        del document["root"]["body"][path]
    else:
        document["root"]["body"][path] = value
    assert complaints(document, WAYBILL) == [complaint]


def test_a_list_is_looked_at_item_by_item() -> None:
    document = waybill()
    document["root"]["body"]["vehicleInfo"]["driver"].append({"driverName": "司机样二"})
    assert complaints(document, WAYBILL) == ["root.body.vehicleInfo.driver[1].drivingLicense: missing"]
    document["root"]["body"]["vehicleInfo"]["driver"] = []
    assert complaints(document, WAYBILL) == ["root.body.vehicleInfo.driver: missing"] * 2


@pytest.mark.parametrize("document", [None, [], "text", {"root": 5}, {"root": {"body": []}}])
def test_nothing_at_all_is_no_document(document: Any) -> None:
    assert complaints(document, WAYBILL)
