"""The party goes away, the hub is restarted meanwhile, the party comes back: what was to be sent waits and is delivered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hub.i18n import t
from hub.message import DeliveryState, Outcome
from hub.verify.model import Result, Status
from hub.verify.outcomes import outcome_words
from hub.verify.rig import Handed, RigError
from hub.verify.talk import Talk, tried

__all__ = ["Waiting", "after_restart", "while_away"]

_OPEN = (DeliveryState.PENDING, DeliveryState.RETRYING)
#: Outcomes that use up no tries and promise another.
#: Of a call that was under way when the hub stopped: whether it took effect is unknown.
_CUT_OFF = "delivery.interrupted"
_AWAY = frozenset((Outcome.UNREACHABLE,))


@dataclass(slots=True)
class Waiting:
    """What was handed in while the party was away, and what was found of it so far."""

    interface: str
    handed: Handed | None
    result: Result


async def while_away(talk: Talk, interfaces: list[str]) -> tuple[list[Waiting], list[Result]]:
    """Probes, which must fail, and one message for each interface, which must wait."""
    found = await asyncio.gather(*(_hand_in(talk, name) for name in interfaces))
    probes = await asyncio.gather(*(_probe_down(talk, name) for name in interfaces))
    return list(found), list(probes)


async def _probe_down(talk: Talk, interface: str) -> Result:
    async def work() -> str:
        found = await talk.rig.node.probe(talk.party.place(interface))
        if found and not found[0].code:
            raise RigError(
                t(f"well although the party is down: {found[0].text}", f"对方已停止但探测正常：{found[0].text}")
            )
        return found[0].code if found else ""

    return await tried("probe", f"{interface}: {t('down', '停止时')}", work)


async def _hand_in(talk: Talk, interface: str) -> Waiting:
    handed: Handed | None = None

    async def work() -> str:
        nonlocal handed
        handed = found = await talk.rig.hand_in(talk.party, interface)
        await talk.rig.until(found, lambda: len(found.calls) > 0)
        _waits(found)
        return ""

    result = await tried("outage", interface, work)
    return Waiting(interface, handed, result)


def _waits(handed: Handed) -> None:
    first = handed.calls[0]
    if first.outcome not in _AWAY:
        told = f"{first.outcome.word} {first.code} {first.error}"
        raise RigError(t(f"connection refused is {told}, not unreachable", f"连接被拒记为 {told}，应为 unreachable"))
    if handed.state not in _OPEN:
        raise RigError(t(f"does not wait: {handed.state.word}", f"未等待：{handed.state.word}"))


async def after_restart(talk: Talk, waiting: Waiting) -> Result:
    """The party is back and the hub was restarted: what waited is delivered."""
    if waiting.handed is None or waiting.result.status is not Status.PASSED:
        return waiting.result
    handed = waiting.handed

    async def work() -> str:
        await talk.rig.ended(handed)
        if handed.calls[-1].code == _CUT_OFF and not talk.retries(waiting.interface):
            return t("cut off by the restart, and never sent twice by its contract", "被重启中断，且契约规定不重发")
        if handed.state is not DeliveryState.DELIVERED:
            raise RigError(
                t(
                    f"not delivered when the party was back: {outcome_words(handed)}",
                    f"对方恢复后未送达：{outcome_words(handed)}",
                )
            )
        return ""

    return await tried("outage", waiting.interface, work)
