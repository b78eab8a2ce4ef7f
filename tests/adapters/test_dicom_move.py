"""C-MOVE to ourselves: the objects come on associations of the other side and belong to the call that asked for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pynetdicom import AE, build_context, evt

from adapters.dicom import DicomAdapter
from adapters.dicom.options import DicomConnect
from hub.api import HubError
from tests.adapters.dicom_support import (
    CT,
    PDF,
    MemoryIntake,
    bound_out,
    calling,
    document,
    image,
    listening,
    outgoing,
    port_of,
    threads,
)
from tests.peers.process import free_port

STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
MOVE = {"service": "move", "destination": "TONGQU", "called": "PACS", "receive": {"port": 0}}


class Pacs:
    """Sends what it has of a study to the port ``to``; ``originator``: says of its own who asked, not as pynetdicom does."""

    def __init__(self, port: int) -> None:
        self.objects: dict[str, list[bytes]] = {}
        self.to = 0
        self.originator: Callable[[int], dict[str, Any]] | None = None
        self.statuses: list[int] = []
        entity = AE("PACS")
        entity.add_supported_context(STUDY_MOVE)
        handlers: list[Any] = [(evt.EVT_C_MOVE, self._move)]
        self._server: Any = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def _move(self, event: Any) -> Iterator[Any]:
        bodies = self.objects.get(event.identifier.StudyInstanceUID, [])
        if self.originator is not None:
            self.send(bodies, **self.originator(event.message_id))
            bodies = []
        contexts = [build_context(one) for one in (CT, PDF)]
        yield "127.0.0.1", self.to, {"contexts": contexts}
        yield len(bodies)
        for body in bodies:
            yield 0xFF00, dcmread(BytesIO(body))

    def send(self, bodies: list[bytes], **originator: Any) -> None:
        entity = AE("PACS")
        for sop_class in (CT, PDF):
            entity.add_requested_context(sop_class)
        association = entity.associate("127.0.0.1", self.to, ae_title="TONGQU")
        assert association.is_established
        try:
            for body in bodies:
                answer = association.send_c_store(dcmread(BytesIO(body)), **originator)
                self.statuses.append(int(answer.Status))
        finally:
            association.release()

    def close(self) -> None:
        self._server.shutdown()


@contextmanager
def pacs() -> Iterator[tuple[Pacs, int]]:
    port = free_port()
    server = Pacs(port)
    try:
        yield server, port
    finally:
        server.close()


def asking(study: str) -> bytes:
    return json.dumps({"service": "retrieve", "keys": {"StudyInstanceUID": study}}).encode()


def told(data: Path, reply: Any) -> list[bytes]:
    """The data sets of the files a reply names."""
    return [(data / one["path"]).read_bytes() for one in json.loads(reply.body)["objects"]]


def ends(whole: bytes) -> bytes:
    return whole[-100:]


async def test_objects_come_to_the_call_that_asked_for_them(tmp_path: Path) -> None:
    with pacs() as (server, port):
        server.objects = {
            "1.2.3": [image(1), document(1_000_000, 2)],
            "1.2.4": [image(3, study="1.2.4")],
        }
        async with calling(port, tmp_path, **MOVE) as sender:
            server.to = sender.status()["receiving"]
            replies = await asyncio.gather(*(sender.send(outgoing(asking(one))) for one in ("1.2.3", "1.2.4", "1.2.9")))
            for reply, study in zip(replies, ("1.2.3", "1.2.4", "1.2.9"), strict=True):
                assert reply.ok, reply
                bodies = server.objects.get(study, [])
                assert list(map(ends, told(tmp_path, reply))) == list(map(ends, bodies))
            again = await sender.send(outgoing(asking("1.2.3")))
            assert {one["sha256"] for one in json.loads(again.body)["objects"]} == {
                one["sha256"] for one in json.loads(replies[0].body)["objects"]
            }
    assert not threads()
    assert not list((tmp_path / "objects").rglob("arriving/*"))


@pytest.mark.parametrize(
    ("originator", "taken"),
    [
        (lambda number: {"originator_aet": "TONGQU", "originator_id": number}, True),
        (lambda number: {}, True),  # known by the study
        (lambda number: {"originator_aet": "OTHER", "originator_id": number}, True),
        (lambda number: {"originator_aet": "TONGQU", "originator_id": number + 1}, False),
    ],
)
async def test_who_asked_for_an_object(tmp_path: Path, originator: Any, taken: bool) -> None:
    with pacs() as (server, port):
        server.objects = {"1.2.3": [image(1), image(2, study="1.2.9")]}
        server.originator = originator
        async with calling(port, tmp_path, **MOVE) as sender:
            server.to = sender.status()["receiving"]
            reply = await sender.send(outgoing(asking("1.2.3")))
            assert len(json.loads(reply.body)["objects"]) == taken
    assert server.statuses == [0 if taken else 0xC000, 0xC000]  # the other study was not asked for


async def test_nobody_asked(tmp_path: Path) -> None:
    with pacs() as (server, port):
        async with calling(port, tmp_path, **MOVE) as sender:
            server.to = sender.status()["receiving"]
            await asyncio.to_thread(server.send, [image(1)])
    assert server.statuses == [0xC000]


async def test_objects_that_went_elsewhere_are_missed(tmp_path: Path) -> None:
    """The archive knows our AE title under another address."""
    with pacs() as (server, port):
        server.objects = {"1.2.3": [image(1)]}
        async with (
            listening(MemoryIntake(), tmp_path / "other") as other,
            calling(port, tmp_path, **MOVE) as sender,
        ):
            server.to = port_of(other)
            reply = await sender.send(outgoing(asking("1.2.3")))
            assert (reply.ok, reply.transient, reply.code) == (False, True, "dicom.missing")
            server.to = free_port()
            reply = await sender.send(outgoing(asking("1.2.3")))
            assert (reply.ok, reply.code) == (False, "A801")


async def test_a_disk_that_is_full_fails_the_call_for_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with pacs() as (server, port):
        server.objects = {"1.2.3": [image(1)]}
        async with calling(port, tmp_path, **MOVE) as sender:
            server.to = sender.status()["receiving"]
            with monkeypatch.context() as patched:
                patched.setattr("adapters.dicom.object_file.ObjectWriter.finish", full)
                reply = await sender.send(outgoing(asking("1.2.3")))
            assert (reply.ok, reply.transient) == (False, True)
            assert not list((tmp_path / "objects").rglob("arriving/*"))
            assert (await sender.send(outgoing(asking("1.2.3")))).ok


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    async with listening(MemoryIntake(), tmp_path) as receiver:
        taken = {**MOVE, "receive": {"port": port_of(receiver)}}
        sender = DicomAdapter().sender(bound_out(tmp_path, port=1, **taken))
        with pytest.raises(HubError) as caught:
            await sender.start()
        assert caught.value.code == "dicom.listen"
        await sender.stop()


def test_options_that_make_no_sense() -> None:
    where = {"host": "x", "port": 1, "called": "PACS"}
    with pytest.raises(ValueError, match="receive is for"):
        DicomConnect(**where, receive={"port": 1})
    with pytest.raises(ValueError, match="allow"):
        DicomConnect(**where, service="move", destination="TONGQU", receive={"host": "0.0.0.0", "port": 1})
