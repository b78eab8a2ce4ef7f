"""Reading a database: one run takes what is new, page by page, each page and its mark in one commit of the hub."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from adapters.polling import PollingReceiver, Run
from adapters.sql.comparison import Comparison
from adapters.sql.database import SqlDatabase
from adapters.sql.listen import ByComparison, ByOutbox, BySequence, ByTimestamp, SqlListen
from adapters.sql.marks import dump_values, earlier, load_values, parse
from adapters.sql.page import Page, PageReader, Row
from adapters.sql.source import Query, settle
from hub.api import Bound, HubError, IntakePort
from hub.i18n import t

__all__ = ["SqlReceiver"]

T = TypeVar("T")

#: Rows counted for the status.
_COUNTED = 10_000
#: Messages of an overlap remembered in memory, so that each run does not bother the intake with them again.
_REMEMBERED = 50_000
#: Statements of one page and of what belongs to it.
_STATEMENTS = 4


class SqlReceiver(PollingReceiver):
    """Reads one table, view or query."""

    def __init__(self, bound_: Bound, intake: IntakePort) -> None:
        options = cast(SqlListen, bound_.options)
        super().__init__(bound_, intake, options.schedule)
        self._options = options
        self._read = options.read
        self._database = SqlDatabase(options.database, read_only=not isinstance(options.read, ByOutbox))
        self._query = Query(options, options.database.kind.row_values)
        self._pages = PageReader(options, self._query, bound_.place, bound_.contract.encoding)
        self._within = options.database.statement_timeout * _STATEMENTS + options.database.connect_timeout
        #: Other columns are another order: reading begins anew.
        self._mark_name = f"{options.read.by} {options.table or 'query'} {','.join(self._query.order)}"
        self._seen: dict[bytes, None] = {}
        self._settled = False
        self._waiting: dict[str, Any] = {}
        self._comparison: Comparison | None = None
        #: The thread that works on the file of a comparison.
        self._file = ThreadPoolExecutor(1, "sql file") if isinstance(options.read, ByComparison) else None

    async def start(self) -> None:
        read, window = self._read, self.bound.contract.duplicate_window
        if isinstance(read, ByTimestamp) and window is not None and read.overlap > window:
            raise HubError(
                t(
                    f"{self.bound.place}: overlap is longer than duplicate_window, what is read again would not be recognised",
                    f"{self.bound.place}：overlap 长于 duplicate_window，重复读取的记录无法识别",
                ),
                code="sql.overlap",
                remedy=t("shorten overlap or lengthen duplicate_window", "请缩短 overlap 或延长 duplicate_window"),
            )
        self._database.open()
        try:
            if isinstance(read, ByComparison):
                self._comparison = await self._aside(
                    Comparison, read, self._state_file(read), f"{self.bound.place} {self._mark_name}"
                )
        except BaseException:
            await self._close()
            raise
        await super().start()

    def _state_file(self, read: ByComparison) -> Path:
        bound = self.bound
        return Path(read.state) if read.state else bound.data / "sql" / f"{bound.system}.{bound.interface_id}.compare"

    async def stop(self, grace: float) -> None:
        await super().stop(grace)
        await self._close()

    async def _close(self) -> None:
        await self._database.close()
        if self._comparison is not None:
            await self._aside(self._comparison.close)
        if self._file is not None:
            self._file.shutdown(wait=False)

    @property
    def source(self) -> str:
        return f"{self._database.place} {self._options.table or 'query'}"

    def status(self) -> dict[str, Any]:
        return super().status() | {"database": self._database.status(), "waiting": self._waiting}

    async def probe(self) -> str:
        started = time.perf_counter()

        def look(connection: Connection) -> None:
            with connection.execute(self._query.nothing()):
                pass

        await self._database.run(look, self._options.database.connect_timeout * 2)
        took = (time.perf_counter() - started) * 1000
        return t(f"{self.source} can be read, {took:.0f} ms", f"{self.source} 可读取，用时 {took:.0f} 毫秒")

    async def read(self, run: Run) -> None:
        match self._read:
            case ByTimestamp() | BySequence():
                await self._read_forward(run)
            case ByOutbox():
                await self._read_outbox(run)
            case ByComparison():
                await self._compare(run)

    # -- by timestamp and by sequence ----------------------------------------------------------------------------

    async def _read_forward(self, run: Run) -> None:
        found = parse(await self.intake.mark(self.bound, self._mark_name))
        mark: tuple[Any, ...] | None = load_values(found["after"]) if "after" in found else None
        after, begin = self._beginning(mark)
        await self._count(mark or after, begin)
        remember = self._overlaps
        page = await self._page(after, begin)
        while page.rows:
            # The next page is read while this one is committed.
            following = asyncio.create_task(self._page(page.last, None)) if page.more and self.go_on(run) else None
            try:
                if not remember or mark is None or _as_far(page.last, mark):
                    mark = page.last
                rows, digests = self._unknown(page.rows) if remember else (page.rows, [])
                if rows:
                    await self.take(run, rows, _mark(mark), self._mark_name)
                self._remember(digests)
                self._less_waiting(len(rows))
            except BaseException:
                if following is not None:
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
                raise
            if following is None:
                break
            last, page = page.last, await following
            if page.rows and page.last == last:
                raise self._no_progress()

    def _no_progress(self) -> HubError:
        """Its driver cuts off digits of the column, so that the last row comes again as the next one."""
        return HubError(
            t(f"{self.source}: the same page came twice", f"{self.source}：重复读到同一页"),
            code="sql.precision",
            remedy=t(
                "the order columns are finer than microseconds: read a query that rounds them down, or raise page",
                "排序列精度高于微秒：请改用对其取整的 query，或调大 page",
            ),
        )

    def _unknown(self, rows: list[Row]) -> tuple[list[Row], list[bytes]]:
        """Those of an overlap that were not taken before, as far as memory goes; the intake recognises the others."""
        digests = [hashlib.blake2b(row.control_id.encode() + b"\0" + row.raw, digest_size=16).digest() for row in rows]
        return [row for row, digest in zip(rows, digests, strict=True) if digest not in self._seen], digests

    def _remember(self, digests: list[bytes]) -> None:
        for digest in digests:
            self._seen.pop(digest, None)
            self._seen[digest] = None
        for digest in list(islice(self._seen, max(len(self._seen) - _REMEMBERED, 0))):
            del self._seen[digest]

    @property
    def _overlaps(self) -> bool:
        return isinstance(self._read, ByTimestamp | BySequence) and self._read.overlap > 0

    def _beginning(self, mark: tuple[Any, ...] | None) -> tuple[tuple[Any, ...] | None, Any]:
        """The values to go on after, or the first column's value to begin with."""
        read = cast(ByTimestamp | BySequence, self._read)
        if isinstance(read, BySequence):
            if mark is None:
                return (None if read.start is None else (read.start,)), None
            if read.overlap:
                if not isinstance(mark[0], int | float | Decimal):
                    raise HubError(
                        t("overlap needs a column of numbers", "overlap 需要数值列"),
                        code="sql.sequence",
                        remedy=t("remove overlap, or read by timestamp", "请去掉 overlap，或改用 timestamp 方式"),
                    )
                return (mark[0] - read.overlap,), None
            return mark, None
        if mark is None:
            if not read.start:
                return None, None
            # Times are text in SQLite.
            return None, read.start if self._database.product.family == "sqlite" else datetime.fromisoformat(read.start)
        return (None, earlier(mark[0], read.overlap)) if read.overlap else (mark, None)

    async def _page(self, after: Sequence[Any] | None, begin: Any) -> Page:
        return await self._database.run(lambda connection: self._pages.read(connection, after, begin), self._within)

    # -- by outbox -----------------------------------------------------------------------------------------------

    async def _read_outbox(self, run: Run) -> None:
        read = cast(ByOutbox, self._read)
        if not self._settled:
            # The hub may have ended after it took a page and before it marked its rows.
            found = parse(await self.intake.mark(self.bound, self._mark_name))
            await self._settle([(load_values(key), read.done) for key in found.get("taken", [])])
            self._settled = True
        await self._count(None, None)
        while True:
            page = await self._page(None, None)
            if not page.rows:
                return
            self._settled = False
            mark = json.dumps({"taken": [dump_values(row.key) for row in page.rows]}, separators=(",", ":"))
            receipts = await self.take(run, page.rows, mark, self._mark_name)
            failed = read.failed or read.done
            ends = zip(page.rows, receipts, strict=True)
            await self._settle([(row.key, read.done if receipt.accepted else failed) for row, receipt in ends])
            self._settled = True
            self._less_waiting(len(page.rows))
            if not page.more or not self.go_on(run):
                return

    async def _settle(self, ends: Sequence[tuple[tuple[Any, ...], Any]]) -> None:
        """Delete or mark rows, all of them or none. Those that are gone already do no harm."""
        if not ends:
            return
        read = cast(ByOutbox, self._read)

        def write(connection: Connection) -> None:
            for done in (read.done, read.failed):
                keys = [key for key, end in ends if end is done]
                if keys:
                    statement = settle(self._options, read, done)
                    changes = done.values() if isinstance(done, Mapping) else ()
                    values = {f"v{number}": value for number, value in enumerate(changes) if value != "now"}
                    connection.execute(
                        statement, [{f"k{n}": part for n, part in enumerate(key)} | values for key in keys]
                    )

        await self._database.run(write, self._within)

    # -- by comparison -------------------------------------------------------------------------------------------

    async def _compare(self, run: Run) -> None:
        comparison = cast(Comparison, self._comparison)
        name = self._mark_name
        after = await self._aside(comparison.begin, await self.intake.mark(self.bound, name))
        while True:
            page = await self._database.run(
                lambda connection, after=after: self._pages.read(connection, after, records=True),  # type: ignore[misc]
                self._within,
            )
            changes = await self._aside(comparison.compare, page, self._pages.dump)
            if changes.items:
                await self.take(run, changes.items, changes.mark, name)
                await self._aside(comparison.confirm)
            if not page.more:
                break
            if not self.go_on(run):
                return
            after = page.last
        while True:
            changes = await self._aside(comparison.removed, self._pages.dump, self._options.page)
            if not changes.items:
                break
            await self.take(run, changes.items, changes.mark, name)
            await self._aside(comparison.confirm)
        await self._aside(comparison.finish)

    async def _aside(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._file, work, *arguments)

    # -- status --------------------------------------------------------------------------------------------------

    async def _count(self, after: Sequence[Any] | None, begin: Any) -> None:
        if not self._options.count_waiting:
            return
        statement = self._query.waiting(after, _COUNTED, begin=begin)

        def count(connection: Connection) -> tuple[int, Any]:
            rows, first = connection.execute(statement).one()
            return int(rows), first

        rows, first = await self._database.run(count, self._within)
        self._waiting = {"rows": rows, "or_more": rows >= _COUNTED}
        if isinstance(self._read, ByTimestamp) and (age := self._age(first)) is not None:
            self._waiting["oldest_s"] = age

    def _age(self, first: Any) -> float | None:
        if isinstance(first, str):
            try:
                first = datetime.fromisoformat(first)
            except ValueError:
                return None
        if isinstance(first, date) and not isinstance(first, datetime):
            first = datetime(first.year, first.month, first.day)
        if not isinstance(first, datetime):
            return None
        if first.tzinfo is None:
            first = first.replace(tzinfo=ZoneInfo(self._options.database.tz))
        seconds: float = time.time() - first.timestamp()
        return max(round(seconds, 1), 0.0)

    def _less_waiting(self, rows: int) -> None:
        if "rows" in self._waiting:
            left = max(self._waiting["rows"] - rows, 0)
            self._waiting["rows"] = left
            if not left:
                self._waiting.pop("oldest_s", None)


def _mark(after: tuple[Any, ...] | None) -> str:
    return json.dumps({"after": dump_values(after or ())}, ensure_ascii=False, separators=(",", ":"))


def _as_far(last: tuple[Any, ...] | None, mark: tuple[Any, ...]) -> bool:
    """Whether a page got as far as the mark, by the first column alone: an overlap begins there whatever the key says."""
    # MySQL's driver gives text for what is no date (0000-00-00); that can only have been before.
    return last is not None and (type(last[0]) is not type(mark[0]) or bool(last[0] >= mark[0]))
