"""A DICOM peer that is played: called by pynetdicom as it comes, without the adapter's own layers, and calling it."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import DataElement, Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association

from hub.codecs.dicom import DicomCodec
from hub.codecs.dicom_write import write_new
from hub.errors import HubError
from hub.registry import Registry
from hub.simulator import Behaviour, Simulator
from tests.kernel.process import wait_for
from tests.peers.imaging import dcmtk
from tests.peers.process import need
from tests.simulator.simulator_support import Played, played, plugins

CONTRACT = """
id: imaging
name: 影像
settings:
  port: {type: port, default: 104}
  own: {type: port, default: 11112}
defaults:
  dicom: {codec: dicom}
  dicom out: {connect: {host: 127.0.0.1, port: "${port}", called: ARCHIVE, calling: HUB}}
  dicom in: {listen: {port: "${own}", ae_title: HUB, calling: [CT01]}}
interfaces:
  archive: {direction: out, adapter: dicom, errors: {"A700": {class: transient}}}
  keep: {direction: out, adapter: dicom, connect: {service: commitment}}
  steps: {direction: out, adapter: dicom, connect: {service: mpps}}
  worklist:
    direction: out
    adapter: dicom
    codec: json
    connect: {service: worklist}
    simulate:
      answer: [{PatientID: PatientID, PatientName: "'Zhang^San=张^三'", AccessionNumber: "'A1'", StudyID: "'unasked'"}]
  studies: {direction: out, adapter: dicom, codec: json, connect: {service: find}}
  fetch: {direction: out, adapter: dicom, codec: json, connect: {service: move, destination: HUB}}
  images: {direction: in, adapter: dicom, examples: [ct.dcm]}
  performed: {direction: in, adapter: dicom, listen: {services: [mpps]}, examples: [begun.dcm, ended.dcm]}
  questions:
    direction: in
    style: request
    adapter: dicom
    listen: {services: [worklist]}
    codec: json
    examples: [question.json]
