"""One attempt for several deliveries: each is decoded, looked up and mapped by itself, then one call is made for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hub.api import Outgoing, Reply, Sender
from hub.delivery.attempt import load, unexpected
from hub.delivery.classify import Verdict
from hub.delivery.composing import Composer, Made, Piece, number_of
from hub.delivery.lookup_readings import LookupFailed
from hub.delivery.plan import OFF_LOOP_BYTES, Plan
from hub.delivery.steps import StepError
from hub.delivery.turn import Turn
from hub.errors import SendError
from hub.message import CheckRecord, CheckVerdict, Delivery, Outcome
from hub.store.base import Store

if TYPE_CHECKING:
    from hub.delivery.lookups import Answers

__all__ = ["BatchAttempt", "Member"]

#: Messages of a batch that are loaded, looked up or checked at the same time.
AT_ONCE = 16
#: Longest time messages are mapped without letting anything else happen, seconds.
_AT_A_STRETCH_S = 0.002


class Member:
    """A delivery of a batch and what was made of it; ``verdict``: how it ended before the call, or by the call."""

    __slots__ = ("answers", "check", "delivery", "made", "verdict")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.made: Made | None = None
        self.answers: Answers | None = None
        self.check: CheckRecord | None = None
        self.verdict: Verdict | None = None

    @property
    def piece(self) -> Piece | None:
        return self.made.piece if self.made is not None else None


class BatchAttempt:
    """``verdict`` is that on the whole; where the reply tells of each, ``several`` is true and the members have their own."""

    def __init__(self) -> None:
        self.started_us = time.time_ns() // 1000
        self.took_us = 0
        self.called = False
        self.several = False
        self.number = ""  # idempotency key of the call
        self.request: bytes | None = None
        self.reply: Reply | None = None
        self.check: CheckRecord | None = None
        self.verdict = Verdict(Outcome.FAILED)
        self._started = time.perf_counter_ns()

    async def prepare(
        self, plan: Plan, composer: Composer, store: Store, deliveries: Sequence[Delivery]
    ) -> list[Member]:
        """Each by itself; what fails has a verdict and does not stop the others."""
        members = [Member(delivery) for delivery in deliveries]
        slow: list[Member] = []
        begun = time.monotonic()
        for member in members:
            message = member.delivery.message
            if (
                message is None
                or len(message.raw) > OFF_LOOP_BYTES
                or plan.checks
                or plan.with_lookups(member.delivery)
            ):
                slow.append(member)
                continue
            try:
                member.made = composer.make(member.delivery, self.started_us, None)
            except StepError as error:
                member.verdict = Verdict.of_failed_step(error.step, error.error)
            except Exception as error:
                member.verdict = unexpected(plan, error)
            if time.monotonic() - begun > _AT_A_STRETCH_S:
                await asyncio.sleep(0)
                begun = time.monotonic()
        if slow:
            room = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(self._prepare_one(plan, composer, store, member, room) for member in slow))
        return members

    async def _prepare_one(
        self, plan: Plan, composer: Composer, store: Store, member: Member, room: asyncio.Semaphore
    ) -> None:
        delivery, now_us = member.delivery, self.started_us
        async with room:
            try:
                message = delivery.message or await load(store, delivery)
                mapping = plan.with_lookups(delivery)
                if mapping is not None:
                    member.answers = await plan.look_up(mapping, delivery, now_us)
                found = member.answers.values if member.answers is not None else None
                if len(message.raw) > OFF_LOOP_BYTES:
                    member.made = await asyncio.to_thread(composer.make, delivery, now_us, found)
                else:
                    member.made = composer.make(delivery, now_us, found)
                if plan.checks is not None and member.piece is not None and not composer.rule.mapping:
                    member.check = await self._checked(plan, delivery, composer.item(member.piece))
            except StepError as error:
                member.verdict, member.check = Verdict.of_failed_step(error.step, error.error), error.check
            except LookupFailed as error:
                member.verdict = error.verdict
            except Exception as error:
                member.verdict = unexpected(plan, error)

    async def _checked(self, plan: Plan, delivery: Delivery, body: bytes) -> CheckRecord:
        assert plan.checks is not None  # noqa: S101 - asked by the caller
        record = await plan.check(plan.checks, delivery, body, self.started_us)
        if record.verdict is CheckVerdict.REFUSED:
            raise StepError("validate", plan.checks.failure(record), record)
        return record

    async def call(self, plan: Plan, composer: Composer, sender: Sender, members: Sequence[Member], turn: Turn) -> None:
        """Put together, send, judge; raises nothing but ``CancelledError``, when the target stops."""
        pieces = [member.piece for member in members if member.piece is not None]
        self.number = number_of(pieces)
        try:
            if sum(piece.size for piece in pieces) > OFF_LOOP_BYTES:
                body = await asyncio.to_thread(composer.compose, pieces, self.number, self.started_us)
            else:
                body = composer.compose(pieces, self.number, self.started_us)
            self.request = body
            if plan.checks is not None and composer.rule.mapping:
                place = plan.bound.place
                self.check = await self._checked(plan, Delivery(0, 0, "", place), body)
            turn.resume()
            self.called = True
            self.reply = await sender.send(self._outgoing(plan, body, [member.delivery for member in members]))
            self.verdict = plan.classifier.judge(self.reply)
            if plan.item_verdicts is not None:
                self._tell(members, plan.item_verdicts.judge(self.reply, self.verdict, pieces))
        except StepError as error:
            self.verdict, self.check = Verdict.of_failed_step(error.step, error.error), error.check
        except SendError as error:
            self.verdict = Verdict.of_send_error(error)
            self.reply = Reply(False, error.response) if error.response else None
        except asyncio.CancelledError:
            if not turn.overdue:
                raise
            self.verdict = turn.cut_off()
        except Exception as error:
            self.verdict = unexpected(plan, error)
        self.took_us = (time.perf_counter_ns() - self._started) // 1000
        if not self.several:
            for member in members:
                member.verdict = self.verdict

    def _tell(self, members: Sequence[Member], verdicts: Sequence[Verdict]) -> None:
        self.several = any(verdict is not self.verdict for verdict in verdicts)
        for member, verdict in zip(members, verdicts, strict=True):
            member.verdict = verdict

    def _outgoing(self, plan: Plan, body: bytes, deliveries: Sequence[Delivery]) -> Outgoing:
        messages = [delivery.message for delivery in deliveries if delivery.message is not None]
        types = {message.type for message in messages}
        shared: dict[str, Any] = dict(messages[0].keys) if messages else {}
        for message in messages:
            shared = {name: value for name, value in shared.items() if message.keys.get(name) == value}
        return Outgoing(
            body=body,
            delivery_id=deliveries[0].id,
            idempotency_key=self.number,
            type=types.pop() if len(types) == 1 else "",
            control_id=messages[0].control_id if len(messages) == 1 else "",
            attempt=max(delivery.attempts for delivery in deliveries) + 1,
            timeout=plan.bound.contract.timeout,
            variables={"count": len(deliveries), "number": self.number, **shared},
        )
