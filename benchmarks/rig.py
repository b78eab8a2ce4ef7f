"""A hub in a process of its own, as in production, with generator and sink beside it; and what the machine does meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import apsw

from benchmarks.load import PATIENTS, split_control_id
from benchmarks.machine import Failed, busy_ticks
from benchmarks.mapping import MAPPING, TABLES
from benchmarks.sink import unpack
from hub.message import DeliveryState, Direction

__all__ = ["ROOT", "Failed", "Hub", "Measured", "Sink", "first_arrival", "folder", "generate"]

ROOT = Path(__file__).resolve().parents[1]
_TICK = os.sysconf("SC_CLK_TCK")
_START_S = 120.0
_DRAIN_S = 60.0

_SOURCE = """\
id: bench_source
name: Source of the benchmark
settings:
  port: {type: port, required: true}
interfaces:
  adt:
    direction: in
    adapter: mllp
    listen: {port: "${port}"}
    codec: hl7v2
    keys: {patient_id: PID-3.1, name: PID-5.1, visit: PV1-19.1}
"""
_TARGET = """\
id: bench_target
name: Target of the benchmark
settings:
  url: {type: url, required: true}
interfaces:
  in:
    direction: out
    adapter: http
    connect: {url: "${url}/in", connections: 32}
    codec: json
    mapping: adt
    order_by: PID-3.1
    concurrency: 32
    success: code == 1001
