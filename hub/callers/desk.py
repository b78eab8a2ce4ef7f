"""Where orders about callers are carried out: in the hub's process, or with several workers in their supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hub.contract import HubConfig

if TYPE_CHECKING:
    from hub.callers.issuing import CallerCredentials
    from hub.callers.orders import CallerOrders

__all__ = ["CallerDesk"]

T = TypeVar("T")


class CallerDesk:
    """Opened with the first order. ``base`` is the folder of ``hub.yaml``."""

    def __init__(self, config: HubConfig, base: Path, data: Path) -> None:
        self._config = config
        self._base = base
        self._data = data
        self._busy = asyncio.Lock()
        self._open: CallerCredentials | None = None
        self._orders: CallerOrders | None = None

    async def do(self, work: Callable[[CallerOrders, CallerCredentials], T]) -> T:
        """One order, in a thread, after those before it. Raises :class:`hub.errors.HubError`."""
        async with self._busy:
            return await asyncio.to_thread(self._do, work)

    def _do(self, work: Callable[[CallerOrders, CallerCredentials], T]) -> T:
        if self._orders is None or self._open is None:
            from hub.access import AccessDatabase  # not with the command line, which needs none of it
            from hub.callers.issuing import CallerCredentials
            from hub.callers.opened import caller_secrets
            from hub.callers.orders import CallerOrders
            from hub.callers.schema import SCHEMA
            from hub.callers.traffic import Traffic

            database = AccessDatabase(self._data, [SCHEMA])
            secrets = caller_secrets(self._config, self._base, self._data)
            self._orders = CallerOrders(database, Traffic(self._data), secrets)
            self._open = CallerCredentials(self._orders)
        return work(self._orders, self._open)

    def close(self) -> None:
        if self._orders is not None:
            self._orders.traffic.close()
            self._orders.database.close()
            self._orders = self._open = None
