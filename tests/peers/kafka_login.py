"""A login in front of the mock cluster, which has none: SASL PLAIN by the protocol's own requests, then a plain relay."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading

__all__ = ["Login"]

_API_VERSIONS, _HANDSHAKE, _AUTHENTICATE = 18, 17, 36
_UNSUPPORTED_VERSION, _FAILED = 35, 58


class Login:
    """Listens on ``port``; ``password`` of user ``hub`` may be changed at any time."""

    def __init__(self, target: int, password: str) -> None:
        self._target, self.password = target, password
        self.refused = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self._target)) as server:
            if self._log_in(client, server):
                self._relay(client, server)

    def _log_in(self, client: socket.socket, server: socket.socket) -> bool:
        while True:
            request = _frame(client)
            kind, version, number = struct.unpack(">hhi", request[:8])
            client_id = struct.unpack(">h", request[8:10])[0]
            body = request[10 + max(client_id, 0) :]
            if kind == _API_VERSIONS and version > 0:
                answer = struct.pack(">hihhh", _UNSUPPORTED_VERSION, 1, _API_VERSIONS, 0, 0)
            elif kind == _API_VERSIONS:
                server.sendall(struct.pack(">i", len(request)) + request)
                theirs = _frame(server)[4:]
                count = struct.unpack(">i", theirs[2:6])[0]
                more = struct.pack(">hhhhhh", _HANDSHAKE, 0, 1, _AUTHENTICATE, 0, 0)
                answer = theirs[:2] + struct.pack(">i", count + 2) + theirs[6:] + more
            elif kind == _HANDSHAKE:
                answer = struct.pack(">hih", 0, 1, 5) + b"PLAIN"
            elif kind == _AUTHENTICATE and body[4:].split(b"\0")[1:] == [b"hub", self.password.encode()]:
                answer = struct.pack(">hhi", 0, -1, 0)
            else:
                self.refused += 1
                said = b"Authentication failed"
                answer = struct.pack(">hh", _FAILED, len(said)) + said + struct.pack(">i", 0)
            client.sendall(struct.pack(">ii", len(answer) + 4, number) + answer)
            if kind == _AUTHENTICATE:
                return answer[:2] == b"\0\0"

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    data = source.recv(65536)
                    if not data:
                        return
                    key.data.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def _frame(peer: socket.socket) -> bytes:
    """The content of one request or answer."""
    size = struct.unpack(">i", _exactly(peer, 4))[0]
    return _exactly(peer, size)


def _exactly(peer: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        data = peer.recv(size - len(found))
        if not data:
            raise ConnectionResetError
        found += data
    return found
