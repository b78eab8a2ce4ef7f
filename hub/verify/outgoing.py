"""Checks of single ``out`` interfaces: a message reaches the party, the same one again is recognisable, order holds."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from hub.errors import HubError
from hub.i18n import t
from hub.message import CheckVerdict, DeliveryState
from hub.router import UNKEYED
from hub.verify.model import Result
from hub.verify.outcomes import outcome_words
from hub.verify.rig import Handed, RigError
from hub.verify.talk import Skip, Talk, tried

__all__ = ["idempotency", "order", "probe_up", "round_trip"]

#: Longest time until a party that is not called has noticed what lies there, seconds.
_NOTICED_S = 5.0

#: A value that may differ between two attempts: a time, as text, digits or seconds since 1970.
_TIME = re.compile(
    r"(?:19|20)\d\d-?[01]\d-?[0-3]\d(?:[T ]?[0-2]\d:?[0-5]\d(?::?[0-5]\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?|1[5-9]\d{8}(?:\d{3}){0,2}"
)


async def round_trip(talk: Talk, interface: str) -> Result:
    """The party accepts at the first call what was made of a source message."""

    async def work() -> str:
        rig, before = talk.rig, len(talk.calls(interface))
        handed = await rig.ended(await rig.hand_in(talk.party, interface))
        if handed.state is not DeliveryState.DELIVERED or handed.delivery.attempts != 1:
            last = handed.calls[-1] if handed.calls else None
            told = f"{outcome_words(handed)}: {last.error if last is not None else handed.delivery.reason}"
            refused = next((call.problem for call in talk.calls(interface, before) if call.problem), "")
            state = handed.state.word
            if elsewhere := _asks_elsewhere(talk, interface, handed):
                raise Skip(elsewhere)
            raise RigError(
                t(f"{state} ({told})", f"{state}（{told}）")
                + (t("; the party: ", "；模拟方：") + refused if refused else "")
            )
        if not await _heard(talk, interface, before, rig.outgoing(handed)[-1].body):
            raise RigError(
                t(
                    "delivered, says the hub, but the party has accepted nothing: the success rule believes too much",
                    "枢纽判定已送达，但模拟方未接受：成功条件过宽",
                )
            )
        if not handed.calls[-1].response and not talk.simulator.keeps(interface):
            talk.silent_answers.add(interface)
        check = handed.calls[-1].check
        wrong = [one for one in check.findings if _of_form(one)] if check is not None else []
        if wrong:
            first = wrong[0]["text"]
            raise RigError(t(f"what was sent fails its schema: {first}", f"所发内容未通过 schema：{first}"))
        if check is not None and check.verdict is CheckVerdict.NOT_CHECKED:
            raise RigError(t("its schema could not be asked", "schema 校验未能执行"))
        return talk.party.samples[interface].name

    return await tried("round_trip", interface, work)


async def _heard(talk: Talk, interface: str, before: int, body: bytes) -> bool:
    """Whether the party took it; one that answers nothing notices by itself, a little later."""
    end = time.monotonic() + (0 if talk.simulator.answers(interface) else _NOTICED_S)
    while True:
        found = _accepted(talk, interface, before, body)
        if found or time.monotonic() > end:
            return found
        await asyncio.sleep(0.02)


def _accepted(talk: Talk, interface: str, before: int, body: bytes) -> bool:
    """Whether the party took it; one whose interfaces share an address may have taken it for another of them."""
    if any(call.verdict == "accepted" for call in talk.calls(interface, before)):
        return True
    codec = talk.rig.node.deployment.outbound[talk.party.place(interface)].codec
    if any(call.verdict == "accepted" and _same(codec, call.body, body) for call in talk.simulator.calls):
        talk.misheard.add(interface)
        return True
    return False


def _same(codec: Any, one: bytes, other: bytes) -> bool:
    """The same message, however it is written."""
    if one == other:
        return True
    try:
        return bool(codec.decode(one) == codec.decode(other))
    except HubError:
        return False


def _of_form(finding: Mapping[str, str]) -> bool:
    """Of the schema or the format; what rule sets find may be about other messages."""
    return finding.get("severity") == "error" and finding.get("level") == "structure"


def _asks_elsewhere(talk: Talk, interface: str, handed: Handed) -> str:
    """Why a message can't be made here: its mapping asks other systems, or for earlier messages."""
    if not any(call.code.startswith("lookup.") for call in handed.calls):
        return ""
    mapping = talk.rig.node.deployment.mappings.get(talk.contract(interface).mapping)
    lookups = [one for part in (mapping, *mapping.parts) for one in part.lookups]
    said = " ".join(call.error for call in handed.calls)
    names = [one.name for one in lookups if one.name in said and (one.store or not one.system.startswith("./"))]
    if not names:
        return ""
    told = ", ".join(dict.fromkeys(names))
    return t(f"its mapping looks for {told} elsewhere", f"其映射需到别处查找 {told}")


