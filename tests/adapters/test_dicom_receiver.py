"""The listening side, called by the adapter's own sender and by raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from adapters.dicom.content import pieces
from adapters.dicom.options import DicomListen
from hub.api import HubError, PermanentError, Receipt, StoreBusy, TransientError, UnreachableError
from hub.codecs.dicom import DicomCodec
from hub.message import Outcome
from tests.adapters.certificates import Authority
from tests.adapters.dicom_support import (
    MemoryIntake,
    bound_in,
    calling,
    document,
    image,
    listening,
    outgoing,
    port_of,
    threads,
    until,
)


async def test_echo(tmp_path: Path) -> None:
    async with (
        listening(MemoryIntake(), tmp_path) as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        assert "C-ECHO" in await sender.probe()
        assert "TONGQU" in await receiver.probe()
    assert threads() == set()


async def test_a_small_object_is_taken_byte_for_byte(tmp_path: Path) -> None:
    intake = MemoryIntake()
    async with (
        listening(intake, tmp_path) as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        reply = await sender.send(outgoing(image(7)))
        assert (reply.ok, reply.code) == (True, "0000")
    assert intake.numbers == ["1.2.3.9.7"]
    assert intake.params[0] == {"service": "C-STORE", "calling": "TONGQU", "syntax": "1.2.840.10008.1.2.1"}
    assert intake.taken[0].endswith(image(7)[-200:])
    assert DicomCodec().decode(intake.taken[0]).get("PatientName") == "Zhang^San=张^三"
    assert threads() == set()


async def test_a_large_object_is_a_file_and_goes_out_from_there(tmp_path: Path) -> None:
    intake, body = MemoryIntake(), document(3_000_000)
    async with (
        listening(intake, tmp_path, max_pdu="16KB") as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        assert (await sender.send(outgoing(body))).ok
        header = intake.taken[0]
        assert len(header) < 2000
        assert (await sender.send(outgoing(header))).ok
        assert intake.taken[1] == header
    _, content = pieces(header, tmp_path)
    assert body.endswith(b"".join(content))


async def test_success_leaves_only_after_the_commit(tmp_path: Path) -> None:
    intake = MemoryIntake()
    intake.at_once = False
    async with (
        listening(intake, tmp_path) as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        sending = asyncio.create_task(sender.send(outgoing(image())))
        await until(lambda: intake.waiting)
        done, _ = await asyncio.wait([sending], timeout=0.2)
        assert not done
        intake.waiting[0][1](Receipt(Outcome.OK, 1))
        assert (await sending).ok


@pytest.mark.parametrize(
    ("receipt", "code", "transient"),
    [
        (Receipt(Outcome.REFUSED, error=StoreBusy("full")), "A700", True),
        (Receipt(Outcome.REFUSED, error=HubError("no such patient")), "C000", False),
    ],
)
async def test_refusals(tmp_path: Path, receipt: Receipt, code: str, transient: bool) -> None:
    intake = MemoryIntake()
    intake.verdict = lambda raw: receipt
    async with (
        listening(intake, tmp_path) as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        reply = await sender.send(outgoing(image()))
        assert (reply.ok, reply.code, reply.transient) == (False, code, transient)
        assert receiver.status()["refused"] == 1


async def test_nothing_is_taken_while_the_hub_is_not_ready(tmp_path: Path) -> None:
    intake = MemoryIntake()
    intake.is_ready = False
    async with (
        listening(intake, tmp_path) as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        assert (await sender.send(outgoing(image()))).code == "A700"
        intake.is_ready = True
        assert (await sender.send(outgoing(image()))).ok
    assert len(intake.taken) == 1


async def test_duplicates_and_conflicts_are_acknowledged(tmp_path: Path) -> None:
    intake = MemoryIntake()
    async with (
        listening(intake, tmp_path) as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        for outcome in (Outcome.DUPLICATE, Outcome.CONFLICT):
            intake.verdict = lambda raw, outcome=outcome: Receipt(outcome, 1)  # type: ignore[misc]
            assert (await sender.send(outgoing(image()))).ok


async def test_too_large_an_object_is_refused_for_good(tmp_path: Path) -> None:
    intake = MemoryIntake()
    async with (
        listening(intake, tmp_path, max_object="1MB") as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        reply = await sender.send(outgoing(document(2_000_000)))
        assert (reply.ok, reply.code, reply.transient) == (False, "C000", False)
        assert (await sender.send(outgoing(image()))).ok
    assert [error.code for error in intake.refused] == ["dicom.too_large"]
    assert len(intake.taken) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_wrong_title(tmp_path: Path) -> None:
    intake = MemoryIntake()
    async with listening(intake, tmp_path, calling=["CT01"]) as receiver:
        async with calling(port_of(receiver), tmp_path, called="OTHER", calling="CT01") as sender:
            with pytest.raises(UnreachableError) as caught:
                await sender.send(outgoing(image()))
            assert caught.value.code == "dicom.rejected"
            assert "OTHER" in caught.value.text
        async with calling(port_of(receiver), tmp_path, calling="CT02") as sender:
            with pytest.raises(UnreachableError) as caught:
                await sender.probe()
            assert "CT02" in caught.value.text
        async with calling(port_of(receiver), tmp_path, calling="CT01") as sender:
            await sender.probe()
        await until(lambda: receiver.status()["rejected"] == 2)
        await until(lambda: intake.refused)
        assert intake.refused[0].code == "dicom.rejected"


async def test_more_associations_than_allowed_are_put_off(tmp_path: Path) -> None:
    async with (
        listening(MemoryIntake(), tmp_path, max_associations=1) as receiver,
        calling(port_of(receiver), tmp_path) as first,
        calling(port_of(receiver), tmp_path) as second,
    ):
        assert (await first.send(outgoing(image()))).ok
        with pytest.raises(UnreachableError) as caught:
            await second.send(outgoing(image()))
        assert caught.value.code == "dicom.rejected"
        await first.stop()
        await until(lambda: receiver.status()["associations"] == 0)
        assert (await second.send(outgoing(image()))).ok


async def test_strangers_are_not_let_in(tmp_path: Path) -> None:
    intake = MemoryIntake()
    async with (
        listening(intake, tmp_path, allow=["10.0.0.0/8"]) as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        with pytest.raises(UnreachableError):
            await sender.probe()
        assert receiver.status()["not_allowed"] == 1
        await until(lambda: intake.refused)
        assert intake.refused[0].code == "dicom.not_allowed"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x01\x00\xff\xff\xff\xff",
        b"\x04\x00\x00\x00\x00\x0a" + b"\xff" * 10,
        b"\x01\x00\x00\x00\x00\x44" + b"\x00" * 68,
        b"\x16\x03\x01\x02\x00\x01",
        b"",
    ],
)
async def test_hostile_bytes_end_their_connection_only(tmp_path: Path, data: bytes) -> None:
    async with (
        listening(MemoryIntake(), tmp_path) as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(receiver))
        writer.write(data)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                await reader.read()
        writer.close()
        assert (await sender.send(outgoing(image()))).ok
        await until(lambda: receiver.status()["associations"] == 1)


async def test_a_peer_that_stops_in_the_middle_of_a_pdu(tmp_path: Path) -> None:
    async with listening(MemoryIntake(), tmp_path, pdu_timeout="200ms") as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(receiver))
        writer.write(b"\x01\x00\x00\x00\x01\x00abc")
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                await reader.read()
        writer.close()
        await until(lambda: receiver.status()["associations"] == 0)
    assert threads() == set()


class _Cut:
    """Lets through so many bytes of what a client says, then cuts the connection."""

    def __init__(self, port: int, limit: int) -> None:
        self._port, self._limit = port, limit

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)

        async def answers() -> None:
            while data := await there.read(65536):
                writer.write(data)

        task = asyncio.create_task(answers())
        left = self._limit
        while left > 0 and (data := await reader.read(min(left, 65536))):
            back.write(data)
            await back.drain()
            left -= len(data)
        task.cancel()
        for one in (writer, back):
            one.transport.abort()

    async def __aexit__(self, *reason: Any) -> None:
        self._server.close()


async def test_a_connection_cut_in_the_middle_of_an_object(tmp_path: Path) -> None:
    intake = MemoryIntake()
    async with (
        listening(intake, tmp_path) as receiver,
        _Cut(port_of(receiver), 1_000_000) as port,
        calling(port, tmp_path) as sender,
    ):
        with pytest.raises(TransientError) as caught:
            await sender.send(outgoing(document(5_000_000)))
        assert caught.value.code == "dicom.lost"
        await until(lambda: receiver.status()["associations"] == 0)
        assert intake.taken == []
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert threads() == set()


async def test_stopping_in_the_middle_of_an_object_leaves_nothing(tmp_path: Path) -> None:
    intake = MemoryIntake()
    intake.at_once = False
    async with (
        listening(intake, tmp_path, pdu_timeout="5s") as receiver,
        calling(port_of(receiver), tmp_path) as sender,
    ):
        sending = asyncio.create_task(sender.send(outgoing(document(2_000_000))))
        await until(lambda: intake.waiting)
        stopping = asyncio.create_task(receiver.stop(5.0))
        await asyncio.wait([stopping], timeout=0.1)
        assert not stopping.done()  # the object is complete: it gets its answer
        intake.waiting[0][1](Receipt(Outcome.OK, 1))
        assert (await sending).ok
        await stopping
    assert threads() == set()


async def test_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    authority.issue("server", "localhost", "127.0.0.1")
    authority.issue("ct", "ct")
    Authority(tmp_path, "other").issue("stranger", "ct")
    tls = {"certificate": str(tmp_path / "server.pem"), "key": str(tmp_path / "server.key")}
    ours = {"ca": str(tmp_path / "ca.pem")}
    known = {**ours, "certificate": str(tmp_path / "ct.pem"), "key": str(tmp_path / "ct.key")}
    intake = MemoryIntake()
    async with listening(intake, tmp_path, tls={**tls, "client_ca": str(tmp_path / "ca.pem")}) as receiver:
        port = port_of(receiver)
        async with calling(port, tmp_path, tls=known) as sender:
            assert (await sender.send(outgoing(document(1_000_000)))).ok
            assert (await sender.send(outgoing(image()))).ok
        for wrong, code in (
            ({"ca": str(tmp_path / "other.pem")}, "tls.verify"),
            ({**known, "server_name": "elsewhere"}, "tls.verify"),
        ):
            async with calling(port, tmp_path, tls=wrong) as sender:
                with pytest.raises(UnreachableError) as caught:
                    await sender.send(outgoing(image()))
                assert caught.value.code == code
        for stranger in (ours, None):
            async with calling(port, tmp_path, tls=stranger, associate_timeout="2s") as sender:
                with pytest.raises(UnreachableError):
                    await sender.send(outgoing(image()))
        # One that never says a word of TLS doesn't keep others out.
        with socket.create_connection(("127.0.0.1", port)):
            async with calling(port, tmp_path, tls=known) as sender:
                await sender.probe()
    assert len(intake.taken) == 2


async def test_the_port_is_taken(tmp_path: Path) -> None:
    async with listening(MemoryIntake(), tmp_path) as receiver:
        with pytest.raises(HubError) as caught:
            async with listening(MemoryIntake(), tmp_path, port=port_of(receiver)):
                pass
        assert caught.value.code == "dicom.listen"


async def test_services_and_contract_must_fit(tmp_path: Path) -> None:
    from adapters.dicom.receiver import DicomReceiver

    bound = bound_in(tmp_path, services=["worklist"])
    bound.contract = bound_in(tmp_path).contract
    with pytest.raises(HubError) as caught:
        await DicomReceiver(bound, MemoryIntake()).start()  # type: ignore[arg-type]
    assert caught.value.code == "dicom.contract"


@pytest.mark.parametrize(
    "options",
    [
        {"host": "0.0.0.0"},
        {"ae_title": "longer than sixteen"},
        {"ae_title": "back\\slash"},
        {"services": ["worklist", "store"]},
        {"services": ["commitment"]},
        {"services": []},
        {"services": ["mpps"], "index_after": "5s"},
        {"sop_classes": ["CT"]},
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        DicomListen(**options)


async def test_a_service_that_is_not_offered(tmp_path: Path) -> None:
    async with (
        listening(MemoryIntake(), tmp_path) as receiver,
        calling(port_of(receiver), tmp_path, service="worklist") as sender,
    ):
        with pytest.raises(PermanentError) as caught:
            await sender.send(outgoing(b'{"PatientID": "1"}'))
        assert caught.value.code == "dicom.context"


async def test_more_requests_than_the_protocol_allows(tmp_path: Path) -> None:
    """A peer that does not wait for answers is sent away instead of being remembered."""
    intake = MemoryIntake()
    intake.at_once = False
    async with listening(intake, tmp_path) as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(receiver))
        writer.write(_request_of_association())
        head = await reader.readexactly(6)
        await reader.readexactly(struct.unpack(">L", head[2:])[0])
        assert head[0] == 2
        for number in range(11, 31):
            writer.write(_store(number))
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                await reader.read()
        writer.close()
        for _, done in intake.waiting:
            done(Receipt(Outcome.OK, 1))
        await until(lambda: receiver.status()["associations"] == 0)
        assert len(intake.taken) == 1


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def _request_of_association() -> bytes:
    context = b"\1\0\0\0" + _item(0x30, b"1.2.840.10008.5.1.4.1.1.2") + _item(0x40, b"1.2.840.10008.1.2.1")
    user = _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3.4")
    body = struct.pack(">HH16s16s32x", 1, 0, b"TONGQU".ljust(16), b"CT01".ljust(16))
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, user)
    return struct.pack(">BBL", 1, 0, len(body)) + body


def _element(group: int, element: int, value: bytes) -> bytes:
    return struct.pack("<HHL", group, element, len(value)) + value


def _store(number: int) -> bytes:
    command = b"".join(
        [
            _element(0, 0x0002, b"1.2.840.10008.5.1.4.1.1.2\0"),
            _element(0, 0x0100, struct.pack("<H", 1)),
            _element(0, 0x0110, struct.pack("<H", number)),
            _element(0, 0x0700, struct.pack("<H", 0)),
            _element(0, 0x0800, struct.pack("<H", 1)),
            _element(0, 0x1000, b"1.2.3.9.%02d" % number),
        ]
    )
    command = _element(0, 0, struct.pack("<L", len(command))) + command
    data_set = b"\x08\x00\x16\x00UI\x1a\x001.2.840.10008.5.1.4.1.1.2\0\x08\x00\x18\x00UI\x0a\x00"
    data_set += b"1.2.3.9.%02d" % number
    pdvs = b"".join(
        struct.pack(">LBB", len(part) + 2, 1, flags) + part for flags, part in ((3, command), (2, data_set))
    )
    return struct.pack(">BBL", 4, 0, len(pdvs)) + pdvs


def test_the_context_of_tls_is_checked_before_anything_listens(tmp_path: Path) -> None:
    async def start() -> None:
        with pytest.raises(HubError) as caught:
            async with listening(MemoryIntake(), tmp_path, tls={"certificate": "missing.pem"}):
                pass
        assert caught.value.code == "tls.certificate"

    asyncio.run(start())


async def test_a_receipt_that_never_comes_does_not_keep_the_hub_from_stopping(tmp_path: Path) -> None:
    intake = MemoryIntake()
    intake.at_once = False
    async with listening(intake, tmp_path) as receiver, calling(port_of(receiver), tmp_path) as sender:
        sending = asyncio.create_task(sender.send(outgoing(image())))
        await until(lambda: intake.waiting)
        await receiver.stop(0.1)
        with contextlib.suppress(TransientError):
            assert (await sending).code == "A700"
    assert threads() == set()


async def test_a_target_that_accepts_connections_and_says_nothing(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with calling(port, tmp_path) as sender:
        started = asyncio.get_running_loop().time()
        with pytest.raises(UnreachableError) as caught:
            await sender.send(outgoing(image(), timeout=0.3))
        assert caught.value.code == "dicom.no_association"
        assert asyncio.get_running_loop().time() - started < 10.0
    server.close()
    assert threads() == set()
