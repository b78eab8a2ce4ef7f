"""The listening side: an AE whose requests become messages.

pynetdicom serves every association in threads of its own. They hand a message to the event loop and wait for its receipt, one each, so no
more is under way than there are associations.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from typing import Any

from pynetdicom.dimse_primitives import C_ECHO, C_FIND, C_STORE, N_ACTION, N_CREATE, N_EVENT_REPORT, N_SET
from pynetdicom.presentation import PresentationContext

from adapters.access import AllowList
from adapters.dicom.call_commit import hear
from adapters.dicom.commitment import Commitments
from adapters.dicom.commitment_requests import CommitmentRequests
from adapters.dicom.door import Door
from adapters.dicom.entity import contexts_of, entity_of
from adapters.dicom.listener import Listener, cannot_listen
from adapters.dicom.network import HubAssociation, Service
from adapters.dicom.objects import Incoming, ObjectFolder
from adapters.dicom.options import DicomListen
from adapters.dicom.queries import Queries
from adapters.dicom.state import State
from adapters.dicom.steps import Steps
from adapters.dicom.storage import instance_of, message_of, response_to, status_of
from adapters.dicom.studies import Studies
from adapters.tls import server_context
from hub.api import Bound, HubError, IntakePort, Receipt, Receiver, StoreBusy
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text
from hub.message import Outcome

__all__ = ["DicomReceiver"]

log = get_logger(__name__)

_UNCOMPRESSED = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
_HANDSHAKE_S = 10.0
_TICK_S = 0.25
_CLEAN_EVERY_S = 86400.0
#: Longest wait for a receipt: a request-style exchange has a time limit of its own.
_RECEIPT_S = 600.0


class DicomReceiver(Receiver, Service):
    """One AE for one interface."""

    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        options = bound.options
        if not isinstance(options, DicomListen):
            raise TypeError("bound.options must be DicomListen")
        self.bound = bound
        self.options = options
        self._intake = intake
        self._door = Door(AllowList(options.allow), self._record)
        self._objects = ObjectFolder(bound.data, bound.place, options.inline, options.max_object)
        self._state: State | None = None
        self._requests: CommitmentRequests | None = None
        self._steps = Steps(self)
        self._queries = Queries(self)
        self._commitments = Commitments(self)
        self._listener: Listener | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._workers: concurrent.futures.ThreadPoolExecutor | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._studies = Studies(options, self._tell)
        self._waiting: set[concurrent.futures.Future[Receipt]] = set()
        self._stopping = False
        self._stored = self._refused = 0

    # -- Receiver ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        options = self.options
        self._check_contract()
        context = server_context(options.tls) if options.tls else None
        self._loop = loop = asyncio.get_running_loop()
        self._stopping = False
        self._workers = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="dicom")
        try:
            unfinished = await loop.run_in_executor(self._workers, self._open)
            self._listener = Listener(
                entity_of(options),
                (options.host, options.port),
                contexts_of(options),
                self,
                tls=context,
                permits=self._permits,
                on_bad_tls=self._door.bad_tls,
                handshake=_HANDSHAKE_S,
                pdu_seconds=options.pdu_timeout,
                backlog=options.backlog,
            )
        except OSError as error:
            self._release()
            raise cannot_listen(options.host, options.port, error) from error
        self._studies.begin(unfinished, loop)
        self._listener.start()
        self._ticker = loop.create_task(self._tick())

    async def stop(self, grace: float) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._stopping = True
        loop = asyncio.get_running_loop()
        giving_up = loop.call_later(grace, self._give_up)
        await loop.run_in_executor(None, listener.close, grace)
        giving_up.cancel()
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
            self._ticker = None
        self._commitments.stop()
        workers = self._workers
        if workers is not None:
            await asyncio.get_running_loop().run_in_executor(None, workers.shutdown)
        self._release()

    def status(self) -> dict[str, Any]:
        listener = self._listener
        address = listener.server_address if listener is not None else (self.options.host, self.options.port)
        return {
            "listening": [f"{address[0]}:{address[1]}"] if listener is not None else [],
            "port": address[1],
            "ae_title": self.options.ae_title,
            "tls": self.options.tls is not None,
            "services": list(self.options.services),
            "associations": len(listener.associations) if listener is not None else 0,
            "stored": self._stored,
            "refused": self._refused,
            "not_allowed": self._door.strangers,
            "rejected": self._door.rejected,
            "index_messages": self._studies.told,
            "studies_under_way": self._studies.under_way,
            "commitments_open": self._commitments.open,
        }

    async def probe(self) -> str:
        if self._listener is None:
            raise HubError(t("not listening", "未监听"), code="dicom.stopped")
        return t(f"listening as {self.options.ae_title}", f"正以 {self.options.ae_title} 监听")

    # -- for the services; in threads ----------------------------------------------------------------------------

    @property
    def state(self) -> State:
        if self._state is None:
            raise StoreBusy(t("the interface is stopping", "接口正在停止"))
        return self._state

    def run(self, work: Callable[..., Any], *arguments: Any) -> concurrent.futures.Future[Any] | None:
        """Do something in the interface's own thread; None when it is stopping."""
        try:
            return self._workers.submit(work, *arguments) if self._workers is not None else None
        except RuntimeError:
            return None

    def submit(
        self, association: HubAssociation, raw: bytes, service: str, control_id: str = "", **more: str
    ) -> Receipt:
        """Hand a message to the event loop and wait for its receipt."""
        requestor = association.requestor
        params = {"service": service, "calling": mask_text(requestor.ae_title.strip()), **more}
        return self.hand_over(raw, association.peer, control_id, params)

    def hand_over(self, raw: bytes, remote: str, control_id: str, params: Mapping[str, str]) -> Receipt:
        future: concurrent.futures.Future[Receipt] = concurrent.futures.Future()
        busy = StoreBusy(t("the hub takes nothing in just now", "枢纽暂时无法接收"))

        def done(receipt: Receipt) -> None:
            if not future.done():
                future.set_result(receipt)

        def on_loop() -> None:
            try:
                self._intake.submit(self.bound, raw, done, remote=remote, control_id=control_id, params=params)
            except Exception as error:
                if not future.done():
                    future.set_exception(error)

        if self._loop is None or not self._intake.ready():
            return Receipt(Outcome.REFUSED, error=busy)
        self._waiting.add(future)
        try:
            self._loop.call_soon_threadsafe(on_loop)
            return future.result(_RECEIPT_S)
        except (RuntimeError, TimeoutError):  # the loop is closed, or nobody answers
            return Receipt(Outcome.REFUSED, error=busy)
        finally:
            self._waiting.discard(future)

    def refuse(self, association: HubAssociation, raw: bytes, error: HubError) -> None:
        """Record a request that the adapter itself refused."""
        self._call_soon(partial(self._intake.refuse, self.bound, raw, error, remote=association.peer))

    # -- Service; in threads -------------------------------------------------------------------------------------

    def incoming(self, association: HubAssociation, instance: str, sop_class: str, syntax: str) -> BytesIO:
        return Incoming(self._objects, instance, sop_class, syntax)

    def serve(self, association: HubAssociation, request: Any, context: PresentationContext) -> None:
        services = self.options.services
        if isinstance(request, C_ECHO):
            response = C_ECHO()
            response.MessageIDBeingRespondedTo = request.MessageID
            response.AffectedSOPClassUID = request.AffectedSOPClassUID
            response.Status = 0x0000
            association.answer(response, context)
        elif isinstance(request, C_STORE) and "store" in services:
            self._store(association, request, context)
        elif isinstance(request, C_FIND) and self._queries.offered:
            self._queries.serve(association, request, context)
        elif isinstance(request, N_CREATE | N_SET) and "mpps" in services:
            self._steps.serve(association, request, context)
        elif isinstance(request, N_ACTION) and "commitment" in services:
            self._commitments.serve(association, request, context)
        elif isinstance(request, N_EVENT_REPORT) and self._requests is not None:
            hear(self._requests, association, request, context)
        else:
            response = type(request)()
            response.MessageIDBeingRespondedTo = request.MessageID
            response.Status = 0x0211
            association.answer(response, context)

    def ended(self, association: HubAssociation) -> None:
        message = association.dimse.message
        if message is not None and isinstance(message.data_set, Incoming):
            message.data_set.discard()
        if association.is_rejected:
            self._door.turned_away(association)
        self._studies.ended(association)

    def _store(self, association: HubAssociation, request: Any, context: PresentationContext) -> None:
        incoming: Incoming = request.DataSet
        status, said = 0, ""
        try:
            raw, tree = message_of(incoming)
            receipt = self.submit(association, raw, "C-STORE", incoming.instance, syntax=incoming.syntax)
            error: BaseException | None = None if receipt.accepted else receipt.error or HubError("refused")
            if error is None and self._remembers:
                instance = instance_of(tree)
                self.state.add(instance, str(tree.get("PatientID") or ""), str(tree.get("AccessionNumber") or ""))
                self._studies.brought(association, instance.study)
        except OSError as reason:
            error = reason
        except HubError as reason:
            error = reason
            if not isinstance(reason, StoreBusy):
                self.refuse(association, b"", reason)
        except Exception as reason:  # SQLite: its disk is full, or its file damaged
            log.exception("%s: an object could not be recorded", self.bound.place)
            error = OSError(str(reason))
        finally:
            incoming.close()
        if error is not None:
            status = status_of(error)
            said = error.text if isinstance(error, HubError) else "no room on the disk"
            self._refused += 1
        else:
            self._stored += 1
        association.answer(response_to(request, status, mask_text(said)), context)

    # -- in the background ---------------------------------------------------------------------------------------

    @property
    def _remembers(self) -> bool:
        return self._studies.wanted or "commitment" in self.options.services

    def _call_soon(self, work: Callable[..., Any], *arguments: Any) -> None:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(work, *arguments)
        except RuntimeError:
            return  # the loop is closed

    async def _tick(self) -> None:
        """Tell of studies that are complete, keep commitments, and clean up, until the interface stops."""
        loop = asyncio.get_running_loop()
        cleaned = -_CLEAN_EVERY_S
        while True:
            now = loop.time()
            if now - cleaned >= _CLEAN_EVERY_S:
                cleaned = now
                await self._in_thread(self._clean)
            for study in self._studies.due(now):
                if await self._in_thread(self._studies.tell, self.state, study) is False:
                    self._studies.again(study)
            if "commitment" in self.options.services and self._commitments.due:
                await self._in_thread(self._commitments.keep)
            await asyncio.sleep(_TICK_S)

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._workers, work, *arguments)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("%s: %s failed", self.bound.place, getattr(work, "__name__", "work"))
            return False

    def _tell(self, raw: bytes, number: str, count: int) -> Receipt:
        return self.hand_over(raw, "", number, {"service": "index", "instances": str(count)})

    def _give_up(self) -> None:
        """The time to stop is over: threads that wait for a receipt get none."""
        error = StoreBusy(t("the hub is stopping", "枢纽正在停止"))
        for future in list(self._waiting):
            if not future.done():
                future.set_result(Receipt(Outcome.REFUSED, error=error))

    def _clean(self) -> None:
        self._objects.clean(self.options.keep)
        if self._state is not None:
            self._state.clean(self.options.keep)

    # -- parts ---------------------------------------------------------------------------------------------------

    def _open(self) -> list[str]:
        self._objects.open()
        if "results" in self.options.services:
            self._requests = CommitmentRequests(self.bound.data)
        if self._remembers or "mpps" in self.options.services:
            self._state = State(self._objects.root / "state.sqlite")
            return self._state.unfinished() if self._studies.wanted else []
        return []

    def _release(self) -> None:
        state, self._state = self._state, None
        if state is not None:
            state.close()
        requests, self._requests = self._requests, None
        if requests is not None:
            requests.close()
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.shutdown(wait=False)

    def _check_contract(self) -> None:
        wants = ("json", "request") if self._queries.offered else ("dicom", "event")
        contract = self.bound.contract
        if (self.bound.codec.name, contract.style) != wants:
            raise HubError(
                t(
                    f"{self.bound.place}: these services need codec: {wants[0]} and style: {wants[1]}",
                    f"{self.bound.place}：这些服务要求 codec: {wants[0]} 且 style: {wants[1]}",
                ),
                code="dicom.contract",
                remedy=t("correct the interface in plugin.yaml", "请更正 plugin.yaml 中的接口"),
            )

    def _permits(self, address: str) -> bool:
        return not self._stopping and self._door.permits(address)

    def _record(self, error: HubError, remote: str) -> None:
        self._call_soon(partial(self._intake.refuse, self.bound, b"", error, remote=remote))
