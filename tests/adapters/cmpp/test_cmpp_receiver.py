"""What comes over CMPP: reports and messages of readers, answered after their commit; parts are joined and survive a restart."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.cmpp.adapter import CmppAdapter
from adapters.cmpp.options import CmppConnect, CmppListen
from hub.api import HubError, Receipt, StoreBusy, UnreachableError
from hub.message import Outcome
from tests.adapters.cmpp.ismg import Ismg
from tests.adapters.cmpp.support import Intake, both, bound, calling, message, options, until


@pytest.fixture
def ismg() -> Iterator[Ismg]:
    gateway = Ismg()
    yield gateway
    gateway.close()
    assert gateway.wrong == []


@pytest.fixture
def intake() -> Intake:
    return Intake()


def parts(text: str, sizes: list[int], reference: int = 9) -> list[bytes]:
    """A text in UCS2, cut by hand."""
    data, found, at = text.encode("utf-16-be"), [], 0
    for number, size in enumerate(sizes, 1):
        found.append(bytes((5, 0, 3, reference, len(sizes), number)) + data[at : at + size])
        at += size
    assert at == len(data)
    return found


@pytest.mark.parametrize(
    "script",
    [
        {},
        {"version": 0x20},
        {"report_first": True},
        {"report_elsewhere": True},
        {"report_short": True},
        {"turned": True},
        {"report_first": True, "report_elsewhere": True, "turned": True},
    ],
    ids=str,
)
async def test_reports_are_known_by_what_was_answered(ismg: Ismg, intake: Intake, script: dict[str, Any]) -> None:
    for name, value in script.items():
        setattr(ismg.script, name, value)
    ismg.script.report = "DELIVRD"
    async with both(ismg, intake, connections=2) as (sender, receiver):
        reply = await sender.send(message())
        await until(lambda: ismg.deliver_answers)
        assert receiver.status()["reports"] == 1
    (tree,) = intake.trees
    assert [tree["key"]] == intake.text_keys == [json.loads(reply.body)["key"]]
    assert (tree["kind"], tree["stat"], tree["phone"], tree["done"]) == (
        "report",
        "DELIVRD",
        "13900000000",
        "2611280931",
    )
    assert ismg.deliver_answers[0][2] == 0


@pytest.mark.parametrize("script", ["report_behind", "report_first", "report_elsewhere"])
async def test_reports_of_all_parts_lead_to_the_text(ismg: Ismg, intake: Intake, script: str) -> None:
    """Also those that come in one packet with SUBMIT_RESP, before it, or over another connection."""
    ismg.script.report = "DELIVRD"
    setattr(ismg.script, script, True)
    async with both(ismg, intake, connections=2) as (sender, _):
        reply = await sender.send(message("中" * 200))
        await until(lambda: len(intake.taken) == 3)
    assert set(intake.text_keys) == {json.loads(reply.body)["key"]}
    assert len({tree["msg_id"] for tree in intake.trees}) == 3


async def test_a_report_of_something_unknown_does_not_wait_for_ever(
    ismg: Ismg, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.cmpp.registry.EARLY_S", 0.02)
    async with both(ismg, intake) as (sender, _):
        await sender.send(message(key="known"))
        ismg.script.deaf_submit = True
        long = asyncio.create_task(sender.send(message("中" * 100, key="long")))
        await until(lambda: len(ismg.sms) == 2)
        known = ismg.report_of(ismg.sms[0], "DELIVRD")
        await until(lambda: ismg.answer_of(known) == 0)
        unknown = ismg.report_of(ismg.sms[1], "REJECTD")
        await until(lambda: ismg.answer_of(unknown) == 0)
        assert not long.done()
        long.cancel()
    assert [tree["key"] for tree in intake.trees] == intake.text_keys


async def test_a_report_is_the_same_whenever_it_comes_again(ismg: Ismg, intake: Intake) -> None:
    """Sent again for want of an answer, after a restart that forgot of which text it is: same identity, same bytes."""
    async with both(ismg, intake) as (sender, _):
        await sender.send(message("中" * 100))
        ismg.report_of(ismg.sms[1], "DELIVRD")
        await until(lambda: len(intake.taken) == 1)
    async with both(ismg, intake):
        ismg.report_of(ismg.sms[1], "DELIVRD", next(link for link in ismg.links if link.version))
        await until(lambda: len(intake.taken) == 2)
        ismg.report_of(ismg.sms[1], "UNDELIV", next(link for link in ismg.links if link.version))
        await until(lambda: len(intake.taken) == 3)
    first, again, other = zip(intake.taken, intake.control_ids, strict=True)
    assert first == again
    assert first[1] != other[1]
    assert intake.text_keys[0] != intake.text_keys[1]


async def test_a_deliver_is_answered_after_its_commit(ismg: Ismg, intake: Intake) -> None:
    intake.at_once = False
    async with both(ismg, intake) as (_, receiver):
        number = ismg.deliver(b"TD", msg_id=77)
        await until(lambda: intake.waiting)
        assert ismg.deliver_answers == []
        intake.finish()
        await until(lambda: ismg.deliver_answers)
    assert ismg.deliver_answers == [(number, 77, 0)]
    assert receiver.status()["messages"] == 1


@pytest.mark.parametrize(
    ("receipt", "result"),
    [
        (Receipt(Outcome.DUPLICATE), 0),
        (Receipt(Outcome.REFUSED, error=HubError("no")), 9),
        (Receipt(Outcome.REFUSED, error=StoreBusy("later")), None),
    ],
)
async def test_what_the_gateway_is_told(ismg: Ismg, intake: Intake, receipt: Receipt, result: int | None) -> None:
    """Nothing, where the hub can't take it now: the gateway sends it again."""
    intake.verdict = lambda raw: receipt if b"first" in raw else Receipt(Outcome.OK)
    async with both(ismg, intake):
        first, second = ismg.deliver(b"first"), ismg.deliver(b"second")
        await until(lambda: ismg.answer_of(second) == 0)
    assert ismg.answer_of(first) == result


