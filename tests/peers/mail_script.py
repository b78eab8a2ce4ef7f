"""A server that says what it is told to, for what no real server does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence

__all__ = ["Scripted"]


class Scripted:
    """Greets, then answers each line of the client with the next answer; after the last one it says nothing more.

    ``<tag>`` in an answer stands for the first word of the line, which is the tag of an IMAP command.
    """

    def __init__(self, greeting: bytes, answers: Sequence[bytes]) -> None:
        self._greeting, self._answers = greeting, answers
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.lines: list[bytes] = []
        self.begun = threading.Event()  # a client has said something
        self.ended = threading.Event()  # a client has closed its connection
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, client.makefile("rb") as lines:
            client.sendall(self._greeting)
            answers = iter(self._answers)
            for line in lines:
                self.lines.append(line)
                self.begun.set()
                client.sendall(next(answers, b"").replace(b"<tag>", line.split()[0] if line.split() else b""))
        self.ended.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
