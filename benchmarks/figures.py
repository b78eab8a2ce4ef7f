"""The figures of the table: what is measured, against which goal, beside which limit of the machine."""

from __future__ import annotations

import socket
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks import formats, mapping, store
from benchmarks.limits import mllp_echo, sink_posts
from benchmarks.machine import wait_quiet
from benchmarks.prefill import fill_history, fill_pending
from benchmarks.rig import Failed, Hub, Measured, Sink, first_arrival, folder
from hub.codecs.hl7v2 import Hl7Codec

__all__ = ["SERIES", "Figure", "Scale"]


#: Above this share of one processor used by others, a verdict says so: the figure is a lower bound, not the hub's.
BUSY_PERCENT = 25.0


@dataclass(slots=True)
class Scale:
    """How long and how much; ``patience``: seconds to wait for a quiet machine before each run."""

    runs: int = 5
    seconds: float = 5.0
    warm_up: float = 2.0
    pending: int = 1_000_000
    stored: int = 1_000_000
    patience: float = 20.0

    @classmethod
    def quick(cls) -> Scale:
        return cls(2, 2.0, 1.0, 50_000, 50_000, 0.0)


@dataclass(slots=True)
class Figure:
    """One row of the table."""

    name: str
    unit: str
    goal: float = 0.0
    at_most: bool = False  # the goal is an upper bound
    values: list[float] = field(default_factory=list)
    limit: float = 0.0
    limit_name: str = ""
    other: list[float] = field(default_factory=list)  # processor time of others in each run, percent of one core
    failed: list[str] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values) if self.values else 0.0

    @property
    def verdict(self) -> str:
        if self.failed:
            return f"FAILED {self.failed[0]}"
        if not self.goal or not self.values:
            return ""
        met = self.median <= self.goal if self.at_most else self.median >= self.goal
        busy = bool(self.other) and statistics.median(self.other) > BUSY_PERCENT
        return ("met" if met else "missed") + (" (busy)" if busy else "")


Series = Callable[[Scale], Iterator[Figure]]
_tags = count()


def _tag() -> str:
    return f"{next(_tags) % 10_000:04d}"


def _repeat(hub: Hub, scale: Scale, connections: int, *, idle: int = 0) -> tuple[list[Measured], list[str]]:
    """Warm up, then the runs; what went wrong in them."""
    measured: list[Measured] = []
    failed: list[str] = []
    try:
        hub.run(connections, scale.warm_up, _tag(), idle=idle)
    except Failed as error:
        failed.append(f"warm-up: {error}")
    for _ in range(scale.runs):
        wait_quiet(scale.patience)
        try:
            measured.append(hub.run(connections, scale.seconds, _tag(), idle=idle))
        except Failed as error:
            failed.append(str(error))
    return measured, failed


def _figure(
    name: str,
    unit: str,
    value: Callable[[Measured], float],
    found: tuple[list[Measured], list[str]],
    goal: float = 0.0,
    *,
    at_most: bool = False,
    limit: float = 0.0,
    limit_name: str = "",
) -> Figure:
    measured, failed = found
    values = [value(one) for one in measured]
    other = [one.other_percent for one in measured]
    return Figure(name, unit, goal, at_most, values, limit, limit_name, other, failed)


def _p99(one: Measured) -> float:
    return one.latency_ms["p99"]


def _acknowledging(scale: Scale) -> Iterator[Figure]:
    """MLLP to durable acknowledgement."""
    for route in (False, True):
        what = "one route" if route else "no route"
        for connections in (32, 1):
            limit = mllp_echo(connections, scale.seconds)
            with folder() as home, Sink() as sink:
                hub = Hub(Path(home), sink=sink, route=route)
                with hub:
                    found = _repeat(hub, scale, connections)
                _reconcile(hub, found[1], delivered=route)
            name = f"MLLP to ACK, {what}, {connections} connection{'s' if connections > 1 else ''}"
            goal = 0 if route else 15_000 if connections > 1 else 2_500  # what is delivered has goals of its own, below
            echo = "bare MLLP server"
            yield _figure(name, "messages/s", lambda one: one.rate, found, goal, limit=limit, limit_name=echo)
            yield _figure(f"{name}: p99", "ms", _p99, found, 20 if goal and connections > 1 else 0, at_most=True)
            yield _figure(f"{name}: processor time", "us/message", lambda one: one.hub_us, found)