async def test_a_hub_that_is_not_ready_leaves_it(ismg: Ismg, intake: Intake) -> None:
    intake.is_ready = False
    async with both(ismg, intake) as (sender, receiver):
        ismg.deliver(b"x")
        await until(lambda: receiver.status()["left"] == 1)
        await sender.send(message())  # the connection goes on
    assert (intake.taken, ismg.deliver_answers) == ([], [])


async def test_what_is_no_report_is_refused(ismg: Ismg, intake: Intake) -> None:
    async with both(ismg, intake):
        number = ismg.deliver(b"short", report=True)
        await until(lambda: ismg.answer_of(number) == 1)
    assert intake.taken == []
    assert len(intake.refused) == 1


@pytest.mark.parametrize(
    ("content", "fmt", "expected"),
    [
        (b"TD", 0, {"text": "TD"}),
        ("退订".encode("gbk"), 15, {"text": "退订"}),
        ("退订".encode("utf-16-be"), 8, {"text": "退订"}),
        (b"\x01\xff", 4, {"data": "01ff"}),
        ("退".encode("gbk"), 0, {"text": "\ufffd\ufffd", "data": "cdcb"}),
        (b"\x90\x00\x4e", 8, {"text": "退\ufffd", "data": "90004e"}),
        (b"", 0, {"text": ""}),
    ],
)
async def test_messages_of_readers(
    ismg: Ismg, intake: Intake, content: bytes, fmt: int, expected: dict[str, str]
) -> None:
    async with both(ismg, intake):
        ismg.deliver(content, fmt=fmt, src="13900000001", msg_id=2**63)
        await until(lambda: ismg.deliver_answers)
    fields = {"kind": "message", "msg_id": str(2**63), "phone": "13900000001", "dest_id": "10690001"}
    assert intake.trees == [{**fields, "service_id": "HELP", "msg_fmt": fmt, **expected}]
    assert intake.control_ids == [f"mo-{2**63}"]


async def test_a_joined_message_is_known_by_its_first_part(ismg: Ismg, intake: Intake) -> None:
    """In whatever order its parts come again, long after: so the hub knows a repetition that the joiner has forgotten."""
    pieces = parts("中" * 100, [134, 66])
    async with both(ismg, intake):
        for number in (1, 0):
            ismg.deliver(pieces[number], fmt=8, udhi=1, msg_id=10 + number)
        await until(lambda: len(intake.taken) == 1)
    intake.marks.clear()
    async with both(ismg, intake):
        for number in (0, 1):
            ismg.deliver(pieces[number], fmt=8, udhi=1, msg_id=10 + number)
        await until(lambda: len(intake.taken) == 2)
    assert intake.taken[0] == intake.taken[1]
    assert intake.control_ids == ["mo-10", "mo-10"]


