"""The layers under an association, pynetdicom's with limits to what a peer may send and without threads that look about all the time.

What comes is handed on as bytes: data sets of C-STORE go where the service says, piece by piece, the others are small and held in memory.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import socket
import ssl
import threading
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import A_RELEASE, P_DATA
from pynetdicom.transport import AssociationSocket

from hub.logs import get_logger

if TYPE_CHECKING:
    from adapters.dicom.network import HubAssociation

__all__ = ["LEAST_PDU_LIMIT", "Dimse", "Socket", "UpperLayer"]

log = get_logger(__name__)

#: Bytes of a command set, and of a data set that is no object (a query, a procedure step).
_MOST_COMMAND = 64 << 10
_MOST_IDENTIFIER = 4 << 20
#: Bytes of a PDU whatever was agreed: associations of many contexts are large, and some peers overrun a little.
LEAST_PDU_LIMIT = 1 << 20
#: Requests of one association that may wait; more is against the protocol, as no asynchronous operations are agreed.
_MOST_WAITING = 4
_LOOK_S = 0.05


class Socket(AssociationSocket):
    """Reads no more than a PDU may have, and no longer than a PDU may take."""

    limit = LEAST_PDU_LIMIT
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


class UpperLayer(DULServiceProvider):
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


class Dimse(DIMSEServiceProvider):
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
        association = cast("HubAssociation", self.assoc)
        context = association._accepted_cx[number]
        command = message.command_set
        return association.service.incoming(
            association,
            str(command.get("AffectedSOPInstanceUID", "")),
            str(command.get("AffectedSOPClassUID", "")),
            str(context.transfer_syntax[0]),
        )
