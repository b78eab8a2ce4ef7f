"""``security`` of interfaces whose transport knows nothing of it: the hub seals and opens around the adapter."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.api import Item, Outgoing, Reply, StoreBusy
from hub.crypto import provider
from hub.message import DeliveryState, Outcome
from hub.security import Protection, Wire
from hub.security.around import ProtectedIntake
from hub.security.load import scheme_class
from hub.store.base import MessageQuery
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site

SECRET = "shared-between-both-sides"
KEY = "0123456789abcdeffedcba9876543210"
SIGNED = {
    "secret": SECRET,
    "fields": {"of": ["body"]},
    "values": {
        "time": {"now": "ms", "at": {"field": "time"}},
        "nonce": {"random": 16, "at": {"field": "nonce"}},
    },
    "at": {"field": "sign"},
    "text": "{fields}",
}
SEALED = {"key": KEY}


def protection(*entries: dict[str, Any]) -> Protection:
    schemes = []
    for entry in entries:
        ((name, options),) = entry.items()
        kind = scheme_class(name, {})
        assert kind is not None
        schemes.append(kind(kind.options.model_validate(options)))
    return Protection(schemes)


async def sealed(body: Any, *entries: dict[str, Any]) -> bytes:
    """As the other side sends it."""
    wire = Wire(orjson.dumps(body))
    await protection(*entries).seal_request(wire)
    return wire.body


async def stored(hub: Hub) -> list[tuple[str, bytes]]:
    page = await hub.node.store.reader.search(MessageQuery(limit=1000))
    rows = [await hub.node.store.reader.message(row.id) for row in reversed(page.rows)]
    return [(row.control_id, row.raw) for row in rows if row is not None]


async def test_the_message_is_what_was_inside_and_the_call_log_keeps_what_came(site: Site, start: StartHub) -> None:
    site.system("his", "his", **{"in": {"security": [{"encryption": SEALED}]}})
    site.target()
    hub = await start(site)
    raw = await sealed({"id": "a", "type": "t"}, {"encryption": SEALED})
    assert (await hub.wire.submit("his/in", raw)).accepted
    await hub.reached(DeliveryState.DELIVERED)
    assert await stored(hub) == [("a", b'{"id":"a","type":"t"}')]
    assert hub.wire.peer().bodies == [{"id": "a", "type": "t"}]
    (call,) = await hub.logged("his/in", 1)
    assert (call.outcome, call.request) == (Outcome.OK, raw)


@pytest.mark.parametrize("spoil", ["flip", "cut", "pad", "plain", "empty", "other key"])
async def test_what_was_changed_on_the_way_is_refused_and_kept(site: Site, start: StartHub, spoil: str) -> None:
    site.system("his", "his", **{"in": {"security": [{"encryption": SEALED}]}})
    site.target()
    hub = await start(site)
    good = await sealed({"id": "a", "type": "t"}, {"encryption": SEALED})
    other = await sealed({"id": "a", "type": "t"}, {"encryption": {"key": "f" * 32}})
    raw = {
        "flip": bytes([good[0] ^ 1]) + good[1:],
        "cut": good[:-8],
        "pad": good + b"AAAA",
        "plain": b'{"id":"a","type":"t"}',
        "empty": b"",
        "other key": other,
    }[spoil]
    receipt = await hub.wire.submit("his/in", raw)
    assert (receipt.outcome, receipt.accepted) == (Outcome.REFUSED, False)
    assert receipt.error is not None
    assert receipt.error.code == "security.decrypt"
    (call,) = await hub.logged("his/in", 1)
    assert (call.outcome, call.code, call.request or b"") == (Outcome.REFUSED, "security.decrypt", raw)
    assert await stored(hub) == []


async def test_a_large_message_is_not_overtaken(site: Site, start: StartHub) -> None:
    site.system("his", "his", **{"in": {"security": [{"encryption": SEALED}]}})
    site.target()
    hub = await start(site)
    bodies = [{"id": f"m{n}", "type": "t", "text": "x" * (300_000 if n % 3 == 0 else 10)} for n in range(9)]
    raws = [await sealed(body, {"encryption": SEALED}) for body in bodies]
    receipts = await asyncio.gather(*(hub.wire.offer("his/in", raw) for raw in raws))
    assert all(receipt.accepted for receipt in receipts)
    assert [number for number, _ in await stored(hub)] == [f"m{n}" for n in range(9)]


async def test_a_call_sent_twice_is_taken_once_and_one_that_was_not_taken_may_come_again(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.system("his", "his", **{"in": {"security": [{"signature": SIGNED}]}})
    site.target()
    hub = await start(site)
    raw = await sealed({"id": "a", "type": "t"}, {"signature": SIGNED})
    with monkeypatch.context() as patch:
        patch.setattr(type(hub.node.store), "put", busy)
        assert isinstance((await hub.wire.submit("his/in", raw)).error, StoreBusy)
    assert (await hub.wire.submit("his/in", raw)).accepted
    again = await hub.wire.submit("his/in", raw)
    assert again.error is not None
    assert again.error.code == "security.replayed"
    assert len(await stored(hub)) == 1


def busy(*arguments: Any, **more: Any) -> None:
    raise StoreBusy("full")


async def test_the_answer_of_a_request_is_sealed(site: Site, start: StartHub) -> None:
    both = {"encryption": {"key": KEY, "reply": {}}}
    site.system("his", "his", ask={"security": [both]}, **{"in": "off"})
    site.target(security=[both])

    async def react(outgoing: Outgoing) -> Reply:
        wire = Wire(outgoing.body)
        protection(both).open_now(wire)
        assert orjson.loads(wire.body)["id"] == "a"
        reply = Wire(b'{"code":0,"name":"inside"}')
        await protection(both).seal_reply(reply)
        return Reply(True, reply.body, 200, "200")

    site.peer().react = react
    hub = await start(site)
    raw = await sealed({"id": "a", "type": "t"}, both)
    receipt = await hub.wire.submit("his/ask", raw)
    assert receipt.accepted
    assert receipt.reply is not None
    assert b"inside" not in receipt.reply
    answer = Wire(receipt.reply)
    await protection(both).open_reply(answer)
    assert orjson.loads(answer.body) == {"code": 0, "name": "inside"}


async def test_a_reply_that_is_not_sealed_is_not_believed(site: Site, start: StartHub) -> None:
    site.target(security=[{"encryption": {"key": KEY, "reply": {}}}], success="code == 0")
    site.peer().react = lambda outgoing: Reply(True, b'{"code":0}', 200, "200")
    hub = await start(site)
    await hub.send(1)
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert "security.decrypt" in dead.reason or "protected" in dead.reason
    assert len(hub.wire.peer().calls) == 4  # transient: it may have had its effect
    assert b'"m0"' not in b"".join(call.body for call in hub.wire.peer().calls)


async def test_a_bad_item_of_a_page_does_not_stop_the_others(site: Site, start: StartHub) -> None:
    site.system("his", "his", **{"in": {"security": [{"encryption": SEALED}]}})
    site.target()
    hub = await start(site)
    raws = [await sealed({"id": f"r{n}", "type": "t"}, {"encryption": SEALED}) for n in range(3)]
    receiver = hub.wire.receivers["his/in"]
    items = [Item(raws[0]), Item(b"not encrypted"), Item(raws[1], params={"name": "x"}), Item(raws[2])]
    receipts = await receiver.intake.take(receiver.bound, items, mark="4", remote="folder")
    assert [receipt.accepted for receipt in receipts] == [True, False, True, True]
    assert await receiver.intake.mark(receiver.bound) == "4"
    assert [number for number, _ in await stored(hub)] == ["r0", "r1", "r2"]
    calls = await hub.logged("his/in", 4)
    assert {call.request for call in calls} == {*raws, b"not encrypted"}
    (refused,) = [call for call in calls if call.outcome is Outcome.REFUSED]
    assert (refused.code, refused.request) == ("security.decrypt", b"not encrypted")


async def test_what_lay_in_a_queue_may_be_old_and_come_again(site: Site, start: StartHub) -> None:
    """The hub was down for a day, or a broker delivers again what was stored already: nothing of it is lost or refused."""
    site.target()
    hub = await start(site)
    receiver = hub.wire.receivers["his/in"]
    old = protection({"signature": SIGNED})
    scheme: Any = old.schemes[0]
    scheme._request._now = lambda: time.time() - 86_400
    wire = Wire(b'{"id":"a","type":"t"}')
    await old.seal_request(wire)
    for live, outcomes in ((True, [Outcome.REFUSED]), (False, [Outcome.OK, Outcome.DUPLICATE])):
        intake = ProtectedIntake(hub.node.intake, protection({"signature": SIGNED}), live=live)
        for outcome in outcomes:
            (receipt,) = await intake.take(receiver.bound, [Item(wire.body)], mark="1")
            assert receipt.outcome is outcome


async def test_a_file_written_by_one_hub_is_read_by_another(site: Site, start: StartHub, tmp_path: Path) -> None:
    ours, theirs = provider().sm2_generate(), provider().sm2_generate()
    envelope = {"at": {"field": "key"}, "public": theirs.public.point.hex(), "private": theirs.secret().hex()}
    seal = {"encryption": {"algorithm": "sm4-gcm", "what": "data", "envelope": envelope}}
    sign = {
        "signature": {
            "algorithm": "sm2",
            "private": ours.secret().hex(),
            "public": ours.public.point.hex(),
            "fields": {"of": ["body"]},
            "at": {"field": "sign"},
        }
    }
    folder = tmp_path / "exchange"
    folder.mkdir()
    for name, direction, options in (
        ("writer", "out", {"connect": {"root": str(folder), "name": "{key}.json"}}),
        ("reader", "in", {"listen": {"root": str(folder), "schedule": {"every": "1s"}}}),
    ):
        contract = {"direction": direction, "adapter": "file", "codec": "json", **options, "security": [seal, sign]}
        if direction == "in":
            contract |= {"type": "type", "control_id": "id"}
        site.plugin(name, orjson.dumps({"id": name, "name": name, "interfaces": {"files": contract}}).decode())
        site.config["systems"][name] = {"plugin": name}
    site.config["routes"] = {"down": {"from": "his", "to": "writer/files"}, "up": {"from": "reader", "to": "sink/up"}}
    site.target()
    site.config["routes"].pop("to_sink")
    hub = await start(site)
    raw = orjson.dumps({"id": "m0", "type": "t", "data": {"name": "张三丰"}})
    assert (await hub.wire.submit("his/in", raw)).accepted
    await hub.reached(DeliveryState.DELIVERED, 2)
    (body,) = hub.wire.peer().bodies
    assert (body["id"], body["data"]) == ("m0", {"name": "张三丰"})
    (call,) = [call for call in await hub.logged("reader/files", 1) if call.message_id]
    assert call.request is not None
    assert "张三丰".encode() not in call.request
