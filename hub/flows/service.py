"""Flows as the hub has them: opened, given a deployment, begun and closed; and what the hub tells and asks them.

Nothing here needs to be remembered: what came in is a delivery until it is committed in ``flows.db``; what is to be sent lies in the
outbox until the hub has it, under a number by which a repetition is recognised; and what became of it is looked up in the store of
messages, whenever the hub says that a delivery has ended, and again and again in case it could not say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.api import Outgoing as Delivered
from hub.api import Reply
from hub.delivery.classify import Verdict
from hub.delivery.plan import OFF_LOOP_BYTES, decode_message
from hub.errors import HubError, PermanentError, TransientError
from hub.flows.checks import usable_places
from hub.flows.clock import Clock
from hub.flows.definition import Definition, place_of
from hub.flows.deploy import add_older
from hub.flows.events import Event
from hub.flows.fates import Fates, fate_of
from hub.flows.keeper import Keeper
from hub.flows.outbox import Outbox
from hub.flows.store import FlowStore, Outgoing, flows_file
from hub.flows.sweep import Sweep
from hub.flows.work import Accepted, Incoming, Order, Work
from hub.flows.worker import Worker
from hub.i18n import t
from hub.ids import IdGenerator
from hub.logs import get_logger
from hub.masking import mask_text
from hub.message import Delivery
from hub.store.base import StoreReader
from hub.store.lock import FolderLock
from hub.store.sealer import Sealer
from hub.tasks import end

if TYPE_CHECKING:
    from hub.api import IntakePort
    from hub.deployment import Deployment

__all__ = ["FlowService"]

log = get_logger(__name__)


class FlowService:
    """Of the one worker that owns the flows."""

    def __init__(
        self,
        data: Path,
        salt: bytes,
        sealer: Sealer | None,
        ids: IdGenerator,
        reader: StoreReader,
        everywhere: StoreReader,
    ) -> None:
        self._file = flows_file(data)
        self._salt = salt
        self._sealer = sealer
        self._ids = ids
        self._everywhere = everywhere
        self._alone = everywhere is reader
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flows")
        self._fates = Fates(self._sent, self._look_up)
        self._tasks: list[asyncio.Task[None]] = []
        self._lock: FolderLock
        self._store: FlowStore
        self._keeper: Keeper
        self._worker: Worker
        self._sweep: Sweep
        self._deployment: Deployment
        self._outbox: Outbox

    # -- life ----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Raises :class:`HubError` when another process has the file, or it can't be used."""
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = FolderLock(self._file.parent)
        try:
            await self._in_thread(self._open)
        except BaseException:
            self._lock.release()
            self._thread.shutdown()
            raise

    def _open(self) -> None:
        store = self._store = FlowStore(self._file, self._salt, self._sealer)
        sealed = store.seal_old()
        if sealed:
            log.info("flows: %d bodies sealed", sealed)
        clock = Clock()
        keeper = self._keeper = Keeper(store, self._ids.next, self._decode, clock)
        self._worker = Worker(store, keeper, clock, self._in_thread, self._done, self._hand_in)
        self._sweep = Sweep(store, keeper, self._in_thread, self._fates.look_at, self._worker.wake)

    async def prepare(self, deployment: Deployment) -> None:
        """Before a deployment is used: earlier versions by which something still runs get their routes as well.

        New instances begin by the new definitions from now on; what they send waits for :meth:`use`, when there are routes for it.
        """
        codecs = usable_places(deployment)
        if self.begun:
            self._outbox.waits = True

        def work() -> list[Definition]:
            self._keeper.use(deployment.flows, codecs)
            return self._keeper.older()

        add_older(deployment, await self._in_thread(work))
        self._deployment = deployment

    def use(self) -> None:
        """The deployment that was prepared is in use."""
        if self.begun:
            self._outbox.waits = False
            self._worker.wake()

    @property
    def begun(self) -> bool:
        return bool(self._tasks)

    def begin(self, intake: IntakePort) -> None:
        """Once targets are up: go on with what is open."""
        self._outbox = Outbox(
            self._store, self._keeper, self._in_thread, self._worker.add, intake, self._everywhere, self._alone
        )
        self._tasks = [
            asyncio.create_task(self._worker.run(self._first), name="flows"),
            asyncio.create_task(self._fates.run(), name="flows: fates"),
            asyncio.create_task(self._sweep.run(), name="flows: sweep"),
        ]

    async def _first(self) -> None:
        await self._outbox.find_handed_in()
        await self._in_thread(self._sweep.count)

    def quiet(self) -> None:
        """Hand in nothing more: the hub is stopping."""
        if self._tasks:
            self._outbox.open = False

    async def close(self) -> None:
        await end(*self._tasks)
        if hasattr(self, "_worker"):
            self._worker.end()
            await self._in_thread(self._store.close)  # after what is just being committed
        self._thread.shutdown()
        self._lock.release()

    async def _in_thread(self, call: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    # -- what comes in -------------------------------------------------------------------------------------------

    async def take(self, flow: str, outgoing: Delivered) -> str:
        """See :class:`hub.flows.adapter.Takes`."""
        delivery = await self._everywhere.delivery(outgoing.delivery_id)
        message = delivery.message if delivery is not None else None
        if message is None:
            raise PermanentError(t("the message is gone", "消息已不存在"), code="flow.message")
        received = outgoing.body == message.raw

        def read() -> Any:
            if received:
                return decode_message(message, self._deployment)
            return self._deployment.codecs["json"].decode(outgoing.body)

        try:
            tree = await asyncio.to_thread(read) if len(outgoing.body) > OFF_LOOP_BYTES else read()
        except HubError as error:
            raise PermanentError(error.text, code=error.code) from error
        request = message.request
        answers = request.control_id if request is not None and request.source == place_of(flow) else ""
        place = message.source if received else ""
        incoming = Incoming(
            flow, place, message.type, message.id, outgoing.body, tree, answers, delivery.part if delivery else 0
        )
        told = await self._worker.ask(incoming)
        if told.error is not None:
            passing = told.error.code.startswith(("key", "store."))  # the hub's own trouble, not the message's
            kind = TransientError if passing else PermanentError
            raise kind(mask_text(told.error.text), code=told.error.code)
        return told.verdict

    async def order(self, instance: int, event: Event) -> None:
        """What a person wants; raises :class:`HubError` when it can't be."""
        told = await self._worker.ask(Order(instance, event))
        if told.error is not None:
            raise told.error

    def settled(self, delivery: Delivery, verdict: Verdict, reply: Reply | None) -> None:
        """A delivery has ended."""
        if delivery.route.startswith("flow:"):
            self._fates.look_at(delivery.message_id)

    def status(self, flow: str) -> dict[str, Any]:
        """State -> number of instances, as it was a moment ago."""
        return dict(self._sweep.counts.get(flow, {}))

    def _decode(self, place: str, raw: bytes) -> Any:
        bound = self._deployment.inbound.get(place)
        if bound is None:
            return self._deployment.codecs["json"].decode(raw)
        return bound.codec.decode(raw, encoding=bound.contract.encoding)

    # -- what goes out, and what becomes of it -------------------------------------------------------------------

    async def _hand_in(self) -> None:
        await self._outbox.hand_in(self._deployment)

    def _done(self, work: Work) -> None:
        """A piece of work is committed."""
        if isinstance(work, Accepted):
            self._outbox.handed_in(work.seq)
            self._fates.look_at(work.message_id)

    async def _sent(self, messages: Sequence[int]) -> list[Outgoing]:
        def question() -> list[Outgoing]:
            found = (self._store.sent(message=message) for message in messages)
            return [row for row in found if row is not None and row.state == 1]

        rows: list[Outgoing] = await self._in_thread(question)
        return rows

    async def _look_up(self, row: Outgoing) -> None:
        for work in await fate_of(row, self._everywhere, self._deployment):
            self._worker.add(work)
