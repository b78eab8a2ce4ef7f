"""The calling side of the MLLP adapter: a pool of kept connections to one target."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from adapters.mllp.framing import BREAKS_FRAME, END_BLOCK
from adapters.mllp.header import Header, read_header
from adapters.mllp.link import Acknowledgement, Link, no_frame
from adapters.mllp.options import MllpConnect
from adapters.streams.pool import StreamSender
from hub.api import Bound, Outgoing, PermanentError, Reply, SendError, TransientError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["MllpSender"]

_ASKING = ("AL", "SU")


class MllpSender(StreamSender[Link]):
    """Sends messages unchanged and waits for their acknowledgement.

    AA and CA mean delivered; AE and CE may succeed later; AR and CR can't. Which of accept and application
    acknowledgement counts is the option ``wait_for``.
    """

    protocol: ClassVar[str] = "mllp"

    def __init__(self, bound: Bound) -> None:
        options = bound.options
        if not isinstance(options, MllpConnect):
            raise TypeError("bound.options must be MllpConnect")
        super().__init__(options)
        self._options = options

    def _new_link(self) -> Link:
        return Link()

    async def send(self, outgoing: Outgoing) -> Reply:
        body = outgoing.body
        if END_BLOCK in body and BREAKS_FRAME.search(body):
            raise PermanentError(
                t("the message contains 0x1C where MLLP would end it", "消息中含有会使 MLLP 帧提前结束的 0x1C"),
                code="mllp.end_block",
            )
        link: Link | None = None
        queued = True
        try:
            async with asyncio.timeout(outgoing.timeout):
                await self._turn()
                try:
                    queued = False
                    link = await self._connected()
                    reply = await self._exchange(link, body, read_header(body))
                finally:
                    self._release()
        except TimeoutError:
            self._timeouts += 1
            raise self._too_late(queued, link, outgoing.timeout) from None
        return self._verdict(reply)

    async def _exchange(self, link: Link, body: bytes, header: Header) -> Acknowledgement:
        try:
            reply = await link.exchange(body, header, past_accept=self._past_accept(header))
        except BaseException:
            self._discard(link)
            raise
        if link.alive:
            self._idle.append(link)
        else:
            self._discard(link)
        return reply

    # -- replies -----------------------------------------------------------------------------------------------

    def _past_accept(self, header: Header) -> bool:
        """Whether a CA is only a step on the way (HL7 v2.5.1 chapter 2, 2.9.3)."""
        if self._options.wait_for == "auto":
            return header.accept not in _ASKING and header.application in _ASKING
        return self._options.wait_for == "application"

    def _verdict(self, reply: Acknowledgement) -> Reply:
        code = reply.code
        if code in ("AA", "CA"):
            return Reply(ok=True, body=reply.body, code=code)
        return Reply(
            ok=False, body=reply.body, code=code, error=mask_text(reply.text), transient=code not in ("AR", "CR")
        )

    def _too_late(self, queued: bool, link: Link | None, seconds: float) -> SendError:
        if queued:
            text = t(f"no connection became free within {seconds:g} s", f"{seconds:g} 秒内没有空闲连接")
        elif link is None:
            return self._unreachable(t(f"no answer within {seconds:g} s", f"{seconds:g} 秒内无响应"))
        elif link.stray:
            text = no_frame(link.stray)
        else:
            text = t(f"no acknowledgement within {seconds:g} s", f"{seconds:g} 秒内未收到应答")
        return TransientError(text, code="mllp.timeout")
