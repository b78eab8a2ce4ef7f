"""Users, roles, tokens, a second person's approval."""

from __future__ import annotations

import asyncio

import pytest

from hub.admin.operations import OPERATIONS
from hub.api import Outgoing, PermanentError, Reply
from hub.ids import id_text
from hub.message import DeliveryState
from hub.people.errors import NotAllowed
from hub.people.rights import APPROVABLE, RIGHTS, ROLES, Scope
from hub.people.sessions import API_PREFIX
from tests.kernel.kernel_support import Site
from tests.people.conftest import PASSWORD, Client, OpenPlace, Place

ALL = {"everything": True}


def refuse(outgoing: Outgoing) -> Reply:
    raise PermanentError("not like this")


async def dead(here: Place, site: Site, count: int) -> list[str]:
    site.peer().react = refuse
    await here.hub.send(count)
    return [id_text(delivery.id) for delivery in await here.hub.reached(DeliveryState.DEAD, count)]


# -- who may what ------------------------------------------------------------------------------------------------------


def test_every_operation_says_which_right_it_takes() -> None:
    for operation in OPERATIONS:
        assert operation.open or operation.login or operation.right in RIGHTS, (operation.method, operation.path)


def test_there_is_no_right_without_a_use() -> None:
    used = {operation.right for operation in OPERATIONS if not operation.open and not operation.login} | {
        "personal.read",
        "deliveries.delete",
    }
    assert set(RIGHTS) == used


def path_of(path: str) -> str:
    for name, value in (("{id}", "0" * 13), ("{verb}", "hold"), ("{system}", "his"), ("{interface}", "in")):
        path = path.replace(name, value)
    for name in ("{decision}", "{caller}", "{credential}", "{portal}"):
        path = path.replace(name, "nobody")
    return path


@pytest.mark.parametrize("role", [*ROLES, "nothing"])
async def test_each_role_may_what_it_says_and_nothing_else(place: OpenPlace, role: str) -> None:
    here = await place()
    await here.person("someone", *([role] if role != "nothing" else []))
    client = await here.fresh("someone") if role != "nothing" else await here.sign_in("someone")
    rights = ROLES.get(role, frozenset())
    for operation in OPERATIONS:
        if operation.open or operation.login or operation.path in ("/api/v1/reload", "/api/v1/session/verify"):
            continue
        answer = await client.call(
            operation.method, path_of(operation.path), b"{}" if operation.method != "GET" else None
        )
        forbidden = answer.status == 403 and answer.json["code"] == "auth.forbidden"
        allowed = operation.right in rights
        assert forbidden is not allowed, (role, operation.method, operation.path, answer.raw)
        assert answer.status != 500, (operation.path, answer.raw)


async def test_own_roles_come_from_the_configuration(place: OpenPlace) -> None:
    here = await place(
        {"roles": {"night_watch": {"name": "夜班", "rights": ["status.read"]}, "monitor": {"rights": ["probe.run"]}}}
    )
    await here.person("owl", "night_watch")
    await here.person("day", "monitor")
    owl, day = await here.sign_in("owl"), await here.sign_in("day")
    await owl.done("GET", "/api/v1/status")
    await owl.refused(403, "auth.forbidden", "POST", "/api/v1/probe", {"place": "sink"})
    await day.refused(403, "auth.forbidden", "GET", "/api/v1/status")
    await day.done("POST", "/api/v1/probe", {"place": "sink"})


async def test_deleting_wants_a_right_of_its_own_and_personal_data_another(place: OpenPlace, site: Site) -> None:
    here = await place({"roles": {"mender": {"rights": ["messages.read", "deliveries.act", "replay.run"]}}})
    await here.person("mender", "mender")
    ids = await dead(here, site, 1)
    client = await here.sign_in("mender")
    await client.refused(403, "auth.forbidden", "POST", "/api/v1/deliveries/delete", {"ids": ids})
    await client.done("POST", "/api/v1/deliveries/hold", {"ids": ids})
    (row,) = (await client.done("GET", "/api/v1/messages"))["messages"]
    for path in (
        f"/api/v1/messages/{row['id']}/raw",
        f"/api/v1/messages/{row['id']}?clear=1",
        "/api/v1/messages?clear=1",
    ):
        await client.refused(403, "auth.forbidden", "GET", path)
    await client.refused(403, "auth.forbidden", "GET", "/api/v1/calls?bodies=1&clear=1")


