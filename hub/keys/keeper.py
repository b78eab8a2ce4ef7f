"""What the running hub does about keys by itself: rotates its own, records what was used, tells what expires.

Each worker has a keeper; what only one of them may do is decided within the key store's transactions. All of it runs in a thread,
since it reads and writes files.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric

from hub.api import Bound
from hub.errors import HubError
from hub.keys.config import KeysConfig
from hub.keys.expiry import Notice, certificate_files, expiring, file_notices
from hub.keys.opened import close_key_store, key_store, key_store_exists
from hub.logs import get_logger
from hub.tasks import again

if TYPE_CHECKING:
    from hub.keys.store import KeyStore

__all__ = ["KeyKeeper"]

log = get_logger(__name__)

#: Seconds between two rounds, between two records of what was used, and between two warnings about the same thing.
EVERY_S = 30.0
USES_EVERY_S = 600.0
WARN_EVERY_S = 86400.0


class KeyKeeper:
    """``bounds`` gives the interfaces that run, whose certificates are watched. Of several workers one ``warns`` in its log."""

    def __init__(
        self,
        config: KeysConfig,
        base: Path,
        bounds: Callable[[], Iterable[Bound]],
        *,
        warns: bool = True,
        every: float = EVERY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._base = base
        self._bounds = bounds
        self._warns = warns
        self._every = every
        self._clock = clock
        self._notices: list[Notice] = []
        self._trouble: HubError | None = None
        self._told: dict[tuple[str, str, int], float] = {}
        self._uses_at = clock() + USES_EVERY_S

    def expiring(self) -> list[Notice]:
        """What is due, as of the last round; alerts ask here."""
        return self._notices

    @property
    def trouble(self) -> HubError | None:
        """Why the key store, or what was changed in it, can't be used; None while all is well."""
        return self._trouble

    async def run(self) -> None:
        """Until cancelled."""
        await again("keys", partial(asyncio.to_thread, self.round), self._every)

    def close(self) -> None:
        """Record what was used, and forget every key."""
        close_key_store(self._config, self._base)

    def round(self) -> None:
        """Once everything that is due. Never raises: a key store in trouble must not stop what runs without it."""
        now = self._clock()
        notices: list[Notice] = []
        try:
            store = self._store()
            self._trouble = None
            if store is not None:
                store.refresh()
                self._keep(store, now)
                notices += expiring(store.content, now)
                self._trouble = store.trouble
        except HubError as error:
            if self._trouble is None or self._trouble.text != error.text:
                log.error("key store: %s", error)
            self._trouble = error
        notices += file_notices(certificate_files(self._bounds()), now, self._config.warn_days)
        self._notices = notices
        if self._warns:
            self._tell(notices, now)

    def _store(self) -> KeyStore | None:
        return key_store(self._config, self._base) if key_store_exists(self._config, self._base) else None

    def _keep(self, store: KeyStore, now: float) -> None:
        from hub.keys.orders import Orders  # most hubs have no keys

        for version in Orders(store, actor="hub").rotate_due():
            log.info("key %s is rotated: version %d is active", version.name, version.number)
        if now >= self._uses_at:
            self._uses_at = now + USES_EVERY_S
            store.flush_uses()

    def _tell(self, notices: list[Notice], now: float) -> None:
        told: dict[tuple[str, str, int], float] = {}
        for notice in notices:
            name = (notice.what, notice.name, notice.version)
            at = self._told.get(name, 0.0)
            if now - at >= WARN_EVERY_S:
                at = now
                level = log.error if notice.urgent else log.warning
                level("%s -> %s", notice.text, notice.remedy)
            told[name] = at
        self._told = told

    def families(self) -> Iterator[Metric]:
        """Figures for Prometheus: seconds until what is due, negative when it is past; 1 while the store is in trouble."""
        family = GaugeMetricFamily(
            "tongqu_key_due_seconds", "Seconds until a key or certificate is due.", labels=("name", "version", "what")
        )
        now = self._clock()
        for notice in self._notices:
            family.add_metric((notice.name, str(notice.version), notice.what), notice.at - now)
        yield family
        yield GaugeMetricFamily(
            "tongqu_key_store_trouble", "1 while the key store can't be used.", value=float(self._trouble is not None)
        )
