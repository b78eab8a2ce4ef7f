"""What a target replies becomes messages (``results``): read page by page, then taken in together with the end of the delivery."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from hub.api import Bound, Codec, Outgoing, Reply, Sender
from hub.contract import ResultsRule
from hub.delivery.classify import Verdict
from hub.delivery.steps import StepError, World
from hub.delivery.turn import Turn
from hub.errors import CodecError, HubError
from hub.i18n import t
from hub.mapping import Context, compile_expression
from hub.masking import mask_text
from hub.message import CallRecord, Delivery, Message, Outcome

if TYPE_CHECKING:
    from hub.delivery.plan import Plan

__all__ = ["Asking", "Page", "Pages", "TakesIn", "only_body", "read_pages"]

Variables = Mapping[str, Any]
Read = Callable[[Any, Context], Any]


class TakesIn(Protocol):
    """The intake, as far as targets need it."""

    async def take_results(
        self, place: str, bodies: Sequence[bytes], asking: Message, settled: Delivery, calls: Sequence[CallRecord]
    ) -> None:
        """Take in messages of an interface, with the state of the delivery that asked for them and its calls: all or nothing.

        What can't be accepted for its content is kept in the call log and does not stop the others. Raises :class:`HubError`.
        """


@dataclass(slots=True)
class Page:
    """A call that was not the last one of an attempt."""

    number: int
    request: bytes
    reply: Reply
    started_us: int
    took_us: int


@dataclass(slots=True)
class Pages:
    """What an attempt has read so far; ``request`` and ``reply`` are those of the last page, or of the one that failed."""

    to: str  # the interface that takes them in
    request: bytes
    reply: Reply | None = None
    before: list[Page] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)  # of messages
    code: str = ""  # of the last page, as the contract reads it


class Asking:
    """``results`` of an interface, compiled."""

    def __init__(self, bound: Bound, world: World, rule: ResultsRule) -> None:
        self.rule = rule
        self.to = f"{bound.system}/{rule.to}"
        self.first: Variables = rule.first
        self._bound = bound
        self._world = world
        reply = bound.contract.reply.codec
        self._codec: Codec = bound.reply_codec or (world.codecs[reply] if reply else bound.codec)
        self._each = self._compile(rule.each, "each")
        self._more = self._compile(rule.more, "more")
        self._next = {name: self._compile(text, f"next.{name}") for name, text in rule.next.items()}

    def _compile(self, text: str, key: str) -> Read | None:
        return compile_expression(text, self._codec.name, key=f"{self._bound.place}.results.{key}") if text else None

    def read(self, reply: Reply, page: Variables, asking: Message | None) -> tuple[list[bytes], dict[str, Any] | None]:
        """(the messages of a page, the variables of the next one); raises :class:`HubError`, :class:`CodecError` for no such reply."""
        target = self._world.inbound.get(self.to)
        if target is None:
            raise HubError(t(f"there is no interface {self.to}", f"没有接口 {self.to}"), code="results.to")
        rule = self.rule
        tree: Any = None
        if rule.each or rule.mapping or rule.next or rule.more:
            tree = self._codec.decode(reply.body, encoding=self._bound.contract.encoding)
        context = Context(
            settings=self._bound.settings,
            message=asking,
            now_us=time.time_ns() // 1000,
            variables={"status": reply.status, "code": reply.code, "ok": reply.ok, "target": self._bound.place, **page},
        )
        entries: list[Any] = [tree]
        if self._each is not None:
            value = self._each(tree, context)
            entries = value if isinstance(value, list) else [] if value in (None, "") else [value]
        if rule.mapping:
            mapping = self._world.mappings.get(rule.mapping)
            entries = [output for entry in entries for output in mapping.run(entry, context)]
        if rule.each or rule.mapping:
            encoding = target.contract.encoding
            bodies = [target.codec.encode(entry, encoding=encoding) for entry in entries]
        else:
            bodies = [reply.body] if reply.body else []
        return bodies, self._following(tree, context)

    def _following(self, tree: Any, context: Context) -> dict[str, Any] | None:
        if not self._next or (self._more is not None and not self._more(tree, context)):
            return None
        found = {name: read(tree, context) for name, read in self._next.items() if read is not None}
        return None if any(value is None or value == "" or value is False for value in found.values()) else found


async def read_pages(
    plan: Plan,
    asking: Asking,
    sender: Sender,
    delivery: Delivery,
    outgoing: Outgoing,
    turn: Turn,
    prepare: Callable[[Variables], Awaitable[bytes]],
    pages: Pages,
) -> Verdict | None:
    """Call until there is no further page; returns None then, else the verdict on what failed.

    Raises what the sender raises, and :class:`StepError`; ``prepare`` gives the body for the variables of a page.
    """
    rule = asking.rule
    page, size, key = dict(asking.first), 0, outgoing.idempotency_key
    outgoing.variables = {**outgoing.variables, **page}
    keys = dict(delivery.message.keys) if delivery.message is not None else {}
    while True:
        started_us, started = time.time_ns() // 1000, time.perf_counter_ns()
        pages.request, pages.reply = outgoing.body, None
        pages.reply = reply = await sender.send(outgoing)
        verdict = plan.classifier.judge(reply)
        if verdict.outcome is not Outcome.OK:
            return verdict
        size += len(reply.body)
        number = len(pages.before) + 1
        try:
            if size > rule.size:
                text = t(f"the reply has more than {rule.size} bytes", f"应答超过 {rule.size} 字节")
                raise HubError(text, code="results.size")
            bodies, following = asking.read(reply, page, delivery.message)
            if following is not None and number == rule.pages:
                text = t(f"the reply has more than {rule.pages} pages", f"应答超过 {rule.pages} 页")
                raise HubError(text, code="results.pages")
            if following is not None and following == page:
                raise HubError(t("the next page is this one again", "下一页仍是本页"), code="results.page")
        except CodecError as error:
            return Verdict(Outcome.TRANSIENT, verdict.code, mask_text(error.text), "classify")
        except HubError as error:
            return Verdict.of_failed_step("results", error)
        pages.bodies += bodies
        if following is None:
            pages.code = verdict.code
            return None
        pages.before.append(Page(number, outgoing.body, reply, started_us, (time.perf_counter_ns() - started) // 1000))
        page = following
        turn.pause()
        body = await prepare(page)
        await turn.pace()
        turn.resume()
        outgoing = Outgoing(
            body=body,
            delivery_id=delivery.id,
            idempotency_key=f"{key}-{number + 1}",
            type=outgoing.type,
            control_id=outgoing.control_id,
            attempt=outgoing.attempt,
            timeout=outgoing.timeout,
            variables={**keys, **page},
        )


def only_body(bodies: Sequence[bytes]) -> bytes:
    """The body of a page; one call is made for it, never none or several."""
    if len(bodies) != 1:
        text = t(f"the mapping made {len(bodies)} targets for a page", f"映射为一页生成了 {len(bodies)} 个目标")
        raise StepError("map", HubError(text, code="results.body"))
    return bodies[0]
