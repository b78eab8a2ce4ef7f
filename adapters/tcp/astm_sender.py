"""The sending side of the ASTM adapter: orders to an analyser, or results to a host."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from adapters.streams.pool import StreamSender
from adapters.tcp.astm_line import Line
from adapters.tcp.astm_options import AstmConnect
from adapters.tcp.astm_receiver import Registry, not_here
from hub.api import Bound, HubError, Outgoing, PermanentError, Reply, Sender, SendError, UnreachableError
from hub.i18n import t

__all__ = ["AstmLineSender", "AstmSender"]


async def _sent(line: Line, outgoing: Outgoing, within: float) -> Reply:
    try:
        await line.send(outgoing.body, within)
    except SendError:
        raise
    except HubError as error:
        raise PermanentError(error.text, code=error.code) from error
    return Reply(ok=True)


class AstmSender(StreamSender[Line]):
    """Over a connection of its own, which is kept. Delivered means: the last frame was acknowledged."""

    protocol: ClassVar[str] = "astm"

    def __init__(self, options: AstmConnect) -> None:
        super().__init__(options)
        self._options = options

    def _new_link(self) -> Line:
        return Line(self._options, None, 0)

    async def send(self, outgoing: Outgoing) -> Reply:
        loop = asyncio.get_running_loop()
        until = loop.time() + outgoing.timeout
        line: Line | None = None
        try:
            async with asyncio.timeout_at(until):
                await self._turn()
                try:
                    line = await self._connected()
                except BaseException:
                    self._release()
                    raise
        except TimeoutError:
            self._timeouts += 1
            seconds = outgoing.timeout
            reason = t(f"no answer within {seconds:g} s", f"{seconds:g} 秒内无响应")
            raise UnreachableError(reason, code="astm.timeout") from None
        try:
            return await _sent(line, outgoing, until - loop.time())
        finally:
            if line.alive:
                self._idle.append(line)
            else:
                self._discard(line)
            self._release()


class AstmLineSender(Sender):
    """Over the connection that an ``in`` interface of the same system has."""

    def __init__(self, bound: Bound, options: AstmConnect, registry: Registry) -> None:
        self._key = (bound.system, options.line)
        self._registry = registry

    async def start(self) -> None:
        """Nothing: the connection is the receiver's."""

    async def stop(self) -> None:
        """Nothing, likewise."""

    @property
    def capacity(self) -> int:
        return 1

    def _line(self) -> Line:
        receiver = self._registry.receivers.get(self._key)
        if receiver is None:
            raise not_here(*self._key)
        return receiver.line()

    async def send(self, outgoing: Outgoing) -> Reply:
        return await _sent(self._line(), outgoing, outgoing.timeout)

    async def probe(self) -> str:
        line = self._line()
        return t(f"connected: {line.remote}", f"已连接：{line.remote}")

    def status(self) -> dict[str, Any]:
        return {"target": "/".join(self._key)}
