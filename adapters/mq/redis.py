"""The adapter ``redis``."""

from __future__ import annotations

from adapters.mq.redis_options import RedisConnect, RedisListen
from adapters.mq.redis_receiver import RedisReceiver
from adapters.mq.redis_sender import RedisSender
from hub.api import Adapter, Bound, HubError, IntakePort, Receiver, Sender
from hub.i18n import t

__all__ = ["RedisAdapter"]


class RedisAdapter(Adapter):
    """Lists and streams of Redis, without loss."""

    name = "redis"
    listen_options = RedisListen
    reads_source = True
    connect_options = RedisConnect

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        if bound.contract.style == "request":
            raise HubError(
                t(
                    f"{bound.place}: redis has no answers -> use style: event",
                    f"{bound.place}：redis 不支持应答 -> 请使用 style: event",
                ),
                code="mq.style",
            )
        return RedisReceiver(bound, intake)

    def sender(self, bound: Bound) -> Sender:
        return RedisSender(bound)
