"""Signing in: passwords, sessions, lockout, what is told and what is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.people.sessions import csrf_of
from tests.people.conftest import PASSWORD, OpenPlace

LOGIN = "/api/v1/login"


async def test_signing_in_and_out(place: OpenPlace) -> None:
    here = await place()
    await here.person("zhang.san", "monitor", name="张三", phone="13800000000")
    client = await here.sign_in("zhang.san")
    me = await client.done("GET", "/api/v1/me")
    assert (me["id"], me["roles"], me["state"]) == ("zhang.san", ["monitor"], "normal")
    await client.done("GET", "/api/v1/status")
    await client.done("POST", "/api/v1/logout")
    await client.refused(401, "auth.required", "GET", "/api/v1/status")
    await client.refused(401, "login.over", "GET", "/api/v1/me")


async def test_names_and_tokens_are_not_readable_in_the_file(place: OpenPlace) -> None:
    here = await place()
    await here.person("zhang.san", "monitor", name="张三丰真人", phone="13800000000", mail="zhang@example.org")
    client = await here.sign_in("zhang.san")
    folder = here.people.records.database.path.parent
    stored = b"".join(path.read_bytes() for path in folder.glob("access.db*"))
    for secret in (client.token, "张三丰真人", "13800000000", "zhang@example.org", PASSWORD):
        assert secret.encode() not in stored
    assert (folder / "people.key").stat().st_mode & 0o077 == 0


async def test_an_unknown_user_is_answered_like_a_wrong_password(
    place: OpenPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = await place()
    await here.person("zhang", "monitor")
    client = here.client()
    work: list[int] = []
    text = here.people.records.passwords._text
    monkeypatch.setattr(here.people.records.passwords, "_text", lambda *a: work.append(a[1]) or text(*a))
    answers = []
    for user in ("zhang", "nobody.at.all"):
        work.clear()
        answer = await client.call("POST", LOGIN, {"user": user, "password": "Wrong#12345"})
        answers.append((answer.status, answer.json, dict(answer.headers).get("WWW-Authenticate"), list(work)))
    assert answers[0] == answers[1]
    # Locked alike, too.
    for user in ("zhang", "nobody.at.all"):
        for _ in range(4):
            await client.refused(401, "login.wrong", "POST", LOGIN, {"user": user, "password": "Wrong#12345"})
        await client.refused(429, "login.locked", "POST", LOGIN, {"user": user, "password": PASSWORD})


async def test_what_is_typed_as_a_name_is_not_kept(place: OpenPlace) -> None:
    here = await place()
    await here.person("zhang", "auditor")
    client = here.client()
    await client.refused(401, "login.wrong", "POST", LOGIN, {"user": "MyPassword#1", "password": "x"})
    auditor = await here.sign_in("zhang")
    answer = await auditor.call("GET", "/api/v1/login-log")
    assert answer.status == 200
    assert b"MyPassword" not in answer.raw
    stored = b"".join(p.read_bytes() for p in here.people.records.database.path.parent.glob("access.db*"))
    assert b"MyPassword" not in stored


async def test_an_account_is_locked_and_comes_back(place: OpenPlace) -> None:
    here = await place({"login": {"tries": 3, "lock": "2h"}})
    await here.person("zhang", "monitor")
    client = here.client()
    for _ in range(3):
        await client.refused(401, "login.wrong", "POST", LOGIN, {"user": "zhang", "password": "no"})
    answer = await client.call("POST", LOGIN, {"user": "zhang", "password": PASSWORD})
    assert (answer.status, int(answer.headers["Retry-After"])) == (429, 7200)
    here.clock.now += 7199
    await client.refused(429, "login.locked", "POST", LOGIN, {"user": "zhang", "password": PASSWORD})
    here.clock.now += 2
    await here.sign_in("zhang")
    for _ in range(2):  # a success has ended the row of failures
        await client.refused(401, "login.wrong", "POST", LOGIN, {"user": "zhang", "password": "no"})
    await here.sign_in("zhang")


async def test_many_at_once_get_no_more_tries(place: OpenPlace) -> None:
    here = await place({"login": {"tries": 3}})
    await here.person("zhang", "monitor")
    client = here.client()
    tries = [client.call("POST", LOGIN, {"user": "zhang", "password": f"no{n}"}) for n in range(12)]
    codes = [answer.json["code"] for answer in await asyncio.gather(*tries)]
    assert codes.count("login.wrong") == 3
    assert codes.count("login.locked") == 9


async def test_strangers_cannot_lock_out_who_signs_in_from_the_usual_place(place: OpenPlace) -> None:
    here = await place({"login": {"tries": 2}}, proxies=["127.0.0.0/8"])
    await here.person("root.admin", "administrator")
    client = here.client()
    mine, stranger = {"X-Forwarded-For": "10.1.1.7"}, {"X-Forwarded-For": "203.0.113.9"}
    right = {"user": "root.admin", "password": PASSWORD}
    await client.done("POST", LOGIN, right, X_Forwarded_For=mine["X-Forwarded-For"])
    await client.refused(401, "login.wrong", "POST", LOGIN, {**right, "password": "x"}, **stranger)
    await client.refused(401, "login.wrong", "POST", LOGIN, {**right, "password": "x"}, **stranger)
    await client.refused(429, "login.locked", "POST", LOGIN, right, **stranger)
    await client.refused(429, "login.locked", "POST", LOGIN, right, **{"X-Forwarded-For": "198.51.100.1"})
    await client.done("POST", LOGIN, right, **mine)
    await here.root.done("POST", "/api/v1/users/root.admin/unlock")
    await client.done("POST", LOGIN, right, **stranger)


async def test_an_address_that_tries_many_accounts_waits(place: OpenPlace) -> None:
    here = await place({"login": {"address_tries": 10}})
    await here.person("zhang", "monitor")
    client = here.client()
    for number in range(10):
        await client.refused(401, "login.wrong", "POST", LOGIN, {"user": f"user{number}", "password": "no"})
    await client.refused(429, "login.locked", "POST", LOGIN, {"user": "zhang", "password": PASSWORD})


async def test_only_a_trusted_proxy_says_where_somebody_is(place: OpenPlace) -> None:
    here = await place()
    await here.person("zhang", "auditor")
    client = here.client()
    await client.done("POST", LOGIN, {"user": "zhang", "password": PASSWORD}, X_Forwarded_For="10.9.9.9")
    auditor = await here.sign_in("zhang")
    rows = (await auditor.done("GET", "/api/v1/login-log"))["logins"]
    assert {row["address"] for row in rows} == {"127.0.0.1"}


# -- sessions ----------------------------------------------------------------------------------------------------------


async def test_a_session_ends_when_idle_and_at_last_in_any_case(place: OpenPlace) -> None:
    here = await place({"sessions": {"idle": "30m", "longest": "2h"}})
    await here.person("zhang", "monitor")
    client = await here.sign_in("zhang")
    for _ in range(4):
        here.clock.now += 1500
        await client.done("GET", "/api/v1/status")
    other = await here.sign_in("zhang")
    here.clock.now += 1801
    await other.refused(401, "auth.required", "GET", "/api/v1/status")
    third = await here.sign_in("zhang")
    for _ in range(4):
        here.clock.now += 1700
        await third.done("GET", "/api/v1/status")
    here.clock.now += 1700
    await third.refused(401, "auth.required", "GET", "/api/v1/status")


async def test_own_sessions_are_listed_ended_and_all_ended(place: OpenPlace) -> None:
    here = await place()
    await here.person("zhang", "monitor")
    await here.person("li", "monitor")
    one, two, other = await here.sign_in("zhang"), await here.sign_in("zhang"), await here.sign_in("li")
    rows = (await one.done("GET", "/api/v1/sessions"))["sessions"]
    assert [row["current"] for row in rows].count(True) == 1
    assert len(rows) == 2
    second = next(row["id"] for row in rows if not row["current"])
    await other.refused(422, "session.unknown", "DELETE", f"/api/v1/sessions/{second}")
    await one.done("DELETE", f"/api/v1/sessions/{second}")
    await two.refused(401, "auth.required", "GET", "/api/v1/status")
    three = await here.sign_in("zhang")
    await one.done("POST", "/api/v1/logout", {"everywhere": True})
    await three.refused(401, "auth.required", "GET", "/api/v1/status")
    await other.done("GET", "/api/v1/status")


async def test_no_more_sessions_than_allowed(place: OpenPlace) -> None:
    here = await place({"sessions": {"most": 2}})
    await here.person("zhang", "monitor")
    clients = []
    for _ in range(3):
        clients.append(await here.sign_in("zhang"))
        here.clock.now += 1
    await clients[0].refused(401, "auth.required", "GET", "/api/v1/status")
    for client in clients[1:]:
        await client.done("GET", "/api/v1/status")


async def test_a_cookie_is_for_browsers_and_wants_a_proof_with_every_order(place: OpenPlace) -> None:
    here = await place()
    await here.person("zhang", "integration_engineer")
    browser = here.client()
    answer = await browser.call("POST", LOGIN, {"user": "zhang", "password": PASSWORD, "cookie": True})
    cookie = answer.headers["Set-Cookie"]
    assert "token" not in answer.json
    for part in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert part in cookie
    assert "Secure" not in cookie  # there is no TLS here
    await browser.done("GET", "/api/v1/status")
    order = {"place": "sink"}
    await browser.refused(403, "auth.csrf", "POST", "/api/v1/probe", order)
    await browser.refused(403, "auth.csrf", "POST", "/api/v1/probe", order, X_CSRF_Token="0" * 32)
    await browser.refused(403, "auth.csrf", "POST", "/api/v1/logout")
    await browser.done("POST", "/api/v1/probe", order, X_CSRF_Token=answer.json["csrf"])
    await browser.refused(403, "auth.cross_site", "GET", "/api/v1/status", Sec_Fetch_Site="cross-site")


async def test_the_cookie_is_secure_where_people_use_https(place: OpenPlace) -> None:
    here = await place(url="https://hub.example")
    await here.person("zhang", "monitor")
    answer = await here.client().call("POST", LOGIN, {"user": "zhang", "password": PASSWORD, "cookie": True})
    assert "Secure" in answer.headers["Set-Cookie"]


async def test_a_session_that_was_planted_is_not_taken_over(place: OpenPlace) -> None:
    here = await place()
    await here.person("zhang", "monitor")
    browser = here.client()
    planted = "tqs_" + "A" * 43
    answer = await browser.call(
        "POST", LOGIN, {"user": "zhang", "password": PASSWORD, "cookie": True}, Cookie=f"tongqu_session={planted}"
    )
    assert planted not in answer.headers["Set-Cookie"]
    await here.client(planted).refused(401, "auth.required", "GET", "/api/v1/status")
    assert csrf_of(planted) != answer.json["csrf"]


async def test_frozen_and_closed_users_are_out_at_once(place: OpenPlace) -> None:
    here = await place()
    await here.person("boss", "administrator")
    await here.person("zhang", "monitor")
    boss, zhang = await here.fresh("boss"), await here.sign_in("zhang")
    await boss.refused(422, "user.reason", "POST", "/api/v1/users/zhang/state", {"state": "frozen"})
    await boss.done("POST", "/api/v1/users/zhang/state", {"state": "frozen", "reason": "left"})
    await zhang.refused(401, "auth.required", "GET", "/api/v1/status")
    await here.client().refused(401, "login.state", "POST", LOGIN, {"user": "zhang", "password": PASSWORD})
    await here.client().refused(401, "login.wrong", "POST", LOGIN, {"user": "zhang", "password": "wrong"})
    await boss.done("POST", "/api/v1/users/zhang/state", {"state": "normal", "reason": "back"})
    await here.sign_in("zhang")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", {"user": 1, "password": "x"}, {"user": "x" * 600, "password": "y"}])
async def test_bodies_that_are_no_login(place: OpenPlace, body: Any) -> None:
    here = await place()
    answer = await here.client().call("POST", LOGIN, body)
    assert answer.status == 400


async def test_the_login_from_elsewhere_is_told(place: OpenPlace) -> None:
    security = {"login": {"regions": {"office": ["10.1.0.0/16"]}}, "second_factor": {"mail": "his/in"}}
    here = await place(security, proxies=["127.0.0.1"])
    await here.person("zhang", "monitor", mail="zhang@example.org")
    from_office, from_home = {"X-Forwarded-For": "10.1.2.3"}, {"X-Forwarded-For": "203.0.113.5"}
    order = {"user": "zhang", "password": PASSWORD}
    assert (await here.client().done("POST", LOGIN, order, **from_office))["notices"] == []
    notices = (await here.client().done("POST", LOGIN, order, **from_home))["notices"]
    assert "203.0.0.0/16" in notices[0]
    where, sent, _ = here.sent[-1]
    assert (where, sent["kind"], sent["to"]) == ("his/in", "login_elsewhere", "zhang@example.org")
    assert (await here.client().done("POST", LOGIN, order, **from_home))["notices"] == []


async def test_nobody_unknown_has_the_hub_read_megabytes(place: OpenPlace) -> None:
    here = await place()
    body = b'{"user": "' + b"x" * (1 << 20) + b'"}'
    answer = await here.client().call("POST", LOGIN, body)
    assert answer.status == 413


async def test_whoever_goes_on_trying_fills_no_disk(place: OpenPlace) -> None:
    here = await place({"login": {"tries": 1}})
    await here.person("zhang", "auditor")
    client = here.client()
    for _ in range(10):
        await client.call("POST", LOGIN, {"user": "zhang", "password": "no"})
    rows = (await here.root.done("GET", "/api/v1/login-log?user=zhang"))["logins"]
    assert [row["outcome"] for row in rows] == ["locked", "wrong"]


async def test_addresses_of_one_ipv6_network_are_one(place: OpenPlace) -> None:
    here = await place({"login": {"address_tries": 10}}, proxies=["127.0.0.1"])
    client = here.client()
    for number in range(10):
        order = {"user": f"user{number}", "password": "no"}
        await client.refused(
            401, "login.wrong", "POST", LOGIN, order, **{"X-Forwarded-For": f"2001:db8::{number + 1:x}"}
        )
    order = {"user": "other", "password": "no"}
    await client.refused(429, "login.locked", "POST", LOGIN, order, **{"X-Forwarded-For": "2001:db8::ffff"})
    await client.refused(401, "login.wrong", "POST", LOGIN, order, **{"X-Forwarded-For": "2001:db8:0:1::1"})


async def test_the_login_log_is_searched_and_kept_as_long_as_it_says(place: OpenPlace) -> None:
    here = await place({"login": {"keep_months": 6}})
    await here.person("zhang", "auditor")
    await here.client().call("POST", LOGIN, {"user": "zhang", "password": "no"})
    auditor = await here.sign_in("zhang")
    path = "/api/v1/login-log"
    assert [r["outcome"] for r in (await auditor.done("GET", f"{path}?user=zhang"))["logins"]] == ["ok", "wrong"]
    assert len((await auditor.done("GET", f"{path}?outcome=wrong&address=127.0.0.1"))["logins"]) == 1
    assert (await auditor.done("GET", f"{path}?user=nobody"))["logins"] == []
    first = (await auditor.done("GET", f"{path}?limit=1"))["logins"][0]
    assert [r["outcome"] for r in (await auditor.done("GET", f"{path}?before={first['id']}"))["logins"]] == ["wrong"]
    await auditor.refused(400, "query.invalid", "GET", f"{path}?limit=many")
    here.clock.now += 190 * 86400
    await here.client().call("POST", LOGIN, {"user": "zhang", "password": "no"})
    rows = (await here.root.done("GET", path))["logins"]
    assert [row["outcome"] for row in rows] == ["wrong"]


async def test_the_journal_is_one_chain(place: OpenPlace) -> None:
    here = await place()
    await here.person("boss", "administrator")
    boss = await here.fresh("boss")
    await boss.done(
        "POST", "/api/v1/users", {"id": "li", "roles": ["monitor"], "reason": "身份证 11010519491231002X"}, 201
    )
    assert await here.people.run(here.people.records.database.verify_journal) == []
    assert "11010519491231002X" not in str(here.entries())
