"""Checking of one worker: on the event loop what is quick, in a thread what is large, in processes what takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from hub.checking.checks import Checks, not_checked, record_of, run
from hub.checking.pool import CheckPool
from hub.checking.statistics import StatisticsKeeper
from hub.contract import ValidationConfig
from hub.errors import HubError
from hub.i18n import t
from hub.intake import CHECK_OFF_LOOP_BYTES
from hub.logs import get_logger
from hub.mapping import Context
from hub.message import CheckRecord, CheckVerdict
from hub.metrics import Metrics
from hub.quality import Assessment
from hub.validators.report import Finding, Report

__all__ = ["CheckService"]

log = get_logger(__name__)

_LARGE_AT_ONCE = 2
#: Bytes of messages that wait to be checked after their commit.
_LATER_BYTES = 64 << 20


#: Gives the tree of a message.
Decode = Callable[[], Any]
#: Keeps the record of a message.
Keep = Callable[[CheckRecord], object]


class CheckService:
    """Belongs to the event loop. Processes run only while some interface has checks that take long."""

    def __init__(self, config: ValidationConfig, metrics: Metrics, statistics: StatisticsKeeper) -> None:
        self._config = config
        self._statistics = statistics
        self._metrics = metrics
        self._pool: CheckPool | None = None
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0

    def use(self, all_checks: Iterable[Checks]) -> None:
        """These checks will be asked for from now on."""
        slow = [checks.slow for checks in all_checks if checks.slow is not None]
        if self._pool is None and slow:
            self._pool = CheckPool(self._config.processes, self._config.timeout)
            self._pool.start()
        if self._pool is not None:
            self._pool.want(slow)

    @property
    def full(self) -> bool:
        """So many messages wait for a process that no more should be taken."""
        return self._pool is not None and self._pool.waiting >= self._config.queue

    async def stop(self) -> None:
        """What waits to be checked after its commit is recorded as not checked."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._pool is not None:
            await self._pool.stop()
        await self._statistics.stop()

    def quick(self, checks: Checks, raw: bytes, tree: Any, context: Context) -> CheckRecord:
        """Check here and now; for checks that have no slow part, and messages that are not large."""
        assessments: list[Assessment] = []
        report = run(checks.fast, raw, tree, context, assessments)
        self._statistics.add(checks.place, context.now_us, assessments)
        return self._record(checks, report)

    async def check(
        self, checks: Checks, raw: bytes, tree: Any, context: Context, *, urgent: bool = True
    ) -> CheckRecord:
        """Check, wherever it has to be done; ``urgent``: somebody waits for the answer."""
        assessments: list[Assessment] = []
        report = await self._report(checks, raw, tree, context, urgent, assessments)
        self._statistics.add(checks.place, context.now_us, assessments)
        return self._record(checks, report)

    async def again(self, checks: Checks, raw: bytes, decode: Decode, context: Context) -> CheckRecord:
        """Check a message that was accepted long ago: it can be marked, not refused, and counts for no metric."""
        try:
            tree = await asyncio.to_thread(decode)
        except HubError as error:  # read in another way since
            report = _unreadable(error)
        else:
            report = await self._report(checks, raw, tree, context, False, [])
        record = record_of(checks, report)
        if record.verdict is CheckVerdict.REFUSED:
            record.verdict = CheckVerdict.MARKED
        return record

    async def _report(
        self,
        checks: Checks,
        raw: bytes,
        tree: Any,
        context: Context,
        urgent: bool,
        assessments: list[Assessment],
    ) -> Report:
        if len(raw) > CHECK_OFF_LOOP_BYTES:
            async with self._large:
                report = await asyncio.to_thread(run, checks.fast, raw, tree, context, assessments)
        else:
            report = run(checks.fast, raw, tree, context, assessments)
        if checks.slow is not None and self._pool is not None:
            more = await self._pool.ask(checks.place, checks.slow, raw, urgent=urgent)
            report.findings.extend(more.findings)
            report.took_us += more.took_us
        return report

    def check_later(self, checks: Checks, raw: bytes, decode: Decode, context: Context, keep: Keep) -> None:
        """Check what is stored already, behind everything whose sender waits. What is too much is recorded as not checked."""
        if self._bytes + len(raw) > _LATER_BYTES or len(self._tasks) >= self._config.queue:
            keep(self._skipped(checks, t("too many messages at once", "同时到达的消息过多")))
            return
        self._bytes += len(raw)
        task = asyncio.get_running_loop().create_task(self._check_later(checks, raw, decode, context, keep))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _check_later(self, checks: Checks, raw: bytes, decode: Decode, context: Context, keep: Keep) -> None:
        try:
            tree = await asyncio.to_thread(decode) if len(raw) > CHECK_OFF_LOOP_BYTES else decode()
            keep(await self.check(checks, raw, tree, context, urgent=False))
        except asyncio.CancelledError:
            keep(self._skipped(checks, t("the hub was stopped", "枢纽已停止")))
            raise
        except Exception:
            log.exception("%s: a stored message could not be checked", checks.place)
            keep(self._skipped(checks, t("the check failed", "校验出错")))
        finally:
            self._bytes -= len(raw)

    def unreadable(self, checks: Checks, error: HubError) -> CheckRecord:
        """Bytes that are not what their format says: nothing can be checked in them."""
        return self._record(checks, _unreadable(error))

    def _skipped(self, checks: Checks, why: str) -> CheckRecord:
        return self._record(checks, Report([not_checked("validation", why)]))

    def _record(self, checks: Checks, report: Report) -> CheckRecord:
        record = record_of(checks, report)
        self._metrics.checks(checks.place).count(record)
        return record


def _unreadable(error: HubError) -> Report:
    return Report([Finding("validation.unreadable", t(f"not readable: {error.text}", f"无法读取：{error.text}"))])
