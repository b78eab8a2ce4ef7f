"""Delivering to one target: its queue, workers, pace and retries. A slow or broken target fills only its own queue."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from hub.api import Outgoing, Reply, Sender
from hub.delivery.breaker import CircuitBreaker
from hub.delivery.classify import Verdict
from hub.delivery.lookup_readings import LookupFailed
from hub.delivery.plan import OFF_LOOP_BYTES, Plan, Prepared, StepError
from hub.delivery.queue import KeyedQueue
from hub.delivery.rate import TokenBucket
from hub.delivery.retry import next_delay
from hub.errors import HubError, SendError, StoreBusy
from hub.i18n import t
from hub.ids import millis_of
from hub.logs import get_logger
from hub.masking import mask_text
from hub.message import (
    CallRecord,
    CheckRecord,
    CheckVerdict,
    Delivery,
    DeliveryState,
    Direction,
    Message,
    Outcome,
)
from hub.metrics import OutboundStats
from hub.store.base import Store

if TYPE_CHECKING:
    from hub.checking.checks import Checks
    from hub.delivery.lookups import Answers
    from hub.mapping import CompiledMapping

__all__ = ["Budget", "Settled", "Target"]

log = get_logger(__name__)

#: A sender must keep its own timeout; one that doesn't is cut off so much later.
OVERDUE_S = 5.0
#: Deliveries read from the store at a time, and bytes of them.
PAGE = 500
PAGE_BYTES = 8 << 20
#: How often a target looks whether a store that can't be written has recovered.
LOOK_AGAIN_S = 0.2

#: Called when a delivery is final: the delivery, how its last attempt ended, the target's reply.
Settled = Callable[[Delivery, Verdict, Reply | None], None]


class Budget:
    """Bytes of message bodies that all targets together keep in memory; above it bodies are read when needed."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, count: int) -> bool:
        if self.used + count > self.limit:
            return False
        self.used += count
        return True

    def give(self, count: int) -> None:
        self.used -= count


