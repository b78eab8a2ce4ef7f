"""Ids sort by time, never repeat, survive a clock that goes back, and read the same as people write them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.ids import MAX_WORKERS, IdGenerator, first_id_at, id_text, millis_of, parse_id, worker_of


def test_ids_grow_and_tell_when_and_who() -> None:
    ids = IdGenerator(5)
    before = time.time_ns() // 1_000_000
    made = [ids.next() for _ in range(200_000)]
    after = time.time_ns() // 1_000_000
    assert made == sorted(set(made))
    assert {worker_of(number) for number in made} == {5}
    assert before <= millis_of(made[0]) <= after


def test_a_clock_that_goes_back_does_not_break_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = IdGenerator()
    first = ids.next()
    monkeypatch.setattr("hub.ids.time.time_ns", lambda: 1_600_000_000 * 10**9)
    assert ids.next() > first
    fresh = IdGenerator()
    fresh.advance(first)
    assert fresh.next() > first


def test_the_counter_runs_over_into_the_next_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.ids.time.time_ns", lambda: 1_700_000_000 * 10**9)
    ids = IdGenerator(MAX_WORKERS - 1)
    made = [ids.next() for _ in range(70_000)]
    assert made == sorted(set(made))
    assert millis_of(made[-1]) - millis_of(made[0]) == 1


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_text_sorts_as_the_number_and_reads_back(one: int, other: int) -> None:
    assert parse_id(id_text(one)) == one
    assert (id_text(one) < id_text(other)) == (one < other)
    assert parse_id(id_text(one).lower()) == one


@pytest.mark.parametrize(
    "text", ["", "0S9YRGCGW001", "0S9YRGCGW001DD", "ZZZZZZZZZZZZZ", "0S9YRGCGW00U!", "0S9YRGCGW00-U"]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"id|occur|range"):
        parse_id(text)


def test_the_first_id_of_a_time() -> None:
    ids = IdGenerator(3)
    made = ids.next()
    assert first_id_at(millis_of(made)) <= made < first_id_at(millis_of(made) + 1)
