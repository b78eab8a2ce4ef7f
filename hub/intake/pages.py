"""What is read from a source rather than received: page by page, each in one commit with how far the source was read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hub.api import Bound, Item, Receipt
from hub.errors import HubError, StoreBusy
from hub.intake.source import Made, Read, Refused, Source, too_large
from hub.message import CallRecord, Delivery, Message, Outcome
from hub.store.base import Put, PutResult, Store
from hub.store.reader import SqliteReader

if TYPE_CHECKING:
    from hub.intake.intake import Intake

__all__ = ["Pages"]

#: Longest time items of a page are read without letting anything else happen, seconds.
_AT_A_STRETCH_S = 0.002


class Pages:
    """``siblings``: folders of other workers' stores; a source may have been theirs before."""

    def __init__(self, intake: Intake, store: Store, siblings: Sequence[Path]) -> None:
        self._intake = intake
        self._store = store
        self._siblings = siblings

    async def take(
        self, source: Source, items: Sequence[Item], mark: str | None, name: str, remote: str
    ) -> list[Receipt]:
        """See :meth:`hub.api.IntakePort.take`."""
        page: list[tuple[Item, Made | Refused]] = []
        begun = time.monotonic()
        for item in items:
            page.append((item, await self._read_item(source, item, remote)))
            if time.monotonic() - begun > _AT_A_STRETCH_S:
                await asyncio.sleep(0)
                begun = time.monotonic()
        noted = None if mark is None else (_mark_name(source.bound, name), mark)
        receipts = await self._store_page(source, page, noted, remote)
        stats = source.stats
        stats.received += len(items)
        stats.bytes += sum(len(item.raw) for item in items)
        return receipts

    async def take_results(
        self,
        source: Source,
        bodies: Sequence[bytes],
        asking: Message,
        settled: Delivery,
        calls: Sequence[CallRecord],
    ) -> None:
        """See :meth:`hub.delivery.asking.TakesIn.take_results`."""
        page: list[tuple[Item, Made | Refused]] = []
        envelope = replace(asking, raw=b"", tree=None)  # as it is read from the store, should it be read from there
        begun = time.monotonic()
        for body in bodies:
            item = Item(body)
            made = await self._read_item(source, item, "")
            if isinstance(made, Made):
                made.message.causation = asking.id
                made.message.request = envelope
            page.append((item, made))
            if time.monotonic() - begun > _AT_A_STRETCH_S:
                await asyncio.sleep(0)
                begun = time.monotonic()
        puts = [Put(m.message, m.deliveries, source.window_us, m.call) for _, m in page if isinstance(m, Made)]
        refusals = [self._refusal(source, item, made, "") for item, made in page if isinstance(made, Refused)]
        results = iter(await self._store.put_together(puts, calls=[*refusals, *calls], settled=[settled]))
        for item, made in page:
            self._receipt(source, item, made, results)
        source.stats.received += len(page)
        source.stats.bytes += sum(len(body) for body in bodies)

    async def mark(self, bound: Bound, name: str) -> str:
        """See :meth:`hub.api.IntakePort.mark`: of this worker or, where another one read the source before, of that one."""
        key = _mark_name(bound, name)
        found = [await self._store.reader.mark(key)]
        for folder in self._siblings:
            reader = SqliteReader(folder, threads=1, sealer=self._store.sealer)
            try:
                found.append(await reader.mark(key))
            except HubError as error:
                if error.code != "store.version":  # one that is older than marks has none
                    raise
            finally:
                await reader.close()
        return max(found)[1]

    async def _read_item(self, source: Source, item: Item, remote: str) -> Made | Refused:
        started = time.time_ns() // 1000
        raw = item.raw
        if item.error is not None:
            return Refused(item.error, item.control_id)
        if len(raw) > source.max_size:
            return Refused(too_large(len(raw), source.max_size), item.control_id)
        read: Read | None = None
        if len(raw) > source.off_loop:
            read = await self._intake.prepare((source, raw, _nobody, started, remote, item.control_id, item.params))
        return self._intake.make(source, raw, started, remote, item.control_id, item.params, read)

    async def _store_page(
        self, source: Source, page: Sequence[tuple[Item, Made | Refused]], mark: tuple[str, str] | None, remote: str
    ) -> list[Receipt]:
        """One commit; when something in it can't be stored, one for each, so that only this is refused."""
        puts = [
            Put(made.message, made.deliveries, source.window_us, made.call)
            for _, made in page
            if isinstance(made, Made)
        ]
        refusals = [self._refusal(source, item, made, remote) for item, made in page if isinstance(made, Refused)]
        try:
            results = iter(await self._store.put_together(puts, calls=refusals, mark=mark))
        except StoreBusy:
            raise
        except HubError as error:
            receipts: list[Receipt] = []
            if len(page) == 1:
                item, made = page[0]
                one = [(item, Refused(error, made.message.control_id if isinstance(made, Made) else ""))]
                return await self._store_page(source, one, mark, remote)
            for number, part in enumerate(page, 1):
                receipts += await self._store_page(source, [part], mark if number == len(page) else None, remote)
            return receipts
        return [self._receipt(source, item, made, results) for item, made in page]

    def _refusal(self, source: Source, item: Item, refused: Refused, remote: str) -> CallRecord:
        now = time.time_ns() // 1000
        return self._intake.refused_call(source, item.raw, refused.error, now, remote, item.params, refused.check)

    def _receipt(self, source: Source, item: Item, made: Made | Refused, results: Iterator[PutResult]) -> Receipt:
        """Tell what became of one item, and let its deliveries go."""
        stats = source.stats
        if isinstance(made, Refused):
            stats.refused += 1
            findings = made.check.findings if made.check is not None else ()
            return Receipt(Outcome.REFUSED, control_id=made.control_id, error=made.error, findings=findings)
        result = next(results)
        message = result.message
        if result.outcome is Outcome.DUPLICATE:
            stats.duplicate += 1
            return Receipt(result.outcome, result.earlier, message.type, message.control_id)
        self._intake.accepted(source, result, made.deliveries)
        if source.checks is not None and made.call.check is None:
            self._intake.check_later(source.checks, source, made.call.id, item.params or {}, message)
        receipt = Receipt(result.outcome, message.id, message.type, message.control_id)
        receipt.findings = made.call.check.findings if made.call.check is not None else ()
        return receipt


def _nobody(receipt: Receipt) -> None:
    """Nobody waits for this receipt."""


def _mark_name(bound: Bound, name: str) -> str:
    return f"{bound.place} {name}".rstrip()
