"""How a simulated DICOM peer misbehaves on the wire: answers cut off, bytes of no protocol, associations turned away."""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.presentation import PresentationContext

from adapters.dicom.listener import Listener
from adapters.dicom.network import HubAssociation, shut

__all__ = ["CALLED_UNKNOWN", "CALLING_UNKNOWN", "CONGESTED", "Door", "Rejection", "cut_off", "garble"]

#: Result, source and reason of A-ASSOCIATE-RJ (PS3.8, 9.3.4).
Rejection = tuple[int, int, int]
CALLED_UNKNOWN: Rejection = (1, 1, 7)
CALLING_UNKNOWN: Rejection = (1, 1, 3)
CONGESTED: Rejection = (2, 3, 1)

_P_DATA = 4
#: Length of the PDU that is begun, and how much of its only fragment comes.
_PROMISED, _SENT = 200, 80
_COMMAND_LAST = 3


class Door(Listener):
    """A listener that lets ``judge`` say of each association whether it is turned away, and how."""

    judge: Callable[[HubAssociation], Rejection | None]

    def enter(self, association: HubAssociation) -> None:
        super().enter(association)
        association.bind(evt.EVT_REQUESTED, self._asked)

    def _asked(self, event: evt.Event) -> None:
        association = cast(HubAssociation, event.assoc)
        rejection = self.judge(association)
        if rejection is not None:
            association.acse.send_reject(*rejection)
            association.kill()


def cut_off(association: HubAssociation, context: PresentationContext, *, reset: bool) -> None:
    """Begin an answer, and end the connection in the middle of it: with RST, or as if that were all."""
    number = int(cast(int, context.context_id))
    begun = struct.pack(">BBLLBB", _P_DATA, 0, _PROMISED, _PROMISED - 4, number, _COMMAND_LAST) + bytes(_SENT)
    connection = _write(association, begun)
    if reset and connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
    shut(association)


def garble(association: HubAssociation) -> None:
    """Answer with bytes that begin no PDU, and be gone."""
    _write(association, b"\xff" + secrets.token_bytes(299))
    shut(association)


def _write(association: HubAssociation, data: bytes) -> Any:
    """The connection under an association, None where it is gone."""
    wrapped = association.dul.socket
    connection = wrapped.socket if wrapped is not None else None
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.sendall(data)
    return connection
