"""``mq``, ``redis`` and ``stomp`` without a server: options, envelopes, and a transport of kombu that is not AMQP."""

from __future__ import annotations

import zlib
from typing import Any

import kombu
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.mq.adapter import MqAdapter
from adapters.mq.envelope import Filler, control_of, error_headers, params_of
from adapters.mq.options import MqConnect, MqListen, Queue
from adapters.mq.redis import RedisAdapter
from adapters.mq.redis_options import RedisConnect, RedisListen
from adapters.mq.stomp_options import StompConnect, StompListen
from hub.api import HubError, PermanentError
from tests.peers.mq_support import MemoryIntake, bound, outgoing, receiving, sending, until

_AMQP = "amqp://mq.example/hospital"
_QUEUE = {"name": "q"}


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (MqListen, {"url": "redis://h/0", "queue": _QUEUE}, "adapter redis"),
        (MqListen, {"url": "filesystem://", "queue": _QUEUE}, "loses"),
        (MqListen, {"url": "http://h", "queue": _QUEUE}, "http"),
        (MqListen, {"url": "amqp://", "queue": _QUEUE}, "host"),
        (MqListen, {"url": "amqp://u:secret-word@h/", "queue": _QUEUE}, "credentials"),
        (MqListen, {"url": _AMQP, "queue": {"name": "q", "max_length": 3}}, "declare"),
        (MqListen, {"url": _AMQP, "queue": _QUEUE, "transport_options": {"a": 1}}, "transport_options"),
        (MqListen, {"url": _AMQP, "queue": {"name": "q", "declare": True}, "refused": "dead_letter"}, "dead_letter"),
        (MqListen, {"url": _AMQP, "queue": {"name": "x" * 256}}, "255"),
        (MqConnect, {"url": _AMQP}, "routing_key"),
        (MqConnect, {"url": _AMQP, "routing_key": "{a b}"}, "template"),
        (MqConnect, {"url": "sqs://", "routing_key": "q", "reply": True}, "reply"),
        (MqConnect, {"url": _AMQP, "exchange": {"name": "", "declare": True}, "routing_key": "q"}, "default exchange"),
        (RedisListen, {"url": "redis://h/0"}, "either"),
        (RedisListen, {"url": "redis://h/0", "list": "a", "stream": "b"}, "either"),
        (RedisListen, {"url": "redis://h/x", "list": "a"}, "url"),
        (RedisListen, {"url": "redis://:secret-word@h/0", "list": "a"}, "credentials"),
        (RedisListen, {"url": "redis://h", "stream": "a", "format": "kombu"}, "lists"),
        (RedisConnect, {"url": "redis://h", "list": "a", "headers": {"b": "c"}}, "none"),
        (RedisConnect, {"url": "redis://h", "stream": "a", "headers": {"body": "c"}}, "itself"),
        (StompListen, {"host": "h", "destination": "/queue/a", "refused": "park"}, "park_destination"),
        (StompListen, {"host": "h", "destination": "/topic/a", "durable": "x"}, "client_id"),
        (StompListen, {"host": "h", "destination": "/topic/a\n"}, "control"),
        (StompConnect, {"host": "h", "destination": "/queue/a", "headers": {"receipt": "1"}}, "itself"),
    ],
)
def test_options_that_can_not_work(model: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        model.model_validate(options)
    assert "secret-word" not in str(caught.value)


def test_where_a_broker_is() -> None:
    options = MqListen.model_validate({"url": "amqps://mq.example:5671/a%2Fb", "queue": _QUEUE, "password": "geheim"})
    assert (options.virtual_host, options.address) == ("a/b", "amqps://mq.example:5671/a%2Fb")
    assert "geheim" not in repr(options)
    assert MqListen.model_validate({"url": "amqp://h", "queue": _QUEUE}).virtual_host == "/"


def test_arguments_of_a_queue() -> None:
    queue = Queue.model_validate(
        {
            "name": "q",
            "declare": True,
            "message_ttl": "1h",
            "max_length": 5,
            "dead_letter_exchange": "dlx",
            "dead_letter_routing_key": "dead",
            "single_active": True,
            "arguments": {"x-delivery-limit": 3},
        }
    )
    assert queue.all_arguments() == {
        "x-queue-type": "quorum",
        "x-message-ttl": 3_600_000,
        "x-max-length": 5,
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": "dlx",
        "x-dead-letter-routing-key": "dead",
        "x-single-active-consumer": True,
        "x-delivery-limit": 3,
    }


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=600),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100)
@given(st.dictionaries(st.text(max_size=300), _ANYTHING, max_size=80))
def test_params_are_short_printable_names_and_values(headers: dict[str, Any]) -> None:
    found = params_of({"queue": "q"}, headers)
    assert found["queue"] == "q"
    assert len(found) <= 65
    for name, value in found.items():
        assert name.isidentifier()
        assert name.isascii()
        assert value.isprintable()


