"""Child processes: what they say, how they end, and that starting one never waits for other threads."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from hub.child_process import ChildProcess

ECHO = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)\nsys.exit(7)"


@pytest.fixture(params=[asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    def run_on(work: Coroutine[Any, Any, None]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(60):
                await work

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(limited())

    return run_on


def test_what_it_says_and_how_it_ends(run: Any) -> None:
    async def work() -> None:
        command = [sys.executable, "-c", "print('a'); print('b'); raise SystemExit(7)"]
        process = await ChildProcess.start(command, reads="stdout")
        assert process.pid > 0
        assert [line async for line in process.lines] == [b"a\n", b"b\n"]
        assert await process.wait() == 7
        assert await process.wait() == 7
        assert not process.running
        process.terminate()  # it has gone: nobody else may get the signal
        process.kill()

    run(work())


def test_closing_its_input_is_the_word_to_end(run: Any) -> None:
    async def work() -> None:
        process = await ChildProcess.start([sys.executable, "-c", ECHO], reads="stdout")
        process.close_input()
        process.close_input()
        assert await process.wait() == 7

    run(work())


def test_signals(run: Any) -> None:
    async def work() -> None:
        script = "import time; print('up', flush=True); time.sleep(60)"
        for end, number in ((ChildProcess.terminate, signal.SIGTERM), (ChildProcess.kill, signal.SIGKILL)):
            process = await ChildProcess.start([sys.executable, "-c", script], reads="stdout")
            assert await process.lines.readline() == b"up\n"
            end(process)
            assert await process.wait() == -number

    run(work())


def test_standard_error_and_environment(run: Any) -> None:
    async def work() -> None:
        script = "import os, sys; print('no'); print(os.environ.get('WORD'), file=sys.stderr)"
        process = await ChildProcess.start([sys.executable, "-c", script], reads="stderr", env={"WORD": "yes"})
        assert [line async for line in process.lines] == [b"yes\n"]
        assert await process.wait() == 0

    run(work())


def test_a_program_that_is_not_there(run: Any, tmp_path: Path) -> None:
    async def work() -> None:
        with pytest.raises(OSError, match="no_such_program"):
            await ChildProcess.start([str(tmp_path / "no_such_program")], reads="stdout")

    run(work())


def test_no_python_runs_between_fork_and_exec(run: Any) -> None:
    """Code that ran there would close connections of other threads to the store, and could wait for ever for their locks."""
    reading, writing = os.pipe()
    told = [writing]
    os.register_at_fork(after_in_child=lambda: [os.write(pipe, b"forked") for pipe in told])

    async def work() -> None:
        process = await ChildProcess.start([sys.executable, "-S", "-c", ""], reads="stdout")
        assert await process.wait() == 0

    try:
        run(work())
    finally:
        told.clear()  # what was registered stays so for as long as this process lives
        os.close(writing)
        with open(reading, "rb") as pipe:
            assert pipe.read() == b""
