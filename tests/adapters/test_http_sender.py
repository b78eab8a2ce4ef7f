"""Sending over HTTP: what is written, how answers are judged, and targets that misbehave."""

from __future__ import annotations

import asyncio
import email.utils
import gzip
import time
import zlib
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from adapters.http import HttpAdapter
from hub.api import PermanentError, SendError, TransientError, UnreachableError
from hub.codecs.form_multipart import MultipartCodec
from hub.i18n import language, set_language
from tests.adapters.http_support import DEADLINE, Peer, bound_out, calling, on_both_loops, outgoing, scripted, until


@pytest.fixture(autouse=True)
def english() -> Any:
    before = language()
    set_language("en")
    yield
    set_language(before)


class Recorder:
    """A target that says 200 to everything and keeps what it got."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0

    async def __call__(self, peer: Peer) -> None:
        self.connections += 1
        while True:
            self.requests.append(await peer.request())
            peer.answer(b'{"ok":true}')


async def written(
    url: str = "/x", *, variables: dict[str, Any] | None = None, body: bytes = b"{}", **options: Any
) -> Any:
    """What one call with these options puts on the wire."""
    recorder = Recorder()
    async with scripted(recorder) as port, calling(f"http://127.0.0.1:{port}{url}", **options) as sender:
        reply = await sender.send(outgoing(body, **(variables or {})))
        assert reply.ok
    [request] = recorder.requests
    return request


# -- the request -------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_a_plain_post() -> None:
    line, headers, body = await written(body=b'{"a":1}')
    assert line == "POST /x HTTP/1.1"
    assert body == b'{"a":1}'
    host = headers.pop("host")
    assert host.startswith("127.0.0.1:")
    assert headers == {
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "content-length": "7",
        "content-type": "application/json",
        "idempotency-key": "key-1",
        "user-agent": "tongqu",
    }


@pytest.mark.parametrize(
    ("url", "options", "variables", "line"),
    [
        ("", {}, {}, "POST / HTTP/1.1"),
        ("/base/", {"path": "/x"}, {}, "POST /base/x HTTP/1.1"),
        ("/base", {"path": "x"}, {}, "POST /base/x HTTP/1.1"),
        ("/base/", {}, {}, "POST /base/ HTTP/1.1"),
        ("/p/{id}", {}, {"id": "a/b 中?"}, "POST /p/a%2Fb%20%E4%B8%AD%3F HTTP/1.1"),
        ("/路/%20", {}, {}, "POST /%E8%B7%AF/%20 HTTP/1.1"),
        (
            "/x?a={a}",
            {"query": {"b": "{b}", "c d": "1&2"}},
            {"a": "&", "b": 5},
            "POST /x?a=%26&b=5&c%20d=1%262 HTTP/1.1",
        ),
        ("/x", {"query": {"b": "{b}"}}, {"b": ""}, "POST /x?b= HTTP/1.1"),
        ("/x?q=a b", {"method": "PUT"}, {}, "PUT /x?q=a%20b HTTP/1.1"),
        # A query string of the target's own is not encoded once more.
        ("/x", {"query_text": "link"}, {"link": "a=%2F1&b=2"}, "POST /x?a=%2F1&b=2 HTTP/1.1"),
        ("/x?c=3", {"query_text": "link"}, {"link": "a=1"}, "POST /x?c=3&a=1 HTTP/1.1"),
    ],
)
@on_both_loops
async def test_request_line(url: str, options: dict[str, Any], variables: dict[str, Any], line: str) -> None:
    assert (await written(url, variables=variables, **options))[0] == line


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@on_both_loops
async def test_methods_without_a_body(method: str) -> None:
    line, headers, body = await written(method=method, body=b"not sent")
    assert line.startswith(method)
    assert not {"content-length", "content-type", "transfer-encoding"} & set(headers)
    assert body == b""


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"type": "basic", "user": "hub", "secret": "密"}, "authorization", "Basic aHViOuWvhg=="),
        ({"type": "bearer", "secret": "tok"}, "authorization", "Bearer tok"),
        ({"type": "api_key", "secret": "key", "header": "X-Key"}, "x-key", "key"),
    ],
)
@on_both_loops
async def test_credentials(auth: dict[str, Any], header: str, value: str) -> None:
    assert (await written(auth=auth))[1][header] == value


@on_both_loops
async def test_headers_and_templates() -> None:
    _, headers, _ = await written(
        headers={"X-Id": "{id}-1", "Accept": "application/json", "User-Agent": "me", "X-Name": "{name}"},
        idempotency_header="X-Key",
        content_type="application/fhir+json; charset=utf-8",
        variables={"id": 5, "name": "中"},
    )
    assert (headers["x-id"], headers["accept"], headers["user-agent"], headers["x-name"]) == (
        "5-1",
        "application/json",
        "me",
        "中",
    )
    assert (headers["x-key"], headers["content-type"]) == ("key-1", "application/fhir+json; charset=utf-8")
    assert "idempotency-key" not in headers


@on_both_loops
async def test_no_idempotency_header() -> None:
    assert "idempotency-key" not in (await written(idempotency_header=""))[1]


@pytest.mark.parametrize(("size", "packed"), [(1024, False), (1025, True), (300_000, True)])
@on_both_loops
async def test_gzip(size: int, packed: bool) -> None:
    _, headers, body = await written(gzip=True, body=b"x" * size)
    assert headers.get("content-encoding") == ("gzip" if packed else None)
    assert (gzip.decompress(body) if packed else body) == b"x" * size


@pytest.mark.parametrize(
    ("options", "variables", "code"),
    [
        ({"path": "/{id}"}, {}, "http.variable"),
        ({"path": "/{id}"}, {"id": ""}, "http.variable"),
        ({"path": "/{id}"}, {"id": ".."}, "http.variable"),
        ({"path": "/{id}"}, {"id": "."}, "http.variable"),
        ({"query_text": "link"}, {}, "http.variable"),
        ({"query_text": "link"}, {"link": "a=1 HTTP/1.1\r\nX: 1"}, "http.variable"),
        ({"query_text": "link"}, {"link": "a=1#b"}, "http.variable"),
        ({"query_text": "link"}, {"link": "a=%2"}, "http.variable"),
        ({"headers": {"X": "{id}"}}, {"id": "a\r\nY: b"}, "http.header"),
        ({"headers": {"X": "{id}"}}, {"id": "a\nb"}, "http.header"),
        ({"headers": {"X": "{id}"}}, {"id": "a\x00b"}, "http.header"),
    ],
)
@on_both_loops
async def test_what_can_not_be_written(options: dict[str, Any], variables: dict[str, Any], code: str) -> None:
    recorder = Recorder()
    async with scripted(recorder) as port, calling(f"http://127.0.0.1:{port}", **options) as sender:
        with pytest.raises(PermanentError) as caught:
            await sender.send(outgoing(**variables))
        assert caught.value.code == code
    assert recorder.connections == 0


@on_both_loops
async def test_an_idempotency_key_can_not_forge_headers() -> None:
    async with scripted(Recorder()) as port, calling(f"http://127.0.0.1:{port}") as sender:
        with pytest.raises(PermanentError, match="control characters"):
            await sender.send(outgoing(key="a\r\nX: y"))
        assert (await sender.send(outgoing(key="键-1"))).ok


@on_both_loops
async def test_a_large_body() -> None:
    body = bytes(range(256)) * 40_000
    assert (await written(body=body))[2] == body


# -- the verdict -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "ok", "transient", "unavailable"),
    [
        (200, True, False, False),
        (201, True, False, False),
        (202, True, False, False),
        (299, True, False, False),
        (300, False, False, False),
        (302, False, False, False),
        (400, False, False, False),
        (401, False, False, False),
        (404, False, False, False),
        (408, False, True, False),
        (409, False, False, False),
        (413, False, False, False),
        (422, False, False, False),
        (425, False, True, False),
        (429, False, True, False),
        (500, False, True, False),
        (501, False, False, False),
        (502, False, True, True),
        (503, False, True, True),
        (504, False, True, True),
        (505, False, False, False),
        (507, False, True, False),
        (599, False, True, False),
        (777, False, False, False),
    ],
)
@on_both_loops
async def test_statuses(status: int, ok: bool, transient: bool, unavailable: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.answer(b"body", f"{status} Words")

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        reply = await sender.send(outgoing())
    assert (reply.status, reply.code, reply.body) == (status, str(status), b"body")
    assert (reply.ok, reply.transient, reply.unavailable) == (ok, transient, unavailable)
    assert ok == (reply.error == "")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("99999999999999", 86400.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
@on_both_loops
async def test_retry_after(value: str, seconds: float) -> None:
    assert await asked_pause(value) == seconds


@on_both_loops
async def test_retry_after_as_a_date() -> None:
    pause = await asked_pause(email.utils.formatdate(time.time() + 300, usegmt=True))
    assert 200 < pause <= 300


async def asked_pause(value: str) -> float:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.answer(b"", "503 Busy", f"Retry-After: {value}")

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        return (await sender.send(outgoing())).retry_after


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        (
            "application/problem+json",
            b'{"title":"Bad","detail":"no id","status":400}',
            "HTTP 400 Bad Request: Bad no id",
        ),
        (
            "application/json; charset=utf-8",
            '{"code":3001,"msg":"格式错误"}'.encode(),
            "HTTP 400 Bad Request: 3001 格式错误",
        ),
        ("application/json", b"[1]", "HTTP 400 Bad Request: [1]"),
        ("application/json", b"{broken", "HTTP 400 Bad Request: {broken"),
        ("application/json", b"[" * 50_000, "HTTP 400 Bad Request: " + "[" * 300),
        ("text/html", b"<h1>No\x00\r\n\x1b[31m</h1>", "HTTP 400 Bad Request: <h1>No [31m</h1>"),
        ("text/plain", b"call 13812345678", "HTTP 400 Bad Request: call 138****5678"),
        ("application/octet-stream", b"\x00\x01", "HTTP 400 Bad Request"),
    ],
)
@on_both_loops
async def test_error_texts(kind: str, body: bytes, text: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.answer(body, "400 X", f"Content-Type: {kind}")

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        assert (await sender.send(outgoing())).error == text


@pytest.mark.parametrize(
    ("location", "host"),
    [("https://user:pw@other.example/x?id=1", "other.example"), ("/login", "the same host"), ("//h2:81/", "h2:81")],
)
@on_both_loops
async def test_a_redirect_is_not_followed(location: str, host: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.answer(b"", "302 Found", f"Location: {location}")

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        reply = await sender.send(outgoing())
    assert (reply.ok, reply.transient) == (False, False)
    assert f"redirects to {host}," in reply.error
    assert "pw" not in reply.error


@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", gzip.compress(b"answer", mtime=0)), ("deflate", zlib.compress(b"answer")), ("identity", b"answer")],
)
@on_both_loops
async def test_compressed_replies(coding: str, body: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.answer(body, "200 OK", f"Content-Encoding: {coding}")

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        assert (await sender.send(outgoing())).body == b"answer"


@pytest.mark.parametrize(
    ("coding", "body", "error"),
    [
        ("gzip", b"not gzip", TransientError),
        ("br", b"x", PermanentError),
        ("gzip", gzip.compress(b"\0" * 200_000, mtime=0), PermanentError),
    ],
)
@on_both_loops
async def test_hostile_compressed_replies(coding: str, body: bytes, error: type[SendError]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.answer(body, "200 OK", f"Content-Encoding: {coding}")

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}", reply_limit=100_000) as sender:
        with pytest.raises(error):
            await sender.send(outgoing())


# -- targets that misbehave --------------------------------------------------------------------------------------------


async def refused_port() -> int:
    async with scripted(Recorder()) as port:
        return port


@on_both_loops
async def test_nobody_listens() -> None:
    async with calling(f"http://127.0.0.1:{await refused_port()}") as sender:
        with pytest.raises(UnreachableError, match="no connection to 127"):
            await sender.send(outgoing())
        assert sender.status()["connections"] == 0


@on_both_loops
async def test_unknown_host() -> None:
    async with calling("http://no-such-host.invalid/") as sender:
        with pytest.raises(UnreachableError, match="no-such-host"):
            await sender.send(outgoing())


@on_both_loops
async def test_tls_to_a_plain_server() -> None:
    async def script(peer: Peer) -> None:
        peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with scripted(script) as port, calling(f"https://127.0.0.1:{port}") as sender:
        with pytest.raises(UnreachableError):
            await sender.send(outgoing())


@on_both_loops
async def test_connect_timeout_under_tls() -> None:
    async def script(peer: Peer) -> None:
        await peer.gone()

    async with scripted(script) as port, calling(f"https://127.0.0.1:{port}", connect_timeout=0.05) as sender:
        with pytest.raises(UnreachableError, match="in time"):
            await sender.send(outgoing())


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
    ids=["nothing", "headers", "body", "chunk", "1xx"],
)
@pytest.mark.parametrize("then", ["closes", "stalls"])
@on_both_loops
async def test_a_reply_that_breaks_off(said: bytes, then: str) -> None:
    calls = 0

    async def script(peer: Peer) -> None:
        nonlocal calls
        await peer.request()
        calls += 1
        peer.say(said)
        if then == "stalls":
            await peer.gone()

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        with pytest.raises(TransientError) as caught:
            await sender.send(outgoing(timeout=DEADLINE if then == "closes" else 0.1))
        assert caught.value.code == ("http.lost" if then == "closes" else "http.timeout")
        await until(lambda: sender.status()["connections"] == 0)
    assert calls == 1


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"\x15\x03\x01\x00\x02",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    ],
)
@on_both_loops
async def test_garbage(said: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(said)
        await peer.gone()

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        with pytest.raises(TransientError, match="not an HTTP reply") as caught:
            await sender.send(outgoing())
        assert caught.value.code == "http.bad_reply"


@on_both_loops
async def test_a_reply_that_is_too_large() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            peer.say(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await peer.gone()

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}", reply_limit=50_000) as sender:
        with pytest.raises(PermanentError, match="50000"):
            await sender.send(outgoing())


@on_both_loops
async def test_an_early_answer_is_taken_and_the_connection_dropped() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.answer(b"", "413 Large")
        await peer.gone()

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        reply = await sender.send(outgoing(b"x" * 30_000_000))
        assert reply.status == 413
        await until(lambda: sender.status()["connections"] == 0)


@on_both_loops
async def test_interim_responses_are_skipped() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n")
        peer.answer(b"done")

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        assert (await sender.send(outgoing())).body == b"done"


@on_both_loops
async def test_head_204_and_an_end_by_closing() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        await peer.request()
        peer.say(b"HTTP/1.1 204 No Content\r\n\r\n")
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}", method="HEAD") as sender:
        statuses = [(await sender.send(outgoing())).status for _ in range(3)]
        assert sender.status()["opened"] == 1
    assert statuses == [200, 204, 200]


# -- the pool ----------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_a_connection_is_kept_and_used_again() -> None:
    recorder = Recorder()
    async with scripted(recorder) as port, calling(f"http://127.0.0.1:{port}") as sender:
        for _ in range(20):
            await sender.send(outgoing())
        assert (sender.status()["connections"], sender.status()["idle"]) == (1, 1)
    assert recorder.connections == 1


@on_both_loops
async def test_connection_close_is_respected() -> None:
    count = 0

    async def script(peer: Peer) -> None:
        nonlocal count
        count += 1
        await peer.request()
        peer.answer(b"", "200 OK", "Connection: close")

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        for _ in range(3):
            assert (await sender.send(outgoing())).ok
    assert count == 3


@on_both_loops
async def test_an_idle_connection_closed_by_the_target_is_replaced_silently() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.answer()

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        assert (await sender.send(outgoing())).ok
        await until(lambda: sender.status()["connections"] == 0)
        assert (await sender.send(outgoing())).ok
        assert (sender.status()["opened"], sender.status()["repeated"]) == (2, 0)


@on_both_loops
async def test_a_stale_connection_is_repeated_once_on_a_fresh_one() -> None:
    got: list[int] = []

    async def script(peer: Peer) -> None:
        number = len(got)
        got.append(0)
        while True:
            await peer.request()
            got[number] += 1
            if number < 1 and got[number] == 2:
                return  # takes the second request and closes without a word
            peer.answer()

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        assert (await sender.send(outgoing())).ok
        assert (await sender.send(outgoing())).ok
        assert sender.status()["repeated"] == 1
        assert sender.status()["connections"] == 1
    assert got == [2, 1]


@on_both_loops
async def test_a_stale_connection_is_not_repeated_twice() -> None:
    got: list[int] = []

    async def script(peer: Peer) -> None:
        number = len(got)
        got.append(0)
        await peer.request()
        got[number] += 1
        if number == 0:
            peer.answer()
            await peer.request()
            got[number] += 1

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        assert (await sender.send(outgoing())).ok
        with pytest.raises(TransientError) as caught:
            await sender.send(outgoing())
        assert caught.value.code == "http.lost"
    assert got == [2, 1]


@pytest.mark.parametrize(
    ("options", "repeated"),
    [({"idempotency_header": ""}, 0), ({"idempotency_header": "", "method": "PUT"}, 1), ({}, 1)],
)
@on_both_loops
async def test_only_what_may_be_sent_twice_is_repeated(options: dict[str, Any], repeated: int) -> None:
    first = True

    async def script(peer: Peer) -> None:
        nonlocal first
        await peer.request()
        peer.answer()
        if first:
            first = False
            await peer.request()
            return
        await peer.gone()

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}", **options) as sender:
        assert (await sender.send(outgoing())).ok
        if repeated:
            assert (await sender.send(outgoing())).ok
        else:
            with pytest.raises(TransientError):
                await sender.send(outgoing())
        assert sender.status()["repeated"] == repeated


@on_both_loops
async def test_a_reply_that_had_begun_is_not_asked_for_again() -> None:
    requests = 0

    async def script(peer: Peer) -> None:
        nonlocal requests
        await peer.request()
        peer.answer()
        await peer.request()
        requests += 1
        peer.say(b"H")

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        assert (await sender.send(outgoing())).ok
        with pytest.raises(TransientError, match="middle of its reply"):
            await sender.send(outgoing())
    assert requests == 1


@on_both_loops
async def test_unasked_bytes_on_an_idle_connection_are_not_the_next_reply() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.answer(b"right")
        await peer.writer.drain()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
        await peer.gone()

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        for _ in range(3):
            assert (await sender.send(outgoing())).body == b"right"
            await until(lambda: sender.status()["connections"] == 0)


@on_both_loops
async def test_calls_overlap_up_to_the_number_of_connections() -> None:
    release = asyncio.Event()
    under_way = 0
    most = 0

    async def script(peer: Peer) -> None:
        nonlocal under_way, most
        while True:
            _, _, body = await peer.request()
            under_way += 1
            most = max(most, under_way)
            await release.wait()
            under_way -= 1
            peer.answer(body)

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}", connections=3) as sender:
        calls = [asyncio.create_task(sender.send(outgoing(b"%d" % n))) for n in range(10)]
        await until(lambda: under_way == 3)
        assert (sender.status()["connections"], sender.status()["waiting"]) == (3, 7)
        release.set()
        replies = await asyncio.gather(*calls)
    assert [reply.body for reply in replies] == [b"%d" % n for n in range(10)]
    assert most == 3


@on_both_loops
async def test_waiting_for_a_connection_has_an_end() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}", connections=1) as sender:
        first = asyncio.create_task(sender.send(outgoing()))
        await until(lambda: sender.status()["connections"] == 1)
        with pytest.raises(UnreachableError, match="stayed busy, nothing was sent"):
            await sender.send(outgoing(timeout=0.05))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


@on_both_loops
async def test_a_cancelled_call_does_not_leave_its_reply_to_the_next() -> None:
    hold = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            _, _, body = await peer.request()
            if body == b"first":
                await hold.wait()
            peer.answer(body)

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}", connections=1) as sender:
        first = asyncio.create_task(sender.send(outgoing(b"first")))
        await until(lambda: sender.status()["connections"] == 1)
        waiting = [asyncio.create_task(sender.send(outgoing(b"%d" % n))) for n in range(4)]
        await until(lambda: sender.status()["waiting"] == 4)
        waiting[0].cancel()
        first.cancel()
        hold.set()
        done = await asyncio.gather(first, *waiting, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        assert isinstance(done[1], asyncio.CancelledError)
        assert [reply.body for reply in done[2:]] == [b"1", b"2", b"3"]  # type: ignore[union-attr]
        assert (await sender.send(outgoing(b"last"))).body == b"last"


@on_both_loops
async def test_slots_survive_every_kind_of_failure() -> None:
    """After a storm of failures the pool still opens as many connections as it may, and no more."""
    number = 0

    async def script(peer: Peer) -> None:
        nonlocal number
        number += 1
        kind = number % 5
        await peer.request()
        if kind == 0:
            return
        if kind == 1:
            peer.say(b"garbage\r\n\r\n")
        elif kind == 2:
            peer.answer(b"", "200 OK", "Connection: close")
        elif kind == 3:
            await peer.gone()
        else:
            while True:
                peer.answer()
                await peer.request()

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}", connections=3) as sender:
        for _ in range(5):
            await asyncio.gather(*(sender.send(outgoing(timeout=0.2)) for _ in range(12)), return_exceptions=True)
            assert sender.status()["connections"] <= 3
        assert sender._client is not None
        await until(lambda: sender._client._slots + sender.status()["idle"] == 3)  # type: ignore[union-attr]
        assert sender.status()["waiting"] == 0


@on_both_loops
async def test_idle_connections_are_closed() -> None:
    async with scripted(Recorder()) as port, calling(f"http://127.0.0.1:{port}", idle_timeout=0.05) as sender:
        await sender.send(outgoing())
        await until(lambda: sender.status()["connections"] == 0)
        assert (await sender.send(outgoing())).ok


@on_both_loops
async def test_a_short_timeout_after_a_long_one() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.answer()
        await peer.request()
        await peer.gone()

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}") as sender:
        assert (await sender.send(outgoing(timeout=1000))).ok
        with pytest.raises(TransientError, match=r"did not answer within 0\.05 s"):
            await sender.send(outgoing(timeout=0.05))


@on_both_loops
async def test_stop_ends_calls_and_later_ones_fail() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with scripted(script) as port, calling(f"http://127.0.0.1:{port}", connections=1) as sender:
        under_way = asyncio.create_task(sender.send(outgoing()))
        await until(lambda: sender.status()["connections"] == 1)
        waiting = asyncio.create_task(sender.send(outgoing()))
        await until(lambda: sender.status()["waiting"] == 1)
        await sender.stop()
        results = await asyncio.gather(under_way, waiting, return_exceptions=True)
        assert isinstance(results[0], TransientError)
        assert isinstance(results[1], UnreachableError)
        with pytest.raises(UnreachableError, match="stopped"):
            await sender.send(outgoing())


@on_both_loops
async def test_ipv6() -> None:
    recorder = Recorder()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await recorder(Peer(reader, writer))
        except asyncio.IncompleteReadError:
            writer.close()

    try:
        server = await asyncio.start_server(serve, "::1", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    port = server.sockets[0].getsockname()[1]
    async with calling(f"http://[::1]:{port}/x") as sender:
        assert (await sender.send(outgoing())).ok
        assert sender.status()["target"] == f"[::1]:{port}"
    server.close()
    assert recorder.requests[0][1]["host"] == f"[::1]:{port}"


# -- probes ------------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_probe_connects_only() -> None:
    recorder = Recorder()
    async with scripted(recorder) as port, calling(f"http://127.0.0.1:{port}") as sender:
        assert "connected to 127" in await sender.probe()
        await until(lambda: sender.status()["connections"] == 0)
    assert recorder.requests == []
    async with calling(f"http://127.0.0.1:{port}") as sender:
        with pytest.raises(UnreachableError):
            await sender.probe()


@pytest.mark.parametrize(
    ("status", "probe", "well"),
    [
        (200, {"path": "/health"}, True),
        (503, {"path": "/health"}, False),
        (401, {"path": "/health", "expect": [401]}, True),
        (200, {"path": "/health", "expect": [401]}, False),
        (200, {"path": "/health", "method": "HEAD"}, True),
    ],
)
@on_both_loops
async def test_probe_calls(status: int, probe: dict[str, Any], well: bool) -> None:
    lines: list[str] = []

    async def script(peer: Peer) -> None:
        line, headers, _ = await peer.request()
        lines.append(line)
        assert "idempotency-key" not in headers
        peer.answer(b"", f"{status} X")

    async with scripted(script) as port:
        url = f"http://127.0.0.1:{port}/api"
        async with calling(url, path="/x", probe=probe) as sender:
            if well:
                assert (await sender.probe()).startswith(str(status))
            else:
                with pytest.raises(TransientError, match="/api/health answered"):
                    await sender.probe()
    assert lines == [f"{probe.get('method', 'GET')} /api/health HTTP/1.1"]


# -- other people's servers --------------------------------------------------------------------------------------------


@on_both_loops
async def test_aiohttp_as_the_target() -> None:
    bodies: list[bytes] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        request._client_max_size = 1 << 30
        body = await request.read()
        bodies.append(body)
        kind = request.rel_url.query.get("kind")
        if kind == "chunked":
            response = web.StreamResponse()
            response.enable_chunked_encoding()
            await response.prepare(request)
            for at in range(0, len(body), 10_000):
                await response.write(body[at : at + 10_000])
            await response.write_eof()
            return response
        answer = web.Response(body=body)
        if kind == "gzip":
            answer.enable_compression()
        return answer

    server = web.Server(handle)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    big = bytes(range(256)) * 8_000
    sent: list[bytes] = []
    for kind in ("plain", "chunked", "gzip"):
        async with calling(f"http://127.0.0.1:{port}/x?kind={kind}", gzip=kind == "gzip") as sender:
            for body in (b"", b"small", big):
                sent.append(body)
                reply = await sender.send(outgoing(body))
                assert (reply.status, reply.body) == (200, body)
            assert sender.status()["opened"] == 1
    assert bodies == sent
    listener.close()
    await server.shutdown(1)


async def test_files_go_out_as_a_form() -> None:
    codec = MultipartCodec()
    tree = {"no": "1", "file": {"filename": "片子.bin", "content_type": "image/x-scan", "bytes": bytes(range(256))}}
    got: list[tuple[str, bytes]] = []

    async def script(peer: Peer) -> None:
        _, headers, body = await peer.request()
        got.append((headers["content-type"], body))
        peer.answer()

    async with scripted(script) as port:
        bound = replace(bound_out(url=f"http://127.0.0.1:{port}/upload"), codec=codec)
        sender = HttpAdapter().sender(bound)
        await sender.start()
        try:
            assert (await sender.send(outgoing(codec.encode(tree)))).ok
        finally:
            await sender.stop()
    [(kind, body)] = got
    assert codec.decode(body) == tree
    assert body.startswith(b"--" + kind.removeprefix("multipart/form-data; boundary=").encode() + b"\r\n")
