"""A TCP relay in front of a server: ends TLS, cuts connections in the middle of what they carry, lets them hang."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading

__all__ = ["Proxy"]


class Proxy:
    """Relays to a port of this machine. ``cut_after`` bytes from the client, every open connection is reset, once."""

    def __init__(self, target: int, context: ssl.SSLContext | None = None) -> None:
        self._target, self._context = target, context
        self.cut_after: int | None = None
        self.cuts = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        peers: list[socket.socket] = [client]
        try:
            if self._context is not None:
                client.settimeout(5)
                client = self._context.wrap_socket(client, server_side=True)
                peers[0] = client
            server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            peers.append(server)
            self._open.update(peers)
            client.settimeout(None)
            server.settimeout(None)
            self._pump(client, server)
        except OSError:
            return
        finally:
            for peer in peers:
                self._open.discard(peer)
                peer.close()

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                pending = isinstance(client, ssl.SSLSocket) and client.pending()
                ready = [(client, server)] if pending else [(k.fileobj, k.data) for k, _ in selector.select()]
                for source, target in ready:
                    assert isinstance(source, socket.socket)
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client and self.cut_after is not None:
                        part = data[: self.cut_after]
                        self.cut_after -= len(part)
                        if self.cut_after <= 0:
                            target.sendall(part)
                            self.cut_after = None
                            self.cuts += 1
                            return
                    target.sendall(data)

    def cut(self) -> None:
        """Reset every open connection."""
        self.cuts += 1
        for peer in list(self._open):
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
