"""The indexer as the hub has it: a child process. Apart from :mod:`hub.store.indexer`, which needs no event loop and is half as large without."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import hub
from hub.child_process import ChildProcess
from hub.store.indexer import TEXT_MESSAGES
from hub.tasks import end

__all__ = ["IndexerProcess"]

log = logging.getLogger(__name__)

_STOP_S = 10.0
_HEALTHY_S = 60.0
_LONGEST_PAUSE_S = 60.0
_LINE_LIMIT = 64 << 10


class IndexerProcess:
    """The indexer of a hub: started with it, ended with it, and started again when it dies."""

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        text: bool = True,
        text_messages: int = TEXT_MESSAGES,
        pause: float = 1.0,
        config_file: Path | None = None,
    ) -> None:
        self._arguments = [part for folder in folders for part in ("--folder", str(folder))]
        self._arguments += ["--text-messages", str(text_messages)] + ([] if text else ["--no-text"])
        if config_file is not None:
            self._arguments += ["--config", str(config_file)]
        self._pause = pause  # seconds before the first restart; doubles while it keeps dying
        self._task: asyncio.Task[None] | None = None
        self._process: ChildProcess | None = None
        self.restarts = 0

    @property
    def pid(self) -> int:
        """Process id, 0 while there is none."""
        return self._process.pid if self._process is not None and self._process.running else 0

    async def start(self) -> None:
        """Start it. When that fails, it is tried again in the background: searching works without, only slower."""
        if self._task is None:
            await self._spawn()
            self._task = asyncio.create_task(self._watch(), name="indexer")

    async def stop(self) -> None:
        """End it and wait until it has gone."""
        task, self._task = self._task, None
        await end(task)
        process, self._process = self._process, None
        if process is None:
            return
        process.close_input()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _spawn(self) -> None:
        path = os.pathsep.join(filter(None, [str(Path(hub.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
        try:
            self._process = await ChildProcess.start(
                # -P: a file of the working folder must not stand in for a module
                [sys.executable, "-P", "-m", "hub.store.indexer", *self._arguments],
                reads="stderr",
                limit=_LINE_LIMIT,
                env={**os.environ, "PYTHONPATH": path},
            )
        except OSError as error:
            self._process = None
            log.error("the indexer can't be started: %s", error)

    async def _watch(self) -> None:
        pause = self._pause
        while True:
            started = time.monotonic()
            if self._process is not None:
                await self._relay(self._process)
                status = await self._process.wait()
                log.error("the indexer ended with status %s; it is started again", status)
            if time.monotonic() - started > _HEALTHY_S:
                pause = self._pause
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
            await self._spawn()
            self.restarts += 1

    @staticmethod
    async def _relay(process: ChildProcess) -> None:
        """Write what the process says on standard error to the log until it ends."""
        while True:
            try:
                line = await process.lines.readline()
            except ValueError:  # a line longer than the limit: asyncio has dropped it
                continue
            if not line:
                return
            log.warning("indexer: %s", line.decode(errors="replace").rstrip())
