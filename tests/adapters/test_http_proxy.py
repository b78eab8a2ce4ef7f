"""Calls through a proxy: forwarded or in a tunnel, with and without credentials, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.http.options import HttpConnect
from hub.api import SendError, TransientError, UnreachableError
from tests.adapters.certificates import Authority
from tests.adapters.http_source import Kept, Said, polling, run_once, source
from tests.adapters.http_support import MemoryIntake, Peer, calling, listening, on_both_loops, outgoing, scripted

#: user:pass in base64
AUTH = "Basic dXNlcjpwYXNz"
USER = {"user": "user", "password": "pass"}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    authority = Authority(folder, "ca")
    authority.issue("server", "127.0.0.1")
    authority.issue("client", "client")
    return folder


class Proxy:
    """Makes tunnels and forwards, as the port of the target says; remembers what it was asked for."""

    def __init__(self, auth: str = "") -> None:
        self.auth = auth
        self.asked: list[str] = []
        self.port = 0

    async def serve(self, peer: Peer) -> None:
        line, headers, body = await peer.request()
        self.asked.append(line)
        if self.auth and headers.get("proxy-authorization") != self.auth:
            peer.answer(b"", "407 Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="x"')
            return
        method, target, _ = line.split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            peer.say(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
            await asyncio.gather(_pump(peer.reader, writer), _pump(reader, peer.writer))
            return
        host, _, path = target.removeprefix("http://").partition("/")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(host.partition(":")[2]))
        kept = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if not name.startswith("proxy-"))
        writer.write(f"{method} /{path} HTTP/1.1\r\n{kept}connection: close\r\n\r\n".encode() + body)
        await _pump(reader, peer.writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def proxy(auth: str = "") -> AsyncIterator[Proxy]:
    made = Proxy(auth)
    async with scripted(made.serve) as port:
        made.port = port
        yield made


def via(way: Proxy, **more: str) -> dict[str, str]:
    return {"url": f"http://127.0.0.1:{way.port}", **more}


def tls_of(pki: Path, name: str) -> dict[str, str]:
    return {"certificate": str(pki / f"{name}.pem"), "key": str(pki / f"{name}.key")}


@on_both_loops
async def test_a_plain_call_is_forwarded() -> None:
    intake = MemoryIntake()
    async with listening(intake) as hub, proxy(AUTH) as way:
        port = hub.status()["port"]
        async with calling(f"http://127.0.0.1:{port}/in?a=1", proxy=via(way, **USER)) as sender:
            assert (await sender.send(outgoing(b"{}"))).ok
            assert f"127.0.0.1:{port}" in await sender.probe()
    assert way.asked[0] == f"POST http://127.0.0.1:{port}/in?a=1 HTTP/1.1"
    assert intake.taken[0].raw == b"{}"


async def test_a_proxy_that_does_not_know_the_hub() -> None:
    async with (
        source(lambda call: Said()) as server,
        proxy(AUTH) as way,
        calling(server.url, proxy=via(way, user="user", password="other")) as sender,
    ):
        with pytest.raises(UnreachableError) as raised:
            await sender.send(outgoing())
    assert (raised.value.code, server.calls) == ("http.proxy_auth", [])


async def test_a_proxy_that_cuts_off_its_own_refusal() -> None:
    async def refuse(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 407 No\r\nContent-Length: 100\r\n\r\nwho ")

    async with (
        scripted(refuse) as port,
        calling("http://t.example", proxy={"url": f"http://127.0.0.1:{port}"}) as sender,
    ):
        with pytest.raises(UnreachableError) as raised:
            await sender.send(outgoing())
    assert raised.value.code == "http.proxy_auth"


@on_both_loops
async def test_tls_goes_through_a_tunnel_with_both_certificates(pki: Path) -> None:
    intake = MemoryIntake()
    served = {**tls_of(pki, "server"), "client_ca": str(pki / "ca.pem")}
    tls = {"ca": str(pki / "ca.pem"), **tls_of(pki, "client")}
    async with listening(intake, tls=served) as hub, proxy(AUTH) as way:
        port = hub.status()["port"]
        async with calling(f"https://127.0.0.1:{port}/in", proxy=via(way, **USER), tls=tls) as sender:
            for number in range(3):
                assert (await sender.send(outgoing(b"%d" % number * 100_000))).ok
            await sender.probe()
    assert way.asked == [f"CONNECT 127.0.0.1:{port} HTTP/1.1"] * 2  # one for the calls, one for the probe
    assert [len(taken.raw) for taken in intake.taken] == [100_000] * 3


async def test_the_certificate_is_that_of_the_target(pki: Path) -> None:
    async with listening(MemoryIntake(), tls=tls_of(pki, "server")) as hub, proxy() as way:
        url = f"https://127.0.0.1:{hub.status()['port']}/in"
        for tls in ({}, {"ca": str(pki / "ca.pem"), "server_name": "other.example"}):
            async with calling(url, proxy=via(way), tls=tls) as sender:
                with pytest.raises(UnreachableError) as raised:
                    await sender.send(outgoing())
                assert raised.value.code == "tls.verify"


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "http.proxy_auth"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "http.proxy"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "http.proxy"),
        (b"HTTP/1.1 200 OK\r\n\r\nalready talking", "http.proxy"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "http.proxy"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "http.proxy"),
        (b"HTTP/1.1 200", "http.unreachable"),
        (b"", "http.unreachable"),
    ],
)
async def test_a_proxy_that_makes_no_tunnel(says: bytes, code: str) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.request()
        peer.say(says)

    async with (
        scripted(refuse) as port,
        calling(
            "https://target.example/in",
            proxy={"url": f"http://127.0.0.1:{port}", "user": "u", "password": "hidden-word"},
        ) as sender,
    ):
        with pytest.raises(UnreachableError) as raised:
            await sender.send(outgoing())
    assert raised.value.code == code
    assert "hidden-word" not in raised.value.text


async def test_a_silent_proxy_times_out_and_leaves_nothing_behind() -> None:
    async def silent(peer: Peer) -> None:
        await peer.gone()

    async with (
        scripted(silent) as port,
        calling(
            "https://target.example/in", proxy={"url": f"http://127.0.0.1:{port}"}, connect_timeout="100ms"
        ) as sender,
    ):
        with pytest.raises(UnreachableError) as raised:
            await sender.send(outgoing())
        assert raised.value.code == "http.connect_timeout"
        assert sender.status()["connections"] == 0


async def test_a_tunnel_that_breaks_in_the_middle_of_a_reply(pki: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.pem", pki / "server.key")

    async def half(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    trusted = {"ca": str(pki / "ca.pem")}
    async with (
        scripted(half, context) as port,
        proxy() as way,
        calling(f"https://127.0.0.1:{port}/", proxy=via(way), tls=trusted) as sender,
    ):
        with pytest.raises(TransientError) as raised:
            await sender.send(outgoing())
    assert raised.value.code == "http.lost"


async def test_an_absent_proxy_is_unreachable() -> None:
    for url in ("http://target.example/", "https://target.example/"):
        async with calling(url, proxy={"url": "http://127.0.0.1:9"}) as sender:
            with pytest.raises(SendError) as raised:
                await sender.send(outgoing())
            assert raised.value.code == "http.unreachable"
            assert "127.0.0.1:9" in raised.value.text


async def test_a_source_and_its_token_are_read_through_the_proxy() -> None:
    kept = Kept()
    async with source(lambda call: Said({"access_token": "t"})) as server, proxy() as way:
        auth = {"type": "oauth2", "url": f"{server.url}/token", "client_id": "c", "client_secret": "s"}
        async with polling(f"{server.url}/rows", kept, auth=auth, proxy=via(way)) as receiver:
            await run_once(receiver)
    assert way.asked == [f"POST {server.url}/token HTTP/1.1", f"GET {server.url}/rows HTTP/1.1"]
    assert server.calls[1].headers["authorization"] == "Bearer t"


@pytest.mark.parametrize(
    "wrong", [{"url": "https://p:1"}, {"url": "http://p:1/x"}, {"url": "http://p:1", "user": "a:b"}, {"user": "a"}]
)
def test_options_that_can_not_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpConnect.model_validate({"url": "http://x", "proxy": wrong})
