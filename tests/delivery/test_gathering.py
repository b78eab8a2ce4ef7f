"""Gathering against a model: every delivery goes once, in the order of its key, and no key is in two batches at once."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.contract import CollectRule
from hub.delivery.collect_queue import CollectQueue
from hub.delivery.gathering import Batch, Gatherer
from hub.message import Delivery, DeliveryState


def delivery(number: int, key: str) -> Delivery:
    # Ids this low are of 1970: none waits for others.
    return Delivery(id=number, message_id=number, route="r", target="t/x", order_key=key)


class World:
    """A target driven by chance: what comes, how calls end, what operators take away."""

    def __init__(self, rule: CollectRule, seed: int) -> None:
        self.rule = rule
        self.queue = CollectQueue(10_000)
        self.gatherer = Gatherer(self.queue, self.group)
        self.gatherer.most = rule.messages
        self.chance = random.Random(seed)
        self.flying: list[Batch] = []
        self.gone: dict[str, list[int]] = defaultdict(list)
        self.withdrawn: set[int] = set()
        self.sizes: list[int] = []

    async def group(self, delivery: Delivery) -> str:
        await asyncio.sleep(0)
        return str(delivery.message_id % 2) if self.rule.by else ""

    async def step(self) -> None:
        do = self.chance.random()
        if do < 0.4:
            await self.gatherer.gather(self.rule, lambda delivery: None)
        elif do < 0.7 and self.gatherer.full:
            batch = self.gatherer.next()
            keys = {d.order_key for d in batch.deliveries if d.order_key}
            assert not keys & {d.order_key for other in self.flying for d in other.deliveries}
            self.sizes.append(len(batch.deliveries))
            self.flying.append(batch)
        elif self.flying:
            self.end(self.flying.pop(self.chance.randrange(len(self.flying))))

    def end(self, batch: Batch) -> None:
        how = self.chance.random()
        if how < 0.2:
            self.gatherer.again(batch)
            return
        final, back = batch.deliveries, []
        if how < 0.4:  # only the first of them fit
            cut = self.chance.randrange(1, len(batch.deliveries) + 1)
            final, back = batch.deliveries[:cut], batch.deliveries[cut:]
            for delivery in back:
                delivery.state = DeliveryState.PENDING
        self.queue.give_back(back)
        for delivery in final:
            self.gone[delivery.order_key].append(delivery.id)
            self.queue.release(delivery)

    def withdraw(self, number: int) -> None:
        found = self.gatherer.withdraw(number)
        if found is not None:
            self.queue.release(found[0])
            self.withdrawn.add(number)
        elif self.queue.withdraw(number) is not None:
            self.withdrawn.add(number)


@settings(max_examples=120, deadline=None)
@given(
    keys=st.lists(st.sampled_from(["", "a", "b", "c", "*"]), max_size=120),
    messages=st.integers(1, 12),
    alone=st.booleans(),
    by=st.sampled_from(["", "x"]),
    seed=st.integers(0, 2**32),
)
def test_everything_goes_once_and_in_order(keys: list[str], messages: int, alone: bool, by: str, seed: int) -> None:
    items = {"each": "x", "success": "y"} if alone else None
    rule = CollectRule.model_validate({"messages": messages, "within": 0, "by": by, "items": items})

    async def run() -> World:
        world = World(rule, seed)
        for number, key in enumerate(keys, 1):
            world.queue.offer(delivery(number, key))
            if world.chance.random() < 0.6:
                await world.step()
            if world.chance.random() < 0.05:
                world.withdraw(world.chance.randrange(1, number + 1))
        for _ in range(100 * (len(keys) + 10)):
            if not len(world.queue):
                break
            await world.step()
        return world

    world = asyncio.run(run())
    assert not len(world.queue), "deliveries were left behind"
    went = [number for numbers in world.gone.values() for number in numbers]
    assert sorted([*went, *world.withdrawn]) == list(range(1, len(keys) + 1))
    for key, numbers in world.gone.items():
        if key:
            assert numbers == sorted(numbers), key
    assert all(size <= messages for size in world.sizes)
