"""A hub with callers as it runs: one process and several workers, orders over the admin API and the command line."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from hub.cli.callers import app
from tests.kernel.process import PATIENCE, Answer, HubProcess, MllpClient, adt, wait_for

PLUGIN = """
id: his
name: HIS
interfaces:
  orders:
    direction: in
    adapter: http
    listen: {path: /orders, auth: {type: caller}, token: {}}
    codec: json
    type: kind
    keys: {from_caller: $caller}
"""


def site(folder: Path, *, names: tuple[str, ...] = ("east",), **more: Any) -> Path:
    (folder / "plugins" / "his").mkdir(parents=True)
    (folder / "mappings").mkdir()
    (folder / "plugins" / "his" / "plugin.yaml").write_text(PLUGIN, encoding="utf-8")
    settings = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {name: {"plugin": "his", "worker": number} for number, name in enumerate(names)},
        **more,
    }
    file = folder / "config" / "hub.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return file


class Client:
    """One caller of a hub."""

    def __init__(self, hub: HubProcess, key: str) -> None:
        self.hub = hub
        self.key = key
        self._ports: dict[tuple[HubProcess, str], int] = {}

    def call(self, place: str = "east/orders", kind: str = "order.new", path: str = "/orders") -> Answer:
        port = self._ports.get((self.hub, place)) or self._ports.setdefault((self.hub, place), self.hub.port(place))
        url = f"http://127.0.0.1:{port}{path}"
        request = urllib.request.Request(url, data=json.dumps({"kind": kind}).encode())
        request.add_header("X-Api-Key", self.key)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())


def order(hub: HubProcess, path: str, body: dict[str, Any]) -> Any:
    answer = hub.call("POST", f"/api/v1/{path}", body, X_Actor="ann")
    assert answer.status in (200, 201), answer.body
    return answer.json


def enrolled(hub: HubProcess, name: str = "clinic", **more: Any) -> Client:
    given = {"id": name, "name": "Clinic", "kind": "institution", "places": ["*/orders"], "types": ["order.*"]}
    order(hub, "callers", {**given, **more})
    order(hub, f"callers/{name}/review", {"approve": True})
    return Client(hub, order(hub, f"callers/{name}/issue", {"kind": "api_key"})["shown"])


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with HubProcess(site(tmp_path)) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with HubProcess(site(tmp_path_factory.mktemp("site"))) as running:
        yield running


def test_a_caller_from_application_to_call_log(hub: HubProcess) -> None:
    assert Client(hub, "x.y").call().status == 401
    client = enrolled(hub)
    assert client.call().status == 202
    refused = client.call(kind="invoice.new")
    assert (refused.status, refused.json["code"]) == (403, "caller.type")
    calls = hub.call("GET", "/api/v1/calls?clear=1&bodies=1").json["calls"]
    assert "clinic" in json.dumps([call for call in calls if call["outcome"] == "ok"])
    assert client.key not in json.dumps(calls)
    (message,) = hub.call("GET", "/api/v1/messages?key.from_caller=clinic").json["messages"]
    assert message["type"] == "order.new"
    metrics = hub.call("GET", "/metrics").body.decode()
    assert 'tongqu_caller_calls_total{caller="clinic",outcome="taken"} 2.0' in metrics

    def usage() -> Any:
        return hub.call("GET", "/api/v1/caller-usage?caller=clinic").json["usage"]

    (row,) = wait_for(usage, "the use is written")
    assert (row["place"], row["taken"]) == ("east/orders", 2)
    journal = hub.call("GET", "/api/v1/caller-journal").json
    assert [json.loads(row["entry"])["actor"] for row in journal["entries"]] == ["ann"] * 3
    assert journal["problems"] == []
    assert client.key.split(".")[1] not in (hub.config.parent / "run.log").read_text()


def test_orders_are_in_force_with_the_next_call(shared: HubProcess) -> None:
    client = enrolled(shared, "ward")
    for _ in range(3):
        assert client.call().status == 202
        order(shared, "callers/ward/disable", {"reason": "left"})
        assert client.call().status == 401
        order(shared, "callers/ward/enable", {})
    order(shared, "addresses/block", {"rows": [{"network": "127.0.0.0/8"}]})
    assert client.call().status == 403
    order(shared, "addresses/remove", {"network": "127.0.0.0/8"})
    assert client.call().status == 202


def test_workers_see_what_the_supervisor_writes(tmp_path: Path) -> None:
    with HubProcess(site(tmp_path, names=("east", "west")), "--workers", "2") as hub:
        client = enrolled(hub, limits={"per_day": 30})
        assert len({w["worker"] for w in hub.workers() for p in w["inbound"] if p.endswith("/orders")}) == 2
        for place in ("east/orders", "west/orders"):
            assert client.call(place).status == 202
        order(hub, "callers/clinic/disable", {})
        for place in ("east/orders", "west/orders"):
            assert client.call(place).status == 401
        order(hub, "callers/clinic/enable", {})
        taken = [client.call(place).status for place in ("east/orders", "west/orders") * 20]
        assert taken.count(202) == 28
        assert set(taken) == {202, 429}


def test_a_quota_outlives_kill_and_restart(tmp_path: Path) -> None:
    config = site(tmp_path)
    with HubProcess(config) as hub:
        client = enrolled(hub, limits={"per_day": 5})
        assert [client.call().status for _ in range(3)] == [202] * 3
        hub.kill()
    with HubProcess(config) as hub:
        client.hub = hub
        assert [client.call().status for _ in range(4)] == [202, 202, 429, 429]


ADT = """
  adt:
    direction: in
    adapter: mllp
    listen: {caller: true}
    codec: hl7v2
    keys: {from_caller: $caller}