def _through(scale: Scale) -> Iterator[Figure]:
    """MLLP in, mapped, HTTP out, delivered and logged."""
    for workers, goal in ((1, 5_000), (2, 8_000)):
        with folder() as home, Sink() as sink:
            limit = sink_posts(sink, scale.seconds)
            hub = Hub(Path(home), sink=sink, sources=workers, workers=workers)
            with hub:
                found = _repeat(hub, scale, 32)
            _reconcile(hub, found[1], delivered=True)
        name = f"MLLP to HTTP, 40 fields, {workers} process{'es' if workers > 1 else ''}"
        posts = "the client alone"
        yield _figure(name, "messages/s", lambda one: one.delivered_rate, found, goal, limit=limit, limit_name=posts)
        yield _figure(f"{name}: p99 of the ACK", "ms", _p99, found)
        yield _figure(f"{name}: processor time", "us/message", lambda one: one.hub_us, found)
        yield _figure(f"{name}: memory (PSS)", "MB", lambda one: one.pss_mb, found, 300, at_most=True)


def _reconcile(hub: Hub, failed: list[str], *, delivered: bool = False) -> None:
    """Compare the store with what was acknowledged; only meaningful while no run has failed."""
    if failed:
        return
    counts = hub.counts()
    if counts["messages"] != hub.acknowledged:
        failed.append(f"{hub.acknowledged} acknowledged, {counts['messages']} stored")
    if delivered and not counts["delivered"] == counts["calls out"] == hub.acknowledged:
        failed.append(f"{hub.acknowledged} acknowledged, {counts} stored")


def _many_connections(scale: Scale) -> Iterator[Figure]:
    with folder() as home, Sink() as sink, Hub(Path(home), sink=sink, route=False) as hub:
        found = _repeat(hub, scale, 500, idle=5_000)
    name = "MLLP to ACK, 500 busy and 5,000 idle connections"
    yield _figure(name, "messages/s", lambda one: one.rate, found)
    yield _figure(f"{name}: p99", "ms", _p99, found)


def _small_parts(scale: Scale) -> Iterator[Figure]:
    """Figures of the modules that measure single parts; each is the best of its own rounds."""
    goals = {"ADT decode, map to 40 JSON fields": 20.0, "ADT decode and envelope": 5.0}
    found: dict[str, Figure] = {}
    codec = Hl7Codec()
    for _ in range(scale.runs):
        wait_quiet(scale.patience)
        envelope = mapping.best(lambda: codec.envelope(codec.decode(mapping.MESSAGE)))
        for name, value, unit in [("ADT decode and envelope", envelope, "us"), *mapping.main()]:
            goal = goals.get(name, 0.0)
            found.setdefault(name, Figure(name, unit, goal, at_most=bool(goal))).values.append(value)
    yield from found.values()


def _by_format(scale: Scale) -> Iterator[Figure]:
    """Reading and mapping by format, beside the obvious other way."""
    goals = {"ADT": 20.0, "CDA": 400.0}
    found: dict[str, Figure] = {}
    for _ in range(scale.runs):
        wait_quiet(scale.patience)
        for name, value, unit in formats.main():
            goal = goals.get(name[:3], 0.0)
            found.setdefault(name, Figure(name, unit, goal, at_most=bool(goal))).values.append(value)
    yield from found.values()


def _storing(scale: Scale) -> Iterator[Figure]:
    """Raw synchronisations of the disk, and the store alone."""
    found: dict[str, Figure] = {}
    for _ in range(scale.runs):
        wait_quiet(scale.patience)
        for name, value, unit in store.main(4_000 if scale.seconds < 5 else 20_000):
            found.setdefault(name, Figure(f"store: {name}", unit)).values.append(value)
    raw = found["fdatasync of 4 KB appended"].median
    for name, figure in found.items():
        if figure.unit == "messages/s":
            figure.limit, figure.limit_name = raw, "fdatasync of 4 KB"
        yield found[name]


