"""What the running hub does about its audit trail: starts and stops told, heads signed, copies made, old entries archived.

One process of a hub has a keeper: the only one, or the supervisor of the workers. All of it runs in threads.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub.audit.archiving import Archived, archive_chain, forget_old
from hub.audit.checkpoint import checkpoint_entry, read_checkpoint
from hub.audit.config_state import config_state
from hub.audit.copies import make_copy
from hub.audit.exporter import Cursors, Exporter
from hub.audit.signing import Signer, Verifier
from hub.audit.sources import HUB, Source, sources
from hub.audit.trail import Trail
from hub.contract import HubConfig
from hub.errors import HubError
from hub.i18n import t
from hub.keys.opened import close_key_store
from hub.logs import get_logger
from hub.tasks import end

__all__ = ["AuditKeeper"]

log = get_logger(__name__)

#: Seconds between two looks whether a checkpoint is due, between two rounds of archiving, and that copies get at a stop.
LOOK_S = 2.0
ARCHIVE_EVERY_S = 6 * 3600.0
STOP_S = 5.0


class AuditKeeper:
    """Checkpoints, export, archives of the hub's own chain; ``trail`` is where everybody in this process writes."""

    def __init__(self, config_file: Path, config: HubConfig, data: Path) -> None:
        self.trail = Trail(data)
        self.config = config.audit
        self._hub = config
        self._file = config_file
        self.base = config_file.parent
        self._data = data
        self._signer = Signer(config, config_file.parent)
        self._cursors: Cursors | None = None
        self._exporters: list[Exporter] = []
        self._task: asyncio.Task[None] | None = None
        self._heads: dict[str, tuple[int, str]] = {}  # at the last checkpoint
        self._checkpoint_at = 0.0
        self._due_since = 0.0
        self._lock = asyncio.Lock()
        self._trouble = ""
        #: Writes down what is still being counted: what is over, or, at a stop, everything.
        self.settle: Callable[[bool], None] = lambda everything: None

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self, version: str, workers: int = 1) -> None:
        """Tell of the start, make the first checkpoint, begin. Raises :class:`HubError`: no hub runs unaudited."""
        await asyncio.to_thread(self._start, version, workers)
        self._task = asyncio.create_task(self._run(), name="audit")

    def _start(self, version: str, workers: int) -> None:
        for problem in self.set_back():
            log.error("%s", problem)
            self.trail.record("hub", "audit.broken", "checkpoint", problem, result="failed")
        state = config_state(self._file)
        detail = {
            "version": version,
            "workers": workers,
            "pid": os.getpid(),
            "config": state.whole,
            "files": len(state.files),
        }
        self.trail.record("hub", "hub.start", self._hub.name, detail)
        if self.config.export:
            self._cursors = Cursors(self._data)
        for name, where in self.config.export.items():
            assert self._cursors is not None  # noqa: S101 - just made
            copy = make_copy(where, self._file.parent)
            exporter = Exporter(name, copy, self.chains, self._cursors, what=where.what)
            self._exporters.append(exporter)
            exporter.start()
        self.checkpoint()

    async def stop(self) -> None:
        """The last entry and the last checkpoint, copied where that is possible at once; everything is closed."""
        await end(self._task)
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        try:
            if self._task is not None:
                self.settle(True)
                self.trail.record("hub", "hub.stop", self._hub.name, {"pid": os.getpid()})
                self.checkpoint()
        except HubError as error:
            log.error("%s", error)
        for exporter in self._exporters:
            exporter.stop(STOP_S)
        if self._cursors is not None:
            self._cursors.close()
        self.trail.close()
        close_key_store(self._hub.keys, self._file.parent)

    async def _run(self) -> None:
        archive_at = time.monotonic() + 60.0
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await asyncio.to_thread(self.settle, False)
                if await asyncio.to_thread(self._due):
                    await asyncio.to_thread(self.checkpoint)
                if time.monotonic() >= archive_at:
                    archive_at = time.monotonic() + ARCHIVE_EVERY_S
                    await self.archive()
                self._trouble = ""
            except Exception as error:  # of the disk, most likely; entries of later must be signed as well
                text = error.text if isinstance(error, HubError) else str(error)
                if text != self._trouble:
                    log.error("audit trail: %s", text)
                self._trouble = text

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def chains(self) -> list[Source]:
        """All chains of this deployment."""
        return sources(self._hub, self._file.parent, self._data)

    def heads(self) -> dict[str, tuple[int, str]]:
        """Number and hash of the last row of every chain that has one."""
        found = {}
        for source in self.chains():
            db = source.open()
            if db is None:
                continue
            try:
                head = source.head(db)
            finally:
                db.close()
            if head[0]:
                found[source.name] = head
        return found

    def checkpoint(self) -> None:
        """Sign what there is. Raises :class:`~hub.audit.errors.AuditUnwritable`."""
        self._signer.prepare()
        heads = self.heads()
        self.trail.append(checkpoint_entry(heads, self._signer))
        self._heads = self.heads()  # with the checkpoint itself, and what using the key has left
        self._checkpoint_at = time.time()
        self._due_since = 0.0

    def _due(self) -> bool:
        """Are there enough new entries, or have some been there for long enough?"""
        heads = self.heads()
        new = sum(max(0, seq - self._heads.get(name, (0, ""))[0]) for name, (seq, _) in heads.items())
        if not new:
            return False
        now = time.monotonic()
        self._due_since = self._due_since or now
        return new >= self.config.checkpoint.entries or now - self._due_since >= self.config.checkpoint.every

    def set_back(self) -> list[str]:
        """Chains that no longer have what the last checkpoint says of them."""
        own = next(source for source in self.chains() if source.name == HUB)
        last = None
        for row in own.live():
            last = read_checkpoint(row["entry"]) or last
        if last is None:
            return []
        problems = []
        for source in self.chains():
            seq, digest = last.heads.get(source.name, (0, ""))
            if not seq:
                continue
            db = source.open()
            page = source.page(db, seq - 1, 1) if db is not None else []
            head = source.head(db)[0] if db is not None else 0
            if db is not None:
                db.close()
            if head < seq or (page and page[0]["seq"] == seq and page[0]["hash"] != digest):
                problems.append(
                    t(
                        f"audit trail: chain {source.name} no longer has entry {seq} of the last checkpoint -> hub audit verify",
                        f"审计记录：链 {source.name} 已没有上一检查点所载的条目 {seq} -> hub audit verify",
                    )
                )
        return problems

    # -- archives ------------------------------------------------------------------------------------------------

    async def archive(self, older_than: float | None = None) -> list[Archived]:
        """Archive the hub's own chain, and remove from all archives what has been kept long enough."""
        async with self._lock:
            return await asyncio.to_thread(self._archive, older_than)

    def _archive(self, older_than: float | None) -> list[Archived]:
        before = int((time.time() - (self.config.archive_after if older_than is None else older_than)) * 1e6)
        chains = self.chains()
        own = next(source for source in chains if source.name == HUB)
        done = archive_chain(own, before, self._signer)
        if done.last:
            self.trail.trim(done.last)
        verifier = Verifier.of(self._hub, self._file.parent)
        for source in chains:
            forget_old(source, self.config, self.trail, self._signer, verifier)
        return [done]

    # -- for people ----------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What ``hub status`` tells of the trail."""
        return {
            "signed": not self._signer.trouble,
            "trouble": [text for text in (self._signer.trouble, self._trouble) if text],
            "checkpoint_at": self._checkpoint_at,
            "heads": {name: seq for name, (seq, _) in sorted(self._heads.items())},
            "copies": [exporter.status() for exporter in self._exporters],
        }
