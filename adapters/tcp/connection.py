"""One inbound TCP connection: what is in the frames, and how it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.streams.connection import Answered, StreamConnection
from adapters.tcp.framing import Reader
from hub.api import HubError, Receipt
from hub.i18n import t
from hub.message import Outcome

if TYPE_CHECKING:
    from adapters.tcp.receiver import TcpReceiver

__all__ = ["Connection"]


class Exchange:
    """One message and, once the hub has said what became of it, its answer."""

    __slots__ = ("connection", "reply")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.reply: bytes | None = None

    def __call__(self, receipt: Receipt) -> None:
        connection = self.connection
        if connection.lost:
            return
        reply = connection.receiver.answer(receipt)
        if receipt.error is not None:
            connection.not_taken(receipt.error, told=bool(reply))
        self.reply = reply
        connection.completed(self)


class Connection(StreamConnection):
    """See :class:`~adapters.streams.connection.StreamConnection`."""

    __slots__ = ()

    receiver: TcpReceiver
    _reader: Reader

    def __init__(self, receiver: TcpReceiver) -> None:
        options = receiver.options
        reader = receiver.framing.reader(receiver.max_size)
        super().__init__(receiver, reader, options.max_in_flight, options.max_buffered)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reader.inside:
            text = t("the connection ended in the middle of a frame", "连接在帧中间中断")
            self.receiver.refused += 1
            self.receiver.refuse(self._reader.abandon(), HubError(text, code="tcp.cut"), self.remote)
        super().connection_lost(exc)

    def _take(self, message: bytes) -> None:
        receiver = self.receiver
        receiver.frames += 1
        damage = self._reader.damage
        if damage is not None:
            if damage.fatal:
                self._refuse_and_close(message, damage.error)
                return
            receiver.refused += 1
            receiver.refuse(message, damage.error, self.remote)
            self._exchanges.append(Answered(self._refusal(message, damage.error)))
        elif receiver.heartbeats and message in receiver.heartbeats:
            self._exchanges.append(Answered(receiver.heartbeats[message]))
        elif not message:
            receiver.empty += 1
        elif not receiver.intake.ready():
            self._put_off(message)
        else:
            exchange = Exchange(self)
            self._exchanges.append(exchange)
            receiver.intake.submit(receiver.bound, message, exchange, remote=self.remote)

    def _refusal(self, raw: bytes, error: HubError) -> bytes:
        return self.receiver.answer(Receipt(Outcome.REFUSED, error=error))
