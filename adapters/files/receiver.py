"""Reading a folder: which files, page by page into the hub, and out of the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from adapters.files.backend import Backend
from adapters.files.looking import Look
from adapters.files.naming import NameRules
from adapters.files.options import Reading
from adapters.files.passes import Memory, Pass
from adapters.files.state import State
from adapters.polling import PollingReceiver, Run
from hub.api import Bound, IntakePort
from hub.i18n import t

__all__ = ["FilesReceiver"]


class FilesReceiver(PollingReceiver):
    """For all three kinds of place; ``connect`` makes a backend, ``address`` names it for people."""

    default_every = 10.0

    def __init__(self, bound: Bound, intake: IntakePort, connect: Callable[[], Backend], address: str) -> None:
        options = cast(Reading, bound.options)
        super().__init__(bound, intake, options.schedule)
        self._options, self._connect, self._address = options, connect, address
        rules = NameRules(options.naming, options.schedule.tz) if options.naming else None
        self.memory = Memory(Look(options), rules)

    @property
    def source(self) -> str:
        return self._address

    def status(self) -> dict[str, Any]:
        memory = self.memory
        waiting = len(memory.state.done) if memory.state else 0
        return {**super().status(), "files": memory.files, "files_refused": memory.refused, "files_not_moved": waiting}

    async def probe(self) -> str:
        started = time.perf_counter()
        backend = self._connect()
        try:
            await backend.open()
            await backend.entries(self._options.folder, 1)
        finally:
            await backend.close()
        took = (time.perf_counter() - started) * 1000
        return t(
            f"folder of {self._address} read in {took:.0f} ms", f"已读取 {self._address} 的文件夹，用时 {took:.0f} 毫秒"
        )

    async def read(self, run: Run) -> None:
        backend = self._connect()
        #: Answers are written while a file is being read, and an FTP connection does one thing at a time.
        answers = self._connect() if self._options.answer else None
        try:
            await backend.open()
            if answers is not None:
                await answers.open()
            memory = self.memory
            state = memory.state
            fresh = state is None
            if state is None:
                state = memory.state = await State.load(
                    lambda name: self.intake.mark(self.bound, name), remembers=self._options.after == "leave"
                )
            try:
                await Pass(self, run, self._options, memory, state, backend, answers or backend, fresh=fresh).go()
            finally:
                await backend.settle()
        finally:
            await backend.close()
            if answers is not None:
                await answers.close()
