"""The calls a DICOM sender makes, by its service; here those that store: C-STORE, and procedure steps."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from pynetdicom.dimse_primitives import C_STORE, N_CREATE, N_SET

from adapters.dicom.arrivals import Arrivals
from adapters.dicom.call import EXPLICIT, IMPLICIT, MEDIUM, UNCOMPRESSED, Call
from adapters.dicom.call_commit import Commit
from adapters.dicom.call_find import Find
from adapters.dicom.call_retrieve import Get, Move
from adapters.dicom.client import Lost, Target, exchange
from adapters.dicom.commitment_requests import CommitmentRequests
from adapters.dicom.content import converted, pieces
from adapters.dicom.model import as_fields, plain, read_json
from adapters.dicom.network import HubAssociation
from adapters.dicom.objects import ObjectFolder
from adapters.dicom.options import DicomConnect
from adapters.dicom.queries import PATIENT_FIND, STUDY_FIND, WORKLIST
from adapters.dicom.references import reference_of
from adapters.dicom.status import reply_of
from adapters.dicom.steps import STEP
from hub.api import CodecError, Outgoing, Reply
from hub.codecs.dicom_read import File, read_file
from hub.codecs.dicom_set import DataSet, DicomTree
from hub.codecs.dicom_write import write_data_set, write_new
from hub.i18n import t

__all__ = ["make_call"]

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_FINDS = {"study": STUDY_FIND, "patient": PATIENT_FIND}
_MOVES = {"study": "1.2.840.10008.5.1.4.1.2.2.2", "patient": "1.2.840.10008.5.1.4.1.2.1.2"}
_GETS = {"study": "1.2.840.10008.5.1.4.1.2.2.3", "patient": "1.2.840.10008.5.1.4.1.2.1.3"}
_UID = re.compile(r"[0-9.]{1,64}")
_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_NO_MORE_UPDATES = 0xA710


def make_call(
    options: DicomConnect,
    outgoing: Outgoing,
    data: Path,
    folder: ObjectFolder,
    requests: CommitmentRequests | None,
    arrivals: Arrivals | None,
) -> Call:
    """The call for a body; ``requests``: where it is commitment; ``arrivals``: where objects of C-MOVE come to us. raises :class:`~hub.api.HubError` when it makes no sense."""
    service = options.service
    if service == "store":
        return _Store(outgoing.body, data, outgoing.attempt > 1)
    if requests is not None:
        return Commit(outgoing, requests, options.ask_again)
    if service == "mpps":
        return _Step(outgoing)
    fields = _keys(outgoing.body)
    if service == "worklist":
        return Find(WORKLIST, fields, options.max_answers)
    if service == "find":
        return Find(_FINDS[options.model], fields, options.max_answers)
    if service == "move":
        return Move(_MOVES[options.model], fields, options.destination or "", arrivals)
    return Get(_GETS[options.model], fields, folder)


def _keys(body: bytes) -> dict[str, Any]:
    """A query: JSON in either form, the message of a hub that was asked (``keys``), or a data set."""
    if body.lstrip()[:1] in (b"{", b"["):
        tree = read_json(body)
        if isinstance(tree, dict) and isinstance(tree.get("keys"), dict):
            limit = tree["keys"].pop("limit", None)
            return {**as_fields(tree["keys"]), **({} if limit is None else {"limit": limit})}
        return as_fields(tree)
    return plain(DicomTree(body, read_file(body), ""))


def _syntax_of(file: File) -> str:
    if file.syntax.uid:
        return file.syntax.uid
    return IMPLICIT if not file.syntax.explicit else _BIG_ENDIAN if file.syntax.big else EXPLICIT


class _Store(Call):
    """C-STORE of an object: the body, or what it refers to."""

    def __init__(self, body: bytes, data: Path, repeated: bool) -> None:
        self._body, self._data, self._repeated = body, data, repeated
        file = read_file(body)
        tree = DicomTree(body, file, "")
        self._sop_class = str(tree.get("SOPClassUID") or tree.get("MediaStorageSOPClassUID") or "")
        self._instance = str(tree.get("SOPInstanceUID") or tree.get("MediaStorageSOPInstanceUID") or "")
        for uid in (self._sop_class, self._instance):
            if not _UID.fullmatch(uid):
                raise CodecError(
                    t("the object has no valid SOP class or instance UID", "对象没有有效的 SOP 类或实例 UID"),
                    code="dicom.uid",
                )
        reference = reference_of(file)
        if reference is not None:
            reference.open_in(data)
        self._syntax = _syntax_of(file)
        self._convertible = self._syntax in UNCOMPRESSED or (reference is None and self._syntax == _BIG_ENDIAN)
        syntaxes = [self._syntax]
        if self._convertible:
            syntaxes += [one for one in UNCOMPRESSED if one != self._syntax]
        self.contexts = [(self._sop_class, (one,)) for one in syntaxes]

    def make(
        self, association: HubAssociation, target: Target, deadline: float, cancelled: threading.Event, again: bool
    ) -> Reply:
        context = self._context(association, target)
        agreed = str(context.transfer_syntax[0])
        file, content = pieces(self._body, self._data)
        if agreed != self._syntax:
            content = converted(self._body, file, self._data, explicit=agreed == EXPLICIT)
        request = C_STORE()
        request.MessageID = association.next_number()
        request.AffectedSOPClassUID = self._sop_class
        request.AffectedSOPInstanceUID = self._instance
        request.Priority = MEDIUM
        if not association.send_object(request, context, _until(content, cancelled), deadline):
            raise Lost(late=time.monotonic() >= deadline)
        response = next(exchange(association, request, context, deadline, sent=True))
        return reply_of(int(response.Status), response, repeated=again or self._repeated)


def _until(content: Iterator[bytes], cancelled: threading.Event) -> Iterator[bytes]:
    for piece in content:
        if cancelled.is_set():
            raise Lost
        yield piece


class _Step(Call):
    """A procedure step: created while IN PROGRESS, changed afterwards."""

    def __init__(self, outgoing: Outgoing) -> None:
        body = outgoing.body
        if body.lstrip()[:1] == b"{":
            raw = write_new(as_fields(read_json(body)))
        else:
            raw = body
        tree = DicomTree(raw, read_file(raw), "")
        self._instance = str(tree.get("SOPInstanceUID") or tree.get("MediaStorageSOPInstanceUID") or "")
        if not _UID.fullmatch(self._instance):
            raise CodecError(
                t("a procedure step needs its SOPInstanceUID", "执行步骤需要 SOPInstanceUID"), code="dicom.uid"
            )
        places = {
            tag: place
            for tag, place in tree.places.items()
            if tag not in (_SOP_CLASS, _SOP_INSTANCE) and tag >> 16 != 2
        }
        self._content = DataSet(tree.data, places, tree.explicit, tree.big, "", tree.terms)
        self._created = tree.get("PerformedProcedureStepStatus") == "IN PROGRESS"
        self._repeated = outgoing.attempt > 1
        self.contexts = [(STEP, UNCOMPRESSED)]

    def make(
        self, association: HubAssociation, target: Target, deadline: float, cancelled: threading.Event, again: bool
    ) -> Reply:
        context = self._context(association, target)
        content = BytesIO(write_data_set(self._content, explicit=str(context.transfer_syntax[0]) == EXPLICIT))
        request: Any
        if self._created:
            request = N_CREATE()
            request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = STEP, self._instance
            request.AttributeList = content
        else:
            request = N_SET()
            request.RequestedSOPClassUID, request.RequestedSOPInstanceUID = STEP, self._instance
            request.ModificationList = content
        request.MessageID = association.next_number()
        response = next(exchange(association, request, context, deadline))
        repeated = again or self._repeated
        reply = reply_of(int(response.Status), response, repeated=repeated)
        if repeated and not self._created and getattr(response, "ErrorID", None) == _NO_MORE_UPDATES:
            reply.ok = True  # our first try, whose answer was lost, has ended the step
        return reply
