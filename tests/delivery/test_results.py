"""What a target replies becomes messages: all of them, once, and together with the end of what asked for them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hub.api import Outgoing, Reply
from hub.errors import StoreBusy
from hub.message import DeliveryState, Direction, Outcome
from hub.store.base import MessageQuery, MessageRow
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site
from tests.kernel.wire import Peer, accept

_REGISTRY = """
id: registry
name: answers questions
settings: {channel: {type: string, required: true}}
interfaces:
  ask:
    direction: out
    adapter: wire
    connect: {channel: "${channel}"}
    codec: json
    order_by: ''
    breaker: {failures: 1000, open_for: 10ms, max_open_for: 10ms}
    results: {to: answers, each: data.items}
  answers:
    direction: in
    adapter: results
    codec: json
    type: type
    control_id: no
    validate: {mode: strict, schema: item.json}
"""
_SCHEMA = {"type": "object", "required": ["no"], "properties": {"no": {"type": "string"}}}


def asking(site: Site, **results: Any) -> Peer:
    """``registry/ask`` is asked by what comes in; what it replies goes on to ``sink/up``."""
    site.plugin("registry", _REGISTRY)
    (site.folder / "schemas").mkdir(exist_ok=True)
    (site.folder / "schemas" / "item.json").write_bytes(orjson.dumps(_SCHEMA))
    site.config["schemas"] = ["../schemas"]
    site.system("registry", "registry", ask={"results": results} if results else {})
    site.config["routes"]["ask"] = {"from": "his", "to": "registry/ask"}
    site.config["routes"]["on"] = {"from": "registry/answers", "to": "sink/up"}
    site.system("sink", "sink")
    return site.peer("registry/ask")


def reply(*numbers: str, **more: Any) -> Reply:
    items = [{"no": number, "id": number, "type": "item"} for number in numbers]
    return Reply(True, orjson.dumps({"data": {"items": items, **more}}), code="200", status=200)


async def found(hub: Hub) -> list[MessageRow]:
    page = await hub.node.store.reader.search(MessageQuery(source="registry/answers", limit=1000))
    return page.rows[::-1]


async def test_each_entry_of_a_reply_becomes_a_message(site: Site, start: StartHub) -> None:
    peer = asking(site)
    peer.react = lambda out: reply("a", "b", "c")
    hub = await start(site)
    receipt = await hub.wire.submit("his/in", {"id": "m1", "type": "t"})
    await hub.reached(DeliveryState.DELIVERED, 3, target="sink/up")
    (asked,) = await hub.reached(DeliveryState.DELIVERED, 1, target="registry/ask")
    rows = await found(hub)
    assert [(row.control_id, row.type, row.causation) for row in rows] == [
        (number, "item", receipt.message_id) for number in "abc"
    ]
    assert sorted(site.peer().ids()) == ["a", "b", "c"]
    (call,) = await hub.calls("registry/ask", direction=Direction.OUT)
    assert (call.outcome, call.delivery_id, call.attempt) == (Outcome.OK, asked.id, 1)
    figures = hub.node.metrics.snapshot()
    assert figures["inbound"]["registry/answers"]["accepted"] == 3
    assert figures["outbound"]["registry/ask"]["delivered"] == 1


async def test_page_by_page(site: Site, start: StartHub) -> None:
    peer = asking(site, first={"page": 1}, next={"page": "$page + 1"}, more="data.more")
    peer.react = lambda out: reply(f"p{out.variables['page']}", more=out.variables["page"] < 4)
    hub = await start(site)
    await hub.wire.submit("his/in", {"id": "m1", "type": "t"})
    await hub.reached(DeliveryState.DELIVERED, 4, target="sink/up")
    assert [call.variables["page"] for call in peer.calls] == [1, 2, 3, 4]
    assert len({call.idempotency_key for call in peer.calls}) == 4
    assert [row.control_id for row in await found(hub)] == ["p1", "p2", "p3", "p4"]
    calls = await hub.calls("registry/ask", direction=Direction.OUT)
    assert [orjson.loads(call.params).get("page") for call in calls if call.params] == [1, 2, 3]
    assert len(calls) == 4
    assert all(call.response for call in calls)


async def test_the_mapping_sees_the_page(site: Site, start: StartHub) -> None:
    peer = asking(site, next="data.token")
    site.config["systems"]["registry"]["interfaces"]["ask"]["mapping"] = "question"
    site.mapping("question", "from: {codec: json}\nto: {codec: json}\nfields: {q: id, token: $page.next}\n")
    peer.react = lambda out: reply("x1", token="t2") if b"t2" not in out.body else reply("x2")
    hub = await start(site)
    await hub.wire.submit("his/in", {"id": "m1", "type": "t"})
    await hub.reached(DeliveryState.DELIVERED, 2, target="sink/up")
    assert peer.bodies == [{"q": "m1"}, {"q": "m1", "token": "t2"}]


async def test_a_page_that_fails_leaves_nothing_behind(site: Site, start: StartHub) -> None:
    peer = asking(site, first={"page": 1}, next={"page": "$page + 1"}, more="data.more")
    failed = False

    def react(out: Outgoing) -> Reply:
        nonlocal failed
        if out.variables["page"] == 3 and not failed:
            failed = True
            return Reply(False, transient=True, code="500")
        return reply(f"p{out.variables['page']}", more=out.variables["page"] < 3)

    peer.react = react
    hub = await start(site)
    await hub.wire.submit("his/in", {"id": "m1", "type": "t"})
    await hub.reached(DeliveryState.DELIVERED, 3, target="sink/up")
    assert [call.variables["page"] for call in peer.calls] == [1, 2, 3, 1, 2, 3]
    assert [row.control_id for row in await found(hub)] == ["p1", "p2", "p3"]
    assert hub.node.metrics.snapshot()["inbound"]["registry/answers"]["received"] == 3


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"pages": 3}, "results.pages"),
        ({"bytes": 100}, "results.size"),
        ({"next": {"page": "1"}}, "results.page"),
    ],
)
async def test_bounds(site: Site, start: StartHub, rule: dict[str, Any], code: str) -> None:
    peer = asking(site, **{"first": {"page": 1}, "next": {"page": "$page + 1"}, **rule})
    peer.react = lambda out: reply("p")
    hub = await start(site)
    await hub.wire.submit("his/in", {"id": "m1", "type": "t"})
    (dead,) = await hub.reached(DeliveryState.DEAD, target="registry/ask")
    assert dead.step == "results"
    assert await found(hub) == []
    assert (await hub.calls("registry/ask", direction=Direction.OUT))[-1].code == code


async def test_what_cannot_be_accepted_is_refused_by_itself(site: Site, start: StartHub) -> None:
    peer = asking(site)
    peer.react = lambda out: Reply(True, b'{"data":{"items":[{"no":"a","id":"a"},{"id":"b"},{"no":"c","id":"c"}]}}')
    hub = await start(site)
    await hub.wire.submit("his/in", {"id": "m1", "type": "t"})
    await hub.reached(DeliveryState.DELIVERED, 2, target="sink/up")
    assert [row.control_id for row in await found(hub)] == ["a", "c"]
    (refused,) = await hub.calls("registry/answers", outcomes=[Outcome.REFUSED])
    assert refused.request == b'{"id":"b"}'


async def test_the_same_answer_again_is_recognised(site: Site, start: StartHub) -> None:
    peer = asking(site)
    peer.react = lambda out: reply("a", "b")
    hub = await start(site)
    await hub.send(2)
    await hub.reached(DeliveryState.DELIVERED, 2, target="registry/ask")
    await hub.reached(DeliveryState.DELIVERED, 2, target="sink/up")
    assert [row.control_id for row in await found(hub)] == ["a", "b"]
    assert hub.node.metrics.snapshot()["inbound"]["registry/answers"]["duplicate"] == 2


async def test_an_answer_without_entries(site: Site, start: StartHub) -> None:
    peer = asking(site)
    peer.react = lambda out: reply()
    hub = await start(site)
    await hub.wire.submit("his/in", {"id": "m1", "type": "t"})
    await hub.reached(DeliveryState.DELIVERED, 1, target="registry/ask")
    assert await found(hub) == []


async def test_a_store_that_cannot_take_it_now_is_asked_again(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.delivery.target.STORE_AGAIN_S", 0.01)
    peer = asking(site)
    peer.react = lambda out: reply("a")
    hub = await start(site)
    together = hub.node.store.put_together
    refusals = iter([StoreBusy("full"), StoreBusy("full")])

    async def refuse_twice(*arguments: Any, **options: Any) -> Any:
        for error in refusals:
            raise error
        return await together(*arguments, **options)

    monkeypatch.setattr(hub.node.store, "put_together", refuse_twice)
    await hub.wire.submit("his/in", {"id": "m1", "type": "t"})
    await hub.reached(DeliveryState.DELIVERED, 1, target="sink/up")
    (asked,) = await hub.reached(DeliveryState.DELIVERED, 1, target="registry/ask")
    assert asked.attempts == 1
    assert len(peer.calls) == 3


async def test_what_asked_and_what_came_of_it_lie_in_two_segments(site: Site, start: StartHub) -> None:
    site.config["store"]["segment_messages"] = 1000
    peer = asking(site)
    peer.react = lambda out: Reply(False, transient=True, code="503")
    site.config["delivery"]["retry"] = {"attempts": 1000, "interval": "20ms"}
    hub = await start(site)
    await hub.wire.submit("his/in", {"id": "first", "type": "t"})
    await hub.reached(DeliveryState.RETRYING, 1, target="registry/ask")
    site.config["routes"]["ask"]["types"] = ["t"]
    await hub.reload()
    offers = [hub.wire.offer("his/in", {"id": f"m{n}", "type": "other"}) for n in range(1100)]
    for offer in offers:
        await offer
    assert len(list(hub.folder().glob("segment-*.db"))) > 1
    peer.react = lambda out: reply("a", "b")
    await hub.reached(DeliveryState.DELIVERED, 1, target="registry/ask")
    await hub.reached(DeliveryState.DELIVERED, 2, target="sink/up")
    await hub.restart()
    assert [row.control_id for row in await found(hub)] == ["a", "b"]


async def test_a_mapping_makes_messages_of_a_reply(site: Site, start: StartHub) -> None:
    peer = asking(site, mapping="entries", each=None)
    site.mapping("entries", "from: {codec: json}\nto: {codec: json}\nsplit: list\nfields: {no: .number, id: .number}\n")
    peer.react = lambda out: Reply(True, b'{"list":[{"number":"1"},{"number":"2"}]}')
    hub = await start(site)
    await hub.wire.submit("his/in", {"id": "m1", "type": "t"})
    await hub.reached(DeliveryState.DELIVERED, 2, target="sink/up")
    assert sorted(site.peer().ids()) == ["1", "2"]


async def test_a_caller_gets_the_reply_and_the_messages_come_in(site: Site, start: StartHub) -> None:
    peer = asking(site)
    site.system("his", "his", ask={})
    site.config["routes"]["ask"]["from"] = "his/ask"
    peer.react = lambda out: reply("a")
    hub = await start(site)
    receipt = await hub.wire.submit("his/ask", {"id": "m1", "type": "t"})
    assert receipt.accepted
    assert receipt.reply == reply("a").body
    await hub.reached(DeliveryState.DELIVERED, 1, target="sink/up")
    peer.react = accept
