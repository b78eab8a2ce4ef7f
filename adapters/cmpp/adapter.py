"""The adapter ``cmpp``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.cmpp.options import CmppConnect, CmppListen
from adapters.cmpp.receiver import CmppReceiver
from adapters.cmpp.registry import Registry
from adapters.cmpp.sender import CmppSender
from hub.api import Adapter, Bound, HubError, IntakePort, Receiver, Sender
from hub.i18n import t

if TYPE_CHECKING:
    from hub.simulator.counterpart import Counterpart

__all__ = ["CmppAdapter"]


class CmppAdapter(Adapter):
    """Short messages through a gateway of China Mobile's protocol CMPP 2.0 and 3.0."""

    name = "cmpp"
    listen_options = CmppListen
    connect_options = CmppConnect
    reads_source = True
    opaque = False
    queued = True

    def __init__(self) -> None:
        self._registry = Registry()

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        if bound.contract.style == "request":
            raise HubError(
                t(
                    f"{bound.place}: nobody waits for an answer there -> use style: event",
                    f"{bound.place}：该接口无人等待应答 -> 请使用 style: event",
                ),
                code="cmpp.style",
            )
        return CmppReceiver(bound, intake, self._registry)

    def sender(self, bound: Bound) -> Sender:
        return CmppSender(bound, self._registry)

    def counterpart(self) -> Counterpart:
        from adapters.cmpp.counterpart import CmppCounterpart  # a hub that runs needs none

        return CmppCounterpart()
