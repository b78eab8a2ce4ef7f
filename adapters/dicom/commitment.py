"""Storage commitment (PS3.4 annex J): an AE asks whether we will keep its objects; the answer comes later, on an association of ours."""

from __future__ import annotations

import sqlite3
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.presentation import PresentationContext

from adapters.dicom.call_commit import COMMITMENT, COMMITMENT_INSTANCE
from adapters.dicom.client import Lost, NoService, Target, exchange, open_association, release
from adapters.dicom.model import bare, read_bare
from adapters.dicom.network import HubAssociation, context_of, local_entity
from adapters.dicom.state import Promise
from adapters.dicom.storage import comment
from hub.api import CodecError, HubError, SendError
from hub.codecs.dicom_set import DataSet
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text

if TYPE_CHECKING:
    from adapters.dicom.receiver import DicomReceiver

__all__ = ["Commitments"]

log = get_logger(__name__)

_REQUEST = 1
_ALL_KEPT, _SOME_FAILED = 1, 2
_PROCESSING, _BUSY, _NO_ACTION = 0x0110, 0x0213, 0x0123
#: Failure reasons (0008,1197).
_NO_OBJECT, _OTHER_CLASS = 0x0112, 0x0119
_MOST_INSTANCES = 50_000
_AGAIN_S = 60.0
_ANSWER_S = 30.0
_EXPLICIT = "1.2.840.10008.1.2.1"


class Commitments:
    """Takes requests, remembers them, and tells the results, again and again until they are heard."""

    def __init__(self, receiver: DicomReceiver) -> None:
        self._receiver = receiver
        self._not_before = 0.0
        self._stopped = False
        self.open = 0

    # -- requests; in the threads of associations ----------------------------------------------------------------

    def serve(self, association: HubAssociation, request: Any, context: PresentationContext) -> None:
        response: Any = N_ACTION()
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPClassUID = COMMITMENT
        response.AffectedSOPInstanceUID = COMMITMENT_INSTANCE
        response.ActionTypeID = request.ActionTypeID
        said = ""
        try:
            status, said = self._take(association, request, str(context.transfer_syntax[0]))
        except CodecError as error:
            status, said = _PROCESSING, error.text
        except (HubError, OSError, sqlite3.Error):
            status = _BUSY
        response.Status = status
        if said:
            response.ErrorComment = comment(mask_text(said))
        association.answer(response, context)

    def _take(self, association: HubAssociation, request: Any, syntax: str) -> tuple[int, str]:
        if request.ActionTypeID != _REQUEST or request.ActionInformation is None:
            return _NO_ACTION, ""
        title = association.requestor.ae_title.strip()
        if title not in self._receiver.options.peers:
            error = HubError(
                t(f"nobody said where {title} is told results", f"未配置 {title} 的回告地址"),
                code="dicom.peer",
                remedy=t("add it to listen.peers", "请将其加入 listen.peers"),
            )
            self._receiver.refuse(association, b"", error)
            return _PROCESSING, "AE title not configured"
        wanted = read_bare(request.ActionInformation.getvalue(), syntax)
        uid, items = wanted.get("TransactionUID"), wanted.get("ReferencedSOPSequence", [])
        if not isinstance(uid, str) or not items or len(items) > _MOST_INSTANCES:
            return _PROCESSING, "transaction or instances missing"
        instances = [_named(item) for item in items]
        self._receiver.state.promise(title, uid, instances)
        self._not_before = 0.0
        self.open += 1
        return 0x0000, ""

    # -- results; in the interface's own thread ------------------------------------------------------------------

    @property
    def due(self) -> bool:
        return not self._stopped and time.monotonic() >= self._not_before

    def keep(self) -> None:
        """Tell the results that are due."""
        self._not_before = time.monotonic() + _AGAIN_S
        promises = self._receiver.state.promises()
        self.open = len(promises)
        for promise in promises:
            if self._stopped:
                return
            try:
                self._tell(promise)
            except (SendError, Lost) as error:
                said = error.text if isinstance(error, SendError) else "no answer"
                log.warning(
                    "%s: a commitment could not be told to %s: %s", self._receiver.bound.place, promise.title, said
                )
            else:
                self._receiver.state.kept(promise.number)
                self.open -= 1

    def stop(self) -> None:
        self._stopped = True

    def _tell(self, promise: Promise) -> None:
        peer = self._receiver.options.peers.get(promise.title)
        if peer is None:
            return  # no longer configured: nobody to tell
        kept, failed = self._result(promise)
        information: dict[str, Any] = {"TransactionUID": promise.uid}
        if kept:
            information["ReferencedSOPSequence"] = kept
        if failed:
            information["FailedSOPSequence"] = failed
        entity = local_entity(
            self._receiver.options.ae_title, max_pdu=16 << 10, acse=_ANSWER_S, dimse=_ANSWER_S, network=_ANSWER_S
        )
        context = context_of(COMMITMENT, [_EXPLICIT, "1.2.840.10008.1.2"])
        target = Target(peer.host, peer.port, promise.title)
        association = open_association(entity, target, [context], NoService(), as_provider=[COMMITMENT])
        try:
            agreed = association.accepted_contexts[0]
            report = N_EVENT_REPORT()
            report.MessageID = 1
            report.AffectedSOPClassUID = COMMITMENT
            report.AffectedSOPInstanceUID = COMMITMENT_INSTANCE
            report.EventTypeID = _SOME_FAILED if failed else _ALL_KEPT
            explicit = str(agreed.transfer_syntax[0]) == _EXPLICIT
            report.EventInformation = BytesIO(bare(information, explicit=explicit))
            next(exchange(association, report, agreed, time.monotonic() + _ANSWER_S))
        finally:
            release(association)

    def _result(self, promise: Promise) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        kept, failed = [], []
        for sop_class, uid in promise.instances:
            stored = self._receiver.state.class_of(uid)
            item: dict[str, Any] = {"ReferencedSOPClassUID": sop_class, "ReferencedSOPInstanceUID": uid}
            if stored == sop_class:
                kept.append(item)
            else:
                failed.append({**item, "FailureReason": _NO_OBJECT if stored is None else _OTHER_CLASS})
        return kept, failed


def _named(item: DataSet) -> tuple[str, str]:
    return str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or "")
