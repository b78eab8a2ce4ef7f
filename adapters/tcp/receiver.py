"""The listening side of the TCP adapter."""

from __future__ import annotations

from typing import ClassVar

from adapters.streams.listener import StreamReceiver
from adapters.tcp.answers import answer_for
from adapters.tcp.connection import Connection
from adapters.tcp.framing import framing_for
from adapters.tcp.options import TcpListen
from hub.api import Bound, HubError, IntakePort, Receipt
from hub.i18n import t
from hub.message import Outcome

__all__ = ["TcpReceiver"]


class TcpReceiver(StreamReceiver):
    """Listens on one port for one interface."""

    protocol: ClassVar[str] = "tcp"

    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        options = bound.options
        if not isinstance(options, TcpListen):
            raise TypeError("bound.options must be TcpListen")
        super().__init__(bound, intake, options)
        self.options = options
        self.framing = framing_for(options.framing)
        self.max_size = bound.contract.max_size or options.max_size
        #: What heartbeats hold, and the framed answer.
        self.heartbeats = {
            beat.content: b"" if beat.answer is None else self.framing.wrap(beat.answer) for beat in options.heartbeats
        }
        self._request = bound.contract.style == "request"
        self._encoding = bound.contract.encoding

    def connection(self) -> Connection:
        return Connection(self)

    def answer(self, receipt: Receipt) -> bytes:
        """What is written for a receipt; empty: nothing."""
        answers = self.options.answers
        if self._request and receipt.reply is not None:
            try:
                return self.framing.wrap(receipt.reply)
            except HubError as error:
                receipt = Receipt(Outcome.FAILED, receipt.message_id, receipt.type, receipt.control_id, error)
        body = answer_for(answers, receipt, self._encoding)
        if not body or not answers.framed:
            return body
        try:
            return self.framing.wrap(body)
        except HubError:  # a value that was filled in does not fit the frame; what is fixed was checked
            return b""

    def no_frame(self, count: int) -> HubError:
        return HubError(
            t(f"{count} bytes outside frames", f"{count} 字节不在帧内"),
            code="tcp.no_frame",
            remedy=t("compare framing with what the sender does", "请核对 framing 与发送方的实际格式"),
        )
