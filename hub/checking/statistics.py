"""Counts that can't be told from the stored reports: which fields had a value, and how late messages came (002:1121-1123).

One small file for each day, in the folder of the worker. They are sums; what was counted in the last seconds before a crash is missing.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from pathlib import Path

import orjson

from hub.logs import get_logger
from hub.mapping.runtime import instant_text
from hub.quality import Assessment, QualityStatistics
from hub.store.reports import SUMS, read_sums
from hub.tasks import again

__all__ = ["StatisticsKeeper"]

log = get_logger(__name__)

_EVERY_S = 10.0


class StatisticsKeeper:
    """Belongs to the event loop."""

    def __init__(self, folder: Path, retention_s: float) -> None:
        self._folder = folder / SUMS
        self._retention_s = retention_s
        self._counted = QualityStatistics()
        self._written: dict[str, QualityStatistics] = {}  # by day: what its file says
        self._task: asyncio.Task[None] | None = None

    def add(self, place: str, received_us: int, assessments: Iterable[Assessment]) -> None:
        for assessment in assessments:
            self._counted.add(place, received_us, assessment)
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._keep(), name="quality statistics")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await asyncio.to_thread(self._write, self._counted.take())

    async def _keep(self) -> None:
        await again("statistics of quality", self._write_news, _EVERY_S, first=_EVERY_S)

    async def _write_news(self) -> None:
        if self._counted.days:
            await asyncio.to_thread(self._write, self._counted.take())

    def _write(self, counted: QualityStatistics) -> None:
        """Add to the files of the days concerned; in a thread, one at a time."""
        days: dict[str, QualityStatistics] = {}
        for (place, day), counts in counted.days.items():
            days.setdefault(day, QualityStatistics()).days[place, day] = counts
        for day, news in days.items():
            path = self._folder / f"{day}.json"
            whole = self._written.get(day)
            if whole is None:
                self._forget_old()
                whole = QualityStatistics.from_dict({place: {day: counts} for place, counts in read_sums(path).items()})
                self._written = {day: whole, **dict(list(self._written.items())[:1])}
            whole.merge(news)
            plain = {place: by_day[day] for place, by_day in whole.as_dict().items()}
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                making = path.with_suffix(".new")
                making.write_bytes(orjson.dumps(plain))
                os.replace(making, path)
            except OSError as error:
                log.error("statistics of quality can't be written: %s", error)

    def _forget_old(self) -> None:
        if self._retention_s:
            oldest = instant_text(int((time.time() - self._retention_s) * 1e6))[:10]
            for path in self._folder.glob("????-??-??.json"):
                if path.stem < oldest:
                    path.unlink(missing_ok=True)
