"""The calling side: kept associations with one AE, each serving one call at a time in a thread of the adapter."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pynetdicom.dimse_primitives import C_ECHO

from adapters.dicom.arrivals import Arrivals
from adapters.dicom.call import UNCOMPRESSED, Call, Context
from adapters.dicom.calls import make_call
from adapters.dicom.client import Lost, NoService, Target, context_for, exchange, lost, open_association, release
from adapters.dicom.commitment_requests import CommitmentRequests
from adapters.dicom.network import HubAssociation, Service, break_off, context_of, is_retired, local_entity, shut
from adapters.dicom.objects import ObjectFolder
from adapters.dicom.options import DicomConnect
from adapters.tls import client_context
from hub.api import Bound, HubError, Outgoing, PermanentError, Reply, Sender, TransientError, UnreachableError
from hub.i18n import t
from hub.logs import get_logger

__all__ = ["DicomSender"]

log = get_logger(__name__)

_VERIFICATION = "1.2.840.10008.1.1"
#: An association may propose 128 contexts (PS3.8, 9.3.2.2): those for what was sent lately are kept.
_MOST_CONTEXTS = 127
_CLEAN_EVERY_S = 3600.0


class _Kept:
    """An association between calls."""

    __slots__ = ("association", "since", "used")

    def __init__(self, association: HubAssociation) -> None:
        self.association = association
        self.used = False  # a call was made on it before
        self.since = 0.0  # by ``time.monotonic``: idle since


class DicomSender(Sender):
    """A client of one AE. Objects, queries and procedure steps are calls (:mod:`adapters.dicom.calls`)."""

    def __init__(self, bound: Bound) -> None:
        options = bound.options
        if not isinstance(options, DicomConnect):
            raise TypeError("bound.options must be DicomConnect")
        self._bound = bound
        self._options = options
        self._target = Target(options.host, options.port, options.called)
        self._entity = local_entity(
            options.calling,
            max_pdu=options.max_pdu,
            acse=options.associate_timeout,
            dimse=options.associate_timeout,
            network=3600.0,
        )
        self._folder = ObjectFolder(bound.data, bound.place, 0, options.max_object)
        self._requests: CommitmentRequests | None = None
        self._fetches = options.service == "get" or options.receive is not None
        self._arrivals = Arrivals(options, self._folder, bound.place) if options.receive is not None else None
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._idle: list[_Kept] = []
        self._open: set[HubAssociation] = set()
        self._proposed: dict[Context, None] = {}  # the latest last
        self._reaper: asyncio.Task[None] | None = None
        self._stopped = False
        self._opened = self._repeated = 0

    # -- Sender --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        options = self._options
        context = client_context(options.tls) if options.tls is not None else None
        name = options.tls.server_name if options.tls is not None else ""
        self._target = Target(
            options.host, options.port, options.called, context, name, connect_timeout=options.connect_timeout
        )
        self._stopped = False
        self._threads = ThreadPoolExecutor(options.connections + 1, thread_name_prefix="dicom")
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._open_files)
        except BaseException:
            self._threads.shutdown(wait=False)
            self._threads = None
            raise
        self._reaper = asyncio.get_running_loop().create_task(self._reap())

    async def stop(self) -> None:
        threads, self._threads = self._threads, None
        if threads is None:
            return
        with self._lock:
            self._stopped = True
            idle, self._idle = self._idle, []
            busy = self._open - {kept.association for kept in idle}
        if self._reaper is not None:
            self._reaper.cancel()
            await asyncio.gather(self._reaper, return_exceptions=True)

        def end() -> None:
            for association in busy:
                shut(association)
            for kept in idle:
                release(kept.association)
            threads.shutdown(wait=True)
            if self._requests is not None:
                self._requests.close()
            if self._arrivals is not None:
                self._arrivals.stop()

        await asyncio.get_running_loop().run_in_executor(None, end)
        self._open.clear()

    async def send(self, outgoing: Outgoing) -> Reply:
        deadline = time.monotonic() + outgoing.timeout
        reply: Reply = await self._run(self._send, outgoing, deadline)
        return reply

    @property
    def capacity(self) -> int:
        return self._options.connections

    async def probe(self) -> str:
        started = time.perf_counter()
        limit = self._options.connect_timeout + self._options.associate_timeout
        await self._run(self._echo, time.monotonic() + limit, limit)
        took = (time.perf_counter() - started) * 1000
        return t(
            f"{self._target} answered C-ECHO in {took:.0f} ms", f"{self._target} 应答 C-ECHO，用时 {took:.0f} 毫秒"
        )

    def status(self) -> dict[str, Any]:
        return {
            "target": str(self._target),
            "tls": self._options.tls is not None,
            "service": self._options.service,
            "associations": len(self._open),
            "idle": len(self._idle),
            "opened": self._opened,
            "repeated": self._repeated,
            **({"receiving": self._arrivals.port} if self._arrivals is not None else {}),
        }

    def _open_files(self) -> None:
        if self._fetches:
            self._folder.open()
        if self._arrivals is not None:
            self._arrivals.start()
        if self._options.service == "commitment":
            self._requests = CommitmentRequests(self._bound.data)

    def _clean(self) -> None:
        keep = self._options.keep
        if self._fetches:
            self._folder.clean(keep)
        if self._requests is not None:
            self._requests.clean(keep)

    # -- calls; in threads ---------------------------------------------------------------------------------------

    async def _run(self, work: Any, *arguments: Any) -> Any:
        threads = self._threads
        if threads is None:
            raise UnreachableError(
                t(f"{self._bound.place} is not started", f"{self._bound.place} 尚未启动"), code="dicom.stopped"
            )
        cancelled = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work, *arguments, cancelled)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def _send(self, outgoing: Outgoing, deadline: float, cancelled: threading.Event) -> Reply:
        try:
            call = make_call(self._options, outgoing, self._bound.data, self._folder, self._requests, self._arrivals)
        except HubError as error:
            raise PermanentError(error.text, code=error.code) from error
        try:
            again = False
            while True:
                kept = self._take(call, deadline)
                try:
                    reply = call.make(kept.association, self._target, deadline, cancelled, again)
                except Lost as error:
                    self._drop(kept)
                    if kept.used and not error.late and not again and not self._stopped and not cancelled.is_set():
                        # The target ends associations that are idle; what it has taken from this call it takes again.
                        again = True
                        self._repeated += 1
                        continue
                    if self._stopped:
                        raise TransientError(t("the hub is stopping", "平台正在停止"), code="dicom.stopped") from None
                    raise lost(self._target, error, outgoing.timeout) from None
                except BaseException:
                    self._drop(kept)
                    raise
                self._give_back(kept)
                return reply
        finally:
            call.close()

    def _echo(self, deadline: float, limit: float, _cancelled: threading.Event) -> None:
        kept = _Kept(self._associate([(_VERIFICATION, UNCOMPRESSED)], NoService(), deadline))
        try:
            context = context_for(kept.association, _VERIFICATION, UNCOMPRESSED)
            if context is None:
                return  # it accepts associations, if not this service
            request = C_ECHO()
            request.MessageID = 1
            request.AffectedSOPClassUID = _VERIFICATION
            status = int(next(exchange(kept.association, request, context, deadline)).Status)
            if status:
                raise TransientError(
                    t(
                        f"{self._target} answered C-ECHO with {status:04X}",
                        f"{self._target} 对 C-ECHO 应答 {status:04X}",
                    ),
                    code=f"{status:04X}",
                )
        except Lost as error:
            raise lost(self._target, error, limit) from None
        finally:
            release(kept.association)
            self._open.discard(kept.association)

    # -- associations; in threads --------------------------------------------------------------------------------

    def _take(self, call: Call, deadline: float) -> _Kept:
        """An association that has what the call needs: a kept one, else a new one."""
        needs = call.contexts
        while True:
            with self._lock:
                kept = self._idle.pop() if self._idle else None
            if kept is None:
                break
            if not is_retired(kept.association) and _proposes(kept.association, needs):
                kept.association.service = call
                return kept
            self._leave(kept)
        with self._lock:
            for pair in needs:
                self._proposed.pop(pair, None)
                self._proposed[pair] = None
            while len(self._proposed) > _MOST_CONTEXTS:
                del self._proposed[next(iter(self._proposed))]
            pairs = list(self._proposed)
        if time.monotonic() >= deadline:
            raise UnreachableError(t("no time left to call", "已无剩余时间可用于呼叫"), code="dicom.timeout")
        return _Kept(self._associate(pairs, call, deadline))

    def _associate(self, pairs: Sequence[Context], service: Service, deadline: float) -> HubAssociation:
        contexts = [context_of(sop_class, syntaxes) for sop_class, syntaxes in pairs]
        roles = service.as_provider if isinstance(service, Call) else ()
        association = open_association(
            self._entity, self._target, contexts, service, as_provider=roles, within=deadline - time.monotonic()
        )
        with self._lock:
            self._opened += 1
            self._open.add(association)
            stopped = self._stopped
        if stopped:
            shut(association)
        return association

    def _give_back(self, kept: _Kept) -> None:
        kept.used = True
        kept.since = time.monotonic()
        with self._lock:
            keep = not self._stopped and not is_retired(kept.association)
            if keep:
                self._idle.append(kept)
        if not keep:
            self._leave(kept)

    def _drop(self, kept: _Kept) -> None:
        """End an association in the middle of something."""
        with self._lock:
            self._open.discard(kept.association)
        break_off(kept.association)

    def _leave(self, kept: _Kept) -> None:
        """End an idle association."""
        with self._lock:
            self._open.discard(kept.association)
        release(kept.association)

    async def _reap(self) -> None:
        """Release associations that were idle for too long, and clean up."""
        cleaned = 0.0
        while True:
            await asyncio.sleep(min(1.0, self._options.idle_timeout / 2))
            limit = time.monotonic() - self._options.idle_timeout
            with self._lock:
                old = [kept for kept in self._idle if kept.since < limit]
                self._idle = [kept for kept in self._idle if kept.since >= limit]
            threads = self._threads
            if threads is not None and time.monotonic() - cleaned > _CLEAN_EVERY_S:
                cleaned = time.monotonic()
                try:
                    await asyncio.get_running_loop().run_in_executor(threads, self._clean)
                except Exception:  # of the disk, most likely; it is tried again
                    log.exception("%s: old objects can't be removed", self._bound.place)
            for kept in old:
                if threads is not None:
                    await asyncio.get_running_loop().run_in_executor(threads, self._leave, kept)


def _proposes(association: HubAssociation, needs: Sequence[Context]) -> bool:
    offered = {
        (str(one.abstract_syntax), tuple(map(str, one.transfer_syntax)))
        for one in association.requestor.requested_contexts
    }
    return offered.issuperset(needs)
