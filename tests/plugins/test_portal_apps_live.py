"""The unified portal, the hub and three of the 64 applications: every interface of the profile is called for real."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from tests.kernel.process import ROOT, HubProcess, wait_for
from tests.plugins.portal_site import APPS, TIME, World, arrived, make_site

EXAMPLES = ROOT / "plugins" / "profiles" / "portal_app" / "examples"


def example(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))


class Site:
    def __init__(self, hub: HubProcess, world: World) -> None:
        self.hub, self.world = hub, world

    def event(self, number: str, kind: str, **more: Any) -> dict[str, Any]:
        side = "portal" if kind == "todo_status" else "identity"
        return self.world.call(self.hub, f"{side}/event", f"/{side}/events", {"eventId": number, "kind": kind, **more})

    def ask(self, number: str, side: str, application: str, action: str, **more: Any) -> dict[str, Any]:
        body = {"requestId": number, "application": application, "action": action, **more}
        return self.world.call(self.hub, f"{side}/command", f"/{side}/commands", body)

    def post(self, interface: str, tree: Any) -> tuple[int, Any]:
        """As the business system, which is known by its address."""
        url = f"http://127.0.0.1:{self.hub.port(f'asker/{interface}')}/{interface}"
        request = urllib.request.Request(url, json.dumps(tree).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def from_app(self, interface: str, path: str, body: dict[str, Any], app: str = "oa") -> dict[str, Any]:
        return self.world.call(self.hub, f"{app}/{interface}", f"/apps/{app}/{path}", body)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    world = World()
    for app in APPS:
        base = f"/apps/{app}/portal"
        for path, name in (
            ("roles", "roles"),
            ("permissions/data", "permissions_data"),
            ("permissions/function", "permissions_function"),
            ("permissions/menu", "permissions_menu"),
            ("app-info", "app_info"),
        ):
            world.lists[f"{base}/{path}"] = example(name)["data"]["items"]
        for path, name in (("todos", "todo"), ("notices", "notice"), ("call-logs", "call_log")):
            world.lists[f"{base}/{path}"] = [example(name)]
    file = make_site(tmp_path_factory.mktemp("portal"), world)
    with HubProcess(file) as hub:
        yield Site(hub, world)
    world.close()


@pytest.fixture(autouse=True)
def _fresh(site: Site) -> Iterator[None]:
    site.hub.settled()
    site.world.fail.clear()
    site.world.wrong.clear()
    yield
    site.world.forge = False
    site.world.replay = None


def told(site: Site, path: str, number: str) -> dict[str, Any]:
    """What arrived at a path of the event with this number."""

    def find() -> dict[str, Any] | None:
        return next((body for body in site.world.said(path) if body["eventId"] == number), None)

    return dict(wait_for(find, f"{number} at {path}"))


def events_at(site: Site, path: str) -> set[str]:
    return {body["eventId"] for body in site.world.said(path)}


def accounts(*names: str) -> list[dict[str, str]]:
    return [{"application": name, "account": f"{name}-1"} for name in names]


# -- from the portal to the applications -------------------------------------------------------------------------


def test_a_frozen_user_reaches_every_application_with_an_account_and_no_other(site: Site) -> None:
    answer = site.event(
        "f1",
        "user_status",
        userName="zhangsan",
        status="frozen",
        reason="离岗",
        changedAt=TIME,
        accounts=accounts("oa", "tcm"),
    )
    assert answer["code"] == 0
    for app in ("oa", "tcm"):
        body = told(site, f"/apps/{app}/portal/users/status", "f1")
        assert body == {
            "eventId": "f1",
            "account": f"{app}-1",
            "userName": "zhangsan",
            "status": "2",
            "reason": "离岗",
            "changedAt": TIME,
        }
    site.hub.settled()
    rows = site.hub.call("GET", "/api/v1/deliveries?state=skipped&limit=100").json["deliveries"]
    assert any(row["target"] == "blood_center/user_status_push" for row in rows)
    assert "f1" not in events_at(site, "/apps/blood_center/portal/users/status")
    assert site.world.wrong == []


def test_the_same_event_again_is_not_pushed_twice(site: Site) -> None:
    event = {"userName": "lisi", "status": "cancelled", "changedAt": TIME, "accounts": accounts("blood_center")}
    path = "/apps/blood_center/portal/users/status"
    before = len(site.world.said(path))
    assert site.event("f2", "user_status", **event)["code"] == 0
    assert site.event("f2", "user_status", **event)["code"] == 0
    arrived(site.world, path, before + 1)
    site.hub.settled()
    assert len(site.world.said(path)) == before + 1


def test_states_of_one_user_keep_their_order_through_retries_under_one_number(site: Site) -> None:
    path = "/apps/tcm/portal/users/status"
    before = len(site.world.said(path))
    site.world.fail[path] = [500, 503]
    for number, status in (("o1", "frozen"), ("o2", "normal"), ("o3", "cancelled")):
        site.event(number, "user_status", userName="wangwu", status=status, changedAt=TIME, accounts=accounts("tcm"))
    found = arrived(site.world, path, before + 5)[before:]
    assert [body["eventId"] for body in found] == ["o1", "o1", "o1", "o2", "o3"]
    assert len(set(site.world.numbers[path][before : before + 3])) == 1


def test_more_than_three_retries_are_not_made(site: Site) -> None:
    path = "/apps/oa/portal/users/status"
    before = len(site.world.said(path))
    site.world.fail[path] = [500] * 4
    site.event("d1", "user_status", userName="zhaoliu", status="frozen", changedAt=TIME, accounts=accounts("oa"))
    arrived(site.world, path, before + 4)
    site.hub.settled()
    assert len(site.world.said(path)) == before + 4
    dead = site.hub.call("GET", "/api/v1/deliveries?state=dead&limit=50").json["deliveries"]
    assert any(row["target"] == "oa/user_status_push" for row in dead)


def test_users_rights_and_links_are_pushed(site: Site) -> None:
    users = [{"userName": "zhangsan", "name": "张三", "organizationName": "虚构市卫健委", "accounts": accounts("tcm")}]
    site.event("u1", "users", mode="full", syncNumber="S1", page=1, pages=1, users=users)
    body = told(site, "/apps/tcm/portal/users", "u1")
    assert body["users"] == [
        {"userName": "zhangsan", "account": "tcm-1", "name": "张三", "organizationName": "虚构市卫健委"}
    ]
    body = told(site, "/apps/oa/portal/users", "u1")
    assert "account" not in body["users"][0]
    rights = [{"kind": "menu", "code": "M1", "name": "库存"}]
    site.event(
        "p1",
        "permission_change",
        userName="zhangsan",
        change="grant",
        permissions=rights,
        changedAt=TIME,
        accounts=accounts("oa"),
    )
    body = told(site, "/apps/oa/portal/permissions/change", "p1")
    assert body == {"eventId": "p1", "account": "oa-1", "change": "grant", "permissions": rights, "changedAt": TIME}
    site.event(
        "m1",
        "user_mapping",
        userName="zhangsan",
        application="oa",
        account="oa-1",
        state="linked",
        way="automatic",
        linkedAt=TIME,
    )
    assert told(site, "/apps/oa/portal/users/mapping", "m1")["account"] == "oa-1"
    site.event("t1", "todo_status", application="oa", todoId="T1", state="processing", changedAt=TIME)
    assert told(site, "/apps/oa/portal/todos/status", "t1")["state"] == "processing"
    site.hub.settled()
    for path in ("users/mapping", "todos/status", "permissions/change"):
        assert not {"m1", "t1", "p1"} & events_at(site, f"/apps/tcm/portal/{path}")


@pytest.mark.parametrize(
    ("side", "action", "more", "data"),
    [
        ("identity", "temp_token", {"account": "a1", "expiresIn": 3600}, {"token": "T-a1-3600"}),
        ("identity", "temp_token_check", {"token": "T-a1-3600"}, {"valid": True}),
        ("identity", "user_list", {"keyword": "张"}, {"total": 1, "items": [{"account": "a1", "name": "张"}]}),
        ("identity", "permission_refresh", {"account": "a1"}, {"menus": [{"name": "办件", "path": "/cases", "level": 1}]}),
        ("portal", "todo_jump", {"account": "a1", "todoId": "T1"}, {"url": "https://app.example/todo/T1?u=a1"}),
        ("portal", "app_launch", {"account": "a1", "mode": "sso"}, {"url": "https://app.example/?u=a1&m=sso"}),
        ("portal", "mobile_entry", {"account": "a1", "userName": "zhangsan"}, {"url": "https://m.app.example/?u=a1"}),
        ("portal", "connection_test", {}, {}),
    ],
)  # fmt: skip
def test_what_the_portal_asks_of_an_application(
    site: Site, side: str, action: str, more: dict[str, Any], data: Any
) -> None:
    answer = site.ask(f"q-{action}", side, "oa", action, **more)
    assert (answer["code"], answer.get("data", {})) == (0, data)


def test_a_refusal_of_an_application_reaches_the_portal_in_its_words(site: Site) -> None:
    site.world.fail["/apps/oa/portal/launch"] = [404]
    answer = site.ask("r1", "portal", "oa", "app_launch", account="nobody", mode="sso")
    assert answer == {"code": 404, "message": "测试"}


def test_what_the_schema_does_not_allow_is_refused_and_asked_of_nobody(site: Site) -> None:
    before = len(site.world.got)
    for number, more in (
        ("x1", {"account": "a1"}),
        ("x2", {"account": "a1", "mode": "magic"}),
        ("x3", {"account": "a1", "mode": "sso", "x": 1}),
    ):
        assert str(site.ask(number, "portal", "oa", "app_launch", **more)["code"]) == "422"
    assert len(site.world.got) == before


def test_what_nobody_signed_is_refused(site: Site) -> None:
    answer = site.world.call(
        site.hub, "identity/event", "/identity/events",
        {"eventId": "z1", "kind": "user_status", "userName": "x", "status": "frozen", "changedAt": TIME, "accounts": accounts("oa")},
        forged=True,
    )  # fmt: skip
    assert str(answer.get("code", answer)) != "0"
    site.hub.settled()
    assert not any(body.get("eventId") == "z1" for _, body in site.world.got)


def test_an_answer_nobody_signed_is_not_believed(site: Site) -> None:
    site.world.forge = True
    answer = site.ask("y1", "portal", "oa", "app_launch", account="a1", mode="sso")
    assert answer["code"] != 0


def test_an_answer_to_another_call_is_not_believed(site: Site) -> None:
    assert site.ask("y2", "portal", "oa", "app_launch", account="a1", mode="sso")["code"] == 0
    site.world.replay = site.world.answered
    assert site.ask("y3", "portal", "oa", "app_launch", account="a1", mode="sso")["code"] != 0


def test_a_call_is_good_for_its_interface_only_and_once(site: Site) -> None:
    path = "/apps/oa/sso/token-check"
    sent = site.world.side.seal({"requestId": "x1", "protocol": "oauth2", "token": "good"}, f"POST\n{path}")
    elsewhere = site.world.call(site.hub, "oa/sso_userinfo_sync", "/apps/oa/sso/user-info", None, sent=sent)
    assert elsewhere["code"] == 401
    assert site.world.call(site.hub, "oa/sso_token_check", path, None, sent=sent)["data"]["active"] is True
    assert site.world.call(site.hub, "oa/sso_token_check", path, None, sent=sent)["code"] == 401


def test_a_state_that_overtakes_the_user_waits_for_it(site: Site) -> None:
    path = "/apps/blood_center/portal/users/status"
    before = len(site.world.said(path))
    site.world.fail[path] = [404, 404]
    event = {"userName": "sunqi", "status": "frozen", "changedAt": TIME, "accounts": accounts("blood_center")}
    site.event("w1", "user_status", **event)
    found = arrived(site.world, path, before + 3)[before:]
    assert [body["eventId"] for body in found] == ["w1"] * 3


def test_a_page_of_users_with_accounts_in_all_applications_is_taken(site: Site) -> None:
    many = [{"application": f"phip_population_family_smart_nursery{n}", "account": "zhangsan001"} for n in range(64)]
    users = [
        {"userName": f"u{n}", "name": "张三", "organizationName": "虚构市卫健委", "accounts": many} for n in range(1000)
    ]
    assert site.event("n1", "users", mode="full", syncNumber="S2", page=1, pages=2, users=users)["code"] == 0
    assert len(told(site, "/apps/tcm/portal/users", "n1")["users"]) == 1000


def test_two_accounts_of_a_user_in_one_application_are_refused(site: Site) -> None:
    """Told as one, the second would go on while the first is frozen."""
    two = [*accounts("oa", "tcm"), {"application": "oa", "account": "oa-2"}]
    event = {"userName": "zhouba", "status": "frozen", "changedAt": TIME}
    assert str(site.event("t2", "user_status", **event, accounts=two)["code"]) == "422"
    rights = {"change": "revoke", "permissions": [{"kind": "menu", "code": "M1"}], "changedAt": TIME}
    assert str(site.event("t3", "permission_change", userName="zhouba", **rights, accounts=two)["code"]) == "422"


def test_all_users_come_with_the_number_of_pages(site: Site) -> None:
    user = {"userName": "u", "name": "张三", "organizationName": "虚构市卫健委"}
    for missing in ("syncNumber", "page", "pages"):
        pages = {"syncNumber": "S3", "page": 1, "pages": 1}
        del pages[missing]
        answer = site.event(f"n-{missing}", "users", mode="full", users=[user], **pages)
        assert str(answer["code"]) == "422"


# -- from the applications to the portal -------------------------------------------------------------------------


def test_lists_are_read_and_told_to_the_portal_with_their_application(site: Site) -> None:
    for app in APPS:
        for path, field, value in (
            ("/identity/roles", "items", example("roles")["data"]["items"]),
            ("/portal/app-info", "items", example("app_info")["data"]["items"]),
            ("/portal/todos", "id", "T1"),
            ("/portal/notices", "id", "N1"),
            ("/portal/call-logs", "id", "G1"),
        ):
            wait_for(
                lambda path=path, field=field, value=value, app=app: any(
                    body["application"] == app and body[field] == value for body in site.world.said(path)
                ),
                f"{path} of {app}",
            )
        wait_for(
            lambda app=app: (
                {b["kind"] for b in site.world.said("/identity/permissions") if b["application"] == app}
                == {"data", "function", "menu"}
            ),
            f"permissions of {app}",
        )


def poll(site: Site, place: str) -> None:
    assert site.hub.call("POST", f"/api/v1/interfaces/{place}/poll").status == 202


def test_a_todo_item_that_changed_is_read_again_and_one_that_did_not_is_not(site: Site) -> None:
    arrived(site.world, "/portal/todos", len(APPS))
    path = "/apps/tcm/portal/todos"
    later = "2026-01-15T10:00:00+08:00"  # of one that is done and goes from the lists
    site.world.lists[path] = [example("todo"), {**example("todo"), "id": "T2", "state": "done", "updatedAt": later}]

    def told_of_tcm() -> list[dict[str, Any]]:
        return [body for body in site.world.said("/portal/todos") if body["application"] == "tcm"]

    before = len(told_of_tcm())

    def read_again() -> bool:
        poll(site, "tcm/todo_pull")
        return len(told_of_tcm()) > before

    wait_for(read_again, "the changed list")
    site.hub.settled()
    assert [(body["id"], body["state"]) for body in told_of_tcm()[before:]] == [("T2", "done")]
    assert site.world.said(path)[-1]["since"] in (TIME, later)


def test_rights_are_told_again_only_when_they_changed(site: Site) -> None:
    path = "/apps/tcm/portal/roles"

    def told_of_tcm() -> list[dict[str, Any]]:
        return [body for body in site.world.said("/identity/roles") if body["application"] == "tcm"]

    wait_for(told_of_tcm, "the first list")
    before, asked = len(told_of_tcm()), len(site.world.said(path))
    poll(site, "tcm/role_query")
    arrived(site.world, path, asked + 1)
    site.hub.settled()
    assert len(told_of_tcm()) == before
    site.world.lists[path] = [*site.world.lists[path], {"code": "R9", "name": "新角色"}]

    def read_again() -> bool:
        poll(site, "tcm/role_query")  # one that is asked for while another is under way may be the same
        return len(told_of_tcm()) > before

    wait_for(read_again, "the changed list")
    site.hub.settled()
    assert told_of_tcm()[-1]["items"][-1]["code"] == "R9"
    assert len(told_of_tcm()) == before + 1


def test_an_application_asks_the_identity_service(site: Site) -> None:
    request = {"protocol": "oauth2", "clientId": "c1", "redirectUri": "https://oa.example/cb", "state": "s1"}
    answer = site.from_app("sso_authorize_forward", "sso/authorize", {"requestId": "s1", **request})
    assert answer["data"] == {
        "location": "https://portal.example/login?clientId=c1&state=s1&redirectUri=https%3A%2F%2Foa.example%2Fcb"
    }
    token = {"protocol": "oauth2", "token": "good"}
    answer = site.from_app("sso_token_check", "sso/token-check", {"requestId": "s2", **token})
    assert answer["data"] == {"active": True, "application": "oa", "userName": "zhangsan"}
    answer = site.from_app(
        "sso_token_check", "sso/token-check", {"requestId": "s3", "protocol": "oauth2", "token": "old"}
    )
    assert answer["data"]["active"] is False
    ticket = {"protocol": "cas", "token": "good", "service": "https://tcm.example/"}
    answer = site.from_app("sso_userinfo_sync", "sso/user-info", {"requestId": "s4", **ticket}, app="tcm")
    assert answer["data"] == {"active": True, "application": "tcm", "userName": "zhangsan"}


@pytest.mark.parametrize(
    ("interface", "path", "query", "led"),
    [
        ("sso_oauth2_login", "oauth2/authorize",
         {"response_type": "code", "client_id": "c1", "redirect_uri": "https://oa.example/cb?a=1", "state": "s&=1", "nonce": "n", "code_challenge": "c" * 43},
         {"clientId": "c1", "state": "s&=1", "redirectUri": "https://oa.example/cb?a=1", "codeChallenge": "c" * 43}),
        ("sso_cas_login", "cas/login", {"service": "https://oa.example/?a=1", "renew": "true", "x": "1"}, {"redirectUri": "https://oa.example/?a=1", "renew": "True"}),
    ],
)  # fmt: skip
def test_a_browser_is_led_to_the_login_page(
    site: Site, interface: str, path: str, query: dict[str, str], led: dict[str, str]
) -> None:
    before = len(site.world.said("/identity/sso/authorize"))
    for _ in range(2):  # the same page again is another login
        status, location = browse(site, interface, path, query)
        page, _, told_there = location.partition("?")
        assert (status, page, dict(parse_qsl(told_there))) == (303, "https://portal.example/login", led)
    asked = site.world.said("/identity/sso/authorize")[before:]
    assert len({body["requestId"] for body in asked}) == 2
    assert {body["application"] for body in asked} == {"oa"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"response_type": "token"},
        {"client_id": ""},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "https://oa.example/#x"},
        {"redirect_uri": ["https://oa.example/cb", "https://evil.example/"]},
        {"code_challenge": "short"},
    ],
)
def test_a_browser_with_a_wrong_request_is_led_nowhere(site: Site, wrong: dict[str, Any]) -> None:
    good = {"response_type": "code", "client_id": "c1", "redirect_uri": "https://oa.example/cb", "state": "s1"}
    before = len(site.world.said("/identity/sso/authorize"))
    assert browse(site, "sso_oauth2_login", "oauth2/authorize", {**good, **wrong}) == (422, "")
    assert len(site.world.said("/identity/sso/authorize")) == before


def test_a_browser_of_an_unknown_client_is_led_nowhere(site: Site) -> None:
    site.world.fail["/identity/sso/authorize"] = [403]
    assert browse(site, "sso_cas_login", "cas/login", {"service": "https://evil.example/"}) == (422, "")


def browse(site: Site, interface: str, path: str, query: dict[str, Any]) -> tuple[int, str]:
    """Status and ``Location`` a browser gets that has no key."""
    browser = HTTPConnection("127.0.0.1", site.hub.port(f"oa/{interface}"), timeout=30)
    try:
        browser.request("GET", f"/apps/oa/sso/{path}?{urlencode(query, doseq=True)}")
        answer = browser.getresponse()
        return answer.status, answer.headers.get("Location", "")
    finally:
        browser.close()


def test_an_application_changes_a_code_for_a_token(site: Site) -> None:
    code = {"grantType": "authorization_code", "clientId": "c1", "code": "k1", "redirectUri": "https://oa.example/cb"}
    answer = site.from_app("sso_token_issue", "sso/token", {"requestId": "s5", **code})
    assert answer["data"] == {"accessToken": "good", "tokenType": "Bearer", "expiresIn": 3600}
    assert site.world.said("/identity/sso/token")[-1] == {"requestId": "s5", "application": "oa", **code}
    assert (
        site.from_app("sso_token_issue", "sso/token", {"requestId": "s6", **code, "clientSecret": "x"})["code"] == 422
    )
    del code["code"]
    assert site.from_app("sso_token_issue", "sso/token", {"requestId": "s7", **code})["code"] == 422


def test_an_application_tells_of_logins_and_todo_items(site: Site) -> None:
    event = {"eventId": "l1", "account": "a1", "result": "failure", "reason": "令牌过期", "at": TIME}
    assert site.from_app("nonsso_login_status_callback", "login-status", event)["code"] == 0
    assert told(site, "/identity/login-status", "l1") == {"application": "oa", **event}
    change = {"eventId": "c1", "todoId": "T1", "state": "overdue", "changedAt": TIME}
    assert site.from_app("todo_status_received", "todo-status", change)["code"] == 0
    assert told(site, "/portal/todos/status", "c1") == {"application": "oa", **change}


PATIENT = {"name": "张三", "idType": "01", "idNumber": "11010119900101001X"}


@pytest.mark.parametrize(
    ("app", "path", "kind", "body"),
    [
        ("cloud_imaging", "exams/history", "imaging.history_query", {"patient": PATIENT, "from": "2025-01-01"}),
        ("cloud_imaging", "exams/report", "imaging.report_query", {"examId": "E1"}),
        ("cloud_imaging", "images/view", "imaging.view", {"examId": "E1"}),
        ("cloud_imaging", "images/authorisations", "imaging.authorisation", {"patient": PATIENT, "way": "scan", "scanCode": "Q1"}),
        ("cloud_imaging", "referral/results", "imaging.referral_query", {"patient": PATIENT, "referralNumber": "Z1"}),
        ("cloud_imaging", "images/download", "imaging.download", {"examId": "E1", "validHours": 24, "password": "8s3k", "format": "dicom"}),
        ("cloud_imaging", "images/share", "imaging.share", {"examId": "E1", "validHours": 24, "password": "8s3k"}),
        ("phip", "referral/history", "referral.history_query", {"patient": PATIENT, "kinds": ["record"]}),
        ("phip", "referral/visit", "referral.visit_query", {"visitNumber": "V1"}),
        ("phip", "referral/record", "referral.record_query", {"visitNumber": "V1", "toOrganization": "320101"}),
        ("phip", "laboratory/reports", "laboratory.report_query", {"patient": PATIENT, "reportType": "生化", "page": 1, "size": 20}),
        ("usc_gov_service_fertility_registration", "dictionaries", "fertility.dictionary_query", {"dictionary": "kinship"}),
        ("usc_gov_service_fertility_registration", "progress", "fertility.progress_query", {"name": "张三", "idNumber": PATIENT["idNumber"]}),
        ("phip_hr", "qualification", "personnel.qualification_query", {"role": "doctor", "name": "张三", "idNumber": PATIENT["idNumber"]}),
        ("oa", "approval/result", "approval.result_query", {"caseNumber": "B1"}),
    ],
)  # fmt: skip
def test_what_only_some_applications_are_asked(
    site: Site, app: str, path: str, kind: str, body: dict[str, Any]
) -> None:
    status, answer = site.post("ask", {"requestId": f"own-{kind}", "kind": kind, **body})
    assert (status, answer["code"], answer["data"]["asked"]) == (200, 0, f"/apps/{app}/{path}")
    assert site.world.said(f"/apps/{app}/{path}")[-1] == {"requestId": f"own-{kind}", **body}
    wrong = {**body, "examId": ""} if "examId" in body else dict.fromkeys(body, "")
    assert site.post("ask", {"requestId": f"wrong-{kind}", "kind": kind, **wrong})[0] >= 400
    assert len([one for one in site.world.said(f"/apps/{app}/{path}") if one["requestId"].startswith("wrong")]) == 0


def test_codes_of_regions_are_asked_by_kind(site: Site) -> None:
    asked = {"requestId": "g1", "kind": "fertility.region_query", "regionKind": "registered", "parentCode": "3201"}
    assert site.post("ask", asked)[0] == 200
    found = site.world.said("/apps/usc_gov_service_fertility_registration/regions")[-1]
    assert found == {"requestId": "g1", "kind": "registered", "parentCode": "3201"}
    assert site.post("ask", {**asked, "requestId": "g2", "regionKind": "moon"})[0] >= 400


def test_a_case_goes_to_office_automation_and_its_result_comes_back(site: Site) -> None:
    case = {"eventId": "a1", "caseNumber": "B7", "title": "许可", "department": "综合处", "submittedAt": TIME}
    assert site.from_app("oa_sync_out", "approval/cases", case, app="usc_gov_service")["code"] == 0
    assert told(site, "/apps/oa/approval/cases", "a1") == case
    asked = {"requestId": "a2", "caseNumber": "B7"}
    answer = site.from_app("oa_result", "approval/result", asked, app="usc_gov_service")
    assert (answer["code"], answer["data"]) == (0, {"asked": "/apps/oa/approval/result"})
    site.world.fail["/apps/oa/approval/result"] = [404]
    answer = site.from_app("oa_result", "approval/result", {**asked, "requestId": "a3"}, app="usc_gov_service")
    assert answer == {"code": 404, "message": "测试"}


def test_an_expert_answers_and_is_reminded(site: Site) -> None:
    answer = {"planNumber": "J1", "expertNumber": "X1", "answer": "refuse", "at": TIME}
    assert site.post("tell", {"kind": "expert.answer", "eventId": "k1", **answer})[0] == 202
    assert told(site, "/apps/usc_review_expert/experts/answers", "k1") == {"eventId": "k1", **answer}
    sms = {"number": "s1", "step": "remind", "planNumber": "J1", "reviewName": "虚构评审", "phone": "13800000001"}
    assert site.from_app("sms", "sms", {**sms, "text": "请确认"}, app="usc_review_expert")["code"] == 0
    assert site.from_app("sms", "sms", sms, app="usc_review_expert")["code"] == 422  # neither template nor text
    assert site.hub.call("GET", "/api/v1/messages?type=sms.notice").json["messages"]


def test_a_notice_an_application_pushes_is_told_at_once(site: Site) -> None:
    notice = {**example("reminder"), "id": "N9"}
    for _ in range(2):
        answer = site.from_app("notice_received", "notices", notice, app="blood_center")
        assert answer["code"] == 0
    site.hub.settled()
    found = [body for body in site.world.said("/portal/notices") if body["id"] == "N9"]
    assert found == [{"application": "blood_center", **notice}]


def test_what_only_some_applications_are_told_stays_in_order(site: Site) -> None:
    step = {
        "kind": "referral.process",
        "referralNumber": "Z1",
        "way": "up",
        "at": TIME,
        "fromOrganization": "1",
        "toOrganization": "2",
        "patient": PATIENT,
    }
    site.world.fail["/apps/phip/referral/process"] = [503]
    for number, name in (("z1", "applied"), ("z2", "accepted"), ("z3", "finished")):
        assert site.post("tell", {**step, "eventId": number, "step": name})[0] == 202
    found = arrived(site.world, "/apps/phip/referral/process", 4)
    assert [body["eventId"] for body in found] == ["z1", "z1", "z2", "z3"]
    case = {
        "eventId": "b1",
        "caseNumber": "B1",
        "title": "公共场所卫生许可",
        "department": "综合处",
        "submittedAt": TIME,
    }
    assert site.post("tell", {"kind": "approval.case", **case})[0] == 202
    assert told(site, "/apps/oa/approval/cases", "b1") == case


def test_probes(site: Site) -> None:
    rows = site.hub.call("POST", "/api/v1/probe", {"place": "oa"}).json["probes"]
    assert len(rows) == 32  # with the two of its own
    assert all(row["ok"] for row in rows), [row for row in rows if not row["ok"]]


def test_no_key_and_no_name_stands_in_the_log(site: Site) -> None:
    site.hub.settled()
    log = (site.hub.config.parent / "run.log").read_text(encoding="utf-8")
    assert site.world.key.hex() not in log
    assert site.world.hub_private not in log
    assert "张三" not in log
