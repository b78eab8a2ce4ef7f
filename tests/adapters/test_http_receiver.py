"""Receiving over HTTP: statuses, problem documents, authentication, bodies, sharing, stopping."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import shutil
import zlib
from typing import Any

import aiohttp
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.http import HttpAdapter
from hub.api import CodecError, HubError, PermanentError, Receipt, StoreBusy, TransientError, UnreachableError
from hub.i18n import language, set_language
from hub.ids import id_text
from hub.message import Outcome
from tests.adapters.http_support import (
    DEADLINE,
    MemoryIntake,
    bound_in,
    call,
    listening,
    on_both_loops,
    raw_call,
    read_answer,
    until,
)


@pytest.fixture(autouse=True)
def english() -> Any:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture
def intake() -> MemoryIntake:
    return MemoryIntake()


# -- accepted ----------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_a_message_is_taken_byte_for_byte_and_acknowledged(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        answer = await call(receiver, b' {"a" : 1}\n', headers={"Idempotency-Key": "k-1", "User-Agent": "his/1"})
    assert (answer.status, answer.headers["content-type"]) == (202, "application/json")
    assert answer.json == {"message_id": id_text(1), "outcome": "accepted"}
    assert answer.headers["server"] == "tongqu"
    [taken] = intake.taken
    assert (taken.raw, taken.control_id, taken.remote) == (b' {"a" : 1}\n', "k-1", "127.0.0.1")
    assert taken.params == {"method": "POST", "path": "/in", "User-Agent": "his/1"}


@pytest.mark.parametrize(("outcome", "word"), [(Outcome.DUPLICATE, "duplicate"), (Outcome.CONFLICT, "conflict")])
@on_both_loops
async def test_a_repetition_is_answered_like_the_first(intake: MemoryIntake, outcome: Outcome, word: str) -> None:
    intake.verdict = lambda raw: Receipt(outcome, 42)
    async with listening(intake, accepted_status=200) as receiver:
        answer = await call(receiver)
    assert (answer.status, answer.json) == (200, {"message_id": id_text(42), "outcome": word})


@on_both_loops
async def test_accepted_without_content(intake: MemoryIntake) -> None:
    async with listening(intake, accepted_status=204) as receiver:
        answer = await call(receiver)
    assert (answer.status, answer.body) == (204, b"")


@on_both_loops
async def test_nothing_is_answered_before_the_commit(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake) as receiver:
        waiting = asyncio.create_task(call(receiver))
        await until(lambda: intake.waiting)
        assert not waiting.done()
        intake.finish()
        assert (await waiting).status == 202


@pytest.mark.parametrize(("status", "expected"), [(0, 200), (201, 201)])
@on_both_loops
async def test_request_style_answers_with_the_reply(intake: MemoryIntake, status: int, expected: int) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=b'{"r":1}', reply_status=status)
    async with listening(intake, {"style": "request"}) as receiver:
        answer = await call(receiver)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (expected, b'{"r":1}', "application/json")


# -- refused by the kernel ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StoreBusy("the disk is full"), 503, "store.busy"),
        (CodecError("not JSON", place="line 1"), 400, "codec.invalid"),
        (HubError("deep", code="codec.depth"), 400, "codec.depth"),
        (HubError("large", code="intake.too_large"), 413, "intake.too_large"),
        (HubError("no route", code="route.request"), 422, "route.request"),
        (HubError("target said no", code="request.failed"), 502, "request.failed"),
        (HubError("odd reply", code="reply.mapping"), 502, "reply.mapping"),
        (UnreachableError("refused"), 502, "send.unreachable"),
        (PermanentError("400"), 502, "send.permanent"),
        (TransientError("no reply within 60 s", code="request.timeout"), 504, "request.timeout"),
        (TransientError("still busy", code="request.pending"), 409, "request.pending"),
        (None, 422, "intake.refused"),
    ],
)
@on_both_loops
async def test_what_the_kernel_refuses(intake: MemoryIntake, error: HubError | None, status: int, code: str) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.REFUSED, 9, error=error)
    async with listening(intake) as receiver:
        answer = await call(receiver)
    assert (answer.status, answer.json["status"], answer.json["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["message_id"] == id_text(9)
    assert ("retry-after" in answer.headers) == (status in (409, 503))
    if error is not None:
        assert answer.json["detail"] == error.text


@on_both_loops
async def test_personal_data_in_an_error_text_is_masked(intake: MemoryIntake) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=CodecError("phone 13812345678 is wrong"))
    async with listening(intake) as receiver:
        answer = await call(receiver)
    assert b"13812345678" not in answer.body


@on_both_loops
async def test_a_fault_of_our_own_is_told_without_its_details(intake: MemoryIntake) -> None:
    def fail(raw: bytes) -> Receipt:
        raise RuntimeError("boom")

    intake.verdict = fail
    async with listening(intake) as receiver:
        answer = await call(receiver)
        assert receiver.status()["under_way"] == 0
    assert (answer.status, answer.json["code"]) == (500, "http.internal")
    assert b"boom" not in answer.body


@on_both_loops
async def test_not_ready_is_said_before_the_body_is_read(intake: MemoryIntake) -> None:
    intake.is_ready = False
    async with listening(intake) as receiver:
        answer = await raw_call(
            receiver.status()["port"], b"POST /in HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
        )
        intake.is_ready = True
        assert (await call(receiver)).status == 202
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert [error.code for _, _, error in intake.refused] == ["store.busy"]


# -- problem documents -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh;q=0.1", "en"),
        ("zh;q=0.1, en;q=0.2", "en"),
        ("fr, de", "en"),
        ("zh;q=0", "en"),
        ("zh;q=nonsense", "en"),
        ("zh;q=7", "en"),
        ("*", "en"),
        ("", "en"),
    ],
)
@on_both_loops
async def test_problem_in_the_language_of_the_caller(intake: MemoryIntake, accept: str, expected: str) -> None:
    async with listening(intake, auth={"type": "bearer", "secret": "t"}) as receiver:
        answer = await call(receiver, headers={"Accept-Language": accept})
    assert answer.headers["content-language"] == expected
    detail = {"en": "the header Authorization is missing", "zh": "缺少请求头 Authorization"}[expected]
    assert answer.json == {
        "type": "urn:tongqu:problem:http.auth_missing",
        "title": {"en": "Authentication is required", "zh": "需要身份认证"}[expected],
        "status": 401,
        "detail": detail,
        "instance": "/in",
        "code": "http.auth_missing",
        "remedy": {
            "en": "send the credentials agreed for this interface",
            "zh": "请携带该接口约定的认证信息",
        }[expected],
    }


@on_both_loops
async def test_instance_is_ascii_and_without_the_query(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        answer = await raw_call(
            receiver.status()["port"], "POST /缺?name=张三 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".encode()
        )
    assert answer.status in (400, 404)
    assert answer.json["instance"].isascii()
    assert "name" not in answer.json["instance"]


# -- path, method, type ------------------------------------------------------------------------------------------------


@on_both_loops
async def test_path_and_method(intake: MemoryIntake) -> None:
    async with listening(intake, methods=["POST", "PUT"]) as receiver:
        assert (await call(receiver, path="/IN")).status == 404
        assert (await call(receiver, path="/in/")).status == 404
        assert (await call(receiver, path="/%69n")).status == 202
        assert (await call(receiver, path="http://hub/in")).status == 202
        assert (await call(receiver, path="/in?x=1", method="PUT")).status == 202
        wrong = await call(receiver, method="DELETE")
        assert (wrong.status, wrong.headers["allow"], wrong.json["code"]) == (405, "POST, PUT", "http.method")
    assert len(intake.taken) == 3


@on_both_loops
async def test_path_parts(intake: MemoryIntake) -> None:
    async with listening(intake, path="/p/{id}/v/{n}") as receiver:
        assert (await call(receiver, path="/p/a%2Fb%20%E4%B8%AD/v/2")).status == 202
        assert (await call(receiver, path="/p/a/b/v/2")).status == 404
        assert (await call(receiver, path="/p//v/2")).status == 404
    [taken] = intake.taken
    assert (taken.params["id"], taken.params["n"]) == ("a/b 中", "2")
    assert taken.params["path"] == "/p/a%2Fb%20%E4%B8%AD/v/2"


@on_both_loops
async def test_path_parts_in_the_call_log_are_masked(intake: MemoryIntake) -> None:
    async with listening(intake, path="/p/{phone}") as receiver:
        await call(receiver, path="/p/13812345678")
    assert "13812345678" not in str(intake.taken[0].params)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 202),
        ("Application/JSON; charset=utf-8", 202),
        ("text/plain", 202),
        ("application/xml", 415),
        ("", 415),
    ],
)
@on_both_loops
async def test_content_type(intake: MemoryIntake, kind: str, status: int) -> None:
    async with listening(intake, content_types=["application/json", "text/*"]) as receiver:
        answer = await call(receiver, headers={"Content-Type": kind} if kind else {})
    assert answer.status == status
    if status == 415:
        assert answer.headers["accept"] == "application/json, text/*"


# -- authentication ----------------------------------------------------------------------------------------------------


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


AUTHS: dict[str, dict[str, Any]] = {
    "basic": {"type": "basic", "user": "his", "secret": "p:w密"},
    "bearer": {"type": "bearer", "secret": "tok"},
    "api_key": {"type": "api_key", "secret": "key", "header": "X-Key"},
}


@pytest.mark.parametrize(
    ("auth", "headers", "status"),
    [
        ("basic", {"Authorization": basic("his", "p:w密")}, 202),
        ("basic", {"Authorization": basic("his", "p:w密").replace("Basic", "bAsIc ")}, 202),
        ("basic", {}, 401),
        ("basic", {"Authorization": basic("his", "p:w")}, 401),
        ("basic", {"Authorization": basic("hi", "sp:w密")}, 401),
        ("basic", {"Authorization": "Basic !!!"}, 401),
        ("basic", {"Authorization": "Basic"}, 401),
        ("basic", {"Authorization": "Bearer " + basic("his", "p:w密")[6:]}, 401),
        ("bearer", {"Authorization": "Bearer tok"}, 202),
        ("bearer", {"Authorization": "bearer  tok "}, 202),
        ("bearer", {"Authorization": "Bearer tokk"}, 401),
        ("bearer", {"Authorization": "Bearer "}, 401),
        ("bearer", {"Authorization": "tok"}, 401),
        ("bearer", {"X-Api-Key": "tok"}, 401),
        ("api_key", {"X-Key": "key"}, 202),
        ("api_key", {"x-key": "KEY"}, 401),
        ("api_key", {"X-Key": ""}, 401),
        ("api_key", {"Authorization": "Bearer key"}, 401),
    ],
)
@on_both_loops
async def test_credentials(intake: MemoryIntake, auth: str, headers: dict[str, str], status: int) -> None:
    async with listening(intake, auth=AUTHS[auth]) as receiver:
        answer = await call(receiver, b"secret body", headers=headers)
    assert answer.status == status
    if status == 401:
        assert answer.headers["www-authenticate"].lower().startswith(auth.replace("_", ""))
        assert not intake.taken
        assert [raw for _, raw, _ in intake.refused] == [b""]
    else:
        assert len(intake.taken) == 1
        assert "tok" not in str(intake.taken[0].params)


@on_both_loops
async def test_an_address_that_is_not_allowed(intake: MemoryIntake) -> None:
    async with listening(intake, allow=["10.0.0.0/8"]) as receiver:
        answers = [await call(receiver) for _ in range(2)]
    assert [(answer.status, answer.json["code"]) for answer in answers] == [(403, "http.address")] * 2
    async with listening(intake, allow=["127.0.0.0/8"]) as receiver:
        assert (await call(receiver)).status == 202


# -- bodies ------------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_chunked_upload_in_single_bytes(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.status()["port"])
        data = b"POST /in HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
        for at in range(len(data)):
            writer.write(data[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)
        assert (await read_answer(reader)).status == 202
        writer.close()
    assert intake.taken[0].raw == b"abcde"


@pytest.mark.parametrize("how", ["length", "chunked"])
@on_both_loops
async def test_too_large(intake: MemoryIntake, how: str) -> None:
    async with listening(intake, {"max_size": 1000}, max_size=10) as receiver:
        if how == "length":
            assert (await call(receiver, b"x" * 1000)).status == 202
            answer = await call(receiver, b"x" * 1001)
        else:
            chunks = b"190\r\n" + b"x" * 400 + b"\r\n"
            head = b"POST /in HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            answer = await raw_call(receiver.status()["port"], head + chunks * 3)
    assert (answer.status, answer.json["code"]) == (413, "http.too_large")
    assert "1000" in answer.json["detail"]


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(b'{"a":1}', mtime=0)),
        ("x-gzip", gzip.compress(b'{"a":1}', mtime=0)),
        ("deflate", zlib.compress(b'{"a":1}')),
        ("identity", b'{"a":1}'),
        ("deflate, gzip", gzip.compress(zlib.compress(b'{"a":1}'), mtime=0)),
    ],
)
@on_both_loops
async def test_content_coding(intake: MemoryIntake, coding: str, packed: bytes) -> None:
    async with listening(intake) as receiver:
        assert (await call(receiver, packed, headers={"Content-Encoding": coding})).status == 202
    assert intake.taken[0].raw == b'{"a":1}'


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", b"not gzip", 400),
        ("gzip", gzip.compress(b"x" * 50, mtime=0)[:-1], 400),
        ("deflate", b"\xff\xff", 400),
        ("br", b"x", 415),
        ("gzip", gzip.compress(b"\0" * 100_000, mtime=0), 413),
        ("deflate", zlib.compress(b"\0" * 100_000), 413),
        ("gzip, gzip", gzip.compress(gzip.compress(b"\0" * 10_000_000, mtime=0), mtime=0), 413),
    ],
)
@on_both_loops
async def test_hostile_content_coding(intake: MemoryIntake, coding: str, body: bytes, status: int) -> None:
    async with listening(intake, {"max_size": 50_000}) as receiver:
        answer = await call(receiver, body, headers={"Content-Encoding": coding})
    assert answer.status == status
    assert not intake.taken
    if status == 415:
        assert answer.headers["accept-encoding"] == "gzip, deflate"


@on_both_loops
async def test_slow_body(intake: MemoryIntake) -> None:
    async with listening(intake, body_timeout=0.05) as receiver:
        answer = await raw_call(
            receiver.status()["port"], b"POST /in HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc"
        )
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert not intake.taken


@on_both_loops
async def test_large_unfinished_bodies_share_one_limit(intake: MemoryIntake) -> None:
    large = b"POST /in HTTP/1.1\r\nHost: h\r\nContent-Length: 600000\r\n\r\n" + b" " * 599_998 + b"{}"
    async with listening(intake, max_buffered="1MB", log_headers=[]) as receiver:
        port = receiver.status()["port"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(large[:-1])
        await until(lambda: receiver.status()["buffered"] == 599_999)
        answer = await raw_call(port, large)
        assert (answer.status, answer.json["code"], answer.headers["connection"]) == (503, "http.no_room", "close")
        assert int(answer.headers["retry-after"]) > 0
        assert (await call(receiver)).status == 202  # small ones go in
        writer.write(b"}")
        assert (await read_answer(reader)).status == 202
        writer.write(large[:-1])
        await until(lambda: receiver.status()["buffered"] == 599_999)
        writer.transport.abort()
        await until(lambda: receiver.status()["buffered"] == 0)
        assert (await raw_call(port, large)).status == 202
    assert [len(taken.raw) for taken in intake.taken] == [2, 600_000, 600_000]
    assert [error.code for _, _, error in intake.refused] == ["http.no_room", "http.body_incomplete"]


@on_both_loops
async def test_a_connection_without_a_complete_head_is_closed(intake: MemoryIntake) -> None:
    async with listening(intake, keepalive_timeout=0.05) as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.status()["port"])
        writer.write(b"POST /in HTTP/1.1\r\nHost:")
        assert await asyncio.wait_for(reader.read(), DEADLINE) == b""
        writer.close()


@on_both_loops
async def test_caller_gone_in_the_middle_of_its_body(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        _, writer = await asyncio.open_connection("127.0.0.1", receiver.status()["port"])
        writer.write(b"POST /in HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
        await until(lambda: receiver.status()["under_way"] == 1)
        writer.close()
        await until(lambda: receiver.status()["under_way"] == 0)
    assert not intake.taken
    assert [error.code for _, _, error in intake.refused] == ["http.body_incomplete"]


@on_both_loops
async def test_caller_gone_after_its_message_was_handed_in(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake) as receiver:
        _, writer = await asyncio.open_connection("127.0.0.1", receiver.status()["port"])
        writer.write(b"POST /in HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
        await until(lambda: intake.waiting)
        writer.transport.abort()
        await until(lambda: receiver.status()["connections"] == 0)
        assert receiver.status()["under_way"] == 1
        intake.finish()
        await until(lambda: receiver.status()["under_way"] == 0)
    assert not intake.refused


@pytest.mark.parametrize("chunk", [b"zz\r\nabc\r\n", b"-1\r\n", b"fffffffffffffffff\r\n"])
@on_both_loops
async def test_broken_chunks(intake: MemoryIntake, chunk: bytes) -> None:
    async with listening(intake) as receiver:
        head = b"POST /in HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await raw_call(receiver.status()["port"], head + chunk)
    assert answer.status == 400
    assert not intake.taken


@on_both_loops
async def test_expect_continue(intake: MemoryIntake) -> None:
    async with listening(intake, max_size=10) as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.status()["port"])
        head = "POST /in HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n"
        writer.write(head.format(5).encode())
        assert (await read_answer(reader)).status == 100
        writer.write(b"12345")
        assert (await read_answer(reader)).status == 202
        writer.write(head.format(11).encode())
        assert (await read_answer(reader)).status == 413
        writer.close()
        assert (await call(receiver, headers={"Expect": "a miracle"})).status == 417
    assert [taken.raw for taken in intake.taken] == [b"12345"]


@on_both_loops
async def test_query_as_body(intake: MemoryIntake) -> None:
    async with listening(intake, path="/p/{id}", methods=["GET", "POST"], query_as_body=True) as receiver:
        assert (await call(receiver, b"", method="GET", path="/p/7?a=1&b=%E4%B8%AD+x&a=2&e=&id=9")).status == 202
        assert (await call(receiver, b"as sent", path="/p/7?a=1")).status == 202
        assert (await call(receiver, b"", method="GET", path="/p/7?a=%ff")).status == 400
        many = "&".join(f"p{n}=1" for n in range(1001))
        assert (await call(receiver, b"", method="GET", path=f"/p/7?{many}")).status == 400
    assert orjson.loads(intake.taken[0].raw) == {"a": ["1", "2"], "b": "中 x", "e": "", "id": "7"}
    assert intake.taken[1].raw == b"as sent"
    assert len(intake.taken) == 2


@on_both_loops
async def test_no_body_without_query_as_body(intake: MemoryIntake) -> None:
    async with listening(intake, methods=["GET"]) as receiver:
        await call(receiver, b"", method="GET", path="/in?a=1")
    assert intake.taken[0].raw == b""


@pytest.mark.parametrize(("key", "status"), [("k" * 256, 202), ("k" * 257, 400)])
@on_both_loops
async def test_idempotency_key_length(intake: MemoryIntake, key: str, status: int) -> None:
    async with listening(intake) as receiver:
        assert (await call(receiver, headers={"Idempotency-Key": key})).status == status


@on_both_loops
async def test_header_bytes_that_are_not_utf8_do_no_harm(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        answer = await raw_call(
            receiver.status()["port"],
            b"POST /in HTTP/1.1\r\nHost: h\r\nUser-Agent: \xff\xfe\r\nIdempotency-Key: a\xff\r\nContent-Length: 0\r\n\r\n",
        )
    assert answer.status == 202
    orjson.dumps(intake.taken[0].params)
    assert intake.taken[0].control_id == "a?"
    assert intake.taken[0].params["User-Agent"] == "??"


@on_both_loops
async def test_log_headers_are_chosen_and_masked(intake: MemoryIntake) -> None:
    async with listening(intake, log_headers=["X-Who"], auth=AUTHS["bearer"]) as receiver:
        headers = {"X-Who": "13812345678 " + "y" * 500, "User-Agent": "u", "Authorization": "Bearer tok"}
        await call(receiver, headers=headers)
    params = intake.taken[0].params
    assert set(params) == {"method", "path", "X-Who"}
    assert "13812345678" not in params["X-Who"]
    assert len(params["X-Who"]) <= 200


# -- connections -------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_keep_alive_and_pipelining(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.status()["port"])
        one = "POST /in HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n{}"
        writer.write("".join(one.format(n) for n in range(5)).encode())
        answers = [await read_answer(reader) for _ in range(5)]
        writer.close()
    assert [taken.raw for taken in intake.taken] == [b"0", b"1", b"2", b"3", b"4"]
    assert [answer.json["message_id"] for answer in answers] == [id_text(n) for n in range(1, 6)]


@on_both_loops
async def test_junk_after_a_request(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.status()["port"])
        writer.write(b"POST /in HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}\x00\x01junk\r\n\r\n")
        answers = await asyncio.wait_for(reader.read(), DEADLINE)
        writer.close()
    assert b" 202 " in answers or b" 400 " in answers
    assert len(intake.taken) <= 1
    assert answers.count(b"HTTP/1.1 2") == len(intake.taken)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"MSH|^~\\&|A\r\n\r\n", 400),
        (b"POST /in HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /in HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST /in HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /in HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (b"POST /in HTTP/1.1\r\nX: " + b"x" * 3000 + b"\r\n\r\n", 431),
        (b"POST /" + b"x" * 3000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"POST /in HTTP/1.1\r\n" + b"".join(b"X%d: 1\r\n" % n for n in range(65)) + b"\r\n", 400),
    ],
)
@on_both_loops
async def test_malformed_heads(intake: MemoryIntake, data: bytes, status: int) -> None:
    async with listening(intake, header_size=2048) as receiver:
        answer = await raw_call(receiver.status()["port"], data)
        assert (await call(receiver)).status == 202
    assert (answer.status, answer.json["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(intake.taken) == 1


@given(st.binary(max_size=200), st.integers(0, 120), st.integers(0, 20))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@on_both_loops
async def test_damaged_requests_are_answered_or_cut_and_the_server_lives(junk: bytes, at: int, drop: int) -> None:
    intake = MemoryIntake()
    request = b"POST /in HTTP/1.1\r\nHost: h\r\nContent-Type: a/b\r\nContent-Length: 10\r\n\r\n0123456789"
    async with listening(intake, body_timeout=0.02, keepalive_timeout=0.02) as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.status()["port"])
        writer.write(request[:at] + junk + request[at + drop :])
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            said = await asyncio.wait_for(reader.read(), DEADLINE)
            assert said == b"" or said.startswith(b"HTTP/1.")
            assert b" 500 " not in said.partition(b"\r\n")[0]
        writer.close()
        assert (await call(receiver)).status == 202


@on_both_loops
async def test_too_many_connections(intake: MemoryIntake) -> None:
    async with listening(intake, max_connections=2) as receiver:
        port = receiver.status()["port"]
        first = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await until(lambda: receiver.status()["connections"] == 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with_error = await asyncio.gather(asyncio.wait_for(reader.read(), DEADLINE), return_exceptions=True)
        assert with_error[0] == b"" or isinstance(with_error[0], ConnectionError)
        writer.close()
        await until(lambda: receiver.status()["refused_connections"] == 1)
        for _, open_writer in first:
            open_writer.close()
        await until(lambda: receiver.status()["connections"] == 0)
        assert (await call(receiver)).status == 202


# -- one server, several interfaces ------------------------------------------------------------------------------------


@on_both_loops
async def test_interfaces_share_a_server(intake: MemoryIntake) -> None:
    adapter = HttpAdapter()
    async with listening(intake, adapter=adapter, place="a/in", path="/a") as first:
        port = first.status()["port"]
        async with (
            listening(intake, adapter=adapter, place="b/in", path="/b") as second,
            listening(intake, adapter=adapter, place="b/get", path="/b", methods=["GET"]),
            listening(intake, adapter=adapter, place="b/id", path="/b/{id}"),
        ):
            assert second.status()["port"] == port
            await call(first, path="/a")
            await call(first, path="/b")
            await call(first, b"", path="/b", method="GET")
            await call(first, path="/b/1")
            wrong = await call(first, path="/b", method="PUT")
            assert wrong.headers["allow"] == "GET, POST"
        assert (await call(first, path="/b")).status == 404
        assert (await call(first, path="/a")).status == 202
    assert [taken.place for taken in intake.taken] == ["a/in", "b/in", "b/get", "b/id", "a/in"]


@on_both_loops
async def test_one_path_belongs_to_one_interface(intake: MemoryIntake) -> None:
    adapter = HttpAdapter()
    async with listening(intake, adapter=adapter, place="a/in", path="/p/{id}") as first:
        other = adapter.receiver(bound_in(place="b/in", path="/p/{other}"), intake)
        with pytest.raises(HubError, match="belongs to a/in already") as caught:
            await other.start()
        assert caught.value.code == "http.path_taken"
        await other.stop(0)
        assert (await call(first, path="/p/1")).status == 202


@on_both_loops
async def test_interfaces_of_one_server_agree_on_its_settings(intake: MemoryIntake) -> None:
    adapter = HttpAdapter()
    async with listening(intake, adapter=adapter, place="a/in"):
        other = adapter.receiver(bound_in(place="b/in", path="/b", max_connections=5), intake)
        with pytest.raises(HubError, match="other settings than a/in"):
            await other.start()


@on_both_loops
async def test_port_in_use(intake: MemoryIntake) -> None:
    async with listening(intake) as receiver:
        other = HttpAdapter().receiver(bound_in(port=receiver.status()["port"]), intake)
        with pytest.raises(HubError, match=r"can't listen on 127\.0\.0\.1") as caught:
            await other.start()
        assert caught.value.remedy
        await other.stop(0)


@on_both_loops
async def test_all_started_at_once_share_one_socket(intake: MemoryIntake) -> None:
    adapter = HttpAdapter()
    receivers = [adapter.receiver(bound_in(place=f"s{n}/in", path=f"/{n}"), intake) for n in range(5)]
    await asyncio.gather(*(receiver.start() for receiver in receivers))
    assert len({receiver.status()["port"] for receiver in receivers}) == 1
    await asyncio.gather(*(receiver.stop(1) for receiver in receivers))


@on_both_loops
async def test_started_again_after_a_stop(intake: MemoryIntake) -> None:
    receiver = HttpAdapter().receiver(bound_in(), intake)
    for _ in range(2):
        await receiver.start()
        assert (await call(receiver)).status == 202  # type: ignore[arg-type]
        await receiver.stop(1)


# -- stopping ----------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_stop_lets_calls_under_way_finish(intake: MemoryIntake) -> None:
    intake.at_once = False
    receiver = HttpAdapter().receiver(bound_in(), intake)
    await receiver.start()
    port = receiver.status()["port"]
    waiting = asyncio.create_task(call(receiver))  # type: ignore[arg-type]
    _, idle = await asyncio.open_connection("127.0.0.1", port)
    await until(lambda: intake.waiting)
    stopping = asyncio.create_task(receiver.stop(DEADLINE))
    await asyncio.sleep(0)
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    assert not stopping.done()
    intake.finish()
    assert (await waiting).status == 202
    await stopping
    idle.close()


@on_both_loops
async def test_stop_ends_after_its_grace(intake: MemoryIntake) -> None:
    intake.at_once = False
    receiver = HttpAdapter().receiver(bound_in(), intake)
    await receiver.start()
    waiting = asyncio.create_task(call(receiver))  # type: ignore[arg-type]
    await until(lambda: intake.waiting)
    await receiver.stop(0.05)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await waiting
    intake.finish()  # the commit that comes late must do no harm


@on_both_loops
async def test_while_one_stops_the_others_go_on(intake: MemoryIntake) -> None:
    adapter = HttpAdapter()
    slow = MemoryIntake()
    slow.at_once = False
    async with listening(intake, adapter=adapter, place="a/in", path="/a") as first:
        other = adapter.receiver(bound_in(place="b/in", path="/b"), slow)
        await other.start()
        waiting = asyncio.create_task(call(first, path="/b"))
        await until(lambda: slow.waiting)
        stopping = asyncio.create_task(other.stop(DEADLINE))
        await asyncio.sleep(0)
        refused = await call(first, path="/b")
        assert (refused.status, refused.headers["connection"]) == (503, "close")
        assert (await call(first, path="/a")).status == 202
        slow.finish()
        assert (await waiting).status == 202
        await stopping


# -- other people's clients --------------------------------------------------------------------------------------------


@on_both_loops
async def test_aiohttp_as_the_caller(intake: MemoryIntake) -> None:
    big = b"x" * 3_000_000

    async def stream() -> Any:
        for at in range(0, len(big), 100_000):
            yield big[at : at + 100_000]

    async with listening(intake, auth=AUTHS["basic"]) as receiver:
        url = f"http://127.0.0.1:{receiver.status()['port']}/in"
        headers = {"Authorization": basic("his", "p:w密")}
        async with aiohttp.ClientSession(headers=headers) as session:
            for given in ({"json": {"a": 1}}, {"data": big}, {"data": stream()}, {"data": big, "compress": "gzip"}):
                async with session.post(url, **given) as response:
                    assert response.status == 202
            async with session.post(url, data=big, expect100=True) as response:
                assert response.status == 202
    assert [len(taken.raw) for taken in intake.taken] == [8, len(big), len(big), len(big), len(big)]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@on_both_loops
async def test_curl_as_the_caller(intake: MemoryIntake, tmp_path: Any) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"y" * 2_000_000)
    async with listening(intake, auth=AUTHS["bearer"]) as receiver:
        url = f"http://127.0.0.1:{receiver.status()['port']}/in"
        common = ["curl", "-s", "--noproxy", "*", "-H", "Authorization: Bearer tok", "-w", "%{http_code} "]
        for more in (
            ["-d", '{"a":1}'],
            ["--data-binary", f"@{body}"],
            ["-H", "Transfer-Encoding: chunked", "-T", str(body), "-X", "POST"],
        ):
            process = await asyncio.create_subprocess_exec(*common, *more, url, stdout=asyncio.subprocess.PIPE)
            out, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
            assert out.endswith(b"202 ")
    assert [len(taken.raw) for taken in intake.taken] == [7, 2_000_000, 2_000_000]
