"""Objects a C-MOVE of ours sends to ourselves: on associations the other side asks for, to a port of the sender's own."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.presentation import PresentationContext

from adapters.access import AllowList
from adapters.dicom.listener import Listener, cannot_listen, storage_contexts
from adapters.dicom.network import HubAssociation, Service, local_entity
from adapters.dicom.objects import Incoming, ObjectFolder
from adapters.dicom.options import DicomConnect
from adapters.dicom.references import reference_of
from adapters.dicom.storage import message_of, response_to, status_of
from adapters.tls import server_context
from hub.api import HubError
from hub.codecs.dicom_read import read_file
from hub.i18n import t
from hub.logs import get_logger

__all__ = ["Arrivals", "Expected", "arrival"]

log = get_logger(__name__)

_HANDSHAKE_S, _PDU_S, _IDLE_S = 10.0, 30.0, 300.0
_MOST_ASSOCIATIONS, _BACKLOG, _MAX_PDU = 20, 32, 128 << 10


def arrival(incoming: Incoming) -> tuple[dict[str, Any] | None, str]:
    """(what to tell of an object that is on the disk now, its study). Raises :class:`HubError` and ``OSError``."""
    raw, tree = message_of(incoming)
    reference = reference_of(read_file(raw))
    told = reference.told(incoming.instance, incoming.sop_class) if reference is not None else None
    return told, str(tree.get("StudyInstanceUID") or "")


@dataclass(slots=True)
class Expected:
    """A C-MOVE under way. ``number``: its message id, unlike that of any other; ``studies``: what it asks for, empty where that is open."""

    number: int
    studies: frozenset[str]
    objects: list[dict[str, Any]] = field(default_factory=list)


class Arrivals(Service):
    """The port, and what comes there by the call it belongs to. Methods are called in threads."""

    def __init__(self, options: DicomConnect, folder: ObjectFolder, place: str) -> None:
        self._options = options
        self._folder = folder
        self._place = place
        self._listener: Listener | None = None
        self._lock = threading.Lock()
        self._expected: dict[int, Expected] = {}
        self._number = 0

    def start(self) -> None:
        """Raises :class:`HubError` when it can't listen."""
        receive, title = self._options.receive, self._options.destination
        if receive is None or title is None:
            raise TypeError("for C-MOVE with receive")
        context: ssl.SSLContext | None = server_context(receive.tls) if receive.tls is not None else None
        permits: Callable[[str], bool] = AllowList(receive.allow).permits
        entity = local_entity(title, max_pdu=_MAX_PDU, acse=_PDU_S, dimse=_PDU_S, network=_IDLE_S)
        entity.maximum_associations = _MOST_ASSOCIATIONS
        entity.require_called_aet = True
        try:
            self._listener = Listener(
                entity,
                (receive.host, receive.port),
                storage_contexts(),
                self,
                tls=context,
                permits=permits,
                on_bad_tls=self._bad_tls,
                handshake=_HANDSHAKE_S,
                pdu_seconds=_PDU_S,
                backlog=_BACKLOG,
            )
        except OSError as error:
            raise cannot_listen(receive.host, receive.port, error) from error
        self._listener.start()

    def stop(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close(0.5)

    @property
    def port(self) -> int:
        return int(self._listener.server_address[1]) if self._listener is not None else 0

    # -- calls ---------------------------------------------------------------------------------------------------

    def expect(self, studies: Iterable[str]) -> Expected:
        """Before a C-MOVE is sent, with this message id."""
        with self._lock:
            while True:
                self._number = self._number % 0xFFFF + 1
                if self._number not in self._expected:
                    break
            found = self._expected[self._number] = Expected(self._number, frozenset(studies))
            return found

    def end(self, expected: Expected) -> None:
        """Nothing more belongs to this call."""
        with self._lock:
            self._expected.pop(expected.number, None)

    # -- Service -------------------------------------------------------------------------------------------------

    def incoming(self, association: HubAssociation, instance: str, sop_class: str, syntax: str) -> BytesIO:
        return Incoming(self._folder, instance, sop_class, syntax)

    def serve(self, association: HubAssociation, request: Any, context: PresentationContext) -> None:
        if isinstance(request, C_STORE):
            return association.answer(response_to(request, self._take(request)), context)
        response = type(request)()
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPClassUID = getattr(request, "AffectedSOPClassUID", None)
        response.Status = 0x0000 if isinstance(request, C_ECHO) else 0x0211
        association.answer(response, context)

    def ended(self, association: HubAssociation) -> None:
        message = association.dimse.message
        if message is not None and isinstance(message.data_set, Incoming):
            message.data_set.discard()

    def _take(self, request: Any) -> int:
        """The status of a C-STORE."""
        incoming: Incoming = request.DataSet
        try:
            told, study = arrival(incoming)
            if told is None:
                raise HubError(
                    t("a deflated object does not go into a file", "deflated 压缩的对象不写入文件"), code="dicom.syntax"
                )
            with self._lock:
                call = self._call_of(request, study)
                if call is None:
                    raise HubError(t("nobody asked for this object", "没有人请求过该对象"), code="dicom.unasked")
                call.objects.append(told)
        except (HubError, OSError) as error:
            log.warning("%s: an object was refused: %s", self._place, getattr(error, "code", type(error).__name__))
            return status_of(error)
        finally:
            incoming.close()
        return 0x0000

    def _call_of(self, request: Any, study: str) -> Expected | None:
        """By the originator's message id (PS3.7, 9.1.1.1.8), else by the study, where one call only asks for it."""
        number, title = request.MoveOriginatorMessageID, request.MoveOriginatorApplicationEntityTitle
        if number is not None and (title or "").strip() in ("", self._options.calling):
            found = self._expected.get(int(number))
            return found if found is not None and (not found.studies or study in found.studies) else None
        asking = [call for call in self._expected.values() if study in call.studies]
        return asking[0] if len(asking) == 1 else None

    def _bad_tls(self, address: str, error: Exception) -> None:
        log.warning("%s: no TLS connection with %s", self._place, address)
