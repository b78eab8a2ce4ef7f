"""``mq`` against RabbitMQ: durability, order, refusals, a busy hub, topology, requests, and everything that breaks."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest

from adapters.mq.adapter import MqAdapter
from hub.api import PermanentError, TransientError, UnreachableError
from tests.adapters.certificates import Authority
from tests.peers.mq_support import MemoryIntake, insist, outgoing, receiving, sending, until
from tests.peers.process import free_port
from tests.peers.proxy import Proxy
from tests.peers.queues import RabbitMq

pytestmark = pytest.mark.xdist_group("rabbitmq")

ADAPTER = MqAdapter()
_NUMBERS = itertools.count(1)


class Tool:
    """A client of another program: publishes and looks at queues."""

    def __init__(self, server: RabbitMq) -> None:
        self.url = f"amqp://127.0.0.1:{server.port}/"
        self._connection = kombu.Connection(server.url)
        self.channel: Any = self._connection.channel()

    def publish(self, queue: str, body: bytes, exchange: str = "", **properties: Any) -> None:
        headers = properties.pop("headers", None)
        message = amqp.Message(body, application_headers=headers, delivery_mode=2, **properties)
        self.channel.basic_publish(message, exchange=exchange, routing_key=queue)

    def count(self, queue: str) -> int:
        """Messages that wait, without those a consumer holds."""
        return int(self.channel.queue_declare(queue, passive=True).message_count)

    def get(self, queue: str) -> Any:
        return self.channel.basic_get(queue, no_ack=True)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def tool(rabbitmq: RabbitMq) -> Iterator[Tool]:
    found = Tool(rabbitmq)
    yield found
    found.close()


def name() -> str:
    return f"tongqu.test.{next(_NUMBERS)}"


def declared(queue: str, **more: Any) -> dict[str, Any]:
    return {"name": queue, "declare": True, "type": "classic", **more}


# -- receiving -----------------------------------------------------------------------------------------------------------


async def test_messages_arrive_in_order_with_their_properties(tool: Tool) -> None:
    intake, queue = MemoryIntake(), name()
    exchange = {"name": f"{queue}.x", "type": "topic", "declare": True}
    bindings = [{"exchange": f"{queue}.x", "routing_key": "adt.#"}]
    topology = {"exchanges": [exchange], "queue": {"name": queue, "declare": True, "bindings": bindings}}
    async with receiving(ADAPTER, intake, url=tool.url, **topology) as receiver:
        await until(lambda: receiver.status()["connected"])
        for number in range(300):
            tool.publish("adt.a01", b'{"n":%d}' % number, f"{queue}.x", message_id=f"m{number}")
        odd = b"\xff\x00 not text"
        more = {"correlation_id": "c7", "content_encoding": "utf-8", "type": "ADT", "reply_to": "answers"}
        tool.publish("adt.a01", odd, f"{queue}.x", headers={"X-Dept": "内科", "n": 3, "deep": {"a": 1}}, **more)
        await until(lambda: len(intake.taken) == 301)
        assert queue in await receiver.probe()
        assert receiver.status()["taken"] == 301
    assert intake.taken == [b'{"n":%d}' % number for number in range(300)] + [odd]
    assert intake.control_ids == [f"m{number}" for number in range(300)] + [""]
    assert intake.params[-1] == {
        "queue": queue,
        "exchange": f"{queue}.x",
        "routing_key": "adt.a01",
        "correlation_id": "c7",
        "content_encoding": "utf-8",
        "type": "ADT",
        "reply_to": "answers",
        "header_x_dept": "内科",
        "header_n": "3",
        "header_deep": "(1)",
    }
    assert tool.count(queue) == 0


async def test_nothing_is_acknowledged_before_it_is_committed(tool: Tool) -> None:
    intake, queue = MemoryIntake(), name()
    intake.at_once = False
    options: dict[str, Any] = {"url": tool.url, "queue": declared(queue), "prefetch": 5}
    async with receiving(ADAPTER, intake, **options) as receiver:
        await until(lambda: receiver.status()["connected"])
        for number in range(8):
            tool.publish(queue, b"%d" % number, message_id=f"m{number}")
        await until(lambda: len(intake.waiting) == 5)  # the prefetch
        assert tool.count(queue) == 3
        await receiver.stop(0.0)
        assert tool.count(queue) == 8  # not one was acknowledged
    intake.waiting.clear()
    intake.at_once = True
    async with receiving(ADAPTER, intake, **options):
        await until(lambda: len(intake.taken) == 8)
    assert intake.duplicates == 5  # recognised by their message ids
    assert intake.params[5]["redelivered"] == "true"
    assert tool.count(queue) == 0


async def test_stop_waits_for_commits_under_way(tool: Tool) -> None:
    intake, queue = MemoryIntake(), name()
    intake.at_once = False
    before = threading.active_count()
    async with receiving(ADAPTER, intake, url=tool.url, queue=declared(queue)) as receiver:
        await until(lambda: receiver.status()["connected"])
        tool.publish(queue, b"1")
        await until(lambda: intake.waiting)
        stopping = asyncio.create_task(receiver.stop(10.0))
        await asyncio.sleep(0)
        intake.finish()
        await stopping
    assert tool.count(queue) == 0
    await until(lambda: threading.active_count() == before)


async def test_bytes_held_are_limited(tool: Tool) -> None:
    intake, queue = MemoryIntake(), name()
    intake.at_once = False
    async with receiving(
        ADAPTER, intake, url=tool.url, queue=declared(queue), max_buffered="1MB", heartbeat=1
    ) as receiver:
        await until(lambda: receiver.status()["connected"])
        for number in range(6):
            tool.publish(queue, bytes([number]) * (600 << 10))
        await until(lambda: len(intake.waiting) >= 2)
        await asyncio.sleep(2.5)  # longer than two heartbeats: while nothing is read, silence is no fault
        assert len(intake.waiting) == 2
        for left in (4, 2, 0):
            intake.finish()
            await until(lambda left=left: len(intake.taken) == 6 - left)
        assert receiver.status()["connections"] == 1
        intake.finish()


async def test_refused_is_parked_with_the_reason(tool: Tool) -> None:
    intake, queue = MemoryIntake(), name()
    async with receiving(ADAPTER, intake, url=tool.url, queue=declared(queue)) as receiver:
        await until(lambda: receiver.status()["connected"])
        tool.publish(queue, b"bad", message_id="m1", user_id="guest", expiration="600000", headers={"kept": "yes"})
        tool.publish(queue, b"good")
        await until(lambda: intake.taken == [b"good"] and receiver.status()["refused"] == 1)
        await until(lambda: tool.count(f"{queue}.refused") == 1)
    parked = tool.get(f"{queue}.refused")
    assert (parked.body, parked.properties["message_id"]) == (b"bad", "m1")
    assert parked.headers["x-error-code"] == "codec.json"
    assert parked.headers["x-error-text"] == "not JSON at all"
    assert (parked.headers["kept"], parked.headers["x-original-queue"]) == ("yes", queue)
    assert tool.count(queue) == 0


async def test_refused_goes_to_the_dead_letter_exchange_and_its_story_is_read(tool: Tool) -> None:
    intake, queue = MemoryIntake(), name()
    dead = declared(queue, dead_letter_exchange="", dead_letter_routing_key=f"{queue}.dead")
    tool.channel.queue_declare(f"{queue}.dead", durable=True, auto_delete=False)
    async with receiving(ADAPTER, intake, url=tool.url, queue=dead, refused="dead_letter") as receiver:
        await until(lambda: receiver.status()["connected"])
        tool.publish(queue, b"bad", message_id="m1")
        await until(lambda: tool.count(f"{queue}.dead") == 1)
    other = MemoryIntake()
    other.submit = lambda bound, raw, done, **more: MemoryIntake.submit(other, bound, b"ok:" + raw, done, **more)  # type: ignore[method-assign]
    async with receiving(ADAPTER, other, url=tool.url, queue={"name": f"{queue}.dead"}):
        await until(lambda: other.taken)
    assert (other.params[0]["deaths"], other.params[0]["death_reason"]) == ("1", "rejected")
    assert other.params[0]["death_queue"] == queue


async def test_a_busy_hub_leaves_messages_in_the_queue_and_goes_on_in_order(tool: Tool) -> None:
    intake, queue = MemoryIntake(), name()
    intake.busy = True
    async with receiving(ADAPTER, intake, url=tool.url, queue=declared(queue)) as receiver:
        await until(lambda: receiver.status()["connected"])
        for number in range(20):
            tool.publish(queue, b"%d" % number, message_id=f"m{number}")
        await until(lambda: receiver.status()["paused"] and tool.count(queue) == 20)
        assert intake.taken == []
        intake.busy = False
        await until(lambda: len(intake.taken) == 20)
    assert intake.taken == [b"%d" % number for number in range(20)]
    assert tool.count(queue) == 0


async def test_topology_that_is_missing_or_different_is_told_and_found_when_it_comes(tool: Tool) -> None:
    intake, queue = MemoryIntake(), name()
    async with receiving(ADAPTER, intake, url=tool.url, queue={"name": queue}) as receiver:
        await until(lambda: intake.runs)
        assert intake.runs[0] is not None
        assert intake.runs[0].code == "mq.topology"
        with pytest.raises(UnreachableError, match=queue):
            await receiver.probe()
        tool.channel.queue_declare(queue, durable=True, auto_delete=False)
        tool.publish(queue, b"1")
        await until(lambda: intake.taken == [b"1"])
        assert len(intake.runs) == 1
    async with sending(ADAPTER, url=tool.url, routing_key=queue, queues=[{"name": queue, "declare": True}]) as sender:
        with pytest.raises(UnreachableError) as caught:  # it is there, but classic
            await sender.send(outgoing(b"2"))
        assert caught.value.code == "mq.topology"


# -- sending -------------------------------------------------------------------------------------------------------------


async def test_a_message_sent_is_persistent_and_carries_its_key(tool: Tool) -> None:
    queue = name()
    options = {
        "routing_key": f"{queue}.{{ward}}",
        "queues": [declared(f"{queue}.w3")],
        "headers": {"X-Ward": "{ward}", "X-Type": "{type}"},
        "expiration": "10m",
    }
    async with sending(ADAPTER, url=tool.url, **options) as sender:
        reply = await sender.send(outgoing(b"{}", "key-9", ward="w3"))
        assert (reply.ok, reply.code) == (True, "ack")
        with pytest.raises(PermanentError, match="ward"):
            await sender.send(outgoing(b"{}"))
    found = tool.get(f"{queue}.w3")
    assert found.body == b"{}"
    assert found.properties["message_id"] == "key-9"
    assert found.properties["delivery_mode"] == 2
    assert found.properties["content_type"] == "application/json"
    assert found.properties["type"] == "order.created"
    assert found.properties["expiration"] == "600000"
    assert found.headers == {"X-Ward": "w3", "X-Type": "order.created"}


async def test_what_no_queue_takes_is_a_permanent_error(tool: Tool) -> None:
    queue = name()
    async with sending(ADAPTER, url=tool.url, routing_key="{to}", queues=[declared(queue)]) as sender:
        lost = [sender.send(outgoing(b"x", f"k{n}", to="nowhere")) for n in range(3)]
        arrived = [sender.send(outgoing(b"y", f"l{n}", to=queue)) for n in range(3)]
        results = await asyncio.gather(*lost, *arrived, return_exceptions=True)
    for result in results[:3]:
        assert isinstance(result, PermanentError)
        assert result.code == "mq.returned"
        assert "NO_ROUTE" in result.text
    assert all(not isinstance(result, BaseException) and result.ok for result in results[3:])


async def test_a_full_queue_is_a_transient_error(tool: Tool) -> None:
    queue = name()
    async with sending(ADAPTER, url=tool.url, routing_key=queue, queues=[declared(queue, max_length=1)]) as sender:
        assert (await sender.send(outgoing(b"1"))).ok
        with pytest.raises(TransientError) as caught:
            await sender.send(outgoing(b"2"))
        assert caught.value.code == "mq.nack"


async def test_a_broker_that_takes_nothing_is_waited_for(tool: Tool, rabbitmq: RabbitMq) -> None:
    queue = name()
    async with sending(ADAPTER, url=tool.url, routing_key=queue, queues=[declared(queue)]) as sender:
        assert (await sender.send(outgoing(b"1", "k1"))).ok
        await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            for key in ("k2", "k3"):
                with pytest.raises(TransientError) as caught:
                    await sender.send(outgoing(b"2", key, timeout=0.3))
                assert caught.value.code == "mq.timeout"
        finally:
            await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "absolute", "2GB")
        assert await insist(sender, b"4", "k4")
        assert sender.status()["connections"] == 1
    found = [tool.get(queue) for _ in range(4)]
    assert [message.properties["message_id"] for message in found] == ["k1", "k2", "k3", "k4"]


async def test_request_and_answer(tool: Tool) -> None:
    intake, queue = MemoryIntake(), name()
    intake.reply = b'{"answer":42}'
    async with (
        receiving(ADAPTER, intake, "request", url=tool.url, queue=declared(queue)) as receiver,
        sending(ADAPTER, url=tool.url, routing_key=queue, reply=True) as sender,
    ):
        await until(lambda: receiver.status()["connected"])
        answers = await asyncio.gather(*(sender.send(outgoing(b"ask", f"k{n}")) for n in range(20)))
        assert {answer.body for answer in answers} == {b'{"answer":42}'}
        refused = await sender.send(outgoing(b"bad", "k99"))
        assert (refused.ok, refused.code, refused.error) == (False, "codec.json", "not JSON at all")
        intake.at_once = False
        with pytest.raises(TransientError) as caught:
            await sender.send(outgoing(b"slow", "k100", timeout=0.3))
        assert caught.value.code == "mq.timeout"
        intake.finish()
        intake.at_once = True
        assert (await sender.send(outgoing(b"again", "k101"))).ok
    assert tool.count(queue) == 0


# -- what breaks ---------------------------------------------------------------------------------------------------------


async def test_wrong_password(tool: Tool) -> None:
    intake, queue = MemoryIntake(), name()
    wrong = {"url": tool.url, "user": "guest", "password": "wrong-one"}
    async with receiving(ADAPTER, intake, queue=declared(queue), **wrong) as receiver:
        await until(lambda: intake.runs)
        assert intake.runs[0] is not None
        assert intake.runs[0].code == "mq.login"
        assert "wrong-one" not in str(receiver.status()) + str(intake.runs[0])
    async with sending(ADAPTER, routing_key=queue, **wrong) as sender:
        with pytest.raises(UnreachableError) as caught:
            await sender.send(outgoing(b"1"))
        assert caught.value.code == "mq.login"


async def test_tls_and_certificates_nobody_vouches_for(tool: Tool, rabbitmq: RabbitMq, tmp_path: Path) -> None:
    Authority(tmp_path, "ca").issue("server", "localhost", "127.0.0.1")
    Authority(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    proxy, intake, queue = Proxy(rabbitmq.port, context), MemoryIntake(), name()
    url = f"amqps://127.0.0.1:{proxy.port}/"
    good = {"url": url, "tls": {"ca": str(tmp_path / "ca.pem")}}
    large = b"x" * (1 << 20)
    try:
        async with (
            receiving(ADAPTER, intake, queue=declared(queue), **good) as receiver,
            sending(ADAPTER, routing_key=queue, **good) as sender,
        ):
            await until(lambda: receiver.status()["connected"])
            assert (await sender.send(outgoing(large))).ok
            await until(lambda: intake.taken == [large])
        for tls in ({"ca": str(tmp_path / "other.pem")}, good["tls"] | {"server_name": "elsewhere.example"}):  # type: ignore[operator]
            async with sending(ADAPTER, url=url, tls=tls, routing_key=queue) as sender:
                with pytest.raises(UnreachableError) as caught:
                    await sender.probe()
                assert caught.value.code == "mq.certificate"
    finally:
        proxy.close()


async def test_nobody_there() -> None:
    intake, url = MemoryIntake(), f"amqp://127.0.0.1:{free_port()}/"
    async with (
        receiving(ADAPTER, intake, url=url, queue={"name": "q"}),
        sending(ADAPTER, url=url, routing_key="q") as sender,
    ):
        with pytest.raises(UnreachableError) as caught:
            await sender.send(outgoing(b"1"))
        assert caught.value.code == "mq.unreachable"
        await until(lambda: intake.runs)


async def test_cut_in_the_middle_of_a_message(tool: Tool, rabbitmq: RabbitMq) -> None:
    proxy, intake, queue = Proxy(rabbitmq.port), MemoryIntake(), name()
    url = f"amqp://127.0.0.1:{proxy.port}/"
    body = b"y" * 300_000
    try:
        async with (
            receiving(ADAPTER, intake, url=url, queue=declared(queue)) as receiver,
            sending(ADAPTER, url=url, routing_key=queue) as sender,
        ):
            await until(lambda: receiver.status()["connected"])
            await sender.probe()
            proxy.cut_after = 200_000
            with pytest.raises(TransientError) as caught:
                await sender.send(outgoing(body))
            assert caught.value.code == "mq.unconfirmed"
            assert (await sender.send(outgoing(body))).ok  # the retry, with the same key
            await until(lambda: intake.taken == [body])
            intake.at_once = False
            assert (await sender.send(outgoing(b"2", "key-2"))).ok
            await until(lambda: intake.waiting)
            proxy.cut()  # committed, but the acknowledgement can't get through
            intake.finish()
            await until(lambda: intake.duplicates == 1)
            await until(lambda: receiver.status()["connections"] >= 2 and tool.count(queue) == 0)
        assert intake.taken == [body, b"2"]
    finally:
        proxy.close()


async def test_a_broker_that_hangs_is_noticed_and_waited_for(tool: Tool, rabbitmq: RabbitMq) -> None:
    intake, queue = MemoryIntake(), name()
    options: dict[str, Any] = {"url": tool.url, "heartbeat": 2, "connect_timeout": 2, "answer_timeout": 2}
    async with (
        receiving(ADAPTER, intake, queue=declared(queue), **options) as receiver,
        sending(ADAPTER, routing_key=queue, **options) as sender,
    ):
        await until(lambda: receiver.status()["connected"])
        assert await insist(sender, b"1", "key-1")
        rabbitmq.pause()
        try:
            with pytest.raises(TransientError):
                await sender.send(outgoing(b"2", "key-2", timeout=0.3))
            await until(lambda: not receiver.status()["connected"])
            async with sending(ADAPTER, routing_key=queue, **options) as late:
                with pytest.raises(UnreachableError):
                    await late.send(outgoing(b"3", "key-3"))
        finally:
            rabbitmq.resume()
        assert await insist(sender, b"2", "key-2")
        await until(lambda: sorted(intake.taken) == [b"1", b"2"])


@pytest.mark.parametrize(("kind", "ended"), [("classic", RabbitMq.kill), ("quorum", RabbitMq.stop)])
async def test_restarted_under_load_nothing_confirmed_is_lost(
    tool: Tool, rabbitmq: RabbitMq, kind: str, ended: Callable[[RabbitMq], None]
) -> None:
    intake, queue = MemoryIntake(), name()
    confirmed: list[bytes] = []
    topology = declared(queue) | {"type": kind}
    async with (
        receiving(ADAPTER, intake, url=tool.url, queue=topology) as receiver,
        sending(ADAPTER, url=tool.url, routing_key=queue) as sender,
    ):
        await until(lambda: receiver.status()["connected"])

        async def produce(lane: int) -> None:
            for number in range(150):
                body = b"%d-%d" % (lane, number)
                await insist(sender, body, body.decode())
                confirmed.append(body)

        tasks = [asyncio.create_task(produce(lane)) for lane in range(4)]
        await until(lambda: len(confirmed) > 100)
        await asyncio.to_thread(ended, rabbitmq)
        await asyncio.to_thread(rabbitmq.start)
        await asyncio.gather(*tasks)
        await until(lambda: len(intake.taken) >= 600)
        assert receiver.status()["connections"] >= 2
    assert sorted(intake.taken) == sorted(confirmed)  # each once: repetitions were recognised
    for lane in range(4):
        assert [body for body in intake.taken if body.startswith(b"%d-" % lane)] == [
            b"%d-%d" % (lane, number) for number in range(150)
        ]
