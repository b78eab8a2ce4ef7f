"""A deployment's trail without a hub, in English."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.i18n import language, set_language
from tests.audit.audit_support import World


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def signed(tmp_path: Path) -> Iterator[World]:
    """With a key store."""
    made = World(tmp_path, keys=True)
    yield made
    made.close()
