"""``hub keys`` as people and programs run it."""

from __future__ import annotations

import io
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from hub.i18n import set_language
from hub.keys.config import KeysConfig
from hub.keys.opened import folder_of, master_source
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from tests.cli.conftest import Result, Run, command  # noqa: F401 - a fixture
from tests.keys.keys_support import DAY, certificate

Keys = Callable[..., Result]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "config" / "hub.yaml"
    file.parent.mkdir()
    (tmp_path / "plugins").mkdir()
    file.write_text(yaml.safe_dump({"plugins": ["../plugins"], "mappings": []}))
    return file


@pytest.fixture
def keys(command: Run, site: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:  # noqa: F811
    monkeypatch.setenv("TONGQU_CONFIG", str(site))
    monkeypatch.setenv("TONGQU_ACTOR", "li")

    def run(*arguments: str, given: bytes | None = None) -> Result:
        if given is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        return command("keys", *arguments)

    return run


@pytest.fixture
def ready(keys: Keys) -> Keys:
    assert keys("init").status == 0
    return keys


def opened(site: Path) -> KeyStore:
    config = KeysConfig()
    return KeyStore(folder_of(config, site.parent), master_source(config.master, site.parent))


def test_init(keys: Keys, site: Path) -> None:
    found = keys("list")
    assert (found.status, found.errors.splitlines()[1]) == (1, "  -> make it: hub keys init")
    found = keys("init", "--json")
    assert found.json == {
        "path": str(site.parent.parent / "var" / "keys"),
        "master": "file:../var/master.key",
        "cipher": "aes",
    }
    assert keys("init").status == 1
    assert keys("list", "--json").json == {"keys": []}


def test_the_master_key_lies_elsewhere(keys: Keys, site: Path) -> None:
    settings = yaml.safe_load(site.read_text()) | {"keys": {"master": "file:../var/keys/master.key"}}
    site.write_text(yaml.safe_dump(settings))
    found = keys("init")
    assert "must not lie in the folder of the key store" in found.errors
    assert not (site.parent.parent / "var").exists()


def test_settings_have_bounds(keys: Keys, site: Path) -> None:
    settings = yaml.safe_load(site.read_text()) | {"keys": {"rotate_days": 91, "validity_days": 20}}
    site.write_text(yaml.safe_dump(settings))
    found = keys("init")
    assert found.status == 1
    assert "keys.rotate_days" in found.errors
    assert "keys.validity_days" in found.errors


def test_a_key_from_generation_to_destruction(ready: Keys, site: Path) -> None:
    found = ready("generate", "mac", "--kind", "hmac", "--purpose", "mac", "--system", "his", "--overlap", "3")
    assert found.status == 0
    assert found.out.startswith("mac@1: active, valid until ")
    assert ready("rotate", "mac", "--pending", "--json").json["state"] == "pending"
    assert ready("activate", "mac@2").out.startswith("mac@2: active")
    answer = ready("show", "mac", "--json").json
    assert [(v["version"], v["state"]) for v in answer["versions"]] == [(2, "active"), (1, "retiring")]
    assert (answer["system"], answer["policy"]["overlap_days"], answer["policy"]["rotation"]) == ("his", 3, "remind")
    assert ready("retire", "mac@1", "--days", "0").status == 0
    assert "a reason is needed" in ready("revoke", "mac@1").errors
    assert ready("revoke", "mac@1", "--reason", "stolen").out.startswith("mac@1: revoked")
    assert "this can't be undone" in ready("destroy", "mac@1", "--reason", "stolen").errors
    assert ready("destroy", "mac@1", "--reason", "stolen", "--sure", "mac@1").out.startswith("mac@1: destroyed")
    found = ready("list")
    assert [line.split()[:5] for line in found.out.splitlines()[1:]] == [["mac", "hmac", "mac", "his", "2"]]
    entries = ready("log", "mac", "--json").json["entries"]
    assert [e["action"] for e in entries] == [
        f"keys.{verb}" for verb in ("generate", "rotate", "activate", "retire", "revoke", "destroy")
    ]
    assert {e["actor"] for e in entries} == {"li"}
    assert entries[-1]["reason"] == "stolen"


def test_policy(ready: Keys) -> None:
    ready("generate", "mac", "--kind", "hmac", "--purpose", "mac")
    assert ready("policy", "mac", "--validity", "60", "--rotate-after", "45", "--json").json["policy"] == {
        "validity_days": 60,
        "rotate_days": 45,
        "rotation": "remind",
        "overlap_days": 7,
        "warn_days": 30,
        "expired": "refuse",
    }
    assert "rotate_days is 80, not 1 to 60" in ready("policy", "mac", "--rotate-after", "80").errors
    assert "validity_days is 29" in ready("generate", "b", "--kind", "aes", "--purpose", "x", "--validity", "29").errors


def test_import_from_a_file_and_from_standard_input(ready: Keys, site: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("tiger\n")
    assert ready("import", "app", str(secret), "--kind", "secret", "--purpose", "login").status == 0
    assert ready("import", "app", "-", "--pending", given=b"lion\n").out.startswith("app@2: pending")
    assert "give --kind and --purpose" in ready("import", "other", "-", given=b"x").errors
    assert "larger than 64 KB" in ready("import", "app", "-", given=b"x" * 70_000).errors
    assert "can't be read" in ready("import", "app", str(tmp_path / "absent")).errors
    assert "--form" in ready("import", "app", "-", "--form", "rot13", given=b"x").errors
    with opened(site) as store:
        assert store.handle("app").current().text().reveal() == "tiger"


def test_no_command_shows_a_secret(ready: Keys) -> None:
    ready("import", "app", "-", "--kind", "secret", "--purpose", "login", given=b"tiger-in-the-night")
    every = [
        ready(*arguments)
        for as_json in ([], ["--json"])
        for arguments in (
            ["list", *as_json],
            ["show", "app", *as_json],
            ["log", "--uses", *as_json],
            ["check", *as_json],
            ["certificates", *as_json],
        )
    ]
    every.append(ready("export", "public", "app"))
    assert not any("tiger" in result.out + result.errors for result in every)


def test_export(ready: Keys, tmp_path: Path) -> None:
    ready("generate", "sign", "--kind", "rsa", "--purpose", "sign", "--bits", "2048")
    file = tmp_path / "sign.pem"
    assert ready("export", "public", "sign", "--to", str(file)).status == 0
    assert file.read_bytes() == ready("export", "public", "sign@1").raw
    assert file.read_text().startswith("-----BEGIN PUBLIC KEY-----\n")
    assert "can't be written" in ready("export", "public", "sign", "--to", str(file)).errors
    recipient = tmp_path / "recipient.pem"
    recipient.write_bytes(certificate(time.time() + 300 * DAY)[0])
    order = ("export", "private", "sign@1", "--recipient", str(recipient))
    assert "a reason is needed" in ready(*order).errors
    sealed = tmp_path / "sealed.pem"
    assert ready(*order, "--reason", "move", "--to", str(sealed)).status == 0
    assert sealed.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE KEY" not in sealed.read_text()
    assert ready("log", "sign", "--json").json["entries"][-1]["action"] == "keys.export"


def test_what_is_due(ready: Keys, tmp_path: Path, site: Path) -> None:
    assert (ready("check").status, ready("check").out) == (0, "nothing is due\n")
    soon = tmp_path / "soon.pem"
    soon.write_bytes(certificate(time.time() + 10.5 * DAY, "ministry")[0])
    ready("import", "ministry", str(soon), "--kind", "certificate", "--purpose", "encrypt", "--system", "freight")
    found = ready("check")
    assert found.status == 1
    assert "certificate ministry@1 expires in 10 days" in found.out
    (row,) = ready("check", "--json").json["due"]
    assert (row["what"], row["owner"], row["remedy"]) == (
        "expires",
        "freight",
        "get the new one and: hub keys import ministry",
    )
    (shown,) = ready("certificates", "--json").json["certificates"]
    assert (shown["name"], shown["subject"], shown["serial"]) == ("ministry@1", "CN=ministry", "1267")


_PLUGIN = """
id: peer
name: peer
interfaces:
  up:
    direction: out
    adapter: http
    connect: {url: "https://127.0.0.1:9", tls: {ca: "CA"}}
    codec: json
"""


def test_certificates_in_files_of_the_configuration(keys: Keys, tmp_path: Path, site: Path) -> None:
    """Also where there is no key store."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(certificate(time.time() - 5.5 * DAY, "authority")[0])
    (tmp_path / "plugins" / "peer").mkdir()
    (tmp_path / "plugins" / "peer" / "plugin.yaml").write_text(_PLUGIN.replace("CA", str(ca)))
    settings = yaml.safe_load(site.read_text()) | {"systems": {"ministry": {"plugin": "peer"}}}
    site.write_text(yaml.safe_dump(settings))
    found = keys("check")
    assert found.status == 1
    assert f"certificate {ca} expired 5 days ago" in found.out
    assert "ministry/up" in found.out
    assert "CN=authority" in keys("certificates").out


def test_master(ready: Keys, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready("generate", "mac", "--kind", "hmac", "--purpose", "mac")
    assert ready("master", "rotate", "--reason", "yearly", "--json").json["sealed"] == 1
    monkeypatch.setenv("NEW_MASTER", "0123456789abcdef" * 4)
    found = ready("master", "rotate", "--to", "env:NEW_MASTER")
    assert "now write keys.master: env:NEW_MASTER in hub.yaml" in found.out
    assert "is not the master key of this key store" in ready("list").errors
    settings = yaml.safe_load(site.read_text()) | {"keys": {"master": "env:NEW_MASTER", "cipher": "sm4"}}
    site.write_text(yaml.safe_dump(settings))
    assert "only be made in a file" in ready("master", "rotate").errors
    assert ready("show", "mac").status == 0


def test_log(ready: Keys, site: Path) -> None:
    ready("generate", "mac", "--kind", "hmac", "--purpose", "mac")
    with opened(site) as store:
        store.handle("mac", system="his").current()
    found = ready("log", "--verify")
    assert (found.status, "the journal is as it was written" in found.out) == (0, True)
    assert "keys.use" not in found.out
    assert ready("log", "mac", "--uses", "--json").json["entries"][-1]["detail"]["uses"][0]["count"] == 1
    db = sqlite3.connect(site.parent.parent / "var" / "keys" / "keys.db")
    with db:
        db.execute("UPDATE journal SET entry = replace(entry, '\"li\"', '\"wu\"') WHERE seq = 2")
    db.close()
    found = ready("log", "--verify")
    assert found.status == 1
    assert "entry 2 does not match its hash" in found.out


def test_beside_a_writer(ready: Keys, site: Path) -> None:
    """Another process has the store open, as a running hub does."""
    with opened(site) as store:
        ring = store.data_keys("store")
        ring.current()
        assert ready("rotate", "store").status == 0
        store.refresh()
        assert ring.current()[0] == 2
        Orders(store, actor="hub").rotate("store")
        assert ready("show", "store", "--json").json["versions"][0]["version"] == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "nobody"], "there is no key 'nobody'"),
        (["rotate", "nobody"], "there is no key 'nobody'"),
        (["activate", "mac"], "mac: write NAME@VERSION"),
        (["revoke", "mac@x", "--reason", "y"], "mac@x: write NAME@VERSION"),
        (["revoke", "nobody@1", "--reason", "y"], "there is no key 'nobody'"),
        (["export", "public", "nobody"], "there is no key 'nobody'"),
        (["generate", "X", "--kind", "aes", "--purpose", "x"], "can't be the name of a key"),
        (["generate", "x", "--kind", "certificate", "--purpose", "x"], "comes from the other party"),
    ],
)
def test_mistakes(ready: Keys, arguments: list[str], told: str) -> None:
    found = ready(*arguments)
    assert found.status == 1
    assert told in found.errors


def test_in_chinese(ready: Keys) -> None:
    set_language("zh")
    ready("generate", "mac", "--kind", "hmac", "--purpose", "mac")
    assert "启用版本" in ready("list").out
    assert "无待办事项" in ready("check").out
    assert "没有密钥" in ready("show", "nobody").errors
