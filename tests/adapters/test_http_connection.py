"""adapters.http.connection: replies cut at any byte, and replies that are none."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.coding import TooLong
from adapters.http.connection import FRAMING_LIMIT, BadReply, Connection, Lost, Response

LIMIT = 100_000


class Wire(asyncio.Transport):
    """A transport without a socket: the test plays the target."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self.written = b""
        self.unsent = 0
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def settle(self) -> None:
        """What a loop does after abort()."""
        self._connection.connection_lost(None)


def exchange(pieces: list[bytes], *, end: bool = False, without_body: bool = False) -> tuple[Any, Connection, Wire]:
    """Ask once, let the pieces arrive; what the call came to: a response, an exception or ``None`` (still waiting)."""
    loop = asyncio.new_event_loop()
    try:
        connection = Connection(loop, LIMIT, lambda lost: None)
        wire = Wire(connection)
        connection.connection_made(wire)
        future = connection.call(b"GET / HTTP/1.1\r\n\r\n", b"", loop.time() + 60, without_body=without_body)
        for piece in pieces:
            if wire.aborted:
                break
            connection.data_received(piece)
        if end and not wire.aborted:
            connection.eof_received()
        if end or wire.aborted:
            wire.settle()
        if not future.done():
            return None, connection, wire
        return future.exception() or future.result(), connection, wire
    finally:
        loop.close()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(marks) if a < b]


def seen(result: Any) -> Any:
    return (result.status, result.headers, result.body) if isinstance(result, Response) else type(result)


REPLIES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: 1\r\nX: 2\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n",
    b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n",
]


@given(st.sampled_from(REPLIES), st.lists(st.integers(0, 500), max_size=20), st.booleans())
def test_however_a_reply_is_cut_it_is_the_same(reply: bytes, places: list[int], head: bool) -> None:
    whole = exchange([reply], end=True, without_body=head)
    pieces = exchange(cut(reply, places), end=True, without_body=head)
    assert seen(pieces[0]) == seen(whole[0])
    assert not isinstance(pieces[0], type(None))


@given(st.lists(st.integers(0, 500), max_size=20))
def test_every_byte_alone(places: list[int]) -> None:
    for reply in REPLIES:
        whole = exchange([reply], end=True)
        single = exchange([bytes([byte]) for byte in reply], end=True)
        assert seen(single[0]) == seen(whole[0])


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_any_bytes_end_in_a_reply_or_a_named_error(data: bytes, places: list[int]) -> None:
    result, _, _ = exchange(cut(b"HTTP/1.1 200 OK\r\n" + data, places), end=True)
    assert isinstance(result, Response | Lost | BadReply | TooLong)


@given(st.integers(0, len(REPLIES) - 1), st.data())
def test_damaged_replies(number: int, draw: st.DataObject) -> None:
    reply = bytearray(REPLIES[number])
    for _ in range(draw.draw(st.integers(1, 4))):
        reply[draw.draw(st.integers(0, len(reply) - 1))] = draw.draw(st.integers(0, 255))
    result, _, _ = exchange([bytes(reply)], end=True)
    assert isinstance(result, Response | Lost | BadReply | TooLong)


def test_repeated_headers_are_joined_and_names_are_in_lower_case() -> None:
    result, _, _ = exchange([REPLIES[0]])
    assert result.headers[b"x"] == b"1, 2"
    assert result.header(b"content-length") == "5"
    assert result.header(b"absent") == ""


@pytest.mark.parametrize(
    ("reply", "body", "reusable"),
    [
        (REPLIES[0], b"hello", True),
        (REPLIES[1], b"abcde", True),
        (REPLIES[2], b"ok", True),
        (REPLIES[3], b"", True),
        (REPLIES[4], b"", True),
        (REPLIES[8], b"ok", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nokjunk", b"ok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokjunk", b"ok", False),
    ],
)
def test_which_connections_are_used_again(reply: bytes, body: bytes, reusable: bool) -> None:
    result, connection, _ = exchange([reply])
    assert (result.body, connection.reusable) == (body, reusable)


def test_head_has_no_body_whatever_it_announces() -> None:
    result, connection, _ = exchange([b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"], without_body=True)
    assert (result.status, result.body, connection.reusable) == (200, b"", True)
    result, connection, _ = exchange([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"], without_body=True)
    assert (result.body, connection.reusable) == (b"", False)


def test_an_answer_before_the_request_is_sent_spoils_the_connection() -> None:
    loop = asyncio.new_event_loop()
    connection = Connection(loop, LIMIT, lambda lost: None)
    wire = Wire(connection)
    connection.connection_made(wire)
    future = connection.call(b"head", b"x" * 200_000, loop.time() + 60, without_body=False)
    wire.unsent = 1000
    connection.data_received(b"HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n")
    assert future.result().status == 413
    assert not connection.reusable
    loop.close()


def test_bytes_nobody_asked_for_close_an_idle_connection() -> None:
    _, connection, wire = exchange([REPLIES[0]])
    connection.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert wire.aborted
    assert not connection.open


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\n"] + [b"X: " + b"x" * 1000 + b"\r\n"] * 100,
        [b"HTTP/1.1 200 OK\r\nX: "] + [b"x" * 1000] * 100,
        [b"HTTP/1.1 100 Continue\r\n\r\n"] * 5000,
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x="] + [b"x" * 1000] * 100,
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: "] + [b"x" * 1000] * 100,
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"] + [b"400\r\n" + b"x" * 1024 + b"\r\n"] * 100,
        [b"HTTP/1.1 200 OK\r\n\r\n"] + [b"x" * 1000] * 200,
        [b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n"],
    ],
    ids=["headers", "header", "1xx", "extension", "trailer", "chunks", "to the end", "announced"],
)
def test_memory_is_bounded(pieces: list[bytes]) -> None:
    result, _, wire = exchange(pieces)
    assert isinstance(result, TooLong)
    assert wire.aborted


def test_chunks_of_one_byte_are_fine() -> None:
    body = b"1\r\nx\r\n" * (FRAMING_LIMIT // 4)
    result, _, _ = exchange([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", body, b"0\r\n\r\n"])
    assert result.body == b"x" * (FRAMING_LIMIT // 4)


def test_a_call_on_a_lost_connection_fails() -> None:
    _, connection, _ = exchange([REPLIES[0]], end=True)
    loop = asyncio.new_event_loop()
    connection._loop = loop
    future = connection.call(b"", b"", loop.time() + 1, without_body=False)
    assert isinstance(future.exception(), Lost)
    loop.close()
