"""What a plugin must not return, and what must not happen in the hub itself: nothing of it holds a delivery for ever or ends a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from hub.api import Outgoing, Reply
from hub.delivery.target import Target
from hub.message import DeliveryState
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Site
from tests.kernel.wire import DEADLINE

FINAL = {DeliveryState.DELIVERED, DeliveryState.DEAD}
GOOD = Reply(True, b"{}", code="200", status=200)
ODD: dict[str, Callable[[], Any]] = {
    "a body that is text": lambda: Reply(True, "text", code="200", status=200),  # type: ignore[arg-type]
    "a code that is a number": lambda: Reply(True, b"", code=200),  # type: ignore[arg-type]
    "an error that is an exception": lambda: Reply(False, b"", code="4", error=ValueError("no")),  # type: ignore[arg-type]
    "an error with half a character": lambda: Reply(False, b"", code="4", error="\ud800"),
    "no reply": lambda: None,
    "a word": lambda: "done",
}


@pytest.mark.parametrize("odd", ODD)
async def test_every_delivery_comes_to_an_end(site: Site, start: StartHub, odd: str) -> None:
    calls = 0

    async def react(outgoing: Outgoing) -> Any:
        nonlocal calls
        calls += 1
        return ODD[odd]() if calls < 3 else GOOD

    site.target().react = react
    hub = await start(site)
    await hub.send(4)
    end = time.monotonic() + DEADLINE
    found = await hub.deliveries()
    while not {one.state for one in found} <= FINAL:
        assert time.monotonic() < end, [(one.state.word, one.reason) for one in found]
        await asyncio.sleep(0.01)
        found = await hub.deliveries()
    assert sum(one.state is DeliveryState.DELIVERED for one in found) >= 2


async def test_workers_go_on_after_a_mistake_of_the_hub_itself(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, mistakes = Target._call, 20

    def broken(*arguments: Any) -> Any:
        nonlocal mistakes
        mistakes -= 1
        if mistakes > 0:
            raise RuntimeError("a mistake")
        return row(*arguments)

    monkeypatch.setattr(Target, "_call", broken)
    site.target(retry={"attempts": 100, "interval": 0.001, "jitter": 0})
    hub = await start(site)
    await hub.send(10)
    await hub.reached(DeliveryState.DELIVERED, 10)
