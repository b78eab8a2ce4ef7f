"""HL7 v2 orders, appointments, documents and charges → FHIR R4: what stands where, by the guide and by the messages themselves."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hub.codecs.fhir import FhirCodec
from hub.codecs.hl7v2 import Hl7Codec, Hl7Message, split_batch
from hub.errors import CodecError, MappingError
from hub.mapping import Context, MappingLibrary

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "mappings" / "fhir_r4" / "examples"
SAMPLES = ROOT.parent / "shared" / "samples" / "hl7v2"
GUIDE = ROOT.parent / "shared" / "samples" / "other" / "v2-to-fhir-mappings" / "codesystems"
MAPPINGS = {"ORM": "orm", "OMP": "orm", "OML": "oml", "OMG": "oml", "SIU": "siu", "MDM": "mdm", "DFT": "dft"}
HL7, FHIR = Hl7Codec(), FhirCodec()


@cache
def library() -> MappingLibrary:
    return MappingLibrary([ROOT / "mappings"])


def encoded(raw: bytes) -> bytes:
    tree = HL7.decode(raw)
    (found,) = library().get(f"fhir_r4/{MAPPINGS[HL7.envelope(tree)[0][:3]]}").run(tree, Context())
    return FHIR.encode(found)


class Bundle:
    """A bundle to look around in."""

    def __init__(self, raw: bytes) -> None:
        self.entries: list[dict[str, Any]] = json.loads(encoded(raw))["entry"]
        self.by_url: dict[str, dict[str, Any]] = {entry["fullUrl"]: entry["resource"] for entry in self.entries}

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [entry["resource"] for entry in self.entries if entry["resource"]["resourceType"] == kind]

    def at(self, reference: dict[str, Any]) -> dict[str, Any]:
        return self.by_url[reference["reference"]]

    def url(self, kind: str) -> str:
        return next(url for url, resource in self.by_url.items() if resource["resourceType"] == kind)


def example(name: str) -> Bundle:
    return Bundle((EXAMPLES / f"{name}.hl7").read_bytes())


def test_a_request_leads_to_all_it_is_about() -> None:
    found = example("orm_o01_imaging_chinese")
    first, cancelled, *changed = found.all("ServiceRequest")
    assert [request["code"]["text"] for request in (first, *changed)] == ["头颅CT平扫", "腹部超声", "泌尿系超声"]
    assert "code" not in cancelled
    role = found.at(first["requester"])
    assert found.at(role["practitioner"])["name"] == [{"text": "演示主任"}]
    assert found.at(role["organization"])["name"] == "神经内科"
    assert found.at(cancelled["requester"])["name"] == [{"text": "演示主任"}]
    assert [found.at(request["requester"])["name"][0]["text"] for request in changed] == ["演示医师"] * 2
    assert found.at(first["reasonReference"][0])["code"]["coding"][0]["code"] == "I61.9"
    measured, recorded = (found.at(reference) for reference in first["supportingInfo"])
    assert (measured["resourceType"], measured["valueQuantity"]["value"]) == ("Observation", 178)
    assert (recorded["resourceType"], recorded["content"][0]["attachment"]["data"]) == (
        "DocumentReference",
        "JVBERi0xLjQ=",
    )
    assert found.at(first["subject"])["name"] == [{"text": "样本青"}]
    assert found.at(first["encounter"])["identifier"][0]["value"] == "V000021"


def test_every_request_has_its_own_task_and_provenance() -> None:
    found = example("orm_o01_imaging_chinese")
    requests = found.all("ServiceRequest")
    tasks = found.all("Task")
    assert [found.at(task["focus"]) for task in tasks] == requests
    assert [task["code"]["coding"][0]["code"] for task in tasks] == ["NW", "CA", "XO", "XO"]
    assert [task.get("priority") for task in tasks] == ["stat", None, "urgent", "routine"]
    created, asked = found.all("Provenance")
    assert [found.at(target) for target in created["target"]] == requests[:1]
    assert [found.at(target) for target in asked["target"]] == requests[1:2]
    roles = [(agent["type"]["coding"][0]["code"], agent["who"]["display"]) for agent in created["agent"]]
    assert roles == [("enterer", "录入护士"), ("verifier", "核对医师"), ("author", "演示主任")]
    assert [found.at(reference) for reference in found.all("MessageHeader")[0]["focus"]] == requests


def test_a_drug_order_is_a_request_of_its_own() -> None:
    found = example("omp_o09_drug_chinese")
    given, stopped = found.all("MedicationRequest")
    assert [found.at(task["focus"]) for task in found.all("Task")] == [given, stopped]
    assert [request["status"] for request in (given, stopped)] == ["active", "cancelled"]
    assert found.at(found.at(given["requester"])["practitioner"])["name"] == [{"text": "演示医生"}]
    assert found.at(given["encounter"])["identifier"][0]["value"] == "V000024"
    assert found.all("ServiceRequest") == []


def test_an_order_is_on_the_specimen_it_stands_behind() -> None:
    found = example("oml_o33_specimen")
    pairs = [
        (request["code"]["text"], found.at(request["specimen"][0])["type"]["text"])
        for request in found.all("ServiceRequest")
    ]
    assert pairs == [("血常规", "全血"), ("血沉", "全血"), ("尿常规", "尿")]


def test_an_appointment_and_a_document_are_the_same_in_each_message_about_them() -> None:
    booked = EXAMPLES.joinpath("siu_s12_chinese.hl7").read_bytes()
    gone = booked.replace(b"SIU^S12", b"SIU^S15").replace(b"|SIU0001|", b"|SIU0002|").replace(b"|Booked|O", b"||O")
    assert Bundle(booked).url("Appointment") == Bundle(gone).url("Appointment")
    assert Bundle(gone).all("Appointment")[0]["status"] == "booked"  # the service still says so
    written = EXAMPLES.joinpath("mdm_t10_replacement.hl7").read_bytes()
    withdrawn = EXAMPLES.joinpath("mdm_t11_withdrawn.hl7").read_bytes()
    assert Bundle(written).url("DocumentReference") == Bundle(withdrawn).url("DocumentReference")


def test_those_who_take_part_in_an_appointment() -> None:
    found = example("siu_s12_chinese")
    (appointment,) = found.all("Appointment")
    kinds = [
        found.at(one["actor"])["resourceType"] if "reference" in one["actor"] else one["actor"]["display"]
        for one in appointment["participant"]
    ]
    assert kinds == ["Patient", "Practitioner", "Practitioner", "Practitioner", "Location", "二号CT机"]
    room = found.at(appointment["participant"][4]["actor"])
    assert (room["name"], found.at(room["partOf"])["name"]) == ("2", "CT室")
    numbers = [[one["value"] for one in found.at(order)["identifier"]] for order in appointment["basedOn"]]
    assert numbers == [["O501", "R501"], ["O502", "R502"]]


@pytest.mark.parametrize(("name", "charset"), [("GB 18030-2000", "gb18030"), ("GBK", "gbk")])
def test_documents_in_chinese_character_sets_give_the_same_bytes(name: str, charset: str) -> None:
    text = EXAMPLES.joinpath("mdm_t02_chinese.hl7").read_text("utf-8")
    other = text.replace("UNICODE UTF-8", name).encode(charset)
    assert other != text.encode()
    assert encoded(other) == encoded(text.encode())


def test_charges_keep_their_digits() -> None:
    raw = encoded(EXAMPLES.joinpath("dft_p03_chinese.hl7").read_bytes())
    assert [piece.split(b",")[0] for piece in raw.split(b'"priceOverride":{"value":')[1:]] == [
        b"2800.00",
        b"75.00",
        b"-12.50",
    ]


def test_a_charge_leads_to_its_procedure_account_and_cover() -> None:
    found = example("dft_p03_chinese")
    charge = found.all("ChargeItem")[0]
    operation = found.at(charge["service"][0])
    assert operation["identifier"][0]["value"] == "PR001"
    assert found.at(operation["location"])["name"] == "5"
    account = found.at(charge["account"][0])
    assert found.at(account["coverage"][0]["coverage"])["class"][0]["name"] == "职工医保"
    assert [found.at(account["subject"][0]), found.at(charge["subject"])] == found.all("Patient") * 2
    diagnosis = found.all("Encounter")[0]["diagnosis"][0]
    assert found.at(diagnosis["condition"])["code"]["coding"][0]["code"] == "K35.8"


# -- public messages ---------------------------------------------------------------------------------------------------


def public() -> Iterator[tuple[Hl7Message, Bundle]]:
    for path in sorted(SAMPLES.rglob("*")):
        if path.is_file():
            try:
                messages = [(raw, HL7.decode(raw)) for raw in split_batch(path.read_bytes())]
            except CodecError:
                continue
            for raw, tree in messages:
                if HL7.envelope(tree)[0][:3] in MAPPINGS:
                    try:
                        yield tree, Bundle(raw)
                    except MappingError:  # which ones, and why: test_fhir_r4.py
                        continue


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples in {SAMPLES}")
def test_public_messages_lose_no_number() -> None:
    """The numbers of orders, appointments and documents of a message are those of its bundle."""
    seen = 0
    for tree, found in public():
        seen += 1
        resources = [entry["resource"] for entry in found.entries]
        numbers = {
            identifier.get("value")
            for resource in resources
            for identifier in [*resource.get("identifier", ()), resource.get("masterIdentifier", {})]
        }
        told = [tree.get(path) for path in ("PID-3.1", "SCH-1.1", "SCH-2.1", "TXA-12.1", "PV1-19.1")]
        told += [tree.get(f"OBR-{field}.1") or tree.get(f"ORC-{field}.1") for field in (2, 3)]
        assert {number for number in told if number} <= numbers
        if tree.first("ORC") is not None:
            assert len(found.all("ServiceRequest")) >= 1
        if tree.first("SCH") is not None:
            (appointment,) = found.all("Appointment")
            # R4, Appointment: app-2, start and end are both there or both not; app-1, a participant has a type or an actor.
            assert ("start" in appointment) == ("end" in appointment)
            assert all("type" in one or "actor" in one for one in appointment["participant"])
    assert seen > 15


# -- the guide's own tables --------------------------------------------------------------------------------------------


def guide(name: str) -> dict[str, str]:
    """Source code → target code of a code system map of the guide; conditions and comments left out."""
    (path,) = GUIDE.glob(f"HL7 Concept Map_ {name} - *.csv")
    rows = list(csv.reader(path.open(encoding="utf-8", newline="")))
    header = next(row for row in rows if row[:2] == ["Code", "Text"])
    target = header.index("Code", 1)
    return {row[0]: row[target] for row in rows[rows.index(header) + 1 :] if row[0] and row[target]}


@pytest.mark.skipif(not GUIDE.is_dir(), reason=f"no guide in {GUIDE}")
@pytest.mark.parametrize(
    ("name", "table", "upper"),
    [
        ("OrderStatus", "fhir_order_status", False),
        ("OrderControlCode[[]ServiceRequest.status]", "fhir_order_control_status", False),
        ("FillerStatusCodes[[]Appointment]", "fhir_appointment_status", True),
        ("ExtendedPriorityCodes", "fhir_request_priority", False),
    ],
)
def test_code_tables_say_what_the_guide_says(name: str, table: str, upper: bool) -> None:
    lines = (ROOT / "mappings" / "tables" / f"{table}.csv").read_text("utf-8").splitlines()
    ours = {row["from"]: row["to"] for row in csv.DictReader(lines[1:])}
    theirs = {code.upper() if upper else code: target for code, target in guide(name).items()}
    assert theirs
    assert {code: ours.get(code) for code in theirs} == theirs
