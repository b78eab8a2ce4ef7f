"""What only a machine on the network does: slow, many, huge, and two requests in one."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from tests.security.attacks.fortress import TOKEN, Fortress, hl7

HEAD = f"POST /json HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
#: Longest that a slow client may hold on, seconds: the limits of the configuration are 1.0.
PATIENT = 12.0


def closed(fort: Fortress, wire: socket.socket, drip: bytes) -> bool:
    """Keep the connection busy with one byte at a time; True once the hub has hung up."""
    end = time.monotonic() + PATIENT
    wire.settimeout(0.2)
    while time.monotonic() < end:
        try:
            wire.sendall(drip)
            data = wire.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            return True
        if not data:
            return True
        fort.answered.append(data)
    return False


@pytest.mark.parametrize(
    ("name", "begin", "drip"),
    [
        ("json", b"POST /json HTTP/1.1\r\nHost: hub\r\n", b"X-A: b\r\n"),
        ("json", b"P", b"O"),
        ("json", HEAD.encode() + b"Content-Length: 100000\r\n\r\n{", b" "),
        ("json", HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        ("hl7", b"\x0bMSH|^~\\&|", b"A"),
        ("tcp", b"00001000{", b" "),
    ],
)  # fmt: skip
def test_a_client_that_never_ends_is_ended(fort: Fortress, name: str, begin: bytes, drip: bytes) -> None:
    with fort.connect(name) as wire:
        wire.sendall(begin)
        assert closed(fort, wire, drip)


@pytest.mark.parametrize("name", ["json", "hl7"])
def test_a_flood_of_connections_leaves_room_after_it(fort: Fortress, name: str) -> None:
    with contextlib.ExitStack() as stack:
        wires: list[socket.socket] = []
        for _ in range(120):
            with contextlib.suppress(OSError):
                wires.append(stack.enter_context(fort.connect(name, timeout=2)))
        hung_up = 0
        for wire in wires:
            wire.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                try:
                    hung_up += not wire.recv(1)
                except TimeoutError:
                    raise
                except OSError:
                    hung_up += 1
        assert hung_up >= len(wires) - 40  # 30 may stay
        other = fort.mllp(hl7("FLOOD")) if name == "json" else fort.http("json", b'{"type":"t","id":"flood"}').head
        assert other


@pytest.mark.parametrize(
    "head",
    [
        b"POST /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: hub\r\n\r\n",
        HEAD.encode() + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n",
        HEAD.encode() + b"".join(b"X-%d: a\r\n" % n for n in range(5000)) + b"\r\n",
        b"\x00" * 5000 + b"\r\n\r\n",
        b"\r\n" * 50_000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 500,
        HEAD.encode() + b"Content-Length: 99999999999999999999\r\n\r\n",
        HEAD.encode() + b"Content-Length: -1\r\n\r\n",
        HEAD.encode() + b"Content-Length: 1_0\r\n\r\n0123456789",
        HEAD.encode() + b"Expect: the-moon\r\nContent-Length: 2\r\n\r\n{}",
    ],
)  # fmt: skip
def test_a_head_that_is_none_is_refused(fort: Fortress, head: bytes) -> None:
    before = len(fort.messages())
    answer = fort.parsed(fort.raw("json", head, timeout=5))
    assert answer.status == 0 or 400 <= answer.status < 600
    assert len(fort.messages()) == before


SECOND = f'POST /json HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 36\r\n\r\n{{"type":"smuggled","id":"smuggled"}} '


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"X: a\nContent-Length: 5\r\n",
        b" Content-Length: 5\r\n",
    ],
)
def test_a_request_in_the_body_of_another_is_not_one(fort: Fortress, lengths: bytes) -> None:
    """CL.TE, TE.CL and their variants: what two parsers read differently is refused, and the rest of the connection with it."""
    fort.raw("json", HEAD.encode() + lengths + b"\r\n0\r\n\r\n" + SECOND.encode(), timeout=5)
    fort.alive()
    assert not [row for row in fort.messages() if row["control_id"] == "smuggled"]


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n", b"fffffffffffffffff\r\n", b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n", b"-1\r\n\r\n", b"5\nhello\n0\n\n"]
)  # fmt: skip
def test_chunks_that_are_none(fort: Fortress, chunks: bytes) -> None:
    answer = fort.parsed(fort.raw("json", HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, timeout=5))
    assert answer.status == 0 or 400 <= answer.status < 500


def test_the_admin_api_bears_it_as_well(fort: Fortress) -> None:
    host, _, port = fort.hub.url.removeprefix("http://").partition(":")
    for head in (
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: hub\r\n\r\n",
        b"POST /api/v1/send HTTP/1.1\r\nHost: hub\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x00" * 2000,
    ):
        with socket.create_connection((host, int(port)), timeout=5) as wire:
            with contextlib.suppress(OSError):
                wire.sendall(head)
            answer = fort.read(wire)
        assert not answer.startswith(b"HTTP/1.1 2")
    assert fort.hub.call("GET", "/healthz").status == 200


def test_two_requests_that_are_two_are_taken(fort: Fortress) -> None:
    """Else the tests above would prove nothing."""
    first = HEAD.encode() + b'Content-Length: 25\r\n\r\n{"type":"t","id":"first"}'
    fort.raw("json", first + SECOND.replace("smuggled", "pipeline").encode(), timeout=5)
    assert {"first", "pipeline"} <= {row["control_id"] for row in fort.messages()}
