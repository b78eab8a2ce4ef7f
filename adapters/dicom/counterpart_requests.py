"""Requests as a simulated DICOM peer gets them: what is asked, by whom, with which data set, and for which service."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from pynetdicom.dimse_primitives import C_FIND, C_STORE, N_ACTION, N_CREATE, N_SET
from pynetdicom.presentation import PresentationContext

from adapters.dicom.call_commit import COMMITMENT
from adapters.dicom.counterpart_rules import Asked
from adapters.dicom.listener import verification_context
from adapters.dicom.network import HubAssociation
from adapters.dicom.options import DicomConnect
from adapters.dicom.queries import PATIENT_FIND, STUDY_FIND, WORKLIST
from adapters.dicom.steps import STEP

__all__ = ["LARGEST", "Held", "asked_of", "classes_of", "stores", "titles_of"]

#: Bytes of one object; the party holds it in memory.
LARGEST = 64 << 20


class Held(BytesIO):
    """The data set of an object as it comes; nothing is kept of one that is too large."""

    too_large = False

    def write(self, piece: bytes | memoryview) -> int:  # type: ignore[override]
        if self.too_large or self.tell() + len(piece) > LARGEST:
            self.too_large = True
            return len(piece)
        return super().write(piece)


def titles_of(association: HubAssociation) -> tuple[str, str]:
    """(calling, called) AE title."""
    asked = association.requestor.primitive
    return ((asked.calling_ae_title or "").strip(), (asked.called_ae_title or "").strip()) if asked else ("", "")


def classes_of(options: DicomConnect) -> list[str]:
    """SOP classes of the service of an interface, but for storage, which has too many."""
    match options.service:
        case "mpps":
            return [STEP]
        case "commitment":
            return [COMMITMENT]
        case "worklist":
            return [WORKLIST]
        case "find":
            return [PATIENT_FIND if options.model == "patient" else STUDY_FIND]
    return []


def stores(options: DicomConnect, proposed: set[str]) -> bool:
    others = {STEP, COMMITMENT, WORKLIST, PATIENT_FIND, STUDY_FIND, str(verification_context().abstract_syntax)}
    return options.service == "store" and bool(proposed - others)


def asked_of(association: HubAssociation, request: Any, context: PresentationContext) -> Asked | None:
    """None for an operation nobody offers."""
    calling, called = titles_of(association)
    sop_class = str(getattr(request, "RequestedSOPClassUID", None) or request.AffectedSOPClassUID or "")
    instance = str(
        getattr(request, "RequestedSOPInstanceUID", None) or getattr(request, "AffectedSOPInstanceUID", None) or ""
    )
    syntax = str(context.transfer_syntax[0])

    def made(service: Any, operation: str, sent: BytesIO | None, action: int = 0) -> Asked:
        content = sent.getvalue() if sent is not None else b""
        too_large = isinstance(sent, Held) and sent.too_large
        return Asked(service, operation, sop_class, instance, syntax, content, calling, called, action, too_large)

    match request:
        case C_STORE():
            return made("store", "C-STORE", request.DataSet)
        case C_FIND():
            return made("worklist" if sop_class == WORKLIST else "find", "C-FIND", request.Identifier)
        case N_CREATE():
            return made("mpps", "N-CREATE", request.AttributeList)
        case N_SET():
            return made("mpps", "N-SET", request.ModificationList)
        case N_ACTION():
            return made("commitment", "N-ACTION", request.ActionInformation, int(request.ActionTypeID or 0))
    return None
