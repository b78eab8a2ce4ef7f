"""Stored messages run again: nothing is sent in a dry run, and every difference is told by its field."""

from __future__ import annotations

from typing import Any

import pytest

from hub.admin.backend import NodeBackend
from hub.admin.present import BadQuery
from hub.api import HubError, PermanentError
from hub.ids import id_text
from hub.message import DeliveryState
from hub.store.base import MessageQuery
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site
from tests.kernel.wire import accept

HEAD = "from: {codec: json}\nto: {codec: json}\n"
OLD = HEAD + "fields: {id: id, name: pid, gone: {const: 1}}\n"
NEW = HEAD + "fields: {id: id, name: pid | upper, come: {const: 2}}\n"
SPLIT = HEAD + "split: items\nfields: {id: id, no: .}\n"


async def replay(hub: Hub, **order: Any) -> dict[str, Any]:
    return await NodeBackend(hub.node).replay(order, "li")


async def delivered(site: Site, start: StartHub, mapping: str = OLD, count: int = 1) -> Hub:
    site.target(mapping="m")
    site.mapping("m", mapping)
    hub = await start(site)
    for number in range(count):
        await hub.wire.submit("his/in", {"id": f"m{number}", "type": "t", "key": "a", "pid": "p7", "items": [1, 2]})
    await hub.reached(DeliveryState.DELIVERED, count * (2 if mapping is SPLIT else 1))
    return hub


async def test_the_same_mapping_gives_the_same(site: Site, start: StartHub) -> None:
    hub = await delivered(site, start, count=3)
    answer = await replay(hub, query={"source": "his/in"})
    assert [(r["same"], r["compared"], r["changes"]) for r in answer["results"]] == [(True, True, [])] * 3
    assert all(r["mapping"] == r["mapping_before"] != "" for r in answer["results"])
    assert len(site.peer().calls) == 3


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_changed_mapping_is_compared_field_by_field(site: Site, start: StartHub, dry_run: bool) -> None:
    hub = await delivered(site, start)
    (message,) = (await hub.node.store.reader.search(MessageQuery())).rows
    site.mapping("m", NEW)
    await hub.reload()
    answer = await replay(hub, ids=[id_text(message.id)], dry_run=dry_run, reason="corrected")
    (result,) = answer["results"]
    changes = {c["path"]: c for c in result["changes"]}
    assert {path: (c["kind"], c["old"], c["new"]) for path, c in changes.items() if path != "name"} == {
        "gone": ("removed", 1, None),
        "come": ("added", None, 2),
    }
    name = changes["name"]
    assert (name["kind"], name["old"], name["new"]) == ("changed", "p*", "P*")  # names are masked
    assert result["mapping"] != result["mapping_before"]
    assert (result["same"], result["error"], result["parts"]) == (False, "", 1)
    audit = [row["entry"] for row in await hub.node.store.reader.audit()]
    if dry_run:
        assert answer["made"] == []
        assert len(await hub.deliveries()) == 1
        assert [entry["action"] for entry in audit] == ["config.reload"]
        return
    await hub.reached(DeliveryState.DELIVERED, 2)
    assert site.peer().bodies[-1] == {"id": "m0", "name": "P7", "come": 2}
    first, second = await hub.deliveries()
    assert answer["made"] == [id_text(second.id)]
    assert (second.message_id, second.route, first.state) == (message.id, "", DeliveryState.DELIVERED)
    assert (audit[-1]["action"], audit[-1]["reason"]) == ("replay", "corrected")
    # What is sent again is compared with next time.
    (again,) = (await replay(hub, ids=[id_text(message.id)], target="sink/up"))["results"]
    assert again["same"]


async def test_another_target_or_mapping_can_be_tried(site: Site, start: StartHub) -> None:
    site.target("other")
    del site.config["routes"]["to_other"]
    hub = await delivered(site, start)
    site.mapping("draft", NEW)
    await hub.reload()
    (result,) = (await replay(hub, query={"system": "his"}, target="other/up"))["results"]
    assert (result["target"], result["compared"], result["error"]) == ("other/up", False, "")
    (result,) = (await replay(hub, query={"system": "his"}, mapping="draft"))["results"]
    assert result["mapping"].startswith("draft@")
    assert len(result["changes"]) == 3
    (result,) = (await replay(hub, query={"system": "his"}, target="nowhere/up"))["results"]
    assert "nowhere/up" in result["error"]
    with pytest.raises(HubError, match="nonesuch"):
        await replay(hub, query={"system": "his"}, mapping="nonesuch")
    with pytest.raises(HubError):
        await replay(hub, ids=["0000000000001"])


