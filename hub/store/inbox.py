"""The way from the event loop to the writer's thread: what one turn of the loop produced arrives as a whole.

Handing over one by one would wake the thread for the first operation of a turn: it would commit that one alone, and the two
threads would struggle for the interpreter while the turn goes on. A commit costs as much as writing a dozen messages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from queue import SimpleQueue

from hub.store.unit import Operation

__all__ = ["Inbox"]


class Inbox:
    """:meth:`put` belongs to the event loop, :meth:`get` to one other thread."""

    def __init__(self) -> None:
        self._gathered: list[Operation] = []
        self._queue: SimpleQueue[list[Operation]] = SimpleQueue()
        self._taken: deque[Operation] = deque()

    def put(self, operation: Operation) -> None:
        """Add an operation; it is handed over when the loop has dealt with everything that is ready now."""
        gathered = self._gathered
        gathered.append(operation)
        if len(gathered) == 1:
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._queue.put(gathered)

    def get(self, block: bool = True, timeout: float | None = None) -> Operation:
        """The next operation, as ``queue.Queue.get``; raises ``queue.Empty``."""
        taken = self._taken
        if not taken:
            taken.extend(self._queue.get(block, timeout))
        return taken.popleft()
