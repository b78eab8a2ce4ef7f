"""One process that checks: asked in one thread, started anew when it dies, killed when an answer takes too long."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import orjson

from hub.i18n import language, t
from hub.logs import get_logger

__all__ = ["COMMAND", "CheckProcess", "NotChecked"]

log = get_logger(__name__)

#: Starts the process; language and the number of this process follow.
COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "hub.checking.child")
#: Longest time to start and to make the validators ready, seconds: their libraries take seconds to load.
START_S = 60.0
#: A process that can't be started is not tried again for so long.
PAUSE_S = 5.0
_PIECE = 1 << 16


class NotChecked(Exception):
    """The process gave no answer; the text says why."""


class CheckProcess:
    """:meth:`ask` blocks; one thread at a time."""

    def __init__(self, limit_s: float, command: Sequence[str] | None = None) -> None:
        self._limit = limit_s
        self._command = COMMAND if command is None else tuple(command)
        self._popen: subprocess.Popen[bytes] | None = None
        self._ready: set[str] = set()
        self._not_before = 0.0
        self._ended = False

    @property
    def pid(self) -> int | None:
        return None if self._popen is None else self._popen.pid

    def ask(self, spec: dict[str, Any], raw: bytes, now_us: int) -> dict[str, Any]:
        """What is found in one message; raises :class:`NotChecked`. Nothing of the message is in its text."""
        self.prepare(spec)
        answer = self._answer({"spec": spec, "now_us": now_us}, raw, self._limit)
        if "error" in answer:
            raise NotChecked(answer["error"])
        return answer

    def prepare(self, spec: dict[str, Any]) -> None:
        """Make the validators of a specification ready, so that the first message does not wait for it."""
        if self._popen is not None and self._popen.poll() is not None:
            self.close()
        if self._popen is None:
            self._start()
        if spec["key"] not in self._ready:
            answer = self._answer({"spec": spec}, b"", START_S)
            if "error" in answer:
                raise NotChecked(answer["error"])
            self._ready.add(spec["key"])

    def forget(self, wanted: Iterable[str]) -> None:
        """Only these specifications will be asked for."""
        self._ready &= set(wanted)

    def kill(self) -> None:
        """End the process from another thread, for good; whoever waits for an answer gets none."""
        self._ended = True
        popen = self._popen
        if popen is not None:
            popen.kill()

    def close(self) -> None:
        """End the process at once."""
        popen, self._popen = self._popen, None
        self._ready.clear()
        if popen is None:
            return
        popen.kill()
        popen.wait()
        for pipe in (popen.stdin, popen.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _start(self) -> None:
        if self._ended or time.monotonic() < self._not_before:
            raise NotChecked(t("the process that checks can't be started", "校验进程无法启动"))
        command = [*self._command, language(), str(os.getpid())]
        try:
            self._popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        except OSError as error:
            self._not_before = time.monotonic() + PAUSE_S
            raise NotChecked(t("the process that checks can't be started", "校验进程无法启动")) from error
        for pipe in (self._popen.stdin, self._popen.stdout):
            assert pipe is not None  # noqa: S101 - asked for above
            os.set_blocking(pipe.fileno(), False)

    def _answer(self, request: dict[str, Any], raw: bytes, limit_s: float) -> dict[str, Any]:
        """Send a request and read its answer; kills the process when that is not done in time."""
        head = orjson.dumps(request)
        data = len(head).to_bytes(4, "big") + head + len(raw).to_bytes(4, "big") + raw
        try:
            answer: dict[str, Any] = orjson.loads(self._exchange(data, time.monotonic() + limit_s))
            return answer
        except TimeoutError:
            log.warning("a check took longer than %g s and was ended", limit_s)
            self.close()
            raise NotChecked(t(f"it took longer than {limit_s:g} s", f"超过 {limit_s:g} 秒")) from None
        except (OSError, EOFError, orjson.JSONDecodeError):
            if not self._ready:
                self._not_before = time.monotonic() + PAUSE_S
            log.error("the process that checks ended unexpectedly")
            self.close()
            raise NotChecked(t("the process that checks ended", "校验进程意外结束")) from None

    def _exchange(self, data: bytes, deadline: float) -> bytes:
        popen = self._popen
        assert popen is not None  # noqa: S101
        assert popen.stdin is not None  # noqa: S101
        assert popen.stdout is not None  # noqa: S101
        into, out = popen.stdin.fileno(), popen.stdout.fileno()
        poll = select.poll()
        poll.register(into, select.POLLOUT)
        poll.register(out, select.POLLIN)
        left = memoryview(data)
        answer = bytearray()
        while len(answer) < 4 or len(answer) < 4 + int.from_bytes(answer[:4], "big"):
            pause = deadline - time.monotonic()
            events = poll.poll(pause * 1000) if pause > 0 else []
            if not events:
                raise TimeoutError
            for descriptor, _ in events:
                if descriptor == into:
                    left = left[os.write(into, left[:_PIECE]) :]
                    if not left:
                        poll.unregister(into)
                else:
                    piece = os.read(out, _PIECE)
                    if not piece:
                        raise EOFError
                    answer += piece
        return bytes(answer[4:])
