"""Delivering to one target, a call for each delivery."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from functools import partial

import orjson

from hub.delivery.asking import Pages
from hub.delivery.attempt import Attempt, load
from hub.delivery.classify import Verdict
from hub.delivery.hours import STEP as HOURS
from hub.delivery.parts import spread
from hub.delivery.plan import OFF_LOOP_BYTES
from hub.delivery.settle import settle, time_left
from hub.delivery.target_base import LOOK_AGAIN_S, Settled, TargetBase
from hub.delivery.turn import Turn
from hub.errors import HubError, StoreBusy
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text
from hub.message import CallRecord, Delivery, DeliveryState, Direction, Outcome

__all__ = ["Settled", "Target"]

log = get_logger(__name__)

#: A sender must keep its own timeout; one that doesn't is cut off so much later.
OVERDUE_S = 5.0
#: Pause before a question is asked again whose reply the store could not take, seconds.
STORE_AGAIN_S = 5.0


def _interrupted() -> Verdict:
    text = t(
        "the hub was stopped before this was over; whether it was carried out is not known",
        "枢纽停止时该笔尚未结束，是否已被执行未知",
    )
    return Verdict(Outcome.TRANSIENT, "delivery.interrupted", text, "send")


class Target(TargetBase):
    """Takes one delivery at a time for each of its workers."""

    # -- workers ---------------------------------------------------------------------------------------------------------

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
            turn = self._make_turn(loop, task)
            self._in_flight[delivery.id] = turn
            attempt = Attempt()
            delivery.state = DeliveryState.IN_FLIGHT
            try:
                if self.plan.hours is not None and await self._out_of_hours(delivery, turn):
                    continue
                if self.plan.retry.once and self._was_interrupted(delivery):
                    self._settle(delivery, attempt, _interrupted())
                    continue
                await attempt.make(self.plan, self.sender, self._store, delivery, turn)
                if attempt.verdict is None:
                    await self._end(delivery, attempt, turn)
                else:
                    self._settle(delivery, attempt, attempt.verdict)
            except asyncio.CancelledError:
                if delivery.state is DeliveryState.IN_FLIGHT:
                    delivery.state = DeliveryState.PENDING
                raise
            except Exception as error:  # it must neither hold this delivery for ever nor end the worker
                self._failed(delivery, error)
            finally:
                self._in_flight.pop(delivery.id, None)
        if not self._stopping:
            self._workers.remove(task)

    def _make_turn(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> Turn:
        return Turn(loop, task, self.plan.bound.contract.timeout + OVERDUE_S, self._bucket)

    def _next(self) -> Delivery | None:
        """The delivery to send now; None: nothing is ready or the target must be left in peace for a while."""
        ready = self.queue.ready
        if len(ready) < 2 and (self.queue.behind or self.queue.wanted):
            self._feeder.ask()
        while ready:
            if not self._store.writable:
                self._wake_in(LOOK_AGAIN_S)
                return None
            first = ready[0]
            if first.next_at and first.step != HOURS:
                pause = time_left(first)
                if pause > 0:
                    self._sleep(ready.popleft(), pause)
                    continue
            if self.plan.hours is not None and self._waits_for_hours(first):
                self._rest(ready.popleft())
                continue
            return ready.popleft() if self._may_call() else None
        return None

    async def _out_of_hours(self, delivery: Delivery, turn: Turn) -> bool:
        """As :meth:`_waits_for_hours`, for one whose message is not in memory, or too large to be looked into on the event loop."""
        hours = self.plan.hours
        if hours is None or not hours.pause():
            return False
        turn.pause()
        with contextlib.suppress(Exception):  # where it can't be read the attempt meets it again, and tells of it
            message = delivery.message or await load(self._store, delivery)
            context = self.plan.context(delivery, time.time_ns() // 1000)
            if len(message.raw) > OFF_LOOP_BYTES:
                exempt = await asyncio.to_thread(hours.exempt, message, context)
            else:
                exempt = hours.exempt(message, context)
            if not exempt:
                self.breaker.release()
                self._rest(delivery)
                return True
        turn.resume()
        return False

    # -- what becomes of an attempt --------------------------------------------------------------------------------------

    def _failed(self, delivery: Delivery, error: Exception) -> None:
        """A mistake of the hub itself: what became of the attempt could not be put together, so no row of the call log is made of it."""
        log.exception("a delivery to %s failed unexpectedly", self.place)
        self.breaker.release()
        verdict = Verdict(Outcome.TRANSIENT, "hub.unexpected", mask_text(repr(error)), "send")
        pause = settle(delivery, verdict, self.plan.retry, time.time_ns() // 1000, random.random)
        if pause is None:
            self._final(delivery, verdict, None, None)
        else:
            self._store.finish(delivery, None)
            self._sleep(delivery, pause)

    def _settle(self, delivery: Delivery, attempt: Attempt, verdict: Verdict) -> None:
        outcome = verdict.outcome
        self._account(attempt.called, outcome)
        pause = settle(delivery, verdict, self.plan.retry, attempt.started_us + attempt.took_us, random.random)
        if attempt.pages is not None:  # read before the one that failed
            for page in self._page_calls(delivery, attempt.pages):
                self._store.log(page)
        call = self._call(delivery, attempt, verdict)
        self.stats.attempt(outcome, attempt.took_us / 1e6)
        if pause is None:
            self._final(delivery, verdict, attempt.reply, call)
            return
        self._store.finish(
            delivery, call, partial(self._tell_awaited, verdict) if verdict.awaited is not None else None
        )
        self.stats.retried += 1
        if outcome is Outcome.UNREACHABLE and pause == 0.0:
            # The breaker decides when the target is called again; the delivery keeps its place.
            delivery.next_at = 0
            self.queue.put_back(delivery)
        else:
            self._sleep(delivery, pause)

    def _call(self, delivery: Delivery, attempt: Attempt, verdict: Verdict) -> CallRecord:
        """The row of the call log for an attempt."""
        prepared, reply = attempt.prepared, attempt.reply
        # A repeated request is answered from it, and flows read it after a crash.
        of_flow = self.on_settled is not None and delivery.route.startswith("flow:")
        keep_reply = self._keep_bodies or delivery.id in self.waiters or of_flow
        sent_as_received = prepared is not None and not prepared.stamp and delivery.payload is None
        return CallRecord(
            id=self._store.ids.next(),
            at=attempt.started_us,
            direction=Direction.OUT,
            place=self.place,
            outcome=verdict.outcome,
            message_id=delivery.message_id,
            delivery_id=delivery.id,
            attempt=delivery.attempts,
            code=verdict.code,
            error=verdict.error,
            took_us=attempt.took_us,
            params=attempt.answers.params if attempt.answers is not None else "",
            request=attempt.request if self._keep_bodies and not sent_as_received else None,
            response=reply.body if reply is not None and reply.body and keep_reply else None,
            mapping=prepared.stamp if prepared is not None else "",
            plugin=self.plan.bound.plugin,
            check=attempt.check,
            awaited=verdict.awaited,
        )

    async def _end(self, delivery: Delivery, attempt: Attempt, turn: Turn) -> None:
        """An attempt without a verdict has an end of its own, which is a commit of its own."""
        turn.pause()  # no call any more: cut off now, it would be made twice
        if attempt.pages is None:
            await self._spread(delivery, attempt)
        else:
            await self._take_in(delivery, attempt, attempt.pages)

    async def _take_in(self, delivery: Delivery, attempt: Attempt, pages: Pages) -> None:
        """The reply becomes messages, in one commit with the end of the delivery: neither can be without the other."""
        message, reply = delivery.message, attempt.reply
        verdict = Verdict(Outcome.OK, pages.code)
        tries = delivery.attempts
        settle(delivery, verdict, self.plan.retry, attempt.started_us + attempt.took_us, random.random)
        calls = [*self._page_calls(delivery, pages), self._call(delivery, attempt, verdict)]
        try:
            assert message is not None and self._intake is not None  # noqa: S101, PT018 - it asked for the one, the node has the other
            while True:
                try:
                    await self._intake.take_results(pages.to, pages.bodies, message, delivery, calls)
                    break
                except StoreBusy:
                    if not self.plan.retry.once:
                        raise
                    await asyncio.sleep(STORE_AGAIN_S)  # asked again it would be done again
        except HubError as error:
            delivery.attempts = tries
            attempt.pages = None
            # A store that can't take it now uses up no tries; anything else does.
            busy = isinstance(error, StoreBusy)
            outcome, wait = (Outcome.UNREACHABLE, STORE_AGAIN_S) if busy else (Outcome.TRANSIENT, 0.0)
            failed = Verdict(outcome, error.code, mask_text(error.text), "results", wait)
            self._account(True, Outcome.OK)
            attempt.called = False
            self._settle(delivery, attempt, failed)
            return
        self._account(True, Outcome.OK)
        self.stats.attempt(Outcome.OK, attempt.took_us / 1e6)
        self._count_final(delivery, verdict)
        self._committed(delivery, verdict, reply)
        self._let_go(delivery)

    def _page_calls(self, delivery: Delivery, pages: Pages) -> list[CallRecord]:
        """Rows of the call log for the pages before the last."""
        keep = self._keep_bodies
        return [
            CallRecord(
                id=self._store.ids.next(),
                at=page.started_us,
                direction=Direction.OUT,
                place=self.place,
                outcome=Outcome.OK,
                message_id=delivery.message_id,
                delivery_id=delivery.id,
                attempt=delivery.attempts,
                code=page.reply.code,
                took_us=page.took_us,
                params=orjson.dumps({"page": page.number}).decode(),
                request=page.request if keep else None,
                response=page.reply.body if keep else None,
                plugin=self.plan.bound.plugin,
            )
            for page in pages.before
        ]

    async def _spread(self, delivery: Delivery, attempt: Attempt) -> None:
        """The mapping made no target, or several."""
        self.breaker.release()
        assert attempt.prepared is not None  # noqa: S101 - an attempt without a verdict has come so far
        try:
            children = await spread(self._store, self.queue, delivery, attempt.prepared.bodies, attempt.started_us)
        except StoreBusy:
            self.queue.put_back(delivery)
            return
        except HubError as error:
            attempt.called = False
            self._settle(delivery, attempt, Verdict.of_failed_step("map", error))
            return
        self._feeder.note_closed(delivery.id)
        self.queue.insert_next(delivery, children)
        waiter = self.waiters.pop(delivery.id, None)
        if waiter is not None:
            waiter(delivery, Verdict(Outcome.FAILED, "mapping.split", delivery.reason, "map"), None)
        self._charges.discharge(delivery.id)
        self.queue.release(delivery)
        self._wake_all()
