"""A whole hub between queues, killed in the middle: from RabbitMQ, ActiveMQ and a list of Redis, out to RabbitMQ."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest
import redis as redis_py
import yaml

from tests.kernel.process import HubProcess, wait_for
from tests.peers.mq_support import publish
from tests.peers.queues import ActiveMq, RabbitMq, Redis

_SOURCE = """
id: source
name: source
settings:
  mq: {type: url, required: true}
  redis: {type: url, required: true}
  stomp_port: {type: port, required: true}
  password: {type: secret, required: true}
interfaces:
  rabbit:
    direction: in
    adapter: mq
    listen: {url: "${mq}", queue: {name: hub.in, declare: true, type: classic}}
    codec: json
    control_id: $header_number
    type: $routing_key
  list:
    direction: in
    adapter: redis
    listen: {url: "${redis}", password: "${password}", list: hub.list}
    codec: json
    type: "'hub.list'"
  jms:
    direction: in
    adapter: stomp
    listen: {host: 127.0.0.1, port: "${stomp_port}", user: hub, password: "${password}", destination: /queue/hub.jms}
    codec: json
    type: "'hub.jms'"
"""
_TARGET = """
id: target
name: target
settings: {mq: {type: url, required: true}}
interfaces:
  out:
    direction: out
    adapter: mq
    connect:
      url: "${mq}"
      routing_key: hub.out
      queues: [{name: hub.out, declare: true, type: classic}]
    codec: json
    retry: {attempts: 50, interval: 50ms}
    breaker: {failures: 1000, open_for: 50ms, max_open_for: 100ms}
"""


def site(folder: Path, rabbitmq: RabbitMq, redis: Redis, activemq: ActiveMq) -> Path:
    for name, text in (("source", _SOURCE), ("target", _TARGET)):
        (folder / "plugins" / name).mkdir(parents=True)
        (folder / "plugins" / name / "plugin.yaml").write_text(text, encoding="utf-8")
    (folder / "mappings").mkdir()
    mq = f"amqp://127.0.0.1:{rabbitmq.port}/"
    settings = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {
            "source": {
                "plugin": "source",
                "settings": {
                    "mq": mq,
                    "redis": f"redis://127.0.0.1:{redis.port}/0",
                    "stomp_port": activemq.stomp,
                    "password": f"file:{folder / 'secret'}",
                },
            },
            "target": {"plugin": "target", "settings": {"mq": mq}},
        },
        "routes": {"all": {"from": "source", "to": "target/out"}},
    }
    (folder / "secret").write_text("secret")
    (folder / "secret").chmod(0o600)
    file = folder / "config" / "hub.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return file


@pytest.mark.xdist_group("rabbitmq")
def test_killed_in_the_middle_nothing_is_lost_and_nothing_taken_twice(
    tmp_path: Path, rabbitmq: RabbitMq, redis: Redis, activemq: ActiveMq
) -> None:
    total = 500
    config = site(tmp_path, rabbitmq, redis, activemq)
    asyncio.run(publish(activemq, "/queue/hub.jms", *(b'{"n":"s%d"}' % number for number in range(total))))
    client = redis_py.Redis.from_url(redis.url)
    with kombu.Connection(rabbitmq.url) as connection:
        channel: Any = connection.channel()
        for queue in ("hub.in", "hub.out"):
            channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-queue-type": "classic"})
        for number in range(total):
            body = json.dumps({"n": f"r{number}"}).encode()
            headers = {"number": f"r{number}"}
            channel.basic_publish(
                amqp.Message(body, delivery_mode=2, application_headers=headers), routing_key="hub.in"
            )
            client.lpush("hub.list", json.dumps({"n": f"l{number}"}))
        got: dict[str, str] = {}  # message id -> body: a delivery repeated after the kill has the same id

        def collect() -> int:
            while (message := channel.basic_get("hub.out", no_ack=True)) is not None:
                got[message.properties["message_id"]] = message.body.decode()
            return len(got)

        for enough in (1, total):  # killed twice, each time with messages under way on both sides
            with HubProcess(config) as hub:
                wait_for(lambda enough=enough: collect() >= enough, "messages come out")
                hub.kill()
        with HubProcess(config) as hub:
            wait_for(lambda: collect() >= 3 * total, "everything comes out")
            hub.settled()
            collect()  # whatever was taken twice
    bodies = sorted(json.loads(body)["n"] for body in got.values())
    assert bodies == sorted(f"{kind}{number}" for kind in "rls" for number in range(total))
