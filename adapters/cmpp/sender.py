"""The sending side of ``cmpp``: SUBMITs in the windows of the account's connections."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from functools import partial
from typing import Any, cast

import orjson

from adapters.cmpp.composing import Order, compose
from adapters.cmpp.options import CmppConnect
from adapters.cmpp.pdu import Pdu, Submit, SubmitReply
from adapters.cmpp.registry import Registry, report_key
from adapters.cmpp.session import Session
from adapters.cmpp.sessions import Sessions
from hub.api import Bound, Outgoing, PermanentError, Reply, Sender, SendError, TransientError
from hub.i18n import t
from hub.logs import get_logger

__all__ = ["RESULTS", "CmppSender"]

log = get_logger(__name__)

#: Result of SUBMIT_RESP (CMPP 2.0 7.4.3.2, 3.0 8.4.3.2) in English and Chinese.
RESULTS = {
    1: ("wrong structure", "消息结构错"),
    2: ("wrong command", "命令字错"),
    3: ("sequence number repeated", "消息序号重复"),
    4: ("wrong length", "消息长度错"),
    5: ("wrong fee code", "资费代码错"),
    6: ("longer than allowed", "超过最大信息长"),
    7: ("wrong service code", "业务代码错"),
    8: ("flow control", "流量控制错"),
    9: ("the gateway does not serve this paying number", "本网关不负责服务此计费号码"),
    10: ("wrong Src_Id", "Src_Id 错误"),
    11: ("wrong Msg_src", "Msg_src 错误"),
    12: ("wrong Fee_terminal_Id", "Fee_terminal_Id 错误"),
    13: ("wrong Dest_terminal_Id", "Dest_terminal_Id 错误"),
}
#: Those after which the same message may be accepted.
_PASSING = frozenset((3, 8))
#: Result of DELIVER_RESP where nobody takes it here.
_NOBODY = 9
#: Messages whose parts under way or accepted are remembered, and for how long, seconds.
_REMEMBERED = 20_000
_REMEMBER_S = 3600.0


class _Progress:
    """What became of the parts of one message so far."""

    __slots__ = ("accepted", "at", "under_way")

    def __init__(self) -> None:
        self.at = time.monotonic()
        self.accepted: dict[int, int] = {}  # part -> Msg_Id
        self.under_way: dict[int, asyncio.Future[SubmitReply]] = {}


class CmppSender(Sender):
    """Parts of one message go one after the other, those of different messages side by side."""

    def __init__(self, bound: Bound, registry: Registry) -> None:
        self._place = bound.place
        self._key = (bound.system, bound.interface_id)
        self._options = options = cast(CmppConnect, bound.options)
        self._registry = registry
        self._parts = registry.parts_of(bound.system)
        self._sessions = Sessions(bound.place, options, self._deliver)
        self._progress: OrderedDict[tuple[str, bytes], _Progress] = OrderedDict()
        self._next_at = 0.0
        self._told = False
        self._sent = self._refused = self._untaken = 0

    async def start(self) -> None:
        await self._sessions.start()
        self._registry.sessions[self._key] = self._sessions

    async def stop(self) -> None:
        if self._registry.sessions.get(self._key) is self._sessions:
            del self._registry.sessions[self._key]
        await self._sessions.stop()

    async def send(self, outgoing: Outgoing) -> Reply:
        order = compose(outgoing.body, outgoing.idempotency_key, self._options)
        progress = self._progress_of(outgoing.idempotency_key, order)
        try:
            with self._parts.sending(len(order.parts)):
                async with asyncio.timeout(outgoing.timeout):
                    refusal = await self._all(progress, order)
        except TimeoutError:
            raise self._late(progress) from None
        if refusal is not None:
            self._refused += 1
            return refusal
        self._progress.pop((outgoing.idempotency_key, order.fingerprint), None)
        self._sent += 1
        ids = [progress.accepted[number] for number in range(1, len(order.parts) + 1)]
        answer = {"result": 0, "msg_ids": [str(msg_id) for msg_id in ids], "key": report_key(ids[0])}
        return Reply(True, orjson.dumps(answer), code="0")

    @property
    def capacity(self) -> int:
        return self._options.connections * self._options.window

    async def probe(self) -> str:
        return await self._sessions.probe()

    def status(self) -> dict[str, Any]:
        return {
            **self._sessions.status(),
            "sent": self._sent,
            "refused": self._refused,
            "untaken": self._untaken,
            "remembered": len(self._progress),
        }

    # -- parts -----------------------------------------------------------------------------------------------------------

    async def _all(self, progress: _Progress, order: Order) -> Reply | None:
        """Send what is not accepted yet; the refusal of the first part that is refused."""
        for number, part in enumerate(order.parts, 1):
            if number not in progress.accepted:
                reply = await self._one(progress, number, part)
                if reply.result:
                    return self._refusal(reply.result, number, len(order.parts))
        return None

    async def _one(self, progress: _Progress, number: int, part: Submit) -> SubmitReply:
        """The answer to one part; that of an earlier try where it is still awaited."""
        future = progress.under_way.get(number)
        if future is None:
            session = await self._sessions.session()
            while (pause := self._pace()) > 0:
                await asyncio.sleep(pause)
                session = await self._sessions.session()
            try:
                future = session.submit(part, partial(self._replied, progress, number))
            except ValueError as error:
                raise PermanentError(
                    t(f"a field does not fit: {error}", f"字段超出长度：{error}"), code="cmpp.field"
                ) from None
            progress.under_way[number] = future
            future.add_done_callback(lambda done: progress.under_way.pop(number, None))
        try:
            return await asyncio.shield(future)
        except (ConnectionError, TimeoutError) as error:  # of the answer; when our own time is up we are cancelled
            raise self._unknown(str(error)) from None

    def _replied(self, progress: _Progress, number: int, reply: SubmitReply) -> None:
        """Also when nobody waits for it any more: a retry finds it."""
        if reply.result == 0:
            progress.accepted[number] = reply.msg_id
            if 1 in progress.accepted:
                self._parts.note(report_key(reply.msg_id), report_key(progress.accepted[1]))

    def _progress_of(self, key: str, order: Order) -> _Progress:
        known, now = self._progress, time.monotonic()
        while known and (len(known) > _REMEMBERED or now - next(iter(known.values())).at > _REMEMBER_S):
            known.popitem(last=False)
        name = key, order.fingerprint
        found = known.get(name)
        if found is None:
            known[name] = found = _Progress()
        return found

    def _pace(self) -> float:
        """0: a SUBMIT may go now, and is counted; otherwise so many seconds until it may."""
        if not self._options.rate:
            return 0.0
        now = asyncio.get_running_loop().time()
        if now < self._next_at:
            return self._next_at - now
        self._next_at = now + 1 / self._options.rate
        return 0.0

    def _refusal(self, result: int, number: int, total: int) -> Reply:
        english, chinese = RESULTS.get(result, ("refused, by a code of the gateway's own", "网关自定义错误"))
        of = t(f" (part {number} of {total})", f"（第 {number}/{total} 条）") if total > 1 else ""
        text = t(f"SUBMIT_RESP {result}: {english}", f"SUBMIT_RESP {result}：{chinese}") + of
        body = orjson.dumps({"result": result})
        return Reply(False, body, code=str(result), error=text, transient=result in _PASSING)

    def _late(self, progress: _Progress) -> SendError:
        if progress.under_way:
            return self._unknown(t("no answer in time", "未在规定时间内应答"))
        text = t("no place in the window became free in time", "窗口内长时间无空位")
        return TransientError(f"{self._options.address}: {text}", code="cmpp.window")

    def _unknown(self, why: str) -> SendError:
        why = why or t("no answer in time", "未在规定时间内应答")
        text = f"{self._options.address}: {why}" + t("; the gateway may have the message", "；网关可能已收到该短信")
        if self._options.unknown == "refuse":
            return PermanentError(text, code="cmpp.unknown")
        return TransientError(text, code="cmpp.unknown")

    def _deliver(self, session: Session, pdu: Pdu) -> None:
        if self._registry.hand_over(self._key, session, pdu):
            return
        self._untaken += 1
        if not self._told:
            self._told = True
            log.warning(
                "%s: a DELIVER came, and no interface takes it -> add an in interface with listen: {of: %s}, or reports: false",
                self._place,
                self._key[1],
            )
        session.answer_deliver(pdu, _NOBODY)
