"""Modality performed procedure steps received (PS3.4 annex F): N-CREATE and N-SET become messages."""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from typing import TYPE_CHECKING, Any

from pynetdicom.dimse_primitives import N_CREATE
from pynetdicom.presentation import PresentationContext

from adapters.dicom.model import read_bare
from adapters.dicom.network import HubAssociation
from adapters.dicom.references import file_head
from adapters.dicom.storage import comment
from hub.api import CodecError, HubError, StoreBusy
from hub.masking import mask_text

if TYPE_CHECKING:
    from adapters.dicom.receiver import DicomReceiver

__all__ = ["STEP", "Steps"]

STEP = "1.2.840.10008.3.1.2.3.3"
_FINAL = ("COMPLETED", "DISCONTINUED")
_INVALID_VALUE, _PROCESSING, _DUPLICATE, _UNKNOWN, _BUSY = 0x0106, 0x0110, 0x0111, 0x0112, 0x0213
#: "Performed Procedure Step Object may no longer be updated" (PS3.4, table F.7.2-2).
_NO_MORE_UPDATES = 0xA710


class Steps:
    """The rules of F.7.2: created once, while in progress; changed until it is completed or discontinued."""

    def __init__(self, receiver: DicomReceiver) -> None:
        self._receiver = receiver

    def serve(self, association: HubAssociation, request: Any, context: PresentationContext) -> None:
        created = isinstance(request, N_CREATE)
        uid = str((request.AffectedSOPInstanceUID if created else request.RequestedSOPInstanceUID) or "")
        if created and not uid:
            uid = f"2.25.{uuid.uuid4().int}"
        response = type(request)()
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPClassUID = STEP
        response.AffectedSOPInstanceUID = uid
        try:
            status, said = self._take(association, request, context, uid, created, response)
        except CodecError as error:
            status, said = _PROCESSING, error.text
            self._receiver.refuse(association, b"", error)
        except (StoreBusy, OSError, sqlite3.Error):
            status, said = _BUSY, "not now"
        response.Status = status
        if said:
            response.ErrorComment = comment(mask_text(said))
        association.answer(response, context)

    def _take(
        self,
        association: HubAssociation,
        request: Any,
        context: PresentationContext,
        uid: str,
        created: bool,
        response: Any,
    ) -> tuple[int, str]:
        state = self._receiver.state
        sent = request.AttributeList if created else request.ModificationList
        content = sent.getvalue() if sent is not None else b""
        syntax = str(context.transfer_syntax[0])
        status = read_bare(content, syntax).get("PerformedProcedureStepStatus")
        known = state.step(uid)
        if created and status != "IN PROGRESS":
            return _INVALID_VALUE, "a step is created IN PROGRESS"
        if not created and known is None:
            return _UNKNOWN, ""
        if not created and known in _FINAL:
            response.ErrorID = _NO_MORE_UPDATES
            return _PROCESSING, f"the step is {known}"
        kind = "create" if created else f"set.{hashlib.sha256(content).hexdigest()[:16]}"
        raw = file_head(STEP, uid, syntax) + content
        if created and known is not None:
            return _DUPLICATE, ""
        receipt = self._receiver.submit(association, raw, "N-CREATE" if created else "N-SET", f"{uid}.{kind}")
        if not receipt.accepted:
            error = receipt.error or HubError("refused")
            if isinstance(error, StoreBusy):
                raise error
            return _PROCESSING, error.text
        if isinstance(status, str):
            state.set_step(uid, status)
        return 0x0000, ""
