"""Orders that passed the hub are the worklist; what modalities do goes back to who ordered it. The modality is pynetdicom as a program of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.process import HubProcess
from tests.plugins.hospital_support import Taker, ask, example, field, segment, site, states, table

MODALITY = Path(__file__).with_name("hospital_modality.py")


def modality(*arguments: str) -> Any:
    """Run the modality; what it says, as JSON."""
    done = subprocess.run([sys.executable, str(MODALITY), *arguments], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@dataclass
class Room:
    hub: HubProcess
    his: Taker

    def order(self, **replaced: str) -> None:
        answer = ask(self.hub.port("ris/messages"), example("ris_hl7v2", "orm_scheduled.hl7", **replaced))
        assert segment(answer, "MSA")[1] == "AA"
        self.hub.settled()

    def worklist(self, **keys: str) -> list[dict[str, Any]]:
        return list(modality("worklist", str(self.hub.port("pacs/worklist")), json.dumps(keys)))

    def step(self, verb: str, uid: str, **attributes: Any) -> str:
        return str(modality(verb, str(self.hub.port("pacs/steps")), uid, json.dumps(attributes)))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("room")
    his = Taker()
    systems = {
        "his": {"plugin": "his_hl7v2", "settings": {"port": 0, "send_port": his.port}},
        "ris": {"plugin": "ris_hl7v2", "settings": {"port": 0}},
        "pacs": {
            "plugin": "pacs_dicom",
            "settings": {
                "database": str(table(folder / "worklist.db")),
                **{f"{name}_port": 0 for name in ("images", "steps", "worklist", "documents")},
            },
        },
    }
    routes = {
        "orders": {"from": "ris/messages", "types": ["ORM^O01"], "to": "pacs/worklist_items"},
        "questions": {"from": "pacs/worklist", "to": "pacs/worklist_find"},
        "steps": {"from": "pacs/steps", "to": "pacs/step_update"},
        "states": {"from": "pacs/order_status", "to": "his/order_status"},
    }
    with HubProcess(site(folder, systems, routes)) as hub:
        yield Room(hub, his)
    his.close()


def test_an_order_is_an_item_of_the_worklist_with_everything_the_modality_needs(room: Room) -> None:
    room.order()
    (item,) = room.worklist(AccessionNumber="A2026112001")
    step = item.pop("ScheduledProcedureStepSequence")[0]
    assert item["PatientName"] == "YANGBEN^REN=样本人"
    assert (item["PatientID"], item["PatientSex"], item["PatientBirthDate"]) == ("P000012", "F", "19540113")
    assert item["StudyInstanceUID"] == "1.2.826.0.1.3680043.8.498.1"
    assert (item["RequestedProcedureID"], item["RequestedProcedureDescription"]) == ("RP1", "胸部CT平扫")
    assert (step["Modality"], step["ScheduledStationAETitle"], step["ScheduledProcedureStepID"]) == (
        "CT",
        "CT01",
        "SPS1",
    )
    assert (step["ScheduledProcedureStepStartDate"], step["ScheduledProcedureStepStartTime"]) == ("20261121", "083000")


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"PatientName": "yang*"}, True),
        ({"PatientName": "样本?"}, True),
        ({"PatientName": "YANGBEN^REN"}, True),
        ({"PatientName": "REN*"}, False),
        ({"PatientName": "%"}, False),
        ({"PatientID": "M00001?"}, True),
        ({"PatientID": "M_00013"}, False),
        ({"Modality": "CT", "ScheduledStationAETitle": "CT01"}, True),
        ({"Modality": "MR"}, False),
        ({"ScheduledStationAETitle": "CT02"}, False),
        ({"ScheduledProcedureStepStartDate": "20261121"}, True),
        ({"ScheduledProcedureStepStartDate": "20261101-20261130"}, True),
        ({"ScheduledProcedureStepStartDate": "20261122-"}, False),
        ({"ScheduledProcedureStepStartDate": "-20261120"}, False),
    ],
)
def test_keys_match_as_the_standard_says(room: Room, keys: dict[str, str], found: bool) -> None:
    room.order(A2026112001="M2026112001", SPS1="SPSM", P000012="M000012", X20261120001="XM", RIS20261120001="RISM")
    items = room.worklist(**{"AccessionNumber": "M2026112001", **keys})
    assert bool(items) is found


def test_what_was_called_off_is_no_longer_there_and_comes_back_when_it_is_ordered_again(room: Room) -> None:
    names = {"A2026112001": "C2026112001", "SPS1": "SPSC", "X20261120001": "XC"}
    room.order(**names, RIS20261120001="C1")
    assert len(room.worklist(AccessionNumber="C2026112001")) == 1
    room.order(**names, **{"ORC|NW": "ORC|CA", "RIS20261120001": "C2"})
    assert room.worklist(AccessionNumber="C2026112001") == []
    room.order(**names, RIS20261120001="C3")
    assert len(room.worklist(AccessionNumber="C2026112001")) == 1


def test_a_step_begins_and_ends_and_the_his_is_told_both_times(room: Room) -> None:
    room.order(A2026112001="S2026112001", SPS1="SPSS", X20261120001="XS", RIS20261120001="S1", **{"498.1^": "498.77^"})
    before = len(room.his.taken)
    uid = "1.2.826.0.1.3680043.8.498.77.1"
    planned = {
        "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.77",
        "ScheduledProcedureStepID": "SPSS",
        "AccessionNumber": "S2026112001",
    }
    assert room.step("create", uid, PerformedStationAETitle="CT01", scheduled=planned) == "0x0000"
    assert room.step("set", uid, PerformedProcedureStepStatus="COMPLETED") == "0x0000"
    told = room.his.wait(before + 2)[before:]
    assert [field(message, "MSH", 9) for message in told] == ["ORM", "ORM"]
    assert [(field(m, "ORC", 1), field(m, "ORC", 2), field(m, "ORC", 5)) for m in told] == [
        ("SC", "XS", "IP"),
        ("SC", "XS", "CM"),
    ]
    assert [field(message, "PID", 3) for message in told] == ["P000012", "P000012"]
    assert room.worklist(AccessionNumber="S2026112001") == []
    # A change that comes late does not put it on the list again.
    room.order(
        A2026112001="S2026112001",
        SPS1="SPSS",
        X20261120001="XS",
        **{"RIS20261120001": "S2", "498.1^": "498.77^", "ORC|NW": "ORC|XO"},
    )
    assert room.worklist(AccessionNumber="S2026112001") == []
    # And a step that has ended is not changed any more.
    assert room.step("set", uid, PerformedProcedureStepStatus="DISCONTINUED") == "0x0110"


def test_a_step_nobody_has_ordered_is_taken_and_told_to_nobody(room: Room) -> None:
    before = len(room.his.taken)
    planned = {
        "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.99",
        "ScheduledProcedureStepID": "",
        "AccessionNumber": "",
    }
    assert room.step("create", "1.2.826.0.1.3680043.8.498.99.1", scheduled=planned) == "0x0000"
    room.hub.settled()
    assert len(room.his.taken) == before
    assert "dead" not in states(room.hub)


def test_a_number_that_dicom_can_not_hold_is_a_dead_letter_and_harms_no_other(room: Room) -> None:
    room.order(A2026112001="A-NUMBER-MUCH-TOO-LONG", SPS1="SPSL", X20261120001="XL", RIS20261120001="L1")
    dead = room.hub.call("GET", "/api/v1/deliveries?state=dead&limit=10").json["deliveries"]
    assert ["16 characters" in json.dumps(each) for each in dead] == [True]
    assert room.worklist(AccessionNumber="A-NUMBER*") == []
