"""All targets of one worker: starting, stopping and replacing them while messages flow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hub.api import Bound, Sender
from hub.contract import DeliveryConfig
from hub.delivery.asking import TakesIn
from hub.delivery.budget import Budget
from hub.delivery.collecting import CollectingTarget
from hub.delivery.plan import Plan, World
from hub.delivery.target import Settled, Target
from hub.logs import get_logger
from hub.message import Awaited, Delivery
from hub.metrics import Metrics
from hub.store.base import Store
from hub.tasks import end, stopped

if TYPE_CHECKING:
    from hub.checking.service import CheckService
    from hub.delivery.lookups import Lookups

__all__ = ["DeliveryEngine"]

log = get_logger(__name__)

SWEEP_S = 1.0
#: Time calls under way get when a target begins, or ceases, to collect; the others go on from the store.
REPLACE_GRACE_S = 10.0
#: Beyond its grace a target may take so long to stop, seconds.
LATE_S = 15.0


class DeliveryEngine:
    """Owns the targets; deliveries come in by :meth:`offer` right after the commit that made them durable."""

    def __init__(
        self,
        store: Store,
        config: DeliveryConfig,
        metrics: Metrics,
        make_sender: Callable[[Bound], Sender],
        *,
        keep_bodies: bool = True,
    ) -> None:
        self.targets: dict[str, Target] = {}
        self.lookups: Lookups | None = None  # set before the first target is added
        self.intake: TakesIn | None = None  # set before the first target is added
        self.checking: CheckService | None = None  # set before an interface that has checks is used
        self.on_awaited: Callable[[Awaited], None] | None = None  # told of what is committed as awaiting a later answer
        self.on_settled: Settled | None = None  # told of every delivery that is final, once that is committed
        self._store = store
        self._config = config
        self._metrics = metrics
        self._make_sender = make_sender
        self._keep_bodies = keep_bodies
        self._budget = Budget(config.window_bytes)
        self._sweeper: asyncio.Task[None] | None = None
        self._backlog: dict[str, int] = {}

    async def start(self, outbound: Mapping[str, Bound], world: World) -> dict[str, Exception]:
        """Start every target; what earlier runs left open is delivered first, in order.

        Returns those that could not be started, with the reason; their deliveries wait in the store.
        """
        self._backlog = await self._store.open_targets()
        failed: dict[str, Exception] = {}
        for place, bound in outbound.items():
            try:
                await self.add(bound, world)
            except Exception as error:  # a bad certificate, or a bug of the adapter: its own target's misfortune
                failed[place] = error
        for place, count in self._backlog.items():
            if place not in outbound:
                log.warning("%d deliveries wait for %s, which is not configured", count, place)
        self._sweeper = asyncio.create_task(self._sweep(), name="delivery sweeper")
        return failed

    def plan(self, bound: Bound, world: World) -> Plan:
        return Plan(bound, world, self._config.retry, self.checking, self.lookups)

    async def add(self, bound: Bound, world: World) -> None:
        """Bring up a target that was not there before."""
        kind = Target if bound.contract.collect is None else CollectingTarget
        target = kind(
            self.plan(bound, world),
            self._make_sender(bound),
            self._store,
            window=self._config.window,
            budget=self._budget,
            stats=self._metrics.outbound(bound.place),
            keep_bodies=self._keep_bodies,
            intake=self.intake,
        )
        target.on_awaited = self._awaited
        target.on_settled = self.on_settled
        await target.start(backlog=bool(self._backlog.get(bound.place)))
        self._backlog.pop(bound.place, None)
        self.targets[bound.place] = target

    async def replace(self, bound: Bound, world: World, *, keep_sender: bool) -> None:
        """Use the new plan from the next attempt on; with other connection options, new connections as well."""
        target = self.targets[bound.place]
        if isinstance(target, CollectingTarget) is (bound.contract.collect is None):
            await self.remove(bound.place, REPLACE_GRACE_S)
            await self.add(bound, world)
            self.targets[bound.place].waiters.update(target.waiters)
            return
        old = target.sender
        if keep_sender:
            target.replan(self.plan(bound, world), old)
            return
        sender = self._make_sender(bound)
        await sender.start()
        target.replan(self.plan(bound, world), sender)
        await target.drained()
        await stopped(bound.place, old.stop(), REPLACE_GRACE_S)

    async def remove(self, place: str, grace: float) -> None:
        """Take a target away; what is open stays in the store and is delivered should the target come back."""
        target = self.targets.pop(place)
        await stopped(place, target.stop(grace), grace + LATE_S)
        self._backlog[place] = 1

    def offer(self, delivery: Delivery, waiter: Settled | None = None) -> None:
        """Hand over a delivery that has just been committed; must be called in id order."""
        target = self.targets.get(delivery.target)
        if target is not None:
            target.offer(delivery, waiter)
        else:
            self._backlog[delivery.target] = self._backlog.get(delivery.target, 0) + 1

    def watch_settled(self, told: Settled | None) -> None:
        """Tell somebody of every delivery that is final."""
        self.on_settled = told
        for target in self.targets.values():
            target.on_settled = told

    def _awaited(self, awaited: Awaited) -> None:
        if self.on_awaited is not None:
            self.on_awaited(awaited)

    def insist(self, delivery: Delivery) -> None:
        """An operator set this delivery going again."""
        target = self.targets.get(delivery.target)
        if target is not None:
            target.insist(delivery)
        else:
            self._backlog[delivery.target] = self._backlog.get(delivery.target, 0) + 1

    def withdraw(self, delivery: Delivery) -> bool:
        """Keep a delivery from being sent; False when it is being sent at this moment."""
        target = self.targets.get(delivery.target)
        return True if target is None else target.withdraw(delivery.id)

    def settled(self, delivery: Delivery) -> None:
        """What an operator did with a withdrawn delivery is committed."""
        target = self.targets.get(delivery.target)
        if target is not None:
            target.settled(delivery.id)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            for target in self.targets.values():
                target.sweep(now)

    async def stop(self, grace: float) -> None:
        """Stop every target; calls under way get ``grace`` seconds."""
        await end(self._sweeper)
        await asyncio.gather(*(stopped(place, t.stop(grace), grace + LATE_S) for place, t in self.targets.items()))
        if self.lookups is not None:
            await self.lookups.stop()
