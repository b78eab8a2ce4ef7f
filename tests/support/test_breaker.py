"""hub.delivery.breaker: states, pauses and the single trial call, on a clock the tests turn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.contract import Breaker
from hub.delivery.breaker import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


SETTINGS = Breaker(failures=3, open_for=5, max_open_for=18)


def make() -> tuple[CircuitBreaker, Clock]:
    clock = Clock()
    return CircuitBreaker(SETTINGS, clock), clock


def open_it(breaker: CircuitBreaker) -> None:
    assert breaker.allow()
    breaker.failure(unreachable=True)


def test_closed_lets_everything_through() -> None:
    breaker, _ = make()
    assert str(breaker.state) == "closed"
    assert all(breaker.allow() for _ in range(100))
    assert breaker.retry_in() == 0


def test_failures_in_a_row_open_it() -> None:
    breaker, _ = make()
    for _ in range(2):
        assert breaker.allow()
        breaker.failure(unreachable=False)
    assert str(breaker.state) == "closed"
    assert breaker.allow()
    breaker.failure(unreachable=False)
    assert str(breaker.state) == "open"
    assert not breaker.allow()
    assert breaker.retry_in() == 5


def test_a_success_in_between_starts_the_count_again() -> None:
    breaker, _ = make()
    for _ in range(5):
        for _ in range(2):
            breaker.failure(unreachable=False)
        breaker.success()
    assert str(breaker.state) == "closed"


def test_unreachable_opens_at_once() -> None:
    breaker, _ = make()
    open_it(breaker)
    assert str(breaker.state) == "open"


def test_half_open_lets_one_call_through_and_its_success_closes() -> None:
    breaker, clock = make()
    open_it(breaker)
    clock.now += 4.999
    assert not breaker.allow()
    clock.now += 0.001
    assert str(breaker.state) == "half_open"
    assert breaker.retry_in() == 0
    assert breaker.allow()
    assert not breaker.allow()
    assert str(breaker.state) == "half_open"
    assert 0 < breaker.retry_in() <= 1
    breaker.success()
    assert str(breaker.state) == "closed"
    assert breaker.allow()


def test_pause_doubles_up_to_the_maximum_and_starts_afresh_after_a_success() -> None:
    breaker, clock = make()
    open_it(breaker)
    pauses = []
    for _ in range(5):
        pauses.append(breaker.retry_in())
        clock.now += breaker.retry_in()
        assert breaker.allow()
        breaker.failure(unreachable=False)
    assert pauses == [5, 10, 18, 18, 18]
    clock.now += 18
    assert breaker.allow()
    breaker.success()
    open_it(breaker)
    assert breaker.retry_in() == 5


def test_release_gives_the_trial_back() -> None:
    breaker, clock = make()
    open_it(breaker)
    clock.now += 5
    assert breaker.allow()
    breaker.release()
    assert str(breaker.state) == "half_open"
    assert breaker.allow()
    assert not breaker.allow()


def test_late_failures_of_earlier_calls_do_not_prolong_the_pause() -> None:
    breaker, clock = make()
    assert all(breaker.allow() for _ in range(8))
    breaker.failure(unreachable=True)
    clock.now += 3
    for _ in range(7):
        breaker.failure(unreachable=True)
    assert breaker.retry_in() == 2


def test_late_success_of_an_earlier_call_closes() -> None:
    breaker, _ = make()
    assert breaker.allow()
    open_it(breaker)
    breaker.success()
    assert str(breaker.state) == "closed"


def test_open_for_longer_than_the_maximum_is_kept() -> None:
    clock = Clock()
    breaker = CircuitBreaker(Breaker(open_for=90, max_open_for=60), clock)
    open_it(breaker)
    clock.now += 90
    assert breaker.allow()
    breaker.failure(unreachable=True)
    assert breaker.retry_in() == 90


@given(
    st.lists(
        st.one_of(st.sampled_from(["allow", "success", "failure", "unreachable", "release"]), st.floats(0.001, 30)),
        max_size=80,
    )
)
def test_whatever_happens_the_promises_hold(steps: list[str | float]) -> None:
    breaker, clock = make()
    out = 0  # calls let through and not yet ended
    trial = False
    for step in steps:
        before = breaker.state
        if isinstance(step, float):
            clock.now += step
        elif step == "allow":
            promised = breaker.retry_in() == 0
            allowed = breaker.allow()
            assert allowed is promised
            if before == "closed":
                assert allowed
            elif before == "open":
                assert not allowed
            else:
                assert allowed is not trial
                trial = True
            out += allowed
        elif out:
            out -= 1
            if step == "success":
                breaker.success()
                assert str(breaker.state) == "closed"
            elif step == "release":
                breaker.release()
            else:
                breaker.failure(step == "unreachable")
                if step == "unreachable":
                    assert str(breaker.state) != "closed"
            trial = False if before == "half_open" or step == "success" else trial
        assert 0 <= breaker.retry_in() <= SETTINGS.max_open_for
    # However long it was away, a target that answers again is called again.
    clock.now += SETTINGS.max_open_for
    breaker.release()
    assert breaker.allow()
    breaker.success()
    assert str(breaker.state) == "closed"
