"""English texts, no process that builds search indexes, and hubs that are stopped and audited at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.flows.flow_support import FlowHub
from tests.kernel.conftest import _english, without_indexer
from tests.kernel.kernel_support import Site

__all__ = ["StartFlows", "_english", "without_indexer"]

StartFlows = Callable[[Site], Awaitable[FlowHub]]


@pytest.fixture
async def start(without_indexer: None) -> AsyncIterator[StartFlows]:
    hubs: list[FlowHub] = []

    async def begin(site: Site) -> FlowHub:
        hub = FlowHub(site)
        hubs.append(hub)
        await hub.start()
        return hub

    yield begin
    for hub in hubs:
        await hub.stop(0.5)
    for site in {id(hub.site): hub.site for hub in hubs}.values():
        await site.audited()
