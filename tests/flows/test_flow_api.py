"""Flows as people see and act on them: admin API, pages, picture and command line of a hub that runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kernel.process import ROOT, HubProcess, Sink, make_site, wait_for

_FLOW = """
name: 审核 <b>
start: {from: desk/in, types: [apply], key: no, set: {name: name, markup: markup}, document: application}
steps:
  - id: review
    name: 审核
    manual: {role: examiner, choices: {yes: 通过, no: {name: 不通过, end: rejected}}, fields: {opinion: {required: true}, days: {type: number}}, show: [name]}
  - id: report
    send: {to: east_platform/patient, fields: {number: $flow.key, opinion: opinion}, mapping: ""}
ends: {completed: 办结, rejected: 不予许可}
"""
_DESK = """
id: desk
name: 窗口
interfaces:
  in: {direction: in, adapter: http, listen: {port: 0, path: /in, auth: {type: none}}, codec: json, type: type, control_id: id}
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    server = Sink()
    yield server
    server.close()


def _site(folder: Path, url: str) -> Path:
    file = make_site(folder, url)
    (folder / "plugins" / "desk").mkdir()
    (folder / "plugins" / "desk" / "plugin.yaml").write_text(_DESK, encoding="utf-8")
    (folder / "flows").mkdir()
    (folder / "flows" / "permit.yaml").write_text(_FLOW, encoding="utf-8")
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config["systems"]["desk"] = {"plugin": "desk"}
    config["security"] = {"roles": {"examiner": {"rights": ["flows.read", "flows.complete"]}}}
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return file


def _apply(hub: HubProcess, no: str) -> str:
    """Hands in an application; returns the id of its instance."""
    body = {"type": "apply", "id": no, "no": no, "name": "王小明", "markup": "<script>alert(1)</script>"}
    assert hub.call("POST", "/api/v1/interfaces/desk/in/messages", body).status == 202

    def find() -> str:
        rows = hub.call("GET", f"/api/v1/flows/instances?flow=permit&key={no}").json["instances"]
        return rows[0]["id"] if rows else ""

    return str(wait_for(find, "an instance"))


def _command(config: Path, url: str, token: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from hub.cli.flows import app; app()", *arguments, "--config", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TONGQU_LANG": "en", "TONGQU_ADMIN_URL": url, "TONGQU_TOKEN": token},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one", "two workers"])
def test_people_see_and_decide(tmp_path: Path, sink: Sink, workers: tuple[str, ...]) -> None:
    config = _site(tmp_path, sink.url)
    with HubProcess(config, *workers) as hub:
        first, second = _apply(hub, "A-1"), _apply(hub, "A-2")
        base = f"/api/v1/flows/instances/{first}"
        one: dict[str, Any] = hub.call("GET", base).json
        assert (one["state"], one["at"]) == ("running", ["review"])
        assert one["variables"]["name"] != "王小明"  # masked
        assert hub.call("GET", f"{base}?clear=1").json["variables"]["name"] == "王小明"
        assert one["steps"][0]["manual"]["role"] == "examiner"

        page = hub.call("GET", f"/console/flows/{first}?clear=1")
        assert page.status == 200
        assert b"<script>alert" not in page.body
        assert "审核 &lt;b&gt;".encode() in page.body
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert first.encode() in hub.call("GET", "/console/flows?state=running").body
        svg = ET.fromstring(hub.call("GET", f"{base}/diagram").body)
        assert svg.tag.endswith("svg")

        refused = hub.call("POST", f"{base}/complete", {"step": "review", "choice": "yes"})
        assert refused.status == 422
        assert "opinion" in refused.json["detail"]
        wrong = hub.call(
            "POST", f"{base}/complete", {"step": "review", "choice": "yes", "fields": {"opinion": "x", "days": "three"}}
        )
        assert "number" in wrong.json["detail"]
        assert hub.call("POST", f"{base}/cancel", {}).status == 422  # no reason
        assert hub.call("POST", f"{base}/explode", {}).status == 400
        assert hub.call("GET", "/api/v1/flows/instances/0000000000000").status == 422
        assert hub.call("GET", base, token="wrong").status == 401

        listed = json.loads(_command(config, hub.url, hub.token, "list", "--json"))
        assert listed["flows"][0]["states"] == {"running": 2}
        _command(config, hub.url, hub.token, "complete", first, "review", "yes", "-f", "opinion=fine", "-f", "days=3")
        wait_for(lambda: hub.call("GET", base).json["state"] == "ended", "the first has ended")
        assert [body for path, body in sink.bodies if path == "/east/patient"] == [{"number": "A-1", "opinion": "fine"}]
        _command(config, hub.url, hub.token, "cancel", second, "--reason", "withdrawn")
        shown = _command(config, hub.url, hub.token, "show", second)
        assert "cancelled" in shown
        assert "王小明" not in shown
        assert "completed" in _command(config, hub.url, hub.token, "history", first)
        assert _command(config, hub.url, hub.token, "diagram", "permit").startswith("<svg")
        assert "办结" in _command(config, hub.url, hub.token, "list")

        trail = hub.call("GET", "/api/v1/audit?limit=1000").body
        assert b"flow.complete" in trail
        assert b"flow.cancel" in trail
        assert b"fine" not in trail

        # Who has looked is there as well: always where it was unmasked, by whatever way.
        _command(config, hub.url, hub.token, "list", "--clear")
        _command(config, hub.url, hub.token, "show", second, "--clear")
        entries = hub.call("GET", "/api/v1/audit?action=access.flow.*&limit=1000").json["entries"]
        told = [row["entry"] for row in entries]
        clear = [(one["action"], one["subject"]) for one in told if one["detail"].get("clear")]
        assert clear.count(("access.flow.read", first)) == 2  # the API and the page
        assert ("access.flow.search", "") in clear
        assert ("access.flow.read", second) in clear
