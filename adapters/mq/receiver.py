"""The receiving side of ``mq``: hands over what the consumer's thread reads, and tells it what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import Any, cast

from adapters.mq.broker import tls_context
from adapters.mq.consumer import Arrival, Consumer, Settle, Verdict
from adapters.mq.envelope import error_headers
from adapters.mq.options import MqListen
from hub.api import Bound, IntakePort, Receipt, Receiver, SendError, StoreBusy, UnreachableError
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text

__all__ = ["MqReceiver"]

log = get_logger(__name__)

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
#: Longest wait for a broker to answer the end of a connection.
_FAREWELL_S = 2.0


class MqReceiver(Receiver):
    """Consumes one queue. Its thread owns the connection; see :mod:`adapters.mq.consumer`."""

    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        self._bound, self._intake = bound, intake
        self._options = options = cast(MqListen, bound.options)
        self._address = options.address
        self._request = bound.contract.style == "request"
        self._consumer: Consumer
        self._started = False
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Event
        self._busy_epoch = 0  # an opening of the connection after which the rest was left
        self._pause = _FIRST_PAUSE_S
        self._timer: asyncio.TimerHandle | None = None
        self._connected = False
        self._stopping = False
        self._error: SendError | None = None
        self._lost_at = 0.0
        self._taken = self._refused = self._left = self._connections = self._under_way = 0

    # -- hub.api.Receiver ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to connect; a broker that is away is tried again until it comes. Raises for TLS files that can't be used."""
        context = tls_context(self._options)
        self._loop = loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()

        def tell(what: Any, *arguments: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(what, *arguments)

        self._consumer = Consumer(
            self._options,
            self._bound.place,
            context,
            arrived=partial(tell, self._arrived),
            changed=partial(tell, self._changed),
            ended=partial(tell, self._ended.set),
        )
        self._started = True
        self._consumer.start()

    async def stop(self, grace: float) -> None:
        if not self._started:
            return
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        self._consumer.stop(grace)
        try:
            async with asyncio.timeout(grace + _FAREWELL_S):
                await self._ended.wait()
        except TimeoutError:
            self._consumer.abort()
            await self._ended.wait()
        self._connected = False

    def status(self) -> dict[str, Any]:
        return {
            "broker": self._address,
            "queue": self._options.queue.name,
            "connected": self._connected,
            "paused": self._timer is not None,
            "error": mask_text(self._error.text) if self._error is not None else "",
            "connections": self._connections,
            "under_way": self._under_way,
            "taken": self._taken,
            "refused": self._refused,
            "left": self._left,
        }

    async def probe(self) -> str:
        if self._error is not None:
            raise self._error
        if not self._connected:
            raise UnreachableError(
                t(f"{self._address}: not connected yet", f"{self._address}：尚未连接"), code="mq.unreachable"
            )
        name = self._options.queue.name
        return t(f"consuming {name} of {self._address}", f"正在消费 {self._address} 的队列 {name}")

    # -- on the loop, called by the thread -----------------------------------------------------------------------

    def _changed(self, connected: bool, error: SendError | None) -> None:
        if connected:
            self._connections += 1
            if self._error is not None:
                log.info("%s: connected to %s again", self._bound.place, self._address)
        elif (
            error is not None and self._error is None and not self._stopping
        ):  # once for each time it is away, not once for each try
            log.warning("%s: %s", self._bound.place, mask_text(error.text))
            self._intake.note_run(
                self._bound,
                started_us=int(time.time() * 1e6),
                params={"queue": self._options.queue.name},
                error=error,
                remote=self._address,
            )
        self._connected, self._error = connected, error

    def _arrived(self, batch: list[Arrival]) -> None:
        for arrival in batch:
            self._under_way += 1
            if arrival.epoch == self._busy_epoch:  # after one that was left: taking it would change the order
                self._settle(arrival, Verdict.LEFT)
                continue
            self._intake.submit(
                self._bound,
                arrival.raw,
                partial(self._done, arrival),
                remote=self._address,
                control_id=arrival.control_id,
                params=arrival.params,
            )

    # -- what became of one --------------------------------------------------------------------------------------

    def _done(self, arrival: Arrival, receipt: Receipt) -> None:
        if receipt.accepted:
            self._taken += 1
            self._pause = _FIRST_PAUSE_S
            self._settle(arrival, Verdict.TAKEN, {}, receipt.reply if self._request else None)
        elif isinstance(receipt.error, StoreBusy):
            self._busy(arrival)
        else:
            self._refused += 1
            headers = error_headers(receipt.error)
            answered = self._request and arrival.properties.get("reply_to")
            self._settle(arrival, Verdict.REFUSED, headers, (receipt.reply or b"") if answered else None)

    def _settle(
        self, arrival: Arrival, verdict: Verdict, headers: dict[str, str] | None = None, reply: bytes | None = None
    ) -> None:
        self._under_way -= 1
        if verdict is Verdict.LEFT:
            self._left += 1
        self._consumer.settle(Settle(arrival, verdict, headers or {}, reply))

    def _busy(self, arrival: Arrival) -> None:
        if self._busy_epoch != arrival.epoch:
            self._busy_epoch = arrival.epoch
            log.warning("%s: the hub is busy, messages stay in the queue", self._bound.place)
            if not self._stopping:
                self._timer = self._loop.call_later(self._pause, self._look)
        self._settle(arrival, Verdict.LEFT)

    def _look(self) -> None:
        """Consume again once the store takes messages and everything of the last time is settled."""
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_S)
        if self._stopping:
            return
        if self._under_way or not self._intake.ready():
            self._timer = self._loop.call_later(min(self._pause, 1.0), self._look)
            return
        self._timer = None
        self._consumer.resume(self._busy_epoch)
