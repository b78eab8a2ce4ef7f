"""The event loop of a process of the hub: how it runs, is told to stop, and collects garbage."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable

from hub.logs import get_logger

__all__ = ["calm_collector", "hold_collector", "start_loop", "stop_event"]


log = get_logger(__name__)

#: Once everything is stopped, threads that still work get so long to end, seconds.
_LEAVE_S = 10.0


def start_loop(main: Callable[[], Awaitable[int]]) -> int:
    """Run on uvloop where there is one; for a process that has nothing else to do: afterwards it ends, see :func:`_leave`."""

    async def run() -> int:
        status = 1
        try:
            status = await main()
        finally:
            threading.Thread(target=_leave, args=(status,), name="leave", daemon=True).start()
        return status

    try:
        import uvloop
    except ImportError:  # not available on this platform
        return asyncio.run(run())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return int(runner.run(run()))


def _leave(status: int) -> None:
    """End the process whatever still hangs in a thread: the loop and the interpreter wait for threads of pools without a limit.

    A driver that waits for a network that is gone, or a file system that does not answer, would keep the hub from being started again.
    """
    time.sleep(_LEAVE_S)
    names = [thread.name for thread in threading.enumerate() if not thread.daemon and thread.name != "MainThread"]
    log.error("threads that do not end are left behind: %s", ", ".join(sorted(names)) or "-")
    logging.shutdown()
    os._exit(status)


def stop_event() -> asyncio.Event:
    """Set when the process is told to end (SIGTERM, Ctrl-C)."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, event.set)
    return event


def hold_collector() -> None:
    """Until :func:`calm_collector`, or for a whole command: what is loaded stays, and there is much of it to be walked for nothing."""
    gc.set_threshold(200_000, 50, 50)


def calm_collector() -> None:
    """Keep the cyclic collector from walking what lives as long as the process.

    Contracts, compiled mappings and modules are set aside once; after that a young collection comes every few thousand messages
    instead of every hundred, and the cycles a message leaves are few and small.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
