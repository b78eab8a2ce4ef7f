"""Options, sizes and hubs of the tests that try to break the main path."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.chaos.rig import HubProcess, Site
from tests.chaos.sink import CheckingSink

StartHub = Callable[..., Awaitable[HubProcess]]
StartSink = Callable[[CheckingSink], Awaitable[CheckingSink]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-rounds", type=int, default=20, help="kills (stalls, full disks) of the long tests")
    parser.addoption("--chaos-seed", type=int, default=0, help="makes the chances of a failed run come out the same")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long versions run only when they are asked for by their mark."""
    if "chaos" in config.getoption("markexpr", ""):
        return
    long = [item for item in items if item.get_closest_marker("chaos")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("chaos")]


@pytest.fixture(params=["quick", pytest.param("long", marks=[pytest.mark.chaos, pytest.mark.timeout(7200)])])
def rounds(request: pytest.FixtureRequest) -> int:
    """How often to do it: a few times in every run of the tests, as often as asked in the long ones."""
    quick = getattr(request.function, "quick_rounds", 1)
    return int(request.config.getoption("--chaos-rounds", 20)) if request.param == "long" else quick


@pytest.fixture
def chance(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> random.Random:
    """Chance that can be had again: the seed is in the report of a failed test."""
    seed = int(request.config.getoption("--chaos-seed", 0)) or random.SystemRandom().randrange(1, 1 << 31)
    record_property("chaos-seed", seed)
    print(f"--chaos-seed={seed}")
    return random.Random(seed)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
async def hubs() -> AsyncIterator[list[HubProcess]]:
    """Hubs that end with the test, whatever becomes of it."""
    started: list[HubProcess] = []
    yield started
    for hub in started:
        await hub.end()


@pytest.fixture
async def sinks() -> AsyncIterator[StartSink]:
    started: list[CheckingSink] = []

    async def start(sink: CheckingSink) -> CheckingSink:
        started.append(sink)
        await sink.start()
        return sink

    yield start
    for sink in started:
        await sink.stop()
