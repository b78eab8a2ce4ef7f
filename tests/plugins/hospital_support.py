"""Systems of a hospital as programs of their own: they share no code with the hub."""

from __future__ import annotations

import json
import socket
import socketserver
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from lxml import etree

from tests.kernel.process import ROOT, HubProcess, wait_for
from tests.ports import free_port

__all__ = [
    "HOSPITAL",
    "QUICK",
    "Acknowledger",
    "FhirServer",
    "Platform",
    "Taker",
    "ask",
    "example",
    "field",
    "free_port",
    "secret",
    "segment",
    "site",
    "states",
    "table",
    "told",
]

HOSPITAL = ROOT / "plugins" / "hospital"
QUICK = {"retry": {"attempts": 3, "interval": "50ms"}, "breaker": {"open_for": "50ms", "max_open_for": "200ms"}}


def example(plugin: str, name: str, **replaced: str) -> bytes:
    """An example with some of its texts replaced."""
    raw = (HOSPITAL / plugin / "examples" / name).read_bytes()
    for old, new in replaced.items():
        assert old.encode() in raw, old
        raw = raw.replace(old.encode(), new.encode())
    return raw


def segment(message: bytes, name: str, number: int = 1) -> list[str]:
    """Fields of a segment, split by hand; of MSH, field 1 is what follows the name."""
    found = [part.decode("utf-8").split("|") for part in message.split(b"\r") if part[:3] == name.encode()]
    assert len(found) >= number, f"no {name} [{number}]"
    fields = found[number - 1]
    return [fields[0], "|", *fields[1:]] if name == "MSH" else fields


def field(message: bytes, name: str, number: int, component: int = 1) -> str:
    fields = segment(message, name)
    parts = fields[number].split("~")[0].split("^") if number < len(fields) else []
    return parts[component - 1] if component <= len(parts) else ""


def ask(port: int, message: bytes) -> bytes:
    """One message and its acknowledgement, over a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"\x0b" + message + b"\x1c\r")
        answer = b""
        while not answer.endswith(b"\x1c\r"):
            data = connection.recv(65536)
            if not data:
                raise ConnectionError("closed before an answer")
            answer += data
    return answer[1:-2]


def told(message: etree._Element, path: str) -> str:
    """The first text or attribute a path leads to; ``v`` is HL7's namespace."""
    found: Any = message.xpath(path, namespaces={"v": "urn:hl7-org:v3"})
    return str(found[0])


