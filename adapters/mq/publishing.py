"""Publishing with confirms: a channel on which every message ends with the broker's yes or no."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import amqp

from adapters.mq.broker import Link
from hub.api import PermanentError, SendError, TransientError
from hub.i18n import t

__all__ = ["Confirms", "basic_message"]

Done = Callable[[SendError | None], None]

#: Properties of a received message that must not go along when it is published again: the broker checks the first, the
#: others are about its former life.
_OWN = frozenset(("user_id", "expiration", "cluster_id", "delivery_info", "delivery_tag", "body_encoding", "priority"))


class Confirms:
    """A channel of a link in confirm mode. Only the thread of the link may use it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.channel = channel = link.new_channel()
        self._number = 0
        self._pending: OrderedDict[int, tuple[str, Done]] = OrderedDict()
        self._returned: dict[str, SendError] = {}  # by message id: the answer comes with the confirm
        if link.amqp:
            channel.confirm_select()
            channel.events["basic_ack"].add(self._acked)
            channel.events["basic_nack"].add(self._nacked)
            channel.events["basic_return"].add(self._was_returned)

    def __len__(self) -> int:
        return len(self._pending)

    def begin(
        self, message: Any, message_id: str, exchange: str, routing_key: str, mandatory: bool, done: Done
    ) -> None:
        """Publish; ``done`` is told the broker's word, later. Where it raises, the outcome is unknown."""
        if not self._link.amqp:
            self.channel.basic_publish(message, exchange, routing_key)
            done(None)
            return
        self._number += 1
        self._pending[self._number] = message_id, done
        self.channel.basic_publish(message, exchange, routing_key, mandatory=mandatory)

    def publish(
        self,
        body: bytes,
        exchange: str,
        routing_key: str,
        headers: Mapping[str, Any],
        properties: Mapping[str, Any],
        *,
        must_arrive: bool = True,
    ) -> None:
        """Publish and wait for the confirm; raises when there is none or, with ``must_arrive``, when no queue took it."""
        said: list[SendError | None] = []
        message = basic_message(self.channel, body, headers, properties)
        number = str(properties.get("message_id") or "")
        self.begin(message, number, exchange, routing_key, must_arrive, said.append)
        end = time.monotonic() + self._link.answer_timeout
        while not said:
            if time.monotonic() > end:
                raise TimeoutError("no confirm")
            self._link.wait(1.0)
        if said[0] is not None and must_arrive:
            raise OSError(str(said[0]))

    def drain(self) -> list[Done]:
        """Those whose outcome will not be known any more."""
        left = [done for _, done in self._pending.values()]
        self._pending.clear()
        return left

    # -- from the broker -----------------------------------------------------------------------------------------

    def _acked(self, number: int, multiple: bool) -> None:
        for message_id, done in self._settled(number, multiple):
            done(self._returned.pop(message_id, None) if self._returned else None)

    def _nacked(self, number: int, multiple: bool) -> None:
        for _, done in self._settled(number, multiple):
            done(
                TransientError(
                    t("the broker did not take the message (queue full?)", "消息代理未接收该消息（队列已满？）"),
                    code="mq.nack",
                )
            )

    def _settled(self, number: int, multiple: bool) -> list[tuple[str, Done]]:
        if not multiple:
            found = self._pending.pop(number, None)
            return [] if found is None else [found]
        numbers = []
        for pending in self._pending:
            if pending > number:
                break
            numbers.append(pending)
        return [self._pending.pop(pending) for pending in numbers]

    def _was_returned(self, error: Exception, exchange: str, routing_key: str, message: Any) -> None:
        reason = str(getattr(error, "reply_text", "") or error)
        self._returned[str(message.properties.get("message_id") or "")] = PermanentError(
            t(
                f"no queue takes it: {reason} (exchange '{exchange}', routing key '{routing_key}')",
                f"没有队列接收该消息：{reason}（交换机“{exchange}”，路由键“{routing_key}”）",
            ),
            code="mq.returned",
        )


def basic_message(channel: Any, body: bytes, headers: Mapping[str, Any], properties: Mapping[str, Any]) -> Any:
    """A persistent message in the driver's form; ``properties`` by their AMQP names, without those only its broker may set."""
    own = {name: value for name, value in properties.items() if name not in _OWN and value is not None}
    content_type, encoding = own.pop("content_type", None), own.pop("content_encoding", None)
    own["delivery_mode"] = 2
    if isinstance(channel, amqp.Channel):
        return amqp.Message(
            body, content_type=content_type, content_encoding=encoding, application_headers=dict(headers), **own
        )
    return channel.prepare_message(body, 0, content_type, encoding, dict(headers), own)
