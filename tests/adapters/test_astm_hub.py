"""A hub as a process, by the example of the documentation: an analyser, a LIS behind a socket, and the hub killed between them."""

from __future__ import annotations

import json
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.mllp.framing import FrameReader, frame
from adapters.tcp.e1381_frames import ACK, ENQ, EOT, frames_of
from tests.adapters.astm_support import query, result
from tests.kernel.process import PATIENCE, ROOT, HubProcess, wait_for

_EXAMPLE = re.compile(r"^```yaml\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Lis:
    """Takes reports, answers queries: JSON with six digits of length in front."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        lis = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while length := self.rfile.read(6):
                    asked = json.loads(self.rfile.read(int(length)))
                    answer: dict[str, Any] = {"code": 0}
                    if asked.get("ask") == "worklist":
                        answer |= {"sample": asked["sample"], "patient": "P0001", "tests": ["WBC", "RBC"]}
                    else:
                        lis.reports.append(asked)
                    body = json.dumps(answer).encode()
                    self.wfile.write(b"%06d" % len(body) + body)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, *arguments: Any) -> None:
                """A hub that was killed leaves connections behind."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def numbers(self) -> list[str]:
        return [report["report"]["number"] for report in list(self.reports)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Analyser:
    """One connection; ``ConnectionError`` when the hub goes away."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)

    def _read(self, count: int = 1) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionError("the hub is gone")
            data += more
        return data

    def transmit(self, message: bytes) -> bool:
        """Whether the last frame was acknowledged."""
        answer = b""
        for piece in (ENQ, *frames_of(message, 240, by_record=True)):
            self._socket.sendall(piece)
            answer = self._read()
            if answer != ACK:
                break
        self._socket.sendall(EOT)
        return answer == ACK

    def take(self) -> bytes:
        """The text of one transmission of the hub."""
        assert self._read() == ENQ
        text = b""
        while True:
            self._socket.sendall(ACK)
            if self._read() == EOT:
                return text
            body = b""
            while not body.endswith(b"\r\n"):
                body += self._read()
            text += body[1:-5]

    def close(self) -> None:
        self._socket.close()


def site(folder: Path, lis_port: int) -> Path:
    """The files of the documentation, on free ports."""
    text = (ROOT / "docs" / "adapters" / "tcp.md").read_text(encoding="utf-8")
    files = dict(_EXAMPLE.findall(text))
    given = yaml.safe_load(files.pop("config"))
    given["systems"]["analyser"]["settings"] = {"port": 0}
    given["systems"]["lis"]["settings"] = {"port": lis_port, "listen": 0}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    settings = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "schemas": [str(ROOT / "schemas")],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        **given,
    }
    file = folder / "config" / "hub.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return file


@pytest.fixture
def lis() -> Iterator[Lis]:
    found = Lis()
    yield found
    found.close()


def test_the_example_of_the_documentation_works(tmp_path: Path, lis: Lis) -> None:
    with HubProcess(site(tmp_path, lis.port)) as hub:
        analyser = Analyser(hub.port("analyser/results"))
        assert analyser.transmit(result("S1"))
        assert analyser.transmit(result("S1"))  # a repetition: acknowledged, not reported again
        assert analyser.transmit(query("S7"))
        assert analyser.take() == (b"H|\\^&|||LIS\rP|1|P0001\rO|1|S7||^^^WBC\\^^^RBC|R\rL|1|F\r")
        with socket.create_connection(("127.0.0.1", hub.port("lis/orders")), timeout=PATIENCE) as orders:
            body = json.dumps({"id": "A1", "sample": "S8", "patient": "P2", "tests": ["WBC"]}).encode()
            orders.sendall(b"%06d" % len(body) + body)
            assert analyser.take() == b"H|\\^&|||LIS\rP|1|P2\rO|1|S8||^^^WBC|R||||||A\rL|1|N\r"
            assert orders.recv(100) == b'000020{"code":0,"id":"A1"}'
        assert analyser.transmit(result("S2"))
        wait_for(lambda: lis.numbers() == ["S1", "S2"], "both reports")
        hub.settled()
        analyser.close()
        assert hub.stop() == 0
    report = lis.reports[0]
    assert report["patient"] == {
        "identifiers": [{"kind": "local", "value": "P0001"}],
        "name": {"text": "样本人"},
        "birthDate": "1983-05-02",
    }
    (value,) = report["report"]["results"]
    assert value["quantity"] == {"value": 11.2, "unit": "10*9/L"}
    assert (value["code"]["code"], value["flags"]) == ("WBC", [{"code": "H"}])


def test_what_was_acknowledged_survives_a_kill_and_comes_once(tmp_path: Path, lis: Lis) -> None:
    config = site(tmp_path, lis.port)
    acknowledged: list[str] = []
    unsure: list[str] = []

    def keep_sending(port: int, sender: int) -> None:
        analyser = Analyser(port)
        number = 0
        try:
            while True:
                number += 1
                name = f"S{sender}N{number:05}"
                unsure.append(name)
                assert analyser.transmit(result(name))
                unsure.remove(name)
                acknowledged.append(name)
        except OSError:
            return
        finally:
            analyser.close()

    hub = HubProcess(config)
    port = hub.port("analyser/results")
    threads = [threading.Thread(target=keep_sending, args=(port, sender), daemon=True) for sender in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(acknowledged) >= 100, "acknowledgements")
    hub.kill()
    for thread in threads:
        thread.join()
    assert len(unsure) == 4
    with HubProcess(config) as again:
        analyser = Analyser(again.port("analyser/results"))
        for name in [*unsure, *acknowledged[:3]]:  # an analyser sends again what it has no ACK for
            assert analyser.transmit(result(name))
        wanted = {*acknowledged, *unsure}
        wait_for(lambda: wanted <= set(lis.numbers()), "everything arrives")
        again.settled()
        analyser.close()
        stored = [entry["control_id"] for entry in again.call("GET", "/api/v1/messages?limit=500").json["messages"]]
    assert len(stored) == len(set(stored))
    assert set(lis.numbers()) == wanted


def test_orders_over_bare_tcp_survive_a_kill(tmp_path: Path, lis: Lis) -> None:
    """No analyser is connected: the orders stay in the store, each of them once."""
    config = site(tmp_path, lis.port)
    acknowledged: list[str] = []

    def keep_sending(port: int, sender: int) -> None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as line:
                for number in range(150):
                    name = f"A{sender}N{number:04}"
                    ask(line, name)
                    acknowledged.append(name)
        except (OSError, ValueError):
            return

    def ask(line: socket.socket, name: str) -> None:
        body = json.dumps({"id": name, "sample": "S", "patient": "P", "tests": ["WBC"]}).encode()
        line.sendall(b"%06d" % len(body) + body)
        with line.makefile("rb") as answers:
            answer = answers.read(int(answers.read(6)))
        assert json.loads(answer) == {"code": 0, "id": name}

    hub = HubProcess(config)
    port = hub.port("lis/orders")
    threads = [threading.Thread(target=keep_sending, args=(port, sender), daemon=True) for sender in range(3)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(acknowledged) >= 60, "acknowledgements")
    hub.kill()
    for thread in threads:
        thread.join()
    with HubProcess(config) as again:
        with socket.create_connection(("127.0.0.1", again.port("lis/orders")), timeout=PATIENCE) as line:
            for name in acknowledged[-3:]:  # whoever is not sure sends again, and is told the same
                ask(line, name)
        stored = [entry["control_id"] for entry in again.call("GET", "/api/v1/messages?limit=500").json["messages"]]
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))


_ANALYSER_HL7 = """
id: hl7_analyser
name: asks for its work in HL7
interfaces:
  query:
    direction: in
    style: request
    adapter: mllp
    listen: {port: 0}
    codec: hl7v2
"""
_LIS_HL7 = """
id: lis_hl7
name: answers queries
settings: {port: {type: port, required: true}}
interfaces:
  query:
    direction: out
    adapter: mllp
    connect: {host: 127.0.0.1, port: "${port}"}
    codec: hl7v2
    retry: {attempts: 0}
"""


class MllpLis:
    """Answers each query with what a LIS says."""

    def __init__(self) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                frames = FrameReader(1 << 20)
                while data := self.request.recv(65536):
                    frames.feed(data)
                    while (asked := frames.next()) is not None:
                        fields = asked.decode().split("\r")[0].split("|")
                        kind, number = fields[8], fields[9]
                        answer = {"QBP^Q11": "RSP^K11", "QRY^Q02": "DSR^Q03"}[kind]
                        code = "AR" if number.startswith("BAD") else "AA"
                        self.request.sendall(
                            frame(
                                f"MSH|^~\\&|LIS||XN||20261120||{answer}|9{number}|P|2.5.1\rMSA|{code}|{number}\r"
                                f"DSP|1||S7 WBC\r".encode()
                            )
                        )

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_host_query_in_hl7_over_mllp(tmp_path: Path) -> None:
    target = MllpLis()
    for name, text in (("hl7_analyser", _ANALYSER_HL7), ("lis_hl7", _LIS_HL7)):
        (tmp_path / "plugins" / name).mkdir(parents=True)
        (tmp_path / "plugins" / name / "plugin.yaml").write_text(text, encoding="utf-8")
    file = tmp_path / "config" / "hub.yaml"
    file.parent.mkdir()
    settings = {
        "plugins": ["../plugins"],
        "mappings": [],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {
            "xn": {"plugin": "hl7_analyser"},
            "lis": {"plugin": "lis_hl7", "settings": {"port": target.port}},
        },
        "routes": {"ask": {"from": "xn/query", "to": "lis/query"}},
    }
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")

    def ask(port: int, kind: str, number: str) -> list[str]:
        frames = FrameReader(1 << 20)
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as line:
            head = f"MSH|^~\\&|XN||LIS||20261120||{kind}|{number}|P|2.5.1\r"
            line.sendall(frame(f"{head}QPD|Q11|T1|S7\r".encode()))
            while (answer := frames.next()) is None:
                data = line.recv(65536)
                assert data
                frames.feed(data)
        return answer.decode().split("\r")

    try:
        with HubProcess(file) as hub:
            port = hub.port("xn/query")
            header, said, shown, _ = ask(port, "QBP^Q11", "1")
            assert (header.split("|")[8], said, shown) == ("RSP^K11", "MSA|AA|1", "DSP|1||S7 WBC")
            assert ask(port, "QRY^Q02", "2")[:2][1] == "MSA|AA|2"
            assert ask(port, "QBP^Q11", "BAD3")[1].startswith("MSA|AR|BAD3")
    finally:
        target.close()