"""
CT, STEP, COMMITMENT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.1.20.1"
WORKLIST, STUDIES, ECHO = "1.2.840.10008.5.1.4.31", "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.1.1"
PRIVATE = "1.2.826.0.1.3680043.8.498.99"
OBJECT = {"SOPClassUID": CT, "SOPInstanceUID": "1.2.3.9", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1"}
BEGUN = {
    "PerformedProcedureStepStatus": "IN PROGRESS",
    "PerformedProcedureStepID": "P1",
    "PerformedStationAETitle": "CT01",
    "PerformedProcedureStepStartDate": "20261128",
    "PerformedProcedureStepStartTime": "083000",
    "Modality": "CT",
    "ScheduledStepAttributesSequence": [{"StudyInstanceUID": "1.2.3"}],
}
ENDED = {
    "PerformedProcedureStepStatus": "COMPLETED",
    "PerformedProcedureStepEndDate": "20261128",
    "PerformedProcedureStepEndTime": "084000",
    "PerformedSeriesSequence": [{"SeriesInstanceUID": "1.2.3.1"}],
}


@pytest.fixture(scope="module")
def party() -> Iterator[Played]:
    with played() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "imaging").mkdir()
    (folder / "imaging" / "plugin.yaml").write_text(CONTRACT, encoding="utf-8")
    step = {"SOPClassUID": STEP, "SOPInstanceUID": "1.2.3.4"}
    for name, fields in (("ct", OBJECT), ("begun", {**step, **BEGUN}), ("ended", {**step, **ENDED})):
        (folder / "imaging" / f"{name}.dcm").write_bytes(write_new(fields))
    question = {"service": "worklist", "calling": "CT01", "keys": {"PatientID": "P1", "AccessionNumber": None}}
    (folder / "imaging" / "question.json").write_text(json.dumps(question))
    return folder


@pytest.fixture
def archive(party: Played, folder: Path) -> Iterator[Simulator]:
    registry = Registry.discover([folder])
    simulator = party.run(Simulator.start(registry.plugins["imaging"], registry, plugins()[1]))
    yield simulator
    party.run(simulator.stop())


def data_set(fields: dict[str, Any]) -> Dataset:
    found = Dataset()
    for name, value in fields.items():
        setattr(found, name, [data_set(one) for one in value] if isinstance(value, list) else value)
    return found


@contextmanager
def associated(
    archive: Simulator, *classes: str, called: str = "ARCHIVE", calling: str = "HUB", heard: Any = None
) -> Iterator[Association]:
    """An association, or what became of the request for one; ``heard`` is given the results of commitments."""
    entity = AE(calling)
    entity.acse_timeout, entity.dimse_timeout, entity.network_timeout = 60, 60, 60
    for uid in classes:
        entity.add_requested_context(uid)
    handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, lambda event: (heard(event), (0x0000, None))[1])] if heard else []
    found = entity.associate("127.0.0.1", archive.settings["port"], ae_title=called, evt_handlers=handlers)
    try:
        yield found
    finally:
        if found.is_established:
            found.release()


def status(response: Any) -> str:
    """Of a response, ``----`` where there is none."""
    response = response[0] if isinstance(response, tuple) else response
    return f"{response.Status:04X}" if "Status" in response else "----"


def store(association: Association, **fields: Any) -> str:
    found = data_set({**OBJECT, **fields})
    found.file_meta = data_set({"TransferSyntaxUID": "1.2.840.10008.1.2.1"})  # type: ignore[assignment]
    return status(association.send_c_store(found))


def test_titles_that_are_not_known_are_turned_away(archive: Simulator) -> None:
    with associated(archive, ECHO) as good:
        assert status(good.send_c_echo()) == "0000"
    for titles, reason in (({"called": "OTHER"}, 7), ({"calling": "OTHER"}, 3)):
        with associated(archive, ECHO, **titles) as refused:
            assert refused.is_rejected
            assert refused.acceptor.primitive is not None
            assert (refused.acceptor.primitive.result, refused.acceptor.primitive.diagnostic) == (1, reason)
    assert archive.calls == []


def test_an_object_is_taken_as_it_is(archive: Simulator) -> None:
    with associated(archive, CT, PRIVATE) as hub:
        assert store(hub, PatientName="Zhang^San") == "0000"
        assert [str(one.abstract_syntax) for one in hub.rejected_contexts] == [PRIVATE]
    (call,) = archive.calls
    assert (call.interface, call.verdict) == ("archive", "accepted")
    tree = DicomCodec().decode(call.body)
    assert (tree.get("MediaStorageSOPInstanceUID"), tree.get("PatientName")) == ("1.2.3.9", "Zhang^San")


def test_objects_no_archive_takes(archive: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise, whole = tmp_path / "noise.dcm", write_new(OBJECT)
    begin = whole.index(b"\x08\x00\x05\x00CS")  # of the data set, behind what the file says of itself
    noise.write_bytes(whole[:begin] + b"\x00\xff\xfe no data set")
    with associated(archive, CT) as hub:
        assert store(hub, StudyInstanceUID="") == "A900"
        assert store(hub, SeriesInstanceUID="") == "A900"
        monkeypatch.setattr("pynetdicom._config.STORE_SEND_CHUNKED_DATASET", True)  # the bytes as they are
        assert status(hub.send_c_store(noise)) == "C000"
        noise.write_bytes(whole[:begin] + write_new({**OBJECT, "SOPInstanceUID": "1.2.3.8"})[begin:])
        assert status(hub.send_c_store(noise)) == "A900"
    assert [call.verdict for call in archive.calls] == ["refused"] * 4


def test_a_procedure_step_begins_once_and_ends_once(archive: Simulator) -> None:
    with associated(archive, STEP) as hub:

        def create(uid: str, **fields: Any) -> str:
            found = {name: value for name, value in {**BEGUN, **fields}.items() if value is not None}
            return status(hub.send_n_create(data_set(found), STEP, uid))

        def change(uid: str, **fields: Any) -> str:
            found = {name: value for name, value in fields.items() if value is not None}
            return status(hub.send_n_set(data_set(found), STEP, uid))

        assert create("1.2.8", PerformedStationAETitle=None) == "0120"
        assert create("1.2.8", Modality="") == "0121"
        assert create("1.2.8", ScheduledStepAttributesSequence=[{"AccessionNumber": "A1"}]) == "0120"
        assert create("1.2.8", PerformedProcedureStepStatus="COMPLETED") == "0106"
        assert change("1.2.8", **ENDED) == "0112"
        liar = data_set(BEGUN)
        liar["ScheduledStepAttributesSequence"] = DataElement(0x00400270, "LO", "no sequence")
        assert status(hub.send_n_create(liar, STEP, "1.2.8")) == "0106"
        assert create("1.2.8") == "0000"
        assert create("1.2.8") == "0111"
        assert change("1.2.8", PerformedProcedureStepStatus="PAUSED") == "0106"
        assert change("1.2.8", **{**ENDED, "PerformedSeriesSequence": None}) == "0120"
        assert change("1.2.8", PerformedSeriesSequence=ENDED["PerformedSeriesSequence"]) == "0000"
        assert change("1.2.8", **{**ENDED, "PerformedSeriesSequence": None}) == "0000"
        over, _ = hub.send_n_set(data_set(ENDED), STEP, "1.2.8")
        assert (status(over), over.ErrorID) == ("0110", 0xA710)


def test_an_archive_promises_to_keep_what_it_was_sent(archive: Simulator) -> None:
    told: queue.Queue[Dataset] = queue.Queue()
    with associated(archive, CT, COMMITMENT, heard=lambda event: told.put(event.event_information)) as hub:

        def ask(*instances: str, action: int = 1) -> str:
            named = [{"ReferencedSOPClassUID": CT, "ReferencedSOPInstanceUID": uid} for uid in instances]
            request = data_set({"TransactionUID": "1.2.77", "ReferencedSOPSequence": named})
            return status(hub.send_n_action(request, action, COMMITMENT, f"{COMMITMENT}.1"))

        assert store(hub) == "0000"
        assert ask("1.2.3.9", "1.2.3.10") == "0000"
        result = told.get(timeout=20)
        assert [item.ReferencedSOPInstanceUID for item in result.ReferencedSOPSequence] == ["1.2.3.9"]
        assert [(item.ReferencedSOPInstanceUID, item.FailureReason) for item in result.FailedSOPSequence] == [
            ("1.2.3.10", 0x0112)
        ]
        archive.misbehave("keep", Behaviour("error", "0131"))
        assert ask("1.2.3.9") == "0000"
        assert [item.FailureReason for item in told.get(timeout=20).FailedSOPSequence] == [0x0131]
        archive.misbehave("keep", Behaviour("error", "0124"))
        assert ask("1.2.3.9") == "0124"
        assert ask() == "0115"
        assert ask("1.2.3.9", action=2) == "0123"
    assert told.empty()


def test_a_worklist_answers_what_it_was_asked_for(archive: Simulator) -> None:
    with associated(archive, WORKLIST, STUDIES) as hub:
        asked = data_set({"PatientID": "P1", "PatientName": "", "Modality": ""})
        found, (end, _) = list(hub.send_c_find(asked, WORKLIST))
        assert status(end) == "0000"
        assert found[1] is not None
        assert (found[1].PatientID, str(found[1].PatientName), found[1].Modality) == ("P1", "Zhang^San=张^三", "")
        assert "StudyID" not in found[1]
        for keys, wanted in (
            ({"QueryRetrieveLevel": "STUDY"}, "0000"),
            ({"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "1.2.3"}, "0000"),
            ({"QueryRetrieveLevel": "SERIES"}, "A900"),
            ({"QueryRetrieveLevel": "PATIENT"}, "A900"),
            ({"PatientID": "P1"}, "A900"),
        ):
            assert [status(one) for one in hub.send_c_find(data_set(keys), STUDIES)] == [wanted]
    assert json.loads(archive.calls[0].body)["PatientID"] == "P1"
    assert "move" in archive.not_simulated["fetch"]


def test_statuses_on_demand(archive: Simulator) -> None:
    with associated(archive, CT, STEP) as hub:
        for behaviour, wanted in (
            (Behaviour("error", "A700"), "A700"),
            (Behaviour("error", "0110"), "0110"),
            (Behaviour("status", "503"), "A700"),
            (Behaviour("unauthorised"), "0124"),
        ):
            archive.misbehave("archive", behaviour)
            assert store(hub) == wanted
        archive.misbehave("steps", Behaviour("status", "503"))
        assert status(hub.send_n_create(data_set(BEGUN), STEP, "1.2.8")) == "0213"
        assert store(hub) == "0000"


def test_an_association_is_turned_away_or_broken_off(archive: Simulator) -> None:
    archive.misbehave("archive", Behaviour("refuse"), times=2)
    with associated(archive, STEP) as other:
        assert other.is_established  # those of other services are not meant
    with associated(archive, CT) as refused:
        assert refused.is_rejected
        assert refused.acceptor.primitive is not None
        assert refused.acceptor.primitive.result == 2
    archive.behave()
    with associated(archive, CT) as hub:
        archive.misbehave("archive", Behaviour("refuse"))
        assert store(hub) == "----"
        wait_for(lambda: hub.is_aborted, "the association is over")
    with associated(archive, CT) as hub:
        assert store(hub) == "0000"
    assert [call.verdict for call in archive.calls] == ["misbehaved", "misbehaved", "accepted"]


@pytest.mark.parametrize("kind", ["reset", "truncated", "garbage"])
def test_an_answer_that_is_cut_off(archive: Simulator, kind: Any) -> None:
    with associated(archive, CT) as hub:
        archive.misbehave("archive", Behaviour(kind))
        hub.dimse_timeout = 0.5
        assert store(hub) == "----"
        hub.abort()
    with associated(archive, CT) as hub:
        assert store(hub) == "0000"


def test_silence_and_slowness_end_with_the_simulator(party: Played, folder: Path) -> None:
    registry = Registry.discover([folder])
    archive = party.run(Simulator.start(registry.plugins["imaging"], registry, plugins()[1]))
    answers: list[str] = []
    with associated(archive, CT) as silent, associated(archive, CT) as slow:
        archive.misbehave("archive", Behaviour("silent"))
        silent.dimse_timeout = 0.2
        assert store(silent) == "----"
        archive.misbehave("archive", Behaviour("delay", seconds=3600))
        calling = threading.Thread(target=lambda: answers.append(store(slow)))
        calling.start()
        while len(archive.calls) < 2:
            calling.join(0.01)
        party.run(archive.stop())
        calling.join(20)
    assert answers == ["----"]
    wait_for(lambda: not [one for one in threading.enumerate() if one.name.startswith("dicom-")], "no thread is left")


class Hub:
    """A listening AE: what it was sent, and what it answers."""

    def __init__(self, port: int, *, answer: int = 0x0000) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.answer = answer
        entity = AE("HUB")
        for uid in (CT, STEP, WORKLIST):
            entity.add_supported_context(uid)
        self.server: Any = entity.start_server(
            ("127.0.0.1", port),
            block=False,
            evt_handlers=[
                (evt.EVT_REQUESTED, self.requested),
                (evt.EVT_C_STORE, self.stored),
                (evt.EVT_N_CREATE, self.step),
                (evt.EVT_N_SET, self.step),
                (evt.EVT_C_FIND, self.asked),
            ],
        )

    def requested(self, event: Any) -> None:
        asked = event.assoc.requestor.primitive
        self.heard.append(("association", (asked.calling_ae_title, asked.called_ae_title)))

    def stored(self, event: Any) -> int:
        self.heard.append(("store", event.request.DataSet.getvalue()))
        return self.answer

    def step(self, event: Any) -> tuple[int, Dataset]:
        request = event.request
        uid = getattr(request, "AffectedSOPInstanceUID", None) or getattr(request, "RequestedSOPInstanceUID", None)
        self.heard.append((type(request).__name__, str(uid)))
        return self.answer, Dataset()

    def asked(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        self.heard.append(("find", event.identifier))
        yield 0xFF00, data_set({"PatientID": "P1", "AccessionNumber": "A7"})


@pytest.fixture
def hub(archive: Simulator) -> Iterator[Hub]:
    found = Hub(archive.settings["own"])
    yield found
    found.server.shutdown()


def test_a_modality_sends_objects_each_time_another(archive: Simulator, party: Played, hub: Hub) -> None:
    for _ in range(2):
        assert party.run(archive.send("images")).ok
    assert hub.heard[0] == ("association", ("CT01", "HUB"))
    instances = {DicomCodec().decode(body).get("SOPInstanceUID") for what, body in hub.heard if what == "store"}
    assert len(instances) == 2
    assert all(uid.startswith("2.25.") for uid in instances)
    hub.answer = 0xA700
    reply = party.run(archive.send("images"))
    assert (reply.ok, reply.code) == (False, "A700")
    party.run(archive.send("images", misbehave=Behaviour("garbage")))
    assert hub.heard[-1][1].startswith(b' !"#')


def test_a_modality_tells_of_a_step_that_begins_and_ends(archive: Simulator, party: Played, hub: Hub) -> None:
    for _ in range(4):
        assert party.run(archive.send("performed")).ok
    told = [one for one in hub.heard if one[0] != "association"]
    assert [name for name, _ in told] == ["N_CREATE", "N_SET", "N_CREATE", "N_SET"]
    assert told[0][1] == told[1][1] != told[2][1] == told[3][1]


def test_a_modality_asks_for_its_worklist(archive: Simulator, party: Played, hub: Hub) -> None:
    reply = party.run(archive.send("questions"))
    assert (reply.ok, reply.code) == (True, "0000")
    assert json.loads(reply.body)[0]["00080050"]["Value"] == ["A7"]
    assert hub.heard[-1][1].PatientID == "P1"


def test_what_no_modality_sends(archive: Simulator, party: Played) -> None:
    index = write_new({"SOPClassUID": "1.2.840.10008.5.1.4.33", "SOPInstanceUID": "1.2.3.5"})
    for to, body in (("", index), ("dicom://nowhere", None)):
        with pytest.raises(HubError):
            party.run(archive.send("images", to, body))
    with pytest.raises(HubError, match=r"127\.0\.0\.1"):
        party.run(archive.send("images"))  # nobody listens


@pytest.mark.peers
def test_dcmtk_calls_it(archive: Simulator, tmp_path: Path) -> None:
    need("storescu", "dcmtk")
    port = str(archive.settings["port"])
    titles = ("-aet", "HUB", "-aec", "ARCHIVE", "127.0.0.1", port)
    (tmp_path / "ct.dcm").write_bytes(write_new(OBJECT))
    (tmp_path / "lacking.dcm").write_bytes(write_new({**OBJECT, "StudyInstanceUID": None}))
    dcmtk("echoscu", *titles)
    dcmtk("storescu", *titles, str(tmp_path / "ct.dcm"))
    dcmtk("storescu", *titles, str(tmp_path / "lacking.dcm"), ok=False)
    dcmtk("echoscu", "-aet", "OTHER", *titles[2:], ok=False)
    said = dcmtk("findscu", "-v", "-W", "-k", "(0010,0020)=P9", "-k", "(0008,0050)", *titles)
    assert "P9" in said
    assert [call.verdict for call in archive.calls] == ["accepted", "refused", "accepted"]
