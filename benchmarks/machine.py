"""The machine the figures are from, how fast it is just now, and whether anybody else uses it."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

__all__ = ["Failed", "busy_ticks", "describe", "speed_ms", "wait_quiet"]

_TICK = os.sysconf("SC_CLK_TCK")
#: Share of one processor in use below which the machine counts as quiet.
_QUIET = 0.15


class Failed(Exception):
    """A run that lost, repeated, reordered or refused something; its figures count for nothing."""


def _first(path: str, key: str) -> str:
    """The value of the first line ``key: value`` of a file."""
    try:
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    except OSError:
        pass
    return "unknown"


def _disk(folder: Path) -> str:
    """File system and device a folder is on."""
    best = ("", "unknown")
    try:
        for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
            device, point, kind = line.split()[:3]
            if str(folder.resolve()).startswith(point.rstrip("/") + "/") and len(point) > len(best[0]):
                best = (point, f"{kind} on {device}")
    except OSError:
        pass
    return best[1]


def describe(folder: Path) -> dict[str, str]:
    """What a reader needs to know to compare figures."""
    memory = _first("/proc/meminfo", "MemTotal").split()
    return {
        "cpu": _first("/proc/cpuinfo", "model name"),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory[0]) / 1e6:.0f} GB" if memory[0].isdigit() else "unknown",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "disk": _disk(folder),
    }


def busy_ticks() -> int:
    """Clock ticks all processors together have worked since the machine started."""
    values = [int(value) for value in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return sum(values) - values[3] - values[4] - values[7]


def wait_quiet(patience: float) -> bool:
    """Wait, at most so many seconds, until nobody else uses the machine; returns whether it is quiet."""
    deadline = time.monotonic() + patience
    while True:
        ticks, at = busy_ticks(), time.monotonic()
        time.sleep(0.5)
        if (busy_ticks() - ticks) / _TICK / (time.monotonic() - at) < _QUIET:
            return True
        if time.monotonic() >= deadline:
            return False


def speed_ms() -> float:
    """Median milliseconds of a fixed loop: a virtual processor does not always run at the same speed."""
    took = []
    for _ in range(30):
        began = time.perf_counter()
        total = 0
        for number in range(100_000):
            total += number & 3
        took.append((time.perf_counter() - began) * 1e3)
    return sorted(took)[len(took) // 2]
