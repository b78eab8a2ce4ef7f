"""MLLP over TLS, with certificates made for the test."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.mllp import MllpAdapter
from adapters.tls import ClientTls, ServerTls, client_context, server_context
from hub.api import HubError, TransientError, UnreachableError
from hub.i18n import set_language
from tests.adapters.certificates import Authority, encrypt_key
from tests.adapters.mllp_support import (
    MemoryIntake,
    answered,
    bound_in,
    bound_out,
    calling,
    client,
    listening,
    message,
    outgoing,
    until,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder, "ca")
    authority.issue("server", "localhost", "127.0.0.1")
    authority.issue("client", "his")
    authority.issue("elsewhere", "other.example")
    Authority(folder, "other_ca").issue("stranger", "his")
    return folder


@pytest.fixture
def server_tls(folder: Path) -> dict[str, Any]:
    return {"certificate": str(folder / "server.pem"), "key": str(folder / "server.key")}


@pytest.fixture
def english() -> Iterator[None]:
    set_language("en")
    yield
    set_language("")


async def test_message_through_tls(folder: Path, server_tls: dict[str, Any]) -> None:
    intake = MemoryIntake()
    async with listening(intake, tls=server_tls) as receiver:
        port = receiver.status()["port"]
        async with calling(port, tls={"ca": str(folder / "ca.pem")}) as sender:
            for number in range(5):
                assert (await sender.send(outgoing(message(str(number), text="x" * 100_000)))).ok
            assert sender.status()["connects"] == 1
            assert "TLSv1.3" in await sender.probe()
        await until(lambda: receiver.status()["connections"] == 0)
    assert len(intake.taken) == 5


async def test_pipelined_frames_through_tls(folder: Path, server_tls: dict[str, Any]) -> None:
    context = client_context(ClientTls(ca=str(folder / "ca.pem")))
    intake = MemoryIntake()
    async with (
        listening(intake, tls=server_tls, max_in_flight=5) as receiver,
        client(receiver, ssl=context, server_hostname="localhost") as peer,
    ):
        peer.send(*[message(str(n)) for n in range(100)])
        assert [answered(await peer.reply()) for _ in range(100)] == [str(n) for n in range(100)]


async def test_too_large_is_answered_through_tls(folder: Path, server_tls: dict[str, Any]) -> None:
    context = client_context(ClientTls(ca=str(folder / "ca.pem")))
    async with (
        listening(MemoryIntake(), tls=server_tls, max_size=1000) as receiver,
        client(receiver, ssl=context, server_hostname="localhost") as peer,
    ):
        peer.send(message("1", text="x" * 200_000))
        assert answered(await peer.reply()) == "1"
        assert await peer.reply_or_end() is None


@pytest.mark.parametrize(
    "tls",
    [
        {},  # the system's authorities do not know ours
        {"ca": "other_ca.pem"},
        {"ca": "ca.pem", "server_name": "other.example"},
    ],
)
async def test_server_that_can_not_be_verified(folder: Path, server_tls: dict[str, Any], tls: dict[str, str]) -> None:
    options = {key: str(folder / value) if key == "ca" else value for key, value in tls.items()}
    intake = MemoryIntake()
    async with (
        listening(intake, tls=server_tls) as receiver,
        calling(receiver.status()["port"], tls=options) as sender,
    ):
        with pytest.raises(UnreachableError, match="TLS"):
            await sender.send(outgoing(message("1")))
        with pytest.raises(UnreachableError):
            await sender.probe()
    assert intake.taken == []


async def test_verification_can_be_switched_off_and_the_name_replaced(folder: Path) -> None:
    tls = {"certificate": str(folder / "elsewhere.pem"), "key": str(folder / "elsewhere.key")}
    async with listening(MemoryIntake(), tls=tls) as receiver:
        port = receiver.status()["port"]
        async with calling(port, tls={"verify": False}) as sender:
            assert (await sender.send(outgoing(message("1")))).ok
        named = {"ca": str(folder / "ca.pem"), "server_name": "other.example"}
        async with calling(port, tls=named) as sender:
            assert (await sender.send(outgoing(message("2")))).ok


async def test_client_certificates(folder: Path, server_tls: dict[str, Any]) -> None:
    intake = MemoryIntake()
    async with listening(intake, tls={**server_tls, "client_ca": str(folder / "ca.pem")}) as receiver:
        port = receiver.status()["port"]
        trust = {"ca": str(folder / "ca.pem")}
        own = {"certificate": str(folder / "client.pem"), "key": str(folder / "client.key")}
        foreign = {"certificate": str(folder / "stranger.pem"), "key": str(folder / "stranger.key")}
        async with calling(port, tls=trust | own) as sender:
            assert (await sender.send(outgoing(message("1")))).ok
        for shown in ({}, foreign):
            async with calling(port, tls=trust | shown) as sender:
                # TLS 1.3 lets the server object only after the client believes to be connected.
                with pytest.raises((TransientError, UnreachableError)):
                    await sender.send(outgoing(message("2")))
    assert intake.taken == [message("1")]


async def test_plain_peer_on_a_tls_port_and_the_reverse(folder: Path, server_tls: dict[str, Any]) -> None:
    intake = MemoryIntake()
    async with listening(intake, tls=server_tls) as receiver, client(receiver) as peer:
        peer.send(message("1"))
        assert await peer.reply_or_end() is None
    async with (
        listening(intake) as receiver,
        calling(receiver.status()["port"], tls={"verify": False}, connect_timeout=0.3) as sender,
    ):
        with pytest.raises(UnreachableError):
            await sender.send(outgoing(message("1")))
    assert intake.taken == []


async def test_old_tls_versions_are_refused(folder: Path, server_tls: dict[str, Any]) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(folder / "ca.pem")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listening(MemoryIntake(), tls={**server_tls, "min_version": "1.3"}) as receiver:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", receiver.status()["port"], ssl=old, server_hostname="localhost")


@pytest.mark.usefixtures("english")
async def test_unusable_files_are_named(folder: Path, tmp_path: Path, server_tls: dict[str, Any]) -> None:
    missing = str(folder / "missing.pem")
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for tls in (
        {"certificate": missing},
        {**server_tls, "key": missing},
        {**server_tls, "client_ca": missing},
        {"certificate": str(broken)},
        {**server_tls, "client_ca": str(broken)},
        {**server_tls, "key": str(folder / "client.key")},  # belongs to another certificate
    ):
        with pytest.raises(HubError) as caught:
            await MllpAdapter().receiver(bound_in(tls=tls), MemoryIntake()).start()
        assert any(path in caught.value.text for path in (missing, str(broken), server_tls["certificate"]))
        assert caught.value.remedy
    with pytest.raises(HubError, match="missing"):
        await MllpAdapter().sender(bound_out(host="a", port=1, tls={"ca": missing})).start()


def test_encrypted_key(folder: Path, tmp_path: Path) -> None:
    key = encrypt_key(folder / "server.key", tmp_path / "locked.key", "correct horse")
    certificate = str(folder / "server.pem")
    server_context(ServerTls(certificate=certificate, key=str(key), key_password="correct horse"))
    for wrong in ("", "wrong"):
        with pytest.raises(HubError) as caught:
            server_context(ServerTls(certificate=certificate, key=str(key), key_password=wrong))
        assert "horse" not in caught.value.text
    assert "horse" not in repr(ServerTls(certificate=certificate, key_password="correct horse"))
