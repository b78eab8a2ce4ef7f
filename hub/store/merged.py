"""Several workers' folders read as one store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hub.message import Answer, Awaited, CallRecord, Delivery, DeliveryState, Message
from hub.store.base import (
    AwaitedQuery,
    CallQuery,
    Chain,
    DeliveryQuery,
    LedgerReport,
    LedgerRow,
    MessageQuery,
    PlaceQuality,
    ReportQuery,
    SearchPage,
    StoreReader,
)
from hub.store.reader import SqliteReader
from hub.store.reports import add_up
from hub.store.sealer import Sealer

__all__ = ["MergedReader", "open_reader"]

T = TypeVar("T")
Progress = Callable[[int, int], None]


def open_reader(folders: Sequence[Path], sealer: Sealer | None = None) -> StoreReader:
    """A reader of one worker's folder, or of several at once; ``sealer`` opens what is encrypted."""
    readers = [SqliteReader(folder, sealer=sealer) for folder in folders]
    return readers[0] if len(readers) == 1 else MergedReader(readers)


class MergedReader(StoreReader):
    """Puts the answers of several readers together; lists are ordered by id, as those of one reader are."""

    def __init__(self, readers: Sequence[StoreReader]) -> None:
        self._readers = list(readers)

    async def close(self) -> None:
        await self._all(lambda reader: reader.close())

    async def _all(self, question: Callable[[StoreReader], Awaitable[T]]) -> list[T]:
        return list(await asyncio.gather(*(question(reader) for reader in self._readers)))

    async def _first(self, question: Callable[[StoreReader], Awaitable[T | None]]) -> T | None:
        for answer in await self._all(question):
            if answer is not None:
                return answer
        return None

    async def message(self, message_id: int) -> Message | None:
        return await self._first(lambda reader: reader.message(message_id))

    async def envelope(self, message_id: int) -> Message | None:
        return await self._first(lambda reader: reader.envelope(message_id))

    async def raw_part(self, message_id: int, at: int, count: int) -> bytes | None:
        return await self._first(lambda reader: reader.raw_part(message_id, at, count))

    async def delivery(self, delivery_id: int) -> Delivery | None:
        return await self._first(lambda reader: reader.delivery(delivery_id))

    async def deliveries_of(self, message_id: int) -> list[Delivery]:
        found = await self._all(lambda reader: reader.deliveries_of(message_id))
        return sorted((row for rows in found for row in rows), key=lambda row: row.id)

    async def calls_of(self, message_id: int) -> list[CallRecord]:
        found = await self._all(lambda reader: reader.calls_of(message_id))
        return sorted((row for rows in found for row in rows), key=lambda row: row.id)

    async def search(self, query: MessageQuery) -> SearchPage:
        pages = await self._all(lambda reader: reader.search(replace(query)))
        rows = sorted((row for page in pages for row in page.rows), key=lambda row: row.id, reverse=True)
        more = any(page.more for page in pages) or len(rows) > query.limit
        return SearchPage(rows[: query.limit], more, sum(page.text_lag for page in pages))

    async def deliveries(self, query: DeliveryQuery) -> list[Delivery]:
        found = await self._all(lambda reader: reader.deliveries(replace(query)))
        rows = [row for rows in found for row in rows]
        return sorted(rows, key=lambda row: row.id, reverse=not query.oldest_first)[: query.limit]

    async def calls(self, query: CallQuery) -> list[CallRecord]:
        found = await self._all(lambda reader: reader.calls(replace(query)))
        return sorted((row for rows in found for row in rows), key=lambda row: row.id, reverse=True)[: query.limit]

    async def reports(self, query: ReportQuery) -> list[CallRecord]:
        found = await self._all(lambda reader: reader.reports(replace(query)))
        return sorted((row for rows in found for row in rows), key=lambda row: row.id, reverse=True)[: query.limit]

    async def quality(self, since_ms: int, until_ms: int = 0, place: str = "") -> list[PlaceQuality]:
        return add_up(row for rows in await self._all(lambda r: r.quality(since_ms, until_ms, place)) for row in rows)

    async def awaited(self, places: Sequence[str], key: str) -> Awaited | None:
        found = [row for row in await self._all(lambda reader: reader.awaited(places, key)) if row is not None]
        return max(found, key=lambda row: row.delivery_id, default=None)

    async def unanswered(self, query: AwaitedQuery) -> list[Awaited]:
        found = await self._all(lambda reader: reader.unanswered(replace(query)))
        rows = [row for rows in found for row in rows]
        return sorted(rows, key=lambda row: row.delivery_id, reverse=True)[: query.limit]

    async def unanswered_counts(self, now_us: int) -> dict[str, tuple[int, int]]:
        totals: dict[str, tuple[int, int]] = {}
        for found in await self._all(lambda reader: reader.unanswered_counts(now_us)):
            for place, (awaited, overdue) in found.items():
                before = totals.get(place, (0, 0))
                totals[place] = (before[0] + awaited, before[1] + overdue)
        return totals

    async def chain(self, message_id: int) -> Chain:
        whole = Chain()
        for found in await self._all(lambda reader: reader.chain(message_id)):
            whole.answer = whole.answer or found.answer
            whole.awaited += found.awaited
            whole.answered_by += found.answered_by
        return whole

    async def open_answers(self, limit: int) -> list[Answer]:
        found = await self._all(lambda reader: reader.open_answers(limit))
        return sorted((row for rows in found for row in rows), key=lambda row: row.message_id)

    async def counts(self) -> dict[tuple[str, DeliveryState], int]:
        totals: dict[tuple[str, DeliveryState], int] = {}
        for found in await self._all(lambda reader: reader.counts()):
            for key, number in found.items():
                totals[key] = totals.get(key, 0) + number
        return totals

    async def verify_ledger(self, progress: Progress | None = None) -> LedgerReport:
        """One folder after the other; the figures add up, the problems say which worker they concern."""
        rows: dict[tuple[str, str], LedgerRow] = {}
        total = LedgerReport(0, 0, [], [])
        for number, reader in enumerate(self._readers):
            report = await reader.verify_ledger(progress)
            total.messages += report.messages
            total.filtered += report.filtered
            total.waiting += report.waiting
            total.problems += [f"#{number} {problem}" for problem in report.problems]
            for row in report.rows:
                known = rows.setdefault((row.route, row.target), LedgerRow(row.route, row.target, 0))
                for column in ("routed", "delivered", "dead", "held", "skipped", "moving"):
                    setattr(known, column, getattr(known, column) + getattr(row, column))
        total.rows = [rows[key] for key in sorted(rows)]
        return total

    async def check(self, progress: Progress | None = None) -> list[str]:
        findings: list[str] = []
        for number, reader in enumerate(self._readers):
            findings += [f"#{number} {finding}" for finding in await reader.check(progress)]
        return findings

    async def size(self) -> dict[str, int]:
        totals: dict[str, int] = {}
        for found in await self._all(lambda reader: reader.size()):
            for key, number in found.items():
                totals[key] = totals.get(key, 0) + number
        return totals

    async def mark(self, name: str) -> tuple[int, str]:
        return max(await self._all(lambda reader: reader.mark(name)))

    async def audit(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Each worker has a trail of its own with numbers of its own: ``worker`` in each entry says whose it is."""
        found = await self._all(lambda reader: reader.audit(after, limit))
        return [{**entry, "worker": number} for number, entries in enumerate(found) for entry in entries]
