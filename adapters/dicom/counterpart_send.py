"""A simulated modality: sends an object, a procedure step or a query to an ``in`` interface of a hub; blocking, in a thread."""

from __future__ import annotations

import re
import threading
import time
import uuid
from io import BytesIO
from typing import Any, cast
from urllib.parse import urlsplit

import orjson
from pynetdicom.dimse_primitives import C_FIND, C_STORE, N_CREATE

from adapters.dicom.call import EXPLICIT, MEDIUM, Call
from adapters.dicom.calls import make_call
from adapters.dicom.client import Lost, Target, exchange, lost, open_association, release
from adapters.dicom.network import HubAssociation, context_of, local_entity, shut
from adapters.dicom.objects import ObjectFolder
from adapters.dicom.options import DicomConnect, DicomListen
from adapters.dicom.queries import PATIENT_FIND, STUDY_FIND, WORKLIST
from adapters.dicom.status import PENDING, reply_of
from adapters.dicom.steps import STEP
from adapters.dicom.storage import AVAILABILITY
from adapters.tls import ClientTls, client_context
from hub.api import Bound, CodecError, HubError, Outgoing, Reply
from hub.codecs.dicom_read import read_file
from hub.codecs.dicom_set import DicomTree
from hub.i18n import t
from hub.simulator.behaviour import Behaviour

__all__ = ["Sending", "chosen"]

_TIMEOUT_S = 30.0
_MAX_PDU = 128 << 10
_TITLE = "SIMULATOR"
_CT = "1.2.840.10008.5.1.4.1.1.2"
_AE = re.compile(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?")


def chosen(bound: Bound, to: str, body: bytes, behaviour: Behaviour | None) -> tuple[DicomConnect, bytes, bool]:
    """(how to call, what to send, whether that is no data set). Raises :class:`HubError` for what a modality can't send."""
    listen = cast(DicomListen, bound.options)
    parts = urlsplit(to or f"dicom://{listen.host}:{listen.port}")
    if not parts.hostname or not parts.port:
        raise HubError(
            t("the address has no host or port", "地址缺少主机或端口"),
            code="simulate.address",
            remedy=t("write e.g. dicom://127.0.0.1:11112", "例如 dicom://127.0.0.1:11112"),
        )
    kind = behaviour.kind if behaviour is not None else ""
    service, model, asking = _service_of(listen, body)
    raw = kind in ("garbage", "truncated") or not service
    if kind == "garbage":
        body = bytes(range(32, 127)) * 4
    elif kind == "truncated":
        body = body[: len(body) // 2]
    calling = next((one for one in (asking, *listen.calling) if not listen.calling or one in listen.calling), _TITLE)
    connect = DicomConnect.model_validate(
        {
            "host": parts.hostname,
            "port": parts.port,
            "called": listen.ae_title,
            "calling": calling if _AE.fullmatch(calling) else _TITLE,
            "service": service or _first(listen),
            "model": model,
            "tls": {"verify": False} if listen.tls is not None else None,
        }
    )
    return connect, body, raw


def _service_of(listen: DicomListen, body: bytes) -> tuple[str, str, str]:
    """(service, model, AE title that asks) of a message; no service for bytes that are none."""
    if body.lstrip()[:1] == b"{":
        try:
            asked = orjson.loads(body)
        except ValueError:
            return "", "study", ""
        kind = str(asked.get("service") or "worklist")
        model = "patient" if kind == "patient" else "study"
        return "worklist" if kind == "worklist" else "find", model, str(asked.get("calling") or "")
    try:
        tree = DicomTree(body, read_file(body), "")
        sop_class = tree.get("SOPClassUID") or tree.get("MediaStorageSOPClassUID")
    except CodecError:
        return "", "study", ""
    if sop_class == AVAILABILITY:
        raise HubError(
            t("the hub makes this message itself, of the objects of a study", "此消息由枢纽根据检查的对象自行生成"),
            code="simulate.example",
            remedy=t("send an object", "请发送对象"),
        )
    if {"worklist", "find"} & set(listen.services):
        return _first(listen), "study", ""
    return "mpps" if sop_class == STEP else "store", "study", ""


def _first(listen: DicomListen) -> str:
    return next((one for one in listen.services if one in ("store", "mpps", "worklist", "find")), "store")


class Sending:
    """One call."""

    def __init__(self, bound: Bound, connect: DicomConnect, body: bytes, raw: bool, *, number: int) -> None:
        self._connect = connect
        self._cancelled = threading.Event()
        self._association: HubAssociation | None = None
        if raw:
            self._call: Call = _Raw(connect, body)
        else:
            outgoing = Outgoing(body, number, f"sim-{number}", "", "", 1, _TIMEOUT_S)
            self._call = make_call(
                connect, outgoing, bound.data, ObjectFolder(bound.data, bound.place, 0, 0), None, None
            )

    def make(self) -> Reply:
        """Raises :class:`~hub.api.SendError` when there is no answer."""
        connect, deadline = self._connect, time.monotonic() + _TIMEOUT_S
        tls = client_context(ClientTls(verify=False)) if connect.tls is not None else None
        target = Target(connect.host, connect.port, connect.called, tls)
        entity = local_entity(
            connect.calling, max_pdu=_MAX_PDU, acse=_TIMEOUT_S, dimse=_TIMEOUT_S, network=2 * _TIMEOUT_S
        )
        contexts = [context_of(sop_class, syntaxes) for sop_class, syntaxes in self._call.contexts]
        association = open_association(entity, target, contexts, self._call, within=_TIMEOUT_S)
        self._association = association
        try:
            if self._cancelled.is_set():
                raise Lost
            return self._call.make(association, target, deadline, self._cancelled, False)
        except Lost as error:
            raise lost(target, error, _TIMEOUT_S) from None
        finally:
            release(association)
            self._call.close()

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._cancelled.set()
        if self._association is not None:
            shut(self._association)


class _Raw(Call):
    """A request whose data set is whatever the bytes are."""

    def __init__(self, connect: DicomConnect, content: bytes) -> None:
        self._content = content
        self._service = connect.service
        sop_class = {
            "store": _CT,
            "mpps": STEP,
            "worklist": WORKLIST,
            "find": PATIENT_FIND if connect.model == "patient" else STUDY_FIND,
        }[connect.service]
        self.contexts = [(sop_class, (EXPLICIT,))]

    def make(
        self, association: HubAssociation, target: Target, deadline: float, cancelled: threading.Event, again: bool
    ) -> Reply:
        context = self._context(association, target)
        request: Any = {"store": C_STORE, "mpps": N_CREATE}.get(self._service, C_FIND)()
        request.MessageID = association.next_number()
        request.AffectedSOPClassUID = self.contexts[0][0]
        sent = self._service == "store"
        if isinstance(request, C_FIND):
            request.Priority, request.Identifier = MEDIUM, BytesIO(self._content)
        else:
            request.AffectedSOPInstanceUID = f"2.25.{uuid.uuid4().int}"
        if isinstance(request, N_CREATE):
            request.AttributeList = BytesIO(self._content)
        elif sent:
            request.Priority = MEDIUM
            if not association.send_object(request, context, [self._content], deadline):
                raise Lost
        for response in exchange(association, request, context, deadline, sent=sent):
            if int(response.Status) not in PENDING:
                return reply_of(int(response.Status), response)
        raise Lost
