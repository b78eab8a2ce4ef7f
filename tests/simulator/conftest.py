from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulator.simulator_support import Played, played


@pytest.fixture
def party() -> Iterator[Played]:
    with played() as found:
        yield found
