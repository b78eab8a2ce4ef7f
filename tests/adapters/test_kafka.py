"""``kafka`` without a cluster: options, the configuration made of them, errors and their classes."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from pydantic import ValidationError

from adapters.kafka.adapter import KafkaAdapter
from adapters.kafka.errors import Trouble, delivery_error, explain
from adapters.kafka.options import KafkaConnect, KafkaListen
from hub.api import HubError, PermanentError, TransientError, UnreachableError
from tests.peers.mq_support import MemoryIntake, bound

_BROKERS = {"brokers": ["k1.example:9092", "[::1]:9092"]}
_LISTEN = {**_BROKERS, "topics": ["adt"], "group": "hub"}


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (KafkaListen, {**_LISTEN, "brokers": ["k1.example"]}, "host:port"),
        (KafkaListen, {**_LISTEN, "brokers": ["a:1,b:2"]}, "host:port"),
        (KafkaListen, {**_LISTEN, "brokers": []}, "brokers"),
        (KafkaListen, {**_LISTEN, "dead_letter": "adt"}, "dead_letter"),
        (KafkaListen, {**_LISTEN, "topics": ["^adt.*"]}, "pattern"),
        (KafkaListen, {**_LISTEN, "password": "secret-word"}, "user"),
        (KafkaListen, {**_LISTEN, "tls": {"min_version": "1.3"}}, "min_version"),
        (KafkaConnect, {**_BROKERS, "topic": "{a b}"}, "template"),
        (KafkaConnect, {**_BROKERS, "topic": "a", "headers": {"idempotency-key": "x"}}, "itself"),
    ],
)
def test_options_that_can_not_work(model: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        model.model_validate(options)
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_librdkafka_takes_the_configuration(mechanism: str) -> None:
    login = {"user": "hub", "password": "geheim", "mechanism": mechanism, "tls": {"verify": False}}
    listen = KafkaListen.model_validate(_LISTEN | login)
    assert "geheim" not in repr(listen)
    found = listen.consumer_configuration()
    assert (found["security.protocol"], found["sasl.mechanism"]) == ("SASL_SSL", mechanism)
    assert (found["enable.auto.offset.store"], found["allow.auto.create.topics"]) == (False, False)
    Consumer(found).close()
    Producer(KafkaConnect.model_validate({**_BROKERS, "topic": "a"}).configuration()).flush(0)


def test_there_are_no_answers() -> None:
    adapter = KafkaAdapter()
    with pytest.raises(HubError, match="event"):
        adapter.receiver(bound(adapter, "in", "request", **_LISTEN), MemoryIntake())  # type: ignore[arg-type]


def test_errors_become_classes() -> None:
    for number, kind, code in (
        (KafkaError.MSG_SIZE_TOO_LARGE, PermanentError, "mq.refused"),
        (KafkaError.INVALID_RECORD, PermanentError, "mq.refused"),
        (KafkaError.NOT_ENOUGH_REPLICAS, TransientError, "mq.nack"),
        (KafkaError._QUEUE_FULL, TransientError, "mq.nack"),
        (KafkaError._MSG_TIMED_OUT, TransientError, "mq.unconfirmed"),
        (KafkaError._TRANSPORT, TransientError, "mq.unconfirmed"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, UnreachableError, "mq.topology"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, UnreachableError, "mq.login"),
    ):
        error = delivery_error(KafkaError(number), "kafka://a")
        assert (type(error), error.code) == (kind, code)


def test_the_cause_is_told_not_its_consequence() -> None:
    trouble = Trouble()
    trouble.told(KafkaError(KafkaError._TRANSPORT, "connect failed"))
    trouble.told(KafkaError(KafkaError._AUTHENTICATION, "wrong password of 110101199003078515\n"))
    trouble.told(KafkaError(KafkaError._TRANSPORT, "connect failed"))
    trouble.told(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert trouble.down
    error = explain(KafkaError(KafkaError._TRANSPORT, "no metadata"), "kafka://a", trouble.cause)
    assert error.code == "mq.login"
    assert "199003078515" not in error.text
    trouble.over()
    assert explain(KafkaError(KafkaError._TIMED_OUT), "kafka://a", trouble.cause).code == "mq.timeout"
    assert explain(KafkaError(KafkaError._SSL, "SSL handshake failed"), "kafka://a").code == "mq.certificate"
