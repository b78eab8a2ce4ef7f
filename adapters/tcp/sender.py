"""The calling side of the TCP adapter."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from adapters.streams.pool import StreamSender
from adapters.tcp.framing import framing_for
from adapters.tcp.link import Link
from adapters.tcp.options import TcpConnect
from hub.api import Bound, HubError, Outgoing, PermanentError, Reply, SendError, TransientError
from hub.i18n import t

__all__ = ["TcpSender"]


class TcpSender(StreamSender[Link]):
    """Sends messages unchanged, each in a frame, and takes the next frame that comes back for the answer."""

    protocol: ClassVar[str] = "tcp"

    def __init__(self, bound: Bound) -> None:
        options = bound.options
        if not isinstance(options, TcpConnect):
            raise TypeError("bound.options must be TcpConnect")
        super().__init__(options)
        self._options = options
        self._framing = framing_for(options.framing)
        self._replies = framing_for(options.reply_framing or options.framing)
        self._heartbeats = {
            beat.content: b"" if beat.answer is None else self._framing.wrap(beat.answer) for beat in options.heartbeats
        }

    def _new_link(self) -> Link:
        return Link(self._replies.reader(self._options.max_reply), self._heartbeats)

    async def send(self, outgoing: Outgoing) -> Reply:
        try:
            frame = self._framing.wrap(outgoing.body)
        except HubError as error:
            raise PermanentError(error.text, code=error.code) from error
        link: Link | None = None
        queued = True
        try:
            async with asyncio.timeout(outgoing.timeout):
                await self._turn()
                try:
                    queued = False
                    link = await self._connected()
                    return await self._exchange(link, frame)
                finally:
                    self._release()
        except TimeoutError:
            self._timeouts += 1
            raise self._too_late(queued, link, outgoing.timeout) from None

    async def _exchange(self, link: Link, frame: bytes) -> Reply:
        options = self._options
        body = b""
        try:
            if options.reply == "none":
                await link.tell(frame, half_close=options.half_close)
            else:
                body = await link.exchange(frame, half_close=options.half_close)
        except BaseException:
            self._discard(link)
            raise
        if options.per_call:
            link.finish()
        if link.alive:
            self._idle.append(link)
        else:
            self._links.discard(link)
            self._mismatched += link.mismatched
        return Reply(ok=True, body=body)

    def _too_late(self, queued: bool, link: Link | None, seconds: float) -> SendError:
        if queued:
            text = t(f"no connection became free within {seconds:g} s", f"{seconds:g} 秒内没有空闲连接")
        elif link is None:
            return self._unreachable(t(f"no answer within {seconds:g} s", f"{seconds:g} 秒内无响应"))
        else:
            text = t(f"no answer within {seconds:g} s", f"{seconds:g} 秒内未收到应答")
        return TransientError(text, code="tcp.timeout")
