"""A producer of librdkafka: one thread takes its delivery reports to the event loop, another asks about the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from adapters.kafka.errors import Trouble, delivery_error, explain
from adapters.kafka.options import KafkaBrokers
from hub.api import SendError, TransientError, UnreachableError
from hub.i18n import t

__all__ = ["Producing"]

_LOOK_S = 0.1
_FAREWELL_S = 5.0
#: Topics known to be there that are remembered.
_MOST_TOPICS = 1000
_LARGEST = 128 << 20


class Producing:
    """Idempotent, ``acks=all``. ``timeout``: seconds after which librdkafka gives a message up by itself."""

    def __init__(self, options: KafkaBrokers, place: str, timeout: float) -> None:
        self._options, self._place = options, place
        milliseconds = max(int(timeout * 1000), 1)
        self._configuration = options.configuration() | {
            "acks": "all",
            "enable.idempotence": True,
            "message.timeout.ms": milliseconds,
            "request.timeout.ms": min(milliseconds, 900_000),
            "message.max.bytes": _LARGEST,
            "linger.ms": 0,  # what comes while a request is under way goes together with the next one
        }
        self._loop: asyncio.AbstractEventLoop
        self._producer: Producer | None = None
        self._trouble = Trouble()
        self._asking = ThreadPoolExecutor(1, thread_name_prefix=f"kafka ask {place}")
        self._checking: asyncio.Lock
        self._known: set[str] = set()  # topics that were there, since the last trouble
        self._told: deque[tuple[asyncio.Future[None], KafkaError | None]] = deque()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.pending = 0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._checking = asyncio.Lock()

    @property
    def connected(self) -> bool:
        return bool(self._known) and not self._trouble.down

    async def publish(
        self, topic: str, value: bytes, key: bytes | None, headers: Sequence[tuple[str, bytes]], seconds: float
    ) -> None:
        """Returns when all replicas in sync have the message; raises a :class:`SendError` of the right class otherwise."""
        written = False
        try:
            async with asyncio.timeout(seconds):
                if topic not in self._known or self._trouble.down or self._trouble.fatal:
                    await self._reach(topic)
                future: asyncio.Future[None] = self._loop.create_future()
                self._produce(topic, value, key, headers, future)
                written = True
                self.pending += 1
                try:
                    await future
                finally:
                    self.pending -= 1
        except TimeoutError:
            late = KafkaError(KafkaError._MSG_TIMED_OUT)
            self._known.discard(topic)
            raise (delivery_error if written else explain)(late, self._options.address) from None
        except (TransientError, UnreachableError):
            self._known.discard(topic)  # the next one looks first whether there is anybody
            raise

    async def ask(self, topic: str | None) -> int:
        """How many brokers there are, in one answer; with a topic: it must be there. Raises :class:`UnreachableError`."""
        if self._stop.is_set():
            raise UnreachableError(t(f"{self._place} is not started", f"{self._place} 尚未启动"), code="mq.stopped")
        return await self._loop.run_in_executor(self._asking, self._ask, topic)

    async def stop(self) -> None:
        """Waits for reports under way, a few seconds at most."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self._asking.shutdown(wait=False, cancel_futures=True)
        self._tell()

    # -- parts ---------------------------------------------------------------------------------------------------

    async def _reach(self, topic: str) -> None:
        """Ask before the first message, and after trouble: what can't be sent is then never handed to librdkafka."""
        async with self._checking:
            if topic in self._known and not self._trouble.down and not self._trouble.fatal:
                return
            await self.ask(topic)
            if len(self._known) >= _MOST_TOPICS:
                self._known.clear()
            self._known.add(topic)

    def _ask(self, topic: str | None) -> int:
        """In the thread that asks."""
        if self._producer is None or self._trouble.fatal:
            self._renew()
        assert self._producer is not None  # noqa: S101 - made in the line before
        try:
            found = (
                self._producer.list_topics(topic, timeout=self._options.connect_timeout)
                if topic
                else (self._producer.list_topics(timeout=self._options.connect_timeout))
            )
        except KafkaException as failed:
            raise explain(failed.args[0], self._options.address, self._trouble.cause) from None
        if topic and (error := found.topics[topic].error) is not None:
            raise explain(error, self._options.address)
        self._trouble.over()
        return len(found.brokers)

    def _renew(self) -> None:
        """A first producer, or one in place of another that has failed for good."""
        self._trouble = trouble = Trouble()
        try:
            producer = Producer(self._configuration | {"error_cb": trouble.told})
        except KafkaException as failed:
            raise explain(failed.args[0], self._options.address) from None
        self._producer = producer
        self._thread = threading.Thread(
            target=self._serve, args=(producer, trouble), name=f"kafka {self._place}", daemon=True
        )
        self._thread.start()

    def _produce(
        self,
        topic: str,
        value: bytes,
        key: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        future: asyncio.Future[None],
    ) -> None:
        assert self._producer is not None  # noqa: S101 - ``_reach`` has made it
        try:
            self._producer.produce(
                topic, value, key, headers=list(headers), on_delivery=partial(self._reported, future)
            )
        except BufferError:
            raise delivery_error(KafkaError(KafkaError._QUEUE_FULL), self._options.address) from None
        except KafkaException as failed:
            raise delivery_error(failed.args[0], self._options.address) from None

    def _serve(self, producer: Producer, trouble: Trouble) -> None:
        """The thread of one producer."""
        while not self._stop.is_set() and producer is self._producer:
            try:
                producer.poll(_LOOK_S)
            except KafkaException:  # it has failed for good: the next message gets another one
                trouble.fatal = True
                break
            finally:
                self._hand_over()
        for step in (
            partial(producer.flush, 0 if trouble.fatal else _FAREWELL_S),
            producer.purge,
            partial(producer.poll, 0),
        ):
            with contextlib.suppress(KafkaException):
                step()
        self._hand_over()

    def _hand_over(self) -> None:
        if self._told:
            self._loop.call_soon_threadsafe(self._tell)

    def _reported(self, future: asyncio.Future[None], error: KafkaError | None, message: Message) -> None:
        self._told.append((future, error))

    def _tell(self) -> None:
        while self._told:
            future, error = self._told.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(self._outcome(error))

    def _outcome(self, error: KafkaError) -> SendError:
        if error.code() in (KafkaError._PURGE_QUEUE, KafkaError._FATAL, KafkaError._PURGE_INFLIGHT):
            return delivery_error(KafkaError(KafkaError._TRANSPORT), self._options.address)
        return delivery_error(error, self._options.address)
