"""What runs beside: it goes on whatever fails, and ends whatever hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from hub.logs import get_logger
from hub.masking import mask_text

__all__ = ["END_S", "again", "end", "stopped"]

log = get_logger(__name__)

#: What has not ended after so long is left behind, seconds.
END_S = 10.0


async def again(name: str, work: Callable[[], Awaitable[object]], every: float, *, first: float = 0.0) -> None:
    """Do something every so many seconds, ``first`` seconds from now on, until cancelled.

    What fails is logged and done again: what cares for the hub must not end unseen, because a disk was full for a moment.
    """
    await asyncio.sleep(first)
    while True:
        try:
            await work()
        except Exception as error:
            log.error("%s failed: %s", name, mask_text(repr(error)), exc_info=error)
        await asyncio.sleep(every)


async def end(*tasks: asyncio.Task[None] | None, within: float = END_S) -> None:
    """Cancel tasks and wait until they have ended. What one of them failed with is logged and keeps nobody from ending.

    Code of others may swallow a cancellation (``asyncio.wait_for`` of Python 3.11 does so when it meets the end of what is waited
    for): after half of ``within``, seconds, tasks are cancelled once more, after all of it named in the log and left behind.

    A cancellation of the caller is never taken for that of a task, as ``suppress(CancelledError)`` around the task would.
    """
    wanted = {task for task in tasks if task is not None}
    left = wanted
    for _ in range(2):
        for task in left:
            task.cancel()
        if left:
            _, left = await asyncio.wait(left, timeout=within / 2)
    for task in left:
        log.error("%s does not end and is left behind", task.get_name())
        task.add_done_callback(_hear)
    for task in wanted - left:
        _tell(task, task.get_name())


async def stopped(name: str, work: Coroutine[Any, Any, None], within: float) -> None:
    """Let something stop, at most ``within`` seconds: neither its failure nor its hanging keeps the others from stopping."""
    task = asyncio.create_task(work, name=f"stop {name}")
    try:
        await asyncio.wait([task], timeout=within)
    finally:
        over = task.done()
        if not over:
            task.cancel()
            task.add_done_callback(_hear)
    if over:
        _tell(task, name)
    else:
        log.error("%s did not stop within %g s and is left behind", name, within)


def _hear(task: asyncio.Future[None]) -> None:
    """Of one that was left behind, and told of: it is no news how it ends."""
    if not task.cancelled():
        task.exception()


def _tell(task: asyncio.Future[None], name: str) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("%s failed: %s", name, mask_text(repr(error)), exc_info=error)
