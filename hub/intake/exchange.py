"""Request style: the caller waits for the target's reply, or for its later answer, and gets it, mapped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from hub.api import Bound, ExchangeError, Receipt, Reply
from hub.contract import IntakeConfig
from hub.delivery.classify import Verdict
from hub.delivery.engine import DeliveryEngine
from hub.delivery.plan import World, decode_message
from hub.errors import HubError
from hub.i18n import t
from hub.intake.source import Done, Source
from hub.logs import get_logger
from hub.mapping import Context
from hub.masking import mask_text
from hub.message import CallRecord, Delivery, DeliveryState, Direction, Message, Outcome
from hub.store.base import PutResult, StoreReader

__all__ = ["Exchanges"]

log = get_logger(__name__)

#: How a delivery ended -> whose fault it is, see :class:`hub.errors.ExchangeError`.
_KINDS = {
    Outcome.REJECTED: "refused",
    Outcome.PERMANENT: "refused",
    Outcome.TRANSIENT: "failed",
    Outcome.UNREACHABLE: "unreachable",
}


class Exchanges:
    """``answered`` is called once for each exchange, when its caller has been answered."""

    def __init__(
        self, reader: StoreReader, engine: DeliveryEngine, config: IntakeConfig, answered: Callable[[], None]
    ) -> None:
        self._reader = reader
        self._engine = engine
        self._config = config
        self._answered = answered
        self._awaiting: dict[int, Callable[[Message], None]] = {}  # by delivery, of callers that wait for its answer
        self.world: World

    def begin(self, source: Source, message: Message, delivery: Delivery, done: Done) -> None:
        """Wait for what the target's contract promises and answer the caller with it, mapped."""
        loop = asyncio.get_running_loop()
        later = self._answers_later(delivery.target)
        answered = False

        def answer(receipt: Receipt) -> None:
            nonlocal answered
            if not answered:
                answered = True
                timer.cancel()
                self._awaiting.pop(delivery.id, None)
                self._answered()
                done(receipt)

        def settled(final: Delivery, verdict: Verdict, reply: Reply | None) -> None:
            body = reply.body if reply is not None else b""
            if final.state is not DeliveryState.DELIVERED:
                status = reply.status if reply is not None else 0
                answer(self._failed(source, message, final.target, verdict, body, status))
            elif not later:
                answer(self._reply_receipt(source, message, final.target, body))
            elif verdict.awaited is None:
                answer(_receipt(message, ExchangeError(mask_text(verdict.error), "failed", reply_code=verdict.code)))

        def late() -> None:
            text = t(
                f"no reply within {self._config.request_timeout:g} s; the request is stored and still being delivered",
                f"{self._config.request_timeout:g} 秒内未得到应答；请求已存储，仍在投递",
            )
            answer(_receipt(message, ExchangeError(text, "late", code="request.timeout")))

        timer = loop.call_later(self._config.request_timeout, late)
        if later:
            self._awaiting[delivery.id] = lambda found: answer(self._later_receipt(source, message, found))
        self._engine.offer(delivery, settled)

    def called_back(self, delivery_id: int, answer: Message) -> None:
        """The later answer to a delivery is known; whoever waits for it gets it."""
        waiting = self._awaiting.get(delivery_id)
        if waiting is not None:
            waiting(answer)

    def _answers_later(self, target: str) -> bool:
        bound = self._bound(target)
        callback = bound.contract.callback if bound is not None else None
        return callback is not None and callback.caller_gets == "callback"

    def _bound(self, target: str) -> Bound | None:
        found = self._engine.targets.get(target)
        return found.plan.bound if found is not None else None

    # -- answers -------------------------------------------------------------------------------------------------

    def _reply_tree(self, target: str, codec: str, body: bytes) -> Any:
        """A target's reply, read with the options of its interface where that has this codec."""
        if not body and codec == "json":
            return {}  # an answer without a body (204) has no fields
        bound = self._bound(target)
        if bound is not None:
            for own in (bound.reply_codec, bound.codec):
                if own is not None and own.name == codec:
                    return own.decode(body, encoding=bound.contract.encoding)
        return self.world.codecs[codec].decode(body)

    def _reply_receipt(self, source: Source, message: Message, target: str, body: bytes) -> Receipt:
        """The target's reply through the interface's reply mapping."""
        return self._mapped(source, message, lambda codec: self._reply_tree(target, codec, body), body)

    def _later_receipt(self, source: Source, message: Message, found: Message) -> Receipt:
        """A later answer, which came in as a message of its own, through the interface's reply mapping."""
        return self._mapped(source, message, lambda codec: decode_message(found, self.world), found.raw)

    def _mapped(self, source: Source, message: Message, tree: Callable[[str], Any], body: bytes) -> Receipt:
        try:
            if source.reply_mapping:
                body = self._map(source, message, source.reply_mapping, tree, {})
        except HubError as error:
            return _receipt(message, ExchangeError(mask_text(error.text), "hub", code="reply.mapping"))
        return Receipt(Outcome.OK, message.id, message.type, message.control_id, reply=body)

    def _map(
        self, source: Source, message: Message, name: str, tree: Callable[[str], Any], variables: dict[str, Any]
    ) -> bytes:
        mapping = self.world.mappings.get(name)
        context = Context(settings=source.settings, message=message, now_us=time.time_ns() // 1000, variables=variables)
        outputs = mapping.run(tree(mapping.source_codec), context)
        return source.codec.encode(outputs[0] if outputs else {}, encoding=source.encoding)

    def _failed(
        self, source: Source, message: Message, target: str, verdict: Verdict, body: bytes, status: int
    ) -> Receipt:
        """What the caller gets of a request that came to nothing: whose fault it is, and what the target says."""
        kind = _KINDS.get(verdict.outcome, "hub")
        if kind == "hub":
            head = t("the request could not be made: ", "请求未能发出：")
        elif kind == "refused":
            head = t("the target did not accept the request: ", "目标未接受请求：")
        else:
            head = t("the target failed: ", "目标系统失败：")
        bound = self._bound(target)
        if 400 <= status < 500 and bound is not None and verdict.code in bound.contract.errors:
            status = 0  # a code the contract knows is about the request; a bare 401 or 403 would be about the hub
        error = ExchangeError(
            head + mask_text(verdict.error or verdict.code), kind, reply_code=verdict.code, status=status
        )
        receipt = _receipt(message, error)
        if source.error_mapping and body and kind != "hub":
            variables = {"status": status, "code": verdict.code, "ok": False}
            try:
                receipt.reply = self._map(
                    source,
                    message,
                    source.error_mapping,
                    lambda codec: self._reply_tree(target, codec, body),
                    variables,
                )
            except HubError as failed:  # the protocol's own form says it as well
                log.warning("%s: error_mapping: %s", source.bound.place, mask_text(failed.text))
        return receipt

    # -- repetitions ---------------------------------------------------------------------------------------------

    async def answer_again(self, source: Source, result: PutResult, done: Done) -> None:
        """A repeated request is answered as the first one, from what is stored; the target is not called again."""
        message = result.message
        try:
            receipt = await self._again(source, message, result.earlier)
            if receipt is None:
                text = t("the first request with this number has no reply yet", "同号的首次请求尚未得到应答")
                receipt = _receipt(message, ExchangeError(text, "pending", code="request.pending"))
            elif receipt.error is None:
                receipt.outcome = Outcome.DUPLICATE
            receipt.message_id = result.earlier
            done(receipt)
        finally:
            self._answered()

    async def _again(self, source: Source, message: Message, earlier: int) -> Receipt | None:
        """What the caller of an earlier request got or would get now; None while that is open."""
        calls = [call for call in await self._reader.calls_of(earlier) if call.direction is Direction.OUT]
        last = calls[-1] if calls else None
        if last is None:
            return None
        if last.outcome is Outcome.OK:
            if not self._answers_later(last.place):
                return self._reply_receipt(source, message, last.place, last.response or b"")
            chain = await self._reader.chain(earlier)
            found = await self._reader.message(chain.answered_by[0].message_id) if chain.answered_by else None
            return self._later_receipt(source, message, found) if found is not None else None
        delivery = await self._reader.delivery(last.delivery_id)
        if delivery is None or delivery.state is not DeliveryState.DEAD:
            return None
        verdict = Verdict(last.outcome, last.code, last.error)
        return self._failed(source, message, last.place, verdict, last.response or b"", _status(last))


def _receipt(message: Message, error: HubError) -> Receipt:
    return Receipt(Outcome.FAILED, message.id, message.type, message.control_id, error)


def _status(call: CallRecord) -> int:
    """The HTTP status of a call in the log, where its code is one."""
    return int(call.code) if len(call.code) == 3 and call.code.isascii() and call.code.isdecimal() else 0
