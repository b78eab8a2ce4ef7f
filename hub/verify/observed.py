"""A hub whose doings can be looked at from outside: what its adapters were given to send, what it logged."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

from hub.api import Bound, Outgoing, Reply, Sender
from hub.node import Node

__all__ = ["MOST_LINES", "LogKeeper", "ObservedNode"]

#: Log lines that are kept; a run that writes more can't say what was not in them.
MOST_LINES = 400_000


class ObservedNode(Node):
    """A hub that notes what its adapters are given to send."""

    def __init__(self, config_file: Path) -> None:
        super().__init__(config_file)
        self.outgoing: dict[int, list[Outgoing]] = defaultdict(list)

    def _make_sender(self, bound: Bound) -> Sender:
        return _Noting(super()._make_sender(bound), self.outgoing)


class _Noting(Sender):
    def __init__(self, inner: Sender, noted: dict[int, list[Outgoing]]) -> None:
        self._inner = inner
        self._noted = noted

    async def start(self) -> None:
        await self._inner.start()

    async def stop(self) -> None:
        await self._inner.stop()

    async def send(self, outgoing: Outgoing) -> Reply:
        self._noted[outgoing.delivery_id].append(outgoing)
        return await self._inner.send(outgoing)

    @property
    def capacity(self) -> int:
        return self._inner.capacity

    async def probe(self) -> str:
        return await self._inner.probe()

    def status(self) -> dict[str, Any]:
        return self._inner.status()


class LogKeeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.lines) < MOST_LINES:
            text = record.getMessage() + ("\n" + record.exc_text if record.exc_text else "")
            self.lines.append((record.pathname, text))
