"""The admin API over HTTP: who may, what each operation answers, and how errors are told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import orjson
import pytest

from hub.admin.backend import NodeBackend
from hub.admin.operations import OPERATIONS, openapi_document
from hub.admin.serve import AdminServer, token_of
from hub.api import Outgoing, PermanentError, Reply
from hub.contract import AdminConfig
from hub.errors import HubError
from hub.ids import id_text
from hub.message import DeliveryState
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site
from tests.kernel.wire import accept

TOKEN = "a-token-for-tests"
OPEN = {"/healthz", "/readyz", "/openapi.json"}
#: Open where people can sign in, which is not in this hub.
LOGIN = {"/api/v1/login", "/api/v1/login/{portal}", "/api/v1/login/{portal}/back"}


class Admin:
    """The API of one hub and a client of it."""

    def __init__(self, hub: Hub, session: aiohttp.ClientSession) -> None:
        self.hub = hub
        self.session = session

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN, **headers: str
    ) -> tuple[int, Any, Any]:
        """Status, parsed body (JSON where it says so) and headers of one call."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        async with self.session.request(method, path, data=data, headers=sent) as response:
            raw = await response.read()
            return response.status, orjson.loads(raw) if "json" in response.content_type else raw, response.headers

    async def get(self, path: str, **headers: str) -> Any:
        status, body, _ = await self.call("GET", path, **headers)
        assert status == 200, body
        return body

    async def refused(self, status: int, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        """A call that must fail with this status, and with a problem document (RFC 9457)."""
        got, answer, headers = await self.call(method, path, body, **more)
        assert (got, headers["Content-Type"]) == (status, "application/problem+json"), answer
        assert answer["status"] == status
        assert answer["code"]
        assert answer["detail"]
        assert "Traceback" not in str(answer)
        found: dict[str, Any] = answer
        return found


OpenAdmin = Callable[[Site], Awaitable[Admin]]


@pytest.fixture
async def serve(start: StartHub) -> AsyncIterator[OpenAdmin]:
    servers: list[AdminServer] = []
    sessions: list[aiohttp.ClientSession] = []

    async def open_admin(site: Site) -> Admin:
        hub = await start(site)
        server = AdminServer(NodeBackend(hub.node), TOKEN)
        servers.append(server)
        await server.listen("127.0.0.1", 0)
        sessions.append(aiohttp.ClientSession(server.address))
        return Admin(hub, sessions[-1])

    yield open_admin
    for session in sessions:
        await session.close()
    for server in servers:
        await server.stop()


def refuse(outgoing: Outgoing) -> Reply:
    raise PermanentError("not like this")


async def with_dead(site: Site, serve: OpenAdmin, count: int = 1) -> tuple[Admin, list[str]]:
    site.target().react = refuse
    admin = await serve(site)
    await admin.hub.send(count)
    dead = await admin.hub.reached(DeliveryState.DEAD, count)
    return admin, [id_text(delivery.id) for delivery in dead]


# -- who may ---------------------------------------------------------------------------------------------------------


async def test_every_operation_but_the_open_ones_wants_the_token(site: Site, serve: OpenAdmin) -> None:
    site.target()
    admin = await serve(site)
    for operation in OPERATIONS:
        path = operation.path.replace("{id}", "0" * 13).replace("{verb}", "resend")
        path = path.replace("{system}", "his").replace("{interface}", "in")
        path = path.replace("{caller}", "east").replace("{credential}", "x")
        path = path.replace("{portal}", "oidc").replace("{decision}", "approve")
        for token in (None, "", "wrong", TOKEN + "x", TOKEN[:-1], "ÿ"):
            status, body, headers = await admin.call(operation.method, path, b"{}", token=token)
            if operation.path in OPEN:
                assert status == 200, (operation.path, body)
            else:
                assert (status, body["code"]) == (401, "auth.required"), operation.path
                assert headers["WWW-Authenticate"].startswith("Bearer")
    assert await admin.hub.deliveries() == []


async def test_bytes_that_are_no_text_in_the_token(site: Site, serve: OpenAdmin) -> None:
    site.target()
    admin = await serve(site)
    host, port = admin.session._base_url.host, admin.session._base_url.port  # type: ignore[union-attr]
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("where", ["cross-site", "same-site"])
async def test_a_page_of_another_site_gets_nothing(site: Site, serve: OpenAdmin, where: str) -> None:
    site.target()
    admin = await serve(site)
    await admin.refused(403, "GET", "/api/v1/status", Sec_Fetch_Site=where)
    assert await admin.get("/api/v1/status", Sec_Fetch_Site="same-origin")


async def test_answers_are_not_cached(site: Site, serve: OpenAdmin) -> None:
    site.target()
    admin = await serve(site)
    for path in ("/healthz", "/api/v1/status", "/api/v1/messages/x", "/nothing/here"):
        _, _, headers = await admin.call("GET", path)
        assert headers["Cache-Control"] == "no-store"


def test_the_token_is_made_once_and_for_the_owner_only(site: Site) -> None:
    data = site.folder / "var"
    token = token_of(AdminConfig(), site.file, data)
    assert len(token) >= 32
    assert token_of(AdminConfig(), site.file, data) == token
    assert (data / "admin.token").stat().st_mode & 0o077 == 0


def test_a_configured_token_goes_before(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_ADMIN_TOKEN", "from-the-environment")
    assert token_of(AdminConfig(token="env:TEST_ADMIN_TOKEN"), site.file, site.folder / "var") == "from-the-environment"
    assert not (site.folder / "var" / "admin.token").exists()


async def test_a_port_in_use_is_told_with_a_remedy(site: Site, serve: OpenAdmin) -> None:
    site.target()
    admin = await serve(site)
    port = admin.session._base_url.port  # type: ignore[union-attr]
    assert port is not None
    with pytest.raises(HubError) as caught:
        await AdminServer(NodeBackend(admin.hub.node), TOKEN).listen("127.0.0.1", port)
    assert str(port) in caught.value.text
    assert caught.value.remedy


# -- looking ---------------------------------------------------------------------------------------------------------


async def test_health_readiness_and_metrics(site: Site, serve: OpenAdmin) -> None:
    site.target()
    admin = await serve(site)
    assert (await admin.get("/healthz"))["alive"] is True
    assert await admin.get("/readyz") == {"ready": True, "reasons": []}
    await admin.hub.send(2)
    await admin.hub.reached(DeliveryState.DELIVERED, 2)
    text = (await admin.get("/metrics")).decode()
    assert 'tongqu_inbound_accepted_total{place="his/in"} 2.0' in text
    await admin.hub.node.intake.drain(1.0)
    status, body, _ = await admin.call("GET", "/readyz")
    assert (status, body["ready"], len(body["reasons"])) == (503, False, 1)


async def test_status(site: Site, serve: OpenAdmin) -> None:
    site.target()
    admin = await serve(site)
    (worker,) = (await admin.get("/api/v1/status"))["workers"]
    assert worker["outbound"]["sink/up"]["breaker"] == "closed"
    assert list(worker["inbound"]) == ["his/in"]


async def test_a_message_with_everything_about_it(site: Site, serve: OpenAdmin) -> None:
    site.system("his", "his", **{"in": {"keys": {"name": "name", "patient_id": "pid"}}})
    site.target()
    admin = await serve(site)
    raw = '{"id":"m1","type":"t","name":"张三丰","pid":"p7"}'.encode()
    receipt = await admin.hub.wire.submit("his/in", raw)
    await admin.hub.reached(DeliveryState.DELIVERED)
    number = id_text(receipt.message_id)
    (row,) = (await admin.get("/api/v1/messages"))["messages"]
    assert (row["id"], row["source"], row["type"], row["control_id"]) == (number, "his/in", "t", "m1")
    assert row["deliveries"] == [{"target": "sink/up", "state": "delivered"}]
    assert row["keys"]["patient_id"] == "p7"
    assert "张三丰" not in row["keys"]["name"]
    found = await admin.get(f"/api/v1/messages/{number}")
    assert "张三丰" not in str(found)
    assert [d["state"] for d in found["deliveries"]] == ["delivered"]
    assert [(c["direction"], c["outcome"]) for c in found["calls"]] == [("in", "ok"), ("out", "ok")]
    clear = await admin.get(f"/api/v1/messages/{number}?clear=1")
    assert clear["keys"]["name"] == "张三丰"
    assert clear["calls"][1]["response"] == {"text": '{"code":0}'}
    status, body, headers = await admin.call("GET", f"/api/v1/messages/{number}/raw")
    assert (status, body) == (200, raw)
    assert (headers["Content-Type"], headers["X-Content-Type-Options"]) == ("application/octet-stream", "nosniff")
    assert headers["Content-Disposition"].startswith("attachment")


async def test_searching_messages(site: Site, serve: OpenAdmin) -> None:
    site.target().react = lambda out: refuse(out) if out.control_id == "m3" else accept(out)
    admin = await serve(site)
    for number in range(6):
        await admin.hub.wire.submit("his/in", {"id": f"m{number}", "type": f"t{number % 2}", "pid": f"p{number}"})
    await admin.hub.reached(DeliveryState.DELIVERED, 5)
    await admin.hub.reached(DeliveryState.DEAD)

    async def found(query: str) -> list[str]:
        return [row["control_id"] for row in (await admin.get(f"/api/v1/messages?{query}"))["messages"]]

    assert await found("") == ["m5", "m4", "m3", "m2", "m1", "m0"]
    assert await found("type=t1") == ["m5", "m3", "m1"]
    assert await found("type=t*&limit=2") == ["m5", "m4"]
    assert await found("state=dead") == ["m3"]
    assert await found("control_id=m2&source=his/in&system=his") == ["m2"]
    assert await found("key.patient_id=p4") == ["m4"]
    assert await found("target=sink/up&route=to_sink&since=-1h") == ["m5", "m4", "m3", "m2", "m1", "m0"]
    assert await found("since=2099-01-01T00:00") == []
    assert await found("conflict=1") == []
    page = await admin.get("/api/v1/messages?limit=4")
    assert page["more"] is True
    assert await found(f"limit=4&before={page['messages'][-1]['id']}") == ["m1", "m0"]


async def test_deliveries_and_calls(site: Site, serve: OpenAdmin) -> None:
    admin, dead = await with_dead(site, serve, 3)
    rows = (await admin.get("/api/v1/deliveries?state=dead,held&target=sink&route=to_sink&reason=like+this"))[
        "deliveries"
    ]
    assert sorted(row["id"] for row in rows) == sorted(dead)
    assert rows[0]["step"] == "send"
    assert (await admin.get("/api/v1/deliveries?state=delivered"))["deliveries"] == []
    assert len((await admin.get("/api/v1/deliveries?limit=2"))["deliveries"]) == 2
    calls = (await admin.get("/api/v1/calls?place=sink&failed=1"))["calls"]
    assert [call["outcome"] for call in calls] == ["permanent"] * 3
    assert "request" not in calls[0]
    (call,) = (await admin.get("/api/v1/calls?direction=in&outcome=ok&limit=1&bodies=1&clear=1"))["calls"]
    assert "request" in call


async def test_ledger_audit_and_plugins(site: Site, serve: OpenAdmin) -> None:
    admin, dead = await with_dead(site, serve)
    ledger = await admin.get("/api/v1/ledger")
    assert (ledger["balanced"], ledger["messages"], ledger["rows"][0]["dead"]) == (True, 1, 1)
    status, _, _ = await admin.call("POST", "/api/v1/deliveries/ignore", {"ids": dead, "reason": "test"}, X_Actor="li")
    assert status == 200
    (entry,) = (await admin.get("/api/v1/audit"))["entries"]
    assert (entry["entry"]["actor"], entry["entry"]["action"]) == ("li", "delivery.ignore")
    assert (await admin.get(f"/api/v1/audit?after={entry['seq']}"))["entries"] == []
    plugins = (await admin.get("/api/v1/plugins"))["plugins"]
    assert [(p["id"], p["systems"], p["loaded"]) for p in plugins] == [("his", ["his"], True), ("sink", ["sink"], True)]


# -- acting ----------------------------------------------------------------------------------------------------------


async def test_verbs_by_id_and_by_query(site: Site, serve: OpenAdmin) -> None:
    admin, dead = await with_dead(site, serve, 4)
    status, answer, _ = await admin.call("POST", "/api/v1/deliveries/hold", {"ids": dead[:1], "reason": "wait"})
    assert (status, answer) == (200, {"done": dead[:1], "made": [], "refused": {}})
    status, answer, _ = await admin.call("POST", "/api/v1/deliveries/delete", {"query": {"state": "dead"}, "most": 1})
    assert (status, answer["done"]) == (200, [dead[1]])
    admin.hub.site.peer().react = accept
    status, answer, _ = await admin.call("POST", "/api/v1/deliveries/resend", {"query": {"state": "dead,held"}})
    assert (status, sorted(answer["done"])) == (200, sorted([dead[0], *dead[2:]]))
    await admin.hub.reached(DeliveryState.DELIVERED, 3)
    status, answer, _ = await admin.call("POST", "/api/v1/deliveries/resend", {"ids": [dead[2]]})
    assert (status, list(answer["refused"])) == (200, [dead[2]])
    status, answer, _ = await admin.call("POST", "/api/v1/deliveries/forward", {"ids": [dead[2]], "target": "sink/up"})
    assert (status, len(answer["made"])) == (200, 1)
    await admin.hub.reached(DeliveryState.DELIVERED, 4)


async def test_replay(site: Site, serve: OpenAdmin) -> None:
    admin, _ = await with_dead(site, serve)
    status, answer, _ = await admin.call("POST", "/api/v1/replay", {"query": {"system": "his"}})
    assert (status, answer["dry_run"], answer["made"], len(answer["results"])) == (200, True, [], 1)
    admin.hub.site.peer().react = accept
    status, answer, _ = await admin.call("POST", "/api/v1/replay", {"query": {"system": "his"}, "dry_run": False})
    assert (status, len(answer["made"])) == (200, 1)
    await admin.hub.reached(DeliveryState.DELIVERED)


async def test_sending_as_if_received(site: Site, serve: OpenAdmin) -> None:
    site.target()
    admin = await serve(site)
    path = "/api/v1/interfaces/his/in/messages"
    status, answer, _ = await admin.call("POST", path, b'{"id":"m1","type":"t"}', X_Actor="li")
    assert (status, answer["outcome"], answer["control_id"], answer["type"]) == (202, "accepted", "m1", "t")
    status, again, _ = await admin.call("POST", path, b'{"id":"m1","type":"t"}')
    assert (status, again["outcome"], again["message_id"]) == (202, "duplicate", answer["message_id"])
    assert (await admin.hub.calls("his/in"))[0].remote == "admin:li"
    await admin.hub.reached(DeliveryState.DELIVERED)
    problem = await admin.refused(422, "POST", path, b"{")
    assert problem["code"] == "json.invalid"
    problem = await admin.refused(400, "POST", "/api/v1/interfaces/his/nope/messages", b"{}")
    assert "his/in" in problem["detail"]


async def test_sending_a_request_gives_its_reply(site: Site, serve: OpenAdmin) -> None:
    site.system("his", "his", ask={}, **{"in": "off"})
    site.target()
    admin = await serve(site)
    status, answer, _ = await admin.call("POST", "/api/v1/interfaces/his/ask/messages", b'{"id":"q","type":"t"}')
    assert (status, answer["reply"]) == (202, '{"code":0}')


async def test_reload_and_its_refusal(site: Site, serve: OpenAdmin) -> None:
    site.target()
    admin = await serve(site)
    site.target("more")
    site.write()
    status, answer, _ = await admin.call("POST", "/api/v1/reload", X_Actor="li")
    assert (status, answer["start_outbound"]) == (200, ["more/up"])
    site.config["routes"]["to_more"]["to"] = "moer/up"
    site.write()
    problem = await admin.refused(422, "POST", "/api/v1/reload")
    (first,) = problem["problems"]
    assert first["file"].endswith("hub.yaml")
    assert first["line"]
    assert first["remedy"]


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "path", "body"),
    [
        (404, "GET", "/nothing", None),
        (404, "GET", "/api/v1/messages/0000000000000", None),
        (404, "GET", "/api/v1/messages/0000000000000/raw", None),
        (405, "DELETE", "/api/v1/messages", None),
        (400, "GET", "/api/v1/messages/short", None),
        (400, "GET", "/api/v1/messages?limit=0", None),
        (400, "GET", "/api/v1/messages?limit=1001", None),
        (400, "GET", "/api/v1/messages?limit=²", None),
        (400, "GET", "/api/v1/messages?state=lost", None),
        (400, "GET", "/api/v1/messages?since=yesterday", None),
        (400, "GET", "/api/v1/messages?since=-1", None),
        (400, "GET", "/api/v1/messages?before=x", None),
        (400, "GET", "/api/v1/deliveries?state=dead,lost", None),
        (400, "GET", "/api/v1/calls?outcome=maybe", None),
        (400, "GET", "/api/v1/calls?direction=up", None),
        (400, "GET", "/api/v1/audit?after=x", None),
        (400, "POST", "/api/v1/deliveries/explode", {"ids": ["0000000000000"]}),
        (400, "POST", "/api/v1/deliveries/resend", {}),
        (400, "POST", "/api/v1/deliveries/resend", {"ids": "0000000000000"}),
        (400, "POST", "/api/v1/deliveries/resend", {"ids": 7}),
        (400, "POST", "/api/v1/deliveries/resend", {"ids": ["zz"]}),
        (400, "POST", "/api/v1/deliveries/resend", {"query": []}),
        (400, "POST", "/api/v1/deliveries/resend", {"query": ["state"]}),
        (400, "POST", "/api/v1/deliveries/resend", {"query": {"state": "lost"}}),
        (400, "POST", "/api/v1/deliveries/resend", {"query": {"state": "dead"}, "most": "all"}),
        (400, "POST", "/api/v1/deliveries/resend", {"query": {"state": "dead"}, "most": 0}),
        (400, "POST", "/api/v1/deliveries/resend", {"ids": ["0000000000000"], "step": "decode"}),
        (400, "POST", "/api/v1/deliveries/resend", b"{"),
        (400, "POST", "/api/v1/deliveries/resend", b"[]"),
        (400, "POST", "/api/v1/deliveries/resend", b""),
        (422, "POST", "/api/v1/deliveries/forward", {"ids": ["0000000000000"], "target": "nowhere/up"}),
        (400, "POST", "/api/v1/replay", {}),
        (422, "POST", "/api/v1/replay", {"ids": ["0000000000000"]}),
        (422, "POST", "/api/v1/replay", {"query": {"system": "his"}, "mapping": "nonesuch"}),
    ],
)
async def test_what_is_asked_wrongly_is_told_as_a_problem(
    site: Site, serve: OpenAdmin, status: int, method: str, path: str, body: Any
) -> None:
    site.target()
    admin = await serve(site)
    await admin.refused(status, method, path, body)
    assert await admin.hub.node.store.reader.audit() == []


