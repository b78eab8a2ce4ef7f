"""pynetdicom's associations with the hub's manners: nothing logged of what passes, every size and wait limited, no thread that polls."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any, cast

from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext

from adapters.dicom.commands import store_response
from adapters.dicom.layers import LEAST_PDU_LIMIT, Dimse, Socket, UpperLayer
from hub.logs import get_logger

__all__ = ["HubAssociation", "Service", "Socket", "break_off", "context_of", "is_retired", "local_entity", "shut"]

log = get_logger(__name__)

# Its log would hold names and numbers of patients; what is worth knowing is in the call log.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)

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


class HubAssociation(Association):
    """One association, either way; its requests go to ``service``."""

    def __init__(self, entity: AE, mode: str, service: Service) -> None:
        super().__init__(entity, mode)
        self.service = service
        self.dul = UpperLayer(self)
        self.dimse = Dimse(self)
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
        if not self.is_established:
            return
        number = cast(int, context.context_id)
        if isinstance(response, C_STORE):
            command = store_response(response)
            if len(command) + 6 <= (self.dimse.maximum_pdu_size or LEAST_PDU_LIMIT):
                part = P_DATA()
                part.presentation_data_value_list.append((number, b"\3" + command))
                return self.dul.send_pdu(part)
        self.dimse.send_msg(response, number)

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
        for piece, last in _fragments(pieces, (size or LEAST_PDU_LIMIT) - 6):
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