async def test_parts_are_joined_in_whatever_order(ismg: Ismg, intake: Intake) -> None:
    text = "上行短信，分为三条。" * 13
    pieces = parts(text, [133, 127])  # cut inside a character: joined before it is decoded
    async with both(ismg, intake):
        second = ismg.deliver(pieces[1], fmt=8, udhi=1, msg_id=2)
        await until(lambda: ismg.answer_of(second) == 0)  # answered: the gateway may send one at a time
        assert intake.taken == []
        ismg.deliver(pieces[0], fmt=8, udhi=1, msg_id=1)
        await until(lambda: intake.taken)
    (tree,) = intake.trees
    assert (tree["text"], tree["parts"], tree["missing"]) == (text, 2, [])


async def test_a_part_twice_and_after_all_is_no_second_message(ismg: Ismg, intake: Intake) -> None:
    pieces = parts("中" * 100, [134, 66])
    async with both(ismg, intake):
        for number in (0, 0, 1, 1, 0):
            ismg.deliver(pieces[number], fmt=8, udhi=1, msg_id=10 + number)
        await until(lambda: len(ismg.deliver_answers) == 5)
    assert [tree["text"] for tree in intake.trees] == ["中" * 100]
    assert {result for _, _, result in ismg.deliver_answers} == {0}


async def test_parts_outlive_the_process(ismg: Ismg, intake: Intake) -> None:
    pieces = parts("中" * 100, [134, 66])
    async with both(ismg, intake):
        ismg.deliver(pieces[0], fmt=8, udhi=1, msg_id=1)
        await until(lambda: ismg.deliver_answers)
    async with both(ismg, intake) as (_, receiver):
        await until(lambda: receiver.status()["incomplete"] == 1)
        ismg.deliver(pieces[1], fmt=8, udhi=1, msg_id=2)
        await until(lambda: intake.taken)
    assert intake.trees[0]["text"] == "中" * 100


async def test_a_part_that_cannot_be_stored_is_not_answered(ismg: Ismg, intake: Intake) -> None:
    pieces = parts("中" * 100, [134, 66])
    intake.busy = 1
    async with both(ismg, intake) as (_, receiver):
        first = ismg.deliver(pieces[0], fmt=8, udhi=1, msg_id=1)
        await until(lambda: receiver.status()["left"] == 1)
        ismg.deliver(pieces[1], fmt=8, udhi=1, msg_id=2)
        again = ismg.deliver(pieces[0], fmt=8, udhi=1, msg_id=1)
        await until(lambda: ismg.answer_of(again) == 0)
    assert ismg.answer_of(first) is None
    assert intake.trees[0]["text"] == "中" * 100


