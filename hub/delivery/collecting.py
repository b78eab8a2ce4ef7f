"""Delivering to a target that takes several messages in one call (``collect``)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hub.delivery.batch_attempt import BatchAttempt, Member
from hub.delivery.batch_ends import BatchEnds
from hub.delivery.classify import Verdict
from hub.delivery.gathering import Batch
from hub.delivery.plan import Plan
from hub.delivery.target_base import LOOK_AGAIN_S
from hub.delivery.turn import Turn
from hub.logs import get_logger
from hub.masking import mask_text
from hub.message import Delivery, DeliveryState, Outcome

__all__ = ["CollectingTarget"]

log = get_logger(__name__)


class CollectingTarget(BatchEnds):
    """Gathers what is ready into batches; a worker's turn is one batch."""

    def __init__(self, plan: Plan, *arguments: Any, **options: Any) -> None:
        super().__init__(plan, *arguments, **options)
        self._gathering: asyncio.Task[None] | None = None
        self._gather_timer: asyncio.TimerHandle | None = None

    # -- life ------------------------------------------------------------------------------------------------------------

    async def start(self, *, backlog: bool) -> None:
        await super().start(backlog=backlog)
        self._gatherer.most = self._rule.messages
        self._gathering = asyncio.create_task(self._gather(), name=f"gather {self.place}")

    def replan(self, plan: Plan, sender: Any) -> None:
        super().replan(plan, sender)
        self._gatherer.most = self._rule.messages
        self._stirred.set()

    async def stop(self, grace: float) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
        if self._gather_timer is not None:
            self._gather_timer.cancel()
        await super().stop(grace)
        if self._gathering is not None:
            await asyncio.gather(self._gathering, return_exceptions=True)

    async def _gather(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._stirred.wait()
                self._stirred.clear()
                due = await self._gatherer.gather(self._rule, self._rest)
                if self.queue.behind or self.queue.wanted:
                    self._feeder.ask()
                if self._gather_timer is not None:
                    self._gather_timer.cancel()
                self._gather_timer = None if due is None else loop.call_later(max(due, 0.001), self._stirred.set)
                for _ in self._gatherer.full:
                    self._wake_one()
            except Exception as error:
                log.error("gathering for %s failed: %s", self.place, mask_text(repr(error)))
                await asyncio.sleep(1.0)
                self._stirred.set()

    # -- turns -----------------------------------------------------------------------------------------------------------

    async def _work(self, index: int) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - we run in one
        while not self._stopping and index < self._concurrency:
            batch = self._next_batch()
            if batch is None:
                future = loop.create_future()
                self._idle.append(future)
                await future
                continue
            await self._take_turn(batch, self._make_turn(loop, task))
        if not self._stopping:
            self._workers.remove(task)

    async def _take_turn(self, batch: Batch, turn: Turn) -> None:
        for delivery in batch.deliveries:
            self._in_flight[delivery.id] = turn
            delivery.state = DeliveryState.IN_FLIGHT
        try:
            await self._send(batch, turn)
        except Exception as error:  # a mistake of the hub itself must not hold these deliveries for ever
            log.exception("a batch for %s failed unexpectedly", self.place)
            self.breaker.release()
            verdict = Verdict(Outcome.TRANSIENT, "hub.unexpected", mask_text(repr(error)), "send")
            attempt = BatchAttempt()
            for delivery in batch.deliveries:
                if self._in_flight.get(delivery.id) is turn and delivery.state is DeliveryState.IN_FLIGHT:
                    self._settle_one(Member(delivery), verdict, attempt)
        finally:
            for delivery in batch.deliveries:
                if self._in_flight.get(delivery.id) is turn:
                    del self._in_flight[delivery.id]

    def _next_batch(self) -> Batch | None:
        if not self._gatherer.full:
            return None
        if not self._store.writable:
            self._wake_in(LOOK_AGAIN_S)
            return None
        return self._gatherer.next() if self._may_call() else None

    async def _send(self, batch: Batch, turn: Turn) -> None:
        plan, composer = self.plan, self._composer
        turn.pause()
        attempt = BatchAttempt()
        members = await attempt.prepare(plan, composer, self._store, batch.deliveries)
        sending = await self._sorted_out(members, attempt)
        if not sending:
            self.breaker.release()
            return
        await attempt.call(plan, composer, self.sender, sending, turn)
        turn.pause()
        self._account(attempt.called, attempt.verdict.outcome)
        self.stats.attempt(attempt.verdict.outcome, attempt.took_us / 1e6)
        if self.stats.batch is not None and attempt.called:
            self.stats.batch.observe(len(sending))
        call_id = await self._log_call(attempt, len(sending)) if attempt.called else 0
        self._settle_all(sending, attempt, call_id)

    async def _sorted_out(self, members: Sequence[Member], attempt: BatchAttempt) -> list[Member]:
        """Those that go out now; the others are settled, or keep their place for another time."""
        most = self._rule.size
        sending: list[Member] = []
        back: list[Delivery] = []
        parents: list[Member] = []
        size = 0
        full = False
        seen: set[str] = set()
        stuck: set[str] = set()  # ordering keys of which nothing may follow now
        for member in members:
            delivery, key, piece = member.delivery, member.delivery.order_key, member.piece
            if full or (key and key in stuck):
                back.append(delivery)
            elif member.verdict is not None:
                again = member.verdict.outcome in (Outcome.TRANSIENT, Outcome.UNREACHABLE)
                if again and key and key in seen:
                    back.append(delivery)  # not before what goes out now has ended
                    stuck.add(key)
                elif self._settle_one(member, member.verdict, attempt) and key:
                    stuck.add(key)
            elif piece is None:
                parents.append(member)
                stuck.add(key)
            elif sending and ((most and size + piece.size > most) or len(sending) == self._rule.messages):
                full = True
                back.append(delivery)
            else:
                sending.append(member)
                size += piece.size
                seen.add(key)
        if full:
            self._gatherer.most = max(1, len(sending))
        else:
            self._gatherer.most = min(self._rule.messages, self._gatherer.most + self._gatherer.most // 4 + 1)
        self._give_back(back)
        for member in parents:
            await self._spread_one(member, attempt)
        return sending

    # -- for people ------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, object]:
        """As of every target; ``gathering``: deliveries that wait for others, or with others for a retry after a restart."""
        status = super().status()
        ready = sum(len(batch.deliveries) for batch in self._gatherer.full)
        return {**status, "ready": len(self.queue.ready) + ready, "gathering": len(self._gatherer)}
