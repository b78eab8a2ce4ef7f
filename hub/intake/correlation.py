"""Answers that come later, as messages of their own: which delivery each of them answers.

An answer is stored, and acknowledged, like any other message; with it is stored by what key it answers, and what it may answer.
What it does answer is found out afterwards, here, in one task and in the order of the commits, so that it makes no difference
whether the answer or the reply that names the key is committed first:

* an answer that has been committed is looked up among the deliveries that are awaiting one;
* a delivery that has been committed as awaiting one is looked up among the answers that have found nothing yet.

Both are rows of the store: after a crash the answers that have found nothing yet, or have not been routed, are taken up again.

Where a route or a mapping asks for ``$request``, the message that is answered, the answer is routed when that is known: the
deliveries, and what it answers, are one commit. It waits at most ``answers.wait`` for it, then goes on without.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hub.answering import answered_places
from hub.delivery.engine import DeliveryEngine
from hub.delivery.plan import OFF_LOOP_BYTES, World, decode_message, request_values
from hub.errors import HubError, StoreBusy
from hub.ids import id_text, millis_of
from hub.intake.answers import AnswerRule, asks_for_request
from hub.intake.exchange import Exchanges
from hub.intake.source import KEY_LENGTH, Source
from hub.logs import get_logger
from hub.mapping import Context
from hub.masking import mask_text
from hub.message import Awaited, Binding, Delivery, Message
from hub.router import Router
from hub.store.base import Store, StoreReader

__all__ = ["Correlator"]

log = get_logger(__name__)

#: Answers looked at together, for one commit.
_BATCH = 200
#: Answers that have been routed without knowing what they answer, and are kept in memory in case it comes to light.
_MOST_KEPT = 10_000
#: Answers that may wait to be matched before no more messages are taken, and of how many of them, up to what size, bytes stay in memory.
_MOST_WORK, _BODIES, _BODY_BYTES = 20_000, 1_000, 64 << 10
#: A store that can't be read or written is tried again so often, seconds.
_AGAIN_S = 0.2
#: An answer that is to be refused when nothing awaits it waits so long for the reply that names its key, seconds.
_REFUSE_AFTER_S = 2.0


@dataclass(slots=True, eq=False)
class _Open:
    """An answer of which it is not known yet what it answers."""

    id: int
    key: str
    places: list[str]
    waiting: bool  # to be routed
    message: Message | None = None  # while it has just been stored
    found: Awaited | None = None  # what it answers
    given_up: bool = False  # it has waited long enough
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class _Step:
    """What is to be committed for one answer."""

    known: _Open
    message: Message
    binding: Binding
    deliveries: Sequence[Delivery] = ()


class Correlator:
    """Of one worker. ``everywhere`` also reads other workers' stores: who owns a system may have changed."""

    def __init__(self, store: Store, engine: DeliveryEngine, exchanges: Exchanges, everywhere: StoreReader) -> None:
        self._store = store
        self._engine = engine
        self._exchanges = exchanges
        self._reader = everywhere
        self._sources: Mapping[str, Source] = {}
        self._world: World
        self._router: Router
        self._open: dict[int, _Open] = {}
        self._by_key: dict[str, list[_Open]] = {}
        self._kept: OrderedDict[int, _Open] = OrderedDict()  # of these, the ones that wait for nothing
        self._expecting: dict[str, list[asyncio.Future[None]]] = {}  # answers that are to be refused when nothing comes
        self._work: deque[_Open] = deque()
        self._restore = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def use(self, world: World, router: Router, sources: Mapping[str, Source]) -> None:
        """Work by this deployment from now on; gives the sources that take answers their rules."""
        for source in sources.values():
            places = answered_places(source.bound, world.outbound)
            if places:
                source.take_answers(
                    AnswerRule(source.bound, places, asks_for_request(source.bound.place, world, router))
                )
        self._world, self._router, self._sources = world, router, sources
        if any(source.answers is not None for source in sources.values()):
            self._engine.on_awaited = self.awaited
            self._restore = True
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._run(), name="match answers")
            self._wake.set()

    async def stop(self) -> None:
        """Everything that is open is in the store."""
        for known in self._open.values():
            if known.timer is not None:
                known.timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # -- what happens --------------------------------------------------------------------------------------------

    def stored(self, message: Message) -> None:
        """An answer is committed; called in the order of the commits."""
        answer = message.answer
        assert answer is not None  # noqa: S101 - asked by the caller
        kept = message if len(self._work) < _BODIES and len(message.raw) <= _BODY_BYTES else None
        self._add(_Open(message.id, answer.key, answer.places, answer.waiting, kept))

    def awaited(self, awaited: Awaited) -> None:
        """A delivery is committed as awaiting an answer; called in the order of the commits."""
        for known in self._by_key.get(awaited.key, ()):
            if awaited.place in known.places and known.found is None:
                known.found = awaited
                self._look_at(known)
        for future in self._expecting.get(awaited.key, ()):
            if not future.done():
                future.set_result(None)

    async def expected(self, rule: AnswerRule, key: str) -> bool:
        """Whether something awaits an answer with this key, now or within a moment: it may be faster than the reply."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._expecting.setdefault(key, []).append(future)
        try:
            if await self._reader.awaited(rule.places, key) is not None:
                return True
            await asyncio.wait([future], timeout=_REFUSE_AFTER_S)
            return future.done() and await self._reader.awaited(rule.places, key) is not None
        finally:
            self._expecting[key].remove(future)
            if not self._expecting[key]:
                del self._expecting[key]

    @property
    def full(self) -> bool:
        """Whether so many answers wait to be matched that no more should be taken."""
        return len(self._work) >= _MOST_WORK

    def _add(self, new: _Open) -> None:
        if new.id not in self._open:
            self._open[new.id] = new
            self._by_key.setdefault(new.key, []).append(new)
            self._look_at(new)

    def _look_at(self, known: _Open) -> None:
        self._work.append(known)
        self._wake.set()

    def _give_up(self, known: _Open) -> None:
        known.given_up = True
        self._look_at(known)

    def _forget(self, known: _Open) -> None:
        if known.timer is not None:
            known.timer.cancel()
        self._kept.pop(known.id, None)
        if self._open.pop(known.id, None) is not None:
            same = self._by_key[known.key]
            same.remove(known)
            if not same:
                del self._by_key[known.key]

    # -- the task ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch: list[_Open] = []
            try:
                if self._restore:
                    for answer in await self._store.reader.open_answers(_MOST_KEPT):
                        self._add(_Open(answer.message_id, answer.key, answer.places, answer.waiting))
                    self._restore = False
                while self._work:
                    batch = [self._work.popleft() for _ in range(min(_BATCH, len(self._work)))]
                    await self._match(batch)
            except Exception as error:
                (log.error if isinstance(error, HubError) else log.exception)(
                    "answers can't be matched just now: %s", mask_text(repr(error))
                )
                self._work.extendleft(reversed(batch))
                await asyncio.sleep(_AGAIN_S)
                self._wake.set()

    async def _match(self, batch: list[_Open]) -> None:
        """One commit for those of which it is known now what they answer, or that go on without."""
        live = [known for known in dict.fromkeys(batch) if self._open.get(known.id) is known]
        found = await asyncio.gather(*(self._find(known) for known in live))
        steps: list[_Step] = []
        for known, awaited in zip(live, found, strict=True):
            known.found = awaited
            if awaited is None and (not known.waiting or self._wait(known)):
                known.message = None  # it may take long
                self._keep(known)
                continue
            step = await self._step(known)
            if step is not None:
                steps.append(step)
        if steps:
            await self._commit(steps)

    async def _find(self, known: _Open) -> Awaited | None:
        return known.found or await self._reader.awaited(known.places, known.key)

    def _wait(self, known: _Open) -> bool:
        """Whether an answer still waits; a timer tells when that is over."""
        if known.given_up:
            return False
        if known.timer is None:
            waits = [
                source.answers.wait
                for source in self._sources.values()
                if source.answers is not None and not set(known.places).isdisjoint(source.answers.places)
            ]
            left = max(waits, default=0.0) - (time.time() - millis_of(known.id) / 1000)
            if left <= 0:
                return False
            known.timer = asyncio.get_running_loop().call_later(left, self._give_up, known)
        return True

    def _keep(self, known: _Open) -> None:
        """What waits for nothing is kept only so long as there is room."""
        if not known.waiting:
            self._kept[known.id] = known
            if len(self._kept) > _MOST_KEPT:
                self._forget(next(iter(self._kept.values())))

    async def _step(self, known: _Open) -> _Step | None:
        """None where nothing can be done: the message is gone, or its routes can't be asked. It is open until they can."""
        message = known.message or await self._store.reader.message(known.id)
        if message is None:
            self._forget(known)
            return None
        binding = Binding(known.id)
        if known.found is not None:
            binding = Binding(known.id, known.found.message_id, known.found.delivery_id)
            message.causation = binding.request
            message.request = await self._reader.envelope(binding.request)
        try:
            return _Step(known, message, binding, await self._routed(message) if known.waiting else ())
        except Exception as error:  # of an expression or a codec: this answer's misfortune
            log.error("answer %s can't be routed: %s", id_text(known.id), mask_text(repr(error)))
            self._forget(known)
            return None

    async def _routed(self, message: Message) -> list[Delivery]:
        """Raises :class:`HubError` for what can't be evaluated."""
        source = self._sources.get(message.source)
        if source is None:
            raise HubError(f"{message.source} is not configured", code="answer.source")
        if message.tree is None and len(message.raw) > OFF_LOOP_BYTES:
            tree = await asyncio.to_thread(decode_message, message, self._world)
        else:
            tree = decode_message(message, self._world)
        now = time.time_ns() // 1000
        variables = {"request": request_values(message.request)} if message.request is not None else {}
        context = Context(settings=source.settings, message=message, now_us=now, variables=variables)
        return [
            Delivery(
                id=self._store.ids.next(),
                message_id=message.id,
                route=entry.route,
                target=entry.target,
                order_key=entry.order_key(tree, context)[:KEY_LENGTH],
                updated_at=now,
                message=message,
            )
            for entry in self._router.targets(message.source, message.type, tree, context)
        ]

    async def _commit(self, steps: list[_Step]) -> None:
        create = [delivery for step in steps for delivery in step.deliveries]
        while True:
            try:
                await self._store.apply(create=create, bindings=[step.binding for step in steps])
                break
            except StoreBusy:
                await asyncio.sleep(_AGAIN_S)
            except HubError as error:
                if len(steps) == 1:
                    log.error("answer %s: %s", id_text(steps[0].known.id), mask_text(error.text))
                    return self._forget(steps[0].known)
                for step in steps:
                    await self._commit([step])
                return
        for step in steps:
            known = step.known
            known.message = None
            known.waiting = False
            if step.binding.request:
                self._forget(known)
                self._exchanges.called_back(step.binding.delivery, step.message)
            else:
                self._keep(known)
            for delivery in step.deliveries:
                self._engine.offer(delivery)
