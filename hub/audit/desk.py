"""The audit trail as the admin API has it: writing for whoever asks something, searching, verifying, exporting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from hub.audit.archiving import Archived
from hub.audit.entries import Result, address
from hub.audit.keeper import AuditKeeper
from hub.audit.repeats import Repeats
from hub.audit.signing import Verifier
from hub.audit.tables import Format, written
from hub.audit.verifying import Verified, verify_trail
from hub.audit.view import AuditQuery, find, newest, next_page
from hub.contract import HubConfig

__all__ = ["AuditDesk"]


class AuditDesk:
    """Of the process that answers people: the only one of a hub, or the supervisor of its workers."""

    def __init__(self, keeper: AuditKeeper, config: HubConfig) -> None:
        self.keeper = keeper
        self._config = config
        self._repeats = Repeats(keeper.trail)
        keeper.settle = self._repeats.flush

    async def record(
        self,
        actor: str,
        action: str,
        subject: str,
        detail: Mapping[str, Any] | str = "",
        reason: str = "",
        *,
        result: Result = "",
    ) -> None:
        """One entry, durable when this returns. Raises :class:`~hub.audit.errors.AuditUnwritable`: then do nothing of what it tells."""
        where = address()
        await asyncio.to_thread(
            self.keeper.trail.record, actor, action, subject, detail, reason, address=where, result=result
        )

    async def seen(
        self, actor: str, action: str, subject: str, detail: Mapping[str, Any], records: int, more: Mapping[str, Any]
    ) -> None:
        """Somebody was shown data; the same screen again within a minute is counted. Raises ``AuditUnwritable``."""
        await asyncio.to_thread(
            self._repeats.record, actor, action, subject, detail, address=address(), records=records, more=more
        )

    async def refused(self, actor: str, action: str, subject: str, detail: Mapping[str, Any], result: Result) -> None:
        """Somebody was refused; the same again within a minute is counted. Raises ``AuditUnwritable``."""
        await asyncio.to_thread(self._repeats.record, actor, action, subject, detail, address=address(), result=result)

    # -- looking -------------------------------------------------------------------------------------------------

    async def page(self, query: AuditQuery, limit: int) -> tuple[list[dict[str, Any]], str]:
        """Entries, oldest first, and where the next page begins."""
        return await asyncio.to_thread(next_page, self.keeper.chains(), query, limit)

    async def newest(self, query: AuditQuery, most: int) -> list[dict[str, Any]]:
        """The last entries, oldest first."""
        return await asyncio.to_thread(newest, self.keeper.chains(), query, most)

    def export(self, query: AuditQuery, form: Format) -> Iterator[bytes]:
        """A file of what is asked for, in parts; for a thread."""
        return written((row for _, row in find(self.keeper.chains(), query)), form)

    async def verify(self) -> Verified:
        """Check all chains."""

        def check() -> Verified:
            return verify_trail(self.keeper.chains(), Verifier.of(self._config, self.keeper.base))

        return await asyncio.to_thread(check)

    async def archive(self, older_than: float | None) -> list[Archived]:
        """Archive what this process has; workers archive theirs."""
        return await self.keeper.archive(older_than)
