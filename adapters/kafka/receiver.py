"""The receiving side of ``kafka``: pages with their offset as mark in one commit, each partition for itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

from confluent_kafka import Message

from adapters.kafka.consumer import Page, Reader
from adapters.kafka.options import KafkaListen
from adapters.kafka.producing import Producing
from adapters.mq.envelope import control_of, error_headers, params_of, unexpected
from adapters.tls import client_context
from hub.api import Bound, HubError, IntakePort, Item, Receipt, Receiver, SendError, StoreBusy, UnreachableError
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text
from hub.message import Outcome

__all__ = ["KafkaReceiver"]

log = get_logger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
#: Before a page that could not be taken is tried again.
_AGAIN_S = 2.0
#: Longest wait until a dead letter is on its topic.
_PARK_S = 15.0


class _Void(Exception):
    """The page is of an assignment that has ended, or the interface stops: nothing more is taken of it."""


class _Partition:
    """Pages of one partition that wait, and the task that takes them."""

    __slots__ = ("pages", "parked", "task")

    def __init__(self) -> None:
        self.pages: deque[Page] = deque()
        self.task: asyncio.Task[None] | None = None
        self.parked = ""  # the mark of the last page that is done with all its dead letters


class KafkaReceiver(Receiver):
    """One member of a consumer group."""

    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        self._bound, self._intake = bound, intake
        self._options = options = cast(KafkaListen, bound.options)
        self._address = options.address
        self._reader: Reader | None = None
        self._dead: Producing | None = None
        self._partitions: dict[tuple[str, int], _Partition] = {}
        self._stopping = asyncio.Event()
        self._epoch = 0
        self._connected = False
        self._error: SendError | None = None
        self._taken = self._duplicates = self._refused = self._assigned = 0

    # -- hub.api.Receiver ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to connect; a cluster that is away is tried again until it comes. Raises for TLS files that can't be used."""
        if self._options.tls is not None:
            client_context(self._options.tls)
        if self._options.dead_letter:
            self._dead = Producing(self._options, self._bound.place, _PARK_S)
            self._dead.start()
        self._reader = Reader(self._options, self._bound.place, self)
        self._reader.start()

    async def stop(self, grace: float) -> None:
        if self._reader is None:
            return
        self._stopping.set()
        tasks = [each.task for each in self._partitions.values() if each.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        self._drop()
        await self._reader.stop()
        if self._dead is not None:
            await self._dead.stop()
        self._connected = False

    def status(self) -> dict[str, Any]:
        return {
            "broker": self._address,
            "topics": list(self._options.topics),
            "group": self._options.group,
            "connected": self._connected,
            "error": mask_text(self._error.text) if self._error is not None else "",
            "partitions": self._assigned,
            "held_bytes": self._reader.held if self._reader is not None else 0,
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
        return t(
            f"reading {self._assigned} partition(s) of {self._address} as {self._options.group}",
            f"正在以 {self._options.group} 读取 {self._address} 的 {self._assigned} 个分区",
        )

    # -- told by the thread (adapters.kafka.consumer.Owner) ------------------------------------------------------

    def page(self, page: Page) -> None:
        if page.epoch != self._epoch or self._stopping.is_set():
            self._release(page)
            return
        place = (page.topic, page.partition)
        partition = self._partitions.get(place)
        if partition is None:
            partition = self._partitions[place] = _Partition()
        partition.pages.append(page)
        if partition.task is None or partition.task.done():
            partition.task = asyncio.create_task(self._work(partition), name=f"kafka {self._bound.place}")

    def state(self, error: SendError | None) -> None:
        self._connected = error is None
        if error is not None and self._error is None and not self._stopping.is_set():  # once for each time it is away
            log.warning("%s: %s", self._bound.place, mask_text(error.text))
            self._intake.note_run(
                self._bound,
                started_us=int(time.time() * 1e6),
                params={"topic": ",".join(self._options.topics)},
                error=error,
                remote=self._address,
            )
        self._error = error

    async def marks(self, partitions: Sequence[tuple[str, int]]) -> list[int | None]:
        found: list[int | None] = []
        for topic, partition in partitions:
            mark = await self._intake.mark(self._bound, self._name(topic, partition))
            found.append(int(mark) if mark.isdecimal() else None)
        return found

    async def assigned(self, count: int, epoch: int) -> None:
        self._drop()
        self._assigned, self._epoch = count, epoch

    async def revoked(self) -> None:
        self._epoch = -1  # pages still on their way are void
        for partition in self._partitions.values():
            self._void(partition)
        tasks = [each.task for each in self._partitions.values() if each.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        self._drop()
        self._assigned = 0

    # -- taking --------------------------------------------------------------------------------------------------

    def _name(self, topic: str, partition: int) -> str:
        """Of the mark; a topic has no slash in its name."""
        return f"{self._options.group}/{topic}/{partition}"

    def _release(self, page: Page) -> None:
        if self._reader is not None:
            self._reader.release(page)

    def _void(self, partition: _Partition) -> None:
        while partition.pages:
            self._release(partition.pages.popleft())

    def _drop(self) -> None:
        for partition in self._partitions.values():
            self._void(partition)
        self._partitions.clear()

    async def _work(self, partition: _Partition) -> None:
        """Page after page; one that can't be taken is tried again, never left out."""
        failed = False
        while partition.pages and not self._stopping.is_set():
            page = partition.pages[0]
            try:
                await self._take(partition, page)
                if failed:
                    failed = False
                    self.state(None)
            except _Void:
                return
            except Exception as error:
                failed = True
                self.state(error if isinstance(error, SendError) else unexpected(error, self._bound.place))
                with contextlib.suppress(_Void):
                    await self._pause(_AGAIN_S)
                continue
            if partition.pages and partition.pages[0] is page:
                self._release(partition.pages.popleft())

    async def _take(self, partition: _Partition, page: Page) -> None:
        if page.epoch != self._epoch:
            raise _Void
        last = page.messages[-1].offset() or 0
        mark = str(last + 1)
        items, kept = [], []
        for message in page.messages:
            if len(message) > self._options.max_size:
                await self._too_large(message)
            else:
                items.append(self._item(message))
                kept.append(message)
        name = self._name(page.topic, page.partition)
        if self._dead is None:
            await self._commit(page, items, mark, name)
        else:
            # A crash between the commit and the dead letter must not lose it: the mark follows one page later.
            receipts = await self._commit(page, items, partition.parked or None, name)
            for message, receipt in zip(kept, receipts, strict=False):
                if not receipt.accepted:
                    await self._park(message, receipt.error)
            partition.parked = mark
        if page.epoch == self._epoch and self._reader is not None:
            self._reader.store(page.topic, page.partition, last + 1)

    async def _commit(self, page: Page, items: list[Item], mark: str | None, name: str) -> list[Receipt]:
        pause = _FIRST_PAUSE_S
        while True:
            if page.epoch != self._epoch:
                raise _Void  # no longer ours: the next member takes it
            try:
                receipts = await self._intake.take(self._bound, items, mark=mark, name=name, remote=self._address)
                break
            except StoreBusy:
                await self._pause(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
        for receipt in receipts:
            if not receipt.accepted:
                self._refused += 1
            elif receipt.outcome is Outcome.DUPLICATE:
                self._duplicates += 1
            else:
                self._taken += 1
        return receipts

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise _Void

    def _item(self, message: Message) -> Item:
        headers = _headers(message)
        value = message.value()
        kind, stamp = message.timestamp()
        known = {
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            "key": message.key(),
            "timestamp": stamp if kind else None,
            "tombstone": True if value is None else None,
        }
        wanted = self._options.idempotency_header
        control_id = next(
            (control_of(text.decode("utf-8", "replace")) for name, text in reversed(headers) if name == wanted), ""
        )
        if not control_id:  # with the time: a topic that was made anew counts from 0 again
            control_id = f"{message.topic()}/{message.partition()}/{message.offset()}/{stamp if kind else ''}"
        return Item(_bytes(value), control_id, params_of(known, headers))

    # -- what can't be taken -------------------------------------------------------------------------------------

    async def _too_large(self, message: Message) -> None:
        limit = self._options.max_size
        error = HubError(t(f"the message is larger than {limit} bytes", f"消息超过 {limit} 字节"), code="mq.size")
        self._intake.refuse(self._bound, b"", error, remote=self._address)
        self._refused += 1
        if self._dead is not None:
            await self._park(message, error)

    async def _park(self, message: Message, error: HubError | None) -> None:
        reason = error_headers(error) | {
            "x-original-topic": message.topic() or "",
            "x-original-partition": str(message.partition()),
            "x-original-offset": str(message.offset()),
        }
        headers = [(name, value) for name, value in _headers(message) if name not in reason]
        headers += [(name, value.encode()) for name, value in reason.items()]
        key = message.key()
        assert self._dead is not None  # noqa: S101 - the callers ask
        await self._dead.publish(
            self._options.dead_letter, _bytes(message.value()), None if key is None else _bytes(key), headers, _PARK_S
        )


def _headers(message: Message) -> list[tuple[str, bytes]]:
    return [(str(pair[0]), _bytes(pair[1])) for pair in message.headers() or ()]


def _bytes(value: Any) -> bytes:
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else bytes(value)