async def test_a_body_too_large_is_a_problem_too(site: Site, serve: OpenAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.admin.app.MAX_BODY", 1000)
    site.target()
    admin = await serve(site)
    await admin.refused(413, "POST", "/api/v1/interfaces/his/in/messages", b" " * 2000)


async def test_a_refusal_for_now_says_when_to_come_back(site: Site, serve: OpenAdmin) -> None:
    site.target()
    admin = await serve(site)
    await admin.hub.node.intake.drain(1.0)
    status, body, headers = await admin.call("POST", "/api/v1/interfaces/his/in/messages", b'{"id":"m"}')
    assert (status, headers["Retry-After"], body["code"]) == (503, "5", "store.busy")


async def test_an_unexpected_error_tells_nothing_of_the_inside(
    site: Site, serve: OpenAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.target()
    admin = await serve(site)

    def broken(self: object) -> None:
        raise ZeroDivisionError("secret inside")

    monkeypatch.setattr("hub.node.Node.status", broken)
    problem = await admin.refused(500, "GET", "/api/v1/status")
    assert "secret" not in str(problem)


async def test_garbage_is_answered_and_not_logged(
    site: Site, serve: OpenAdmin, caplog: pytest.LogCaptureFixture
) -> None:
    """A scanner must not fill the log with tracebacks."""
    site.target()
    admin = await serve(site)
    port = admin.session._base_url.port  # type: ignore[union-attr]
    for garbage in (b"\x00\xff\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(garbage)
        assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.0 400")
        writer.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


# -- the document ----------------------------------------------------------------------------------------------------


def test_the_openapi_document_says_what_there_is() -> None:
    """The structure OpenAPI 3.1.0 requires (sections 4.8.1, 4.8.8 to 4.8.12), checked against the table of operations."""
    document = openapi_document()
    assert orjson.loads(orjson.dumps(document)) == document
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"]
    assert document["info"]["version"]
    assert set(document["components"]["securitySchemes"]) == {name for entry in document["security"] for name in entry}
    operations = [(m, path, o) for path, methods in document["paths"].items() for m, o in methods.items()]
    assert {(m.upper(), path) for m, path, _ in operations} == {(o.method, o.path) for o in OPERATIONS}
    ids = [operation["operationId"] for _, _, operation in operations]
    assert len(ids) == len(set(ids))
    for method, path, operation in operations:
        assert path.startswith("/")
        assert method in {"get", "post", "patch", "delete"}
        assert operation["summary"]
        assert operation["responses"]
        assert all(re.fullmatch(r"[1-5]\d\d|default", code) for code in operation["responses"])
        assert all(response["description"] for response in operation["responses"].values())
        parameters = [(p["in"], p["name"]) for p in operation["parameters"]]
        assert len(parameters) == len(set(parameters))
        in_path = {name for place, name in parameters if place == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        assert all(p["required"] is True for p in operation["parameters"] if p["in"] == "path")
        assert all(p["schema"]["type"] == "string" for p in operation["parameters"])
        assert ("requestBody" in operation) <= (method != "get")
        assert (operation.get("security") == []) == (path in OPEN | LOGIN)


async def test_the_document_is_served(site: Site, serve: OpenAdmin) -> None:
    site.target()
    admin = await serve(site)
    assert await admin.get("/openapi.json") == openapi_document()
