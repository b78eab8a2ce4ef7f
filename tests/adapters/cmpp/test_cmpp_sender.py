"""Sending over CMPP, against a gateway that checks every byte and misbehaves as told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.cmpp.registry import report_key
from hub.api import Outgoing, PermanentError, TransientError, UnreachableError
from tests.adapters.cmpp.ismg import Ismg
from tests.adapters.cmpp.support import calling, message, until


@pytest.fixture
def ismg() -> Iterator[Ismg]:
    gateway = Ismg()
    yield gateway
    gateway.close()
    assert gateway.wrong == []


@pytest.mark.parametrize(
    ("version", "serves", "spoken", "connects"),
    [("3.0", 0x30, "3.0", [0x30]), ("2.0", 0x30, "2.0", [0x20]), ("auto", 0x20, "2.0", [0x30, 0x20])],
)
async def test_versions(ismg: Ismg, version: str, serves: int, spoken: str, connects: list[int]) -> None:
    ismg.script.version = serves
    async with calling(ismg, version=version, service_id="HELP") as sender:
        reply = await sender.send(message("你好", extension="07"))
        assert sender.status()["version"] == spoken
    assert [one["version"] for one in ismg.connects] == connects
    (sms,) = ismg.sms
    assert (sms.text, sms.fields["phone"], sms.fields["src_id"]) == ("你好", "13900000000", "1069000107")
    assert (sms.fields["fmt"], sms.fields["registered"], sms.fields["service"]) == (8, 1, "HELP")
    assert (reply.ok, reply.code) == (True, "0")
    assert json.loads(reply.body) == {"result": 0, "msg_ids": [str(sms.msg_id)], "key": report_key(sms.msg_id)}
    assert ismg.farewells == 1


@pytest.mark.parametrize("wide", [False, True])
async def test_long_texts(ismg: Ismg, wide: bool) -> None:
    text = "尊敬的用户，您的检查报告已完成。" * 12
    async with calling(ismg, wide_reference=wide) as sender:
        reply = await sender.send(message(text))
    assert "".join(sms.text for sms in ismg.sms) == text
    assert [sms.fields["number"] for sms in ismg.sms] == [1, 2, 3]
    assert len({sms.content[:-1][: 4 + wide] for sms in ismg.sms}) == 1  # one reference
    assert json.loads(reply.body)["key"] == report_key(ismg.sms[0].msg_id)


async def test_results_are_classified(ismg: Ismg) -> None:
    ismg.script.results = [8, 13, 77]
    async with calling(ismg) as sender:
        throttled = await sender.send(message())
        wrong = await sender.send(message())
        strange = await sender.send(message())
    assert [(one.ok, one.code, one.transient) for one in (throttled, wrong, strange)] == [
        (False, "8", True),
        (False, "13", False),
        (False, "77", False),
    ]


async def test_parts_that_were_accepted_are_not_sent_again(ismg: Ismg) -> None:
    ismg.script.results = [0, 8]
    text = "中" * 150
    async with calling(ismg) as sender:
        assert (await sender.send(message(text))).code == "8"
        assert (await sender.send(message(text))).ok
    assert [sms.fields["number"] for sms in ismg.sms] == [1, 2, 3]


async def test_the_same_message_sent_on_purpose_goes_out_again(ismg: Ismg) -> None:
    async with calling(ismg) as sender:
        await sender.send(message())
        await sender.send(message())
    assert len(ismg.sms) == 2


async def test_an_answer_that_comes_late_is_found_by_the_retry(ismg: Ismg) -> None:
    ismg.script.hold = 2
    async with calling(ismg) as sender:
        with pytest.raises(TransientError) as raised:
            await sender.send(message(timeout=0.05))
        assert raised.value.code == "cmpp.unknown"
        again = asyncio.create_task(sender.send(message()))
        await asyncio.sleep(0.05)
        ismg.release()
        assert (await again).ok
    assert len(ismg.sms) == 1


async def test_an_answer_that_came_between_is_found_by_the_retry(ismg: Ismg) -> None:
    ismg.script.hold = 2
    async with calling(ismg) as sender:
        with pytest.raises(TransientError):
            await sender.send(message(timeout=0.05))
        ismg.release()
        await until(lambda: sender.status()["unanswered"] == 0)
        assert (await sender.send(message())).ok
    assert len(ismg.sms) == 1


@pytest.mark.parametrize("cut", [1, 11, 12, 20, 23])
async def test_cut_inside_the_answer(ismg: Ismg, cut: int) -> None:
    ismg.script.cut_after = cut
    async with calling(ismg) as sender:
        with pytest.raises(TransientError) as raised:
            await sender.send(message())
        assert raised.value.code == "cmpp.unknown"
        await until(lambda: sender.status()["connects"] == 2)
        assert (await sender.send(message())).ok  # over a new connection, and the reader may get it twice
    assert len(ismg.sms) == 2
    assert len(ismg.connects) == 2


async def test_somebody_decides_where_the_outcome_is_unknown(ismg: Ismg) -> None:
    ismg.script.cut_after = 5
    async with calling(ismg, unknown="refuse") as sender:
        with pytest.raises(PermanentError) as raised:
            await sender.send(message())
    assert raised.value.code == "cmpp.unknown"


async def test_the_window(ismg: Ismg) -> None:
    ismg.script.hold = 4
    async with calling(ismg, window=4) as sender:
        assert sender.capacity == 4
        replies = await asyncio.gather(*(sender.send(message(key=str(n))) for n in range(20)))
    assert all(reply.ok for reply in replies)
    assert (ismg.most_waiting, len(ismg.sms)) == (4, 20)


async def test_no_place_in_the_window(ismg: Ismg) -> None:
    ismg.script.deaf_submit = True
    async with calling(ismg, window=1) as sender:
        first = asyncio.create_task(sender.send(message(key="1", timeout=0.3)))
        await until(lambda: ismg.sms)
        with pytest.raises(TransientError) as raised:
            await sender.send(message(key="2", timeout=0.05))
        assert raised.value.code == "cmpp.window"
        with pytest.raises(TransientError):
            await first
    assert len(ismg.sms) == 1


async def test_several_connections_share_the_work(ismg: Ismg) -> None:
    ismg.script.hold = 6
    async with calling(ismg, connections=3, window=2) as sender:
        await until(lambda: sender.status()["connections"] == 3)
        await asyncio.gather(*(sender.send(message(key=str(n))) for n in range(6)))
    assert sorted(sms.connection for sms in ismg.sms) == [0, 0, 1, 1, 2, 2]


async def test_rate_counts_parts(ismg: Ismg) -> None:
    loop = asyncio.get_running_loop()
    async with calling(ismg, rate=50) as sender:
        begun = loop.time()
        await sender.send(message("中" * 200))
        await sender.send(message(key="2"))
        assert loop.time() - begun >= 3 / 50  # four SUBMITs: three pauses, however busy the machine is


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ({"secret": b"other"}, "cmpp.login"),
        ({"account": b"1"}, "cmpp.login"),
        ({"status": 5}, "cmpp.connect"),
        ({"status": 4, "version": 0x20}, "cmpp.connect"),
        ({"wrong_digest": True}, "cmpp.protocol"),
        ({"silent": True}, "cmpp.timeout"),
    ],
)
async def test_logins_that_fail(ismg: Ismg, script: dict[str, Any], code: str) -> None:
    for name, value in script.items():
        setattr(ismg.script, name, value)
    async with calling(ismg, connect_timeout=0.3) as sender:
        with pytest.raises(UnreachableError) as raised:
            await sender.send(message())
        assert raised.value.code == code
        with pytest.raises(UnreachableError):
            await sender.probe()
        assert "secret" not in raised.value.text
    assert ismg.sms == []


async def test_a_gateway_that_cannot_prove_itself_where_that_is_allowed(ismg: Ismg) -> None:
    ismg.script.wrong_digest = True
    async with calling(ismg, verify_gateway=False) as sender:
        assert (await sender.send(message())).ok


async def test_nobody_there_and_back_again(ismg: Ismg) -> None:
    ismg.stop_listening()
    async with calling(ismg) as sender:
        with pytest.raises(UnreachableError) as raised:
            await sender.send(message())
        assert raised.value.code == "cmpp.unreachable"
        ismg.listen_again()
        await until(lambda: sender.status()["connections"])
        assert (await sender.send(message())).ok


async def test_a_gateway_that_falls_silent_is_left(ismg: Ismg) -> None:
    async with calling(ismg, heartbeat=0.05, reply_timeout=0.05, tries=2) as sender:
        await until(lambda: ismg.active_tests >= 2)
        assert sender.status()["connects"] == 1
        ismg.script.silent = True
        await until(lambda: not sender.status()["connections"])
        ismg.script.silent = False
        await until(lambda: sender.status()["connections"])
        assert "ACTIVE_TEST" in await sender.probe()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"phone": "13900000000"}',
        b'{"text": "x"}',
        b'{"phone": "12ab", "text": "x"}',
        b'{"phone": "13900000000", "text": 1}',
        b'{"phone": "13900000000", "text": "x", "txt": ""}',
        b'{"phone": "13900000000", "text": "x", "extension": "a"}',
        b'{"phone": "13900000000", "text": "x", "extension": "12345678901234"}',
        b'{"phone": "13900000000", "text": "x", "valid_until": "tomorrow"}',
        b'{"phone": "13900000000", "text": "x", "encoding": "utf-8"}',
        b'{"phone": "13900000000", "text": "\xe4\xb8\xad", "encoding": "ascii"}',
        b'{"phone": "13900000000", "text": "' + "中".encode() * 1000 + b'"}',
    ],
)
async def test_what_is_no_short_message(ismg: Ismg, body: bytes) -> None:
    async with calling(ismg) as sender:
        with pytest.raises(PermanentError) as raised:
            await sender.send(Outgoing(body, 1, "k", "", "", 1, 5))
        assert "13900000000" not in raised.value.text
    assert ismg.sms == []


@pytest.mark.parametrize(("phone", "sent"), [("+8613900000000", "13900000000"), ("8613900000000", "13900000000")])
async def test_numbers(ismg: Ismg, phone: str, sent: str) -> None:
    async with calling(ismg) as sender:
        await sender.send(message(phone=phone))
    assert ismg.sms[0].fields["phone"] == sent
