"""hub.metrics: what was counted is what Prometheus and the status page are told."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from hub.message import Outcome
from hub.metrics import SECONDS, Histogram, Metrics, merge

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: bytes) -> Samples:
    """The samples as prometheus_client's own parser reads them; every series may occur once only."""
    found: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


class FakeStore:
    writable = False
    queued = 17


def busy() -> Metrics:
    metrics = Metrics()
    inbound = metrics.inbound("his_a/adt")
    inbound.received, inbound.accepted, inbound.duplicate, inbound.conflict, inbound.refused = 10, 6, 2, 1, 2
    inbound.bytes = 12345
    outbound = metrics.outbound("lis/orders")
    for _ in range(3):
        outbound.attempt(Outcome.OK, 0.02)
    outbound.attempt(Outcome.UNREACHABLE, 1.5)
    outbound.delivered, outbound.retried, outbound.dead = 3, 1, 4
    outbound.watch(
        {
            "ready": 5,
            "in_flight": 2,
            "retrying": 1,
            "breaker": "half_open",
            "oldest_age": 12.5,
            "x": "y",
        }
    )
    metrics.store.commit(3, 0.004)
    metrics.store.commit(200, 0.2)
    metrics.store.watch({"messages": 99, "bytes": 4096, "segments": 1, "text_lag": 3, "key_lag": 0}, FakeStore())
    return metrics


def test_prometheus_text() -> None:
    found = samples(busy().render())
    place = {"place": "his_a/adt"}
    assert value(found, "tongqu_inbound_received_total", **place) == 10
    assert value(found, "tongqu_inbound_accepted_total", **place) == 6
    assert value(found, "tongqu_inbound_duplicate_total", **place) == 2
    assert value(found, "tongqu_inbound_conflict_total", **place) == 1
    assert value(found, "tongqu_inbound_refused_total", **place) == 2
    assert value(found, "tongqu_inbound_bytes_total", **place) == 12345
    target = {"target": "lis/orders"}
    assert value(found, "tongqu_outbound_attempts_total", outcome="ok", **target) == 3
    assert value(found, "tongqu_outbound_attempts_total", outcome="unreachable", **target) == 1
    assert value(found, "tongqu_outbound_delivered_total", **target) == 3
    assert value(found, "tongqu_outbound_dead_total", **target) == 4
    assert value(found, "tongqu_outbound_retried_total", **target) == 1
    assert value(found, "tongqu_outbound_attempt_seconds_bucket", le="0.01", **target) == 0
    assert value(found, "tongqu_outbound_attempt_seconds_bucket", le="0.025", **target) == 3
    assert value(found, "tongqu_outbound_attempt_seconds_bucket", le="+Inf", **target) == 4
    assert value(found, "tongqu_outbound_attempt_seconds_count", **target) == 4
    assert value(found, "tongqu_outbound_attempt_seconds_sum", **target) == pytest.approx(1.56)
    assert value(found, "tongqu_outbound_queue", state="ready", **target) == 5
    assert value(found, "tongqu_outbound_queue", state="in_flight", **target) == 2
    assert value(found, "tongqu_outbound_queue", state="retrying", **target) == 1
    assert value(found, "tongqu_outbound_breaker", state="half_open", **target) == 1
    assert value(found, "tongqu_outbound_breaker", state="closed", **target) == 0
    assert value(found, "tongqu_outbound_oldest_seconds", **target) == 12.5
    assert value(found, "tongqu_store_queued") == 17
    assert value(found, "tongqu_store_writable") == 0
    assert value(found, "tongqu_store_messages") == 99
    assert value(found, "tongqu_store_text_lag") == 3
    assert value(found, "tongqu_store_commit_seconds_count") == 2
    assert value(found, "tongqu_store_batch_operations_bucket", le="4.0") == 1
    assert value(found, "tongqu_store_batch_operations_sum") == 203
    assert value(found, "process_start_time_seconds") > 1.6e9
    assert value(found, "process_cpu_seconds_total") > 0
    assert value(found, "process_resident_memory_bytes") > 1_000_000


