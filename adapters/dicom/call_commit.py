"""Storage commitment (PS3.4 annex J) as a call: will you keep these objects? The answer may come at once or hours later.

It comes on the association of the request, on a later one of ours, or on one the other side asks for (service ``results`` of a listening
interface); whoever hears it writes it down, and the delivery that waits reads it there, also after a restart.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Iterator
from io import BytesIO
from typing import Any, cast

from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.presentation import PresentationContext

from adapters.dicom.call import EXPLICIT, UNCOMPRESSED, Call
from adapters.dicom.client import Lost, Target, exchange
from adapters.dicom.commitment_requests import CommitmentRequests, Instance, Result
from adapters.dicom.model import as_fields, bare, dumps, plain, read_bare, read_json
from adapters.dicom.network import HubAssociation
from adapters.dicom.status import SUCCESS, reply_of
from adapters.dicom.storage import AVAILABILITY
from hub.api import CodecError, Outgoing, Reply, TransientError
from hub.codecs.dicom_read import read_file
from hub.codecs.dicom_set import DataSet, DicomTree
from hub.i18n import t

__all__ = ["COMMITMENT", "COMMITMENT_INSTANCE", "Commit", "hear"]

COMMITMENT = "1.2.840.10008.1.20.1"
#: Well-known SOP instance (PS3.4, J.3.5).
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
_REQUEST = 1
_EVENTS = (1, 2)
_PROCESSING, _NO_EVENT, _UNKNOWN = 0x0110, 0x0113, 0x0112
_MOST_INSTANCES = 50_000
_LOOK_S = 0.2
#: Failed instances named in an error text; the reply has them all.
_NAMED = 3


class Commit(Call):
    """N-ACTION, and the wait for its result until the time of the call is over."""

    def __init__(self, outgoing: Outgoing, requests: CommitmentRequests, again_after: float) -> None:
        """``again_after``: seconds after which a request without a result is made anew."""
        self._delivery = outgoing.idempotency_key
        self._requests = requests
        self._again_after = again_after
        self._instances = _instances_of(outgoing.body)
        self.contexts = [(COMMITMENT, UNCOMPRESSED)]

    def make(
        self, association: HubAssociation, target: Target, deadline: float, cancelled: threading.Event, again: bool
    ) -> Reply:
        context = self._context(association, target)
        found = self._requests.latest(self._delivery)
        if found is None or (found.result is None and time.time() - found.at > self._again_after):
            uid = f"2.25.{uuid.uuid4().int}"
            refused = self._ask(uid, association, context, deadline)
            if refused is not None:
                return refused
        else:
            uid = found.uid
        result = self._wait(uid, association, deadline, cancelled)
        if result is None:
            raise TransientError(
                t(
                    f"{target} has not said yet whether it keeps the objects; the next try looks again",
                    f"{target} 尚未告知是否承诺保存；下次重试时再查",
                ),
                code="dicom.commitment_open",
            )
        self._requests.use(uid)
        return _verdict(uid, result)

    def serve(self, association: HubAssociation, request: Any, context: PresentationContext) -> None:
        if isinstance(request, N_EVENT_REPORT):
            hear(self._requests, association, request, context)
        else:
            super().serve(association, request, context)

    def _ask(
        self, uid: str, association: HubAssociation, context: PresentationContext, deadline: float
    ) -> Reply | None:
        """Ask; None where the other side has taken the request."""
        request = N_ACTION()
        request.MessageID = association.next_number()
        request.RequestedSOPClassUID = COMMITMENT
        request.RequestedSOPInstanceUID = COMMITMENT_INSTANCE
        request.ActionTypeID = _REQUEST
        information = {
            "TransactionUID": uid,
            "ReferencedSOPSequence": [
                {"ReferencedSOPClassUID": sop_class, "ReferencedSOPInstanceUID": instance}
                for sop_class, instance in self._instances
            ],
        }
        explicit = str(context.transfer_syntax[0]) == EXPLICIT
        request.ActionInformation = BytesIO(bare(information, explicit=explicit))
        self._requests.ask(uid, self._delivery, self._instances)
        try:
            response = next(exchange(association, request, context, deadline))
        except BaseException:
            self._requests.forget(uid)
            raise
        reply = reply_of(int(response.Status), response)
        if reply.ok:
            return None
        self._requests.forget(uid)
        return reply

    def _wait(
        self, uid: str, association: HubAssociation, deadline: float, cancelled: threading.Event
    ) -> Result | None:
        connected = True
        while True:
            result = self._requests.result(uid)
            if result is not None:
                return result
            left = min(deadline - time.monotonic(), _LOOK_S)
            if left <= 0:
                return None
            if cancelled.is_set():
                raise Lost
            if not connected:
                cancelled.wait(left)
                continue
            try:
                number, message = association.dimse.msg_queue.get(timeout=left)
            except queue.Empty:
                continue
            if message is None:
                connected = False  # it tells us on another one
            elif message.is_valid_request:
                self.serve(association, message, association._accepted_cx[cast(int, number)])


def hear(requests: CommitmentRequests, association: HubAssociation, request: Any, context: PresentationContext) -> None:
    """Take the result of a request: written down first, answered then."""
    response = N_EVENT_REPORT()
    response.MessageIDBeingRespondedTo = request.MessageID
    response.AffectedSOPClassUID = COMMITMENT
    response.AffectedSOPInstanceUID = COMMITMENT_INSTANCE
    response.EventTypeID = request.EventTypeID
    response.Status = _heard(requests, request, str(context.transfer_syntax[0]))
    association.answer(response, context)


def _heard(requests: CommitmentRequests, request: Any, syntax: str) -> int:
    if request.EventTypeID not in _EVENTS or request.EventInformation is None:
        return _NO_EVENT
    try:
        told = read_bare(request.EventInformation.getvalue(), syntax)
        uid = told.get("TransactionUID")
        kept = [_named(item) for item in told.get("ReferencedSOPSequence", [])]
        failed = [(*_named(item), _reason(item)) for item in told.get("FailedSOPSequence", [])]
    except (CodecError, AttributeError):
        return _PROCESSING
    if not isinstance(uid, str) or len(kept) + len(failed) > 2 * _MOST_INSTANCES:
        return _PROCESSING
    return SUCCESS if requests.hear(uid, kept, failed) else _UNKNOWN


def _named(item: DataSet) -> Instance:
    return str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or "")


def _reason(item: DataSet) -> int:
    reason = item.get("FailureReason")
    return reason if isinstance(reason, int) else _PROCESSING


def _verdict(uid: str, result: Result) -> Reply:
    failed = [
        {"instance": instance, "sop_class": sop_class, "reason": f"{reason:04X}"}
        for sop_class, instance, reason in result.failed
    ]
    body = dumps({"transaction": uid, "committed": len(result.kept), "failed": failed})
    if not failed:
        return Reply(True, body, 0, "0000")
    named = ", ".join(f"{one['instance']} ({one['reason']})" for one in failed[:_NAMED])
    more = " …" if len(failed) > _NAMED else ""
    count = f"{len(failed)}/{len(failed) + len(result.kept)}"
    return Reply(
        False,
        body,
        0,
        failed[0]["reason"],
        t(f"{count} objects are not kept: {named}{more}", f"{count} 个对象未获承诺保存：{named}{more}"),
        transient=True,  # archives that are still filing say so, too; the contract says how often it is asked again
    )


def _instances_of(body: bytes) -> list[Instance]:
    """What a body names: the index message of a study, a list of objects (ReferencedSOPSequence), or an object itself."""
    tree = as_fields(read_json(body)) if body.lstrip()[:1] == b"{" else plain(DicomTree(body, read_file(body), ""))
    found = list(dict.fromkeys(_references(tree)))
    if not found and tree.get("SOPClassUID") != AVAILABILITY:
        found = [(str(tree.get("SOPClassUID") or ""), str(tree.get("SOPInstanceUID") or ""))]
    if not found or len(found) > _MOST_INSTANCES or not all(sop_class and uid for sop_class, uid in found):
        raise CodecError(
            t("the body does not name the objects that are to be kept", "内容未指明需承诺保存的对象"),
            code="dicom.commitment",
        )
    return found


def _references(tree: dict[str, Any]) -> Iterator[Instance]:
    for item in tree.get("ReferencedSOPSequence") or ():
        yield str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or "")
    for item in tree.get("ReferencedSeriesSequence") or ():
        yield from _references(item)
