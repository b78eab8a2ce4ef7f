"""A CMPP gateway that is played, asked byte by byte: written from the protocol text, without the adapter's own code."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from hub.errors import HubError
from hub.simulator import Behaviour, Simulator
from tests.kernel.process import wait_for
from tests.simulator.simulator_support import Played, played


class Provider:
    """A service provider of CMPP 3.0."""

    def __init__(self, settings: dict[str, Any], *, password: str = "", account: str = "") -> None:
        self.connection = socket.create_connection((settings["host"], settings["port"]), timeout=10)
        self.account = (account or settings["account"]).encode().ljust(6, b"\0")
        self.src_id = settings["src_id"].encode()
        self.sequence = 0
        secret = (password or settings["password"]).encode()
        digest = hashlib.md5(self.account + bytes(9) + secret + b"1128093000").digest()
        self.say(1, self.account + digest + b"\x30" + struct.pack(">I", 1128093000))
        _, body = self.hear(0x80000001)
        self.status = struct.unpack(">I", body[:4])[0]
        self.proved = body[4:20] == hashlib.md5(body[:4] + digest + secret).digest()

    def say(self, command: int, body: bytes, sequence: int = 0) -> int:
        self.sequence += 1
        number = sequence or self.sequence
        self.connection.sendall(struct.pack(">III", 12 + len(body), command, number) + body)
        return number

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.connection.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def hear(self, wanted: int) -> tuple[int, bytes]:
        """The next PDU with this command; others are dropped."""
        while True:
            length, command, sequence = struct.unpack(">III", self.read(12))
            body = self.read(length - 12)
            if command == wanted:
                return sequence, body

    def submit(
        self, text: str, *, phone: str = "13900000000", total: int = 1, number: int = 1, src: bytes = b""
    ) -> None:
        content = text.encode("utf-16-be")
        if total > 1:
            content = bytes((5, 0, 3, 7, total, number)) + content
        body = bytes(8) + bytes((total, number, 1, 0)) + bytes(10) + b"\2" + bytes(32) + b"\0"
        body += bytes((0, int(total > 1), 8)) + self.account + b"01" + b"0".ljust(6, b"\0") + bytes(34)
        body += (src or self.src_id).ljust(21, b"\0") + b"\1" + phone.encode().ljust(32, b"\0") + b"\0"
        self.say(4, body + bytes((len(content),)) + content + bytes(20))

    def result(self) -> int:
        return int(struct.unpack(">QI", self.hear(0x80000004)[1])[1])

    def delivered(self, result: int = 0) -> bytes:
        """The next DELIVER, answered."""
        sequence, body = self.hear(5)
        self.say(0x80000005, body[:8] + struct.pack(">I", result), sequence)
        return body


@pytest.fixture(scope="module")
def party() -> Iterator[Played]:
    with played() as found:
        yield found


@pytest.fixture
def gateway(party: Played) -> Iterator[Simulator]:
    simulator = party.run(_started(party))
    yield simulator
    party.run(simulator.stop())


async def _started(party: Played) -> Simulator:
    from tests.simulator.simulator_support import plugins

    registry, mappings = plugins()
    return await Simulator.start(registry.plugins["cmpp_gateway"], registry, mappings)


def test_who_logs_in_must_know_the_password_and_the_gateway_proves_that_it_does(gateway: Simulator) -> None:
    good = Provider(gateway.settings)
    assert (good.status, good.proved) == (0, True)
    assert Provider(gateway.settings, password="another").status == 3
    assert Provider(gateway.settings, account="999999").status == 2


def test_a_message_is_taken_and_reported(gateway: Simulator) -> None:
    hub = Provider(gateway.settings)
    brought = [hub.delivered() for _ in range(2)]  # the examples: one report, one message
    assert [b"DELIVRD" in body for body in brought] == [True, False]
    assert ["退订".encode("utf-16-be") in body for body in brought] == [False, True]
    hub.submit("您好")
    assert hub.result() == 0
    report = hub.delivered()
    assert (b"DELIVRD" in report, b"13900000000" in report) == (True, True)
    call = gateway.calls[-1]
    assert (call.interface, call.verdict) == ("send", "accepted")
    assert json.loads(call.body) == {"phone": "13900000000", "text": "您好"}


def test_a_long_message_is_one_call(gateway: Simulator) -> None:
    hub = Provider(gateway.settings)
    for number in (1, 2):
        hub.submit("第" * 3, total=2, number=number)
        assert hub.result() == 0
    assert [json.loads(call.body)["text"] for call in gateway.calls] == ["第" * 6]


def test_what_a_gateway_refuses(gateway: Simulator) -> None:
    hub = Provider(gateway.settings)
    hub.submit("x", src=b"1")
    assert hub.result() == 10
    hub.submit("x", phone="nobody")
    assert hub.result() == 13
    gateway.misbehave("send", Behaviour("error", "8"))
    hub.submit("x")
    assert hub.result() == 8
    assert [call.verdict for call in gateway.calls] == ["misbehaved"]


@pytest.mark.parametrize("kind", ["refuse", "reset", "truncated"])
def test_an_answer_that_is_cut_off(gateway: Simulator, kind: Any) -> None:
    hub = Provider(gateway.settings)
    gateway.misbehave("send", Behaviour(kind))
    hub.submit("x")
    with pytest.raises((EOFError, ConnectionError)):
        hub.result()
    again = Provider(gateway.settings)
    again.submit("x")
    assert again.result() == 0


def test_what_is_offered_waits_for_a_connection_and_comes_until_it_is_answered(
    gateway: Simulator, party: Played
) -> None:
    for _ in range(2):
        Provider(gateway.settings).delivered()  # the examples
    body = {"kind": "message", "phone": "13900000009", "dest_id": "1069", "msg_id": "77", "text": "退订", "msg_fmt": 8}
    party.run(gateway.offer("report", json.dumps(body).encode()))
    lost = Provider(gateway.settings)
    while "退订".encode("utf-16-be") not in (found := lost.hear(5)[1]) or b"13900000009" not in found:
        pass
    lost.connection.close()
    hub = Provider(gateway.settings)
    while b"13900000009" not in (found := hub.delivered()):
        pass
    assert found[:8] == (77).to_bytes(8, "big")
    with pytest.raises(HubError):
        party.run(gateway.offer("report", b'{"kind": "letter"}'))


def test_what_is_no_cmpp_ends_the_connection(gateway: Simulator) -> None:
    for noise in (b"GET / HTTP/1.1\r\n\r\n", struct.pack(">III", 12, 4, 1)):
        connection = socket.create_connection((gateway.settings["host"], gateway.settings["port"]), timeout=10)
        connection.sendall(noise)
        assert connection.recv(100) == b""
    wait_for(lambda: Provider(gateway.settings).status == 0, "others go on")
