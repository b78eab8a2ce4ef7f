"""The listening side: an AE whose requests become messages.

pynetdicom serves every association in threads of its own. They hand a message to the event loop and wait for its receipt, one each, so no
more is under way than there are associations.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from typing import Any

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES
from pynetdicom.dimse_primitives import C_ECHO, C_FIND, C_STORE, N_ACTION, N_CREATE, N_SET
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import _STORAGE_CLASSES

from adapters.access import AllowList
from adapters.dicom.commitment import COMMITMENT, Commitments
from adapters.dicom.listener import Listener
from adapters.dicom.network import HubAssociation, Service, context_of, local_entity
from adapters.dicom.objects import Incoming, ObjectFolder
from adapters.dicom.options import DicomListen
from adapters.dicom.queries import Queries, find_classes
from adapters.dicom.state import State
from adapters.dicom.steps import STEP, Steps
from adapters.dicom.storage import index_message, instance_of, message_of, response_to, status_of
from adapters.tls import server_context
from hub.api import Bound, HubError, IntakePort, Receipt, Receiver, StoreBusy
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text
from hub.message import Outcome

__all__ = ["DicomReceiver"]

log = get_logger(__name__)

_VERIFICATION = "1.2.840.10008.1.1"
_UNCOMPRESSED = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
_HANDSHAKE_S = 10.0
_TICK_S = 0.25
#: After an index message the store could not take.
_AGAIN_S = 1.0
_CLEAN_EVERY_S = 86400.0
_TELL_EVERY_S = 1.0
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
        self._allow = AllowList(options.allow)
        self._objects = ObjectFolder(bound.data, bound.place, options.inline, options.max_object)
        self._state: State | None = None
        self._steps = Steps(self)
        self._queries = Queries(self)
        self._commitments = Commitments(self)
        self._listener: Listener | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._workers: concurrent.futures.ThreadPoolExecutor | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._studies: dict[HubAssociation, set[str]] = {}  # what each association has brought
        self._quiet: dict[str, float] = {}  # study -> loop time when its index message is due
        self._waiting: set[concurrent.futures.Future[Receipt]] = set()
        self._told = -_TELL_EVERY_S
        self._stopping = False
        self._stored = self._refused = self._strangers = self._rejected = self._indexed = 0

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
                self._entity(),
                (options.host, options.port),
                self._contexts(),
                self,
                tls=context,
                permits=self._permits,
                on_bad_tls=self._bad_tls,
                handshake=_HANDSHAKE_S,
                pdu_seconds=options.pdu_timeout,
                backlog=options.backlog,
            )
        except OSError as error:
            self._release()
            raise _cannot_listen(options, error) from error
        self._quiet = dict.fromkeys(unfinished, loop.time() + options.index_after)
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
            "not_allowed": self._strangers,
            "rejected": self._rejected,
            "index_messages": self._indexed,
            "studies_under_way": len(self._quiet),
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
            self._rejected += 1
            asked = association.requestor.primitive
            calling, called = (asked.calling_ae_title.strip(), asked.called_ae_title.strip()) if asked else ("", "")
            self._tell_rejection(
                association.peer,
                HubError(
                    t(
                        f"the association of {mask_text(calling)} for {mask_text(called)} was rejected",
                        f"已拒绝 {mask_text(calling)} 对 {mask_text(called)} 的关联请求",
                    ),
                    code="dicom.rejected",
                    remedy=t(
                        "see ae_title, calling and max_associations of the interface",
                        "请检查接口的 ae_title、calling 与 max_associations",
                    ),
                ),
            )
        brought = self._studies.pop(association, None)
        if brought and self.options.index_at_end and self._loop is not None:
            elsewhere = set().union(*list(self._studies.values()))
            self._call_soon(self._due_now, brought - elsewhere)

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
                self._brought(association, instance.study)
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

    # -- index messages ------------------------------------------------------------------------------------------

    @property
    def _indexes(self) -> bool:
        return bool(self.options.index_after or self.options.index_at_end)

    @property
    def _remembers(self) -> bool:
        return self._indexes or "commitment" in self.options.services

    def _brought(self, association: HubAssociation, study: str) -> None:
        if self._indexes and study:
            self._studies.setdefault(association, set()).add(study)
            if self.options.index_after:
                self._call_soon(self._came, study)

    def _came(self, study: str) -> None:
        self._quiet[study] = asyncio.get_running_loop().time() + self.options.index_after

    def _due_now(self, studies: set[str]) -> None:
        self._quiet.update(dict.fromkeys(studies, 0.0))

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
            for study in [study for study, due in self._quiet.items() if due <= now]:
                del self._quiet[study]
                if await self._in_thread(self._tell, study) is False:
                    self._quiet.setdefault(study, loop.time() + _AGAIN_S)
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

    def _tell(self, study: str) -> bool:
        """Hand in the index message of a study; False: not now."""
        made = index_message(self.state, study)
        if made is None:
            return True
        raw, number, count = made
        receipt = self.hand_over(raw, "", number, {"service": "index", "instances": str(count)})
        if receipt.accepted:
            self.state.told(study, count)
            self._indexed += 1
            return True
        return not isinstance(receipt.error, StoreBusy)

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
        if self._remembers or "mpps" in self.options.services:
            self._state = State(self._objects.root / "state.sqlite")
            return self._state.unfinished() if self._indexes else []
        return []

    def _release(self) -> None:
        state, self._state = self._state, None
        if state is not None:
            state.close()
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

    def _entity(self) -> AE:
        options = self.options
        entity = local_entity(
            options.ae_title,
            max_pdu=options.max_pdu,
            acse=options.pdu_timeout,
            dimse=options.pdu_timeout,
            network=options.idle_timeout,
        )
        entity.maximum_associations = options.max_associations
        entity.require_called_aet = not options.any_called
        if options.calling:
            entity.require_calling_aet = list(options.calling)
        return entity

    def _contexts(self) -> list[PresentationContext]:
        options = self.options
        wanted: dict[str, list[str]] = {_VERIFICATION: _UNCOMPRESSED}
        if "store" in options.services:
            every = [*_UNCOMPRESSED, *(one for one in ALL_TRANSFER_SYNTAXES if one not in _UNCOMPRESSED)]
            for uid in [*_STORAGE_CLASSES.values(), *options.sop_classes]:
                wanted[uid] = every
        if "mpps" in options.services:
            wanted[STEP] = _UNCOMPRESSED
        if "commitment" in options.services:
            wanted[COMMITMENT] = _UNCOMPRESSED
        for uid in find_classes(options.services):
            wanted[uid] = _UNCOMPRESSED
        return [context_of(uid, syntaxes) for uid, syntaxes in wanted.items()]

    def _permits(self, address: str) -> bool:
        if self._stopping:
            return False
        if self._allow.permits(address):
            return True
        self._strangers += 1
        error = HubError(
            t(f"address {address} may not connect", f"地址 {address} 不允许连接"),
            code="dicom.not_allowed",
            remedy=t("add it to allow of the interface", "请将其加入接口的 allow"),
        )
        self._tell_rejection(address, error)
        return False

    def _bad_tls(self, address: str, error: Exception) -> None:
        self._rejected += 1
        reason = getattr(error, "reason", None) or type(error).__name__
        text = t(f"no TLS connection with {address}: {reason}", f"无法与 {address} 建立 TLS 连接：{reason}")
        self._tell_rejection(address, HubError(text, code="tls.handshake"))

    def _tell_rejection(self, remote: str, error: HubError) -> None:
        """One row of the call log in a while, not one for every try of a scanner."""
        now = time.monotonic()
        if now - self._told > _TELL_EVERY_S:
            self._told = now
            self._call_soon(partial(self._intake.refuse, self.bound, b"", error, remote=remote))


def _cannot_listen(options: DicomListen, error: OSError) -> HubError:
    reason = error.strerror or str(error)
    return HubError(
        t(
            f"can't listen on {options.host}:{options.port}: {reason}",
            f"无法监听 {options.host}:{options.port}：{reason}",
        ),
        code="dicom.listen",
        remedy=t(
            "choose a free port and an address of this machine; ports below 1024 (DICOM's 104) need a privilege",
            "请选择空闲端口和本机地址；1024 以下的端口（如 104）需要特权",
        ),
    )
