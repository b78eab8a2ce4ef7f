"""Where copies of the trail go: a file that is only appended to, or a collector of syslog.

Syslog as RFC 5424, one message for each entry: over UDP (RFC 5426), TCP (RFC 6587, octet counting) or TLS (RFC 5425). The message is
the same JSON as a line of the file, in ASCII, so that whatever the collector stores can be compared with the trail.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import ssl
import struct
import termios
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hub.audit.config import ExportConfig
from hub.audit.sources import Row

__all__ = ["Copy", "line_of", "make_copy", "syslog_message"]

_PORTS = {"udp": 514, "tcp": 601, "tls": 6514}
#: Seconds to connect, to send, and that a connection has to live after a batch so that it counts as received.
CONNECT_S = 5.0
SEND_S = 10.0
SETTLE_S = 0.5
#: Largest datagram, bytes; a longer entry goes without its text, its hash still vouches for it.
_DATAGRAM = 60_000
#: RFC 5424: facility 13 (log audit), severity 5 (notice).
_PRIORITY = 13 * 8 + 5


class Copy(ABC):
    """One place; used by one thread. Every method may block, and raises ``OSError``."""

    @abstractmethod
    def write(self, rows: Sequence[tuple[str, Row]]) -> None:
        """Hand over (chain, row) pairs; when this returns they have arrived, as far as the way of transport can tell."""

    @abstractmethod
    def close(self) -> None: ...


def line_of(chain: str, row: Row) -> str:
    """The JSON of one row, in ASCII and without a line break."""
    made = {"chain": chain, "seq": row["seq"], "at": row["at"], "entry": row["entry"], "hash": row["hash"]}
    return json.dumps(made, ensure_ascii=True, separators=(",", ":"))


def make_copy(config: ExportConfig, base: Path) -> Copy:
    """The way to one place; relative paths start at ``base``."""
    if config.to.startswith("file:"):
        return FileCopy(base / config.to.removeprefix("file:"))
    parts = urlsplit(config.to)
    address = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
    if parts.scheme == "udp":
        return UdpCopy(address)
    return TcpCopy(address, config if parts.scheme == "tls" else None, base)


class FileCopy(Copy):
    """Opened anew for each batch, so that whoever rotates it finds nothing in its way."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, rows: Sequence[tuple[str, Row]]) -> None:
        data = "".join(line_of(chain, row) + "\n" for chain, row in rows).encode()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # cut off by a crash or a full disk
                data = b"\n" + data
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        return


def syslog_message(chain: str, row: Row, host: str, *, most: int = 0) -> bytes:
    """RFC 5424; with ``most`` not longer than so many bytes."""
    head = f"<{_PRIORITY}>1 {_moment(row['at'])} {host} tongqu {os.getpid()} audit - "
    text = line_of(chain, row)
    if most and len(head) + len(text) > most:
        text = line_of(chain, {**row, "entry": ""})
    return (head + text).encode("ascii")


def _moment(at: Any) -> str:
    try:
        return datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except (TypeError, ValueError, OverflowError, OSError):
        return "-"


def _host() -> str:
    """HOSTNAME: printable ASCII, at most 255."""
    return "".join(c for c in socket.gethostname() if 32 < ord(c) < 127)[:255] or "-"


class UdpCopy(Copy):
    """Nobody says whether a datagram arrived: for networks where that is known to be well enough."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._host = _host()
        self._socket: socket.socket | None = None

    def write(self, rows: Sequence[tuple[str, Row]]) -> None:
        if self._socket is None:
            found = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(found[0], socket.SOCK_DGRAM)
            self._socket.settimeout(SEND_S)
            self._socket.connect(found[4])  # so that a refusal by the other machine is told
        try:
            for chain, row in rows:
                self._socket.send(syslog_message(chain, row, self._host, most=_DATAGRAM))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class TcpCopy(Copy):
    """A collector answers nothing, so entries count as received when the other machine has acknowledged every byte and the connection
    lives on for a moment; otherwise they are sent again. What comes twice has the same chain, number and hash.
    """

    def __init__(self, address: tuple[str, int], tls: ExportConfig | None, base: Path) -> None:
        self._address = address
        self._tls = tls
        self._base = base
        self._host = _host()
        self._socket: socket.socket | None = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            plain = socket.create_connection(self._address, timeout=CONNECT_S)
            try:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                self._socket = self._wrapped(plain)
                self._socket.settimeout(SEND_S)
            except BaseException:
                plain.close()
                raise
        return self._socket

    def _wrapped(self, plain: socket.socket) -> socket.socket:
        if self._tls is None:
            return plain
        context = ssl.create_default_context(cafile=str(self._base / self._tls.ca) if self._tls.ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._tls.certificate:
            key = str(self._base / self._tls.key) if self._tls.key else None
            context.load_cert_chain(str(self._base / self._tls.certificate), key)
        return context.wrap_socket(plain, server_hostname=self._address[0])

    def write(self, rows: Sequence[tuple[str, Row]]) -> None:
        try:
            connection = self._connected()
            self._alive(connection, 0.0)
            parts = []
            for chain, row in rows:
                message = syslog_message(chain, row, self._host)
                parts.append(b"%d %s" % (len(message), message))
            connection.sendall(b"".join(parts))
            self._drained(connection)
            self._alive(connection, SETTLE_S)
        except (OSError, ValueError) as error:
            self.close()
            if isinstance(error, OSError):
                raise
            raise OSError(str(error)) from error

    def _drained(self, connection: socket.socket) -> None:
        """Wait until the other machine has acknowledged everything."""
        deadline = time.monotonic() + SEND_S
        while struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]:
            if time.monotonic() > deadline:
                raise TimeoutError("the collector does not take what was sent")
            self._alive(connection, 0.02)

    def _alive(self, connection: socket.socket, seconds: float) -> None:
        """Raises ``ConnectionError`` when the other end closes within so long."""
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([connection], [], [], left)
            if not ready:
                return
            connection.settimeout(0.0)
            try:
                if not connection.recv(4096):
                    raise ConnectionError("the collector has closed the connection")
            except (BlockingIOError, ssl.SSLWantReadError):
                pass  # a record of TLS without data
            finally:
                connection.settimeout(SEND_S)
            if time.monotonic() >= deadline:
                return

    def close(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None
