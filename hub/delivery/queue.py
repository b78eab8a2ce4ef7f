"""The queue of one target: arrival order within an ordering key, no order and no waiting between keys.

Only a window of the target's open deliveries is in memory; the rest waits in the store. The queue says which ones it did not
take (``behind``) and the feeder (:mod:`hub.delivery.feeder`) brings them when there is room. Everything here is plain
bookkeeping on the event loop: no I/O, no clock.
"""

from __future__ import annotations

from collections import deque

from hub.message import Delivery

__all__ = ["KeyedQueue"]

#: Followers of a key that is waiting for a retry which stay in memory; more would fill the window and stop other keys.
PARK_ABOVE = 32
#: Deliveries waiting for a retry do not count against the window, or they would stop other keys; but memory is finite.
WAITING_WINDOWS = 20


class KeyedQueue:
    """Deliveries of one target that are in memory.

    A delivery is *ready* (may be sent now), *following* (an earlier one of its key is not final yet) or *taken* (being sent or
    waiting for its retry). A key whose followers were left in the store is *parked*; the feeder loads them when the
    key's turn comes (``wanted``).
    """

    __slots__ = (
        "_followers",
        "_missed",
        "_parked",
        "_waiting",
        "_waiting_count",
        "behind",
        "cursor",
        "ids",
        "missed",
        "ready",
        "wanted",
        "window",
    )

    def __init__(self, window: int) -> None:
        self.window = window
        self.ready: deque[Delivery] = deque()
        self.ids: set[int] = set()
        self.cursor = 0  # every delivery with a lower id was taken at some time, unless its key is parked
        self.behind = False  # the store holds open deliveries above the cursor that are not in memory
        self.missed = False  # one was refused since the feeder last began to read
        self.wanted: deque[str] = deque()  # parked keys whose turn has come
        self._followers: dict[str, deque[Delivery] | None] = {}  # busy keys; None while nobody follows
        self._waiting: set[str] = set()  # keys whose head waits for a retry
        self._waiting_count = 0
        self._parked: set[str] = set()
        self._missed: set[str] = set()  # parked keys that got another follower since the feeder began to read

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def moving(self) -> int:
        """Deliveries in memory that do not wait for a retry."""
        return len(self.ids) - self._waiting_count

    @property
    def full(self) -> bool:
        return self.moving >= self.window or len(self.ids) >= self.window * WAITING_WINDOWS

    def offer(self, delivery: Delivery) -> bool:
        """Take a delivery that has just been committed. False: it stays in the store for the feeder.

        One whose id the feeder has passed already (an operator's, made before others and committed after them) is
        taken in any case: the feeder would not find it.
        """
        if delivery.id < self.cursor:
            return self.add(delivery)
        if self.behind or self.full:
            self.behind = self.missed = True
            return False
        self.cursor = delivery.id
        return self.add(delivery)

    def add(self, delivery: Delivery) -> bool:
        """Take a delivery whatever the window says. False: its key is parked, or it is here already."""
        key = delivery.order_key
        if delivery.id in self.ids:
            return False
        if key in self._parked:
            self._missed.add(key)
            return False
        if key:
            if key in self._followers:
                line = self._followers[key]
                if line is None:
                    self._followers[key] = line = deque()
                if key in self._waiting and len(line) >= PARK_ABOVE and not delivery.parent:
                    self._parked.add(key)
                    return False
                if line and line[-1].id > delivery.id and not line[-1].parent:
                    # An operator's: it takes the place it would have had, before what arrived later.
                    later = next(n for n, other in enumerate(line) if other.id > delivery.id and not other.parent)
                    line.insert(later, delivery)
                else:
                    line.append(delivery)
                self.ids.add(delivery.id)
                return True
            self._followers[key] = None
        self.ids.add(delivery.id)
        self.ready.append(delivery)
        return True

    def put_back(self, delivery: Delivery) -> None:
        """A delivery that was taken may be sent again at once; it keeps its place before all others of its key."""
        self.ready.appendleft(delivery)

    def wait(self, delivery: Delivery) -> None:
        """The delivery waits for its retry; its key stays closed. Followers beyond a few go back to the store.

        Parts of a split stay: read again in id order, they would come behind what their parent was before.
        """
        self._waiting_count += 1
        key = delivery.order_key
        if not key:
            return
        self._waiting.add(key)
        line = self._followers.get(key)
        if line is not None and len(line) > PARK_ABOVE and not line[-1].parent:
            while len(line) > PARK_ABOVE and not line[-1].parent:
                self.ids.discard(line.pop().id)
            self._parked.add(key)

    def due(self, delivery: Delivery) -> None:
        """The pause before the retry is over."""
        self._waiting_count -= 1
        self._waiting.discard(delivery.order_key)
        self.ready.append(delivery)

    def insert_next(self, parent: Delivery, children: list[Delivery]) -> None:
        """Put the parts of a split before everything else of the key; call before :meth:`release` of the parent."""
        self.ids.update(child.id for child in children)
        key = parent.order_key
        if not key:
            self.ready.extend(children)
            return
        line = self._followers.get(key)
        if line is None:
            self._followers[key] = line = deque()
        line.extendleft(reversed(children))

    def release(self, delivery: Delivery) -> None:
        """The delivery is final (or withdrawn): the next of its key is ready."""
        self.ids.discard(delivery.id)
        key = delivery.order_key
        if not key:
            return
        line = self._followers.get(key)
        if line:
            self.ready.append(line.popleft())
        elif key in self._parked:
            # The key stays closed until the feeder has loaded its followers, so that nothing overtakes them.
            self.wanted.append(key)
        else:
            self._followers.pop(key, None)

    def loading(self, key: str) -> None:
        """The feeder begins to read the followers of a wanted key."""
        self._missed.discard(key)

    def unpark(self, key: str, deliveries: list[Delivery], more: bool) -> None:
        """Open deliveries of a wanted key, loaded from the store in id order; ``more``: there are further ones."""
        complete = not more and key not in self._missed
        if complete:
            self._parked.discard(key)
        fresh = [d for d in deliveries if d.id not in self.ids]
        self.ids.update(d.id for d in fresh)
        if fresh:
            self.ready.append(fresh[0])
            self._followers[key] = deque(fresh[1:]) if len(fresh) > 1 else None
        elif complete:
            self._followers.pop(key, None)  # an operator took them out of the way: the key is open
        else:
            self.wanted.append(key)

    def withdraw(self, delivery_id: int) -> Delivery | None:
        """Take a delivery out that is ready or following (an operator holds or ignores it); None if it is neither."""
        if delivery_id not in self.ids:
            return None
        for delivery in self.ready:
            if delivery.id == delivery_id:
                self.ready.remove(delivery)
                self.release(delivery)
                return delivery
        for line in self._followers.values():
            for delivery in line or ():
                if delivery.id == delivery_id and line is not None:
                    line.remove(delivery)
                    self.ids.discard(delivery_id)
                    return delivery
        return None
