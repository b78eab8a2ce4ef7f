"""What validation found, over the admin API and the command line; and rerunning it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import typer
from typer.testing import CliRunner

from hub.admin.backend import NodeBackend
from hub.admin.serve import AdminServer
from hub.cli import look, quality_report
from hub.ids import id_text
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site

TOKEN = "a-token-for-tests"
SCHEMA = {"type": "object", "required": ["pid"], "properties": {"age": {"type": "integer"}}}


class Admin:
    def __init__(self, hub: Hub, session: aiohttp.ClientSession) -> None:
        self.hub, self.session = hub, session

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.session.request(method, path, json=body, headers=headers) as response:
            return response.status, await response.json(content_type=None)


@pytest.fixture
async def admin(site: Site, start: StartHub) -> AsyncIterator[Admin]:
    """Three messages, one of them marked, none of them checked by what comes later."""
    (site.folder / "schemas").mkdir()
    (site.folder / "schemas" / "in.json").write_text(json.dumps(SCHEMA))
    site.system("his", "his", **{"in": {"validate": {"mode": "warn", "schema": "in.json"}}})
    hub = await start(site)
    for number, age in enumerate((7, "x", 8)):
        assert (await hub.wire.submit("his/in", {"id": f"m{number}", "type": "t", "pid": "p", "age": age})).accepted
    server = AdminServer(NodeBackend(hub.node), TOKEN)
    await server.listen("127.0.0.1", 0)
    session = aiohttp.ClientSession(server.address)
    yield Admin(hub, session)
    await session.close()
    await server.stop()


async def test_figures_and_lists(admin: Admin) -> None:
    status, answer = await admin.call("GET", "/api/v1/quality?place=his")
    (one,) = answer["interfaces"]
    assert (status, one["place"], one["messages"], one["marked"], one["failed"]) == (200, "his/in", 3, 1, 1)
    assert one["rules"] == [{"rule": "json.type", "messages": 1}]
    (day,) = one["days"]
    assert {name: day[name] for name in ("messages", "marked", "score")} == {"messages": 3, "marked": 1, "score": None}
    _, answer = await admin.call("GET", "/api/v1/quality/reports?verdict=marked&rule=json*")
    (row,) = answer["reports"]
    assert [finding["place"] for finding in row["validation"]["findings"]] == ["age"]
    _, message = await admin.call("GET", f"/api/v1/messages/{row['message_id']}")
    assert message["calls"][0]["validation"] == row["validation"]
    assert (await admin.call("GET", "/api/v1/quality?since=-1h&until=2020-01-01"))[1] == {"interfaces": []}


@pytest.mark.parametrize("path", ["/api/v1/quality/reports?verdict=odd", "/api/v1/quality?since=yesterday"])
async def test_what_cant_be_understood_is_told(admin: Admin, path: str) -> None:
    status, answer = await admin.call("GET", path)
    assert (status, answer["code"]) == (400, "query.invalid")


async def test_rerun(admin: Admin) -> None:
    (admin.hub.site.folder / "schemas" / "in.json").write_text(json.dumps({**SCHEMA, "maxProperties": 3}))
    await admin.hub.reload()
    path = "/api/v1/quality/rerun"
    status, counts = await admin.call("POST", path, {"query": {"source": "his/in"}, "missing": True})
    assert (status, counts["skipped"], counts["checked"]) == (200, 3, 0)
    _, counts = await admin.call("POST", path, {"query": {"source": "his/in"}, "reason": "new schema"})
    assert counts == {"checked": 3, "marked": 3, "failed": 3, "not_checked": 0, "skipped": 0}
    _, answer = await admin.call("GET", "/api/v1/quality")
    assert answer["interfaces"][0]["marked"] == 3
    _, trail = await admin.call("GET", "/api/v1/audit")
    entry = trail["entries"][-1]["entry"]
    assert (entry["action"], entry["detail"]["checked"]) == ("quality.rerun", 3)
    assert (await admin.call("POST", path, {}))[0] == 400
    assert (await admin.call("POST", path, {"ids": ["0" * 13]}))[1]["skipped"] == 1


async def test_the_command_line_says_the_same(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = admin.hub
    (marked,) = [call for call in await hub.calls("his/in") if call.check is not None and call.check.errors]
    await hub.stop()
    app = typer.Typer()
    app.command("report")(quality_report.report)
    app.command("show")(look.show)
    monkeypatch.setenv("TONGQU_CONFIG", str(hub.site.file))

    def run(*arguments: str) -> str:  # in a thread: the commands have event loops of their own
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == 0, result.output
        return result.output

    shown = await asyncio.to_thread(run, "show", id_text(marked.message_id), "--json")
    assert json.loads(shown)["calls"][0]["validation"]["errors"] == 1
    figures = json.loads(await asyncio.to_thread(run, "report", "--json"))
    assert figures["interfaces"][0]["messages"] == 3
    listed = json.loads(await asyncio.to_thread(run, "report", "--rule", "json.type", "--json"))
    assert [row["message_id"] for row in listed["reports"]] == [id_text(marked.message_id)]