async def idempotency(talk: Talk, interface: str) -> Result | None:
    """When the outcome is unknown, the same key and content go out again."""
    if not talk.retries(interface) or not talk.simulator.answers(interface):
        return None  # never sent twice, or there is no answer to lose

    async def work() -> str:
        rig = talk.rig
        talk.simulator.misbehave(interface, talk.lost_answer(interface))
        try:
            handed = await rig.ended(await rig.hand_in(talk.party, interface))
        finally:
            talk.simulator.behave(interface)
        sent = rig.outgoing(handed)
        if len(sent) < 2:
            raise RigError(t(f"not sent again: {outcome_words(handed)}", f"未重发：{outcome_words(handed)}"))
        if len({one.idempotency_key for one in sent}) != 1:
            raise RigError(t("the idempotency key changed between attempts", "两次尝试的幂等键不同"))
        codec = rig.node.deployment.outbound[handed.place].codec
        differing = [
            place for place, old, new in _differences(codec, sent[0].body, sent[-1].body) if _matters(old, new)
        ]
        if differing:
            shown = ", ".join(differing[:3])
            raise RigError(
                t(
                    f"the repetition differs at {shown}: the party can't recognise it",
                    f"重发内容在 {shown} 处不同，对方无法识别为重复",
                )
            )
        if handed.state is not DeliveryState.DELIVERED:
            last = handed.calls[-1]
            raise RigError(
                t(
                    f"the repetition is not taken as one: {last.code} {last.error}",
                    f"重发未被视为同一请求：{last.code} {last.error}",
                )
            )
        other = await rig.ended(await rig.hand_in(talk.party, interface))
        key = rig.outgoing(other)[0].idempotency_key if rig.outgoing(other) else ""
        if not talk.contract(interface).idempotency and key == sent[0].idempotency_key:
            raise RigError(t("two deliveries have one key", "两个投递使用同一幂等键"))
        return ""

    return await tried("idempotency", interface, work)


async def order(talk: Talk, interface: str) -> Result | None:
    """Three messages of one key; the first must be tried twice."""
    contract = talk.contract(interface)
    if contract.order_by == "" or not talk.retries(interface) or not talk.simulator.answers(interface):
        return None

    async def work() -> str:
        rig = talk.rig
        talk.simulator.misbehave(interface, talk.lost_answer(interface))
        try:
            handed = [await rig.hand_in(talk.party, interface) for _ in range(3)]
            keys = {one.delivery.order_key for one in handed}
            if len(keys) != 1 and "default($message.id)" in (contract.order_by or "").replace(" ", ""):
                raise Skip(t("the message has no key of its own", "消息没有自己的排序键"))
            if len(keys) != 1:
                raise RigError(t("the same message has another ordering key each time", "相同消息每次得到不同的排序键"))
            if keys == {UNKEYED}:
                why = t(
                    f"the message has no value for order_by: {contract.order_by}",
                    f"消息无 order_by 的值：{contract.order_by}",
                )
                raise Skip(why)
            await asyncio.gather(*(rig.ended(one) for one in handed))
        finally:
            talk.simulator.behave(interface)
        if len(handed[0].calls) < 2:
            raise RigError(
                t(f"the first was not retried: {outcome_words(handed[0])}", f"首条未重试：{outcome_words(handed[0])}")
            )
        for first, second in pairwise(handed):
            _after(first, second)
        return ""

    return await tried("order", interface, work)


def _after(first: Handed, second: Handed) -> None:
    if not first.calls or not second.calls:
        raise RigError(t("no call was made", "未发起调用"))
    if second.calls[0].at < first.calls[-1].at:
        raise RigError(t("a later message overtook one that was being retried", "后到的消息越过了正在重试的消息"))


async def probe_up(talk: Talk, interface: str) -> Result:
    """The probe says well while the party is there."""

    async def work() -> str:
        found = await talk.rig.node.probe(talk.party.place(interface))
        if len(found) != 1:
            raise RigError(talk.rig.why_not(talk.party.place(interface)))
        if found[0].code:
            raise RigError(
                t(f"not well although the party is up: {found[0].text}", f"对方正常但探测异常：{found[0].text}")
            )
        return ""

    return await tried("probe", interface, work)


# -- comparing two attempts --------------------------------------------------------------------------------------


def _differences(codec: Any, old: bytes, new: bytes) -> Iterator[tuple[str, Any, Any]]:
    if old == new:
        return
    try:
        before, after = codec.decode(old), codec.decode(new)
    except HubError:
        yield "", old, new
        return
    if isinstance(before, dict | list):
        yield from _walk("", before, after)
    else:
        yield from _walk("", _words(old), _words(new))


def _words(raw: bytes) -> list[str]:
    return re.split(r"[<>|^&~\s\"'=;,]+", raw.decode("utf-8", "replace"))


def _walk(place: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from _walk(f"{place}.{key}".lstrip("."), old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _walk(f"{place}[{number}]", one, other)
    elif old != new:
        yield place, old, new


def _matters(old: Any, new: Any) -> bool:
    """Times may differ; what else differs makes it another message."""
    return not (_TIME.fullmatch(str(old)) and _TIME.fullmatch(str(new)))
