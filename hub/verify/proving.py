"""Running the tests that are named as proof: each once, whatever the number of plugins it speaks for."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hub.i18n import t
from hub.verify.model import Status

__all__ = ["Proven", "prove"]

#: The tests of one file together may take so long, seconds.
_PATIENCE_S = 900.0
_EXCERPT = 300


@dataclass(frozen=True, slots=True)
class Proven:
    """What a test said. One that was skipped, for want of a peer, proves nothing."""

    status: Status
    why: str = ""
    seconds: float = 0.0


def prove(root: Path, names: Iterable[str], *, jobs: int = 1) -> dict[str, Proven]:
    """Run tests named as ``tests/…/test_x.py::test_y``, those of a file in one process, files ``jobs`` at a time."""
    files: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        files[name.partition("::")[0]].append(name)
    found: dict[str, Proven] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for part in pool.map(lambda named: _file(root, named), files.values()):
            found |= part
    return found


def _file(root: Path, names: list[str]) -> dict[str, Proven]:
    with tempfile.TemporaryDirectory(prefix="tongqu-proof-") as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}"]
        command += [f"--basetemp={Path(folder) / 'temp'}", *names]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        try:
            done = subprocess.run(  # noqa: S603 - names of tests that are in the files of plugins
                command, cwd=root, env=environment, capture_output=True, timeout=_PATIENCE_S
            )
        except subprocess.TimeoutExpired:
            why = t(f"not done within {_PATIENCE_S:.0f} s", f"{_PATIENCE_S:.0f} 秒内未完成")
            return dict.fromkeys(names, Proven(Status.FAILED, why))
        except OSError as error:
            why = t(f"pytest can't be run: {error.strerror}", f"无法运行 pytest：{error.strerror}")
            return dict.fromkeys(names, Proven(Status.SKIPPED, why))
        cases = _cases(report)
    told = (done.stdout or done.stderr).decode("utf-8", "replace").strip()
    last = told.splitlines()[-1][:_EXCERPT] if told else ""
    return {name: _judged(name, cases, last) for name in names}


def _cases(report: Path) -> Mapping[tuple[str, str], Proven]:
    """(module with class, test) -> what it said."""
    try:
        root = ElementTree.parse(report).getroot()  # noqa: S314 - pytest has written it
    except (OSError, ElementTree.ParseError):
        return {}
    found: dict[tuple[str, str], Proven] = {}
    for case in root.iter("testcase"):
        bad = next((part for part in case if part.tag in ("failure", "error")), None)
        skipped = case.find("skipped")
        status, part = Status.PASSED, None
        if bad is not None:
            status, part = Status.FAILED, bad
        elif skipped is not None:
            status, part = Status.SKIPPED, skipped
        why = (part.get("message") or "") if part is not None else ""
        place = case.get("classname", ""), case.get("name", "")
        found[place] = Proven(status, why.strip()[:_EXCERPT], float(case.get("time") or 0))
    return found


def _judged(name: str, cases: Mapping[tuple[str, str], Proven], last: str) -> Proven:
    """Failed where one of a test's cases has, passed where one has passed; one that ran none has failed, and ``last`` says why."""
    file, *classes, test = name.split("::")
    module = ".".join((file.removesuffix(".py").replace("/", "."), *classes))
    own = [
        proven
        for (place, case), proven in cases.items()
        if place == module and (case == test or ("[" not in test and case.startswith(f"{test}[")))
    ]
    seconds = sum(one.seconds for one in own)
    for status in (Status.FAILED, Status.PASSED, Status.SKIPPED):
        first = next((one for one in own if one.status is status), None)
        if first is not None:
            return Proven(status, first.why, seconds)
    return Proven(Status.FAILED, last or t("it was not run", "未运行"))
