"""A small signature server of its own process: keys stay in it, it is asked by HTTP with JSON, and it misbehaves on demand.

Run as a program it prints its port and serves until its standard input is closed.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from hub.crypto import Sm2PrivateKey
from hub.crypto.openssl import OpenSslProvider

KEY = Sm2PrivateKey((123456789).to_bytes(32))
OTHER = Sm2PrivateKey((987654321).to_bytes(32))
TOKEN = "Bearer only-for-tests"
_PROVIDER = OpenSslProvider()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections: ClassVar[set[tuple[str, int]]] = set()

    def do_POST(self) -> None:
        self.connections.add(self.client_address)
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != TOKEN:
            self._answer(401, {"message": "who are you?"})
        elif self.path == "/api/behave":
            self.server.behaviour = request["behaviour"]  # type: ignore[attr-defined]
            self._answer(200, {"connections": len(self.connections)})
        else:
            self._serve(request, self.server.behaviour)  # type: ignore[attr-defined]

    def _serve(self, request: dict[str, Any], behaviour: str) -> None:
        if behaviour == "hang":
            threading.Event().wait(30)
        elif behaviour == "close":
            self.close_connection = True
            self.connection.shutdown(2)
        elif behaviour.isdigit():
            self._answer(int(behaviour), {"code": 0, "data": {"value": "secret of the server"}})
        elif behaviour == "garbage":
            self._raw(200, b"<html>not JSON</html>")
        elif behaviour == "huge":
            self._raw(200, b'{"code": 0, "data": {"value": "' + b"A" * (2 << 20) + b'"}}')
        elif behaviour == "deep":
            self._raw(200, b"[" * 100_000)
        elif behaviour.startswith("reply "):
            self._raw(200, behaviour[6:].encode())
        else:
            self._work(request, behaviour)

    def _work(self, request: dict[str, Any], behaviour: str) -> None:
        key = OTHER if behaviour == "other key" else KEY
        if request["key"] != "hospital-sign":
            self._answer(200, {"code": 4004, "message": "no such key"})
            return
        data = base64.b64decode(request["data"])
        if self.path == "/api/sign":
            value = _PROVIDER.sm2_sign(key, data, user_id=bytes.fromhex(request["id"]))
        elif self.path == "/api/sign-digest":
            value = _PROVIDER.sm2_sign_digest(key, data, form="raw")
        elif self.path == "/api/decrypt":
            value = _PROVIDER.sm2_decrypt(key, data, order="c1c2c3")
        else:
            self._answer(404, {})
            return
        self._answer(200, {"code": 0, "data": {"value": base64.b64encode(value).decode(), "hex": value.hex()}})

    def _answer(self, status: int, reply: dict[str, Any]) -> None:
        self._raw(status, json.dumps(reply).encode())

    def _raw(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def sign_server(certificate: Path | None = None) -> Iterator[str]:
    """The address of a running server, ``http://127.0.0.1:PORT`` or ``https://localhost:PORT``."""
    command = [sys.executable, "-m", "tests.crypto.sign_server", str(certificate or "")]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, env=environment)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"https://localhost:{port}" if certificate else f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.behaviour = ""  # type: ignore[attr-defined]
    if sys.argv[1]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
