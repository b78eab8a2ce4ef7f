"""C-FIND as a call."""

from __future__ import annotations

import threading
from io import BytesIO
from typing import Any, cast

from pynetdicom.dimse_primitives import C_CANCEL, C_FIND

from adapters.dicom.call import EXPLICIT, MEDIUM, UNCOMPRESSED, Call
from adapters.dicom.client import Lost, Target, exchange
from adapters.dicom.model import bare, dumps, json_model, read_bare
from adapters.dicom.network import HubAssociation
from adapters.dicom.queries import WORKLIST
from adapters.dicom.status import CANCELLED, PENDING, reply_of
from hub.api import CodecError, PermanentError, Reply
from hub.i18n import t

__all__ = ["Find"]

#: Bytes of answers to one query.
_MOST_ANSWERS = 64 << 20


class Find(Call):
    """C-FIND; the reply is a list of data sets in the DICOM JSON model, ``limit`` of them where the query says so."""

    def __init__(self, sop_class: str, fields: dict[str, Any], most: int) -> None:
        limit = fields.pop("limit", None)
        self._limit = limit if isinstance(limit, int) and limit > 0 else 0
        self._fields = fields if sop_class == WORKLIST else {"QueryRetrieveLevel": "STUDY", **fields}
        self._most = most
        self.contexts = [(sop_class, UNCOMPRESSED)]
        bare(self._fields, explicit=True)  # what can't be written is found before anybody is called

    def make(
        self, association: HubAssociation, target: Target, deadline: float, cancelled: threading.Event, again: bool
    ) -> Reply:
        context = self._context(association, target)
        syntax = str(context.transfer_syntax[0])
        request = C_FIND()
        request.MessageID = association.next_number()
        request.AffectedSOPClassUID = self.contexts[0][0]
        request.Priority = MEDIUM
        request.Identifier = BytesIO(bare(self._fields, explicit=syntax == EXPLICIT))
        found: list[dict[str, Any]] = []
        size = 0
        enough = False
        for response in exchange(association, request, context, deadline):
            status = int(response.Status)
            if status not in PENDING:
                done = 0x0000 if enough and status == CANCELLED else status
                return reply_of(done, response, body=dumps(found))
            if cancelled.is_set():
                raise Lost
            if enough:
                continue  # was under way when we called it off
            raw = response.Identifier.getvalue() if response.Identifier is not None else b""
            size += len(raw)
            if len(found) >= self._most or size > _MOST_ANSWERS:
                raise PermanentError(
                    t(
                        f"{target} has more than {self._most} answers (or {_MOST_ANSWERS >> 20} MB): ask for less",
                        f"{target} 的结果超过 {self._most} 条（或 {_MOST_ANSWERS >> 20} MB），请缩小查询范围",
                    ),
                    code="dicom.answers",
                )
            try:
                found.append(json_model(read_bare(raw, syntax)))
            except CodecError as error:
                raise PermanentError(error.text, code=error.code) from error
            if len(found) == self._limit:
                enough = True
                cancel = C_CANCEL()
                cancel.MessageIDBeingRespondedTo = request.MessageID
                association.dimse.send_msg(cancel, cast(int, context.context_id))
        raise Lost
