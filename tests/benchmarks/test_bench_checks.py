"""The benchmark's own checks: a run that loses, repeats or reorders something must not count."""

from __future__ import annotations

from benchmarks.figures import Figure
from benchmarks.load import PATIENTS, control_id, split_control_id
from benchmarks.rig import _compare

ACKED = [PATIENTS + 3, 2]
EVERYTHING = [control_id("0007", connection, number) for connection in (0, 1) for number in range(ACKED[connection])]


def test_a_control_id_can_be_read_back() -> None:
    assert split_control_id(control_id("0007", 31, 123_456)) == ("0007", 31, 123_456)


def test_everything_once_and_in_order_is_no_problem() -> None:
    assert _compare(ACKED, (EVERYTHING, []), "0007") == []


def test_different_patients_may_overtake_each_other() -> None:
    assert _compare(ACKED, (EVERYTHING[-2:] + EVERYTHING[1:-2] + EVERYTHING[:1], []), "0007") == ["1 out of order"]
    swapped = [EVERYTHING[1], EVERYTHING[0], *EVERYTHING[2:]]
    assert _compare(ACKED, (swapped, []), "0007") == []


def test_what_is_missing_or_repeated_or_foreign_is_told() -> None:
    assert _compare(ACKED, (EVERYTHING[1:], []), "0007") == ["1 missing"]
    assert _compare(ACKED, ([*EVERYTHING, EVERYTHING[-1]], []), "0007") == ["1 twice"]
    assert _compare(ACKED, ([*EVERYTHING, control_id("0006", 0, 0)], []), "0007") == ["1 of another run"]


def test_a_figure_with_a_failed_run_is_failed_however_fast_the_others_were() -> None:
    assert Figure("x", "1/s", 10.0, values=[20.0, 30.0]).verdict == "met"
    assert Figure("x", "1/s", 10.0, values=[20.0, 30.0], failed=["1 missing"]).verdict == "FAILED 1 missing"
    assert Figure("x", "s", 10.0, at_most=True, values=[20.0]).verdict == "missed"
    assert Figure("x", "1/s", 10.0, values=[5.0], other=[120.0]).verdict == "missed (busy)"
