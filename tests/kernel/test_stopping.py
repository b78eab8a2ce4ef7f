"""A hub always stops: whatever its tasks, the code of plugins, its workers and their threads do while it does."""

from __future__ import annotations

import asyncio
import errno
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hub import run
from hub.api import Outgoing, Reply
from hub.child_process import ChildProcess
from hub.message import DeliveryState
from hub.run import _Child
from hub.tasks import again, end, stopped
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Site, until


async def _for_ever() -> None:
    await asyncio.Event().wait()


# -- tasks -----------------------------------------------------------------------------------------------------------


async def test_a_cancellation_of_the_caller_is_not_taken_for_that_of_the_task() -> None:
    """As ``suppress(CancelledError)`` around the task did: whoever stopped something could not be stopped."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        try:
            await _for_ever()
        finally:
            asked.set()
            await go.wait()

    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    ending = asyncio.create_task(end(task))
    async with asyncio.timeout(20):
        await asked.wait()
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        go.set()
        await asyncio.wait([task])


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again() -> None:
    async def swallows() -> None:
        try:
            await _for_ever()
        except asyncio.CancelledError:
            await _for_ever()

    task = asyncio.create_task(swallows())
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await end(task, within=0.1)
    assert task.done()


async def test_a_task_that_never_ends_is_left_behind_and_named(caplog: pytest.LogCaptureFixture) -> None:
    over = asyncio.Event()

    async def stubborn() -> None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(stubborn(), name="stubborn one")
    await asyncio.sleep(0)
    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(20):
            await end(task, within=0.05)
    assert "stubborn one does not end" in caplog.text
    over.set()
    async with asyncio.timeout(20):
        await task


async def test_what_a_task_failed_with_is_told_and_hinders_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise OSError("no space left")

    task = asyncio.create_task(fails(), name="keeps books")
    other = asyncio.create_task(_for_ever())
    await asyncio.sleep(0)
    with caplog.at_level(logging.ERROR):
        await end(task, None, other)
        await stopped("a part", fails(), 20.0)
        await stopped("another", _for_ever(), 0.01)
    assert other.cancelled()
    assert "keeps books failed" in caplog.text
    assert "a part failed" in caplog.text
    assert "another did not stop" in caplog.text


async def test_what_is_done_again_and_again_goes_on_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds < 3:
            raise OSError("no space left")
        done.set()

    with caplog.at_level(logging.ERROR):
        task = asyncio.create_task(again("cleaning", work, 0.001))
        async with asyncio.timeout(20):
            await done.wait()
            await end(task)
    assert caplog.text.count("cleaning failed: OSError('no space left')") == 2


# -- plugins ---------------------------------------------------------------------------------------------------------


async def test_plugins_that_fail_or_hang_at_a_stop_keep_nothing_else_from_stopping(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hub.delivery.target_base._STOP_S", 0.1)
    monkeypatch.setattr("hub.node.LATE_S", 0.1)
    over = asyncio.Event()

    async def swallows(outgoing: Outgoing) -> Reply:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue
        return Reply(True)

    async def fails(*_: Any) -> None:
        raise RuntimeError("of a plugin")

    async def hangs(*_: Any) -> None:
        await _for_ever()

    site.target("calm")
    site.target("deaf").react = swallows
    site.target("broken")
    hub = await start(site)
    await hub.send(1)
    await hub.reached(DeliveryState.DELIVERED, target="calm/up")
    await until(lambda: site.peer("deaf/up").calls)
    hub.wire.receivers["his/in"].stop = hangs  # type: ignore[method-assign]
    hub.node.engine.targets["broken/up"].sender.stop = fails  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR):
        await hub.stop(0.0)
    assert site.peer("calm/up").open == site.peer("deaf/up").open == 0
    assert "his/in did not stop" in caplog.text
    assert "broken/up failed: RuntimeError('of a plugin')" in caplog.text
    over.set()
    site.peer("deaf/up").react = lambda outgoing: Reply(True, b"{}", code="200", status=200)
    await hub.restart()  # the store was closed, and nothing is lost
    await hub.reached(DeliveryState.DELIVERED, target="deaf/up")


# -- workers ---------------------------------------------------------------------------------------------------------

_SLEEPS = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(300)"]


async def test_a_worker_that_is_just_being_started_at_a_stop_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """There was nothing to end when the others were told to, and the supervisor waited for it for ever."""
    stop, begun = asyncio.Event(), []

    async def start(command: list[str], **more: Any) -> ChildProcess:
        begun.append(await ChildProcess.start(command, **more))
        stop.set()
        return begun[-1]

    monkeypatch.setattr(run, "ChildProcess", type("Late", (), {"start": staticmethod(start)}))
    child = _Child(Path("hub.yaml"), 0, 1)
    child._command = _SLEEPS
    async with asyncio.timeout(20):
        await child.keep(stop)
    assert not begun[0].running


async def test_a_worker_that_can_not_be_started_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, tries = asyncio.Event(), 0

    async def start(command: list[str], **more: Any) -> ChildProcess:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return await ChildProcess.start(command, **more)

    monkeypatch.setattr(run, "ChildProcess", type("Refused", (), {"start": staticmethod(start)}))
    monkeypatch.setattr(run, "RESTART_S", 0.001)
    child = _Child(Path("hub.yaml"), 0, 1)
    child._command = _SLEEPS
    keeping = asyncio.create_task(child.keep(stop))
    async with asyncio.timeout(20):
        await child.ready.wait()
        stop.set()
        await child.end()
        await keeping
    assert tries == 3


# -- threads ---------------------------------------------------------------------------------------------------------

_HANGS = """
import asyncio, sys, threading
from hub import process_loop
from hub.contract import LogConfig
from hub.logs import setup

setup(LogConfig())
process_loop._LEAVE_S = 0.2

async def main():
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    return 3

sys.exit(process_loop.start_loop(main))
"""


def test_a_thread_that_hangs_does_not_keep_the_process_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", _HANGS], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "threads that do not end are left behind" in done.stderr  # the last line is written as well
