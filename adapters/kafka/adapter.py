"""The adapter ``kafka``."""

from __future__ import annotations

from adapters.kafka.options import KafkaConnect, KafkaListen
from adapters.kafka.receiver import KafkaReceiver
from adapters.kafka.sender import KafkaSender
from hub.api import Adapter, Bound, HubError, IntakePort, Receiver, Sender
from hub.i18n import t

__all__ = ["KafkaAdapter"]


class KafkaAdapter(Adapter):
    """Topics of Kafka."""

    name = "kafka"
    listen_options = KafkaListen
    reads_source = True
    connect_options = KafkaConnect

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        if bound.contract.style == "request":
            raise HubError(
                t(
                    f"{bound.place}: kafka has no answers -> use style: event",
                    f"{bound.place}：kafka 不支持应答 -> 请使用 style: event",
                ),
                code="mq.style",
            )
        return KafkaReceiver(bound, intake)

    def sender(self, bound: Bound) -> Sender:
        return KafkaSender(bound)
