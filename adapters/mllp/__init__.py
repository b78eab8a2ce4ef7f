"""MLLP: HL7 v2 over TCP, in and out (HL7 v2.5.1 appendix C)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from adapters.mllp.options import MllpConnect, MllpListen
from adapters.mllp.receiver import MllpReceiver
from adapters.mllp.sender import MllpSender
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

if TYPE_CHECKING:
    from hub.simulator.counterpart import Counterpart

__all__ = ["MllpAdapter"]


class MllpAdapter(Adapter):
    """Listens for frames (:class:`MllpListen`) and sends them (:class:`MllpConnect`)."""

    name: ClassVar[str] = "mllp"
    listen_options: ClassVar[type[BaseModel] | None] = MllpListen
    connect_options: ClassVar[type[BaseModel] | None] = MllpConnect
    opaque: ClassVar[bool] = False  # acknowledgements are made of the header of what came

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return MllpReceiver(bound, intake)

    def sender(self, bound: Bound) -> Sender:
        return MllpSender(bound)

    def counterpart(self) -> Counterpart:
        from adapters.mllp.counterpart import MllpCounterpart  # a hub that runs needs none

        return MllpCounterpart()
