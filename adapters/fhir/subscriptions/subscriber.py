"""Telling one subscriber, one notification after the other, until it is told; what is done is noted before the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from adapters.fhir.subscriptions.notification import Notification, Notifications
from adapters.fhir.subscriptions.options import SubscriptionOptions
from adapters.fhir.subscriptions.spec import Spec
from adapters.fhir.subscriptions.store import Event, Kept, SubscriptionStore
from adapters.http.answer import phrase, retry_after
from adapters.http.client import HttpClient, Target
from adapters.http.connection import Response
from adapters.http.request import Endpoint
from adapters.tls import client_context
from hub.api import CodecError, HubError, PermanentError, SendError, StoreBusy, TransientError
from hub.i18n import t
from hub.logs import get_logger
from hub.masking import mask_text

__all__ = ["Subscriber"]

log = get_logger(__name__)

_REPLY_LIMIT = 256 << 10
#: Above this, bytes, bodies are read and written in a thread.
_THREAD_ABOVE = 128 << 10
#: What a subscriber says of a notification, not of itself: after so many tries the next has its turn.
_REFUSALS = frozenset((400, 409, 411, 412, 413, 414, 415, 422))
_MOST_REFUSALS = 3
_GONE = 410
#: The queue is looked at again after so long, seconds, whatever is heard.
_IDLE = 60.0

#: Writes into the call log: parameters, error, when it began (Unix time, µs).
Note = Callable[[Mapping[str, str], HubError | None, int], None]


class Subscriber:
    """The queue of one subscription. ``task`` ends when the subscription is off."""

    def __init__(
        self,
        kept: Kept,
        spec: Spec,
        store: SubscriptionStore,
        options: SubscriptionOptions,
        writer: Notifications,
        note: Note,
    ) -> None:
        self.kept = kept
        self._spec = spec
        self._store = store
        self._options = options
        self._writer = writer
        self._note = note
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failures = 0
        self._refusals = 0
        self.told = 0
        endpoint = Endpoint(spec.endpoint)
        self._host = endpoint.host
        self._client = HttpClient(
            Target(
                host=endpoint.host,
                port=endpoint.port,
                ssl=client_context(options.tls) if endpoint.secure else None,
                server_name=options.tls.server_name,
                connections=1,
                connect_timeout=options.connect_timeout,
                reply_limit=_REPLY_LIMIT,
                permits=options.permits,
            )
        )
        self.task = asyncio.create_task(self._run(), name=f"subscription {kept.id}")

    def wake(self) -> None:
        """There may be something new."""
        self._news.set()

    async def stop(self, grace: float = 0.0) -> None:
        """What is not finished within so many seconds is told again by whoever goes on."""
        self._stopping.set()
        self._news.set()
        if grace:
            await asyncio.wait([self.task], timeout=grace)
        self.task.cancel()
        await asyncio.wait([self.task])
        await self._client.close()

    # -- the queue -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while self.kept.status != "off" and not self._stopping.is_set():
            pause = 0.0
            try:
                if self._ended():
                    await self._off(t("its time is over", "订阅已到期"))
                    return
                if self.kept.status == "requested":
                    await self._handshake()
                    continue
                self._news.clear()
                events = await self._store.read(lambda db: SubscriptionStore.next(db, self.kept.id, self._most()))
                if events:
                    await self._tell(events)
                elif not await _set_within(self._news, self._idle()) and self._spec.heartbeat:
                    await self._send(self._writer.of_itself(self.kept, self._spec, "heartbeat"))
                    await self._went_well()
            except SendError as error:
                pause = await self._failed(error)
            except StoreBusy:
                pause = 1.0
            except HubError as error:  # what can't be written; the next try may be after an update
                self._note({"subscription": self.kept.id}, error, time.time_ns() // 1000)
                pause = self._options.max_interval
            except Exception as error:  # a mistake of ours must not end a subscription that passes for an active one
                log.error("subscription %s: %s", self.kept.id, mask_text(repr(error)), exc_info=error)
                pause = self._options.max_interval
            if pause:
                await _set_within(self._stopping, pause)

    def _most(self) -> int:
        # After a refusal one at a time: the others must not pay for it.
        return 1 if self._refusals else self._spec.most

    def _idle(self) -> float:
        idle = float(self._spec.heartbeat or _IDLE)
        return min(idle, max(self._spec.end - time.time(), 0.0)) if self._spec.end else idle

    def _ended(self) -> bool:
        return bool(self._spec.end) and time.time() >= self._spec.end

    async def _handshake(self) -> None:
        if self._spec.topic:
            await self._send(self._writer.of_itself(self.kept, self._spec, "handshake"))
        else:
            await self._client.check(self._options.connect_timeout)  # R4 has none: a connection, and no notification
        await self._went_well()

    async def _tell(self, events: list[Event]) -> None:
        started = time.time_ns() // 1000
        params = {"subscription": self.kept.id, "number": str(events[-1].number), "notifications": str(len(events))}
        try:
            notification = await self._written(events)
            await self._send(notification)
        except CodecError as error:
            await self._done(events)
            self._note(params, PermanentError(error.text, code=error.code), started)
            return
        except SendError as error:
            self._note(params, error, started)
            refused = error.code.isdigit() and int(error.code) in _REFUSALS
            self._refusals = self._refusals + 1 if refused else 0
            if self._refusals < _MOST_REFUSALS or len(events) > 1:
                raise
            self._refusals = 0
            await self._done(events)
            dropped = t(f"refused {_MOST_REFUSALS} times and left out", f"被拒绝 {_MOST_REFUSALS} 次，已跳过")
            self._note(params, PermanentError(dropped, code="fhir.notification_refused"), started)
            return
        self._refusals = 0
        await self._done(events)
        self.told += len(events)
        self._note(params, None, started)
        await self._went_well()

    async def _written(self, events: list[Event]) -> Notification:
        size = sum(len(event.body) for event in events)
        arguments = self.kept, self._spec, events
        return (
            await asyncio.to_thread(self._writer.of_events, *arguments)
            if size > _THREAD_ABOVE
            else self._writer.of_events(*arguments)
        )

    async def _done(self, events: list[Event]) -> None:
        """Not again; waits until that can be stored."""
        while True:
            try:
                await self._store.write(lambda db: SubscriptionStore.done(db, self.kept.id, events[-1].number))
                return
            except StoreBusy:
                await asyncio.sleep(1.0)

    async def _send(self, notification: Notification) -> None:
        within = min(self._spec.timeout or self._options.timeout, self._options.timeout)
        response = await self._client.call(notification.head, notification.body, within, repeatable=True)
        if 200 <= response.status < 300:
            return
        if response.status == _GONE:
            await self._off(t("its endpoint answered 410 Gone", "其 endpoint 返回 410 Gone"))
            raise PermanentError(f"HTTP {_GONE}", code=str(_GONE))
        raise _refusal(self._host, response)

    # -- how it goes ---------------------------------------------------------------------------------------------

    async def _went_well(self) -> None:
        self._failures = 0
        if self.kept.status != "active" or self.kept.failing:
            await self._set("active", "", 0.0)

    async def _failed(self, error: SendError) -> float:
        """Note it; returns how long to wait, seconds."""
        options, now = self._options, time.time()
        since = self.kept.failing or now
        self._failures += 1
        if self.kept.status == "off":
            return 0.0
        if now - since >= options.off_after:
            await self._off(t(f"not told for too long: {error.text}", f"长时间无法通知：{error.text}"))
            return 0.0
        # One that has never answered stays requested: nothing is put into its queue.
        status = "error" if self.kept.status == "active" and now - since >= options.error_after else self.kept.status
        if status != self.kept.status or not self.kept.failing:
            await self._set(status, error.text, since)
        asked = error.retry_after if isinstance(error, _NotNow) else 0.0
        pause = min(options.retry_interval * 2.0 ** min(self._failures - 1, 30), options.max_interval)
        return max(min(asked, options.max_interval), pause)

    async def off_for_its_queue(self, waiting: int) -> None:
        """Too much waits for it."""
        if waiting > self._options.max_waiting:
            await self._off(t(f"{waiting} notifications wait", f"待发通知达 {waiting} 条"))

    async def _off(self, why: str) -> None:
        waiting = await self._store.read(lambda db: SubscriptionStore.waiting(db, self.kept.id))
        await self._set("off", why, self.kept.failing)
        params = {"subscription": self.kept.id, "status": "off", "dropped": str(waiting)}
        error = PermanentError(why, code="fhir.subscription_off") if waiting else None
        self._note(params, error, time.time_ns() // 1000)

    async def _set(self, status: str, error: str, failing: float) -> None:
        number, before = self.kept.id, self.kept

        def change(db: Any) -> Kept | None:
            SubscriptionStore.set_status(db, before, status, error, failing)
            return SubscriptionStore.get(db, number)

        changed = await self._store.write(change)
        if changed is not None:
            self.kept = changed


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


class _NotNow(TransientError):
    """A refusal that says when to come again."""

    retry_after = 0.0


def _refusal(host: str, response: Response) -> SendError:
    # What the subscriber says is not told on: it may repeat what it was sent.
    error = _NotNow(f"{host}: HTTP {response.status} {phrase(response.status)}".rstrip(), code=str(response.status))
    error.retry_after = retry_after(response.header(b"retry-after"))
    return error
