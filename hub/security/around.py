"""``security`` of interfaces whose transport carries bytes and knows nothing of it: files, queues, mail, raw TCP.

The hub seals what it gives to the sender and opens what the receiver gives to it. The adapter never sees the difference.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hub.api import Bound, IntakePort, Item, Outgoing, Receipt, Reply, Sender
from hub.errors import ExchangeError, HubError, StoreBusy, TransientError
from hub.forwarding import ForwardingIntake
from hub.i18n import t
from hub.message import Outcome
from hub.security.errors import Refused
from hub.security.protection import Protection
from hub.security.scheme import Opening
from hub.security.wire import OpenedParams, Wire

__all__ = ["ProtectedIntake", "ProtectedSender"]

#: Bytes that may wait to be opened in a thread; beyond it receivers are told to wait.
_WAITING_BYTES = 256 << 20

Done = Callable[[Receipt], None]


class ProtectedSender(Sender):
    """Seals what is sent and opens what is answered."""

    def __init__(self, sender: Sender, protection: Protection) -> None:
        self._sender = sender
        self._protection = protection

    async def start(self) -> None:
        await self._sender.start()

    async def stop(self) -> None:
        await self._sender.stop()

    async def send(self, outgoing: Outgoing) -> Reply:
        began = time.monotonic()
        wire = Wire(outgoing.body)
        await self._protection.seal_request(wire)
        left = outgoing.timeout - (time.monotonic() - began)
        if left <= 0:
            text = t("signing took the whole timeout, nothing was sent", "签名耗尽超时时间，未发送任何内容")
            raise TransientError(text, code="security.timeout")
        reply = await self._sender.send(replace(outgoing, body=wire.body, timeout=left))
        answer = Wire(reply.body, status=reply.status)
        try:
            await self._protection.open_reply(answer)
        except TransientError as error:
            if reply.ok:
                raise
            # A refusal that is not signed: told, but not believed.
            text = t(f"{error.text}; it says: {reply.error}", f"{error.text}；其内容为：{reply.error}")
            raise TransientError(text, code=error.code) from error
        reply.body = answer.body
        return reply

    @property
    def capacity(self) -> int:
        return self._sender.capacity

    async def probe(self) -> str:
        return await self._sender.probe()

    def status(self) -> dict[str, Any]:
        return self._sender.status()


@dataclass(slots=True)
class _Opened:
    """What opening one message gave; ``kept``: the bytes for the call log."""

    body: bytes
    kept: bytes
    opening: Opening
    refused: Refused | None

    @property
    def error(self) -> HubError | None:
        """As a receiver is told: what passes is "not now"."""
        if self.refused is not None and self.refused.status in (429, 503):
            return StoreBusy(self.refused.text)
        return self.refused

    def params(self, given: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """With what the schemes noted, and what came where opening changed it."""
        notes = self.opening.notes
        if self.body != self.kept:
            return OpenedParams({**(given or {}), **notes}, self.kept)
        return {**(given or {}), **notes} if notes else given


class ProtectedIntake(ForwardingIntake):
    """An :class:`~hub.api.IntakePort` in front of the real one, for one receiver.

    ``live``: what comes was sent just now, so that the time of its signature counts; see :class:`~hub.security.Opening`.
    """

    def __init__(self, intake: IntakePort, protection: Protection, *, live: bool) -> None:
        super().__init__(intake)
        self._protection = protection
        self._live = live
        self._line: deque[Callable[[], Coroutine[Any, Any, None]]] = deque()  # what waits for a large one before it
        self._waiting = 0  # bytes
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(
        self,
        bound: Bound,
        raw: bytes,
        done: Done,
        *,
        remote: str = "",
        control_id: str = "",
        params: Mapping[str, str] | None = None,
    ) -> None:
        def hand_over(opened: _Opened) -> None:
            if opened.refused is not None:
                self._intake.refuse(bound, opened.kept, opened.refused, remote=remote)
                return done(Receipt(Outcome.REFUSED, control_id=control_id, error=opened.error))
            told = lambda receipt: self._tell(receipt, opened.opening, done)  # noqa: E731
            self._intake.submit(
                bound, opened.body, told, remote=remote, control_id=control_id, params=opened.params(params)
            )

        if not self._line and self._protection.quick(len(raw)):
            return hand_over(self._open(raw, remote))
        if self._waiting and self._waiting + len(raw) > _WAITING_BYTES:
            text = t("too many large messages at once: send again later", "同时到达的大消息过多，请稍后重发")
            return done(Receipt(Outcome.REFUSED, control_id=control_id, error=StoreBusy(text)))

        async def turn() -> None:
            opened = await self._opened(raw, remote)
            self._waiting -= len(raw)
            hand_over(opened)

        self._waiting += len(raw)
        self._line.append(turn)
        if len(self._line) == 1:
            self._spawn(self._in_line())
        return None

    async def take(
        self, bound: Bound, items: Sequence[Item], *, mark: str | None = None, name: str = "", remote: str = ""
    ) -> list[Receipt]:
        page: list[Item] = []
        openings: list[Opening | None] = []
        for item in items:
            found = await self._opened(item.raw, remote) if item.error is None else None
            if found is None:
                page.append(item)
                openings.append(None)
            elif found.refused is None:
                page.append(replace(item, raw=found.body, params=found.params(item.params)))
                openings.append(found.opening)
            elif isinstance(found.error, StoreBusy):  # the page comes again
                _forget(openings)
                raise found.error
            else:
                page.append(replace(item, raw=found.kept, error=found.refused))
                openings.append(None)
        try:
            receipts = await self._intake.take(bound, page, mark=mark, name=name, remote=remote)
        except BaseException:
            _forget(openings)
            raise
        for receipt, opening in zip(receipts, openings, strict=True):
            if opening is not None and not receipt.accepted:
                opening.forget()
        return receipts

    def ready(self) -> bool:
        return self._waiting < _WAITING_BYTES and self._intake.ready()

    # -- parts ---------------------------------------------------------------------------------------------------

    def _open(self, raw: bytes, remote: str) -> _Opened:
        wire = Wire(raw, remote=remote)
        try:
            opening = self._protection.open_now(wire, live=self._live)
        except Refused as error:
            return _Opened(raw, raw if wire.evidence is None else wire.evidence, Opening(), error)
        return _Opened(wire.body, raw if wire.evidence is None else wire.evidence, opening, None)

    async def _opened(self, raw: bytes, remote: str) -> _Opened:
        if self._protection.quick(len(raw)):
            return self._open(raw, remote)
        return await asyncio.to_thread(self._open, raw, remote)

    async def _in_line(self) -> None:
        """What came first goes on first."""
        while self._line:
            await self._line[0]()
            self._line.popleft()

    def _tell(self, receipt: Receipt, opening: Opening, done: Done) -> None:
        """The receipt on its way back; the answer of request style is sealed."""
        if not receipt.accepted:
            opening.forget()
        reply = receipt.reply
        if reply is None:
            return done(receipt)
        if self._protection.quick(len(reply)):
            return done(self._sealed(receipt, reply))

        async def seal() -> None:
            done(await asyncio.to_thread(self._sealed, receipt, reply))

        return self._spawn(seal())

    def _sealed(self, receipt: Receipt, reply: bytes) -> Receipt:
        wire = Wire(reply, status=receipt.reply_status)
        try:
            self._protection.seal_now(wire)
        except HubError as error:
            # It is stored and was answered; only the answer can't be told.
            text = t(f"the answer can't be protected: {error.text}", f"无法保护应答：{error.text}")
            failed = ExchangeError(text, "hub", code=error.code)
            return replace(receipt, reply=None, error=receipt.error or failed)
        return replace(receipt, reply=wire.body)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _forget(openings: Sequence[Opening | None]) -> None:
    for opening in openings:
        if opening is not None:
            opening.forget()
