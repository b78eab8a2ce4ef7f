"""One tested plugin with its party and the hub: what every check that calls needs, and how its result is made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from hub.contract import Interface, RetryPolicy
from hub.errors import HubError
from hub.i18n import t
from hub.masking import mask_text
from hub.simulator import Behaviour, SimulatedCall, Simulator
from hub.verify.model import Result, Status
from hub.verify.rig import Party, Rig, RigError

__all__ = ["Skip", "Talk", "tried"]

#: Longest time one check of one interface may take, seconds.
_LIMIT_S = 90.0
_LONGEST_WHY = 600


class Skip(Exception):
    """It can't be looked at; the text says why."""


@dataclass(slots=True)
class Talk:
    """``simulator`` changes when the party goes away and comes back."""

    rig: Rig
    party: Party
    simulator: Simulator
    seen: dict[str, int] = field(default_factory=dict)  # place -> last row of the call log looked at
    misheard: set[str] = field(default_factory=set)  # interfaces the party takes for another at the same address
    silent_answers: set[str] = field(default_factory=set)  # interfaces whose answer has no body: nothing can be cut off

    def contract(self, interface: str) -> Interface:
        return self.party.interfaces[interface]

    def retries(self, interface: str) -> int:
        return (self.contract(interface).retry or RetryPolicy()).attempts

    def lost_answer(self, interface: str) -> Behaviour:
        """The party does what it was asked for, and its answer gets lost."""
        silent = interface in self.silent_answers or self.simulator.keeps(interface)
        return Behaviour("silent" if silent else "reset")

    def calls(self, interface: str, since: int = 0) -> list[SimulatedCall]:
        """The calls the party got on an interface after the first ``since``."""
        return [call for call in self.simulator.calls if call.interface == interface][since:]


async def tried(check: str, place: str, work: Callable[[], Awaitable[str]]) -> Result:
    """The result of ``work``, which returns a note, or raises :class:`RigError` or :class:`Skip`. Never raises."""
    begun = time.perf_counter()
    status, why, remedy = Status.PASSED, "", ""
    try:
        async with asyncio.timeout(_LIMIT_S):
            why = await work()
    except Skip as skip:
        status, why = Status.SKIPPED, str(skip)
    except RigError as error:
        status, why = Status.FAILED, str(error)
    except TimeoutError:
        status, why = Status.FAILED, t(f"not done within {_LIMIT_S:.0f} s", f"{_LIMIT_S:.0f} 秒内未完成")
    except HubError as error:
        status, why, remedy = Status.FAILED, error.text, error.remedy
    except Exception as error:  # of a plugin's code, or ours; either way this check is not passed
        status, why = Status.FAILED, f"{type(error).__name__}: {error}"
    return Result(check, status, place, mask_text(why)[:_LONGEST_WHY], remedy, time.perf_counter() - begun)
