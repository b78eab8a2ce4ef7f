"""Intake: what an adapter received becomes a durable message with its deliveries, and only then is acknowledged.

Everything on this path is a plain function call on the event loop; the only wait is the commit. A message that
can't be accepted is refused with the reason, and the call log keeps the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import orjson

from hub.api import Bound, Receipt, Reply
from hub.contract import IntakeConfig
from hub.delivery.classify import Verdict
from hub.delivery.engine import DeliveryEngine
from hub.delivery.plan import World
from hub.errors import HubError, StoreBusy, TransientError
from hub.i18n import t
from hub.ids import id_text
from hub.logs import get_logger
from hub.mapping import Context, compile_expression, compile_extract
from hub.masking import key_digest, mask_text
from hub.message import CallRecord, Delivery, DeliveryState, Direction, Message, Outcome
from hub.metrics import InboundStats, Metrics
from hub.router import Router
from hub.store.base import PutResult, Store

__all__ = ["Intake", "TooLarge"]

log = get_logger(__name__)

Done = Callable[[Receipt], None]

#: Business keys under these names hold an ID number: only a keyed hash of it is indexed (invariant 7).
HASHED_KEYS = ("id_number", "id_card")
#: Longest value of a business key that is kept for search, characters.
KEY_LENGTH = 256
#: Bytes of a refused message that the call log keeps.
REFUSED_BYTES = 64 << 10
_NO_TREE_ABOVE = 64 << 10
#: Reading a message this large would hold up the event loop; it is done in a thread.
OFF_LOOP_BYTES = 256 << 10
#: So many of them are read at once, and so many bytes wait for it; more is not taken.
_LARGE_AT_ONCE = 2
_LARGE_BYTES = 256 << 20

#: What reading a message gave: tree, type and control id of the codec; or why it could not be read.
_Read = tuple[Any, str, str] | Exception
#: source, raw, done, started, remote, control id, params.
_Arrival = tuple["Source", bytes, Done, int, str, str, Mapping[str, str] | None]


class TooLarge(HubError):
    """The message is larger than the interface accepts."""

    code = "intake.too_large"


class Source:
    """An inbound interface, its expressions compiled."""

    __slots__ = (
        "bound",
        "codec",
        "control_of",
        "encoding",
        "extract",
        "hashed",
        "max_size",
        "reply_mapping",
        "request",
        "settings",
        "stats",
        "type_of",
        "window_us",
    )

    def __init__(self, bound: Bound, config: IntakeConfig, stats: InboundStats) -> None:
        contract = bound.contract
        codec = bound.codec.name
        self.bound = bound
        self.codec = bound.codec
        self.encoding = contract.encoding
        self.settings = bound.settings
        self.stats = stats
        self.request = contract.style == "request"
        self.reply_mapping = contract.reply_mapping
        self.max_size = config.max_size if contract.max_size is None else contract.max_size
        window = config.duplicate_window if contract.duplicate_window is None else contract.duplicate_window
        self.window_us = int(window * 1e6)
        self.type_of = compile_expression(contract.type, codec, key=f"{bound.place}.type") if contract.type else None
        self.control_of = (
            compile_expression(contract.control_id, codec, key=f"{bound.place}.control_id")
            if contract.control_id
            else None
        )
        self.extract = compile_extract(contract.keys, codec) if contract.keys else None
        self.hashed = tuple(key for key in contract.keys if key.endswith(HASHED_KEYS))


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
    ) -> None:
        self._store = store
        self._engine = engine
        self._config = config
        self._metrics = metrics
        self._salt = salt
        self._queue_limit = queue_limit
        self._sources: dict[str, Source] = {}
        self._router: Router
        self._world: World
        self._open = 0  # messages handed in and not answered yet
        self._stopping = False
        self._large: dict[str, deque[_Arrival]] = {}  # by place: messages that wait for a large one, and itself
        self._large_bytes = 0
        self._large_room = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._all_answered = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def use(self, world: World, router: Router) -> None:
        """Work by this deployment from the next message on. Raises before anything changes when it can't be compiled."""
        sources = {
            place: Source(bound, self._config, self._metrics.inbound(place)) for place, bound in world.inbound.items()
        }
        self._sources, self._router, self._world = sources, router, world

    # -- hub.api.IntakePort --------------------------------------------------------------------------------------

    def ready(self) -> bool:
        return not self._stopping and self._store.writable and self._store.queued < self._queue_limit

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
            error = StoreBusy(t("the hub is stopping", "枢纽正在停止"))
            return done(Receipt(Outcome.REFUSED, error=error))
        stats = source.stats
        stats.received += 1
        stats.bytes += len(raw)
        if len(raw) > source.max_size:
            limit = source.max_size
            too_large = TooLarge(
                t(
                    f"the message has {len(raw)} bytes, this interface accepts {limit}",
                    f"消息有 {len(raw)} 字节，本接口最多接收 {limit} 字节",
                )
            )
            return self._refuse(source, raw, too_large, done, started, remote, control_id, params)
        if len(raw) > OFF_LOOP_BYTES or (self._large and bound.place in self._large):
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
        read: _Read | None = None,
    ) -> None:
        """Read, route and hand over to the store; ``read``: what reading it beforehand gave."""
        bound = source.bound
        try:
            if read is None:
                tree = source.codec.decode(raw, encoding=source.encoding)
                message_type, own_control = source.codec.envelope(tree)
            elif isinstance(read, Exception):
                raise read
            else:
                tree, message_type, own_control = read
            context = Context(settings=source.settings, message=None, now_us=started, variables=params or {})
            if source.type_of is not None:
                message_type = _text(source.type_of(tree, context)) or message_type
            if source.control_of is not None:
                control_id = _text(source.control_of(tree, context)) or control_id
            else:
                control_id = own_control or control_id
            keys = source.extract(tree, context) if source.extract is not None else {}
            if len(message_type) > KEY_LENGTH or len(control_id) > KEY_LENGTH:
                raise HubError(
                    t(
                        f"message type or control id longer than {KEY_LENGTH} characters",
                        f"消息类型或控制号超过 {KEY_LENGTH} 个字符",
                    ),
                    code="intake.envelope",
                )
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
            routed = self._router.targets(bound.place, message_type, tree, context)
        except HubError as error:
            return self._refuse(source, raw, error, done, started, remote, control_id, params)
        except RecursionError:
            too_deep = HubError(t("nested too deeply", "嵌套过深"), code="codec.depth")
            return self._refuse(source, raw, too_deep, done, started, remote, control_id, params)
        except Exception as error:
            # A bug in a plugin's codec: the sender gets an answer, and the call log the bytes (invariant 5).
            log.exception("%s: a message could not be read", source.bound.place)
            bug = HubError(
                t(f"the hub failed to read it: {type(error).__name__}", f"枢纽读取失败：{type(error).__name__}"),
                code="hub.unexpected",
            )
            return self._refuse(source, raw, bug, done, started, remote, control_id, params)
        if source.request and len(routed) != 1:
            unroutable = HubError(
                t(
                    f"a request needs exactly one target, {len(routed)} routes match",
                    f"请求式消息须恰有一个目标，现有 {len(routed)} 条路由匹配",
                ),
                code="route.request",
            )
            return self._refuse(source, raw, unroutable, done, started, remote, control_id, params)
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
        if len(raw) > _NO_TREE_ABOVE:
            message.tree = None  # the queue may be long; decoding again is cheaper than keeping large trees
        call = CallRecord(
            id=next_id(),
            at=started,
            direction=Direction.IN,
            place=bound.place,
            outcome=Outcome.OK,
            message_id=message.id,
            remote=remote,
            params=_params(params),
        )
        try:
            self._store.put(
                message,
                deliveries,
                lambda result: self._stored(source, result, deliveries, done),
                duplicate_window_us=source.window_us,
                call=call,
            )
        except StoreBusy as error:
            source.stats.refused += 1
            return done(Receipt(Outcome.REFUSED, type=message_type, control_id=control_id, error=error))
        self._open += 1

    def _wait_in_line(self, arrival: _Arrival) -> None:
        """A large message is read in a thread; what its interface receives meanwhile waits, so that the order stays."""
        source, raw, done = arrival[:3]
        if self._large_bytes + len(raw) > _LARGE_BYTES and self._large_bytes:
            source.stats.refused += 1
            text = t("too many large messages at once: send again later", "同时到达的大消息过多，请稍后重发")
            return done(Receipt(Outcome.REFUSED, control_id=arrival[5], error=StoreBusy(text)))
        self._large_bytes += len(raw)
        self._open += 1
        place = source.bound.place
        line = self._large.get(place)
        if line is not None:
            line.append(arrival)
            return
        self._large[place] = deque([arrival])
        self._spawn(self._read_in_line(place))

    async def _read_in_line(self, place: str) -> None:
        line = self._large[place]
        while line:
            arrival = line[0]
            source, raw = arrival[:2]
            read: _Read | None = None
            if len(raw) > OFF_LOOP_BYTES:
                async with self._large_room:
                    read = await asyncio.to_thread(_read, source, raw)
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
                keys[key] = key_digest(value, self._salt)
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
    ) -> None:
        """Say no, and keep what came together with the reason."""
        source.stats.refused += 1
        self._store.log(
            CallRecord(
                id=self._store.ids.next(),
                at=started,
                direction=Direction.IN,
                place=source.bound.place,
                outcome=Outcome.REFUSED,
                code=error.code,
                error=mask_text(error.text),
                took_us=time.time_ns() // 1000 - started,
                remote=remote,
                params=_params(params),
                request=raw[:REFUSED_BYTES],
            )
        )
        if done is not None:
            done(Receipt(Outcome.REFUSED, control_id=control_id, error=error))

    def _stored(self, source: Source, result: PutResult, deliveries: list[Delivery], done: Done) -> None:
        """The commit is through (or failed); runs on the event loop in the order of the commits."""
        message = result.message
        outcome = result.outcome
        stats = source.stats
        if outcome is Outcome.OK or outcome is Outcome.CONFLICT:
            stats.accepted += 1
            if outcome is Outcome.CONFLICT:
                stats.conflict += 1
                log.warning(
                    "%s: control id used before with other content, message %s",
                    source.bound.place,
                    id_text(message.id),
                )
            if source.request:
                self._exchange(source, message, deliveries[0], done)
                return
            offer = self._engine.offer
            for delivery in deliveries:
                offer(delivery)
            self._answered()
            done(Receipt(outcome, message.id, message.type, message.control_id))
            return
        self._answered()
        if outcome is Outcome.DUPLICATE:
            stats.duplicate += 1
            if source.request:
                self._open += 1
                self._spawn(self._answer_again(source, result, done))
            else:
                done(Receipt(outcome, result.earlier, message.type, message.control_id))
            return
        stats.refused += 1
        done(Receipt(Outcome.REFUSED, 0, message.type, message.control_id, result.error))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- request style -------------------------------------------------------------------------------------------

    def _exchange(self, source: Source, message: Message, delivery: Delivery, done: Done) -> None:
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
        return self._world.codecs[codec].decode(body)

    def _reply_receipt(self, source: Source, message: Message, target: str, body: bytes) -> Receipt:
        """The target's reply through the interface's reply mapping."""
        try:
            if source.reply_mapping:
                mapping = self._world.mappings.get(source.reply_mapping)
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

    async def _answer_again(self, source: Source, result: PutResult, done: Done) -> None:
        """A repeated request gets the stored reply of the first one; the target is not called again."""
        message = result.message
        try:
            calls = await self._store.reader.calls_of(result.earlier)
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

    async def drain(self, grace: float) -> None:
        """Take in nothing more and wait until everything handed in is answered, at most ``grace`` seconds."""
        self._stopping = True
        if self._open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_answered.wait(), grace)

    def _answered(self) -> None:
        self._open -= 1
        if self._stopping and not self._open:
            self._all_answered.set()


def _read(source: Source, raw: bytes) -> _Read:
    """Decode and read the envelope, in whatever thread; what goes wrong is told where the message is taken."""
    try:
        tree = source.codec.decode(raw, encoding=source.encoding)
        return tree, *source.codec.envelope(tree)
    except Exception as error:
        return error


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _params(params: Mapping[str, str] | None) -> str:
    return orjson.dumps(dict(params)).decode() if params else ""