"""


def folder() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder; TONGQU_BENCH_DIR says on which disk."""
    return tempfile.TemporaryDirectory(prefix="tongqu-bench-", dir=os.environ.get("TONGQU_BENCH_DIR"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Sink:
    """The HTTP sink in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sink"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def seen(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/seen", timeout=10) as reply:
            found: dict[str, Any] = json.load(reply)
            return found

    def take(self) -> tuple[list[bytes], list[float]]:
        with urllib.request.urlopen(f"{self.url}/take", timeout=60) as reply:
            ids, times = unpack(reply.read())
            return ids, list(times)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def generate(ports: list[int], connections: int, seconds: float, tag: str, idle: int = 0) -> dict[str, Any]:
    """Run the generator in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.load", "-c", str(connections), "-t", str(seconds), "--tag", tag]
    command += ["--idle", str(idle), *(part for port in ports for part in ("--port", str(port)))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=seconds + 120, check=False)
    if done.returncode:
        raise Failed(f"the generator failed: {done.stderr.decode(errors='replace')[-400:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@dataclass(slots=True)
class Measured:
    """One run, checked: nothing lost, nothing twice, nothing out of order."""

    acked: int
    rate: float  # acknowledgements per second
    delivered_rate: float  # messages delivered per second from the first send to the last arrival; 0 without a sink
    latency_ms: dict[str, float]
    hub_us: float  # processor time of the hub and its children per message
    threads_us: dict[str, float]  # the same, by thread
    other_percent: float  # of one core, used by none of the benchmark's own processes
    pss_mb: float


@dataclass(slots=True)
class _Usage:
    """Processor ticks at a moment."""

    at: float
    threads: dict[str, int]
    mine: int
    machine: int


class Hub:
    """A hub that runs ``sources`` inbound systems, each with a route to the sink when there is one."""

    def __init__(
        self,
        home: Path,
        *,
        sink: Sink | None = None,
        sources: int = 1,
        workers: int = 1,
        plugins: int = 0,
        store: dict[str, Any] | None = None,
        route: bool = True,
        beside: str = "",
        wrapper: list[str] | None = None,
    ) -> None:
        """``beside``: the URL of a second target that gets everything, too."""
        self.home = home
        self.ports = [free_port() for _ in range(sources)]
        self._sink = sink
        self._workers = workers
        self._wrapper = wrapper or []
        self._process: subprocess.Popen[bytes]
        self.start_s = 0.0
        self.began = 0.0  # of the last start, seconds of the monotonic clock
        self.acknowledged = 0  # by all runs together
        self._write(sources, plugins, store or {}, route and sink is not None, beside)

    def _write(self, sources: int, plugins: int, store: dict[str, Any], route: bool, beside: str) -> None:
        home = self.home
        files = {
            "plugins/bench_source/plugin.yaml": _SOURCE,
            "plugins/bench_target/plugin.yaml": _TARGET,
            "mappings/adt.yaml": MAPPING,
            **{f"mappings/tables/{name}.csv": text for name, text in TABLES.items()},
        }
        for number in range(plugins):
            name = f"spare_{number:03d}"
            text = (_SOURCE if number % 2 else _TARGET).replace("bench_source", name).replace("bench_target", name)
            files[f"plugins/{name}/plugin.yaml"] = text.replace("mapping: adt", f"mapping: {name}")
            if not number % 2:
                files[f"mappings/{name}.yaml"] = MAPPING
        config: dict[str, Any] = {
            "plugins": ["../plugins"],
            "mappings": ["../mappings"],
            "store": {"path": "../var", **store},
            "admin": {"port": free_port()},
            "systems": {
                f"source{number}": {
                    "plugin": "bench_source",
                    "settings": {"port": port},
                    "worker": number % self._workers,
                }
                for number, port in enumerate(self.ports)
            },
        }
        if self._sink is not None:
            # Two workers can't keep one order at one target, so each source has a target of its own.
            for number in range(sources):
                config["systems"][f"target{number}"] = {"plugin": "bench_target", "settings": {"url": self._sink.url}}
            if route:
                config["routes"] = {
                    f"route{number}": {"from": f"source{number}/adt", "to": f"target{number}/in"}
                    for number in range(sources)
                }
        if beside:
            config["systems"]["beside"] = {"plugin": "bench_target", "settings": {"url": beside}}
            config["routes"]["beside"] = {"from": "source0/adt", "to": "beside/in"}
        for number in range(plugins):
            kind = {"port": free_port()} if number % 2 else {"url": "http://127.0.0.1:9"}
            config["systems"][f"spare{number}"] = {"plugin": f"spare_{number:03d}", "settings": kind}
        files["config/hub.yaml"] = json.dumps(config)
        for name, text in files.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> float:
        """Start and wait until every source accepts connections; returns the seconds this took."""
        command = [
            *self._wrapper,
            sys.executable,
            "-m",
            "hub.cli",
            "run",
            "--config",
            str(self.home / "config/hub.yaml"),
        ]
        command += ["--workers", str(self._workers)] if self._workers > 1 else []
        log = (self.home / "hub.log").open("ab")
        self.began = began = time.monotonic()
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        log.close()
        for port in self.ports:
            while True:
                if self._process.poll() is not None:
                    raise Failed(f"the hub did not start: {self.log()[-800:]}")
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if time.monotonic() - began > _START_S:
                        raise Failed(f"the hub did not start in time: {self.log()[-800:]}") from None
                    time.sleep(0.005)
        self.start_s = time.monotonic() - began
        return self.start_s

    def log(self) -> str:
        return (self.home / "hub.log").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
                raise Failed("the hub did not stop within 60 s") from None

    def kill(self) -> None:
        """As a crash would end it."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(10)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def pids(self) -> list[int]:
        """The main process and everything it started."""
        found = [self._process.pid]
        for pid in found:
            for task in _tasks(pid):
                try:
                    children = Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii")
                except OSError:
                    continue
                found.extend(int(child) for child in children.split() if int(child) not in found)
        return found

    # -- measuring -----------------------------------------------------------------------------------------------

    def run(self, connections: int, seconds: float, tag: str, *, idle: int = 0) -> Measured:
        """Load, wait until everything is delivered, check it, and tell how fast it was."""
        before = self._usage()
        found = generate(self.ports, connections, seconds, tag, idle)
        pss = self.pss_mb()
        self.acknowledged += found["total"]
        problems = [f"{number} × {what}" for what, number in found["errors"].items()]
        ended = found["ended"]
        if self._sink is not None and self._routed:
            ended = self._drain(found["total"], ended)
        after = self._usage()
        if self._sink is not None and self._routed:
            problems += _compare(found["acked"], self._sink.take(), tag)
        if problems:
            raise Failed("; ".join(problems[:5]))
        count = max(1, found["total"])
        spent = {name: after.threads[name] - before.threads.get(name, 0) for name in after.threads}
        other = (after.machine - before.machine) - (after.mine - before.mine) - int(found["cpu_s"] * _TICK)
        return Measured(
            acked=found["total"],
            rate=found["rate"],
            delivered_rate=count / (ended - found["began"]) if self._routed else 0.0,
            latency_ms=found["latency_ms"],
            hub_us=sum(spent.values()) / _TICK / count * 1e6,
            threads_us={name: ticks / _TICK / count * 1e6 for name, ticks in spent.items() if ticks > 3},
            other_percent=max(0.0, other / _TICK / (after.at - before.at) * 100),
            pss_mb=pss,
        )

    @property
    def _routed(self) -> bool:
        return "routes" in json.loads((self.home / "config/hub.yaml").read_text(encoding="utf-8"))

    def _drain(self, expected: int, ended: float) -> float:
        """Wait until the sink has everything, or nothing has come for a while; returns the time of the last arrival."""
        assert self._sink is not None
        deadline = time.monotonic() + _DRAIN_S
        last = ended
        while time.monotonic() < deadline:
            seen = self._sink.seen()
            if seen["last"] > last:
                last = seen["last"]
                deadline = time.monotonic() + 5.0
            if seen["count"] >= expected:
                return max(ended, last)
            time.sleep(0.05)
        return last

    def _usage(self) -> _Usage:
        threads: Counter[str] = Counter()
        for pid in self.pids():
            for task in _tasks(pid):
                name, ticks = _ticks(f"/proc/{pid}/task/{task}/stat")
                role = "main" if pid == self.pid and int(task) == pid else name
                threads[role if pid == self.pid else f"{_role(pid)}"] += ticks
        mine = sum(threads.values()) + (_ticks(f"/proc/{self._sink.pid}/stat")[1] if self._sink else 0)
        return _Usage(time.monotonic(), dict(threads), mine, busy_ticks())

    def pss_mb(self) -> float:
        """Proportional resident memory of all processes of the hub, MB."""
        total = 0
        for pid in self.pids():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            except OSError:
                continue
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return total / 1024

    def counts(self) -> dict[str, int]:
        """What the store holds once the hub has stopped: messages, deliveries delivered, calls out."""
        found: Counter[str] = Counter()
        for path in self.home.glob("var/worker-*/segment-*.db"):
            connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            for name, sql in (
                ("messages", "SELECT count(*) FROM message"),
                ("delivered", f"SELECT count(*) FROM delivery WHERE state = {int(DeliveryState.DELIVERED)}"),
                ("deliveries", "SELECT count(*) FROM delivery"),
                ("calls out", f"SELECT count(*) FROM call WHERE direction = {int(Direction.OUT)}"),
            ):
                found[name] += int(str(connection.execute(sql).fetchall()[0][0]))
            connection.close()
        return dict(found)

    def clear(self) -> None:
        """Forget everything stored."""
        shutil.rmtree(self.home / "var", ignore_errors=True)


def first_arrival(sink: Sink, began: float) -> float:
    """Seconds from a moment until the sink had its first message."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        first = sink.seen()["first"]
        if first:
            return float(first) - began
        time.sleep(0.02)
    raise Failed("nothing was delivered")


def _compare(acked: list[int], taken: tuple[list[bytes], list[float]], tag: str) -> list[str]:
    """What of the acknowledged is missing at the sink, there twice, or before an earlier one of its patient."""
    arrived: list[set[int]] = [set() for _ in acked]
    newest: dict[tuple[int, int], int] = {}
    twice = late = strange = 0
    for control in taken[0]:
        run, connection, number = split_control_id(control)
        if run != tag or connection >= len(acked):
            strange += 1
            continue
        twice += number in arrived[connection]
        arrived[connection].add(number)
        key = (connection, number % PATIENTS)
        late += newest.get(key, -1) > number
        newest[key] = max(number, newest.get(key, -1))
    missing = sum(len(set(range(count)) - there) for count, there in zip(acked, arrived, strict=True))
    counts = {"missing": missing, "twice": twice, "out of order": late, "of another run": strange}
    return [f"{number} {what}" for what, number in counts.items() if number]


def _tasks(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def _ticks(path: str) -> tuple[str, int]:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", 0
    name, rest = text[text.find("(") + 1 : text.rfind(")")], text[text.rfind(")") + 2 :].split()
    return name, int(rest[11]) + int(rest[12])


def _role(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return "child"
    return "indexer" if "hub.store.indexer" in command else "worker"
