"""A simulator on a loop of its own, and calls made to it without the hub's client."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from hub.mapping import MappingLibrary
from hub.registry import Registry
from hub.simulator import Simulator
from hub.simulator.handover import system_of

__all__ = ["GROUPS", "ROOT", "Played", "played", "plugins", "post"]

ROOT = Path(__file__).resolve().parents[2]
#: Folders of the plugins that are played here.
GROUPS = [ROOT / "plugins" / group for group in ("freight", "hospital", "insurance", "messaging", "payment")]
T = TypeVar("T")


@cache
def plugins() -> tuple[Registry, MappingLibrary]:
    registry = Registry.discover(GROUPS)
    return registry, MappingLibrary([ROOT / "mappings"], registry.functions)


class Played:
    """Simulators that listen, driven from tests without a loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._running: list[Simulator] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def start(self, plugin: str, **options: Any) -> Simulator:
        registry, mappings = plugins()
        simulator = self.run(Simulator.start(registry.plugins[plugin], registry, mappings, **options))
        self._running.append(simulator)
        return simulator

    def system(self, plugin: str, simulator: Simulator, folder: Path) -> dict[str, Any]:
        return system_of(plugins()[0].plugins[plugin], simulator, folder)

    def close(self) -> None:
        for simulator in self._running:
            self.run(simulator.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextmanager
def played() -> Iterator[Played]:
    found = Played()
    try:
        yield found
    finally:
        found.close()


def post(
    url: str, body: bytes | dict[str, Any] | None, headers: dict[str, str] | None = None, method: str = "POST"
) -> tuple[int, dict[str, str], bytes]:
    """(status, headers in lower case, body); raises ``OSError`` or ``http.client`` errors where there is no answer."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    given = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data, given if data is not None else headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()
