"""What became of a message that a flow has sent, as the store of messages says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from hub.delivery.plan import OFF_LOOP_BYTES, decode_message
from hub.errors import HubError
from hub.flows.events import Settled
from hub.flows.store import Outgoing
from hub.flows.work import Fate, Incoming, Work
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text
from hub.message import CallRecord, Delivery, DeliveryState, Direction, Outcome
from hub.store.base import StoreReader

if TYPE_CHECKING:
    from hub.deployment import Deployment

__all__ = ["Fates", "fate_of"]

log = get_logger(__name__)

#: Fates looked up at once.
_LOOKS = 32
_AGAIN_S = 1.0

_OPEN = (DeliveryState.PENDING, DeliveryState.IN_FLIGHT, DeliveryState.RETRYING, DeliveryState.HELD)


class Fates:
    """Messages whose fate is to be looked up, each once however often it was asked for.

    ``sent`` gives those of some messages that flows have sent, ``look_up`` finds out what became of one.
    """

    def __init__(
        self,
        sent: Callable[[Sequence[int]], Awaitable[list[Outgoing]]],
        look_up: Callable[[Outgoing], Awaitable[None]],
    ) -> None:
        self._sent = sent
        self._look_up = look_up
        self._asked: dict[int, None] = {}
        self._wake = asyncio.Event()

    def look_at(self, message_id: int) -> None:
        self._asked[message_id] = None
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled. What can't be looked up now is looked up a moment later."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._asked:
                chosen = list(self._asked)[:_LOOKS]
                for message_id in chosen:
                    del self._asked[message_id]
                try:
                    rows = await self._sent(chosen)
                    found = await asyncio.gather(*(self._look_up(row) for row in rows), return_exceptions=True)
                except Exception as error:
                    self._tell(error)
                    await asyncio.sleep(_AGAIN_S)
                    self._asked.update(dict.fromkeys(chosen))
                    continue
                failed = {row.message: wrong for row, wrong in zip(rows, found, strict=True) if wrong is not None}
                for wrong in failed.values():
                    self._tell(wrong)
                if failed:  # the others do not wait for them
                    asyncio.get_running_loop().call_later(_AGAIN_S, self._again, list(failed))

    def _again(self, messages: Sequence[int]) -> None:
        for message in messages:
            self.look_at(message)

    @staticmethod
    def _tell(error: BaseException) -> None:
        known = isinstance(error, HubError)
        log.error("flows: %s", mask_text(str(error)), exc_info=None if known else error)


async def fate_of(row: Outgoing, reader: StoreReader, deployment: Deployment) -> list[Work]:
    """What is known now; nothing while it is under way. Raises :class:`HubError` when the store can't be asked."""
    made = [one for one in await reader.deliveries_of(row.message) if one.route == row.route]
    # What was split goes on as its parts.
    parts = [one for one in made if not (one.state is DeliveryState.SKIPPED and one.parts)]
    if any(one.state in _OPEN for one in parts):
        return await _answers(row, reader, deployment)
    if not parts:
        text = t("no route led to the target", "没有通往目标的路由")
        return [Fate(Settled(row.control, False, "flow.route", text))]
    calls = [call for call in await reader.calls_of(row.message) if call.direction is Direction.OUT]
    ids = {one.id for one in parts}
    calls = [call for call in calls if call.delivery_id in ids]
    wrong = next((one for one in parts if one.state is not DeliveryState.DELIVERED), None)
    if wrong is not None:
        return [Fate(_undelivered(row, wrong, calls))]
    large = any(len(call.response or b"") > OFF_LOOP_BYTES for call in calls)
    if large:
        settled = await asyncio.to_thread(_delivered, row, calls, deployment)
    else:
        settled = _delivered(row, calls, deployment)
    works: list[Work] = [Fate(settled)]
    return works + await _answers(row, reader, deployment)


def _undelivered(row: Outgoing, wrong: Delivery, calls: list[CallRecord]) -> Settled:
    """Calls whose outcome is not known may have had their effect."""
    last = next((call for call in reversed(calls) if call.delivery_id == wrong.id), None)
    unknown = any(call.outcome in (Outcome.TRANSIENT, Outcome.OK) for call in calls)
    if wrong.state is DeliveryState.SKIPPED:
        return Settled(row.control, False, "delivery.skipped", mask_text(wrong.reason), unknown=unknown)
    code = last.code if last is not None and last.code else f"delivery.{wrong.step or 'dead'}"
    return Settled(row.control, False, code, mask_text(wrong.reason), unknown=unknown)


def _delivered(row: Outgoing, calls: list[CallRecord], deployment: Deployment) -> Settled:
    last = next((call for call in reversed(calls) if call.outcome is Outcome.OK), None)
    body = (last.response if last is not None else None) or b""
    code = last.code if last is not None else ""
    status = int(code) if len(code) == 3 and code.isascii() and code.isdecimal() else 0
    tree: Any = {}
    broken = ""
    if body:
        bound = deployment.outbound.get(row.target)
        codec = (bound.reply_codec or bound.codec) if bound is not None else deployment.codecs["json"]
        try:
            tree = codec.decode(body, encoding=bound.contract.encoding if bound is not None else "")
        except HubError as error:
            broken = mask_text(error.text)
    return Settled(row.control, True, code, status=status, tree=tree, broken=broken)


async def _answers(row: Outgoing, reader: StoreReader, deployment: Deployment) -> list[Work]:
    """Later answers that were matched, but did not come by a route: they came too long before their number was known."""
    bound = deployment.outbound.get(row.target)
    if bound is None or bound.contract.callback is None:
        return []
    works: list[Work] = []
    for answer in (await reader.chain(row.message)).answered_by:
        message = await reader.message(answer.message_id)
        if message is None:
            continue
        flow = row.route.split(":")[1]
        try:
            tree = decode_message(message, deployment)
        except HubError:
            continue  # its own delivery tells
        works.append(Incoming(flow, message.source, message.type, message.id, message.raw, tree, row.control))
    return works