async def test_a_mapping_that_fails_is_told_and_nothing_is_sent(site: Site, start: StartHub) -> None:
    hub = await delivered(site, start)
    site.mapping("m", HEAD + "fields: {id: {expr: nothing, required: true}}\n")
    await hub.reload()
    answer = await replay(hub, query={"system": "his"}, dry_run=False)
    (result,) = answer["results"]
    assert "m.yaml:3" in result["error"]
    assert (result["same"], answer["made"]) == (False, [])
    assert len(site.peer().calls) == 1


async def test_what_never_went_out_has_nothing_to_be_compared_with(site: Site, start: StartHub) -> None:
    site.target(mapping="m")
    site.mapping("m", HEAD + "fields: {id: {expr: nothing, required: true}}\n")
    hub = await start(site)
    await hub.send(1)
    await hub.reached(DeliveryState.DEAD)
    site.mapping("m", NEW)
    await hub.reload()
    (result,) = (await replay(hub, query={"state": "dead"}))["results"]
    assert (result["compared"], result["changes"], result["error"]) == (False, [], "")


async def test_without_kept_bodies_there_is_nothing_to_be_compared_with(site: Site, start: StartHub) -> None:
    site.config["store"]["keep_bodies"] = False
    hub = await delivered(site, start)
    (result,) = (await replay(hub, query={"system": "his"}))["results"]
    assert (result["compared"], result["changes"]) == (False, [])


async def test_bytes_sent_as_received_are_compared_with_what_was_received(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    await hub.send(1)
    await hub.reached(DeliveryState.DELIVERED)
    (result,) = (await replay(hub, query={"system": "his"}))["results"]
    assert (result["same"], result["compared"]) == (True, True)


async def test_a_refused_attempt_is_compared_too(site: Site, start: StartHub) -> None:
    peer = site.target(mapping="m")
    site.mapping("m", OLD)

    def refuse(outgoing: Any) -> Any:
        raise PermanentError("no")

    peer.react = refuse
    hub = await start(site)
    await hub.send(1)
    await hub.reached(DeliveryState.DEAD)
    site.mapping("m", NEW)
    await hub.reload()
    peer.react = accept
    answer = await replay(hub, query={"state": "dead"}, dry_run=False)
    assert {c["path"] for c in answer["results"][0]["changes"]} == {"gone", "come"}
    await hub.reached(DeliveryState.DELIVERED)


async def test_a_split_is_compared_part_by_part(site: Site, start: StartHub) -> None:
    hub = await delivered(site, start, SPLIT)
    (result,) = (await replay(hub, query={"system": "his"}))["results"]
    assert (result["parts"], result["same"]) == (2, True)
    site.mapping("m", SPLIT.replace("no: .", "no: . * 10"))
    await hub.reload()
    answer = await replay(hub, query={"system": "his"}, dry_run=False)
    assert [(c["path"], c["old"], c["new"]) for c in answer["results"][0]["changes"]] == [
        ("[1] no", 1, 10),
        ("[2] no", 2, 20),
    ]
    await hub.reached(DeliveryState.DELIVERED, 4)
    assert sorted(body["no"] for body in site.peer().bodies) == [1, 2, 10, 20]
    assert len({call.idempotency_key for call in site.peer().calls}) == 4
    site.mapping("m", SPLIT.replace("split: items", "split: items[0]"))
    await hub.reload()
    (result,) = (await replay(hub, query={"system": "his"}, target="sink/up"))["results"]
    assert result["changes"]


async def test_no_more_than_asked_for(site: Site, start: StartHub) -> None:
    hub = await delivered(site, start, count=12)
    assert len((await replay(hub, query={"system": "his"}, most=5))["results"]) == 5
    assert len((await replay(hub, query={"system": "his", "limit": "2"}, most=5))["results"]) == 5


@pytest.mark.parametrize("order", [{}, {"ids": []}, {"query": {}}, {"ids": ["x"]}, {"dry_run": False}])
async def test_messages_must_be_named(site: Site, start: StartHub, order: dict[str, Any]) -> None:
    hub = await delivered(site, start)
    with pytest.raises(BadQuery):
        await replay(hub, **order)
    assert len(await hub.deliveries()) == 1


async def test_what_is_sent_again_comes_in_the_order_of_arrival(site: Site, start: StartHub) -> None:
    hub = await delivered(site, start, count=8)
    peer = site.peer()
    peer.calls.clear()
    await replay(hub, query={"system": "his"}, dry_run=False)
    await hub.reached(DeliveryState.DELIVERED, 16)
    assert peer.ids() == [f"m{n}" for n in range(8)]
