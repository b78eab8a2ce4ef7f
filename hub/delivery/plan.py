"""Everything that is known beforehand about sending to one target; a reload replaces it as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hub.api import Bound, Codec
from hub.contract import RetryPolicy, RouteConfig
from hub.delivery.classify import Classifier
from hub.errors import HubError
from hub.i18n import t
from hub.ids import id_text
from hub.mapping import CompiledMapping, Context, MappingLibrary, compile_expression
from hub.message import CheckRecord, Delivery, Message

if TYPE_CHECKING:
    from hub.checking.checks import Checks
    from hub.checking.service import CheckService
    from hub.delivery.lookups import Answers, Lookups

__all__ = ["OFF_LOOP_BYTES", "Plan", "Prepared", "StepError", "World", "decode_message"]


#: Decoding, mapping or checking a body this large would hold up the event loop; it is done in a thread.
OFF_LOOP_BYTES = 256 << 10


class World(Protocol):
    """The part of a deployment that deliveries need."""

    @property
    def inbound(self) -> Mapping[str, Bound]: ...
    @property
    def outbound(self) -> Mapping[str, Bound]: ...
    @property
    def routes(self) -> Mapping[str, RouteConfig]: ...
    @property
    def mappings(self) -> MappingLibrary: ...
    @property
    def codecs(self) -> Mapping[str, Codec]: ...


class StepError(Exception):
    """A step before sending failed: the hub's own work, so trying again changes nothing until somebody mends it."""

    def __init__(self, step: str, error: HubError, check: CheckRecord | None = None) -> None:
        super().__init__(str(error))
        self.step = step
        self.error = error
        self.check = check


@dataclass(slots=True)
class Prepared:
    bodies: list[bytes]  # several: the mapping splits; none: its condition does not hold
    stamp: str  # "name@hash" of the mapping, "" when the bytes go out as received
    idempotency_key: str


def decode_message(message: Message, world: World) -> Any:
    """The decoded tree of a message; decoded once, then shared by all its deliveries."""
    if message.tree is None:
        source = world.inbound.get(message.source)
        if source is not None and source.codec.name == message.codec:
            codec: Codec | None = source.codec  # with the options of the interface
        else:
            codec = world.codecs.get(message.codec)
        if codec is None:
            raise HubError(
                t(f"codec {message.codec!r} is not installed", f"未安装编解码器 {message.codec!r}"),
                code="codec.missing",
            )
        message.tree = codec.decode(message.raw, encoding=source.contract.encoding if source else "")
    return message.tree


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
        variables = {"target": delivery.target}
        context = Context(settings=self.bound.settings, message=delivery.message, now_us=now_us, variables=variables)
        try:
            return await self._lookups.answers(mapping, delivery, context, self._world)
        except HubError as error:
            raise StepError("lookup", error) from error

    def prepare(self, delivery: Delivery, now_us: int, found: Mapping[str, Any] | None = None) -> Prepared:
        """Decode, map and encode; raises :class:`StepError`. Repeatable: the same message and mapping give the same bytes.

        ``found``: what the lookups of the mapping found.
        """
        message = delivery.message
        assert message is not None  # noqa: S101 - loaded by the caller
        contract = self.bound.contract
        context = Context(
            settings=self.bound.settings,
            message=message,
            now_us=now_us,
            variables={"target": delivery.target, **(found or {})},
        )
        key = id_text(delivery.id)
        try:
            if contract.idempotency:
                read = compile_expression(contract.idempotency, message.codec, key=f"{self.bound.place}.idempotency")
                found = read(decode_message(message, self._world), context)
                if found not in (None, ""):
                    key = f"{found}-{delivery.part}" if delivery.part else str(found)
        except HubError as error:
            raise StepError("decode", error) from error
        if delivery.payload is not None:
            return Prepared([delivery.payload], "", key)
        try:
            mapping = self.mapping(delivery.route)
        except HubError as error:
            raise StepError("map", error) from error
        if mapping is None:
            self._check_as_received(message, delivery.route)
            return Prepared([message.raw], "", key)
        if mapping.source_codec not in ("", message.codec):
            text = t(
                f"mapping {mapping.name} reads {mapping.source_codec}, the message is {message.codec}",
                f"映射 {mapping.name} 读取 {mapping.source_codec}，而消息格式为 {message.codec}",
            )
            raise StepError("map", HubError(text, code="mapping.codec"))
        try:
            tree = decode_message(message, self._world)
        except HubError as error:
            raise StepError("decode", error) from error
        try:
            outputs = mapping.run(tree, context)
        except HubError as error:
            raise StepError("map", error) from error
        codec = self.bound.codec
        try:
            bodies = [codec.encode(output, encoding=contract.encoding) for output in outputs]
        except HubError as error:
            raise StepError("encode", error) from error
        return Prepared(bodies, mapping.stamp, key)

    async def check(self, checks: Checks, delivery: Delivery, body: bytes, now_us: int) -> CheckRecord:
        """What ``validate`` finds in the bytes that are to be sent.

        Where ``strict`` keeps them from being sent, the verdict says so; trying again changes nothing until somebody
        mends the mapping or the data.
        """
        assert self._checking is not None  # noqa: S101 - made with the first interface that has checks
        bound = self.bound
        variables = {"target": delivery.target}
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
        wanted = rule is not None and rule.mapping == ""
        if not wanted and message.codec != self.bound.codec.name:
            text = t(
                f"the target takes {self.bound.codec.name}, the message is {message.codec}, and there is no mapping",
                f"目标接收 {self.bound.codec.name}，消息格式为 {message.codec}，且没有映射",
            )
            raise StepError("map", HubError(text, code="mapping.missing"))
