"""A collector of syslog as a process would be: takes connections, cuts messages by their length, forgets nothing it was sent."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from typing import Any

__all__ = ["SYSLOG", "Collector"]

#: RFC 5424: PRI VERSION SP TIMESTAMP SP HOSTNAME SP APP-NAME SP PROCID SP MSGID SP STRUCTURED-DATA SP MSG
SYSLOG = re.compile(
    rb"<(\d{1,3})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) [!-~]{1,255} tongqu \d{1,128} audit - ([ -~]*)",
    re.DOTALL,
)


class Collector:
    """Listens on TCP, with ``context`` TLS; ``drop_after``: closes each connection after so many messages."""

    def __init__(self, port: int = 0, context: ssl.SSLContext | None = None, drop_after: int = 0) -> None:
        self.messages: list[bytes] = []
        self.connections = 0
        self._context = context
        self._drop_after = drop_after
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._open.append(connection)
            stream: Any = connection.makefile("rb")
            taken = 0
            while True:
                length = b""
                while (digit := stream.read(1)) not in (b" ", b""):
                    length += digit
                if not length:
                    return
                message = stream.read(int(length))
                if len(message) < int(length):
                    return
                taken += 1
                if self._drop_after and taken > self._drop_after:
                    return  # what came beyond is lost with the connection
                self.messages.append(message)
        except (OSError, ssl.SSLError, ValueError):
            return
        finally:
            connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # the thread in accept would keep it open
        self._accepting.join()
        self._listener.close()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            connection.close()
