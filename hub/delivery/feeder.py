"""Brings the deliveries of one target from the store into its queue, when there is room and when a parked key's turn comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hub.delivery.budget import Charges
from hub.delivery.queue import KeyedQueue
from hub.logs import get_logger
from hub.masking import mask_text
from hub.message import Delivery
from hub.store.base import Store

__all__ = ["Feeder"]

log = get_logger(__name__)

#: Deliveries read from the store at a time, and bytes of them.
PAGE = 500
PAGE_BYTES = 8 << 20


class Feeder:
    """Knows what has become final, or was withdrawn, while it reads: that is no news although the store still showed it as open."""

    def __init__(
        self,
        place: str,
        store: Store,
        queue: KeyedQueue,
        charges: Charges,
        *,
        wake_one: Callable[[], None],
        wake_all: Callable[[], None],
    ) -> None:
        self.withdrawn: set[int] = set()  # by an operator; the commit that says so is still under way
        self.closing: set[int] = set()  # final, but the commit that says so is still under way
        self._closed: set[int] | None = None  # while it reads: what was committed as no longer open meanwhile
        self._place = place
        self._store = store
        self._queue = queue
        self._charges = charges
        self._wake_one = wake_one
        self._wake_all = wake_all
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, *, recovering: bool) -> None:
        self._task = asyncio.create_task(self._run(recovering), name=f"feed {self._place}")

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def ask(self) -> None:
        """There may be room now, or a parked key's turn has come."""
        self._asked.set()

    def note_closed(self, delivery_id: int) -> None:
        """What is being read just now may still show this delivery as open."""
        if self._closed is not None:
            self._closed.add(delivery_id)

    async def _run(self, recovering: bool) -> None:
        while True:
            try:
                if recovering:
                    self._closed = set()
                    children = await self._store.open_children(self._place)
                    await self._store.reported()
                    for child in children:
                        self._take(child)
                    recovering = False
                await self._feed_wanted()
                await self._feed_behind()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.error("feeding %s from the store failed: %s", self._place, mask_text(repr(error)))
                await asyncio.sleep(1.0)
                continue
            await self._asked.wait()
            self._asked.clear()

    async def _feed_wanted(self) -> None:
        queue = self._queue
        while queue.wanted:
            key = queue.wanted.popleft()
            queue.loading(key)
            self._closed = set()
            found = await self._store.open_for_key(self._place, key, 0, PAGE, PAGE_BYTES)
            await self._store.reported()
            more = len(found) >= PAGE or sum(len(d.message.raw) for d in found if d.message) >= PAGE_BYTES
            fresh = [d for d in found if self._is_news(d.id)]
            queue.unpark(key, fresh, more or len(fresh) < len(found))
            self._closed = None
            for delivery in fresh:
                self._charges.charge(delivery)
            self._wake_all()

    async def _feed_behind(self) -> None:
        queue = self._queue
        while queue.behind and queue.moving < queue.window // 2 + 1 and not queue.full:
            queue.missed = False
            page = min(PAGE, queue.window)
            self._closed = set()
            found = await self._store.open_deliveries(self._place, queue.cursor, page, PAGE_BYTES)
            await self._store.reported()
            for delivery in found:
                queue.cursor = delivery.id
                self._take(delivery)
            self._closed = None
            if not found:
                queue.behind = queue.missed
            await asyncio.sleep(0)

    def _is_news(self, delivery_id: int) -> bool:
        """False for what was read as open although it has become final or was withdrawn, before or after it was read."""
        return not (
            delivery_id in self.closing
            or delivery_id in self.withdrawn
            or (self._closed is not None and delivery_id in self._closed)
        )

    def _take(self, delivery: Delivery) -> None:
        if self._is_news(delivery.id) and self._queue.add(delivery):
            self._charges.charge(delivery)
            self._wake_one()
