"""What is outside of somebody's scope is not there: in lists, by number, in counts, errors, orders and pages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.api import Outgoing, PermanentError, Reply
from hub.contract import SystemConfig
from hub.ids import id_text
from hub.message import DeliveryState
from hub.people.rights import Scope
from tests.kernel.kernel_support import Site
from tests.people.conftest import Client, OpenPlace, Place

ROLES = ("integration_engineer", "seer")
SECURITY = {"roles": {"seer": {"rights": ["personal.read", "audit.read", "deliveries.delete"]}}}


def refuse(outgoing: Outgoing) -> Reply:
    raise PermanentError("not like this")


async def two_hospitals(
    place: OpenPlace, site: Site, scope: dict[str, Any]
) -> tuple[Place, Client, dict[str, list[str]]]:
    """``east`` and ``west`` each send to a target of their own and to the shared one; somebody has a scope in the east."""
    for name, institution, region in (("east", "东院", "330106"), ("west", "西院", "440305")):
        site.system(name, "his")
        site.config["systems"][name] |= {"institution": institution, "region": region}
        site.target(f"{name}_lab")
        site.config["systems"][f"{name}_lab"] |= {"institution": institution, "region": region}
        site.config["routes"][f"to_{name}_lab"]["from"] = name
    site.target("shared")
    site.config["routes"]["to_shared"]["from"] = ["east", "west"]
    for name in ("east_lab", "west_lab", "shared"):
        site.peer(f"{name}/up").react = refuse
    here = await place(SECURITY)
    ids: dict[str, list[str]] = {}
    for name in ("east", "west"):
        for number in range(3):
            receipt = await here.hub.wire.submit(
                f"{name}/in", {"id": f"{name}{number}", "type": "t", "pid": f"P-{name}-{number}", "key": str(number)}
            )
            ids.setdefault(name, []).append(id_text(receipt.message_id))
    await here.hub.reached(DeliveryState.DEAD, 12)
    await here.person("eve", *ROLES, scope=scope)
    return here, await here.sign_in("eve"), ids


SCOPES = [{"systems": ["east*"]}, {"institutions": ["东院"]}, {"regions": ["3301"]}, {"regions": ["330000"]}]


@pytest.mark.parametrize("scope", SCOPES, ids=str)
async def test_nothing_of_others_is_seen(place: OpenPlace, site: Site, scope: dict[str, Any]) -> None:
    _here, eve, ids = await two_hospitals(place, site, scope)
    rows = (await eve.done("GET", "/api/v1/messages"))["messages"]
    assert [row["control_id"] for row in rows] == ["east2", "east1", "east0"]
    paths = [
        "/api/v1/messages?limit=1000&clear=1",
        "/api/v1/messages?state=dead&target=shared",
        "/api/v1/deliveries?limit=1000",
        "/api/v1/deliveries?state=dead",
        "/api/v1/calls?limit=1000&bodies=1&clear=1",
        "/api/v1/callbacks",
        "/api/v1/quality",
        "/api/v1/quality/reports",
        "/api/v1/status",
        "/api/v1/plugins",
        *(f"/api/v1/messages/{number}?clear=1" for number in ids["east"]),
    ]
    for path in paths:
        answer = await eve.call("GET", path)
        assert answer.status == 200, (path, answer.raw)
        assert b"west" not in answer.raw, path
    for number in ids["east"]:
        assert b"east" in (await eve.call("GET", f"/api/v1/messages/{number}/raw")).raw


async def test_what_is_asked_for_by_name_is_not_there(place: OpenPlace, site: Site) -> None:
    _here, eve, _ids = await two_hospitals(place, site, {"systems": ["east*"]})
    for query in (
        "system=west",
        "source=west/in",
        "control_id=west1",
        "key.patient_id=P-west-1",
        "target=west_lab",
        "route=to_west_lab",
        "source=west/in&system=east",
    ):
        found = await eve.done("GET", f"/api/v1/messages?{query}")
        assert (found["messages"], found["more"]) == ([], False), query
    for query in ("target=west_lab", "target=west_lab/up", "target=shared", "route=to_west_lab"):
        assert (await eve.done("GET", f"/api/v1/deliveries?{query}"))["deliveries"] == [], query
    for query in ("place=west", "place=west/in", "place=shared/up"):
        assert (await eve.done("GET", f"/api/v1/calls?{query}"))["calls"] == [], query


async def test_a_number_of_others_is_answered_like_one_there_is_not(place: OpenPlace, site: Site) -> None:
    here, eve, ids = await two_hospitals(place, site, {"systems": ["east*"]})
    nobody = "0000000000001"
    others = ids["west"][0]
    deliveries = {d.target: id_text(d.id) for d in await here.hub.deliveries() if id_text(d.message_id) == others}

    async def same(method: str, path: str, body: Any, *numbers: str) -> None:
        answers = []
        for number in (nobody, *numbers):
            text = path.replace("{}", number)
            order = None if body is None else {**body, "ids": [number]}
            answer = await eve.call(method, text, order)
            answers.append((answer.status, answer.raw.replace(number.encode(), b"#")))
        assert len(set(answers)) == 1, answers

    await same("GET", "/api/v1/messages/{}", None, others)
    await same("GET", "/api/v1/messages/{}/raw", None, others)
    for verb in ("resend", "hold", "ignore", "delete"):
        await same("POST", f"/api/v1/deliveries/{verb}", {}, *deliveries.values())
    await same("POST", "/api/v1/deliveries/forward", {"target": "east_lab/up"}, *deliveries.values())
    await same("POST", "/api/v1/replay", {}, others)
    await same("POST", "/api/v1/replay", {"dry_run": False}, others)
    await same("POST", "/api/v1/quality/rerun", {}, others)
    assert len(await here.hub.deliveries(DeliveryState.DEAD)) == 12


async def test_places_of_others_are_answered_like_places_there_are_not(place: OpenPlace, site: Site) -> None:
    _here, eve, ids = await two_hospitals(place, site, {"systems": ["east*"]})

    async def same(method: str, path: str, body: Any, theirs: str, none: str) -> None:
        answers = []
        for name in (theirs, none):
            order = {
                key: value.replace("{}", name) if isinstance(value, str) else value
                for key, value in (body or {}).items()
            }
            answer = await eve.call(method, path.replace("{}", name), order)
            answers.append((answer.status, answer.raw.decode().replace(name, "#")))
        assert answers[0] == answers[1]
        assert "west_lab" not in answers[1][1]

    await same("POST", "/api/v1/interfaces/{}/in/messages", {"id": "x"}, "west", "nowhere")
    await same("POST", "/api/v1/interfaces/{}/in/poll", {}, "west", "nowhere")
    await same("POST", "/api/v1/probe", {"place": "{}"}, "west_lab", "nowhere")
    mine = (await eve.done("GET", "/api/v1/deliveries?state=dead"))["deliveries"][0]["id"]
    await same("POST", "/api/v1/deliveries/forward", {"ids": [mine], "target": "{}/up"}, "west_lab", "nowhere")
    await same("POST", "/api/v1/replay", {"ids": ids["east"][:1], "target": "{}/up"}, "west_lab", "nowhere")


async def test_orders_by_query_reach_no_further_than_the_scope(place: OpenPlace, site: Site) -> None:
    here, eve, ids = await two_hospitals(place, site, {"systems": ["east*"]})
    done = await eve.done("POST", "/api/v1/deliveries/ignore", {"query": {"state": "dead"}, "reason": "x"})
    assert len(done["done"]) == 3  # those to the lab of the east
    left = {d.target for d in await here.hub.deliveries(DeliveryState.DEAD)}
    assert left == {"west_lab/up", "shared/up"}
    results = (await eve.done("POST", "/api/v1/replay", {"query": {"type": "t"}}))["results"]
    assert {row["message_id"] for row in results} == set(ids["east"])
    assert (await eve.done("POST", "/api/v1/replay", {"query": {"system": "west"}}))["results"] == []


async def test_deliveries_of_an_own_message_can_be_acted_on_wherever_they_went(place: OpenPlace, site: Site) -> None:
    _here, eve, ids = await two_hospitals(place, site, {"systems": ["east"]})
    shown = await eve.done("GET", f"/api/v1/messages/{ids['east'][0]}")
    assert {row["target"] for row in shown["deliveries"]} == {"east_lab/up", "shared/up"}
    wanted = [row["id"] for row in shown["deliveries"] if row["target"] == "shared/up"]
    assert (await eve.done("POST", "/api/v1/deliveries/hold", {"ids": wanted}))["done"] == wanted


async def test_who_only_receives_sees_what_they_got_but_not_what_was_received(place: OpenPlace, site: Site) -> None:
    _here, eve, ids = await two_hospitals(place, site, {"systems": ["shared"]})
    assert (await eve.done("GET", "/api/v1/messages"))["messages"] == []
    rows = (await eve.done("GET", "/api/v1/deliveries?limit=100"))["deliveries"]
    assert {row["target"] for row in rows} == {"shared/up"}
    assert len(rows) == 6
    await eve.refused(404, "message.unknown", "GET", f"/api/v1/messages/{ids['east'][0]}")
    await eve.refused(404, "message.unknown", "GET", f"/api/v1/messages/{ids['east'][0]}/raw")
    await eve.refused(422, "message.unknown", "POST", "/api/v1/replay", {"ids": ids["east"][:1]})


async def test_what_concerns_the_whole_hub_is_not_for_a_part_of_it(place: OpenPlace, site: Site) -> None:
    _here, eve, _ = await two_hospitals(place, site, {"systems": ["east*"]})
    for method, path in (
        ("GET", "/metrics"),
        ("POST", "/api/v1/reload"),
        ("GET", "/api/v1/tables/unmapped"),
        ("GET", "/api/v1/ledger"),
        ("GET", "/api/v1/audit"),
        ("GET", "/api/v1/callers"),
        ("GET", "/api/v1/caller-usage"),
    ):
        await eve.refused(403, "auth.scope", method, path)


async def test_pages_hold_only_what_is_own(place: OpenPlace, site: Site) -> None:
    _here, eve, _ = await two_hospitals(place, site, {"systems": ["east*"]})
    seen: list[str] = []
    before = ""
    while True:
        page = await eve.done("GET", f"/api/v1/messages?limit=1&before={before}")
        seen += [row["control_id"] for row in page["messages"]]
        if not page["more"]:
            break
        before = page["messages"][-1]["id"]
    assert seen == ["east2", "east1", "east0"]


async def test_an_empty_scope_sees_nothing_at_all(place: OpenPlace, site: Site) -> None:
    _here, eve, _ = await two_hospitals(place, site, {})
    assert (await eve.done("GET", "/api/v1/messages"))["messages"] == []
    assert (await eve.done("GET", "/api/v1/deliveries"))["deliveries"] == []
    (worker,) = (await eve.done("GET", "/api/v1/status"))["workers"]
    assert (worker["inbound"], worker["outbound"]) == ({}, {})


async def test_a_reload_moves_a_system_into_the_scope_at_once(place: OpenPlace, site: Site) -> None:
    here, eve, _ = await two_hospitals(place, site, {"institutions": ["东院"]})
    site.config["systems"]["west"]["institution"] = "东院"
    site.write()
    await here.root.done("POST", "/api/v1/reload")
    assert len((await eve.done("GET", "/api/v1/messages"))["messages"]) == 6


# -- scopes themselves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "label", "within"),
    [
        ("330106", "330106", True),
        ("3301", "330106", True),
        ("330100", "330106", True),
        ("330000", "330106", True),
        ("33", "330106", True),
        ("330106", "330100", False),
        ("330106", "3301", False),
        ("3302", "330106", False),
        ("330200", "330106", False),
        ("邵阳", "邵阳", True),
        ("邵", "邵阳", False),
        ("3", "330106", False),
    ],
)
def test_regions_contain_what_begins_like_them(region: str, label: str, within: bool) -> None:
    systems = {"a": SystemConfig(plugin="his", region=label)}
    assert (Scope(regions=(region,)).within(systems) == {"a"}) is within


names = st.text("abc_*", min_size=1, max_size=6)


@given(st.lists(names, max_size=4), st.lists(names, max_size=4))
def test_a_scope_covers_what_is_not_wider(one: list[str], other: list[str]) -> None:
    first, second = Scope(systems=tuple(one)), Scope(systems=tuple(other))
    systems = {name: SystemConfig(plugin="x") for name in ("a", "b", "ab", "abc", "c_a")}
    if first.covers(second):
        inner, outer = second.within(systems), first.within(systems)
        assert inner is not None
        assert outer is not None
        assert inner <= outer
    assert not first.covers(Scope(everything=True))
    assert Scope.read(first.as_dict()) == first


@given(st.text(max_size=30))
def test_patterns_are_no_regular_expressions(text: str) -> None:
    systems = {"east": SystemConfig(plugin="x")}
    found = Scope(systems=(text,)).within(systems)
    if found:
        assert text == "east" or "*" in text
