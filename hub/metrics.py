"""Figures of a running worker: counted in plain Python objects on the event loop, read by Prometheus and the status page.

No locks and no library calls on the hot path: the kernel increments attributes of the objects in here, on the event loop only.
Only when somebody asks are they turned into Prometheus text (exposition format 0.0.4) or a JSON object. Labels come from the
configuration (places, targets), never from messages: no personal data, and no unbounded number of series.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from hub.message import CheckRecord, CheckVerdict, Outcome

__all__ = ["BATCH", "CheckStats", "Histogram", "InboundStats", "Metrics", "OutboundStats", "StoreStats", "merge"]

#: Upper bounds of the latency buckets, seconds.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: Upper bounds of the buckets for operations per commit.
OPERATIONS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)

#: Upper bounds of the buckets for messages per call.
BATCH = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)

_BREAKER_STATES = ("closed", "half_open", "open")
_QUEUE_STATES = ("ready", "in_flight", "retrying")


class Histogram:
    """Counts of observations in fixed buckets, their sum and their maximum."""

    __slots__ = ("bounds", "counts", "max", "sum")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last one is for everything above the highest bound
        self.sum = 0.0
        self.max = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
        if value > self.max:
            self.max = value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """Estimate of the value that ``share`` (0..1) of the observations do not exceed; 0 when there are none.

        Observations are taken as evenly spread within their bucket, so the error is at most the width of one bucket.
        """
        total = self.count
        wanted = share * total
        below, low = 0, 0.0
        for bound, count in zip((*self.bounds, self.max), self.counts, strict=True):
            if count and below + count >= wanted:
                high = min(bound, self.max)
                return low + (high - low) * max(0.0, wanted - below) / count if high > low else high
            below += count
            low = bound
        return self.max

    def summary(self) -> dict[str, float]:
        total = self.count
        return {
            "count": total,
            "mean": self.sum / total if total else 0.0,
            "p50": self.quantile(0.50),
            "p95": self.quantile(0.95),
            "p99": self.quantile(0.99),
            "max": self.max,
        }

    def cumulative(self) -> list[tuple[str, float]]:
        """Buckets as Prometheus wants them: (upper bound, observations up to it)."""
        running, out = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            running += count
            out.append(("+Inf" if bound == float("inf") else repr(bound), float(running)))
        return out


class InboundStats:
    """Counters of one inbound place; attributes are incremented by intake."""

    __slots__ = ("accepted", "bytes", "conflict", "duplicate", "received", "refused")

    def __init__(self) -> None:
        self.received = 0  # every message handed in
        self.accepted = 0  # committed and acknowledged, conflicts included
        self.duplicate = 0
        self.conflict = 0
        self.refused = 0
        self.bytes = 0  # of everything received

    def snapshot(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


class OutboundStats:
    """Counters of one target; attributes are incremented by delivery."""

    __slots__ = (
        "answers",
        "attempts",
        "batch",
        "breaker",
        "dead",
        "delivered",
        "oldest_age",
        "queue",
        "retried",
        "seconds",
    )

    def __init__(self) -> None:
        self.attempts = [0] * len(Outcome)
        self.delivered = 0
        self.dead = 0
        self.retried = 0
        self.seconds = Histogram()
        self.batch: Histogram | None = None  # messages per call, where a call carries several
        self.queue: dict[str, int] = dict.fromkeys(_QUEUE_STATES, 0)
        self.breaker = "closed"
        self.oldest_age: float | None = None  # seconds; None: not told
        self.answers: tuple[int, int] | None = None  # awaited, and of these overdue; None: the target promises none

    def attempt(self, outcome: Outcome, seconds: float) -> None:
        """Count one attempt that took so long."""
        self.attempts[outcome] += 1
        self.seconds.observe(seconds)

    def watch(self, status: Mapping[str, object]) -> None:
        """Take over what a target says of itself: ``ready``, ``in_flight``, ``retrying``, ``breaker``, ``oldest_age``."""
        for state in _QUEUE_STATES:
            value = status.get(state, 0)
            self.queue[state] = value if isinstance(value, int) else 0
        self.breaker = str(status.get("breaker", "closed"))
        age = status.get("oldest_age")
        self.oldest_age = float(age) if isinstance(age, int | float) else None

    def snapshot(self) -> dict[str, Any]:
        figures: dict[str, Any] = {
            "attempts": {outcome.word: self.attempts[outcome] for outcome in Outcome if self.attempts[outcome]},
            "delivered": self.delivered,
            "dead": self.dead,
            "retried": self.retried,
            "seconds": self.seconds.summary(),
            "queue": dict(self.queue),
            "breaker": self.breaker,
        }
        if self.answers is not None:
            figures["awaited"], figures["overdue"] = self.answers
        if self.batch is not None:
            figures["batch"] = self.batch.summary()
        if self.oldest_age is not None:
            figures["oldest_age"] = self.oldest_age
        return figures


class CheckStats:
    """Counters of the checks of one place; a message that was refused or marked was checked."""

    __slots__ = ("checked", "delay", "marked", "not_checked", "refused", "seconds")

    def __init__(self) -> None:
        self.checked = 0
        self.marked = 0
        self.refused = 0
        self.not_checked = 0  # skipped because of too much, too slow, or broken
        self.seconds = Histogram()  # that checking took, without waiting for a turn
        self.delay = Histogram()  # from the receipt of a message to its mark, where it was marked after its commit

    def count(self, record: CheckRecord) -> None:
        if record.verdict is CheckVerdict.NOT_CHECKED:
            self.not_checked += 1
            return
        self.checked += 1
        self.seconds.observe(record.took_us / 1e6)
        if record.verdict is CheckVerdict.MARKED:
            self.marked += 1
        elif record.verdict is CheckVerdict.REFUSED:
            self.refused += 1

    def snapshot(self) -> dict[str, Any]:
        figures: dict[str, Any] = {
            name: getattr(self, name) for name in ("checked", "marked", "refused", "not_checked")
        }
        figures["seconds"] = self.seconds.summary()
        if self.delay.count:
            figures["delay"] = self.delay.summary()
        return figures


class WatchedStore(Protocol):
    """What the figures need of a :class:`hub.store.base.Store`."""

    @property
    def writable(self) -> bool: ...
    @property
    def queued(self) -> int: ...


class StoreStats:
    """Figures of the store of this worker."""

    __slots__ = ("batch", "commit_seconds", "queued", "sizes", "writable")

    def __init__(self) -> None:
        self.commit_seconds = Histogram()
        self.batch = Histogram(OPERATIONS)
        self.queued = 0
        self.writable = True
        self.sizes: dict[str, int] = {}

    def commit(self, operations: int, seconds: float) -> None:
        """Count one commit; called on the event loop, like everything in here."""
        self.batch.observe(operations)
        self.commit_seconds.observe(seconds)

    def watch(self, sizes: Mapping[str, int], store: WatchedStore) -> None:
        """Take over what the store says of itself; ``sizes`` as :meth:`hub.store.base.StoreReader.size` returns them."""
        self.sizes = dict(sizes)
        self.queued = store.queued
        self.writable = store.writable

    def snapshot(self) -> dict[str, Any]:
        figures: dict[str, Any] = {"queued": self.queued, "writable": self.writable, **self.sizes}
        if self.batch.count:
            figures |= {"commits": self.batch.count, "batch": self.batch.summary()}
            figures["commit_seconds"] = self.commit_seconds.summary()
        return figures


class Metrics:
    """All figures of one worker."""

    def __init__(self) -> None:
        self.started_at = time.time()
        self.store = StoreStats()
        self._inbound: dict[str, InboundStats] = {}
        self._outbound: dict[str, OutboundStats] = {}
        self._checks: dict[str, CheckStats] = {}
        self.more: list[Callable[[], Iterable[Metric]]] = []  # figures of parts that have their own
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Exposition(self))

    def inbound(self, place: str) -> InboundStats:
        """The counters of an inbound place ``system/interface``; always the same object for the same place."""
        return self._inbound.setdefault(place, InboundStats())

    def outbound(self, target: str) -> OutboundStats:
        """The counters of a target ``system/interface``; always the same object for the same target."""
        return self._outbound.setdefault(target, OutboundStats())

    def checks(self, place: str) -> CheckStats:
        """The counters of the checks of a place; always the same object for the same place."""
        return self._checks.setdefault(place, CheckStats())

    def render(self) -> bytes:
        """Everything in Prometheus text format (0.0.4, UTF-8).

        Takes tens of milliseconds with hundreds of busy targets; may be called in a thread while the loop goes on counting.
        """
        return generate_latest(self._registry)

    def snapshot(self) -> dict[str, Any]:
        """Everything as a JSON object for status pages; times in seconds, sizes in bytes."""
        return {
            "inbound": {place: stats.snapshot() for place, stats in sorted(self._inbound.items())},
            "outbound": {target: stats.snapshot() for target, stats in sorted(self._outbound.items())},
            "checks": {place: stats.snapshot() for place, stats in sorted(self._checks.items())},
            "store": self.store.snapshot(),
            "process": {
                "resident_bytes": _resident_bytes(),
                "cpu_seconds": time.process_time(),
                "started_at": self.started_at,
            },
        }

    @staticmethod
    def merge(texts_by_worker: Mapping[int, bytes]) -> bytes:
        """One Prometheus text of the texts of several workers; see :func:`merge`."""
        return merge(texts_by_worker)

    def families(self) -> Iterator[Metric]:
        """The same as :meth:`render`, as objects of prometheus_client."""
        yield from _inbound_families(self._inbound)
        yield from _outbound_families(self._outbound)
        yield from _answer_families(self._outbound)
        yield from _check_families(self._checks)
        yield from _store_families(self.store)
        for families in self.more:
            yield from families()
        resident = _resident_bytes()
        if resident is not None:
            yield _gauge("process_resident_memory_bytes", "Resident memory.", resident)
        yield CounterMetricFamily("process_cpu_seconds", "Processor time, user and system.", value=time.process_time())
        yield _gauge("process_start_time_seconds", "Start of the process, Unix time.", self.started_at)


class _Exposition(Collector):
    """The bridge to prometheus_client, which wants an object to ask."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.families()


