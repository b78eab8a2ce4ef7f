"""The listening side of the MLLP adapter."""

from __future__ import annotations

from typing import ClassVar

from adapters.mllp.acknowledge import Acknowledger
from adapters.mllp.connection import Connection
from adapters.mllp.options import MllpListen
from adapters.streams.listener import StreamReceiver
from hub.api import Bound, HubError, IntakePort
from hub.i18n import t

__all__ = ["MllpReceiver"]


class MllpReceiver(StreamReceiver):
    """Listens on one port for one interface. See :mod:`adapters.mllp.connection` for one connection."""

    protocol: ClassVar[str] = "mllp"

    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        options = bound.options
        if not isinstance(options, MllpListen):
            raise TypeError("bound.options must be MllpListen")
        super().__init__(bound, intake, options)
        self.options = options
        self.acknowledger = Acknowledger(options.ack, bound.contract.style == "request")
        self.hl7 = bound.codec.name == "hl7v2"
        self.max_size = bound.contract.max_size or options.max_size
        self.max_in_flight = options.max_in_flight

    def connection(self) -> Connection:
        return Connection(self)

    def no_frame(self, count: int) -> HubError:
        return HubError(
            t(
                f"{count} bytes outside MLLP frames (no 0x0B before the message)",
                f"{count} 字节不在 MLLP 帧内（缺少 0x0B）",
            ),
            code="mllp.no_frame",
            remedy=t("set the sender to MLLP: 0x0B message 0x1C 0x0D", "请将发送方设为 MLLP：0x0B 消息 0x1C 0x0D"),
        )
