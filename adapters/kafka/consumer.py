"""A consumer of librdkafka in a thread of its own: polls, follows rebalances, hands pages over, waits while the hub is full."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from confluent_kafka import OFFSET_STORED, Consumer, KafkaError, KafkaException, Message, TopicPartition

from adapters.kafka.errors import Trouble, explain
from adapters.kafka.options import KafkaListen
from adapters.mq.envelope import unexpected
from hub.api import SendError

__all__ = ["Owner", "Page", "Reader"]

T = TypeVar("T")

_LOOK_S = 0.1
#: Without room for so long, reading is paused and polling goes on: a member that does not poll would lose its partitions.
_PATIENCE_S = 1.0
#: Longest wait for the event loop in a rebalance; commits under way end within it.
_REBALANCE_S = 30.0
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
#: Between looks whether the cluster is back.
_AGAIN_S = 0.25
#: Pages held beyond which nothing is read, whatever their size.
_MOST_PAGES = 64


@dataclass(slots=True)
class Page:
    """Messages of one partition, one after the other."""

    topic: str
    partition: int
    epoch: int  # of the assignment it was read under
    messages: list[Message]
    size: int  # bytes, keys and headers included


class Owner(Protocol):
    """What the thread tells; everything is called on the event loop."""

    def page(self, page: Page) -> None:
        """Each page is released once: :meth:`Reader.release`."""

    def state(self, error: SendError | None) -> None:
        """The cluster answers (None), or why it does not."""

    async def marks(self, partitions: Sequence[tuple[str, int]]) -> list[int | None]:
        """Offsets from which the hub goes on."""

    async def assigned(self, count: int, epoch: int) -> None: ...

    async def revoked(self) -> None:
        """Returns when no commit is under way; pages of the assignment are void."""


class Reader:
    """One member of the group. What it has read counts as held from then on, however late the event loop looks at it."""

    def __init__(self, options: KafkaListen, place: str, owner: Owner) -> None:
        self._options, self._place, self._owner = options, place, owner
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._room = threading.Event()
        self._room.set()
        self._counting = threading.Lock()
        self._held = self._pages = 0  # read, and not released yet
        self._epoch = 0
        self._holding = False
        self._stored: deque[tuple[str, int, int]] = deque()
        self._trouble = Trouble()
        self._up: bool | None = None
        self._thread = threading.Thread(target=self._run, name=f"kafka {place}", daemon=True)

    # -- from the event loop -------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """Ends the membership; what was stored is committed to the group."""
        self._stop.set()
        self._room.set()
        await asyncio.to_thread(self._thread.join)

    def release(self, page: Page) -> None:
        """The page is taken, or void."""
        self._hold_more(-page.size, -1)

    @property
    def held(self) -> int:
        """Bytes."""
        return self._held

    def store(self, topic: str, partition: int, offset: int) -> None:
        """The group may know that everything before ``offset`` is taken; it is told within a second."""
        self._stored.append((topic, partition, offset))

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                self._serve()
                pause = _FIRST_PAUSE_S
            except KafkaException as failed:
                self._tell(explain(failed.args[0], self._options.address, self._trouble.cause))
            except Exception as failed:
                self._tell(unexpected(failed, self._place))
            if self._stop.wait(pause):
                return
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _serve(self) -> None:
        """One life of a consumer, until the end or an error it does not survive."""
        self._trouble, self._up = Trouble(), False
        consumer = Consumer(self._options.consumer_configuration() | {"error_cb": self._trouble.told})
        try:
            consumer.subscribe(
                self._options.topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
            )
            while not self._stop.is_set():
                if not self._up or self._trouble.down:
                    self._look(consumer)
                self._store(consumer)
                if self._room.wait(_PATIENCE_S) or self._stop.is_set():
                    self._read(consumer)
                else:
                    self._hold(consumer)
        finally:
            consumer.close()

    def _store(self, consumer: Consumer) -> None:
        """Only in this thread: librdkafka may wait for it, and its binding keeps the interpreter locked meanwhile."""
        latest: dict[tuple[str, int], int] = {}
        while self._stored:
            topic, partition, offset = self._stored.popleft()
            latest[topic, partition] = offset
        for (topic, partition), offset in latest.items():
            with contextlib.suppress(KafkaException):  # no longer ours: the hub's own mark counts
                consumer.store_offsets(offsets=[TopicPartition(topic, partition, offset)])

    def _look(self, consumer: Consumer) -> None:
        """Whether the cluster answers, and the topics are there."""
        address = self._options.address
        try:
            for topic in self._options.topics:
                found = consumer.list_topics(topic, timeout=self._options.connect_timeout)
                if (error := found.topics[topic].error) is not None:
                    raise KafkaException(error)
        except KafkaException as failed:
            self._up = False
            if (message := consumer.poll(_LOOK_S)) is not None:  # calls back with the cause
                self._deliver([message])
            self._tell(explain(failed.args[0], address, self._trouble.cause))
            self._stop.wait(_AGAIN_S)
            return
        self._trouble.over()
        self._up = True
        self._tell(None)

    def _read(self, consumer: Consumer) -> None:
        first = consumer.poll(_LOOK_S)
        if first is not None:
            more = consumer.consume(self._options.page - 1, 0) if self._options.page > 1 else []
            self._deliver([first, *more])

    def _deliver(self, messages: Sequence[Message]) -> None:
        pages: dict[tuple[str, int], Page] = {}
        for message in messages:
            if (error := message.error()) is not None:
                self._told(error)
                continue
            place = (message.topic() or "", message.partition() or 0)
            page = pages.get(place)
            if page is None:
                page = pages[place] = Page(*place, self._epoch, [], 0)
            page.messages.append(message)
            page.size += _weight(message)
        for page in pages.values():
            self._hold_more(page.size, 1)
            self._loop.call_soon_threadsafe(self._owner.page, page)

    def _hold_more(self, size: int, pages: int) -> None:
        """Nothing more is read while it is full."""
        with self._counting:
            self._held += size
            self._pages += pages
            full = self._held >= self._options.max_buffered or self._pages >= _MOST_PAGES
            if full and not self._stop.is_set():
                self._room.clear()
            else:
                self._room.set()

    def _hold(self, consumer: Consumer) -> None:
        """Stay a member without reading: librdkafka drops what it has fetched ahead and fetches it again afterwards."""
        self._holding = True
        consumer.pause(consumer.assignment())
        while not self._stop.is_set() and not self._room.wait(_LOOK_S):
            message = consumer.poll(0)
            if message is not None:  # already on its way when reading was paused: never dropped
                self._deliver([message])
        self._holding = False
        consumer.resume(consumer.assignment())

    def _told(self, error: KafkaError) -> None:
        if error.fatal():
            raise KafkaException(error)
        if error.code() in (KafkaError._PARTITION_EOF, KafkaError._MAX_POLL_EXCEEDED):
            return
        self._up = False
        self._tell(explain(error, self._options.address, self._trouble.cause))

    def _tell(self, error: SendError | None) -> None:
        self._loop.call_soon_threadsafe(self._owner.state, error)

    # -- rebalances, called by librdkafka in this thread while it polls -------------------------------------------

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Go on where the hub or the group is further: another member may have read on since the hub had a partition."""
        self._epoch += 1
        marks = self._ask(self._owner.marks([(each.topic, each.partition) for each in partitions]))
        known = consumer.committed(partitions, timeout=self._options.answer_timeout)
        for each, mark, group in zip(partitions, marks, known, strict=True):
            if group.error is not None:
                raise KafkaException(group.error)
            each.offset = mark if mark is not None and mark > group.offset else OFFSET_STORED
        self._ask(self._owner.assigned(len(partitions), self._epoch))
        consumer.assign(partitions)
        if self._holding:
            consumer.pause(partitions)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._epoch += 1
        self._ask(self._owner.revoked())
        self._store(consumer)

    def _ask(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_REBALANCE_S)


def _weight(message: Message) -> int:
    size = len(message) + len(message.key() or b"")
    for pair in message.headers() or ():
        size += len(pair[0]) + len(pair[1] or b"")
    return size