_INBOUND = (
    ("received", "Messages handed in by senders."),
    ("accepted", "Messages committed and acknowledged."),
    ("duplicate", "Messages recognised as sent before."),
    ("conflict", "Messages whose number was used before for other bytes."),
    ("refused", "Messages not accepted."),
    ("bytes", "Bytes of the messages handed in."),
)
_OUTBOUND = (
    ("delivered", "Deliveries that reached their target."),
    ("dead", "Deliveries that became dead letters."),
    ("retried", "Attempts that failed and are tried again."),
)
_CHECKS = (
    ("checked", "Messages that were checked."),
    ("marked", "Messages in which checks found something, accepted or sent all the same."),
    ("refused", "Messages not accepted or not sent because of what checks found."),
    ("not_checked", "Messages that should have been checked and were not: too many, too slow, or a broken check."),
)
_SIZES = {
    "messages": "Messages stored.",
    "bytes": "Bytes of the store's files.",
    "segments": "Files of the store.",
    "text_lag": "Stored messages that free-text search can't find yet.",
    "key_lag": "Stored messages whose business keys are not indexed yet.",
}


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _inbound_families(all_stats: Mapping[str, InboundStats]) -> Iterator[Metric]:
    for name, text in _INBOUND:
        family = CounterMetricFamily(f"tongqu_inbound_{name}", text, labels=("place",))
        for place, stats in tuple(all_stats.items()):
            family.add_metric((place,), getattr(stats, name))
        yield family


