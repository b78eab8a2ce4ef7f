"""The SQLite store of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from hub.contract import StoreConfig
from hub.i18n import language, set_language
from hub.store.sealer import Sealer
from hub.store.sqlite import SqliteStore

SqliteOpener = Callable[..., Awaitable[SqliteStore]]


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture
def sealer() -> Sealer | None:
    """What the stores of :func:`opener` are sealed with; modules that test encryption replace it."""
    return None


@pytest.fixture
async def opener(tmp_path: Path, sealer: Sealer | None) -> AsyncIterator[SqliteOpener]:
    """Opens the store in ``folder`` with the given settings, valid or not; one that is still open is closed first."""
    opened: list[SqliteStore] = []
    usual = sealer

    async def open_store(
        folder: Path | None = None, *, sealer: Sealer | None = usual, **settings: object
    ) -> SqliteStore:
        folder = folder or tmp_path / "store"
        for store in opened:
            if store.folder == folder:
                await store.close()
        config = StoreConfig.model_construct(**{"min_free_disk": 0, **settings})  # type: ignore[arg-type]
        store = SqliteStore(folder, config, sealer=sealer)
        await store.open()
        opened.append(store)
        return store

    yield open_store
    for store in opened:
        await store.close()
