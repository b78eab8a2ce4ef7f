"""Child processes of a process that has threads and open databases.

The event loop's own way to start one is not used: uvloop runs Python code between fork and exec, which lets go of other
threads' connections to the store and waits for ever for a lock that one of them held at that moment; the parent's loop waits
with it. :class:`subprocess.Popen` runs none.
"""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal

__all__ = ["ChildProcess"]

_LINE_LIMIT = 64 << 10


class ChildProcess:
    """A process with a pipe to its standard input and one from its standard output or error. See :meth:`start`."""

    def __init__(self, popen: subprocess.Popen[bytes], lines: asyncio.StreamReader) -> None:
        self.lines = lines  # what it says
        self._popen = popen
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        threading.Thread(target=self._watch, name=f"wait for {popen.pid}", daemon=True).start()

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        reads: Literal["stdout", "stderr"],
        env: Mapping[str, str] | None = None,
        limit: int = _LINE_LIMIT,
    ) -> ChildProcess:
        """Start a process and read its ``reads`` as lines of at most ``limit`` bytes; raises ``OSError`` when it can't.

        Of the other output, ``stdout`` goes nowhere and ``stderr`` where that of this process goes.
        """
        popen = await asyncio.to_thread(
            subprocess.Popen,
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if reads == "stdout" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if reads == "stderr" else None,
            env=env,
        )
        lines = asyncio.StreamReader(limit)
        pipe = popen.stdout if reads == "stdout" else popen.stderr
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), pipe)
        return cls(popen, lines)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return not self._ended.done()

    def close_input(self) -> None:
        """Close the pipe to its standard input: for our children the word to end."""
        if self._popen.stdin is not None:
            with suppress(OSError):
                self._popen.stdin.close()

    def terminate(self) -> None:
        if self.running:
            self._popen.terminate()

    def kill(self) -> None:
        if self.running:
            self._popen.kill()

    async def wait(self) -> int:
        """Its exit status once it has ended; negative: the number of the signal that ended it."""
        return await asyncio.shield(self._ended)

    def _watch(self) -> None:
        status = self._popen.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._end, status)

    def _end(self, status: int) -> None:
        self.close_input()
        if not self._ended.done():
            self._ended.set_result(status)