class Target:
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
    ) -> None:
        self.place = plan.bound.place
        self.plan = plan
        self.sender = sender
        self.stats = stats
        self.queue = KeyedQueue(window)
        self.breaker = CircuitBreaker(plan.bound.contract.breaker, time.monotonic)
        self._bucket = self._make_bucket()
        self._store = store
        self._budget = budget
        self._keep_bodies = keep_bodies
        self._workers: list[asyncio.Task[None]] = []
        self._idle: list[asyncio.Future[None]] = []
        self._wake_timer: asyncio.TimerHandle | None = None
        self._in_flight: dict[int, tuple[asyncio.Task[None], float]] = {}
        self._overdue: set[int] = set()
        self._timers: dict[int, tuple[asyncio.TimerHandle, Delivery]] = {}
        self._charged: dict[int, int] = {}
        self._withdrawn: set[int] = set()  # by an operator; the commit that says so is still under way
        self._closing: set[int] = set()  # final, but the commit that says so is still under way
        self._closed: set[int] | None = None  # while the feeder reads: what was committed as no longer open meanwhile
        self._waiters: dict[int, Settled] = {}
        self._feeder: asyncio.Task[None] | None = None
        self._feed = asyncio.Event()
        self._stopping = False

    def _make_bucket(self) -> TokenBucket | None:
        rate = self.plan.bound.contract.rate
        return TokenBucket(rate, max(1.0, rate), time.monotonic) if rate else None

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self, *, backlog: bool) -> None:
        """Begin to deliver; ``backlog``: the store holds open deliveries of this target from an earlier run."""
        await self.sender.start()
        self.queue.behind = backlog
        self._feeder = asyncio.create_task(self._feed_loop(recovering=backlog), name=f"feed {self.place}")
        self._grow()

    def replan(self, plan: Plan, sender: Sender) -> None:
        """Use another plan (and sender) from the next attempt on; what is under way ends as it began."""
        limits_changed = plan.bound.contract.breaker != self.plan.bound.contract.breaker
        self.plan = plan
        self.sender = sender
        self._bucket = self._make_bucket()
        if limits_changed:
            self.breaker = CircuitBreaker(plan.bound.contract.breaker, time.monotonic)
        self._grow()
        self._wake_all()

    @property
    def _concurrency(self) -> int:
        wanted = self.plan.bound.contract.concurrency
        return min(wanted, self.sender.capacity or wanted)

    def _grow(self) -> None:
        while len(self._workers) < self._concurrency and not self._stopping:
            index = len(self._workers)
            self._workers.append(asyncio.create_task(self._work(index), name=f"deliver {self.place} {index}"))

    async def stop(self, grace: float) -> None:
        """Take up nothing new, let calls under way end within ``grace`` seconds; the rest stays open in the store."""
        self._stopping = True
        if self._feeder is not None:
            self._feeder.cancel()
        for handle, _ in self._timers.values():
            handle.cancel()
        if self._wake_timer is not None:
            self._wake_timer.cancel()
        self._wake_all()
        busy = [task for task, _ in self._in_flight.values()]
        if busy:
            await asyncio.wait(busy, timeout=grace)
        for task in self._workers:
            task.cancel()
        ending = [*self._workers, *([self._feeder] if self._feeder else [])]
        await asyncio.gather(*ending, return_exceptions=True)
        await self.sender.stop()

    async def drained(self) -> None:
        """Wait until the calls that are under way now have ended."""
        while busy := [task for task, _ in self._in_flight.values()]:
            under_way = set(self._in_flight)
            await asyncio.wait(busy, timeout=0.1)
            if not under_way & set(self._in_flight):
                return

    # -- what comes in -------------------------------------------------------------------------------------------

    def offer(self, delivery: Delivery, waiter: Settled | None = None) -> None:
        """A delivery that has just been committed; called in id order."""
        if waiter is not None:
            self._waiters[delivery.id] = waiter
        if self.queue.offer(delivery):
            self._charge(delivery)
            if self._idle:
                self._wake_one()
        else:
            delivery.message = None
            self._feed.set()

    def insist(self, delivery: Delivery) -> None:
        """A delivery an operator set going again; taken whatever the window says, its body is read when its turn comes."""
        self._withdrawn.discard(delivery.id)
        delivery.message = None
        if self.queue.add(delivery):
            self._wake_one()

    def withdraw(self, delivery_id: int) -> bool:
        """Take a delivery out of the queue. False: it is being sent right now, or has just become final."""
        if delivery_id in self._in_flight or delivery_id in self._closing:
            return False
        waiting = self._timers.pop(delivery_id, None)
        if waiting is not None:
            handle, delivery = waiting
            handle.cancel()
            self.queue.due(delivery)
        self.queue.withdraw(delivery_id)
        self._withdrawn.add(delivery_id)  # it may be on its way from the store into memory
        self._discharge(delivery_id)
        self._waiters.pop(delivery_id, None)
        self._wake_one()
        return True

    def settled(self, delivery_id: int) -> None:
        """The store says by now what an operator did with a delivery that was withdrawn."""
        self._withdrawn.discard(delivery_id)
        self._note_closed(delivery_id)

    def forget_waiter(self, delivery_id: int) -> None:
        """Nobody waits for the reply of this delivery any more."""
        self._waiters.pop(delivery_id, None)

    def _charge(self, delivery: Delivery) -> None:
        message = delivery.message
        if message is None:
            return
        size = len(message.raw)
        if self._budget.take(size):
            self._charged[delivery.id] = size
        else:
            delivery.message = None

    def _discharge(self, delivery_id: int) -> None:
        size = self._charged.pop(delivery_id, 0)
        if size:
            self._budget.give(size)

    # -- feeding from the store ----------------------------------------------------------------------------------

    async def _feed_loop(self, recovering: bool) -> None:
        while True:
            try:
                if recovering:
                    self._closed = set()
                    children = await self._store.open_children(self.place)
                    await self._store.reported()
                    for child in children:
                        self._take_stored(child)
                    recovering = False
                await self._feed_wanted()
                await self._feed_behind()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.error("feeding %s from the store failed: %s", self.place, mask_text(repr(error)))
                await asyncio.sleep(1.0)
                continue
            await self._feed.wait()
            self._feed.clear()

    async def _feed_wanted(self) -> None:
        queue = self.queue
        while queue.wanted:
            key = queue.wanted.popleft()
            queue.loading(key)
            self._closed = set()
            found = await self._store.open_for_key(self.place, key, 0, PAGE, PAGE_BYTES)
            await self._store.reported()
            more = len(found) >= PAGE or sum(len(d.message.raw) for d in found if d.message) >= PAGE_BYTES
            fresh = [d for d in found if self._is_news(d.id)]
            queue.unpark(key, fresh, more or len(fresh) < len(found))
            self._closed = None
            for delivery in fresh:
                self._charge(delivery)
            self._wake_all()

    async def _feed_behind(self) -> None:
        queue = self.queue
        while queue.behind and len(queue) < queue.window // 2 + 1:
            queue.missed = False
            page = min(PAGE, queue.window)
            self._closed = set()
            found = await self._store.open_deliveries(self.place, queue.cursor, page, PAGE_BYTES)
            await self._store.reported()
            for delivery in found:
                queue.cursor = delivery.id
                self._take_stored(delivery)
            self._closed = None
            if not found:
                queue.behind = queue.missed
            await asyncio.sleep(0)

    def _is_news(self, delivery_id: int) -> bool:
        """False for what was read as open although it has become final or was withdrawn, before or after it was read."""
        return not (
            delivery_id in self._closing
            or delivery_id in self._withdrawn
            or (self._closed is not None and delivery_id in self._closed)
        )

    def _note_closed(self, delivery_id: int) -> None:
        """What the feeder is reading just now may still show this delivery as open."""
        if self._closed is not None:
            self._closed.add(delivery_id)

    def _take_stored(self, delivery: Delivery) -> None:
        if self._is_news(delivery.id) and self.queue.add(delivery):
            self._charge(delivery)
            self._wake_one()

    # -- workers -------------------------------------------------------------------------------------------------

    def _wake_one(self) -> None:
        while self._idle:
            future = self._idle.pop()
            if not future.done():
                future.set_result(None)
                return

    def _wake_all(self) -> None:
        while self._idle:
            self._wake_one()

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

    async def _work(self, index: int) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - we run in one
        while not self._stopping and index < self._concurrency:
            delivery = self._next()
            if delivery is None:
                future = loop.create_future()
                self._idle.append(future)
                await future
                continue
            limit = loop.time() + self.plan.bound.contract.timeout + OVERDUE_S
            self._in_flight[delivery.id] = (task, limit)
            try:
                await self._attempt(delivery)
            finally:
                self._in_flight.pop(delivery.id, None)
        if not self._stopping:
            self._workers.remove(task)

    def _next(self) -> Delivery | None:
        """The delivery to send now; None: nothing is ready or the target must be left in peace for a while."""
        ready = self.queue.ready
        if len(ready) < 2 and (self.queue.behind or self.queue.wanted):
            self._feed.set()
        while ready:
            if not self._store.writable:
                self._wake_in(LOOK_AGAIN_S)
                return None
            first = ready[0]
            if first.next_at:
                # Not longer than was decided, or a clock that was set back would hold the key for as long as it was wrong.
                pause = (first.next_at - max(time.time_ns() // 1000, first.updated_at)) / 1e6
                if pause > 0:
                    self._sleep(ready.popleft(), pause)
                    continue
            if not self.breaker.allow():
                self._wake_in(max(0.01, self.breaker.retry_in()))
                return None
            if self._bucket is not None:
                pause = self._bucket.take()
                if pause > 0:
                    self.breaker.release()
                    self._wake_in(pause)
                    return None
            return ready.popleft()
        return None

    def _sleep(self, delivery: Delivery, pause: float) -> None:
        """Let a delivery wait for its retry; its body is not kept in memory meanwhile."""
        self._discharge(delivery.id)
        delivery.message = None
        self.queue.wait(delivery)
        handle = asyncio.get_running_loop().call_later(pause, self._due, delivery)
        self._timers[delivery.id] = (handle, delivery)

    def _due(self, delivery: Delivery) -> None:
        del self._timers[delivery.id]
        delivery.next_at = 0
        self.queue.due(delivery)
        self._wake_one()

    def sweep(self, now: float) -> None:
        """Cut off calls whose sender did not keep its timeout (a plugin that hangs must not hold the target's workers)."""
        for delivery_id, (task, limit) in list(self._in_flight.items()):
            if now > limit and delivery_id not in self._overdue:
                self._overdue.add(delivery_id)
                task.cancel()

    # -- one attempt ---------------------------------------------------------------------------------------------

    async def _attempt(self, delivery: Delivery) -> None:
        plan = self.plan
        started_us = time.time_ns() // 1000
        started = time.perf_counter_ns()
        delivery.state = DeliveryState.IN_FLIGHT
        prepared: Prepared | None = None
        request: bytes | None = None
        reply: Reply | None = None
        called = False
        check: CheckRecord | None = None
        answers: Answers | None = None
        try:
            message = delivery.message
            if message is None:
                message = await self._load(delivery)
            mapping = plan.with_lookups(delivery)
            if mapping is not None:
                answers = await self._look_up(plan, mapping, delivery, started_us)
            found = answers.values if answers is not None else None
            if len(message.raw) > OFF_LOOP_BYTES:
                prepared = await asyncio.to_thread(plan.prepare, delivery, started_us, found)
            else:
                prepared = plan.prepare(delivery, started_us, found)
            if len(prepared.bodies) != 1:
                self.breaker.release()
                await self._spread(delivery, prepared, started_us)
                return
            request = prepared.bodies[0]
            if plan.checks is not None:
                check = await self._check(plan, plan.checks, delivery, request, started_us)
            called = True
            reply = await self.sender.send(
                Outgoing(
                    body=request,
                    delivery_id=delivery.id,
                    idempotency_key=prepared.idempotency_key,
                    type=message.type,
                    control_id=message.control_id,
                    attempt=delivery.attempts + 1,
                    timeout=plan.bound.contract.timeout,
                    variables=message.keys,
                )
            )
            verdict = plan.classifier.judge(reply)
        except StepError as error:
            verdict = Verdict.of_failed_step(error.step, error.error)
            check = error.check
        except LookupFailed as error:
            verdict = error.verdict
        except SendError as error:
            verdict = Verdict.of_send_error(error)
            reply = Reply(False, error.response) if error.response else None
        except asyncio.CancelledError:
            if delivery.id not in self._overdue:
                delivery.state = DeliveryState.PENDING
                raise
            # It has ended; the next call of this delivery that hangs must be cut off as well.
            self._overdue.discard(delivery.id)
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            text = t("no answer within the timeout, and the sender did not give up", "超时未应答，且发送端未自行放弃")
            verdict = Verdict(Outcome.TRANSIENT, "send.overdue", text, "send")
        except Exception as error:
            # A bug in an adapter or a plugin's function: this delivery's misfortune, nobody else's (invariant 5).
            log.exception("attempt for %s failed unexpectedly", self.place)
            verdict = Verdict(Outcome.TRANSIENT, "hub.unexpected", mask_text(repr(error)), "send")
        took_us = (time.perf_counter_ns() - started) // 1000
        self._account(called, verdict.outcome)
        params = answers.params if answers is not None else ""
        self._settle(delivery, verdict, prepared, request, reply, started_us, took_us, check, params)

    async def _look_up(self, plan: Plan, mapping: CompiledMapping, delivery: Delivery, started_us: int) -> Answers:
        """What the mapping asks for. The time of other systems is not the target's."""
        task, _ = self._in_flight[delivery.id]
        self._in_flight[delivery.id] = (task, math.inf)
        answers = await plan.look_up(mapping, delivery, started_us)
        limit = asyncio.get_running_loop().time() + plan.bound.contract.timeout + OVERDUE_S
        self._in_flight[delivery.id] = (task, limit)
        return answers

    async def _check(self, plan: Plan, checks: Checks, delivery: Delivery, body: bytes, started_us: int) -> CheckRecord:
        """Raises :class:`StepError` for what must not be sent. The time of a check is not the target's."""
        task, _ = self._in_flight[delivery.id]
        self._in_flight[delivery.id] = (task, math.inf)
        record = await plan.check(checks, delivery, body, started_us)
        limit = asyncio.get_running_loop().time() + plan.bound.contract.timeout + OVERDUE_S
        self._in_flight[delivery.id] = (task, limit)
        if record.verdict is CheckVerdict.REFUSED:
            raise StepError("validate", checks.failure(record), record)
        return record

    async def _load(self, delivery: Delivery) -> Message:
        stored = await self._store.reader.delivery(delivery.id)
        if stored is None or stored.message is None:
            raise StepError(
                "load", HubError(t("the message is no longer in the store", "消息已不在存储中"), code="store.missing")
            )
        delivery.message = stored.message
        delivery.payload = stored.payload
        return stored.message

    def _account(self, called: bool, outcome: Outcome) -> None:
        """Tell the breaker how the target behaved; the hub's own failures say nothing about the target."""
        if not called:
            self.breaker.release()
        elif outcome in (Outcome.UNREACHABLE, Outcome.TRANSIENT):
            self.breaker.failure(outcome is Outcome.UNREACHABLE)
        else:
            self.breaker.success()

    def _settle(
        self,
        delivery: Delivery,
        verdict: Verdict,
        prepared: Prepared | None,
        request: bytes | None,
        reply: Reply | None,
        started_us: int,
        took_us: int,
        check: CheckRecord | None,
        params: str,
    ) -> None:
        now_us = started_us + took_us
        outcome = verdict.outcome
        pause: float | None = None
        if outcome is Outcome.UNREACHABLE:
            age = now_us / 1e6 - millis_of(delivery.id) / 1000
            if age < self.plan.retry.give_up_after:
                pause = max(verdict.retry_after, 0.0)
        else:
            delivery.attempts += 1
            if outcome is Outcome.TRANSIENT:
                pause = next_delay(self.plan.retry, delivery.attempts, random.random)
                if pause is not None:
                    pause = max(pause, verdict.retry_after)
        delivery.updated_at = now_us
        delivery.reason = "" if outcome is Outcome.OK else verdict.error or verdict.code
        delivery.step = verdict.step
        delivery.next_at = 0
        if outcome is Outcome.OK:
            delivery.state = DeliveryState.DELIVERED
        elif pause is None:
            delivery.state = DeliveryState.DEAD
        else:
            delivery.state = DeliveryState.RETRYING
            delivery.next_at = now_us + int(pause * 1e6)
        keep_reply = self._keep_bodies or delivery.id in self._waiters  # a repeated request is answered from it
        sent_as_received = prepared is not None and not prepared.stamp and delivery.payload is None
        call = CallRecord(
            id=self._store.ids.next(),
            at=started_us,
            direction=Direction.OUT,
            place=self.place,
            outcome=outcome,
            message_id=delivery.message_id,
            delivery_id=delivery.id,
            attempt=delivery.attempts,
            code=verdict.code,
            error=verdict.error,
            took_us=took_us,
            params=params,
            request=request if self._keep_bodies and not sent_as_received else None,
            response=reply.body if reply is not None and reply.body and keep_reply else None,
            mapping=prepared.stamp if prepared is not None else "",
            plugin=self.plan.bound.plugin,
            check=check,
        )
        self.stats.attempt(outcome, took_us / 1e6)
        if pause is None:
            self._final(delivery, verdict, reply, call)
            return
        self._store.finish(delivery, call)
        self.stats.retried += 1
        if outcome is Outcome.UNREACHABLE and pause == 0.0:
            # The breaker decides when the target is called again; the delivery keeps its place.
            delivery.next_at = 0
            self.queue.put_back(delivery)
        else:
            self._sleep(delivery, pause)

    def _final(self, delivery: Delivery, verdict: Verdict, reply: Reply | None, call: CallRecord | None) -> None:
        self._discharge(delivery.id)
        if delivery.state is DeliveryState.DELIVERED:
            self.stats.delivered += 1
        elif delivery.state is DeliveryState.DEAD:
            self.stats.dead += 1
            log.warning("%s: delivery dead at step %s: %s", self.place, verdict.step, delivery.reason)
        self._closing.add(delivery.id)
        self._store.finish(delivery, call, partial(self._committed, delivery, verdict, reply))
        self.queue.release(delivery)
        if self.queue.wanted or (self.queue.behind and len(self.queue) < self.queue.window // 2):
            self._feed.set()
        if self._idle and self.queue.ready:
            self._wake_one()

    def _committed(self, delivery: Delivery, verdict: Verdict, reply: Reply | None) -> None:
        self._closing.discard(delivery.id)
        self._note_closed(delivery.id)
        waiter = self._waiters.pop(delivery.id, None)
        if waiter is not None:
            waiter(delivery, verdict, reply)

    async def _spread(self, delivery: Delivery, prepared: Prepared, started_us: int) -> None:
        """The mapping made no target, or several: the delivery ends, each part goes its own way as a delivery of its own."""
        count = len(prepared.bodies)
        children = [
            Delivery(
                id=self._store.ids.next(),
                message_id=delivery.message_id,
                route=delivery.route,
                target=delivery.target,
                order_key=delivery.order_key,
                parent=delivery.id,
                part=number,
                payload=body,
                updated_at=started_us,
            )
            for number, body in enumerate(prepared.bodies, 1)
        ]
        before = delivery.state
        task, _ = self._in_flight[delivery.id]
        self._in_flight[delivery.id] = (task, math.inf)  # no call any more: cut off now, it would be split twice
        born = {child.id for child in children}
        self.queue.ids |= born  # known before they are committed, or the feeder might bring them as well
        delivery.state = DeliveryState.SKIPPED
        delivery.parts = count
        delivery.updated_at = started_us
        delivery.step = ""
        delivery.reason = (
            t(f"split into {count} parts", f"拆分为 {count} 份")
            if count
            else t("the mapping's condition does not hold", "不满足映射的条件")
        )
        try:
            await self._store.apply(create=children, update=[delivery])
        except BaseException as error:
            self.queue.ids -= born
            delivery.state = before
            delivery.parts = 0
            if not isinstance(error, StoreBusy):
                raise
            self.queue.put_back(delivery)
            return
        self._note_closed(delivery.id)
        for child in children:
            child.message = delivery.message
        self.queue.insert_next(delivery, children)
        waiter = self._waiters.pop(delivery.id, None)
        if waiter is not None:
            waiter(delivery, Verdict(Outcome.FAILED, "mapping.split", delivery.reason, "map"), None)
        self._discharge(delivery.id)
        self.queue.release(delivery)
        self._wake_all()

    # -- for people ----------------------------------------------------------------------------------------------

    def status(self) -> dict[str, object]:
        """Figures for the status page; ``oldest_age`` in seconds, of what could be sent now."""
        ready = self.queue.ready
        return {
            "target": self.place,
            "breaker": self.breaker.state,
            "in_flight": len(self._in_flight),
            "ready": len(self.queue.ready),
            "retrying": len(self._timers),
            "in_memory": len(self.queue),
            "more_in_store": self.queue.behind,
            "oldest_age": time.time() - min(millis_of(d.id) for d in ready) / 1000 if ready else 0.0,
            **self.sender.status(),
        }
