"""Request style: the caller waits for the target's reply and gets it, mapped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from hub.api import Receipt, Reply
from hub.contract import IntakeConfig
from hub.delivery.classify import Verdict
from hub.delivery.engine import DeliveryEngine
from hub.delivery.plan import World
from hub.errors import HubError, TransientError
from hub.i18n import t
from hub.intake.source import Done, Source
from hub.mapping import Context
from hub.masking import mask_text
from hub.message import Delivery, DeliveryState, Direction, Message, Outcome
from hub.store.base import PutResult, StoreReader

__all__ = ["Exchanges"]


class Exchanges:
    """``answered`` is called once for each exchange, when its caller has been answered."""

    def __init__(
        self, reader: StoreReader, engine: DeliveryEngine, config: IntakeConfig, answered: Callable[[], None]
    ) -> None:
        self._reader = reader
        self._engine = engine
        self._config = config
        self._answered = answered
        self.world: World

    def begin(self, source: Source, message: Message, delivery: Delivery, done: Done) -> None:
        """Wait for the target's reply and answer the caller with it, mapped."""
        loop = asyncio.get_running_loop()
        answered = False

        def answer(receipt: Receipt) -> None:
            nonlocal answered
            if not answered:
                answered = True
                timer.cancel()
                self._answered()
                done(receipt)

        def settled(final: Delivery, verdict: Verdict, reply: Reply | None) -> None:
            if final.state is DeliveryState.DELIVERED:
                answer(self._reply_receipt(source, message, final.target, reply.body if reply else b""))
            else:
                text = t("the target did not accept the request: ", "目标未接受请求：") + (
                    verdict.error or verdict.code
                )
                error = HubError(text, code="request.failed")
                answer(Receipt(Outcome.FAILED, message.id, message.type, message.control_id, error))

        def late() -> None:
            text = t(
                f"no reply within {self._config.request_timeout:g} s; the request is stored and still being delivered",
                f"{self._config.request_timeout:g} 秒内未得到应答；请求已存储，仍在投递",
            )
            error = TransientError(text, code="request.timeout")
            answer(Receipt(Outcome.FAILED, message.id, message.type, message.control_id, error))

        timer = loop.call_later(self._config.request_timeout, late)
        self._engine.offer(delivery, settled)

    def _reply_tree(self, target: str, codec: str, body: bytes) -> Any:
        """A target's reply, read with the options of its interface where that has this codec."""
        found = self._engine.targets.get(target)
        if found is not None:
            bound = found.plan.bound
            for own in (bound.reply_codec, bound.codec):
                if own is not None and own.name == codec:
                    return own.decode(body, encoding=bound.contract.encoding)
        return self.world.codecs[codec].decode(body)

    def _reply_receipt(self, source: Source, message: Message, target: str, body: bytes) -> Receipt:
        """The target's reply through the interface's reply mapping."""
        try:
            if source.reply_mapping:
                mapping = self.world.mappings.get(source.reply_mapping)
                tree = self._reply_tree(target, mapping.source_codec, body)
                context = Context(
                    settings=source.settings, message=message, now_us=time.time_ns() // 1000, variables={}
                )
                outputs = mapping.run(tree, context)
                body = source.codec.encode(outputs[0] if outputs else {}, encoding=source.encoding)
        except HubError as error:
            failed = HubError(mask_text(error.text), code="reply.mapping")
            return Receipt(Outcome.FAILED, message.id, message.type, message.control_id, failed)
        return Receipt(Outcome.OK, message.id, message.type, message.control_id, reply=body)

    async def answer_again(self, source: Source, result: PutResult, done: Done) -> None:
        """A repeated request gets the stored reply of the first one; the target is not called again."""
        message = result.message
        try:
            calls = await self._reader.calls_of(result.earlier)
            for call in reversed(calls):
                if call.direction is Direction.OUT and call.outcome is Outcome.OK:
                    receipt = self._reply_receipt(source, message, call.place, call.response or b"")
                    receipt.outcome = Outcome.DUPLICATE if receipt.error is None else receipt.outcome
                    receipt.message_id = result.earlier
                    return done(receipt)
            error = TransientError(
                t("the first request with this number has no reply yet", "同号的首次请求尚未得到应答"),
                code="request.pending",
            )
            done(Receipt(Outcome.FAILED, result.earlier, message.type, message.control_id, error))
        finally:
            self._answered()