def test_snapshot_is_json_and_says_the_same() -> None:
    figures = json.loads(json.dumps(busy().snapshot()))
    assert figures["inbound"]["his_a/adt"] == {
        "received": 10,
        "accepted": 6,
        "duplicate": 2,
        "conflict": 1,
        "refused": 2,
        "bytes": 12345,
    }
    out = figures["outbound"]["lis/orders"]
    assert out["attempts"] == {"ok": 3, "unreachable": 1}
    assert (out["delivered"], out["dead"], out["retried"]) == (3, 4, 1)
    assert out["queue"] == {"ready": 5, "in_flight": 2, "retrying": 1}
    assert (out["breaker"], out["oldest_age"]) == ("half_open", 12.5)
    assert out["seconds"]["count"] == 4
    assert 0.01 <= out["seconds"]["p50"] <= 0.025
    assert 1.0 <= out["seconds"]["p99"] <= 1.5
    assert out["seconds"]["max"] == 1.5
    assert figures["store"]["queued"] == 17
    assert figures["store"]["commits"] == 2
    assert figures["store"]["messages"] == 99


def test_nothing_counted_yet() -> None:
    metrics = Metrics()
    metrics.inbound("a/b")
    metrics.outbound("c/d")
    found = samples(metrics.render())
    assert value(found, "tongqu_inbound_received_total", place="a/b") == 0
    assert value(found, "tongqu_outbound_dead_total", target="c/d") == 0
    assert not any("oldest" in name for name, _ in found)
    assert metrics.snapshot()["outbound"]["c/d"]["seconds"]["p99"] == 0
    assert metrics.snapshot()["store"] == {"queued": 0, "writable": True}


def test_the_same_place_has_the_same_counters() -> None:
    metrics = Metrics()
    assert metrics.inbound("a/b") is metrics.inbound("a/b")
    assert metrics.outbound("a/b") is metrics.outbound("a/b")
    assert metrics.inbound("a/b") is not metrics.inbound("a/c")


def test_odd_label_values_are_escaped() -> None:
    metrics = Metrics()
    place = 'a"b\\c\n{医院} d/x'
    metrics.inbound(place).received += 1
    assert value(samples(metrics.render()), "tongqu_inbound_received_total", place=place) == 1
    assert value(samples(merge({3: metrics.render()})), "tongqu_inbound_received_total", place=place, worker="3") == 1


def test_merge_labels_every_sample_and_loses_none() -> None:
    one, two = busy(), busy()
    two.inbound("his_a/adt").received = 77
    two.inbound("only/here").received = 5
    texts = {0: one.render(), 1: two.render()}
    merged = samples(Metrics.merge(texts))
    expected = {
        (name, labels | {("worker", str(worker))}): number
        for worker, text in texts.items()
        for (name, labels), number in samples(text).items()
    }
    assert merged == expected
    heads = [line for line in merge(texts).decode().split("\n") if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))


def test_merge_of_nothing() -> None:
    assert merge({}) == b""


@given(st.lists(st.floats(0, 200), min_size=1, max_size=300), st.floats(0.01, 1))
def test_quantiles_lie_in_the_bucket_of_the_true_value(values: list[float], share: float) -> None:
    histogram = Histogram()
    for number in values:
        histogram.observe(number)
    true = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    bounds = [0.0, *SECONDS, max(values)]
    place = next(i for i, bound in enumerate([*SECONDS, math.inf]) if true <= bound)
    estimate = histogram.quantile(share)
    assert bounds[place] - 1e-9 <= estimate <= min(bounds[place + 1], max(values)) + 1e-9
    assert histogram.count == len(values)
    assert histogram.max == max(values)


@given(st.lists(st.floats(0, 200), max_size=100))
def test_buckets_are_cumulative(values: list[float]) -> None:
    histogram = Histogram()
    for number in values:
        histogram.observe(number)
    buckets = histogram.cumulative()
    assert [bound for bound, _ in buckets] == [*map(repr, SECONDS), "+Inf"]
    for bound, count in buckets:
        assert count == sum(number <= float(bound.replace("+Inf", "inf")) for number in values)
