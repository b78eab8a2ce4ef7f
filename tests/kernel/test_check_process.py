"""The process that checks: asked, too slow, dead, broken, started again, and gone with the hub."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.checking.process import CheckProcess, NotChecked
from tests.kernel.process import wait_for

SPEC = {"key": "k1", "body": {"codec": "json"}}
CHILD = (sys.executable, "-m", "tests.kernel.slow_child")


@pytest.fixture
def process() -> Iterator[CheckProcess]:
    made = CheckProcess(20.0, CHILD)
    yield made
    made.close()


def rules(answer: dict[str, Any]) -> list[str]:
    return [finding["rule"] for finding in answer["findings"]]


def test_one_process_answers_many(process: CheckProcess) -> None:
    assert rules(process.ask(SPEC, b'{"check": "error"}', 1)) == ["obedient.told"]
    pid = process.pid
    large = b'{"text": "' + b"x" * (4 << 20) + b'"}'
    assert rules(process.ask(SPEC, large, 1)) == []
    assert rules(process.ask({**SPEC, "key": "k2"}, b'{"check": "warning"}', 1)) == ["obedient.told"]
    assert process.pid == pid


@pytest.mark.parametrize(("raw", "why"), [(b'{"check": "die"}', "ended"), (b'{"check"', "CodecError")])
def test_what_can_be_wrong_is_told_without_the_message(process: CheckProcess, raw: bytes, why: str) -> None:
    with pytest.raises(NotChecked, match=why):
        process.ask(SPEC, raw, 1)
    assert rules(process.ask(SPEC, b'{"check": "error"}', 1)) == ["obedient.told"]


def test_one_that_hangs_is_killed_and_started_again() -> None:
    process = CheckProcess(0.2, CHILD)
    process.prepare(SPEC)
    pid = process.pid
    assert pid is not None
    with pytest.raises(NotChecked, match=r"0\.2 s"):
        process.ask(SPEC, b'{"check": "hang"}', 1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    process.prepare(SPEC)
    assert process.pid != pid
    process.close()


def test_one_that_died_between_two_questions_is_started_again(process: CheckProcess) -> None:
    process.prepare(SPEC)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert rules(process.ask(SPEC, b'{"check": "error"}', 1)) == ["obedient.told"]


@pytest.mark.parametrize("command", [("/nonexistent",), (sys.executable, "-c", "raise SystemExit(1)")])
def test_one_that_does_not_start_is_not_tried_all_the_time(command: tuple[str, ...]) -> None:
    process = CheckProcess(5.0, command)
    with pytest.raises(NotChecked):
        process.ask(SPEC, b"{}", 1)
    with pytest.raises(NotChecked, match="can't be started"):
        process.ask(SPEC, b"{}", 1)
    process.close()


def test_none_is_started_after_the_end(process: CheckProcess) -> None:
    process.prepare(SPEC)
    process.kill()
    with pytest.raises(NotChecked):
        process.ask(SPEC, b"{}", 1)
    with pytest.raises(NotChecked):
        process.ask(SPEC, b"{}", 1)
    assert process.pid is None


def test_it_does_not_outlive_a_hub_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, threading\n"
        "from hub.checking.process import CheckProcess\n"
        f"process = CheckProcess(1000.0, {CHILD!r})\n"
        f"process.prepare({SPEC!r})\n"
        "print(process.pid, flush=True)\n"
        f'process.ask({SPEC!r}, b\'{{"check": "hang"}}\', 1)\n'
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as hub:
        assert hub.stdout is not None
        pid = int(hub.stdout.readline())
        hub.kill()

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
        except FileNotFoundError:
            return True

    wait_for(gone, "the process that checks ends")
