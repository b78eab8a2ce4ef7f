"""Everything that is known beforehand about sending to one target; a reload replaces it as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from hub.api import Bound, Reply
from hub.contract import RetryPolicy
from hub.delivery.asking import Asking
from hub.delivery.awaiting import Awaiting
from hub.delivery.classify import Classifier, Verdict
from hub.delivery.composing import Composer
from hub.delivery.hours import Hours
from hub.delivery.item_verdicts import ItemVerdicts
from hub.delivery.steps import Prepared, StepError, World, decode_message
from hub.errors import HubError
from hub.i18n import t
from hub.ids import id_text
from hub.mapping import CompiledMapping, Context, compile_expression
from hub.mapping.runtime import MESSAGE_KEYS, message_value
from hub.message import CheckRecord, Delivery, Message

if TYPE_CHECKING:
    from hub.checking.checks import Checks
    from hub.checking.service import CheckService
    from hub.delivery.lookups import Answers, Lookups

__all__ = [
    "OFF_LOOP_BYTES",
    "Plan",
    "Prepared",
    "StepError",
    "World",
    "decode_message",
    "request_values",
    "variables_of",
]


#: Decoding, mapping or checking a body this large would hold up the event loop; it is done in a thread.
OFF_LOOP_BYTES = 256 << 10


def request_values(request: Message) -> dict[str, Any]:
    """What ``$request`` is: the envelope of the message that was answered."""
    return {key: message_value(request, key) for key in MESSAGE_KEYS}


def variables_of(message: Message | None, target: str) -> dict[str, Any]:
    """The variables a mapping of a message to a target can see."""
    if message is None or message.request is None:
        return {"target": target}
    return {"target": target, "request": request_values(message.request)}


class Plan:
    """How deliveries to one target are made and judged."""

    def __init__(
        self,
        bound: Bound,
        world: World,
        default_retry: RetryPolicy,
        checking: CheckService | None = None,
        lookups: Lookups | None = None,
    ) -> None:
        self.bound = bound
        self.checks: Checks | None = bound.checks
        self._checking = checking
        self._lookups = lookups
        self.retry = bound.contract.retry or default_retry
        self.classifier = Classifier(bound, world.codecs)
        self.awaiting = Awaiting(bound, world.codecs) if bound.contract.callback is not None else None
        collect = bound.contract.collect
        self.composer = Composer(self, world, collect) if collect is not None else None
        items = collect.items if collect is not None else None
        self.item_verdicts = ItemVerdicts(bound, world, items) if items is not None else None
        results = bound.contract.results
        self.asking = Asking(bound, world, results) if results is not None else None
        hours = bound.contract.hours
        self.hours = Hours(hours, bound.place, world) if hours is not None else None
        self._world = world

    def mapping(self, route: str) -> CompiledMapping | None:
        """The mapping of a route to this target, the contract's own for a delivery no route made."""
        rule = self._world.routes.get(route)
        name = self.bound.contract.mapping if rule is None or rule.mapping is None else rule.mapping
        return self._world.mappings.get(name) if name else None

    def with_lookups(self, delivery: Delivery) -> CompiledMapping | None:
        """The mapping of a delivery when there is something to look up before it runs."""
        if self._lookups is None or delivery.payload is not None:
            return None
        try:
            mapping = self.mapping(delivery.route)
        except HubError:
            return None  # told by prepare
        if mapping is None or not mapping.lookups or delivery.message is None:
            return None
        return mapping if mapping.source_codec == delivery.message.codec else None  # prepare tells of that as well

    async def look_up(self, mapping: CompiledMapping, delivery: Delivery, now_us: int) -> Answers:
        """What the lookups of a mapping find; raises :class:`StepError` and :class:`~hub.delivery.lookup_readings.LookupFailed`."""
        assert self._lookups is not None  # noqa: S101 - asked of with_lookups
        variables = variables_of(delivery.message, delivery.target)
        context = Context(settings=self.bound.settings, message=delivery.message, now_us=now_us, variables=variables)
        try:
            return await self._lookups.answers(mapping, delivery, context, self._world)
        except HubError as error:
            raise StepError("lookup", error) from error

    def forget(self, mapping: CompiledMapping, delivery: Delivery, started_us: int) -> None:
        """Look up anew, at the next try, what an attempt had from memory that the target refused for a passing reason."""
        assert self._lookups is not None  # noqa: S101 - asked of with_lookups
        self._lookups.forget(mapping, delivery, started_us)

    def prepare(self, delivery: Delivery, now_us: int, found: Mapping[str, Any] | None = None) -> Prepared:
        """Decode, map and encode; raises :class:`StepError`. Repeatable: the same message and mapping give the same bytes.

        ``found``: what the lookups of the mapping found. Where calls carry several messages, this is one that carries it alone.
        """
        message = delivery.message
        assert message is not None  # noqa: S101 - loaded by the caller
        if self.composer is not None:
            return self.composer.alone(delivery, now_us, found)
        context = self.context(delivery, now_us, found)
        key = self.idempotency_key(delivery, context)
        if delivery.payload is not None:
            return Prepared([delivery.payload], "", key)
        mapping = self.mapping_of(delivery)
        if mapping is None:
            return Prepared([message.raw], "", key)
        outputs = self.outputs(mapping, message, context)
        codec = self.bound.codec
        try:
            bodies = [codec.encode(output, encoding=self.bound.contract.encoding) for output in outputs]
        except HubError as error:
            raise StepError("encode", error) from error
        return Prepared(bodies, mapping.stamp, key)

    def context(self, delivery: Delivery, now_us: int, found: Mapping[str, Any] | None = None) -> Context:
        """What the expressions and mappings for a delivery see besides the message."""
        message = delivery.message
        variables = variables_of(message, delivery.target)
        if found:
            variables.update(found)
        return Context(settings=self.bound.settings, message=message, now_us=now_us, variables=variables)

    def idempotency_key(self, delivery: Delivery, context: Context) -> str:
        expression, message = self.bound.contract.idempotency, context.message
        if not expression or message is None:
            return id_text(delivery.id)
        try:
            read = compile_expression(expression, message.codec, key=f"{self.bound.place}.idempotency")
            value = read(decode_message(message, self._world), context)
        except HubError as error:
            raise StepError("decode", error) from error
        if value in (None, ""):
            return id_text(delivery.id)
        return f"{value}-{delivery.part}" if delivery.part else str(value)

    def mapping_of(self, delivery: Delivery) -> CompiledMapping | None:
        """The mapping of a delivery; None when its bytes go out as received. Raises :class:`StepError` where neither will do."""
        message = delivery.message
        assert message is not None  # noqa: S101 - loaded by the caller
        try:
            mapping = self.mapping(delivery.route)
        except HubError as error:
            raise StepError("map", error) from error
        if mapping is None:
            self._check_as_received(message, delivery.route)
        elif mapping.source_codec not in ("", message.codec):
            text = t(
                f"mapping {mapping.name} reads {mapping.source_codec}, the message is {message.codec}",
                f"映射 {mapping.name} 读取 {mapping.source_codec}，而消息格式为 {message.codec}",
            )
            raise StepError("map", HubError(text, code="mapping.codec"))
        return mapping

    def tree(self, message: Message) -> Any:
        """What a message decodes to; raises :class:`StepError`."""
        try:
            return decode_message(message, self._world)
        except HubError as error:
            raise StepError("decode", error) from error

    def outputs(self, mapping: CompiledMapping, message: Message, context: Context) -> list[Any]:
        """What a mapping makes of a message; raises :class:`StepError`."""
        tree = self.tree(message)
        try:
            return mapping.run(tree, context)
        except HubError as error:
            raise StepError("map", error) from error

    def note_awaited(
        self, verdict: Verdict, delivery: Delivery, sent: bytes, reply: Reply | None, started_us: int, took_us: int
    ) -> None:
        """Add to the verdict on a call the answer that is awaited from now on."""
        message = delivery.message
        if self.awaiting is not None and message is not None:
            tree = partial(decode_message, message, self._world)
            self.awaiting.note(verdict, delivery, sent, reply, tree, started_us, started_us + took_us)

    async def check(self, checks: Checks, delivery: Delivery, body: bytes, now_us: int) -> CheckRecord:
        """What ``validate`` finds in the bytes that are to be sent.

        Where ``strict`` keeps them from being sent, the verdict says so; trying again changes nothing until somebody
        mends the mapping or the data.
        """
        assert self._checking is not None  # noqa: S101 - made with the first interface that has checks
        bound = self.bound
        variables = variables_of(delivery.message, delivery.target)
        context = Context(settings=bound.settings, message=delivery.message, now_us=now_us, variables=variables)
        encoding = bound.contract.encoding
        try:
            if len(body) > OFF_LOOP_BYTES:
                tree = await asyncio.to_thread(bound.codec.decode, body, encoding=encoding)
            else:
                tree = bound.codec.decode(body, encoding=encoding)
        except HubError as error:
            return self._checking.unreadable(checks, error)
        return await self._checking.check(checks, body, tree, context)

    def _check_as_received(self, message: Message, route: str) -> None:
        """Bytes of another format go out unmapped only where a route says so (``mapping: ''``)."""
        rule = self._world.routes.get(route)
        collect = self.bound.contract.collect
        wanted = (rule is not None and rule.mapping == "") or (collect is not None and bool(collect.mapping))
        if not wanted and message.codec != self.bound.codec.name:
            text = t(
                f"the target takes {self.bound.codec.name}, the message is {message.codec}, and there is no mapping",
                f"目标接收 {self.bound.codec.name}，消息格式为 {message.codec}，且没有映射",
            )
            raise StepError("map", HubError(text, code="mapping.missing"))
