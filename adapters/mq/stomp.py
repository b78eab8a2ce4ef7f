"""The adapter ``stomp``."""

from __future__ import annotations

from adapters.mq.stomp_options import StompConnect, StompListen
from adapters.mq.stomp_receiver import StompReceiver
from adapters.mq.stomp_sender import StompSender
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

__all__ = ["StompAdapter"]


class StompAdapter(Adapter):
    """STOMP 1.2: ActiveMQ and other brokers of JMS."""

    name = "stomp"
    listen_options = StompListen
    connect_options = StompConnect
    queued = True

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return StompReceiver(bound, intake)

    def sender(self, bound: Bound) -> Sender:
        return StompSender(bound)
