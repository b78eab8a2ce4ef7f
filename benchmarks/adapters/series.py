"""The series: every case in turn with its bare counterpart, so that what else the machine does hits both alike."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.adapters import brokers, folders, frames, imaging, mail, tables, web
from benchmarks.adapters.measure import Case, Run
from benchmarks.machine import Failed

__all__ = ["Comparison", "compare", "print_table"]

#: Adapters -> the cases, given a folder and the share of the usual number of messages.
Group = Callable[[Path, float], Iterator[Case]]
_GROUPS: list[tuple[tuple[str, ...], Group]] = [
    (("http", "http_poll"), web.http),
    (("soap",), web.soap),
    (("fhir",), web.fhir),
    (("mllp", "tcp"), frames.cases),
    (("dicom",), imaging.dicom),
    (("dicomweb",), imaging.dicomweb),
    (("sql",), tables.sqlite),
    (("sql",), tables.postgresql),
    (("file",), folders.local),
    (("sftp",), folders.sftp),
    (("ftp",), folders.ftp),
    (("mq",), brokers.rabbitmq),
    (("amqp1",), brokers.amqp1),
    (("redis",), brokers.redis),
    (("stomp",), brokers.stomp),
    (("kafka",), brokers.kafka),
    (("mail",), mail.smtp),
    (("mail",), mail.imap),
]
_QUICK = 0.02


@dataclass(slots=True)
class Comparison:
    """One row: runs of the adapter, and of what it is compared with; or why there are none."""

    adapter: str
    direction: str = ""
    bare_name: str = ""
    ours: list[Run] = field(default_factory=list)
    bare: list[Run] = field(default_factory=list)
    skipped: str = ""  # what is missing here, with the command that installs it
    failed: str = ""

    def rate(self, runs: list[Run]) -> float:
        """Messages a second, the median."""
        return statistics.median(run.count / run.seconds for run in runs) if runs else 0.0

    def processor_us(self, runs: list[Run]) -> float:
        """Microseconds of processor time a message, the median."""
        return statistics.median(run.processor / run.count * 1e6 for run in runs) if runs else 0.0

    @property
    def wall_ratio(self) -> float:
        """How many times as long as the bare one it takes."""
        return self.rate(self.bare) / self.rate(self.ours) if self.ours and self.bare else 0.0

    @property
    def processor_ratio(self) -> float:
        bare = self.processor_us(self.bare)
        return self.processor_us(self.ours) / bare if bare else 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "rate": self.rate(self.ours),
            "bare_rate": self.rate(self.bare),
            "processor_us": self.processor_us(self.ours),
            "bare_processor_us": self.processor_us(self.bare),
            "wall_ratio": self.wall_ratio,
            "processor_ratio": self.processor_ratio,
        }


def compare(runs: int = 3, only: str = "", *, quick: bool = False) -> Iterator[Comparison]:
    """Every case of the adapters whose name begins with ``only``; ``quick`` shows whether it works, not how fast it is."""
    for names, group in _GROUPS:
        if not any(name.startswith(only) for name in names):
            continue
        with tempfile.TemporaryDirectory(prefix="tongqu-bench-") as folder:
            Path(folder).chmod(0o711)  # servers under other accounts have theirs in it
            try:
                for case in group(Path(folder), _QUICK if quick else 1.0):
                    if case.adapter.startswith(only):
                        yield _compared(case, runs)
            except pytest.skip.Exception as missing:
                yield Comparison("/".join(names), skipped=str(missing))
            except Exception as error:
                yield Comparison("/".join(names), failed=f"{type(error).__name__}: {error}")


def _compared(case: Case, runs: int) -> Comparison:
    row = Comparison(case.adapter, case.direction, case.bare_name)
    try:
        for _ in range(runs):
            row.bare.append(case.bare())
            row.ours.append(case.ours())
    except (Failed, TimeoutError) as error:
        row.failed = str(error) or "not finished in time"
    return row


def print_table(rows: Iterator[Comparison]) -> list[Comparison]:
    """Print each row when it is there."""
    heads = (
        f"{'adapter':<10}{'':<14}",
        f"{'messages/s':>11}{'bare':>10}{'ratio':>7}",
        f"{'us each':>10}{'bare':>9}{'ratio':>7}",
    )
    print(*heads, "  compared with", flush=True)
    found = []
    for row in rows:
        found.append(row)
        name = f"{row.adapter:<10}{row.direction:<14}"
        if row.skipped or row.failed:
            print(name, f" {'skipped' if row.skipped else 'FAILED'}: {row.skipped or row.failed}", flush=True)
            continue
        wall = f"{row.rate(row.ours):>11,.0f}{row.rate(row.bare):>10,.0f}{row.wall_ratio:>7.2f}"
        used = f"{row.processor_us(row.ours):>10,.1f}{row.processor_us(row.bare):>9,.1f}{row.processor_ratio:>7.2f}"
        print(name, wall, used, f"  {row.bare_name}", flush=True)
    sys.stdout.flush()
    return found
