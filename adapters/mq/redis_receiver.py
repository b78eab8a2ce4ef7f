"""The receiving side of ``redis``: lists by way of a held list, streams as a member of a consumer group.

An element of a list is moved, not taken: ``LMOVE`` puts it into a list of ours, from where it is deleted after the commit.
What a killed hub had moved is read again first, with the same control ids, by which the intake recognises what it has.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from adapters.mq.envelope import control_of, error_headers, params_of, unexpected
from adapters.mq.redis_link import RedisPool
from adapters.mq.redis_options import RedisListen
from hub.api import Bound, HubError, IntakePort, Item, Receipt, Receiver, SendError, StoreBusy, UnreachableError
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text
from hub.message import Outcome

__all__ = ["RedisReceiver"]

log = get_logger(__name__)

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
#: Longest wait for a new message within one command; the loop looks up in between.
_BLOCK_S = 2.0
#: Pauses while the store is busy.
_BUSY_S = (0.1, 5.0)


@dataclass(slots=True)
class _Read:
    """One message read."""

    source: bytes  # how the server knows it
    item: Item | None  # None: it can't be read, ``error`` says why
    error: HubError | None = None


class _Source(ABC):
    """Where messages come from, with the commands that settle them."""

    def __init__(self, options: RedisListen, member: str, pool: RedisPool) -> None:
        self.options = options
        self.member = member
        self.pool = pool
        self.parking = options.park or f"{options.key}.refused"

    @abstractmethod
    async def prepare(self) -> None: ...

    @abstractmethod
    async def read(self) -> list[_Read]:
        """The next batch, waiting for a moment when there is none."""

    @abstractmethod
    async def settle(self, batch: Sequence[_Read], refused: Sequence[tuple[_Read, HubError | None]]) -> None:
        """Forget the batch and park what was refused, in one transaction."""


class _List(_Source):
    """``<key>.held.<member>.<n>`` holds batch ``n``; ``<key>.batch.<member>`` counts them."""

    async def prepare(self) -> None:
        counter = f"{self.options.key}.batch.{self.member}"
        # Not from 0: control ids must stay unique where somebody has emptied the database.
        begin = ("SET", counter, time.time_ns() // 1000, "NX")
        kind, _, number = await self.pool.call(("TYPE", self.options.key), begin, ("GET", counter))
        if _text(kind) not in ("none", "list"):
            raise UnreachableError(
                t(f"{self.options.key} is not a list", f"{self.options.key} 不是列表"), code="mq.topology"
            )
        self._counter, self._number = counter, int(number)

    @property
    def _held(self) -> str:
        return f"{self.options.key}.held.{self.member}.{self._number}"

    async def read(self) -> list[_Read]:
        (elements,) = await self.pool.call(("LRANGE", self._held, 0, -1))  # of an earlier life, or not settled yet
        if not elements:
            ends = ("RIGHT", "RIGHT") if self.options.take == "right" else ("LEFT", "RIGHT")
            (first,) = await self.pool.call(("BLMOVE", self.options.key, self._held, *ends, _BLOCK_S))
            if first is None:
                return []
            rest = self.options.batch - 1
            moved = await self.pool.call(*[("LMOVE", self.options.key, self._held, *ends)] * rest) if rest else []
            elements = [first, *(element for element in moved if element is not None)]
        return [self._message(element, index) for index, element in enumerate(elements)]

    def _message(self, element: bytes, index: int) -> _Read:
        own = f"{self._held}:{index}"
        key = {"queue": self.options.key}
        if self.options.format == "raw":
            return _Read(element, Item(element, own, params_of(key, {})))
        try:
            body, properties, headers = _from_kombu(element)
        except (ValueError, TypeError, RecursionError):
            error = HubError(t("not a message of kombu", "不是 kombu 消息"), code="mq.envelope")
            return _Read(element, None, error)
        known = {
            name: properties.get(name) for name in ("message_id", "correlation_id", "reply_to", "priority", "type")
        }
        known |= {name: headers.pop(f"\0{name}", None) for name in ("content_type", "content_encoding")} | key
        control = next((c for name in ("message_id", "delivery_tag") if (c := control_of(properties.get(name)))), own)
        return _Read(element, Item(body, control, params_of(known, headers)))

    async def settle(self, batch: Sequence[_Read], refused: Sequence[tuple[_Read, HubError | None]]) -> None:
        commands: list[tuple[Any, ...]] = [("DEL", self._held), ("INCR", self._counter)]
        for read, error in refused:
            told = {name.removeprefix("x-"): value for name, value in error_headers(error).items()}
            told["element"] = base64.b64encode(read.source).decode()
            commands.append(("LPUSH", self.parking, orjson.dumps(told)))
        await self.pool.call(*commands)
        self._number += 1


class _Stream(_Source):
    _claimed_at = float("-inf")
    _own = True  # first what this member has not acknowledged in an earlier life

    async def prepare(self) -> None:
        options = self.options
        self._own = True
        if options.declare:
            with contextlib.suppress(_GroupExists):
                try:
                    await self.pool.call(("XGROUP", "CREATE", options.stream, options.group, "0", "MKSTREAM"))
                except SendError as error:
                    if "BUSYGROUP" in error.text:
                        raise _GroupExists from None
                    raise

    async def read(self) -> list[_Read]:
        options = self.options
        now = time.monotonic()
        if now - self._claimed_at > min(options.claim_after, 60.0) / 2:
            self._claimed_at = now
            idle = int(options.claim_after * 1000)
            claim = ("XAUTOCLAIM", options.stream, options.group, self.member, idle, "0", "COUNT", options.batch)
            (answer,) = await self.pool.call(claim)
            if answer[1]:
                self._own = True  # what was claimed is our own now, and read as such
        start = "0" if self._own else ">"
        block = () if self._own else ("BLOCK", int(_BLOCK_S * 1000))
        who = ("GROUP", options.group, self.member)
        command = ("XREADGROUP", *who, "COUNT", options.batch, *block, "STREAMS", options.stream, start)
        (answer,) = await self.pool.call(command)
        entries = _entries(answer)
        if not entries and self._own:
            self._own = False
            return await self.read()
        return [self._message(number, fields) for number, fields in entries]

    def _message(self, number: bytes, fields: Sequence[bytes] | None) -> _Read:
        if fields is None:  # deleted from the stream since
            return _Read(number, None)
        pairs = dict(zip(fields[::2], fields[1::2], strict=False))
        name = self.options.field
        body = pairs.pop(name.encode(), None)
        if body is None:
            error = HubError(
                t(f"the entry has no field {name} -> set field", f"条目没有字段 {name} -> 请设置 field"),
                code="mq.field",
            )
            return _Read(number, None, error)
        headers = [(key.decode("utf-8", "replace"), value) for key, value in pairs.items()]
        own = control_of(pairs.get(b"idempotency_key", b"").decode("utf-8", "replace"))
        control = own or f"{self.options.stream}:{number.decode()}"
        return _Read(number, Item(body, control, params_of({"queue": self.options.stream, "entry": number}, headers)))

    async def settle(self, batch: Sequence[_Read], refused: Sequence[tuple[_Read, HubError | None]]) -> None:
        options = self.options
        commands: list[tuple[Any, ...]] = []
        for read, error in refused:
            fields: list[Any] = ["entry", read.source]
            if read.item is not None:
                fields += [options.field, read.item.raw]
            for name, value in error_headers(error).items():
                fields += [name.removeprefix("x-"), value]
            commands.append(("XADD", self.parking, "*", *fields))
        commands.append(("XACK", options.stream, options.group, *(read.source for read in batch)))
        await self.pool.call(*commands)


class _GroupExists(Exception):
    pass


class RedisReceiver(Receiver):
    """Reads one key, batch by batch, in order."""

    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        self._bound, self._intake = bound, intake
        self._options = cast(RedisListen, bound.options)
        self._address = self._options.address
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._working = False
        self._connected = False
        self._error: SendError | None = None
        self._taken = self._duplicates = self._refused = 0

    async def start(self) -> None:
        """Begin to read; a server that is away is tried again until it comes. Raises for TLS files that can't be used."""
        pool = RedisPool(self._options, 2, _BLOCK_S)
        self._task = asyncio.create_task(self._run(pool), name=f"redis {self._bound.place}")

    async def stop(self, grace: float) -> None:
        task = self._task
        if task is None:
            return
        self._stopping.set()
        if self._working:
            await asyncio.wait([task], timeout=grace)
        task.cancel()
        await asyncio.wait([task])
        self._connected = False

    def status(self) -> dict[str, Any]:
        return {
            "server": self._address,
            "key": self._options.key,
            "connected": self._connected,
            "error": mask_text(self._error.text) if self._error is not None else "",
            "taken": self._taken,
            "duplicates": self._duplicates,
            "refused": self._refused,
        }

    async def probe(self) -> str:
        if self._error is not None:
            raise self._error
        if not self._connected:
            raise UnreachableError(
                t(f"{self._address}: not connected", f"{self._address}：未连接"), code="mq.unreachable"
            )
        name = self._options.key
        return t(f"reading {name} of {self._address}", f"正在读取 {self._address} 的 {name}")

    # -- the loop ------------------------------------------------------------------------------------------------

    async def _run(self, pool: RedisPool) -> None:
        options = self._options
        kind = _List if options.list else _Stream
        source = kind(options, options.member or self._bound.place, pool)
        pause = _FIRST_PAUSE_S
        try:
            while not self._stopping.is_set():
                try:
                    await source.prepare()
                    self._connected, self._error = True, None
                    while not self._stopping.is_set():
                        batch = await source.read()
                        pause = _FIRST_PAUSE_S
                        if batch:
                            self._working = True
                            await self._batch(source, batch)
                            self._working = False
                except Exception as error:
                    self._lost(error if isinstance(error, SendError) else unexpected(error, self._bound.place))
                    await self._sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE_S)
                finally:
                    self._working = False
        finally:
            await pool.close()

    async def _batch(self, source: _Source, batch: list[_Read]) -> None:
        items = [read.item for read in batch if read.item is not None]
        receipts = iter(await self._take(items) if items else ())
        refused: list[tuple[_Read, HubError | None]] = []
        for read in batch:
            if read.item is None:
                if read.error is not None:
                    self._intake.refuse(self._bound, read.source, read.error, remote=self._address)
                    refused.append((read, read.error))
                continue
            receipt = next(receipts)
            if not receipt.accepted:
                refused.append((read, receipt.error))
            elif receipt.outcome is Outcome.DUPLICATE:
                self._duplicates += 1
            else:
                self._taken += 1
        await source.settle(batch, refused)
        self._refused += len(refused)

    async def _take(self, items: list[Item]) -> list[Receipt]:
        """In one commit; waits while the store can't take it: what was read stays held on the server."""
        pause = _BUSY_S[0]
        while True:
            try:
                return await self._intake.take(self._bound, items, remote=self._address)
            except StoreBusy:
                if self._stopping.is_set():
                    raise asyncio.CancelledError from None
                await self._sleep(pause)
                pause = min(pause * 2, _BUSY_S[1])

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _lost(self, error: SendError) -> None:
        self._connected = False
        if self._error is None and not self._stopping.is_set():  # once for each time it is away
            log.warning("%s: %s", self._bound.place, mask_text(error.text))
            self._intake.note_run(
                self._bound,
                started_us=int(time.time() * 1e6),
                params={"key": self._options.key},
                error=error,
                remote=self._address,
            )
        self._error = error


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _entries(answer: Any) -> list[tuple[bytes, Sequence[bytes] | None]]:
    """Of the one stream asked for, as RESP 2 or 3 gives them."""
    if not answer:
        return []
    found = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
    entries: list[tuple[bytes, Sequence[bytes] | None]] = []
    for number, fields in found:
        if isinstance(fields, dict):
            fields = [part for pair in fields.items() for part in pair]
        entries.append((number, fields))
    return entries


def _from_kombu(element: bytes) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    """Body, properties and headers of kombu's envelope; content type and encoding among the headers, marked by a NUL."""
    envelope = orjson.loads(element)
    properties, headers = dict(envelope.get("properties") or {}), dict(envelope.get("headers") or {})
    body = envelope["body"]
    if not isinstance(body, str):
        raise TypeError
    raw = base64.b64decode(body, validate=True) if properties.get("body_encoding") == "base64" else body.encode()
    headers["\0content_type"] = envelope.get("content-type")
    headers["\0content_encoding"] = envelope.get("content-encoding")
    return raw, properties, headers
