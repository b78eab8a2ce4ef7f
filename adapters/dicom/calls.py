"""What a DICOM sender can do on an association: one class per service. A call is made in a thread and may be made again."""

from __future__ import annotations

import re
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE, C_STORE, N_CREATE, N_SET
from pynetdicom.presentation import PresentationContext, StoragePresentationContexts

from adapters.dicom.client import Lost, NoService, Target, context_for, exchange, no_context
from adapters.dicom.model import as_fields, bare, dumps, json_model, plain, read_bare, read_json
from adapters.dicom.network import HubAssociation
from adapters.dicom.objects import Incoming, ObjectFolder, converted, pieces, reference_of
from adapters.dicom.options import DicomConnect
from adapters.dicom.queries import PATIENT_FIND, STUDY_FIND, WORKLIST
from adapters.dicom.status import PENDING, reply_of
from adapters.dicom.steps import STEP
from adapters.dicom.storage import message_of, response_to, status_of
from hub.api import CodecError, HubError, Outgoing, PermanentError, Reply
from hub.codecs.dicom_read import File, read_file
from hub.codecs.dicom_set import DataSet, DicomTree
from hub.codecs.dicom_write import write_data_set, write_new
from hub.i18n import t

__all__ = ["Call", "Context", "make_call"]

#: (SOP class, transfer syntaxes)
Context = tuple[str, tuple[str, ...]]

_EXPLICIT, _IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_UNCOMPRESSED = (_EXPLICIT, _IMPLICIT)
_FINDS = {"study": STUDY_FIND, "patient": PATIENT_FIND}
_MOVES = {"study": "1.2.840.10008.5.1.4.1.2.2.2", "patient": "1.2.840.10008.5.1.4.1.2.1.2"}
_GETS = {"study": "1.2.840.10008.5.1.4.1.2.2.3", "patient": "1.2.840.10008.5.1.4.1.2.1.3"}
#: For C-GET, which must name what it is ready to take: the usual storage classes, as an association has 128 contexts at most.
_USUAL = tuple(str(context.abstract_syntax) for context in StoragePresentationContexts[:120])
_JPEG_FAMILY = (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)
_COMPRESSED = (*(f"1.2.840.10008.1.2.4.{number}" for number in _JPEG_FAMILY), "1.2.840.10008.1.2.5")
_UID = re.compile(r"[0-9.]{1,64}")
_MEDIUM = 0
_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_NO_MORE_UPDATES = 0xA710
#: Bytes of answers to one query.
_MOST_ANSWERS = 64 << 20


class Call(NoService):
    """One call. ``contexts``: (SOP class, transfer syntaxes) to propose; those it can use itself first, the best at the top."""

    contexts: Sequence[Context] = ()
    as_provider: Sequence[str] = ()

    @abstractmethod
    def make(
        self, association: HubAssociation, target: Target, deadline: float, cancelled: threading.Event, again: bool
    ) -> Reply:
        """Make it, by ``deadline`` (``time.monotonic``). ``again``: it was tried before, with unknown outcome.

        Raises :class:`Lost` when the association ends, and :class:`~hub.api.SendError`.
        """

    def close(self) -> None:
        """Let go of what it holds."""

    def _context(self, association: HubAssociation, target: Target) -> PresentationContext:
        sop_class = self.contexts[0][0]
        for one, syntaxes in self.contexts:
            found = context_for(association, one, syntaxes) if one == sop_class else None
            if found is not None:
                return found
        raise no_context(target, f"{sop_class}, {self.contexts[0][1][0]}")


def make_call(options: DicomConnect, outgoing: Outgoing, data: Path, folder: ObjectFolder) -> Call:
    """The call for a body; raises :class:`~hub.api.HubError` when it makes no sense."""
    service = options.service
    if service == "store":
        return _Store(outgoing.body, data, outgoing.attempt > 1)
    if service == "mpps":
        return _Step(outgoing)
    fields = _keys(outgoing.body)
    if service == "worklist":
        return _Find(WORKLIST, fields, options.max_answers)
    if service == "find":
        return _Find(_FINDS[options.model], fields, options.max_answers)
    if service == "move":
        return _Retrieve(_MOVES[options.model], fields, options.destination or "")
    return _Get(_GETS[options.model], fields, folder)


def _keys(body: bytes) -> dict[str, Any]:
    """A query: JSON in either form, the message of a hub that was asked (``keys``), or a data set."""
    if body.lstrip()[:1] in (b"{", b"["):
        tree = read_json(body)
        if isinstance(tree, dict) and isinstance(tree.get("keys"), dict):
            tree = tree["keys"]
        return as_fields(tree)
    return plain(DicomTree(body, read_file(body), ""))


