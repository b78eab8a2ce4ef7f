"""A hub whose store is encrypted, as people run it: processes, kill, search, the command line, and the key that is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.config import load_config
from hub.keys.opened import folder_of, key_store, master_source
from hub.keys.store import KeyStore
from tests.kernel.process import ROOT, HubProcess, MllpClient, Sink, adt, make_site, wait_for

NAME = "欧阳明月"
PATIENT = "11010519491231002X"


@pytest.fixture
def sink() -> Iterator[Sink]:
    server = Sink()
    yield server
    server.close()


def encrypted(folder: Path, url: str) -> Path:
    config = make_site(
        folder,
        url,
        store={"path": "../var", "min_free_disk": 0, "encryption": "aes-256-gcm", "claim_above": 4096},
        keys={"path": "../keys", "master": "file:../master.key"},
    )
    keys = load_config(config).hub.keys
    KeyStore.create(folder_of(keys, config.parent), master_source(keys.master, config.parent))
    return config


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hub.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LANG": "C", "TONGQU_LANGUAGE": "en"},
        check=False,
    )


def test_everything_works_and_nothing_is_readable(tmp_path: Path, sink: Sink) -> None:
    config = encrypted(tmp_path, sink.url)
    large = adt("L1", PATIENT, NAME) + b"NTE|1||" + b"Penicillinallergie " * 1000 + b"\r"
    hub = HubProcess(config)
    client = MllpClient(hub.port())
    assert client.ask(adt("A1", PATIENT, NAME)) == "AA"
    assert client.ask(large) == "AA"
    hub.kill()
    client.close()
    with HubProcess(config) as hub:
        wait_for(lambda: {"A1", "L1"} <= set(sink.numbers()), "delivery after the kill")
        client = MllpClient(hub.port())
        assert client.ask(adt("A1", PATIENT, NAME)) == "AA"  # recognised as a repetition
        client.close()

        def found() -> list[str]:
            listed = command("messages", "--config", str(config), "--text", "Penicillinallergie", "--json")
            assert listed.returncode == 0, listed.stderr
            rows = json.loads(listed.stdout)
            return [row["id"] for row in (rows if isinstance(rows, list) else rows["messages"])]

        (message_id,) = wait_for(found, "the free-text index")
        shown = command("show", message_id, "--config", str(config), "--raw")
        assert shown.stdout.encode().replace(b"\n", b"\r") == large
        assert hub.call("GET", f"/api/v1/messages/{message_id}/raw").status == 200
        assert command("verify-ledger", "--config", str(config)).returncode == 0
    for path in (tmp_path / "var").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for text in (NAME, NAME[:2], PATIENT, PATIENT.lower(), "Penicillinallergie", "penicillinallergie"):
            assert text.encode() not in content, f"{text} in {path.name}"


def test_without_its_key_the_hub_does_not_start_and_says_what_to_do(tmp_path: Path, sink: Sink) -> None:
    config = encrypted(tmp_path, sink.url)
    hub = HubProcess(config)
    client = MllpClient(hub.port())
    assert client.ask(adt("A1", PATIENT, NAME)) == "AA"
    client.close()
    hub.kill()
    shutil.move(tmp_path / "keys", tmp_path / "elsewhere")
    for arguments in (("run", "--config", str(config)), ("messages", "--config", str(config))):
        refused = command(*arguments)
        assert refused.returncode == 1
        assert "->" in refused.stderr
        assert "Traceback" not in refused.stderr
    shutil.move(tmp_path / "elsewhere", tmp_path / "keys")
    with HubProcess(config):
        wait_for(lambda: "A1" in sink.numbers(), "delivery once the key is back")


def test_a_rotated_key_keeps_what_was_stored_readable(tmp_path: Path, sink: Sink) -> None:
    from hub.keys.orders import Orders

    config = encrypted(tmp_path, sink.url)
    hub = HubProcess(config)
    client = MllpClient(hub.port())
    assert client.ask(adt("A1", PATIENT, NAME)) == "AA"
    store = key_store(load_config(config).hub.keys, config.parent)
    Orders(store, actor="test").rotate("store")
    hub.kill()
    client.close()
    with HubProcess(config) as hub:
        wait_for(lambda: "A1" in sink.numbers(), "delivery of what the old version sealed")
        client = MllpClient(hub.port())
        assert client.ask(adt("A2", PATIENT, NAME)) == "AA"
        client.close()
        wait_for(lambda: "A2" in sink.numbers(), "delivery of what the new version sealed")
