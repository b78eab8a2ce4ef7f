"""Looking again and again: at the fate of what was sent, should nobody have told it; at numbers; at what is to be forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from hub.errors import HubError
from hub.flows.keeper import Keeper
from hub.flows.store import FlowStore, Outgoing
from hub.logs import get_logger
from hub.masking import mask_text

__all__ = ["Sweep"]

log = get_logger(__name__)

#: How often the fate of what was sent is looked up although nobody said anything, and of how many at a time.
_SWEEP_S, _SWEPT = 5.0, 200
#: At a start the parts follow each other at once, nearly: events pass between.
_FIRST_S = 0.05
_CLEAN_S = 600.0


class Sweep:
    """``look_at`` takes the id of a message that was sent; ``each`` comes after every round."""

    def __init__(
        self,
        store: FlowStore,
        keeper: Keeper,
        in_thread: Callable[..., Awaitable[Any]],
        look_at: Callable[[int], None],
        each: Callable[[], None],
    ) -> None:
        #: Flow -> state -> number of instances, as it was a moment ago.
        self.counts: dict[str, dict[str, int]] = {}
        self._store = store
        self._keeper = keeper
        self._in_thread = in_thread
        self._look_at = look_at
        self._each = each

    async def run(self) -> None:
        """Ask for the fate of everything that is under way, a part at a time: whatever was not told comes to light.

        At the start all of it at once: what ended while the hub was going down was told to nobody. Until it is cancelled.
        """
        after, first = 0, True
        cleaned = time.monotonic()
        while True:
            try:
                rows: list[Outgoing] = await self._in_thread(self._store.outbox, 1, after, _SWEPT)
                after = rows[-1].seq if len(rows) == _SWEPT else 0
                first = first and bool(after)
                for row in rows:
                    self._look_at(row.message)
                await self._in_thread(self.count)
                if time.monotonic() - cleaned > _CLEAN_S:
                    cleaned = time.monotonic()
                    await self._clean()
                self._each()
            except Exception as error:
                (log.error if isinstance(error, HubError) else log.exception)("flows: %s", mask_text(str(error)))
            await asyncio.sleep(_FIRST_S if first else _SWEEP_S)

    def count(self) -> None:
        """In the thread of the file."""
        counts: dict[str, dict[str, int]] = {}
        for flow, state, number in self._store.counts():
            counts.setdefault(flow, {})[state] = number
        self.counts = counts

    async def _clean(self) -> None:
        """Some at a time, so that events pass between."""
        removed, unclaimed = 1, [""]
        while removed or unclaimed:
            removed, unclaimed = await self._in_thread(self._keeper.clean)
            for message in unclaimed:
                log.warning("flows: message %s came for an instance that never began", message)
