"""The receiving side of ``cmpp``: status reports and messages of readers, answered after their commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import orjson

from adapters.cmpp.joining import Joiner
from adapters.cmpp.options import CmppListen
from adapters.cmpp.pdu import BadPdu, Deliver, Pdu, Report, read_deliver, read_report
from adapters.cmpp.registry import Registry, report_key
from adapters.cmpp.session import Session
from adapters.cmpp.sessions import Sessions
from adapters.cmpp.texts import content_of, read_piece, text_of
from hub.api import Bound, HubError, IntakePort, Receipt, Receiver, StoreBusy, UnreachableError
from hub.i18n import t
from hub.logs import get_logger
from hub.message import Outcome

__all__ = ["CmppReceiver"]

log = get_logger(__name__)

#: Result of DELIVER_RESP: taken, wrong structure, another error.
_TAKEN, _STRUCTURE, _REFUSED = 0, 1, 9


class CmppReceiver(Receiver):
    """What can't be taken just now is not answered: the gateway sends it again."""

    def __init__(self, bound: Bound, intake: IntakePort, registry: Registry) -> None:
        self._bound, self._intake = bound, intake
        self._options = options = cast(CmppListen, bound.options)
        self._registry = registry
        self._parts = registry.parts_of(bound.system)
        self._own = Sessions(bound.place, options.own, self._take) if options.own is not None else None
        self._taker = self._take  # one object, by which the registry knows it again
        self._joiner = Joiner(bound, intake, options)
        self._stopping = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._reports = self._messages = self._refused = self._left = 0

    # -- hub.api.Receiver ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        await self._joiner.start()
        for name in self._options.of:
            self._registry.take_for((self._bound.system, name), self._taker)
        if self._own is not None:
            await self._own.start()

    async def stop(self, grace: float) -> None:
        self._stopping = True
        for name in self._options.of:
            self._registry.leave((self._bound.system, name), self._taker)
        try:
            async with asyncio.timeout(grace):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%s: %d DELIVERs were not answered in time", self._bound.place, self._under_way)
        if self._own is not None:
            await self._own.stop()
        await self._joiner.stop()

    def status(self) -> dict[str, Any]:
        own = self._own.status() if self._own is not None else {"of": ", ".join(self._options.of)}
        return {
            **own,
            "reports": self._reports,
            "messages": self._messages,
            "refused": self._refused,
            "left": self._left,
            "under_way": self._under_way,
            "incomplete": len(self._joiner),
        }

    async def probe(self) -> str:
        if self._own is not None:
            return await self._own.probe()
        found = [self._registry.sessions.get((self._bound.system, name)) for name in self._options.of]
        told = [await sessions.probe() for sessions in found if sessions is not None]
        if not told:
            names = ", ".join(self._options.of)
            raise UnreachableError(
                t(f"none of {names} runs: nothing can come -> correct of", f"{names} 均未运行，无法接收 -> 请更正 of"),
                code="cmpp.of",
            )
        return "; ".join(told)

    # -- DELIVERs --------------------------------------------------------------------------------------------------------

    def _take(self, session: Session, pdu: Pdu) -> None:
        remote = self._own.options.address if self._own is not None else ""
        try:
            deliver = read_deliver(pdu.body, session.version)
            report = read_report(deliver.content) if deliver.is_report else None
        except BadPdu as error:
            self._refused += 1
            self._intake.refuse(self._bound, pdu.body, HubError(str(error), code="cmpp.deliver"), remote=remote)
            if len(pdu.body) >= 8:
                session.answer_deliver(pdu, _STRUCTURE)
            return
        if self._stopping or not self._intake.ready():
            self._left += 1
            return
        self._under_way += 1
        self._idle.clear()
        session.undone += 1
        if session.undone == self._options.unanswered:
            session.pause_reading()
        done = partial(self._done, session, pdu, deliver.is_report)
        if report is not None:
            self._parts.ask(report_key(report.msg_id), partial(self._report, report, deliver, remote, done))
            return
        piece = read_piece(deliver.content, bool(deliver.udhi & 1 or deliver.udhi & 0x40))
        if piece.total > 1:
            self._joiner.add(deliver, piece, done)
            return
        message = {**_head(deliver), **content_of(text_of(piece.data, deliver.msg_fmt), piece.data)}
        if deliver.link_id:
            message["link_id"] = deliver.link_id
        control_id = f"mo-{deliver.msg_id}" if deliver.msg_id else ""
        self._intake.submit(self._bound, orjson.dumps(message), done, remote=remote, control_id=control_id)

    def _report(
        self, report: Report, deliver: Deliver, remote: str, done: Callable[[Receipt], None], text_key: str
    ) -> None:
        """Hand over a status report, by its own number.

        Its bytes follow from what the gateway said and nothing else, so that the same report is the same message whenever it comes
        again: which text it is of (``text_key``), as far as that is remembered, is no part of them.
        """
        if self._stopping:
            done(Receipt(Outcome.REFUSED, error=StoreBusy(t("the hub stops", "平台正在停止"))))
            return
        tree = {
            "kind": "report",
            "key": report_key(report.msg_id),
            "msg_id": str(report.msg_id),
            "stat": report.stat,
            "phone": report.phone or deliver.src,
            "submitted": report.submitted,
            "done": report.done,
            "dest_id": deliver.dest_id,
            "service_id": deliver.service_id,
        }
        self._intake.submit(
            self._bound,
            orjson.dumps(tree),
            done,
            remote=remote,
            control_id=f"{report.msg_id}-{report.stat}-{report.done}",
            params={"text_key": text_key},
        )

    def _done(self, session: Session, pdu: Pdu, is_report: bool, receipt: Receipt) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()
        session.undone -= 1
        if session.undone == self._options.unanswered - 1:
            session.resume_reading()
        if receipt.accepted:
            if is_report:
                self._reports += 1
            else:
                self._messages += 1
            session.answer_deliver(pdu, _TAKEN)
        elif isinstance(receipt.error, StoreBusy):
            self._left += 1
        else:
            self._refused += 1
            session.answer_deliver(pdu, _REFUSED)


def _head(deliver: Deliver) -> dict[str, Any]:
    return {
        "kind": "message",
        "msg_id": str(deliver.msg_id),
        "phone": deliver.src,
        "dest_id": deliver.dest_id,
        "service_id": deliver.service_id,
        "msg_fmt": deliver.msg_fmt,
    }
