"""DICOM with real programs: Orthanc and dcmtk call the hub, and the hub calls them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.dicom.content import pieces
from adapters.dicom.model import plain
from adapters.dicom.references import reference_of
from hub.api import PermanentError, Receipt, TransientError, UnreachableError
from hub.codecs.dicom import DicomCodec
from hub.codecs.dicom_read import read_file
from hub.errors import CodecError
from hub.message import Outcome
from tests.adapters.certificates import Authority
from tests.adapters.dicom_support import (
    MemoryIntake,
    calling,
    document,
    image,
    listening,
    outgoing,
    port_of,
    threads,
    until,
)
from tests.codecs.dicom_support import SAMPLES
from tests.peers.imaging import Orthanc, StoreScp, WorklistScp, dcmtk

pytestmark = [pytest.mark.peers, pytest.mark.xdist_group("orthanc")]

ITEM = """(0008,0005) CS [ISO_IR 192]
(0008,0050) SH [A1]
(0010,0010) PN [Zhang^San=张^三]
(0010,0020) LO [P1]
(0020,000d) UI [1.2.3.4]
(0040,0100) SQ
(fffe,e000) -
(0008,0060) CS [CT]
(0040,0001) AE [CT01]
(0040,0002) DA [20260115]
(0040,0003) TM [0930]
(0040,0009) SH [S1]
(fffe,e00d) -
(fffe,e0dd) -
(0040,1001) SH [R1]
"""


@pytest.fixture(scope="module")
def store_scp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreScp]:
    server = StoreScp(tmp_path_factory.mktemp("storescp"))
    server.start()
    yield server
    server.stop()


async def tool(program: str, *arguments: str, ok: bool = True) -> str:
    return await asyncio.to_thread(dcmtk, program, *arguments, ok=ok)


def data_set(raw: bytes) -> bytes:
    """Without preamble and meta information."""
    file = read_file(raw)
    return raw[max([file.head, *(place.end for place in file.meta.values())]) :]


def samples() -> list[Path]:
    """Files of the public samples that are objects a storage service takes."""
    found = []
    for path in sorted(SAMPLES.glob("*/*.dcm")):
        try:
            tree = DicomCodec().decode(path.read_bytes())
        except CodecError:
            continue
        if tree.get("SOPClassUID") and tree.get("SOPInstanceUID") and tree.get("TransferSyntaxUID"):
            found.append(path)
    return found


# -- dcmtk calls the hub -----------------------------------------------------------------------------------------------


async def test_echoscu(tmp_path: Path) -> None:
    async with listening(MemoryIntake(), tmp_path) as receiver:
        port = str(port_of(receiver))
        await tool("echoscu", "-aec", "TONGQU", "127.0.0.1", port)
        said = await tool("echoscu", "-aec", "OTHER", "127.0.0.1", port, ok=False)
        assert "Called AE Title Not Recognized" in said


@pytest.mark.parametrize("inline", [0, 1 << 20])
async def test_storescu_and_back(tmp_path: Path, inline: int) -> None:
    """An object through C-STORE, in the transfer syntax it has; the data set is the one that was sent."""
    paths = [path for path in samples() if path.parent.name == "images"]
    if not paths:
        pytest.skip("no sample files")
    intake = MemoryIntake()
    async with listening(intake, tmp_path, inline=inline) as receiver:
        for path in paths:
            syntax = DicomCodec().decode(path.read_bytes()).get("TransferSyntaxUID")
            option = {"1.2.840.10008.1.2.1": "-xe", "1.2.840.10008.1.2": "-xi", "1.2.840.10008.1.2.2": "-xb"}.get(
                syntax, ""
            )
            option = option or {"1.2.840.10008.1.2.5": "-xr", "1.2.840.10008.1.2.4.70": "-xs"}.get(syntax, "")
            if not option:
                continue
            if path.name == "rtdose_rle_1frame.dcm":  # storescu itself can't read it
                continue
            before = len(intake.taken)
            await tool("storescu", "-R", option, "-aec", "TONGQU", "127.0.0.1", str(port_of(receiver)), str(path))
            assert len(intake.taken) == before + 1, path.name
            tree = DicomCodec().decode(intake.taken[-1])
            assert tree.get("TransferSyntaxUID") == syntax
            assert tree.get("SOPInstanceUID") == DicomCodec().decode(path.read_bytes()).get("SOPInstanceUID")
    assert len(intake.taken) > 10
    assert threads() == set()


async def test_samples_out_and_in_byte_for_byte(tmp_path: Path) -> None:
    """Every sample object, whatever its transfer syntax, through the sender to the receiver: the same data set."""
    paths = samples()
    if not paths:
        pytest.skip("no sample files")
    intake = MemoryIntake()
    sent = 0
    async with (
        listening(intake, tmp_path, inline=2000) as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        for path in paths:
            body = path.read_bytes()
            reply = await sender.send(outgoing(body))
            assert reply.ok, (path.name, reply)
            _, content = pieces(intake.taken[-1], tmp_path)
            assert b"".join(content) == data_set(body), path.name
            sent += 1
    assert sent == len(paths)


async def test_dcmsend_of_a_study_gives_one_index_message(tmp_path: Path) -> None:
    intake = MemoryIntake()
    folder = tmp_path / "study"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.dcm").write_bytes(image(number, series=f"1.2.3.{number % 3}"))
    async with listening(intake, tmp_path, index_after="10s", index_at_end=True) as receiver:
        await tool("dcmsend", "-aec", "TONGQU", "+sd", "127.0.0.1", str(port_of(receiver)), str(folder))
        await until(lambda: intake.of("index"))
    told = DicomCodec().decode(intake.of("index")[0])
    assert told.get("NumberOfStudyRelatedInstances") == 20
    assert told.get("NumberOfStudyRelatedSeries") == 3
    assert len(intake.of("index")) == 1


@pytest.mark.parametrize(("charset", "named"), [("", "ISO_IR 192"), ("GB18030", "GB18030"), ("ISO 2022 IR 58", "58")])
async def test_findscu_asks_for_a_worklist(tmp_path: Path, charset: str, named: str) -> None:
    intake = MemoryIntake()
    item = {
        "PatientName": "Zhang^San=张^三",
        "PatientID": "P1",
        "ScheduledProcedureStepSequence": [{"Modality": "CT", "ScheduledStationAETitle": "CT01"}],
    }
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=json.dumps([item, item]).encode())
    async with listening(intake, tmp_path, services=["worklist"]) as receiver:
        asked = ["-k", f"0008,0005=\\{charset}" if "2022" in charset else f"0008,0005={charset}"] if charset else []
        said = await tool(
            *("findscu", "-W", "-X", "-od", str(tmp_path), *asked, "-k", "0010,0010", "-k", "0010,0020=P1"),
            *("-k", "0040,0100[0].0008,0060=CT", "-aec", "TONGQU", "127.0.0.1", str(port_of(receiver))),
        )
    assert json.loads(intake.taken[0])["keys"] == {
        "PatientName": None,
        "PatientID": "P1",
        "ScheduledProcedureStepSequence": [{"Modality": "CT"}],
    }, said
    answers = sorted(tmp_path.glob("rsp*.dcm"))
    assert len(answers) == 2
    tree = DicomCodec().decode(answers[0].read_bytes())
    assert tree.get("PatientName") == "Zhang^San=张^三"
    assert named in str(tree.get("SpecificCharacterSet"))


async def test_tls_with_dcmtk(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    authority.issue("server", "localhost", "127.0.0.1")
    authority.issue("ct", "ct")
    Authority(tmp_path, "other").issue("stranger", "ct")
    tls = {name: str(tmp_path / file) for name, file in (("certificate", "server.pem"), ("key", "server.key"))}
    tls["client_ca"] = str(tmp_path / "ca.pem")
    (tmp_path / "ct.dcm").write_bytes(image())
    intake = MemoryIntake()

    def arguments(name: str) -> list[str]:
        return [str(tmp_path / f"{name}.key"), str(tmp_path / f"{name}.pem"), "+cf", str(tmp_path / "ca.pem")]

    async with listening(intake, tmp_path, tls=tls) as receiver:
        rest = ["-aec", "TONGQU", "127.0.0.1", str(port_of(receiver)), str(tmp_path / "ct.dcm")]
        await tool("storescu", "+tls", *arguments("ct"), *rest)
        await tool("storescu", "+tls", *arguments("stranger"), *rest, ok=False)
        await tool("storescu", *rest, ok=False)
    assert len(intake.taken) == 1


# -- the hub calls dcmtk -----------------------------------------------------------------------------------------------


async def test_store_to_storescp(tmp_path: Path, store_scp: StoreScp) -> None:
    store_scp.forget()
    body = document(2_000_000)
    async with calling(store_scp.port, tmp_path, called="STORE") as sender:
        assert "C-ECHO" in await sender.probe()
        assert (await sender.send(outgoing(image()))).ok
        assert (await sender.send(outgoing(body))).ok
        assert (await sender.send(outgoing(image(2)))).ok
    kept = sorted(store_scp.received.iterdir(), key=lambda path: path.stat().st_size)
    assert len(kept) == 3
    assert data_set(kept[-1].read_bytes()) == data_set(body)


async def test_a_target_that_takes_one_transfer_syntax_only(tmp_path: Path) -> None:
    """Uncompressed objects are converted on the way, those on the disk as well; compressed ones are not."""
    intake, folder = MemoryIntake(), tmp_path / "samples"
    bodies = [image(), document(1_000_000, 2)]
    bodies += [path.read_bytes() for path in samples() if path.name in ("CT_small.dcm", "SC_rgb_rle.dcm", "rtplan.dcm")]
    async with listening(intake, tmp_path, inline=2000) as receiver, calling(port_of(receiver), tmp_path) as sender:
        for body in bodies:
            assert (await sender.send(outgoing(body))).ok
    server = StoreScp(folder, "+xi")
    server.start()
    try:
        async with calling(server.port, tmp_path, called="STORE") as sender:
            for body in intake.taken:
                if DicomCodec().decode(body).get("TransferSyntaxUID") == "1.2.840.10008.1.2.5":
                    with pytest.raises(PermanentError) as caught:
                        await sender.send(outgoing(body))
                    assert caught.value.code == "dicom.context"
                else:
                    assert (await sender.send(outgoing(body))).ok
    finally:
        server.stop()
    kept = {}
    for path in server.received.iterdir():
        tree = DicomCodec().decode(path.read_bytes())
        assert tree.get("TransferSyntaxUID") == "1.2.840.10008.1.2"
        kept[tree.get("SOPInstanceUID")] = tree
    for body in bodies:
        tree = DicomCodec().decode(body)
        found = kept.get(tree.get("SOPInstanceUID"))
        if found is None:
            continue
        wanted = plain(tree)
        wanted.pop("DataSetTrailingPadding", None)  # storescp takes it off
        assert plain(found) == wanted
        for tag, place in tree.places.items():
            if tag >> 16 == 0x7FE0:
                assert (
                    found.data[found.places[tag].value : found.places[tag].value_end]
                    == tree.data[place.value : place.value_end]
                )
    assert len(kept) == len(bodies) - (len(bodies) > 2)


async def test_a_target_that_is_killed_hangs_and_comes_back(tmp_path: Path, store_scp: StoreScp) -> None:
    async with calling(store_scp.port, tmp_path, called="STORE") as sender:
        assert (await sender.send(outgoing(image()))).ok
        store_scp.pause()
        try:
            with pytest.raises(TransientError) as caught:
                await sender.send(outgoing(image(), timeout=0.5))
            assert caught.value.code == "dicom.timeout"
        finally:
            store_scp.resume()
        assert (await sender.send(outgoing(image()))).ok
        store_scp.kill()
        with pytest.raises(UnreachableError):  # the kept association is found dead, a new one can't be made
            await sender.send(outgoing(image()))
        store_scp.start()
        assert (await sender.send(outgoing(image()))).ok
        store_scp.kill()
        store_scp.start()
        assert (await sender.send(outgoing(image()))).ok  # the kept association was dead: a new one
        assert sender.status()["repeated"] + sender.status()["opened"] >= 4
    assert threads() == set()


async def test_worklist_from_wlmscpfs(tmp_path: Path) -> None:
    server = WorklistScp(tmp_path / "wlm")
    server.start()
    try:
        server.add("one", ITEM)
        server.add("two", ITEM.replace("[P1]", "[P2]"))
        query = {"PatientName": None, "PatientID": "P1", "ScheduledProcedureStepSequence": [{"Modality": "CT"}]}
        async with calling(server.port, tmp_path, called="MWL", service="worklist") as sender:
            reply = await sender.send(outgoing(json.dumps(query).encode()))
            assert reply.ok, reply
            answers = json.loads(reply.body)
            assert [one["00100020"]["Value"] for one in answers] == [["P1"]]
            assert answers[0]["00100010"]["Value"] == [{"Alphabetic": "Zhang^San", "Ideographic": "张^三"}]
        async with calling(server.port, tmp_path, called="NOBODY", service="worklist") as sender:
            with pytest.raises(UnreachableError) as caught:
                await sender.send(outgoing(json.dumps(query).encode()))
            assert caught.value.code == "dicom.rejected"
    finally:
        server.stop()


# -- Orthanc -----------------------------------------------------------------------------------------------------------


async def test_store_find_move_get_with_orthanc(tmp_path: Path, orthanc: Orthanc) -> None:
    uid = "1.2.826.0.1.77"
    bodies = [image(770 + number, study=uid, series=f"{uid}.1") for number in range(3)]
    target: dict[str, Any] = {"called": "ORTHANC"}
    async with calling(orthanc.port, tmp_path, **target) as sender:
        await sender.probe()
        for body in bodies:
            assert (await sender.send(outgoing(body))).ok
        assert (await sender.send(outgoing(bodies[0], attempt=2))).ok
    assert data_set(await asyncio.to_thread(orthanc.file_of, "1.2.3.9.770")) == data_set(bodies[0])
    async with calling(orthanc.port, tmp_path, service="find", **target) as sender:
        reply = await sender.send(outgoing(json.dumps({"StudyInstanceUID": uid, "PatientName": None}).encode()))
        assert reply.ok, reply
        (found,) = json.loads(reply.body)
        assert found["0020000D"]["Value"] == [uid]
        assert found["00100010"]["Value"] == [{"Alphabetic": "Zhang^San", "Ideographic": "张^三"}]
    intake = MemoryIntake()
    async with (
        listening(intake, tmp_path, port=orthanc.hub_port) as receiver,
        calling(orthanc.port, tmp_path, service="move", destination="TONGQU", **target) as sender,
    ):
        assert port_of(receiver) == orthanc.hub_port
        reply = await sender.send(outgoing(json.dumps({"StudyInstanceUID": uid}).encode()))
        assert reply.ok, reply
        assert sorted(intake.numbers) == ["1.2.3.9.770", "1.2.3.9.771", "1.2.3.9.772"]
    async with calling(orthanc.port, tmp_path, service="move", destination="NOBODY", **target) as sender:
        reply = await sender.send(outgoing(json.dumps({"StudyInstanceUID": uid}).encode()))
        assert not reply.ok
    async with calling(orthanc.port, tmp_path, service="get", **target) as sender:
        reply = await sender.send(outgoing(json.dumps({"StudyInstanceUID": uid}).encode()))
        assert reply.ok, reply
        told = json.loads(reply.body)
        assert sorted(one["instance"] for one in told["objects"]) == ["1.2.3.9.770", "1.2.3.9.771", "1.2.3.9.772"]
        by_uid = {one["instance"]: one for one in told["objects"]}
        raw = (tmp_path / by_uid["1.2.3.9.771"]["path"]).read_bytes()
        assert data_set(raw) == data_set(bodies[1])
    assert threads() == set()


async def test_orthanc_restarted_under_load(tmp_path: Path, orthanc: Orthanc) -> None:
    """Every object is delivered in the end, whatever becomes of single calls."""
    uid = "1.2.826.0.1.88"
    left = [image(880 + number, study=uid) for number in range(30)]
    restarting = None
    async with calling(orthanc.port, tmp_path, called="ORTHANC") as sender:
        while left:
            if len(left) == 20 and restarting is None:

                def restart() -> None:
                    orthanc.kill()
                    orthanc.start()

                restarting = asyncio.create_task(asyncio.to_thread(restart))
            try:
                assert (await sender.send(outgoing(left[-1], timeout=5.0))).ok
                left.pop()
            except (TransientError, UnreachableError):
                await asyncio.sleep(0.05)
        assert restarting is not None
        await restarting
    kept = await asyncio.to_thread(orthanc.instances)
    assert {f"1.2.3.9.{880 + number}" for number in range(30)} <= set(kept)
    assert len(kept) == len(set(kept))


async def test_worklist_from_orthanc(tmp_path: Path, orthanc: Orthanc) -> None:
    dump = tmp_path / "item.dump"
    dump.write_text(ITEM, encoding="utf-8")
    await tool("dump2dcm", str(dump), str(orthanc.worklists / "item.wl"))
    query = {"PatientName": None, "PatientID": None, "ScheduledProcedureStepSequence": [{"Modality": "CT"}]}
    async with calling(orthanc.port, tmp_path, called="ORTHANC", service="worklist") as sender:
        reply = await sender.send(outgoing(json.dumps(query).encode()))
    assert reply.ok, reply
    (found,) = json.loads(reply.body)
    assert found["00100010"]["Value"] == [{"Alphabetic": "Zhang^San", "Ideographic": "张^三"}]


def test_a_reference_is_only_in_headers() -> None:
    assert reference_of(read_file(image())) is None
