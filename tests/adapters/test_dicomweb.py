"""STOW-RS in, and the client, between both ends of the adapter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.dicom.content import pieces
from adapters.dicom.references import reference_of
from adapters.dicomweb import DicomWebAdapter
from adapters.dicomweb.options import DicomWebConnect, DicomWebListen
from adapters.dicomweb.sender import DicomWebSender
from adapters.dicomweb.stow import StowReceiver
from hub.api import Bound, HubError, PermanentError, Receipt, StoreBusy, TransientError, UnreachableError
from hub.codecs.dicom import DicomCodec
from hub.codecs.dicom_read import read_file
from hub.contract import Interface
from hub.message import Outcome
from tests.adapters.certificates import Authority
from tests.adapters.dicom_support import CT, MemoryIntake, document, image, outgoing, until

KIND = 'multipart/related; type="application/dicom"; boundary=XX'
SECRET = {"type": "bearer", "secret": "word"}


class Intake(MemoryIntake):
    """STOW-RS has no number of its own for a message."""

    def submit(self, bound: Bound, raw: bytes, done: Any, **more: Any) -> None:
        super().submit(bound, raw, done, control_id="", **more)


@asynccontextmanager
async def listening(intake: MemoryIntake, data: Path, **options: Any) -> AsyncIterator[StowReceiver]:
    contract = Interface(direction="in", adapter="dicomweb", codec="dicom")
    chosen = DicomWebListen(**{"auth": {"type": "none"}, **options})
    bound = Bound("pacs/web", "pacs", "web", "pacs@1", contract, DicomCodec(), {}, chosen, data=data)
    receiver = DicomWebAdapter().receiver(bound, intake)  # type: ignore[arg-type]
    assert isinstance(receiver, StowReceiver)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(5.0)


@asynccontextmanager
async def calling(url: str, data: Path, **options: Any) -> AsyncIterator[DicomWebSender]:
    contract = Interface(direction="out", adapter="dicomweb", codec="dicom")
    chosen = DicomWebConnect(url=url, **options)
    bound = Bound("archive/web", "archive", "web", "archive@1", contract, DicomCodec(), {}, chosen, data=data)
    sender = DicomWebAdapter().sender(bound)
    assert isinstance(sender, DicomWebSender)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


def url_of(receiver: StowReceiver, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{receiver.status()['port']}/dicom-web"


def multipart(*bodies: bytes) -> bytes:
    parts = b"".join(b"--XX\r\nContent-Type: application/dicom\r\n\r\n" + body + b"\r\n" for body in bodies)
    return parts + b"--XX--\r\n"


async def post(url: str, body: bytes, **headers: str) -> tuple[int, bytes, str]:
    wanted = {"Content-Type": KIND, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=wanted) as answer:
        return answer.status, await answer.read(), answer.headers["Content-Type"]


async def test_objects_of_all_sizes_in_one_call(tmp_path: Path) -> None:
    intake, large = Intake(), document(2_000_000, 2)
    async with listening(intake, tmp_path) as receiver:
        status, body, kind = await post(f"{url_of(receiver)}/studies", multipart(image(1), large, image(3)))
    assert (status, kind) == (200, "application/dicom+json")
    stored = json.loads(body)["00081199"]["Value"]
    assert [one["00081155"]["Value"] for one in stored] == [["1.2.3.9.1"], ["1.2.3.9.2"], ["1.2.3.9.3"]]
    assert stored[0]["00081150"]["Value"] == [CT]
    assert intake.taken[0] == image(1)
    assert intake.taken[2] == image(3)
    reference = reference_of(read_file(intake.taken[1]))
    assert reference is not None
    assert (tmp_path / reference.path).read_bytes() == large
    assert len(intake.taken[1]) < 2000


async def test_an_answer_tells_what_failed(tmp_path: Path) -> None:
    intake = Intake()
    full = Receipt(Outcome.REFUSED, error=StoreBusy("full"))
    bad = Receipt(Outcome.REFUSED, error=HubError("no"))
    fate = {image(1): Receipt(Outcome.OK, 1), image(2): full, image(3): bad}
    intake.verdict = lambda raw: fate[raw]
    async with listening(intake, tmp_path) as receiver:
        url = f"{url_of(receiver)}/studies"
        status, body, _ = await post(url, multipart(image(1), image(2), image(3), b"no DICOM"))
        assert status == 202
        failed = json.loads(body)["00081198"]["Value"]
        assert [one["00081197"]["Value"] for one in failed] == [[0xA700], [0xC000], [0xC000]]
        assert (await post(url, multipart(image(2))))[0] == 503
        assert (await post(url, multipart(image(3))))[0] == 409
        status, body, kind = await post(url, multipart(image(1), image(3)), Accept="application/dicom+xml")
        assert (status, kind) == (202, "application/dicom+xml")
        assert b'<DicomAttribute tag="00081155" vr="UI" keyword="ReferencedSOPInstanceUID">' in body
        assert receiver.status()["failed"] == 6


async def test_the_study_of_the_path(tmp_path: Path) -> None:
    intake = Intake()
    async with listening(intake, tmp_path) as receiver:
        status, body, _ = await post(f"{url_of(receiver)}/studies/1.2.3", multipart(image(1), image(2, study="1.2.4")))
    assert status == 202
    assert json.loads(body)["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]
    assert intake.taken == [image(1)]


async def test_success_leaves_only_after_the_commit(tmp_path: Path) -> None:
    intake = Intake()
    intake.at_once = False
    async with listening(intake, tmp_path) as receiver:
        calls = asyncio.create_task(post(f"{url_of(receiver)}/studies", multipart(image(1), image(2))))
        await until(lambda: len(intake.waiting) == 2)
        done, _ = await asyncio.wait([calls], timeout=0.2)
        assert not done
        for _, tell in intake.waiting:
            tell(Receipt(Outcome.OK, 1))
        assert (await calls)[0] == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 415),
        (b"nothing", KIND, 400),
        (multipart(image())[:-20], KIND, 400),
        (multipart(image()).replace(b"XX", b"YY"), KIND, 400),
        (b"--XX\r\nContent-Type: multipart/mixed; boundary=Y\r\n\r\n--Y--\r\n--XX--\r\n", KIND, 400),
    ],
)
async def test_hostile_calls(tmp_path: Path, body: bytes, kind: str, status: int) -> None:
    async with listening(Intake(), tmp_path) as receiver:
        assert (await post(f"{url_of(receiver)}/studies", body, Content_Type=kind))[0] == status
        assert (await post(f"{url_of(receiver)}/studies", multipart(image())))[0] == 200
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_who_may_call(tmp_path: Path) -> None:
    intake = Intake()
    async with listening(intake, tmp_path, auth=SECRET, max_parts=1) as receiver:
        url = f"{url_of(receiver)}/studies"
        assert (await post(url, multipart(image())))[0] == 401
        assert (await post(url, multipart(image()), Authorization="Bearer word"))[0] == 200
        assert (await post(url, multipart(image(), image(2)), Authorization="Bearer word"))[0] == 413
        intake.is_ready = False
        assert (await post(url, multipart(image()), Authorization="Bearer word"))[0] == 503


async def test_a_call_cut_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    intake = Intake()
    async with listening(intake, tmp_path) as receiver:
        _, writer = await asyncio.open_connection("127.0.0.1", receiver.status()["port"])
        body = multipart(document(3_000_000))
        head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body[:2_000_000])
        await writer.drain()
        await until(lambda: [path for path in tmp_path.rglob("*") if path.is_file()])
        writer.transport.abort()
        await until(lambda: receiver.status()["under_way"] == 0)
    assert intake.taken == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_stow_from_one_end_to_the_other(tmp_path: Path) -> None:
    intake, large = Intake(), document(2_000_000)
    async with (
        listening(intake, tmp_path, auth=SECRET) as receiver,
        calling(url_of(receiver), tmp_path, auth=SECRET) as sender,
    ):
        for body in (image(), large, None):
            reply = await sender.send(outgoing(body or intake.taken[1]))
            assert (reply.ok, reply.status) == (True, 200), reply
    _, content = pieces(intake.taken[2], tmp_path)
    assert large.endswith(b"".join(content))


async def test_how_the_sender_understands_answers(tmp_path: Path) -> None:
    intake = Intake()
    async with listening(intake, tmp_path, auth=SECRET) as receiver:
        async with calling(url_of(receiver), tmp_path, auth=SECRET) as sender:
            intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=StoreBusy("full"))
            reply = await sender.send(outgoing(image()))
            assert (reply.ok, reply.code, reply.transient, reply.status) == (False, "A700", True, 503)
            intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=HubError("no"))
            reply = await sender.send(outgoing(image()))
            assert (reply.ok, reply.code, reply.transient, reply.status) == (False, "C000", False, 409)
            with pytest.raises(PermanentError) as caught:
                await sender.send(outgoing(b"no DICOM"))
            assert caught.value.code == "dicom.not_dicom"
        async with calling(url_of(receiver), tmp_path) as sender:
            reply = await sender.send(outgoing(image()))
            assert (reply.ok, reply.code, reply.transient) == (False, "401", False)
        intake.at_once = False
        async with calling(url_of(receiver), tmp_path, auth=SECRET) as sender:
            with pytest.raises(TransientError) as late:
                await sender.send(outgoing(image(), timeout=0.3))
            assert late.value.code == "http.timeout"
        for _, done in intake.waiting:
            done(Receipt(Outcome.OK, 1))
        gone = url_of(receiver)
    async with calling(gone, tmp_path) as sender:
        with pytest.raises(UnreachableError):
            await sender.send(outgoing(image()))
        with pytest.raises(UnreachableError):
            await sender.probe()


async def test_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    authority.issue("server", "localhost", "127.0.0.1")
    Authority(tmp_path, "other")
    tls = {"certificate": str(tmp_path / "server.pem"), "key": str(tmp_path / "server.key")}
    intake = Intake()
    async with listening(intake, tmp_path, tls=tls) as receiver:
        url = url_of(receiver, "https")
        async with calling(url, tmp_path, tls={"ca": str(tmp_path / "ca.pem")}) as sender:
            assert (await sender.send(outgoing(image()))).ok
        async with calling(url, tmp_path, tls={"ca": str(tmp_path / "other.pem")}) as sender:
            with pytest.raises(UnreachableError) as caught:
                await sender.send(outgoing(image()))
            assert caught.value.code == "tls.verify"
    assert len(intake.taken) == 1


@pytest.mark.parametrize("url", ["ftp://x", "http://u:p@host/x", "http://host/x?y=1", "host"])
def test_urls_that_make_no_sense(url: str) -> None:
    with pytest.raises(ValueError):
        DicomWebConnect(url=url)
