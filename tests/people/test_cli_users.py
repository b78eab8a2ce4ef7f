"""``hub users`` and ``hub approvals`` beside a running hub and without one; the running hub with workers."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from hub.cli import users
from hub.cli.common import Site, ask
from hub.config import load_config
from hub.errors import HubError
from hub.i18n import language, set_language
from hub.keys.opened import folder_of, master_source, usual_policy
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from hub.people.people import Records
from tests.kernel.process import HubProcess, Sink, adt, make_site, wait_for

PASSWORD = "Riverbank#2026"


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)


Run = Callable[..., Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The answer of a command as JSON; what it refuses is raised."""
    program = typer.Typer()
    program.add_typer(users.app, name="users")
    program.add_typer(users.approvals, name="approvals")
    monkeypatch.setenv("TONGQU_ACTOR", "os.admin")

    def call(config: Path, *words: str, typed: str = "") -> Any:
        result = CliRunner().invoke(program, [*words, "--config", str(config)], input=typed.encode())
        if isinstance(result.exception, HubError):
            raise result.exception
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.stdout) if result.stdout.strip().startswith("{") else result.stdout

    return call


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return make_site(tmp_path, "http://127.0.0.1:9")


def test_the_first_administrator_is_made_without_a_hub(site: Path, run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD + "\n")
    made = run(site, "users", "add", "boss", "--role", "administrator", "--password-file", str(secret), "--json")
    assert (made["roles"], made["scope"], made["must_change_password"]) == (
        ["administrator"],
        {"everything": True},
        False,
    )
    made = run(site, "users", "add", "li", "--role", "monitor", "--of-institution", "东院", "--json")
    assert len(made["temporary_password"]) >= 12
    assert [row["id"] for row in run(site, "users", "list", "--json")["users"]] == ["boss", "li"]
    with pytest.raises(HubError, match="there is a user"):
        run(site, "users", "add", "li")
    with pytest.raises(HubError, match="last administrator"):
        run(site, "users", "state", "boss", "frozen", "--reason", "x")
    with pytest.raises(HubError, match="reason"):
        run(site, "users", "state", "li", "frozen")
    run(site, "users", "state", "li", "frozen", "--reason", "left")
    assert run(site, "users", "set", "li", "--role", "auditor", "--everything", "--json")["scope"] == {
        "everything": True
    }
    assert "temporary_password" in run(site, "users", "reset-password", "li", "--json")
    assert (site.parent.parent / "var" / "access.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("password", ["short", "nodigits#here", "", "boss#Riverbank1"])
def test_a_password_the_policy_does_not_take_makes_no_user(site: Path, run: Run, password: str) -> None:
    with pytest.raises(HubError):
        run(site, "users", "add", "boss", "--role", "administrator", "--password-file", "-", typed=password)
    assert run(site, "users", "list", "--json")["users"] == []


def test_keys_wait_for_another_person(site: Path, run: Run) -> None:
    data = yaml.safe_load(site.read_text(encoding="utf-8"))
    assert users.approver(Site(site)) is None
    data["security"] = {"approvals": {"actions": ["keys.destroy"]}}
    site.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    approve = users.approver(Site(site))
    assert approve is not None
    approve("keys.export", "m@1", "zhang", "x")
    with pytest.raises(HubError) as caught:
        approve("keys.destroy", "m@1", "zhang", "worn out")
    assert caught.value.code == "approval.waiting"
    (row,) = run(site, "approvals", "list", "--json")["approvals"]
    assert (row["requester"], row["subject"], row["state"]) == ("os:zhang", "m@1", "asked")


def test_a_running_hub_with_workers_sees_changes_at_once(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink()
    security = {"approvals": {"actions": ["users.rights"]}}
    config = make_site(tmp_path, sink.url, security=security, admin={"port": 0, "token": "off"})
    data = {"east": "东院", "east_platform": "东院", "west": "西院", "west_platform": "西院"}
    written = yaml.safe_load(config.read_text(encoding="utf-8"))
    for name, institution in data.items():
        written["systems"][name]["institution"] = institution
    config.write_text(yaml.safe_dump(written, allow_unicode=True), encoding="utf-8")
    for name in ("one", "two"):
        run(config, "users", "add", name, "--role", "administrator", "--password-file", "-", typed=PASSWORD)
    words = ("--role", "integration_engineer", "--of-institution", "东院", "--password-file", "-")
    run(config, "users", "add", "eve", *words, typed=PASSWORD)
    try:
        with HubProcess(config, "--workers", "2") as hub:

            def login(user: str) -> str:
                answer = hub.call("POST", "/api/v1/login", {"user": user, "password": PASSWORD}, token="-")
                assert answer.status == 200, answer.body
                return str(answer.json["token"])

            assert (
                hub.call("GET", "/api/v1/status", token=(hub.data / "workers.token").read_text().strip()).status == 401
            )
            one, eve = login("one"), login("eve")
            status = hub.call("GET", "/api/v1/status", token=one).json["workers"]
            assert {place for worker in status for place in worker["inbound"]} == {"east/adt", "west/adt"}
            for place in ("east/adt", "west/adt"):
                sent = hub.call("POST", f"/api/v1/interfaces/{place}/messages", adt(place[0]), token=one)
                assert sent.status == 202, sent.body
            wait_for(lambda: len(sink.bodies) == 2, "delivery")
            rows = hub.call("GET", "/api/v1/messages", token=eve).json["messages"]
            assert [row["source"] for row in rows] == ["east/adt"]
            assert b"west" not in hub.call("GET", "/api/v1/status", token=eve).body
            assert hub.call("GET", "/api/v1/audit", token=eve).status == 403
            # A change at the command line is seen with the next call.
            run(config, "users", "state", "eve", "frozen", "--reason", "left")
            assert hub.call("GET", "/api/v1/messages", token=eve).status == 401
            # One asks, the other approves at the command line.
            verify = {"method": "password", "code": PASSWORD}
            assert hub.call("POST", "/api/v1/session/verify", verify, token=one).status == 200
            order = {"state": "normal", "reason": "back"}
            asked = hub.call("POST", "/api/v1/users/eve/state", order, token=one)
            assert asked.status == 202, asked.body
            number = asked.json["approval"]["id"]
            monkeypatch.setenv("TONGQU_ADMIN_URL", hub.url)
            with pytest.raises(HubError, match="another person"):
                run(config, "approvals", "approve", number, "--user", "one", typed=PASSWORD + "\n")
            done = run(config, "approvals", "approve", number, "--user", "two", "--json", typed=PASSWORD + "\n")
            assert done["approval"]["state"] == "done"
            assert login("eve")
            with pytest.raises(HubError, match="off"):
                run_status(config)
    finally:
        sink.close()


def run_status(config: Path) -> None:
    ask(Site(config), "GET", "/api/v1/status")


def test_standard_input_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("口令\n".encode())))
    assert users._typed("password: ") == "口令"


