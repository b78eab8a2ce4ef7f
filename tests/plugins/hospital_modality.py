"""A modality: asks for its worklist, begins and ends procedure steps. A program of its own, of pynetdicom alone; prints JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import ModalityPerformedProcedureStep, ModalityWorklistInformationFind  # type: ignore[attr-defined]

STEP = ("Modality", "ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepID")


def filled(values: dict[str, Any]) -> Dataset:
    found = Dataset()
    for name, value in values.items():
        setattr(found, name, value)
    return found


def plain(found: Dataset) -> dict[str, Any]:
    return {
        element.keyword: [plain(item) for item in element.value] if element.VR == "SQ" else str(element.value)
        for element in found
    }


def worklist(port: int, keys: dict[str, str]) -> list[dict[str, Any]]:
    step = dict.fromkeys((*STEP, "ScheduledProcedureStepStartTime", "ScheduledProcedureStepDescription"), "")
    step |= {name: keys.pop(name) for name in STEP if name in keys}
    asked = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "AccessionNumber")
    query = filled({"SpecificCharacterSet": "ISO_IR 192"} | dict.fromkeys(asked, "") | keys)
    query.RequestedProcedureID = query.RequestedProcedureDescription = ""
    query.ScheduledProcedureStepSequence = [filled(step)]
    entity = AE("CT01")
    entity.add_requested_context(ModalityWorklistInformationFind)
    association = entity.associate("127.0.0.1", port, ae_title="TONGQU")
    assert association.is_established
    answers = list(association.send_c_find(query, ModalityWorklistInformationFind))
    association.release()
    assert answers[-1][0].Status == 0x0000, answers[-1][0]
    return [plain(found) for _, found in answers[:-1] if found is not None]


def step(port: int, verb: str, uid: str, attributes: dict[str, Any]) -> str:
    entity = AE("CT01")
    entity.add_requested_context(ModalityPerformedProcedureStep)
    association = entity.associate("127.0.0.1", port, ae_title="TONGQU")
    assert association.is_established
    if verb == "create":
        planned = filled(attributes.pop("scheduled"))
        values = {
            "PerformedProcedureStepID": "PPS1",
            "PerformedStationAETitle": "CT01",
            "PerformedProcedureStepStartDate": "20261121",
            "PerformedProcedureStepStartTime": "083500",
            "PerformedProcedureStepStatus": "IN PROGRESS",
            "Modality": "CT",
            **attributes,
        }
        made = filled(values)
        made.ScheduledStepAttributesSequence = [planned]
        status, _ = association.send_n_create(made, ModalityPerformedProcedureStep, uid)
    else:
        ended = filled(
            {"PerformedProcedureStepEndDate": "20261121", "PerformedProcedureStepEndTime": "084200", **attributes}
        )
        status, _ = association.send_n_set(ended, ModalityPerformedProcedureStep, uid)
    association.release()
    return f"0x{status.Status:04X}"


if __name__ == "__main__":
    verb, number, *rest = sys.argv[1:]
    if verb == "worklist":
        print(json.dumps(worklist(int(number), json.loads(rest[0]))))
    else:
        print(json.dumps(step(int(number), verb, rest[0], json.loads(rest[1]))))