def _starting(scale: Scale) -> Iterator[Figure]:
    figure = Figure("start to accepting, 300 plugins", "s", 2.0, at_most=True)
    with folder() as home, Sink() as sink:
        hub = Hub(Path(home), sink=sink, plugins=300)
        for _ in range(scale.runs + 1):
            wait_quiet(scale.patience)
            try:
                figure.values.append(hub.start())
                hub.stop()
            except Failed as error:
                figure.failed.append(str(error))
    del figure.values[:1]  # the first start compiles Python's files
    yield figure


def _recovering(scale: Scale) -> Iterator[Figure]:
    name = f"recovery of {scale.pending:,} pending deliveries"
    accepting = Figure(f"{name}: everything known, accepting", "s", 15.0, at_most=True)
    first = Figure(f"{name}: first one delivered", "s", 15.0, at_most=True)
    with folder() as home, Sink() as sink:
        hub = Hub(Path(home), sink=sink)
        fill_pending(Path(home) / "var" / "worker-00", scale.pending)
        for _ in range(scale.runs):
            wait_quiet(scale.patience)
            try:
                accepting.values.append(hub.start())
                first.values.append(first_arrival(sink, hub.began))
                hub.kill()
                sink.take()
            except Failed as error:
                first.failed.append(str(error))
    yield accepting
    yield first


def _large_store(scale: Scale) -> Iterator[Figure]:
    """The same load on an empty store and on a large one, in turns."""
    figure = Figure(f"rate with {scale.stored:,} messages stored, empty = 1", "", 0.85)
    options = {"retention": 0}
    with folder() as empty, folder() as full, Sink() as sink:
        hubs = [Hub(Path(home), sink=sink, route=False, store=options) for home in (empty, full)]
        hubs[1].start()
        hubs[1].stop()
        fill_history(Path(full) / "var" / "worker-00", scale.stored)
        for number in range(scale.runs + 1):
            rates = []
            for hub in hubs:
                wait_quiet(scale.patience)
                try:
                    with hub:
                        hub.run(32, scale.warm_up, _tag())
                        one = hub.run(32, scale.seconds, _tag())
                    rates.append(one.rate)
                    figure.other.append(one.other_percent)
                except Failed as error:
                    figure.failed.append(str(error))
            if number and len(rates) == 2:
                figure.values.append(rates[1] / rates[0])
    yield figure


def _isolation(scale: Scale) -> Iterator[Figure]:
    """A target's rate beside one that is broken, in turns with its rate beside one that is well."""
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as nobody, Sink() as sink, Sink() as other:
        nobody.bind(("127.0.0.1", 0))  # and does not listen: connections are refused
        for what, broken in (("refuses connections", nobody), ("never answers", silent)):
            figure = Figure(f"rate beside a target that {what}, beside a healthy one = 1", "", 0.95)
            for _ in range(scale.runs):
                rates = []
                for url in (other.url, f"http://127.0.0.1:{broken.getsockname()[1]}"):
                    wait_quiet(scale.patience)
                    try:
                        with folder() as home, Hub(Path(home), sink=sink, beside=url) as hub:
                            hub.run(32, scale.warm_up, _tag())
                            one = hub.run(32, scale.seconds, _tag())
                        rates.append(one.delivered_rate)
                        figure.other.append(one.other_percent)
                    except Failed as error:
                        figure.failed.append(str(error))
                other.take()
                if len(rates) == 2:
                    figure.values.append(rates[1] / rates[0])
            yield figure


SERIES: dict[str, Series] = {
    "ack": _acknowledging,
    "through": _through,
    "connections": _many_connections,
    "isolation": _isolation,
    "parts": _small_parts,
    "formats": _by_format,
    "store": _storing,
    "start": _starting,
    "recovery": _recovering,
    "large": _large_store,
}
