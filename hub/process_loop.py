"""The event loop of a process of the hub: how it runs, is told to stop, and collects garbage."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable

__all__ = ["calm_collector", "hold_collector", "start_loop", "stop_event"]


def start_loop(main: Callable[[], Awaitable[int]]) -> int:
    """Run on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:  # not available on this platform

        async def plain() -> int:
            return await main()

        return asyncio.run(plain())

    async def fast() -> int:
        return await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return int(runner.run(fast()))


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
