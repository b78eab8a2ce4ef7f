"""The five verbs on deliveries: resend 重发, forward 转发, hold 暂存, delete 删除, ignore 忽略. Each one audited.

They change nothing about what was received. A delivery an operator ends is SKIPPED with the reason, so the ledger still
balances.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from hub.audit import entry as audit_entry
from hub.errors import HubError
from hub.i18n import t
from hub.ids import id_text
from hub.message import OPEN_STATES, Delivery, DeliveryState, Direction
from hub.store.base import DeliveryQuery, Store

if TYPE_CHECKING:
    from hub.delivery.engine import DeliveryEngine

__all__ = ["BULK_PAGE", "VERBS", "BulkResult", "Operations", "Step", "Verb"]

Verb = Literal["resend", "forward", "hold", "delete", "ignore"]
Step = Literal["auto", "map", "send"]
VERBS: tuple[Verb, ...] = ("resend", "forward", "hold", "delete", "ignore")

#: Deliveries changed by one commit of a bulk action.
BULK_PAGE = 200

_FROM: dict[str, tuple[DeliveryState, ...]] = {
    "resend": (DeliveryState.DEAD, DeliveryState.HELD, DeliveryState.SKIPPED),
    "forward": tuple(s for s in DeliveryState if s is not DeliveryState.IN_FLIGHT),
    "hold": (DeliveryState.PENDING, DeliveryState.RETRYING, DeliveryState.DEAD),
    "delete": (DeliveryState.DEAD, DeliveryState.HELD),
    "ignore": (DeliveryState.PENDING, DeliveryState.RETRYING, DeliveryState.DEAD, DeliveryState.HELD),
}


@dataclass(slots=True)
class BulkResult:
    """What became of each delivery an action was asked for."""

    done: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    made: list[int] = field(default_factory=list)  # new deliveries (forward)

    def as_dict(self) -> dict[str, Any]:
        return {
            "done": [id_text(i) for i in self.done],
            "made": [id_text(i) for i in self.made],
            "refused": {id_text(i): why for i, why in self.refused.items()},
        }


class Operations:
    """Operator actions of one worker."""

    def __init__(self, store: Store, engine: DeliveryEngine) -> None:
        self._store = store
        self._engine = engine
        self._turn = asyncio.Lock()  # two operators must not both set the same delivery going

    async def act(
        self,
        verb: Verb,
        delivery_ids: Sequence[int],
        *,
        actor: str,
        reason: str = "",
        step: Step = "auto",
        target: str = "",
    ) -> BulkResult:
        """Apply a verb to deliveries one page at a time; what can't be done is told for each, the rest is done."""
        if verb == "forward" and target not in self._engine.targets:
            known = ", ".join(sorted(self._engine.targets)) or "-"
            raise HubError(
                t(f"no target {target!r}; there are: {known}", f"没有目标 {target!r}；现有：{known}"),
                code="target.unknown",
            )
        result = BulkResult()
        ids = list(dict.fromkeys(delivery_ids))
        for start in range(0, len(ids), BULK_PAGE):
            async with self._turn:
                await self._page(verb, ids[start : start + BULK_PAGE], result, actor, reason, step, target)
        return result

    async def select(self, query: DeliveryQuery, most: int) -> list[int]:
        """Ids of the deliveries a query finds, oldest first, at most ``most``."""
        found: list[int] = []
        query.oldest_first = True
        query.limit = min(BULK_PAGE, most)
        while len(found) < most:
            rows = await self._store.reader.deliveries(query)
            found.extend(row.id for row in rows)
            if len(rows) < query.limit:
                break
            query.after = rows[-1].id
        return found[:most]

    async def _page(
        self,
        verb: Verb,
        page: Sequence[int],
        result: BulkResult,
        actor: str,
        reason: str,
        step: Step,
        target: str,
    ) -> None:
        now = time.time_ns() // 1000
        update: list[Delivery] = []
        create: list[Delivery] = []
        withdrawn: list[Delivery] = []
        try:
            for delivery_id in page:
                delivery = await self._store.reader.delivery(delivery_id)
                refusal = self._refusal(verb, delivery)
                if (
                    delivery is not None
                    and not refusal
                    and verb in ("hold", "ignore")
                    and delivery.state in OPEN_STATES
                ):
                    if self._engine.withdraw(delivery):
                        withdrawn.append(delivery)
                        # It may have become final after it was read; now nothing changes it any more.
                        delivery = await self._store.reader.delivery(delivery_id)
                        refusal = self._refusal(verb, delivery)
                    else:
                        refusal = t("it is being sent right now; try again in a moment", "正在发送，请稍后再试")
                if delivery is None or refusal:
                    result.refused[delivery_id] = refusal
                    continue
                if verb == "forward":
                    create.append(self._copy_for(delivery, target, now))
                    if delivery.state not in (DeliveryState.DEAD, DeliveryState.HELD):
                        result.done.append(delivery_id)
                        continue
                    self._end(delivery, t(f"forwarded to {target}", f"已转发至 {target}"), actor, reason)
                elif verb == "resend":
                    await self._reset(delivery, step)
                elif verb == "hold":
                    delivery.state = DeliveryState.HELD
                    delivery.reason = t(f"held by {actor}", f"由 {actor} 暂存") + (f": {reason}" if reason else "")
                    delivery.next_at = 0
                elif verb == "delete":
                    delivery.payload = None
                    self._end(delivery, t("deleted", "已删除"), actor, reason)
                else:
                    self._end(delivery, t("ignored", "已忽略"), actor, reason)
                delivery.updated_at = now
                update.append(delivery)
                result.done.append(delivery_id)
            await self._write(verb, page, result, update, create, actor, reason, step, target)
        except BaseException:
            await self._take_back(withdrawn)
            raise
        for delivery in withdrawn:
            self._engine.settled(delivery)
        for delivery in update if verb == "resend" else ():
            self._engine.insist(delivery)
        for delivery in create:
            result.made.append(delivery.id)
            self._engine.offer(delivery)

    async def _write(
        self,
        verb: Verb,
        page: Sequence[int],
        result: BulkResult,
        update: list[Delivery],
        create: list[Delivery],
        actor: str,
        reason: str,
        step: Step,
        target: str,
    ) -> None:
        """One commit for the page and its audit entry."""
        if not update and not create:
            return
        done = set(result.done)
        detail = {"deliveries": [id_text(d) for d in page if d in done]}
        if target:
            detail["target"] = [target]
        if step != "auto":
            detail["step"] = [step]
        await self._store.apply(
            create=create,
            update=update,
            audit=audit_entry(actor, f"delivery.{verb}", f"{len(update) or len(create)} deliveries", detail, reason),
        )

    async def _take_back(self, withdrawn: list[Delivery]) -> None:
        """Nothing was changed in the store: what was taken out of the queues goes back."""
        for delivery in withdrawn:
            stored = await self._store.reader.delivery(delivery.id)
            if stored is not None and stored.state in OPEN_STATES:
                self._engine.insist(stored)

    @staticmethod
    def _refusal(verb: Verb, delivery: Delivery | None) -> str:
        if delivery is None:
            return t("there is no such delivery", "没有这个投递")
        if delivery.state not in _FROM[verb]:
            return t(
                f"it is {delivery.state.word}; {verb} applies to " + ", ".join(state.word for state in _FROM[verb]),
                f"当前状态为 {delivery.state.word}；该操作只适用于 " + "、".join(state.word for state in _FROM[verb]),
            )
        if delivery.parts:
            return t("it was split; act on its parts", "已拆分，请对各部分操作")
        if verb == "forward" and delivery.message is None:
            return t("its message is no longer in the store", "其消息已不在存储中")
        return ""

    @staticmethod
    def _end(delivery: Delivery, what: str, actor: str, reason: str) -> None:
        delivery.state = DeliveryState.SKIPPED
        delivery.reason = f"{what} ({actor})" + (f": {reason}" if reason else "")
        delivery.next_at = 0

    def _copy_for(self, delivery: Delivery, target: str, now: int) -> Delivery:
        return Delivery(
            id=self._store.ids.next(),
            message_id=delivery.message_id,
            route="",
            target=target,
            order_key=delivery.order_key,
            updated_at=now,
            message=delivery.message,
        )

    async def _reset(self, delivery: Delivery, step: Step) -> None:
        """Set a delivery going again: from the step that failed, or from the one chosen."""
        if step == "send" or (step == "auto" and delivery.step in ("send", "classify")):
            sent = await self._last_request(delivery)
            if sent is not None:
                delivery.payload = sent
        elif not delivery.part:
            delivery.payload = None
        delivery.state = DeliveryState.PENDING
        delivery.attempts = 0
        delivery.next_at = 0
        delivery.reason = ""
        delivery.step = ""

    async def _last_request(self, delivery: Delivery) -> bytes | None:
        calls = await self._store.reader.calls_of(delivery.message_id)
        for call in reversed(calls):
            if call.direction is Direction.OUT and call.delivery_id == delivery.id and call.request is not None:
                return call.request
        return None