def test_params_hide_personal_data_and_control_ids_are_plain() -> None:
    found = params_of({}, {"X-Id": "110101199003078515", "x id": "second"})
    assert "199003078515" not in found["header_x_id"]
    assert len(found) == 1
    assert [control_of(value) for value in ("a-1", "", None, 7, "a\nb", "x" * 257)] == ["a-1", "", "", "", "", ""]


def test_reasons_are_one_masked_line() -> None:
    headers = error_headers(HubError("patient 110101199003078515\nis unknown", code="map.patient"))
    assert headers["x-error-code"] == "map.patient"
    assert "199003078515" not in headers["x-error-text"]
    assert "\n" not in headers["x-error-text"]


def test_templates() -> None:
    filler = Filler("lis/out", {"key": "lab.{type}.{ward}"})
    assert filler.fill(outgoing(b"", ward="w3")) == {"key": "lab.order.created.w3"}
    with pytest.raises(PermanentError, match="ward"):
        filler.fill(outgoing(b""))
    with pytest.raises(PermanentError):
        filler.fill(outgoing(b"", ward="a\r\nb"))


def test_redis_has_no_answers() -> None:
    adapter = RedisAdapter()
    with pytest.raises(HubError, match="event"):
        adapter.receiver(bound(adapter, "in", "request", url="redis://h", list="a"), MemoryIntake())  # type: ignore[arg-type]


# -- a transport of kombu that is not AMQP -------------------------------------------------------------------------------


async def test_another_transport_of_kombu() -> None:
    adapter, intake = MqAdapter(), MemoryIntake()
    url = "memory://"
    queue = {"name": "tongqu.memory", "declare": True}
    async with (
        receiving(adapter, intake, url=url, queue=queue) as receiver,
        sending(adapter, url=url, routing_key="tongqu.memory", headers={"X-Type": "{type}"}) as sender,
    ):
        await until(lambda: receiver.status()["connected"])
        for number in range(20):
            assert (await sender.send(outgoing(b"\xff%d" % number, f"k{number}"))).ok
        assert (await sender.send(outgoing(b"bad"))).ok
        await until(lambda: len(intake.taken) == 20 and receiver.status()["refused"] == 1)
        assert intake.control_ids == [f"k{number}" for number in range(20)]
        assert intake.params[0]["header_x_type"] == "order.created"
        assert intake.params[0]["content_type"] == "application/json"
        intake.busy = True
        assert (await sender.send(outgoing(b"later", "l"))).ok
        await until(lambda: receiver.status()["left"] == 1)
        intake.busy = False
        await until(lambda: intake.taken[-1] == b"later")
    with kombu.Connection(url) as connection:
        parked = kombu.Queue("tongqu.memory.refused", channel=connection.default_channel).get(no_ack=True)
        assert parked.body == b"bad"
        assert parked.headers["x-error-code"] == "codec.json"


async def test_a_compressed_body_is_not_blown_up() -> None:
    adapter, intake = MqAdapter(), MemoryIntake()
    packed = zlib.compress(b"0" * 1_000_000)
    async with receiving(adapter, intake, url="memory://", queue={"name": "tongqu.bomb", "declare": True}) as receiver:
        await until(lambda: receiver.status()["connected"])
        with kombu.Connection("memory://") as connection:
            channel: Any = connection.default_channel
            message = channel.prepare_message(packed, headers={"compression": "application/x-gzip"})
            channel.basic_publish(message, exchange="", routing_key="tongqu.bomb")
        await until(lambda: intake.taken)
    assert intake.taken == [packed]
