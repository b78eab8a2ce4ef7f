"""Which targets a message gets: sources, types, conditions, what a target accepts, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.message import DeliveryState
from hub.router import type_matcher
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site


async def goes_to(hub: Hub, message: dict[str, object], place: str = "his/in") -> list[str]:
    receipt = await hub.wire.submit(place, message)
    assert receipt.accepted
    found = await hub.node.store.reader.deliveries_of(receipt.message_id)
    return [delivery.target for delivery in found]


@pytest.mark.parametrize(
    ("patterns", "matching", "other"),
    [
        (["*"], ["", "ADT^A01", "a\nb"], []),
        (["ADT^A01"], ["ADT^A01"], ["ADT^A011", "XADT^A01", "adt^a01", ""]),
        (["ADT^*"], ["ADT^", "ADT^A01", "ADT^A01^ADT_A01"], ["ADT", "ORU^R01"]),
        (["*.waybill", "x"], ["freight.waybill", ".waybill", "x"], ["freight.waybills", "xx"]),
        (["a*b*c"], ["abc", "a1b2c", "abbcc"], ["ab", "acb"]),
        (["a.c", "[x]", "(", "a|b"], ["a.c", "[x]", "(", "a|b"], ["abc", "x", "a", "b"]),
    ],
)
def test_types(patterns: list[str], matching: list[str], other: list[str]) -> None:
    matches = type_matcher(patterns)
    assert [text for text in matching if not matches(text)] == []
    assert [text for text in other if matches(text)] == []


@given(
    st.lists(st.text(alphabet="aB.^*(|\\\n", max_size=6), min_size=1, max_size=4), st.text("aB.^*(|\\\n", max_size=6)
)
def test_types_by_another_way(patterns: list[str], text: str) -> None:
    def fits(pattern: str, rest: str) -> bool:
        if not pattern:
            return not rest
        if pattern[0] == "*":
            return any(fits(pattern[1:], rest[at:]) for at in range(len(rest) + 1))
        return rest[:1] == pattern[0] and fits(pattern[1:], rest[1:])

    assert type_matcher(patterns)(text) == any(fits(pattern, text) for pattern in patterns)


async def test_a_message_goes_where_routes_and_targets_agree(site: Site, start: StartHub) -> None:
    site.target("all")
    site.target("adt", accepts="adt*")
    site.target("women", accepts=["*"])
    site.target("east")
    site.target("off")
    site.system("branch", "his")
    routes = site.config["routes"]
    routes["to_women"]["when"] = "sex == 'F'"
    routes["to_east"]["from"] = "branch/in"
    routes["to_off"]["enabled"] = False
    hub = await start(site)
    assert await goes_to(hub, {"type": "adt", "sex": "F"}) == ["all/up", "adt/up", "women/up"]
    assert await goes_to(hub, {"type": "adt.a01", "sex": "M"}) == ["all/up", "adt/up"]
    assert await goes_to(hub, {"type": "oru"}) == ["all/up"]
    assert await goes_to(hub, {"type": "oru"}, "branch/in") == ["east/up"]
    await hub.reached(DeliveryState.DELIVERED, 7)


async def test_one_route_to_several_targets_makes_one_delivery_each(site: Site, start: StartHub) -> None:
    site.target("a")
    site.target("b")
    site.config["routes"] = {
        "both": {"from": ["his", "his/in"], "to": ["b/up", "a/up"]},
        "again": {"from": "his", "to": "a/up"},
    }
    hub = await start(site)
    assert await goes_to(hub, {"type": "t"}) == ["b/up", "a/up", "a/up"]
    await hub.reached(DeliveryState.DELIVERED, 3)
    report = await hub.node.store.reader.verify_ledger()
    assert {(row.route, row.target): row.delivered for row in report.rows} == {
        ("both", "b/up"): 1,
        ("both", "a/up"): 1,
        ("again", "a/up"): 1,
    }


async def test_a_condition_that_can_not_be_answered_refuses_the_message(site: Site, start: StartHub) -> None:
    site.target()
    site.config["routes"]["to_sink"]["when"] = "(age | number) > 60"
    hub = await start(site)
    assert await goes_to(hub, {"type": "t", "age": "61"}) == ["sink/up"]
    assert await goes_to(hub, {"type": "t", "age": "9"}) == []
    receipt = await hub.wire.submit("his/in", {"type": "t", "age": "old"})
    assert not receipt.accepted
    assert receipt.error is not None
    assert "routes.to_sink.when" in receipt.error.text
    await hub.reached(DeliveryState.DELIVERED)


async def test_made_up_types_do_not_grow_the_memory(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.router._CACHE_LIMIT", 10)
    site.target()
    site.config["routes"]["to_sink"]["types"] = ["t7", "t42"]
    hub = await start(site)
    for number in range(50):
        assert await goes_to(hub, {"type": f"t{number}"}) == (["sink/up"] if number in (7, 42) else [])
    assert await goes_to(hub, {"type": "t7"}) == ["sink/up"]
    await hub.reached(DeliveryState.DELIVERED, 3)
