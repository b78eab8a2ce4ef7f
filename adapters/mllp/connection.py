"""One inbound MLLP connection: what is in the frames, and how it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.mllp.batch import BatchExchange, is_batch
from adapters.mllp.framing import FrameReader, frame, split_restart
from adapters.streams.connection import Answered, StreamConnection
from hub.api import HubError, Receipt
from hub.i18n import t

if TYPE_CHECKING:
    from adapters.mllp.receiver import MllpReceiver

__all__ = ["Connection", "Exchange"]


class Exchange:
    """One message and, once the hub has said what became of it, its answer."""

    __slots__ = ("connection", "raw", "reply")

    def __init__(self, connection: Connection, raw: bytes) -> None:
        self.connection = connection
        self.raw = raw
        self.reply: bytes | None = None

    def __call__(self, receipt: Receipt) -> None:
        connection = self.connection
        if connection.lost:
            return
        messages = connection.receiver.acknowledger.answers(self.raw, receipt)
        if receipt.error is not None:
            connection.not_taken(receipt.error, told=bool(messages))
        self.reply = frame(messages[0]) if len(messages) == 1 else b"".join([frame(m) for m in messages])
        connection.completed(self)


class Connection(StreamConnection):
    """See :class:`~adapters.streams.connection.StreamConnection`."""

    __slots__ = ()

    receiver: MllpReceiver

    def __init__(self, receiver: MllpReceiver) -> None:
        options = receiver.options
        super().__init__(receiver, FrameReader(receiver.max_size), receiver.max_in_flight, options.max_buffered)

    def _take(self, message: bytes) -> None:
        receiver = self.receiver
        receiver.frames += 1
        # One header, at the very beginning: neither a batch nor anything odd. So it is for nearly every frame.
        plain = message.rfind(b"MSH") == 0
        if not plain:
            message = self._without_abandoned(message)
            if not message or message.isspace():
                receiver.empty += 1
                return
        if not receiver.intake.ready():
            self._put_off(message)
        elif not plain and receiver.hl7 and is_batch(message):
            self._take_batch(message)
        else:
            exchange = Exchange(self, message)
            self._exchanges.append(exchange)
            receiver.intake.submit(receiver.bound, message, exchange, remote=self.remote)

    def _without_abandoned(self, message: bytes) -> bytes:
        """The message of a sender that broke off and began again in the same frame."""
        abandoned, message = split_restart(message)
        if abandoned:
            error = HubError(
                t("unfinished frame: the sender broke off and began a new one", "帧不完整：发送方中断后重新开始"),
                code="mllp.unfinished",
            )
            self.receiver.refuse(abandoned, error, self.remote)
        return message

    def _take_batch(self, raw: bytes) -> None:
        receiver = self.receiver
        try:
            batch = BatchExchange(self, raw)
        except HubError as error:
            receiver.refuse(raw, error, self.remote)
            self._exchanges.append(Answered(self._refusal(raw, error)))
            return
        self._exchanges.append(batch)
        batch.advance()

    def _refusal(self, raw: bytes, error: HubError) -> bytes:
        return b"".join([frame(message) for message in self.receiver.acknowledger.refusal(raw, error)])
