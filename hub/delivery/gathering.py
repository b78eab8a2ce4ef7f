"""Gathers what is ready into batches: so many, or what came within so long. Bookkeeping and timers; calls nobody."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from hub.contract import CollectRule
from hub.delivery.collect_queue import CollectQueue
from hub.delivery.settle import time_left
from hub.ids import millis_of
from hub.message import Delivery, DeliveryState

__all__ = ["Batch", "Gatherer", "mark_of"]


class Batch:
    """Deliveries that go out in one call, in their order."""

    __slots__ = ("asleep", "deliveries", "due", "handle", "resting")

    def __init__(self, deliveries: list[Delivery], due: float = 0.0, *, asleep: bool = False) -> None:
        self.deliveries = deliveries
        self.due = due  # of the loop's clock: from then on it waits for no others
        self.asleep = asleep  # it waits for its retry, read from the store
        self.resting: set[int] = set()  # of these, those the queue knows to wait
        self.handle: asyncio.TimerHandle | None = None  # while it waits for its retry


def mark_of(delivery: Delivery) -> int:
    """What failed together is tried again together, also after a restart: this says what did; 0 for what has not failed."""
    return delivery.updated_at if delivery.state is DeliveryState.RETRYING else 0


class Gatherer:
    """The batches of one target that are not under way; ``group`` says of a delivery with which others it may go."""

    def __init__(self, queue: CollectQueue, group: Callable[[Delivery], Awaitable[str]]) -> None:
        self.full: deque[Batch] = deque()  # may be sent now
        self.most = 1  # deliveries that fit into a call, as far as is known
        self._queue = queue
        self._group = group
        self._open: dict[tuple[int, str], Batch] = {}
        self._keys: dict[str, tuple[int, str]] = {}  # ordering keys in open batches
        self._where: dict[int, Batch] = {}

    def __len__(self) -> int:
        """Deliveries in batches that are not full."""
        return sum(len(batch.deliveries) for batch in self._open.values())

    async def gather(self, rule: CollectRule, rest: Callable[[Delivery], None]) -> float | None:
        """Take what is ready; returns the seconds until a batch is due that is not full, None when there is none.

        ``rest``: this one waits for its retry.
        """
        queue = self._queue
        while queue.ready:
            delivery = queue.ready[0]
            group = await self._group(delivery)
            if not queue.ready or queue.ready[0] is not delivery:
                continue  # withdrawn meanwhile
            queue.take()
            place = (mark_of(delivery), group)
            batch = self._put(delivery, place, rule)
            if rule.items is None and delivery.order_key:
                await self._follow(batch, place, delivery.order_key, rule)
        followed, queue.followed = queue.followed, set()
        for key in followed:
            found = self._keys.get(key)
            if found is not None and rule.items is None:
                await self._follow(self._open[found], found, key, rule)
        for batch in self._open.values():
            # Not before all of it is here: the queue keeps but a few followers of a key that waits.
            for delivery in batch.deliveries if batch.asleep else ():
                if delivery.id not in batch.resting:
                    batch.resting.add(delivery.id)
                    queue.wait(delivery)
                    rest(delivery)
        return self._close_due()

    async def _follow(self, batch: Batch, place: tuple[int, str], key: str, rule: CollectRule) -> None:
        """Deliveries of one ordering key may go together where all share one fate."""
        queue = self._queue
        while self._open.get(place) is batch and (follower := queue.follower(key)) is not None:
            mark, group = place
            if mark_of(follower) != mark or await self._group(follower) != group:
                return
            if queue.follower(key) is follower and self._open.get(place) is batch:
                queue.take_follower(key)
                self._put(follower, place, rule)

    def _put(self, delivery: Delivery, place: tuple[int, str], rule: CollectRule) -> Batch:
        batch = self._open.get(place)
        if batch is None:
            if place[0]:
                wait = max(0.0, time_left(delivery))
            else:
                age = time.time() - millis_of(delivery.id) / 1000
                wait = min(rule.within, max(0.0, rule.within - age))
            now = asyncio.get_running_loop().time()
            batch = self._open[place] = Batch([], now + wait, asleep=place[0] != 0 and wait > 0)
        batch.deliveries.append(delivery)
        self._where[delivery.id] = batch
        if delivery.order_key:
            self._keys[delivery.order_key] = place
        if len(batch.deliveries) >= min(rule.messages, self.most) and not batch.asleep:
            self._close(place)
        return batch

    def _close(self, place: tuple[int, str]) -> None:
        batch = self._open.pop(place)
        for delivery in batch.deliveries:
            self._keys.pop(delivery.order_key, None)
            delivery.next_at = 0
            if delivery.id in batch.resting:
                self._queue.awake(delivery)
        batch.resting.clear()
        # In order of arrival, the parts of a split in the place of what was split: as the queue has them within a key.
        batch.deliveries.sort(key=lambda delivery: (delivery.parent or delivery.id, delivery.part))
        self.full.append(batch)

    def _close_due(self) -> float | None:
        now = asyncio.get_running_loop().time()
        for place in [place for place, batch in self._open.items() if batch.due <= now]:
            self._close(place)
        return min(batch.due for batch in self._open.values()) - now if self._open else None

    # -- what comes back -----------------------------------------------------------------------------------------

    def next(self) -> Batch:
        """The batch to send now; only while there are full ones."""
        batch = self.full.popleft()
        for delivery in batch.deliveries:
            self._where.pop(delivery.id, None)
        return batch

    def again(self, batch: Batch) -> None:
        """A batch that was taken may go at once, before all others."""
        self.note(batch)
        self.full.appendleft(batch)

    def note(self, batch: Batch) -> None:
        """A batch that waits for its retry."""
        for delivery in batch.deliveries:
            self._where[delivery.id] = batch

    def withdraw(self, delivery_id: int) -> tuple[Delivery, Batch] | None:
        """Take a delivery out of its batch, an empty one goes away; None when it is in none."""
        batch = self._where.pop(delivery_id, None)
        if batch is None:
            return None
        delivery = next(d for d in batch.deliveries if d.id == delivery_id)
        batch.deliveries.remove(delivery)
        if delivery_id in batch.resting:
            self._queue.awake(delivery)
        place = self._keys.get(delivery.order_key)
        if place is not None and all(d.order_key != delivery.order_key for d in batch.deliveries):
            del self._keys[delivery.order_key]
        if not batch.deliveries:
            if batch in self.full:
                self.full.remove(batch)
            for at, other in list(self._open.items()):
                if other is batch:
                    del self._open[at]
        return delivery, batch
