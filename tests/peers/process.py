"""Real servers for tests: started on loopback ports of their own, in a folder of their own, and stopped afterwards.

A test asks for one through a fixture of :mod:`tests.peers.conftest`. Where the program is missing the test is skipped with the command
that installs it; with ``TONGQU_PEERS=required`` in the environment, as in CI, it fails instead.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from tests.ports import free_port

__all__ = ["Server", "free_port", "need", "need_module", "port_open", "until"]

REQUIRED = "TONGQU_PEERS"
_WORD = "TONGQU_PEER_FOLDER"
_START_S = 60.0
_STOP_S = 20.0
_SYSTEM_FOLDERS = (
    "/usr/sbin",
    "/sbin",
    "/usr/lib/rabbitmq/bin",
    "/usr/lib/postgresql/17/bin",
    "/usr/lib/postgresql/15/bin",
)


def need(program: str, package: str) -> str:
    """The path of a program; skips, or fails where peers are required, with the command that installs it."""
    # Not what a Python package installs under the same name into a virtual environment: pynetdicom has a storescu of its own.
    known = os.environ.get("PATH", "").split(os.pathsep)
    folders = [one for one in known if one and not Path(one).with_name("pyvenv.cfg").exists()]
    path = os.pathsep.join([*folders, *_SYSTEM_FOLDERS])
    found = shutil.which(program, path=path)
    if found is None:
        text = f"{program} is missing: apt-get install --no-install-recommends {package}"
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(text)
        pytest.skip(text)
    return found


def need_module(name: str, package: str) -> ModuleType:
    """A Python module; skips, or fails where peers are required, with the command that installs it."""
    try:
        return import_module(name)
    except ImportError:
        text = f"{name} is missing: pip install {package}"
        if os.environ.get(REQUIRED) == "required":
            raise
        pytest.skip(text, allow_module_level=True)


def port_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def until(condition: Callable[[], bool], what: str, seconds: float = _START_S) -> None:
    """Wait for something another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)


def _stopped(process: int) -> bool:
    """Whether every thread of a process stands still: a signal takes a moment to reach them."""
    with contextlib.suppress(OSError):
        tasks = Path(f"/proc/{process}/task").iterdir()
        return all((task / "stat").read_text().rpartition(")")[2].split()[0] in "TZX" for task in tasks)
    return True


class Server(ABC):
    """One server in the foreground, its log in ``folder/server.log``."""

    package: ClassVar[str]  # Debian package that brings it
    user: ClassVar[str] = ""  # account it runs under when the tests run as root

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    # -- what a kind of server says ------------------------------------------------------------------------------

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Write its configuration; once, before the first start."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Program and arguments that run it in the foreground."""

    def environment(self) -> Mapping[str, str]:
        return {}

    def ready(self) -> bool:
        """Whether it answers."""
        return port_open(self.port)

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        if self._process is None and not (self.folder / ".prepared").exists():
            self.prepare()
            (self.folder / ".prepared").touch()
            self.own(self.folder)
        command = [*self.as_user(), *self.command()]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **self.environment(), _WORD: str(self.folder)},
                start_new_session=True,
            )
        until(self._answers, f"{command} does not answer:\n{self.log()}")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"{type(self).__name__} ended by itself:\n{self.log()}")
        return self.ready()

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without warning, as a power cut would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)
        until(lambda: all(_stopped(process) for process in self._members()), "the server does not stop")

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(number)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            process.wait()
        self._signal(signal.SIGKILL)  # children that outlive it
        until(lambda: not self._members() and not port_open(self.port), f"{process.args} does not end")

    def _signal(self, number: signal.Signals) -> None:
        for process in self._members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def _members(self) -> list[int]:
        """All its processes, those that made themselves a session of their own included: its descendants, and those whose
        parent is gone by a word in their environment (some servers write over that)."""
        word = f"{_WORD}={self.folder}".encode()
        parents: dict[int, int] = {}
        found: set[int] = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                    if state == "Z":
                        continue
                    parents[int(entry.name)] = int(parent)
                    if word in (entry / "environ").read_bytes().split(b"\0"):
                        found.add(int(entry.name))
        if self._process is not None and self._process.poll() is None:
            found.add(self._process.pid)
        while more := {child for child, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found)

    # -- helpers -------------------------------------------------------------------------------------------------

    def log(self) -> str:
        with contextlib.suppress(OSError):
            return (self.folder / "server.log").read_text(errors="replace")[-4000:]
        return ""

    def as_user(self) -> list[str]:
        if self.user and os.geteuid() == 0:
            return [need("setpriv", "util-linux"), "--reuid", self.user, "--regid", self.user, "--init-groups", "--"]
        return []

    def own(self, path: Path) -> None:
        """Hand a folder over to the account the server runs under, and let it reach it."""
        if self.as_user():
            subprocess.run(["chown", "-R", self.user, str(path)], check=True)
            for parent in path.resolve().parents:
                if parent.owner() == "root" and parent != Path("/"):
                    with contextlib.suppress(OSError):
                        parent.chmod(parent.stat().st_mode | 0o011)

    def run(self, *command: str, text: str = "") -> str:
        """Run a tool of the server under its account; raises with its output when it fails."""
        done = subprocess.run(
            [*self.as_user(), *command],
            input=text,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, **self.environment()},
        )
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout
