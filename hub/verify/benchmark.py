"""A figure for what a plugin can do on this machine: messages a second through hub and simulated party."""

from __future__ import annotations

import asyncio
import time

from hub.i18n import t
from hub.message import DeliveryState
from hub.verify.model import Result, Status
from hub.verify.outcomes import outcome_words
from hub.verify.rig import RigError
from hub.verify.talk import Talk, tried

__all__ = ["MESSAGES", "benchmark"]

#: Messages of one measurement.
MESSAGES = 200


async def benchmark(talk: Talk, outs: list[str]) -> list[Result]:
    """Each interface by itself; ``outs``: those that made a round trip. Nothing is demanded of the figure."""
    results = [await _sent(talk, name) for name in outs]
    for name, contract in talk.party.interfaces.items():
        # Of a source the schedule sets the pace.
        if contract.direction == "in" and name in talk.simulator.interfaces and name not in talk.simulator.sources:
            results.append(await _received(talk, name))
    return results or [Result("benchmark", Status.SKIPPED, "", t("nothing can be called", "没有可调用的接口"))]


async def _sent(talk: Talk, interface: str) -> Result:
    async def work() -> str:
        begun = time.perf_counter()
        handed = await asyncio.gather(*(talk.rig.hand_in(talk.party, interface) for _ in range(MESSAGES)))
        for one in handed:
            await talk.rig.ended(one)
        took = time.perf_counter() - begun
        bad = next((one for one in handed if one.state is not DeliveryState.DELIVERED), None)
        if bad is not None:
            raise RigError(outcome_words(bad))
        return _told(took)

    return await tried("benchmark", interface, work)


async def _received(talk: Talk, interface: str) -> Result:
    place = talk.party.place(interface)

    async def work() -> str:
        host, port = talk.rig.address(place)
        adapter = talk.contract(interface).adapter
        to = f"{adapter if adapter == 'mllp' else 'http'}://{host}:{port}"
        begun = time.perf_counter()
        for _ in range(MESSAGES // 10):
            replies = await asyncio.gather(*(talk.simulator.send(interface, to) for _ in range(10)))
            bad = next((reply for reply in replies if not reply.ok), None)
            if bad is not None:
                raise RigError(f"{bad.code} {bad.error}".strip())
        return _told(time.perf_counter() - begun)

    return await tried("benchmark", interface, work)


def _told(took: float) -> str:
    return t(f"{MESSAGES / took:.0f} messages/s, simulated party included", f"{MESSAGES / took:.0f} 条/秒（含模拟方）")
