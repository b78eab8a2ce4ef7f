"""C-FIND received, of worklists and of studies: the query goes to a target, its reply is the list of answers.

The message is JSON: ``{"service": "worklist", "calling": "CT01", "keys": {"PatientID": "4711", …}}``; a key that is asked for without a value is
null. The reply is a list of data sets, or an object with the list in ``answers``; each in the DICOM JSON model or as keywords with values.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.presentation import PresentationContext

from adapters.dicom.model import as_fields, bare, dumps, plain, read_bare, read_json
from adapters.dicom.network import HubAssociation
from adapters.dicom.status import CANCELLED
from adapters.dicom.storage import comment
from hub.api import CodecError, ExchangeError, HubError, StoreBusy, TransientError
from hub.codecs.dicom_dictionary import keyword_of, parse_name
from hub.codecs.dicom_set import DicomTree
from hub.i18n import t
from hub.masking import mask_text

if TYPE_CHECKING:
    from adapters.dicom.receiver import DicomReceiver

__all__ = ["PATIENT_FIND", "STUDY_FIND", "WORKLIST", "Queries", "asked_for", "find_classes"]

WORKLIST = "1.2.840.10008.5.1.4.31"
STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PATIENT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
_SERVICES = {WORKLIST: "worklist", STUDY_FIND: "study", PATIENT_FIND: "patient"}
_BUSY, _MISMATCH, _FAILED = 0xA700, 0xA900, 0xC001
_PENDING, _CHARSET, _LEVEL = 0xFF00, "SpecificCharacterSet", "QueryRetrieveLevel"
_EXPLICIT = "1.2.840.10008.1.2.1"


def find_classes(services: Sequence[str]) -> list[str]:
    """SOP classes of the services that are queries."""
    found = [WORKLIST] if "worklist" in services else []
    return [*found, STUDY_FIND, PATIENT_FIND] if "find" in services else found


class Queries:
    """Answers C-FIND by an exchange with a target."""

    def __init__(self, receiver: DicomReceiver) -> None:
        self._receiver = receiver
        self.offered = bool(find_classes(receiver.options.services))

    def serve(self, association: HubAssociation, request: Any, context: PresentationContext) -> None:
        syntax = str(context.transfer_syntax[0])
        try:
            query = read_bare(request.Identifier.getvalue(), syntax)
            answers = self._ask(association, query, str(context.abstract_syntax))
            charset = self._charset(query)
            encoded = [
                bare(asked_for(answer, query), explicit=syntax == _EXPLICIT, charset=charset) for answer in answers
            ]
        except CodecError as error:
            self._receiver.refuse(association, b"", error)
            return association.answer(_response(request, _MISMATCH, error.text), context)
        except HubError as error:
            passing = isinstance(error, ExchangeError) and error.passing
            busy = passing or isinstance(error, StoreBusy | TransientError)
            return association.answer(_response(request, _BUSY if busy else _FAILED, error.text), context)
        for data_set in encoded:
            if request.MessageID in association.dimse.cancel_req:
                return association.answer(_response(request, CANCELLED), context)
            response = _response(request, _PENDING)
            response.Identifier = BytesIO(data_set)
            association.answer(response, context)
        association.answer(_response(request, 0x0000), context)

    def _ask(self, association: HubAssociation, query: DicomTree, sop_class: str) -> list[dict[str, Any]]:
        called = association.requestor.ae_title.strip()
        message = dumps({"service": _SERVICES[sop_class], "calling": called, "keys": plain(query)})
        receipt = self._receiver.submit(association, message, "C-FIND")
        if not receipt.accepted:
            raise receipt.error or HubError(t("the query was refused", "查询被拒绝"))
        tree = read_json(receipt.reply or b"[]")
        found = tree.get("answers", tree) if isinstance(tree, dict) else tree
        if isinstance(found, dict):
            found = [found] if found else []
        most = self._receiver.options.max_answers
        if not isinstance(found, list):
            raise HubError(t("the reply is no list of data sets", "应答不是数据集列表"), code="dicom.reply")
        if len(found) > most:
            raise TransientError(
                t(f"more than {most} answers: ask for less", f"结果超过 {most} 条，请缩小范围"), code="dicom.answers"
            )
        try:
            return [as_fields(one) for one in found]
        except CodecError as error:
            raise HubError(error.text, code="dicom.reply") from error

    def _charset(self, query: DicomTree) -> str:
        """What we were told to answer in, else what the query names."""
        fixed = self._receiver.options.charset
        asked = [term for term in query.terms if term]
        return fixed or (asked[-1] if asked and asked[-1] in ("GB18030", "GBK", "ISO 2022 IR 58") else "")


def asked_for(answer: dict[str, Any], query: DicomTree) -> dict[str, Any]:
    """The elements that were asked for, empty where there is nothing to say (PS3.4, C.2.2.1.3)."""
    known = {name.tag: value for key, value in answer.items() if (name := parse_name(key)) is not None}
    asked = {keyword_of(tag): known.get(tag) for tag in query.places if tag & 0xFFFF and not tag & 0x10000}
    level = query.get(_LEVEL)
    asked.pop(_CHARSET, None)
    return {**asked, _LEVEL: level} if level else asked


def _response(request: Any, status: int, said: str = "") -> Any:
    response: Any = C_FIND()
    response.MessageIDBeingRespondedTo = request.MessageID
    response.AffectedSOPClassUID = request.AffectedSOPClassUID
    response.Status = status
    if said:
        response.ErrorComment = comment(mask_text(said))
    return response
