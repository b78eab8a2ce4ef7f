"""``kafka`` against the mock cluster of librdkafka in another process: marks, rebalances, a busy hub, and everything that breaks."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from adapters.kafka.adapter import KafkaAdapter
from hub.api import PermanentError, TransientError, UnreachableError
from tests.adapters.certificates import Authority
from tests.peers.kafka_login import Login
from tests.peers.kafka_peer import KafkaMock, MarkingIntake
from tests.peers.mq_support import DEADLINE, insist, outgoing, receiving, sending, until
from tests.peers.process import free_port
from tests.peers.proxy import Proxy

pytestmark = pytest.mark.xdist_group("kafka")

ADAPTER = KafkaAdapter()
_NUMBERS = itertools.count(1)
_PRODUCE, _INIT_PRODUCER_ID = 0, 22  # numbers of requests in the protocol


@pytest.fixture
def topic(kafka: KafkaMock) -> str:
    return kafka.topic(f"tongqu.{next(_NUMBERS)}")


def cluster(server: KafkaMock, port: int = 0, **more: Any) -> dict[str, Any]:
    return {"brokers": [f"127.0.0.1:{port or server.broker}"], **more}


def reading(server: KafkaMock, topic: str, **more: Any) -> dict[str, Any]:
    return cluster(server, topics=[topic], group=f"g.{topic}") | more


# -- receiving and sending -----------------------------------------------------------------------------------------------


async def test_what_is_sent_arrives_in_order_by_key_and_once(kafka: KafkaMock) -> None:
    intake, topic = MarkingIntake(), kafka.topic(f"tongqu.keys.{next(_NUMBERS)}", 3)
    async with (
        receiving(ADAPTER, intake, **reading(kafka, topic)) as receiver,  # type: ignore[arg-type]
        sending(ADAPTER, **cluster(kafka), topic=topic, key="{who}", headers={"ward": "{ward}"}) as sender,
    ):
        assert "1 broker" in await sender.probe()
        await until(lambda: receiver.status()["partitions"] == 3)
        assert "3 partition" in await receiver.probe()

        async def lane(key: str) -> None:
            for number in range(60):
                assert (
                    await sender.send(outgoing(f"{key}-{number}".encode(), f"{key}-{number}", who=key, ward="内科"))
                ).ok

        keys = [f"p{number}" for number in range(8)]
        await asyncio.gather(*(lane(key) for key in keys))
        large = b"\0\xff" * (300 << 10)
        reply = await sender.send(outgoing(large, "large", who="p0", ward=""))
        assert (reply.ok, reply.code) == (True, "delivered")
        assert (
            await sender.send(outgoing(b"p1-7", "p1-7", who="p1", ward="x"))
        ).ok  # Kafka does not know better, the hub does
        await until(lambda: len(intake.taken) == 481 and intake.duplicates == 1)
        status = receiver.status()
        assert (status["taken"], status["duplicates"], status["held_bytes"]) == (481, 1, 0)
    assert sorted(intake.taken) == sorted([f"{key}-{n}".encode() for key in keys for n in range(60)] + [large])
    for key in keys:
        assert [body for body in intake.taken if body.startswith(f"{key}-".encode())] == [
            f"{key}-{number}".encode() for number in range(60)
        ]
    params = intake.params[intake.taken.index(b"p3-0")]
    assert (params["topic"], params["key"], params["header_ward"]) == (topic, "p3", "内科")
    assert (params["header_content_type"], params["header_idempotency_key"]) == ("application/json", "p3-0")
    assert sum(int(mark) for mark in intake.marks.values()) == 482


async def test_the_hubs_own_mark_counts_and_the_groups_where_it_is_further(kafka: KafkaMock, topic: str) -> None:
    kafka.put(topic, *(b"%d" % number for number in range(10)))
    name = f"g.{topic}/{topic}/0"
    first = MarkingIntake({name: "5"})  # committed by the hub, unknown to the group: killed in between
    async with receiving(ADAPTER, first, **reading(kafka, topic)):  # type: ignore[arg-type]
        await until(lambda: len(first.taken) == 5)
    assert first.taken == [b"5", b"6", b"7", b"8", b"9"]
    assert first.control_ids[0].startswith(f"{topic}/0/5/")
    assert first.marks == {name: "10"}
    assert kafka.committed(f"g.{topic}", topic) == [10]
    kafka.commit("others", topic, 8)
    second = MarkingIntake({f"others/{topic}/0": "2"})  # another hub of the group has read on since
    async with receiving(ADAPTER, second, **reading(kafka, topic, group="others")):  # type: ignore[arg-type]
        await until(lambda: len(second.taken) == 2)
    assert second.taken == [b"8", b"9"]


async def test_nothing_is_told_to_the_group_before_it_is_committed(kafka: KafkaMock, topic: str) -> None:
    kafka.put(topic, *(b"%d" % number for number in range(8)))
    intake = MarkingIntake()
    intake.gate.clear()
    async with receiving(ADAPTER, intake, **reading(kafka, topic)) as receiver:  # type: ignore[arg-type]
        await until(lambda: intake.taken)
        await receiver.stop(0.0)
    assert intake.marks == {}
    assert kafka.committed(f"g.{topic}", topic)[0] < 0
    again = MarkingIntake()
    async with receiving(ADAPTER, again, **reading(kafka, topic, group="again")) as receiver:  # type: ignore[arg-type]
        await until(lambda: len(again.taken) == 8)
        again.gate.clear()
        kafka.put(topic, b"8")
        await until(lambda: len(again.taken) == 9)
        stopping = asyncio.create_task(receiver.stop(10.0))  # waits for the commit under way
        await asyncio.sleep(0)
        again.gate.set()
        await stopping
    assert again.marks == {f"again/{topic}/0": "9"}
    assert kafka.committed("again", topic) == [9]


async def test_a_busy_hub_and_a_slow_one_take_everything_later_and_in_order(kafka: KafkaMock, topic: str) -> None:
    intake = MarkingIntake()
    intake.busy = True
    kafka.put(topic, *(b"%03d" % number + bytes(100 << 10) for number in range(40)))
    async with receiving(ADAPTER, intake, **reading(kafka, topic, max_buffered="1MB", page=5)) as receiver:  # type: ignore[arg-type]
        await until(lambda: receiver.status()["held_bytes"] >= 1 << 20)
        await asyncio.sleep(1.5)  # longer than its patience: reading is paused, the partition kept
        assert receiver.status()["held_bytes"] < 3 << 20
        assert receiver.status()["partitions"] == 1
        intake.busy = False
        await until(lambda: len(intake.taken) == 40)
    assert [body[:3] for body in intake.taken] == [b"%03d" % number for number in range(40)]
    assert intake.duplicates == 0


async def test_what_is_held_has_its_limit_however_late_the_event_loop_is(kafka: KafkaMock, topic: str) -> None:
    intake = MarkingIntake()
    async with receiving(ADAPTER, intake, **reading(kafka, topic, max_buffered="1MB", page=1)) as receiver:  # type: ignore[arg-type]
        kafka.put(topic, b"first")
        await until(lambda: intake.taken == [b"first"] and receiver.status()["held_bytes"] == 0)  # it reads
        end = time.monotonic() + DEADLINE  # from here on the loop stands still
        kafka.put(topic, *(bytes(100 << 10) for _ in range(20)), headers=[("large", bytes(100 << 10))])
        while receiver.status()["held_bytes"] < 1 << 20 and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.5)
        assert 1 << 20 <= receiver.status()["held_bytes"] < 2 << 20
        await until(lambda: len(intake.taken) == 21 and receiver.status()["held_bytes"] == 0)


async def test_refused_messages_go_to_their_topic_before_the_offset_moves(kafka: KafkaMock, topic: str) -> None:
    intake, dead = MarkingIntake(), f"{topic}.dead"
    kafka.put(topic, b"good1", b"bad2", b"good3", b"x" * 5000, key=b"k", headers=[("kept", b"yes")])
    options = reading(kafka, topic, dead_letter=dead, max_size=2000)
    async with receiving(ADAPTER, intake, **options) as receiver:  # type: ignore[arg-type]
        await until(lambda: intake.runs)  # the topic is not there
        assert intake.runs[0] is not None
        assert intake.runs[0].code == "mq.topology"
        kafka.topic(dead)
        await until(lambda: receiver.status()["error"] == "" and receiver.status()["held_bytes"] == 0)
        kafka.put(topic, b"good5")
        await until(lambda: b"good5" in intake.taken)
    assert intake.taken == [b"good1", b"good3", b"good5"]
    found = kafka.all(dead, 2)
    assert {message.value() for message in found} == {b"bad2", b"x" * 5000}
    refused = next(message for message in found if message.value() == b"bad2")
    assert refused.key() == b"k"
    assert dict(refused.headers() or ()) == {
        "kept": b"yes",
        "x-error-code": b"codec.json",
        "x-error-text": b"not JSON at all",
        "x-original-topic": topic.encode(),
        "x-original-partition": b"0",
        "x-original-offset": b"1",
    }


async def test_two_hubs_share_a_group_and_nothing_is_read_twice(kafka: KafkaMock) -> None:
    topic = kafka.topic(f"tongqu.shared.{next(_NUMBERS)}", 4)
    one, two = MarkingIntake(), MarkingIntake()
    options = reading(kafka, topic, session_timeout="6s")
    sent = 0

    def more() -> None:
        nonlocal sent
        for partition in range(4):
            kafka.put(topic, *(b"%d-%d" % (partition, sent + number) for number in range(50)), partition=partition)
        sent += 50

    async with receiving(ADAPTER, one, **options) as first:  # type: ignore[arg-type]
        await until(lambda: first.status()["partitions"] == 4)
        await asyncio.to_thread(more)
        await until(lambda: kafka.committed(str(options["group"]), topic, 4) == [50] * 4)
        async with receiving(ADAPTER, two, **options) as second:  # type: ignore[arg-type]
            await until(lambda: first.status()["partitions"] == 2 and second.status()["partitions"] == 2)
            await asyncio.to_thread(more)
            await until(lambda: len(one.taken) + len(two.taken) >= 400)
            assert two.taken
    assert sorted(one.taken + two.taken) == sorted(b"%d-%d" % (p, n) for p in range(4) for n in range(sent))


async def test_a_message_without_a_value_is_told(kafka: KafkaMock, topic: str) -> None:
    intake = MarkingIntake()
    kafka.put(topic, None, key=b"gone")
    async with receiving(ADAPTER, intake, **reading(kafka, topic)):  # type: ignore[arg-type]
        await until(lambda: intake.taken == [b""])
    assert (intake.params[0]["tombstone"], intake.params[0]["key"]) == ("true", "gone")


# -- what breaks ---------------------------------------------------------------------------------------------------------


async def test_nobody_there_and_no_such_topic(kafka: KafkaMock) -> None:
    missing = f"tongqu.missing.{next(_NUMBERS)}"
    for port, code in ((free_port(), "mq.unreachable"), (kafka.broker, "mq.topology")):
        intake = MarkingIntake()
        options = cluster(kafka, port, connect_timeout=2)
        async with (
            receiving(ADAPTER, intake, **options, topics=[missing], group="g") as receiver,  # type: ignore[arg-type]
            sending(ADAPTER, **options, topic=missing) as sender,
        ):
            for call in (sender.send(outgoing(b"1")), sender.probe()):
                with pytest.raises(UnreachableError) as caught:
                    await call
                assert caught.value.code == code
            await until(lambda intake=intake: intake.runs)
            assert intake.runs[0] is not None
            assert intake.runs[0].code == code
            with pytest.raises(UnreachableError):
                await receiver.probe()
            if code == "mq.topology":
                kafka.topic(missing)
                assert await insist(sender, b"1", "k1")
                await until(lambda intake=intake: intake.taken == [b"1"])


async def test_a_wrong_password_and_the_right_one_later(kafka: KafkaMock, topic: str) -> None:
    login, intake = Login(kafka.broker, "another-one"), MarkingIntake()
    options = cluster(kafka, login.port, user="hub", password="secret-word", mechanism="PLAIN", connect_timeout=2)
    kafka.do("advertise", login.port)
    try:
        async with (
            receiving(ADAPTER, intake, **options, topics=[topic], group=f"g.{topic}") as receiver,  # type: ignore[arg-type]
            sending(ADAPTER, **options, topic=topic) as sender,
        ):
            with pytest.raises(UnreachableError) as caught:
                await sender.send(outgoing(b"1"))
            assert caught.value.code == "mq.login"
            await until(lambda: intake.runs)
            assert intake.runs[0] is not None
            assert intake.runs[0].code == "mq.login"
            assert "secret-word" not in str(receiver.status()) + str(intake.runs[0]) + str(caught.value)
            assert login.refused
            login.password = "secret-word"
            assert await insist(sender, b"1", "k1")
            await until(lambda: intake.taken == [b"1"] and receiver.status()["error"] == "")
    finally:
        kafka.do("advertise", kafka.broker)
        login.close()


async def test_what_the_broker_says_no_to(kafka: KafkaMock, topic: str) -> None:
    async with sending(ADAPTER, **cluster(kafka), topic=topic) as sender:
        assert (await sender.send(outgoing(b"1"))).ok
        kafka.do("fail", _PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE, 1)
        with pytest.raises(PermanentError) as refused:
            await sender.send(outgoing(b"2"))
        assert refused.value.code == "mq.refused"
        kafka.do("fail", _PRODUCE, KafkaError.TOPIC_AUTHORIZATION_FAILED, 1)
        with pytest.raises(UnreachableError) as denied:
            await sender.send(outgoing(b"3"))
        assert denied.value.code == "mq.login"
        kafka.do("fail", _PRODUCE, KafkaError.NOT_ENOUGH_REPLICAS, 3)
        assert (await sender.send(outgoing(b"4"))).ok  # librdkafka tries again by itself
    assert [message.value() for message in kafka.all(topic, 2)] == [b"1", b"4"]


async def test_a_producer_that_has_failed_for_good_is_replaced(kafka: KafkaMock, topic: str) -> None:
    async with sending(ADAPTER, **cluster(kafka), topic=topic) as sender:
        kafka.do("fail", _INIT_PRODUCER_ID, KafkaError.CLUSTER_AUTHORIZATION_FAILED, 1)
        with pytest.raises((TransientError, UnreachableError)):
            await sender.send(outgoing(b"1", timeout=10.0))
        assert await insist(sender, b"1", "k1")
        kafka.do("fail", _PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, 1)
        assert await insist(sender, b"2", "k2")
    assert [message.value() for message in kafka.all(topic, 2)] == [b"1", b"2"]


async def test_tls_and_certificates_nobody_vouches_for(kafka: KafkaMock, topic: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    authority.issue("server", "localhost", "127.0.0.1")
    authority.issue("elsewhere", "elsewhere.example")
    Authority(tmp_path, "other")
    proxies = []
    for name in ("server", "elsewhere"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        proxies.append(Proxy(kafka.broker, context))
    good, named = proxies
    intake, trusted = MarkingIntake(), {"ca": str(tmp_path / "ca.pem")}
    kafka.do("advertise", good.port)
    try:
        async with (
            receiving(ADAPTER, intake, **reading(kafka, topic) | cluster(kafka, good.port, tls=trusted)),  # type: ignore[arg-type]
            sending(ADAPTER, **cluster(kafka, good.port, tls=trusted), topic=topic) as sender,
        ):
            assert (await sender.send(outgoing(b"1"))).ok
            await until(lambda: intake.taken == [b"1"])
        for port, ca in ((good.port, "other"), (named.port, "ca")):  # unknown authority; another name
            tls = {"ca": str(tmp_path / f"{ca}.pem")}
            async with sending(ADAPTER, **cluster(kafka, port, tls=tls, connect_timeout=2), topic=topic) as sender:
                with pytest.raises(UnreachableError) as caught:
                    await sender.send(outgoing(b"2"))
                assert caught.value.code == "mq.certificate"
    finally:
        kafka.do("advertise", kafka.broker)
        good.close()
        named.close()


async def test_cut_in_the_middle_of_a_message(kafka: KafkaMock, topic: str) -> None:
    proxy, intake = Proxy(kafka.broker), MarkingIntake()
    body = b"y" * 300_000
    kafka.do("advertise", proxy.port)
    try:
        async with (
            receiving(ADAPTER, intake, **reading(kafka, topic) | cluster(kafka, proxy.port)) as receiver,  # type: ignore[arg-type]
            sending(ADAPTER, **cluster(kafka, proxy.port), topic=topic) as sender,
        ):
            await until(lambda: receiver.status()["partitions"] == 1)
            assert (await sender.send(outgoing(b"0", "key-0"))).ok
            proxy.cut_after = 200_000
            assert await insist(sender, body, "key-1")
            assert proxy.cuts == 1
            await until(lambda: intake.taken == [b"0", body])
            intake.gate.clear()
            assert await insist(sender, b"2", "key-2")
            await until(lambda: b"2" in intake.taken)
            proxy.cut()
            intake.gate.set()
            assert await insist(sender, b"3", "key-3")
            await until(lambda: b"3" in intake.taken)
        assert intake.taken == [b"0", body, b"2", b"3"]
    finally:
        kafka.do("advertise", kafka.broker)
        proxy.close()


async def test_a_broker_that_hangs_is_noticed_and_waited_for(kafka: KafkaMock, topic: str) -> None:
    intake = MarkingIntake()
    quick = {"answer_timeout": 2, "connect_timeout": 2}
    async with (
        receiving(ADAPTER, intake, **reading(kafka, topic, **quick)) as receiver,  # type: ignore[arg-type]
        sending(ADAPTER, **cluster(kafka, **quick), topic=topic) as sender,
    ):
        await until(lambda: receiver.status()["partitions"] == 1)
        assert await insist(sender, b"1", "key-1")
        kafka.pause()
        try:
            with pytest.raises(TransientError) as caught:
                await sender.send(outgoing(b"2", "key-2", timeout=0.3))
            assert caught.value.code == "mq.unconfirmed"
            with pytest.raises(UnreachableError):
                await sender.send(outgoing(b"3", "key-3"))
            await until(lambda: not receiver.status()["connected"])
        finally:
            kafka.resume()
        assert await insist(sender, b"2", "key-2")
        await until(lambda: sorted(intake.taken) == [b"1", b"2"])


async def test_down_and_up_under_load_nothing_confirmed_is_lost(kafka: KafkaMock) -> None:
    intake, topic = MarkingIntake(), kafka.topic(f"tongqu.load.{next(_NUMBERS)}", 2)
    confirmed: list[bytes] = []
    async with (
        receiving(ADAPTER, intake, **reading(kafka, topic)) as receiver,  # type: ignore[arg-type]
        sending(ADAPTER, **cluster(kafka), topic=topic, key="{control_id}") as sender,
    ):
        await until(lambda: receiver.status()["partitions"] == 2)

        async def produce(lane: int) -> None:
            for number in range(150):
                body = b"%d-%d" % (lane, number)
                await insist(sender, body, body.decode())
                confirmed.append(body)

        tasks = [asyncio.create_task(produce(lane)) for lane in range(4)]
        await until(lambda: len(confirmed) > 100)
        kafka.do("down")
        await until(lambda: not receiver.status()["connected"])
        kafka.do("up")
        await asyncio.gather(*tasks)
        await until(lambda: len(intake.taken) >= 600)
        await until(lambda: receiver.status()["connected"])
    assert sorted(intake.taken) == sorted(confirmed)
