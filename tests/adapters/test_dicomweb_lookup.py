"""QIDO-RS and WADO-RS served: what is asked for goes to a target, whose reply is the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.dicom.model import bare
from adapters.dicom.objects import IncomingFile, ObjectFolder
from adapters.dicom.references import reference_of
from adapters.dicomweb import DicomWebAdapter
from adapters.dicomweb.lookup import LookupReceiver
from adapters.dicomweb.options import DicomWebListen
from adapters.dicomweb.retrieval import accepted
from adapters.dicomweb.search import results_of, search_of
from adapters.http.problem import Refusal
from hub.api import Bound, HubError, Receipt, StoreBusy, TransientError
from hub.codecs.dicom_read import read_file
from hub.codecs.json_codec import JsonCodec
from hub.contract import Interface
from hub.message import Outcome
from tests.adapters.dicom_support import CT, MemoryIntake, document, image, outgoing, until
from tests.adapters.test_dicomweb import calling

BOTH = ["qido", "wado"]
MODEL = {
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Zhang^San", "Ideographic": "张^三"}]},
    "00080052": {"vr": "CS", "Value": ["STUDY"]},
    "00081190": {"vr": "UR", "Value": ["http://inside/studies/1.2.3"]},
}


@asynccontextmanager
async def serving(intake: MemoryIntake, data: Path, **options: Any) -> AsyncIterator[LookupReceiver]:
    contract = Interface(direction="in", adapter="dicomweb", codec="json", style="request")
    chosen = DicomWebListen(**{"auth": {"type": "none"}, "services": BOTH, **options})
    bound = Bound("pacs/web", "pacs", "web", "pacs@1", contract, JsonCodec(), {}, chosen, data=data)
    receiver = DicomWebAdapter().receiver(bound, intake)  # type: ignore[arg-type]
    assert isinstance(receiver, LookupReceiver)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(5.0)


def base_of(receiver: LookupReceiver) -> str:
    return f"http://127.0.0.1:{receiver.status()['port']}/dicom-web"


def replying(reply: Any) -> MemoryIntake:
    intake = MemoryIntake()
    body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=body)
    return intake


async def get(url: str, **headers: str) -> tuple[int, bytes, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}) as answer,
    ):
        return answer.status, await answer.read(), answer.headers


async def objects_of(answer: aiohttp.ClientResponse) -> list[bytes]:
    reader = aiohttp.MultipartReader.from_response(answer)
    found = []
    while (part := await reader.next()) is not None:
        assert isinstance(part, aiohttp.BodyPartReader)
        found.append(bytes(await part.read()))
    return found


def stored(data: Path, *bodies: bytes) -> list[dict[str, Any]]:
    """What a sender tells of objects it has fetched."""
    folder = ObjectFolder(data, "archive/get", 0, 1 << 30)
    folder.open()
    told = []
    for number, body in enumerate(bodies):
        incoming = IncomingFile(folder)
        incoming.write(body)
        reference = reference_of(read_file(incoming.keep()))
        incoming.close()
        assert reference is not None
        told.append(reference.told(f"1.{number}", CT))
    return told


# -- searches ----------------------------------------------------------------------------------------------------------


async def test_a_search_becomes_a_query_and_its_reply_the_answer(tmp_path: Path) -> None:
    intake = replying([MODEL])
    async with serving(intake, tmp_path) as receiver:
        base = base_of(receiver)
        status, body, headers = await get(
            f"{base}/studies?PatientName={quote('张*')}&StudyDate=20260101-&00100020=4711&includefield=StudyDescription"
        )
    assert (status, headers["Content-Type"]) == (200, "application/dicom+json")
    (message,) = map(json.loads, intake.taken)
    assert message["service"] == "study"
    keys = message["keys"]
    assert {name: value for name, value in keys.items() if value is not None} == {
        "QueryRetrieveLevel": "STUDY",
        "PatientName": "张*",
        "StudyDate": "20260101-",
        "PatientID": "4711",
        "limit": 5001,
    }
    assert {"StudyInstanceUID", "ModalitiesInStudy", "StudyDescription", "NumberOfStudyRelatedInstances"} <= keys.keys()
    assert "RetrieveURL" not in keys
    (found,) = json.loads(body)
    assert found["00100010"]["Value"][0]["Ideographic"] == "张^三"
    assert found["00081190"]["Value"] == [f"{base}/studies/1.2.3"]
    assert "00080052" not in found
    assert intake.params[0]["service"] == "QIDO-RS"


@pytest.mark.parametrize(
    ("path", "level", "above", "usual"),
    [
        ("/studies", "STUDY", {}, "StudyID"),
        ("/series", "SERIES", {}, "StudyID"),
        ("/studies/1.2/series", "SERIES", {"StudyInstanceUID": "1.2"}, "SeriesNumber"),
        ("/instances", "IMAGE", {}, "SeriesNumber"),
        ("/studies/1.2/instances", "IMAGE", {"StudyInstanceUID": "1.2"}, "SeriesNumber"),
        (
            "/studies/1.2/series/1.3/instances",
            "IMAGE",
            {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3"},
            "Rows",
        ),
    ],
)
async def test_every_level(tmp_path: Path, path: str, level: str, above: dict[str, str], usual: str) -> None:
    intake = replying([{"SeriesInstanceUID": "1.3", "SOPInstanceUID": "1.4", "StudyInstanceUID": "1.2"}])
    async with serving(intake, tmp_path) as receiver:
        _, body, _ = await get(base_of(receiver) + path)
    keys = json.loads(intake.taken[0])["keys"]
    assert keys["QueryRetrieveLevel"] == level
    assert {name: keys[name] for name in above} == above
    assert usual in keys
    assert ("StudyID" in keys) is ("StudyInstanceUID" not in above)
    address = json.loads(body)[0]["00081190"]["Value"][0]
    assert address.endswith("/studies/1.2/series/1.3/instances/1.4")


async def test_pages_and_warnings(tmp_path: Path) -> None:
    intake = replying([{"StudyInstanceUID": f"1.{number}"} for number in range(4)])
    async with serving(intake, tmp_path, max_answers=3) as receiver:
        url = f"{base_of(receiver)}/studies"
        status, body, headers = await get(f"{url}?limit=2&offset=1&fuzzymatching=true")
        assert [one["0020000D"]["Value"][0] for one in json.loads(body)] == ["1.1", "1.2"]
        assert headers["Warning"].count("299 tongqu:") == 2
        assert "fuzzymatching parameter is not supported" in headers["Warning"]
        _, body, headers = await get(f"{url}?limit=100")
        assert (len(json.loads(body)), "additional results" in headers["Warning"]) == (3, True)
        status, body, headers = await get(f"{url}?offset=4")
        assert (status, body) == (204, b"")
        assert "Warning" not in headers
    assert [json.loads(raw)["keys"]["limit"] for raw in intake.taken] == [4, 4, 8]


@pytest.mark.parametrize(
    "query",
    [
        "Nonsense=1",
        "limit=-1",
        "limit=x",
        "offset=99999999999",
        "fuzzymatching=perhaps",
        "includefield=Nonsense",
        "PixelData=1",
        "00090010=x",
        "PatientName.PatientID=1",
        "RequestAttributesSequence=1",
        "Rows=ten",
        "StudyInstanceUID=abc",
        "StudyDate=yesterday",
        "&".join(f"includefield=StudyDate&x{n}=" for n in range(201)),
    ],
)
async def test_what_is_no_search_is_refused_before_anybody_is_asked(tmp_path: Path, query: str) -> None:
    intake = replying([])
    async with serving(intake, tmp_path) as receiver:
        status, body, headers = await get(f"{base_of(receiver)}/studies?{query}")
        assert (status, headers["Content-Type"]) == (400, "application/problem+json"), body
        assert (await get(f"{base_of(receiver)}/studies/x1/series"))[0] == 400
        assert (await get(f"{base_of(receiver)}/studies", Accept="application/dicom+xml"))[0] == 406
    assert intake.taken == []


def test_attributes_of_sequences_and_lists() -> None:
    query = [
        ("RequestAttributesSequence.ScheduledProcedureStepID", "S1"),
        ("00400275.RequestedProcedureID", ""),
        ("StudyInstanceUID", "1.2,1.3\\1.4"),
        ("ModalitiesInStudy", "CT\\MR"),
        ("NumberOfStudyRelatedInstances", "7"),
        ("Rows", "512"),
        ("includefield", "all"),
    ]
    keys = search_of("series", {}, query).keys
    assert keys["RequestAttributesSequence"] == [{"ScheduledProcedureStepID": "S1", "RequestedProcedureID": None}]
    assert keys["StudyInstanceUID"] == ["1.2", "1.3", "1.4"]
    assert keys["ModalitiesInStudy"] == ["CT", "MR"]
    assert keys["Rows"] == 512
    assert "SeriesDate" in keys


NAMES = st.sampled_from(
    ["PatientName", "00100020", "StudyDate", "includefield", "limit", "offset", "RequestAttributesSequence.StudyID"]
)


@settings(max_examples=200, deadline=None)
@given(
    level=st.sampled_from(["studies", "series", "instances"]),
    query=st.lists(st.tuples(st.one_of(NAMES, st.text(max_size=12)), st.text(max_size=20)), max_size=6),
)
def test_any_query_is_a_search_or_refused(level: str, query: list[tuple[str, str]]) -> None:
    try:
        found = search_of(level, {}, query)
    except Refusal as refusal:
        if refusal.status != 400:
            raise
        return
    bare(found.keys, explicit=False)
    assert found.limit >= 0


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(max_size=8)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(["00100010", "PatientName", "vr", "Value", "answers"]), inner),
        ),
        max_leaves=10,
    )
)
def test_any_reply_is_read_or_refused(tree: Any) -> None:
    try:
        found = results_of(json.dumps(tree).encode())
    except HubError:
        return
    assert all(isinstance(one, dict) for one in found)


@pytest.mark.parametrize(
    ("receipt", "status"),
    [
        (Receipt(Outcome.REFUSED, error=StoreBusy("full")), 503),
        (Receipt(Outcome.FAILED, 1, error=HubError("no", code="request.failed")), 502),
        (Receipt(Outcome.FAILED, 1, error=TransientError("late", code="request.timeout")), 504),
        (Receipt(Outcome.OK, 1, reply=b"nonsense"), 502),
        (Receipt(Outcome.OK, 1, reply=b'[{"Nonsense": 1}]'), 502),
        (Receipt(Outcome.OK, 1, reply=b"3"), 502),
    ],
)
async def test_when_the_target_can_not_answer(tmp_path: Path, receipt: Receipt, status: int) -> None:
    intake = MemoryIntake()
    intake.verdict = lambda raw: receipt
    async with serving(intake, tmp_path) as receiver:
        for path in ("/studies", "/studies/1.2", "/studies/1.2/metadata"):
            if path.endswith("metadata") and (receipt.reply or b"").startswith(b"["):
                continue  # the target's own
            found, body, _ = await get(base_of(receiver) + path)
            assert (found, json.loads(body)["status"]) == (status, status), path


# -- retrievals --------------------------------------------------------------------------------------------------------


async def test_objects_are_streamed_from_what_was_fetched(tmp_path: Path) -> None:
    bodies = [image(1), document(3_000_000, 2), image(3)]
    intake = replying({"completed": 3, "objects": stored(tmp_path, *bodies)})
    async with serving(intake, tmp_path) as receiver, aiohttp.ClientSession() as session:
        url = f"{base_of(receiver)}/studies/1.2.3"
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        async with session.get(url, headers={"Accept": accept}) as answer:
            assert answer.status == 200
            assert await objects_of(answer) == bodies
        status, body, _ = await get(f"{url}/series/1.3/metadata")
        found = json.loads(body)
        assert [one["00080018"]["Value"] for one in found] == [[f"1.2.3.9.{number}"] for number in (1, 2, 3)]
        assert "00420011" not in found[1]  # the document
        status, body, headers = await get(f"{url}/series/1.3/instances/1.4", Accept="application/dicom")
        assert (status, body, headers["Content-Type"]) == (200, bodies[0], "application/dicom")
        query = "requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4"
        assert (await get(f"{base_of(receiver)}/wado?{query}&contentType=application/dicom"))[1] == bodies[0]
        assert (await get(f"{base_of(receiver)}/wado?{query}&contentType=image/jpeg"))[0] == 406
        assert (await get(f"{base_of(receiver)}/wado?studyUID=1.2"))[0] == 400
        assert (await get(url, Accept="application/dicom"))[0] == 406
        assert (await get(url, Accept='multipart/related; type="image/jpeg"'))[0] == 406
    messages = [json.loads(raw) for raw in intake.taken]
    assert messages[0] == {
        "service": "retrieve",
        "keys": {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.3"},
    }
    assert messages[1]["service"] == "metadata"
    assert messages[1]["keys"]["QueryRetrieveLevel"] == "SERIES"
    assert messages[3]["keys"] == {
        "QueryRetrieveLevel": "IMAGE",
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "1.3",
        "SOPInstanceUID": "1.4",
    }


async def test_nothing_there_and_metadata_of_the_target(tmp_path: Path) -> None:
    intake = replying({"completed": 0, "objects": []})
    async with serving(intake, tmp_path) as receiver:
        assert (await get(f"{base_of(receiver)}/studies/1.2"))[0] == 404
        intake.verdict = replying([MODEL]).verdict
        assert json.loads((await get(f"{base_of(receiver)}/studies/1.2/metadata"))[1]) == [MODEL]


def _forged(told: dict[str, Any], data: Path) -> Iterator[Any]:
    secret = data / "secret"
    secret.write_bytes(b"s" * told["size"])
    yield {**told, "path": "secret"}
    yield {**told, "path": "../secret"}
    yield {**told, "seal": "0" * 64}
    yield {name: value for name, value in told.items() if name != "seal"}
    yield "nothing"
    yield {**told, "size": "many"}


async def test_files_no_sender_of_this_hub_has_fetched(tmp_path: Path) -> None:
    (told,) = stored(tmp_path, image(1))
    async with serving(MemoryIntake(), tmp_path) as receiver:
        intake: Any = receiver._intake
        for forged in _forged(told, tmp_path):
            intake.verdict = replying({"objects": [forged]}).verdict
            assert (await get(f"{base_of(receiver)}/studies/1.2"))[0] == 502, forged
        (tmp_path / told["path"]).unlink()
        intake.verdict = replying({"objects": [told]}).verdict
        assert (await get(f"{base_of(receiver)}/studies/1.2"))[0] == 502


async def test_who_may_ask(tmp_path: Path) -> None:
    intake = replying([])
    async with serving(intake, tmp_path, auth={"type": "bearer", "secret": "word"}, services=["qido"]) as receiver:
        url = f"{base_of(receiver)}/studies"
        assert (await get(url))[0] == 401
        assert (await get(url, Authorization="Bearer word"))[0] == 204
        assert (await get(f"{url}/1.2", Authorization="Bearer word"))[0] == 404  # not served
        intake.is_ready = False
        assert (await get(url, Authorization="Bearer word"))[0] == 503


async def test_a_caller_that_stops_reading_is_given_up(tmp_path: Path) -> None:
    intake = replying({"objects": stored(tmp_path, document(12_000_000, 1), document(12_000_001, 2))})
    async with serving(intake, tmp_path, part_timeout=0.3) as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.status()["port"], limit=1024)
        writer.write(b"GET /dicom-web/studies/1.2 HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(100)
        await until(lambda: receiver.status()["under_way"] == 0)
        writer.transport.abort()
        assert len((await get(f"{base_of(receiver)}/studies/1.2"))[1]) > 24_000_000


@pytest.mark.parametrize("accept", ["application/dicom", 'multipart/related; type="application/dicom"'])
async def test_a_file_that_ends_too_early_is_no_complete_answer(tmp_path: Path, accept: str) -> None:
    (told,) = stored(tmp_path, document(3_000_000, 1))
    intake = replying({"objects": [told]})
    async with serving(intake, tmp_path) as receiver:
        opened = receiver._open

        def and_cut(reply: bytes) -> Any:
            found = opened(reply)
            (tmp_path / told["path"]).write_bytes(b"short")
            return found

        receiver._open = and_cut  # type: ignore[method-assign]
        with pytest.raises(aiohttp.ClientError):
            await get(f"{base_of(receiver)}/studies/1.2/series/1.3/instances/1.4", Accept=accept)


@pytest.mark.parametrize(
    ("header", "kinds", "expected"),
    [
        ("", ("a/b",), "a/b"),
        ("*/*", ("a/b", "c/d"), "a/b"),
        ("c/d", ("a/b", "c/d"), "c/d"),
        ("c/*; q=0.5", ("a/b", "c/d"), "c/d"),
        ("a/b;q=0, c/d", ("a/b", "c/d"), "c/d"),
        ("text/html", ("a/b",), ""),
        ('multipart/related; type="application/dicom"', ("multipart/related",), "multipart/related"),
        ("multipart/related; type=application/octet-stream", ("multipart/related",), ""),
        ("multipart/related", ("multipart/related",), "multipart/related"),
    ],
)
def test_accept(header: str, kinds: tuple[str, ...], expected: str) -> None:
    assert accepted(header, *kinds) == expected


def test_services_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="interface of their own"):
        DicomWebListen(auth={"type": "none"}, services=["stow", "qido"])


# -- one end to the other ----------------------------------------------------------------------------------------------


class Relay(MemoryIntake):
    """Hands every request to a sender and answers with its reply, as the hub does."""

    def __init__(self, sender: Any) -> None:
        super().__init__()
        self._sender = sender
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, bound: Bound, raw: bytes, done: Callable[[Receipt], None], **more: Any) -> None:
        self.taken.append(raw)

        async def ask() -> None:
            try:
                reply = await self._sender.send(outgoing(raw))
            except HubError as error:
                done(Receipt(Outcome.FAILED, 1, error=HubError(error.text, code="request.failed")))
                return
            failed = None if reply.ok else HubError(reply.error, code="request.failed")
            done(Receipt(Outcome.OK if reply.ok else Outcome.FAILED, 1, reply=reply.body, error=failed))

        task = asyncio.get_running_loop().create_task(ask())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def test_one_hub_in_front_of_another(tmp_path: Path) -> None:
    """A search passes through two of our servers and the client between them, and means the same at the end."""
    behind = replying([MODEL])
    async with serving(behind, tmp_path) as pacs:
        async with (
            calling(base_of(pacs), tmp_path, service="qido") as sender,
            serving(Relay(sender), tmp_path, services=["qido"]) as front,
        ):
            query = "PatientID=4711&limit=1&RequestAttributesSequence.ScheduledProcedureStepID=S1"
            status, body, _ = await get(f"{base_of(front)}/studies/1.2.3/series?{query}")
            assert status == 200
            assert json.loads(body)[0]["00100010"] == MODEL["00100010"]
        keys = json.loads(behind.taken[0])["keys"]
        assert (keys["QueryRetrieveLevel"], keys["StudyInstanceUID"], keys["PatientID"]) == ("SERIES", "1.2.3", "4711")
        assert keys["RequestAttributesSequence"][0]["ScheduledProcedureStepID"] == "S1"
        bodies = [image(1), document(1_000_000, 2)]
        behind.verdict = replying({"objects": stored(tmp_path, *bodies)}).verdict
        async with (
            calling(base_of(pacs), tmp_path, service="wado") as sender,
            serving(Relay(sender), tmp_path) as front,
            aiohttp.ClientSession() as session,
        ):
            async with session.get(f"{base_of(front)}/studies/1.2.3") as answer:
                assert await objects_of(answer) == bodies
            behind.verdict = replying({"objects": []}).verdict
            assert (await get(f"{base_of(front)}/studies/1.2.3"))[0] == 404
