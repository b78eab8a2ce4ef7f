"""How a simulated party misbehaves, and for how long."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Literal, get_args

from hub.errors import HubError
from hub.i18n import t

__all__ = ["Behaviour", "Kind", "Moods", "parse_behaviour"]

Kind = Literal[
    "delay",  # answers as it would, `seconds` late
    "silent",  # takes the call and never answers
    "refuse",  # closes the connection before anything is answered
    "reset",  # resets the connection in the middle of the answer
    "truncated",  # says how long the answer is, sends half of it and closes
    "garbage",  # an answer of random bytes
    "status",  # HTTP status `code`, with Retry-After where `seconds` is given
    "wrong_signature",  # the answer is signed and encrypted with other keys than agreed
    "error",  # the business error `code` of the contract
    "unauthorised",  # 401, or what the contract reads as a token that is no longer good
    "duplicate",  # a message or callback is sent twice
    "out_of_order",  # callbacks leave in reverse order
]

#: Kinds that make the same call again harmless or not: whether the simulated party has done what it was asked for.
TAKES_EFFECT = frozenset(
    ("delay", "silent", "reset", "truncated", "garbage", "wrong_signature", "duplicate", "out_of_order")
)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One way to misbehave. ``code``: of ``error`` and ``status``; ``seconds``: of ``delay``, and Retry-After of ``status``."""

    kind: Kind
    code: str = ""
    seconds: float = 0.0

    @property
    def takes_effect(self) -> bool:
        """Does the party do what it was asked for, and only the answer fails?"""
        return self.kind in TAKES_EFFECT


def parse_behaviour(text: str) -> Behaviour:
    """``delay:2``, ``status:503``, ``status:429:5``, ``error:SYSTEM_ERROR``, ``garbage`` … Raises :class:`HubError`."""
    kind, _, rest = text.partition(":")
    if kind not in get_args(Kind):
        raise _wrong(text)
    try:
        if kind == "delay":
            return Behaviour("delay", seconds=float(rest or 1))
        if kind == "status":
            code, _, seconds = rest.partition(":")
            if not 300 <= int(code or 500) <= 599:
                raise ValueError
            return Behaviour("status", code or "500", float(seconds or 0))
    except ValueError:
        raise _wrong(text) from None
    if kind == "error" and not rest:
        raise _wrong(text)
    return Behaviour(kind, rest)  # type: ignore[arg-type]  # one of Kind, looked up above


def _wrong(text: str) -> HubError:
    known = ", ".join(get_args(Kind))
    return HubError(
        t(f"{text!r} is no way to misbehave", f"{text!r} 不是可模拟的异常"),
        code="simulate.behaviour",
        remedy=t(
            f"one of {known}; e.g. delay:2, status:503, status:429:5 (Retry-After), error:CODE",
            f"可用：{known}；例如 delay:2、status:503、status:429:5（Retry-After）、error:返回码",
        ),
    )


@dataclass(slots=True)
class _Mood:
    behaviour: Behaviour
    left: int | None  # calls; None: until told to behave
    share: float


@dataclass(slots=True)
class Moods:
    """What each interface shall do with its next calls; drawn by chance from ``seed``, so a run can be repeated."""

    seed: int = 0
    _moods: dict[str, list[_Mood]] = field(default_factory=dict)
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - chosen to be repeatable

    def add(self, interface: str, behaviour: Behaviour, times: int | None, share: float) -> None:
        """``times`` calls, None: all; of them a ``share`` between 0 and 1. Several wait for one another."""
        if (times is not None and times < 1) or not 0 < share <= 1:
            raise HubError(
                t("times is at least 1, share above 0 and at most 1", "次数至少为 1，比例大于 0 且不超过 1"),
                code="simulate.behaviour",
            )
        self._moods.setdefault(interface, []).append(_Mood(behaviour, times, share))

    def clear(self, interface: str = "*") -> None:
        if interface == "*":
            self._moods.clear()
        else:
            self._moods.pop(interface, None)

    def next(self, interface: str) -> Behaviour | None:
        """How to misbehave with the call that just came; None: not at all."""
        for name in (interface, "*"):
            moods = self._moods.get(name)
            if not moods:
                continue
            mood = moods[0]
            if mood.share < 1 and self._chance.random() >= mood.share:
                return None
            if mood.left is not None:
                mood.left -= 1
                if not mood.left:
                    moods.pop(0)
            return mood.behaviour
        return None

    def coming(self, interface: str) -> Behaviour | None:
        """How the next call will be treated, where that is no matter of chance; nothing is used up."""
        moods = self._moods.get(interface) or self._moods.get("*")
        return moods[0].behaviour if moods and moods[0].share == 1 else None

    def listed(self) -> list[dict[str, object]]:
        return [
            {
                "interface": name,
                "kind": mood.behaviour.kind,
                "code": mood.behaviour.code,
                "seconds": mood.behaviour.seconds,
                "times": mood.left,
                "share": mood.share,
            }
            for name, moods in self._moods.items()
            for mood in moods
        ]
