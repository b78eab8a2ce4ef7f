"""What all targets have: a queue, workers, pace, retries, and an end for each delivery. A slow or broken target fills only its own queue."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

from hub.api import Reply, Sender
from hub.delivery.asking import TakesIn
from hub.delivery.breaker import CircuitBreaker
from hub.delivery.budget import Budget, Charges
from hub.delivery.classify import Verdict
from hub.delivery.feeder import Feeder
from hub.delivery.plan import OFF_LOOP_BYTES, Plan
from hub.delivery.queue import KeyedQueue
from hub.delivery.rate import TokenBucket
from hub.delivery.turn import Turn
from hub.ids import millis_of
from hub.logs import get_logger
from hub.message import Awaited, CallRecord, Delivery, DeliveryState, Outcome
from hub.metrics import OutboundStats
from hub.store.base import Store
from hub.tasks import end

__all__ = ["LOOK_AGAIN_S", "Settled", "TargetBase"]

log = get_logger(__name__)

#: How often a target looks whether a store that can't be written has recovered.
LOOK_AGAIN_S = 0.2
#: A call that was cut off gets so long to end, seconds.
_STOP_S = 5.0

#: Longest time without a look at the clock for what waits for ``hours``; how much later than their beginning it is sent.
HOURS_LOOK_S = 300.0
HOURS_LATE_S = 0.01

#: Called when a delivery is final: the delivery, how its last attempt ended, the target's reply.
Settled = Callable[[Delivery, Verdict, Reply | None], None]


def _concurrency(plan: Plan, sender: Sender) -> int:
    """Calls at once."""
    wanted = plan.bound.contract.concurrency
    return min(wanted, sender.capacity or wanted)


class TargetBase(ABC):
    """One outbound interface of one system while the hub runs."""

    def __init__(
        self,
        plan: Plan,
        sender: Sender,
        store: Store,
        *,
        window: int,
        budget: Budget,
        stats: OutboundStats,
        keep_bodies: bool = True,
        intake: TakesIn | None = None,
    ) -> None:
        self.place = plan.bound.place
        self.plan = plan
        self.sender = sender
        self.stats = stats
        self.queue = self._make_queue(window)
        self.breaker = CircuitBreaker(plan.bound.contract.breaker, time.monotonic)
        self.waiters: dict[int, Settled] = {}
        self.on_awaited: Callable[[Awaited], None] | None = None  # told of what is committed as awaiting a later answer
        self.on_settled: Settled | None = None  # told of every delivery that is final, once that is committed
        self._bucket = self._make_bucket()
        self._store = store
        self._charges = Charges(budget)
        self._feeder = Feeder(
            self.place, store, self.queue, self._charges, wake_one=self._arrived, wake_all=self._arrived_many
        )
        self._keep_bodies = keep_bodies
        self._intake = intake
        self._workers: list[asyncio.Task[None]] = []
        self._idle: list[asyncio.Future[None]] = []
        self._wake_timer: asyncio.TimerHandle | None = None
        self._in_flight: dict[int, Turn] = {}
        self._timers: dict[int, tuple[asyncio.TimerHandle, Delivery]] = {}
        self._resting: set[int] = set()  # of these, those that wait for ``hours``
        self._begun = (0, 0)  # id and time (us) at which this run began, where an earlier one left deliveries open
        self._stopping = False
        self._concurrency = _concurrency(plan, sender)

    def _make_queue(self, window: int) -> KeyedQueue:
        return KeyedQueue(window)

    def _make_bucket(self) -> TokenBucket | None:
        rate = self.plan.bound.contract.rate
        return TokenBucket(rate, max(1.0, rate), time.monotonic) if rate else None

    # -- life ------------------------------------------------------------------------------------------------------------

    async def start(self, *, backlog: bool) -> None:
        """Begin to deliver; ``backlog``: the store holds open deliveries of this target from an earlier run."""
        await self.sender.start()
        if backlog:
            begun = self._store.ids.next()
            # Ids go on where the clock was set back.
            self._begun = (begun, max(time.time_ns() // 1000, millis_of(begun) * 1000))
        self.queue.behind = backlog
        self._feeder.start(recovering=backlog)
        self._grow()

    def replan(self, plan: Plan, sender: Sender) -> None:
        """Use another plan (and sender) from the next attempt on; what is under way ends as it began."""
        limits_changed = plan.bound.contract.breaker != self.plan.bound.contract.breaker
        hours_changed = plan.bound.contract.hours != self.plan.bound.contract.hours
        self.plan = plan
        self.sender = sender
        self._bucket = self._make_bucket()
        if limits_changed:
            self.breaker = CircuitBreaker(plan.bound.contract.breaker, time.monotonic)
        if hours_changed:
            for delivery_id in list(self._resting):
                handle, delivery = self._timers[delivery_id]
                handle.cancel()
                self._due(delivery)
            self._resting.clear()
        self._concurrency = _concurrency(plan, sender)
        self._grow()
        self._wake_all()

    def _grow(self) -> None:
        while len(self._workers) < self._concurrency and not self._stopping:
            index = len(self._workers)
            self._workers.append(asyncio.create_task(self._work(index), name=f"deliver {self.place} {index}"))

    @abstractmethod
    async def _work(self, index: int) -> None:
        """What worker number ``index`` does until the target stops or may no longer have so many."""

    async def stop(self, grace: float) -> None:
        """Take up nothing new, let calls under way end within ``grace`` seconds; the rest stays open in the store."""
        self._stopping = True
        self._feeder.cancel()
        for handle, _ in self._timers.values():
            handle.cancel()
        if self._wake_timer is not None:
            self._wake_timer.cancel()
        self._wake_all()
        busy = {turn.task for turn in self._in_flight.values()}
        if busy:
            await asyncio.wait(busy, timeout=grace)
        await end(*self._workers, within=_STOP_S)
        await self._feeder.ended()
        await self.sender.stop()

    async def drained(self) -> None:
        """Wait until the calls that are under way now have ended."""
        while busy := {turn.task for turn in self._in_flight.values()}:
            under_way = set(self._in_flight)
            await asyncio.wait(busy, timeout=0.1)
            if not under_way & set(self._in_flight):
                return

    # -- what comes in ---------------------------------------------------------------------------------------------------

    def offer(self, delivery: Delivery, waiter: Settled | None = None) -> None:
        """A delivery that has just been committed; called in id order."""
        if waiter is not None:
            self.waiters[delivery.id] = waiter
        if self.queue.offer(delivery):
            self._charges.charge(delivery)
            self._arrived()
        else:
            delivery.message = None
            self._feeder.ask()

    def insist(self, delivery: Delivery) -> None:
        """A delivery an operator set going again; taken whatever the window says, its body is read when its turn comes."""
        self._feeder.withdrawn.discard(delivery.id)
        delivery.message = None
        if self.queue.add(delivery):
            self._arrived()

    def withdraw(self, delivery_id: int) -> bool:
        """Take a delivery out of the queue. False: it is being sent right now, or has just become final."""
        if delivery_id in self._in_flight or delivery_id in self._feeder.closing:
            return False
        self._take_out(delivery_id)
        self._feeder.withdrawn.add(delivery_id)  # it may be on its way from the store into memory
        self._charges.discharge(delivery_id)
        self.waiters.pop(delivery_id, None)
        self._arrived()
        return True

    def _take_out(self, delivery_id: int) -> None:
        self._resting.discard(delivery_id)
        waiting = self._timers.pop(delivery_id, None)
        if waiting is not None:
            handle, delivery = waiting
            handle.cancel()
            self.queue.due(delivery)
        self.queue.withdraw(delivery_id)

    def settled(self, delivery_id: int) -> None:
        """The store says by now what an operator did with a delivery that was withdrawn."""
        self._feeder.withdrawn.discard(delivery_id)
        self._feeder.note_closed(delivery_id)

    def _was_interrupted(self, delivery: Delivery) -> bool:
        """Whether an earlier run may have sent this, asked where a target gets everything ``once``; not where an operator said: again."""
        begun, since_us = self._begun
        return delivery.id < begun and delivery.updated_at < since_us

    def forget_waiter(self, delivery_id: int) -> None:
        """Nobody waits for the reply of this delivery any more."""
        self.waiters.pop(delivery_id, None)

    # -- waking and pace -------------------------------------------------------------------------------------------------

    def _wake_one(self) -> None:
        while self._idle:
            future = self._idle.pop()
            if not future.done():
                future.set_result(None)
                return

    def _wake_all(self) -> None:
        while self._idle:
            self._wake_one()

    def _arrived(self) -> None:
        """A delivery may be ready."""
        self._wake_one()

    def _arrived_many(self) -> None:
        self._wake_all()

    def _wake_in(self, seconds: float) -> None:
        """One timer per target, for its earliest reason to look again."""
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        timer = self._wake_timer
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._wake_timer = loop.call_at(when, self._time_to_wake)

    def _time_to_wake(self) -> None:
        # A timer that has fired must not pass for one that is still to come: clocks round, so its time does not tell.
        self._wake_timer = None
        self._wake_all()

    def _may_call(self) -> bool:
        """Whether breaker and pace let a call through now; where not, the workers are woken when it makes sense to ask again."""
        if not self.breaker.allow():
            self._wake_in(max(0.01, self.breaker.retry_in()))
            return False
        if self._bucket is not None:
            pause = self._bucket.take()
            if pause > 0:
                self.breaker.release()
                self._wake_in(pause)
                return False
        return True

    def _sleep(self, delivery: Delivery, pause: float) -> None:
        """Let a delivery wait for its retry; its body is not kept in memory meanwhile."""
        self._charges.discharge(delivery.id)
        delivery.message = None
        self.queue.wait(delivery)
        handle = asyncio.get_running_loop().call_later(pause, self._due, delivery)
        self._timers[delivery.id] = (handle, delivery)

    def _waits_for_hours(self, delivery: Delivery) -> bool:
        """Whether it is not the time to send this one; False as well where that takes longer to find out."""
        hours = self.plan.hours
        if hours is None or not hours.pause():
            self._resting.discard(delivery.id)
            return False
        if delivery.id in self._resting:
            return True
        message = delivery.message
        if message is None or len(message.raw) > OFF_LOOP_BYTES:
            return False
        return not hours.exempt(message, self.plan.context(delivery, time.time_ns() // 1000))

    def _rest(self, delivery: Delivery) -> None:
        """Let a delivery wait for its hours, looking at the clock now and then: clocks are set, and machines sleep."""
        hours = self.plan.hours
        assert hours is not None  # noqa: S101 - it waits for them
        if delivery.id not in self._resting:
            self._resting.add(delivery.id)
            hours.note(delivery)
            self._store.finish(delivery, None)
        if self.queue.behind:
            self._feeder.ask()
        # Not all of them in the same moment: there may be tens of thousands.
        self._sleep(delivery, min(hours.pause() + HOURS_LATE_S, HOURS_LOOK_S * (1 - delivery.id % 64 / 256)))

    def _due(self, delivery: Delivery) -> None:
        del self._timers[delivery.id]
        delivery.next_at = 0
        self.queue.due(delivery)
        self._arrived()

    def sweep(self, now: float) -> None:
        """Cut off calls whose sender did not keep its timeout (a plugin that hangs must not hold the target's workers)."""
        for turn in list(self._in_flight.values()):
            if now > turn.limit and not turn.overdue:
                turn.overdue = True
                turn.task.cancel()

    def _account(self, called: bool, outcome: Outcome) -> None:
        """Tell the breaker how the target behaved; the hub's own failures say nothing about the target."""
        if not called:
            self.breaker.release()
        elif outcome in (Outcome.UNREACHABLE, Outcome.TRANSIENT):
            self.breaker.failure(outcome is Outcome.UNREACHABLE)
        else:
            self.breaker.success()

    # -- what is final ---------------------------------------------------------------------------------------------------

    def _final(self, delivery: Delivery, verdict: Verdict, reply: Reply | None, call: CallRecord | None) -> None:
        self._count_final(delivery, verdict)
        self._feeder.closing.add(delivery.id)
        self._store.finish(delivery, call, partial(self._committed, delivery, verdict, reply))
        self._let_go(delivery)

    def _count_final(self, delivery: Delivery, verdict: Verdict) -> None:
        self._charges.discharge(delivery.id)
        if delivery.state is DeliveryState.DELIVERED:
            self.stats.delivered += 1
        elif delivery.state is DeliveryState.DEAD:
            self.stats.dead += 1
            log.warning("%s: delivery dead at step %s: %s", self.place, verdict.step, delivery.reason)

    def _let_go(self, delivery: Delivery) -> None:
        """The delivery is final: the next of its key may go."""
        self.queue.release(delivery)
        if self.queue.wanted or (self.queue.behind and self.queue.moving < self.queue.window // 2):
            self._feeder.ask()
        if self._idle and self.queue.ready:
            self._wake_one()

    def _committed(self, delivery: Delivery, verdict: Verdict, reply: Reply | None) -> None:
        self._feeder.closing.discard(delivery.id)
        self._feeder.note_closed(delivery.id)
        waiter = self.waiters.pop(delivery.id, None)
        if waiter is not None:
            waiter(delivery, verdict, reply)
        if self.on_settled is not None:
            self.on_settled(delivery, verdict, reply)
        if verdict.awaited is not None:
            self._tell_awaited(verdict)

    def _tell_awaited(self, verdict: Verdict) -> None:
        if verdict.awaited is not None and self.on_awaited is not None:
            self.on_awaited(verdict.awaited)

    # -- for people ------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, object]:
        """Figures for the status page; ``oldest_age`` in seconds, of what could be sent now."""
        ready = self.queue.ready
        return {
            "target": self.place,
            "breaker": self.breaker.state,
            "in_flight": len(self._in_flight),
            "ready": len(self.queue.ready),
            "retrying": len(self._timers) - len(self._resting),
            **({"out_of_hours": len(self._resting)} if self.plan.hours is not None else {}),
            "in_memory": len(self.queue),
            "more_in_store": self.queue.behind,
            "oldest_age": time.time() - min(millis_of(d.id) for d in ready) / 1000 if ready else 0.0,
            **self.sender.status(),
        }
