"""What becomes of the deliveries of a batch: final, tried again together, in halves, or back in the queue."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any, cast

from hub.contract import CollectRule
from hub.delivery.attempt import load
from hub.delivery.batch_attempt import BatchAttempt, Member
from hub.delivery.batch_calls import row_of, shared_call
from hub.delivery.classify import Verdict
from hub.delivery.collect_queue import CollectQueue
from hub.delivery.composing import Composer
from hub.delivery.gathering import Batch, Gatherer
from hub.delivery.parts import spread
from hub.delivery.plan import Plan
from hub.delivery.settle import settle
from hub.delivery.steps import StepError
from hub.delivery.target import Target
from hub.errors import HubError, StoreBusy
from hub.message import CallRecord, Delivery, DeliveryState, Outcome
from hub.metrics import BATCH, Histogram

__all__ = ["BatchEnds"]

_REFUSED = (Outcome.REJECTED, Outcome.PERMANENT, Outcome.FAILED)


class BatchEnds(Target):
    """A target whose deliveries share calls, without the part that makes them."""

    def __init__(self, plan: Plan, *arguments: Any, **options: Any) -> None:
        super().__init__(plan, *arguments, **options)
        self.stats.batch = self.stats.batch or Histogram(BATCH)
        self._gatherer = Gatherer(self._queue, self._group)
        self._stirred = asyncio.Event()  # there may be something to gather

    @property
    def _queue(self) -> CollectQueue:
        return cast(CollectQueue, self.queue)

    @property
    def _composer(self) -> Composer:
        composer = self.plan.composer
        assert composer is not None  # noqa: S101 - the engine makes such a target for such plans only
        return composer

    @property
    def _rule(self) -> CollectRule:
        return self._composer.rule

    def _make_queue(self, window: int) -> CollectQueue:
        return CollectQueue(max(window, 2 * self._rule.messages))

    def _arrived(self) -> None:
        self._stirred.set()

    def _arrived_many(self) -> None:
        self._stirred.set()

    async def _group(self, delivery: Delivery) -> str:
        if not self._rule.by:
            return ""
        message = delivery.message
        if message is None:
            try:
                message = await load(self._store, delivery)
            except StepError:
                return ""  # told in its turn
        return self._composer.group(message)

    def _rest(self, delivery: Delivery) -> None:
        """Let a delivery wait for its retry; its body is not kept in memory meanwhile."""
        self._charges.discharge(delivery.id)
        delivery.message = None

    def _take_out(self, delivery_id: int) -> None:
        found = self._gatherer.withdraw(delivery_id)
        if found is None:
            super()._take_out(delivery_id)
            return
        delivery, batch = found
        if self._timers.pop(delivery_id, None) is not None:
            self._queue.awake(delivery)
            if not batch.deliveries and batch.handle is not None:
                batch.handle.cancel()
        self.queue.release(delivery)

    # -- what becomes of a batch -----------------------------------------------------------------------------------------

    async def _log_call(self, attempt: BatchAttempt, count: int) -> int:
        """The call itself with its bodies, once; the rows of the deliveries point to it."""
        plugin, envelope, keep = self.plan.bound.plugin, self._composer.stamp, self._keep_bodies
        call = shared_call(self._store.ids.next(), self.place, plugin, attempt, count, envelope, keep_bodies=keep)
        try:
            await self._store.apply(calls=[call])
        except HubError:
            self._store.log(call)
        return call.id

    def _settle_all(self, members: Sequence[Member], attempt: BatchAttempt, call_id: int) -> None:
        refused = not attempt.several and attempt.verdict.outcome in _REFUSED
        if refused and len(members) > 1 and (self._rule.refused == "halves" or not attempt.called):
            self._halve(members, attempt, call_id)
            return
        draw = random.random()  # noqa: S311 - of a pause, not of a secret
        later: dict[float, list[Delivery]] = {}
        for number, member in enumerate(members, 1):
            verdict = member.verdict or attempt.verdict
            delivery = member.delivery
            now_us = attempt.started_us + attempt.took_us
            pause = settle(delivery, verdict, self.plan.retry, now_us, lambda: draw)
            call = self._row(member, verdict, attempt, (call_id, number, len(members)) if call_id else None)
            if pause is None:
                self._final(delivery, verdict, attempt.reply, call)
            else:
                self._store.finish(delivery, call)
                self.stats.retried += 1
                later.setdefault(pause, []).append(delivery)
        for pause, deliveries in later.items():
            self._later(deliveries, pause)

    def _halve(self, members: Sequence[Member], attempt: BatchAttempt, call_id: int) -> None:
        """One that the target, or the hub itself, can't take must not be the end of the others: each half goes by itself.

        That uses up no tries.
        """
        verdict = attempt.verdict
        middle = (len(members) + 1) // 2
        for number, member in enumerate(members, 1):
            delivery = member.delivery
            delivery.state = DeliveryState.RETRYING
            # What failed together is tried again together: the second half is told from the first by a microsecond.
            delivery.updated_at = attempt.started_us + attempt.took_us + (number > middle)
            delivery.next_at = delivery.updated_at
            delivery.step, delivery.reason = verdict.step, verdict.error or verdict.code
            self._store.finish(
                delivery, self._row(member, verdict, attempt, (call_id, number, len(members)) if call_id else None)
            )
            delivery.next_at = 0
        self.stats.retried += len(members)
        self._gatherer.again(Batch([member.delivery for member in members[:middle]]))
        second = [member.delivery for member in members[middle:]]
        for delivery in second:
            del self._in_flight[delivery.id]
        self._queue.give_back(second)
        self._stirred.set()
        self._wake_one()

    def _settle_one(self, member: Member, verdict: Verdict, attempt: BatchAttempt) -> bool:
        """What ended before a call was made; True: it is tried again."""
        delivery = member.delivery
        pause = settle(delivery, verdict, self.plan.retry, attempt.started_us, random.random)
        call = self._row(member, verdict, attempt)
        self.stats.attempt(verdict.outcome, 0.0)
        if pause is None:
            self._final(delivery, verdict, None, call)
            return False
        self._store.finish(delivery, call)
        self.stats.retried += 1
        self._later([delivery], pause)
        return True

    def _row(
        self, member: Member, verdict: Verdict, attempt: BatchAttempt, shared: tuple[int, int, int] | None = None
    ) -> CallRecord:
        return row_of(self._store.ids.next(), self.plan.bound.plugin, member, verdict, attempt, shared)

    def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            del self._in_flight[delivery.id]
            delivery.state = DeliveryState.RETRYING if delivery.attempts else DeliveryState.PENDING
        self._queue.give_back(deliveries)
        if deliveries:
            self._stirred.set()

    async def _spread_one(self, member: Member, attempt: BatchAttempt) -> None:
        delivery, made = member.delivery, member.made
        assert made is not None  # noqa: S101 - asked by the caller
        try:
            children = await spread(self._store, self.queue, delivery, made.bodies, attempt.started_us)
        except StoreBusy:
            self._give_back([delivery])
            return
        except HubError as error:
            self._settle_one(member, Verdict.of_failed_step("map", error), attempt)
            return
        self._feeder.note_closed(delivery.id)
        self.queue.insert_next(delivery, children)
        self._charges.discharge(delivery.id)
        self._let_go(delivery)

    def _later(self, deliveries: list[Delivery], pause: float) -> None:
        """Let deliveries that failed together wait together; their bodies are not kept in memory meanwhile."""
        batch = Batch(deliveries)
        if pause == 0.0:
            # The breaker decides when the target is called again; they keep their place.
            for delivery in deliveries:
                delivery.next_at = 0
            self._gatherer.again(batch)
            self._wake_one()
            return
        batch.handle = asyncio.get_running_loop().call_later(pause, self._batch_due, batch)
        for delivery in deliveries:
            self._rest(delivery)
            self.queue.wait(delivery)
            self._timers[delivery.id] = (batch.handle, delivery)
        self._gatherer.note(batch)

    def _batch_due(self, batch: Batch) -> None:
        for delivery in batch.deliveries:
            del self._timers[delivery.id]
            delivery.next_at = 0
            self._queue.awake(delivery)
        self._gatherer.again(batch)
        self._wake_one()

    def _let_go(self, delivery: Delivery) -> None:
        self.queue.release(delivery)
        self._stirred.set()