def test_with_a_key_store_its_key_seals_and_a_rotated_one_goes_on(site: Path, run: Run) -> None:
    where = Site(site)
    keys, base = where.config.keys, site.parent
    KeyStore.create(folder_of(keys, base), master_source(keys.master, base))
    run(
        site,
        "users",
        "add",
        "boss",
        "--role",
        "administrator",
        "--name",
        "张三",
        "--password-file",
        "-",
        typed=PASSWORD,
    )
    with KeyStore(folder_of(keys, base), master_source(keys.master, base), usual=usual_policy(keys)) as store:
        Orders(store, actor="test").rotate("people", reason="test")
        ring = store.data_keys("people")
        records = Records(where.data, where.config.security, keys=ring)
        person = records.book.get("boss")
        assert (person.name, person.password.split("$")[2]) == ("张三", "k1")
        assert records.passwords.verify(PASSWORD, person.password)
        assert records.passwords.outdated(person.password)
        records.close()
    assert not (where.data / "people.key").exists()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"security": {"second_factor": {"roles": ["king"]}}}, "security.second_factor.roles"),
        ({"security": {"second_factor": {"sms": "nowhere/in"}}}, "security.second_factor.sms"),
        ({"security": {"portal": {"cas": {"url": "https://cas.example"}}}}, "security.portal.cas"),
        ({"security": {"roles": {"x": {"rights": ["fly"]}}}}, "security.roles.x.rights"),
        ({"security": {"approvals": {"actions": ["fly"]}}}, "security.approvals.actions"),
        ({"security": {"login": {"regions": {"x": ["1.2.3"]}}}}, "security.login.regions.x"),
        ({"admin": {"proxies": ["x"]}}, "admin.proxies"),
        ({"admin": {"url": "hub.example"}}, "admin.url"),
        ({"admin": {"host": "0.0.0.0"}}, "admin.token"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, change: dict[str, Any], key: str) -> None:
    file = make_site(tmp_path, "http://127.0.0.1:9", **change)
    problems = [problem for problem in load_config(file).problems if problem.key.startswith(key)]
    assert problems, load_config(file).problems
    assert problems[0].line > 0
    assert problems[0].remedy
