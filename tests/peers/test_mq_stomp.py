"""``stomp`` against ActiveMQ: durability, refusals, a busy hub, topics, requests, and everything that breaks."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.mq.stomp import StompAdapter
from adapters.mq.stomp_frames import Frame
from adapters.mq.stomp_link import StompLink, connect
from adapters.mq.stomp_options import StompBroker
from hub.api import PermanentError, TransientError, UnreachableError
from tests.adapters.certificates import Authority
from tests.peers.mq_support import MemoryIntake, insist, outgoing, publish, receiving, sending, stomp_broker, until
from tests.peers.process import free_port
from tests.peers.proxy import Proxy
from tests.peers.queues import ActiveMq

pytestmark = pytest.mark.xdist_group("activemq")

ADAPTER = StompAdapter()
_NUMBERS = itertools.count(1)


def queue() -> str:
    return f"/queue/tongqu.test.{next(_NUMBERS)}"


@asynccontextmanager
async def watching(server: ActiveMq, destination: str, *headers: tuple[str, str]) -> AsyncIterator[list[Frame]]:
    """Another client, which takes everything that comes to a destination."""
    found: list[Frame] = []
    link: StompLink = await connect(StompBroker.model_validate(stomp_broker(server)), None, 1 << 24)
    link.on_frame = found.append
    link.write("SUBSCRIBE", {"id": "w", "destination": destination, "ack": "auto", **dict(headers), "receipt": "s"})
    await until(lambda: found)
    found.clear()
    try:
        yield found
    finally:
        await link.close(5.0)


async def test_what_is_sent_arrives_in_order_and_once(activemq: ActiveMq) -> None:
    intake, destination = MemoryIntake(), queue()
    async with (
        receiving(ADAPTER, intake, **stomp_broker(activemq), destination=destination) as receiver,
        sending(ADAPTER, **stomp_broker(activemq), destination=f"{destination}.{{to}}") as other,
        sending(
            ADAPTER, **stomp_broker(activemq), destination=destination, headers={"X-Ward": "{ward}:1\\n"}
        ) as sender,
    ):
        await until(lambda: receiver.status()["connected"])
        assert "127.0.0.1" in await sender.probe()
        assert destination in await receiver.probe()
        bodies = [b'{"n":%d}' % number for number in range(200)] + [b"\0\xff binary", b"x" * (1 << 20)]
        results = await asyncio.gather(
            *(sender.send(outgoing(body, f"k{number}", ward="内科")) for number, body in enumerate(bodies))
        )
        assert {(reply.ok, reply.code) for reply in results} == {(True, "receipt")}
        assert (await other.send(outgoing(b"elsewhere", to="x"))).ok
        assert (
            await sender.send(outgoing(b"again", "k7", ward="w"))
        ).ok  # the broker does not know better, the hub does
        await until(lambda: intake.duplicates == 1)
        await until(lambda: len(intake.taken) == len(bodies))
        assert receiver.status()["under_way"] == 0
    assert intake.taken == bodies
    assert intake.control_ids[:2] == ["k0", "k1"]
    assert intake.params[0]["destination"] == destination
    assert intake.params[0]["content_type"] == "application/json"
    assert intake.params[0]["header_x_ward"] == "内科:1\\n"


async def test_nothing_is_acknowledged_before_it_is_committed(activemq: ActiveMq) -> None:
    intake, destination = MemoryIntake(), queue()
    intake.at_once = False
    options = {**stomp_broker(activemq), "destination": destination, "prefetch": 5}
    await publish(activemq, destination, *(b"%d" % number for number in range(8)))
    async with receiving(ADAPTER, intake, **options) as receiver:
        await until(lambda: len(intake.waiting) == 5)
        await receiver.stop(0.0)
    intake.waiting.clear()
    intake.at_once = True
    async with receiving(ADAPTER, intake, **options):
        await until(lambda: len(intake.taken) == 8)
    assert intake.duplicates == 5  # by the broker's message ids, which stay the same
    assert intake.taken == [b"%d" % number for number in range(8)]
    async with receiving(ADAPTER, intake, **options) as receiver:  # everything is acknowledged now
        await until(lambda: receiver.status()["connected"])
        await publish(activemq, destination, b"last")
        await until(lambda: len(intake.taken) == 9)
    assert intake.duplicates == 5


async def test_stop_waits_for_commits_under_way(activemq: ActiveMq) -> None:
    intake, destination = MemoryIntake(), queue()
    intake.at_once = False
    await publish(activemq, destination, b"1")
    async with receiving(ADAPTER, intake, **stomp_broker(activemq), destination=destination) as receiver:
        await until(lambda: intake.waiting)
        stopping = asyncio.create_task(receiver.stop(10.0))
        await asyncio.sleep(0)
        intake.finish()
        await stopping
    async with watching(activemq, destination) as left:
        await publish(activemq, destination, b"2")
        await until(lambda: left)
    assert [frame.body for frame in left] == [b"2"]


async def test_refused_goes_where_the_contract_says(activemq: ActiveMq) -> None:
    intake, destination, parking = MemoryIntake(), queue(), queue()
    options = {**stomp_broker(activemq), "destination": destination}
    async with watching(activemq, "/queue/ActiveMQ.DLQ") as dead:
        async with receiving(ADAPTER, intake, **options):
            await publish(activemq, destination, b"bad1", b"good")
            await until(lambda: dead)
        assert dead[0].body == b"bad1"
    async with (
        watching(activemq, parking) as parked,
        receiving(ADAPTER, intake, **options, refused="park", park_destination=parking) as receiver,
    ):
        await publish(activemq, destination, b"bad2", x_kept="yes")
        await until(lambda: parked and receiver.status()["refused"] == 1)
    assert parked[0].body == b"bad2"
    assert parked[0].headers["x-error-code"] == "codec.json"
    assert parked[0].headers["x-error-text"] == "not JSON at all"
    assert (parked[0].headers["x-original-destination"], parked[0].headers["x-kept"]) == (destination, "yes")
    assert intake.taken == [b"good"]


async def test_a_busy_hub_leaves_messages_in_the_queue_and_goes_on_in_order(activemq: ActiveMq) -> None:
    intake, destination = MemoryIntake(), queue()
    intake.busy = True
    await publish(activemq, destination, *(b"%d" % number for number in range(20)))
    async with receiving(ADAPTER, intake, **stomp_broker(activemq), destination=destination) as receiver:
        await until(lambda: receiver.status()["left"] >= 1)
        intake.busy = False
        await until(lambda: len(intake.taken) == 20)
    assert intake.taken == [b"%d" % number for number in range(20)]


async def test_bytes_held_are_limited(activemq: ActiveMq) -> None:
    intake, destination = MemoryIntake(), queue()
    intake.at_once = False
    await publish(activemq, destination, *(bytes([number]) * (600 << 10) for number in range(5)))
    options = {**stomp_broker(activemq), "destination": destination, "max_buffered": "1MB"}
    async with receiving(ADAPTER, intake, **options):
        for taken in (2, 4, 5):
            await until(lambda taken=taken: len(intake.taken) >= taken)
            assert len(intake.waiting) <= 3  # one more may have come in the same read
            intake.finish()
        await until(lambda: len(intake.taken) == 5)
        intake.finish()


async def test_a_durable_subscription_and_a_selector(activemq: ActiveMq) -> None:
    intake, topic = MemoryIntake(), f"/topic/tongqu.test.{next(_NUMBERS)}"
    options = {
        **stomp_broker(activemq, client_id="hub-1"),
        "destination": topic,
        "durable": "hub",
        "selector": "kind = 'adt'",
    }
    async with receiving(ADAPTER, intake, **options) as receiver:
        await until(lambda: receiver.status()["connected"])
    await publish(activemq, topic, b"1", b"2", kind="adt")  # nobody listens
    await publish(activemq, topic, b"3", kind="lab")
    async with receiving(ADAPTER, intake, **options):
        await until(lambda: len(intake.taken) == 2)
        await publish(activemq, topic, b"4", kind="adt")
        await until(lambda: len(intake.taken) == 3)
    assert intake.taken == [b"1", b"2", b"4"]


async def test_a_request_is_answered(activemq: ActiveMq) -> None:
    intake, destination, answers = MemoryIntake(), queue(), queue()
    intake.reply = b'{"answer":42}'
    async with (
        watching(activemq, answers) as found,
        receiving(ADAPTER, intake, "request", **stomp_broker(activemq), destination=destination),
    ):
        await publish(activemq, destination, b"ask", b"bad", reply_to=answers, correlation_id="c7")
        await until(lambda: len(found) == 2)
    by_body = {frame.body: frame.headers for frame in found}
    assert by_body[b'{"answer":42}']["correlation-id"] == "c7"
    assert by_body[b""]["x-error-code"] == "codec.json"


async def test_text_and_bytes_messages_of_jms(activemq: ActiveMq) -> None:
    destination = queue()
    options = {**stomp_broker(activemq), "destination": destination}
    async with (
        watching(activemq, destination) as found,
        sending(ADAPTER, **options, text=True) as text,
        sending(ADAPTER, **options) as plain,
    ):
        assert (await text.send(outgoing("姓名".encode()))).ok
        assert (await plain.send(outgoing("姓名".encode()))).ok
        await until(lambda: len(found) == 2)
        with pytest.raises(PermanentError):
            await text.send(outgoing(b"a\0b"))
    assert [frame.body.decode() for frame in found] == ["姓名", "姓名"]
    # ActiveMQ gives a content-length to what it keeps as a BytesMessage, and only to that.
    assert ["content-length" in frame.headers for frame in found] == [False, True]


# -- what breaks ---------------------------------------------------------------------------------------------------------


async def test_nobody_there_and_wrong_password(activemq: ActiveMq) -> None:
    for options, code in (
        (stomp_broker(activemq, free_port()), "mq.unreachable"),
        (stomp_broker(activemq) | {"password": "wrong-one"}, "mq.login"),
    ):
        intake = MemoryIntake()
        async with (
            receiving(ADAPTER, intake, **options, destination="/queue/x") as receiver,
            sending(ADAPTER, **options, destination="/queue/x") as sender,
        ):
            with pytest.raises(UnreachableError) as caught:
                await sender.send(outgoing(b"1"))
            assert caught.value.code == code
            await until(lambda intake=intake: intake.runs)
            assert intake.runs[0] is not None
            assert intake.runs[0].code == code
            assert "wrong-one" not in str(receiver.status())


async def test_tls_and_certificates_nobody_vouches_for(activemq: ActiveMq, tmp_path: Path) -> None:
    Authority(tmp_path, "ca").issue("server", "localhost", "127.0.0.1")
    Authority(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    proxy, intake, destination = Proxy(activemq.stomp, context), MemoryIntake(), queue()
    good = stomp_broker(activemq, proxy.port, tls={"ca": str(tmp_path / "ca.pem")})
    try:
        async with (
            receiving(ADAPTER, intake, **good, destination=destination),
            sending(ADAPTER, **good, destination=destination) as sender,
        ):
            assert (await sender.send(outgoing(b"1"))).ok
            await until(lambda: intake.taken == [b"1"])
        async with sending(
            ADAPTER, **good | {"tls": {"ca": str(tmp_path / "other.pem")}}, destination=destination
        ) as sender:
            with pytest.raises(UnreachableError) as caught:
                await sender.probe()
            assert caught.value.code == "mq.certificate"
    finally:
        proxy.close()


async def test_cut_in_the_middle_of_a_message(activemq: ActiveMq) -> None:
    proxy, intake, destination = Proxy(activemq.stomp), MemoryIntake(), queue()
    options = {**stomp_broker(activemq, proxy.port), "destination": destination}
    body = b"y" * 300_000
    try:
        async with receiving(ADAPTER, intake, **options) as receiver, sending(ADAPTER, **options) as sender:
            await until(lambda: receiver.status()["connected"])
            assert (await sender.send(outgoing(b"0", "key-0"))).ok
            proxy.cut_after = 200_000
            with pytest.raises(TransientError) as caught:
                await sender.send(outgoing(body))
            assert caught.value.code == "mq.unconfirmed"
            assert (await sender.send(outgoing(body))).ok  # the retry, with the same key
            await until(lambda: intake.taken == [b"0", body])
            intake.at_once = False
            assert (await sender.send(outgoing(b"2", "key-2"))).ok
            await until(lambda: intake.waiting)
            proxy.cut()  # committed, but the acknowledgement can't get through
            intake.finish()
            await until(lambda: intake.duplicates == 1)
        assert intake.taken == [b"0", body, b"2"]
    finally:
        proxy.close()


async def test_a_broker_that_hangs_is_noticed_and_waited_for(activemq: ActiveMq) -> None:
    intake, destination = MemoryIntake(), queue()
    options = {**stomp_broker(activemq), "destination": destination, "heartbeat": 1, "connect_timeout": 2}
    async with receiving(ADAPTER, intake, **options) as receiver, sending(ADAPTER, **options) as sender:
        await until(lambda: receiver.status()["connected"])
        assert await insist(sender, b"1", "key-1")
        activemq.pause()
        try:
            with pytest.raises(TransientError):
                await sender.send(outgoing(b"2", "key-2", timeout=0.3))
            await until(lambda: not receiver.status()["connected"] and not sender.status()["connected"])
            with pytest.raises(UnreachableError):
                await sender.send(outgoing(b"3", "key-3"))
        finally:
            activemq.resume()
        assert await insist(sender, b"2", "key-2")
        await until(lambda: sorted(intake.taken) == [b"1", b"2"])


async def test_killed_under_load_nothing_confirmed_is_lost(activemq: ActiveMq) -> None:
    intake, destination = MemoryIntake(), queue()
    confirmed: list[bytes] = []
    options = {**stomp_broker(activemq), "destination": destination}
    async with receiving(ADAPTER, intake, **options) as receiver, sending(ADAPTER, **options) as sender:
        await until(lambda: receiver.status()["connected"])

        async def produce(lane: int) -> None:
            for number in range(100):
                body = b"%d-%d" % (lane, number)
                await insist(sender, body, body.decode())
                confirmed.append(body)

        tasks = [asyncio.create_task(produce(lane)) for lane in range(4)]
        await until(lambda: len(confirmed) > 80)
        await asyncio.to_thread(activemq.kill)
        await asyncio.to_thread(activemq.start)
        await asyncio.gather(*tasks)
        await until(lambda: len(intake.taken) >= 400)
    assert sorted(intake.taken) == sorted(confirmed)
