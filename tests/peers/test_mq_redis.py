"""``redis`` against Redis: lists, streams, kombu's envelope, and everything that breaks."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest
import redis as redis_py

from adapters.mq.redis import RedisAdapter
from hub.api import PermanentError, TransientError, UnreachableError
from tests.adapters.certificates import Authority
from tests.peers.mq_support import MemoryIntake, insist, outgoing, receiving, sending, until
from tests.peers.process import free_port
from tests.peers.proxy import Proxy
from tests.peers.queues import Redis

pytestmark = pytest.mark.xdist_group("redis")

ADAPTER = RedisAdapter()
_NUMBERS = itertools.count(1)


@pytest.fixture
def client(redis: Redis) -> Iterator[Any]:
    found = redis_py.Redis.from_url(redis.url)
    yield found
    found.close()


def key() -> str:
    return f"tongqu.test.{next(_NUMBERS)}"


def server(redis: Redis, port: int = 0, **more: Any) -> dict[str, Any]:
    return {"url": f"redis://127.0.0.1:{port or redis.port}/0", "password": "secret", **more}


def left(client: Any, pattern: str) -> list[bytes]:
    return sorted(name for name in client.keys(f"{pattern}*") if b".batch." not in name)


@pytest.mark.parametrize("kind", ["list", "stream"])
async def test_what_is_sent_arrives_in_order_and_nothing_stays(redis: Redis, client: Any, kind: str) -> None:
    intake, name = MemoryIntake(), key()
    bodies = [b"%d" % number for number in range(250)] + [b"\0\xff binary", "姓名".encode()]
    async with (
        receiving(ADAPTER, intake, **server(redis), **{kind: name}) as receiver,
        sending(ADAPTER, **server(redis), **{kind: name}) as sender,
    ):
        assert "127.0.0.1" in await sender.probe()
        for number, body in enumerate(bodies):
            assert (await sender.send(outgoing(body, f"k{number}"))).ok
        await until(lambda: len(intake.taken) == len(bodies))
        assert name in await receiver.probe()
        if kind == "list":
            await until(lambda: not left(client, name))
        else:
            await until(lambda: client.xpending(name, "hub")["pending"] == 0)
            assert intake.control_ids[:2] == ["k0", "k1"]
    assert intake.taken == bodies


@pytest.mark.parametrize("kind", ["list", "stream"])
async def test_nothing_is_removed_before_it_is_committed(redis: Redis, client: Any, kind: str) -> None:
    intake, name = MemoryIntake(), key()
    intake.gate.clear()
    options = {**server(redis), kind: name}
    async with receiving(ADAPTER, intake, **options) as receiver, sending(ADAPTER, **options) as sender:
        for number in range(5):
            await sender.send(outgoing(b"%d" % number, f"k{number}"))
        await until(lambda: intake.taken)
        await receiver.stop(0.0)  # as if killed between the commit and what follows it
    intake.gate.set()
    first = len(intake.taken)
    async with receiving(ADAPTER, intake, **options):
        await until(lambda: len(intake.taken) == 5)
        await until(lambda: intake.duplicates == first)
        if kind == "list":
            await until(lambda: not left(client, name))
    assert intake.taken == [b"%d" % number for number in range(5)]


@pytest.mark.parametrize("kind", ["list", "stream"])
async def test_refused_is_parked_and_a_busy_hub_waits(redis: Redis, client: Any, kind: str) -> None:
    intake, name = MemoryIntake(), key()
    intake.busy = True
    options = {**server(redis), kind: name}
    async with receiving(ADAPTER, intake, **options) as receiver, sending(ADAPTER, **options) as sender:
        for number, body in enumerate((b"1", b"bad", b"2")):
            await sender.send(outgoing(body, f"k{number}"))
        await asyncio.sleep(0.3)
        assert intake.taken == []
        intake.busy = False
        await until(lambda: intake.taken == [b"1", b"2"] and receiver.status()["refused"] == 1)
    parking = f"{name}.refused"
    if kind == "list":
        (parked,) = client.lrange(parking, 0, -1)
        assert parked == b'{"error-code":"codec.json","error-text":"not JSON at all","element":"YmFk"}'
    else:
        ((_, parked),) = client.xrange(parking)
        assert (parked[b"body"], parked[b"error-code"]) == (b"bad", b"codec.json")


async def test_messages_of_kombu(redis: Redis, client: Any) -> None:
    intake, name = MemoryIntake(), key()
    with kombu.Connection(redis.url) as connection:
        producer = connection.Producer()
        for number in range(3):
            producer.publish(
                {"n": number}, routing_key=name, serializer="json", headers={"X-Dept": "内科"}, correlation_id="c7"
            )
    client.lpush(name, b"no envelope")
    options = {**server(redis), "list": name, "format": "kombu"}
    async with receiving(ADAPTER, intake, **options) as receiver:
        await until(lambda: len(intake.taken) == 3 and receiver.status()["refused"] == 1)
    assert intake.taken == [b'{"n": 0}', b'{"n": 1}', b'{"n": 2}']
    assert (intake.params[0]["header_x_dept"], intake.params[0]["correlation_id"]) == ("内科", "c7")
    assert intake.params[0]["content_type"] == "application/json"
    async with sending(ADAPTER, **options, headers={"X-Type": "{type}"}) as sender:
        assert (await sender.send(outgoing(b'{"a":1}'))).ok
    with kombu.Connection(redis.url) as connection:
        message = kombu.Queue(name, channel=connection.default_channel).get(no_ack=True)
        assert message.body == b'{"a":1}'
        assert (message.headers["X-Type"], message.properties["message_id"]) == ("order.created", "key-1")


async def test_a_member_that_vanished_is_inherited(redis: Redis, client: Any) -> None:
    intake, name = MemoryIntake(), key()
    for number in range(3):
        client.xadd(name, {"body": b"%d" % number, "ward": "w3"})
    client.xadd(name, {"other": b"x"})
    client.xgroup_create(name, "hub", "0")
    client.xreadgroup("hub", "gone", {name: ">"}, count=2)
    options = {**server(redis), "stream": name, "claim_after": "100ms"}
    async with receiving(ADAPTER, intake, **options) as receiver:
        await until(lambda: len(intake.taken) == 3 and receiver.status()["refused"] == 1)
    assert sorted(intake.taken) == [b"0", b"1", b"2"]
    assert intake.params[0]["header_ward"] == "w3"
    assert client.xpending(name, "hub")["pending"] == 0


# -- what breaks ---------------------------------------------------------------------------------------------------------


async def test_nobody_there_wrong_password_and_wrong_kind(redis: Redis, client: Any) -> None:
    name = key()
    client.set(name, "neither list nor stream")
    for options, code in (
        (server(redis, free_port()), "mq.unreachable"),
        (server(redis) | {"password": "wrong-one"}, "mq.login"),
    ):
        intake = MemoryIntake()
        async with (
            receiving(ADAPTER, intake, **options, list=name) as receiver,
            sending(ADAPTER, **options, list=name) as sender,
        ):
            with pytest.raises(UnreachableError) as caught:
                await sender.send(outgoing(b"1"))
            assert caught.value.code == code
            await until(lambda intake=intake: intake.runs)
            assert intake.runs[0] is not None
            assert intake.runs[0].code == code
            assert "wrong-one" not in str(receiver.status())
    for kind in ("list", "stream"):
        intake = MemoryIntake()
        async with receiving(ADAPTER, intake, **server(redis), **{kind: name}) as receiver:
            await until(lambda intake=intake: intake.runs)
            with pytest.raises((UnreachableError, PermanentError)):
                await receiver.probe()
        async with sending(ADAPTER, **server(redis), **{kind: name}) as sender:
            with pytest.raises(PermanentError, match="WRONGTYPE"):
                await sender.send(outgoing(b"1"))


async def test_a_server_without_room_is_a_transient_error(redis: Redis, client: Any) -> None:
    client.config_set("maxmemory", "1")
    try:
        async with sending(ADAPTER, **server(redis), list=key()) as sender:
            with pytest.raises(TransientError) as caught:
                await sender.send(outgoing(b"1"))
            assert caught.value.code == "mq.nack"
    finally:
        client.config_set("maxmemory", "0")


async def test_tls_and_certificates_nobody_vouches_for(redis: Redis, tmp_path: Path) -> None:
    Authority(tmp_path, "ca").issue("server", "localhost", "127.0.0.1")
    Authority(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    proxy, intake, name = Proxy(redis.port, context), MemoryIntake(), key()
    url = f"rediss://127.0.0.1:{proxy.port}/0"
    good = {"url": url, "password": "secret", "list": name, "tls": {"ca": str(tmp_path / "ca.pem")}}
    try:
        async with receiving(ADAPTER, intake, **good), sending(ADAPTER, **good) as sender:
            assert (await sender.send(outgoing(b"1"))).ok
            await until(lambda: intake.taken == [b"1"])
        for tls in ({"ca": str(tmp_path / "other.pem")}, {"ca": str(tmp_path / "ca.pem"), "server_name": "elsewhere"}):
            async with sending(ADAPTER, **good | {"tls": tls}) as sender:
                with pytest.raises(UnreachableError) as caught:
                    await sender.probe()
                assert caught.value.code == "mq.certificate"
    finally:
        proxy.close()


async def test_cut_in_the_middle_of_a_message(redis: Redis, client: Any) -> None:
    proxy, intake, name = Proxy(redis.port), MemoryIntake(), key()
    options = {**server(redis, proxy.port), "stream": name}
    body = b"y" * 300_000
    try:
        async with receiving(ADAPTER, intake, **options), sending(ADAPTER, **options) as sender:
            assert (await sender.send(outgoing(b"0", "key-0"))).ok
            await until(lambda: intake.taken == [b"0"])
            proxy.cut_after = 200_000
            with pytest.raises(TransientError) as caught:
                await sender.send(outgoing(body))
            assert caught.value.code == "mq.unconfirmed"
            assert await insist(sender, body, "key-1")
            await until(lambda: intake.taken == [b"0", body])
            intake.gate.clear()
            assert (await sender.send(outgoing(b"2", "key-2"))).ok
            await until(lambda: len(intake.taken) == 3)
            proxy.cut()  # committed, but what follows can't get through
            intake.gate.set()
            await until(lambda: client.xpending(name, "hub")["pending"] == 0)
        assert intake.taken == [b"0", body, b"2"]
    finally:
        proxy.close()


async def test_a_server_that_hangs_is_noticed_and_waited_for(redis: Redis) -> None:
    intake, name = MemoryIntake(), key()
    options = {**server(redis), "stream": name, "connect_timeout": 2, "answer_timeout": 2}
    async with receiving(ADAPTER, intake, **options) as receiver, sending(ADAPTER, **options) as sender:
        assert await insist(sender, b"1", "key-1")
        await until(lambda: intake.taken == [b"1"])
        redis.pause()
        try:
            with pytest.raises(TransientError):
                await sender.send(outgoing(b"2", "key-2"))
            with pytest.raises(UnreachableError):
                await sender.send(outgoing(b"2", "key-2"))
            await until(lambda: not receiver.status()["connected"])
        finally:
            redis.resume()
        assert await insist(sender, b"2", "key-2")
        await until(lambda: intake.taken == [b"1", b"2"])


@pytest.mark.parametrize("kind", ["list", "stream"])
async def test_killed_under_load_nothing_confirmed_is_lost(redis: Redis, kind: str) -> None:
    intake, name = MemoryIntake(), key()
    confirmed: list[bytes] = []
    options = {**server(redis), kind: name} | ({"format": "kombu"} if kind == "list" else {})
    async with receiving(ADAPTER, intake, **options), sending(ADAPTER, **options) as sender:

        async def produce(lane: int) -> None:
            for number in range(100):
                body = b"%d-%d" % (lane, number)
                await insist(sender, body, body.decode())
                confirmed.append(body)

        tasks = [asyncio.create_task(produce(lane)) for lane in range(4)]
        await until(lambda: len(confirmed) > 80)
        await asyncio.to_thread(redis.kill)
        await asyncio.to_thread(redis.start)
        await asyncio.gather(*tasks)
        await until(lambda: len(intake.taken) >= 400)
    assert sorted(intake.taken) == sorted(confirmed)  # each once: repetitions were recognised by their keys
