"""Index messages, procedure steps, storage commitment and queries, between both ends of the adapter."""

from __future__ import annotations

import json
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pynetdicom.dimse_primitives import N_ACTION
from pynetdicom.presentation import build_context

from adapters.dicom.call_commit import COMMITMENT
from adapters.dicom.client import NoService, Target, exchange, open_association, release
from adapters.dicom.model import bare, read_bare
from adapters.dicom.network import local_entity
from adapters.dicom.storage import AVAILABILITY
from hub.api import HubError, Receipt, StoreBusy
from hub.codecs.dicom import DicomCodec
from hub.message import Outcome
from tests.adapters.dicom_support import (
    CT,
    MemoryIntake,
    calling,
    image,
    listening,
    outgoing,
    port_of,
    threads,
    until,
)
from tests.peers.process import free_port

EXPLICIT = "1.2.840.10008.1.2.1"


# -- index messages ----------------------------------------------------------------------------------------------------


async def test_a_study_that_is_quiet_is_told_once(tmp_path: Path) -> None:
    intake = MemoryIntake()
    async with (
        listening(intake, tmp_path, index_after="300ms") as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        for number, series in ((1, "1.2.3.1"), (2, "1.2.3.1"), (3, "1.2.3.2"), (3, "1.2.3.2")):
            assert (await sender.send(outgoing(image(number, series=series)))).ok
        await until(lambda: intake.of("index"))
        told = DicomCodec().decode(intake.of("index")[0])
        assert told.get("SOPClassUID") == AVAILABILITY
        assert (told.get("StudyInstanceUID"), told.get("PatientID"), told.get("AccessionNumber")) == (
            "1.2.3",
            "P1",
            "A1",
        )
        assert (told.get("NumberOfStudyRelatedSeries"), told.get("NumberOfStudyRelatedInstances")) == (2, 3)
        assert told.get("ModalitiesInStudy") == "CT"
        series_of = told.get("ReferencedSeriesSequence")
        assert [one.get("NumberOfSeriesRelatedInstances") for one in series_of] == [2, 1]
        assert [item.get("ReferencedSOPInstanceUID") for item in series_of[0].get("ReferencedSOPSequence")] == [
            "1.2.3.9.1",
            "1.2.3.9.2",
        ]
        assert DicomCodec().envelope(told) == ("DICOM", intake.numbers[-1])
        # A late object is told with those before it.
        assert (await sender.send(outgoing(image(4)))).ok
        await until(lambda: len(intake.of("index")) == 2)
        assert DicomCodec().decode(intake.of("index")[1]).get("NumberOfStudyRelatedInstances") == 4


async def test_a_study_is_told_when_its_association_ends(tmp_path: Path) -> None:
    intake = MemoryIntake()
    async with listening(intake, tmp_path, index_at_end=True) as receiver:
        async with calling(port_of(receiver), tmp_path) as sender:
            await sender.send(outgoing(image(1)))
            await sender.send(outgoing(image(2)))
            assert intake.of("index") == []
        await until(lambda: intake.of("index"))
        assert DicomCodec().decode(intake.of("index")[0]).get("NumberOfStudyRelatedInstances") == 2


async def test_what_was_not_told_before_the_end_is_told_after_the_start(tmp_path: Path) -> None:
    intake = MemoryIntake()
    async with (
        listening(intake, tmp_path, index_after="1h") as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        await sender.send(outgoing(image(1)))
    assert intake.of("index") == []
    async with listening(intake, tmp_path, index_after="10ms"):
        await until(lambda: intake.of("index"))
    async with listening(intake, tmp_path, index_after="10ms") as receiver:
        await until(lambda: receiver.status()["studies_under_way"] == 0)
    assert len(intake.of("index")) == 1


async def test_an_index_message_the_store_can_not_take_is_tried_again(tmp_path: Path) -> None:
    intake = MemoryIntake()
    busy = [Receipt(Outcome.REFUSED, error=StoreBusy("full"))]
    intake.verdict = lambda raw: busy.pop() if AVAILABILITY.encode() in raw and busy else Receipt(Outcome.OK, 1)
    async with listening(intake, tmp_path, index_at_end=True) as receiver:
        async with calling(port_of(receiver), tmp_path) as sender:
            await sender.send(outgoing(image(1)))
        await until(lambda: receiver.status()["index_messages"] == 1)
    assert len(intake.of("index")) == 2
    assert intake.numbers[-1] == intake.numbers[-2]


# -- procedure steps ---------------------------------------------------------------------------------------------------


def step(status: str, uid: str = "1.2.3.4.5", **more: Any) -> bytes:
    fields = {"SOPInstanceUID": uid, "PerformedProcedureStepStatus": status, "PerformedProcedureStepID": "S1", **more}
    return json.dumps(fields).encode()


async def test_a_procedure_step(tmp_path: Path) -> None:
    intake = MemoryIntake()
    async with (
        listening(intake, tmp_path, services=["mpps"]) as receiver,
        calling(port_of(receiver), tmp_path, service="mpps") as sender,
    ):

        async def code(body: bytes, attempt: int = 1) -> tuple[bool, str]:
            reply = await sender.send(outgoing(body, attempt=attempt))
            return reply.ok, reply.code

        assert await code(step("COMPLETED")) == (False, "0112")  # never created
        assert await code(step("IN PROGRESS", Modality="CT")) == (True, "0000")
        assert await code(step("IN PROGRESS", Modality="CT")) == (False, "0111")
        assert await code(step("IN PROGRESS", Modality="CT"), attempt=2) == (True, "0111")  # it was ours
        assert await code(step("COMPLETED")) == (True, "0000")
        assert await code(step("COMPLETED")) == (False, "0110")
        assert await code(step("COMPLETED"), attempt=2) == (True, "0110")
    async with (
        listening(intake, tmp_path, services=["mpps"]) as receiver,
        calling(port_of(receiver), tmp_path, service="mpps") as sender,
    ):
        assert (await sender.send(outgoing(step("DISCONTINUED")))).code == "0110"  # remembered
    assert [params["service"] for params in intake.params] == ["N-CREATE", "N-SET"]
    # What was received goes on to another system as it is.
    onward = MemoryIntake()
    async with (
        listening(onward, tmp_path / "onward", services=["mpps"]) as receiver,
        calling(port_of(receiver), tmp_path, service="mpps") as sender,
    ):
        for raw in intake.taken:
            assert (await sender.send(outgoing(raw))).ok
    assert [DicomCodec().decode(raw).get("PerformedProcedureStepStatus") for raw in onward.taken] == [
        "IN PROGRESS",
        "COMPLETED",
    ]
    created = DicomCodec().decode(intake.taken[0])
    assert (created.get("MediaStorageSOPInstanceUID"), created.get("Modality")) == ("1.2.3.4.5", "CT")
    assert DicomCodec().decode(intake.taken[1]).get("PerformedProcedureStepStatus") == "COMPLETED"
    assert intake.numbers[0] == "1.2.3.4.5.create"
    assert intake.numbers[1].startswith("1.2.3.4.5.set.")


async def test_a_procedure_step_that_is_not_taken_does_not_exist(tmp_path: Path) -> None:
    intake = MemoryIntake()
    async with (
        listening(intake, tmp_path, services=["mpps"]) as receiver,
        calling(port_of(receiver), tmp_path, service="mpps") as sender,
    ):
        for error, code, transient in ((StoreBusy("full"), "0213", True), (HubError("no"), "0110", False)):
            intake.verdict = lambda raw, error=error: Receipt(Outcome.REFUSED, error=error)  # type: ignore[misc]
            reply = await sender.send(outgoing(step("IN PROGRESS")))
            assert (reply.ok, reply.code, reply.transient) == (False, code, transient)
        intake.verdict = lambda raw: Receipt(Outcome.OK, 1)
        assert (await sender.send(outgoing(step("IN PROGRESS")))).ok


# -- storage commitment ------------------------------------------------------------------------------------------------


class _Archive(NoService):
    """Hears what becomes of its commitments."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, Any]] = []

    def serve(self, association: Any, request: Any, context: Any) -> None:
        tree = read_bare(request.EventInformation.getvalue(), str(context.transfer_syntax[0]))
        self.heard.append((request.EventTypeID, tree))
        response = type(request)()
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPClassUID = request.AffectedSOPClassUID
        response.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
        response.EventTypeID = request.EventTypeID
        response.Status = 0
        association.answer(response, context)


def _ask(port: int, title: str, *instances: tuple[str, str]) -> int:
    entity = local_entity(title, max_pdu=16384, acse=10, dimse=10, network=60)
    association = open_association(
        entity, Target("127.0.0.1", port, "TONGQU"), [build_context(COMMITMENT)], NoService()
    )
    try:
        context = association.accepted_contexts[0]
        request = N_ACTION()
        request.MessageID = 1
        request.RequestedSOPClassUID, request.RequestedSOPInstanceUID = COMMITMENT, "1.2.840.10008.1.20.1.1"
        request.ActionTypeID = 1
        items = [{"ReferencedSOPClassUID": one, "ReferencedSOPInstanceUID": uid} for one, uid in instances]
        fields = {"TransactionUID": "1.2.3.77", "ReferencedSOPSequence": items}
        request.ActionInformation = BytesIO(bare(fields, explicit=context.transfer_syntax[0] == EXPLICIT))
        return int(next(exchange(association, request, context, time.monotonic() + 10)).Status)
    finally:
        release(association)


def _hear(port: int, archive: _Archive) -> Any:
    from adapters.dicom.listener import Listener

    context = build_context(COMMITMENT)
    context.scu_role = context.scp_role = True
    entity = local_entity("CT01", max_pdu=16384, acse=10, dimse=10, network=60)
    listener = Listener(
        entity,
        ("127.0.0.1", port),
        [context],
        archive,
        tls=None,
        permits=lambda address: True,
        on_bad_tls=lambda address, error: None,
        handshake=5,
        pdu_seconds=5,
        backlog=5,
    )
    listener.start()
    return listener


async def test_a_commitment_is_told_on_an_association_of_ours(tmp_path: Path) -> None:
    import asyncio

    port, archive = free_port(), _Archive()
    peers = {"CT01": {"host": "127.0.0.1", "port": port}}
    services = ["store", "commitment"]
    async with listening(MemoryIntake(), tmp_path, services=services, peers=peers) as receiver:
        async with calling(port_of(receiver), tmp_path) as sender:
            assert (await sender.send(outgoing(image(1)))).ok
        assert await asyncio.to_thread(_ask, port_of(receiver), "CT09", (CT, "1.2.3.9.1")) == 0x0110
        wanted = ((CT, "1.2.3.9.1"), (CT, "1.2.3.9.2"), ("1.2.840.10008.5.1.4.1.1.4", "1.2.3.9.1"))
        assert await asyncio.to_thread(_ask, port_of(receiver), "CT01", *wanted) == 0
        await until(lambda: not receiver._commitments.due)  # nobody listens there yet
    listener = _hear(port, archive)
    try:
        async with listening(MemoryIntake(), tmp_path, services=services, peers=peers) as receiver:
            await until(lambda: archive.heard)  # remembered, and told after the restart
            await until(lambda: receiver.status()["commitments_open"] == 0)
            assert await asyncio.to_thread(_ask, port_of(receiver), "CT01", (CT, "1.2.3.9.1")) == 0
            await until(lambda: len(archive.heard) == 2)
    finally:
        await asyncio.to_thread(listener.close, 2.0)
    kind, told = archive.heard[0]
    assert (kind, told.get("TransactionUID")) == (2, "1.2.3.77")
    assert [item.get("ReferencedSOPInstanceUID") for item in told.get("ReferencedSOPSequence")] == ["1.2.3.9.1"]
    failed = told.get("FailedSOPSequence")
    assert [(item.get("ReferencedSOPInstanceUID"), item.get("FailureReason")) for item in failed] == [
        ("1.2.3.9.2", 0x0112),
        ("1.2.3.9.1", 0x0119),
    ]
    assert archive.heard[1][0] == 1
    assert threads() == set()


# -- queries -----------------------------------------------------------------------------------------------------------

ITEM = {
    "PatientName": "Zhang^San=张^三",
    "PatientID": "P1",
    "ScheduledProcedureStepSequence": [{"Modality": "CT", "ScheduledStationAETitle": "CT01"}],
    "AccessionNumber": "A1",
}
MODEL = {
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Zhang^San", "Ideographic": "张^三"}]},
    "00100020": {"vr": "LO", "Value": ["P1"]},
    "00400100": {"vr": "SQ", "Value": [{"00080060": {"vr": "CS", "Value": ["CT"]}}]},
}


@pytest.mark.parametrize("charset", ["", "ISO_IR 192", "GB18030", "GBK", "ISO 2022 IR 58"])
@pytest.mark.parametrize("reply", [[ITEM, ITEM], {"answers": [MODEL, MODEL]}])
async def test_a_worklist_is_answered_by_a_target(tmp_path: Path, charset: str, reply: Any) -> None:
    intake = MemoryIntake()
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=json.dumps(reply).encode())
    query = {"PatientName": None, "PatientID": None, "ScheduledProcedureStepSequence": [{"Modality": "CT"}]}
    async with (
        listening(intake, tmp_path, services=["worklist"], charset=charset) as receiver,
        calling(port_of(receiver), tmp_path, service="worklist") as sender,
    ):
        got = await sender.send(outgoing(json.dumps(query).encode()))
    assert got.ok
    answers = json.loads(got.body)
    assert len(answers) == 2
    assert answers[0]["00100010"] == MODEL["00100010"]
    assert answers[0]["00400100"]["Value"][0]["00080060"]["Value"] == ["CT"]
    assert "00080050" not in answers[0]  # not asked for
    assert json.loads(intake.taken[0]) == {"service": "worklist", "calling": "TONGQU", "keys": query}


async def test_queries_that_fail(tmp_path: Path) -> None:
    intake = MemoryIntake()
    async with (
        listening(intake, tmp_path, services=["find"], max_answers=3) as receiver,
        calling(port_of(receiver), tmp_path, service="find", max_answers=2) as sender,
    ):

        async def code(receipt: Receipt) -> tuple[str, bool]:
            intake.verdict = lambda raw: receipt
            reply = await sender.send(outgoing(b'{"PatientID": "P1"}'))
            return reply.code, reply.transient

        assert await code(Receipt(Outcome.REFUSED, error=StoreBusy("full"))) == ("A700", True)
        assert await code(Receipt(Outcome.FAILED, error=HubError("broken"))) == ("C001", False)
        assert await code(Receipt(Outcome.OK, reply=b'"text"')) == ("C001", False)
        assert await code(Receipt(Outcome.OK, reply=b"[1]")) == ("C001", False)
        assert await code(Receipt(Outcome.OK, reply=json.dumps([ITEM] * 4).encode())) == ("A700", True)
        assert await code(Receipt(Outcome.OK, reply=b"[]")) == ("0000", False)
        with pytest.raises(HubError) as caught:
            await code(Receipt(Outcome.OK, reply=json.dumps([ITEM] * 3).encode()))
        assert caught.value.code == "dicom.answers"
        with pytest.raises(HubError) as caught:
            await sender.send(outgoing(b'{"NoSuchKeyword": 1}'))
        assert caught.value.code == "dicom.keyword"
