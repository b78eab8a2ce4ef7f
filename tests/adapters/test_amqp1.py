"""``amqp1`` without a broker: options, messages in bytes, hostile ones among them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.peers.process import need_module

proton = need_module("proton", "python-qpid-proton")

from adapters.amqp1.errors import Refused, explain, refusal  # noqa: E402
from adapters.amqp1.message import encode, read  # noqa: E402
from adapters.amqp1.options import Amqp1Connect, Amqp1Listen  # noqa: E402
from hub.api import HubError, PermanentError, TransientError  # noqa: E402

_HOST = {"host": "mq.example"}


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (Amqp1Listen, {**_HOST, "source": "q", "refused": "park"}, "park_target"),
        (Amqp1Listen, {**_HOST, "source": "q\n"}, "control"),
        (Amqp1Listen, {**_HOST, "source": "q", "external": True}, "certificate"),
        (Amqp1Listen, {**_HOST, "source": "q", "user": "a", "password": "secret-word\0"}, "NUL"),
        (Amqp1Connect, {**_HOST, "target": "{a b}"}, "template"),
        (
            Amqp1Connect,
            {**_HOST, "target": "q", "external": True, "password": "secret-word", "tls": {"certificate": "c.pem"}},
            "two ways",
        ),
    ],
)
def test_options_that_can_not_work(model: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        model.model_validate(options)
    assert "secret-word" not in str(caught.value)


def test_where_a_broker_is() -> None:
    plain = Amqp1Listen.model_validate({**_HOST, "source": "q", "password": "geheim", "user": "u"})
    assert (plain.address, plain.tcp_port) == ("amqp://mq.example:5672", 5672)
    assert "geheim" not in repr(plain)
    secure = Amqp1Listen.model_validate({**_HOST, "source": "q", "tls": {}})
    assert (secure.address, secure.tcp_port) == ("amqps://mq.example:5671", 5671)


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"x" * 300, "姓名", ""])
@pytest.mark.parametrize("number", ["m-1", 7, uuid.UUID(int=5), None])
def test_what_proton_writes_is_read(body: bytes | str, number: Any) -> None:
    message = proton.Message(
        body,
        inferred=isinstance(body, bytes),
        id=proton.ulong(number) if isinstance(number, int) else number,
        correlation_id="c",
        reply_to="answers",
        subject="ADT",
        content_type="text/plain",
        group_id="g",
        priority=7,
        properties={"X-Ward": "内科", "n": 3},
        annotations={proton.symbol("x-opt-a"): 1},
    )
    found = read(message.encode(), "q")
    assert found.body == (body.encode() if isinstance(body, str) else body)
    assert found.control_id == ("" if number is None else str(number))
    assert (found.correlation_id, found.reply_to) == ("c", "answers")
    wanted = {"source": "q", "subject": "ADT", "content_type": "text/plain", "header_x_ward": "内科", "header_n": "3"}
    assert wanted.items() <= found.params.items()
    assert (found.params["group_id"], found.params["priority"]) == ("g", "7")
    assert "content_encoding" not in found.params


def test_what_is_written_is_read_by_proton() -> None:
    raw = encode(
        b"\x00body", message_id="k1", properties={"a": "b"}, content_type="application/json", subject="s", to="q"
    )
    message = proton.Message()
    message.decode(raw)
    assert (bytes(message.body), message.id, message.properties) == (b"\x00body", "k1", {"a": "b"})
    assert (message.durable, message.content_type, message.subject, message.address) == (
        True,
        "application/json",
        "s",
        "q",
    )
    message.decode(encode("text", properties={}, durable=False))
    assert (message.body, message.durable) == ("text", False)


def test_a_body_in_several_sections_and_a_parked_message() -> None:
    properties = proton.Message(id="m1", ttl=5.0, properties={"a": "b"}).encode()
    found = read(properties.replace(b"\x00\x53\x77\x40", b"") + b"\x00\x53\x75\xa0\x03abc\x00\x53\x75\xa0\x03def", "q")
    assert (found.body, found.control_id) == (b"abcdef", "m1")
    parked = proton.Message()
    parked.decode(encode(found.body, properties={"why": "x"}, around=found.around))
    assert (parked.id, parked.properties, parked.ttl) == ("m1", {"a": "b", "why": "x"}, 0)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "mq.body"),
        (b"\x00\x53\x77\x40", "mq.body"),  # null
        (b"\x00\x53\x77\xd1\x00\x00\x00\x04\x00\x00\x00\x00", "mq.body"),  # a map
        (b"\x00\x53\x76\xc0\x04\x02\x54\x01\x41", "mq.body"),  # a sequence
        (b"\x00\x53\x75\xb0\xff\xff\xff\xff", "mq.protocol"),  # longer than the message
        (b"\x00\x53\x75\x40", "mq.protocol"),  # data that is null
        (b"\x00\x53\x99\x40", "mq.protocol"),
        (b"\x00\x53", "mq.protocol"),
        (b"\x00\x80" + bytes(7), "mq.protocol"),
        (b"\xff" * 30, "mq.protocol"),
        (
            b"\x00\x53\x74\xb0\x00\x01\x00\x01" + bytes(65537) + b"\x00\x53\x75\xa0\x00",
            "mq.protocol",
        ),  # large properties
    ],
)
def test_what_is_no_message(raw: bytes, code: str) -> None:
    with pytest.raises(HubError) as caught:
        read(raw, "q")
    assert caught.value.code == code


def nested(depth: int) -> bytes:
    value = b"\x40"
    for _ in range(depth):
        value = b"\xd0" + (len(value) + 4).to_bytes(4, "big") + (1).to_bytes(4, "big") + value
    return value


def test_deep_properties_are_an_error() -> None:
    deep = b"\xa1\x01a" + nested(2000)
    table = b"\xd1" + (len(deep) + 4).to_bytes(4, "big") + (2).to_bytes(4, "big") + deep
    with pytest.raises(HubError):
        read(b"\x00\x53\x74" + table + b"\x00\x53\x75\xa0\x00", "q")


_VALID = encode(b"body", message_id="m", properties={"a": "b"}, content_type="x", subject="s", to="q")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.integers(0, len(_VALID)), st.integers(0, 8))
def test_hostile_bytes_end_as_hub_errors(junk: bytes, at: int, cut: int) -> None:
    for raw in (junk, _VALID[:at] + junk + _VALID[at + cut :]):
        try:
            found = read(raw, "q")
        except HubError:
            continue
        assert all(isinstance(value, str) for value in found.params.values())


def test_conditions_become_classes() -> None:
    def told(name: str, text: str = "") -> Any:
        return proton.Condition(name, text)

    assert isinstance(refusal(None, "a"), TransientError)
    assert isinstance(refusal(told("amqp:resource-limit-exceeded"), "a"), TransientError)
    assert isinstance(refusal(told("amqp:not-allowed"), "a"), PermanentError)
    for name, code in (
        ("amqp:unauthorized-access", "mq.login"),
        ("amqp:not-found", "mq.topology"),
        ("amqp:connection:framing-error", "mq.protocol"),
        ("amqp:invalid-field", "mq.refused"),
    ):
        assert explain(Refused(told(name, "of 110101199003078515\n")), "a").code == code
    assert (
        explain(Refused(told("amqp:resource-limit-exceeded", "local-idle-timeout expired")), "a").code == "mq.timeout"
    )
    assert "199003078515" not in str(Refused(told("amqp:not-found", "of 110101199003078515\n")))
