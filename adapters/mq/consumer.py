"""The thread that owns the connection of one consumer.

It reads, hands over to the event loop in batches and in order, and carries out what the loop decides: acknowledge, reject,
park, answer. Nothing is acknowledged that the loop has not settled.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from adapters.mq.broker import Link, Wake, explain
from adapters.mq.envelope import control_of, params_of
from adapters.mq.options import MqListen
from adapters.mq.publishing import Confirms
from hub.api import SendError
from hub.logs import get_logger

__all__ = ["Arrival", "Consumer", "Settle", "Verdict"]

log = get_logger(__name__)

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
#: Longest wait without a look at the time.
_LOOK_S = 1.0


@dataclass(slots=True)
class Arrival:
    """One message of the queue."""

    epoch: int  # which opening of the connection it came over
    tag: Any
    raw: bytes
    control_id: str
    params: dict[str, str]
    properties: Mapping[str, Any]
    headers: Mapping[str, Any]


class Verdict(Enum):
    TAKEN = "taken"  # committed: acknowledge
    REFUSED = "refused"  # never: reject or park, with ``headers``
    LEFT = "left"  # not now: back to the queue


@dataclass(slots=True)
class Settle:
    """What becomes of one arrival."""

    arrival: Arrival
    verdict: Verdict
    headers: dict[str, str] = field(default_factory=dict)
    reply: bytes | None = None  # request style: published before the request is acknowledged


class Consumer:
    """One thread, one connection at a time, one queue."""

    def __init__(
        self,
        options: MqListen,
        place: str,
        context: ssl.SSLContext | None,
        *,
        arrived: Callable[[list[Arrival]], None],
        changed: Callable[[bool, SendError | None], None],
        ended: Callable[[], None],
    ) -> None:
        """The callbacks run on this thread: what ``arrived``, whether the connection ``changed`` to up or down, and its end."""
        self._options = options
        self._context = context
        self._arrived, self._changed, self._ended = arrived, changed, ended
        self._wake = Wake()
        self._settles: deque[Settle] = deque()
        self._tag = options.consumer_tag or place
        self._park = options.park_queue or f"{options.queue.name}.refused"
        self._epoch = 0
        self._batch: list[Arrival] = []
        self._open: OrderedDict[Any, int] = OrderedDict()  # handed over and not settled: tag -> bytes
        self._held = 0  # bytes of them
        self._left = False  # something was left: give everything else back as well
        self._given_back: list[Any] = []  # tags of what goes back to the queue
        self._stop_at: float | None = None
        self._paused_at = self._resumed = 0  # openings: that in which something was left, that to go on after
        self._link: Link | None = None
        self._confirms: Confirms  # of the present connection
        self._thread = threading.Thread(target=self._run, name=f"mq {place}", daemon=True)

    # -- from the event loop -------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def settle(self, settle: Settle) -> None:
        self._settles.append(settle)
        self._wake.call()

    def stop(self, grace: float) -> None:
        """Take nothing more, carry out what is decided within ``grace`` seconds, then end."""
        self._stop_at = time.monotonic() + grace
        self._wake.call()

    def abort(self) -> None:
        """End the connection even if the broker hangs."""
        if self._link is not None:
            self._link.abort()

    def resume(self, epoch: int) -> None:
        """Consume again after something of this opening was left in the queue."""
        self._resumed = epoch
        self._wake.call()

    # -- on the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        try:
            while self._stop_at is None:
                link: Link | None = None
                try:
                    link = self._connect()
                    pause = _FIRST_PAUSE_S
                    self._changed(True, None)
                    self._consume(link)
                    link.close()
                except Exception as error:
                    log.debug("connection ended", exc_info=True)
                    if link is not None:
                        link.drop()
                    self._changed(False, explain(error, self._options.address))
                    self._sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE_S)
                while self._paused_at > self._resumed and self._stop_at is None:
                    self._wake.wait(_LOOK_S)
        except BaseException:
            log.exception("the thread of a consumer ended by an error of its own")
            raise
        finally:
            self._wake.close()
            self._ended()

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._stop_at is None and (left := end - time.monotonic()) > 0:
            self._wake.wait(left)

    def _connect(self) -> Link:
        options = self._options
        self._epoch += 1
        self._open.clear()
        self._batch.clear()
        self._held = 0
        self._left = False
        self._given_back.clear()
        self._link = link = Link(options, self._context, self._wake)
        try:
            link.topology(options.exchanges, [options.queue])
            link.channel.basic_qos(0, options.prefetch, False)
            self._confirms = Confirms(link)
            if options.refused == "park":
                self._confirms.channel.queue_declare(
                    self._park, durable=True, auto_delete=False, exclusive=False, passive=False
                )
            link.channel.basic_consume(
                options.queue.name, no_ack=False, callback=self._delivered, consumer_tag=self._tag
            )
        except BaseException:
            link.drop()
            raise
        return link

    def _consume(self, link: Link) -> None:
        """Until it is to stop or something was left; a broken connection raises."""
        cancelled = False
        while True:
            self._carry_out(link)
            if self._left or self._stop_at is not None:
                if not cancelled:
                    cancelled = True
                    link.channel.basic_cancel(self._tag)
                    self._given_back += [arrival.tag for arrival in self._batch]
                    self._batch.clear()
                if not self._open or (self._stop_at is not None and time.monotonic() >= self._stop_at):
                    if not link.amqp:  # RabbitMQ gives everything back itself, in its order, when the connection closes
                        for tag in reversed([*self._given_back, *self._open]):
                            link.channel.basic_reject(tag, requeue=True)
                    return
            reading = not self._full()
            pause = 0.0 if self._batch and not cancelled else min(link.beat_every, _LOOK_S)
            if self._stop_at is not None:
                pause = min(pause, self._stop_at - time.monotonic())
            if reading:
                link.wait(pause, self._full)
            else:
                self._wake.wait(pause)
            if self._batch and not cancelled:
                batch, self._batch = self._batch, []
                for arrival in batch:
                    self._open[arrival.tag] = len(arrival.raw)
                self._arrived(batch)
            link.beat(reading=reading)

    def _full(self) -> bool:
        return self._held >= self._options.max_buffered

    def _delivered(self, message: Any) -> None:
        properties: dict[str, Any] = dict(message.properties)
        headers = properties.pop("application_headers", None)
        if headers is None:
            headers = getattr(message, "headers", None) or {}
            properties.setdefault("content_type", getattr(message, "content_type", None))
            properties.setdefault("content_encoding", getattr(message, "content_encoding", None))
        info = message.delivery_info
        body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
        self._held += len(body)
        known = {
            "queue": self._options.queue.name,
            "exchange": info.get("exchange"),
            "routing_key": info.get("routing_key"),
            "redelivered": True if info.get("redelivered") else None,
            **{name: properties.get(name) for name in _PROPERTIES},
            **_deaths(headers.get("x-death")),
        }
        self._batch.append(
            Arrival(
                self._epoch,
                message.delivery_tag,
                body,
                control_of(properties.get("message_id")),
                params_of(known, {key: value for key, value in headers.items() if key != "x-death"}),
                properties,
                headers,
            )
        )

    def _carry_out(self, link: Link) -> None:
        """Acknowledge, reject, park and answer what the loop has decided since the last look."""
        taken: set[Any] = set()
        while self._settles:
            settle = self._settles.popleft()
            arrival = settle.arrival
            if arrival.epoch != self._epoch or arrival.tag not in self._open:
                continue  # its connection is gone: the broker delivers it again
            if settle.reply is not None:
                self._answer(settle)
            if settle.verdict is Verdict.LEFT:
                self._close_one(arrival.tag)
                self._given_back.append(arrival.tag)
                self._left, self._paused_at = True, self._epoch
                continue
            if settle.verdict is Verdict.REFUSED and settle.reply is None:
                if self._options.refused == "dead_letter":
                    link.channel.basic_reject(arrival.tag, requeue=False)
                    self._close_one(arrival.tag)
                    continue
                self._put_aside(settle)
            taken.add(arrival.tag)
        if not taken:
            return
        # A run of acknowledged messages at the front needs one word; gaps are waited for by nobody.
        last = None
        if link.amqp and not self._left:  # what was left must not be covered by it
            while self._open and next(iter(self._open)) in taken:
                last = next(iter(self._open))
                taken.discard(last)
                self._close_one(last)
            if last is not None:
                link.channel.basic_ack(last, multiple=True)
        for tag in taken:
            link.channel.basic_ack(tag)
            self._close_one(tag)

    def _close_one(self, tag: Any) -> None:
        self._held -= self._open.pop(tag)

    def _put_aside(self, settle: Settle) -> None:
        """Into the parking queue, confirmed, before the original is acknowledged."""
        arrival = settle.arrival
        headers = {
            **arrival.headers,
            **settle.headers,
            "x-original-queue": self._options.queue.name,
            "x-original-exchange": arrival.params.get("exchange", ""),
            "x-original-routing-key": arrival.params.get("routing_key", ""),
        }
        self._confirms.publish(arrival.raw, "", self._park, headers, dict(arrival.properties))

    def _answer(self, settle: Settle) -> None:
        """The reply of a request, to the queue the caller named; a caller that is gone loses only its answer."""
        properties = settle.arrival.properties
        reply_to = properties.get("reply_to")
        if not reply_to:
            return
        own = {"correlation_id": properties.get("correlation_id") or properties.get("message_id")}
        self._confirms.publish(
            settle.reply or b"",
            "",
            str(reply_to),
            settle.headers,
            {k: v for k, v in own.items() if v},
            must_arrive=False,
        )


_PROPERTIES = (
    "message_id",
    "correlation_id",
    "reply_to",
    "type",
    "app_id",
    "timestamp",
    "priority",
    "content_type",
    "content_encoding",
)


def _deaths(value: Any) -> dict[str, Any]:
    """What RabbitMQ tells about earlier dead-lettering (``x-death``): how often, why, from which queue; the newest first."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return {}
    newest = value[0]
    return {
        "deaths": sum(
            count for death in value if isinstance(death, dict) and isinstance(count := death.get("count"), int)
        ),
        "death_reason": newest.get("reason"),
        "death_queue": newest.get("queue"),
    }