async def test_the_actor_of_an_order_is_who_is_signed_in(place: OpenPlace, site: Site) -> None:
    here = await place()
    await here.person("zhang", "integration_engineer")
    ids = await dead(here, site, 1)
    client = await here.sign_in("zhang")
    await client.done("POST", "/api/v1/deliveries/hold", {"ids": ids}, X_Actor="somebody.else")
    (entry,) = await here.hub.node.store.reader.audit()
    assert entry["entry"]["actor"] == "zhang"


async def test_a_hub_without_its_token(place: OpenPlace) -> None:
    here = await place(token="")
    await here.person("zhang", "monitor")
    for token in ("", " ", "Bearer"):
        await here.client(token).refused(401, "auth.required", "GET", "/api/v1/status")
    await (await here.sign_in("zhang")).done("GET", "/api/v1/status")


# -- users -------------------------------------------------------------------------------------------------------------


async def test_users_are_made_changed_and_found(place: OpenPlace) -> None:
    here = await place()
    await here.person("boss", "administrator")
    boss = await here.fresh("boss")
    new = {
        "id": "li.si",
        "name": "李四",
        "phone": "13900000000",
        "institution": "东院",
        "roles": ["tester"],
        "scope": {"systems": ["his"]},
    }
    made = await boss.done("POST", "/api/v1/users", {**new, "reason": "new"}, 201)
    assert made["phone"] != "13900000000"
    await boss.refused(422, "user.exists", "POST", "/api/v1/users", new)
    for wrong, code in (
        ({"id": "Li Si"}, "user.id"),
        ({"id": "x2", "roles": ["king"]}, "user.roles"),
        ({"id": "x2", "phone": "call me"}, "user.field"),
        ({"id": "x2", "password": "x"}, "user.field"),
        ({"id": "x2", "scope": {"systems": "*"}}, "user.field"),
        ({"id": "x2", "scope": {"everything": True, "systems": ["a"]}}, "user.field"),
    ):
        await boss.refused(422, code, "POST", "/api/v1/users", wrong)
    for words in ("word=李", "word=1390", "institution=%E4%B8%9C%E9%99%A2", "role=tester"):
        assert [u["id"] for u in (await boss.done("GET", f"/api/v1/users?{words}"))["users"]] == ["li.si"], words
    await boss.done("PATCH", "/api/v1/users/li.si", {"note": "nights", "roles": ["monitor"]})
    assert (await boss.done("GET", "/api/v1/users/li.si"))["roles"] == ["monitor"]
    assert (await boss.done("GET", "/api/v1/users/li.si?clear=1"))["phone"] == "13900000000"
    actions = [entry["action"] for entry in here.entries()]
    assert {"user.add", "user.set", "access.user", "user.password"} <= set(actions)
    assert "13900000000" not in str(here.entries())
    await boss.refused(422, "user.unknown", "GET", "/api/v1/users/nobody")


async def test_a_change_of_rights_signs_out(place: OpenPlace) -> None:
    here = await place()
    await here.person("boss", "administrator")
    await here.person("zhang", "monitor")
    boss, zhang = await here.fresh("boss"), await here.sign_in("zhang")
    await boss.done("PATCH", "/api/v1/users/zhang", {"note": "x"})
    await zhang.done("GET", "/api/v1/status")
    await boss.done("PATCH", "/api/v1/users/zhang", {"roles": []})
    await zhang.refused(401, "auth.required", "GET", "/api/v1/status")


