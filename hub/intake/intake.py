"""Intake: what an adapter received becomes a durable message with its deliveries, and only then is acknowledged.

Everything on this path is a plain function call on the event loop; the only wait is the commit. A message that
can't be accepted is refused with the reason, and the call log keeps the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.api import Bound, Item, Receipt
from hub.contract import IntakeConfig
from hub.delivery.classify import Verdict
from hub.delivery.engine import DeliveryEngine
from hub.delivery.plan import World
from hub.errors import HubError, SendError, StoreBusy
from hub.i18n import t
from hub.ids import id_text
from hub.intake.correlation import Correlator
from hub.intake.exchange import Exchanges
from hub.intake.pages import Pages
from hub.intake.source import (
    CHECK_OFF_LOOP_BYTES,
    KEY_LENGTH,
    NO_TREE_ABOVE,
    OFF_LOOP_BYTES,
    REFUSED_BYTES,
    Arrival,
    Done,
    Made,
    Read,
    Refused,
    Source,
    as_text,
    check_names,
    params_text,
    stopping,
    too_large,
    with_findings,
)
from hub.intake.source import read as read_raw
from hub.logs import get_logger
from hub.mapping import Context
from hub.masking import mask_text
from hub.message import CallRecord, CheckRecord, CheckVerdict, Delivery, Direction, Message, Outcome
from hub.metrics import Metrics
from hub.privacy.search import stored_key
from hub.privacy.site import policy
from hub.router import Router
from hub.security.wire import OpenedParams
from hub.store.base import PutResult, Store, StoreReader

if TYPE_CHECKING:
    from hub.checking.checks import Checks
    from hub.checking.service import CheckService

__all__ = ["Intake"]

log = get_logger(__name__)

#: So many of them are read at once, and so many bytes wait for it or for a check; more is not taken.
_LARGE_AT_ONCE = 2
_LARGE_BYTES = 256 << 20


class Intake:
    """The :class:`hub.api.IntakePort` of one worker."""

    def __init__(
        self,
        store: Store,
        engine: DeliveryEngine,
        config: IntakeConfig,
        metrics: Metrics,
        *,
        salt: bytes,
        queue_limit: int,
        siblings: Sequence[Path] = (),
        everywhere: StoreReader | None = None,
    ) -> None:
        self._store = store
        self._engine = engine
        self._config = config
        self._metrics = metrics
        self._salt = salt
        self._queue_limit = queue_limit
        self._sources: dict[str, Source] = {}
        self._router: Router
        self._open = 0  # messages handed in and not answered yet
        self._stopping = False
        #: By place: messages that wait for a large one or for their check, with what is under way for them.
        self._large: dict[str, deque[tuple[Arrival, asyncio.Task[Read] | None]]] = {}
        self._large_bytes = 0
        self._large_room = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._all_answered = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pages = Pages(self, store, siblings)
        self._exchanges = Exchanges(store.reader, engine, config, self._answered)
        self._correlator = Correlator(store, engine, self._exchanges, everywhere or store.reader)
        self.checking: CheckService  # set before an interface that has checks is used

    def use(self, world: World, router: Router) -> None:
        """Work by this deployment from the next message on. Raises before anything changes when it can't be compiled."""
        sources = {
            place: Source(bound, self._config, self._metrics.inbound(place)) for place, bound in world.inbound.items()
        }
        self._correlator.use(world, router, sources)
        self._sources, self._router = sources, router
        self._exchanges.world = world

    # -- hub.api.IntakePort --------------------------------------------------------------------------------------

    def ready(self) -> bool:
        busy = self._store.queued >= self._queue_limit or self._correlator.full
        return not self._stopping and self._store.writable and not busy

    def submit(
        self,
        bound: Bound,
        raw: bytes,
        done: Done,
        *,
        remote: str = "",
        control_id: str = "",
        params: Mapping[str, str] | None = None,
    ) -> None:
        started = time.time_ns() // 1000
        source = self._sources.get(bound.place)
        if source is None or self._stopping:
            return done(Receipt(Outcome.REFUSED, error=stopping()))
        stats = source.stats
        stats.received += 1
        stats.bytes += len(raw)
        if len(raw) > source.max_size:
            error = too_large(len(raw), source.max_size)
            return self._refuse(source, raw, error, done, started, remote, control_id, params)
        if len(raw) > source.off_loop or (self._large and bound.place in self._large):
            return self._wait_in_line((source, raw, done, started, remote, control_id, params))
        self._take(source, raw, done, started, remote, control_id, params)

    def _take(
        self,
        source: Source,
        raw: bytes,
        done: Done,
        started: int,
        remote: str,
        control_id: str,
        params: Mapping[str, str] | None,
        read: Read | None = None,
    ) -> None:
        """Read, route and hand over to the store; ``read``: what reading it beforehand gave."""
        made = self.make(source, raw, started, remote, control_id, params, read)
        if isinstance(made, Refused):
            return self._refuse(source, raw, made.error, done, started, remote, made.control_id, params, made.check)
        message, deliveries, call = made.message, made.deliveries, made.call
        stored: Callable[[PutResult], None] = lambda result: self._stored(source, result, deliveries, done)  # noqa: E731
        checks = source.checks
        if checks is not None:
            if call.check is None:
                stored = partial(self._check_stored, stored, checks, source, call.id, params or {})
            else:
                done = partial(with_findings, done, call.check)
        try:
            self._store.put(message, deliveries, stored, duplicate_window_us=source.window_us, call=call)
        except StoreBusy as error:
            source.stats.refused += 1
            return done(Receipt(Outcome.REFUSED, type=message.type, control_id=message.control_id, error=error))
        self._open += 1

    def make(
        self,
        source: Source,
        raw: bytes,
        started: int,
        remote: str,
        control_id: str,
        params: Mapping[str, str] | None,
        read: Read | None,
    ) -> Made | Refused:
        """The message with its deliveries and the row of the call log; or why there is none."""
        bound = source.bound
        check: CheckRecord | None = None
        try:
            if read is None:
                tree = source.codec.decode(raw, encoding=source.encoding)
                message_type, own_control = source.codec.envelope(tree)
            elif isinstance(read, Exception):
                raise read
            else:
                tree, message_type, own_control, check = read
            context = Context(settings=source.settings, message=None, now_us=started, variables=params or {})
            message_type, control_id = source.names(tree, context, message_type, own_control, control_id)
            keys = source.keys_of(tree, context)
            check_names(message_type, control_id)
            if source.callers is not None and params and "caller" in params:
                source.callers.check_type(params["caller"], message_type)
            message = Message(
                id=self._store.ids.next(),
                received_at=started,
                source=bound.place,
                type=message_type,
                control_id=control_id,
                raw=raw,
                keys=self._keys(source, keys) if keys else keys,
                content_hash=blake2b(raw, digest_size=16).digest(),
                remote=remote,
                codec=source.codec.name,
                tree=tree,
            )
            context.message = message
            if source.answers is not None:
                message.answer = source.answers.of(tree, context)
                message.correlation = message.answer.key if message.answer is not None else ""
            if source.checks is not None:
                if check is None and len(raw) <= source.later:
                    check = self.checking.quick(source.checks, raw, tree, context)
                if check is not None and check.verdict is CheckVerdict.REFUSED:
                    return Refused(source.checks.failure(check), control_id, check)
            if message.answer is not None and message.answer.waiting:
                routed = []  # once it is known what it answers
            else:
                routed = self._router.targets(bound.place, message_type, tree, context)
        except HubError as error:
            return Refused(error, control_id)
        except RecursionError:
            return Refused(HubError(t("nested too deeply", "嵌套过深"), code="codec.depth"), control_id)
        except Exception as error:
            # A bug in a plugin's codec: the sender gets an answer, and the call log the bytes (invariant 5).
            log.exception("%s: a message could not be read", source.bound.place)
            text = t(f"the hub failed to read it: {type(error).__name__}", f"枢纽读取失败：{type(error).__name__}")
            return Refused(HubError(text, code="hub.unexpected"), control_id)
        if source.request and len(routed) != 1:
            text = t(
                f"a request needs exactly one target, {len(routed)} routes match",
                f"请求式消息须恰有一个目标，现有 {len(routed)} 条路由匹配",
            )
            return Refused(HubError(text, code="route.request"), control_id)
        next_id = self._store.ids.next
        deliveries = [
            Delivery(
                id=next_id(),
                message_id=message.id,
                route=entry.route,
                target=entry.target,
                order_key=entry.order_key(tree, context)[:KEY_LENGTH],
                updated_at=started,
                message=message,
            )
            for entry in routed
        ]
        if len(raw) > NO_TREE_ABOVE:
            message.tree = None  # the queue may be long; decoding again is cheaper than keeping large trees
        call = CallRecord(
            id=next_id(),
            at=started,
            direction=Direction.IN,
            place=bound.place,
            outcome=Outcome.OK,
            message_id=message.id,
            remote=remote,
            params=params_text(params),
            request=params.received if isinstance(params, OpenedParams) else None,
            check=check,
        )
        return Made(message, deliveries, call)

    # -- what is read from a source ------------------------------------------------------------------------------

    async def take(
        self, bound: Bound, items: Sequence[Item], *, mark: str | None = None, name: str = "", remote: str = ""
    ) -> list[Receipt]:
        source = self._sources.get(bound.place)
        if source is None or self._stopping:
            raise stopping()
        if self._correlator.full:
            raise StoreBusy(t("too many answers wait to be matched", "等待匹配的应答过多"))
        self._open += 1
        try:
            return await self._pages.take(source, items, mark, name, remote)
        finally:
            self._answered()

    async def take_results(
        self, place: str, bodies: Sequence[bytes], asking: Message, settled: Delivery, calls: Sequence[CallRecord]
    ) -> None:
        """See :class:`hub.delivery.asking.TakesIn`; also while the hub stops, for calls that are under way."""
        source = self._sources.get(place)
        if source is None:
            raise HubError(t(f"there is no interface {place}", f"没有接口 {place}"), code="results.to")
        await self._pages.take_results(source, bodies, asking, settled, calls)

    async def mark(self, bound: Bound, name: str = "") -> str:
        return await self._pages.mark(bound, name)

    async def check(
        self, bound: Bound, raw: bytes, *, params: Mapping[str, str] | None = None
    ) -> Sequence[Mapping[str, str]]:
        source = self._sources.get(bound.place)
        if source is None or self._stopping:
            raise stopping()
        if len(raw) > source.max_size:
            raise too_large(len(raw), source.max_size)
        large = len(raw) > CHECK_OFF_LOOP_BYTES
        read = await asyncio.to_thread(read_raw, source, raw) if large else read_raw(source, raw)
        if isinstance(read, HubError):
            raise read
        if isinstance(read, Exception):
            why = type(read).__name__
            raise HubError(
                t(f"the hub failed to read it: {why}", f"枢纽读取失败：{why}"), code="hub.unexpected"
            ) from read
        checks = source.checks
        if checks is None:
            return ()
        if self.checking.full:
            text = t("too many messages wait for their check: ask again later", "等待校验的消息过多，请稍后再试")
            raise StoreBusy(text)
        tree, kind, control_id, _ = read
        now = time.time_ns() // 1000
        context = Context(settings=source.settings, message=None, now_us=now, variables=params or {})
        if source.type_of is not None:
            kind = as_text(source.type_of(tree, context)) or kind
        context.message = Message(0, now, bound.place, kind, control_id, raw)
        return (await self.checking.again(checks, raw, lambda: tree, context)).findings

    def note_run(
        self,
        bound: Bound,
        *,
        started_us: int,
        params: Mapping[str, str],
        error: HubError | None = None,
        remote: str = "",
    ) -> None:
        outcome = Outcome.OK
        if error is not None:
            outcome = Verdict.of_send_error(error).outcome if isinstance(error, SendError) else Outcome.FAILED
        self._store.log(
            CallRecord(
                id=self._store.ids.next(),
                at=started_us,
                direction=Direction.IN,
                place=bound.place,
                outcome=outcome,
                code=error.code if error is not None else "",
                error=mask_text(error.text) if error is not None else "",
                took_us=max(0, time.time_ns() // 1000 - started_us),
                remote=remote,
                params=params_text(params),
            )
        )

    def _wait_in_line(self, arrival: Arrival) -> None:
        """A large message is read in a thread, and where ``strict`` takes long it is checked elsewhere; what the interface
        receives meanwhile waits, so that the order stays."""
        source, raw, done = arrival[:3]
        if self._large_bytes + len(raw) > _LARGE_BYTES and self._large_bytes:
            source.stats.refused += 1
            text = t("too many large messages at once: send again later", "同时到达的大消息过多，请稍后重发")
            return done(Receipt(Outcome.REFUSED, control_id=arrival[5], error=StoreBusy(text)))
        early: asyncio.Task[Read] | None = None
        if source.off_loop < 0 and source.checks is not None and self.checking.full:
            source.stats.refused += 1
            text = t("too many messages wait for their check: send again later", "等待校验的消息过多，请稍后重发")
            return done(Receipt(Outcome.REFUSED, control_id=arrival[5], error=StoreBusy(text)))
        if source.off_loop < len(raw) <= OFF_LOOP_BYTES:  # the trees of larger ones would be too much, all at once
            early = asyncio.get_running_loop().create_task(self.prepare(arrival))
        self._large_bytes += len(raw)
        self._open += 1
        place = source.bound.place
        line = self._large.get(place)
        if line is not None:
            line.append((arrival, early))
            return
        self._large[place] = deque([(arrival, early)])
        self._spawn(self._read_in_line(place))

    async def prepare(self, arrival: Arrival) -> Read:
        """Read a message before its turn, and check it where ``strict`` asks for it."""
        source, raw, _, started, _, _, params = arrival
        if len(raw) > OFF_LOOP_BYTES:
            async with self._large_room:
                read = await asyncio.to_thread(read_raw, source, raw)
        else:
            read = read_raw(source, raw)
        checks = source.checks
        if source.answers is not None and source.answers.refuse and not isinstance(read, Exception):
            error = await self._unexpected(source, read[0], started, params)
            if error is not None:
                return error
        if checks is None or not checks.strict or isinstance(read, Exception):
            return read
        tree, message_type, control_id, _ = read
        context = Context(settings=source.settings, message=None, now_us=started, variables=params or {})
        try:
            kind = as_text(source.type_of(tree, context)) if source.type_of is not None else ""
            # What checks may know of a message that has no id yet.
            context.message = Message(0, started, source.bound.place, kind or message_type, control_id, raw)
            return tree, message_type, control_id, await self.checking.check(checks, raw, tree, context)
        except Exception as error:
            return error

    async def _unexpected(
        self, source: Source, tree: Any, started: int, params: Mapping[str, str] | None
    ) -> Exception | None:
        """Why an answer is refused: it answers nothing that is known."""
        rule = source.answers
        assert rule is not None  # noqa: S101 - asked by the caller
        context = Context(settings=source.settings, message=None, now_us=started, variables=params or {})
        try:
            if await self._correlator.expected(rule, rule.key(tree, context)):
                return None
        except Exception as error:
            return error
        return HubError(t("it answers nothing that was sent", "没有与之对应的请求"), code="answer.unknown")

    async def _read_in_line(self, place: str) -> None:
        line = self._large[place]
        while line:
            arrival, early = line[0]
            raw = arrival[1]
            read: Read | None = None
            if early is not None:
                read = await early
            elif len(raw) > OFF_LOOP_BYTES:
                read = await self.prepare(arrival)
            line.popleft()
            if not line:
                del self._large[place]
            self._large_bytes -= len(raw)
            self._take(*arrival, read)
            self._answered()  # it is the store's from here, or refused

    def refuse(self, bound: Bound, raw: bytes, error: HubError, *, remote: str = "") -> None:
        source = self._sources.get(bound.place)
        if source is not None:
            source.stats.received += 1
            self._refuse(source, raw, error, None, time.time_ns() // 1000, remote, "", None)

    # -- parts ---------------------------------------------------------------------------------------------------

    def _keys(self, source: Source, keys: dict[str, str]) -> dict[str, str]:
        for key in source.hashed:
            value = keys.get(key)
            if value:
                keys[key] = stored_key(policy(), self._salt, key, value)
        for key, value in keys.items():
            if len(value) > KEY_LENGTH:
                keys[key] = value[:KEY_LENGTH]
        return keys

    def _refuse(
        self,
        source: Source,
        raw: bytes,
        error: HubError,
        done: Done | None,
        started: int,
        remote: str,
        control_id: str,
        params: Mapping[str, str] | None,
        check: CheckRecord | None = None,
    ) -> None:
        """Say no, and keep what came together with the reason."""
        source.stats.refused += 1
        self._store.log(self.refused_call(source, raw, error, started, remote, params, check))
        if done is not None:
            findings = check.findings if check is not None else ()
            done(Receipt(Outcome.REFUSED, control_id=control_id, error=error, findings=findings))

    def refused_call(
        self,
        source: Source,
        raw: bytes,
        error: HubError,
        started: int,
        remote: str,
        params: Mapping[str, str] | None,
        check: CheckRecord | None,
    ) -> CallRecord:
        return CallRecord(
            id=self._store.ids.next(),
            at=started,
            direction=Direction.IN,
            place=source.bound.place,
            outcome=Outcome.REFUSED,
            code=error.code,
            error=mask_text(error.text),
            took_us=time.time_ns() // 1000 - started,
            remote=remote,
            params=params_text(params),
            request=(params.received if isinstance(params, OpenedParams) else raw)[:REFUSED_BYTES],
            check=check,
        )

    def _check_stored(
        self,
        stored: Callable[[PutResult], None],
        checks: Checks,
        source: Source,
        call_id: int,
        params: Mapping[str, str],
        result: PutResult,
    ) -> None:
        """The commit is through: acknowledge first, then look."""
        stored(result)
        if result.outcome is Outcome.OK or result.outcome is Outcome.CONFLICT:
            self.check_later(checks, source, call_id, params, result.message)

    def check_later(
        self, checks: Checks, source: Source, call_id: int, params: Mapping[str, str], message: Message
    ) -> None:
        context = Context(settings=source.settings, message=message, now_us=message.received_at, variables=params)

        def tree() -> Any:
            if message.tree is None or len(message.raw) > CHECK_OFF_LOOP_BYTES:  # not one that is mapped meanwhile
                return source.codec.decode(message.raw, encoding=source.encoding)
            return message.tree

        def keep(record: CheckRecord) -> None:
            stats = self._metrics.checks(message.source)
            if not self._store.keep_report(message.id, call_id, message.source, record):
                stats.not_checked += 1  # nobody will see what was found
            stats.delay.observe(max(0.0, time.time_ns() / 1e9 - message.received_at / 1e6))

        self.checking.check_later(checks, message.raw, tree, context, keep)

    def _stored(self, source: Source, result: PutResult, deliveries: list[Delivery], done: Done) -> None:
        """The commit is through (or failed); runs on the event loop in the order of the commits."""
        message = result.message
        outcome = result.outcome
        stats = source.stats
        if outcome is Outcome.OK or outcome is Outcome.CONFLICT:
            if source.request:
                self.accepted(source, result, ())
                self._exchanges.begin(source, message, deliveries[0], done)
                return
            self.accepted(source, result, deliveries)
            self._answered()
            done(Receipt(outcome, message.id, message.type, message.control_id))
            return
        self._answered()
        if outcome is Outcome.DUPLICATE:
            stats.duplicate += 1
            if source.request:
                self._open += 1
                self._spawn(self._exchanges.answer_again(source, result, done))
            else:
                done(Receipt(outcome, result.earlier, message.type, message.control_id))
            return
        stats.refused += 1
        done(Receipt(Outcome.REFUSED, 0, message.type, message.control_id, result.error))

    def accepted(self, source: Source, result: PutResult, deliveries: Sequence[Delivery]) -> None:
        """Count a message that was stored, and let its deliveries go."""
        stats = source.stats
        stats.accepted += 1
        if result.outcome is Outcome.CONFLICT:
            stats.conflict += 1
            log.warning(
                "%s: control id used before with other content, message %s",
                source.bound.place,
                id_text(result.message.id),
            )
        offer = self._engine.offer
        for delivery in deliveries:
            offer(delivery)
        if result.message.answer is not None:
            self._correlator.stored(result.message)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, grace: float) -> None:
        """Take in nothing more and wait until everything handed in is answered, at most ``grace`` seconds."""
        self._stopping = True
        if self._open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._all_answered.wait()
        await self._correlator.stop()

    def _answered(self) -> None:
        self._open -= 1
        if self._stopping and not self._open:
            self._all_answered.set()