def _syntax_of(file: File) -> str:
    if file.syntax.uid:
        return file.syntax.uid
    return _IMPLICIT if not file.syntax.explicit else _BIG_ENDIAN if file.syntax.big else _EXPLICIT


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
        self._convertible = self._syntax in _UNCOMPRESSED or (reference is None and self._syntax == _BIG_ENDIAN)
        syntaxes = [self._syntax]
        if self._convertible:
            syntaxes += [one for one in _UNCOMPRESSED if one != self._syntax]
        self.contexts = [(self._sop_class, (one,)) for one in syntaxes]

    def make(
        self, association: HubAssociation, target: Target, deadline: float, cancelled: threading.Event, again: bool
    ) -> Reply:
        context = self._context(association, target)
        agreed = str(context.transfer_syntax[0])
        file, content = pieces(self._body, self._data)
        if agreed != self._syntax:
            content = converted(self._body, file, self._data, explicit=agreed == _EXPLICIT)
        request = C_STORE()
        request.MessageID = association.next_number()
        request.AffectedSOPClassUID = self._sop_class
        request.AffectedSOPInstanceUID = self._instance
        request.Priority = _MEDIUM
        if not association.send_object(request, context, _until(content, cancelled), deadline):
            raise Lost(late=time.monotonic() >= deadline)
        response = next(exchange(association, request, context, deadline, sent=True))
        return reply_of(int(response.Status), response, repeated=again or self._repeated)


def _until(content: Iterator[bytes], cancelled: threading.Event) -> Iterator[bytes]:
    for piece in content:
        if cancelled.is_set():
            raise Lost
        yield piece


class _Find(Call):
    """C-FIND; the reply is a list of data sets in the DICOM JSON model."""

    def __init__(self, sop_class: str, fields: dict[str, Any], most: int) -> None:
        self._fields = fields if sop_class == WORKLIST else {"QueryRetrieveLevel": "STUDY", **fields}
        self._most = most
        self.contexts = [(sop_class, _UNCOMPRESSED)]
        bare(self._fields, explicit=True)  # what can't be written is found before anybody is called

    def make(
        self, association: HubAssociation, target: Target, deadline: float, cancelled: threading.Event, again: bool
    ) -> Reply:
        context = self._context(association, target)
        syntax = str(context.transfer_syntax[0])
        request = C_FIND()
        request.MessageID = association.next_number()
        request.AffectedSOPClassUID = self.contexts[0][0]
        request.Priority = _MEDIUM
        request.Identifier = BytesIO(bare(self._fields, explicit=syntax == _EXPLICIT))
        found: list[dict[str, Any]] = []
        size = 0
        for response in exchange(association, request, context, deadline):
            if int(response.Status) not in PENDING:
                return reply_of(int(response.Status), response, body=dumps(found))
            if cancelled.is_set():
                raise Lost
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
        raise Lost


class _Retrieve(Call):
    """C-MOVE to another AE; the reply counts the objects."""

    def __init__(self, sop_class: str, fields: dict[str, Any], destination: str) -> None:
        self._fields = {"QueryRetrieveLevel": "STUDY", **fields}
        self._destination = destination
        self.contexts = [(sop_class, _UNCOMPRESSED)]
        bare(self._fields, explicit=True)

    def make(
        self, association: HubAssociation, target: Target, deadline: float, cancelled: threading.Event, again: bool
    ) -> Reply:
        context = self._context(association, target)
        request = self._request()
        request.MessageID = association.next_number()
        request.AffectedSOPClassUID = self.contexts[0][0]
        request.Priority = _MEDIUM
        explicit = str(context.transfer_syntax[0]) == _EXPLICIT
        request.Identifier = BytesIO(bare(self._fields, explicit=explicit))
        for response in exchange(association, request, context, deadline):
            if cancelled.is_set():
                raise Lost
            status = int(response.Status)
            if status not in PENDING:
                return self._verdict(status, response)
        raise Lost

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
        return reply

    def _more(self) -> dict[str, Any]:
        return {}


class _Get(_Retrieve):
    """C-GET: the objects come on the same association and go to the disk; the reply refers to them."""

    def __init__(self, sop_class: str, fields: dict[str, Any], folder: ObjectFolder) -> None:
        super().__init__(sop_class, fields, "")
        self._folder = folder
        self._objects: list[dict[str, Any]] = []
        self._arriving: Incoming | None = None
        self.contexts = [(sop_class, _UNCOMPRESSED), *((uid, (*_UNCOMPRESSED, *_COMPRESSED)) for uid in _USUAL)]
        self.as_provider = _USUAL

    def incoming(self, association: HubAssociation, instance: str, sop_class: str, syntax: str) -> BytesIO:
        self.close()
        self._arriving = Incoming(self._folder, instance, sop_class, syntax)
        return self._arriving

    def serve(self, association: HubAssociation, request: Any, context: PresentationContext) -> None:
        incoming = request.DataSet
        status = 0
        try:
            raw, _ = message_of(incoming)
            reference = reference_of(read_file(raw))
            if reference is not None:
                self._objects.append(
                    {
                        "instance": incoming.instance,
                        "sop_class": incoming.sop_class,
                        "path": reference.path,
                        "size": reference.size,
                        "sha256": reference.sha256,
                    }
                )
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
        self.contexts = [(STEP, _UNCOMPRESSED)]

    def make(
        self, association: HubAssociation, target: Target, deadline: float, cancelled: threading.Event, again: bool
    ) -> Reply:
        context = self._context(association, target)
        content = BytesIO(write_data_set(self._content, explicit=str(context.transfer_syntax[0]) == _EXPLICIT))
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
