"""Finds, before a mapping runs, what its ``lookups:`` ask for: in messages received earlier, or by asking another system.

Nothing here holds up the event loop. A reply is kept as long as the mapping says (nothing found at most a minute), within bounds of
number and size; the same question asked by several deliveries at once is asked once. What another system can't answer just
now is a passing failure of the delivery, at the step ``lookup``.

Each answer has a reference, the id of the message or of the call in the log that it comes from, and each attempt records the
references of its lookups: a replay reads the same answers again and asks nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from hub.api import Bound, Outgoing, Reply
from hub.delivery.classify import Verdict
from hub.delivery.lookup_readings import LookupFailed, Readings
from hub.delivery.plan import OFF_LOOP_BYTES, World, decode_message
from hub.delivery.rate import TokenBucket
from hub.errors import SendError
from hub.i18n import t
from hub.ids import id_text, millis_of
from hub.mapping import CompiledMapping, Context
from hub.mapping.mapping import CompiledLookup
from hub.masking import mask_text
from hub.message import CallRecord, Delivery, Direction, Outcome
from hub.store.base import Store

if TYPE_CHECKING:
    from hub.delivery.target import Target

__all__ = ["Answers", "LookupFailed", "Lookups"]

#: Replies kept, and bytes of questions and replies.
MAX_ENTRIES = 10_000
MAX_BYTES = 16 << 20
#: Longest time for which it is remembered that nothing was found, seconds.
NOTHING_S = 60.0
#: Questions that may wait for one system.
MAX_WAITING = 1_000
#: Shortest pause before a system that could not be reached is asked again, seconds.
AGAIN_S = 0.5
#: A sender must keep its own timeout; one that doesn't is given up so much later, seconds.
OVERDUE_S = 5.0


@dataclass(slots=True)
class Answers:
    """``values`` by the names of lookups; ``references`` by name the id of the message or call a value was read from."""

    values: dict[str, Any] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)

    @property
    def params(self) -> str:
        """What the call log keeps of them."""
        return orjson.dumps({"lookups": self.references}).decode() if self.references else ""


@dataclass(slots=True)
class _Kept:
    until: float  # of the monotonic clock
    body: bytes
    call_id: int
    size: int


@dataclass(slots=True)
class _Line:
    """Questions on their way to one system, as its contract has it since the last reload."""

    bound: Bound
    room: asyncio.Semaphore
    bucket: TokenBucket | None
    waiting: int = 0


class Lookups:
    """``targets`` are the outbound interfaces of this worker."""

    def __init__(
        self, store: Store, targets: Mapping[str, Target], readings: Readings, *, keep_bodies: bool = True
    ) -> None:
        self._store = store
        self._targets = targets
        self._readings = readings
        self._keep_bodies = keep_bodies
        self._kept: OrderedDict[tuple[str, bytes], _Kept] = OrderedDict()
        self._bytes = 0
        self._asking: dict[tuple[str, bytes], asyncio.Task[tuple[bytes, int]]] = {}
        self._lines: dict[str, _Line] = {}

    async def answers(self, mapping: CompiledMapping, delivery: Delivery, context: Context, world: World) -> Answers:
        """Everything a mapping asks for; raises :class:`LookupFailed`, or :class:`HubError` for a message that can't be read."""
        message = delivery.message
        assert message is not None  # noqa: S101 - loaded by the caller
        if len(message.raw) > OFF_LOOP_BYTES:
            tree = await asyncio.to_thread(decode_message, message, world)
        else:
            tree = decode_message(message, world)
        found = Answers()

        async def one(lookup: CompiledLookup) -> None:
            asked = lookup.ask(tree, context)
            value, reference = None, 0
            if asked and lookup.system:
                same_for = lookup.same_for(tree, context) if lookup.same_for is not None else None
                value, reference = await self._from_system(lookup, asked[0], delivery, context, same_for)
            elif asked and not lookup.store:
                value = await self._readings.serial(message)
            elif asked:
                value, reference = await self._readings.from_store(lookup, asked[0], message, context, world)
            found.values[lookup.name] = value
            if reference:
                found.references[lookup.name] = id_text(reference)
            if asked and value is None and lookup.required:  # one whose ``when`` does not hold asks nobody
                raise _nothing(lookup)

        if len(mapping.lookups) == 1:
            await one(mapping.lookups[0])
        else:
            results = await asyncio.gather(*(one(lookup) for lookup in mapping.lookups), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        return found

    # -- other systems -------------------------------------------------------------------------------------------

    async def _from_system(
        self, lookup: CompiledLookup, request: Any, delivery: Delivery, context: Context, same_for: Any
    ) -> tuple[Any, int]:
        """(the value, the id of the call); a kept reply is used again for the same request, or for the same ``same_for``."""
        place = lookup.place(delivery.target)
        target = self._targets.get(place)
        if target is None:
            text = t(f"{place} is not configured", f"{place} 未配置")
            raise LookupFailed(Outcome.TRANSIENT, "lookup.target", text)
        bound = target.plan.bound
        line = self._line(target)
        body = bound.codec.encode(request, encoding=bound.contract.encoding)
        key = (place, body if same_for is None else lookup.name.encode() + b"\0" + orjson.dumps(same_for, default=str))
        kept = self._kept.get(key) if lookup.cache else None
        if kept is not None and kept.until > time.monotonic():
            self._kept.move_to_end(key)
            return await self._readings.reply(lookup, bound, kept.body, context), kept.call_id
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(lookup, target, line, body, request, delivery), name=f"ask {place}")
            self._asking[key] = task
            task.add_done_callback(partial(self._asked, key))
        reply, call_id = await asyncio.shield(task)
        value = await self._readings.reply(lookup, bound, reply, context)
        if lookup.cache:
            self._keep(key, reply, call_id, lookup.cache if value is not None else min(lookup.cache, NOTHING_S))
        return value, call_id

    def forget(self, mapping: CompiledMapping, delivery: Delivery, started_us: int) -> None:
        """Use no reply again, for this mapping, that was known when an attempt began which the target has refused for a passing reason.

        It may be refused for what was looked up, e.g. the number of a session that has ended; what was asked since then is kept.
        """
        places = {lookup.place(delivery.target) for lookup in mapping.lookups if lookup.cache}
        old = [
            key for key, kept in self._kept.items() if key[0] in places and millis_of(kept.call_id) * 1000 < started_us
        ]
        for key in old:
            self._bytes -= self._kept.pop(key).size

    def _asked(self, key: tuple[str, bytes], task: asyncio.Task[tuple[bytes, int]]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # those who wait for it have it as well; perhaps nobody does any more

    async def stop(self) -> None:
        """Give up what is being asked."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, key: tuple[str, bytes], body: bytes, call_id: int, seconds: float) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self._bytes -= old.size
        size = len(key[1]) + len(body)
        self._kept[key] = _Kept(time.monotonic() + seconds, body, call_id, size)
        self._bytes += size
        while len(self._kept) > MAX_ENTRIES or self._bytes > MAX_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size

    async def _ask(
        self, lookup: CompiledLookup, target: Target, line: _Line, body: bytes, request: Any, delivery: Delivery
    ) -> tuple[bytes, int]:
        """(the body of the reply, the id of the call in the log)"""
        if line.waiting >= MAX_WAITING:
            text = t(f"too many questions wait for {target.place}", f"等待 {target.place} 的查询过多")
            raise LookupFailed(Outcome.TRANSIENT, "lookup.busy", text)
        line.waiting += 1
        try:
            async with line.room:
                while line.bucket is not None and (pause := line.bucket.take()) > 0:  # noqa: ASYNC110 - time passes, no event
                    await asyncio.sleep(pause)
                return await self._call(lookup, target, body, request, delivery)
        finally:
            line.waiting -= 1

    def _line(self, target: Target) -> _Line:
        bound = target.plan.bound
        line = self._lines.get(target.place)
        if line is None or line.bound is not bound:
            for key in [key for key in self._kept if key[0] == target.place]:
                self._bytes -= self._kept.pop(key).size  # it may be another server now
            contract = bound.contract
            most = min(contract.concurrency, target.sender.capacity or contract.concurrency)
            bucket = TokenBucket(contract.rate, max(1.0, contract.rate), time.monotonic) if contract.rate else None
            line = self._lines[target.place] = _Line(bound, asyncio.Semaphore(most), bucket)
        return line

    async def _call(
        self, lookup: CompiledLookup, target: Target, body: bytes, request: Any, delivery: Delivery
    ) -> tuple[bytes, int]:
        if not target.breaker.allow():
            text = t(f"{target.place} does not answer at present", f"{target.place} 目前没有应答")
            raise LookupFailed(Outcome.UNREACHABLE, "lookup.breaker", text, max(AGAIN_S, target.breaker.retry_in()))
        plan = target.plan
        contract = plan.bound.contract
        call_id = self._store.ids.next()
        started_us, started = time.time_ns() // 1000, time.perf_counter_ns()
        message = delivery.message
        parts = request if isinstance(request, dict) else {}
        outgoing = Outgoing(
            body=body,
            delivery_id=delivery.id,
            idempotency_key=f"{id_text(call_id)}",
            type=lookup.name,
            control_id=message.control_id if message is not None else "",
            attempt=1,
            timeout=contract.timeout,
            variables={name: value for name, value in parts.items() if isinstance(value, str | int)},
        )
        reply: Reply | None = None
        try:
            async with asyncio.timeout(contract.timeout + OVERDUE_S):
                reply = await target.sender.send(outgoing)
            verdict = plan.classifier.judge(reply)
        except SendError as error:
            verdict = Verdict.of_send_error(error)
        except TimeoutError:
            verdict = Verdict(
                Outcome.TRANSIENT, "send.overdue", t("no answer within the timeout", "超时未应答"), "send"
            )
        except asyncio.CancelledError:
            target.breaker.release()
            raise
        except Exception as error:  # a bug in an adapter: nobody else's misfortune (invariant 5)
            verdict = Verdict(Outcome.TRANSIENT, "hub.unexpected", mask_text(repr(error)), "send")
        if verdict.outcome in (Outcome.UNREACHABLE, Outcome.TRANSIENT):
            target.breaker.failure(verdict.outcome is Outcome.UNREACHABLE)
        else:
            target.breaker.success()
        took_us = (time.perf_counter_ns() - started) // 1000
        target.stats.attempt(verdict.outcome, took_us / 1e6)
        answer = reply.body if reply is not None else b""
        self._store.log(
            CallRecord(
                id=call_id,
                at=started_us,
                direction=Direction.OUT,
                place=target.place,
                outcome=verdict.outcome,
                code=verdict.code,
                error=verdict.error,
                took_us=took_us,
                params=orjson.dumps({"lookup": lookup.name, "message": id_text(delivery.message_id)}).decode(),
                request=body if self._keep_bodies else None,
                response=answer if answer and self._keep_bodies else None,
                plugin=plan.bound.plugin,
            )
        )
        if verdict.outcome is Outcome.OK:
            return answer, call_id
        text = t(f"{target.place}: {verdict.error}", f"{target.place}：{verdict.error}")
        code = verdict.code or "lookup.failed"
        if verdict.outcome is Outcome.UNREACHABLE:  # as with the target itself this uses up no tries
            pause = max(AGAIN_S, verdict.retry_after, target.breaker.retry_in())
            raise LookupFailed(Outcome.UNREACHABLE, code, text, pause)
        outcome = Outcome.TRANSIENT if verdict.outcome is Outcome.TRANSIENT else Outcome.FAILED
        raise LookupFailed(outcome, code, text, verdict.retry_after)


def _nothing(lookup: CompiledLookup) -> LookupFailed:
    text = t(f"lookup {lookup.name} found nothing", f"查询 {lookup.name} 没有结果")
    return LookupFailed(Outcome.FAILED, "lookup.nothing", text)
