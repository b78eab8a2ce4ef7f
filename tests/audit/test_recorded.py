"""What a running hub records of what people do, of itself, and of what it refuses; one process and several."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
import yaml

from hub.audit.signing import Verifier
from hub.audit.sources import Source, sources
from hub.audit.verifying import Verified, verify_trail
from hub.audit.view import AuditQuery, find
from hub.config import load_config
from hub.contract import HubConfig
from hub.keys.opened import folder_of, master_source
from hub.keys.store import KeyStore
from hub.node import data_folder
from tests.audit.audit_support import edit
from tests.kernel.process import ROOT, HubProcess, Sink, adt, make_site, wait_for


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


def command(config: Path, *arguments: str, url: str = "", actor: str = "li") -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "TONGQU_LANG": "en",
        "PYTHONPATH": str(ROOT),
        "TONGQU_ACTOR": actor,
        "TONGQU_ADMIN_URL": url,
    }
    return subprocess.run(
        [sys.executable, "-m", "hub.cli", *arguments, "--config", str(config)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )


def trail(hub: HubProcess, **query: str) -> list[dict[str, Any]]:
    words = "&".join(f"{name.rstrip('_')}={value}" for name, value in query.items())
    answer = hub.call("GET", f"/api/v1/audit?limit=10000&{words}")
    assert answer.status == 200, answer.body
    return [row["entry"] | {"chain": row["chain"]} for row in answer.json["entries"]]


def with_keys(config: Path) -> Path:
    keys = HubConfig().keys
    KeyStore.create(folder_of(keys, config.parent), master_source(keys.master, config.parent))
    return config


def verified(config: Path, *against: Path) -> Verified:
    """As ``hub audit verify`` does it, without a process."""
    hub = load_config(config).hub
    return verify_trail(chains(config), Verifier.of(hub, config.parent), against)


def chains(config: Path) -> list[Source]:
    hub = load_config(config).hub
    return sources(hub, config.parent, data_folder(config, hub))


def test_what_people_see_do_and_are_refused(tmp_path: Path, sink: Sink) -> None:
    config = make_site(tmp_path, sink.url, audit={"export": {"copy": {"to": "file:../copy.jsonl"}}})
    copy = tmp_path / "copy.jsonl"
    with HubProcess(with_keys(config)) as hub:
        hub.send(adt("1", "P77", "张"), adt("2"))
        hub.settled()
        found = hub.call(
            "GET", "/api/v1/messages?key.name=张三&since=-1h&clear=1".replace("张三", "%E5%BC%A0"), X_Actor="zhao"
        )
        number = found.json["messages"][0]["id"]
        assert hub.call("GET", f"/api/v1/messages/{number}", X_Actor="zhao").status == 200
        assert hub.call("GET", f"/api/v1/messages/{number}/raw", X_Actor="zhao").status == 200
        for _ in range(3):
            assert hub.call("GET", "/api/v1/calls?limit=7", X_Actor="wang").status == 200
        # Seen: who, when, from where, what was asked for without the name asked for, how many.
        read = trail(hub, actor="zhao", class_="access")
        assert [entry["action"] for entry in read] == [f"access.message.{word}" for word in ("search", "read", "raw")]
        assert read[0]["detail"]["query"] == {"clear": "1", "key.name": "…", "since": "-1h"}
        assert (read[0]["detail"]["records"], read[0]["detail"]["clear"]) == (2, True)
        assert number in read[0]["detail"]["ids"]
        assert {entry["address"] for entry in read} == {"127.0.0.1"}
        assert [entry["subject"] for entry in read[1:]] == [number, number]
        assert len(trail(hub, actor="wang")) == 1  # a screen that refreshes itself is not told each time
        # Done.
        assert hub.call("POST", "/api/v1/probe", {}, X_Actor="sun").status == 200
        assert hub.call("POST", "/api/v1/interfaces/east/adt/messages", adt("3"), X_Actor="sun").status == 202
        done = trail(hub, actor="sun")
        assert [entry["action"] for entry in done] == ["interface.probe", "message.send", "message.sent"]
        assert done[1]["detail"]["bytes"] == len(adt("3"))
        assert {entry["address"] for entry in done} == {"127.0.0.1"}
        # Refused.
        for _ in range(3):
            assert hub.call("GET", f"/api/v1/messages/{number}", token="wrong").status == 401
        assert hub.call("POST", "/api/v1/deliveries/resend", {"ids": ["nonsense"]}, X_Actor="sun").status == 400
        refused = trail(hub, result="refused")
        assert [(entry["actor"], entry["action"]) for entry in refused] == [
            ("-", "auth.refused"),
            ("sun", "delivery.resend"),
        ]
        assert refused[0]["subject"] == "/api/v1/messages/{id}"
        # The configuration.
        settings = yaml.safe_load(config.read_text())
        settings["routes"]["east_up"]["description"] = "new"
        config.write_text(yaml.safe_dump(settings, allow_unicode=True))
        assert hub.call("POST", "/api/v1/reload", X_Actor="qian").status == 200
        (reload,) = trail(hub, action="config.reload")
        files = reload["detail"]["config"]["files"]
        assert files["config/hub.yaml"]["keys"] == ["+routes.east_up.description"]
        assert len(files["config/hub.yaml"]["after"]) == 64
        config.write_text("systems: [\n")
        assert hub.call("POST", "/api/v1/reload", X_Actor="qian").status == 422
        assert [entry["result"] for entry in trail(hub, action="config.reload", result="refused")] == ["refused"]
        config.write_text(yaml.safe_dump(settings, allow_unicode=True))
        # Exported.
        answer = hub.call("GET", "/api/v1/audit/export?format=csv&class=access&reason=inspection", X_Actor="zheng")
        assert answer.body.decode("utf-8-sig").count("access.message") == 3
        (exported,) = trail(hub, action="audit.export")
        assert (exported["actor"], exported["reason"]) == ("zheng", "inspection")
        assert exported["detail"] == {"format": "csv", "query": {"class": "access"}}
        for wrong in ("class=x", "result=x", "after=x", "limit=0", "last=x", "since=x"):
            assert hub.call("GET", f"/api/v1/audit?{wrong}").status == 400
        assert hub.call("GET", "/api/v1/audit/export?format=pdf").status == 400
        # The command line reads the files itself and says so as well.
        assert command(config, "messages", "--key", "name=张", "--limit", "5").returncode == 0
        assert command(config, "show", number, "--raw").returncode == 0
        lines = [entry for entry in trail(hub, actor="li", class_="access") if "command" in entry["detail"]]
        assert [entry["action"] for entry in lines] == ["access.message.search", "access.message.read"]
        assert lines[0]["detail"]["query"] == {"key": "…", "limit": 5}
        assert lines[0]["detail"]["records"] == 3
        # Archived, verified, compared.
        archived = command(config, "audit", "archive", "--older-than", "0", url=hub.url)
        assert archived.returncode == 0, archived.stderr
        assert "worker-00: 2 entries" in archived.stdout
        assert hub.call("GET", "/api/v1/audit/verify").json["problems"] == []
        status = hub.call("GET", "/api/v1/status").json["audit"]
        assert (status["signed"], status["trouble"], status["copies"][0]["trouble"]) == (True, [], "")
        assert hub.stop() == 0
    start, stop = (
        json.loads(line)["entry"] for line in copy.read_text().splitlines() if '"hub.st' in line.replace("\\", "")
    )
    assert len(json.loads(start)["detail"]["config"]) == 64
    assert json.loads(stop)["action"] == "hub.stop"
    found_ = command(config, "audit", "verify", "--against", str(copy), "--json")
    done_ = json.loads(found_.stdout)
    assert (found_.returncode, done_["problems"], done_["notes"]) == (0, [], [])
    assert done_["archives"] == 2
    text = copy.read_text()
    assert "张" not in json.loads(text.splitlines()[0])["entry"]
    assert "\\u5f20" not in text  # no name in any entry


def test_what_can_not_be_recorded_is_not_shown(tmp_path: Path, sink: Sink) -> None:
    config = make_site(tmp_path, sink.url)
    with HubProcess(config) as hub:
        hub.send(adt("1"))
        hub.settled()
        number = hub.call("GET", "/api/v1/messages").json["messages"][0]["id"]
        trail_file = hub.data / "audit.db"
        aside = trail_file.rename(trail_file.with_name("aside.db"))
        trail_file.mkdir()
        for path in (
            "/api/v1/messages?clear=1",
            f"/api/v1/messages/{number}?clear=1",
            f"/api/v1/messages/{number}/raw",
        ):
            answer = hub.call("GET", path)
            assert (answer.status, answer.json["code"]) == (503, "audit.unwritable")
            assert "P1" not in answer.body.decode()
        assert hub.call("GET", "/api/v1/audit/export").status == 503
        assert hub.call("GET", "/api/v1/messages", token="wrong").status == 401
        shown = command(config, "show", number)
        assert (shown.returncode, shown.stdout) == (1, "")
        hub.send(adt("2"))  # messages go on
        trail_file.rmdir()
        aside.rename(trail_file)
        assert hub.call("GET", "/api/v1/messages?clear=1").status == 200
        assert hub.stop() == 0
    assert verified(config).problems == []


def test_several_workers_kill_and_a_merged_view(tmp_path: Path, sink: Sink) -> None:
    config = with_keys(make_site(tmp_path, sink.url, audit={"export": {"copy": {"to": "file:../copy.jsonl"}}}))
    copy = tmp_path / "copy.jsonl"
    with HubProcess(config, "--workers", "2") as hub:
        sink.status = 400
        hub.send(adt("E1"), place="east/adt")
        hub.send(adt("W1"), place="west/adt")
        dead = "/api/v1/deliveries?state=dead"
        wait_for(lambda: len(hub.call("GET", dead).json["deliveries"]) == 2, "two dead letters")
        ids = [row["id"] for row in hub.call("GET", dead).json["deliveries"]]
        assert hub.call("POST", "/api/v1/deliveries/ignore", {"ids": ids, "reason": "test"}, X_Actor="li").status == 200
        entries = trail(hub, action="delivery.ignore")
        assert {entry["chain"] for entry in entries} == {"worker-00", "worker-01"}
        assert {entry["address"] for entry in entries} == {"127.0.0.1"}  # of the person, not of the supervisor
        moments = [entry["at"] for entry in trail(hub)]
        assert moments == sorted(moments)
        wait_for(lambda: copy.exists() and copy.read_text().count("delivery.ignore") == 2, "the copy has them")
        os.kill(hub.pid, signal.SIGKILL)
        hub._process.wait()
    assert verified(config, copy).problems == []
    wait_for(lambda: not workers_of(hub.data), "the workers have ended")
    with HubProcess(config, "--workers", "2") as again:
        starts = trail(again, action="hub.start")
        assert [entry["detail"]["workers"] for entry in starts] == [2, 2]
        answer = again.call("POST", "/api/v1/audit/archive", {"older_than_days": 0}, X_Actor="li")
        assert {row["chain"] for row in answer.json["archived"]} == {"hub", "worker-00", "worker-01"}
        assert again.call("POST", "/api/v1/audit/archive", {"older_than_days": "x"}).status == 400
        assert again.stop() == 0
    # Somebody empties one worker's chain: checkpoints of the hub and the copy tell.
    assert verified(config, copy).problems == []
    edit(hub.data / "worker-00" / "catalog.db", "DELETE FROM audit")
    found = command(config, "audit", "verify", "--json")
    problems = json.loads(found.stdout)["problems"]
    assert found.returncode == 1
    assert all(problem.startswith("worker-00: ") for problem in problems)


def workers_of(data: Path) -> list[str]:
    """Folders whose worker still runs."""
    found = []
    for folder in data.glob("worker-*"):
        try:
            pid = int((folder / "lock").read_text())
            os.kill(pid, 0)
        except (OSError, ValueError):
            continue
        found.append(folder.name)
    return found


def test_killed_at_any_moment_the_chains_are_whole(tmp_path: Path, sink: Sink) -> None:
    config = with_keys(make_site(tmp_path, sink.url, audit={"checkpoint": {"entries": 2, "every": "1s"}}))
    done = 0
    for _ in range(2):
        with HubProcess(config) as hub:
            end = time.monotonic() + 0.4
            while time.monotonic() < end:
                assert hub.call("POST", "/api/v1/probe", {}).status == 200
                assert hub.call("POST", "/api/v1/reload").status == 200
                done += 1
            hub.kill()
        assert verified(config).problems == []
        actions = [row["entry"]["action"] for _, row in find(chains(config), AuditQuery())]
        assert (actions.count("interface.probe"), actions.count("config.reload")) == (done, done)


def test_orders_are_refused_while_the_trail_can_not_be_written(tmp_path: Path, sink: Sink) -> None:
    """What has its entry in the same commit as its effect: with a catalog that takes nothing nothing is done."""
    config = make_site(tmp_path, sink.url)
    with HubProcess(config) as hub:
        assert hub.call("POST", "/api/v1/reload").status == 200
        catalog = hub.data / "worker-00" / "catalog.db"
        blocking = apsw.Connection(str(catalog))
        blocking.execute("BEGIN IMMEDIATE")
        try:
            assert hub.call("POST", "/api/v1/reload").status == 503
        finally:
            blocking.execute("ROLLBACK")
            blocking.close()
        wait_for(lambda: hub.call("POST", "/api/v1/reload").status == 200, "the store recovers")
        assert len(trail(hub, action="config.reload", result="done")) == 2
        assert hub.stop() == 0