class Taker:
    """A system that takes HL7 v2 messages; ``say`` decides the acknowledgement."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.say: Callable[[bytes], str] = lambda message: "AA"
        taker = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                waiting = b""
                while data := self.request.recv(65536):
                    waiting += data
                    while b"\x1c\r" in waiting:
                        frame, waiting = waiting.split(b"\x1c\r", 1)
                        message = frame[frame.index(b"\x0b") + 1 :]
                        code = taker.say(message)
                        if code in ("AA", "CA"):
                            taker.taken.append(message)
                        head = segment(message, "MSH")
                        answer = (
                            f"MSH|^~\\&|{head[5]}|{head[6]}|{head[3]}|{head[4]}|20261120090001||ACK|A{head[10]}|P|2.5.1\r"
                            f"MSA|{code}|{head[10]}\r"
                        )
                        self.request.sendall(b"\x0b" + answer.encode() + b"\x1c\r")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *arguments: Any) -> None:
                """A hub that was killed leaves connections behind."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def kinds(self) -> list[str]:
        return ["^".join(segment(message, "MSH")[9].split("^")[:2]) for message in self.taken]

    def wait(self, count: int, kind: str = "") -> list[bytes]:
        """The messages (of a kind, e.g. ``ORU^R01``) once there are so many."""

        def enough() -> list[bytes] | None:
            found = [m for m in list(self.taken) if kind in "^".join(segment(m, "MSH")[9].split("^")[:2])]
            return found if len(found) >= count else None

        return list(wait_for(enough, f"{count} {kind or 'messages'} arrive, there are {self.kinds()}"))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Http(ABC):
    """An HTTP server in threads."""

    def __init__(self) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, kind, answer = server.serve(self.command, self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_PUT = do_GET = _answer

            def log_message(self, *arguments: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: Any) -> None:
                """As above."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @abstractmethod
    def serve(self, method: str, path: str, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer."""

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Platform(_Http):
    """A hospital platform behind HIPMessageServer(action, message): SOAP in, MCCI_IN000002UV01 out."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, etree._Element]] = []
        self.calls: list[bytes] = []
        self.say: Callable[[str], str] = lambda action: "AA"
        self.result = "HIPMessageServerResult"
        super().__init__()

    def serve(self, method: str, path: str, body: bytes) -> tuple[int, str, bytes]:
        self.calls.append(body)
        operation = etree.fromstring(body).find("{*}Body")[0]  # type: ignore[index]
        action, message = (child.text or "" for child in list(operation)[:2])
        code = self.say(action)
        if code in ("AA", "CA"):
            self.taken.append((action, etree.fromstring(message.encode())))
        reply = (
            '<MCCI_IN000002UV01 xmlns="urn:hl7-org:v3"><acknowledgement typeCode="'
            f'{code}"><acknowledgementDetail><text value="{code}"/></acknowledgementDetail></acknowledgement></MCCI_IN000002UV01>'
        )
        space = etree.QName(operation).namespace
        envelope = etree.QName(etree.fromstring(body)).namespace
        answer = (
            f'<e:Envelope xmlns:e="{envelope}"><e:Body><HIPMessageServerResponse xmlns="{space}"><{self.result}>'
            f"<![CDATA[{reply}]]></{self.result}></HIPMessageServerResponse></e:Body></e:Envelope>"
        )
        kind = "application/soap+xml" if b"2003/05/soap-envelope" in body else "text/xml"
        return 200, f"{kind}; charset=utf-8", answer.encode()

    def wait(self, count: int, action: str = "DocumentRegister") -> list[etree._Element]:
        def enough() -> list[etree._Element] | None:
            found = [message for name, message in list(self.taken) if name == action]
            return found if len(found) >= count else None

        return list(wait_for(enough, f"{count} {action} arrive, there are {[name for name, _ in self.taken]}"))


class Acknowledger(_Http):
    """Takes HL7 v2 over HTTP and acknowledges with ``codes``, one after the other."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.codes: list[str] = []
        super().__init__()

    def serve(self, method: str, path: str, body: bytes) -> tuple[int, str, bytes]:
        code = self.codes.pop(0) if self.codes else "AA"
        if code == "AA":
            self.taken.append(body)
        number = segment(body, "MSH")[10]
        answer = f"MSH|^~\\&|HIS|H|T|H|20261120||ACK|A{number}|P|2.5.1\rMSA|{code}|{number}\r"
        return 200, "application/hl7-v2", answer.encode()


class FhirServer(_Http):
    """Takes bundles and resources, answers searches with what ``found`` says."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, Any]]] = []
        super().__init__()

    def serve(self, method: str, path: str, body: bytes) -> tuple[int, str, bytes]:
        kind = "application/fhir+json"
        if method == "GET":
            found = {"resourceType": "Bundle", "type": "searchset", "total": 0}
            return 200, kind, json.dumps(found).encode()
        tree = json.loads(body)
        self.taken.append((path, tree))
        outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "information", "code": "informational"}]}
        return 200, kind, json.dumps(outcome).encode()

    def wait(self, count: int) -> list[dict[str, Any]]:
        return [
            tree for _, tree in wait_for(lambda: len(self.taken) >= count and self.taken, f"{count} resources arrive")
        ]


def table(file: Path) -> Path:
    """An empty worklist, made by the script an operator runs."""
    with sqlite3.connect(file) as database:
        database.executescript((HOSPITAL / "pacs_dicom" / "worklist.sql").read_text("utf-8"))
    return file


def site(folder: Path, systems: dict[str, Any], routes: dict[str, Any], **more: Any) -> Path:
    """Configuration of a hub with these systems on the shipped plugins; returns its file."""
    file = folder / "config" / "hub.yaml"
    file.parent.mkdir(parents=True)
    tree = {
        "plugins": [str(HOSPITAL)],
        "mappings": [str(ROOT / "mappings")],
        "schemas": [str(ROOT / "schemas")],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": systems,
        "routes": routes,
        **more,
    }
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    return file


def secret(folder: Path, name: str, text: str) -> str:
    file = folder / "secrets" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return f"file:{file}"


def states(hub: HubProcess) -> dict[str, int]:
    """How many deliveries are in which state."""
    found: dict[str, int] = {}
    for each in hub.call("GET", "/api/v1/deliveries?limit=500").json["deliveries"]:
        found[each["state"]] = found.get(each["state"], 0) + 1
    return found
