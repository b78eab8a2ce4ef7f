"""Some processes that check, and who of those who wait is next.

Interfaces take turns, so that one with many messages does not keep the others waiting; messages whose sender waits go before
those that are only marked.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from hub.checking.checks import SlowSpec, not_checked
from hub.checking.process import CheckProcess, NotChecked
from hub.i18n import t
from hub.logs import get_logger
from hub.validators.report import Finding, Kind, Level, Report, Severity

__all__ = ["CheckPool"]

log = get_logger(__name__)


class _Job:
    __slots__ = ("answer", "now_us", "raw", "spec")

    def __init__(self, spec: SlowSpec, raw: bytes, now_us: int, answer: asyncio.Future[Report]) -> None:
        self.spec = spec
        self.raw = raw
        self.now_us = now_us
        self.answer = answer


class _Turns:
    """Jobs by place; places take turns."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, deque[_Job]] = OrderedDict()

    def add(self, place: str, job: _Job) -> None:
        self._places.setdefault(place, deque()).append(job)

    def next(self) -> _Job | None:
        while self._places:
            place, jobs = self._places.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._places[place] = jobs  # behind the others
            if not job.answer.done():  # whoever waited may have given up
                return job
        return None


class CheckPool:
    """Belongs to the event loop on which it was started."""

    def __init__(self, processes: int, limit_s: float) -> None:
        self._processes = [CheckProcess(limit_s) for _ in range(processes)]
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="check")
        self._urgent = _Turns()
        self._later = _Turns()
        self._wanted: dict[str, SlowSpec] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.waiting = 0  # jobs without an answer

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._serve(process), name="check") for process in self._processes]

    def want(self, specs: Iterable[SlowSpec]) -> None:
        """What will be asked for from now on; made ready before it is needed."""
        self._wanted = {spec.key: spec for spec in specs}
        self._wake.set()

    async def stop(self) -> None:
        self._stopping = True
        for process in self._processes:
            process.kill()  # a thread that waits for it gets an error at once
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while (job := self._urgent.next() or self._later.next()) is not None:
            job.answer.set_result(_unanswered(t("the hub is stopping", "枢纽正在停止")))
        await asyncio.to_thread(self._threads.shutdown)
        for process in self._processes:
            process.close()

    async def ask(self, place: str, spec: SlowSpec, raw: bytes, *, urgent: bool) -> Report:
        """What the validators of ``spec`` find; one finding ``….not_checked`` when there is no answer in time."""
        if self._stopping:
            return _unanswered(t("the hub is stopping", "枢纽正在停止"))
        answer: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._later).add(place, _Job(spec, raw, time.time_ns() // 1000, answer))
        self.waiting += 1
        self._wake.set()
        try:
            return await answer
        finally:
            self.waiting -= 1

    async def _serve(self, process: CheckProcess) -> None:
        loop = asyncio.get_running_loop()
        ready: dict[str, SlowSpec] = {}
        while True:
            if ready is not self._wanted:
                ready = self._wanted
                await loop.run_in_executor(self._threads, _prepare, process, list(ready.values()))
                continue
            job = self._urgent.next() or self._later.next()
            if job is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            begun = time.perf_counter_ns()
            try:
                found = await loop.run_in_executor(
                    self._threads, process.ask, {"key": job.spec.key, "body": job.spec.body}, job.raw, job.now_us
                )
                report = Report([_finding(item) for item in found["findings"]], found["score"], found["took_us"])
            except asyncio.CancelledError:
                if not job.answer.done():
                    job.answer.set_result(_unanswered(t("the hub is stopping", "枢纽正在停止")))
                raise
            except NotChecked as error:
                report = _unanswered(str(error))
                report.took_us = (time.perf_counter_ns() - begun) // 1000
            except Exception:
                log.exception("a check failed unexpectedly")
                report = _unanswered(t("the check failed", "校验出错"))
            if not job.answer.done():
                job.answer.set_result(report)


def _prepare(process: CheckProcess, specs: list[SlowSpec]) -> None:
    process.forget(spec.key for spec in specs)
    for spec in specs:
        try:
            process.prepare({"key": spec.key, "body": spec.body})
        except NotChecked as error:
            log.error("checks of %s can't be made ready: %s", spec.body.get("codec"), error)


def _unanswered(why: str) -> Report:
    return Report([not_checked("standard", why)])


def _finding(plain: dict[str, str]) -> Finding:
    return Finding(
        rule=plain["rule"],
        text=plain["text"],
        place=plain["place"],
        advice=plain["advice"],
        kind=Kind(plain["kind"]),
        level=Level(plain["level"]),
        severity=Severity(plain["severity"]),
    )