async def test_nobody_gives_more_than_they_have(place: OpenPlace) -> None:
    here = await place({"roles": {"clerk": {"rights": ["users.read", "users.manage"]}}})
    await here.person("clerk", "clerk", scope={"institutions": ["东院"]})
    await here.person("boss", "administrator")
    await here.person("west", scope={"institutions": ["西院"]})
    await here.person("big", "integration_engineer", scope={"institutions": ["东院"]})
    clerk = await here.fresh("clerk")
    own = {"institutions": ["东院"]}
    await clerk.refused(
        403, "user.rights", "POST", "/api/v1/users", {"id": "x1", "roles": ["administrator"], "scope": own}
    )
    await clerk.refused(403, "user.scope", "POST", "/api/v1/users", {"id": "x1", "roles": ["clerk"], "scope": ALL})
    await clerk.refused(403, "user.rights", "PATCH", "/api/v1/users/clerk", {"roles": ["administrator"]})
    await clerk.refused(403, "user.scope", "PATCH", "/api/v1/users/clerk", {"scope": ALL})
    await clerk.refused(403, "user.rights", "POST", "/api/v1/users/big/password", {})
    for user in ("boss", "west"):  # as if there were no such user
        for method, path, body in (
            ("GET", f"/api/v1/users/{user}", None),
            ("PATCH", f"/api/v1/users/{user}", {"note": "x"}),
            ("POST", f"/api/v1/users/{user}/password", {}),
            ("POST", f"/api/v1/users/{user}/unlock", None),
            ("POST", f"/api/v1/users/{user}/state", {"state": "frozen", "reason": "x"}),
        ):
            await clerk.refused(422, "user.unknown", method, path, body)
    assert [u["id"] for u in (await clerk.done("GET", "/api/v1/users"))["users"]] == ["big", "clerk"]
    await clerk.done("POST", "/api/v1/users", {"id": "x1", "roles": ["clerk"], "scope": own}, 201)


async def test_the_last_administrator_stays(place: OpenPlace) -> None:
    here = await place()
    await here.person("boss", "administrator")
    boss = await here.fresh("boss")
    await boss.refused(422, "user.last", "PATCH", "/api/v1/users/boss", {"roles": ["monitor"]})
    await boss.refused(422, "user.last", "PATCH", "/api/v1/users/boss", {"scope": {"systems": ["his"]}})
    await boss.refused(422, "user.last", "POST", "/api/v1/users/boss/state", {"state": "closed", "reason": "x"})
    await here.person("second", "administrator")
    await boss.done("PATCH", "/api/v1/users/boss", {"roles": ["monitor"]})


async def test_an_authenticator_that_was_lost(place: OpenPlace) -> None:
    here = await place()
    await here.person("boss", "administrator")
    await here.person("zhang", "monitor")
    await here.with_totp(await here.sign_in("zhang"))
    boss = await here.fresh("boss")
    await boss.done("DELETE", "/api/v1/users/zhang/second-factor", {"reason": "lost"})
    await here.sign_in("zhang")


# -- personal tokens ---------------------------------------------------------------------------------------------------


async def test_a_personal_token_has_at_most_the_rights_of_its_owner(place: OpenPlace) -> None:
    here = await place()
    await here.person("boss", "administrator")
    await here.person("zhang", "integration_engineer")
    boss, zhang = await here.fresh("boss"), await here.fresh("zhang")
    order = {"rights": ["status.read", "probe.run"], "days": 30, "note": "script"}
    await zhang.refused(422, "token.rights", "POST", "/api/v1/tokens", {**order, "rights": ["users.manage"]})
    await zhang.refused(422, "token.rights", "POST", "/api/v1/tokens", {**order, "rights": []})
    await zhang.refused(422, "token.days", "POST", "/api/v1/tokens", {**order, "days": 366})
    made = await zhang.done("POST", "/api/v1/tokens", order, 201)
    assert made["token"].startswith(API_PREFIX)
    script = here.client(made["token"])
    await script.done("GET", "/api/v1/status")
    await script.refused(403, "auth.forbidden", "GET", "/api/v1/messages")
    for method, path in (("POST", "/api/v1/tokens"), ("GET", "/api/v1/sessions"), ("POST", "/api/v1/session/verify")):
        await script.refused(403, "auth.forbidden", method, path, {} if method == "POST" else None)
    await script.refused(401, "login.over", "POST", "/api/v1/password", {"old": PASSWORD, "new": "Mountain#1x"})
    await boss.done("PATCH", "/api/v1/users/zhang", {"note": "x"})
    await script.done("GET", "/api/v1/status")
    here.clock.now += 30 * 86400 + 1
    await script.refused(401, "auth.required", "GET", "/api/v1/status")


