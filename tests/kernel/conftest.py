"""Hubs of a test; when it is over, each one's ledger must balance and its files must be sound."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from hub.i18n import language, set_language
from tests.kernel.kernel_support import Hub, Site

StartHub = Callable[[Site], Awaitable[Hub]]


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)


class _NoIndexer:
    """In the place of the indexer's process, whose own tests are elsewhere: an interpreter per test would be most of the time."""

    def __init__(self, *arguments: object, **options: object) -> None:
        pass

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return


@pytest.fixture
def without_indexer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.node.IndexerProcess", _NoIndexer)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
async def start(without_indexer: None) -> AsyncIterator[StartHub]:
    hubs: list[Hub] = []

    async def start_hub(site: Site) -> Hub:
        hub = Hub(site)
        hubs.append(hub)
        return await hub.start()

    yield start_hub
    for hub in hubs:
        await hub.stop(0.5)
    for site in {id(hub.site): hub.site for hub in hubs}.values():
        await site.audited()
