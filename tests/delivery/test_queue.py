"""The queue of a target against a model: nothing lost, nothing twice, order kept per key, memory bounded."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.delivery.queue import PARK_ABOVE, WAITING_WINDOWS, KeyedQueue
from hub.message import Delivery


def delivery(number: int, key: str) -> Delivery:
    return Delivery(id=number, message_id=number, route="r", target="t/x", order_key=key)


class World:
    """A store and a worker around one queue, driven by chance."""

    def __init__(self, window: int, seed: int, fail_share: float) -> None:
        self.queue = KeyedQueue(window)
        self.chance = random.Random(seed)
        self.fail_share = fail_share
        self.stored: dict[int, Delivery] = {}  # open deliveries, as the store has them
        self.flying: list[Delivery] = []
        self.waiting: list[Delivery] = []
        self.order: dict[str, list[int]] = defaultdict(list)
        self.largest = 0

    def arrive(self, d: Delivery) -> None:
        self.stored[d.id] = d
        self.queue.offer(d)

    def feed(self) -> None:
        queue = self.queue
        for _ in range(len(queue.wanted)):
            key = queue.wanted.popleft()
            queue.loading(key)
            rows = sorted((d for d in self.stored.values() if d.order_key == key), key=lambda d: d.id)
            queue.unpark(key, rows[:50], len(rows) > 50)
        if queue.behind and not queue.full:
            queue.missed = False
            rows = sorted((d for d in self.stored.values() if d.id > queue.cursor), key=lambda d: d.id)[:20]
            for row in rows:
                queue.cursor = row.id
                queue.add(row)
            if not rows:
                queue.behind = queue.missed

    def step(self) -> None:
        self.largest = max(self.largest, len(self.queue))
        do = self.chance.random()
        if do < 0.5 and self.queue.ready:
            self.flying.append(self.queue.ready.popleft())
        elif do < 0.8 and self.flying:
            d = self.flying.pop(self.chance.randrange(len(self.flying)))
            if self.chance.random() < self.fail_share:
                self.queue.wait(d)
                self.waiting.append(d)
            else:
                self.order[d.order_key].append(d.id)
                del self.stored[d.id]
                self.queue.release(d)
        elif do < 0.9 and self.waiting:
            self.queue.due(self.waiting.pop(self.chance.randrange(len(self.waiting))))
        else:
            self.feed()


@settings(max_examples=150, deadline=None)
@given(
    keys=st.lists(st.sampled_from(["", "a", "b", "c", "*"]), max_size=400),
    window=st.integers(2, 60),
    seed=st.integers(0, 2**32),
    fail_share=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_everything_is_taken_once_and_in_order(keys: list[str], window: int, seed: int, fail_share: float) -> None:
    world = World(window, seed, fail_share)
    for number, key in enumerate(keys, 1):
        world.arrive(delivery(number, key))
        if world.chance.random() < 0.7:
            world.step()
    for _ in range(200 * (len(keys) + 10)):
        if not world.stored:
            break
        world.step()
    assert not world.stored, "deliveries were left behind"
    taken = sorted(number for numbers in world.order.values() for number in numbers)
    assert taken == list(range(1, len(keys) + 1))
    for key, numbers in world.order.items():
        if key:
            assert numbers == sorted(numbers), f"order of {key!r} was broken"
    assert len(world.queue) == 0
    # A page of followers (50 here) may come on top of the window.
    assert world.largest <= window * WAITING_WINDOWS + 50


def test_a_key_that_waits_does_not_hold_up_others() -> None:
    queue = KeyedQueue(100)
    poisoned = delivery(1, "bad")
    queue.offer(poisoned)
    assert queue.ready.popleft() is poisoned
    queue.wait(poisoned)
    for number in range(2, 90):
        queue.offer(delivery(number, "bad"))
    assert len(queue) == 1 + PARK_ABOVE
    assert queue.offer(delivery(95, "good"))
    assert queue.ready.popleft().order_key == "good"


def test_the_parts_of_a_split_go_before_what_follows() -> None:
    queue = KeyedQueue(100)
    parent = delivery(1, "k")
    queue.offer(parent)
    queue.offer(delivery(2, "k"))
    queue.ready.popleft()
    queue.insert_next(parent, [delivery(10, "k"), delivery(11, "k")])
    queue.release(parent)
    seen = []
    while queue.ready:
        d = queue.ready.popleft()
        seen.append(d.id)
        queue.release(d)
    assert seen == [10, 11, 2]


@pytest.mark.parametrize("which", [1, 2, 3])
def test_withdrawing_opens_the_way_for_the_next(which: int) -> None:
    queue = KeyedQueue(100)
    for number in (1, 2, 3):
        queue.offer(delivery(number, "k"))
    withdrawn = queue.withdraw(which)
    assert withdrawn is not None
    assert withdrawn.id == which
    seen = []
    while queue.ready:
        d = queue.ready.popleft()
        seen.append(d.id)
        queue.release(d)
    assert seen == [n for n in (1, 2, 3) if n != which]
    assert queue.withdraw(which) is None
