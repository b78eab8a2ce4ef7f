"""C-MOVE and C-GET as calls."""

from __future__ import annotations

import threading
from io import BytesIO
from typing import Any

from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.presentation import PresentationContext, StoragePresentationContexts

from adapters.dicom.arrivals import Arrivals, Expected, arrival
from adapters.dicom.call import EXPLICIT, MEDIUM, UNCOMPRESSED, Call
from adapters.dicom.client import Lost, Target, exchange
from adapters.dicom.model import bare, dumps
from adapters.dicom.network import HubAssociation
from adapters.dicom.objects import Incoming, ObjectFolder
from adapters.dicom.status import PENDING, reply_of
from adapters.dicom.storage import response_to, status_of
from hub.api import HubError, Reply
from hub.i18n import t

__all__ = ["Get", "Move"]

#: For C-GET, which must name what it is ready to take: the usual storage classes, as an association has 128 contexts at most.
_USUAL = tuple(str(context.abstract_syntax) for context in StoragePresentationContexts[:120])
_JPEG_FAMILY = (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)
_COMPRESSED = (*(f"1.2.840.10008.1.2.4.{number}" for number in _JPEG_FAMILY), "1.2.840.10008.1.2.5")


class Move(Call):
    """C-MOVE to another AE, and the reply counts the objects; or to us, and it refers to them as well."""

    def __init__(
        self, sop_class: str, fields: dict[str, Any], destination: str, arrivals: Arrivals | None = None
    ) -> None:
        self._arrivals = arrivals
        self._expected: Expected | None = None
        self._fields = {"QueryRetrieveLevel": "STUDY", **fields}
        self._destination = destination
        self.contexts = [(sop_class, UNCOMPRESSED)]
        bare(self._fields, explicit=True)

    def make(
        self, association: HubAssociation, target: Target, deadline: float, cancelled: threading.Event, again: bool
    ) -> Reply:
        context = self._context(association, target)
        request = self._request()
        request.MessageID = self._message_number(association)
        request.AffectedSOPClassUID = self.contexts[0][0]
        request.Priority = MEDIUM
        explicit = str(context.transfer_syntax[0]) == EXPLICIT
        request.Identifier = BytesIO(bare(self._fields, explicit=explicit))
        for response in exchange(association, request, context, deadline):
            if cancelled.is_set():
                raise Lost
            status = int(response.Status)
            if status not in PENDING:
                return self._verdict(status, response)
        raise Lost

    def close(self) -> None:
        if self._arrivals is not None and self._expected is not None:
            self._arrivals.end(self._expected)
            self._expected = None

    def _message_number(self, association: HubAssociation) -> int:
        if self._arrivals is None:
            return association.next_number()
        self.close()  # of a try on an association that had ended
        study = self._fields.get("StudyInstanceUID", self._fields.get("(0020,000D)"))
        studies = study if isinstance(study, list) else [study] if study else []
        self._expected = self._arrivals.expect(map(str, studies))
        return self._expected.number

    def _request(self) -> Any:
        request = C_MOVE()
        request.MoveDestination = self._destination
        return request

    def _verdict(self, status: int, response: Any) -> Reply:
        counts = {
            "completed": int(response.NumberOfCompletedSuboperations or 0),
            "warning": int(response.NumberOfWarningSuboperations or 0),
            "failed": int(response.NumberOfFailedSuboperations or 0),
        }
        reply = reply_of(status, response, body=dumps({**counts, **self._more()}))
        if reply.ok and counts["failed"]:
            # B000: some of it failed; those may get through another time, the others are known by their UID.
            reply.ok, reply.transient = False, True
            reply.error = t(f"{counts['failed']} objects failed", f"{counts['failed']} 个对象失败")
        missing = counts["completed"] - len(self._expected.objects) if self._expected is not None else 0
        if reply.ok and missing > 0:
            reply.ok, reply.transient, reply.code = False, True, "dicom.missing"
            reply.error = t(f"{missing} objects were sent and did not come", f"{missing} 个对象已发出但未到达")
        return reply

    def _more(self) -> dict[str, Any]:
        return {"objects": self._expected.objects} if self._expected is not None else {}


class Get(Move):
    """C-GET: the objects come on the same association and go to the disk; the reply refers to them."""

    def __init__(self, sop_class: str, fields: dict[str, Any], folder: ObjectFolder) -> None:
        super().__init__(sop_class, fields, "")
        self._folder = folder
        self._objects: list[dict[str, Any]] = []
        self._arriving: Incoming | None = None
        self.contexts = [(sop_class, UNCOMPRESSED), *((uid, (*UNCOMPRESSED, *_COMPRESSED)) for uid in _USUAL)]
        self.as_provider = _USUAL

    def incoming(self, association: HubAssociation, instance: str, sop_class: str, syntax: str) -> BytesIO:
        self.close()
        self._arriving = Incoming(self._folder, instance, sop_class, syntax)
        return self._arriving

    def serve(self, association: HubAssociation, request: Any, context: PresentationContext) -> None:
        incoming = request.DataSet
        status = 0
        try:
            told, _ = arrival(incoming)
            if told is not None:
                self._objects.append(told)
        except (HubError, OSError) as error:
            status = status_of(error)
        finally:
            self.close()
        association.answer(response_to(request, status), context)

    def close(self) -> None:
        if self._arriving is not None:
            self._arriving.close()
            self._arriving = None

    def _request(self) -> Any:
        return C_GET()

    def _more(self) -> dict[str, Any]:
        return {"objects": self._objects}
