"""The hub runs on uvloop where there is one and on asyncio elsewhere: the MLLP adapter is tested on both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, LoopFactory]:
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.SelectorEventLoop}
    if item.path.name.startswith(("test_mllp", "test_tcp", "test_astm_line")):
        try:
            import uvloop
        except ImportError:
            return factories
        factories["uvloop"] = uvloop.new_event_loop
    return factories