async def test_a_mistake_with_one_part_does_not_stop_the_others(
    ismg: Ismg, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = parts("中" * 100, [134, 66])
    intake.marks["parts"] = "[1, 2]"  # what no version of the hub has kept
    take, mistakes = intake.take, ["first"]

    async def once(*arguments: Any, **named: Any) -> Any:
        if mistakes:
            raise ValueError(mistakes.pop())
        return await take(*arguments, **named)

    monkeypatch.setattr(intake, "take", once)
    async with both(ismg, intake) as (_, receiver):
        first = ismg.deliver(pieces[0], fmt=8, udhi=1, msg_id=1)
        await until(lambda: receiver.status()["left"] == 1)
        ismg.deliver(pieces[1], fmt=8, udhi=1, msg_id=2)
        ismg.deliver(pieces[0], fmt=8, udhi=1, msg_id=1)  # the gateway sends it again
        await until(lambda: intake.taken)
    assert ismg.answer_of(first) is None
    assert intake.trees[0]["text"] == "中" * 100


async def test_what_stays_incomplete_goes_on_with_what_there_is(ismg: Ismg, intake: Intake) -> None:
    pieces = parts("中" * 140, [134, 134, 12])
    async with both(ismg, intake, {"join_within": 0.1}):
        ismg.deliver(pieces[2], fmt=8, udhi=1, msg_id=3)
        ismg.deliver(pieces[0], fmt=8, udhi=1, msg_id=1)
        await until(lambda: intake.taken)
    (tree,) = intake.trees
    assert (tree["text"], tree["missing"]) == ("中" * 73, [2])


async def test_too_many_incomplete_messages(ismg: Ismg, intake: Intake) -> None:
    async with both(ismg, intake, {"join_messages": 3}) as (_, receiver):
        for number in range(5):
            ismg.deliver(parts("中" * 100, [134, 66], number)[0], fmt=8, udhi=1, msg_id=number + 1)
        await until(lambda: len(ismg.deliver_answers) == 5)
        assert receiver.status()["incomplete"] == 3
    assert [tree["msg_id"] for tree in intake.trees] == ["1", "2"]


async def test_too_many_unanswered_pause_reading(ismg: Ismg, intake: Intake) -> None:
    intake.at_once = False
    async with both(ismg, intake, {"unanswered": 2}):
        for _ in range(30):
            ismg.deliver(bytes(140))
            await asyncio.sleep(0)
        await until(lambda: len(intake.waiting) >= 2)
        while len(ismg.deliver_answers) < 30:
            if intake.waiting:
                intake.finish()
            await asyncio.sleep(0.001)


async def test_a_gateway_that_does_not_read_is_not_read_from(ismg: Ismg, intake: Intake) -> None:
    """Or answers would pile up in memory."""
    intake.at_once = False
    async with both(ismg, intake) as (sender, _):
        (session,) = sender._sessions._open
        session.pause_writing()
        ismg.deliver(b"x")
        await asyncio.sleep(0.05)
        assert intake.waiting == []
        session.resume_writing()
        await until(lambda: intake.waiting)
        intake.finish()


async def test_connections_of_its_own(ismg: Ismg, intake: Intake) -> None:
    own = {key: value for key, value in options(ismg).items() if key != "src_id"}
    receiver = CmppAdapter().receiver(bound("up", "in", CmppListen(own=own)), intake)
    await receiver.start()
    try:
        await until(lambda: ismg.links)
        ismg.wait(lambda: ismg.links[0].version)
        number = ismg.deliver(b"hello")
        await until(lambda: ismg.answer_of(number) == 0)
        assert "ACTIVE_TEST" in await receiver.probe()
    finally:
        await receiver.stop(5)
    assert intake.trees[0]["text"] == "hello"


async def test_the_probe_asks_the_gateway(ismg: Ismg, intake: Intake) -> None:
    async with both(ismg, intake) as (_, receiver):
        assert "ACTIVE_TEST" in await receiver.probe()
    alone = CmppAdapter().receiver(bound("up", "in", CmppListen(of="sned")), intake)
    with pytest.raises(UnreachableError, match="sned"):
        await alone.probe()


async def test_what_comes_before_its_interface_waits_for_it(ismg: Ismg, intake: Intake) -> None:
    """The hub starts its senders first, and a gateway has reports of the night."""
    adapter = CmppAdapter()
    sender = adapter.sender(bound("send", "out", CmppConnect(**options(ismg))))
    receiver = adapter.receiver(bound("up", "in", CmppListen(of="send")), intake)
    await sender.start()
    await until(lambda: sender.status()["connections"])
    number = ismg.deliver(b"early")
    await sender.send(message())  # the DELIVER was read before this was answered
    assert ismg.deliver_answers == []
    await receiver.start()
    await until(lambda: ismg.answer_of(number) == 0)
    await receiver.stop(5)
    await sender.stop()
    assert [tree["text"] for tree in intake.trees] == ["early"]


async def test_where_nobody_takes_it_the_gateway_is_told(ismg: Ismg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.cmpp.registry.PATIENCE_S", -1.0)
    async with calling(ismg) as sender:
        await sender.send(message())
        number = ismg.deliver(b"x")
        await until(lambda: ismg.answer_of(number) == 9)
        assert sender.status()["untaken"] == 1


async def test_a_stranger_in_place_of_the_gateway_is_not_heard(ismg: Ismg, intake: Intake) -> None:
    """A DELIVER right behind a CONNECT_RESP that proves nothing."""

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(39)
        deliver = struct.pack(">Q21s10s3B32sB", 1, b"1", b"", 0, 0, 0, b"139", 0) + bytes((0, 1)) + b"x" + bytes(20)
        writer.write(struct.pack(">3I4x16sB", 33, 0x80000001, 1, bytes(16), 0x30))
        writer.write(struct.pack(">3I", 12 + len(deliver), 5, 1) + deliver)
        await writer.drain()
        heard.append(await reader.read())
        writer.close()

    heard: list[bytes] = []
    server = await asyncio.start_server(stranger, "127.0.0.1", 0)
    own = {key: value for key, value in options(ismg).items() if key != "src_id"}
    own["port"] = server.sockets[0].getsockname()[1]
    receiver = CmppAdapter().receiver(bound("up", "in", CmppListen(own=own)), intake)
    await receiver.start()
    await until(lambda: heard)
    await receiver.stop(5)
    server.close()
    assert (intake.taken, heard[0]) == ([], b"")
