"""One attempt for one delivery: decode, look up, map, encode, check, call, judge. What becomes of it is decided elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hub.api import Outgoing, Reply, Sender
from hub.delivery.asking import Asking, Pages, only_body, read_pages
from hub.delivery.classify import Verdict
from hub.delivery.lookup_readings import LookupFailed
from hub.delivery.plan import OFF_LOOP_BYTES, Plan, Prepared, StepError
from hub.delivery.turn import Turn
from hub.errors import HubError, SendError
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text
from hub.message import CheckRecord, CheckVerdict, Delivery, Message, Outcome
from hub.store.base import Store

if TYPE_CHECKING:
    from hub.checking.checks import Checks
    from hub.delivery.lookups import Answers
    from hub.mapping import CompiledMapping

__all__ = ["Attempt", "checked", "load", "looked_up", "unexpected"]

log = get_logger(__name__)


class Attempt:
    """An attempt and how it ended.

    ``verdict``: None while it is under way, where the mapping made no body or several, and where a reply is to be taken in.
    """

    __slots__ = (
        "answers",
        "called",
        "check",
        "pages",
        "prepared",
        "reply",
        "request",
        "started_us",
        "took_us",
        "verdict",
    )

    def __init__(self) -> None:
        self.started_us = time.time_ns() // 1000
        self.took_us = 0
        self.verdict: Verdict | None = None
        self.prepared: Prepared | None = None
        self.request: bytes | None = None
        self.reply: Reply | None = None
        self.called = False
        self.check: CheckRecord | None = None
        self.answers: Answers | None = None
        self.pages: Pages | None = None  # where the reply becomes messages

    async def make(self, plan: Plan, sender: Sender, store: Store, delivery: Delivery, turn: Turn) -> None:
        """Raises nothing but ``CancelledError``, when the target stops."""
        started = time.perf_counter_ns()
        try:
            message = delivery.message
            if message is None:
                message = await load(store, delivery)
            mapping = plan.with_lookups(delivery)
            if mapping is not None:
                self.answers = await looked_up(plan, mapping, delivery, self.started_us, turn)
            found: Mapping[str, Any] | None = self.answers.values if self.answers is not None else None
            asking = plan.asking
            if asking is not None:
                found = {**(found or {}), "page": asking.first}
            if len(message.raw) > OFF_LOOP_BYTES:
                prepared = await asyncio.to_thread(plan.prepare, delivery, self.started_us, found)
            else:
                prepared = plan.prepare(delivery, self.started_us, found)
            self.prepared = prepared
            if len(prepared.bodies) != 1:
                return
            self.request = request = prepared.bodies[0]
            if plan.checks is not None:
                self.check = await checked(plan, plan.checks, delivery, request, self.started_us, turn)
            self.called = True
            outgoing = Outgoing(
                body=request,
                delivery_id=delivery.id,
                idempotency_key=prepared.idempotency_key,
                type=message.type,
                control_id=message.control_id,
                attempt=delivery.attempts + 1,
                timeout=plan.bound.contract.timeout,
                variables=message.keys,
            )
            if asking is not None:
                await self._ask(plan, asking, sender, delivery, outgoing, turn)
            else:
                self.reply = await sender.send(outgoing)
                self.verdict = plan.classifier.judge(self.reply)
                if (
                    mapping is not None
                    and self.verdict.outcome is Outcome.TRANSIENT
                    and self.verdict.step == "classify"
                ):
                    plan.forget(mapping, delivery, self.started_us)
        except StepError as error:
            self.verdict = Verdict.of_failed_step(error.step, error.error)
            self.check = error.check
        except LookupFailed as error:
            self.verdict = error.verdict
        except SendError as error:
            self.verdict = Verdict.of_send_error(error)
            self.reply = Reply(False, error.response) if error.response else None
        except asyncio.CancelledError:
            if not turn.overdue:
                raise
            self.verdict = turn.cut_off()
        except Exception as error:
            self.verdict = unexpected(plan, error)
        self.took_us = (time.perf_counter_ns() - started) // 1000
        if plan.awaiting is not None and self.called and self.verdict is not None and self.request is not None:
            plan.note_awaited(self.verdict, delivery, self.request, self.reply, self.started_us, self.took_us)

    async def _ask(
        self, plan: Plan, asking: Asking, sender: Sender, delivery: Delivery, outgoing: Outgoing, turn: Turn
    ) -> None:
        """Call page by page."""

        async def prepare(page: Mapping[str, Any]) -> bytes:
            found = {**(self.answers.values if self.answers is not None else {}), "page": page}
            if delivery.message is not None and len(delivery.message.raw) > OFF_LOOP_BYTES:
                prepared = await asyncio.to_thread(plan.prepare, delivery, self.started_us, found)
            else:
                prepared = plan.prepare(delivery, self.started_us, found)
            body = only_body(prepared.bodies)
            if plan.checks is not None:
                self.check = await checked(plan, plan.checks, delivery, body, self.started_us, turn)
            return body

        self.pages = pages = Pages(asking.to, outgoing.body)
        try:
            self.verdict = await read_pages(plan, asking, sender, delivery, outgoing, turn, prepare, pages)
        finally:
            self.request, self.reply = pages.request, pages.reply


def unexpected(plan: Plan, error: Exception) -> Verdict:
    """A bug in an adapter or a plugin's function: this delivery's misfortune, nobody else's (invariant 5)."""
    log.exception("attempt for %s failed unexpectedly", plan.bound.place)
    return Verdict(Outcome.TRANSIENT, "hub.unexpected", mask_text(repr(error)), "send")


async def load(store: Store, delivery: Delivery) -> Message:
    """The message of a delivery that is in memory without it."""
    stored = await store.reader.delivery(delivery.id)
    if stored is None or stored.message is None:
        raise StepError(
            "load", HubError(t("the message is no longer in the store", "消息已不在存储中"), code="store.missing")
        )
    delivery.message = stored.message
    delivery.payload = stored.payload
    return stored.message


async def looked_up(plan: Plan, mapping: CompiledMapping, delivery: Delivery, started_us: int, turn: Turn) -> Answers:
    """What the mapping asks for. The time of other systems is not the target's."""
    turn.pause()
    answers = await plan.look_up(mapping, delivery, started_us)
    turn.resume()
    return answers


async def checked(
    plan: Plan, checks: Checks, delivery: Delivery, body: bytes, started_us: int, turn: Turn
) -> CheckRecord:
    """Raises :class:`StepError` for what must not be sent. The time of a check is not the target's."""
    turn.pause()
    record = await plan.check(checks, delivery, body, started_us)
    turn.resume()
    if record.verdict is CheckVerdict.REFUSED:
        raise StepError("validate", checks.failure(record), record)
    return record
