"""HTTP over TLS: both directions, with and without client certificates."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

from adapters.http import HttpAdapter
from hub.api import HubError, SendError, TransientError, UnreachableError
from hub.i18n import language, set_language
from tests.adapters.certificates import Authority
from tests.adapters.http_support import (
    DEADLINE,
    MemoryIntake,
    bound_in,
    bound_out,
    calling,
    listening,
    on_both_loops,
    outgoing,
    until,
)


@pytest.fixture(autouse=True)
def english() -> Any:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    authority = Authority(folder, "ca")
    authority.issue("server", "127.0.0.1")
    authority.issue("named", "hub.example")
    authority.issue("client", "client")
    Authority(folder, "other").issue("stranger", "client")
    return folder


def server(pki: Path, name: str = "server", **more: str) -> dict[str, str]:
    return {"certificate": str(pki / f"{name}.pem"), "key": str(pki / f"{name}.key"), **more}


def client(pki: Path, name: str = "", **more: Any) -> dict[str, Any]:
    shown = {"certificate": str(pki / f"{name}.pem"), "key": str(pki / f"{name}.key")} if name else {}
    return {"ca": str(pki / "ca.pem"), **shown, **more}


@on_both_loops
async def test_a_call_over_tls(pki: Path) -> None:
    intake = MemoryIntake()
    body = b"x" * 2_000_000
    async with listening(intake, tls=server(pki)) as receiver:
        url = f"https://127.0.0.1:{receiver.status()['port']}/in"
        async with calling(url, tls=client(pki)) as sender:
            for _ in range(3):
                assert (await sender.send(outgoing(body))).status == 202
            assert sender.status()["opened"] == 1
            assert "connected" in await sender.probe()
    assert [len(taken.raw) for taken in intake.taken] == [len(body)] * 3


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("server", {"ca": ""}, "not trusted"),
        ("named", {}, "not trusted"),
        ("server", {"server_name": "hub.example"}, "not trusted"),
    ],
    ids=["unknown authority", "other name", "name that was given"],
)
@on_both_loops
async def test_the_certificate_is_verified(pki: Path, name: str, options: dict[str, str], words: str) -> None:
    intake = MemoryIntake()
    async with listening(intake, tls=server(pki, name)) as receiver:
        url = f"https://127.0.0.1:{receiver.status()['port']}/in"
        async with calling(url, tls=client(pki, **options)) as sender:
            with pytest.raises(UnreachableError, match=words) as caught:
                await sender.send(outgoing())
            assert caught.value.code == "tls.verify"
    assert not intake.taken


@pytest.mark.parametrize("options", [{"server_name": "hub.example"}, {"ca": "", "verify": False}])
@on_both_loops
async def test_name_given_or_verification_off(pki: Path, options: dict[str, Any]) -> None:
    async with listening(MemoryIntake(), tls=server(pki, "named")) as receiver:
        url = f"https://127.0.0.1:{receiver.status()['port']}/in"
        async with calling(url, tls=client(pki, **options)) as sender:
            assert (await sender.send(outgoing())).status == 202


@pytest.mark.parametrize(("shown", "accepted"), [("client", True), ("", False), ("stranger", False)])
@on_both_loops
async def test_client_certificates(pki: Path, shown: str, accepted: bool) -> None:
    intake = MemoryIntake()
    async with listening(intake, tls=server(pki, client_ca=str(pki / "ca.pem"))) as receiver:
        url = f"https://127.0.0.1:{receiver.status()['port']}/in"
        async with calling(url, tls=client(pki, shown)) as sender:
            if accepted:
                assert (await sender.send(outgoing())).status == 202
            else:
                # TLS 1.3: the refusal may come after the client believes the handshake is over.
                with pytest.raises((UnreachableError, TransientError)):
                    await sender.send(outgoing())
    assert len(intake.taken) == accepted


@on_both_loops
async def test_plain_bytes_to_a_tls_listener(pki: Path) -> None:
    async with listening(MemoryIntake(), tls=server(pki)) as receiver:
        port = receiver.status()["port"]
        async with calling(f"http://127.0.0.1:{port}/in") as sender:
            with pytest.raises(SendError):
                await sender.send(outgoing())
        async with calling(f"https://127.0.0.1:{port}/in", tls=client(pki)) as sender:
            assert (await sender.send(outgoing())).ok


@on_both_loops
async def test_stop_with_idle_tls_connections(pki: Path) -> None:
    receiver = HttpAdapter().receiver(bound_in(tls=server(pki)), MemoryIntake())
    await receiver.start()
    context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.status()["port"], ssl=context)
    await until(lambda: receiver.status()["connections"] == 1)
    await asyncio.wait_for(receiver.stop(1), DEADLINE)
    assert await asyncio.wait_for(reader.read(), DEADLINE) == b""
    writer.close()


@on_both_loops
async def test_files_that_can_not_be_used_are_named(pki: Path) -> None:
    receiver = HttpAdapter().receiver(bound_in(tls={"certificate": str(pki / "absent.pem")}), MemoryIntake())
    with pytest.raises(HubError, match=r"absent\.pem"):
        await receiver.start()
    sender = HttpAdapter().sender(bound_out(url="https://127.0.0.1/", tls={"ca": str(pki / "absent.pem")}))
    with pytest.raises(HubError, match=r"absent\.pem"):
        await sender.start()
    with pytest.raises(UnreachableError, match="not started"):
        await sender.send(outgoing())


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@on_both_loops
async def test_curl_over_tls(pki: Path) -> None:
    intake = MemoryIntake()
    async with listening(intake, tls=server(pki, client_ca=str(pki / "ca.pem"))) as receiver:
        url = f"https://127.0.0.1:{receiver.status()['port']}/in"
        given = ["--cacert", str(pki / "ca.pem"), "--cert", str(pki / "client.pem"), "--key", str(pki / "client.key")]
        process = await asyncio.create_subprocess_exec(
            "curl",
            "-s",
            "--noproxy",
            "*",
            *given,
            "-w",
            "%{http_code}",
            "-d",
            "{}",
            url,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert out.endswith(b"202")
