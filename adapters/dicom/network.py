"""pynetdicom's associations with the hub's manners: nothing logged of what passes, every size and wait limited, no thread that polls.

What comes is handed on as bytes: data sets of C-STORE go where the service says, piece by piece, the others are small and held in memory.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import select
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any, cast

from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import A_RELEASE, P_DATA
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket

from hub.logs import get_logger

__all__ = ["HubAssociation", "Service", "Socket", "break_off", "context_of", "is_retired", "local_entity", "shut"]

log = get_logger(__name__)

# Its log would hold names and numbers of patients; what is worth knowing is in the call log.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)

#: Bytes of a command set, and of a data set that is no object (a query, a procedure step).
_MOST_COMMAND = 64 << 10
_MOST_IDENTIFIER = 4 << 20
#: Bytes of a PDU whatever was agreed: associations of many contexts are large, and some peers overrun a little.
_LEAST_PDU_LIMIT = 1 << 20
#: Requests of one association that may wait; more is against the protocol, as no asynchronous operations are agreed.
_MOST_WAITING = 4
_LOOK_S = 0.05
#: For a last word to the peer.
_FAREWELL_S = 0.5


class Service(ABC):
    """What the hub does with the requests of one association; called from the threads of associations."""

    @abstractmethod
    def incoming(self, association: HubAssociation, instance: str, sop_class: str, syntax: str) -> BytesIO:
        """Where the data set of a C-STORE request goes, piece by piece."""

    @abstractmethod
    def serve(self, association: HubAssociation, request: Any, context: PresentationContext) -> None:
        """Answer a request."""

    def ended(self, association: HubAssociation) -> None:  # noqa: B027 - most have nothing to do
        """The association is over, one way or another."""


def context_of(sop_class: str, syntaxes: Sequence[str]) -> PresentationContext:
    """A context to propose or to accept, the transfer syntaxes in the order of preference."""
    context = PresentationContext()
    context.abstract_syntax = cast(Any, sop_class)
    context.transfer_syntax = cast(Any, list(syntaxes))
    return context


def local_entity(title: str, *, max_pdu: int, acse: float, dimse: float, network: float) -> AE:
    """Our side of associations; times in seconds, ``network``: longest silence."""
    entity = AE(title)
    entity.maximum_pdu_size = max_pdu
    entity.acse_timeout = acse
    entity.dimse_timeout = dimse
    entity.network_timeout = network
    return entity


# -- the layers of an association --------------------------------------------------------------------------------------


class Socket(AssociationSocket):
    """Reads no more than a PDU may have, and no longer than a PDU may take."""

    limit = _LEAST_PDU_LIMIT
    seconds = 60.0

    @property
    def ready(self) -> bool:
        return self.wait(0)

    def wait(self, seconds: float, wake: int = -1) -> bool:
        """Whether there is something to read, waiting so long for it or for ``wake``, a file descriptor."""
        sock = self.socket
        if sock is None or not self._is_connected:
            return False
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        poll = select.poll()  # select() can't do descriptors above 1023
        try:
            number = sock.fileno()
            poll.register(number, select.POLLIN)
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False
        if wake >= 0:
            poll.register(wake, select.POLLIN)
        return any(found == number for found, _ in poll.poll(seconds * 1000))

    def recv(self, nr_bytes: int) -> bytearray:
        if nr_bytes > self.limit:
            raise OSError("the PDU is larger than agreed")
        sock = cast(socket.socket, self.socket)
        buffer = bytearray(nr_bytes)
        view = memoryview(buffer)
        done = 0
        deadline = time.monotonic() + self.seconds
        while done < nr_bytes:
            count = sock.recv_into(view[done:])
            if not count:
                break
            done += count
            if time.monotonic() > deadline:
                raise TimeoutError("the PDU took too long")
        # Peers that collect small packets (Nagle) wait for this acknowledgement before they send the rest of a request: 40 ms.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        view.release()
        del buffer[done:]
        return buffer

    def send(self, bytestream: bytes) -> None:
        try:
            cast(socket.socket, self.socket).sendall(bytestream)
        except (OSError, AttributeError):
            self.event_queue.put("Evt17")


class _Dul(DULServiceProvider):
    """The upper layer, waiting for events instead of looking for them a thousand times a second."""

    def __init__(self, association: Association) -> None:
        super().__init__(association)
        self.daemon = True
        self._run_loop_delay = 0
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._closing = threading.Lock()
        self.to_user_queue = _UserQueue(association)

    def wake(self) -> None:
        with self._closing:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def send_pdu(self, primitive: Any) -> None:
        super().send_pdu(primitive)
        self.wake()

    def kill_dul(self) -> None:
        super().kill_dul()
        self.wake()

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        except Exception as error:  # events that pynetdicom's state machine has no row for
            log.debug("an association broke: %s", type(error).__name__)
        finally:
            with self._closing:
                os.close(self._wake)
                self._wake = -1
            # Whoever waits for the peer needn't wait any longer.
            self.to_user_queue.put(cast(Any, None))
            self.assoc.dimse.msg_queue.put((None, None))

    def _is_transport_event(self) -> bool:
        sock = cast(Socket, self.socket)
        state = self.state_machine.current_state
        if state == "Sta13" or sock is None:
            return bool(super()._is_transport_event())
        if not self.event_queue.empty():
            return False
        if state == "Sta1" and self.assoc.is_acceptor:  # gone
            self._kill_thread = True
            return False
        if state == "Sta1" or sock.socket is None or not sock._is_connected:
            if not self._kill_thread:
                time.sleep(0.001)  # connecting, or over
            return False
        if sock.wait(_LOOK_S, self._wake):
            self._read_pdu_data()
            return True
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        return False


class _UserQueue(queue.Queue[Any]):
    """Lets the association notice at once that its peer wants to leave."""

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        if self._association.is_acceptor and isinstance(item, A_RELEASE):
            self._association.dimse.msg_queue.put((None, None))


class _Dimse(DIMSEServiceProvider):
    """Puts messages together, each within its limits."""

    def get_msg(self, block: bool = False) -> Any:
        if block or self.assoc.is_requestor:
            return super().get_msg(block)
        try:
            return self.msg_queue.get(timeout=_LOOK_S)
        except queue.Empty:
            return None, None

    def receive_primitive(self, primitive: P_DATA) -> None:
        try:
            for number, piece in primitive.presentation_data_value_list:
                self._take(number, memoryview(piece))
        except Exception:  # whatever hostile bytes bring about in pynetdicom or pydicom
            self.message = None
            self.dul.event_queue.put("Evt19")

    def _take(self, number: int, piece: memoryview) -> None:
        message = self.message
        if message is None:
            message = self.message = DIMSEMessage()
        flags = piece[0]
        if flags & 1:
            if message.context_id is not None or message.encoded_command_set.tell() + len(piece) > _MOST_COMMAND:
                raise ValueError("command set")
            command = P_DATA()
            command.presentation_data_value_list.append((number, bytes(piece)))
            done = message.decode_msg(command, self.assoc)
            if flags & 2 and not done and isinstance(message, C_STORE_RQ):
                message.data_set = self._destination(message, number)
        else:
            if number != message.context_id or message.data_set is None:
                raise ValueError("data set without its command")
            if not isinstance(message, C_STORE_RQ) and message.data_set.tell() + len(piece) > _MOST_IDENTIFIER:
                raise ValueError("data set")
            message.data_set.write(piece[1:])
            done = bool(flags & 2)
        if done:
            self.message = None
            request = message.message_to_primitive()
            if isinstance(request, C_CANCEL):
                if len(self.cancel_req) < _MOST_WAITING:
                    self.cancel_req[cast(int, request.MessageIDBeingRespondedTo)] = request
                return
            if self.msg_queue.qsize() >= _MOST_WAITING and self.assoc.is_acceptor:
                raise ValueError("requests without waiting for answers")
            self.msg_queue.put((number, cast(Any, request)))

    def _destination(self, message: C_STORE_RQ, number: int) -> BytesIO:
        association = cast(HubAssociation, self.assoc)
        context = association._accepted_cx[number]
        command = message.command_set
        return association.service.incoming(
            association,
            str(command.get("AffectedSOPInstanceUID", "")),
            str(command.get("AffectedSOPClassUID", "")),
            str(context.transfer_syntax[0]),
        )


class HubAssociation(Association):
    """One association, either way; its requests go to ``service``."""

    def __init__(self, entity: AE, mode: str, service: Service) -> None:
        super().__init__(entity, mode)
        self.service = service
        self.dul = _Dul(self)
        self.dimse = _Dimse(self)
        self.acse_timeout = entity.acse_timeout  # sets a timer of the new upper layer
        self.network_timeout = entity.network_timeout
        self._serving = False
        self._number = 0

    def next_number(self) -> int:
        """A message id for a request of ours."""
        self._number = self._number % 0xFFFF + 1
        return self._number

    @property
    def busy(self) -> bool:
        """Whether a request is being received or answered."""
        return self._serving or self.dimse.message is not None or not self.dimse.msg_queue.empty()

    @property
    def peer(self) -> str:
        """Address of the other side."""
        info = self.requestor.address_info if self.is_acceptor else self.acceptor.address_info
        return f"{info.address}:{info.port}" if info is not None else ""

    def _serve_request(self, msg: Any, context_id: int) -> None:
        context = self._accepted_cx.get(context_id)
        if self._sent_release or not msg.is_valid_request:
            return
        if context is None:
            self.abort()
            return
        self._is_paused = self._serving = True
        try:
            self.service.serve(self, msg, context)
        finally:
            self._is_paused = self._serving = False
            self.dimse.cancel_req = {}

    def _run_reactor(self) -> None:
        """Serve requests until one side leaves. pynetdicom's own loop sleeps a millisecond before each, and looks about all the time."""
        while not self._kill:
            number, message = self.dimse.get_msg()
            if message is not None:
                self._serve_request(message, cast(int, number))
            if self.is_established and self.acse.is_release_requested():
                self.acse.send_release(is_response=True)
                self.is_released, self.is_established = True, False
            elif self.acse.is_aborted():
                self.is_aborted, self.is_established = True, False
            elif self.dul.is_alive() and not self.dul.idle_timer_expired():
                continue
            elif self.dul.is_alive():
                self.abort(block=False)
            self.kill()

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        finally:
            self.service.ended(self)
            shut(self)
            if self.is_acceptor:
                cast(Any, self._server).leave(self)

    def answer(self, response: Any, context: PresentationContext) -> None:
        """Send a response, unless the peer is gone."""
        if self.is_established:
            self.dimse.send_msg(response, cast(int, context.context_id))

    def send_object(self, request: Any, context: PresentationContext, pieces: Iterable[bytes], limit: float) -> bool:
        """Send a C-STORE request with a data set that is never held as a whole; False: no longer connected, or too late.

        ``limit``: when to give up, by ``time.monotonic``.
        """
        message = C_STORE_RQ()
        message.primitive_to_message(request)
        message.command_set.CommandDataSetType = 0x0001
        message.data_set = None
        number, size = cast(int, context.context_id), self.dimse.maximum_pdu_size
        for part in message.encode_msg(number, size):
            self.dul.send_pdu(part)
        for piece, last in _fragments(pieces, (size or _LEAST_PDU_LIMIT) - 6):
            while self.dul.to_provider_queue.qsize() > 8:
                if not self.is_established or not self.dul.is_alive() or time.monotonic() > limit:
                    return False
                time.sleep(0.0005)
            part = P_DATA()
            part.presentation_data_value_list.append((number, (b"\2" if last else b"\0") + piece))
            self.dul.send_pdu(part)
        return True


