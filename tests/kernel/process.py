"""A hub as a process of its own, with real sockets: MLLP in, HTTP out to a server of the test."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from adapters.mllp.framing import FrameReader, frame

__all__ = ["Answer", "HubProcess", "MllpClient", "Sink", "adt", "make_site", "wait_for"]

ROOT = Path(__file__).resolve().parents[2]
#: Longest wait for a process or a socket, seconds.
PATIENCE = 60.0

_HIS = """
id: his
name: HIS
interfaces:
  adt:
    direction: in
    adapter: mllp
    listen: {port: 0}
    codec: hl7v2
    keys: {patient_id: PID-3.1, name: PID-5.1}
"""
_PLATFORM = """
id: platform
name: 平台
settings: {url: {type: url, required: true}}
interfaces:
  patient:
    direction: out
    adapter: http
    connect: {url: "${url}/patient"}
    codec: json
    mapping: patient
    order_by: PID-3.1
    retry: {attempts: 3, interval: 20ms}
    breaker: {failures: 1000, open_for: 50ms, max_open_for: 100ms}
"""
PATIENT = """
from: {codec: hl7v2, types: ["*"]}
to: {codec: json}
fields:
  number: {expr: MSH-10, required: true}
  id: PID-3.1
  family: PID-5.1
"""


def make_site(folder: Path, url: str, **config: Any) -> Path:
    """A hub with the systems ``east`` and ``west``, each with a target of its own; returns its configuration file."""
    for name, text in (("his", _HIS), ("platform", _PLATFORM)):
        (folder / "plugins" / name).mkdir(parents=True)
        (folder / "plugins" / name / "plugin.yaml").write_text(text, encoding="utf-8")
    (folder / "mappings").mkdir()
    (folder / "mappings" / "patient.yaml").write_text(PATIENT, encoding="utf-8")
    settings = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {
            "east": {"plugin": "his"},
            "west": {"plugin": "his"},
            "east_platform": {"plugin": "platform", "settings": {"url": f"{url}/east"}},
            "west_platform": {"plugin": "platform", "settings": {"url": f"{url}/west"}},
        },
        "routes": {
            "east_up": {"from": "east", "to": "east_platform/patient"},
            "west_up": {"from": "west", "to": "west_platform/patient"},
        },
        **config,
    }
    file = folder / "config" / "hub.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return file


def adt(number: str, patient: str = "P1", name: str = "张") -> bytes:
    return (
        f"MSH|^~\\&|HIS|A|HUB|B|20260115093015||ADT^A01|{number}|P|2.5.1|||||||UNICODE UTF-8\r"
        f"PID|1||{patient}||{name}^三\r"
    ).encode()


def wait_for(condition: Any, what: str, seconds: float = PATIENCE) -> Any:
    """Ask until the answer is true, and return it."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.02)
    return answer


class Sink:
    """An HTTP server in threads; remembers the bodies and answers as told."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.bodies.append((self.path, json.loads(body)))
                answer = b'{"code":0}'
                self.send_response(sink.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *arguments: Any) -> None:
                """A hub that was killed leaves connections behind."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def numbers(self, path: str = "/east/patient") -> list[str]:
        return [body["number"] for where, body in list(self.bodies) if where == path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class MllpClient:
    """One connection that waits for each acknowledgement."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._frames = FrameReader(1 << 20)

    def ask(self, message: bytes) -> str:
        """Send a message and return the acknowledgement code; ``ConnectionError`` when none comes."""
        self._socket.sendall(frame(message))
        while (answer := self._frames.next()) is None:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("closed before an answer")
            self._frames.feed(data)
        return answer.decode().split("\rMSA|", 1)[1][:2]

    def close(self) -> None:
        self._socket.close()


class Answer:
    """What the admin API answered."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HubProcess:
    """``hub run`` in a process; ends with the ``with`` block."""

    def __init__(self, config: Path, *arguments: str) -> None:
        self.config = config
        self.data = config.parent.parent / "var"
        self._log = (config.parent / "run.log").open("ab")
        environment = {**os.environ, "TONGQU_LANG": "en", "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hub.cli", "run", "--config", str(config), *arguments],
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            cwd=config.parent,
        )
        self.url = self._wait_until_up()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _wait_until_up(self) -> str:
        assert self._process.stdout is not None
        timer = threading.Timer(PATIENCE, self._process.kill)
        timer.start()
        try:
            for line in self._process.stdout:
                found = re.search(r"http://[\d.]+:\d+", line.decode())
                if found:
                    return found[0]
        finally:
            timer.cancel()
        self.kill()
        raise AssertionError(f"the hub did not start: {(self.config.parent / 'run.log').read_text()}")

    @property
    def token(self) -> str:
        return (self.data / "admin.token").read_text().strip()

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str) -> Answer:
        """One call of the admin API, with the right token unless told otherwise."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Authorization", f"Bearer {self.token if token is None else token}")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def workers(self) -> list[dict[str, Any]]:
        answer = self.call("GET", "/api/v1/status")
        return list(answer.json["workers"]) if answer.status == 200 else []

    def port(self, place: str = "east/adt") -> int:
        def find() -> int:
            return next((int(w["inbound"][place]["port"]) for w in self.workers() if place in w["inbound"]), 0)

        return int(wait_for(find, f"{place} listens"))

    def send(self, *messages: bytes, place: str = "east/adt") -> None:
        """Over MLLP, each acknowledged with AA."""
        client = MllpClient(self.port(place))
        try:
            for message in messages:
                assert client.ask(message) == "AA"
        finally:
            client.close()

    def settled(self) -> None:
        """Wait until the store says that nothing moves: a target has a message a moment before its delivery is recorded."""
        path = "/api/v1/deliveries?limit=1&state=pending,retrying"
        wait_for(lambda: self.call("GET", path).json["deliveries"] == [], "nothing moves")

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def stop(self) -> int:
        """Ask it to stop; returns its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._end()

    def _end(self) -> int:
        late = False
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            late = True
            self._process.send_signal(signal.SIGABRT)  # it writes what its threads are doing
            status = self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()
        assert not late, f"the hub did not stop: {(self.config.parent / 'run.log').read_text()[-8000:]}"
        return status

    def __enter__(self) -> HubProcess:
        return self

    def __exit__(self, *reason: object) -> None:
        if self._process.poll() is None:
            self.stop()
