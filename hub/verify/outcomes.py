"""What an attempt, its retries and its end must look like by the contract."""

from __future__ import annotations

from collections.abc import Collection

from hub.i18n import t
from hub.message import DeliveryState, Outcome
from hub.verify.rig import Handed, RigError

__all__ = ["expect_end", "expect_first", "outcome_words"]


def outcome_words(handed: Handed) -> str:
    """The outcomes of all calls, for people: ``transient 500, ok 200``."""
    return ", ".join(f"{call.outcome.word} {call.code}".strip() for call in handed.calls) or t("no call", "无调用")


def expect_first(handed: Handed, allowed: Collection[Outcome]) -> Outcome:
    """The outcome of the first call; raises :class:`RigError` when it is none of those."""
    if not handed.calls:
        raise RigError(t("no call was made", "未发起调用"))
    first = handed.calls[0]
    if first.outcome not in allowed:
        wanted = " / ".join(sorted(outcome.word for outcome in allowed))
        told = f"{first.outcome.word} {first.code} {first.error}".strip()
        raise RigError(t(f"the call log says {told}; expected: {wanted}", f"调用日志为 {told}，应为 {wanted}"))
    return first.outcome


def expect_end(handed: Handed, retries: int) -> None:
    """Delivered, or a dead letter where nothing is tried again; raises :class:`RigError`.

    ``retries``: those the contract (or the hub's default) allows after the first try.
    """
    first = handed.calls[0].outcome
    again = first is Outcome.UNREACHABLE or (first is Outcome.TRANSIENT and retries > 0)
    wanted = DeliveryState.DELIVERED if first is Outcome.OK or again else DeliveryState.DEAD
    if handed.state is not wanted:
        raise RigError(
            t(
                f"ended {handed.state.word} instead of {wanted.word} ({outcome_words(handed)})",
                f"结果为 {handed.state.word}，应为 {wanted.word}（{outcome_words(handed)}）",
            )
        )
    if wanted is DeliveryState.DEAD and not handed.delivery.reason:
        raise RigError(t("the dead letter gives no reason", "死信未说明原因"))
