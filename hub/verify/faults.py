"""The fault matrix and the error table of ``out`` interfaces.

Interfaces that are called, protected and judged alike have one shape; each fault and code is tried once per shape, shared out
among its interfaces.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from hub.contract import ErrorRule, Interface
from hub.i18n import t
from hub.message import DeliveryState, Outcome
from hub.simulator import Behaviour
from hub.verify.model import Result
from hub.verify.outcomes import expect_end, expect_first, outcome_words
from hub.verify.rig import Handed, RigError
from hub.verify.sharing import shape_of
from hub.verify.talk import Skip, Talk, tried

__all__ = ["FAULTS", "Fault", "matrix", "shapes", "unauthorised"]

#: Adapters whose answers have an HTTP status, or an error that says the same.
_WITH_STATUS = frozenset(("http", "soap", "fhir", "dicomweb", "sql"))
#: More retries than this are not waited for.
_MOST_RETRIES = 60


@dataclass(frozen=True, slots=True)
class Fault:
    """``first``: how the call log may class the first call."""

    behaviour: Behaviour
    first: frozenset[Outcome]
    needs_status: bool = False

    @property
    def name(self) -> str:
        return f"{self.behaviour.kind} {self.behaviour.code}".strip()


#: What cuts an answer off, which needs one.
_CUTS = frozenset(("reset", "truncated", "garbage"))
#: Codecs for which no bytes are noise.
_TAKES_ALL = frozenset(("binary", "text"))
_UNKNOWN = frozenset((Outcome.TRANSIENT,))
_AWAY = frozenset((Outcome.TRANSIENT, Outcome.UNREACHABLE))

FAULTS: tuple[Fault, ...] = (
    Fault(Behaviour("silent"), _UNKNOWN),
    # Before an answer came the adapter may have sent it again by itself, over another connection.
    Fault(Behaviour("refuse"), _AWAY | {Outcome.OK}),
    Fault(Behaviour("reset"), _UNKNOWN),
    Fault(Behaviour("truncated"), _UNKNOWN),
    Fault(Behaviour("garbage"), _UNKNOWN),
    Fault(Behaviour("status", "500"), _UNKNOWN, needs_status=True),
    Fault(Behaviour("status", "503"), _AWAY, needs_status=True),
    # A token is fetched anew and the call made again within the attempt, or credentials are wrong for good.
    Fault(
        Behaviour("unauthorised"),
        frozenset((Outcome.OK, Outcome.TRANSIENT, Outcome.PERMANENT, Outcome.REJECTED)),
        needs_status=True,
    ),
    Fault(Behaviour("delay", seconds=0.3), frozenset((Outcome.OK,))),
    Fault(Behaviour("wrong_signature"), frozenset((Outcome.TRANSIENT, Outcome.PERMANENT))),
)


def shapes(interfaces: dict[str, Interface], silent: Collection[str] = ()) -> list[list[str]]:
    """The names of interfaces of one shape together; ``silent``: those whose answers have no body, which are apart."""
    found: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for name, one in interfaces.items():
        found[shape_of(one), name in silent].append(name)
    return list(found.values())


_Job = Callable[[str], Awaitable[Result | None]]


async def matrix(talk: Talk, names: list[str]) -> list[Result]:
    """All faults and codes for the interfaces of one shape."""
    if not talk.simulator.answers(names[0]):
        return []  # no answer, no fault of one
    contract = talk.contract(names[0])
    concerned = [fault for fault in FAULTS if _concerns(talk, names[0], fault)]
    jobs: list[_Job] = [_fault_job(talk, fault) for fault in concerned if not _ends_tokens(fault)]
    jobs += [_code_job(talk, code, rule) for code, rule in contract.errors.items()]
    jobs.append(_exhaust_job(talk))
    queue = iter(jobs)
    results: list[Result] = []

    async def worker(interface: str) -> None:
        for job in queue:  # shared: each job is done by whoever is free
            result = await job(interface)
            if result is not None:
                results.append(result)

    await asyncio.gather(*(worker(name) for name in names))
    return results


async def unauthorised(talk: Talk, names: list[str]) -> list[Result]:
    """The fault that ends every token, and so must not meet other calls."""
    if not talk.simulator.answers(names[0]):
        return []
    faults = [fault for fault in FAULTS if _ends_tokens(fault) and _concerns(talk, names[0], fault)]
    return [await _fault_job(talk, fault)(names[0]) for fault in faults]


def _ends_tokens(fault: Fault) -> bool:
    return fault.behaviour.kind == "unauthorised"


def _concerns(talk: Talk, interface: str, fault: Fault) -> bool:
    contract = talk.contract(interface)
    if fault.needs_status and contract.adapter not in _WITH_STATUS:
        return False
    if fault.behaviour.kind in _CUTS and interface in talk.silent_answers:
        return False
    if fault.behaviour.kind == "wrong_signature":
        unsigned = interface in talk.party.subject.declared.unsigned
        return talk.simulator.signs_replies(interface) and not unsigned
    return True


def _label(interface: str, what: str) -> str:
    return f"{interface}: {what}"


def _fault_job(talk: Talk, fault: Fault) -> Callable[[str], Awaitable[Result]]:
    async def job(interface: str) -> Result:
        async def work() -> str:
            before = len(talk.calls(interface))
            handed = await _with(talk, interface, fault.behaviour)
            allowed = fault.first
            kept = talk.simulator.keeps(interface)
            unread = fault.behaviour.kind == "garbage" and not kept and not _reads_reply(talk.contract(interface))
            if unread or (kept and fault.behaviour.kind in _CUTS and _called_again(talk, handed, before)):
                allowed |= {
                    Outcome.OK
                }  # a status of 2xx is success by this contract, whatever is answered; or it was made again
            if fault.behaviour.kind in _CUTS and talk.contract(interface).results is not None:
                allowed |= {Outcome.FAILED}  # what reads the results may not believe them
            first = expect_first(handed, allowed)
            expect_end(handed, talk.retries(interface))
            if first is Outcome.OK and unread:
                return t("delivered: no rule reads the answer", "视为送达：契约未读取应答内容")
            return outcome_words(handed)

        return await tried("faults", _label(interface, fault.name), work)

    return job


def _code_job(talk: Talk, code: str, rule: ErrorRule) -> _Job:
    async def job(interface: str) -> Result:
        async def work() -> str:
            if code not in talk.simulator.errors(interface):
                raise Skip(_why_not_answered(talk, code))
            before = len(talk.calls(interface))
            handed = await _with(talk, interface, Behaviour("error", code))
            call = handed.calls[0] if handed.calls else None
            if rule.kind == "transient" and _renewed(handed) and len(talk.calls(interface, before)) > 1:
                return t("a new token within the attempt", "同一次尝试内更换令牌")
            wanted = {
                "permanent": frozenset((Outcome.REJECTED, Outcome.PERMANENT)),
                "transient": _UNKNOWN,
                "delivered": frozenset((Outcome.OK,)),
            }[rule.kind]
            expect_first(handed, wanted)
            assert call is not None  # noqa: S101 - there is a first one
            if call.code != code:
                raise RigError(t(f"the call log says code {call.code!r}", f"调用日志记录的码为 {call.code!r}"))
            if rule.text and rule.kind != "delivered" and rule.text not in call.error:
                raise RigError(t(f"the call log does not say: {rule.text}", f"调用日志缺少说明：{rule.text}"))
            expect_end(handed, talk.retries(interface))
            if rule.kind == "permanent" and (handed.state is not DeliveryState.DEAD or len(handed.calls) != 1):
                raise RigError(t(f"tried again: {outcome_words(handed)}", f"不应重试：{outcome_words(handed)}"))
            return ""

        return await tried("errors", _label(interface, code), work)

    return job


def _renewed(handed: Handed) -> bool:
    """Whether the adapter itself called again, with another token, and was taken."""
    return len(handed.calls) == 1 and handed.calls[0].outcome is Outcome.OK


def _called_again(talk: Talk, handed: Handed, before: int) -> bool:
    """Whether the adapter itself called once more within an attempt, because a kept connection broke."""
    return len(talk.calls(handed.place.partition("/")[2], before)) > len(handed.calls)


def _why_not_answered(talk: Talk, code: str) -> str:
    told = next((f"{p.text} -> {p.remedy}" for p in talk.simulator.problems if code in p.text), "")
    return told or t("the party can't answer it", "模拟方无法给出该码")


def _exhaust_job(talk: Talk) -> _Job:
    """What keeps failing is tried as often as the contract says, and then is a dead letter."""

    async def job(interface: str) -> Result | None:
        retries = talk.retries(interface)
        if retries > _MOST_RETRIES:
            return None
        status = talk.contract(interface).adapter in _WITH_STATUS
        cut = Behaviour("reset") if talk.simulator.keeps(interface) else talk.lost_answer(interface)
        behaviour = Behaviour("status", "500") if status else cut

        async def work() -> str:
            handed = await _with(talk, interface, behaviour, times=None)
            made = sum(call.outcome is Outcome.TRANSIENT for call in handed.calls)
            if made != retries + 1 or handed.state is not DeliveryState.DEAD:
                raise RigError(
                    t(
                        f"{made} tries instead of {retries + 1}, then {handed.state.word}",
                        f"尝试 {made} 次（应为 {retries + 1} 次），结果 {handed.state.word}",
                    )
                )
            return t(f"{made} tries, then a dead letter", f"尝试 {made} 次后进入死信")

        return await tried("faults", _label(interface, t("for good", "持续失败")), work)

    return job


async def _with(talk: Talk, interface: str, behaviour: Behaviour, times: int | None = 1) -> Handed:
    talk.simulator.misbehave(interface, behaviour, times=times)
    try:
        return await talk.rig.ended(await talk.rig.hand_in(talk.party, interface))
    finally:
        talk.simulator.behave(interface)


def _reads_reply(contract: Interface) -> bool:
    """Whether any rule looks into the answer; where the answer is a file, any bytes are one."""
    if (contract.reply.codec or contract.codec) in _TAKES_ALL:
        return False
    return bool(contract.success or contract.reply.code or contract.reply.message or contract.results)
