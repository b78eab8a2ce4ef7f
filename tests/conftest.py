"""Where tests write, how they are shared out, what they draw, and that nothing is left of them: the same on every machine, however busy."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.nodeid import NodeId
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]

#: What takes longest comes first: whoever is free at the end is to find something small.
LONGEST = ("tests/contracts/", "tests/plugins/test_portal_apps_all.py", "tests/chaos/", "tests/demo/", "tests/peers/")
#: In the environment of every process that a test starts.
MARK = "TONGQU_TESTS"
#: What is about to end when the tests have, may take so long, seconds.
ENDING_S = 10.0

#: A file system in memory, used where it has so much room: stores wait for the disk with every commit, and no test cuts the power.
MEMORY = Path("/dev/shm")
ROOM = 6 << 30
#: Begins the names of the folders of runs there; the number of the process follows.
RUN = "tongqu-tests-"

# A slow machine is no mistake, and a run shows what was changed, not what it drew: `--hypothesis-profile=search` looks for more.
settings.register_profile(
    "same",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("search", settings.get_profile("same"), derandomize=False, print_blob=True)
settings.load_profile("same")


# -- where they write --------------------------------------------------------------------------------------------------


def _room() -> bool:
    try:
        found = os.statvfs(MEMORY)
    except OSError:
        return False
    return os.access(MEMORY, os.W_OK) and not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize >= ROOM


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One folder in memory for all of a run, unless it is told where to write; what earlier runs kept of failed tests goes."""
    if hasattr(config, "workerinput") or config.option.basetemp or "TMPDIR" in os.environ or not _room():
        return
    for old in MEMORY.glob(f"{RUN}*"):
        if not Path("/proc", old.name.removeprefix(RUN)).exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = MEMORY / f"{RUN}{os.getpid()}"
    folder.mkdir()
    folder.chmod(0o1777)  # servers of tests run under accounts of their own
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    config.option.basetemp = str(folder / "t")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None]:
    """Nothing is kept of a run without a failure."""
    yield
    if not exitstatus:
        shutil.rmtree(MEMORY / f"{RUN}{os.getpid()}", ignore_errors=True)


# -- who runs what -----------------------------------------------------------------------------------------------------


class ByModule(LoadGroupScheduling):  # type: ignore[misc]
    """Tests that name no group stay with those of their file: what they share is set up once."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return nodeid.split("::", 1)[0] if scope == nodeid else scope


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByModule | None:
    if config.getvalue("dist") != "loadgroup":
        return None
    config.option.loadscopereorder = False  # how many tests a file has says little about how long they take
    return ByModule(config, log)


def pytest_xdist_auto_num_workers() -> int | None:
    """Half as many again as there are processors, for tests wait much of their time; a number in the environment counts."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else (os.cpu_count() or 1) * 3 // 2


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        return next((at for at, start in enumerate(LONGEST) if item.nodeid.startswith(start)), len(LONGEST))

    items.sort(key=rank)
    for item in items if hasattr(config, "workerinput") else ():
        groups = sorted({str(mark.args[0]) for mark in item.iter_markers("xdist_group")})
        suffix = f"@{'_'.join(groups)}"
        if groups and not item.nodeid.endswith(suffix):  # pytest-xdist 3.8 writes it where pytest 9.2 no longer reads
            item._id = NodeId.parse(item.nodeid + suffix)


def pytest_collection_finish() -> None:
    """The tests themselves stay until the end: the garbage collector need not look at them, nor as often as it does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


# -- nothing is left ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _nothing_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Processes and mounts end with the tests that made them; what is left is removed, and a mistake."""
    os.environ[MARK] = str(os.getpid())
    yield
    end = time.monotonic() + ENDING_S
    while _processes() and time.monotonic() < end:
        time.sleep(0.05)
    left = _processes()
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    mounts = _mounts(tmp_path_factory.getbasetemp())
    for mount in mounts:
        subprocess.run(["umount", "-l", mount], check=False)
    assert not left, f"processes outlived their tests: {list(left.values())}"
    assert not mounts, f"still mounted: {mounts}"


def _processes() -> dict[int, str]:
    """Processes of this run that still live, descendants or not: pid -> command line; none where there is no ``/proc``."""
    word = f"{MARK}={os.getpid()}".encode()
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if "multiprocessing.resource_tracker" not in words:  # ends with this process
                    found[int(entry.name)] = words
    return found


def _mounts(folder: Path) -> list[str]:
    """What is mounted below a folder, the innermost first."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [place for line in reversed(lines) if Path(place := line.split()[1]).is_relative_to(folder)]
