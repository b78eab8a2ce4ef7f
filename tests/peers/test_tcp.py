"""Raw TCP with programs that others wrote: socat and openssl."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hub.api import TransientError, UnreachableError
from tests.adapters.certificates import Authority
from tests.adapters.tcp_support import DEADLINE, MemoryIntake, calling, listening, outgoing
from tests.peers.process import free_port, need

pytestmark = pytest.mark.peers

LINES = {"type": "lines"}
WHOLE = {"type": "until_close"}


async def run(*command: str, given: bytes = b"") -> bytes:
    """What a program prints for what it is given."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(DEADLINE):
        printed, _ = await process.communicate(given)
    return printed


async def test_socat_sends_a_file_and_gets_the_answer() -> None:
    socat = need("socat", "socat")
    intake = MemoryIntake()
    body = b"line\r\n" * 50_000
    async with listening(intake, WHOLE, answers={"accepted": "stored"}) as receiver:
        port = receiver.status()["port"]
        assert await run(socat, "-t10", "-", f"TCP:127.0.0.1:{port}", given=body) == b"stored"
    assert intake.taken == [body]


async def test_openssl_with_and_without_a_certificate_the_hub_trusts(tmp_path: Path) -> None:
    openssl = need("openssl", "openssl")
    authority = Authority(tmp_path, "ca")
    authority.issue("server", "localhost")
    authority.issue("client", "dev")
    tls = {
        "certificate": str(tmp_path / "server.pem"),
        "key": str(tmp_path / "server.key"),
        "client_ca": str(tmp_path / "ca.pem"),
    }
    intake = MemoryIntake()
    async with listening(intake, LINES, tls=tls, answers={"accepted": "OK"}) as receiver:
        connect = f"127.0.0.1:{receiver.status()['port']}"
        common = ("-quiet", "-no_ign_eof", "-connect", connect, "-CAfile", str(tmp_path / "ca.pem"))
        assert b"OK" not in await run(openssl, "s_client", *common, given=b"refused\n")
        own = ("-cert", str(tmp_path / "client.pem"), "-key", str(tmp_path / "client.key"))
        process = await asyncio.create_subprocess_exec(
            openssl,
            "s_client",
            *common,
            *own,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"one\ntwo\n")
        async with asyncio.timeout(DEADLINE):
            assert await process.stdout.readexactly(8) == b"OK\r\nOK\r\n"
            process.stdin.close()
            await process.wait()
    assert intake.taken == [b"one", b"two"]


async def test_socat_as_the_target_away_back_and_silent() -> None:
    socat = need("socat", "socat")
    port = free_port()
    async with calling(port, LINES) as sender:
        with pytest.raises(UnreachableError):
            await sender.send(outgoing(b"x"))
        for command in ("cat", "cat"):  # stopped and started again
            target = await asyncio.create_subprocess_exec(
                socat, f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", f"EXEC:{command}"
            )
            try:
                async with asyncio.timeout(DEADLINE):
                    while True:
                        try:
                            reply = await sender.send(outgoing(b"hello"))
                            break
                        except (UnreachableError, TransientError):
                            await asyncio.sleep(0.02)
                assert reply.body == b"hello"
            finally:
                target.terminate()
                await target.wait()
    target = await asyncio.create_subprocess_exec(
        socat, "-u", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", "OPEN:/dev/null"
    )
    try:
        async with calling(port, LINES) as sender, asyncio.timeout(DEADLINE):
            code = ""
            while code != "tcp.timeout":
                with pytest.raises((UnreachableError, TransientError)) as caught:
                    await sender.send(outgoing(b"hello", 0.2))
                code = caught.value.code
    finally:
        target.terminate()
        await target.wait()
