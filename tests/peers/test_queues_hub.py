"""A whole hub between Kafka and AMQP 1.0, killed in the middle: from a topic to a queue, from a queue to a topic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.kernel.process import HubProcess, wait_for
from tests.peers.amqp091 import Other
from tests.peers.kafka_peer import KafkaMock
from tests.peers.queues import RabbitMq

_PLUGIN = """
id: both
name: both
settings: {kafka: {type: string, required: true}, port: {type: port, required: true}, password: {type: secret, required: true}}
interfaces:
  topic:
    direction: in
    adapter: kafka
    listen: {brokers: ["${kafka}"], topics: [hub.in], group: hub, session_timeout: 6s, page: 20}
    codec: json
    type: "'topic'"
  queue:
    direction: in
    adapter: amqp1
    listen: {host: 127.0.0.1, port: "${port}", user: guest, password: "${password}", source: /amq/queue/hub.amqp1.in}
    codec: json
    control_id: $message_id
    type: "'queue'"
  to_topic:
    direction: out
    adapter: kafka
    connect: {brokers: ["${kafka}"], topic: hub.out, key: "{control_id}"}
    codec: json
    retry: {attempts: 50, interval: 50ms}
  to_queue:
    direction: out
    adapter: amqp1
    connect: {host: 127.0.0.1, port: "${port}", user: guest, password: "${password}", target: /amq/queue/hub.amqp1.out}
    codec: json
    retry: {attempts: 50, interval: 50ms}
"""


def site(folder: Path, rabbitmq: RabbitMq, kafka: KafkaMock) -> Path:
    (folder / "plugins" / "both").mkdir(parents=True)
    (folder / "plugins" / "both" / "plugin.yaml").write_text(_PLUGIN, encoding="utf-8")
    (folder / "mappings").mkdir()
    (folder / "secret").write_text("guest")
    (folder / "secret").chmod(0o600)
    own = {"kafka": f"127.0.0.1:{kafka.broker}", "port": rabbitmq.port, "password": f"file:{folder / 'secret'}"}
    settings = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {"both": {"plugin": "both", "settings": own}},
        "routes": {
            "there": {"from": "both/topic", "to": "both/to_queue"},
            "back": {"from": "both/queue", "to": "both/to_topic"},
        },
    }
    file = folder / "config" / "hub.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return file


@pytest.mark.xdist_group("rabbitmq")
def test_killed_in_the_middle_nothing_is_lost_and_nothing_taken_twice(
    tmp_path: Path, rabbitmq: RabbitMq, kafka: KafkaMock
) -> None:
    total = 400
    config = site(tmp_path, rabbitmq, kafka)
    for topic in ("hub.in", "hub.out"):
        kafka.topic(topic)
    kafka.put("hub.in", *(b'{"n":"k%d"}' % number for number in range(total)))
    other = Other(rabbitmq)
    for queue in ("hub.amqp1.in", "hub.amqp1.out"):
        other.declare(queue)
    for number in range(total):
        other.put("hub.amqp1.in", b'{"n":"a%d"}' % number, message_id=f"a{number}")
    got: dict[str, bytes] = {}  # key of the delivery -> body: one repeated after the kill has the same key

    def collect() -> int:
        while (message := other.get("hub.amqp1.out")) is not None:
            got[message.properties["message_id"]] = bytes(message.body)
        for message in kafka.all("hub.out", 10 * total, wait=0.5):
            got[dict(message.headers() or ())["idempotency-key"].decode()] = message.value() or b""
        return len(got)

    with HubProcess(config) as hub:
        wait_for(lambda: other.count("hub.amqp1.out") > 0, "messages come out")
        hub.kill()
    with HubProcess(config) as hub:
        wait_for(lambda: collect() >= 2 * total, "everything comes out")
        hub.settled()
        collect()  # whatever was taken twice
    other.close()
    bodies = sorted(json.loads(body)["n"] for body in got.values())
    assert bodies == sorted(f"{kind}{number}" for kind in "ka" for number in range(total))
