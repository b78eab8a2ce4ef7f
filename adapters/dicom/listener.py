"""The listening side of associations: one socket, one thread that accepts, threads of pynetdicom for each association."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import _STORAGE_CLASSES
from pynetdicom.transport import AddressInformation, RequestHandler, ThreadedAssociationServer

from adapters.dicom.network import HubAssociation, Service, Socket, context_of, shut
from hub.api import HubError
from hub.i18n import t

__all__ = ["Listener", "cannot_listen", "storage_contexts", "verification_context"]

_VERIFICATION = "1.2.840.10008.1.1"
_UNCOMPRESSED = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
_LOOK_S = 0.05
#: For a last word to the peer.
_FAREWELL_S = 0.5


class _Handler(RequestHandler):
    """One connection: TLS, then the association in threads of its own."""

    server: Listener

    def handle(self) -> None:
        listener = self.server
        sock = cast(socket.socket, self.request)
        sock.settimeout(listener.handshake)
        if listener.tls is not None:
            try:
                sock = self.request = listener.tls.wrap_socket(sock, server_side=True)
            except (OSError, ValueError) as error:
                listener.on_bad_tls(self.client_address[0], error)
                sock.close()
                listener.leave()
                return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(listener.pdu_seconds)
        association = HubAssociation(self.ae, MODE_ACCEPTOR, listener.service)
        association._server = cast(Any, listener)
        association.name = f"dicom-in-{self.client_address[1]}"
        wrapped = Socket(association, client_socket=sock)
        wrapped.limit = max(Socket.limit, 2 * self.ae.maximum_pdu_size)
        wrapped.seconds = listener.pdu_seconds
        association.set_socket(wrapped)
        acceptor = association.acceptor
        acceptor.maximum_length = self.ae.maximum_pdu_size
        acceptor.ae_title = listener.ae_title
        acceptor.address_info = AddressInformation.from_tuple(listener.server_address)
        acceptor.implementation_class_uid = self.ae.implementation_class_uid
        acceptor.implementation_version_name = self.ae.implementation_version_name
        acceptor.supported_contexts = listener.contexts  # shared: negotiating does not change them
        association.requestor.address_info = AddressInformation.from_tuple(self.client_address)
        listener.enter(association)
        association.start()


class Listener(ThreadedAssociationServer):
    """A listening socket; the associations of it are in ``associations``."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        entity: AE,
        address: tuple[str, int],
        contexts: list[PresentationContext],
        service: Service,
        *,
        tls: ssl.SSLContext | None,
        permits: Callable[[str], bool],
        on_bad_tls: Callable[[str, Exception], None],
        handshake: float,
        pdu_seconds: float,
        backlog: int,
    ) -> None:
        self.service = service
        self.tls = tls
        self.permits = permits
        self.on_bad_tls = on_bad_tls
        self.handshake = handshake
        self.pdu_seconds = pdu_seconds
        self.request_queue_size = backlog
        self.associations: set[HubAssociation] = set()
        self.connections = 0
        self._lock = threading.Lock()
        super().__init__(entity, address, entity.ae_title, contexts, request_handler=_Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(_LOOK_S,), name="dicom-accept", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if not self.permits(client_address[0]):
            return False
        with self._lock:
            # One more association than allowed is told so by the protocol; further ones are just closed.
            if self.connections > 2 * self.ae.maximum_associations + 8:
                return False
            self.connections += 1
        return True

    def enter(self, association: HubAssociation) -> None:
        with self._lock:
            self.associations.add(association)

    def leave(self, association: HubAssociation | None = None) -> None:
        with self._lock:
            if association is None:
                self.connections -= 1
            elif association in self.associations:
                self.associations.discard(association)
                self.connections -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke before it was an association: nothing to tell."""
        self.leave()

    def service_actions(self) -> None:
        """Not pynetdicom's collecting of garbage, which would hold up the whole hub."""

    def close(self, grace: float) -> None:
        """Accept nothing more, let requests under way finish, leave no thread; blocks."""
        socketserver.BaseServer.shutdown(self)
        self._thread.join()
        self.server_close()
        deadline = time.monotonic() + grace
        while any(association.busy for association in list(self.associations)) and time.monotonic() < deadline:
            time.sleep(0.01)
        left = list(self.associations)
        for association in left:
            association.abort(block=False)
        end = time.monotonic() + _FAREWELL_S
        while any(not one.dul.to_provider_queue.empty() for one in left) and time.monotonic() < end:
            time.sleep(0.005)
        for association in left:
            shut(association)
        for association in left:
            association.join(_FAREWELL_S * 10)
            association.dul.join(_FAREWELL_S * 10)


def verification_context() -> PresentationContext:
    """C-ECHO."""
    return context_of(_VERIFICATION, _UNCOMPRESSED)


def storage_contexts(more: Sequence[str] = ()) -> list[PresentationContext]:
    """C-ECHO and every storage SOP class of the standard, and ``more``, in every transfer syntax, uncompressed ones preferred."""
    every = [*_UNCOMPRESSED, *(one for one in ALL_TRANSFER_SYNTAXES if one not in _UNCOMPRESSED)]
    classes = dict.fromkeys([*_STORAGE_CLASSES.values(), *more])
    return [verification_context(), *(context_of(uid, every) for uid in classes)]


def cannot_listen(host: str, port: int, error: OSError) -> HubError:
    """What to tell of a port that can't be opened."""
    reason = error.strerror or str(error)
    return HubError(
        t(
            f"can't listen on {host}:{port}: {reason}",
            f"无法监听 {host}:{port}：{reason}",
        ),
        code="dicom.listen",
        remedy=t(
            "choose a free port and an address of this machine; ports below 1024 (DICOM's 104) need a privilege",
            "请选择空闲端口和本机地址；1024 以下的端口（如 104）需要特权",
        ),
    )
