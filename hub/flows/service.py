"""Lets flows happen: events become work for the keeper, what lies in the outbox is handed in to the hub, time passes.

Nothing here needs to be remembered: what came in is a delivery until it is committed in ``flows.db``; what is to be sent lies in the
outbox until the hub has it, under a number by which a repetition is recognised; and what became of it is looked up in the store of
messages, whenever the hub says that a delivery has ended, and again and again in case it could not say so.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
from hub.flows.events import Event, Tick
from hub.flows.fates import Fates, fate_of
from hub.flows.keeper import Keeper
from hub.flows.outbox import Outbox
from hub.flows.store import FlowStore, Outgoing, flows_file
from hub.flows.work import Accepted, Incoming, Order, Told, Work
from hub.i18n import t
from hub.ids import IdGenerator
from hub.logs import get_logger
from hub.masking import mask_text
from hub.message import Delivery
from hub.store.base import StoreReader
from hub.store.lock import FolderLock
from hub.store.sealer import Sealer

if TYPE_CHECKING:
    from hub.api import IntakePort
    from hub.deployment import Deployment

__all__ = ["FlowService"]

log = get_logger(__name__)

#: Events of one commit.
_BATCH = 64
#: How often the fate of what was sent is looked up although nobody said anything, and of how many at a time.
_SWEEP_S, _SWEPT = 5.0, 200
#: What can't be written is tried again after so long, seconds.
_AGAIN_S = 1.0
_CLEAN_S = 600.0


class _Piece:
    """A piece of work, and who waits for what becomes of it."""

    __slots__ = ("future", "work")

    def __init__(self, work: Work, future: asyncio.Future[Told] | None = None) -> None:
        self.work = work
        self.future = future


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
        self._work: deque[_Piece] = deque()
        self._wake = asyncio.Event()
        self._fates = Fates(self._sent, self._look_up)
        self._next_due = 0
        self._counts: dict[str, dict[str, int]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._lock: FolderLock
        self._store: FlowStore
        self._keeper: Keeper
        self._clock: Clock
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
        self._store = FlowStore(self._file, self._salt, self._sealer)
        sealed = self._store.seal_old()
        if sealed:
            log.info("flows: %d bodies sealed", sealed)
        self._clock = Clock()
        self._keeper = Keeper(self._store, self._ids.next, self._decode, self._clock)

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
            self._wake.set()

    @property
    def begun(self) -> bool:
        return bool(self._tasks)

    def begin(self, intake: IntakePort) -> None:
        """Once targets are up: go on with what is open."""
        self._outbox = Outbox(
            self._store, self._keeper, self._in_thread, self._add, intake, self._everywhere, self._alone
        )
        self._tasks = [
            asyncio.create_task(self._run(), name="flows"),
            asyncio.create_task(self._fates.run(), name="flows: fates"),
            asyncio.create_task(self._sweep(), name="flows: sweep"),
        ]

    def quiet(self) -> None:
        """Hand in nothing more: the hub is stopping."""
        if self._tasks:
            self._outbox.open = False

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for piece in self._work:
            if piece.future is not None and not piece.future.done():
                piece.future.set_exception(TransientError(t("the hub is stopping", "枢纽正在停止")))
        if hasattr(self, "_store"):
            await self._in_thread(self._store.close)
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
        try:
            if received and len(message.raw) > OFF_LOOP_BYTES:
                tree = await asyncio.to_thread(decode_message, message, self._deployment)
            elif received:
                tree = decode_message(message, self._deployment)
            else:
                tree = self._deployment.codecs["json"].decode(outgoing.body)
        except HubError as error:
            raise PermanentError(error.text, code=error.code) from error
        request = message.request
        answers = request.control_id if request is not None and request.source == place_of(flow) else ""
        place = message.source if received else ""
        incoming = Incoming(
            flow, place, message.type, message.id, outgoing.body, tree, answers, delivery.part if delivery else 0
        )
        told = await self._ask(incoming)
        if told.error is not None:
            passing = told.error.code.startswith(("key", "store."))  # the hub's own trouble, not the message's
            kind = TransientError if passing else PermanentError
            raise kind(mask_text(told.error.text), code=told.error.code)
        return told.verdict

    async def order(self, instance: int, event: Event) -> None:
        """What a person wants; raises :class:`HubError` when it can't be."""
        told = await self._ask(Order(instance, event))
        if told.error is not None:
            raise told.error

    def settled(self, delivery: Delivery, verdict: Verdict, reply: Reply | None) -> None:
        """A delivery has ended."""
        if delivery.route.startswith("flow:"):
            self._fates.look_at(delivery.message_id)

    def status(self, flow: str) -> dict[str, Any]:
        """State -> number of instances, as it was a moment ago."""
        return dict(self._counts.get(flow, {}))

    def _decode(self, place: str, raw: bytes) -> Any:
        bound = self._deployment.inbound.get(place)
        if bound is None:
            return self._deployment.codecs["json"].decode(raw)
        return bound.codec.decode(raw, encoding=bound.contract.encoding)

    async def _ask(self, work: Work) -> Told:
        future: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._add(work, future)
        return await future

    def _add(self, work: Work, future: asyncio.Future[Told] | None = None) -> None:
        self._work.append(_Piece(work, future))
        self._wake.set()

    # -- work ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        begun = False
        while True:
            try:
                if not begun:
                    await self._outbox.find_handed_in()
                    await self._in_thread(self._first)
                    begun = True
                    await self._outbox.hand_in(self._deployment)
                await self._once()
            except Exception as error:  # of the disk, most likely: flows go on when it does
                (log.error if isinstance(error, HubError) else log.exception)("flows: %s", mask_text(str(error)))
                await asyncio.sleep(_AGAIN_S)

    async def _once(self) -> None:
        """Wait until there is something to do, and do it."""
        if not self._work and self._time_left() != 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._time_left()):
                    await self._wake.wait()
        self._wake.clear()
        pieces = [self._work.popleft() for _ in range(min(_BATCH, len(self._work)))]
        if self._time_left() == 0:
            pieces.append(_Piece(Tick()))
        try:
            told = await self._in_thread(self._handle, [piece.work for piece in pieces])
        except Exception as error:
            await self._failed(pieces, error)
            return
        self._tell(pieces, told)
        await self._outbox.hand_in(self._deployment)

    def _first(self) -> None:
        self._next_due = self._store.next_due()
        self._count()

    def _count(self) -> None:
        counts: dict[str, dict[str, int]] = {}
        for flow, state, number in self._store.counts():
            counts.setdefault(flow, {})[state] = number
        self._counts = counts

    def _time_left(self) -> float | None:
        """Seconds until something is due; None: nothing is timed."""
        if not self._next_due:
            return None
        return min(30.0, max(0.0, (self._next_due - self._clock()) / 1e6))

    def _handle(self, works: Sequence[Work]) -> list[Told]:
        told = self._keeper.handle(works)
        self._next_due = self._store.next_due()
        return told

    def _tell(self, pieces: list[_Piece], told: list[Told]) -> None:
        for piece, result in zip(pieces, told, strict=True):
            if piece.future is not None and not piece.future.done():
                piece.future.set_result(result)
            elif result.error is not None:
                log.error("flows: %s: %s", type(piece.work).__name__, mask_text(result.error.text))
            if isinstance(piece.work, Accepted):
                self._outbox.handed_in(piece.work.seq)
                self._fates.look_at(piece.work.message_id)

    async def _failed(self, pieces: list[_Piece], error: Exception) -> None:
        """Nothing of it is committed: senders try again, the rest is done again here."""
        (log.error if isinstance(error, HubError) else log.exception)("flows: %s", mask_text(str(error)))
        again: list[_Piece] = []
        for piece in pieces:
            if piece.future is None:
                if not isinstance(piece.work, Tick):
                    again.append(piece)
            elif not piece.future.done():
                text = t("flows can't be written just now", "流程数据暂时无法写入")
                piece.future.set_exception(TransientError(text, code="flow.store"))
        self._work.extendleft(reversed(again))
        await asyncio.sleep(_AGAIN_S)

    # -- what becomes of it --------------------------------------------------------------------------------------

    async def _sent(self, messages: Sequence[int]) -> list[Outgoing]:
        def question() -> list[Outgoing]:
            found = (self._store.sent(message=message) for message in messages)
            return [row for row in found if row is not None and row.state == 1]

        rows: list[Outgoing] = await self._in_thread(question)
        return rows

    async def _look_up(self, row: Outgoing) -> None:
        for work in await fate_of(row, self._everywhere, self._deployment):
            self._add(work)

    async def _sweep(self) -> None:
        """Ask for the fate of everything that is under way, a part at a time: whatever was not told comes to light.

        At the start all of it at once: what ended while the hub was going down was told to nobody.
        """
        after, first = 0, True
        cleaned = time.monotonic()
        while True:
            try:
                rows: list[Outgoing] = await self._in_thread(self._store.outbox, 1, after, _SWEPT)
                after = rows[-1].seq if len(rows) == _SWEPT else 0
                first = first and bool(after)
                for row in rows:
                    self._fates.look_at(row.message)
                await self._in_thread(self._count)
                if time.monotonic() - cleaned > _CLEAN_S:
                    cleaned = time.monotonic()
                    await self._clean()
                self._wake.set()
            except Exception as error:
                (log.error if isinstance(error, HubError) else log.exception)("flows: %s", mask_text(str(error)))
            await asyncio.sleep(0.05 if first else _SWEEP_S)

    async def _clean(self) -> None:
        """Some at a time, so that events pass between."""
        removed, unclaimed = 1, [""]
        while removed or unclaimed:
            removed, unclaimed = await self._in_thread(self._keeper.clean)
            for message in unclaimed:
                log.warning("flows: message %s came for an instance that never began", message)
