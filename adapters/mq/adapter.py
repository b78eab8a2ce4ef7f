"""The adapter ``mq``."""

from __future__ import annotations

from adapters.mq.options import MqConnect, MqListen
from adapters.mq.receiver import MqReceiver
from adapters.mq.sender import MqSender
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

__all__ = ["MqAdapter"]


class MqAdapter(Adapter):
    """Queues of RabbitMQ and of the other brokers kombu speaks to."""

    name = "mq"
    listen_options = MqListen
    connect_options = MqConnect
    queued = True

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return MqReceiver(bound, intake)

    def sender(self, bound: Bound) -> Sender:
        return MqSender(bound)
