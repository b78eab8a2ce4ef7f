"""Checks of ``in`` interfaces: the party's messages are taken in, unreadable ones refused, repetitions recognised."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from hub.contract import Interface
from hub.errors import HubError, TransientError, UnreachableError
from hub.i18n import t
from hub.message import CallRecord, Direction, Outcome
from hub.simulator import Behaviour, SimulatedReply
from hub.store.base import CallQuery
from hub.verify.model import Result
from hub.verify.rig import RigError
from hub.verify.talk import Skip, Talk, tried

__all__ = ["receive", "refusals"]

#: Bytes that no format takes for a message.
_NOISE = b"\x00\xff\xfe not a message \x01\x02"
#: Codecs that take any bytes.
_TAKES_ALL = frozenset(("binary", "text"))
#: Longest wait for a row of the call log, and for the one that is expected while there are others, seconds.
_LOG_S, _OTHERS_S = 10.0, 1.5
#: Schemes that prove nothing by a signature.
_NO_SIGNATURE = frozenset(("login", "token", "encryption"))
#: Adapters with a scheme of their own in addresses; all others that listen speak HTTP.
_SCHEMES = frozenset(("mllp", "tcp", "astm", "dicom"))


async def receive(talk: Talk, interface: str) -> Result:
    """A good message is acknowledged and stored, noise is refused in the protocol's form."""

    async def work() -> str:
        contract = talk.contract(interface)
        reply = await _sent(talk, interface)
        call = await _last_call(talk, interface, *((Outcome.OK, Outcome.DUPLICATE) if reply.ok else (Outcome.REFUSED,)))
        if not reply.ok:
            raise RigError(t("not acknowledged: ", "未被确认：") + f"{_told(reply)} {call.error}")
        if call.outcome not in (Outcome.OK, Outcome.DUPLICATE):
            told = f"{call.outcome.word}: {call.error}"
            raise RigError(t(f"acknowledged, but {told}", f"已确认，但结果为 {told}"))
        if reply.problems:
            raise RigError("; ".join(problem.text for problem in reply.problems))
        stored = await talk.rig.node.store.reader.message(call.message_id)
        if stored is None or stored.source != talk.party.place(interface):
            raise RigError(t("acknowledged, but not stored", "已确认但未落库"))
        if contract.style == "request" and not reply.body:
            raise RigError(t("the answer is empty", "应答为空"))
        if contract.codec in _TAKES_ALL:
            return t("any bytes are a message", "任意字节均为消息")
        try:
            bad = await _sent(talk, interface, _NOISE)
        except (TransientError, UnreachableError):
            raise
        except HubError as error:
            return t(f"noise can't be signed: {error.text}", f"无法对噪声签名：{error.text}")
        if bad.ok and contract.style != "request":  # there what the hub itself says of it is asked, below
            raise RigError(t("noise is acknowledged like a message", "无法解析的内容被当作消息确认"))
        refused = await _last_call(talk, interface, Outcome.REFUSED)
        if refused.outcome is not Outcome.REFUSED:
            raise RigError(t(f"noise is {refused.outcome.word}", f"无法解析的内容结果为 {refused.outcome.word}"))
        return ""

    return await tried("receive", interface, work)


async def refusals(talk: Talk, interface: str) -> list[Result]:
    """A repetition is answered as before and not processed again; a forgery is refused."""
    results = []
    contract = talk.contract(interface)

    async def duplicate() -> str:
        first = await _sent(talk, interface)
        await _last_call(talk, interface, Outcome.OK, Outcome.DUPLICATE)
        if not first.ok:
            raise RigError(t("not acknowledged: ", "未被确认：") + _told(first))
        again = await _sent(talk, interface, first.sent)
        if not again.ok:
            raise RigError(t("the repetition is refused: ", "重复消息被拒：") + _told(again))
        call = await _last_call(talk, interface, Outcome.DUPLICATE)
        if call.outcome is Outcome.OK:
            message = await talk.rig.node.store.reader.message(call.message_id)
            if message is not None and not message.control_id:
                raise Skip(t("the contract names no control_id", "契约未指明 control_id"))
            raise RigError(t("the repetition is taken for another message", "重复消息被当作新消息"))
        if call.outcome is not Outcome.DUPLICATE:
            raise RigError(t(f"the repetition is {call.outcome.word}", f"重复消息结果为 {call.outcome.word}"))
        return ""

    async def forged() -> str:
        # The refusal of what nobody signed need not be signed itself; the call log tells.
        with suppress(TransientError):
            await _sent(talk, interface, misbehave=Behaviour("wrong_signature"))
        call = await _last_call(talk, interface, Outcome.REFUSED)
        if call.outcome is not Outcome.REFUSED:
            raise RigError(t("a message with a wrong signature is taken in", "签名错误的消息被接收"))
        return ""

    # Whoever logs in again gets another token, and a question without a number is asked anew.
    asks = contract.style == "request" and not contract.control_id
    if "login" not in _schemes(contract) and not asks:
        results.append(await tried("refusals", f"{interface}: {t('repeated', '重复')}", duplicate))
    if contract.security and not _schemes(contract) <= _NO_SIGNATURE:
        results.append(await tried("refusals", f"{interface}: {t('forged', '伪造')}", forged))
    return results


def _schemes(contract: Interface) -> set[str]:
    return {one if isinstance(one, str) else next(iter(one), "") for one in contract.security}


async def _sent(
    talk: Talk, interface: str, body: bytes | None = None, *, misbehave: Behaviour | None = None
) -> SimulatedReply:
    place = talk.party.place(interface)
    host, port = talk.rig.address(place)
    if place not in talk.rig.node.receivers:
        raise RigError(talk.rig.why_not(place))
    query = CallQuery(place=place, direction=Direction.IN, limit=1)
    before = await talk.rig.node.store.reader.calls(query)
    talk.seen[place] = before[0].id if before else 0
    adapter = talk.contract(interface).adapter
    scheme = adapter if adapter in _SCHEMES else "http"
    return await talk.simulator.send(interface, f"{scheme}://{host}:{port}", body, misbehave=misbehave)


async def _last_call(talk: Talk, interface: str, *wanted: Outcome) -> CallRecord:
    """The row of the call log for what was sent last; that of a refusal is written after the answer.

    ``wanted``: one of these is waited for a moment, since callbacks of the party may come in between.
    """
    place = talk.party.place(interface)
    query = CallQuery(place=place, direction=Direction.IN, limit=10)
    begun = time.monotonic()
    while True:
        found = [row for row in await talk.rig.node.store.reader.calls(query) if row.id > talk.seen.get(place, 0)]
        fitting = [row for row in found if row.outcome in wanted]
        waited = time.monotonic() - begun
        if fitting or (found and waited > _OTHERS_S):
            talk.seen[place] = found[0].id
            return (fitting or found)[0]
        if waited > _LOG_S:
            raise RigError(t("the call log knows nothing of it", "调用日志无记录"))
        await asyncio.sleep(0.02)


def _told(reply: SimulatedReply) -> str:
    return f"{reply.code or reply.status} {reply.error}".strip()
