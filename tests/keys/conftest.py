"""Key stores of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.i18n import language, set_language
from hub.keys.model import Policy
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from tests.keys.keys_support import Clock, source

Open = Callable[..., KeyStore]


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["aes", "sm4"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a new key store, under each cipher."""
    KeyStore.create(tmp_path / "keys", source(tmp_path), cipher=request.param)
    return tmp_path


@pytest.fixture
def reopen(made: Path, clock: Clock) -> Iterator[Open]:
    """Open the store once more."""
    opened: list[KeyStore] = []

    def again() -> KeyStore:
        opened.append(KeyStore(made / "keys", source(made), usual=Policy(), clock=clock))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Open) -> KeyStore:
    return reopen()


@pytest.fixture
def orders(store: KeyStore) -> Orders:
    return Orders(store, actor="li")