"""


def test_mllp_knows_callers_by_their_address(tmp_path: Path) -> None:
    config = site(tmp_path)
    (tmp_path / "plugins" / "his" / "plugin.yaml").write_text(PLUGIN + ADT.removeprefix("\n"), encoding="utf-8")
    with HubProcess(config) as hub:
        enrolled(hub, places=["east/adt"], types=["ADT^A01"], limits={"per_day": 2})
        client = MllpClient(hub.port("east/adt"))
        assert client.ask(adt("1")) == "AR"
        order(hub, "addresses/allow", {"rows": [{"network": "127.0.0.0/8", "caller": "clinic"}]})
        assert client.ask(adt("2").replace(b"ADT^A01", b"ADT^A08")) == "AR"  # it counts all the same
        assert client.ask(adt("3")) == "AA"
        assert client.ask(adt("4")) == "AE"  # over the quota: later
        client.close()
        assert len(hub.call("GET", "/api/v1/messages?key.from_caller=clinic").json["messages"]) == 1


def test_a_restriction_over_the_admin_api(shared: HubProcess) -> None:
    client = enrolled(shared, "pharmacy")
    order(shared, "restrictions", {"kind": "caller", "subject": "pharmacy", "for": "1h", "reason": "too much"})
    wait_for(lambda: client.call().status == 429, "restricted")
    assert [r["subject"] for r in shared.call("GET", "/api/v1/restrictions").json["restrictions"]] == ["pharmacy"]
    order(shared, "restrictions", {"kind": "caller", "subject": "pharmacy", "for": 0})
    wait_for(lambda: client.call().status == 202, "lifted")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("callers", {"id": "X"}),
        ("callers/nobody/enable", {}),
        ("callers/nobody/explode", {}),
        ("callers/nobody/review", {"approve": "yes"}),
        ("credentials/nothing/revoke", {}),
        ("credentials/nothing/rotate", {"overlap": "soon"}),
        ("addresses/block", {"rows": [{"network": "x"}]}),
        ("addresses/block", {"rows": "x"}),
        ("addresses/explode", {"rows": [{"network": "10.0.0.0/8"}]}),
        ("addresses/remove", {}),
        ("restrictions", {"kind": "planet", "subject": "mars"}),
        ("restrictions", {"kind": "address", "subject": "mars"}),
    ],
)
def test_orders_that_are_refused(shared: HubProcess, path: str, body: dict[str, Any]) -> None:
    answer = shared.call("POST", f"/api/v1/{path}", body)
    assert answer.status in (400, 422)
    assert answer.json["detail"]


def test_the_command_line(shared: HubProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONGQU_ADMIN_URL", shared.url)
    monkeypatch.setenv("TONGQU_CONFIG", str(shared.config))
    monkeypatch.setenv("TONGQU_ACTOR", "ann")

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, [*arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    def told(*arguments: str) -> Any:
        return json.loads(run(*arguments, "--json"))

    applied = told("apply", "lab", "--name", "Lab", "--kind", "institution", "--place", "*/orders", "--per-day", "9")
    assert (applied["state"], applied["limits"]) == ("applied", {"per_day": 9})
    assert told("review", "lab", "--approve")["reviewed_by"] == "ann"
    issued = told("issue", "lab", "--kind", "api_key", "--note", "first")
    client = Client(shared, issued["shown"])
    assert client.call().status == 202
    rotated = told("rotate", issued["id"], "--overlap", "0s")
    assert [client.call().status, Client(shared, rotated["shown"]).call().status] == [401, 202]
    assert told("revoke", rotated["id"], "--reason", "lost")["revoked_at"] > 0
    assert told("change", "lab", "--until", "2099-01-01")["valid_until"] > 4_000_000_000
    assert told("restrict", "192.0.2.1", "--for", "1h")["kind"] == "address"
    assert told("unrestrict", "192.0.2.1") == {"lifted": True}
    assert told("allow", "10.0.0.0/8", "--caller", "lab") == {"rules": 1}
    assert told("block", "192.0.2.0/24", "--note", "tests") == {"rules": 1}
    file = tmp_path / "list.xlsx"
    run("export", "block", str(file))
    assert told("block", "192.0.2.0/24", "--remove") == {"rules": 1}
    assert told("import", "block", str(file)) == {"rules": 1}
    assert [rule["note"] for rule in told("addresses")["addresses"] if rule["effect"] == "block"] == ["tests"]
    assert told("block", "192.0.2.0/24", "--remove") == {"rules": 1}
    assert told("disable", "lab")["state"] == "disabled"
    for command in (["list"], ["show", "lab"], ["usage"], ["log"], ["addresses"], ["restrictions"], ["enable", "lab"]):
        assert run(*command)
    assert issued["secret"] not in run("show", "lab") + run("log")


def test_contact_data_without_a_key_store_is_refused_with_the_remedy(shared: HubProcess) -> None:
    given = {"id": "shy", "name": "Shy", "kind": "developer", "contact": "Zhang San 13800138000"}
    answer = shared.call("POST", "/api/v1/callers", given)
    assert answer.status == 422
    assert "hub keys init" in json.dumps(answer.json)


def test_contact_data_with_a_key_store_is_masked(tmp_path: Path) -> None:
    config = site(tmp_path, keys={"path": "../keys", "master": "file:../master/key"})
    from hub.config import load_config
    from hub.keys.opened import folder_of, master_source
    from hub.keys.store import KeyStore

    (tmp_path / "master").mkdir(mode=0o700)
    keys = load_config(config).hub.keys
    KeyStore.create(folder_of(keys, config.parent), master_source(keys.master, config.parent))
    with HubProcess(config) as hub:
        enrolled(hub, contact="张三 13800138000")
        assert hub.call("GET", "/api/v1/callers/clinic").json["contact"] == "张* 138****8000"
        assert hub.call("GET", "/api/v1/callers/clinic?clear=1").json["contact"] == "张三 13800138000"
        last = hub.call("GET", "/api/v1/caller-journal").json["entries"][-1]
        assert json.loads(last["entry"])["action"] == "caller.contact"
        issued = order(hub, "callers/clinic/issue", {"kind": "hmac"})
        assert issued["secret"]