async def test_a_personal_token_ends_with_rights_state_and_by_its_owner(place: OpenPlace) -> None:
    here = await place()
    await here.person("zhang", "integration_engineer")
    zhang = await here.fresh("zhang")
    made = await zhang.done("POST", "/api/v1/tokens", {"rights": ["status.read"]}, 201)
    script = here.client(made["token"])
    (row,) = (await zhang.done("GET", "/api/v1/tokens"))["tokens"]
    assert "token" not in row
    await zhang.done("POST", "/api/v1/logout", {"everywhere": True})
    await script.done("GET", "/api/v1/status")
    zhang = await here.sign_in("zhang")
    await zhang.done("DELETE", f"/api/v1/tokens/{row['id']}")
    await script.refused(401, "auth.required", "GET", "/api/v1/status")


# -- a second person ---------------------------------------------------------------------------------------------------


async def approvers(here: Place) -> tuple[Client, Client]:
    await here.person("one", "administrator")
    await here.person("two", "administrator")
    return await here.fresh("one"), await here.fresh("two")


async def test_a_change_of_rights_waits_for_another_person(place: OpenPlace) -> None:
    here = await place({"approvals": {"actions": ["users.rights"]}})
    one, two = await approvers(here)
    await here.person("zhang", "monitor")
    change = {"roles": ["administrator"], "reason": "promoted"}
    await one.refused(422, "approval.reason", "PATCH", "/api/v1/users/zhang", {"roles": ["tester"]})
    asked = (await one.done("PATCH", "/api/v1/users/zhang", change, 202))["approval"]
    assert (await one.done("GET", "/api/v1/users/zhang"))["roles"] == ["monitor"]
    path = f"/api/v1/approvals/{asked['id']}"
    await one.refused(403, "approval.own", "POST", f"{path}/approve", {})
    await here.root.refused(403, "auth.person", "POST", f"{path}/approve", {}, X_Actor="two")
    zhang = await here.sign_in("zhang")
    await zhang.refused(403, "auth.forbidden", "POST", f"{path}/approve", {})
    assert (await zhang.done("GET", "/api/v1/approvals"))["approvals"] == []
    done = await two.done("POST", f"{path}/approve", {})
    assert (done["approval"]["state"], done["result"]["roles"]) == ("done", ["administrator"])
    await two.refused(422, "approval.state", "POST", f"{path}/approve", {})
    actions = [e["action"] for e in here.entries()]
    for action in ("approval.ask", "approval.approved", "approval.start", "user.set", "approval.done"):
        assert actions.count(action) == 1


async def test_what_is_rejected_or_lapsed_is_not_done(place: OpenPlace) -> None:
    here = await place({"approvals": {"actions": ["users.rights"], "within": "1h"}, "second_factor": {"fresh": "12h"}})
    one, two = await approvers(here)
    await here.person("zhang", "monitor")
    change = {"state": "frozen", "reason": "on leave"}
    asked = (await one.done("POST", "/api/v1/users/zhang/state", change, 202))["approval"]["id"]
    await two.refused(422, "approval.reason", "POST", f"/api/v1/approvals/{asked}/reject", {})
    await two.done("POST", f"/api/v1/approvals/{asked}/reject", {"reason": "no"})
    await two.refused(422, "approval.state", "POST", f"/api/v1/approvals/{asked}/approve", {})
    asked = (await one.done("POST", "/api/v1/users/zhang/state", change, 202))["approval"]["id"]
    here.clock.now += 1700
    await two.done("GET", "/api/v1/status")
    here.clock.now += 1700
    await two.done("GET", "/api/v1/status")
    here.clock.now += 250
    await two.refused(422, "approval.state", "POST", f"/api/v1/approvals/{asked}/approve", {})
    states = {row["id"]: row["state"] for row in (await two.done("GET", "/api/v1/approvals"))["approvals"]}
    assert states[asked] == "lapsed"
    await here.sign_in("zhang")


