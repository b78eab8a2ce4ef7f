"""Replay: run stored messages again and say, field by field, what differs from last time.

Needs only a reader and a deployment, so a tester can do it beside a running hub or without one. Sending the result is
:meth:`Replayer.deliveries` plus the store's ``apply``; a dry run stops before.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from hub.delivery.lookup_readings import LookupFailed, Readings
from hub.delivery.plan import Plan, StepError, World, decode_message, variables_of
from hub.diff import Change, diff_bytes
from hub.errors import HubError
from hub.i18n import t
from hub.ids import id_text
from hub.mapping import CompiledMapping, Context
from hub.masking import mask_text
from hub.message import CallRecord, Delivery, Direction, Message, Outcome
from hub.privacy.screen import screen
from hub.router import WHOLE_TARGET
from hub.shared_calls import batch_of
from hub.store.base import MessageQuery, StoreReader

__all__ = ["Replayed", "Replayer"]


@dataclass(slots=True)
class Replayed:
    """One message, run again for one target."""

    message_id: int
    target: str
    outputs: list[bytes] = field(default_factory=list)
    before: list[bytes] = field(default_factory=list)  # what was sent last time
    codec: str = ""  # of both
    order_key: str = ""  # of a delivery that sends the outputs
    mapping: str = ""  # stamp of the mapping used now
    mapping_before: str = ""  # stamp of the mapping used last time
    changes: list[Change] | None = None  # None: there is nothing to compare with
    error: str = ""

    @property
    def same(self) -> bool:
        return self.changes == [] and not self.error

    def as_dict(self, *, clear: bool = False) -> dict[str, Any]:
        """For people: what differs is masked, unless ``clear``."""
        changes = screen(clear).changes(self.changes or (), self.codec, (*self.before, *self.outputs))
        return {
            "message_id": id_text(self.message_id),
            "target": self.target,
            "mapping": self.mapping,
            "mapping_before": self.mapping_before,
            "parts": len(self.outputs),
            "same": self.same,
            "compared": self.changes is not None,
            "error": self.error,
            "changes": [{"path": c.path, "kind": c.kind, "old": c.old, "new": c.new} for c in changes],
        }


def _sent(call: CallRecord, message: Message) -> bytes | None:
    """What went out in an attempt; None where that was not kept."""
    if call.request is not None or call.mapping or batch_of(call):
        return call.request
    return message.raw


class Replayer:
    """Runs messages through the present (or a given) mapping."""

    def __init__(self, reader: StoreReader, world: World, plans: dict[str, Plan], readings: Readings) -> None:
        self._reader = reader
        self._world = world
        self._plans = plans
        self._readings = readings

    async def select(self, query: MessageQuery, most: int) -> AsyncIterator[int]:
        """Ids of the messages a search finds, newest first, at most ``most``."""
        query.limit = min(200, most)
        left = most
        while left > 0:
            page = await self._reader.search(query)
            for row in page.rows[:left]:
                yield row.id
            left -= len(page.rows)
            if not page.more or not page.rows:
                return
            query.before = page.rows[-1].id

    async def run(self, message_id: int, *, target: str = "", mapping: CompiledMapping | None = None) -> list[Replayed]:
        """Run one message for each target it went to, or for the one given."""
        message = await self._reader.message(message_id)
        if message is None:
            raise HubError(
                t(f"there is no message {id_text(message_id)}", f"没有消息 {id_text(message_id)}"),
                code="message.unknown",
            )
        everything = await self._reader.deliveries_of(message_id)
        earlier = [d for d in everything if not d.parent]
        if target:
            chosen = [d for d in earlier if d.target == target][-1:] or [
                Delivery(id=0, message_id=message_id, route="", target=target)
            ]
        else:
            chosen = list({(d.route, d.target): d for d in earlier}.values())
        calls = await self._reader.calls_of(message_id)
        results = []
        for delivery in chosen:
            family = {d.id for d in everything if delivery.id in (d.id, d.parent)} if delivery.id else set()
            last: dict[int, tuple[bytes | None, str]] = {}
            for call in calls:
                if (
                    call.direction is Direction.OUT
                    and call.delivery_id in family
                    and call.outcome is not Outcome.FAILED
                ):
                    # An attempt with fixed bytes has no mapping of its own: the one that made the bytes counts.
                    stamp = call.mapping or last.get(call.delivery_id, (None, ""))[1]
                    last[call.delivery_id] = (_sent(call, message), stamp)
            params = next((c.params for c in reversed(calls) if c.delivery_id in family and c.params), "")
            results.append(await self._one(message, delivery, mapping, last, params))
        return results

    async def _one(
        self,
        message: Message,
        delivery: Delivery,
        mapping: CompiledMapping | None,
        last: dict[int, tuple[bytes | None, str]],
        params: str,
    ) -> Replayed:
        done = Replayed(message.id, delivery.target)
        plan = self._plans.get(delivery.target)
        if plan is None:
            done.error = t(f"target {delivery.target} is not configured", f"目标 {delivery.target} 未配置")
            return done
        if delivery.id:
            done.order_key = delivery.order_key
        elif plan.bound.contract.order_by != "":
            done.order_key = WHOLE_TARGET  # stricter than the contract may ask for, never looser
        before = [request for _, (request, _) in sorted(last.items()) if request is not None]
        done.mapping_before = next((stamp for _, stamp in last.values() if stamp), "")
        try:
            done.outputs, done.mapping = await self._outputs(message, delivery, plan, mapping, params)
        except (HubError, StepError, LookupFailed) as error:
            done.error = mask_text(str(error))
            return done
        if before and len(before) == len(last):
            codec = done.codec = plan.bound.codec.name
            done.before = before
            if len(before) == len(done.outputs):
                done.changes = []
                for number, (old, new) in enumerate(zip(before, done.outputs, strict=True), 1):
                    prefix = f"[{number}] " if len(before) > 1 else ""
                    done.changes.extend(
                        Change(prefix + c.path, c.kind, c.old, c.new) for c in diff_bytes(old, new, codec)
                    )
            else:
                done.changes = [Change("parts", "changed", len(before), len(done.outputs))]
        return done

    async def _looked_up(
        self, plan: Plan, mapping: CompiledMapping, message: Message, params: str, now_us: int
    ) -> dict[str, Any]:
        """What the lookups of a mapping found when the message was delivered."""
        variables = variables_of(message, plan.bound.place)
        context = Context(settings=plan.bound.settings, message=message, now_us=now_us, variables=variables)
        return await self._readings.again(mapping, message, params, context, self._world)

    async def _outputs(
        self, message: Message, delivery: Delivery, plan: Plan, mapping: CompiledMapping | None, params: str
    ) -> tuple[list[bytes], str]:
        now = time.time_ns() // 1000
        used = mapping or plan.mapping(delivery.route)
        found = await self._looked_up(plan, used, message, params, now) if used is not None and used.lookups else {}
        if mapping is None:
            fresh = Delivery(
                id=delivery.id, message_id=message.id, route=delivery.route, target=delivery.target, message=message
            )
            prepared = plan.prepare(fresh, now, found)
            return prepared.bodies, prepared.stamp
        context = Context(
            settings=plan.bound.settings,
            message=message,
            now_us=now,
            variables={**variables_of(message, delivery.target), **found},
        )
        outputs = mapping.run(decode_message(message, self._world), context)
        encoding = plan.bound.contract.encoding
        return [plan.bound.codec.encode(output, encoding=encoding) for output in outputs], mapping.stamp