def _fragments(pieces: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """(fragment of at most ``size`` bytes, whether it is the last one)."""
    held = b""
    for piece in pieces:
        view = memoryview(piece)
        for at in range(0, len(view), size):
            if held:
                yield held, False
            held = bytes(view[at : at + size])
    yield held, True


def is_retired(association: HubAssociation) -> bool:
    """Whether a kept association can't be used any more."""
    if not association.is_established or not association.dul.is_alive() or association.acse.is_aborted():
        return True
    if association.acse.is_release_requested():
        association.acse.send_release(is_response=True)
        association.is_established = False
        return True
    return False


def break_off(association: HubAssociation) -> None:
    """Abort, and leave no thread behind."""
    if association.is_established and association.dul.is_alive():
        association.abort(block=False)
        end = time.monotonic() + _FAREWELL_S
        while not association.dul.to_provider_queue.empty() and association.dul.is_alive() and time.monotonic() < end:
            time.sleep(0.002)
    shut(association)
    association.dul.join(10 * _FAREWELL_S)


def shut(association: HubAssociation) -> None:
    """Close the connection under an association, so that no thread of it waits for anything."""
    sock = association.dul.socket
    inner = sock.socket if sock is not None else None
    if inner is not None:
        with contextlib.suppress(OSError):
            inner.shutdown(socket.SHUT_RDWR)
    association.dul.kill_dul()
    association._kill = True
    association._reactor_checkpoint.set()