async def test_whoever_asked_must_still_be_allowed(place: OpenPlace) -> None:
    here = await place({"approvals": {"actions": ["users.rights"]}})
    one, two = await approvers(here)
    await here.person("zhang", "monitor")
    asked = (await one.done("PATCH", "/api/v1/users/zhang", {"roles": ["tester"], "reason": "x"}, 202))["approval"][
        "id"
    ]
    await here.people.run(lambda: here.people.records.book.set_state("test", "one", "frozen", reason="left"))
    done = await two.done("POST", f"/api/v1/approvals/{asked}/approve", {})
    assert done["approval"]["state"] == "failed"
    assert (await two.done("GET", "/api/v1/users/zhang"))["roles"] == ["monitor"]


async def test_deleting_many_waits_and_is_done_once(place: OpenPlace, site: Site) -> None:
    here = await place({"approvals": {"actions": ["deliveries.delete"]}})
    one, two = await approvers(here)
    ids = await dead(here, site, 3)
    await one.done("POST", "/api/v1/deliveries/delete", {"ids": ids[:1]})
    for order in ({"ids": ids[1:]}, {"query": {"state": "dead"}}):
        asked = await one.done("POST", "/api/v1/deliveries/delete", {**order, "reason": "test data"}, 202)
        assert len(await here.hub.deliveries(DeliveryState.DEAD)) == 2
    done = await two.done("POST", f"/api/v1/approvals/{asked['approval']['id']}/approve", {})
    assert sorted(done["result"]["done"]) == sorted(ids[1:])
    (entry,) = [
        e["entry"] for e in await here.hub.node.store.reader.audit() if len(e["entry"]["detail"]["deliveries"]) == 2
    ]
    assert entry["actor"] == "one"


async def test_orders_at_the_command_line_are_claimed_once(place: OpenPlace) -> None:
    here = await place({"approvals": {"actions": ["keys.destroy"]}})
    _, two = await approvers(here)
    claim = here.people.records.approvals.claim

    def attempt() -> str:
        try:
            claim("keys.destroy", "ministry@1", "os.user", "worn out")
        except NotAllowed as error:
            return error.code
        return ""

    assert await here.people.run(attempt) == "approval.waiting"
    assert await here.people.run(attempt) == "approval.waiting"
    (row,) = (await two.done("GET", "/api/v1/approvals"))["approvals"]
    await two.done("POST", f"/api/v1/approvals/{row['id']}/approve", {})
    assert await here.people.run(attempt) == ""
    assert await here.people.run(attempt) == "approval.waiting"
    assert await here.people.run(lambda: claim("keys.export", "ministry@1", "os.user", "x")) is None


def test_what_can_be_approved() -> None:
    assert set(APPROVABLE) >= {"keys.export", "keys.destroy", "keys.master", "users.rights", "deliveries.delete"}


def test_what_is_no_scope() -> None:
    for wrong in (
        None,
        [],
        {"x": 1},
        {"systems": [1]},
        {"systems": [""]},
        {"everything": 1},
        {"regions": ["x"] * 1001},
    ):
        with pytest.raises(ValueError):
            Scope.read(wrong)


async def test_of_two_who_approve_at_once_one_does_it(place: OpenPlace) -> None:
    here = await place({"approvals": {"actions": ["users.rights"]}})
    one, two = await approvers(here)
    await here.person("three", "administrator")
    three = await here.fresh("three")
    await here.person("zhang", "monitor")
    asked = (await one.done("PATCH", "/api/v1/users/zhang", {"roles": ["tester"], "reason": "x"}, 202))["approval"][
        "id"
    ]
    path = f"/api/v1/approvals/{asked}/approve"
    answers = await asyncio.gather(*(client.call("POST", path, {}) for client in (two, three) * 3))
    assert sorted(answer.status for answer in answers) == [200, 422, 422, 422, 422, 422]
    assert [e["action"] for e in here.entries()].count("user.set") == 1
