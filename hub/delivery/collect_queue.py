"""The queue of a target that gathers several deliveries into one call."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from hub.delivery.queue import KeyedQueue
from hub.message import Delivery

__all__ = ["CollectQueue"]


class CollectQueue(KeyedQueue):
    """Several deliveries of one ordering key may be taken at once; the next of the key is ready when none of them is any more."""

    __slots__ = ("_taken", "followed")

    def __init__(self, window: int) -> None:
        super().__init__(window)
        self.followed: set[str] = set()  # keys that got a follower since somebody looked
        self._taken: Counter[str] = Counter()  # by key

    def add(self, delivery: Delivery) -> bool:
        added = super().add(delivery)
        if added and delivery.order_key in self._taken:
            self.followed.add(delivery.order_key)
        return added

    def take(self) -> Delivery:
        """The first that is ready."""
        delivery = self.ready.popleft()
        if delivery.order_key:
            self._taken[delivery.order_key] += 1
        return delivery

    def follower(self, key: str) -> Delivery | None:
        """The next of a key of which one is taken."""
        line = self._followers.get(key)
        return line[0] if key and line else None

    def take_follower(self, key: str) -> None:
        line = self._followers.get(key)
        if line:
            line.popleft()
            self._taken[key] += 1

    def release(self, delivery: Delivery) -> None:
        key = delivery.order_key
        left = self._taken[key] - 1
        if left > 0:
            self._taken[key] = left
            self.ids.discard(delivery.id)
        else:
            self._taken.pop(key, None)
            super().release(delivery)

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """What was taken and can't go now keeps its place: before what follows, and ready unless one of its key is still taken."""
        firsts: list[Delivery] = []
        lines: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            key = delivery.order_key
            if key:
                self._taken[key] -= 1
                lines.setdefault(key, []).append(delivery)
            else:
                firsts.append(delivery)
        for key, line in lines.items():
            if self._taken[key] <= 0:
                del self._taken[key]
                firsts.append(line.pop(0))
            waiting = self._followers.get(key)
            if waiting is None:
                self._followers[key] = waiting = deque()
            waiting.extendleft(reversed(line))
        firsts.sort(key=lambda delivery: delivery.id)
        self.ready.extendleft(reversed(firsts))

    def awake(self, delivery: Delivery) -> None:
        """The pause before the retry of one that stays taken is over."""
        self._waiting_count -= 1
        self._waiting.discard(delivery.order_key)