def _outbound_families(all_stats: Mapping[str, OutboundStats]) -> Iterator[Metric]:
    for name, text in _OUTBOUND:
        family = CounterMetricFamily(f"tongqu_outbound_{name}", text, labels=("target",))
        for target, stats in tuple(all_stats.items()):
            family.add_metric((target,), getattr(stats, name))
        yield family
    attempts = CounterMetricFamily("tongqu_outbound_attempts", "Calls made, by outcome.", labels=("target", "outcome"))
    seconds = HistogramMetricFamily("tongqu_outbound_attempt_seconds", "Duration of attempts.", labels=("target",))
    queue = GaugeMetricFamily("tongqu_outbound_queue", "Deliveries in memory, by state.", labels=("target", "state"))
    breaker = GaugeMetricFamily(
        "tongqu_outbound_breaker", "1 for the state the circuit breaker is in.", labels=("target", "state")
    )
    oldest = GaugeMetricFamily(
        "tongqu_outbound_oldest_seconds", "Age of the oldest delivery that waits.", labels=("target",)
    )
    batch = HistogramMetricFamily("tongqu_outbound_batch_messages", "Messages per call.", labels=("target",))
    for target, stats in tuple(all_stats.items()):
        if stats.batch is not None and stats.batch.count:
            batch.add_metric((target,), stats.batch.cumulative(), stats.batch.sum)
        for outcome in Outcome:
            if stats.attempts[outcome]:
                attempts.add_metric((target, outcome.word), stats.attempts[outcome])
        if stats.seconds.count:  # 17 lines for each of the many targets that are idle would be the bulk of the text
            seconds.add_metric((target,), stats.seconds.cumulative(), stats.seconds.sum)
        for state, number in stats.queue.items():
            queue.add_metric((target, state), number)
        for state in _BREAKER_STATES:
            breaker.add_metric((target, state), float(stats.breaker == state))
        if stats.oldest_age is not None:
            oldest.add_metric((target,), stats.oldest_age)
    yield from (attempts, seconds, queue, breaker, oldest)
    if batch.samples:
        yield batch


