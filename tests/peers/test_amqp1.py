"""``amqp1`` against RabbitMQ with its AMQP 1.0 plugin: durability, order, outcomes, a busy hub, requests, and everything that breaks."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.process import free_port, need_module

proton = need_module("proton", "python-qpid-proton")

from adapters.amqp1.adapter import Amqp1Adapter  # noqa: E402
from adapters.amqp1.link import connect  # noqa: E402
from adapters.amqp1.message import encode  # noqa: E402
from adapters.amqp1.options import Amqp1Broker  # noqa: E402
from adapters.amqp1.publishing import Publishing  # noqa: E402
from hub.api import PermanentError, TransientError, UnreachableError  # noqa: E402
from tests.adapters.certificates import Authority  # noqa: E402
from tests.peers.amqp091 import Other  # noqa: E402
from tests.peers.mq_support import DEADLINE, MemoryIntake, insist, outgoing, receiving, sending, until  # noqa: E402
from tests.peers.proxy import Proxy  # noqa: E402
from tests.peers.queues import RabbitMq  # noqa: E402

pytestmark = pytest.mark.xdist_group("rabbitmq")

ADAPTER = Amqp1Adapter()
_NUMBERS = itertools.count(1)


@pytest.fixture
def other(rabbitmq: RabbitMq) -> Iterator[Other]:
    found = Other(rabbitmq)
    yield found
    found.close()


@pytest.fixture
def queue(other: Other) -> str:
    return other.declare(f"tongqu.amqp1.{next(_NUMBERS)}")


def broker(server: RabbitMq, port: int = 0, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port or server.port, "user": "guest", "password": "guest", **more}


def node(queue: str) -> str:
    return f"/amq/queue/{queue}"


async def publish(server: RabbitMq, target: str, *payloads: bytes) -> None:
    """Messages as another program of AMQP 1.0 would write them, byte for byte."""
    link = await connect(Amqp1Broker.model_validate(broker(server)), None)
    publishing = Publishing(link, "test")
    link.on_delivery, link.on_credit, link.on_lost = publishing.delivery, publishing.credit, publishing.lost
    for payload in payloads:
        await publishing.publish(target, payload, 10.0)
    await link.close(5.0)


def request(body: bytes, reply_to: str, **more: Any) -> bytes:
    return bytes(proton.Message(body, inferred=True, id=body.decode(), reply_to=reply_to, **more).encode())


async def take(server: RabbitMq, queue: str) -> Any:
    """One message out of a queue, all of it read by Proton."""
    link = await connect(Amqp1Broker.model_validate(broker(server)), None)
    found: list[Any] = []

    def came(delivery: proton.Delivery) -> None:
        if delivery.readable and not delivery.partial:
            message = proton.Message()
            message.decode(receiver.recv(delivery.pending))
            found.append(message)
            delivery.update(proton.Delivery.ACCEPTED)
            delivery.settle()
            link.poke()

    link.on_delivery = came
    receiver = await link.receive(node(queue), 1 << 20)
    receiver.flow(1)
    link.poke()
    await until(lambda: found)
    await link.close(5.0)
    return found[0]


# -- receiving and sending -----------------------------------------------------------------------------------------------


async def test_what_is_sent_arrives_in_order_and_once(rabbitmq: RabbitMq, other: Other, queue: str) -> None:
    intake, second = MemoryIntake(), other.declare(f"{queue}.x")
    async with (
        receiving(ADAPTER, intake, **broker(rabbitmq), source=node(queue)) as receiver,
        sending(ADAPTER, **broker(rabbitmq), target=node(f"{queue}.{{to}}"), text=True) as text,
        sending(
            ADAPTER, **broker(rabbitmq), target=node(queue), properties={"ward": "{ward}"}, subject="{type}"
        ) as sender,
    ):
        await until(lambda: receiver.status()["connected"])
        assert "127.0.0.1" in await sender.probe()
        assert queue in await receiver.probe()
        bodies = [b'{"n":%d}' % number for number in range(300)] + [b"\0\xff binary", b"", b"x" * (1 << 20)]
        results = await asyncio.gather(
            *(sender.send(outgoing(body, f"k{number}", ward="内科")) for number, body in enumerate(bodies))
        )
        assert {(reply.ok, reply.code) for reply in results} == {(True, "accepted")}
        assert (await text.send(outgoing("姓名".encode(), to="x"))).ok
        with pytest.raises(PermanentError, match="UTF-8"):
            await text.send(outgoing(b"\xff", to="x"))
        assert (
            await sender.send(outgoing(b"again", "k7", ward="w"))
        ).ok  # the broker does not know better, the hub does
        await until(lambda: intake.duplicates == 1 and len(intake.taken) == len(bodies))
        await until(lambda: receiver.status()["under_way"] == 0)
        assert receiver.status()["taken"] == len(bodies) + 1
    assert intake.taken == bodies
    assert intake.control_ids[:2] == ["k0", "k1"]
    params = intake.params[0]
    assert (params["source"], params["content_type"], params["subject"], params["header_ward"]) == (
        node(queue),
        "application/json",
        "order.created",
        "内科",
    )
    assert other.count(queue) == 0
    assert "姓名".encode() in other.get(second).body


async def test_messages_of_another_protocol_and_sent_messages_survive_a_kill(
    rabbitmq: RabbitMq, other: Other, queue: str
) -> None:
    intake = MemoryIntake()
    async with receiving(ADAPTER, intake, **broker(rabbitmq), source=node(queue)):
        other.put(queue, b"\xff1", message_id="m1", correlation_id="c7", content_type="text/plain")
        await until(lambda: intake.taken)
    assert (intake.taken, intake.control_ids) == ([b"\xff1"], ["m1"])
    assert (intake.params[0]["correlation_id"], intake.params[0]["content_type"]) == ("c7", "text/plain")
    async with sending(ADAPTER, **broker(rabbitmq), target=node(queue)) as sender:
        assert (await sender.send(outgoing(b"durable", "d1"))).ok
        await asyncio.to_thread(rabbitmq.kill)
        await asyncio.to_thread(rabbitmq.start)
        later = Other(rabbitmq)
        message = later.get(queue)
        later.close()
        assert (message.body, message.properties["message_id"]) == (b"durable", "d1")
        assert await insist(sender, b"next", "d2")


async def test_nothing_is_accepted_before_it_is_committed(rabbitmq: RabbitMq, other: Other, queue: str) -> None:
    intake = MemoryIntake()
    intake.at_once = False
    options = {**broker(rabbitmq), "source": node(queue), "prefetch": 5}
    for number in range(8):
        other.put(queue, b"%d" % number, message_id=f"m{number}")
    async with receiving(ADAPTER, intake, **options) as receiver:
        await until(lambda: len(intake.waiting) == 5)  # the credit
        await receiver.stop(0.0)
    await until(lambda: other.count(queue) == 8)  # not one was settled
    intake.waiting.clear()
    intake.at_once = True
    async with receiving(ADAPTER, intake, **options):
        await until(lambda: len(intake.taken) == 8)
    assert intake.duplicates == 5
    assert intake.taken == [b"%d" % number for number in range(8)]


async def test_stop_waits_for_commits_under_way(rabbitmq: RabbitMq, other: Other, queue: str) -> None:
    intake = MemoryIntake()
    intake.at_once = False
    other.put(queue, b"1", message_id="m1")
    async with receiving(ADAPTER, intake, **broker(rabbitmq), source=node(queue)) as receiver:
        await until(lambda: intake.waiting)
        stopping = asyncio.create_task(receiver.stop(10.0))
        await asyncio.sleep(0)
        intake.finish()
        await stopping
    assert other.count(queue) == 0


async def test_what_is_committed_is_settled_before_the_connection_ends(
    rabbitmq: RabbitMq, other: Other, queue: str
) -> None:
    """The broker settles one message after the other: what is left when it reads the close, it would deliver again."""
    count = 3000
    intake = MemoryIntake()
    intake.at_once = False
    other.put(queue, *(b"%d" % number for number in range(count)))
    async with receiving(ADAPTER, intake, **broker(rabbitmq), source=node(queue), prefetch=count) as receiver:
        await until(lambda: len(intake.waiting) == count)
        intake.waiting = intake.waiting[::2] + intake.waiting[1::2]  # no runs: each has a frame of its own
        rabbitmq.pause()
        try:
            intake.finish()
            stopping = asyncio.create_task(receiver.stop(DEADLINE))
            await asyncio.wait([stopping], timeout=0.3)
        finally:
            rabbitmq.resume()  # it finds all outcomes and the farewell at once
        await stopping
    await until(lambda: other.consumers(queue) == 0)  # with it goes back what it had not settled
    assert other.count(queue) == 0


async def test_refused_goes_where_the_contract_says(rabbitmq: RabbitMq, other: Other) -> None:
    intake = MemoryIntake()
    dead, parking = other.declare(f"dead.{next(_NUMBERS)}"), other.declare(f"parking.{next(_NUMBERS)}")
    queue = other.declare(f"tongqu.dl.{next(_NUMBERS)}", x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
    options = {**broker(rabbitmq), "source": node(queue)}
    other.put(queue, b"bad1", b"good")
    async with receiving(ADAPTER, intake, **options, max_size=2000):
        await until(lambda: other.count(dead) == 1)
        await publish(
            rabbitmq, node(queue), b"\x00\x53\x76\xc0\x04\x02\x54\x01\x41", encode(b"x" * 5000, properties={})
        )
        await until(lambda: other.count(dead) == 3)
    assert [error.code for error in intake.refused] == ["mq.body", "mq.size"]
    assert other.get(dead).body == b"bad1"
    await publish(rabbitmq, node(queue), encode(b"bad2", message_id="m9", properties={"kept": "yes"}))
    async with receiving(ADAPTER, intake, **options, refused="park", park_target=node(parking)) as receiver:
        await until(lambda: receiver.status()["refused"] == 1 and other.count(parking) == 1)
    parked = await take(rabbitmq, parking)
    assert (bytes(parked.body), parked.id) == (b"bad2", "m9")
    assert parked.properties == {
        "kept": "yes",
        "x-error-code": "codec.json",
        "x-error-text": "not JSON at all",
        "x-original-source": node(queue),
    }
    assert intake.taken == [b"good"]
    assert other.count(queue) == 0


async def test_a_busy_hub_releases_what_it_holds_and_goes_on_in_order(
    rabbitmq: RabbitMq, other: Other, queue: str
) -> None:
    intake = MemoryIntake()
    intake.busy = True
    other.put(queue, *(b"%d" % number for number in range(20)))
    async with receiving(ADAPTER, intake, **broker(rabbitmq), source=node(queue)) as receiver:
        await until(lambda: receiver.status()["left"] >= 1)
        await until(lambda: other.count(queue) == 20)
        intake.busy = False
        await until(lambda: len(intake.taken) == 20)
    assert intake.taken == [b"%d" % number for number in range(20)]


async def test_bytes_held_are_limited(rabbitmq: RabbitMq, other: Other, queue: str) -> None:
    intake = MemoryIntake()
    intake.at_once = False
    other.put(queue, *(bytes([number]) * (600 << 10) for number in range(6)))
    options = {**broker(rabbitmq), "source": node(queue), "max_buffered": "1MB", "prefetch": 2}
    async with receiving(ADAPTER, intake, **options):
        for taken in (2, 4, 6):
            await until(lambda taken=taken: len(intake.taken) >= taken)
            assert len(intake.waiting) == 2
            intake.finish()


async def test_a_request_is_answered(rabbitmq: RabbitMq, other: Other, queue: str) -> None:
    intake, answers = MemoryIntake(), other.declare(f"{queue}.answers")
    intake.reply = b'{"answer":42}'
    async with receiving(ADAPTER, intake, "request", **broker(rabbitmq), source=node(queue)):
        for body in (b"ask", b"bad"):
            await publish(rabbitmq, node(queue), request(body, node(answers), correlation_id="c7"))
        await until(lambda: other.count(answers) == 2)
        await publish(rabbitmq, node(queue), request(b"lost", "/exchange/nobody/there"))
        await until(lambda: b"lost" in intake.taken)
        await publish(rabbitmq, node(queue), request(b"next", node(answers)))
        await until(lambda: other.count(answers) == 3)
    found = [await take(rabbitmq, answers) for _ in range(3)]
    assert [bytes(message.body) for message in found] == [b'{"answer":42}', b"", b'{"answer":42}']
    assert [message.correlation_id for message in found] == ["c7", "c7", "next"]
    assert found[1].properties["x-error-code"] == "codec.json"
    await until(lambda: other.count(queue) == 0)


async def test_a_full_queue_and_many_targets(rabbitmq: RabbitMq, other: Other) -> None:
    full = other.declare(f"full.{next(_NUMBERS)}", x_max_length=1, x_overflow="reject-publish")
    async with sending(ADAPTER, **broker(rabbitmq), target=node(full)) as sender:
        assert (await sender.send(outgoing(b"1"))).ok
        with pytest.raises(TransientError):  # the plugin ends the connection
            await sender.send(outgoing(b"2"))
    names = [other.declare(f"many.{number}") for number in range(40)]  # more than links are kept open
    async with sending(ADAPTER, **broker(rabbitmq), target="/amq/queue/many.{n}") as sender:
        for _ in range(2):
            await asyncio.gather(*(sender.send(outgoing(b"1", n=str(number))) for number in range(40)))
        assert sender.status()["connections"] == 1
    assert {other.count(found) for found in names} == {2}


# -- what breaks ---------------------------------------------------------------------------------------------------------


async def test_nobody_there_wrong_password_and_no_such_queue(rabbitmq: RabbitMq) -> None:
    for options, code in (
        (broker(rabbitmq, free_port()), "mq.unreachable"),
        (broker(rabbitmq) | {"password": "wrong-one"}, "mq.login"),
        (broker(rabbitmq), "mq.topology"),
    ):
        intake = MemoryIntake()
        async with (
            receiving(ADAPTER, intake, **options, source="/amq/queue/missing") as receiver,
            sending(ADAPTER, **options, target="/exchange/missing/x") as sender,
        ):
            with pytest.raises(UnreachableError) as caught:
                await sender.send(outgoing(b"1"))
            assert caught.value.code == code
            await until(lambda intake=intake: intake.runs)
            assert intake.runs[0] is not None
            assert intake.runs[0].code == code
            assert "wrong-one" not in str(receiver.status()) + str(intake.runs[0])


async def test_a_queue_that_comes_later_is_read(rabbitmq: RabbitMq, other: Other) -> None:
    intake, queue = MemoryIntake(), f"tongqu.later.{next(_NUMBERS)}"
    async with receiving(ADAPTER, intake, **broker(rabbitmq), source=node(queue)):
        await until(lambda: intake.runs)
        other.put(other.declare(queue), b"1")
        await until(lambda: intake.taken == [b"1"])


async def test_tls_and_certificates_nobody_vouches_for(
    rabbitmq: RabbitMq, other: Other, queue: str, tmp_path: Path
) -> None:
    Authority(tmp_path, "ca").issue("server", "localhost", "127.0.0.1")
    Authority(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    proxy, intake = Proxy(rabbitmq.port, context), MemoryIntake()
    good = broker(rabbitmq, proxy.port, tls={"ca": str(tmp_path / "ca.pem")})
    large = b"x" * (1 << 20)
    try:
        async with (
            receiving(ADAPTER, intake, **good, source=node(queue)),
            sending(ADAPTER, **good, target=node(queue)) as sender,
        ):
            assert (await sender.send(outgoing(large))).ok
            await until(lambda: intake.taken == [large])
        for tls in ({"ca": str(tmp_path / "other.pem")}, good["tls"] | {"server_name": "elsewhere.example"}):
            async with sending(ADAPTER, **good | {"tls": tls}, target=node(queue)) as sender:
                with pytest.raises(UnreachableError) as caught:
                    await sender.probe()
                assert caught.value.code == "mq.certificate"
    finally:
        proxy.close()


async def test_cut_in_the_middle_of_a_message(rabbitmq: RabbitMq, other: Other, queue: str) -> None:
    proxy, intake = Proxy(rabbitmq.port), MemoryIntake()
    body = b"y" * 300_000
    options = broker(rabbitmq, proxy.port)
    try:
        async with (
            receiving(ADAPTER, intake, **options, source=node(queue)) as receiver,
            sending(ADAPTER, **options, target=node(queue)) as sender,
        ):
            await until(lambda: receiver.status()["connected"])
            assert (await sender.send(outgoing(b"0", "key-0"))).ok
            await until(lambda: intake.taken == [b"0"])
            proxy.cut_after = 200_000
            with pytest.raises(TransientError) as caught:
                await sender.send(outgoing(body))
            assert caught.value.code == "mq.unconfirmed"
            assert await insist(sender, body, "key-1")
            await until(lambda: intake.taken == [b"0", body])
            intake.at_once = False
            assert await insist(sender, b"2", "key-2")
            await until(lambda: intake.waiting)
            proxy.cut()  # committed, but the outcome can't get through
            intake.finish()
            await until(lambda: intake.duplicates == 1)
            await until(lambda: receiver.status()["connections"] >= 2 and other.count(queue) == 0)
        assert intake.taken == [b"0", body, b"2"]
    finally:
        proxy.close()


async def test_a_broker_that_hangs_is_noticed_and_waited_for(rabbitmq: RabbitMq, other: Other, queue: str) -> None:
    intake = MemoryIntake()
    options = broker(rabbitmq, heartbeat=1, connect_timeout=2)
    async with (
        receiving(ADAPTER, intake, **options, source=node(queue)) as receiver,
        sending(ADAPTER, **options, target=node(queue)) as sender,
    ):
        await until(lambda: receiver.status()["connected"])
        assert await insist(sender, b"1", "key-1")
        await until(lambda: intake.taken == [b"1"])
        rabbitmq.pause()
        try:
            with pytest.raises(TransientError):
                await sender.send(outgoing(b"2", "key-2", timeout=0.3))
            await until(lambda: not receiver.status()["connected"] and not sender.status()["connected"])
            with pytest.raises(UnreachableError):
                await sender.send(outgoing(b"3", "key-3"))
        finally:
            rabbitmq.resume()
        assert await insist(sender, b"2", "key-2")
        await until(lambda: sorted(intake.taken) == [b"1", b"2"])


async def test_killed_under_load_nothing_accepted_is_lost(rabbitmq: RabbitMq, other: Other, queue: str) -> None:
    intake = MemoryIntake()
    accepted: list[bytes] = []
    async with (
        receiving(ADAPTER, intake, **broker(rabbitmq), source=node(queue)) as receiver,
        sending(ADAPTER, **broker(rabbitmq), target=node(queue)) as sender,
    ):
        await until(lambda: receiver.status()["connected"])

        async def produce(lane: int) -> None:
            for number in range(150):
                body = b"%d-%d" % (lane, number)
                await insist(sender, body, body.decode())
                accepted.append(body)

        tasks = [asyncio.create_task(produce(lane)) for lane in range(4)]
        await until(lambda: len(accepted) > 100)
        await asyncio.to_thread(rabbitmq.kill)
        await asyncio.to_thread(rabbitmq.start)
        await asyncio.gather(*tasks)
        await until(lambda: len(intake.taken) >= 600)
        assert receiver.status()["connections"] >= 2
    assert sorted(intake.taken) == sorted(accepted)  # each once: repetitions were recognised
