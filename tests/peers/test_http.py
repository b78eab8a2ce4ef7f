"""HTTP against programs of others: calls through Tinyproxy, webhooks signed by OpenSSL and made by curl."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from hub.api import SendError
from hub.codecs.form_multipart import MultipartCodec
from tests.adapters.certificates import Authority
from tests.adapters.http_source import Kept, Said, polling, run_once, source
from tests.adapters.http_support import MemoryIntake, calling, listening, outgoing, until
from tests.peers.http_proxies import Tinyproxy
from tests.peers.process import need

pytestmark = [pytest.mark.peers, pytest.mark.xdist_group("tinyproxy")]

KEY = "webhook-secret"


def way(proxy: Tinyproxy, password: str = "proxy-word") -> dict[str, str]:
    return {"url": f"http://127.0.0.1:{proxy.port}", "user": "hub", "password": password}


async def test_plain_and_encrypted_calls_through_a_proxy(tinyproxy: Tinyproxy, tmp_path: Path) -> None:
    Authority(tmp_path, "ca").issue("server", "127.0.0.1")
    tls = {"certificate": str(tmp_path / "server.pem"), "key": str(tmp_path / "server.key")}
    trusted = {"ca": str(tmp_path / "ca.pem")}
    intake = MemoryIntake()
    async with listening(intake) as plain, listening(intake, tls=tls) as secure:
        for scheme, hub in (("http", plain), ("https", secure)):
            url = f"{scheme}://127.0.0.1:{hub.status()['port']}/in"
            async with calling(url, proxy=way(tinyproxy), tls=trusted) as sender:
                for number in range(3):
                    assert (await sender.send(outgoing(b"%d" % number * 50_000))).ok
                await sender.probe()
            async with calling(url, proxy=way(tinyproxy, "wrong"), tls=trusted) as sender:
                with pytest.raises(SendError) as raised:
                    await sender.send(outgoing())
                assert "wrong" not in raised.value.text
    assert len(intake.taken) == 6


async def test_a_proxy_that_is_away_or_hangs_and_comes_back(tinyproxy: Tinyproxy) -> None:
    kept = Kept()
    async with (
        source(lambda call: Said(b'{"n": %d}' % time.time_ns())) as server,
        polling(f"{server.url}/rows", kept, proxy=way(tinyproxy), timeout="2s", connect_timeout="2s") as receiver,
    ):
        await run_once(receiver)
        tinyproxy.kill()
        await run_once(receiver)
        with pytest.raises(SendError):
            await receiver.probe()
        tinyproxy.start()
        await run_once(receiver)
        async with polling(f"{server.url}/rows", kept, proxy=way(tinyproxy), timeout="300ms") as hasty:
            tinyproxy.pause()
            await run_once(hasty)
            tinyproxy.resume()
        await until(lambda: len(kept.runs) == 4)
        await run_once(receiver)
    assert len(kept.errors) == 2
    assert len(kept.items) == 3


@pytest.mark.parametrize("algorithm", ["sha256", "sm3"])
async def test_a_webhook_signed_by_openssl(algorithm: str, tmp_path: Path) -> None:
    openssl, curl = need("openssl", "openssl"), need("curl", "curl")
    stamp = str(int(time.time()))
    body = '{"患者": "张三"}'
    (tmp_path / "signed").write_bytes(f"{stamp}\n{body}".encode())
    (tmp_path / "body").write_bytes(body.encode())
    signature = {
        "algorithm": f"hmac-{algorithm}",
        "secret": KEY,
        "at": {"header": "X-Signature"},
        "text": "{timestamp}\n{body}",
        "values": {"timestamp": {"now": "s", "at": {"header": "X-Timestamp"}}},
    }
    replies = {"accepted": {"body": {"code": 0, "msg": "success"}}, "refused": {"status": 200, "body": {"code": 1}}}
    made = await _run(openssl, "dgst", f"-{algorithm}", "-hmac", KEY, "-r", str(tmp_path / "signed"))
    headers = ("-H", f"X-Signature: {made.split()[0]}", "-H", f"X-Timestamp: {stamp}")
    intake = MemoryIntake()
    async with listening(intake, {"security": [{"signature": signature}]}, replies=replies) as hub:
        url = f"http://127.0.0.1:{hub.status()['port']}/in"
        call = (curl, "-s", *headers, "--data-binary", f"@{tmp_path / 'body'}", url)
        assert await _run(*call) == '{"code":0,"msg":"success"}'
        assert await _run(*call) == '{"code":1}'  # the same again is a replay
    assert [taken.raw for taken in intake.taken] == [body.encode()]


async def test_files_uploaded_by_curl(tmp_path: Path) -> None:
    curl = need("curl", "curl")
    (tmp_path / "scan.bin").write_bytes(bytes(range(256)))
    intake = MemoryIntake()
    async with listening(intake, content_types=["multipart/form-data"]) as hub:
        url = f"http://127.0.0.1:{hub.status()['port']}/in"
        form = ("-F", "no=1", "-F", f"file=@{tmp_path / 'scan.bin'};type=image/x-scan;filename=片子.bin")
        assert await _run(curl, "-s", "-o", "/dev/null", "-w", "%{http_code}", *form, url) == "202"
    tree = MultipartCodec().decode(intake.taken[0].raw)
    assert tree["no"] == "1"
    assert tree["file"] == {"filename": "片子.bin", "content_type": "image/x-scan", "bytes": bytes(range(256))}


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()
