"""The simulated AE at one address: what its associations are asked, in threads of their own, is answered as the party says."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import threading
from collections.abc import Sequence
from io import BytesIO
from typing import Any, cast

from pynetdicom.dimse_primitives import C_ECHO, N_ACTION, N_EVENT_REPORT
from pynetdicom.presentation import PresentationContext

from adapters.dicom.call_commit import COMMITMENT, COMMITMENT_INSTANCE
from adapters.dicom.counterpart_faults import CALLED_UNKNOWN, CALLING_UNKNOWN, CONGESTED, Rejection, cut_off, garble
from adapters.dicom.counterpart_requests import LARGEST, Held, asked_of, classes_of, stores, titles_of
from adapters.dicom.counterpart_rules import STEP_OVER, Archive, Asked, references
from adapters.dicom.listener import storage_contexts, verification_context
from adapters.dicom.model import as_fields, bare, dumps, plain, read_json
from adapters.dicom.network import HubAssociation, Service, context_of
from adapters.dicom.options import DicomConnect
from adapters.dicom.queries import asked_for
from adapters.dicom.references import file_head
from adapters.dicom.storage import comment, response_to
from hub.api import CodecError
from hub.codecs.dicom_read import read_file
from hub.codecs.dicom_set import DicomTree
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text
from hub.simulator.party import Facts, Opened, Party, Said
from hub.simulator.side import Side, Unfit

__all__ = ["Entity"]

log = get_logger(__name__)

_UNCOMPRESSED = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
_EXPLICIT = _UNCOMPRESSED[0]
#: Longest wait for the loop to say what is answered, seconds.
_HEARD_S = 30.0
_CODE = re.compile(r"[0-9A-F]{4}")
#: Status where the party's code is none: refused for what it is, not authorised, and not now (PS3.7 annex C, PS3.4 B.2.3, C.4.1).
_REFUSED = {"store": 0xC000, "find": 0xA900, "worklist": 0xA900}
_BUSY = {"store": 0xA700, "find": 0xA700, "worklist": 0xA700}
_PROCESSING, _RESOURCES, _NOT_AUTHORISED, _PENDING = 0x0110, 0x0213, 0x0124, 0xFF00
_NO_MORE_UPDATES = 0xA710
_UNRECOGNISED, _OTHER_CLASS = 0x0211, 0x0122
_NO_OBJECT = 0x0112
#: Failure reasons of single objects (0008,1197): told in the result of a commitment that was promised.
_REASONS = frozenset((0x0110, 0x0112, 0x0119, 0x0122, 0x0131, 0x0213))
_ALL_KEPT, _SOME_FAILED = 1, 2


class Entity(Service):
    """``sides``: the ``out`` interfaces at this address; ``ended`` is set when nothing is to be waited for any more."""

    def __init__(
        self,
        sides: Sequence[Side],
        party: Party,
        archive: Archive,
        loop: asyncio.AbstractEventLoop,
        ended: threading.Event,
    ) -> None:
        self._party, self._archive, self._loop, self._ended = party, archive, loop, ended
        self._sides = [(side, cast(DicomConnect, side.bound.options)) for side in sides]

    @property
    def contexts(self) -> list[PresentationContext]:
        """What is accepted: the services of the interfaces here, and C-ECHO."""
        classes = {uid for _, options in self._sides for uid in classes_of(options)}
        storing = any(options.service == "store" for _, options in self._sides)
        found = storage_contexts() if storing else [verification_context()]
        return [*found, *(context_of(uid, _UNCOMPRESSED) for uid in sorted(classes))]

    # -- associations; in threads --------------------------------------------------------------------------------

    def judge(self, association: HubAssociation) -> Rejection | None:
        """Whether an association is turned away."""
        asked = association.requestor.primitive
        calling, called = titles_of(association)
        known = [(side, options) for side, options in self._sides if options.called == called]
        if not known:
            return CALLED_UNKNOWN
        known = [(side, options) for side, options in known if options.calling == calling]
        if not known:
            return CALLING_UNKNOWN
        proposed = {str(one.abstract_syntax) for one in asked.presentation_context_definition_list} if asked else set()
        meant = [side for side, options in known if proposed & set(classes_of(options)) or stores(options, proposed)]
        return CONGESTED if meant and self._on_loop(self._turned_away(meant)) else None

    async def _turned_away(self, sides: Sequence[Side]) -> bool:
        for side in sides:
            behaviour = self._party.moods.coming(side.interface)
            if behaviour is not None and behaviour.kind == "refuse":
                self._party.hear(Opened(side, b"", Facts()))
                return True
        return False

    def incoming(self, association: HubAssociation, instance: str, sop_class: str, syntax: str) -> BytesIO:
        return Held()

    def serve(self, association: HubAssociation, request: Any, context: PresentationContext) -> None:
        if isinstance(request, C_ECHO):
            response = C_ECHO()
            response.MessageIDBeingRespondedTo = request.MessageID
            response.AffectedSOPClassUID = request.AffectedSOPClassUID
            response.Status = 0x0000
            return association.answer(response, context)
        asked = asked_of(association, request, context)
        sides = self._for(asked) if asked is not None else []
        if asked is None or not sides:
            return association.answer(_response(request, _UNRECOGNISED), context)
        if asked.sop_class != str(context.abstract_syntax):
            return association.answer(_response(request, _OTHER_CLASS), context)
        opened, tree = self._opened(asked, sides)
        said = self._on_loop(self._heard(opened))
        if said is None:
            return association.abort(block=False)
        effective = not said.refused and (said.behaviour is None or said.behaviour.takes_effect)
        if tree is not None and effective:
            self._archive.take(asked, tree)
        self._say(association, request, context, asked, opened, tree, said)

    def _for(self, asked: Asked) -> list[Side]:
        return [
            side
            for side, options in self._sides
            if (options.service, options.called, options.calling) == (asked.service, asked.called, asked.calling)
            and (asked.service != "find" or asked.sop_class in classes_of(options))
        ]

    # -- one request -----------------------------------------------------------------------------------------------

    def _opened(self, asked: Asked, sides: Sequence[Side]) -> tuple[Opened, DicomTree | None]:
        """The request read for the interface it fits, and its data set; None for one that is refused at sight."""
        facts = Facts(headers={"service": asked.operation, "calling": asked.calling, "called": asked.called})
        raw = file_head(asked.sop_class, asked.instance, asked.syntax) + asked.content
        if asked.too_large:
            return Opened(sides[0], b"", facts, None, _too_large()), None
        try:
            tree = DicomTree(raw, read_file(raw), "")
            self._archive.check(asked, tree)
            bodies = [dumps(plain(tree)) if side.bound.codec.name == "json" else raw for side in sides]
        except CodecError as error:
            return Opened(sides[0], raw, facts, None, Unfit(error.code, error.text, 3)), None
        except Unfit as unfit:
            return Opened(sides[0], raw, facts, None, unfit), None
        found: Opened | None = None
        for side, body in zip(sides, bodies, strict=True):
            read = self._party.read(side, body, facts)
            if found is None or read.unfit is None:
                found = read
            if read.unfit is None:
                break
        assert found is not None  # noqa: S101 - there is a side
        return found, tree

    async def _heard(self, opened: Opened) -> Said:
        return self._party.hear(opened)

    def _on_loop(self, work: Any) -> Any:
        """What a coroutine of the party gives; None when the simulator has ended."""
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop is closed
            work.close()
            return None
        try:
            return future.result(_HEARD_S)
        except (TimeoutError, concurrent.futures.CancelledError):
            future.cancel()
            return None

    def _say(
        self,
        association: HubAssociation,
        request: Any,
        context: PresentationContext,
        asked: Asked,
        opened: Opened,
        tree: DicomTree | None,
        said: Said,
    ) -> None:
        match said.behaviour.kind if said.behaviour is not None else "":
            case "delay":
                assert said.behaviour is not None  # noqa: S101 - matched
                if self._ended.wait(said.behaviour.seconds):
                    return association.abort(block=False)
            case "silent":
                return
            case "refuse":
                return association.abort(block=False)
            case "reset" | "truncated" as kind:
                return cut_off(association, context, reset=kind == "reset")
            case "garbage":
                return garble(association)
        status, text = _status(asked, said), mask_text(said.text)
        if asked.service in ("find", "worklist"):
            return self._matches(association, request, context, tree, said, status)
        if asked.service == "store":
            return association.answer(response_to(request, status, text), context)
        told = status if asked.service == "commitment" and status in _REASONS and opened.unfit is None else 0
        response = _response(request, 0 if told else status, text)
        if opened.unfit is not None and opened.unfit.code == STEP_OVER and status == _PROCESSING:
            response.ErrorID = _NO_MORE_UPDATES
        association.answer(response, context)
        if asked.service == "commitment" and tree is not None and not response.Status:
            self._tell(association, context, asked, tree, told)

    def _matches(
        self,
        association: HubAssociation,
        request: Any,
        context: PresentationContext,
        tree: DicomTree | None,
        said: Said,
        status: int,
    ) -> None:
        """The data sets of the answer, each with what was asked for, and the end."""
        if not status and tree is not None:
            try:
                explicit = str(context.transfer_syntax[0]) == _EXPLICIT
                found = [bare(asked_for(one, tree), explicit=explicit) for one in _answers(said.body)]
            except CodecError as error:
                log.warning("the answer of the contract is no list of data sets: %s", error.text)
                found, status = [], 0xC001
            for data_set in found:
                if request.MessageID in association.dimse.cancel_req:
                    status = 0xFE00
                    break
                response = _response(request, _PENDING)
                response.Identifier = BytesIO(data_set)
                association.answer(response, context)
        association.answer(_response(request, status, mask_text(said.text)), context)

    def _tell(
        self, association: HubAssociation, context: PresentationContext, asked: Asked, tree: DicomTree, reason: int
    ) -> None:
        """The result of a commitment, on the association it was asked on (PS3.4, J.3.3); ``reason``: none is kept, for this."""
        kept, failed = self._archive.kept(references(tree))
        if reason:
            kept, failed = [], [*kept, *failed]
        information: dict[str, Any] = {"TransactionUID": tree.get("TransactionUID")}
        if kept:
            information["ReferencedSOPSequence"] = [_item(one) for one in kept]
        if failed:
            information["FailedSOPSequence"] = [{**_item(one), "FailureReason": reason or _NO_OBJECT} for one in failed]
        report = N_EVENT_REPORT()
        report.MessageID = association.next_number()
        report.AffectedSOPClassUID = COMMITMENT
        report.AffectedSOPInstanceUID = COMMITMENT_INSTANCE
        report.EventTypeID = _SOME_FAILED if failed else _ALL_KEPT
        report.EventInformation = BytesIO(bare(information, explicit=asked.syntax == _EXPLICIT))
        association.answer(report, context)


def _status(asked: Asked, said: Said) -> int:
    kind = said.behaviour.kind if said.behaviour is not None else ""
    if kind == "status":
        return _BUSY.get(asked.service, _RESOURCES)
    if not said.refused:
        return 0x0000
    if _CODE.fullmatch(said.code):
        return int(said.code, 16)
    return _NOT_AUTHORISED if kind == "unauthorised" else _REFUSED.get(asked.service, _PROCESSING)


def _answers(body: bytes) -> list[dict[str, Any]]:
    """The data sets of an answer: a list of them, one, or an object with the list in ``answers``; JSON in either form, or DICOM."""
    if not body:
        return []
    if body.lstrip()[:1] not in (b"{", b"["):
        return [plain(DicomTree(body, read_file(body), ""))]
    tree = read_json(body)
    found = tree.get("answers", tree) if isinstance(tree, dict) else tree
    return [as_fields(one) for one in (found if isinstance(found, list) else [found] if found else [])]


def _response(request: Any, status: int, said: str = "") -> Any:
    response: Any = type(request)()
    response.MessageIDBeingRespondedTo = request.MessageID
    sop_class = getattr(request, "RequestedSOPClassUID", None) or getattr(request, "AffectedSOPClassUID", None)
    instance = getattr(request, "RequestedSOPInstanceUID", None) or getattr(request, "AffectedSOPInstanceUID", None)
    response.AffectedSOPClassUID = sop_class
    if instance is not None:
        response.AffectedSOPInstanceUID = instance
    if isinstance(request, N_ACTION):
        response.ActionTypeID = request.ActionTypeID
    response.Status = status
    if said:
        response.ErrorComment = comment(said)
    return response


def _item(instance: tuple[str, str]) -> dict[str, Any]:
    return {"ReferencedSOPClassUID": instance[0], "ReferencedSOPInstanceUID": instance[1]}


def _too_large() -> Unfit:
    limit = LARGEST >> 20
    return Unfit("dicom.too_large", t(f"the object has more than {limit} MB", f"对象超过 {limit} MB"), 2, "A700")