def _answer_families(all_stats: Mapping[str, OutboundStats]) -> Iterator[Metric]:
    """Of targets that answer later."""
    found = [(target, stats.answers) for target, stats in tuple(all_stats.items()) if stats.answers is not None]
    if not found:
        return
    for number, (name, text) in enumerate(
        (("awaited", "Deliveries whose later answer is awaited."), ("overdue", "Of these, those that are overdue."))
    ):
        family = GaugeMetricFamily(f"tongqu_callbacks_{name}", text, labels=("target",))
        for target, answers in found:
            family.add_metric((target,), answers[number])
        yield family


def _check_families(all_stats: Mapping[str, CheckStats]) -> Iterator[Metric]:
    if not all_stats:
        return
    for name, text in _CHECKS:
        family = CounterMetricFamily(f"tongqu_validation_{name}", text, labels=("place",))
        for place, stats in tuple(all_stats.items()):
            family.add_metric((place,), getattr(stats, name))
        yield family
    for name, text in (("seconds", "Duration of checks."), ("delay", "From receipt to mark.")):
        times = HistogramMetricFamily(
            f"tongqu_validation_{name}" + ("_seconds" if name == "delay" else ""), text, labels=("place",)
        )
        for place, stats in tuple(all_stats.items()):
            histogram: Histogram = getattr(stats, name)
            if histogram.count:
                times.add_metric((place,), histogram.cumulative(), histogram.sum)
        yield times


def _store_families(stats: StoreStats) -> Iterator[Metric]:
    yield _gauge("tongqu_store_queued", "Operations waiting for a commit.", stats.queued)
    yield _gauge("tongqu_store_writable", "1 while commits succeed.", float(stats.writable))
    for name, text in _SIZES.items():
        if name in stats.sizes:
            yield _gauge(f"tongqu_store_{name}", text, stats.sizes[name])
    for name, text, histogram in (
        ("commit_seconds", "Duration of commits, fsync included.", stats.commit_seconds),
        ("batch_operations", "Operations per commit.", stats.batch),
    ):
        family = HistogramMetricFamily(f"tongqu_store_{name}", text)
        family.add_metric((), histogram.cumulative(), histogram.sum)
        yield family


def _resident_bytes() -> int | None:
    """Resident memory of this process; ``None`` where the system does not tell it the way Linux does."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def merge(texts_by_worker: Mapping[int, bytes]) -> bytes:
    """One Prometheus text of the texts of several workers: every sample gets a label ``worker``, families stay together."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for worker, text in sorted(texts_by_worker.items()):
        label = f'worker="{worker}"'
        family = ""
        for line in text.decode().split("\n"):
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                head = heads.setdefault(family, [])
                if line not in head:
                    head.append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, label))
    lines = [line for family, head in heads.items() for line in (*head, *samples.get(family, ()))]
    return ("\n".join(lines) + "\n").encode() if lines else b""


def _labelled(sample: str, label: str) -> str:
    name, brace, rest = sample.partition("{")
    if brace and " " not in name:
        return f"{name}{{{label},{rest}" if not rest.startswith("}") else f"{name}{{{label}{rest}"
    name, _, rest = sample.partition(" ")
    return f"{name}{{{label}}} {rest}"
