"""What the verdict on an attempt makes of its delivery."""

from __future__ import annotations

import time
from collections.abc import Callable

from hub.contract import RetryPolicy
from hub.delivery.classify import Verdict
from hub.delivery.retry import next_delay
from hub.ids import millis_of
from hub.message import Delivery, DeliveryState, Outcome

__all__ = ["settle", "time_left"]


def settle(
    delivery: Delivery, verdict: Verdict, policy: RetryPolicy, now_us: int, chance: Callable[[], float]
) -> float | None:
    """Note the state that follows; returns the seconds to wait before the next try, None when there is none.

    A target that can't be reached uses up no tries; 0 then says that its breaker decides when it is called again.
    """
    outcome = verdict.outcome
    pause: float | None = None
    if outcome is Outcome.UNREACHABLE:
        age = now_us / 1e6 - millis_of(delivery.id) / 1000
        if age < policy.give_up_after:
            pause = max(verdict.retry_after, 0.0)
    else:
        delivery.attempts += 1
        if outcome is Outcome.TRANSIENT:
            pause = next_delay(policy, delivery.attempts, chance)
            if pause is not None:
                pause = max(pause, verdict.retry_after)
    delivery.updated_at = now_us
    delivery.reason = "" if outcome is Outcome.OK else verdict.error or verdict.code
    delivery.step = verdict.step
    delivery.next_at = 0
    if outcome is Outcome.OK:
        delivery.state = DeliveryState.DELIVERED
    elif pause is None:
        delivery.state = DeliveryState.DEAD
    else:
        delivery.state = DeliveryState.RETRYING
        delivery.next_at = now_us + int(pause * 1e6)
    return pause


def time_left(delivery: Delivery) -> float:
    """Seconds until the retry of a delivery is due.

    Not longer than was decided, or a clock that was set back would hold the key for as long as it was wrong.
    """
    return (delivery.next_at - max(time.time_ns() // 1000, delivery.updated_at)) / 1e6
